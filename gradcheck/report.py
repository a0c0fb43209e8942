"""What a check found: verdict, findings, and the report. Level 0."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from gradcheck.annotation import annotated, table
from gradcheck.render import html, shows_colour, spelled, text

__all__ = ["CONFIDENCE", "Answers", "Entry", "Explanation", "Finding", "Findings", "Report", "Step", "Steps", "Verdict"]

CONFIDENCE = 1e-6  # the probability with which an error beyond the stated bound would not have been seen


class Verdict(enum.StrEnum):
    """The three answers of a check. Only PASS is green."""

    PASS = "pass"  # noqa: S105  (a verdict, no password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient: what the backward claims, what was measured, and the bound of its error.

    ``index`` is its number in its argument, row-major; −1 where that is not known.
    """

    name: str
    claimed: float
    measured: float
    error: float
    index: int = -1


@dataclass(frozen=True)
class Finding:
    """What was found about the gradient of one argument.

    Attributes:
        verdict: pass, fail or inconclusive.
        shape: the shape of the argument.
        error: the largest error seen, relative to the norm of the gradient.
        bound: no larger relative error would have gone unseen, but with probability 1e-6.
        worst: the entry that is most wrong; None where none is.
        wrong_entries: the entries found wrong, worst first; not all of them where there are many.
        where: the regions that are wrong, by name; empty where they were not looked for.
        reason: why the verdict is what it is, where the numbers do not say it.
        conventions: along how many tangents a kink at the point was seen; there the gradient is a convention.
        remark: what a person should know of a gradient that is right, such as how exact it is.

    Of a failure whose numbers are withheld ``error``, ``bound`` and what was measured are NaN.
    """

    verdict: Verdict
    shape: tuple[int, ...]
    error: float
    bound: float
    worst: Entry | None = None
    wrong_entries: tuple[Entry, ...] = ()
    reason: str | None = None
    conventions: int = 0
    where: tuple[str, ...] = ()
    remark: str | None = None


class Findings(Mapping[str, Finding]):
    """The findings of a check by argument, and whether anybody has ``asked`` for one, or for why it is wrong.

    The verdict is made of them, so that whoever asked for it, or whether the report is true, has asked for them too.
    """

    def __init__(self, found: Mapping[str, Finding]) -> None:
        self._found = dict(found)
        self.asked = False

    def __getitem__(self, name: str) -> Finding:
        self.asked = True
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        self.asked = True
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return repr(self._found)

    @contextlib.contextmanager
    def unnoticed(self) -> Iterator[None]:
        """Let what is read meanwhile count for nothing."""
        before = self.asked
        yield
        self.asked = before


@dataclass(frozen=True)
class Step:
    """One line of the backward, and what it was found to be.

    Attributes:
        file: the file of the code, as its code object names it.
        line: the number of the line in it.
        function: the function that the line stands in.
        source: the text of the line; None where there is none to be had.
        operation: what is done on the line, by the names of NumPy, in order.
        cotangent_of: of which value of the forward the line holds the cotangent, by the name that the code has for
            it; of a wrong line, of which it ought to be. None where it holds none.
        verdict: ``"right"``, ``"wrong"``, ``"unreached"`` where it depends on a wrong one or nothing tells, or
            ``"auxiliary"`` where it holds no cotangent, such as a mask, an index, or a local derivative.
    """

    file: str
    line: int
    function: str
    source: str | None
    operation: str
    cotangent_of: str | None
    verdict: str


class Steps(tuple[Step, ...]):
    """The lines of a backward; printed, each with its mark."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the backward with a mark on each line, in letters that the standard output can show."""
        return spelled("\n".join(annotated(self)), sys.stdout)

    def _repr_html_(self) -> str:
        """Return the same as a table for a notebook."""
        return table(self)


@dataclass(frozen=True)
class Explanation:
    """Why a gradient is wrong.

    Attributes:
        mistake: the id of the mistake in the catalogue, ``gradcheck.mistakes.CATALOGUE``.
        arguments: the arguments whose gradients it explains.
        sentence: what a person reads: what was found, and what to do.
        verified: whether what is said was found to give the measured gradients at two points.
        file: the file of the line that it speaks of; "" where it speaks of none.
        line: the number of that line; 0 where it speaks of none.
        otherwise: on which inputs it could be told apart from another explanation; "" where there is none.
    """

    mistake: str
    arguments: tuple[str, ...]
    sentence: str
    verified: bool
    file: str = ""
    line: int = 0
    otherwise: str = ""


@dataclass(frozen=True)
class Answers:
    """What was found out about a failure besides which entries are wrong; all of it may be empty.

    Attributes:
        explanations: why it is wrong, the simplest first; several where they cannot be told apart on these inputs.
        silence: why there is no explanation of a failure; None where there is one, or none was asked for.
        steps: every line of the backward, in the order of the code.
    """

    explanations: tuple[Explanation, ...] = ()
    silence: str | None = None
    steps: Steps = field(default_factory=Steps)


@dataclass(frozen=True)
class Report:
    """What one check found.

    Attributes:
        name: the forward that was checked.
        arguments: a finding per moving argument, by its name.
        oracles: who measured.
        seed: replays the check: the same cotangent and the same directions.
        broken: the laws that the backward breaks as a whole, a sentence each.
        evaluations: how often the forward was called.
        inquiry: finds the answers. It is made once, when somebody reads them: a property test that shrinks a failure
            makes hundreds of reports of which nobody reads more than the last.
        replay: a line that does this check again.
        remarks: what a person should know of the backward as a whole although nothing is wrong, a sentence each.
        tolerance: which ``tol`` would let it pass and what would justify that, where a failure may be an approximation.
        convention: what the gradient of a complex array is, where there are any.
        noun: what there is one of for each argument: a gradient, or a term of the tangent of the output.
    """

    name: str
    arguments: Mapping[str, Finding]
    oracles: tuple[str, ...]
    seed: int
    broken: tuple[str, ...] = ()
    evaluations: int = 0
    inquiry: Callable[[], Answers] = field(default=Answers, repr=False, compare=False)
    replay: str | None = None
    remarks: tuple[str, ...] = ()
    tolerance: str | None = None
    convention: str | None = None
    noun: str = "gradient"

    def __post_init__(self) -> None:
        """Keep the findings so that it is known whether anybody asked for them."""
        object.__setattr__(self, "arguments", Findings(self.arguments))

    @property
    def answers(self) -> Answers:
        """What was found out besides the findings; looked for when it is first read."""
        if isinstance(self.arguments, Findings):
            self.arguments.asked = True
        return self._answers

    @functools.cached_property
    def _answers(self) -> Answers:
        return self.inquiry()

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """Why it is wrong, the simplest first."""
        return self.answers.explanations if self.verdict is Verdict.FAIL else ()

    @property
    def silence(self) -> str | None:
        """Why there is no explanation of a failure."""
        return self.answers.silence if self.verdict is Verdict.FAIL else None

    @property
    def steps(self) -> Steps:
        """Every line of the backward and what it holds, also of one that passes; ``print`` shows each with its mark."""
        return self.answers.steps

    @property
    def advice(self) -> str | None:
        """Which tolerance would let it pass, where nothing explains a failure that may be an approximation."""
        return None if self.explanations else self.tolerance

    @property
    def remarked(self) -> tuple[str, ...]:
        """Every remark, a sentence each: of the backward as a whole, and of each gradient that is right."""
        right = {path: finding for path, finding in self.arguments.items() if finding.verdict is Verdict.PASS}
        return (*self.remarks, *(f"d{path}: {each.remark}" for path, each in right.items() if each.remark))

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle keeps: the answers instead of the functions that would find them.

        Of what is no failure, those that somebody has asked for.
        """
        asked = self.verdict is Verdict.FAIL or "_answers" in vars(self)
        return {**vars(self), "_answers": self._answers if asked else Answers(), "inquiry": Answers}

    @property
    def verdict(self) -> Verdict:
        """FAIL if anything failed or a law is broken, else INCONCLUSIVE if anything was, else PASS."""
        verdicts = {finding.verdict for finding in self.arguments.values()}
        if Verdict.FAIL in verdicts or self.broken:
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else Verdict.PASS

    def __bool__(self) -> bool:
        """Whether the verdict is a pass, so that ``assert examine_backward(...)`` means what it says."""
        return self.verdict is Verdict.PASS

    @property
    def breached(self) -> bool:
        """Whether the backward returned something that could not be compared at all."""
        return any(
            f.verdict is Verdict.FAIL and math.isnan(f.error) and not math.isnan(f.bound)
            for f in self.arguments.values()
        )

    @property
    def error(self) -> float:
        """The largest relative error seen in any argument; NaN where none could be compared."""
        errors = [finding.error for finding in self.arguments.values() if not math.isnan(finding.error)]
        return max(errors, default=math.nan)

    @property
    def bound(self) -> float:
        """The widest bound of any argument."""
        return max(finding.bound for finding in self.arguments.values())

    def __str__(self) -> str:
        """Return the report as plain text of at most 25 lines, in letters that the standard output can show."""
        with self.unnoticed():
            return spelled(text(self), sys.stdout)

    def unnoticed(self) -> contextlib.AbstractContextManager[None]:
        """Printing a report is no assertion."""
        return self.arguments.unnoticed() if isinstance(self.arguments, Findings) else contextlib.nullcontext()

    def _repr_html_(self) -> str:
        """Return the report for a notebook, with a picture of the error by entry."""
        with self.unnoticed():
            return html(self)

    def show(self, file: TextIO | None = None) -> None:
        """Print the report; in colour where ``file`` (by default the standard output) is a terminal."""
        file = sys.stdout if file is None else file
        with self.unnoticed():
            print(spelled(text(self, colour=shows_colour(file)), file), file=file)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that JSON can hold; a number that is not finite becomes a string."""
        return {
            "name": self.name,
            "verdict": str(self.verdict),
            "broken": list(self.broken),
            "remarks": list(self.remarks),
            "seed": self.seed,
            "evaluations": self.evaluations,
            "oracles": list(self.oracles),
            "convention": self.convention,
            "arguments": {
                name: {
                    "verdict": str(finding.verdict),
                    "shape": list(finding.shape),
                    "error": _plain(finding.error),
                    "bound": _plain(finding.bound),
                    "reason": finding.reason,
                    "remark": finding.remark,
                    "conventions": finding.conventions,
                    "where": list(finding.where),
                    "wrong_entries": [
                        {
                            "name": entry.name,
                            "claimed": _plain(entry.claimed),
                            "measured": _plain(entry.measured),
                            "error": _plain(entry.error),
                        }
                        for entry in finding.wrong_entries
                    ],
                }
                for name, finding in self.arguments.items()
            },
            "explanations": [
                dataclasses.asdict(each) | {"arguments": list(each.arguments)} for each in self.explanations
            ],
            "silence": self.silence,
            "steps": [dataclasses.asdict(each) for each in self.steps] if self.verdict is Verdict.FAIL else [],
            "advice": self.advice,
            "replay": self.replay,
        }


def _plain(number: float) -> float | str:
    return float(number) if math.isfinite(number) else str(float(number))
