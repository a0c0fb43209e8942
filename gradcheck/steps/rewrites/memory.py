"""Reads and writes at other places: what was recorded of the memory is played again with other cells.

Undoes E1 (overwritten, not added), F1 (a kernel not turned), F2 (a stride), F3 (a padding), F4 (height for width), G3 (the
step before or after).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.nodes import gather
from gradcheck.steps.rewrites.meanings import Meanings
from gradcheck.steps.rewrites.table import Array, Operation, Refused, Rewrite, arguments

FEW = 5  # axes of which all orders are tried
SHIFTS = 3  # places by which a part that is cut out may be away
MOST = 20_000  # cells of one access, over all turns, that are moved

Cells = Array  # of a buffer, by their number
Held = tuple[Array, Array, tuple[int, ...]]  # cell by cell, which of some nodes and where in it


class Access(NamedTuple):
    """Sites that read or write the same cells of one or more buffers of a shape, turn by turn.

    Attributes:
        sites: the sites; those that write first.
        writes: how many of them write.
        ids: the nodes of the first site, by turn.
        shape: the shape of what they read from or write into.
    """

    sites: tuple[Any, ...]
    writes: int
    ids: tuple[int, ...]
    shape: tuple[int, ...]


class Move(NamedTuple):
    """An access at other cells, or added up instead of overwritten.

    Attributes:
        mistake, should: as those of a rewrite.
        access: what is moved.
        cells: from a run to the cells of each node of the access; None where what is written is added up.
        strange: how much is taken from elsewhere.
    """

    mistake: str
    should: str
    access: Access
    cells: Callable[[Any], dict[int, Cells]] | None
    strange: int = 0


# -- what was accessed


def accesses(run: Any, start: int, stop: int) -> list[Access]:
    """Return what nodes read and write; sites with the same cells at all turns are one access."""
    sites: dict[Any, list[Any]] = {}
    for node in run.nodes[start:stop]:
        if node.memory is not None and node.memory[1] is not None and node.site.frames and node.kind in ("gather", "op"):
            sites.setdefault(node.site, []).append(node)
    groups: dict[Any, list[list[Any]]] = {}
    for nodes in sites.values():
        shape = nodes[0].memory[0].root.shape
        if sum(node.memory[1].size for node in nodes) <= MOST and all(node.memory[0].root.shape == shape for node in nodes):
            key = shape, len(nodes), tuple(node.memory[1].tobytes() for node in nodes)
            groups.setdefault(key, []).append(nodes)
    found = []
    for (shape, *_), some in groups.items():
        some.sort(key=lambda nodes: nodes[0].kind == "gather")
        found.append(Access(tuple(nodes[0].site for nodes in some), sum(nodes[0].kind == "op" for nodes in some), tuple(n.id for n in some[0]), shape))
    return found


def nodes_of(run: Any, site: Any) -> list[int]:
    """Return the nodes of a site, by turn."""
    return [run.tape.at[site, turn] for turn in range(run.tape.turns[site] + 1)]


# -- what could be accessed instead


def moves(run: Any, facts: Meanings, access: Access) -> Iterator[Move]:
    """Yield other cells for an access, those of the forward first."""
    writes = [s for s in access.sites[: access.writes] if s.name.startswith(("setitem", "fill"))]
    if writes:
        yield Move("E1", "added to what is there, not written over it", access, None)
    image = len([n for n in access.shape if n > 1]) >= 2
    for site, other in _duals(run, access):
        for order, said in ((1, ""), (-1, ", from the last on")):
            yield Move("F1" if said else "F2" if image and not facts.over_time else "G3", f"at the places of line {site.line} of the forward{said}", access,
                       functools.partial(_of_forward, access, site, order), 0 if order == 1 else 1)
        del other
    yield from _mirrored(access, facts)
    yield from _shifted(run, access, facts)
    for i, j in itertools.combinations(range(len(access.shape)), 2):
        yield Move("F4", f"have its places along axes {i} and {j} exchanged", access, _moved(access, lambda at, _, i=i, j=j: [at[j if a == i else i if a == j else a] for a in range(len(at))]), 1)
    for times, beside in itertools.product((2, 3), _beside(run, access)):
        yield Move("F2", f"begin at {times} times the place of what is read in line {beside.line}", access, functools.partial(_spaced, access, beside, times - 1), 1)
    for times in (2, 3):
        for axes in _some(access):
            yield Move("F2", f"begin at {times} times its place along {_axes(axes)}", access,
                       _moved(access, lambda at, _, t=times, s=axes: [x + (t - 1) * (x.min(initial=10**9)) if a in s else x for a, x in enumerate(at)]), 1)


def _duals(run: Any, access: Access) -> Iterator[tuple[Any, Access]]:
    """Yield the sites of the forward that read or write as many cells, at as many turns, of what has the same shape."""
    size = [run.nodes[i].memory[1].shape for i in access.ids]
    for other in accesses(run, 0, run.start):
        if other.shape == access.shape and [run.nodes[i].memory[1].shape for i in other.ids] == size:
            yield other.sites[0], other


def _beside(run: Any, access: Access) -> list[Any]:
    """Return the sites of the backward that read one cell at each turn of an access, of what has as many axes."""
    others = accesses(run, run.start, len(run.nodes))
    return [other.sites[0] for other in others if other.sites[0] not in access.sites and len(other.ids) == len(access.ids)
            and len(other.shape) == len(access.shape) and run.nodes[other.ids[0]].memory[1].size == 1]


def _spaced(access: Access, beside: Any, times: int, run: Any) -> dict[int, Cells]:
    """Return the cells so many times the place of a read further along the last two axes."""
    found = {}
    for own in access.sites:
        for i, j in zip(nodes_of(run, own), nodes_of(run, beside), strict=True):
            shape, other = run.nodes[i].memory[0].root.shape, run.nodes[j].memory
            by = np.unravel_index(other[1].ravel()[0], other[0].root.shape)
            new = [x + times * by[a] if a >= len(shape) - 2 else x for a, x in enumerate(np.unravel_index(run.nodes[i].memory[1], shape))]
            if any((x >= n).any() for x, n in zip(new, shape, strict=True)):
                raise Refused
            found[i] = np.ravel_multi_index(tuple(new), shape)
    return found


def _of_forward(access: Access, site: Any, order: int, run: Any) -> dict[int, Cells]:
    cells = [run.nodes[i].memory[1] for i in nodes_of(run, site)][::order]
    return {i: new for own in access.sites for i, new in zip(nodes_of(run, own), cells, strict=True)}


def _mirrored(access: Access, facts: Meanings) -> Iterator[Move]:
    for axes in _some(access):
        for whole in (True, False):  # of the whole array, or of the part that is read

            def mirror(at: list[Array], shape: tuple[int, ...], axes: tuple[int, ...] = axes, whole: bool = whole) -> list[Array]:
                return [(shape[a] - 1 - x if whole else x.max(initial=0) + x.min(initial=0) - x) if a in axes else x for a, x in enumerate(at)]

            mistake = "F1" if len(axes) == 2 or not facts.over_time else "G3"
            yield Move(mistake, f"counted from the other end along {_axes(axes)}", access, _moved(access, mirror), 0 if len(axes) == 2 else 1)


def _shifted(run: Any, access: Access, facts: Meanings) -> Iterator[Move]:
    few = len(access.ids) <= 2
    steps = [s for s in range(-SHIFTS, SHIFTS + 1)] if few else [-1, 0, 1]
    axes = [a for a, n in enumerate(access.shape) if n > 1][-3:]
    spans = [np.ptp(np.unravel_index(run.nodes[access.ids[0]].memory[1], access.shape)[a]) + 1 < access.shape[a] for a in axes]
    for by in sorted(itertools.product(*(steps if free else [0] for free in spans)), key=lambda b: (sum(map(bool, b)), sum(map(abs, b)))):
        if not any(by) or (not few and sum(map(bool, by)) > 1):
            continue
        shift = dict(zip(axes, by, strict=True))
        mistake = "F3" if few and sum(map(bool, by)) > 1 else "G3" if facts.over_time else "F3" if len(access.shape) > 2 else "B6"
        said = " and ".join(f"{step:+d} along axis {a}" for a, step in shift.items() if step)
        yield Move(mistake, said, access, _moved(access, lambda at, _, s=shift: [x + s.get(a, 0) for a, x in enumerate(at)]), 1)


def _moved(access: Access, change: Callable[[list[Array], tuple[int, ...]], list[Array]]) -> Callable[[Any], dict[int, Cells]]:
    def cells(run: Any) -> dict[int, Cells]:
        found = {}
        for i in (i for site in access.sites for i in nodes_of(run, site)):
            buffer, old = run.nodes[i].memory
            shape = buffer.root.shape
            new = change(list(np.unravel_index(old, shape)), shape)
            if any((x < 0).any() or (x >= n).any() for x, n in zip(new, shape, strict=True)):
                raise Refused
            found[i] = np.ravel_multi_index(tuple(new), shape)
        return found

    return cells


def _some(access: Access) -> list[tuple[int, ...]]:
    axes = [a for a, n in enumerate(access.shape) if n > 1]
    return [tuple(axes[-2:])] * (len(axes) > 1) + [(a,) for a in axes]


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes[0]} and {axes[1]}"


# -- what an operation reads


def reads(op: Operation) -> Iterator[Rewrite]:
    """An operand that is read from the other end of what it is read of; a view with its axes in another order."""
    for place in (i for i in op.operands[:3] if op.parent(i) >= 0):
        source = _source(op.facts.run, op.parent(place))
        axes = [a for a, n in enumerate(np.shape(op.facts.run.value(source)) if source >= 0 else ()) if n > 1]
        for some in [tuple(axes[-2:])] * (len(axes) > 1) + [(a,) for a in axes]:
            mistake = "F1" if len(some) == 2 or not op.facts.over_time else "G3"
            yield Rewrite(mistake, f"counted from the other end along {_axes(some)}", _from_end(place, some), op.said(place), place, strange=len(some) == 1)
    source = _source(op.facts.run, op.node.id)
    shape = np.shape(op.facts.run.value(source)) if source >= 0 else ()
    if source >= 0 and np.prod(shape) == op.result.size and 2 <= len(shape) <= FEW:
        for order in list(itertools.permutations(range(len(shape))))[1:]:
            yield Rewrite("B1", f"with its axes in the order {order} first", functools.partial(_ordered, order))


def _source(run: Any, i: int) -> int:
    """Return the one node that a gather takes its cells of, -1 where there is none."""
    node = run.nodes[i]
    return int(node.parents[0]) if node.kind == "gather" and len(node.parents) == 1 else -1


def _ordered(order: tuple[int, ...], node: Any, values: Sequence[Array], at: Any) -> Array:
    return np.asarray(values[0].transpose(order).reshape(node.value.shape))


def _from_end(place: int, axes: tuple[int, ...]) -> Any:
    def make(node: Any, values: Sequence[Array], at: Any) -> Array:
        args, kwargs = arguments(node, values)
        k = getattr(node.args[place], "k", None)
        source = _source(at.sight.run, node.parents[k]) if k is not None else -1
        if source < 0:
            raise Refused
        whole = at.value(source)
        cells = np.unravel_index(at.sight.run.nodes[node.parents[k]].data[1], whole.shape)
        new = whole[tuple(whole.shape[a] - 1 - x if a in axes else x for a, x in enumerate(cells))]
        return np.asarray(node.func(*args[:place], new, *args[place + 1 :], **kwargs))

    return make


# -- played again


def replayed(move: Move, run: Any) -> dict[int, Callable[[Sequence[Array], Any], Array]]:
    """Return what to compute at the nodes that a move changes: reads of other cells, writes that add up."""
    cells = move.cells(run) if move.cells else {}
    adds = {i for site in move.access.sites[: move.access.writes] for i in nodes_of(run, site)} if move.cells is None else set()
    buffers = {id(run.nodes[i].memory[0]) for i in (*cells, *adds)}
    new, old = _Contents(), _Contents()  # with the move, and as it was
    found: dict[int, Callable[[Sequence[Array], Any], Array]] = {}
    for node in run.nodes:
        if node.memory is None or id(node.memory[0]) not in buffers:
            continue
        buffer, was = node.memory
        at = cells.get(node.id, was)
        if node.kind == "gather":
            held = new.held(buffer, at)
            if held is not None and (adds or not _alike(held, (*node.data, node.parents))):
                found[node.id] = functools.partial(_read, held)
            continue
        before, there = old.held(buffer, was), new.held(buffer, at)
        if before is not None and there is not None:
            if node.id in adds:
                found[node.id] = functools.partial(_added, node, at, there)
            elif node.id in cells and _accumulates(run, node, before):
                found[node.id] = functools.partial(_moved_term, node, there, before)
        new.write(buffer, at, node.id)
        old.write(buffer, was, node.id)
    return found


class _Contents:
    """What buffers hold: for each cell the node that wrote it, and where in that node's value."""

    def __init__(self) -> None:
        self.owner: dict[int, Array] = {}
        self.place: dict[int, Array] = {}

    def write(self, buffer: Any, at: Cells | None, node: int) -> None:
        key = id(buffer)
        if at is None or key not in self.owner:
            self.owner[key], self.place[key] = np.full(buffer.root.size, node), np.arange(buffer.root.size)
        if at is not None:
            self.owner[key][at], self.place[key][at] = node, np.arange(at.size).reshape(at.shape)

    def held(self, buffer: Any, at: Cells | None) -> Held | None:
        key = id(buffer)
        return None if at is None or key not in self.owner else _held(self.owner[key], self.place[key], at)


def _alike(one: Held, two: Held) -> bool:
    return one[2] == two[2] and np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


def _accumulates(run: Any, node: Any, before: Held) -> bool:
    """Whether what is written is made of what was there, as by x[key] += term."""
    near = set(node.parents)
    for _ in range(2):
        near |= {q for p in near if p >= run.start for q in run.nodes[p].parents}
    return not near.isdisjoint(before[2])


def _moved_term(node: Any, there: Held, before: Held, values: Sequence[Array], at: Any) -> Array:
    """Return what is written elsewhere: what is there, and the term that was added."""
    recorded = at.sight.run.value
    term = recorded(node.id) - gather(before[0], before[1], [recorded(p) for p in before[2]])
    return np.asarray(_read(there, (), at) + np.reshape(term, there[0].shape))


def _held(owner: Array, place: Array, at: Array) -> Held:
    parents = np.unique(owner[at])
    return np.searchsorted(parents, owner[at]), place[at], tuple(int(p) for p in parents)


def _read(held: Held, values: Sequence[Array], at: Any) -> Array:
    return np.asarray(gather(held[0], held[1], [at.value(p) for p in held[2]]))


def _added(node: Any, cells: Array, held: Held, values: Sequence[Array], at: Any) -> Array:
    """Return what is written if it is added to what is there, entry by entry where a cell is written more than once."""
    before, new = _read(held, (), at), np.broadcast_to(np.asarray(node.compute(values)), cells.shape)
    many = cells.size > np.unique(cells).size
    if many and before.any():
        new = new - before  # x[key] += term has read what was there once for all
    total = np.zeros(int(cells.max(initial=0)) + 1)
    np.add.at(total, cells, new)
    return np.asarray(before + total[cells])
