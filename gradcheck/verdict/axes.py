"""The indices of a box: which of them to look at first, and which of one axis hold something wrong. Level 1."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from gradcheck.trees import Array

__all__ = ["cornered", "first_of", "lattice", "numbers_of", "spread"]

LATTICES = (2, 3, 5)  # every nth index is tried for these, and for their products


def numbers_of(box: list[Array], shape: tuple[int, ...]) -> Array:
    """Return the numbers, in memory order, of the entries of a box."""
    return np.ravel(np.ravel_multi_index(np.ix_(*box), shape)) if box else np.zeros(1, dtype=int)


def spread(taken: Array, count: int, rng: np.random.Generator) -> Array:
    """Return ``count`` of the indices in random order: all if there are so few, else both ends and some between."""
    if len(taken) <= count:
        drawn = np.resize(rng.permutation(taken), count)
    else:
        strata = np.linspace(1, len(taken) - 1, count - 1).astype(int)
        between = [rng.integers(low, high) for low, high in itertools.pairwise(strata)]
        drawn = taken[[0, *between, len(taken) - 1]]
    return rng.permutation(drawn)


def cornered(drawn: Array, taken: Array) -> Array:
    """Return the indices drawn with the first one of all at the start and the last one after it.

    Drawn so along every axis, two of the entries are corners: what overlaps there is right, or wrong, alone.
    """
    for place, end in enumerate(taken[[0, -1]][: len(taken)]):
        where = int(np.argmax(drawn == end))
        drawn[[place, where]] = drawn[[where, place]]
    return drawn


def first_of(taken: Array, marked: Array, holds: Callable[[Array], bool]) -> int:
    """Return the place of the first index that holds a wrong entry, knowing that one does."""
    high = int(np.argmax(marked)) if marked.any() else len(taken) - 1
    if not high or holds(taken[:1]):
        return 0
    if marked.any() and not holds(taken[1:high]):
        return high
    low = 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(taken[low : middle + 1]) else (middle + 1, high)
    return low


def lattice(taken: Array, marked: Array, holds: Callable[[Array], bool]) -> Array:
    """Return every nth of the indices, if it is both ends and no index between that hold a wrong entry."""
    for n in LATTICES:
        while len(taken) > n and (len(taken) - 1) % n == 0:
            off = np.arange(len(taken)) % n != 0
            if marked[off].any() or holds(taken[off]):
                break
            taken, marked = taken[::n], marked[::n]
    return taken
