"""The folds that meet at a point, and whether a gradient there is a choice at each of them. Level 3.

At a point where units fold (a ReLU at zero, a tie for a maximum) f is linear in each of many cones, to first order, and
no single gradient is right. A hair beside the point f is smooth, and the backward itself gives the gradient g(v) of the
cone that the tangent v points into.

Cones.    g(v) · v has to be the slope of φ from the point along v, which is measured: so the gradients beside are held
          against φ and not against one another.
Folds.    On a half circle of tangents v(t) from v to −v every fold that is a plane is crossed once, and there g jumps
          by D, normal to the plane. Two cones that touch do so where D · v(t) = 0; if g is still the same on both sides
          of that t, no other fold lies between. So a fold costs three pullbacks, not a bisection to the last digit.
Choices.  A convention takes a part of the jump at each fold: it is g(v) + Σ tᵢ Dᵢ with 0 ≤ tᵢ ≤ 1, whichever tᵢ the
          code takes and whatever signs the folds have. A tie that is counted twice leaves the span of the jumps; a ReLU
          of slope 2 at zero leaves the bounds of t.

A gradient that is no such choice is wrong only if no fold was overlooked. The folds found say what g is along any other
tangent; where it is something else, the half circle through that tangent has folds that are new (those of what is
folded already have several jumps each). Looked along are those tangents in which the gradient is out of reach.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gradcheck.trees import Array
from gradcheck.verdict.hair import CURVED, SAME, Hair, Unknown

__all__ = ["Answer", "bounded", "examine"]

FLAT = 1e3  # times a hair: a leaf with so small a part of the largest gradient, which grows with the hair, has none
STEEP = 1e-2  # beyond this, curvature hides the folds
APART = 1e-5  # radians between two folds that can be told apart, or, if that is more,
HAIRS = 64.0  # so many hairs: by as much a fold may be bent
OFF = 1e-6  # a gradient farther than this from every choice, relative to each leaf's own, is none
SLOPE = 1e-4  # likewise for the slope of a cone against the measured one
PERSIST = 1e-6  # of the point: so far a cone has to reach before its slope can be measured
ARCS = 3  # of a half circle are searched by themselves: g may be the same at both ends, as a median is
ALONE = (1e-1, 1e-3)  # how much the other entries move along tangents on which some rise or fall by themselves,
STAYS = 10.0  # and by how much less these move on others;
CUTS = 3  # so often, on average, these change between rising and falling
LOOKS = 8  # tangents of each of these kinds,
BLIND = 16  # and random ones, along all of which the folds found have to say what g is
PLAIN = np.array([0.0, 0.5])  # half a jump, none and all of it, as the distance from half
LIKE = 1e-4  # parts that differ by less are one
FREED = 3  # times each jump may leave its bound in the bounded least squares
EPS = float(np.finfo(np.float64).eps)
NEGLIGIBLE = 1e-9  # a leaf with a gradient below this part of the largest is measured by that
BENT = "the gradient is not constant in cones"
SHORT = "other kinks are too near"
FALSE = "a hair beside the point the gradient is not the slope of the forward"
NONE = "the gradient is none of the conventions that the folds allow"


class Answer(NamedTuple):
    """Whether a gradient is a choice at each fold.

    Attributes:
        holds: None where that is not known.
        reason: why it does not hold, or is not known.
        sharp: whether the jumps are independent, so that a choice is a choice at every single one of them.
        part: which part it takes of a jump, less a half, where only that is wrong; NaN where that is no one part.
        claimed: the gradient at the point, and
        nearest: the choice that is nearest to it, where it is none; by entry that moves.
    """

    holds: bool | None
    reason: str = ""
    sharp: bool = False
    part: float | None = None
    claimed: Array | None = None
    nearest: Array | None = None


class Cone(NamedTuple):
    """The gradient at an angle between two tangents, and its products with both."""

    t: float
    gradient: Array
    products: Array


def examine(hair: Hair, rng: np.random.Generator) -> Answer:
    """Return whether the gradient at the point is a choice at each fold, as far as the entries that move show it."""
    try:
        return _Folds(hair, rng).answer()
    except Unknown as unknown:
        return Answer(None, str(unknown))


class _Folds:
    """The gradient at the point, the cones of a tangent and its opposite, and the jumps between them."""

    def __init__(self, hair: Hair, rng: np.random.Generator) -> None:
        self.hair, self.rng = hair, rng
        self.first = rng.standard_normal(hair.moving.size)
        self.claimed, self.base, self.opposite = (hair.gradient(v) for v in (None, self.first, -self.first))
        sizes = np.maximum.reduce([hair.norms(g) for g in (self.claimed, self.base, self.opposite)])
        curved = hair.gradient(self.first, 2.0) - self.base
        flat = sizes <= np.minimum(CURVED * hair.norms(curved), FLAT * hair.width * sizes.max())
        sizes = np.maximum(sizes, NEGLIGIBLE * sizes.max())
        self.weights = np.divide(1.0, sizes, out=np.zeros(sizes.size), where=~flat & (sizes > 0))
        self.same = CURVED * self._size(curved) + SAME
        if self.same > STEEP * CURVED:
            raise Unknown(BENT)
        self.apart = max(APART, HAIRS * hair.width)
        self.jumps: list[Array] = []
        self.basis = np.empty((0, self.first.size))  # of the span of all jumps, in which every leaf counts alike

    def answer(self) -> Answer:
        """Add half circles until the gradient is a choice, or the folds found say what g is along all tangents."""
        if not all(self._sloped(*cone) for cone in ((self.first, self.base), (-self.first, self.opposite))):
            return Answer(False, FALSE)
        self._search(self._random())
        wanted = self.claimed - self.base
        while True:
            if self._size(left := self._outside(wanted)) > self._slack:
                if not any(self._widened(self.hair.gradient(v) - self.base) for v in self._looks(left)):
                    return self._none(left)
            elif self._size(left := self._beyond(wanted)) > self._slack:
                if not any(self._search(v) for v in self._looks(left) if not self._foretold(v)):
                    return self._none(left, self._part(wanted))
            else:
                return Answer(True, sharp=len(self.basis) == len(self.jumps))

    def _none(self, left: Array, part: float | None = None) -> Answer:
        claimed, nearest = (g / self.hair.spread for g in (self.claimed, self.claimed - left))
        return Answer(False, NONE, part=part, claimed=claimed, nearest=nearest)

    @property
    def _slack(self) -> float:
        return OFF + self.same * (1 + len(self.jumps))

    @property
    def _matrix(self) -> Array:
        """The jumps as columns, in coordinates of the basis."""
        weighted = np.array([self.weights * jump for jump in self.jumps]).reshape(-1, self.first.size)
        matrix: Array = self.basis @ weighted.T
        return matrix

    def _beyond(self, wanted: Array) -> Array:
        """Return what is left of ``wanted`` when the nearest choice is taken off."""
        parts = bounded(self._matrix, self.basis @ (self.weights * wanted))
        left: Array = wanted - sum(part * jump for part, jump in zip(parts, self.jumps, strict=True))
        return left

    def _part(self, wanted: Array) -> float:
        """Return the part that ``wanted`` takes of jumps, less a half, out of bounds; NaN where it takes several such.

        Folds that coincide show as one, and what the code takes at each of them as any part of their sum. But one code
        takes one and the same part, or a plain one, at each fold that is a fold by itself; and where there is but one
        output, and no other cotangent to tell, the same part at all.
        """
        if len(self.basis) > len(self.jumps) or not self.jumps:
            return np.nan
        parts = np.linalg.lstsq(self._matrix, self.basis @ (self.weights * wanted), rcond=None)[0]
        sides = np.abs(parts - 0.5)  # of a fold the part from one side is one less the part from the other
        if not self.hair.is_scalar:
            sides = sides[np.abs(sides[:, None] - PLAIN).min(axis=1) > LIKE]
        return float(sides.max()) if sides.size and np.ptp(sides) <= LIKE and sides.max() > 0.5 else np.nan

    def _outside(self, wanted: Array) -> Array:
        """Return what is left of ``wanted`` outside the span of all jumps."""
        weighted: Array = self.weights * wanted
        for _ in range(2):  # the second time takes off what rounding left
            weighted -= self.basis.T @ (self.basis @ weighted)
        return np.divide(weighted, self.weights, out=np.zeros(weighted.size), where=self.weights > 0)

    def _widened(self, apart: Array) -> bool:
        """Whether the difference of two cones' gradients leaves the span of all jumps, which is then widened by it."""
        left = self.weights * self._outside(apart)
        size = float(np.linalg.norm(left))
        if size <= self._slack:
            return False
        self.basis = np.vstack([self.basis, left / size])
        return True

    def _search(self, second: Array) -> bool:
        """Whether the half circle by way of a ``second`` tangent has jumps that are new; they are kept."""
        before = len(self.jumps)
        for jump in self._half_circle(second):
            if all(self._size(jump - known) > 2 * self.same for known in self.jumps):
                self.jumps.append(jump)
                self._widened(jump)
        return len(self.jumps) > before

    def _sloped(self, tangent: Array, gradient: Array) -> bool:
        """Whether φ has the slope from the point along ``tangent`` that the ``gradient`` of its cone gives."""
        slope, terms = self.hair.slope(tangent, gradient), gradient * tangent
        allowed = float(slope.error) + SLOPE * float(np.linalg.norm(terms))
        if not np.isfinite(allowed) or abs(float(terms.sum()) - float(slope.value)) <= allowed:
            return True
        if self._size(self.hair.gradient(tangent, max(PERSIST / self.hair.width, 2.0)) - gradient) > SLOPE:
            raise Unknown(SHORT)
        return False

    def _looks(self, left: Array) -> Iterator[Array]:
        """Yield tangents along which a fold that was overlooked would show, if it explains what is ``left``.

        An entry that is missing among the winners of a maximum wins where it rises, of a minimum where it falls, and
        of a median where it stays; and one net may hold them all, one beside the other.
        """
        away = self.weights**2 * left
        away *= np.sqrt(away.size) / np.linalg.norm(away)
        for sign, alone in itertools.product((1, -1), ALONE):
            yield sign * away + alone * self._random()
        for _ in range(LOOKS):
            cuts = self.rng.random(away.size) < CUTS / away.size
            yield (-1.0) ** np.cumsum(cuts) * away + ALONE[-1] * self._random()
            yield self._random() / (1 + (STAYS * away) ** 2)
        for _ in range(BLIND):
            yield self._random()

    def _foretold(self, tangent: Array) -> bool:
        """Whether the folds found say what g is along ``tangent``: each jump counts whose plane lies between."""
        told = self.base + sum(jump for jump in self.jumps if (jump @ tangent) * (jump @ self.first) < 0)
        return self._size(self.hair.gradient(tangent) - told) <= self.same * (1 + len(self.jumps))

    def _half_circle(self, second: Array) -> Iterator[Array]:
        """Yield the jumps between the first tangent and its opposite by way of a second one."""

        def cone(t: float, gradient: Array | None = None) -> Cone:
            if gradient is None:
                gradient = self.hair.gradient(np.cos(t) * self.first + np.sin(t) * second)
            return Cone(t, gradient, np.array([gradient @ self.first, gradient @ second]))

        inner = (cone(float(t)) for t in np.linspace(0, np.pi, ARCS + 1)[1:-1])
        cones = [cone(0.0, self.base), *inner, cone(np.pi, self.opposite)]
        arcs = list(itertools.pairwise(cones))
        while arcs:
            start, end = arcs.pop()
            if self._one(start, end):
                continue
            if end.t - start.t <= 4 * self.apart:
                yield end.gradient - start.gradient
                continue
            along, across = end.products - start.products
            met = float(np.arctan2(-along, across)) % np.pi
            inside = start.t + 2 * self.apart < met < end.t - 2 * self.apart
            between = cone(met - self.apart if inside else (start.t + end.t) / 2)
            if inside and self._one(start, between):
                start, between = between, cone(met + self.apart)
            arcs += [(start, between), (between, end)]

    def _one(self, start: Cone, end: Cone) -> bool:
        """Whether two tangents point into one cone."""
        return self._size(end.gradient - start.gradient) <= self.same

    def _size(self, gradient: Array) -> float:
        """Return the norm of a difference of gradients in which every leaf counts alike."""
        return float(np.linalg.norm(self.weights * gradient))

    def _random(self) -> Array:
        return self.rng.standard_normal(self.first.size)


def bounded(jumps: Array, wanted: Array) -> Array:
    """Return 0 ≤ t ≤ 1 for which ``jumps`` @ t is nearest to ``wanted``, by active sets (Stark & Parker 1995)."""
    count = jumps.shape[1]
    if not count:
        return np.zeros(0)
    q, jumps = np.linalg.qr(jumps)
    wanted = q.T @ wanted
    t: Array = np.clip(np.linalg.lstsq(jumps, wanted, rcond=None)[0], 0.0, 1.0)
    free = (t > 0) & (t < 1)
    negligible = EPS * np.linalg.norm(jumps, axis=0) * np.linalg.norm(wanted)
    for _ in range(FREED * count):
        while free.any():
            step = np.linalg.lstsq(jumps[:, free], wanted - jumps @ t, rcond=None)[0]
            with np.errstate(all="ignore"):
                room = np.where(step, np.where(step > 0, 1 - t[free], t[free]) / np.abs(step), np.inf)
            length = min(1.0, float(room.min()))
            t[free] = np.clip(t[free] + length * step, 0.0, 1.0)
            if length == 1.0:
                break
            stopped = np.flatnonzero(free)[room <= length]
            t[stopped] = np.round(t[stopped])
            free[stopped] = False
        pull = jumps.T @ (wanted - jumps @ t) * np.where(t > 0.5, -1.0, 1.0)
        pull[free | (np.abs(pull) <= negligible)] = 0.0
        if not (pull > 0).any():
            break
        free[int(np.argmax(pull))] = True
    return t
