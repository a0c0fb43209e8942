"""One examination: what the pair claims, what laws and oracles say to that, and the report of it. Level 4."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from gradcheck.arguments import Arguments, Chosen, by_name, name_of
from gradcheck.calls import Calls, TookTooLongError, within
from gradcheck.errors import ContractError, GradientError, InconclusiveError
from gradcheck.hints import Hints, tolerance_for, withheld
from gradcheck.inquiry import deferred
from gradcheck.oracles import Oracle, autodiff, central_difference
from gradcheck.report import Answers, Finding, Report, Verdict
from gradcheck.trees import Layout, describe
from gradcheck.verdict.judge import VACUOUS
from gradcheck.verdict.subject import Backward, Claim, Forward, Subject
from gradcheck.verdict.trial import Breach

__all__ = [
    "PASS",
    "STREAM",
    "Settings",
    "examined",
    "left_out",
    "oracles_of",
    "passed",
    "strictly",
    "undecided",
    "under",
]


class Verdicts(Protocol):
    """What a report of any kind has."""

    @property
    def verdict(self) -> Verdict:
        """One of the three."""

    @property
    def breached(self) -> bool:
        """Whether something was returned that could not be compared at all."""


R = TypeVar("R", bound=Verdicts)
UNANSWERED = "it holds float arrays, but there is no gradient for it: name in wrt= what moves, if it is a setting"
NAMED = 3  # outputs at most, in one sentence
PASS = 45  # evaluations of the forward for each oracle: a pass in float64 needs 16 to 45
PATIENCE = "Raise timeout=, or look for a loop that ends by the size of its numbers."
STREAM = 0x67726164  # our own: default_rng(seed) may have drawn the user's arguments, which no cotangent must equal


class Settings(NamedTuple):
    """What a check was asked for, checked; :func:`gradcheck.examine_backward` says what each of these is.

    Where a gradient is wrong is looked for if it is to be ``located``.
    """

    wrt: Chosen
    tol: float | None
    seed: int
    strict: bool
    hints: Hints
    timeout: float | None
    progress: Callable[[int, int], None] | None
    replay: str
    located: bool = True


def examined(
    settings: Settings, forward: Forward, backward: Backward, args: Sequence[Any], oracles: tuple[Oracle, ...]
) -> tuple[Report, Arguments]:
    """Return the report of a pair of functions of real arrays at a point, as ``oracles`` measure it, and what moved."""
    rng = np.random.default_rng((settings.seed, STREAM))
    arguments = Arguments.of(forward, args, settings.wrt)
    calls = Calls(settings.progress, PASS * len(oracles))
    subject = Subject(calls.counted(forward), calls.called(backward), oracles, settings.tol, rng)
    told = functools.partial(
        Report,
        name_of(forward),
        oracles=tuple(map(name_of, oracles)),
        seed=settings.seed,
        replay=settings.replay,
    )
    hints = settings.hints
    try:
        claim, findings, laws = within(settings.timeout, calls, lambda: _examined(subject, arguments, calls, settings))
    except TookTooLongError as late:
        lost = undecided(late, arguments.layout)
        return withheld(told(lost, evaluations=calls.count), hints), arguments
    if settings.strict:
        laws = [law._replace(verdict=Verdict.FAIL) if law.verdict is Verdict.PASS else law for law in laws]
        findings = {path: strictly(finding) for path, finding in findings.items()}
    findings = under(laws, findings)
    whole = [law for law in laws if not law.path]
    broken = tuple(law.sentence for law in whole if law.verdict is Verdict.FAIL)
    remarks = (*(law.sentence for law in whole if law.verdict is Verdict.PASS), *left_out(claim.left_out))
    inquiry = (
        deferred(replace(subject, forward=forward, backward=backward), claim, findings) if hints is True else Answers
    )
    tolerance = None if broken else tolerance_for(findings)
    report = told(
        findings, broken=broken, evaluations=calls.count, inquiry=inquiry, remarks=remarks, tolerance=tolerance
    )
    return withheld(report, hints), claim.arguments


def _examined(
    subject: Subject, arguments: Arguments, calls: Calls, settings: Settings
) -> tuple[Claim, dict[str, Finding], list[Breach]]:
    """Return what the pair claims, what was measured of every argument, and the laws that it breaks."""
    claim = subject.claim(arguments, widen=settings.wrt is None, watch=True)
    calls.purpose = "the laws of behaviour"
    unsteady, laws = subject.laws(claim)
    calls.purpose = "a probe of the gradients"
    return claim, _findings(subject, claim, arguments.layout, unsteady, located=settings.located), laws


def left_out(paths: Sequence[str]) -> tuple[str, ...]:
    """Say which outputs nobody differentiates: that is no fault, however strict a check is."""
    if not paths:
        return ()
    named = by_name([*paths[:NAMED], *(["others"] if len(paths) > NAMED else [])])
    which = "is" if len(paths) == 1 else "are"
    return (f"{named} {which} left out: what holds no floats, or is declared to have no derivative, has none.",)


def _findings(
    subject: Subject, claim: Claim, asked: Layout, unsteady: str | None, *, located: bool
) -> dict[str, Finding]:
    """Return what is found of every argument: what was measured, unless nothing could be."""
    findings = subject.measure(claim, located=located)
    if any(finding.conventions for finding in findings.values()):
        findings = subject.settle_kinks(claim.arguments, findings)
    if unsteady or all(finding.reason == VACUOUS for finding in findings.values()):
        findings = {
            path: replace(finding, verdict=Verdict.INCONCLUSIVE, reason=unsteady or finding.reason)
            for path, finding in findings.items()
        }
    for unanswered, shape in zip(asked.paths, asked.shapes, strict=True):
        if unanswered not in findings:
            findings[unanswered] = Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=UNANSWERED)
    for path, (shape, reason) in claim.gradients.uncompared.items():
        findings[path] = Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=reason)
    return findings


def undecided(late: TookTooLongError, layout: Layout) -> dict[str, Finding]:
    """Return what is found of every argument where a call did not return in time."""
    return {
        path: Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=f"{late}. {PATIENCE}")
        for path, shape in zip(layout.paths, layout.shapes, strict=True)
    }


def under(laws: Iterable[Breach], findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """Return the findings under laws that do not hold, each for one gradient or for the backward as a whole."""
    judged = dict(findings)
    for law in laws:
        for path in [law.path] if law.path else judged:
            finding = judged[path]
            if law.verdict is Verdict.FAIL and law.path:
                judged[path] = replace(finding, verdict=Verdict.FAIL, reason=law.sentence)
            elif law.verdict is Verdict.INCONCLUSIVE and finding.verdict is Verdict.PASS:
                judged[path] = replace(finding, verdict=Verdict.INCONCLUSIVE, reason=law.sentence)
            elif law.verdict is Verdict.PASS and law.path:
                judged[path] = replace(finding, remark=law.sentence)
    return judged


def strictly(finding: Finding) -> Finding:
    """Return a finding of which a remark is a failure."""
    if finding.verdict is not Verdict.PASS or finding.remark is None:
        return finding
    return replace(finding, verdict=Verdict.FAIL, reason=finding.remark)


def oracles_of(oracle: Oracle | Sequence[Oracle] | None, reference: Callable[..., Any] | None) -> tuple[Oracle, ...]:
    """Return who measures; by default differences, and autodiff as well where there is a ``reference``.

    Raises:
        TypeError: one of them is no function.
    """
    if oracle is None:
        return (central_difference,) if reference is None else (central_difference, autodiff(reference))
    oracles = tuple(oracle) if isinstance(oracle, tuple | list) else (oracle,)
    came = next((describe(each) for each in oracles if not callable(each)), None if oracles else "empty")
    if came:
        raise TypeError(
            f"oracle must be a function such as central_difference, complex_step or autodiff(reference), or several "
            f"in a tuple, but it is {came}. Pass one of these, or leave it out."
        )
    return oracles


def passed(report: R) -> R:
    """Return a report that passes; raise what another one deserves.

    Raises:
        GradientError, ContractError, InconclusiveError: it does not pass.
    """
    __tracebackhide__ = True
    if report.verdict is Verdict.PASS:
        return report
    if report.verdict is Verdict.INCONCLUSIVE:
        raise InconclusiveError(report)
    raise (ContractError if report.breached else GradientError)(report)
