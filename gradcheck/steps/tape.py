"""A tape of what NumPy does for a function: one node per result, told apart by memory and not by names.

Every cell of every traced buffer knows which node wrote it and where in that node's value. So slices, transposes,
reshapes, buffers that are filled piece by piece, lists of rows and `+=` into a part are one kind of node, a *gather*
of cells of older nodes, and nothing has to be known about aliasing. A node keeps how it was computed, so that it can be
computed again with other operands; where in the code it stands (the stack of the user's frames, no source text); and
its turn among those of that place.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, NamedTuple

import numpy as np

from gradcheck.steps.memory import Buffer, distinct, owning
from gradcheck.steps.places import ROOTS, Site, frames_of
from gradcheck.steps.scope import scope_of
from gradcheck.steps.traced import Traced, makers, plain
from gradcheck.steps.twin import Twins

MOST = 60_000  # nodes of one tape


VIEWS = "reshape", "transpose", "swapaxes", "ravel", "moveaxis", "repeat", "stack", "concatenate", "hstack", "vstack"


NAMES = {"add.reduce": "sum", "amax": "max", "amin": "min", "maximum.reduce": "max", "minimum.reduce": "min"}


class Hole(NamedTuple):
    """The place of operand number ``k`` in the arguments of a node."""

    k: int


class Ref(int):
    """The number of the node whose value is meant."""

    __slots__ = ()


class Held(NamedTuple):
    """What an array held at a moment: cell by cell, which of some nodes and where in it."""

    which: Any
    place: Any
    parents: tuple


class Node:
    """A result: ``compute(values of its parents)``; ``kind`` is leaf, const, gather or op."""

    __slots__ = "id kind name func args kwargs parents value site turn data memory".split()

    def __init__(self, id, kind, name, func, args, kwargs, parents, site, turn, data=None):
        self.id, self.kind, self.name, self.func, self.args, self.kwargs = id, kind, name, func, args, kwargs
        self.parents, self.site, self.turn, self.data, self.value = parents, site, turn, data, None
        self.memory = None  # what it was read from or written into: the buffer and its cells, None for all of it

    def compute(self, values, args=None, func=None, **changed):
        if self.kind in ("leaf", "const"):
            return self.value
        args = self.args if args is None else args
        return (func or self.func)(*_fill(args, values), **{**_fill(self.kwargs, values), **changed})

    number = property(lambda self: self.id)
    result = property(lambda self: self.value if isinstance(self.value, np.ndarray) else np.zeros(0, dtype=bool))

    @property
    def is_float(self):
        return isinstance(self.value, np.ndarray) and self.value.dtype.kind == "f"


class Tape:
    """The nodes of a run. ``rewrites`` maps the frames of an indexing, or of a new view, to a function that does it
    otherwise."""

    def __init__(self, *, rewrites=None, watch=()):
        self.watch, self.scopes = frozenset(watch), {}
        self.nodes: list[Node] = []
        self.buffers: dict[int, Buffer] = {}
        self.turns: dict[Site, int] = {}
        self.at: dict[tuple[Site, int], int] = {}
        self.indexed: dict[tuple, str] = {}
        self.keys: dict[tuple, list] = {}  # the indices of each reading and writing place, in order
        self.rewrites = rewrites or {}
        self.lost: set[tuple[str, int]] = set()
        self.paused = 0

    # -- running a function

    def leaf(self, array, name):
        node = self._node("leaf", name, None, (), {}, (), ())
        value = np.array(array)
        return self._made(node, value)

    def run(self, function, *args):
        """Call a function of the user's; its frames are told from others by this one's."""
        if self.twins is None:
            self.twins = Twins(makers(self))
        return self.twins.of(function)(*args)

    twins = None

    # -- reading and writing memory

    def find(self, array):
        return self.buffers.get(id(owning(array)))

    def read(self, array, frames=(), k=0):
        """Return the node of what ``array`` holds now, -1 if it is not known."""
        buffer = self.find(array)
        if buffer is None or array.itemsize != buffer.root.itemsize:
            return -1
        key = (array.__array_interface__["data"][0], array.shape, array.strides)
        known = buffer.views.get(key)
        if known is not None:
            return known
        if buffer.owner is None:
            if buffer.covers(array) and self.nodes[buffer.whole].value.shape == array.shape:
                buffer.views[key] = buffer.whole
                return buffer.whole
            owner, place = np.broadcast_to(buffer.whole, array.shape), buffer.cells(array)
        else:
            cells = buffer.cells(array)
            owner, place = buffer.owner[cells], buffer.place[cells]
        parents = distinct(owner)
        if len(parents) == 1 and self.nodes[parents[0]].value.shape == array.shape:
            if np.array_equal(place.ravel(), np.arange(place.size)):
                buffer.views[key] = int(parents[0])
                return int(parents[0])
        which = np.searchsorted(parents, owner)
        args = which, place, [Hole(k) for k in range(len(parents))]
        node = self._node("gather", "gather", gather, args, {}, tuple(map(int, parents)), frames, (which, place), k)
        node.value = np.array(plain(array))
        node.memory = buffer, buffer.cells(array)
        if node.site.frames in self.watch:
            self.scopes[node.id] = scope_of(self, sys._getframe(1), ()), ("",), self.base
        buffer.views[key] = node.id
        return node.id

    def _made(self, node, result):
        """Register the fresh memory of a result and return it traced."""
        root = owning(result)
        node.value = np.array(result)
        buffer = self.buffers[id(root)] = Buffer(root)
        buffer.whole = node.id
        node.memory = buffer, None
        if not buffer.covers(result):
            buffer.owner, buffer.place = np.full(root.size, node.id), np.zeros(root.size, dtype=int)
            buffer.write(buffer.cells(result), node.id)
        return self._wrapped(result)

    def _alias(self, fresh, node):
        """Return a copy of what a node holds, traced."""
        buffer = self.buffers[id(fresh)] = Buffer(fresh)
        buffer.whole = node
        return self._wrapped(fresh)

    def _wrapped(self, array):
        made = array.view(Traced)
        made.tape = self
        return made

    # -- recording

    def _node(self, kind, name, func, args, kwargs, parents, frames, data=None, k=0):
        if len(self.nodes) >= MOST:
            raise OverflowError(f"more than {MOST} operations")
        site = Site(frames, f"{name} {k}" if k else name)  # two operands read at one instruction are two places
        turn = self.turns[site] = self.turns.get(site, -1) + 1
        node = Node(len(self.nodes), kind, name, func, args, kwargs, parents, site, turn, data)
        self.nodes.append(node)
        self.at[site, turn] = node.id
        return node

    def call(self, name, func, args, kwargs, *, into=None, cells=None):
        """Do an operation on plain arrays and keep it; ``into`` is the array that its result is written into."""
        frames = frames_of()
        operands: list[Any] = []
        args, kwargs = _emptied(args, operands), _emptied(kwargs, operands)
        ids = [self.read(each, frames, k) for k, each in enumerate(operands)]
        values = [plain(each) for each in operands]
        node = self._node("op", NAMES.get(name, name), func, args, kwargs, tuple(ids), frames)
        if frames in self.watch:
            self.scopes[node.id] = scope_of(self, sys._getframe(1), operands, given := []), tuple(given), self.base
        self.paused += 1
        try:
            if name in VIEWS and self.indexed.setdefault(frames, "view") == "view" and frames in self.rewrites:
                result = self.rewrites[frames]("view", node, values, None)
            else:
                result = node.compute(values)
        finally:
            self.paused -= 1
        if into is not None:
            return self._written(node, result, into, cells)
        if isinstance(result, tuple | list) and any(isinstance(each, np.ndarray) for each in result):
            made = [self._node("op", node.name, _Pick(func, k), args, kwargs, node.parents, frames) for k in range(len(result))]
            return type(result)(map(self._result, made, result))
        return self._result(node, result)

    def _result(self, node, result):
        if isinstance(result, np.generic) and result.dtype.kind in "fb":
            result = np.asarray(result)
        if not isinstance(result, np.ndarray) or result.dtype.kind not in "fbiu" or (
            result.ndim == 0 and result.dtype.kind in "iu"
        ):
            return result
        if self.find(result) is not None:  # a view of what is known
            self.read(result, node.site.frames)
            return self._wrapped(result)
        return self._made(node, np.asarray(result))

    def _written(self, node, result, into, cells):
        raw = plain(into)
        if cells is None:
            np.copyto(raw, result, casting="same_kind")
            node.value = np.array(raw)
        else:
            node.value = np.array(np.broadcast_to(result, cells.shape), dtype=raw.dtype)
        buffer = self.find(raw)
        if buffer is None:  # an array of whose making we know nothing: known from now on
            self._made(self._node("const", "const", None, (), {}, (), node.site.frames), raw)
            buffer = self.find(raw)
        if cells is None:
            raw[...] = node.value
            buffer.fill(raw, node.id)
        node.memory = buffer, buffer.cells(raw) if cells is None else cells
        return node

    def set(self, target, key, value):
        raw = plain(target)
        plain_key, frames = plain(key), frames_of()
        self.indexed[frames] = "setitem"
        self.keys.setdefault(frames, []).append(plain_key)
        if frames in self.rewrites:
            plain_key, value = self.rewrites[frames]("setitem", raw, plain_key, value)
        if isinstance(value, np.ndarray) and np.may_share_memory(raw, plain(value)):
            part = raw[plain_key]
            if isinstance(part, np.ndarray) and part.__array_interface__ == plain(value).__array_interface__:
                return  # x[key] += term has been written already
            value = value.copy()
        buffer = self.find(raw)
        if buffer is None:
            raw[plain_key] = plain(value)
            return
        cells = np.asarray(buffer.cells(raw)[plain_key])
        if frames in self.watch:
            self.base = self.held(raw[plain_key] if isinstance(raw[plain_key], np.ndarray) else raw[(*np.atleast_1d(plain_key), ...)]
                                  if isinstance(plain_key, tuple | int | np.integer) else raw), plain_key
        node = self.call("setitem", _placed, (value, cells.shape), {}, into=target, cells=cells)
        self.base = None
        raw[plain_key] = node.value
        buffer.write(cells, node.id)

    base = None  # what the node to come is read from or written into, where it is watched

    def held(self, array):
        """Return what an array holds now: a node as a whole, its cells, or a copy of what is not known."""
        raw = plain(array)
        buffer = self.find(raw)
        if buffer is None or raw.itemsize != buffer.root.itemsize:
            return np.array(raw)
        if buffer.owner is None and buffer.covers(raw) and self.nodes[buffer.whole].value.shape == raw.shape:
            return Ref(buffer.whole)
        key = raw.__array_interface__["data"][0], raw.shape, raw.strides
        if key not in buffer.helds:
            buffer.helds[key] = self._held(buffer, raw)
        return buffer.helds[key]

    def _held(self, buffer, raw):
        cells = buffer.cells(raw)
        owner, place = (np.broadcast_to(buffer.whole, raw.shape), cells) if buffer.owner is None else (buffer.owner[cells], buffer.place[cells])
        parents = distinct(owner)
        if len(parents) == 1 and self.nodes[parents[0]].value.shape == raw.shape and np.array_equal(place.ravel(), np.arange(place.size)):
            return Ref(int(parents[0]))
        return Held(np.searchsorted(parents, owner), place.copy(), tuple(map(int, parents)))


def _emptied(tree, operands):
    """Return ``tree`` with a hole for every traced array, which is put into ``operands``."""
    if isinstance(tree, Traced):
        operands.append(tree)
        return Hole(len(operands) - 1)
    if isinstance(tree, tuple) and not hasattr(tree, "_fields"):
        return tuple(_emptied(each, operands) for each in tree)
    if type(tree) is list:
        return [_emptied(each, operands) for each in tree]
    if type(tree) is dict:
        return {key: _emptied(value, operands) for key, value in tree.items()}
    return tree


def _fill(tree, values):
    if isinstance(tree, Hole):
        return values[tree.k]
    if type(tree) is tuple:
        return tuple(_fill(each, values) for each in tree)
    if type(tree) is list:
        return [_fill(each, values) for each in tree]
    if type(tree) is dict:
        return {key: _fill(value, values) for key, value in tree.items()}
    return tree


def gather(which, place, values):
    if len(values) == 1:
        return np.ravel(values[0])[place]
    made = np.empty(which.shape, dtype=np.result_type(*values))
    for k, value in enumerate(values):
        made[which == k] = np.ravel(value)[place[which == k]]
    return made


def _placed(value, shape):
    return np.broadcast_to(value, shape)


class _Pick(NamedTuple):
    """One of several results of a function."""

    func: Callable
    k: int

    def __call__(self, *args, **kwargs):
        return self.func(*args, **kwargs)[self.k]


def _constant(self, array):
    """Return a fresh buffer traced; what it holds was not computed."""
    return self._made(self._node("const", "const", None, (), {}, (), frames_of()), array)


Tape.constant = _constant
ROOTS.add(Tape.run.__code__)
