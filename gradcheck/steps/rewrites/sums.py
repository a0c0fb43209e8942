"""Sums over other axes, products of matrices the other way round. Level 3.

Undoes A2 (a mean for a sum), B1 (a transpose), B3 and B4 (a sum over the wrong axes), B6 (a product by element), F1 (a
kernel not turned).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from gradcheck.steps.rewrites.axes import axes
from gradcheck.steps.rewrites.table import (
    PRODUCTS,
    Array,
    Make,
    Operation,
    Refused,
    Rewrite,
    by,
    first,
    of,
    then,
)

ENTRYWISE = ("multiply", "add", "subtract", "divide", "einsum", "tensordot", "where")


def reductions(op: Operation) -> Iterator[Rewrite]:
    """A sum over other axes; a mean for a sum."""
    if op.name in ("sum", "mean") and op.args and isinstance(op.args[0], np.ndarray):
        n = op.args[0].size / max(op.result.size, 1)
        meaning = op.facts.number(n if op.name == "mean" else 1 / n) if n != 1 else None
        mistake = meaning.mistake if meaning and meaning.mistake in ("A2", "A3", "A5") else "A2"
        other, kept = (np.mean, "mean") if op.name == "sum" else (np.sum, "sum")
        names = {k: v for k, v in op.kwargs.items() if k in ("axis", "keepdims")}
        make = by(lambda a, *axis: other(a, *axis[:1], **names))
        yield Rewrite(mistake, f"a {kept}", make, f"a {op.name}")
        yield from _summed(op, op.args[0])
    if op.result.size > np.prod(op.wanted) or op.result.ndim > len(op.wanted):
        yield from _summed(op, op.result)


def parts(op: Operation) -> Iterator[Rewrite]:
    """What is read of an array as a sum: over the axes that are left out, or over blocks; the blocks cut otherwise."""
    i = op.node.id if op.node.kind == "gather" else op.parent(0) if op.name in ("sum", "mean") else -1
    view = op.facts.run.nodes[i] if i >= op.facts.start else None
    if view is None or view.kind != "gather" or len(view.parents) != 1:
        return
    source = np.shape(op.facts.run.value(view.parents[0]))
    shape = view.value.shape
    if view is op.node:
        for some in itertools.chain(*(itertools.combinations(range(len(source)), n) for n in range(1, len(source)))):
            if tuple(n for a, n in enumerate(source) if a not in some) == op.wanted:
                make = _of_source(functools.partial(np.sum, axis=some))
                yield Rewrite("B3", f"summed over {axes(some)}", make)
        if (
            len(source) == len(op.wanted)
            and source != op.wanted
            and all(not m % max(n, 1) for m, n in zip(source, op.wanted, strict=True))
        ):
            cut = tuple(k for m, n in zip(source, op.wanted, strict=True) for k in (n, m // n))
            make = _of_source(functools.partial(_blocks, cut, tuple(range(1, len(cut), 2))))
            yield Rewrite("B3", "summed over each block", make)
    elif math.prod(source) == view.value.size and len(shape) > len(source):
        summed = tuple(sorted(_reduced(op)))
        for pairs in itertools.chain(*(itertools.combinations(range(len(shape) - 1), n) for n in range(1, 4))):
            order = list(range(len(shape)))
            for a in pairs:
                order[a], order[a + 1] = order[a + 1], order[a]
            if all(b - a > 1 for a, b in itertools.pairwise(pairs)):
                cut, over = tuple(shape[a] for a in order), tuple(order.index(a) for a in summed)
                make = _of_operand(functools.partial(_blocks, cut, over))
                yield Rewrite("F2", f"of blocks of the shape {cut} summed over {axes(over)}", make)


def _blocks(cut: tuple[int, ...], over: tuple[int, ...], array: Array) -> Array:
    return np.asarray(array.reshape(cut).sum(axis=over))


def _of_source(change: Callable[[Array], Array]) -> Make:
    return lambda node, values, at: np.asarray(change(values[0]))


def _of_operand(change: Callable[[Array], Array]) -> Make:
    return lambda node, values, at: np.asarray(change(at.value(at.sight.run.nodes[node.parents[0]].parents[0])))


def _summed(op: Operation, array: Array) -> Iterator[Rewrite]:
    """Yield the sums of the result, or of what is summed, over other axes."""
    inside = array is not op.result
    summed = _reduced(op) if inside else set[int]()
    for some in itertools.chain(*(itertools.combinations(range(array.ndim), n) for n in range(array.ndim + 1))):
        kept = tuple(1 if i in some else n for i, n in enumerate(array.shape))
        bare = tuple(n for i, n in enumerate(array.shape) if i not in some)
        if not op.free and op.wanted not in (kept, bare) and op.result.ndim not in (len(bare), len(kept)):
            continue
        keep = op.free or op.wanted == kept or (op.wanted != bare and op.result.ndim == len(kept))
        more = {array.shape[a] for a in set(some) - summed}
        mistake = "B3" if set(some) > summed and (not summed or more <= op.facts.batch) else "B4"
        total = np.mean if op.name == "mean" and inside else np.sum
        make = (first if inside else then)(functools.partial(total, axis=some, keepdims=keep))
        yield Rewrite(mistake, f"summed over {axes(some)}", make, f"the {op.name}" if inside else "", several=True)


def _reduced(op: Operation) -> set[int]:
    """Return the axes over which a sum runs."""
    axis = op.kwargs.get("axis", op.args[1] if len(op.args) > 1 else None)
    ndim = np.ndim(op.args[0])
    return set(range(ndim)) if axis is None else {int(a) % ndim for a in np.atleast_1d(axis)}


def products(op: Operation) -> Iterator[Rewrite]:
    """A product of matrices with its operands transposed or exchanged, or by element; an operand turned."""
    if op.name in ("matmul", "dot") and len(op.args) == 2 and all(isinstance(each, np.ndarray) for each in op.args):
        stands = f"{op.said(0)} @ {op.said(1)}"
        for swap, left, right in list(itertools.product((False, True), repeat=3))[1:]:
            words = [op.said(0) + ".T" * left, op.said(1) + ".T" * right]
            make = by(functools.partial(_matrix, swap=swap, left=left, right=right, wanted=op.wanted))
            yield Rewrite("B1", " @ ".join(words[::-1] if swap else words), make, stands, several=True)
        yield Rewrite("B6", f"{op.said(0)} * {op.said(1)}", by(np.multiply), stands)
    if op.name == "outer":
        said = f"outer({op.said(1)}, {op.said(0)})"
        yield Rewrite("B1", said, by(lambda a, b: np.outer(b, a)), f"outer({op.said(0)}, {op.said(1)})")
    for place in op.arrays[:3]:
        shape, said = np.shape(op.args[place]), op.said(place)
        if op.name in ENTRYWISE and len(shape) >= 2 and shape[-1] == shape[-2] > 1:
            yield Rewrite("B1", f"{said}.T", of(place, functools.partial(np.swapaxes, axis1=-1, axis2=-2)), said, place)
        if op.name in (*PRODUCTS, "correlate", "convolve") and len(shape) >= 2 and min(shape[-2:]) > 1:
            make = of(place, functools.partial(np.flip, axis=(-2, -1)))
            yield Rewrite("F1", f"{said} turned by 180° in its last two axes", make, said, place)


def _matrix(a: Array, b: Array, *, swap: bool, left: bool, right: bool, wanted: tuple[int, ...]) -> Array:
    a = np.swapaxes(a, -1, -2) if left and a.ndim > 1 else a
    b = np.swapaxes(b, -1, -2) if right and b.ndim > 1 else b
    made = np.asarray(b @ a if swap else a @ b)
    if made.shape != wanted:
        raise Refused
    return made
