"""The check: is a hand-written backward right, and how do we know? Level 4.

laws       what needs no oracle: arity, structure, shape, dtype, finiteness
judge      the identity, probed along random tangents, and what the probes prove
locate     the wrong entries of a wrong gradient
"""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.case import Case
from gradcheck.errors import ContractError, GradientError, InconclusiveError
from gradcheck.judge import VACUOUS, judge
from gradcheck.laws import Claims, match_gradients, split_forward
from gradcheck.oracles import Oracle, autodiff, central_difference
from gradcheck.pairing import Pairing, call
from gradcheck.report import Finding, Report, Verdict
from gradcheck.rounding import rounding_of
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["check_backward", "examine_backward"]

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]


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
    report = examine_backward(forward, backward, args, oracle=oracle, reference=reference, wrt=wrt, tol=tol, seed=seed)
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
) -> Report:
    """Examine a hand-written backward and report what was found; never raises because of a number.

    Args:
        forward: ``forward(*args) -> (out, cache)``; ``out`` is a float array, a number, or a tuple of them.
        backward: ``backward(dout, cache) -> gradients``, one for each argument that moves.
        args: the point, a tuple of the forward's arguments. Float arrays move, also inside tuples, lists and dicts.
        oracle: who measures; by default central differences, and autodiff as well where there is a ``reference``.
        reference: the same function as ``forward``, without the cache, in ``jax.numpy``.
        wrt: names or positions of the arguments that move, in the order in which the backward returns their gradients.
        tol: the relative error that a pass must exclude; by default as little as the numerics allow.
        seed: of the cotangent and the tangents; the report has the one that was drawn.

    Raises:
        TypeError, ValueError: the forward, an argument or a setting is not usable; before any number is compared.
        OracleError: an oracle cannot run the forward.
    """
    if tol is not None and not 0 < tol < 1:
        raise ValueError(
            f"tol must lie between 0 and 1, but it is {tol}. Leave it out to decide as sharply as possible."
        )
    seed = secrets.randbits(32) if seed is None else seed
    rng = np.random.default_rng(seed)
    arguments = Arguments.of(forward, args, wrt)
    oracles = _oracles(oracle, reference)
    out, cache = split_forward(name_of(forward), call(forward, arguments.fresh()))
    cotangent = _cotangent(out, rng)
    claims = match_gradients(name_of(backward), call(backward, (cotangent, cache)), arguments)
    pairing = Pairing.at_point(forward, arguments, cotangent)

    @functools.cache
    def rounding() -> Array:
        return rounding_of(forward, backward, arguments, cotangent, claims)

    findings = [_judge(each, pairing, claims, rounding, tol, rng) for each in oracles]
    merged = {path: _merge([found[path] for found in findings]) for path in arguments.layout.paths}
    if all(finding.reason == VACUOUS for finding in merged.values()):
        merged = {path: replace(finding, verdict=Verdict.INCONCLUSIVE) for path, finding in merged.items()}
    return Report(name_of(forward), merged, tuple(map(name_of, oracles)), seed, claims.breach)


def _judge(
    oracle: Oracle,
    pairing: Pairing,
    claims: Claims,
    rounding: Callable[[], Array],
    tol: float | None,
    rng: np.random.Generator,
) -> dict[str, Finding]:
    """Return a finding for every moving leaf, by one oracle."""
    layout = pairing.arguments.layout
    given = [claims.gradients[path] for path in layout.paths]
    judged = tuple(i for i, gradient in enumerate(given) if gradient is not None)
    zeros = (np.zeros(shape) for shape in layout.shapes)
    gradient = layout.flatten(g if g is not None else zero for g, zero in zip(given, zeros, strict=True))
    point = pairing.arguments.point
    findings = {
        path: Finding(Verdict.FAIL, shape, math.nan, math.inf, reason=claims.breaches.get(path, claims.breach))
        for path, shape in zip(layout.paths, layout.shapes, strict=True)
    }
    if judged:
        case = Case(gradient, point, layout, judged, oracle(pairing, point), rounding, pairing.size, tol, rng)
        findings |= judge(case)
    return findings


def _oracles(oracle: Oracle | Sequence[Oracle] | None, reference: Callable[..., Any] | None) -> tuple[Oracle, ...]:
    if oracle is None:
        return (central_difference,) if reference is None else (central_difference, autodiff(reference))
    oracles = tuple(oracle) if isinstance(oracle, Sequence) else (oracle,)
    for each in oracles:
        if not callable(each):
            raise TypeError(
                f"oracle must be a function such as central_difference, complex_step or autodiff(reference), "
                f"but it is {each!r}. Pass one of these, or a tuple of them."
            )
    return oracles


def _cotangent(out: Any, rng: np.random.Generator) -> Any:
    """Return a random cotangent like ``out``: standard normal, in its container, shape and dtype."""
    return rebuild(out, (_normal_like(leaf, rng) for _, leaf in leaves(out, "out")))


def _normal_like(leaf: Any, rng: np.random.Generator) -> Any:
    drawn = rng.standard_normal(np.shape(leaf))
    return drawn.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)


def _merge(findings: list[Finding]) -> Finding:
    """Return one finding for what several oracles found about one argument."""
    worst = max(findings, key=lambda finding: _SEVERITY[finding.verdict])
    if worst.verdict is Verdict.FAIL and math.isfinite(worst.error):
        contradicting = [f for f in findings if f.verdict is Verdict.PASS and f.bound < worst.error / 2]
        if contradicting:
            reason = (
                f"the oracles contradict each other: one finds an error of {worst.error:.1e}, "
                f"another excludes more than {contradicting[0].bound:.1e}"
            )
            return Finding(Verdict.INCONCLUSIVE, worst.shape, worst.error, math.inf, reason=reason)
    if worst.verdict is Verdict.PASS:
        return min(findings, key=lambda finding: finding.bound)
    return worst


_SEVERITY = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}
