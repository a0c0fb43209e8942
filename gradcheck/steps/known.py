"""The numbers that a person has names for, sizes and settings, and what a factor is read as. Level 3."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.trees import Array, leaves

__all__ = ["Number", "numbers", "read"]

NEAR = 1e-6  # relative: how well a factor has to equal the number that it is read as


class Number(NamedTuple):
    """A number, what it is called, and the mistake that it is to have it as a factor or to lack it."""

    value: float
    said: str
    mistake: str


SIMPLE = (Number(-1.0, "-1", "A1"), Number(2.0, "2", "A4"), Number(0.5, "1/2", "A4"))


def numbers(named: Iterable[tuple[str, Any]], out: Any) -> tuple[Number, ...]:
    """Return the numbers in sight, the plainest first: one for each value.

    ``named`` holds what there is under a name, such as the arguments, as trees of arrays and numbers. A sample is most
    often a row, so the number of rows means more than a setting, and a setting more than another size.
    """
    found = [(path, leaf) for name, tree in named for path, leaf in leaves(tree, name)]
    results = [(path, leaf) for path, leaf in leaves(out, "out") if isinstance(leaf, np.ndarray)]
    arrays = [(path, leaf) for path, leaf in found if isinstance(leaf, np.ndarray) and leaf.ndim]
    every = [*arrays, *results]
    sources = (
        _sizes(every, first=True),
        SIMPLE,
        _settings(found),
        _windows(arrays, results),
        _sizes(every),
        _areas(every),
    )
    known: dict[float, Number] = {}
    for number in itertools.chain(*sources):
        inverse = Number(1 / number.value, f"1/{number.said}", number.mistake)
        for each in (number,) if number.value < 0 else (number, inverse):
            known.setdefault(round(each.value, 12), each)
    known.pop(1.0, None)
    return tuple(known.values())


def read(factor: float, known: Iterable[Number], near: float = NEAR) -> Number | None:
    """Return what number a factor is, None if it is none that has a name; of a negative one a sign is wrong too."""
    for number in known:
        if math.isclose(factor, number.value, rel_tol=near):
            return number
    if factor < 0 and (found := read(-factor, known, near)) is not None:
        return Number(factor, f"-{found.said}", "A1")
    return None


def _sizes(arrays: list[tuple[str, Array]], *, first: bool = False) -> Iterator[Number]:
    """Yield the sizes of arrays: of their first axis, or of all."""
    for path, array in arrays:
        for axis, size in enumerate(array.shape[:1] if first else array.shape):
            if size > 1:
                yield Number(float(size), f"{path}.shape[{axis}]", "A2")


def _areas(arrays: list[tuple[str, Array]]) -> Iterator[Number]:
    """Yield the products of several sizes of one array."""
    for path, array in arrays:
        for count in range(2, array.ndim + 1):
            for axes in itertools.combinations(range(array.ndim), count):
                if all(array.shape[axis] > 1 for axis in axes):
                    said = f"{path}.size" if count == array.ndim else " * ".join(f"{path}.shape[{a}]" for a in axes)
                    yield Number(float(math.prod(array.shape[a] for a in axes)), said, "A2")


def _windows(arrays: list[tuple[str, Array]], results: list[tuple[str, Array]]) -> Iterator[Number]:
    """Yield how many entries of an image belong to one of the output."""
    for (path, array), (other, result) in itertools.product(arrays, results):
        if array.ndim == result.ndim > 2 and (many := array.size // max(result.size, 1)) > 1:
            yield Number(float(many), f"{path}.size/{other}.size", "A5")


def _settings(found: list[tuple[str, Any]]) -> Iterator[Number]:
    """Yield plain numbers, their squares and roots, and what they leave of 1, as the rate of a dropout does."""
    for path, leaf in found:
        if isinstance(leaf, bool | np.bool_) or not isinstance(leaf, int | float | np.number):
            continue
        value = float(leaf)
        if not math.isfinite(value) or value in (0.0, 1.0, -1.0):
            continue
        whole = value == round(value)
        yield Number(value, path, "A5" if whole else "A4")
        yield Number(value**2, f"{path}²", "A5" if whole else "A4")
        if value > 0 and not whole:
            yield Number(math.sqrt(value), f"√{path}", "A4")
        if 0 < value < 1:
            yield Number(1 - value, f"(1 - {path})", "A4")
