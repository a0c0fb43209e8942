"""The pair under examination: what it claims at a point, and what laws and oracles say to that. Level 4."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.behaviour import Breach, Trial, breaches
from gradcheck.case import Case
from gradcheck.crossexamine import cross_examine
from gradcheck.judge import KINK, judge
from gradcheck.kinks import beside, outside_the_slopes
from gradcheck.laws import Claims, match_gradients, split_forward, unasked
from gradcheck.oracles import Oracle, central_difference
from gradcheck.pairing import Pairing, call
from gradcheck.report import Finding, Verdict
from gradcheck.rounding import rounding_of
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["Backward", "Forward", "Subject"]

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]
Findings = dict[str, Finding]

SAME = 1e-6  # two forward calls that differ by more than this part of the output are not one function


class Claim(NamedTuple):
    """What the pair claims at a point: the output, a cotangent and the gradients that it gives."""

    arguments: Arguments
    out: Any
    cotangent: Any
    gradients: Claims


@dataclass(frozen=True)
class Subject:
    """A forward and its backward, who measures, how sharp a pass must be, and the source of all randomness."""

    forward: Forward
    backward: Backward
    oracles: tuple[Oracle, ...]
    tol: float | None
    rng: np.random.Generator

    def claim(self, arguments: Arguments, *, widen: bool = False) -> Claim:
        """Return what the pair claims at a random cotangent.

        With ``widen`` an argument that was taken to stay moves if the backward returns a gradient for it.
        """
        out, cache = split_forward(name_of(self.forward), call(self.forward, arguments.fresh()))
        out = _copied(out)
        cotangent = rebuild(out, (_normal_like(leaf, self.rng) for _, leaf in leaves(out, "out")))
        returned = call(self.backward, (_copied(cotangent), cache))
        if widen and (names := unasked(returned, arguments)):
            arguments = Arguments.of(self.forward, arguments.values, names)
        claims = match_gradients(name_of(self.backward), returned, arguments)
        copies = {path: None if g is None else g.copy() for path, g in claims.gradients.items()}
        return Claim(arguments, out, cotangent, claims._replace(gradients=copies))

    def unsteady(self, claim: Claim) -> str | None:
        """Say how much the forward differs from call to call, None where it does not."""
        again, _ = call(self.forward, claim.arguments.fresh())
        pairs = zip(leaves(again, "out"), leaves(claim.out, "out"), strict=True)
        for (path, now), (_, before) in pairs:
            apart, size = (float(np.linalg.norm(np.ravel(x))) for x in (np.subtract(now, before, dtype=float), before))
            if apart > SAME * size:
                return (
                    f"the forward is not deterministic: two calls differ by {apart / size:.1e} of {path}. "
                    "Pass what it draws as an argument, or a generator, of which every call gets a copy"
                )
        return None

    def broken_laws(self, claim: Claim) -> list[Breach]:
        """Return the laws of behaviour that the pair breaks."""
        gradients = {path: g for path, g in claim.gradients.gradients.items() if g is not None}
        return breaches(
            Trial(self.forward, self.backward, claim.arguments, claim.out, claim.cotangent, gradients), self.rng
        )

    def measure(self, claim: Claim) -> Findings:
        """Return a finding for every leaf that moves."""
        arguments, _, cotangent, claims = claim
        pairing = Pairing.at_point(self.forward, arguments, cotangent)

        @functools.cache
        def rounding() -> tuple[Array, Array]:
            return rounding_of(self.forward, self.backward, arguments, cotangent, claims, pairing.excursion)

        cases = {name_of(oracle): self._case(oracle, pairing, claims, rounding) for oracle in self.oracles}
        found = {name: _judged(case, claims) for name, case in cases.items()}
        failed = any(finding.verdict is Verdict.FAIL for one in found.values() for finding in one.values())
        if failed and central_difference not in self.oracles and _sees_kink(pairing, self.rng):
            found = {name: _doubted(one) for name, one in found.items()}
        return {
            path: cross_examine(leaf, {name: one[path] for name, one in found.items()}, cases)
            for leaf, path in enumerate(arguments.layout.paths)
        }

    def settle_kinks(self, arguments: Arguments, findings: Findings) -> Findings:
        """Return the findings beside the kinks at this point, and judge the convention at the point itself."""
        try:
            nearby = self.measure(self.claim(beside(arguments, self.rng)))
        except ValueError:  # not finite there: nothing more can be said
            return findings
        conventions = sum(finding.conventions for finding in findings.values())
        settled = {}
        for leaf, (path, finding) in enumerate(nearby.items()):
            if findings[path].verdict is Verdict.FAIL and math.isnan(findings[path].error):
                settled[path] = findings[path]
                continue
            outside = outside_the_slopes(self.forward, self.backward, arguments, leaf, self.rng)
            if finding.verdict is Verdict.PASS and outside:
                settled[path] = replace(finding, verdict=Verdict.FAIL, error=math.inf, reason=outside)
            else:
                reason = f"{KINK}; measured beside it" if finding.reason in (None, KINK) else finding.reason
                settled[path] = replace(finding, reason=reason, conventions=conventions)
        return settled

    def _case(
        self, oracle: Oracle, pairing: Pairing, claims: Claims, rounding: Callable[[], tuple[Array, Array]]
    ) -> Case:
        """Return what one oracle has to judge: all leaves that have a gradient."""
        layout, point = pairing.arguments.layout, pairing.arguments.point
        given = [claims.gradients[path] for path in layout.paths]
        judged = tuple(i for i, gradient in enumerate(given) if gradient is not None)
        gradient = layout.flatten(0.0 if one is None else one for one in given)
        return Case(gradient, point, layout, judged, oracle(pairing, point), rounding, pairing, self.tol, self.rng)


def _judged(case: Case, claims: Claims) -> Findings:
    """Return a finding for every leaf: a failure for one that has no gradient to judge."""
    breached = {
        path: Finding(Verdict.FAIL, shape, math.nan, math.inf, reason=claims.breaches.get(path, "not compared"))
        for path, shape in zip(case.layout.paths, case.layout.shapes, strict=True)
    }
    return breached | judge(case)


def _normal_like(leaf: Any, rng: np.random.Generator) -> Any:
    drawn = rng.standard_normal(np.shape(leaf))
    return drawn.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)


def _copied(tree: Any) -> Any:
    return rebuild(tree, (leaf.copy() if isinstance(leaf, np.ndarray) else leaf for _, leaf in leaves(tree, "tree")))


def _sees_kink(pairing: Pairing, rng: np.random.Generator) -> bool:
    """Whether a difference sees a kink at the point, of which the other oracles know nothing."""
    point = pairing.arguments.point
    return bool(central_difference(pairing, point)(rng.standard_normal(point.size)).kink)


def _doubted(findings: Findings) -> Findings:
    """Call the failures undecided."""
    return {
        path: replace(finding, verdict=Verdict.INCONCLUSIVE, reason=KINK, conventions=1)
        if finding.verdict is Verdict.FAIL and not math.isnan(finding.error)
        else finding
        for path, finding in findings.items()
    }
