"""Axes in another order, entries in another order, a part of what is too large. Level 3.

Undoes B1 (a transpose), F1 (a kernel not turned), F3 (moved by one, a padding), F4 (height for width),
G3 (the steps from the last on).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.steps.rewrites.table import FOUR, Array, Operation, Refused, Rewrite, alone, arguments, first, of, then

AXES = 4  # dimensions of which all orders are tried
CUTS = 64  # ways to cut a part out
HEIGHT_AND_WIDTH = (0, 1, 3, 2), (0, 2, 1, 3)
FLAT = "reshape", "ravel", "flatten"
ROWS = "concatenate", "hstack", "vstack", "stack"


def orders(op: Operation) -> Iterator[Rewrite]:
    """Axes in another order, before a reshape or afterwards."""
    shape, array = op.result.shape, np.asarray(op.args[0]) if op.arrays[:1] == [0] else np.zeros(())
    if op.name in (*FLAT, "transpose", "swapaxes", "moveaxis") and 2 <= array.ndim <= AXES + 1:
        for order in _orders(array.ndim):
            if op.name in FLAT:
                make = first(functools.partial(_laid, order, shape))
                yield Rewrite(_exchanged(order), f"with its axes in the order {order} first", make, several=True)
            elif tuple(array.shape[k] for k in order) == shape:
                make = first(functools.partial(np.transpose, axes=order))
                yield Rewrite(_exchanged(order), f"with its axes in the order {order}", make, several=True)
        if op.name not in FLAT:
            yield Rewrite("B1", f"{op.said(0)} not transposed", alone(0))
    if op.name in ("repeat", "tile"):
        yield Rewrite("B1", "repeated the other way", _tiled)
    for order in _orders(len(shape)) if 2 <= len(shape) <= AXES else ():
        if tuple(shape[k] for k in order) in (shape, op.wanted):
            said = "transposed" if len(shape) == 2 else f"with its axes in the order {order}"
            yield Rewrite(_exchanged(order), said, then(functools.partial(np.transpose, axes=order)), several=True)


def placed(op: Operation) -> Iterator[Rewrite]:
    """An operand with a single wide axis along another axis of the result."""
    shape = op.wanted if op.name in (*FOUR, "where") else ()
    for place in op.arrays[:3] if 2 <= len(shape) <= AXES else ():
        old = np.asarray(op.args[place])
        if old.size == max(old.shape):
            for axis in (a for a, n in enumerate(shape) if n == old.size):
                new = tuple(n if a == axis else 1 for a, n in enumerate(shape))
                if new != (1,) * (len(shape) - old.ndim) + old.shape:
                    make = of(place, functools.partial(np.reshape, shape=new))
                    mistake = "B2" if old.ndim < len(shape) else "B4"  # an axis of size one has been lost
                    yield Rewrite(mistake, f"{op.said(place)} along axis {axis}", make, op.said(place), place)
    parts = op.args[0] if op.name in ROWS and isinstance(op.args[0], list | tuple) else ()
    for i, j in itertools.combinations(range(len(parts)), 2) if len(parts) <= AXES else ():
        make = of(0, functools.partial(_exchange, i, j))
        yield Rewrite("B5", f"of its parts {i + 1} and {j + 1} in each other's place", make)


def _exchange(i: int, j: int, parts: Sequence[Array]) -> list[Array]:
    found = list(parts)
    found[i], found[j] = found[j], found[i]
    return found


def entries(op: Operation) -> Iterator[Rewrite]:
    """Entries from the last on, or moved by one; a part of what is too large."""
    shape, over_time = op.result.shape, op.facts.over_time
    for some in itertools.chain(*(itertools.combinations(_wide(shape), count) for count in (1, 2))):
        make = then(functools.partial(np.flip, axis=some))
        yield Rewrite("G3" if over_time else "F1", f"from the last on along {axes(some)}", make, several=True)
    for axis, step in itertools.product([a for a in _wide(shape) if shape[a] > 2], (1, -1)):
        mistake = "G3" if over_time else "F3" if len(shape) > 2 else "B6"
        make = then(functools.partial(np.roll, shift=step, axis=axis))
        yield Rewrite(mistake, f"moved by {step} along axis {axis}", make, strange=1)
    if len(op.wanted) == len(shape) and shape != op.wanted:
        spare = [m - n + 1 for m, n in zip(shape, op.wanted, strict=True)]
        for start in itertools.islice(itertools.product(*map(range, spare)), CUTS):
            yield Rewrite("F3", f"cut from {start} on", then(functools.partial(_cut, start, op.wanted)))


def _orders(ndim: int) -> list[tuple[int, ...]]:
    return list(itertools.permutations(range(ndim)))[1:]


def _wide(shape: tuple[int, ...]) -> list[int]:
    return [a for a, n in enumerate(shape) if n > 1] if len(shape) <= AXES else []


def _laid(order: tuple[int, ...], shape: tuple[int, ...], array: Array) -> Array:
    return array.transpose(order).reshape(shape)


def _cut(start: Sequence[int], wanted: Sequence[int], array: Array) -> Array:
    return np.asarray(array[tuple(slice(s, s + n) for s, n in zip(start, wanted, strict=True))])


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
    """Return F4 where only height and width of an image change places, else B1."""
    return "F4" if tuple(order) in HEIGHT_AND_WIDTH else "B1"


def axes(some: Sequence[int]) -> str:
    """Return what to call some axes."""
    return f"axis {some[0]}" if len(some) == 1 else f"axes {' and '.join(map(str, some))}" if some else "nothing"
