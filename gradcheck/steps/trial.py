"""A place of the backward, and whether a rewrite of it gives what is known to be true there. Level 3."""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from gradcheck.steps.blame import At, Blame, Pin
from gradcheck.steps.match import same
from gradcheck.steps.rewrites import axes, factors, indices, itself, jacobians, memory, sums, values
from gradcheck.steps.rewrites.meanings import Meanings
from gradcheck.steps.rewrites.table import Array, Make, Operation, Refused, Rewrite
from gradcheck.steps.rewrites.values import Values

__all__ = ["BAD", "LEVELS", "Ground", "Place", "Trial", "spot"]

CLOSE = 1e-6  # of the norm: a rewrite gives the truth
NODES = 4000  # that are replayed for one comparison
BAD = (
    Refused,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    ArithmeticError,
    np.linalg.LinAlgError,
)  # what a rewrite may raise that does not fit its operation

OWN = (
    itself.signs,
    itself.dropped,
    itself.functions,
    sums.reductions,
    sums.parts,
    sums.products,
    axes.orders,
    axes.placed,
    axes.entries,
    memory.reads,
    memory.overwritten,
)
STRANGE = 2  # the level at which an operation is done otherwise in a way that hardly anybody means
LEVELS: tuple[tuple[Callable[[Operation, Values], Iterator[Rewrite]], ...], ...] = (
    (),  # the operation with its own operands
    (indices.indices, factors.derivatives, factors.too_many, factors.linked, jacobians.jacobians),
    (values.operands, values.steps, values.factors),
    (factors.numbers,),
)  # by how much is assumed


def spot(node: Any) -> Any:
    """Return where in the code a node stands, whoever called the function."""
    return node.site.frames[-1:], node.site.name


class Place(NamedTuple):
    """Where a rewrite is tried, and what is true after it at up to two turns.

    Attributes:
        site: the site of the first node that is rewritten.
        spot: where that stands, whoever called the function.
        first: that node.
        turns: for each turn the node whose truth is known, the truth, and the nodes that are rewritten before it.
        wanted: the shape that the first node should have; None where that is not known.
        far: how many operations there are between it and what is known.
        after: whether it comes after the pin, and is given what stands there and not what is true.
    """

    site: Any
    spot: Any
    first: int
    turns: tuple[tuple[int, Array, tuple[int, ...]], ...]
    wanted: tuple[int, ...] | None
    far: int
    after: bool = False


class Ground:
    """What is computed from what in the backward, and which cells of a value anything is made of."""

    def __init__(self, blame: Blame) -> None:
        self.run, self.replay = blame.run, blame.replay
        self._above: dict[Any, list[int]] = {}
        self._between: dict[Any, list[int]] = {}
        self._matters: dict[int, Array | None] = {}

    def above(self, goal: int, cut: frozenset[int]) -> list[int]:
        """Return what a node is computed from in the backward, up to some nodes, in order."""
        if (goal, cut) not in self._above:
            found, waiting = set[int](), [goal]
            while waiting:
                i = waiting.pop()
                if i >= self.run.start and i not in found and i not in cut:
                    found.add(i)
                    waiting.extend(self.run.nodes[i].parents)
            self._above[goal, cut] = sorted(found)
        return self._above[goal, cut]

    def between(self, goal: int, ids: frozenset[int], cut: frozenset[int]) -> list[int]:
        """Return the nodes from some to another, in order."""
        if (goal, ids, cut) not in self._between:
            found = set(ids)
            for i in self.above(goal, cut):
                if not found.isdisjoint(self.run.nodes[i].parents):
                    found.add(i)
            self._between[goal, ids, cut] = [i for i in self.above(goal, cut) if i in found]
        return self._between[goal, ids, cut]

    def matters(self, goal: int) -> Array | None:
        """Return which cells of a value anything is made of, None if all are: those under a mask may be anything."""
        if goal not in self._matters:
            found = np.zeros(self.run.value(goal).shape, dtype=bool)
            for child in dict.fromkeys(self.replay.children.get(goal, ())):
                found |= self._used(goal, child)
            free = found.any() and not found.all() and goal not in self.run.results.values()
            self._matters[goal] = found if free else None
        return self._matters[goal]

    def _used(self, goal: int, child: int) -> Array:
        node, shape = self.run.nodes[child], self.run.value(goal).shape
        found = np.zeros(shape, dtype=bool)
        if node.kind == "gather":
            for k in (k for k, p in enumerate(node.parents) if p == goal):
                found.flat[node.data[1][node.data[0] == k]] = True
            return found
        if node.name in ("copy", "array") and node.value.shape == shape:
            inner = self.matters(child)
            return np.ones(shape, dtype=bool) if inner is None else inner
        if node.name == "multiply" and node.value.shape == shape and len(node.parents) == 2:
            other = node.parents[1 - node.parents.index(goal)]
            return np.broadcast_to(self.run.value(other) != 0, shape)
        return np.ones(shape, dtype=bool)


class Trial:
    """A place with its operation, and what the rewrites of it give in a world where all that is known is true."""

    def __init__(self, ground: Ground, blame: Blame, facts: Meanings, pin: Pin, place: Place, world: At) -> None:
        self.ground, self.blame, self.facts, self.pin, self.place, self.world = ground, blame, facts, pin, place, world
        self.run = blame.run
        self.node = self.run.nodes[place.first]
        self.met: set[Any] = set()

    @functools.cached_property
    def operation(self) -> Operation:
        """The operation at its first turn."""
        return Operation(self.node, [self.world.value(p) for p in self.node.parents], self.place.wanted, self.facts)

    @functools.cached_property
    def values(self) -> Values:
        """The values that can be taken, with the turns of the forward that go with those of the place."""
        run, pins = self.run, [self.pin, *(pin for pin in self.blame.pins if pin is not self.pin)]
        turns, rows, ofs = dict[int, int](), dict[int, int](), dict[int, int]()
        one_by_one = len(self.pin.nodes) > 1 and self.pin.of.count(self.pin.of[0]) == len(self.pin.nodes)
        for pin in pins:
            known = frozenset((*pin.nodes, *self.pin.nodes))
            for j, (goal, of) in enumerate(zip(pin.nodes, pin.of, strict=True)):
                for i in self.ground.above(goal, known - {goal}):
                    if i not in ofs and spot(run.nodes[i]) == self.place.spot:
                        turns[i], ofs[i] = self._used(of).turn, of
                        rows |= {i: j} if one_by_one and pin is self.pin else {}
        count = run.tape.turns[self._used(self.pin.of[0]).site] + 1
        return Values(self.facts.sight, self.facts, self.node, turns, count, rows, ofs)

    def _used(self, of: int) -> Any:
        """Return the node whose turn a value of the forward goes with: itself, of an argument what uses it first."""
        uses = self.facts.sight.uses.get(of, ())
        alone = self.run.nodes[of].kind == "leaf" and self.pin.of.count(of) <= 1
        return self.run.nodes[min(i for i, _ in uses)] if alone and uses else self.run.nodes[of]

    def rewrites(self, level: int) -> Iterator[Rewrite]:
        """Yield the rewrites of a level that can be made here at all."""
        own = [functools.partial(table, self.operation) for table in OWN] if level in (0, STRANGE) else []
        for table in (*own, *(functools.partial(t, self.operation, self.values) for t in LEVELS[level])):
            try:
                yield from (rewrite for rewrite in table() if level or rewrite.strange <= 0)
            except BAD:
                continue

    def gives(self, make: Make, places: Sequence[Place] = ()) -> bool:
        """Whether a rewrite, of this place or of several at once, gives the truth at two turns."""
        first = None
        if not places:
            try:
                values = [self.world.value(p) for p in self.node.parents]
                first = np.asarray(make(self.node, values, self.world), dtype=float)
            except BAD:
                return False
            key = first.shape, first.tobytes()
            if key in self.met or not self._is_another(first):
                return False
            if not self._is_true(0, make, places, first):
                self.met.add(key)  # what is alike at the first turn alone may be right at others
                return False
        return all(self._is_true(k, make, places, first) for k in range(len(self.place.turns)))

    def _is_another(self, made: Array) -> bool:
        """Whether a value at the first turn is another than what stands there."""
        unchanged = made.shape == self.node.value.shape and same(made, self.node.value, 1e-12)
        return not unchanged and bool(np.isfinite(made).all())

    def _is_true(self, k: int, make: Make, places: Sequence[Place], first: Array | None) -> bool:
        goal, truth, ids = self.place.turns[k]
        ids = tuple(i for place in places or (self.place,) if k < len(place.turns) for i in place.turns[k][2])
        try:
            direct = first is not None and not k and self.place.first == goal
            made = first if direct else self._reached(make, goal, frozenset(ids))
        except BAD:
            return False
        if made is None or (not self.place.far and not k and np.shape(made) != self.place.wanted):
            return False
        matters = self.ground.matters(goal)
        if matters is not None and made.shape == truth.shape == matters.shape:
            return same(made * matters, truth * matters, CLOSE)
        return same(made, truth, CLOSE)

    def _reached(self, make: Make, goal: int, ids: frozenset[int]) -> Array | None:
        """Return what a node becomes when some before it are rewritten."""
        between = self.ground.between(goal, ids, frozenset(self.pin.nodes) - {goal})
        if len(between) > NODES:
            return None
        new: dict[int, Any] = {}
        at = At(self.facts.sight, cast("dict[int, Any]", ChainMap(new, self.world.new)))
        for i in between:
            node = self.run.nodes[i]
            values = [at.value(p) for p in node.parents]
            new[i] = make(node, values, at) if i in ids else node.compute(values)
        return np.asarray(at.value(goal))
