"""A tape of what NumPy does for a function: one node per result, told apart by memory and not by names. Level 3.

Every cell of every traced buffer knows which node wrote it and where in that node's value. So slices, transposes,
reshapes, buffers that are filled piece by piece, lists of rows and ``+=`` into a part are one kind of node, a *gather*
of cells of older nodes, and nothing has to be known about aliasing. A node keeps how it was computed, so that it can be
computed again with other operands; where in the code it stands (the stack of the user's frames, no source text); and
its turn among those of that place.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.guard import Budget, Exceeded
from gradcheck.steps.memory import Array, Buffer, cells_up_to, owner_of, zeros
from gradcheck.steps.nodes import TRACED, Hole, Node, emptied, filled, gather
from gradcheck.steps.places import Frames, Places, Site
from gradcheck.steps.traced import Traced, plain

__all__ = ["Tape"]

NAMES = {"add.reduce": "sum", "amax": "max", "amin": "min", "maximum.reduce": "max", "minimum.reduce": "min"}


class Tape:
    """The nodes of a run.

    Attributes:
        nodes: in the order of their making.
        turns: for each place the number of its last turn, and
        at: the node of each of its turns.
        lost: where, and how, a value left the recording: (function, line, way).
        entered: the nodes of float arrays that came in the middle, from code that is not recorded.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.places = Places(Tape.run.__code__)
        self.budget = budget or Budget()
        self.nodes: list[Node] = []
        self.buffers: dict[int, Buffer] = {}
        self.turns: dict[Site, int] = {}
        self.at: dict[tuple[Site, int], int] = {}
        self.lost: set[tuple[str, int, str]] = set()
        self.entered: list[int] = []
        self.bytes = 0
        self._paused, self._thread = 0, threading.get_ident()

    # -- recording or not

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the user's; its frames are told from others by this one's."""
        return function(*args)

    def is_recording(self) -> bool:
        """Whether what is done now, and in this thread, is recorded."""
        return not self._paused and threading.get_ident() == self._thread

    def close(self) -> None:
        """Record nothing any more, and let the memory go."""
        self._paused += 1
        for buffer in self.buffers.values():
            buffer.close()
        self.buffers.clear()

    def lose(self, way: str) -> None:
        """Note that a value leaves the recording here."""
        site = Site(self.places.frames(sys._getframe(1)), way)  # noqa: SLF001  (the only way to the caller's frame)
        self.lost.add((site.function, site.line, way))

    # -- what comes in

    def leaf(self, array: Any, name: str) -> Any:
        """Return a traced copy of an array that is given."""
        value = np.array(array)
        return self._made(self._node("leaf", name, None, (), {}, (), (), value), value)

    def constant(self, array: Any, frames: Frames | None = None) -> Any:
        """Return a fresh array traced; what it holds was not computed."""
        if not isinstance(array, np.ndarray) or array.dtype.kind not in TRACED:
            return array
        frames = self.places.frames(sys._getframe(1)) if frames is None else frames  # noqa: SLF001
        raw = plain(array)
        return self._made(self._node("const", "const", None, (), {}, (), frames, raw), raw)

    # -- reading

    def find(self, array: Array) -> Buffer | None:
        """Return the buffer in which an array lies, None if it is not known, or read as of another type."""
        buffer = self.buffers.get(id(owner_of(array)))
        return buffer if buffer is not None and array.dtype == buffer.root.dtype else None

    def read(self, array: Array, frames: Frames | None = (), k: int = 0) -> int:
        """Return the node of what ``array`` holds now, -1 if it is not known; ``frames`` None are those of here."""
        if type(array) is Traced and array.seen is not None:
            buffer, version, node = array.seen
            if buffer.version == version:
                return node
        elif (found := self.find(array)) is None:
            return -1
        else:
            buffer = found
        key = (array.__array_interface__["data"][0], array.shape, array.strides)
        known = buffer.views.get(key)
        if known is None:
            known = buffer.views[key] = self._gathered(buffer, array, frames, k)
        if type(array) is Traced:
            array.seen = buffer, buffer.version, known
        return known

    def known(self, array: Array, frames: Frames | None, k: int) -> int:
        """Return the node of an operand; one that was made elsewhere is a constant from now on."""
        node = self.read(array, frames, k)
        if node < 0:
            raw = plain(array)
            frames = self.places.frames(sys._getframe(1)) if frames is None else frames  # noqa: SLF001
            self._made(self._node("const", "const", None, (), {}, (), frames, raw), raw)
            node = len(self.nodes) - 1
            if raw.dtype.kind == "f":
                self.entered.append(node)
        return node

    def _gathered(self, buffer: Buffer, array: Array, frames: Frames | None, k: int) -> int:
        """Return the node that an array holds as a whole; a new one if it has cells of several, or in another order."""
        nodes = self.nodes
        if buffer.owner is None:
            if buffer.covers(array) and nodes[buffer.whole].value.shape == array.shape:
                return buffer.whole
            parents, place, one = [buffer.whole], buffer.cells(array), True
        else:
            owner, place = buffer.origins(array)
            parents = _distinct(owner)
            one = len(parents) == 1
        in_order = one and nodes[parents[0]].value.shape == array.shape
        if in_order and np.array_equal(place.reshape(-1), cells_up_to(place.size)):
            return parents[0]
        frames = self.places.frames(sys._getframe(1)) if frames is None else frames  # noqa: SLF001
        which = zeros(array.shape) if one else np.searchsorted(parents, owner)
        args = which, place.copy(), [Hole(k) for k in range(len(parents))]
        node = self._node("gather", "gather", gather, args, {}, tuple(parents), frames, plain(array), args[:2], k)
        node.memory = buffer, buffer.cells(array)
        buffer.lent.append(node)
        self.bytes += place.nbytes + which.nbytes * (not one)
        return node.id

    # -- making

    def _made(self, node: Node, result: Array) -> Any:
        """Register the fresh memory of a result and return it traced."""
        root = owner_of(result)
        buffer = self.buffers[id(root)] = Buffer(root, node.id)
        buffer.lent.append(node)
        node.memory = buffer, None
        self.bytes += root.nbytes
        if not buffer.covers(result):
            buffer.write(result, ..., result.shape, node.id)
        return self._wrapped(result, (buffer, buffer.version, node.id))

    def copy(self, array: Array) -> Any:
        """Return a copy of an array that is the same node."""
        node = self.read(array)
        return plain(array).copy() if node < 0 else self._alias(np.array(plain(array)), node)

    def _alias(self, fresh: Array, node: int) -> Any:
        buffer = self.buffers[id(fresh)] = Buffer(fresh, node)
        if self.nodes[node].value.shape != fresh.shape or not buffer.covers(fresh):
            buffer.write(fresh, ..., fresh.shape, node)
        return self._wrapped(fresh, (buffer, buffer.version, node))

    def _wrapped(self, array: Array, seen: tuple[Buffer, int, int] | None = None) -> Any:
        made = array.view(Traced)
        made.tape, made.seen = self, seen
        return made

    def number(self, array: Array) -> Any:
        """Return an array without an axis as the number that it holds."""
        array.is_number = True  # type: ignore[attr-defined]
        return array

    def _node(
        self,
        kind: str,
        name: str,
        func: Callable[..., Any] | None,
        args: Any,
        kwargs: Any,
        parents: tuple[int, ...],
        frames: Frames,
        value: Any,
        data: Any = None,
        k: int = 0,
    ) -> Node:
        if self.bytes > self.budget.bytes:
            raise Exceeded(f"more than {self.budget.bytes >> 20} MB")
        if time.perf_counter() > self.budget.until:
            raise Exceeded
        site = self.places.site(frames, f"{name} {k}" if k else name)  # two operands at one instruction are two places
        turn = self.turns[site] = self.turns.get(site, -1) + 1
        node = Node(len(self.nodes), kind, name, func, args, kwargs, parents, site, turn, value, data)
        self.nodes.append(node)
        self.at[site, turn] = node.id
        return node

    def result(self, node: int, name: str) -> int:
        """Return a new node that is another one, as what is returned."""
        return self._node("op", name, _itself, (Hole(0),), {}, (node,), (), self.nodes[node].value).id

    # -- operations

    def call(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any, *, into: Any = None) -> Any:
        """Do an operation on plain arrays and keep it; ``into`` is the array that its result is written into."""
        frames = self.places.frames(sys._getframe(1))  # noqa: SLF001
        operands: list[Array] = []
        args, kwargs = emptied(args, operands), emptied(kwargs, operands)
        parents = tuple([self.known(each, frames, k) for k, each in enumerate(operands)])
        values = [plain(each) for each in operands]
        self._paused += 1
        try:
            result = func(*filled(args, values), **filled(kwargs, values))
        finally:
            self._paused -= 1

        def noted(value: Any, func: Any = func) -> Node:
            return self._node("op", NAMES.get(name, name), func, args, kwargs, parents, frames, value)

        if into is not None:
            self._write(into, result, noted, frames)
            return into
        if isinstance(result, tuple | list) and any(isinstance(each, np.ndarray | np.generic) for each in result):
            made = [
                self._result(each, functools.partial(noted, func=_Pick(func, k)), frames)
                for k, each in enumerate(result)
            ]
            return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)
        return self._result(result, noted, frames)

    def _result(self, result: Any, noted: Callable[[Any], Node], frames: Frames) -> Any:
        """Return the result of an operation traced, a number too; what is of another kind as it is."""
        if isinstance(result, np.generic) and result.dtype.kind in "fb":
            return self.number(self._made(noted(array := np.asarray(result)), array))
        if type(result) is not np.ndarray or result.dtype.kind not in TRACED:
            if isinstance(result, np.ndarray):
                self.lose(result.dtype.name)
            return result
        if not result.ndim and result.dtype.kind in "iu":
            return result
        if self.find(result) is not None:  # a view of what is known
            made = self._wrapped(result)
            self.read(made, frames)
            return made
        return self._made(noted(result), result)

    def _write(self, into: Array, result: Any, noted: Callable[[Any], Node], frames: Frames) -> None:
        """Write a result into an array and note it."""
        raw = plain(into)
        buffer = self._written(raw, frames)
        np.copyto(raw, result, casting="same_kind")
        if buffer is None:
            return
        node = noted(raw if buffer.covers(raw) else raw.copy())
        node.memory = buffer, buffer.cells(raw)
        buffer.fill(raw, node.id)
        if node.value is raw:
            buffer.lent.append(node)

    def _written(self, raw: Array, frames: Frames) -> Buffer | None:
        """Return the buffer that is about to be written, None if it is of a type that is not recorded.

        The values of nodes are not copied until then.
        """
        buffer = self.find(raw)
        if buffer is None and raw.dtype.kind in TRACED:  # an array of whose making we know nothing: known from now on
            self.known(raw, frames, 0)
            buffer = self.find(raw)
        if buffer is not None:
            self.bytes += buffer.keep()
        return buffer

    def unseen(self, array: Array) -> None:
        """Let an array be written into while nothing is recorded."""
        if (buffer := self.find(array)) is not None:
            buffer.keep()

    # -- indexing

    def get(self, array: Array, key: Any) -> Any:
        """Return ``array[key]``, traced."""
        raw, raw_key = plain(array), plain(key)
        part = raw[raw_key]
        if isinstance(part, np.generic):
            if part.dtype.kind not in "fb":
                return part
            whole = raw_key if isinstance(raw_key, tuple) else (raw_key,)  # a number is no view, but was nowhere else
            view = raw if any(each is Ellipsis for each in whole) else raw[(*whole, ...)]
            node = self.known(view, None, 0)
            return self.number(self._alias(np.array(part), node))
        if isinstance(part, np.ndarray) and self.find(part) is not None:
            made = self._wrapped(part)
            self.read(made, None)
            return made
        return self.call("getitem", _taken, (array, key), {})

    def set(self, target: Array, key: Any, value: Any) -> None:
        """Do ``target[key] = value``."""
        raw, raw_key, frames = plain(target), plain(key), self.places.frames(sys._getframe(1))  # noqa: SLF001
        part = raw[raw_key]
        if isinstance(value, np.ndarray) and np.may_share_memory(raw, plain(value)):
            if isinstance(part, np.ndarray) and part.__array_interface__ == plain(value).__array_interface__:
                return  # x[key] += term has been written already
            value = value.copy()
        operands: list[Array] = []
        shape = np.shape(part)
        args = emptied((value, shape), operands)
        parents = tuple([self.known(each, frames, k) for k, each in enumerate(operands)])
        buffer = self._written(raw, frames)
        if buffer is None:
            raw[raw_key] = plain(value)
            return
        placed = np.array(np.broadcast_to(plain(value), shape), dtype=raw.dtype)
        raw[raw_key] = placed
        node = self._node("op", "setitem", _broadcast, args, {}, parents, frames, placed)
        node.memory = buffer, np.asarray(buffer.cells(raw)[raw_key])
        buffer.write(raw, raw_key, shape, node.id)


def _distinct(owner: Array) -> list[int]:
    if not owner.size:
        return [0]
    first = owner.flat[0]
    return [int(first)] if (owner == first).all() else [int(each) for each in np.unique(owner)]


def _itself(value: Any) -> Any:
    return value


def _broadcast(value: Any, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(value, shape)


def _taken(array: Array, key: Any) -> Any:
    return array[key]


class _Pick(NamedTuple):
    """One of several results of a function."""

    func: Callable[..., Any]
    k: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.func(*args, **kwargs)[self.k]
