"""What is special about the inputs of a check, as far as their shapes and values say it. Level 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gradcheck.trees import Array, is_float, leaves

__all__ = ["numbers_of", "remedy", "sizes_of", "special"]

TINY = 1e-2  # values no larger than this are called tiny
_REMEDIES = {
    "is zero": "Draw {} other than 0.",
    "is tiny": "Draw {} of order 1.",
    "is 1 everywhere": "Draw {} with values other than 1.",
    "is the same everywhere": "Draw {} with values that differ.",
    "is symmetric": "Draw a {} that is not symmetric.",
    "equals itself turned by 180°": "Draw a {} without symmetry.",
    "has no negative entry": "Draw {} of both signs.",
    "has no positive entry": "Draw {} of both signs.",
    "holds whole numbers only": "Draw {} with values that are not whole.",
}


def special(array: Array) -> Iterator[str]:
    """Yield what is special about the values of a float array, or an array of ones, in words that follow its name."""
    if not array.size:
        return
    ones = bool(np.all(array == 1))
    if not is_float(array):
        if ones and array.ndim:
            yield "is 1 everywhere"
        return
    low, high = float(array.min()), float(array.max())
    largest = max(-low, high)
    if largest == 0:
        yield "is zero"
        return
    if ones:
        yield "is 1 everywhere"
    elif largest <= TINY:
        yield "is tiny"
    elif array.size > 1 and low == high:
        yield "is the same everywhere"
    if array.ndim == 2 and array.shape[0] == array.shape[1] > 1 and np.array_equal(array, array.T):
        yield "is symmetric"
    if array.ndim == 4 and max(array.shape[2:]) > 1 and np.array_equal(array, np.flip(array, (2, 3))):
        yield "equals itself turned by 180°"
    if array.ndim and array.size > 1 and (low >= 0 or high <= 0):
        yield "has no negative entry" if low >= 0 else "has no positive entry"
    if np.array_equal(array, np.round(array)):
        yield "holds whole numbers only"


def remedy(path: str, what: str) -> str:
    """Return what to do about something special, a sentence."""
    return _REMEDIES[what].format(path)


def sizes_of(names: Iterable[str], values: Iterable[Any]) -> dict[str, int]:
    """Return the size of every axis of every array by its name: ``x.shape[0]``."""
    return {
        f"{path}.shape[{axis}]": size
        for name, value in zip(names, values, strict=True)
        for path, leaf in leaves(value, name)
        if isinstance(leaf, np.ndarray)
        for axis, size in enumerate(leaf.shape)
    }


def numbers_of(names: Iterable[str], values: Iterable[Any]) -> dict[str, float]:
    """Return the plain numbers among the arguments by name."""
    return {
        path: float(leaf)
        for name, value in zip(names, values, strict=True)
        for path, leaf in leaves(value, name)
        if isinstance(leaf, int | float | np.number) and not isinstance(leaf, bool)
    }
