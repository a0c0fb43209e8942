"""A pair a hair beside a point at which units may fold. Level 3.

There f is smooth, and the backward gives the gradient of φ in the cone that a tangent points into. A hair is so short
that curvature hardly matters, and so long that the entries of a leaf still move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.oracles import Estimate, central_difference
from gradcheck.pairing import Pairing
from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.laws import match_gradients

__all__ = ["CURVED", "LEAPS", "MANY", "SAME", "Hair", "Unknown", "folded", "spread"]

HAIR = 0.6  # a hair is the rounding unit to this power, in root mean squares of a leaf: 4e-10 in float64
NEAR = 1e-7  # of the point: a kink within that is at the point, as far as differences can tell
SIDES = 6  # tangents along which the gradient is asked whether there is one
SAME = 1e-9  # gradients that differ by less, relative to each leaf's own, belong to one cone,
CURVED = 64.0  # and so do those that differ by less than so many times what curvature and rounding do within a hair
LEAP = 1e3  # times what its gradient explains is no slope but a jump of f itself
LOST = "the pair cannot be run a hair beside the point"
MANY = "more folds meet than can be told apart"
LEAPS = "the forward itself jumps"


class Unknown(Exception):
    """What is asked cannot be told at this point; the message says why."""


def spread(arguments: Arguments) -> Array:
    """Return the root mean square of its leaf for every entry; for a leaf of zeros the least of the others, or 1."""
    point = arguments.point
    roots = [float(np.sqrt(np.mean(point[part] ** 2))) for part in arguments.layout.slices]
    least = min([1.0, *(root for root in roots if root)])
    return np.repeat([root or least for root in roots], arguments.layout.sizes)


@dataclass
class Hair:
    """A pair a hair beside a point: the gradients of φ there, by the backward, and its slopes from the point, measured.

    Tangents and gradients hold the entries ``moving`` alone, in units of each leaf's root mean square; the other
    entries stay, at their folds. So many ``pulls`` are left.
    """

    forward: Callable[..., Any]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    cotangent: Any
    moving: Array
    pulls: int

    def __post_init__(self) -> None:
        self.point, self.spread = self.arguments.point, spread(self.arguments)[self.moving]
        self.pairing = Pairing.at_point(self.forward, self.arguments, self.cotangent)
        self.width = self.pairing.unit**HAIR
        self.is_scalar = sum(np.count_nonzero(bar) for bar in self.pairing.cotangent) == 1

    def gradient(self, tangent: Array | None = None, hairs: float = 1.0) -> Array:
        """Return the gradient so many hairs from the point along ``tangent``; at the point itself without.

        Raises:
            Unknown: no pullback is left, or the pair cannot be run there.
        """
        if not self.pulls:
            raise Unknown(MANY)
        self.pulls -= 1
        at = self.point.copy() if tangent is None else self._moved(hairs * self.width * tangent)
        try:
            with np.errstate(all="ignore"):
                out, cache = self.forward(*self.arguments.at(at))
                pairs = zip(leaves(self.cotangent, "dout"), leaves(out, "out"), strict=True)
                cotangent = rebuild(out, (np.array(bar, np.asarray(y).dtype)[()] for (_, bar), (_, y) in pairs))
                claims = match_gradients("backward", self.backward(cotangent, cache), self.arguments).gradients
        except Exception as error:  # the pair may refuse that point, or arrays in float64
            raise Unknown(LOST) from error
        flat = self.arguments.layout.flatten(np.nan if claim is None else claim for claim in claims.values())
        gradient: Array = flat[self.moving] * self.spread
        if not (np.isfinite(gradient).all() and all(np.isfinite(y).all() for _, y in leaves(out, "out"))):
            raise Unknown(LOST)
        return gradient

    def slope(self, tangent: Array, gradient: Array) -> Estimate:
        """Measure the slope of φ along ``tangent``, from a hair beside the point on, to that side alone.

        From the point itself a kink within the hair would show as a slope that changes with the step.

        Raises:
            Unknown: φ jumps within a hair by more than the ``gradient`` there explains.
        """
        start = float(self.pairing(self._moved(self.width * tangent)))
        explained = self.width * float(np.linalg.norm(gradient * tangent))
        if abs(start) > LEAP * (explained + self.pairing.rounding):
            raise Unknown(LEAPS)
        ray = _Ray(self.pairing, lambda t: self._moved((self.width + t) * tangent), start)
        return central_difference(ray, np.zeros(1))(np.ones(1))

    def norms(self, gradient: Array) -> Array:
        """Return for every entry the norm of ``gradient`` in its leaf."""
        leaf = np.searchsorted(np.cumsum(self.arguments.layout.sizes), self.moving, side="right")
        return np.sqrt(np.bincount(leaf, gradient**2))[leaf]

    def _moved(self, by: Array) -> Array:
        at = self.point.copy()
        at[self.moving] += by * self.spread
        return at


@dataclass(frozen=True)
class _Ray:
    """φ along a tangent, as differences take it, and to one side alone."""

    pairing: Pairing
    place: Callable[[float], Array]
    origin: float

    @property
    def rounding(self) -> float:
        return self.pairing.rounding

    @property
    def unit(self) -> float:
        return self.pairing.unit

    def __call__(self, t: Array) -> float:
        return float(self.pairing(self.place(float(t[0])))) if t[0] >= 0 else np.nan


def folded(hair: Hair, rng: np.random.Generator) -> bool:
    """Whether the gradient jumps nearer to the point than a difference can look: it is another one on all sides.

    Along a few tangents, as that of a median may be the same by chance.
    """
    hairs = max(NEAR / hair.width, 1.0)
    try:
        claimed, tangents = hair.gradient(), [rng.standard_normal(hair.moving.size) for _ in range(SIDES)]
        tangents.append(-tangents[0])  # so that a single fold is seen from both sides
        nearby = [hair.gradient(v, hairs) for v in tangents]
        jumps = [float(np.linalg.norm(near - claimed)) for near in nearby]
        side = int(np.argmax(jumps))
        curved = float(np.linalg.norm(hair.gradient(tangents[side], 2 * hairs) - nearby[side]))
    except Unknown:
        return False
    return jumps[side] > CURVED * curved + SAME * float(np.linalg.norm(claimed))
