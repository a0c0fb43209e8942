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
        run, found = self.run, dict(self.seeds)
        for i in self._above:
            bar = found.get(i)
            if bar is None or i in held:
                continue
            node = run.nodes[i]
            for k, p in enumerate(node.parents):
                if p < run.start or not run.nodes[p].is_float or not (p in self.sight.carrying or self.sight.scalar):
                    continue
                part = pulled(run, self.sight.pulls, node, k)(bar)
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

    def explains(self, by: Mapping[int, Array], nodes: Sequence[int], given: Sequence[Array]) -> bool:
        """Whether the gradients become right once ``nodes`` have the values ``given``, to first order."""
        total, size = 0.0, 0.0
        for i, value in zip(nodes, given, strict=True):
            w = by.get(i)
            if w is not None:
                terms = w * (value - self.run.value(i))
                total, size = total + float(terms.sum()), size + float(np.abs(terms).sum())
        return bool(abs(total - self.gap) <= CLOSE * abs(self.gap) + ROUNDING * size)
