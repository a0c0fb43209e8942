"""The mistakes of a derivation: one operation of the forward pulled back wrongly, a row for each way. Level 3.

With a slip in it the sweep back gives the gradients that somebody gets who makes that mistake, whatever his backward
looks like. Where they are what is claimed, the slip explains it; where they are the true ones, these inputs hide it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.truth import Bars, Run, adjoint, axes_of, by_element, kept, pull, slope_by_element, unbroadcast
from gradcheck.trees import Array

__all__ = ["Slip", "slipped", "slips"]

Change = Callable[[Run, Any, Array, Array], Array | None]  # of the node, its cotangent, the right part of the operand
STATISTICS = {"mean", "var", "std", "max", "min"}
SUMS = {"sum", "mean"}
PRODUCTS = {"matmul", "dot", "einsum", "tensordot", "multiply"}


class Slip(NamedTuple):
    """One way to pull an operation back wrongly.

    Attributes:
        mistake: the id in the catalogue.
        site: the place of the operation in the code.
        operand: the number of the operand whose part is wrong.
        said: what is done wrongly, in words that follow the name of the operation.
        change: from the node, its cotangent and the right part to the wrong one; None for no part at all.
    """

    mistake: str
    site: Any
    operand: int
    said: str
    change: Change


def slipped(run: Run, pulls: dict[Any, Any], slip: Slip) -> Bars | None:
    """Return the cotangents that the sweep back gives with a slip in it; None if it gives none of the right shapes."""

    def change(node: Any, k: int, bar: Array, part: Array) -> Array | None:
        if k != slip.operand or node.site != slip.site:
            return part
        wrong = slip.change(run, node, bar, part)
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
            values = [run.value(p) for p in node.parents]
            for mistake, said, change in _rows(node, k, values):
                yield Slip(mistake, node.site, k, said, change)
            if (node.site, k) in carried:
                yield Slip("G1", node.site, k, "gives nothing back to the step before", _nothing)
            last = run.tape.turns[node.site]
            if last and node.kind == "gather":
                yield Slip("E1", node.site, k, "overwrites at each turn what the turns before gave", _overwritten)
            if last > 1:
                for turn, which in ((0, "first"), (last, "last")):
                    yield Slip("G2", node.site, k, f"is left out at its {which} turn", _without(turn))


Row = tuple[str, str, Change]


def _rows(node: Any, k: int, values: list[Array]) -> Iterator[Row]:
    if node.kind == "gather":
        yield from _of_cells(node, k)
        return
    statistic = node.name in STATISTICS or (node.name in SUMS and node.turn == 0)
    yield ("C7" if statistic else "C8"), f"gives nothing back to operand {k + 1}", _nothing
    if by_element(node):
        yield from _by_element(node, k, values)
    if node.name in SUMS:
        yield "A2", f"is taken for a {'sum' if node.name == 'mean' else 'mean'}", _averaged
    if node.name in ("max", "min"):
        yield "F6", "gives all of it to each of several that are tied", _tied
    if node.name in PRODUCTS:
        yield from _of_product(k, values)


def _nothing(run: Run, node: Any, bar: Array, part: Array) -> None:
    return None


def _without(turn: int) -> Change:
    return lambda run, node, bar, part: None if node.turn == turn else part


def _overwritten(run: Run, node: Any, bar: Array, part: Array) -> Array:
    """Leave out what a later turn gives as well."""
    left = part.copy()
    for turn in range(node.turn + 1, run.tape.turns[node.site] + 1):
        later = run.nodes[run.tape.at[node.site, turn]]
        for j, parent in enumerate(later.parents):
            if parent in node.parents and run.value(parent).size == left.size:
                which, place = later.data
                left.flat[place[which == j]] = 0.0
    return left


def _averaged(run: Run, node: Any, bar: Array, part: Array) -> Array:
    """∂/∂xᵢ of Σ xᵢ is 1, of their mean 1/n."""
    return part * (part.size / bar.size) ** (1 if node.name == "mean" else -1)


def _tied(run: Run, node: Any, bar: Array, part: Array) -> Array:
    """Give every entry that is moved by the cotangent all of it, and not its share."""
    (axes,) = [axes_of(node, [part])]
    return np.where(part != 0, kept(bar, part.shape, axes), 0.0)


def _by_element(node: Any, k: int, values: list[Array]) -> Iterator[Row]:
    others = [np.asarray(v) for j, v in enumerate(values) if j != k]
    if len(values) == 1:
        yield "C1", "is taken for the identity", lambda run, n, bar, part: unbroadcast(bar, part.shape)
        yield (
            "C2",
            "has its derivative taken at its result",
            lambda run, n, bar, part: bar * slope_by_element(n, 0, [n.value]),
        )
    elif node.name == "multiply":
        mask = others[0].dtype.kind == "b" or (others[0].min(initial=0) == 0 and len(np.unique(others[0])) <= 2)
        mistake = "E5" if mask else "A5" if others[0].ndim < node.value.ndim else "B6"
        yield (
            mistake,
            f"lacks its other factor for operand {k + 1}",
            lambda run, n, bar, part: unbroadcast(bar, part.shape),
        )
    elif node.name in ("maximum", "minimum", "where"):
        yield "C1", "is taken for the identity", lambda run, n, bar, part: unbroadcast(bar, part.shape)
    if values[k].size < node.value.size:
        yield "A2", f"gives operand {k + 1} the mean of what was broadcast, and not the sum", _mean_of_broadcast
        yield "B3", f"gives operand {k + 1} one of what was broadcast, and not the sum", _one_of_broadcast


def _mean_of_broadcast(run: Run, node: Any, bar: Array, part: Array) -> Array:
    return part * (part.size / bar.size)


def _one_of_broadcast(run: Run, node: Any, bar: Array, part: Array) -> Array:
    """Return the part of the first of several places that an operand was broadcast to."""
    first = np.zeros(bar.shape)
    lead = bar.ndim - part.ndim
    index = tuple(0 if a < lead else slice(0, 1) if part.shape[a - lead] == 1 else slice(None) for a in range(bar.ndim))
    first[index] = bar[index]
    scale = np.divide(
        part, unbroadcast(bar, part.shape), out=np.ones(part.shape), where=unbroadcast(bar, part.shape) != 0
    )
    return unbroadcast(first, part.shape) * scale


def _of_product(k: int, values: list[Array]) -> Iterator[Row]:
    """Another operand of a product is taken otherwise: transposed, or a kernel that is not turned."""
    for j, other in enumerate(values):
        if j == k:
            continue
        if other.ndim == 2 and other.shape[0] == other.shape[1]:
            yield "B1", f"has its operand {j + 1} transposed wrongly", _with(k, j, np.transpose)
        if other.ndim >= 3:
            turned: Callable[[Array], Array] = lambda array: np.flip(array, (-2, -1))
            yield "F1", f"has its operand {j + 1} turned by 180° wrongly", _with(k, j, turned)
            if other.shape[-1] == other.shape[-2]:
                swapped: Callable[[Array], Array] = lambda array: np.swapaxes(array, -1, -2)
                yield "F4", f"has height and width of its operand {j + 1} exchanged", _with(k, j, swapped)


def _with(k: int, j: int, otherwise: Callable[[Array], Array]) -> Change:
    """Pull back to operand k with operand j taken otherwise."""

    def change(run: Run, node: Any, bar: Array, part: Array) -> Array:
        values = [run.value(p) for p in node.parents]
        values[j] = otherwise(values[j])
        return np.asarray(pull(node, k, values)(bar))

    return change


def _of_cells(node: Any, k: int) -> Iterator[Row]:
    """What is read more than once has to be added up."""
    which, place = node.data
    here = place[which == k]

    def overwritten(run: Run, n: Any, bar: Array, part: Array) -> Array:
        w, p = n.data
        made = np.zeros(part.size)
        made[p[w == k]] = bar[w == k]
        return made.reshape(part.shape)

    if len(np.unique(here)) < here.size:
        yield "E1", "overwrites what was read more than once", overwritten


def _carried(run: Run) -> set[tuple[Any, int]]:
    """Return the operands that at some turn are made of what their own place made the turn before."""
    made: dict[int, set[Any]] = {}
    found = set()
    for node in run.nodes[: run.start]:
        above = set().union(*(made.get(p, set()) for p in node.parents)) if node.parents else set()
        if node.turn:
            found |= {(node.site, k) for k, p in enumerate(node.parents) if node.site in made.get(p, set())}
        made[node.id] = above | {node.site}
    return found
