"""The main job: every derivation against every oracle, on random shapes and values, and on real input. Level 6.

An example is known by its number. The run's seed, the derivation's name and that number are all it is drawn from, so
one derivation alone, one oracle alone or one example alone replays what the whole run saw. Compiling a reference for
a new shape costs far more than running it, so examples share sizes, three choices of them in each block of twelve
(only the first block has the smallest; random ones stand in for them in the others):

generic    no size is 1: every scale factor names its dimension, and no mistake hides
smallest   every size at its smallest: batch 1, one step, one class
random     any choice of each
"""

from __future__ import annotations

import itertools
import math
import time
import traceback
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.check import examine_backward
from gradcheck.derivation import Derivation
from gradcheck.oracles import Oracle, autodiff, central_difference, complex_step
from gradcheck.report import Report, Verdict
from gradcheck.shapes.sizes import generic, least, mixed

__all__ = ["ERROR", "ORACLES", "Outcome", "Row", "Trial", "plan", "run", "tabulate", "worst"]

ORACLES = ("central_difference", "complex_step", "autodiff")
ERROR = "error"  # beside the three verdicts: an exception ended the example before there was one
SEVERITY = (str(Verdict.PASS), str(Verdict.INCONCLUSIVE), ERROR, str(Verdict.FAIL))
CHOICES, BLOCK = 3, 12  # of a block: so many choices of sizes serve so many examples
REAL = 0xFFFFFFFF  # the place of the real input among the numbers of the examples


@dataclass(frozen=True)
class Trial:
    """One example of one derivation, to be checked against one oracle.

    ``target`` is how the command line names the derivation; ``number`` is None for its real input.
    """

    target: str
    derivation: Derivation
    oracle: str
    number: int | None

    @property
    def source(self) -> str:
        """Where the input comes from: ``random`` or ``real``."""
        return "real" if self.number is None else "random"


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: a report, or the exception that prevented one.

    ``sizes`` is None for real input, and where drawing them raised.
    """

    trial: Trial
    sizes: Mapping[str, Any] | None
    report: Report | None
    exception: str | None
    seconds: float

    @property
    def verdict(self) -> str:
        """The report's verdict, or ``error``."""
        return ERROR if self.report is None else str(self.report.verdict)

    @property
    def remarks(self) -> tuple[str, ...]:
        """The remarks of the report."""
        return () if self.report is None else self.report.remarked


@dataclass(frozen=True)
class Row:
    """All outcomes of one derivation on one kind of input by one oracle."""

    outcomes: tuple[Outcome, ...]

    @property
    def trial(self) -> Trial:
        """The first trial: its derivation, oracle and source are those of the row."""
        return self.outcomes[0].trial

    @property
    def verdict(self) -> str:
        """The worst verdict of any example."""
        return worst(outcome.verdict for outcome in self.outcomes)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes that are no pass."""
        return tuple(outcome for outcome in self.outcomes if outcome.verdict != Verdict.PASS)

    @property
    def remarked(self) -> tuple[Outcome, ...]:
        """The outcomes that are a pass with a remark."""
        passed = (outcome for outcome in self.outcomes if outcome.verdict == Verdict.PASS)
        return tuple(outcome for outcome in passed if outcome.remarks)

    @property
    def error(self) -> float:
        """The largest error seen, relative to the norm of its gradient; NaN where none could be compared."""
        return max((e for e in self._all("error") if not math.isnan(e)), default=math.nan)

    @property
    def bound(self) -> float:
        """The widest bound; infinite where an example failed, NaN where there is no report."""
        return max(self._all("bound"), default=math.nan)

    @property
    def seconds(self) -> float:
        """The time that all examples took together."""
        return math.fsum(outcome.seconds for outcome in self.outcomes)

    def _all(self, name: str) -> list[float]:
        return [getattr(outcome.report, name) for outcome in self.outcomes if outcome.report is not None]


def plan(
    derivations: Mapping[str, Derivation],
    oracles: Sequence[str],
    examples: int,
    only: int | str | None = None,
) -> list[Trial]:
    """Return the trials of a run, in the order of the table: derivation, random or real, oracle, example.

    ``derivations`` is keyed by target. ``only`` leaves the example of that number, or with ``"real"`` the real input.
    """
    numbers = range(examples) if only is None else [only] if isinstance(only, int) else []
    return [
        Trial(target, derivation, oracle, number)
        for target, derivation in derivations.items()
        for source in (numbers, [None] if derivation.real and (only is None or only == "real") else [])
        for oracle in oracles
        for number in source
    ]


def run(trials: Iterable[Trial], seed: int, tol: float | None = None) -> Iterator[Outcome]:
    """Carry out the trials one by one; what a derivation raises becomes an outcome, so that the others still run."""
    for trial in trials:
        yield _carry_out(trial, seed, tol)


def tabulate(outcomes: Iterable[Outcome]) -> list[Row]:
    """Return the outcomes, in the order of their trials, as one row per derivation, source and oracle."""

    def row(outcome: Outcome) -> tuple[str, str, str]:
        return outcome.trial.target, outcome.trial.source, outcome.trial.oracle

    return [Row(tuple(group)) for _, group in itertools.groupby(outcomes, row)]


def worst(verdicts: Iterable[str]) -> str:
    """Return the worst of some verdicts: fail, then error, then inconclusive."""
    return max(verdicts, key=SEVERITY.index)


def sizes_of(derivation: Derivation, number: int, seed: int) -> dict[str, Any]:
    """Return the sizes and settings of the example of that number.

    Raises:
        TypeError, ValueError: the derivation says not, or not well, what its arguments are.
    """
    block, place = divmod(number, BLOCK)
    kind = place % CHOICES
    if kind == 1 and block == 0:
        return least(derivation.spec)
    rng = np.random.default_rng(_sequence(derivation, seed, 0, CHOICES * block + kind))
    return (generic if kind == 0 else mixed)(derivation.spec, rng)


def _carry_out(trial: Trial, seed: int, tol: float | None) -> Outcome:
    derivation, number = trial.derivation, trial.number
    sizes: dict[str, Any] | None = None
    report, exception = None, None
    started = time.perf_counter()
    try:
        values, check = _sequence(derivation, seed, 1, REAL if number is None else number).spawn(2)
        if number is None:
            args = derivation.real() if derivation.real else ()
        else:
            sizes = sizes_of(derivation, number, seed)
            args = derivation.spec.point(sizes, int(values.generate_state(1)[0]))
        report = examine_backward(
            derivation.forward,
            derivation.backward,
            args,
            oracle=_oracle(trial.oracle, derivation),
            wrt=derivation.wrt,
            tol=tol,
            seed=int(check.generate_state(1)[0]),
        )
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a derivation may raise anything: it is told, not lost)
        exception = _told(error)
    return Outcome(trial, sizes, report, exception, time.perf_counter() - started)


def _told(error: BaseException) -> str:
    """Return what an exception says, and the line of code that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    said = "".join(traceback.format_exception_only(error)).rstrip()
    return f"{said}\nraised at {Path(frame.filename).name}:{frame.lineno}, in {frame.name}"


def _oracle(name: str, derivation: Derivation) -> Oracle:
    if name == "autodiff":
        return autodiff(derivation.reference)
    oracles: dict[str, Oracle] = {"central_difference": central_difference, "complex_step": complex_step}
    return oracles[name]


def _sequence(derivation: Derivation, seed: int, *key: int) -> np.random.SeedSequence:
    """Return the source of randomness that ``key`` names in a run: it does not depend on what else is run."""
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(derivation.name.encode()), *key))
