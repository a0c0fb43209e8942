"""What a check found: verdict, findings, and the report as text, HTML and plain data. Level 0."""

from __future__ import annotations

import enum
import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CONFIDENCE", "Entry", "Explanation", "Finding", "Report", "Verdict"]

CONFIDENCE = 1e-6  # the probability with which an error beyond the stated bound would not have been seen


class Verdict(enum.StrEnum):
    """The three answers of a check. Only PASS is green."""

    PASS = "pass"  # noqa: S105  (a verdict, no password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient: what the backward claims, what was measured, and the bound of its error."""

    name: str
    claimed: float
    measured: float
    error: float


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
        reason: why the verdict is what it is, where the numbers do not say it.
        conventions: along how many tangents a kink at the point was seen; there the gradient is a convention.
    """

    verdict: Verdict
    shape: tuple[int, ...]
    error: float
    bound: float
    worst: Entry | None = None
    wrong_entries: tuple[Entry, ...] = ()
    reason: str | None = None
    conventions: int = 0


@dataclass(frozen=True)
class Explanation:
    """Why a gradient is wrong: a mistake of the catalogue, and whether undoing it made the check pass."""

    mistake: str
    arguments: tuple[str, ...]
    sentence: str
    verified: bool


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
        explanations: why it is wrong, the simplest first.
    """

    name: str
    arguments: Mapping[str, Finding]
    oracles: tuple[str, ...]
    seed: int
    broken: tuple[str, ...] = ()
    evaluations: int = 0
    explanations: tuple[Explanation, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """FAIL if anything failed or a law is broken, else INCONCLUSIVE if anything was, else PASS."""
        verdicts = {finding.verdict for finding in self.arguments.values()}
        if Verdict.FAIL in verdicts or self.broken:
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else Verdict.PASS

    @property
    def breached(self) -> bool:
        """Whether the backward returned something that could not be compared at all."""
        return any(f.verdict is Verdict.FAIL and math.isnan(f.error) for f in self.arguments.values())

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
        """Return the report as plain text."""
        how = f"oracle{'s' if len(self.oracles) > 1 else ''} {', '.join(self.oracles)}, seed {self.seed}"
        lines = [f"{self.name}: {self.verdict.upper()} ({self._summary()}; {how})"]
        lines += [f"  {sentence}" for sentence in self.broken]
        width = max(len(name) for name in self.arguments) + 1
        for name, finding in self.arguments.items():
            lines.append(f"  {'d' + name:{width}}  {finding.verdict:4}  {_say(finding)}")
        if any(finding.verdict is Verdict.PASS and finding.bound for finding in self.arguments.values()):
            lines.append(f"  A larger error would have been seen with probability 1 − {CONFIDENCE:.0e}.")
        entries = [entry for finding in self.arguments.values() for entry in finding.wrong_entries[:5]]
        if entries:
            width = max(len(entry.name) for entry in entries)
            lines.append(f"  {'entry':{width}}  {'claimed':>13}  {'measured':>13}  ± bound")
            lines += [f"  {e.name:{width}}  {e.claimed:13.6g}  {e.measured:13.6g}  {e.error:.1e}" for e in entries]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        colour = {Verdict.PASS: "#1a7f37", Verdict.FAIL: "#cf222e", Verdict.INCONCLUSIVE: "#9a6700"}[self.verdict]
        return f'<pre style="border-left: 4px solid {colour}; padding-left: 1em">{html.escape(str(self))}</pre>'

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that JSON can hold; a number that is not finite becomes a string."""
        return {
            "name": self.name,
            "verdict": str(self.verdict),
            "broken": list(self.broken),
            "seed": self.seed,
            "evaluations": self.evaluations,
            "oracles": list(self.oracles),
            "arguments": {
                name: {
                    "verdict": str(finding.verdict),
                    "shape": list(finding.shape),
                    "error": _plain(finding.error),
                    "bound": _plain(finding.bound),
                    "reason": finding.reason,
                    "conventions": finding.conventions,
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
                {"mistake": e.mistake, "arguments": list(e.arguments), "sentence": e.sentence, "verified": e.verified}
                for e in self.explanations
            ],
        }

    def _summary(self) -> str:
        count = sum(finding.verdict is self.verdict for finding in self.arguments.values())
        if self.broken and not count:
            return "every gradient is right here, but a law is broken"
        return f"{count} of {len(self.arguments)} gradients {_TOLD[self.verdict]}"


_TOLD = {Verdict.PASS: "right", Verdict.FAIL: "wrong", Verdict.INCONCLUSIVE: "undecided"}


def _say(finding: Finding) -> str:
    if finding.verdict is Verdict.PASS:
        if not finding.bound:
            return str(finding.reason)
        said = f"error below {finding.bound:.1e} of its norm"
        return f"{said}; {finding.reason}" if finding.reason else said
    if finding.verdict is Verdict.FAIL and not math.isnan(finding.error):
        if math.isinf(finding.error):
            return finding.reason or "the true gradient is zero"
        said = f"relative error {finding.error:.2g}"
        return f"{said}; {finding.reason}" if finding.reason else said
    return finding.reason or f"the bound is {finding.bound:.1e}"


def _plain(number: float) -> float | str:
    return float(number) if math.isfinite(number) else str(float(number))
