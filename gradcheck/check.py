"""The check: is a hand-written backward right, and how do we know? Level 4.

laws        what needs no oracle: arity, structure, shape, finiteness
behaviour   likewise: linear in the cotangent, repeatable, writing into nothing
probes      the one identity, and what agreeing with it proves
judge       from probes along random tangents to a verdict for each argument
locate      the wrong entries of a wrong gradient
"""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.calls import Calls, TookTooLongError, within
from gradcheck.errors import ContractError, GradientError, InconclusiveError
from gradcheck.hints import Hints, must_be_hints, tolerance_for, withheld
from gradcheck.inquiry import deferred, replay
from gradcheck.oracles import Oracle, autodiff, central_difference
from gradcheck.report import Answers, Finding, Report, Verdict
from gradcheck.settings import must_be_functions, must_be_numbers, must_be_yes_or_no
from gradcheck.trees import Layout, describe
from gradcheck.verdict.judge import VACUOUS
from gradcheck.verdict.subject import Backward, Claim, Forward, Subject
from gradcheck.verdict.trial import Breach
from gradcheck.witness import tell

__all__ = ["check_backward", "decide", "examine_backward"]

UNANSWERED = "it holds float arrays, but there is no gradient for it: name in wrt= what moves, if it is a setting"
PASS = 45  # evaluations of the forward for each oracle: a pass in float64 needs 16 to 45
PATIENCE = "Raise timeout=, or look for a loop that ends by the size of its numbers."
STREAM = 0x67726164  # our own: default_rng(seed) may have drawn the user's arguments, which no cotangent must equal


def check_backward(
    forward: Forward,
    backward: Backward,
    args: Sequence[Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a hand-written backward; return the report if it passes, and raise if it does not.

    Takes what :func:`examine_backward` takes.

    Raises:
        GradientError: the backward is wrong; ``error.report`` says where.
        ContractError: the backward returned something that is no gradient of its arguments.
        InconclusiveError: it could not be decided; ``error.report`` says why.
        TypeError, ValueError: as :func:`examine_backward`.
    """
    __tracebackhide__ = True
    report = examine_backward(
        forward,
        backward,
        args,
        oracle=oracle,
        reference=reference,
        wrt=wrt,
        tol=tol,
        seed=seed,
        strict=strict,
        hints=hints,
        timeout=timeout,
        progress=progress,
    )
    if report.verdict is Verdict.PASS:
        return report
    if report.verdict is Verdict.INCONCLUSIVE:
        raise InconclusiveError(report)
    raise (ContractError if report.breached else GradientError)(report)


def examine_backward(
    forward: Forward,
    backward: Backward,
    args: Sequence[Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Examine a hand-written backward and report what was found; never raises because of a number.

    Args:
        forward: ``forward(*args) -> (out, cache)``; ``out`` is a float array, a number, or a container of them.
            Integers and booleans in it are not differentiated: the backward is handed zeros of float64 for them.
        backward: ``backward(dout, cache) -> gradients``, one for each argument that moves. One that is returned for
            something else moves that too if it is a float, and makes the report inconclusive if it cannot move.
        args: the point, a tuple of the forward's arguments. Float arrays move, also inside tuples, lists, dicts,
            dataclasses, and classes registered with JAX or optree; everything else stays.
        oracle: who measures; by default central differences, and autodiff as well where there is a ``reference``.
        reference: the same function as ``forward``, without the cache, in ``jax.numpy``.
        wrt: what moves: names or positions of arguments, in the order in which the backward returns their gradients, or
            leaves of them such as ``"params['W']"``. A Python float moves if it is named.
        tol: the relative error of an argument's gradient that is tolerated. By default an argument fails if its error
            is certainly above 5e-7 of its norm, or an entry is wrong by more than 5e-4 of its own size and stands
            clear of its bound; what is certainly smaller passes with a remark. With ``tol`` it passes if an error of
            ``tol`` is excluded with probability 1 − 1e-6, also where a smaller one is measured; it fails if what is
            measured is certainly larger; and it is inconclusive if 24 probes cannot tell, which they can where the
            error is below a third of ``tol`` or above twice that. 0 fails whatever can be measured. Of the laws of
            behaviour, being linear alone knows it.
        seed: of the cotangent and the tangents; the report has the one that was drawn.
        strict: whether remarks fail: a gradient that is right and inexact, or memory that is shared.
        hints: whether a failure is explained, and the lines of the backward are marked, when the report is read. For
            graded work False says what is wrong and where, and no repair; ``"places"`` moreover gives no number that
            was measured of a gradient that is not right.
        timeout: for how many seconds one call of the pair may last; by default for ever. If one lasts longer, the
            report is inconclusive and says what it was called for. The check is made in a thread of its own then, in
            a copy of the context. A thread cannot be ended from outside: the one that is left goes on until that call
            returns, and ends with it; it does not keep the process from ending.
        progress: called after each evaluation of the forward with how many there were and how many are likely: as many
            as a pass in float64 needs, and half as many again each time that more turn out to be needed.

    Raises:
        TypeError, ValueError: the forward, an argument or a setting is not usable; before any number is compared.
        OracleError: an oracle cannot run the forward.
        NoReturnError: the pair raises a skip, an exit or the like at the point itself.
    """
    must_be_functions({"forward": forward, "backward": backward}, {"reference": reference, "progress": progress})
    must_be_numbers(tol, seed, timeout)
    must_be_yes_or_no("strict", strict)
    must_be_hints(hints)
    seed = secrets.randbits(32) if seed is None else int(seed)
    rng = np.random.default_rng((seed, STREAM))
    oracles = _oracles(oracle, reference)
    arguments = Arguments.of(forward, args, wrt)
    calls = Calls(progress, PASS * len(oracles))
    subject = Subject(calls.counted(forward), calls.called(backward), oracles, tol, rng)
    settings = {"oracle": oracle, "reference": reference, "wrt": wrt, "tol": tol, "strict": bool(strict) or None}
    told = functools.partial(
        Report,
        name_of(forward),
        oracles=tuple(map(name_of, oracles)),
        seed=seed,
        replay=replay(forward, backward, seed, settings | {"timeout": timeout}),
    )
    try:
        claim, findings, laws = within(timeout, calls, lambda: _examined(subject, arguments, calls, widen=wrt is None))
    except TookTooLongError as late:
        lost = {
            path: Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=f"{late}. {PATIENCE}")
            for path, shape in zip(arguments.layout.paths, arguments.layout.shapes, strict=True)
        }
        return tell(forward, backward, arguments, withheld(told(lost, evaluations=calls.count), hints))
    findings, whole = _under(laws, findings, strict=strict)
    broken = tuple(law.sentence for law in whole if law.verdict is Verdict.FAIL)
    remarks = tuple(law.sentence for law in whole if law.verdict is Verdict.PASS)
    inquiry = (
        deferred(replace(subject, forward=forward, backward=backward), claim, findings) if hints is True else Answers
    )
    tolerance = None if broken else tolerance_for(findings)
    report = told(
        findings, broken=broken, evaluations=calls.count, inquiry=inquiry, remarks=remarks, tolerance=tolerance
    )
    return tell(forward, backward, claim.arguments, withheld(report, hints))


def decide(
    forward: Forward,
    backward: Backward,
    args: Sequence[Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int,
    strict: bool = False,
    timeout: float | None = None,
) -> Verdict:
    """Return the verdict of :func:`examine_backward` alone: where a gradient is wrong is not looked for.

    Raises:
        TypeError, ValueError, OracleError, NoReturnError: as :func:`examine_backward`.
    """
    arguments, calls = Arguments.of(forward, args, wrt), Calls()
    rng = np.random.default_rng((seed, STREAM))
    subject = Subject(calls.counted(forward), calls.called(backward), _oracles(oracle, reference), tol, rng)
    try:
        _, findings, laws = within(
            timeout, calls, lambda: _examined(subject, arguments, calls, widen=wrt is None, located=False)
        )
    except TookTooLongError:
        return Verdict.INCONCLUSIVE
    findings, whole = _under(laws, findings, strict=strict)
    broken = tuple(law.sentence for law in whole if law.verdict is Verdict.FAIL)
    return Report(name_of(forward), findings, (), seed, broken=broken).verdict


def _examined(
    subject: Subject, arguments: Arguments, calls: Calls, *, widen: bool, located: bool = True
) -> tuple[Claim, dict[str, Finding], list[Breach]]:
    """Return what the pair claims, what was measured of every argument, and the laws that it breaks."""
    claim = subject.claim(arguments, widen=widen, watch=True)
    calls.purpose = "the laws of behaviour"
    unsteady, laws = subject.laws(claim)
    calls.purpose = "a probe of the gradients"
    return claim, _findings(subject, claim, arguments.layout, unsteady, located=located), laws


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


def _under(
    laws: Sequence[Breach], findings: Mapping[str, Finding], *, strict: bool
) -> tuple[dict[str, Finding], list[Breach]]:
    """Return the findings under laws that do not hold, and those of these laws that speak of the backward as a whole.

    Where it is ``strict``, a remark is a failure.
    """
    if strict:
        laws = [law._replace(verdict=Verdict.FAIL) if law.verdict is Verdict.PASS else law for law in laws]
        findings = {path: _strictly(finding) for path, finding in findings.items()}
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
    return judged, [law for law in laws if not law.path]


def _strictly(finding: Finding) -> Finding:
    """Return a finding of which a remark is a failure."""
    if finding.verdict is not Verdict.PASS or finding.remark is None:
        return finding
    return replace(finding, verdict=Verdict.FAIL, reason=finding.remark)


def _oracles(oracle: Oracle | Sequence[Oracle] | None, reference: Callable[..., Any] | None) -> tuple[Oracle, ...]:
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
