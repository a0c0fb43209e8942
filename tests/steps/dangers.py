"""What the tests of safety share: pairs that are wrong, and everything that must stay as it is while a report is read.

Every backward here is wrong, so that its report fails, and does something besides: it writes into what it holds, or it
is dangerous to run on anything but what its forward returned.
"""

import array
import builtins
import collections
import contextlib
import copy
import dataclasses
import functools
import gc
import logging
import math
import operator
import os
import random
import resource
import signal
import sys
import threading
import time
import tracemalloc
import types
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gradcheck
from gradcheck import Verdict, examine_backward

ROOT = Path(gradcheck.__file__).resolve().parents[1]
GENEROUS = 30  # seconds: reading is given 5, the check and the start of a process come on top
MEGABYTE = 2**20
LEARNING_RATE = 1e-3
_rng = np.random.default_rng(0)
X, W, B = (_rng.standard_normal(shape) for shape in ((4, 3), (3, 2), (2,)))
POINT = (X, W, B)
SHAPES = tuple(each.shape for each in POINT)


# -- the pairs: a layer of which every gradient is wrong, and a map of which one is


class Layer(NamedTuple):
    """What the forward of a layer keeps."""

    x: np.ndarray
    W: np.ndarray
    h: np.ndarray


def layer(x, W, b):
    h = np.tanh(x @ W + b)
    return h, Layer(x, W, h)


def unsquared(dout, cache):
    x, W, h = cache
    dz = dout * (1 - h)
    return dz @ W.T, x.T @ dz, dz.sum(axis=0)


def affine(x, W, b):
    return x @ W + b, (x, W)


def averaged(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.mean(axis=0)


def also(effect, wrong=unsquared):
    """Return a wrong backward that has an effect, which takes the cotangent, the cache and the gradients."""

    def backward(dout, cache):
        gradients = wrong(dout, cache)
        effect(dout, cache, gradients)
        return gradients

    return backward


# -- what there is, and that it is still the same


class Itself:
    """Equal to the same thing alone, which it keeps alive so that nothing else comes to lie in its place."""

    def __init__(self, thing):
        self.thing = thing

    def __eq__(self, other):
        return isinstance(other, Itself) and self.thing is other.thing

    def __hash__(self):
        return id(self.thing)

    def __repr__(self):
        return f"<{type(self.thing).__name__} at {id(self.thing):#x}>"


def state_of(*things):
    """Return by its path everything that ``things`` hold: which it is, of what type, and what it says of itself."""
    found, met = {}, set()
    open_ = [(f"held[{number}]", thing) for number, thing in enumerate(things)]
    while open_:
        path, thing = open_.pop()
        if thing is None or isinstance(thing, int | float | complex | str | bytes | np.generic | os.PathLike):
            found[path] = type(thing), repr(thing)
            continue
        found[path] = type(thing), Itself(thing)
        if id(thing) not in met:
            met.add(id(thing))
            open_ += [(path + name, part) for name, part in _inside(thing)]
    return found


def changed(before, now):
    """Return where two states differ."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _inside(thing):
    """Return what a thing holds, with how one gets there."""
    if isinstance(thing, np.ndarray):
        parts = [(f".{name}", repr(getattr(thing, name))) for name in ("dtype", "shape", "strides")]
        parts.append((".flags.writeable", thing.flags.writeable))
        parts += _numbered(thing.flat) if thing.dtype.hasobject else [(".tobytes()", thing.tobytes())]
        masked = isinstance(thing, np.ma.MaskedArray)
        return [*parts, (".mask", repr(np.ma.getmaskarray(thing).tolist()))] if masked else parts
    if isinstance(thing, type):
        return [(f".{name}", value) for name, value in vars(thing).items() if not name.startswith("__")]
    parts = []
    if isinstance(thing, dict):
        parts += [(f".keys[{number}]", key) for number, key in enumerate(dict.keys(thing))]
        parts += [(f"[{number}]", value) for number, value in enumerate(dict.values(thing))]
    elif isinstance(thing, list | tuple | set | frozenset | collections.deque | bytearray | array.array):
        parts += _numbered(thing)
    elif isinstance(thing, types.FunctionType):
        parts += [(".__code__", thing.__code__), (".__defaults__", thing.__defaults__)]
        parts += [(".__kwdefaults__", thing.__kwdefaults__)]
        cells = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
        parts += [(f".{name}", cell.cell_contents) for name, cell in cells]
    elif isinstance(thing, types.MethodType):
        parts += [(".__func__", thing.__func__), (".__self__", thing.__self__)]
    elif isinstance(thing, functools.partial):
        parts += [(".func", thing.func), (".args", thing.args), (".keywords", thing.keywords)]
    elif isinstance(thing, np.random.Generator):
        parts.append((".state", repr(thing.bit_generator.state)))
    elif isinstance(thing, random.Random):
        parts.append((".state", repr(thing.getstate())))
    if parts or type(thing).__module__ not in sys.stdlib_module_names - {"__main__"}:
        parts += _attributes(thing)
    return parts


def _numbered(things):
    return [(f"[{number}]", thing) for number, thing in enumerate(things)]


def _attributes(thing):
    """Return what hangs at an object, without asking the object itself."""
    found = []
    with contextlib.suppress(AttributeError):
        found += [(f".{name}", value) for name, value in object.__getattribute__(thing, "__dict__").items()]
    for kind in type(thing).__mro__:
        for name, value in vars(kind).items():
            if isinstance(value, types.MemberDescriptorType) and kind.__module__ != "builtins":
                with contextlib.suppress(AttributeError):
                    found.append((f".{name}", value.__get__(thing)))
    return found


MODULES = (np, np.linalg, np.random, np.lib.stride_tricks, builtins, math, operator, functools, copy, time, threading)


def surroundings():
    """Return what all code of this process shares."""
    monitoring = getattr(sys, "monitoring", None)
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {
        "errors": np.geterr(),
        "error call": np.geterrcall(),
        "print options": np.get_printoptions(),
        "buffer": np.getbufsize(),
        "filters": list(warnings.filters),
        "warnings": Itself(warnings.showwarning),
        "tracers": tuple(map(Itself, (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()))),
        "monitoring": monitoring and [monitoring.get_tool(number) for number in range(6)],
        "hooks": tuple(map(Itself, (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook))),
        "streams": tuple(map(Itself, (sys.stdin, sys.stdout, sys.stderr))),
        "recursion": sys.getrecursionlimit(),
        "switching": sys.getswitchinterval(),
        "collector": (gc.isenabled(), gc.get_threshold(), list(gc.callbacks)),
        "handlers": handlers,
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "allocations": tracemalloc.is_tracing(),
        "limits": (resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_DATA)),
        "directory": os.getcwd(),  # noqa: PTH109  (a string)
        "environment": dict(os.environ),
        "path": list(sys.path),
        "draws": (repr(random.getstate()), repr(np.random.get_state(legacy=False))),  # noqa: NPY002  (it is shared)
        "drawn": np.random.get_state(legacy=False)["state"]["key"].tobytes(),  # noqa: NPY002
        "logging": (list(logging.root.handlers), logging.root.level, logging.root.manager.disable),
    }


def shared_names():
    """Return what the names in the modules that everybody uses mean."""
    return {(module.__name__, name): Itself(value) for module in MODULES for name, value in vars(module).items()}


def read(report, *held):
    """Read a report in every way; what the user holds and what all code shares must be the same afterwards."""
    before, around, names = state_of(*held), surroundings(), shared_names()
    said, page = str(report), report._repr_html_()
    explanations, steps = report.explanations, getattr(report, "steps", ())
    after = state_of(*held)
    assert changed(before, after) == []
    assert [path for path, (kind, _) in after.items() if kind.__module__.startswith("gradcheck")] == []
    assert surroundings() == around
    now = shared_names()
    assert [name for name, value in names.items() if now.get(name) != value] == []
    assert report.verdict is Verdict.FAIL
    assert "FAIL" in said.splitlines()[0]
    assert page.strip()
    assert isinstance(explanations, tuple)
    assert isinstance(steps, tuple)
    return said


def examined(forward, backward, args=POINT, **settings):
    """Return the report of a check that fails."""
    report = examine_backward(forward, backward, args, seed=0, **settings)
    assert report.verdict is Verdict.FAIL
    return report


class Diary:
    """Lines in a file, which nobody who puts objects back can take back."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def __call__(self, line):
        with self.path.open("a") as file:
            file.write(f"{line}\n")

    @property
    def lines(self):
        return self.path.read_text().splitlines()


class Slotted:
    """Has no dictionary."""

    __slots__ = ("__weakref__", "count", "total", "velocity")

    def __init__(self):
        self.count, self.total, self.velocity = 0, np.zeros(2), np.zeros(2)

    def step(self, db):
        self.count += 1
        self.total += db
        self.velocity = 0.9 * self.velocity + db


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Cannot be assigned to, but the array in it can."""

    total: np.ndarray
    count: int = 0


class Unit(np.ndarray):
    """An array of the user's own kind that counts what is done with it."""

    done: list = []  # noqa: RUF012  (of the class)

    def __array_finalize__(self, parent):
        self.unit = getattr(parent, "unit", "m")

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        Unit.done.append(ufunc.__name__)
        plain = [each.view(np.ndarray) if isinstance(each, Unit) else each for each in inputs]
        return getattr(ufunc, method)(*plain, **settings)


class Fuse:
    """Does something at one call after it was lit, and at all that follow."""

    def __init__(self, blows):
        self.blows, self.left, self.blown = blows, math.inf, 0

    def __call__(self):
        if self.left <= 0:
            self.blown += 1
            self.blows()
        self.left -= 1


def raising(error):
    raise error


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
