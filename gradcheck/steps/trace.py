"""A tape of what NumPy does for a function: one node per result, told apart by memory and not by names.

Every cell of every traced buffer knows which node wrote it and where in that node's value. So slices, transposes,
reshapes, buffers that are filled piece by piece, lists of rows and `+=` into a part are one kind of node, a *gather*
of cells of older nodes, and nothing has to be known about aliasing. A node keeps how it was computed, so that it can be
computed again with other operands; where in the code it stands (the stack of the user's frames, no source text); and
its turn among those of that place.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import itertools
import os
import sys
from pathlib import Path
from typing import Any, Callable, NamedTuple
from unittest import mock

import numpy as np

from gradcheck.steps.twin import Twins

PATCH = bool(os.environ.get("PATCH"))  # numpy itself, to compare with
MOST = 60_000  # nodes of one tape
OURS = str(Path(__file__).parent), str(Path(np.__file__).parent)
QUIET = *OURS, str(Path(__file__).parent.parent)  # whose frames are nobody's step
METHODS = (
    "sum mean max min prod std var argmax argmin cumsum cumprod dot reshape transpose ravel flatten copy astype repeat "
    "squeeze swapaxes take clip trace diagonal round argsort nonzero compress any all conj searchsorted choose"
).split()
VIEWS = "reshape", "transpose", "swapaxes", "ravel", "moveaxis", "repeat", "stack", "concatenate", "hstack", "vstack"
CREATORS = "zeros ones empty full eye identity".split()
INTO_FIRST = {np.copyto, np.fill_diagonal, np.put, np.place, np.putmask, np.put_along_axis}
LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}
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


class Site(NamedTuple):
    """Where in the code a node stands: the frames of the user from the outermost, each (code, instruction)."""

    frames: tuple
    name: str

    @property
    def line(self) -> int:
        return _lines(self.frames[-1][0])[self.frames[-1][1] // 2] if self.frames else 0

    @property
    def function(self) -> str:
        return self.frames[-1][0].co_name if self.frames else "?"

    @property
    def variable(self) -> str:
        """The variable that the result is stored in at once, "" if none."""
        return _stored(*self.frames[-1]) if self.frames else ""


class Node:
    """A result: ``compute(values of its parents)``; ``kind`` is leaf, const, gather or op."""

    __slots__ = "id kind name func args kwargs parents value site turn data".split()

    def __init__(self, id, kind, name, func, args, kwargs, parents, site, turn, data=None):
        self.id, self.kind, self.name, self.func, self.args, self.kwargs = id, kind, name, func, args, kwargs
        self.parents, self.site, self.turn, self.data, self.value = parents, site, turn, data, None

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


class Tape:
    """The nodes of a run. ``rewrites`` maps the frames of an indexing, or of a new view, to a function that does it
    otherwise; ``deltas`` a node, ``edges`` a node and the number of an operand, to what is added to that value."""

    def __init__(self, *, rewrites=None, deltas=None, edges=None, watch=()):
        self.watch, self.scopes = frozenset(watch), {}
        self.nodes: list[Node] = []
        self.buffers: dict[int, Buffer] = {}
        self.turns: dict[Site, int] = {}
        self.at: dict[tuple[Site, int], int] = {}
        self.indexed: dict[tuple, str] = {}
        self.keys: dict[tuple, list] = {}  # the indices of each reading and writing place, in order
        self.rewrites, self.deltas, self.edges, self.moved = rewrites or {}, deltas or {}, edges or {}, {}
        self.lost: set[tuple[str, int]] = set()
        self.returns: dict[str, int] = {}
        self.paused = 0

    # -- running a function

    def leaf(self, array, name):
        node = self._node("leaf", name, None, (), {}, (), ())
        value = np.array(array)
        if node.id in self.deltas:
            value = value + self.deltas[node.id].reshape(value.shape)
        return self._made(node, value)

    def run(self, function, *args):
        """Call a function of the user's; its frames are told from others by this one's."""
        if PATCH:
            with _creators(self):
                return function(*args)
        if self.twins is None:
            self.twins = Twins(_makers(self))
        return self.twins.of(function)(*args)

    twins = None

    # -- reading and writing memory

    def find(self, array):
        return self.buffers.get(id(_root(array)))

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
        parents = _distinct(owner)
        if len(parents) == 1 and self.nodes[parents[0]].value.shape == array.shape:
            if np.array_equal(place.ravel(), np.arange(place.size)):
                buffer.views[key] = int(parents[0])
                return int(parents[0])
        which = np.searchsorted(parents, owner)
        args = which, place, [Hole(k) for k in range(len(parents))]
        node = self._node("gather", "gather", _gather, args, {}, tuple(map(int, parents)), frames, (which, place), k)
        node.value = np.array(plain(array))
        if node.site.frames in self.watch:
            self.scopes[node.id] = scope_of(self, sys._getframe(1), ()), ("",), self.base
        if node.id in self.deltas:
            self.moved[node.id] = node.value + self.deltas[node.id].reshape(node.value.shape)
        buffer.views[key] = node.id
        return node.id

    def _made(self, node, result):
        """Register the fresh memory of a result and return it traced."""
        root = _root(result)
        node.value = np.array(result)
        buffer = self.buffers[id(root)] = Buffer(root)
        buffer.whole = node.id
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
        frames = _frames()
        operands: list[Any] = []
        args, kwargs = _emptied(args, operands), _emptied(kwargs, operands)
        ids = [self.read(each, frames, k) for k, each in enumerate(operands)]
        values = [self.moved.get(i, plain(each)) for i, each in zip(ids, operands)]
        node = self._node("op", NAMES.get(name, name), func, args, kwargs, tuple(ids), frames)
        if frames in self.watch:
            self.scopes[node.id] = scope_of(self, sys._getframe(1), operands, given := []), tuple(given), self.base
        for k in range(len(values)):
            if (node.id, k) in self.edges:
                values[k] = values[k] + self.edges[node.id, k].reshape(values[k].shape)
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
        if node.id in self.deltas:
            result = result + self.deltas[node.id].reshape(result.shape)
        return self._made(node, np.asarray(result))

    def _written(self, node, result, into, cells):
        raw = plain(into)
        if cells is None:
            np.copyto(raw, result, casting="same_kind")
            node.value = np.array(raw)
        else:
            node.value = np.array(np.broadcast_to(result, cells.shape), dtype=raw.dtype)
        if node.id in self.deltas:
            node.value = node.value + self.deltas[node.id].reshape(node.value.shape)
        buffer = self.find(raw)
        if buffer is None:  # an array of whose making we know nothing: known from now on
            self._made(self._node("const", "const", None, (), {}, (), node.site.frames), raw)
            buffer = self.find(raw)
        if cells is None:
            raw[...] = node.value
            buffer.fill(raw, node.id)
        return node

    def set(self, target, key, value):
        raw = plain(target)
        plain_key, frames = plain(key), _frames()
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
        parents = _distinct(owner)
        if len(parents) == 1 and self.nodes[parents[0]].value.shape == raw.shape and np.array_equal(place.ravel(), np.arange(place.size)):
            return Ref(int(parents[0]))
        return Held(np.searchsorted(parents, owner), place.copy(), tuple(map(int, parents)))


class Traced(np.ndarray):
    """An array that tells its tape what is done with it."""

    tape: Tape | None = None

    def __array_finalize__(self, other):
        self.tape = getattr(other, "tape", None)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        tape = _tape_of((*inputs, *(out or ())))
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if tape is None:
            out = {"out": plain(out)} if out else {}
            return getattr(ufunc, method)(*plain(inputs), **out, **plain(kwargs))
        if method == "at":
            tape.call(name, functools.partial(_at, ufunc), inputs, kwargs, into=inputs[0])
            return None
        func = ufunc if method == "__call__" else getattr(ufunc, method)
        if out is not None and len(out) == 1:
            tape.call(name, func, inputs, kwargs, into=out[0])
            return out[0]
        return tape.call(name, func, inputs, kwargs)

    def __array_function__(self, func, types, args, kwargs):
        tape = _tape_of((args, kwargs))
        if tape is None:
            return func(*plain(args), **plain(kwargs))
        if func in LIKE:
            made = func(*plain(args), **plain(kwargs))
            return tape.constant(made) if made.dtype.kind in "fbi" else made
        if func in INTO_FIRST:
            tape.call(func.__name__, functools.partial(_into, func), args, kwargs, into=args[0])
            return None
        out = kwargs.get("out")
        if isinstance(out, np.ndarray):
            tape.call(func.__name__, func, args, {k: v for k, v in kwargs.items() if k != "out"}, into=out)
            return out
        return tape.call(func.__name__, func, args, kwargs)

    def __getitem__(self, key):
        tape = self.tape
        if tape is None or tape.paused:
            return np.ndarray.__getitem__(plain(self), plain(key))
        frames, raw, raw_key = _frames(), plain(self), plain(key)
        if tape.indexed.setdefault(frames, "getitem") == "getitem":
            tape.keys.setdefault(frames, []).append(raw_key)
        if frames in tape.rewrites:
            raw_key, _ = tape.rewrites[frames]("getitem", raw, raw_key, None)
            key = raw_key
        part = raw[raw_key]
        tape.base = (tape.held(raw), raw_key) if frames in tape.watch else None
        if isinstance(part, np.generic) and part.dtype.kind in "fb":  # a number: no view, but it was nowhere else
            whole = raw_key if isinstance(raw_key, tuple) else (raw_key,)
            part = raw[(*whole, ...)] if Ellipsis not in whole else np.asarray(part)
            node = tape.read(part, frames)
            tape.base = None
            return tape._alias(np.array(tape.moved.get(node, part)), node) if node >= 0 else part[()]
        if isinstance(part, np.ndarray) and tape.find(part) is not None:
            tape.read(part, frames)
            tape.base = None
            return tape._wrapped(part)
        tape.base = None
        return tape.call("getitem", _taken, (self, key), {})

    def __setitem__(self, key, value):
        if self.tape is None or self.tape.paused:
            plain(self)[plain(key)] = plain(value)
        else:
            self.tape.set(self, key, value)

    def fill(self, value):
        self[...] = value

    def __deepcopy__(self, memo):
        node = self.tape.read(plain(self)) if self.tape is not None else -1
        return self.tape._alias(np.array(plain(self)), node) if node >= 0 else plain(self).copy()

    def _leave(self, way, *args):
        if self.tape is not None and not self.tape.paused:
            site = Site(_frames(), "leave")
            self.tape.lost.add((site.function, site.line))
        return getattr(plain(self), way)(*args)

    def item(self, *args):
        return self._leave("item", *args)

    def tolist(self):
        return self._leave("tolist")

    def __float__(self):
        return self._leave("__float__")


def _method(name):
    descriptor = getattr(np.ndarray, name)

    def method(self, *args, **kwargs):
        if self.tape is None or self.tape.paused:
            return descriptor(plain(self), *plain(args), **plain(kwargs))
        out = kwargs.pop("out", None)
        if out is not None:
            self.tape.call(name, descriptor, (self, *args), kwargs, into=out)
            return out
        return self.tape.call(name, descriptor, (self, *args), kwargs)

    return method


def _number(name):
    """Numbers are traced as arrays without an axis, but must not be changed in place."""
    into, apart = getattr(np.ndarray, f"__i{name}__"), getattr(np.ndarray, f"__{name}__")
    return lambda self, other: into(self, other) if self.ndim else apart(self, other)


for _name in METHODS:
    setattr(Traced, _name, _method(_name))
for _name in "add sub mul truediv pow".split():
    setattr(Traced, f"__i{_name}__", _number(_name))


def _constant(self, array):
    """Return a fresh buffer traced; what it holds was not computed."""
    return self._made(self._node("const", "const", None, (), {}, (), _frames()), array)


Tape.constant = _constant
_RUN = Tape.run.__code__


def _makers(tape):
    """Return NumPy's makers such that the buffers they make are traced, and lists of traced arrays become one."""

    def ours():
        return tape.paused or sys._getframe(2).f_code.co_filename.startswith(OURS)

    def creating(make):
        @functools.wraps(make)
        def create(*args, **kwargs):
            made = make(*plain(args), **plain(kwargs))
            return made if ours() or made.dtype.kind not in "fbi" else tape.constant(made)

        return create

    def converting(make):
        @functools.wraps(make)
        def convert(thing, *args, **kwargs):
            if ours():
                return make(thing, *args, **kwargs)
            if isinstance(thing, Traced):
                return thing if make is not np_array or kwargs.get("copy") is False else thing.copy()
            if isinstance(thing, tuple | list) and _tape_of(thing) is not None:
                return tape.call("array", np_array, (list(thing), *args), kwargs)
            made = make(thing, *args, **kwargs)
            return tape.constant(np_array(made)) if type(made) is np.ndarray and made.dtype.kind in "fb" else made

        return convert

    np_array = np.array
    return {name: creating(getattr(np, name)) for name in CREATORS} | {
        name: converting(getattr(np, name)) for name in "array asarray asanyarray ascontiguousarray".split()
    }


@contextlib.contextmanager
def _creators(tape):
    """While it is open, numpy itself has these makers: only to compare with."""
    with contextlib.ExitStack() as stack:
        for name, made in _makers(tape).items():
            stack.enter_context(mock.patch.object(np, name, made))
        yield


def _frames():
    """Return the frames of the user's code, outermost first, as (code, instruction)."""
    frames, frame = [], sys._getframe(2)
    while frame is not None and frame.f_code is not _RUN:
        if not frame.f_code.co_filename.startswith(QUIET):
            frames.append((frame.f_code, _starts(frame.f_code)[frame.f_lasti // 2]))
        frame = frame.f_back
    return tuple(reversed(frames))


@functools.lru_cache(maxsize=512)
def _turning(code):
    """The variables that are set inside a loop."""
    steps = list(dis.get_instructions(code))
    loops = [(s.argval, s.offset) for s in steps if "JUMP_BACKWARD" in s.opname]
    return frozenset(s.argval for s in steps if s.opname.startswith("STORE_FAST") and any(a <= s.offset <= b for a, b in loops))


def scope_of(tape, frame, operands, given=None):
    """Return what the running functions have names for: arrays and numbers, also one level inside containers.

    ``given`` gets the name of each operand.
    """
    found, depth = {}, 0
    while frame is not None and frame.f_code is not _RUN and depth < 6:
        if not frame.f_code.co_filename.startswith(QUIET):
            if given is not None and not depth:
                local = list(frame.f_locals.items())
                given += [next((n for n, v in local if v is each), "") for each in operands]
            inner = {}
            _named(tape, inner, frame.f_locals, frame.f_code)
            for name, value in inner.items():
                if name not in found:
                    found[name] = value
                elif type(found[name]) is not type(value) or not isinstance(value, int | float) or found[name] != value:
                    found.setdefault(name + "'", value)
            depth += 1
        frame = frame.f_back
    return found


def _named(tape, found, local, code):
    turning = _turning(code)
    counters = {n: v for n, v in local.items() if n in turning and type(v) is int and 0 <= v < 1000}

    def seen(name, value):
        if isinstance(value, np.ndarray) and value.dtype.kind in "fbiu" and value.size <= 200_000 and len(found) < 250:
            found[name] = tape.held(value)
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            found[name] = value

    def turns(name, value):
        for i, at in counters.items():
            for by, said in ((0, ""), (-1, " - 1"), (1, " + 1")):
                if 0 <= at + by < len(value) and isinstance(value[at + by], np.ndarray | float):
                    seen(f"{name}[{i}{said}]", value[at + by])

    for name, value in list(local.items()):
        if isinstance(value, np.ndarray):
            seen(name, value)
            if value.ndim and counters and value.dtype.kind == "f" and value.size <= 10_000 and len(found) < 250:
                base = tape.held(value)
                for i, at in counters.items():
                    for by, said in ((0, ""), (-1, " - 1"), (1, " + 1")):
                        if 0 <= at + by < len(value):
                            found[f"{name}[{i}{said}]"] = base, at + by
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, tuple | list) and len(value) <= 64:
            for at, part in enumerate(value if len(value) <= 16 else ()):
                if isinstance(part, np.ndarray | float | np.floating):
                    seen(f"{name}[{at}]", part)
                elif isinstance(part, tuple | list) and len(part) <= 8:
                    for far, each in enumerate(part):
                        if isinstance(each, np.ndarray | float | np.floating):
                            seen(f"{name}[{at}][{far}]", each)
            turns(name, value)
        elif isinstance(value, dict) and len(value) <= 32:
            for key, part in value.items():
                seen(f"{name}[{key!r}]", part)
            for i, at in counters.items():
                for by, said in ((0, ""), (-1, " - 1"), (1, " + 1")):
                    if isinstance(value.get(at + by), np.ndarray):
                        seen(f"{name}[{i}{said}]", value[at + by])
        elif hasattr(value, "__dict__") and not callable(value):
            for key, part in list(vars(value).items())[:32]:
                seen(f"{name}.{key}", part)
                if isinstance(part, list | tuple):
                    turns(f"{name}.{key}", part)


def _distinct(owner):
    first = owner.flat[0] if owner.size else 0
    return np.array([first]) if owner.size and (owner == first).all() else np.unique(owner)


def _root(array):
    """Return the array that owns the memory; as_strided puts an object of its own between."""
    while (base := array.base) is not None:
        base = base if isinstance(base, np.ndarray) else getattr(base, "base", None)
        if base is None:
            break
        array = base
    return array


def plain(tree):
    """Return what is given without the tracing."""
    if isinstance(tree, Traced):
        return tree.view(np.ndarray)
    if isinstance(tree, tuple) and not hasattr(tree, "_fields"):
        return tuple(plain(each) for each in tree)
    if type(tree) is list:
        return [plain(each) for each in tree]
    if type(tree) is dict:
        return {key: plain(value) for key, value in tree.items()}
    return tree


def _tape_of(tree):
    if isinstance(tree, Traced):
        return tree.tape if tree.tape is not None and not tree.tape.paused else None
    if isinstance(tree, tuple | list):
        return next((found for each in tree if (found := _tape_of(each)) is not None), None)
    if type(tree) is dict:
        return _tape_of(tuple(tree.values()))
    return None


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


def _gather(which, place, values):
    if len(values) == 1:
        return np.ravel(values[0])[place]
    made = np.empty(which.shape, dtype=np.result_type(*values))
    for k, value in enumerate(values):
        made[which == k] = np.ravel(value)[place[which == k]]
    return made


def _placed(value, shape):
    return np.broadcast_to(value, shape)


def _taken(array, key):
    return array[key]


def _at(ufunc, array, index, *values):
    array = array.copy()
    ufunc.at(array, index, *values)
    return array


def _into(func, array, *args, **kwargs):
    array = array.copy()
    func(array, *args, **kwargs)
    return array


class _Pick(NamedTuple):
    """One of several results of a function."""

    func: Callable
    k: int

    def __call__(self, *args, **kwargs):
        return self.func(*args, **kwargs)[self.k]


@functools.lru_cache(maxsize=512)
def _starts(code):
    """Return for each unit of the bytecode where its instruction starts: one that Python has specialised ends elsewhere."""
    starts = {i.offset for i in dis.get_instructions(code)}
    return list(itertools.accumulate(range(0, len(code.co_code), 2), lambda start, at: at if at in starts else start))


@functools.lru_cache(maxsize=512)
def _lines(code):
    return [line or 0 for line, *_ in code.co_positions()]


@functools.lru_cache(maxsize=4096)
def _stored(code, at):
    """Return the variable or attribute that takes the result of an instruction."""
    after = [i for i in dis.get_instructions(code) if i.offset > at and i.opname not in ("CACHE", "COPY")]
    if after and after[0].opname in ("STORE_FAST", "STORE_NAME", "STORE_DEREF", "STORE_GLOBAL"):
        return str(after[0].argval)
    if len(after) > 1 and after[0].opname == "LOAD_FAST" and after[1].opname == "STORE_ATTR":
        return f"{after[0].argval}.{after[1].argval}"
    return ""
