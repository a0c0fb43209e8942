"""Which values of the backward are true cotangents, and of what. Level 3.

Two arrays are the same if they are within a small part of their norm, so what could be the same is found by the norm
alone. A value of the backward may be the cotangent of a value of the forward; the part of one use of it, or of several;
a slice of one; those of all turns of a loop put together; each of them with its axes in another order, or so many times
as large where the backward divides by the number of samples only in the end. What carries no cotangent may be a local
derivative, or a value of the forward again.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.nodes import Node
from gradcheck.steps.pulls import is_by_element
from gradcheck.steps.run import Run
from gradcheck.steps.truth import Bars, Pulls, adjoint
from gradcheck.trees import Array

__all__ = ["Index", "Match", "Sight", "same", "turns_of"]

CLOSE = 1e-7  # of the norm: two arrays are the same
RIGHT = 1e-6  # of the norm: a gradient is right
SUBSETS = 5  # uses of a value, of which all sums are known
SLICES = 64  # parts of one cotangent along an axis that are known by themselves
CHAIN = 8  # operations by element in a row, of which the derivative of the last by the first is known


class Match(NamedTuple):
    """What a value of the backward is: ``kind`` is cotangent, use, uses, part, turns or slope; of ``nodes``."""

    kind: str
    nodes: tuple[int, ...]
    turned: bool = False  # with its axes in another order
    factor: float = 1.0  # so many times as large, by a convention that the whole backward keeps


def same(a: Any, b: Any, close: float = CLOSE) -> bool:
    """Whether two arrays hold the same numbers in the same order, whatever their shapes."""
    if np.size(a) != np.size(b):
        return False
    a, b = np.ravel(a), np.ravel(b)
    with np.errstate(all="ignore"):
        apart, size = np.linalg.norm(a - b), max(np.linalg.norm(a), np.linalg.norm(b))
        return bool(np.isfinite(size) and apart <= close * size)


def turns_of(array: Array) -> Iterator[Array]:
    """Yield an array with its axes in every other order."""
    for axes in itertools.islice(itertools.permutations(range(array.ndim)), 1, None) if 2 <= array.ndim <= 4 else ():
        yield array.transpose(axes)


class Index:
    """Arrays to be found again by their norm; an array is made when it is compared."""

    def __init__(self) -> None:
        self._norms: list[float] = []
        self._made: list[Callable[[], Array]] = []
        self._keys: list[Any] = []
        self._order: Array | None = None

    def add(self, array: Any, key: Hashable) -> None:
        """Keep an array under a key; nothing is found by zeros, or by what is not finite."""
        array = np.asarray(array)
        self.keep(float(np.linalg.norm(array)), lambda: array, key)

    def keep(self, norm: float, make: Callable[[], Array], key: Hashable) -> None:
        """Keep an array of this norm that is still to be made."""
        if norm and np.isfinite(norm):
            self._norms.append(norm)
            self._made.append(make)
            self._keys.append(key)
            self._order = None

    def find(self, array: Any, *, turned: bool = False) -> Iterator[tuple[Any, bool]]:
        """Yield the keys of what is the same as ``array``, in order, and whether its axes had to be exchanged."""
        array = np.asarray(array)
        norm = float(np.linalg.norm(array))
        if not norm or not np.isfinite(norm) or not self._keys:
            return
        if self._order is None:
            self._order = np.argsort(self._norms, kind="stable")
            self._sorted = np.asarray(self._norms)[self._order]
        first, last = np.searchsorted(self._sorted, [norm * (1 - CLOSE), norm * (1 + CLOSE)])
        near = np.sort(self._order[first:last])
        later = []
        for i in near:
            other = self._made[i]()
            if same(array, other):
                yield self._keys[i], False
            elif turned and other.size == array.size:
                later.append((i, other))
        for i, other in later:
            if any(same(each, other) for each in turns_of(array)):
                yield self._keys[i], True


class Sight:
    """The forward's cotangents and the backward's values, and which of these are which."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pulls: Pulls = {}
        self.bars: Bars = adjoint(run, self.pulls)
        self.uses: dict[int, list[tuple[int, int]]] = {}
        for i, k in self.bars.edges:
            self.uses.setdefault(run.nodes[i].parents[k], []).append((i, k))
        self.scalar = len(run.cotangent) == 1 and np.size(run.cotangent[0]) == 1  # then the cotangent is 1

    def truth(self, path: str) -> Array:
        """Return the true gradient of an argument."""
        found = self.bars.nodes.get(self.run.leaf[path])
        return np.zeros(self.run.value(self.run.leaf[path]).shape) if found is None else found

    def is_right(self, path: str, gradient: Any, close: float = RIGHT) -> bool:
        """Whether a gradient has the shape and the numbers of the true one."""
        truth = self.truth(path)
        return gradient is not None and np.shape(gradient) == truth.shape and same(gradient, truth, close)

    def name(self, i: int) -> str:
        """Return what a sentence calls a node: the variable that it is stored in, else what it does, and where."""
        node = self.written(i)
        if node.kind == "leaf":
            return str(node.name)
        turn = f", turn {node.turn + 1}" if self.run.tape.turns[node.site] else ""
        where = f"line {node.site.line} of {node.site.function}{turn}"
        return f"{node.site.variable} ({where})" if node.site.variable else f"the {node.name} of {where}"

    def written(self, i: int) -> Node:
        """Return the node that a line of the user's made, where an adapter copied it."""
        node = self.run.nodes[i]
        while not node.site.frames and len(node.parents) == 1 and node.parents[0] >= 0:
            node = self.run.nodes[node.parents[0]]
        return node

    def turns(self, ids: Iterable[int]) -> dict[Any, list[int]]:
        """Return the nodes of each place, in the order of their turns."""
        found: dict[Any, list[int]] = {}
        for i in ids:
            if self.run.nodes[i].is_float:
                found.setdefault(self.run.nodes[i].site, []).append(i)
        return found

    # ------------------------------------------------------------------ what there is to be found in the forward

    @functools.cached_property
    def moving(self) -> set[int]:
        """The nodes of the forward that are computed from an argument of which a gradient is returned."""
        found = {self.run.leaf[path] for path in self.run.results}
        for node in self.run.nodes[: self.run.start]:
            if not found.isdisjoint(node.parents):
                found.add(node.id)
        return found

    @functools.cache  # noqa: B019  (it lives as long as the run)
    def sources(self, i: int) -> set[int]:
        """Return the nodes that a node of the forward is computed from, itself included."""
        return self.run.above([i])

    @functools.cached_property
    def cotangents(self) -> Index:
        """The cotangents of what moves: of nodes, of single uses, of several uses together, of all turns of a loop."""
        index, nodes = Index(), self.run.nodes
        for i in self._named(self.moving):
            if nodes[i].name != "negative":  # or every wrong sign were right
                index.add(self.bars.nodes[i], Match("cotangent", (i,)))
        for i, uses in self.uses.items():
            if i not in self.moving or len(uses) < 2:
                continue
            parts = [np.asarray(self.bars.edges[use]) for use in uses]
            for use, part in zip(uses, parts, strict=True):
                index.add(part, Match("use", (i, use[0])))
            for count in range(2, len(uses)) if len(uses) <= SUBSETS else ():
                for some in itertools.combinations(range(len(uses)), count):
                    index.add(sum(parts[s] for s in some), Match("uses", (i, *(uses[s][0] for s in some))))
        for ids in self.turns(range(self.run.start)).values():
            self._stacked(index, ids)
        return index

    def _stacked(self, index: Index, ids: list[int]) -> None:
        """Keep the cotangents of the turns of a place as one array, in either direction."""
        bars = [self.bars.nodes[i] for i in ids if i in self.bars.nodes]
        if len(bars) < 2 or len(bars) < len(ids) or len({bar.shape for bar in bars}) > 1:
            return
        norm = float(np.sqrt(sum(np.linalg.norm(bar) ** 2 for bar in bars)))
        for order in (bars, bars[::-1]):
            for axis in range(min(bars[0].ndim, 2)) or (0,):
                index.keep(norm, functools.partial(np.stack, order, axis=axis), Match("turns", tuple(ids)))

    def _named(self, ids: Iterable[int]) -> list[int]:
        """Return the nodes of ``ids`` that have a cotangent: those with a name first, and the last of these first."""
        nodes = self.run.nodes
        found = [i for i in ids if i in self.bars.nodes and nodes[i].kind != "const"]
        return sorted(found, key=lambda i: (nodes[i].kind == "gather", not nodes[i].site.variable, -i))

    @functools.cached_property
    def resting(self) -> Index:
        """The cotangents of what does not move: nothing that a gradient is computed from is meant to be one."""
        index = Index()
        for i in self._named(self.bars.nodes.keys() - self.moving):
            index.add(self.bars.nodes[i], Match("cotangent", (i,)))
        return index

    @functools.cached_property
    def parts(self) -> Index:
        """Slices of the cotangents of nodes along one axis."""
        index = Index()
        for i in self.moving & self.bars.nodes.keys():
            bar = self.bars.nodes[i]
            if self.run.nodes[i].kind != "op" or bar.ndim < 2:
                continue
            for axis, count in enumerate(bar.shape if max(bar.shape) <= SLICES else ()):
                norms = np.sqrt((np.moveaxis(bar, axis, 0).reshape(count, -1) ** 2).sum(axis=1))
                for j, norm in enumerate(norms):
                    index.keep(float(norm), functools.partial(np.take, bar, j, axis), Match("part", (i,)))
        return index

    @functools.cached_property
    def derivatives(self) -> dict[tuple[int, int], Array]:
        """∂b/∂a by element, where b is made of a by element, in a few steps."""
        found: dict[tuple[int, int], Array] = {}
        along: dict[int, dict[int, tuple[int, Array]]] = {}  # of each node: by which heads, in how many steps
        for node in self.run.nodes[: self.run.start]:
            if not node.is_float or node.value.size < 2:
                continue
            if node.kind != "op" or not is_by_element(node):
                along[node.id] = {node.id: (0, np.ones(node.value.shape))}
                continue
            made: dict[int, tuple[int, Array]] = {}
            for k, p in enumerate(node.parents):
                if (node.id, k) not in self.pulls or self.run.value(p).shape != node.value.shape:
                    continue
                part = self.pulls[node.id, k](np.ones(node.value.shape))
                for head, (steps, d) in along.get(p, {}).items():
                    if part is not None and steps < CHAIN:
                        before = made.get(head)
                        made[head] = steps + 1, d * part if before is None else before[1] + d * part
            along[node.id] = made
            found.update({(head, node.id): d for head, (_, d) in made.items()})
        return found

    @functools.cached_property
    def slopes(self) -> Index:
        """The derivatives by element that are no constants."""
        index = Index()
        for (a, b), d in self.derivatives.items():
            if np.ptp(d):
                index.add(d, Match("slope", (a, b)))
        return index

    # ------------------------------------------------------------------ the values of the backward

    @functools.cached_property
    def carrying(self) -> set[int]:
        """The nodes of the backward that the cotangent reaches."""
        run = self.run
        found = set(range(run.start, run.start + len(run.cotangent)))
        for node in run.nodes[run.start :]:
            if not found.isdisjoint(node.parents):
                found.add(node.id)
        return found

    @functools.cached_property
    def needed(self) -> set[int]:
        """The nodes of the backward that the gradients are computed from."""
        return self.run.above(self.run.results.values(), self.run.start)

    @functools.cached_property
    def primal(self) -> set[int]:
        """The nodes of the backward that only hold what the forward computed."""
        index = Index()
        for i in self.bars.nodes:
            index.add(self.run.value(i), i)
        rest = (n for n in self.run.nodes[self.run.start :] if n.is_float and n.id not in self.carrying)
        return {node.id for node in rest if any(True for _ in index.find(node.value))}

    @functools.cached_property
    def ignores_cotangent(self) -> bool:
        """Whether the cotangent of a loss, where it is not 1, is not used at all."""
        return all(self.ignores(i) for i in self.needed)

    def ignores(self, i: int) -> bool:
        """Whether a value is made without the cotangent of a loss, where that is not 1."""
        return self.scalar and self.run.cotangent[0].ravel()[0] not in (0, 1) and i not in self.carrying

    @functools.cached_property
    def factors(self) -> tuple[float, ...]:
        """1, and the number of samples where values are cotangents of a loss that is not averaged yet.

        Where the cotangent of a loss is not used at all, all values are those for a cotangent of 1.
        """
        if self.ignores_cotangent:
            return 1.0, 1.0 / float(self.run.cotangent[0].ravel()[0])
        sizes = {n for path in self.run.leaf for n in self.run.value(self.run.leaf[path]).shape if n > 1}
        values = [n.value for n in self.run.nodes[self.run.start :] if n.is_float and n.value.size > 1]
        for size in sorted(sizes) if self.scalar else ():
            found = (each for value in values for sign in (size, -size) for each in self.cotangents.find(value / sign))
            if len({match.nodes for match, _ in found if match.kind == "cotangent"}) > 1:
                return 1.0, float(size)
        return (1.0,)

    @functools.cached_property
    def verified(self) -> dict[int, Match]:
        """What each value of the backward was found to be."""
        floats = (node for node in self.run.nodes[self.run.start :] if node.is_float)
        return {node.id: match for node in floats if (match := self.match(node)) is not None}

    def match(self, node: Node) -> Match | None:
        """Return what a value of the backward is; None if it is nothing known."""
        if node.kind == "leaf":
            return Match("cotangent", (self.run.outs[node.id - self.run.start],))
        carries = node.id in self.carrying
        if not carries and node.kind == "const":
            return None
        for factor in self.factors if carries or self.scalar else ():
            for match, turned in self.cotangents.find(node.value / factor, turned=True):
                return Match(match.kind, match.nodes, turned, factor)
            for index in (self.parts, *([] if node.id in self.needed else [self.resting])):
                for match, _ in index.find(node.value / factor):
                    return Match(match.kind, match.nodes, factor=factor)
        return None if carries else next((match for match, _ in self.slopes.find(node.value)), None)

    @functools.cached_property
    def implied(self) -> set[int]:
        """The values that are right although they are no cotangents, because one that follows from them is."""
        known, found, start = self.verified, set[int](), self.run.start
        for node in reversed(self.run.nodes[start:]):
            match = known.get(node.id)
            if node.id in found or (match is not None and match.kind == "cotangent" and node.id in self.needed):
                found.update(p for p in node.parents if p >= start and (p not in known or known[p].kind == "part"))
        return found
