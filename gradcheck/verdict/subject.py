"""The pair under examination: what it claims at a point, and what laws and oracles say to that. Level 4."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.oracles import Oracle
from gradcheck.oracles.estimate import pushforward_of
from gradcheck.pairing import Pairing, call
from gradcheck.report import Finding, Verdict
from gradcheck.trees import Array, is_discrete, leaves, norm, rebuild, rounding_unit
from gradcheck.verdict.behaviour import Watched, answers, breaches, run_again
from gradcheck.verdict.case import Case
from gradcheck.verdict.crossexamine import cross_examine
from gradcheck.verdict.judge import KINK, judge
from gradcheck.verdict.kinks import JUMPING, Settled, at_folds, beside, settle
from gradcheck.verdict.laws import Claims, coarse, match_gradients, read
from gradcheck.verdict.memory import shared
from gradcheck.verdict.returned import answered
from gradcheck.verdict.rounding import rounding_of_gradients
from gradcheck.verdict.sketch import WHOLE, Drawn, Sketch, sketch
from gradcheck.verdict.trial import Breach, Trial, run

__all__ = ["Backward", "Forward", "Subject", "dtype_kept"]

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]
Findings = dict[str, Finding]

NEARBY = 3  # points beside a kink are tried until all can be decided there
SAME = 1e-6  # two forward calls that differ by more than this part of the output are not one function
EXTREME = 1e100  # outputs that are larger, or all smaller than its inverse, are brought to 1,
UNEVEN = 2.0**10  # and so is every output that is by more than this smaller than another,
SINGLE = 4  # if its numbers have so many bytes: a power of two may leave the range of fewer
FINER = 0.1  # rounding units of a gradient: a slope measured to this part of it comes from code in a higher precision


class Claim(NamedTuple):
    """What the pair claims at a point: the output, a cotangent and the gradients that it gives.

    Of a large output a sketch is ``kept``, and a large cotangent is ``drawn`` when it is asked for. ``vector`` holds
    the gradients as one flat float64 vector, zero where there is none; those in ``gradients`` that are float64 are
    views of it. ``left_out`` are the paths of outputs that have no derivative. ``watched`` says what the first run
    showed of the laws of behaviour, None if nobody looked.
    """

    forward: Forward
    arguments: Arguments
    kept: Any
    drawn: Any
    gradients: Claims
    vector: Array
    left_out: tuple[str, ...] = ()
    watched: Watched | None = None

    @property
    def out(self) -> Any:
        """The output; a large one is computed again each time."""
        return call(self.forward, self.arguments.fresh())[0] if self.is_sketched else self.kept

    @property
    def cotangent(self) -> Any:
        """The cotangent; a large one is drawn again each time."""
        found = [leaf for _, leaf in leaves(self.drawn, "dout")]
        return rebuild(self.drawn, (np.asarray(leaf) if isinstance(leaf, Drawn) else leaf for leaf in found))

    @property
    def is_sketched(self) -> bool:
        """Whether anything of the output was not kept."""
        return any(isinstance(leaf, Sketch) for _, leaf in leaves(self.kept, "out"))

    @property
    def is_double(self) -> bool:
        """Whether every argument that moves and every output is float64 as it was given; a sketch does not say."""
        outputs = [np.asarray(leaf).dtype for _, leaf in leaves(self.kept, "out") if not is_discrete(leaf)]
        return all(dtype == np.float64 for dtype in (*self.arguments.layout.dtypes, *outputs))


@dataclass(frozen=True)
class Subject:
    """A forward and its backward, who measures, how sharp a pass must be, and the source of all randomness."""

    forward: Forward
    backward: Backward
    oracles: tuple[Oracle, ...]
    tol: float | None
    rng: np.random.Generator

    def claim(self, arguments: Arguments, *, widen: bool = False, watch: bool = False) -> Claim:
        """Return what the pair claims at a random cotangent.

        With ``widen`` an argument that was taken to stay moves if the backward returns a gradient for it. With
        ``watch`` the backward is called once more with its cache, and what that shows is noted.
        """
        left_out: list[str] = []

        def draw(out: Any) -> Any:
            left_out.extend(path for path, leaf in leaves(out, "out") if is_discrete(leaf))
            found = [leaf for _, leaf in leaves(out, "out")]
            scales = _balance(found)
            return rebuild(out, (_normal_like(leaf, self.rng, s) for leaf, s in zip(found, scales, strict=True)))

        first = run(self.forward, self.backward, arguments, draw)
        who = name_of(self.backward)
        reading, claims = read(who, first.returned, arguments)
        if widen and not claims.breaches:
            arguments, uncompared = answered(reading, first.returned, arguments)
            claims = match_gradients(who, first.returned, arguments)._replace(uncompared=uncompared)
        vector = arguments.layout.flatten(0.0 if g is None else g for g in claims.gradients.values())
        views = zip(claims.gradients.items(), arguments.layout.unflatten(vector), strict=True)
        own = {path: None if g is None else view if g.dtype == np.float64 else g.copy() for (path, g), view in views}
        given = (first.out, first.cotangent, claims._replace(gradients=own), vector, tuple(left_out))
        claim = Claim(self.forward, arguments, *given)
        if not watch or claims.breach:
            return claim
        trial = self._trial(claim)
        remarks = shared(trial.who, claims.gradients, first, arguments)
        broken, unclean, cache = (*first.written, *remarks), bool(first.written), first.cache
        del (
            first,
            claims,
            views,
            reading,
        )  # what was returned, and the copies of the arguments unless the cache is these
        return claim._replace(watched=Watched(broken, None if unclean else answers(trial, cache, self.rng)))

    @np.errstate(all="ignore")
    def unsteady(self, claim: Claim) -> str | None:
        """Say how much the forward differs from call to call, None where it does not.

        One that gives something else than before the backward was called, but the same from now on, is steady itself.
        """
        first, again = claim.kept, call(self.forward, claim.arguments.fresh())[0]
        if (apart := _drift(first, again)) and not _drift(again, call(self.forward, claim.arguments.fresh())[0]):
            return None
        return apart and (
            f"the forward is not deterministic: two calls differ by {apart}. "
            "Pass what it draws as an argument, or a generator, of which every call gets a copy"
        )

    @np.errstate(all="ignore")
    def laws(self, claim: Claim) -> tuple[str | None, list[Breach]]:
        """Return how unsteady the forward is, None where it is not, and the laws that the pair breaks then.

        The second call of the forward that the laws need tells, unless its output is another one.
        """
        if breach := claim.gradients.breach:
            return self.unsteady(claim), [Breach(None, breach)]
        trial = self._trial(claim)
        again = run_again(trial)
        unsteady = self.unsteady(claim) if again is None or again.off > SAME else None
        return unsteady, [] if unsteady else breaches(trial, self.rng, claim.watched, again)

    @np.errstate(all="ignore")
    def broken_laws(self, claim: Claim) -> list[Breach]:
        """Return the laws of behaviour that the pair breaks."""
        return breaches(self._trial(claim), self.rng, claim.watched)

    @np.errstate(all="ignore")
    def measure(self, claim: Claim, *, located: bool = True) -> Findings:
        """Return a finding for every leaf that moves; of a wrong one also where it is wrong, if ``located``."""
        arguments, claims, cotangent = claim.arguments, claim.gradients, claim.cotangent
        known = claim.kept if claim.is_double else None
        pairing = Pairing.at_point(self.forward, arguments, cotangent, known)

        @functools.cache
        def rounding() -> tuple[Array, Array]:
            return rounding_of_gradients(self.forward, self.backward, cotangent, claims.gradients, pairing)

        case_of = functools.partial(self._case, pairing, claim, rounding)
        cases = {name_of(oracle): replace(case_of(oracle), located=located) for oracle in self.oracles}
        found = {name: _judged(case, claims) for name, case in cases.items()}
        doubtful = any(finding.verdict is not Verdict.PASS for one in found.values() for finding in one.values())
        if doubtful and at_folds(self.forward, self.backward, arguments, cotangent, self.rng):
            found = {name: _doubted(one) for name, one in found.items()}
        examined = {
            path: cross_examine(leaf, {name: one[path] for name, one in found.items()}, cases)
            for leaf, path in enumerate(arguments.layout.paths)
        }
        return dtype_kept(name_of(self.backward), next(iter(cases.values())), claims.gradients, examined)

    @np.errstate(all="ignore")
    def settle_kinks(self, arguments: Arguments, findings: Findings) -> Findings:
        """Return the findings beside the kinks at this point, and whether the gradients at it are conventions."""
        try:
            nearby = self._nearby(arguments)
        except ValueError:  # not finite there: nothing more can be said
            return findings
        settled, conventions = dict(findings), sum(finding.conventions for finding in findings.values())
        broken = {path for path, one in findings.items() if one.verdict is Verdict.FAIL and math.isnan(one.error)}
        for path in nearby.keys() - broken:
            settled[path] = replace(nearby[path], conventions=conventions)
        passed = [i for i, path in enumerate(arguments.layout.paths) if settled[path].verdict is Verdict.PASS]
        if not passed:
            return settled
        cotangent = self.claim(arguments).cotangent
        found = settle(self.forward, self.backward, arguments, cotangent, passed, self.rng)
        for leaf in passed:
            path = arguments.layout.paths[leaf]
            settled[path] = _settled(settled[path], found, leaf)
        return settled

    def _nearby(self, arguments: Arguments) -> Findings:
        """Return what is found beside a point, where something is."""
        for _ in range(NEARBY):
            nearby = self.measure(self.claim(beside(arguments, self.rng)))
            if all(finding.verdict is not Verdict.INCONCLUSIVE for finding in nearby.values()):
                break
        return nearby

    def _case(
        self, pairing: Pairing, claim: Claim, rounding: Callable[[], tuple[Array, Array]], oracle: Oracle
    ) -> Case:
        """Return what one oracle has to judge: all leaves that have a gradient."""
        layout, point, given = pairing.arguments.layout, _point(pairing.arguments), claim.gradients.gradients
        judged = tuple(i for i, path in enumerate(layout.paths) if given[path] is not None)
        measure = pushforward_of(oracle, pairing, point)
        return Case(claim.vector, point, layout, judged, measure, rounding, pairing, self.tol, self.rng)

    def _trial(self, claim: Claim) -> Trial:
        gradients = {path: g for path, g in claim.gradients.gradients.items() if g is not None}
        rounded = functools.partial(self._rounded, claim)
        arguments, tol = claim.arguments, self.tol or 0.0
        return Trial(self.forward, self.backward, arguments, claim.kept, claim.drawn, gradients, tol, rounded)

    def _rounded(self, claim: Claim) -> dict[str, float]:
        """Return the norm of the rounding of gradients that are no more than that, as other precisions show it."""
        arguments, cotangent = claim.arguments, claim.cotangent
        pairing = Pairing.at_point(self.forward, arguments, cotangent, claim.kept if claim.is_double else None)
        claimed = claim.gradients.gradients
        known, random = rounding_of_gradients(self.forward, self.backward, cotangent, claimed, pairing)
        rounding = {}
        for path, part, dtype in zip(
            arguments.layout.paths, arguments.layout.slices, arguments.layout.dtypes, strict=True
        ):
            rest = norm(known[part]) + norm(random[part])
            if dtype.itemsize >= SINGLE and norm(claim.vector[part]) <= rest:
                rounding[path] = rest
        return rounding


def dtype_kept(who: str, case: Case, claimed: Mapping[str, Array | None], findings: Findings) -> Findings:
    """Fail what is claimed in a lower precision than both its leaf and the output have, whatever its numbers are."""
    layout, kept = case.layout, dict(findings)
    for leaf, path in enumerate(layout.paths):
        gradient = claimed[path]
        if gradient is None or (unit := rounding_unit(gradient.dtype)) <= max(case.unit(leaf), case.pairing.unit):
            continue
        slope = case.pushforward(case.tangent([(leaf, 1.0)]))
        if slope.error + slope.kink < FINER * unit * case.norm(leaf):  # float32 inside the forward is noise
            sentence = coarse(who, path, gradient.dtype, layout.dtypes[leaf])
            kept[path] = replace(findings[path], verdict=Verdict.FAIL, reason=sentence)
    return kept


def _drift(before: Any, now: Any) -> str | None:
    """Say by how much of which output two calls differ, None where they do not."""
    for (path, kept), (_, came) in zip(leaves(before, "out"), leaves(now, "out"), strict=True):
        apart, size = norm(sketch(came).numbers - sketch(kept).numbers), sketch(kept).norm
        if apart > SAME * size:
            return f"{apart / size:.1e} of {path}"
    return None


def _point(arguments: Arguments) -> Array:
    """Return the flat point to be read: a view where one array is all that moves, and nothing need be copied."""
    found = arguments.moving_leaves
    if len(found) == 1 and isinstance(found[0], np.ndarray) and found[0].dtype == np.float64:
        view = np.ravel(found[0]).view()
        view.flags.writeable = False
        return view
    return arguments.point


def _judged(case: Case, claims: Claims) -> Findings:
    """Return a finding for every leaf: a failure for one that has no gradient to judge."""
    breached = {
        path: Finding(Verdict.FAIL, shape, math.nan, math.inf, reason=claims.breaches.get(path, "not compared"))
        for path, shape in zip(case.layout.paths, case.layout.shapes, strict=True)
    }
    return breached | judge(case)


def _balance(out: Sequence[Any]) -> list[float]:
    """Return a power of two for the cotangent of each leaf of the output.

    It is 1 unless one leaf would drown in the rounding of another, as a loss of 1e-14 beside one of 1, so that what
    depends on it alone could be anything; or squares of it would overflow.
    """
    sizes = [float(np.max(np.abs(np.asarray(leaf, dtype=np.float64)), initial=0.0)) for leaf in out]
    top = max(sizes)
    level = top if 1 / EXTREME < top < EXTREME else 1.0
    fine = [np.asarray(leaf).dtype.itemsize >= SINGLE for leaf in out]
    uneven = [s > 0 and not 1 / UNEVEN <= s / level <= UNEVEN for s in sizes]
    return [
        2.0 ** round(math.log2(level) - math.log2(s)) if scaled and wide else 1.0
        for s, scaled, wide in zip(sizes, uneven, fine, strict=True)
    ]


@np.errstate(all="ignore")
def _normal_like(leaf: Any, rng: np.random.Generator, scale: float) -> Any:
    """Return a random cotangent of a leaf of the output; zeros of float64 for one of integers, which cannot change."""
    if is_discrete(leaf):
        return np.zeros(np.shape(leaf))
    if isinstance(leaf, np.ndarray) and leaf.size > WHOLE:
        return Drawn(leaf.shape, leaf.dtype, int(rng.integers(2**63)), scale)
    drawn = scale * rng.standard_normal(np.shape(leaf))
    return np.asarray(drawn, dtype=leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)


def _settled(finding: Finding, found: Settled, leaf: int) -> Finding:
    """Return the finding about a leaf that is right beside the point, with what was found at the point."""
    if leaf in found.wrong:
        reason, entries = found.wrong[leaf]
        worst = next(iter(entries), None)
        return replace(finding, verdict=Verdict.FAIL, error=math.inf, reason=reason, worst=worst, wrong_entries=entries)
    if found.sentence is None:
        return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=JUMPING)
    return replace(finding, reason="; ".join(filter(None, [found.sentence, finding.reason])))


def _doubted(findings: Findings) -> Findings:
    """Call undecided what is not right by its numbers."""
    return {
        path: replace(finding, verdict=Verdict.INCONCLUSIVE, reason=KINK, conventions=1)
        if finding.verdict is not Verdict.PASS and not math.isnan(finding.error)
        else finding
        for path, finding in findings.items()
    }
