"""Sets of entries that are no boxes, to be tried where a gradient is wrong in a part of a box. Level 2.

An outline says at once which entries it holds. A table leaves it open: whether an entry belongs to the set depends on
its indices along some of the axes, as a table of links says of every pair of maps whether a kernel connects them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradcheck.trees import Array
from gradcheck.verdict.regions import triangles

__all__ = ["Every", "Outline", "Shell", "Table", "Triangle", "Where", "outlines", "tables"]

SIDES = ((1, 0), (0, 1), (1, 1), (2, 2))  # how many indices of a shell are at the start and at the end of an axis
STEPS = (2, 3, 4)


@dataclass(frozen=True)
class Shell:
    """The entries at an end of at least one axis: a border, or the last row with the last column.

    ``ends`` holds the indices at the ends of each axis that counts.
    """

    ends: dict[int, Array]
    shape: tuple[int, ...]

    def has(self, numbers: Array) -> Array:
        """Whether each of the entries with these numbers, in memory order, belongs to it."""
        indices = np.unravel_index(numbers, self.shape)
        has: Array = np.any([np.isin(indices[axis], ends) for axis, ends in self.ends.items()], axis=0)
        return has


@dataclass(frozen=True)
class Triangle:
    """A diagonal or triangle of the axes ``i`` and ``j``: number ``kind`` of ``regions.triangles``."""

    i: int
    j: int
    kind: int
    shape: tuple[int, ...]

    def has(self, numbers: Array) -> Array:
        """Whether each of the entries with these numbers, in memory order, belongs to it."""
        indices = np.unravel_index(numbers, self.shape)
        return triangles(indices[self.i], indices[self.j])[self.kind][1]


@dataclass(frozen=True)
class Every:
    """Every ``step``-th entry in memory order, from ``start`` on."""

    start: int
    step: int

    def has(self, numbers: Array) -> Array:
        """Whether each of the entries with these numbers, in memory order, belongs to it."""
        has: Array = numbers % self.step == self.start
        return has


@dataclass(frozen=True)
class Where:
    """The entries of a mask, such as all where the claimed gradient is not zero."""

    mask: Array

    def has(self, numbers: Array) -> Array:
        """Whether each of the entries with these numbers, in memory order, belongs to it."""
        has: Array = self.mask.flat[numbers]
        return has


Outline = Shell | Triangle | Every | Where


@dataclass(frozen=True)
class Table:
    """A cell for each tuple of indices along ``axes``; every entry belongs to one, whatever its other indices are."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def cells(self, numbers: Array) -> Array:
        """Return the cell of each of the entries with these numbers, in memory order."""
        indices = np.unravel_index(numbers, self.shape)
        sizes = [self.shape[axis] for axis in self.axes]
        cells: Array = np.ravel_multi_index(tuple(indices[axis] for axis in self.axes), sizes)
        return cells


def outlines(box: list[Array], shape: tuple[int, ...]) -> Iterator[Outline]:
    """Yield the outlines in a box of an array of ``shape``; of two that contain each other, the smaller one first.

    ``box`` holds the indices of each axis, ascending.
    """
    for i, j in itertools.combinations(range(len(shape)), 2):
        if shape[i] == shape[j] > 2 and len(box[i]) > 1 < len(box[j]):
            for kind in range(len(triangles(np.zeros(1), np.zeros(1)))):
                yield Triangle(i, j, kind, shape)
    for start, end in SIDES:
        thick = [axis for axis, taken in enumerate(box) if len(taken) > start + end]
        for count in range(2, len(thick) + 1):
            for axes in itertools.combinations(thick, count):
                yield Shell({a: np.concatenate([box[a][:start], box[a][len(box[a]) - end :]]) for a in axes}, shape)
    for step in STEPS:
        for start in range(step):
            yield Every(start, step)


def tables(box: list[Array], shape: tuple[int, ...]) -> list[Table]:
    """Return the tables over at least two axes of a box, and that of all its entries, those of few cells first."""
    long = [axis for axis, taken in enumerate(box) if len(taken) > 1]
    found = [axes for count in range(2, len(long)) for axes in itertools.combinations(long, count)]
    found.sort(key=lambda axes: math.prod(len(box[axis]) for axis in axes))
    return [Table(axes, shape) for axes in (*found, tuple(range(len(shape))))]
