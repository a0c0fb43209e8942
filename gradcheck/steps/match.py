"""Which values of the backward are true cotangents, and of what."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from gradcheck.steps.run import Run
from gradcheck.steps.truth import Bars, adjoint, by_element

CLOSE = 1e-7  # of the norm: two arrays are the same
SUBSETS = 5  # uses of a value, of which all sums are known
SLICES = 64  # parts of one cotangent along an axis that are known by themselves


class Match(NamedTuple):
    """What a value of the backward is: ``kind`` is cotangent, use, uses, part, turns or slope; of ``nodes``."""

    kind: str
    nodes: tuple[int, ...]
    turned: bool = False  # with its axes in another order
    factor: float = 1.0  # so many times as large, by a convention that the whole backward keeps


def same(a, b, close=CLOSE) -> bool:
    """Whether two arrays hold the same numbers in the same order, whatever their shapes."""
    if np.size(a) != np.size(b):
        return False
    a, b = np.ravel(a), np.ravel(b)
    with np.errstate(all="ignore"):
        apart, size = np.linalg.norm(a - b), max(np.linalg.norm(a), np.linalg.norm(b))
        return bool(np.isfinite(size) and apart <= close * size)


class Index:
    """Arrays to be found again, by their norm."""

    def __init__(self):
        self.arrays, self.keys = [], []
        self._sorted = None

    def add(self, array, key):
        if array.size and np.isfinite(array).all() and np.any(array):
            self.arrays.append(array)
            self.keys.append(key)
            self._sorted = None

    def find(self, array, turned=True):
        """Yield the keys of what is the same as ``array``, and whether its axes had to be exchanged."""
        norm = np.linalg.norm(array)
        if not norm or not np.isfinite(norm) or not self.arrays:
            return
        if self._sorted is None:
            norms = np.array([np.linalg.norm(each) for each in self.arrays])
            self._order = np.argsort(norms, kind="stable")
            self._sorted = norms[self._order]
        first, last = np.searchsorted(self._sorted, [norm * (1 - CLOSE), norm * (1 + CLOSE)])
        near = sorted(self._order[first:last])
        later = []
        for i in near:
            if same(array, self.arrays[i]):
                yield self.keys[i], False
            elif turned and self.arrays[i].size == array.size:
                later.append(i)
        for i in later:
            if any(same(each, self.arrays[i]) for each in turns_of(np.asarray(array))):
                yield self.keys[i], True


def turns_of(array):
    """Yield an array with its axes in every other order."""
    for axes in list(itertools.permutations(range(array.ndim)))[1:] if 2 <= array.ndim <= 4 else []:
        yield array.transpose(axes)


class Sight:
    """The forward's cotangents and the backward's values, and which of these are which."""

    def __init__(self, run: Run):
        self.run, self.pulls = run, {}
        self.bars: Bars = adjoint(run, self.pulls)
        self.uses: dict[int, list[tuple[int, int]]] = {}
        for i, k in self.bars.edges:
            self.uses.setdefault(run.nodes[i].parents[k], []).append((i, k))
        self.scalar = len(run.cotangent) == 1 and np.size(run.cotangent[0]) == 1  # then the cotangent is 1

    def truth(self, path):
        """Return the true gradient of an argument."""
        found = self.bars.nodes.get(self.run.leaf[path])
        return np.zeros(self.run.value(self.run.leaf[path]).shape) if found is None else found

    def is_right(self, path, gradient, close=1e-6):
        return gradient is not None and np.shape(gradient) == self.truth(path).shape and same(gradient, self.truth(path), close)

    # -- names

    def name(self, node):
        """Return what to call a node: the variable that it is stored in, else what it does and where."""
        node = self.run.nodes[node]
        while not node.site.frames and len(node.parents) == 1 and node.parents[0] >= 0:  # no line of the user's made it
            node = self.run.nodes[node.parents[0]]
        if node.kind == "leaf":
            return node.name
        turn = f", turn {node.turn + 1}" if self.run.tape.turns[node.site] else ""
        if node.site.variable:
            return f"{node.site.variable} (line {node.site.line} of {node.site.function}{turn})"
        return f"the {node.name} of line {node.site.line} of {node.site.function}{turn}"

    # -- what there is to be found

    @functools.cached_property
    def cotangents(self) -> Index:
        """Cotangents of nodes, then of single uses and of several uses together."""
        index, nodes = Index(), self.run.nodes
        named = sorted(self.bars.nodes, key=lambda i: (nodes[i].kind == "gather", not nodes[i].site.variable, -i))
        for i in named:
            if nodes[i].kind != "const" and nodes[i].name != "negative":  # or every wrong sign were right
                index.add(self.bars.nodes[i], Match("cotangent", (i,)))
        for i, uses in self.uses.items():
            parts = [self.bars.edges[use] for use in uses]
            if len(uses) > 1:
                for use, part in zip(uses, parts):
                    index.add(np.asarray(part), Match("use", (i, use[0])))
            for count in range(2, len(uses)) if len(uses) <= SUBSETS else ():
                for some in itertools.combinations(range(len(uses)), count):
                    index.add(sum(parts[s] for s in some), Match("uses", (i, *(uses[s][0] for s in some))))
        for site, ids in self.turns(range(self.run.start)).items():  # the turns of a loop, put together
            bars = [self.bars.nodes.get(i) for i in ids]
            if len(bars) > 1 and all(b is not None and b.shape == bars[0].shape for b in bars):
                for order in (bars, bars[::-1]):
                    index.add(np.stack(order), Match("turns", tuple(ids)))
                    if bars[0].ndim > 1:
                        index.add(np.stack(order, axis=1), Match("turns", tuple(ids)))
        return index

    @functools.cached_property
    def parts(self) -> Index:
        """Parts of the cotangents of nodes along one axis."""
        index = Index()
        for i, bar in self.bars.nodes.items():
            if self.run.nodes[i].kind == "op" and bar.ndim > 1:
                for axis, count in enumerate(bar.shape):
                    for j in range(count) if count <= SLICES else ():
                        index.add(np.take(bar, j, axis), Match("part", (i,)))
        return index

    @functools.cached_property
    def slopes(self) -> Index:
        """Derivatives by element of forward values with respect to others."""
        index = Index()
        for (a, b), d in self.derivatives.items():
            if np.ptp(d):
                index.add(d, Match("slope", (a, b)))
        return index

    @functools.cached_property
    def derivatives(self) -> dict[tuple[int, int], np.ndarray]:
        """∂b/∂a by element, where b is made of a by element."""
        nodes, found = self.run.nodes[: self.run.start], {}
        heads = [n for n in nodes if n.is_float and n.value.size > 1 and not (n.kind == "op" and by_element(n))]
        for head in heads[:200]:
            along = {head.id: np.ones(head.value.shape)}
            for node in nodes[head.id + 1 :]:
                if not (node.is_float and node.kind == "op" and by_element(node) and node.value.shape == head.value.shape):
                    continue
                parts = [along[p] * self.pulls[node.id, k](np.ones(node.value.shape)) for k, p in enumerate(node.parents)
                         if p in along and (node.id, k) in self.pulls]
                if parts:
                    along[node.id] = found[head.id, node.id] = sum(parts)
        return found

    # -- the backward's values

    def turns(self, ids):
        """Return the nodes of each place, in the order of their turns."""
        found = {}
        for i in ids:
            if self.run.nodes[i].is_float:
                found.setdefault(self.run.nodes[i].site, []).append(i)
        return found

    @functools.cached_property
    def carrying(self) -> set[int]:
        """The nodes of the backward that the cotangent reaches."""
        run = self.run
        found = set(range(run.start, run.start + len(run.cotangent)))
        for node in run.nodes[run.start :]:
            if found.intersection(node.parents):
                found.add(node.id)
        return found

    @functools.cached_property
    def primal(self) -> set[int]:
        """The nodes of the backward that only hold what the forward computed."""
        index, found = Index(), set()
        for i in self.bars.nodes:
            index.add(self.run.value(i), i)
        for node in self.run.nodes[self.run.start :]:
            if node.is_float and node.id not in self.carrying and any(True for _ in index.find(node.value, False)):
                found.add(node.id)
        return found

    @functools.cached_property
    def factors(self) -> tuple[float, ...]:
        """1, and the number of samples where values are cotangents of a loss that is not averaged yet."""
        sizes = {n for path in self.run.leaf for n in self.run.value(self.run.leaf[path]).shape if n > 1}
        for size in sorted(sizes) if self.scalar else ():
            found = {match.nodes for node in self.run.nodes[self.run.start :] if node.is_float and node.value.size > 1
                     for sign in (size, -size) for match, _ in self.cotangents.find(node.value / sign, False)
                     if match.kind == "cotangent"}
            if len(found) > 1:
                return 1.0, float(size)
        return (1.0,)

    @functools.cached_property
    def verified(self) -> dict[int, Match]:
        """What each value of the backward was found to be."""
        found = {}
        for node in self.run.nodes[self.run.start :]:
            if node.is_float and (match := self.match(node)) is not None:
                found[node.id] = match
        return found

    def implied(self, needed: Collection[int]) -> set[int]:
        """Return the values that are right although they are no cotangents, because one that follows from them is."""
        known, found = self.verified, set()
        for node in reversed(self.run.nodes[self.run.start :]):
            match = known.get(node.id)
            if node.id in found or (match is not None and match.kind == "cotangent" and node.id in needed):
                found.update(p for p in node.parents if p >= self.run.start and (p not in known or known[p].kind == "part"))
        return found

    def match(self, node) -> Match | None:
        value, carries = node.value, node.id in self.carrying
        if not carries and node.kind in ("const", "leaf"):
            return None
        if carries or self.scalar:
            for factor in self.factors:
                for index, turned in ((self.cotangents, True), (self.parts, False)):
                    for match, other in index.find(value / factor, turned):
                        return match._replace(turned=other, factor=factor)
        if not carries:
            for match, _ in self.slopes.find(value, False):
                return match
        return None
