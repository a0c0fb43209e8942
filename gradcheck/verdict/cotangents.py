"""The cotangents that real code hands to a backward, and the orders in memory that its arrays come in. Level 2.

A check draws its cotangent from a normal distribution, in C order. What stands above a layer hands down others: a sum
hands down ones, a mean over the batch equal rows, a sum over features rows of one number each, a loss of one entry
zeros but for a one, an output that nobody uses zeros. They come as they are, transposed, or broadcast without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.sketch import Drawn, sketch
from gradcheck.verdict.trial import dtype_of, each, is_array

__all__ = ["Handed", "broadcast", "fortran", "handed", "plain", "ratio", "scale_of", "summed"]

ORDINARY = 2.0**10  # a cotangent that is by no more larger or smaller than 1 is of the size that others have


class Handed(NamedTuple):
    """A cotangent that real code hands down: of what it consists, and in which memory order if not in C order."""

    words: str
    order: str | None
    cotangent: Any


def handed(like: Any, seed: int) -> Iterator[Handed]:
    """Yield the cotangents of the form of ``like`` that real code hands down; the same ones for the same ``seed``."""
    rng = np.random.default_rng(seed)
    shapes = [np.shape(leaf) for _, leaf in leaves(like, "dout")]
    yield Handed("ones", None, _made(like, np.ones))
    yield Handed("zeros", None, _made(like, np.zeros))
    if sum(map(math.prod, shapes)) > 1:
        yield Handed("zeros but for a one", "Fortran-ordered", _one_hot(like, shapes, rng))
    if any(len(shape) > 1 and math.prod(shape) > max(shape[0], shape[-1]) for shape in shapes):
        rows = _made(like, lambda shape, dtype: _repeated(shape, dtype, 0, rng))
        yield Handed("equal rows", "broadcast", rows)
        columns = _made(like, lambda shape, dtype: np.array(_repeated(shape, dtype, -1, rng), order="C"))
        yield Handed("rows of one number each", None, columns)


def scale_of(leaf: Any) -> float:
    """Return the power of two by which the cotangent of one leaf of the output is scaled; 1 of an ordinary size."""
    if isinstance(leaf, Drawn):
        return leaf.scale
    size = float(np.max(np.abs(leaf), initial=0.0))
    return 1.0 if not size or 1 / ORDINARY <= size <= ORDINARY else 2.0 ** round(math.log2(size))


def plain(like: Any, cotangent: Any) -> Any:
    """Return ``cotangent`` as writeable arrays in C order, and its numbers in the type that they have in ``like``."""
    return each(lambda _leaf, array: np.array(array, order="C"), like, cotangent)


def fortran(array: Any) -> Any:
    """Return a copy of the same numbers in Fortran order; where that is the C order too, with a negative stride."""
    return np.asarray(array)[::-1].copy()[::-1] if np.ndim(array) == 1 else np.array(array, order="F")


def broadcast(array: Any) -> Any:
    """Return an array that repeats the first row of ``array`` without a copy; it cannot be written into."""
    if not np.ndim(array) or array.shape[0] < 2:
        return array
    return np.broadcast_to(np.asarray(array)[:1].copy(), array.shape)


def ratio(one: Any, other: Any) -> float:
    """Return about how many times as large as another cotangent one is, a power of two; 1 where it is zero."""
    size, unit = (math.hypot(*(sketch(leaf).norm for _, leaf in leaves(tree, ""))) for tree in (one, other))
    return 2.0 ** round(math.log2(size / unit)) if size and unit else 1.0


def summed(cotangent: Any, factor: float, seed: int) -> Any:
    """Return ``factor`` times the sum of a cotangent and of those that ``seed`` hands down, Fortran-ordered."""
    total = each(lambda leaf: fortran(leaf) * factor, cotangent)
    for _, _, other in handed(cotangent, seed):
        total = each(lambda leaf, more: _add(leaf, factor * more), total, other)
    return total


def _add(leaf: Any, more: Any) -> Any:
    if is_array(leaf) and leaf.ndim:
        leaf += more
        return leaf
    return np.asarray(leaf + more)


def _made(like: Any, make: Callable[[tuple[int, ...], np.dtype[Any]], Array]) -> Any:
    """Return a tree of the form of ``like`` with leaves of the same shapes and dtypes; its numbers are Python's."""
    made = [(leaf, make(np.shape(leaf), dtype_of(leaf))) for _, leaf in leaves(like, "dout")]
    scales = [scale_of(leaf) for leaf, _ in made]
    made = [pair if scale == 1 else (pair[0], scale * pair[1]) for pair, scale in zip(made, scales, strict=True)]
    return rebuild(like, (array if hasattr(leaf, "shape") and leaf.shape else float(array) for leaf, array in made))


def _one_hot(like: Any, shapes: list[tuple[int, ...]], rng: np.random.Generator) -> Any:
    """Return zeros but for a one, at a random place of all leaves together."""
    left = int(rng.integers(sum(map(math.prod, shapes))))
    places: list[int | None] = []
    for size in map(math.prod, shapes):
        places.append(left if 0 <= left < size else None)
        left -= size
    numbers = iter(places)

    def make(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        array, place = np.zeros(shape, dtype, order="F"), next(numbers)
        if place is not None:
            array[np.unravel_index(place, shape)] = 1
        return array

    return _made(like, make)


def _repeated(shape: tuple[int, ...], dtype: np.dtype[Any], axis: int, rng: np.random.Generator) -> Array:
    """Return a view of random numbers that are repeated along ``axis``."""
    one = list(shape)
    if one:
        one[axis] = 1
    return np.broadcast_to(rng.standard_normal(one).astype(dtype), shape)
