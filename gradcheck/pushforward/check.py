"""The check of a forward-mode rule: is what it pushes forward right, and how do we know? Level 4."""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.adapters.arrays import is_foreign
from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.calls import Calls, TookTooLongError, within
from gradcheck.complexes import conjugate, joined, of_wholes, passed_of
from gradcheck.examination import PASS, STREAM, left_out, oracles_of, passed, strictly, undecided, under
from gradcheck.hints import Hints, must_be_hints, tolerance_for, withheld
from gradcheck.inquiry import replay
from gradcheck.kinds import must_be_for, of_that_kind
from gradcheck.oracles import Oracle
from gradcheck.pairing import call
from gradcheck.pushforward.examine import Examination, Findings
from gradcheck.pushforward.laws import laws
from gradcheck.pushforward.place import Place
from gradcheck.pushforward.rule import Answer
from gradcheck.pushforward.why import why
from gradcheck.report import Answers, Finding, Report, Verdict
from gradcheck.settings import must_be_functions, must_be_numbers, must_be_yes_or_no
from gradcheck.trees import Array
from gradcheck.verdict.judge import VACUOUS
from gradcheck.verdict.trial import Breach
from gradcheck.witness import tell, unwitnessed

__all__ = ["check_pushforward", "examine_pushforward"]


def check_pushforward(
    function: Callable[..., Any],
    pushforward: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
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
    surrogate: Callable[..., Any] | None = None,
) -> Report:
    """Check a hand-written forward-mode rule; return the report if it passes, and raise if it does not.

    Takes what :func:`examine_pushforward` takes.

    Raises:
        GradientError: the rule is wrong; ``error.report`` says where.
        ContractError: the rule returned something that is no tangent of the output.
        InconclusiveError: it could not be decided; ``error.report`` says why.
        TypeError, ValueError: as :func:`examine_pushforward`.
    """
    __tracebackhide__ = True
    report = examine_pushforward(
        function,
        pushforward,
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
        surrogate=surrogate,
    )
    return passed(report)


def examine_pushforward(
    function: Callable[..., Any],
    pushforward: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
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
    surrogate: Callable[..., Any] | None = None,
) -> Report:
    """Examine a forward-mode rule (a jvp) and report what was found; never raises because of a number.

    The tangent of the output is a sum with one term for each argument that moves, ẏ = Σ (∂y/∂xₖ) ẋₖ. The report has a
    finding for each term, under the name of its argument; its entries are those of the output, ``dout[2, 3]``.

    Args:
        function: ``function(*args) -> out``, without a cache.
        pushforward: ``pushforward(primals, tangents) -> (out, tangent of out)``, as the rule of a ``jax.custom_jvp``;
            or the tangent alone. Both are tuples with one value for each argument, and the tangents are like the
            primals: zeros of numbers that do not move, and None of what is no number.
        args: the point, a tuple of the arguments, or a dict of them by name; as for :func:`examine_backward`.
        oracle: who measures; by default central differences, and autodiff as well where there is a ``reference``.
        reference: the same function in ``jax.numpy``.
        wrt: what moves: names or positions of arguments, or leaves of them.
        tol: the relative error of a term that is tolerated, as for :func:`examine_backward`.
        seed: of the tangents and the cotangents; the report has the one that was drawn.
        strict: whether remarks fail.
        hints: how much is said of what is wrong, as for :func:`examine_backward`.
        timeout: for how many seconds one call may last; by default for ever.
        progress: called after each evaluation of the function with how many there were and how many are likely.
        surrogate: the function whose derivative the rule claims, where that is another one.

    Raises:
        TypeError, ValueError: the function, an argument or a setting is not usable; before any number is compared.
        OracleError: an oracle cannot run the function.
    """
    must_be_functions(
        {"function": function, "pushforward": pushforward},
        {"reference": reference, "progress": progress, "surrogate": surrogate},
    )
    must_be_numbers(tol, seed, timeout)
    must_be_yes_or_no("strict", strict)
    must_be_hints(hints)
    seed, given = secrets.randbits(32) if seed is None else int(seed), (function, pushforward, args)
    settings = {"oracle": oracle, "reference": reference, "wrt": wrt, "tol": tol, "strict": bool(strict) or None}
    settings |= {"timeout": timeout, "surrogate": surrogate}
    again = replay(function, pushforward, seed, settings, "examine_pushforward", ("function", "pushforward"))
    place = Place.of(function, pushforward, args, surrogate, reference)
    oracles = oracles_of(oracle, place.reference)
    calls = Calls(progress, PASS * len(oracles))
    arguments = Arguments.of(place.function, place.args, wrt)
    told = functools.partial(
        Report, name_of(place.function), oracles=tuple(map(name_of, oracles)), seed=seed, replay=again, noun="term"
    )

    def examined(place: Place) -> tuple[Place, Examination, Array, Findings, list[Breach]]:
        counted, called = calls.counted(place.function), calls.called(place.pushforward)
        out = call(counted, arguments.fresh())
        if place.home is None and is_foreign(out):  # of real arguments, as that of a Fourier transform
            return examined(place.at_home())
        computes, rng = place.computes and calls.called(place.computes), np.random.default_rng((seed, STREAM))
        measure = oracles_of(oracle, place.reference)
        at_point = Examination.at(counted, called, arguments, measure, tol, rng, computes, out)
        return place, *_examined(at_point, calls)

    with of_that_kind("check_pushforward", *given):
        try:
            place, examination, tangent, findings, broken = within(timeout, calls, lambda: examined(place))
        except TookTooLongError as late:
            lost = joined(undecided(late, arguments.layout), place.paths)
            return tell(place.function, None, arguments, withheld(told(lost, evaluations=calls.count), hints))
    if strict:
        findings = {path: strictly(finding) for path, finding in findings.items()}
    findings = under(broken, findings)
    wrong = [path for path, finding in findings.items() if finding.verdict is Verdict.FAIL]
    rule = replace(examination.rule, function=place.function, pushforward=place.pushforward)

    def explained() -> Answers:
        def passing(turned: tuple[bool, bool]) -> set[str]:
            with unwitnessed():
                other = examine_pushforward(*place.turned(turned), place.args, wrt=wrt, tol=tol, seed=seed, hints=False)
            return passed_of(other)

        named = conjugate(rule.who, wrong, place.paths, passing, "tangent") if place.has_complex else None
        return named or of_wholes(why(rule, tangent, wrong), place.paths)

    sentences = tuple(law.sentence for law in broken)
    report = told(
        joined(findings, place.paths),
        broken=sentences,
        evaluations=calls.count,
        remarks=left_out(rule.left_out),
        tolerance=None if sentences else tolerance_for(findings),
        inquiry=explained if wrong else Answers,
    )
    if report.breached:
        must_be_for("check_pushforward", *given)
    return tell(place.function, None, arguments, withheld(report, hints))


def _examined(examination: Examination, calls: Calls) -> tuple[Examination, Array, Findings, list[Breach]]:
    """Return what is found of the term of each argument along which tangent, and the laws that the rule breaks."""
    tangent, layout = examination.tangent(), examination.rule.arguments.layout
    answer = examination.rule.claim(tangent)
    if not isinstance(answer, Answer):
        broken = Finding(Verdict.FAIL, (), math.nan, math.inf, reason=answer)
        findings = {p: replace(broken, shape=s) for p, s in zip(layout.paths, layout.shapes, strict=True)}
        return examination, tangent, findings, []
    calls.purpose = "the laws of behaviour"
    with np.errstate(all="ignore"):
        pushed = examination.parts(tangent, answer)
        parts = [part for _, part in pushed]
        broken_laws = list(laws(examination.rule, tangent, answer, parts, examination.rng))
    calls.purpose = "a probe of the tangent"
    findings = examination.findings(tangent, pushed)
    if all(finding.reason == VACUOUS for finding in findings.values()):
        findings = {path: replace(each, verdict=Verdict.INCONCLUSIVE) for path, each in findings.items()}
    return examination, tangent, findings, broken_laws
