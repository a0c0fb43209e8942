"""Sums over other axes, products of matrices the other way round, other subscripts, axes in another order.

Undoes A2 (a mean for a sum), B1 (a transpose), B2 (a reshape), B3 and B4 (a sum over the wrong axes), B6 (by element),
F1 (a kernel not turned), F3 (moved by one), F4 (height for width).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.steps.rewrites.table import (
    PRODUCTS,
    Array,
    Operation,
    Refused,
    Rewrite,
    alone,
    arguments,
    by,
    of,
    redone,
    then,
)

AXES = 4  # dimensions of which all orders are tried


def reductions(op: Operation) -> Iterator[Rewrite]:
    """A sum over other axes; a mean for a sum."""
    if op.name in ("sum", "mean") and op.args and isinstance(op.args[0], np.ndarray):
        other = np.mean if op.name == "sum" else np.sum
        kept = {k: v for k, v in op.kwargs.items() if k in ("axis", "keepdims")}
        n = op.args[0].size / max(op.result.size, 1)
        meaning = op.facts.number(n if op.name == "mean" else 1 / n) if n != 1 else None
        mistake = meaning.mistake if meaning and meaning.mistake in ("A2", "A3", "A5") else "A2"
        yield Rewrite(mistake, f"a {'mean' if op.name == 'sum' else 'sum'}", lambda node, v, at: other(arguments(node, v)[0][0], *arguments(node, v)[0][1:2], **kept), f"a {op.name}")
        yield from _summed(op, op.args[0], lambda node, v: np.asarray(arguments(node, v)[0][0]))
    if op.result.size > np.prod(op.wanted) or op.result.ndim > len(op.wanted):
        yield from _summed(op, op.result, redone)


def _summed(op: Operation, array: Array, get: Any) -> Iterator[Rewrite]:
    summed = _reduced(op) if array is not op.result else set()
    for count in range(array.ndim + 1):
        for axes in itertools.combinations(range(array.ndim), count):
            kept = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
            bare = tuple(n for i, n in enumerate(array.shape) if i not in axes)
            if not op.free and op.wanted not in (kept, bare) and op.result.ndim not in (len(bare), len(kept)):
                continue
            keep = op.free or op.wanted == kept or (op.wanted != bare and op.result.ndim == len(kept))
            more = {array.shape[a] for a in set(axes) - summed}
            mistake = "B3" if set(axes) > summed and (not summed or more <= op.facts.batch) else "B4"
            yield Rewrite(mistake, f"summed over {_axes(axes)}", lambda node, v, at, a=axes, k=keep: get(node, v).sum(axis=a, keepdims=k) if a else get(node, v),
                          "" if array is op.result else f"the {op.name}", several=True)


def _reduced(op: Operation) -> set[int]:
    """The axes over which a sum runs."""
    axis = op.kwargs.get("axis", op.args[1] if len(op.args) > 1 else None)
    ndim = np.ndim(op.args[0])
    return set(range(ndim)) if axis is None else {int(a) % ndim for a in np.atleast_1d(axis)}


def products(op: Operation) -> Iterator[Rewrite]:
    """A product of matrices with its operands transposed or exchanged, or by element; other subscripts."""
    if op.name in ("matmul", "dot") and len(op.args) == 2 and all(isinstance(each, np.ndarray) for each in op.args):
        for swap, left, right in itertools.product((False, True), repeat=3):
            if swap or left or right:
                said = [op.said(0) + ".T" * left, op.said(1) + ".T" * right]
                yield Rewrite("B1", " @ ".join(said[::-1] if swap else said), by(lambda a, b, s=swap, x=left, y=right: _matrix(a, b, s, x, y, op.wanted)), f"{op.said(0)} @ {op.said(1)}", several=True)
        yield Rewrite("B6", f"{op.said(0)} * {op.said(1)}", by(np.multiply), f"{op.said(0)} @ {op.said(1)}")
    if op.name == "outer":
        yield Rewrite("B1", f"outer({op.said(1)}, {op.said(0)})", by(lambda a, b: np.outer(b, a)), f"outer({op.said(0)}, {op.said(1)})")
    if op.name in ("multiply", "add", "subtract", "divide", "einsum", "tensordot", "where"):
        for place in op.arrays[:3]:
            shape = np.shape(op.args[place])
            if len(shape) >= 2 and shape[-1] == shape[-2] > 1:
                yield Rewrite("B1", f"{op.said(place)}.T", of(place, lambda a: np.swapaxes(a, -1, -2)), op.said(place), place)
    if op.name in (*PRODUCTS, "correlate", "convolve"):
        for place in op.arrays[:3]:
            if np.ndim(op.args[place]) >= 2 and min(np.shape(op.args[place])[-2:]) > 1:
                yield Rewrite("F1", f"{op.said(place)} turned by 180° in its last two axes", of(place, lambda a: np.flip(a, (-2, -1))), op.said(place), place)
    if op.name == "einsum" and isinstance(op.args[0], str) and "->" in op.args[0] and "." not in op.args[0]:
        left, output = op.args[0].replace(" ", "").split("->")
        terms = [*left.split(","), output]
        for place, (i, j) in ((p, ij) for p, term in enumerate(terms) for ij in itertools.combinations(range(len(term)), 2)):
            letters = list(terms[place])
            letters[i], letters[j] = letters[j], letters[i]
            made = [*terms[:place], "".join(letters), *terms[place + 1 :]]
            yield Rewrite("B1", f"{','.join(made[:-1])}->{made[-1]}", of(0, lambda _, new=f"{','.join(made[:-1])}->{made[-1]}": new), op.args[0], 0, several=True)


def axes(op: Operation) -> Iterator[Rewrite]:
    """Axes in another order, before or after; entries in another order; a part of what is too large."""
    shape, array = op.result.shape, op.args[0] if op.args and isinstance(op.args[0], np.ndarray) else None
    if array is not None and op.name in ("transpose", "swapaxes", "moveaxis", "reshape", "ravel", "flatten") and 2 <= array.ndim <= AXES + 1:
        for order in list(itertools.permutations(range(array.ndim)))[1:]:
            if op.name in ("reshape", "ravel", "flatten"):
                yield Rewrite(_exchanged(order), f"with its axes in the order {order} first", lambda n, v, at, o=order: arguments(n, v)[0][0].transpose(o).reshape(n.value.shape), several=True)
            elif tuple(array.shape[k] for k in order) == shape:
                yield Rewrite(_exchanged(order), f"with its axes in the order {order}", lambda n, v, at, o=order: arguments(n, v)[0][0].transpose(o), several=True)
        if op.name not in ("reshape", "ravel", "flatten"):
            yield Rewrite("B1", f"{op.said(0)} not transposed", alone(0))
    if op.name in ("repeat", "tile"):
        yield Rewrite("B1", "repeated the other way", _tiled)
    if 1 <= len(shape) <= AXES and op.result.size > 1:
        for order in list(itertools.permutations(range(len(shape))))[1:]:
            if tuple(shape[k] for k in order) in (shape, op.wanted):
                yield Rewrite(_exchanged(order) if len(shape) > 2 else "B1", "transposed" if len(shape) == 2 else f"with its axes in the order {order}", then(lambda a, o=order: a.transpose(o)), several=True)
        for count in (1, 2):
            for some in itertools.combinations([a for a in range(len(shape)) if shape[a] > 1], count):
                yield Rewrite("G3" if op.facts.over_time else "F1", f"from the last on along {_axes(some)}", then(lambda a, s=some: np.flip(a, s)), several=True)
        for axis, step in itertools.product([a for a in range(len(shape)) if shape[a] > 2], (1, -1)):
            yield Rewrite("G3" if op.facts.over_time else "F3" if len(shape) > 2 else "B6", f"moved by {step} along axis {axis}", then(lambda a, x=axis, s=step: np.roll(a, s, x)), strange=1)
    if len(op.wanted) == len(shape) and all(m >= n for m, n in zip(shape, op.wanted, strict=True)) and shape != op.wanted:
        for start in itertools.islice(itertools.product(*(range(m - n + 1) for m, n in zip(shape, op.wanted, strict=True))), 64):
            key = tuple(slice(s, s + n) for s, n in zip(start, op.wanted, strict=True))
            yield Rewrite("F3", f"cut from {start} on", then(lambda a, k=key: a[k]))
    if op.result.size == np.prod(op.wanted) and shape != op.wanted:
        yield Rewrite("B2", f"of shape {op.wanted}", then(lambda a: a.reshape(op.wanted)))


def _matrix(a: Array, b: Array, swap: bool, left: bool, right: bool, wanted: tuple[int, ...]) -> Array:
    a = np.swapaxes(a, -1, -2) if left and a.ndim > 1 else a
    b = np.swapaxes(b, -1, -2) if right and b.ndim > 1 else b
    made = np.asarray(b @ a if swap else a @ b)
    if made.shape != wanted:
        raise Refused
    return made


def _tiled(node: Any, values: Sequence[Array], at: Any) -> Array:
    args, kwargs = arguments(node, values)
    array, count = np.asarray(args[0]), args[1] if len(args) > 1 else kwargs.get("repeats", kwargs.get("reps"))
    if node.name == "repeat":
        axis = kwargs.get("axis", args[2] if len(args) > 2 else None)
        if axis is None or not isinstance(count, int):
            raise Refused
        return np.tile(array, [count if a == axis % array.ndim else 1 for a in range(array.ndim)])
    for axis, times in enumerate(count, start=array.ndim - len(count)) if isinstance(count, tuple | list) else ():
        array = np.repeat(array, times, axis)
    return array


def _exchanged(order: Sequence[int]) -> str:
    """Return F4 where only the last two axes of an image change places, else B1."""
    return "F4" if len(order) == 4 and sum(a != b for a, b in enumerate(order)) == 2 and tuple(order) in ((0, 1, 3, 2), (0, 2, 1, 3)) else "B1"


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}" if axes else "nothing"


def subsets(ndim: int) -> list[tuple[int, ...]]:
    """Return all sets of axes, the small ones first."""
    return [axes for count in range(1, ndim + 1) for axes in itertools.combinations(range(ndim), count)]
