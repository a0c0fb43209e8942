"""Values of the recording that could stand in an operand's place: whose turn goes with whose. Level 3.

Undoes B1 and B6 (another operand), C2 (a function at another value), C4 (another layer's), C5 (the cotangent), C8
(zeros), E4 (a parameter that has been updated), G3 (the state of another step), H3 (a copy of lower precision).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.blame import At
from gradcheck.steps.match import Sight
from gradcheck.steps.rewrites.itself import FUNCTIONS
from gradcheck.steps.rewrites.meanings import COMPARED, Meanings
from gradcheck.steps.rewrites.table import (
    FOUR,
    PRODUCTS,
    Array,
    Operation,
    Refused,
    Rewrite,
    Take,
    fits,
    over,
    times,
    with_taken,
)

VALUES, INDICES = "fb", "iub"  # kinds of arrays
MOST = 60  # values, each once
ROOTS = {"sqrt", "norm", "power", "hypot"}
FIRST = {"sum", "mean", "power", "astype"}  # whose other arguments are no values
POINTWISE = {*FUNCTIONS, *COMPARED, "power", "maximum", "minimum", "negative"}


class Seen(NamedTuple):
    """A value that could be taken at a place.

    Attributes:
        node: the node that it is at the place's first turn.
        value: what it is there.
        take: from a node of the place to what it is at that node's turn.
        shifted: by how many turns it is away from the turn that goes with the place's.
        carried: whether it is what a turn of the forward took from the one before.
    """

    node: int
    value: Array
    take: Take
    shifted: int = 0
    carried: bool = False


class Values:
    """What could be taken at one place of the backward.

    ``turns`` says of which turn of the forward each node of the place is the cotangent, ``count`` how many these are,
    and ``rows`` which sample each node has where the backward does one by one what the forward does at once; ``of`` is
    the value of the forward whose cotangent each node of the place has.
    """

    def __init__(
        self,
        sight: Sight,
        facts: Meanings,
        node: Any,
        turns: dict[int, int],
        count: int,
        rows: dict[int, int],
        of: dict[int, int],
    ) -> None:
        self.sight, self.run, self.facts, self.node = sight, sight.run, facts, node
        self.turns, self.count, self.rows, self.of, self.now = turns, count, rows, of, At(sight, {})

    def turn(self, site: Any, node: Any, mirrored: bool) -> int:
        """Return which turn of a site goes with a node of the place."""
        n = self.run.tape.turns[site] + 1
        if n == 1 or self._is_backward(site):
            return 0 if n == 1 else int(node.turn)
        if self.count == n and node.id in self.turns:
            return self.turns[node.id]
        return n - 1 - int(node.turn) if mirrored else int(node.turn)

    def taken(self, site: Any, mirrored: bool, shift: int = 0, used: int = -1) -> Take:
        """Return what takes what a site made at the turn that goes with a node's, or the operand that it used there."""
        return lambda node, at: np.asarray(at.value(self._chosen(at.sight.run, node, site, mirrored, shift, used)))

    def _chosen(self, run: Any, node: Any, site: Any, mirrored: bool, shift: int, used: int) -> int:
        i = run.tape.at.get((site, self.turn(site, node, mirrored) + shift))
        if i is None:  # there is no such turn
            raise Refused
        return int(run.nodes[i].parents[used] if used >= 0 else i)

    def slopes(self) -> Iterator[tuple[tuple[int, int], Array, Take]]:
        """Yield measured derivatives of the forward, each place once, at the turn that goes with the place's."""
        nodes, derivatives, met = self.run.nodes, self.sight.derivatives, set()
        if self.node.id in self.of:
            for depth, (a, b, slope) in enumerate(self.facts.after(self.sight, self.of[self.node.id])):
                yield (a, b), slope, functools.partial(self._after, depth)
        ofs = set(self.of.values())
        for (a, b), slope in sorted(
            derivatives.items(),
            key=lambda each: (each[0][0] not in ofs, nodes[each[0][0]].kind == "leaf", each[0][1] - each[0][0]),
        ):
            if not np.ptp(slope) and (slope.size > 1 or nodes[b].name in ("multiply", "divide")):
                continue
            for mirrored in (True, False):
                site = nodes[b].site
                turn = self.turn(site, self.node, mirrored)
                key = nodes[a].site, site, turn
                if turn != nodes[b].turn or key in met:
                    continue
                met.add(key)

                def take(node: Any, at: Any, one: Any = nodes[a].site, two: Any = site, m: bool = mirrored) -> Array:
                    turn, where = self.turn(two, node, m), at.sight.run.tape.at
                    found = at.sight.derivatives.get(
                        (where.get((one, turn if (one, turn) in where else 0)), where.get((two, turn)))
                    )
                    if found is None:
                        raise Refused
                    return np.asarray(found)

                yield (a, b), slope, take
                for axis in (i for i, n in enumerate(slope.shape) if n == len(self.rows) and slope.ndim > 1):
                    yield (a, b), np.take(slope, self.rows[self.node.id], axis), self.row(take, axis)

    def _after(self, depth: int, node: Any, at: Any) -> Array:
        """Return the derivative of what is done with the value of the forward whose cotangent a node is."""
        found = self.facts.after(at.sight, self.of[node.id]) if node.id in self.of else []
        if len(found) <= depth:
            raise Refused
        return found[depth][2]

    @functools.cached_property
    def seen(self) -> list[Seen]:
        """The values of the forward, and of the backward before the place, each once; those of the same turn first."""
        return self._found(0)

    @functools.cached_property
    def shifted(self) -> list[Seen]:
        """The values of the turns before and after."""
        return [*self._found(-1), *self._found(1)]

    @functools.cached_property
    def keys(self) -> list[Seen]:
        """The arrays of indices and the masks."""
        return self._found(0, INDICES)

    def _found(self, shift: int, kinds: str = VALUES) -> list[Seen]:
        run, found, met = self.run, list[Seen](), dict[Any, Any]()
        for site in self._sites(kinds, shift):
            many = run.tape.turns[site] > 0
            for mirrored, used in itertools.product(self._ways(site), self._carried(site)) if many or not shift else ():
                take = self.taken(site, mirrored, shift, used)
                try:
                    i, value = self._chosen(run, self.node, site, mirrored, shift, used), take(self.node, self.now)
                except Refused:
                    continue
                key = value.shape, value.tobytes()
                if i < self.node.id and value.dtype.kind in kinds and (key not in met or (many and met[key])):
                    met[key] = many  # two loops may agree at one turn
                    found.append(Seen(i, value, take, shift, used >= 0))
        return [*found, *self._rows(found)][:MOST] if self.rows and not shift else found[:MOST]

    def _sites(self, kinds: str, shift: int) -> list[Any]:
        """The sites of what is at hand: arguments, what the code has a name for, the rest in order."""
        nodes = {
            node.site: node
            for node in reversed(self.run.nodes[: self.node.id])
            if self._may(node, kinds, 0 if shift else 1)
        }
        return sorted(nodes, key=lambda s: (nodes[s].kind != "leaf", not s.variable, nodes[s].id))

    def _ways(self, site: Any) -> tuple[bool, ...]:
        """Whether the turns of a site may go with those of the place, and whether from the last on."""
        n = self.run.tape.turns[site] + 1
        return (True, False) if n > 1 and n != self.count and not self._is_backward(site) else (False,)

    def _is_backward(self, site: Any) -> bool:
        return bool(self.run.tape.at[site, 0] >= self.run.start)

    def _rows(self, found: list[Seen]) -> Iterator[Seen]:
        """Yield the samples of values of the forward."""
        for each in found:
            for axis, n in enumerate(each.value.shape):
                if n == len(self.rows) and each.value.ndim > 1:
                    yield Seen(each.node, np.take(each.value, self.rows[self.node.id], axis), self.row(each.take, axis))

    def row(self, take: Take, axis: int) -> Take:
        """Return what takes a node's sample of a value."""
        return lambda node, at: np.take(take(node, at), self.rows[node.id], axis)

    def _may(self, node: Any, kinds: str, least: int) -> bool:
        return (
            node.kind in ("leaf", "op", "gather")
            and isinstance(node.value, np.ndarray)
            and (node.value.size > least or node.kind == "leaf")
            and node.value.dtype.kind in kinds
            and (not node.is_float or node.id >= self.run.start or node.id in self.facts.at_hand)
        )

    def _carried(self, site: Any) -> list[int]:
        """Return -1 for what a site made, and its operands that another site makes at first, as the state before."""
        run = self.run
        if not run.tape.turns[site] or self._is_backward(site):
            return [-1]
        first, second = (run.nodes[run.tape.at[site, t]].parents for t in (0, 1))
        pairs = enumerate(zip(first, second, strict=False))
        return [-1, *(k for k, (p, q) in pairs if min(p, q) >= 0 and run.nodes[p].site != run.nodes[q].site)]


def operands(op: Operation, values: Values) -> Iterator[Rewrite]:
    """Another value in the place of an operand."""
    yield from _instead(op, values.seen)


def steps(op: Operation, values: Values) -> Iterator[Rewrite]:
    """The value of another turn in the place of an operand."""
    yield from _instead(op, values.shifted)


def _instead(op: Operation, some: list[Seen]) -> Iterator[Rewrite]:
    """Yield values in the place of an operand: of its shape, transposed, or of a shape that gives what is wanted."""
    if op.name in ("reshape", "transpose"):
        return
    for place in op.operands[:1] if op.name in FIRST else op.operands[:3]:
        old, stands = np.asarray(op.args[place]), op.said(place)
        others = [np.shape(op.args[j]) for j in op.operands if j != place]
        for each in some:
            new, said = each.value, op.facts.called(each.node)
            mistake = functools.partial(_meant, op, place, old, each)
            if new.shape == old.shape:
                if not np.array_equal(new, old):
                    yield Rewrite(mistake, said, with_taken(place, each.take), stands, place, strange=1)
            elif new.ndim == 2 and new.shape[::-1] == old.shape:
                make = with_taken(place, each.take, lambda _, taken: taken.T)
                yield Rewrite(mistake, f"{said}.T", make, stands, place, strange=1)
            elif op.name in FOUR and _broadcast([new.shape, *others]) in (op.result.shape, op.wanted):
                yield Rewrite(mistake, said, with_taken(place, each.take), stands, place, strange=2)


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _meant(op: Operation, place: int, old: Array, new: Seen) -> str:
    """Return the mistake of taking an operand for the one that is meant."""
    facts, value = op.facts, new.value
    was, is_ = (facts.origin(i) for i in (op.parent(place), new.node))
    if (
        new.shifted
        or (was >= 0 and facts.run.nodes[was].site == facts.run.nodes[is_].site)
        or (new.carried and facts.another_turn(is_, old))
    ):
        return "G3" if facts.over_time else "C4"
    if old.ndim and not old.any():
        return "C8"
    if old.shape == value.shape:
        if any(np.array_equal(value.astype(lower), old) for lower in (np.float16, np.float32)):
            return "H3"
        if any(np.array_equal(np.flip(value, axis), old) for axis in range(old.ndim)):
            return "F1"
        if old.ndim == 2 and np.array_equal(old.T, value):
            return "B1"
        if facts.run.start <= new.node < facts.run.start + len(facts.run.cotangent) and not np.ptp(old):
            return "C5"
        if set(np.unique(old)) <= {0.0, 1.0} and value.min() == 0 and np.array_equal(value != 0, old):
            return "E5"
        if facts.updated(old, value):
            return "E4"
        with np.errstate(all="ignore"):
            ratio = value / old
        if np.isfinite(ratio).all() and facts.derivative(ratio):
            return "C1"
    apart = (
        op.node.id not in facts.sight.carrying and op.name not in PRODUCTS[:5] and new.node < facts.run.start
    )  # a derivative is evaluated elsewhere
    return "C2" if op.name in POINTWISE or apart else "B6"


def factors(op: Operation, values: Values) -> Iterator[Rewrite]:
    """Another value as a factor of the result, or of an operand of a product."""
    for each in [*values.seen, *_kept(op, values.seen)]:
        said, mistake = op.facts.called(each.node), _factor(op, each, values)
        if fits(each.value.shape, op.result.shape):
            yield Rewrite(mistake, f"times {said}", times(each.take), strange=1)
            if each.value.all():
                root = op.facts.run.nodes[op.facts.origin(each.node)].name in ROOTS  # whose derivative divides by it
                yield Rewrite("C3" if root else mistake, f"divided by {said}", over(each.take), strange=2)
        for place in _terms(op):
            shape = np.shape(op.args[place])
            if fits(each.value.shape, shape):
                make = with_taken(place, each.take, np.multiply)
                yield Rewrite(mistake, f"{op.said(place)} * {said}", make, op.said(place), place, strange=2)


def _terms(op: Operation) -> list[int]:
    """Return the operands that a factor can be missing from, and not from the result: of a product, or a sum."""
    if op.name in ("add", "subtract"):
        return [i for i in op.operands[:2] if op.parent(i) >= op.facts.start]
    return op.arrays[:3] if op.name in (*PRODUCTS[:5], "sum") else []


def _kept(op: Operation, some: Sequence[Seen]) -> Iterator[Seen]:
    """Yield values that lack one axis of the result, with an axis of size one in its place: a norm of each row."""
    for each in some if op.result.ndim > 1 else ():
        for axis, n in enumerate(op.result.shape):
            without = (*op.result.shape[:axis], *op.result.shape[axis + 1 :])
            if n > 1 and each.value.shape == without:
                take = functools.partial(_expanded, each.take, axis)
                yield each._replace(value=np.expand_dims(each.value, axis), take=take)


def _expanded(take: Take, axis: int, node: Any, at: At) -> Array:
    return np.expand_dims(take(node, at), axis)


def _factor(op: Operation, each: Seen, values: Values) -> str:
    """Return the mistake that leaves out a factor."""
    run, value = op.facts.run, each.value
    if run.start <= each.node < run.start + len(run.cotangent):
        return "C5"
    if value.dtype.kind == "b" or (value.min() == 0 and len(np.unique(value)) == 2):
        given = run.nodes[each.node].kind == "leaf" or not run.nodes[each.node].parents
        of = values.of.get(op.node.id, -1)
        link = of >= 0 and run.nodes[of].kind == "leaf" and run.value(of).shape == value.shape
        return "F5" if link else "E5" if given else "C1"
    if op.facts.derivative(value):
        return "C1"
    return "A5" if value.size < op.result.size or value.size == 1 else "B6"
