"""The check of a forward-mode rule: is what it pushes forward right, and how do we know? Level 4."""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.adapters.arrays import at_home, is_foreign
from gradcheck.adapters.signatures import by_keyword, in_order
from gradcheck.arguments import Arguments, Chosen, as_tuple, name_of
from gradcheck.calls import Calls, TookTooLongError, within
from gradcheck.complexes import conjugate, joined, of_wholes
from gradcheck.examination import PASS, PATIENCE, STREAM, oracles_of, passed, strictly, under
from gradcheck.hints import Hints, must_be_hints, tolerance_for, withheld
from gradcheck.inquiry import replay
from gradcheck.kinds import must_be_for, of_that_kind
from gradcheck.oracles import Oracle
from gradcheck.pairing import call
from gradcheck.pushforward.examine import Examination, Findings
from gradcheck.pushforward.laws import laws
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
    home = _Home.of(function, pushforward, args, surrogate, reference, wrt)
    function, pushforward = home.function, home.pushforward
    oracles = oracles_of(oracle, home.reference)
    calls = Calls(progress, PASS * len(oracles))
    rng = np.random.default_rng((seed, STREAM))
    arguments = Arguments.of(function, home.args, wrt)
    told = functools.partial(
        Report, name_of(function), oracles=tuple(map(name_of, oracles)), seed=seed, replay=again, noun="term"
    )

    def examined() -> tuple[Examination, Array, Findings, list[Breach]]:
        counted, called = calls.counted(function), calls.called(pushforward)
        return _examined(Examination.at(counted, called, arguments, oracles, tol, rng, home.computes, home.out), calls)

    try:
        with of_that_kind("check_pushforward", *given):
            examination, tangent, findings, broken = within(timeout, calls, examined)
    except TookTooLongError as late:
        lost = {
            path: Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=f"{late}. {PATIENCE}")
            for path, shape in zip(arguments.layout.paths, arguments.layout.shapes, strict=True)
        }
        return tell(function, None, arguments, withheld(told(lost, evaluations=calls.count), hints))
    if strict:
        findings = {path: strictly(finding) for path, finding in findings.items()}
    findings = under(broken, findings)
    wrong = [path for path, finding in findings.items() if finding.verdict is Verdict.FAIL]
    rule = replace(examination.rule, function=function, pushforward=pushforward)

    def passing(ways: tuple[bool, bool]) -> set[str]:
        with unwitnessed():
            other = examine_pushforward(*home.turned(ways), home.args, wrt=wrt, tol=tol, seed=seed, hints=False)
        return {path for path, finding in other.arguments.items() if finding.verdict is Verdict.PASS}

    def explained() -> Answers:
        named = conjugate(rule.who, wrong, home.paths, passing) if home.paths else None
        return named or of_wholes(why(rule, tangent, wrong), home.paths)

    sentences = tuple(law.sentence for law in broken)
    report = told(
        joined(findings, home.paths),
        broken=sentences,
        evaluations=calls.count,
        tolerance=None if sentences else tolerance_for(findings),
        inquiry=lambda: explained() if wrong else Answers(),
    )
    if report.breached:
        must_be_for("check_pushforward", *given)
    return tell(function, None, arguments, withheld(report, hints))


@dataclass(frozen=True)
class _Home:
    """A function and its pushforward as a check calls them: of positional arguments, which are real arrays of NumPy.

    Attributes:
        computes: what the pushforward computes as the output, where its tangent is that of another function.
        out: the output, if it is known.
        paths: of the complex arrays among the arguments as they were given.
        turned: returns the two with complex tangents conjugated.
    """

    function: Callable[..., Any]
    pushforward: Callable[..., Any]
    computes: Callable[..., Any] | None
    args: tuple[Any, ...]
    reference: Callable[..., Any] | None
    out: Any = None
    paths: tuple[str, ...] = ()
    turned: Callable[[tuple[bool, bool]], tuple[Any, Any]] = tuple  # type: ignore[assignment]

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        pushforward: Callable[..., Any],
        args: Any,
        surrogate: Callable[..., Any] | None,
        reference: Callable[..., Any] | None,
        wrt: Chosen,
    ) -> _Home:
        """Return them as they are given, with a ``surrogate`` if there is one."""
        computes = None if surrogate is None else function
        function = function if surrogate is None else surrogate
        if isinstance(args, Mapping):
            args = in_order(function, args)
            function, computes = by_keyword(function, args), None if computes is None else by_keyword(computes, args)
        point = tuple(args.values()) if isinstance(args, Mapping) else as_tuple(function, args)
        if not is_foreign(point):
            out = call(function, Arguments.of(function, point, wrt).fresh())
            if not is_foreign(out):
                return cls(function, pushforward, computes, point, reference, out)
        home = at_home(function, pushforward, point, reference)
        if computes is not None:
            computes, _ = at_home(computes, pushforward, point).rule()
        return cls(*home.rule(), computes, home.args, home.reference, None, home.paths, home.rule)


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
