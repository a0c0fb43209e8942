"""What a pushforward is judged by: f along one tangent, seen under any cotangent. Level 3.

The identity ⟨backward(ȳ), ẋ⟩ = ⟨ȳ, J ẋ⟩ holds the tangent fixed here and lets the cotangent move: with e = claimed ẏ −
J ẋ, Gaussian ȳ probe e as Gaussian tangents probe a gradient, and the same certificate follows. So the case of a
pushforward is that of a gradient with the sides exchanged: its entries are those of the output, and along ȳ the slope
of ⟨ȳ, f(x + tẋ)⟩ is measured. All these are read off the same values of f, which are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradcheck.oracles import Estimate, Oracle
from gradcheck.oracles.estimate import Pushforward, pushforward_of
from gradcheck.pairing import Pairing
from gradcheck.trees import Array, Layout, norm

__all__ = ["Line", "Remembering"]

TELLING = 8  # entries that tell points apart
MOST = 1 << 24  # numbers of outputs that are kept
SHRUNK = 1e-2  # of its size is left of what shrinks


@dataclass(frozen=True)
class Remembering(Pairing):
    """A pairing that computes f once at each point along one line.

    Points are told apart by the entries at ``told``, those that move farthest beside their own size, and by the sum of
    all: entries at zero stay there when the point shrinks.
    """

    told: Array | None = None
    known: dict[bytes, list[Any]] = field(default_factory=dict, compare=False)

    def along_line(self, tangent: Array) -> Remembering:
        """Return the same pairing with nothing remembered, for the points along ``tangent``."""
        with np.errstate(all="ignore"):
            speed = np.abs(tangent) / (np.abs(self.arguments.point) + np.finfo(float).tiny)
        told = np.argpartition(-speed, min(TELLING, speed.size) - 1)[:TELLING]
        return replace(self, told=told, known={})

    def outputs(self, vector: Array) -> list[Any]:
        """Return the leaves of f at ``vector``."""
        key = vector[self.told].tobytes() + vector.sum().tobytes()
        if key not in self.known:
            found = [np.array(leaf) for leaf in super().outputs(vector)]
            if (len(self.known) + 1) * sum(leaf.size for leaf in found) > MOST:
                return found
            self.known[key] = found
        return self.known[key]


@dataclass(frozen=True)
class Line:
    """φ of a pushforward: under the cotangent ȳ, t ↦ ⟨ȳ, f(x + tẋ) − f(x)⟩.

    It answers what a case asks of the pairing of a gradient. ``pairing`` is f at x with any cotangent, ``tangent`` is
    ẋ, and ``layout`` that of the output, by which a cotangent is one flat vector.
    """

    pairing: Pairing
    tangent: Array
    layout: Layout

    def under(self, cotangent: Array) -> Pairing:
        """Return the pairing of f with another cotangent."""
        return replace(self.pairing, cotangent=tuple(self.layout.unflatten(cotangent)))

    def measured_by(self, oracle: Oracle) -> Pushforward:
        """Return what ``oracle`` measures along ẋ under a cotangent."""
        x = self.pairing.arguments.point

        def pushforward(cotangent: Array) -> Estimate:
            if not cotangent.any():
                return Estimate(0.0, 0.0)
            return pushforward_of(oracle, self.under(cotangent), x)(self.tangent)

        return pushforward

    def along(self, cotangent: Array, t: float) -> float:
        """Return φ at ``t``; NaN where f refuses that point."""
        return self.under(cotangent).along(self.tangent, t)

    def length(self, _cotangent: Array) -> float:
        """Return how far along ẋ the first of the leaves that move changes by its own length."""
        return self.pairing.length(self.tangent)

    @property
    def size(self) -> float:
        """The size of the output."""
        return math.hypot(*map(norm, self.pairing.primal))

    @property
    def rounding(self) -> float:
        """What rounding every entry of the output once does to φ under random cotangents, root mean square."""
        return math.hypot(*self._roundings)

    @property
    def unit(self) -> float:
        """The coarsest rounding unit of any output."""
        return self.pairing.unit

    @property
    def _roundings(self) -> Sequence[float]:
        pairs = zip(self.pairing.primal, self.pairing.precision, strict=True)
        return [eps / 2 * norm(y) for y, eps in pairs]

    def excursion(self, leaf: int) -> float:
        """Return how much a leaf of the output changes when what moves along ẋ shrinks; 0.0 where f refuses that."""
        x = self.pairing.arguments.point
        shrunk = np.where(self.tangent == 0, x, SHRUNK * x)
        try:
            with np.errstate(all="ignore"):
                change = norm(np.asarray(self.pairing.outputs(shrunk)[leaf]) - self.pairing.primal[leaf])
        except Exception:  # noqa: BLE001  (f may refuse such arguments; then nothing is known)
            return 0.0
        return change if math.isfinite(change) else 0.0
