"""The mistakes of a derivation: one operation of the forward pulled back wrongly, a row for each way. Level 3.

With a slip in it the sweep back gives the gradients that somebody gets who makes that mistake, whatever his backward
looks like. Where they are what is claimed, the slip explains it; where they are the true ones, these inputs hide it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.nodes import Node
from gradcheck.steps.pulls import is_by_element, pull, slope_by_element, unbroadcast
from gradcheck.steps.run import Run
from gradcheck.steps.truth import Bars, adjoint
from gradcheck.trees import Array

__all__ = ["Slip", "slipped", "slips"]

STATISTICS = {"mean", "var", "std", "max", "min"}
SUMS = {"sum", "mean"}
PRODUCTS = {"matmul", "dot", "einsum", "tensordot", "multiply"}
LINEAR = {"multiply", "divide", "add", "subtract", "negative"}
READS = {"gather", "getitem", "take"}


class Use(NamedTuple):
    """One operand of one operation in a sweep back, and what comes back through it.

    Attributes:
        run: the recording.
        node: the operation.
        k: the number of the operand.
        bar: the cotangent of the result.
        part: the right part of the operand's cotangent, of its shape.
    """

    run: Run
    node: Node
    k: int
    bar: Array
    part: Array

    @property
    def values(self) -> list[Array]:
        """The operands."""
        return [self.run.value(parent) for parent in self.node.parents]


Change = Callable[[Use], Array | None]  # to a wrong part, None for nothing at all
Row = tuple[str, str, Change]


class Slip(NamedTuple):
    """One way to pull an operation back wrongly.

    Attributes:
        mistake: the id in the catalogue.
        site: the place of the operation in the code.
        operand: the number of the operand whose part is wrong.
        said: what is done wrongly, in words that follow the name of the operation.
        change: from a use to the wrong part.
    """

    mistake: str
    site: Any
    operand: int
    said: str
    change: Change


@np.errstate(all="ignore")
def slipped(run: Run, pulls: dict[Any, Any], slip: Slip) -> Bars | None:
    """Return the cotangents that the sweep back gives with a slip in it; None if it gives none of the right shapes."""

    def change(node: Node, k: int, bar: Array, part: Array | None) -> Array | None:
        if part is None or k != slip.operand or node.site != slip.site:
            return part
        wrong = slip.change(Use(run, node, k, bar, part))
        if wrong is not None and wrong.shape != part.shape:
            raise ValueError(f"a part must have the shape {part.shape}, but it has {wrong.shape}")
        return wrong

    try:
        return adjoint(run, pulls, change)
    except (ValueError, IndexError):
        return None


def slips(run: Run) -> Iterator[Slip]:
    """Yield every slip at every operation of a recorded forward, each place in the code once."""
    seen = set()
    carried = _carried(run)
    for node in run.nodes[: run.start]:
        for k, parent in enumerate(node.parents):
            if parent < 0 or not run.nodes[parent].is_float or (node.site, k) in seen:
                continue
            seen.add((node.site, k))
            rows = [*_rows(node, k, [run.value(p) for p in node.parents]), *_of_loops(run, node)]
            if (node.site, k) in carried:  # then all of the path through time is what is missing
                rows = [row for row in rows if row[2] is not _nothing]
                rows.append(("G1", "gives nothing back to the step before", _nothing))
            for mistake, said, change in rows:
                yield Slip(mistake, node.site, k, said, change)


# -- the rows


def _rows(node: Node, k: int, values: list[Array]) -> Iterator[Row]:
    if node.name in READS:
        yield "E1", "overwrites what was read more than once", _last_of_cells
    if node.kind == "gather":
        return
    yield "C7" if node.name in STATISTICS else "C8", f"gives nothing back to operand {k + 1}", _nothing
    if is_by_element(node):
        yield from _by_element(node, k, values)
    if node.name in SUMS:
        yield "A2", f"is taken for a {'sum' if node.name == 'mean' else 'mean'}", _averaged
    if node.name in ("max", "min"):
        yield "F6", "gives all of it to each of several that are tied", _to_each
    if node.name in PRODUCTS:
        yield from _of_product(k, values)


def _by_element(node: Node, k: int, values: list[Array]) -> Iterator[Row]:
    if len(values) == 1 and node.name in LINEAR:
        given = next((each for each in node.args if isinstance(each, np.ndarray)), None)
        yield "A4" if given is None else "E5" if _is_mask(given) else "A5", "is taken for the identity", _as_it_came
    elif len(values) == 1:
        yield "C1", "is taken for the identity", _as_it_came
        yield "C2", "has its derivative taken at its result", _at_result
    elif node.name == "multiply":
        (other,) = (v for j, v in enumerate(values) if j != k)
        mistake = "E5" if _is_mask(other) else "A5" if other.ndim < node.value.ndim else "B6"
        yield mistake, f"lacks its other factor for operand {k + 1}", _as_it_came
    elif node.name in ("maximum", "minimum", "where"):
        yield "C1", "is taken for the identity", _as_it_came
    if values[k].size < node.value.size:
        yield "A2", f"gives operand {k + 1} the mean of what was broadcast, and not the sum", _mean_of_broadcast
        yield "B3", f"gives operand {k + 1} one of what was broadcast, and not the sum", _one_of_broadcast


def _is_mask(array: Array) -> bool:
    return array.dtype.kind == "b" or (array.min(initial=0) == 0 and len(np.unique(array)) <= 2)


def _of_product(k: int, values: list[Array]) -> Iterator[Row]:
    """Another operand of a product is taken otherwise: transposed, or a kernel that is turned or not."""
    for j, other in enumerate(values):
        if j == k:
            continue
        if other.ndim == 2 and other.shape[0] == other.shape[1]:
            yield "B1", f"has its operand {j + 1} transposed wrongly", _with(j, np.transpose)
        if other.ndim >= 3:
            yield "F1", f"has its operand {j + 1} turned by 180° wrongly", _with(j, _turned)
            if other.shape[-1] == other.shape[-2]:
                yield "F4", f"has height and width of its operand {j + 1} exchanged", _with(j, _exchanged)


def _of_loops(run: Run, node: Node) -> Iterator[Row]:
    last = run.tape.turns[node.site]
    if last and node.kind == "gather":
        yield "E1", "overwrites at each turn what the turns before gave", _last_of_turns
    if last > 1:
        yield "G2", "is left out at its first turn", _without(0)
        yield "G2", "is left out at its last turn", _without(last)


# -- what they do


def _nothing(_: Use) -> None:
    return None


def _without(turn: int) -> Change:
    return lambda use: None if use.node.turn == turn else use.part


def _as_it_came(use: Use) -> Array:
    return unbroadcast(use.bar, use.part.shape)


def _at_result(use: Use) -> Array:
    there = copy.copy(use.node)
    there.value = use.node.compute([use.node.value])
    return np.asarray(use.bar * slope_by_element(there, 0, [use.node.value]))


def _averaged(use: Use) -> Array:
    """∂/∂xᵢ of Σ xᵢ is 1, of their mean 1/n."""
    return np.asarray(use.part * (use.part.size / use.bar.size) ** (1 if use.node.name == "mean" else -1))


def _to_each(use: Use) -> Array:
    """Give each of several that are tied all of the cotangent, and not its share: 1/n of them."""
    share = np.asarray(pull(use.node, use.k, use.values)(np.ones(use.bar.shape)), dtype=np.float64)
    return np.divide(use.part, share, out=np.zeros(use.part.shape), where=share != 0)


def _mean_of_broadcast(use: Use) -> Array:
    return np.asarray(use.part * (use.part.size / use.bar.size))


def _one_of_broadcast(use: Use) -> Array:
    """Return the part that comes from the first of several places that an operand was broadcast to."""
    first, more = np.zeros(use.bar.shape), use.bar.ndim - use.part.ndim
    index = (0,) * more + tuple(slice(0, 1) if n == 1 else slice(None) for n in use.part.shape)
    first[index] = use.bar[index]
    return np.asarray(pull(use.node, use.k, use.values)(first))


def _last_of_cells(use: Use) -> Array:
    """Keep of what comes back to each cell the last."""
    numbered = [np.zeros(value.shape) for value in use.values]
    numbered[use.k] = np.arange(1.0, use.part.size + 1).reshape(use.part.shape)
    cells = np.asarray(use.node.compute(numbered)).astype(int)
    kept = np.zeros(use.part.size + 1)
    kept[cells.ravel()] = use.bar.ravel()
    return kept[1:].reshape(use.part.shape)


def _last_of_turns(use: Use) -> Array:
    """Leave out what a later turn gives as well."""
    left, run = use.part.copy(), use.run
    for turn in range(use.node.turn + 1, run.tape.turns[use.node.site] + 1):
        later = run.nodes[run.tape.at[use.node.site, turn]]
        for j, parent in enumerate(later.parents):
            if parent == use.node.parents[use.k]:
                which, place = later.data
                left.flat[place[which == j]] = 0.0
    return left


def _with(j: int, otherwise: Callable[[Array], Array]) -> Change:
    """Pull back with operand j taken otherwise."""

    def change(use: Use) -> Array:
        values = use.values
        values[j] = otherwise(values[j])
        return np.asarray(pull(use.node, use.k, values)(use.bar))

    return change


def _turned(array: Array) -> Array:
    return np.flip(array, (-2, -1))


def _exchanged(array: Array) -> Array:
    return np.swapaxes(array, -1, -2)


def _carried(run: Run) -> set[tuple[Any, int]]:
    """Return the operands that at some turn are made of what their own place made the turn before.

    Where a state goes into several of them at the next turn, each is one of several paths, and none the path through
    time.
    """
    made: dict[int, set[Any]] = {}
    found, next_uses = set[tuple[Any, int]](), dict[int, list[tuple[Any, int]]]()
    for node in run.nodes[: run.start]:
        above = set[Any]().union(*(made.get(p, set()) for p in node.parents))
        for k, p in enumerate(node.parents if node.turn else ()):
            if node.site in made.get(p, set()):
                found.add((node.site, k))
                if run.nodes[p].turn < node.turn:
                    next_uses.setdefault(p, []).append((node.site, k))
        made[node.id] = above | {node.site}
    return found - {use for some in next_uses.values() if len(some) > 1 for use in some}
