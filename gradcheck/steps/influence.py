"""How much each value of the backward counts in the gradients that it returns. Level 3.

The backward is linear in what carries the cotangent. So whether all gradients become right once the values V₁, …, Vₙ
are replaced by T₁, …, Tₙ can be told without doing anything again: with a random u for each gradient and Wᵢ the
derivative of Σ ⟨u, g⟩ by Vᵢ, one sweep back over the backward's own recording, it is

    Σ ⟨Wᵢ, Tᵢ − Vᵢ⟩ = Σ ⟨u, true g − g⟩

for almost every u. What agrees is replayed; what does not costs no more than a product.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from gradcheck.steps.match import Sight
from gradcheck.steps.replay import Replay
from gradcheck.steps.truth import pulled
from gradcheck.trees import Array

__all__ = ["Influence"]

CLOSE = 1e-6  # of what is to be explained,
ROUNDING = 1e-11  # and of the terms of the sum


class Influence:
    """The derivatives of Σ ⟨u, g⟩ by the values of the backward, over the gradients of ``paths`` and of ``kept``.

    Those of ``paths`` are to become right, those of ``kept`` are right and are to remain so.
    """

    def __init__(self, replay: Replay, paths: Iterable[str], kept: Iterable[str], seed: int = 0) -> None:
        self.sight: Sight = replay.sight
        self.run, self.replay = replay.run, replay
        rng, self.gap = np.random.default_rng((seed, 5)), 0.0
        self.seeds: dict[int, Array] = {}
        for path in paths:
            i = self.run.results[path]
            self.seeds[i] = u = np.asarray(rng.standard_normal(self.run.value(i).shape))
            self.gap += float((u * (self.sight.truth(path) - self.run.value(i))).sum())
        for path in kept:
            i = self.run.results[path]
            if i >= 0:
                self.seeds[i] = np.asarray(rng.standard_normal(self.run.value(i).shape))
        self._above = sorted(replay.above(self.seeds), reverse=True)

    @functools.cached_property
    def _operands(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """What each value hands back to: the numbers and the nodes of its operands, the last value first."""
        nodes, sight = self.run.nodes, self.sight

        def counts(p: int) -> bool:
            return p >= self.run.start and nodes[p].is_float and (p in sight.carrying or sight.scalar)

        return [(i, [(k, p) for k, p in enumerate(nodes[i].parents) if counts(p)]) for i in self._above]

    @functools.cached_property
    def free(self) -> Mapping[int, Array]:
        """The derivatives by each value alone."""
        return self.holding(())

    @functools.cached_property
    def counting(self) -> set[int]:
        """The values that count for something."""
        whole = sum(float(np.abs(u * self.run.value(i)).sum()) for i, u in self.seeds.items())
        size = {i: float(np.abs(w * self.run.value(i)).sum()) for i, w in self.free.items()}
        return {i for i, terms in size.items() if terms > ROUNDING * whole}

    def holding(self, held: Collection[int]) -> Mapping[int, Array]:
        """Return the derivatives by each value while those ``held`` stay as they are, whatever they are made of."""
        return self._swept(frozenset(held), {})

    @functools.cached_property
    def uses(self) -> Mapping[tuple[int, int], Array]:
        """The derivatives by each use of a value alone: operand k of a node."""
        found: dict[tuple[int, int], Array] = {}
        self._swept(frozenset(), found)
        return found

    def _swept(self, held: frozenset[int], uses: dict[tuple[int, int], Array]) -> Mapping[int, Array]:
        """Return the derivatives by the values, and put those by their single uses into ``uses``."""
        found = dict(self.seeds)
        for i, operands in self._operands:
            bar = found.get(i)
            if bar is None or i in held:
                continue
            for k, p in operands:
                part = pulled(self.run, self.sight.pulls, self.run.nodes[i], k)(bar)
                if part is not None:
                    uses[i, k] = part
                    found[p] = found[p] + part if p in found else part
        return found

    def through(self, node: int, users: Collection[int]) -> Array | None:
        """Return the derivative by a value as far as some of its users go; None where these count for nothing."""
        found: Array | None = None
        for c in users:
            for k, p in enumerate(self.run.nodes[c].parents):
                if p == node and (part := self.uses.get((c, k))) is not None:
                    found = part if found is None else found + part
        return found

    def fits(self, w: Array, node: int, rows: Array) -> Array:
        """Return which of some ``rows`` explain what is wrong, put in the place of a node."""
        weights, value = np.ravel(w), np.ravel(self.run.value(node))
        if rows.shape[1:] != weights.shape:
            return np.zeros(len(rows), dtype=bool)
        size = np.abs(rows) @ np.abs(weights) + np.abs(value) @ np.abs(weights)
        off = np.abs(rows @ weights - value @ weights - self.gap)
        return np.asarray(off <= CLOSE * abs(self.gap) + ROUNDING * size)

    def turns(self, nodes: Sequence[int], by: Mapping[int, Array]) -> tuple[Array, Array]:
        """Return the values of nodes of one shape, and the derivatives by them, along the first axis of an array."""
        values = np.stack([self.run.value(i) for i in nodes])
        weights = np.zeros(values.shape)
        for row, i in enumerate(nodes):
            if i in by:
                weights[row] = by[i]
            else:  # it counts for nothing, whatever it holds
                values[row] = 0
        return values, weights

    def explains(self, values: Array, weights: Array, given: Array) -> bool:
        """Whether the gradients become right once ``values`` are those ``given``, to first order."""
        terms = weights * (given - values)
        return bool(abs(terms.sum() - self.gap) <= CLOSE * abs(self.gap) + ROUNDING * np.abs(terms).sum())
