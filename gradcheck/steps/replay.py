"""The backward of a run again from some values on, without the user's code. Level 3."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.match import Sight, same
from gradcheck.steps.nodes import Node
from gradcheck.trees import Array

__all__ = ["At", "Replay"]

CLOSE = 1e-6  # of the norm: a replayed value is as it is expected

Patch = Callable[[Node, list[Any], "At"], Any]


class At(NamedTuple):
    """What is at hand in a replay: the values as they are in it, and the derivatives that were measured."""

    sight: Sight
    new: dict[int, Any]

    def value(self, i: int) -> Any:
        """Return the value of a node."""
        return self.new[i] if i in self.new else self.sight.run.nodes[i].value

    def made(self, site: Any, turn: int) -> Any:
        """Return what a place made at one of its turns."""
        return self.value(self.sight.run.tape.at[site, turn])

    def used(self, site: Any, turn: int, k: int) -> Any:
        """Return operand k of a place at one of its turns."""
        return self.value(self.sight.run.nodes[self.sight.run.tape.at[site, turn]].parents[k])

    def slope(self, a: Any, b: Any, turn: int) -> Array:
        """Return the derivative by element of what place b made with respect to what place a made."""
        at = self.sight.run.tape.at
        return self.sight.derivatives[at[a, turn if (a, turn) in at else 0], at[b, turn]]


class Replay:
    """The backward of a run again from some node on."""

    def __init__(self, sight: Sight) -> None:
        self.sight, self.run = sight, sight.run
        self.children: dict[int, list[int]] = {}
        for node in self.run.nodes[self.run.start :]:
            for parent in node.parents:
                self.children.setdefault(parent, []).append(node.id)
        self.count = 0

    @functools.lru_cache(maxsize=64)  # noqa: B019  (it lives as long as the replay)
    def below(self, ids: tuple[int, ...]) -> list[int]:
        """Return what is computed from some nodes, in order, them included."""
        found, waiting = set(ids), list(ids)
        while waiting:
            for child in self.children.get(waiting.pop(), ()):
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return sorted(found)

    @property
    def needed(self) -> set[int]:
        """What the results are computed from."""
        return self.sight.needed

    def above(self, ids: Iterable[int]) -> set[int]:
        """Return the nodes of the backward that some nodes are computed from, themselves included."""
        return self.run.above(ids, self.run.start)

    def again(
        self,
        given: Mapping[int, Any] | None = None,
        patch: Patch | None = None,
        patched: Iterable[int] = (),
        expected: Mapping[int, Array] | None = None,
        only: Collection[int] | None = None,
    ) -> dict[int, Any] | None:
        """Return the values that change where nodes have a ``given`` value, or ``patch`` is done at the ``patched``.

        None as soon as one is not as ``expected``, or cannot be computed. Nothing but what is ``needed`` for the
        results, or ``only`` that, is done again.
        """
        self.count += 1
        nodes, given, patched = self.run.nodes, given or {}, frozenset(patched)
        wanted = self.needed if only is None else only
        at = At(self.sight, new := dict(given))
        for i in self.below(tuple(sorted({*given, *patched}))):
            if i in given or i not in wanted:
                continue
            values = [at.value(p) for p in nodes[i].parents]
            try:
                new[i] = patch(nodes[i], values, at) if patch and i in patched else nodes[i].compute(values)
            except Exception:  # noqa: BLE001  (a shape that does not fit: NumPy may raise anything)
                return None
            if expected and i in expected and not same(new[i], expected[i], CLOSE):
                return None
        return new

    def gradients(self, new: Mapping[int, Any]) -> dict[str, Any]:
        """Return the gradients with the values that changed."""
        run = self.run
        return {path: new.get(i, run.value(i) if i >= 0 else run.claimed[path]) for path, i in run.results.items()}

    def rights(self, new: Mapping[int, Any]) -> set[str]:
        """Return the arguments whose gradients are right, with the values that changed."""
        return {path for path, g in self.gradients(new).items() if self.sight.is_right(path, np.asarray(g))}
