"""What there is to judge: a claimed gradient at a point, and tangents to probe it along. Level 2."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gradcheck.oracles.estimate import Pushforward
from gradcheck.trees import Array, Layout, norm, rounding_unit
from gradcheck.verdict.probes import Probe, probe

__all__ = ["Case", "Scalar"]


class Scalar(Protocol):
    """φ, of which slopes along tangents are measured: what :class:`gradcheck.pairing.Pairing` says of these."""

    @property
    def size(self) -> float:
        """The size of what φ is paired from."""

    @property
    def unit(self) -> float:
        """The coarsest rounding unit in it."""

    @property
    def rounding(self) -> float:
        """What rounding it once does to φ."""

    def along(self, v: Array, t: float, /) -> float:
        """Return φ at so many ``v``; NaN where that is refused."""

    def length(self, v: Array, /) -> float:
        """Return the step along ``v`` at which the first leaf that moves changes by its own length."""

    def excursion(self, leaf: int, /) -> float:
        """Return the natural size of φ's change with a leaf."""


@dataclass(frozen=True)
class Case:
    """The flat claimed gradient at the flat point, and who measures.

    Attributes:
        gradient: what the backward claims; zero for a leaf that is not judged.
        point: where.
        layout: which part of both belongs to which leaf.
        judged: the numbers of the leaves that have a gradient at all.
        pushforward: the oracle at this point.
        rounding: returns the rounding of each entry where it is known, and a bound of it besides; called only if it
            matters.
        pairing: φ itself.
        tol: the relative error that a pass must exclude, None for as little as possible.
        rng: draws the tangents.
        located: whether the wrong entries of a wrong leaf are looked for.
    """

    gradient: Array
    point: Array
    layout: Layout
    judged: tuple[int, ...]
    pushforward: Pushforward
    rounding: Callable[[], tuple[Array, Array]]
    pairing: Scalar
    tol: float | None
    rng: np.random.Generator
    located: bool = True

    def norm(self, leaf: int) -> float:
        """The norm of the claimed gradient of one leaf."""
        return norm(self.gradient[self.layout.slices[leaf]])

    def length(self, leaf: int) -> float:
        """The norm of the leaf itself; of a vector of ones where it is zero."""
        part = self.point[self.layout.slices[leaf]]
        return norm(part) or math.sqrt(part.size)

    def effect(self, leaf: int) -> float:
        """How much φ changes, to first order, when the leaf changes by its own length."""
        return self.norm(leaf) * self.length(leaf)

    def unit(self, leaf: int) -> float:
        """The rounding unit of the leaf's own dtype."""
        return rounding_unit(self.layout.dtypes[leaf])

    def tangent(self, leaves: Iterable[tuple[int, float]]) -> Array:
        """A Gaussian tangent on some leaves, each with its own standard deviation."""
        v = np.zeros(self.layout.size)
        for leaf, deviation in leaves:
            part = self.layout.slices[leaf]
            self.rng.standard_normal(out=v[part])
            v[part] *= deviation
        return v

    def probe(self, tangent: Array, *, roughly: bool = False) -> Probe:
        """Probe the gradient along ``tangent``; its rounding is looked into only where both sides disagree."""
        one = probe(self.gradient, self.pushforward, tangent, roughly=roughly)
        if one.agrees or not math.isfinite(one.error):
            return one
        known, random = self.rounding()
        return one._replace(error=one.error + abs(float(known @ tangent)) + norm(random * tangent))
