"""Memory, and for each of its cells the node that wrote it and the place in that node's value."""

from __future__ import annotations

import numpy as np


class Buffer:
    """Memory, and for each of its cells the node that wrote it and the place in that node's value."""

    def __init__(self, root):
        self.root, self.views, self.helds = root, {}, {}
        self.start = root.__array_interface__["data"][0]
        self.owner = self.place = None  # None: all of it is the node ``whole``, in memory order
        self.whole = -1

    def cells(self, view):
        at = np.array((view.__array_interface__["data"][0] - self.start) // view.itemsize)
        for axis, (size, stride) in enumerate(zip(view.shape, view.strides)):
            at = at[..., None] + np.arange(size) * (stride // view.itemsize)
        return at

    def covers(self, view):
        return view.size == self.root.size and view.flags.c_contiguous

    def write(self, cells, node):
        if self.owner is None:
            self.owner = np.full(self.root.size, self.whole)
            self.place = np.arange(self.root.size)
        self.owner[cells] = node
        self.place[cells] = np.arange(cells.size).reshape(cells.shape)
        self.views.clear()
        self.helds.clear()

    def fill(self, view, node):
        """Note that ``view`` was written as a whole."""
        if self.covers(view):
            self.owner, self.place, self.whole = None, None, node
            self.views.clear()
            self.helds.clear()
        else:
            self.write(self.cells(view), node)


def distinct(owner):
    first = owner.flat[0] if owner.size else 0
    return np.array([first]) if owner.size and (owner == first).all() else np.unique(owner)


def owning(array):
    """Return the array that owns the memory; as_strided puts an object of its own between."""
    while (base := array.base) is not None:
        base = base if isinstance(base, np.ndarray) else getattr(base, "base", None)
        if base is None:
            break
        array = base
    return array
