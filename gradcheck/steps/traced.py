"""An array that tells its tape what is done with it, and NumPy's makers of such arrays."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.steps.places import OURS, Site, frames_of

if TYPE_CHECKING:
    from gradcheck.steps.tape import Tape


METHODS = (
    "sum mean max min prod std var argmax argmin cumsum cumprod dot reshape transpose ravel flatten copy astype repeat "
    "squeeze swapaxes take clip trace diagonal round argsort nonzero compress any all conj searchsorted choose"
).split()


CREATORS = "zeros ones empty full eye identity".split()


INTO_FIRST = {np.copyto, np.fill_diagonal, np.put, np.place, np.putmask, np.put_along_axis}


LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}


class Traced(np.ndarray):
    """An array that tells its tape what is done with it."""

    tape: Tape | None = None

    def __array_finalize__(self, other):
        self.tape = getattr(other, "tape", None)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        tape = tape_of((*inputs, *(out or ())))
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
        tape = tape_of((args, kwargs))
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
        frames, raw, raw_key = frames_of(), plain(self), plain(key)
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
            return tape._alias(np.array(part), node) if node >= 0 else part[()]
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
            site = Site(frames_of(), "leave")
            self.tape.lost.add((site.function, site.line))
        return getattr(plain(self), way)(*args)

    def item(self, *args):
        return self._leave("item", *args)

    def tolist(self):
        return self._leave("tolist")

    def __float__(self):
        return self._leave("__float__")


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


def tape_of(tree):
    if isinstance(tree, Traced):
        return tree.tape if tree.tape is not None and not tree.tape.paused else None
    if isinstance(tree, tuple | list):
        return next((found for each in tree if (found := tape_of(each)) is not None), None)
    if type(tree) is dict:
        return tape_of(tuple(tree.values()))
    return None


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


def makers(tape):
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
            if isinstance(thing, tuple | list) and tape_of(thing) is not None:
                return tape.call("array", np_array, (list(thing), *args), kwargs)
            made = make(thing, *args, **kwargs)
            return tape.constant(np_array(made)) if type(made) is np.ndarray and made.dtype.kind in "fb" else made

        return convert

    np_array = np.array
    return {name: creating(getattr(np, name)) for name in CREATORS} | {
        name: converting(getattr(np, name)) for name in "array asarray asanyarray ascontiguousarray".split()
    }


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
