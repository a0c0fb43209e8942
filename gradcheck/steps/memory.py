"""Memory, and for each of its cells the node that wrote it and the place in that node's value. Level 3."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

__all__ = ["Array", "Buffer", "cells_up_to", "owner_of", "zeros"]

Array = np.ndarray[Any, np.dtype[Any]]


def owner_of(array: Array) -> Array:
    """Return the array that owns the memory; as_strided puts an object of its own between."""
    while (base := array.base) is not None:
        base = base if isinstance(base, np.ndarray) else getattr(base, "base", None)
        if not isinstance(base, np.ndarray):
            break
        array = base
    return array


def _seen(memory: Array, like: Array, start: int, itemsize: int) -> Array:
    """Return of ``memory``, which has one number for each cell of a buffer, those of the cells that ``like`` shows.

    Args:
        memory: a flat array.
        like: a view of the buffer.
        start: the address of the buffer.
        itemsize: the bytes of one of its cells.
    """
    size = memory.itemsize
    return np.ndarray(
        like.shape,
        memory.dtype,
        memory,
        (like.__array_interface__["data"][0] - start) // itemsize * size if like.size else 0,
        tuple(stride // itemsize * size for stride in like.strides),
    )


class Lent(Protocol):
    """What has a value that may be a view of memory."""

    value: Any


class Buffer:
    """Memory of which every cell knows who wrote it.

    Attributes:
        root: the array that owns it.
        whole: the node that all of it holds, in the order of memory, while ``owner`` is None.
        owner: for each cell the number of a node, and
        place: the place in its value.
        version: how often it was written into.
        views: the nodes of what was read since the last writing, by address, shape and strides.
        lent: the nodes whose values are still the memory itself.
    """

    __slots__ = ("itemsize", "lent", "owner", "place", "root", "start", "version", "views", "whole")

    def __init__(self, root: Array, whole: int) -> None:
        self.root, self.whole = root, whole
        self.start, self.itemsize = root.__array_interface__["data"][0], root.itemsize
        self.owner: Array | None = None
        self.place: Array | None = None
        self.views: dict[Any, int] = {}
        self.version = 0
        self.lent: list[Lent] = []

    def keep(self) -> int:
        """Give the nodes copies of their values, before they are overwritten; return how many bytes these take."""
        taken = 0
        for node in self.lent:
            node.value = np.array(node.value)
            taken += node.value.nbytes
        self.lent.clear()
        return taken

    def covers(self, view: Array) -> bool:
        """Whether a view shows all of the memory, in its order."""
        return view.size == self.root.size and view.flags.c_contiguous

    def origins(self, view: Array) -> tuple[Array, Array]:
        """Return for each cell of a view the node that wrote it and the place in its value."""
        if self.owner is None or self.place is None:
            return np.broadcast_to(np.int32(self.whole), view.shape), self.cells(view)
        return self.seen(self.owner, view), self.seen(self.place, view)

    def cells(self, view: Array) -> Array:
        """Return the numbers of the cells that a view shows."""
        return self.seen(cells_up_to(self.root.size), view)

    def seen(self, memory: Array, view: Array) -> Array:
        """Return what ``memory`` has for the cells of a view, itself as a view."""
        return _seen(memory, view, self.start, self.itemsize)

    def fill(self, view: Array, node: int) -> None:
        """Note that a node was written into ``view``."""
        if self.covers(view):
            self.owner = self.place = None
            self.whole = node
            self.changed()
        else:
            self.write(view, ..., view.shape, node)

    def write(self, view: Array, key: Any, shape: tuple[int, ...], node: int) -> None:
        """Note that a node of ``shape`` was written into ``view[key]``."""
        if self.owner is None or self.place is None:
            self.owner = np.full(self.root.size, self.whole, np.int32)
            self.place = cells_up_to(self.root.size).copy()
        self.seen(self.owner, view)[key] = node
        self.seen(self.place, view)[key] = cells_up_to(int(np.prod(shape))).reshape(shape)
        self.changed()

    def changed(self) -> None:
        """Forget what was read before."""
        self.version += 1
        self.views.clear()

    def close(self) -> None:
        """Keep no more of the memory than its shape."""
        self.root = zeros(self.root.shape)
        self.owner = self.place = None
        self.views.clear()
        self.lent.clear()


def zeros(shape: tuple[int, ...]) -> Array:
    """Return zeros of a shape that take the memory of one."""
    return np.ndarray(shape, np.int32, _ZERO, 0, (0,) * len(shape))


_ZERO = np.zeros(1, np.int32)
_CELLS = [np.arange(0, dtype=np.int32)]


def cells_up_to(count: int) -> Array:
    """Return the numbers below ``count``, an array that is never written to."""
    if _CELLS[0].size < count:
        made = np.arange(max(count, 4096), dtype=np.int32)
        made.flags.writeable = False
        _CELLS[0] = made
    return _CELLS[0][:count]
