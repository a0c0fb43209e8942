"""Reading a failing report harms nothing: what the user holds, files, threads and the interpreter stay as they are.

Every backward here is wrong, so that its report fails, and does something besides: it writes into what it holds, or it
is dangerous to run on anything but what its forward returned. What could take the tests along runs in a process of its
own.
"""

import array
import asyncio
import builtins
import collections
import concurrent.futures
import contextlib
import contextvars
import copy
import ctypes
import dataclasses
import enum
import functools
import gc
import json
import logging
import math
import operator
import os
import pickle
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import types
import unittest
import warnings
import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

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


@pytest.fixture
def diary(tmp_path):
    return Diary(tmp_path / "diary")


@pytest.fixture
def precious(tmp_path):
    """A file that a dangerous function deletes or overwrites."""
    path = tmp_path / "precious"
    path.write_bytes(b"results of a week")
    yield path
    assert path.read_bytes() == b"results of a week"
    assert {each.name for each in tmp_path.iterdir()} <= {"precious", "diary"}


# -- arrays that functions hold


def test_reading_a_failing_report_leaves_the_weights_of_a_closure_as_they_are():
    held, bias, h0 = W.copy(), B.copy(), np.ones(2)

    def forward(x, b):
        return layer(x, held, b)

    def backward(dout, cache):
        nonlocal h0
        dx, dW, db = unsquared(dout, cache)
        np.subtract(bias, LEARNING_RATE * db, out=bias)
        h0 = h0 - LEARNING_RATE * db
        held[...] -= 1e-14 * dW
        return dx, db

    report = examined(forward, backward, (X, B))
    assert not np.array_equal(bias, B)
    assert not np.array_equal(h0, np.ones(2))
    assert "db" in read(report, forward, backward, held, bias)


def test_reading_a_failing_report_leaves_an_optimiser_that_steps_in_place_as_it_is():
    moments = {"m": [np.zeros_like(each) for each in POINT], "v": [np.zeros_like(each) for each in POINT], "t": 0}

    def step(dout, cache, gradients):
        moments["t"] += 1
        for i, g in enumerate(gradients):
            moments["m"][i] *= 0.9
            moments["m"][i] += 0.1 * g
            moments["v"][i] *= 0.999
            moments["v"][i] += 0.001 * g * g

    backward = also(step)
    report = examined(layer, backward)
    assert moments["t"] > 0
    assert np.abs(moments["m"][1]).max() > 0
    assert "dW" in read(report, backward)


class Model:
    """Counts and keeps at its class and at itself."""

    passes = 0
    last = None
    history: list = []  # noqa: RUF012  (shared by all of them, as beginners have it)

    def __init__(self):
        self.grads = {}
        self.velocity = np.zeros_like(W)

    def forward(self, x, W, b):
        self.out, cache = layer(x, W, b)
        return self.out, cache

    def backward(self, dout, cache):
        self.dx, self.grads["W"], self.grads["b"] = unsquared(dout, cache)
        self.velocity = 0.9 * self.velocity - LEARNING_RATE * self.grads["W"]
        Model.passes += 1
        Model.last = self.grads["b"]
        Model.history.append(cache.h)
        return self.dx, self.grads["W"], self.grads["b"]


def test_reading_a_failing_report_leaves_the_attributes_of_an_object_as_they_are():
    model = Model()
    report = examined(model.forward, model.backward)
    assert set(vars(model)) == {"grads", "velocity", "out", "dx"}
    assert np.abs(model.velocity).max() > 0
    assert "dW" in read(report, model)
    assert {type(each) for each in (model.out, model.dx, model.velocity, *model.grads.values())} == {np.ndarray}


def test_reading_a_failing_report_leaves_the_attributes_of_a_class_as_they_are():
    model = Model()
    before = Model.passes
    report = examined(model.forward, model.backward)
    assert Model.passes > before
    assert "db" in read(report, Model, model)
    assert {type(each) for each in Model.history} == {type(Model.last)} == {np.ndarray}


class Slotted:
    """Has no dictionary."""

    __slots__ = ("__weakref__", "count", "total", "velocity")

    def __init__(self):
        self.count, self.total, self.velocity = 0, np.zeros(2), np.zeros(2)

    def step(self, db):
        self.count += 1
        self.total += db
        self.velocity = 0.9 * self.velocity + db


def test_reading_a_failing_report_leaves_an_object_with_slots_as_it_is():
    slotted = Slotted()
    backward = also(lambda dout, cache, gradients: slotted.step(gradients[2]))
    report = examined(layer, backward)
    assert slotted.count > 0
    assert "db" in read(report, slotted, backward)


COUNTED, RUNNING, NAMES = 0, np.zeros((3, 2)), {"dW": None}


def counting_backward(dout, cache):
    global COUNTED, RUNNING  # noqa: PLW0603  (as notebooks have it)
    gradients = unsquared(dout, cache)
    COUNTED += 1
    RUNNING = 0.9 * RUNNING + gradients[1]
    NAMES["dW"] = gradients[1]
    return gradients


def test_reading_a_failing_report_leaves_the_globals_of_a_module_as_they_are():
    def state():
        return COUNTED, Itself(RUNNING), RUNNING.tobytes(), Itself(NAMES["dW"])

    report = examined(layer, counting_backward)
    after = state()
    assert COUNTED > 0
    assert "dW" in read(report, NAMES)
    assert state() == after
    assert type(RUNNING) is type(NAMES["dW"]) is np.ndarray


def test_reading_a_failing_report_leaves_the_globals_of_another_module_as_they_are():
    settings = types.ModuleType("settings_of_somebody")
    settings.step, settings.mean = 0, np.zeros(2)

    def moves(dout, cache, gradients):
        settings.step += 1
        settings.mean = 0.9 * settings.mean + 0.1 * cache.h.mean(axis=0)

    report = examined(layer, also(moves))
    before, mean, numbers = settings.step, settings.mean, settings.mean.copy()
    assert before > 0
    assert "dx" in read(report)
    assert (settings.step, Itself(settings.mean)) == (before, Itself(mean))
    assert np.array_equal(mean, numbers)


def test_reading_a_failing_report_leaves_default_arguments_as_they_are():
    def backward(dout, cache, seen=[], total=np.zeros(2), *, named={}):  # noqa: B006, B008  (that is the danger)
        gradients = unsquared(dout, cache)
        seen.append(gradients[0])
        total += gradients[2]
        named[len(named)] = gradients[1]
        return gradients

    report = examined(layer, backward)
    seen, total = backward.__defaults__
    assert len(seen) == len(backward.__kwdefaults__["named"]) > 0
    assert np.abs(total).max() > 0
    assert "dW" in read(report, backward)


def test_reading_a_failing_report_leaves_the_attributes_of_a_function_as_they_are():
    def backward(dout, cache):
        backward.calls += 1
        backward.last = unsquared(dout, cache)
        return backward.last

    backward.calls = 0
    report = examined(layer, backward)
    assert backward.calls > 0
    assert "dW" in read(report, backward)
    assert {type(each) for each in backward.last} == {np.ndarray}


def test_reading_a_failing_report_leaves_a_cell_that_is_bound_anew_as_it_is():
    velocity, count = np.zeros_like(W), 0

    def backward(dout, cache):
        nonlocal velocity, count
        gradients = unsquared(dout, cache)
        velocity, count = 0.9 * velocity + gradients[1], count + 1
        return gradients

    report = examined(layer, backward)
    assert count > 0
    before, numbers = velocity, velocity.copy()
    assert "dW" in read(report, backward)
    assert velocity is before
    assert np.array_equal(velocity, numbers)


CONTAINERS = {
    "a list": ([], lambda held, g: held.append(g)),
    "a list of one": ([np.zeros_like(B)], lambda held, g: operator.setitem(held, 0, g)),
    "a dict": ({}, lambda held, g: operator.setitem(held, len(held), g)),
    "a dict by shape": ({}, lambda held, g: operator.setitem(held, g.shape, g)),
    "a defaultdict": (collections.defaultdict(list), lambda held, g: held[len(held)].append(g)),
    "an OrderedDict": (collections.OrderedDict(a=0, b=1), lambda held, g: held.move_to_end(next(iter(held)))),
    "a Counter": (collections.Counter(), lambda held, g: held.update([g.shape])),
    "a deque that forgets": (collections.deque(maxlen=2), lambda held, g: held.append(g)),
    "a set": (set(), lambda held, g: held.add(len(held))),
    "a bytearray": (bytearray(), lambda held, g: held.extend(b"x")),
    "an array of Python's": (array.array("d"), lambda held, g: held.append(float(g[0]))),
    "a list in a dict in a tuple": (({"a": []},), lambda held, g: held[0]["a"].append([g])),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_reading_a_failing_report_leaves_a_container_that_the_backward_fills_as_it_is(name):
    held, fills = CONTAINERS[name]
    before = repr(held)
    backward = also(lambda dout, cache, gradients: fills(held, gradients[2]))
    report = examined(layer, backward)
    assert repr(held) != before
    assert "db" in read(report, held, backward)


class Node:
    """Of a chain."""

    def __init__(self, following=None):
        self.following, self.total = following, np.zeros(2)


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Cannot be assigned to, but the array in it can."""

    total: np.ndarray
    count: int = 0


class Named(NamedTuple):
    """Holds an array."""

    total: np.ndarray


def _chain():
    node = last = Node()
    for _ in range(30):
        node = Node(node)
    return node, last.total


def _walk(node, db):
    while node.following is not None:
        node = node.following
    node.total += db


def _bound():
    held = Slotted()
    return held, held.total, functools.partial(Slotted.step, held)


def _nested(cells):
    def outer():
        def inner(db):
            cells[0] += db

        return inner

    return outer()


def _places():
    """Yield by its name what holds an array, the array, and the function that writes into it."""
    total = np.zeros(2)
    yield "a partial", total, total, functools.partial(np.add, total, out=total)
    node, last = _chain()
    yield "the end of a chain", node, last, functools.partial(_walk, node)
    held, total, step = _bound()
    yield "a partial of a method", held, total, step
    named = Named(np.zeros(2))
    yield "a namedtuple", named, named.total, lambda db: operator.iadd(named.total, db)
    frozen = Frozen(np.zeros(2))
    yield "a frozen dataclass", frozen, frozen.total, lambda db: operator.iadd(frozen.total, db)
    base = np.zeros((5, 4))
    view = base[1:3, 2]
    yield "a view into a larger array", base, base, lambda db: operator.iadd(view, db)
    objects = np.array([np.zeros(2), None], dtype=object)
    yield "an array of objects", objects, objects[0], lambda db: operator.iadd(objects[0], db)
    masked = np.ma.masked_array(np.zeros(2), mask=[False, True])
    yield "a masked array", masked, masked.data, lambda db: operator.iadd(masked.data, db)
    record = np.zeros(2, dtype=[("total", float), ("count", int)])
    yield "a record", record, record, lambda db: operator.iadd(record["total"], db)
    integers = np.zeros(2, dtype=int)
    yield "an array of integers", integers, integers, lambda db: operator.iadd(integers, 1)
    exported = bytearray(16)
    yield (
        "the memory of a bytearray",
        exported,
        np.frombuffer(exported),
        lambda db: operator.iadd(np.frombuffer(exported), db),
    )
    cells = [np.zeros(2)]
    yield (
        "three functions, one in another",
        cells,
        cells[0],
        _nested(cells),
    )


@pytest.mark.parametrize("place", [name for name, *_ in _places()])
def test_reading_a_failing_report_leaves_an_array_as_it_is_wherever_the_backward_holds_it(place):
    held, total, writes = next(rest for name, *rest in _places() if name == place)
    backward = also(lambda dout, cache, gradients: writes(gradients[2]))
    before = total.tobytes()
    report = examined(layer, backward)
    assert total.tobytes() != before
    assert "db" in read(report, held, total, backward)


WRITERS = {
    "add.at": lambda total, db: np.add.at(total, [0, 1], db),
    "put": lambda total, db: np.put(total, [0, 1], db),
    "copyto": np.copyto,
    "place": lambda total, db: np.place(total, np.array([True, False]), db),
    "fill": lambda total, db: total.fill(db[0]),
    "sort": lambda total, db: (total.__setitem__(slice(None), np.abs(db) * [2, -1]), total.sort()),
    "matmul out": lambda total, db: np.matmul(np.ones((2, 2)), db, out=total),
    "einsum out": lambda total, db: np.einsum("i,i->i", db, db, out=total),
    "flat": lambda total, db: total.flat.__setitem__(slice(None), db),
    "a memoryview": lambda total, db: memoryview(total).cast("B").__setitem__(slice(8), db.tobytes()[:8]),
    "memmove": lambda total, db: ctypes.memmove(total.ctypes.data, db.tobytes(), total.nbytes),
    "a shuffle": lambda total, db: (np.copyto(total, db), np.random.default_rng(0).shuffle(total)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_reading_a_failing_report_leaves_an_array_as_it_is_whatever_writes_into_it(writer):
    total = np.zeros(2)
    backward = also(lambda dout, cache, gradients: WRITERS[writer](total, gradients[2]))
    report = examined(layer, backward)
    assert np.abs(total).max() > 0
    assert "db" in read(report, total, backward)


def test_reading_a_failing_report_leaves_a_weight_that_must_not_be_written_locked():
    locked = W.copy()
    locked.flags.writeable = False

    def forward(x, b):
        return layer(x, locked, b)

    def backward(dout, cache):
        assert not locked.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            locked[0, 0] = 7.0
        dx, _, db = unsquared(dout, cache)
        return dx, db

    report = examined(forward, backward, (X, B))
    assert "db" in read(report, locked, forward, backward)


def test_reading_a_failing_report_leaves_a_memory_map_and_its_file_as_they_are(tmp_path):
    path = tmp_path / "total"
    total = np.memmap(path, dtype=float, mode="w+", shape=(2,))
    backward = also(lambda dout, cache, gradients: operator.iadd(total, gradients[2]))
    report = examined(layer, backward)
    total.flush()
    before = path.read_bytes()
    assert any(before)
    assert "db" in read(report, total, backward)
    total.flush()
    assert path.read_bytes() == before
    assert type(total) is np.memmap


def test_reading_a_failing_report_leaves_the_arguments_as_they_are_where_the_backward_steps_in_them():
    params = {"W": W.copy(), "b": B.copy()}

    def forward(x, params):
        return layer(x, params["W"], params["b"])

    def backward(dout, cache):
        dx, dW, db = unsquared(dout, cache)
        cache.W[...] -= LEARNING_RATE * dW
        dout *= 1.0
        return dx, {"W": dW, "b": db}

    report = examined(forward, backward, (X, params))
    assert report.broken or any(finding.reason for finding in report.arguments.values())
    assert read(report, X, params)


def test_reading_a_failing_report_does_not_put_back_what_was_trained_since_the_check():
    weights, log = {"W": W.copy()}, []

    def forward(x, b):
        return layer(x, weights["W"], b)

    def backward(dout, cache):
        dx, _, db = unsquared(dout, cache)
        log.append(db)
        return dx, db

    report = examined(forward, backward, (X, B))
    weights["W"][...] += 1.0
    log[:] = ["trained on"]
    assert "db" in read(report, weights, log, forward, backward)
    assert np.array_equal(weights["W"], W + 1.0)
    assert log == ["trained on"]


def test_reading_a_failing_report_leaves_no_recording_in_what_the_forward_keeps():
    kept = {}

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        kept.update(x=x, W=W, b=b, out=out, row=out[0], cache=cache)
        return out, cache

    report = examined(forward, unsquared)
    assert len(kept) == 6
    assert "dW" in read(report, kept, forward)
    assert {type(each) for each in [*map(kept.get, ["x", "W", "b", "out", "row"]), *kept["cache"]]} == {np.ndarray}


# -- random numbers


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.standard_normal(2),  # noqa: NPY002  (the state that all share)
        lambda: random.random(),  # noqa: PLW0108, S311
    ],
    ids=["numpy", "python"],
)
def test_reading_a_failing_report_leaves_the_random_numbers_that_all_share_as_they_are(draw):
    drawn = []
    backward = also(lambda dout, cache, gradients: drawn.append(draw()))
    before = surroundings()
    report = examined(layer, backward)
    assert surroundings() != before
    assert drawn
    assert "dW" in read(report, backward)


@pytest.mark.parametrize(
    "rng",
    [np.random.default_rng(1), random.Random(1)],  # noqa: S311  (no secret)
    ids=["numpy", "python"],
)
def test_reading_a_failing_report_leaves_a_generator_that_the_backward_draws_from_as_it_is(rng):
    before = state_of(rng)
    backward = also(lambda dout, cache, gradients: rng.random())
    report = examined(layer, backward)
    assert state_of(rng) != before
    assert "dW" in read(report, rng, backward)


def test_reading_a_failing_report_of_a_dropout_leaves_its_generator_as_it_is():
    rng = np.random.default_rng(3)

    def forward(x, W, b):
        kept = np.random.default_rng(7).random(b.shape) < 0.9
        out, cache = layer(x, W, b)
        return out * kept, (cache, kept)

    def backward(dout, cache):
        cache, kept = cache
        noise = rng.standard_normal(kept.shape)
        return unsquared(dout * kept + 0 * noise, cache)

    before = state_of(rng)
    report = examined(forward, backward)
    assert state_of(rng) != before
    assert "dW" in read(report, rng, forward, backward)


# -- files: the backward is dangerous on anything but what its forward returned


def test_a_file_that_other_shapes_than_the_given_ones_delete_is_there_after_reading(precious, diary):
    def forward(x, W, b):
        diary((x.shape, W.shape, b.shape))
        if (x.shape, W.shape, b.shape) != SHAPES:
            precious.unlink(missing_ok=True)
        return affine(x, W, b)

    report = examined(forward, averaged)
    assert diary.lines
    assert "db" in read(report, forward)
    assert set(diary.lines) == {str(SHAPES)}


def test_a_file_that_a_cache_of_other_shapes_deletes_is_there_after_reading(precious, diary):
    def backward(dout, cache):
        x, W = cache
        diary((x.shape, W.shape, dout.shape))
        if (x.shape, W.shape, dout.shape) != (X.shape, W.shape, (4, 2)) or x.ndim != 2:
            precious.unlink(missing_ok=True)
        return dout @ W.T, x.T @ dout, dout.mean(axis=0)

    report = examined(affine, backward)
    assert diary.lines
    assert "db" in read(report, backward)
    assert set(diary.lines) == {str((X.shape, W.shape, (4, 2)))}


def test_a_file_that_values_which_no_forward_gave_overwrite_is_as_it_was_after_reading(precious, diary):
    def backward(dout, cache):
        x, W, b, h = cache
        diary("consistent" if np.allclose(h, np.tanh(x @ W + b), rtol=1e-9) else "inconsistent")
        if not np.allclose(h, np.tanh(x @ W + b), rtol=1e-9):
            precious.write_bytes(b"")
        return unsquared(dout, (x, W, h))

    def forward(x, W, b):
        h = np.tanh(x @ W + b)
        return h, (x, W, b, h)

    report = examined(forward, backward)
    assert diary.lines
    assert "dW" in read(report, backward)
    assert set(diary.lines) == {"consistent"}


def test_a_file_that_an_unlikely_branch_deletes_is_there_after_reading(precious, diary):
    debug, least = False, 0.0

    def backward(dout, cache):
        x, W, h = cache
        diary("called")
        if debug or not np.isfinite(h).all() or np.abs(h).max() > 1 or (h * h).sum() < least:
            precious.unlink(missing_ok=True)
        return unsquared(dout, (x, W, h))

    report = examined(layer, backward)
    assert diary.lines
    assert "dW" in read(report, backward)


@pytest.mark.parametrize("pair", [(layer, unsquared), (affine, averaged)], ids=["layer", "affine"])
def test_no_function_of_the_user_is_called_on_another_kind_of_number_while_a_report_is_read(pair, precious, diary):
    forward, backward = pair

    def typed(x, W, b):
        kinds = {str(each.dtype) for each in (x, W, b)}
        diary(kinds)
        if not kinds <= {"float64", str(np.dtype(np.longdouble))}:
            precious.unlink(missing_ok=True)
        return forward(x, W, b)

    report = examined(typed, backward)
    checked = set(diary.lines)
    assert "{'float64'}" in checked
    assert "db" in read(report, typed)
    assert set(diary.lines) == checked


def test_a_count_of_calls_in_a_file_stays_a_count_of_calls(tmp_path, diary):
    count = tmp_path / "count"
    count.write_text("0")

    def backward(dout, cache):
        count.write_text(str(int(count.read_text()) + 1))
        diary((dout.shape, [each.shape for each in cache]))
        return averaged(dout, cache)

    report = examined(affine, backward)
    before = diary.lines
    assert int(count.read_text()) == len(before) > 0
    assert "db" in read(report, backward)
    assert int(count.read_text()) == len(diary.lines)
    assert diary.lines[: len(before)] == before
    assert set(diary.lines) == set(before)


def test_a_statement_is_not_run_more_often_than_the_function_that_it_stands_in(tmp_path, diary):
    charged = Diary(tmp_path / "charged")

    def backward(dout, cache):
        diary("entered")
        x, W, h = cache
        dz = dout * (1 - h)
        charged(dz.shape)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0)

    report = examined(layer, backward)
    assert len(charged.lines) == len(diary.lines) > 0
    assert "dW" in read(report, backward)
    assert len(charged.lines) == len(diary.lines)
    assert set(charged.lines) == {"(4, 2)"}


def test_a_cache_that_must_not_be_copied_is_what_the_backward_is_handed(diary, precious):
    class Only:
        """Deletes a file if there are two of it."""

        __slots__ = ("held",)

        def __init__(self, *held):
            self.held = held

        def _no(self, *args):
            diary("copied")
            precious.unlink(missing_ok=True)
            raise TypeError("there is one of it")

        __copy__ = __deepcopy__ = __reduce_ex__ = __getstate__ = _no

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, Only(cache)

    def backward(dout, cache):
        diary(type(cache) is Only)
        return unsquared(dout, *cache.held)

    report = examined(forward, backward)
    assert diary.lines
    assert "dW" in read(report, forward, backward)
    assert set(diary.lines) == {"True"}


def test_arrays_of_the_cache_that_lie_in_one_another_do_so_while_a_report_is_read(diary, precious):
    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, (cache, cache.h[0], cache.h.T)

    def backward(dout, cache):
        cache, first, turned = cache
        aliased = np.shares_memory(cache.h, first) and np.shares_memory(cache.h, turned)
        diary(aliased)
        if not aliased:
            precious.unlink(missing_ok=True)
        return unsquared(dout, cache)

    report = examined(forward, backward)
    assert diary.lines
    assert "dW" in read(report, forward, backward)
    assert set(diary.lines) == {"True"}


class Mode(enum.Enum):
    """A setting in a cache."""

    TRAIN = 1


def test_what_a_cache_holds_is_itself_while_a_report_is_read(diary, precious):
    missing, held = object(), W.copy()

    def forward(x, b):
        out, cache = layer(x, held, b)
        return out, {"cache": cache, "mode": Mode.TRAIN, "missing": missing, "W": held}

    def backward(dout, cache):
        same = cache["mode"] is Mode.TRAIN and cache["missing"] is missing and cache["W"] is held
        diary(same)
        if not same:
            precious.unlink(missing_ok=True)
        dx, _, db = unsquared(dout, cache["cache"])
        return dx, db

    report = examined(forward, backward, (X, B))
    assert diary.lines
    assert "db" in read(report, forward, backward)
    assert set(diary.lines) == {"True"}


# -- objects that notice being looked at


def test_an_object_that_deletes_a_file_when_it_dies_is_not_copied_by_reading(diary, precious):
    class Owner:
        """Owns a file."""

        def __init__(self):
            self.path, self.total, self.wrong = precious, np.zeros(2), unsquared

        def __del__(self):
            diary("died")
            self.path.unlink(missing_ok=True)

        def pull(self, dout, cache):
            diary("pulled")
            gradients = self.wrong(dout, cache)
            self.total += gradients[2]
            return gradients

    owner = Owner()
    report = examined(layer, owner.pull)
    assert set(diary.lines) == {"pulled"}
    assert "db" in read(report, owner)
    gc.collect()
    assert set(diary.lines) == {"pulled"}
    assert precious.exists()
    owner.path = precious.with_name("nothing")


def test_a_proxy_is_asked_for_nothing_that_its_user_does_not_ask_it_for(diary):
    class Proxy:
        """Gives whatever it is asked for, and remembers."""

        def __getattr__(self, name):
            if not name.startswith("__"):  # Python itself may look for those
                diary(name)
            made = np.ones(2)
            object.__setattr__(self, name, made)
            return made

    proxy = Proxy()
    backward = also(lambda dout, cache, gradients: proxy.scale + proxy.shift)
    report = examined(layer, backward)
    assert {"scale", "shift"} <= set(vars(proxy))
    assert "dW" in read(report, proxy, backward)
    assert set(diary.lines) == {"scale", "shift"}


def test_properties_that_the_backward_does_not_read_are_not_read_by_reading_a_report(diary, precious):
    class Trap:
        """Has a property that nobody should read, and one that counts."""

        def __init__(self):
            self.count = 0

        @property
        def total(self):
            self.count += 1
            return self.count

        @property
        def trap(self):
            diary("sprung")
            precious.unlink(missing_ok=True)
            return np.zeros(2)

    trap = Trap()
    backward = also(lambda dout, cache, gradients: trap.total)
    report = examined(layer, backward)
    assert trap.count > 0
    assert "dW" in read(report, trap, backward)
    assert diary.lines == []


def test_a_class_that_registers_its_subclasses_has_none_more_after_reading():
    registered = []

    class Registry(type):
        """Takes down every class that is made, and every object of it."""

        def __init__(cls, name, bases, body):
            super().__init__(name, bases, body)
            registered.append(name)

        def __call__(cls, *args):
            registered.append("made")
            return super().__call__(*args)

    class Tanh(metaclass=Registry):
        """A layer in static and class methods."""

        @staticmethod
        def forward(x, W, b):
            return layer(x, W, b)

        @classmethod
        def backward(cls, dout, cache):
            x, W, h = cache
            dz = cls.slope(dout, h)
            return dz @ W.T, x.T @ dz, dz.sum(axis=0)

        @staticmethod
        def slope(dout, h):
            return dout * (1 - h)

    tanh = Tanh()
    report = examined(tanh.forward, tanh.backward)
    assert registered == ["Tanh", "made"]
    assert "dW" in read(report, registered, Tanh)
    gc.collect()
    assert Tanh.__subclasses__() == []


def _leaves(*args):
    raise SystemExit("touched")


class Touchy:
    """Ends the program if it is compared, printed, counted or copied."""

    __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __contains__ = __repr__ = __str__ = _leaves
    __hash__ = __copy__ = __deepcopy__ = __reduce_ex__ = __format__ = __getitem__ = __call__ = _leaves


def test_an_object_in_the_cache_that_ends_the_program_when_it_is_touched_does_not_end_it():
    touchy = Touchy()

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, {"cache": cache, "touchy": touchy}

    report = examined(forward, lambda dout, cache: unsquared(dout, cache["cache"]))
    with pytest.raises(SystemExit):
        bool(touchy)
    assert "dW" in read(report)


def test_an_object_that_calls_itself_an_array_and_is_none_leaves_the_verdict():
    class Liar:
        """Says that it is an array."""

        __class__ = np.ndarray  # what isinstance asks for

        def __getattr__(self, name):
            raise GeneratorExit(name)

    liar = Liar()
    assert isinstance(liar, np.ndarray)
    used = []
    backward = also(lambda dout, cache, gradients: used.append(liar is not None))
    report = examined(layer, backward)
    assert used
    said = str(report)
    assert report._repr_html_()
    assert report.verdict is Verdict.FAIL
    assert "dW" in said


def test_an_object_that_turns_into_an_array_is_not_changed_by_reading(diary):
    class Lazy:
        """Becomes an array when it is asked, and counts."""

        def __init__(self, numbers):
            self.numbers, self.asked = numbers, 0

        def __array__(self, dtype=None, copy=None):
            self.asked += 1
            diary(self.numbers.shape)
            return np.array(self.numbers, dtype=dtype)

    lazy = Lazy(np.ones(2))
    backward = also(lambda dout, cache, gradients: np.asarray(lazy) * gradients[2])
    report = examined(layer, backward)
    assert lazy.asked > 0
    assert "db" in read(report, lazy, backward)


class Unit(np.ndarray):
    """An array of the user's own kind that counts what is done with it."""

    done: list = []  # noqa: RUF012  (of the class)

    def __array_finalize__(self, parent):
        self.unit = getattr(parent, "unit", "m")

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        Unit.done.append(ufunc.__name__)
        plain = [each.view(np.ndarray) if isinstance(each, Unit) else each for each in inputs]
        return getattr(ufunc, method)(*plain, **settings)


def test_an_array_of_a_kind_of_the_user_stays_of_that_kind():
    unit = np.ones((4, 2)).view(Unit)
    backward = also(lambda dout, cache, gradients: unit * dout)
    report = examined(layer, backward)
    assert "multiply" in Unit.done
    assert "dW" in read(report, unit, Unit, backward)
    assert (type(unit), unit.unit) == (Unit, "m")


def test_reading_a_failing_report_lets_what_is_held_weakly_live_and_what_it_made_die(diary):
    class Cache:
        """Can be held weakly."""

        def __init__(self, held):
            self.held = held

    held, made, by_name = Slotted(), weakref.WeakSet(), weakref.WeakValueDictionary()
    by_name["held"] = held
    finalizer = weakref.finalize(held, diary, "died")

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        wrapped = Cache(cache)
        made.add(wrapped)
        diary("made")
        return out, wrapped

    report = examined(forward, lambda dout, cache: unsquared(dout, cache.held))
    gc.collect()
    before = len(made)
    assert "dW" in read(report, forward, held)
    gc.collect()
    assert len(made) <= before
    assert by_name["held"] is held
    assert finalizer.alive
    assert set(diary.lines) == {"made"}
    finalizer.detach()


def test_a_frozen_dataclass_that_the_backward_writes_through_is_as_it_was():
    frozen = Frozen(np.zeros(2))

    def counts(dout, cache, gradients):
        object.__setattr__(frozen, "count", frozen.count + 1)
        object.__setattr__(frozen, "total", frozen.total + gradients[2])

    backward = also(counts)
    report = examined(layer, backward)
    assert frozen.count > 0
    assert "db" in read(report, frozen, backward)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.count = 0


# -- what the backward remembers


def test_a_cached_function_remembers_no_other_shapes_and_no_recordings_after_reading():
    @functools.lru_cache(maxsize=8)
    def eye(size):
        return np.eye(size)

    @functools.cache
    def mean(rows, columns):
        return np.full((rows, columns), 1 / rows)

    def backward(dout, cache):
        x, W = cache
        return dout @ W.T, x.T @ dout, (mean(*dout.shape) * dout).sum(axis=0) @ eye(dout.shape[1])

    report = examined(affine, backward)
    before = eye.cache_info().currsize, mean.cache_info().currsize
    assert before == (1, 1)
    kept = eye(2), mean(4, 2)
    assert "db" in read(report, *kept)
    assert (eye.cache_info().currsize, mean.cache_info().currsize) == before
    assert (Itself(eye(2)), Itself(mean(4, 2))) == tuple(map(Itself, kept))


def test_a_memory_of_gradients_by_the_identity_of_the_cotangent_is_as_it_was():
    memory = {}

    def backward(dout, cache):
        if id(dout) not in memory:
            memory[id(dout)] = (dout, unsquared(dout, cache))
        return memory[id(dout)][1]

    report = examined(layer, backward)
    assert memory
    assert "dW" in read(report, memory, backward)


def test_a_cache_that_is_a_generator_is_read_no_further_than_the_backward_reads_it(diary):
    def forever(cache):
        while True:
            diary("asked")
            yield cache

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, forever(cache)

    def backward(dout, cache):
        diary("pulled")
        return unsquared(dout, next(cache))

    report = examined(forward, backward)
    assert diary.lines.count("asked") == diary.lines.count("pulled") > 0
    assert read(report, forward, backward)
    assert diary.lines.count("asked") == diary.lines.count("pulled")


def test_a_stack_that_the_forward_pushes_to_and_the_backward_pops_from_is_as_it_was():
    stack = []

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        stack.append(cache)
        return out, None

    def backward(dout, cache):
        return unsquared(dout, stack[-1] if len(stack) == 1 else stack.pop())

    report = examined(forward, backward)
    assert stack
    assert read(report, stack, forward, backward)


def test_decorators_that_count_are_as_they_were():
    counts = collections.Counter()

    def counted(function):
        @functools.wraps(function)
        def wrapper(*args):
            counts[function.__name__] += 1
            wrapper.last = args
            return function(*args)

        return wrapper

    forward, backward = counted(counted(layer)), counted(unsquared)
    report = examined(forward, backward)
    assert counts["layer"] > counts["unsquared"] > 0
    assert "dW" in read(report, forward, backward, counts)


# -- functions that NumPy does not see through


def _sourceless():
    """Return a backward of which there is no source, as of compiled ones."""
    names = {"LOG": []}
    exec(  # noqa: S102  (a stand-in for a compiled function)
        "def pull(dout, cache):\n"
        "    x, W, h = cache\n"
        "    LOG.append(h)\n"
        "    dz = dout * (1 - h)\n"
        "    return dz @ W.T, x.T @ dz, dz.sum(axis=0)\n",
        names,
    )
    return functools.partial(names["pull"]), names["LOG"]


def test_a_backward_without_source_is_told_of_and_left_as_it_is():
    backward, log = _sourceless()
    report = examined(layer, backward)
    assert log
    assert "dW" in read(report, log, backward)


@pytest.mark.parametrize(
    "slope",
    [np.vectorize(lambda dout, h: dout * (1 - h)), np.frompyfunc(lambda dout, h: dout * (1 - h), 2, 1)],
    ids=["vectorize", "frompyfunc"],
)
def test_functions_of_one_number_are_given_numbers_while_a_report_is_read(slope):
    used = []

    def backward(dout, cache):
        x, W, h = cache
        dz = np.asarray(slope(dout, h), dtype=float)
        used.append(dz)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0)

    report = examined(layer, backward)
    assert used
    assert "dW" in read(report)


def test_calls_of_blas_and_lapack_that_write_where_they_read_leave_what_they_are_given():
    linalg = pytest.importorskip("scipy.linalg")
    total, matrix = np.zeros((3, 2), order="F"), np.asfortranarray(np.eye(2) + 0.1)
    held = matrix.copy(order="F")

    def backward(dout, cache):
        x, W, h = cache
        dz = dout * (1 - h)
        linalg.blas.dgemm(1.0, x.T, dz, beta=1.0, c=total, overwrite_c=1)
        linalg.lapack.dgesv(held, dz.T, overwrite_a=1)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0)

    report = examined(layer, backward)
    assert np.abs(total).max() > 0
    assert not np.array_equal(held, matrix)
    assert "dW" in read(report, total, held, backward)


def test_linear_algebra_and_draws_of_numpy_inside_a_backward_leave_the_verdict():
    used = collections.Counter()

    def forward(A, y):
        out = np.linalg.solve(A, y)
        return out, (A, out)

    def backward(dout, cache):
        A, out = cache
        used["solved"] += 1
        dy = np.linalg.solve(A, dout)
        jitter = np.random.default_rng(5).standard_normal(A.shape)
        return -np.outer(dy, out) + 0 * (np.linalg.inv(A) + jitter), dy

    report = examined(forward, backward, (X[:3] + 3 * np.eye(3), X[3]))
    assert used["solved"] > 0
    assert "dA" in read(report)


def test_a_c_function_that_insists_on_shape_and_kind_is_given_both_or_nothing(diary):
    memmove = ctypes.PYFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 2, ctypes.c_size_t)(("memmove", ctypes.pythonapi))
    strict = np.ctypeslib.ndpointer(dtype=np.float64, ndim=2, shape=(4, 2), flags="C_CONTIGUOUS")
    buffer = np.zeros((4, 2))

    def backward(dout, cache):
        h = cache.h
        h = np.ascontiguousarray(h)
        strict.from_param(h)
        memmove(buffer.ctypes.data, h.ctypes.data, buffer.nbytes)
        diary(np.array_equal(buffer, h))
        return unsquared(dout, cache._replace(h=buffer.copy()))

    report = examined(layer, backward)
    assert set(diary.lines) == {"True"}
    assert "dW" in read(report, buffer)
    assert set(diary.lines) == {"True"}


def test_a_backward_that_accepts_plain_arrays_alone_leaves_the_verdict():
    refused = []

    def backward(dout, cache):
        if not all(type(each) is np.ndarray for each in (dout, *cache)):
            refused.append(1)
            raise TypeError("plain arrays, please")
        return unsquared(dout, cache)

    report = examined(layer, backward)
    assert refused == []
    assert "dW" in read(report, refused, backward)
    with pytest.raises(TypeError, match="plain"):
        backward(np.ones((4, 2)).view(Unit), layer(*POINT)[1])


def test_a_backward_that_takes_another_path_for_other_than_plain_arrays_is_left_as_it_is(precious):
    foreign = []

    def backward(dout, cache):
        _, _, h = cache
        if type(h) is not np.ndarray:
            foreign.append(h)
            return None
        return unsquared(dout, cache)

    report = examined(layer, backward)
    assert foreign == []
    assert "dW" in read(report, foreign, backward)


# -- exceptions that are none


class Left(BaseException):
    """What somebody raises to get out."""


EXITS = {
    "SystemExit": SystemExit(0),
    "GeneratorExit": GeneratorExit(),
    "a skip": pytest.skip.Exception("no GPU"),
    "an expected failure": pytest.xfail.Exception("later"),
    "an exit of pytest": pytest.exit.Exception("enough"),
    "a skip of unittest": unittest.SkipTest("no GPU"),
    "a cancellation": asyncio.CancelledError(),
    "one of the user": Left("out"),
    "StopIteration": StopIteration(),
    "RecursionError": RecursionError("too deep"),
    "MemoryError": MemoryError("too large"),
    "a group": BaseExceptionGroup("two", [SystemExit(1), ValueError("one")]),
}


class Fuse:
    """Does something at one call after it was lit, and at all that follow."""

    def __init__(self, blows):
        self.blows, self.left, self.blown = blows, math.inf, 0

    def __call__(self):
        if self.left <= 0:
            self.blown += 1
            self.blows()
        self.left -= 1


def _raises(error):
    raise error


@pytest.mark.parametrize("later", [0, 2])
@pytest.mark.parametrize("who", ["forward", "backward"])
@pytest.mark.parametrize("name", EXITS)
def test_what_a_function_raises_while_a_report_is_read_does_not_escape(name, who, later):
    fuse = Fuse(functools.partial(_raises, EXITS[name]))

    def forward(x, W, b):
        if who == "forward":
            fuse()
        return layer(x, W, b)

    def backward(dout, cache):
        if who == "backward":
            fuse()
        return unsquared(dout, cache)

    report = examined(forward, backward)
    with pytest.raises(type(EXITS[name])):
        fuse.blows()
    fuse.left = later
    assert "dW" in read(report)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)], ids=["ValueError", "SystemExit"])
def test_what_the_backward_wrote_before_it_raised_while_a_report_is_read_is_put_back(error):
    fuse, total, seen = Fuse(functools.partial(_raises, error)), np.zeros(2), []

    def writes(dout, cache, gradients):
        operator.iadd(total, gradients[2])
        seen.append(gradients)
        fuse()

    report = examined(layer, also(writes))
    assert seen
    assert total.any()
    fuse.left = 0
    assert "dW" in read(report, total, seen)


def test_an_interrupt_from_the_keyboard_ends_the_reading_and_leaves_everything_as_it_is():
    fuse, total = Fuse(functools.partial(_raises, KeyboardInterrupt())), np.zeros(2)

    def interrupted(dout, cache, gradients):
        operator.iadd(total, gradients[2])
        fuse()

    backward = also(interrupted)
    report = examined(layer, backward)
    before, around, names = total.copy(), surroundings(), shared_names()
    fuse.left = 0
    with pytest.raises(KeyboardInterrupt):
        str(report)
    assert np.array_equal(total, before)
    assert surroundings() == around
    assert shared_names().items() >= names.items()
    fuse.left = math.inf
    assert "dW" in str(report)
    assert report.verdict is Verdict.FAIL


def test_a_backward_that_raises_when_it_is_called_again_leaves_the_verdict():
    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, [cache]

    report = examined(forward, lambda dout, cache: unsquared(dout, cache.pop()))
    with pytest.raises(IndexError):
        [].pop()
    assert report.broken
    assert read(report)


def test_an_exit_at_other_shapes_or_values_is_not_reached_by_reading(diary):
    def forward(x, W, b):
        diary((x.shape, W.shape, b.shape))
        if (x.shape, W.shape, b.shape) != SHAPES:
            sys.exit(0)
        return affine(x, W, b)

    report = examined(forward, averaged)
    assert "db" in read(report, forward)
    assert set(diary.lines) == {str(SHAPES)}


def test_a_second_reading_calls_nothing_and_says_the_same(diary):
    backward = also(lambda dout, cache, gradients: diary("pulled"))
    report = examined(layer, backward)
    first = read(report, backward)
    calls = len(diary.lines)
    assert calls > 0
    assert read(report, backward) == first
    assert len(diary.lines) == calls


@pytest.mark.parametrize("hints", [False, "places"])
def test_a_report_without_hints_is_read_without_calling_anything(hints, diary):
    backward = also(lambda dout, cache, gradients: diary("pulled"))
    report = examined(layer, backward, hints=hints)
    before = diary.lines
    assert before
    assert "dW" in read(report, backward)
    assert diary.lines == before


# -- threads, loops and processes


def test_a_lock_that_the_backward_takes_is_free_after_reading():
    lock, fuse = threading.Lock(), Fuse(functools.partial(_raises, SystemExit(0)))

    def backward(dout, cache):
        assert lock.acquire(timeout=1)
        try:
            fuse()
            return unsquared(dout, cache)
        finally:
            lock.release()

    report = examined(layer, backward)
    fuse.left = 3
    assert "dW" in read(report, lock)
    assert not lock.locked()


def _watches(stop, troubles, rounds):
    """Compute with NumPy as others do meanwhile, and note whatever is not as always."""
    names = ("zeros", "array", "asarray", "empty", "ones", "dot", "matmul", "tanh", "exp", "sum", "where", "einsum")
    originals = {name: getattr(np, name) for name in names}
    expected = np.tanh(X @ W)
    while not stop.is_set():
        troubles += [name for name, function in originals.items() if getattr(np, name) is not function]
        results = (np.zeros(3), np.array([1.0]), np.tanh(X @ W), X.T @ X, W.sum(axis=0), np.einsum("ij->i", W))
        troubles += [type(each) for each in results if type(each) is not np.ndarray]
        troubles += [] if np.array_equal(results[2], expected) else ["another result"]
        troubles += [] if np.geterr()["divide"] == "warn" else ["another handling of errors"]
        troubles += [] if sys.gettrace() is sys.getprofile() is None else ["traced"]
        rounds[0] += 1


def test_another_thread_computes_as_always_while_reports_are_read():
    stop, troubles, rounds = threading.Event(), [], [0]
    switching, reports = sys.getswitchinterval(), [examined(layer, unsquared), examined(affine, averaged)]
    other = threading.Thread(target=_watches, args=(stop, troubles, rounds))
    sys.setswitchinterval(1e-5)
    try:
        other.start()
        while rounds[0] < 3:
            time.sleep(0)
        before = rounds[0]
        said = [read(report) for report in reports]
        during = rounds[0] - before
    finally:
        stop.set()
        other.join()
        sys.setswitchinterval(switching)
    assert during > 3
    assert troubles == []
    assert all("db" in each for each in said)
    assert type(layer(*POINT)[0]) is np.ndarray


def test_reports_of_one_backward_that_threads_read_at_once_say_what_one_thread_reads():
    def backward(dout, cache):
        return unsquared(dout, cache)

    expected = read(examined(layer, backward))
    reports = [examined(layer, backward) for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        said = list(pool.map(str, [*reports, reports[0]]))
    assert set(said) == {expected}


def test_a_report_is_read_in_a_thread_that_is_not_the_first_and_none_is_left_over():
    backward = also(lambda dout, cache, gradients: threading.current_thread().name)
    report = examined(layer, backward)
    before = set(threading.enumerate())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert "dW" in pool.submit(read, report, backward).result()
    for thread in set(threading.enumerate()) - before:
        thread.join(GENEROUS)
        assert not thread.is_alive()


def test_a_backward_that_starts_threads_of_its_own_is_told_of():
    parts = {}

    def backward(dout, cache):
        x, W, h = cache
        dz = dout * (1 - h)

        def work(name, function):
            parts[name] = function()

        jobs = {"x": lambda: dz @ W.T, "W": lambda: x.T @ dz, "b": lambda: dz.sum(axis=0)}
        threads = [threading.Thread(target=work, args=job) for job in jobs.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return parts["x"], parts["W"], parts["b"]

    report = examined(layer, backward)
    assert set(parts) == {"x", "W", "b"}
    assert "dW" in read(report)
    assert {type(each) for each in parts.values()} == {np.ndarray}


SCALE = contextvars.ContextVar("SCALE", default=None)


def test_a_context_variable_has_its_value_while_a_report_is_read(diary):
    def backward(dout, cache):
        diary(SCALE.get())
        return unsquared(dout, cache)

    token = SCALE.set("set")
    try:
        report = examined(layer, backward)
        assert "dW" in read(report, backward)
    finally:
        SCALE.reset(token)
    assert set(diary.lines) == {"set"}


def test_a_report_is_read_while_an_event_loop_runs():
    loops = []

    def backward(dout, cache):
        loops.append(asyncio.get_running_loop())
        return unsquared(dout, cache)

    async def main():
        beats = []

        async def beat():
            while True:
                beats.append(1)
                await asyncio.sleep(0)

        heart = asyncio.create_task(beat())
        report = examined(layer, backward)
        await asyncio.sleep(0)
        said, before = read(report), len(beats)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        heart.cancel()
        aside = await asyncio.to_thread(str, examined(affine, averaged))
        return said, len(beats) - before, aside

    said, beaten, aside = asyncio.run(main())
    assert loops
    assert "dW" in said
    assert beaten > 0
    assert "db" in aside


def test_a_socket_that_the_backward_sends_on_is_open_after_reading():
    here, there = socket.socketpair()

    def backward(dout, cache):
        if dout.shape != (4, 2) or cache[0].shape != X.shape:
            here.close()
        here.send(b".")
        return averaged(dout, cache)

    with here, there:
        there.setblocking(False)
        report = examined(affine, backward)
        assert set(there.recv(MEGABYTE)) == {ord(".")}
        assert "db" in read(report, backward)
        here.send(b"!")
        assert there.recv(MEGABYTE).endswith(b"!")


def test_a_process_that_the_backward_asks_answers_after_reading(diary):
    echo = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    with subprocess.Popen(  # noqa: S603  (our own words)
        [sys.executable, "-S", "-c", echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:

        def ask(shape):
            worker.stdin.write(f"{json.dumps(shape)}\n")
            worker.stdin.flush()
            return tuple(json.loads(worker.stdout.readline()))

        def backward(dout, cache):
            diary(ask(dout.shape))
            if dout.shape != (4, 2):
                worker.kill()
            return averaged(dout, cache)

        report = examined(affine, backward)
        assert diary.lines
        assert "db" in read(report)
        assert worker.poll() is None
        assert ask((1, 2, 3)) == (1, 2, 3)
    assert set(diary.lines) == {"(4, 2)"}


def test_a_report_that_is_pickled_says_the_same_in_another_process(tmp_path):
    held = np.zeros(2)
    backward = also(lambda dout, cache, gradients: operator.iadd(held, 1))
    report = examined(layer, backward)
    before = held.copy()
    path = tmp_path / "report"
    path.write_bytes(pickle.dumps(report))
    assert before.all()
    assert np.array_equal(held, before)
    show = "import pickle, sys; r = pickle.load(open(sys.argv[1], 'rb')); print(str(r), len(getattr(r, 'steps', ())))"
    done = subprocess.run(  # noqa: S603  (our own words)
        [sys.executable, "-c", show, str(path)], capture_output=True, text=True, env=_environment(), check=True
    )
    assert done.stdout == f"{read(report, held)} {len(getattr(report, 'steps', ()))}\n"
    assert pickle.loads(pickle.dumps(report)).explanations == report.explanations  # noqa: S301  (our own)


# -- the interpreter


def _nothing(*event):
    """Stand in for a tracer, a profiler, or a handler of errors."""


SWITCHES = {
    "errors of NumPy": lambda: (np.seterr(all="ignore", divide="call"), np.seterrcall(_nothing)),
    "printing": lambda: np.set_printoptions(precision=3),
    "filters of warnings": lambda: warnings.simplefilter("ignore", DeprecationWarning),
    "the profiler": lambda: (sys.setprofile(_nothing), threading.setprofile(_nothing)),
    "the tracer": lambda: (sys.settrace(_nothing), threading.settrace(_nothing)),
    "the collector": gc.disable,
    "the environment": lambda: os.environ.update(SWITCHED_BY="a backward"),
    "the limit of recursion": lambda: sys.setrecursionlimit(4321),
    "the switching of threads": lambda: sys.setswitchinterval(0.25),
}


@contextlib.contextmanager
def _interpreter():
    """Put back what a test sets."""
    recursion, printing, errors = sys.getrecursionlimit(), np.get_printoptions(), np.geterr()
    call, environment, tracer, switching = np.geterrcall(), dict(os.environ), sys.gettrace(), sys.getswitchinterval()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        threading.settrace(None)
        sys.settrace(tracer)
        sys.setswitchinterval(switching)
        gc.enable()
        sys.setrecursionlimit(recursion)
        np.set_printoptions(**printing)
        np.seterr(**errors)
        np.seterrcall(call)
        os.environ.clear()
        os.environ.update(environment)


@pytest.mark.parametrize("switch", SWITCHES)
def test_what_the_backward_switches_in_the_interpreter_is_after_reading_what_it_was_before(switch):
    used = []

    def backward(dout, cache):
        SWITCHES[switch]()
        used.append(switch)
        return unsquared(dout, cache)

    with _interpreter():
        report = examined(layer, backward)
        assert used
        assert "dW" in read(report)


def test_a_tracer_and_a_profiler_of_the_user_stay_and_see_what_they_saw():
    seen = collections.Counter()

    def tracer(frame, event, argument):
        seen[frame.f_code.co_name] += 1

    def profiler(frame, event, argument):
        seen[event] += 1

    with _interpreter():
        sys.settrace(tracer)
        sys.setprofile(profiler)
        report = examined(layer, unsquared)
        checked = seen["unsquared"]
        said = read(report)
        assert Itself(sys.gettrace()) == Itself(tracer)
        assert Itself(sys.getprofile()) == Itself(profiler)
    assert checked > 0
    assert "dW" in said


def test_logging_keeps_its_handlers_and_no_recording_stays_in_a_record():
    records = []

    class Keeper(logging.Handler):
        """Keeps what is logged."""

        def emit(self, record):
            records.append(record)

    log, keeper = logging.getLogger("gradcheck_test_safety"), Keeper()
    log.addHandler(keeper)
    log.setLevel(logging.DEBUG)

    def backward(dout, cache):
        log.debug("h is %s of %s", cache.h, dout.shape)
        return unsquared(dout, cache)

    try:
        report = examined(layer, backward)
        assert records
        assert "dW" in read(report)
        assert (log.handlers, log.level, log.disabled, log.propagate) == ([keeper], logging.DEBUG, False, True)
        assert {type(record.args[0]) for record in records} == {np.ndarray}
        assert {record.args[1] for record in records} == {(4, 2)}
    finally:
        log.removeHandler(keeper)


def test_warnings_of_the_backward_do_not_turn_reading_into_an_error():
    warned = []

    def backward(dout, cache):
        warned.append(1)
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        return unsquared(dout, cache)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            report = examined(layer, backward)
        warnings.simplefilter("error")
        assert warned
        assert "dW" in read(report)


def test_an_open_file_that_the_backward_reads_is_open_and_where_it_was(precious):
    with precious.open("rb") as file:
        read_from = []

        def backward(dout, cache):
            file.seek(0)
            read_from.append(file.read(7))
            if dout.shape != (4, 2):
                file.close()
            return averaged(dout, cache)

        report = examined(affine, backward)
        assert set(read_from) == {b"results"}
        assert "db" in read(report, read_from)
        assert (file.closed, file.tell()) == (False, 7)


def test_a_directory_that_other_shapes_would_change_is_the_same_after_reading(tmp_path, diary):
    def forward(x, W, b):
        diary(x.shape)
        if x.shape != X.shape:
            os.chdir(tmp_path)
        return affine(x, W, b)

    before = Path.cwd()
    try:
        report = examined(forward, averaged)
        assert diary.lines
        assert "db" in read(report, forward)
    finally:
        os.chdir(before)


# -- what could end the process, or never end, has one of its own


def _environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def in_its_own_process(scenario):
    """Run one of the scenarios below; it must come to its end."""
    try:
        done = subprocess.run(  # noqa: S603  (our own words)
            [sys.executable, "-X", "faulthandler", __file__, scenario.__name__],
            capture_output=True,
            text=True,
            env=_environment(),
            timeout=GENEROUS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"{scenario.__name__} did not end within {GENEROUS} s")
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["came to its end"]), done.stdout + done.stderr


def told(report, name="dW"):
    """Read a report whose reading cannot be looked into from the same thread."""
    said = str(report)
    assert report._repr_html_()
    assert isinstance(report.explanations, tuple)
    assert isinstance(getattr(report, "steps", ()), tuple)
    assert report.verdict is Verdict.FAIL
    assert name in said


def leaves_at_other_shapes():
    calls = []

    def forward(x, W, b):
        calls.append(x.shape)
        if (x.shape, W.shape, b.shape) != SHAPES:
            os._exit(7)
        return affine(x, W, b)

    report = examined(forward, averaged)
    assert set(calls) == {X.shape}
    told(report, "db")


def test_a_process_that_other_shapes_would_end_goes_on_after_reading():
    in_its_own_process(leaves_at_other_shapes)


def iterates_until_it_agrees():
    iterated = []

    def forward(x, W, b):
        h = np.tanh(x @ W + b)
        return h, (x, W, b, h)

    def backward(dout, cache):
        x, W, b, h = cache
        while np.linalg.norm(h - np.tanh(x @ W + b)) > 1e-9:
            pass
        iterated.append(1)
        return unsquared(dout, (x, W, h))

    report = examined(forward, backward)
    assert iterated
    told(report)


def test_a_loop_that_ends_for_what_the_forward_gave_ends_while_a_report_is_read():
    in_its_own_process(iterates_until_it_agrees)


def solves_by_iteration():
    iterated = []

    def forward(x, W, b):
        h = np.zeros((len(x), len(b)))
        while np.linalg.norm(step := np.tanh(x @ W + b + 0.1 * h) - h) > 1e-13:
            h = h + step
        return h, (x, W, h)

    def backward(dout, cache):
        x, W, h = cache
        slope, v = 1 - h**2, np.zeros_like(h)
        while np.linalg.norm(step := dout + 0.1 * v * slope - v) > 1e-13 * np.linalg.norm(dout):
            v = v + step
        iterated.append(1)
        dz = v * (1 - h)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0)

    report = examined(forward, backward)
    assert iterated
    told(report)


def test_a_solver_that_stops_by_a_norm_stops_while_a_report_is_read():
    in_its_own_process(solves_by_iteration)


def waits_for_a_lock():
    lock, taken, total = threading.Lock(), [], np.zeros(2)

    def backward(dout, cache):
        with lock:
            taken.append(1)
            return unsquared(dout, cache)

    report = examined(layer, backward)
    assert taken
    with lock:
        told(report)
        assert lock.locked()
    assert not total.any()


def test_a_lock_that_is_held_by_the_reader_does_not_keep_reading_for_ever():
    in_its_own_process(waits_for_a_lock)


def spins():
    while True:
        pass


def computes_for_ever():
    fuse, total = Fuse(spins), np.zeros(2)

    def backward(dout, cache):
        operator.iadd(total, 1)
        fuse()
        return unsquared(dout, cache)

    report = examined(layer, backward)
    assert total.all()
    fuse.left = 0
    started = time.monotonic()
    told(report)
    assert time.monotonic() - started < GENEROUS - 5


def test_a_backward_that_does_not_return_while_a_report_is_read_leaves_the_verdict():
    in_its_own_process(computes_for_ever)


def takes_much_memory():
    rounds = 1

    def backward(dout, cache):
        _, _, h = cache
        total = 0.0
        for _ in range(rounds):
            total = total + np.ones(MEGABYTE) * h[0, 0]
        return unsquared(dout + 0 * np.sum(total), cache)

    report = examined(layer, backward)
    rounds = 120  # of 16 MB each, and more where what is made on the way is kept
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told(report)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 800, f"reading took {grown:.0f} MB"


def test_reading_a_report_of_a_long_backward_keeps_to_its_memory():
    in_its_own_process(takes_much_memory)


def hoards():
    hoard, fuse = [], Fuse(lambda: hoard.append(np.ones((64, MEGABYTE // 8))))

    def backward(dout, cache):
        fuse()
        return unsquared(dout, cache)

    report = examined(layer, backward)
    fuse.left = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (6 * 1024 * MEGABYTE, resource.RLIM_INFINITY))
    told(report)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 1000, f"reading took {grown:.0f} MB"
    assert hoard == []


def test_a_list_of_large_arrays_that_grows_with_every_call_does_not_fill_the_memory():
    in_its_own_process(hoards)


def recurses():
    depth = 200

    def down(dz, left):
        return dz * 1.0 if left == 0 else down(dz * 1.0, left - 1)

    def backward(dout, cache):
        return unsquared(down(dout, depth), cache)

    report = examined(layer, backward)
    limit, depth = sys.getrecursionlimit(), 10**9
    told(report)
    assert sys.getrecursionlimit() == limit
    depth = 600  # which Python allows
    told(examined(layer, backward))


def test_a_backward_that_calls_itself_without_end_while_a_report_is_read_leaves_the_verdict():
    in_its_own_process(recurses)


def reads_memory_as_c_does():
    calls = []

    def backward(dout, cache):
        x, W = cache
        if not (x.dtype == np.float64 and x.shape == X.shape and x.flags.c_contiguous):
            ctypes.string_at(0)  # what C code does that was told another size
        numbers = ctypes.cast(x.ctypes.data, ctypes.POINTER(ctypes.c_double * 12)).contents
        calls.append(sum(numbers))
        return dout @ W.T, x.T @ dout, dout.mean(axis=0)

    def forward(x, W, b):
        out, (x, W) = affine(x, W, b)
        return out, (np.array(x, dtype=np.float64, order="C"), W)

    report = examined(forward, backward)
    assert np.allclose(calls, sum(X.ravel()))
    told(report, "db")


def test_c_code_that_reads_the_memory_of_an_array_reads_what_it_was_told_of():
    in_its_own_process(reads_memory_as_c_does)


def runs_no_source():
    """Listen to what Python says of code that is made or run from text, and of what leaves the process."""
    heard, listening = [], [False]
    made = {"compile", "exec", "code.__new__", "object.__setattr__"}  # a twin shares the code
    outside = {"open", "os.remove", "os.rename", "os.mkdir", "subprocess.Popen", "socket.connect", "shutil.rmtree"}
    outside |= {"sys.settrace", "sys.setprofile", "os.fork", "tempfile.mkstemp", "ctypes.dlopen"}

    def listens(event, args):
        if not listening[0] or event not in made | outside:
            return
        if event == "compile" and args[1] == "<unknown>":
            return  # ast.parse, which makes no code: a sentence quotes an expression
        if event == "object.__setattr__" and args[0] not in (layer, unsquared, affine, averaged):
            return
        if event == "open" and isinstance(args[2], int) and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return  # reads
        heard.append((event, str(args)[:200]))

    sys.addaudithook(listens)
    told(examined(layer, unsquared))  # imports what it needs
    told(examined(affine, averaged), "db")

    def backward(dout, cache):
        x, W, h = cache
        dz = dout * (1 - h * h * h)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0)

    for pair in ((layer, unsquared), (affine, averaged), (layer, backward)):
        report = examined(*pair)
        listening[0] = True
        compile("1", "<listening>", "eval")
        told(report, "db")
        listening[0] = False
    own = [each for each in heard if "<listening>" in each[1]]
    assert [event for event, _ in own] == ["compile"] * 3
    assert heard == own, heard[:9]


def test_reading_a_report_makes_and_runs_no_code_from_text_and_touches_nothing_outside():
    in_its_own_process(runs_no_source)


if __name__ == "__main__":
    {each.__name__: each for each in list(vars().values()) if isinstance(each, types.FunctionType)}[sys.argv[1]]()
    print("came to its end", flush=True)  # noqa: T201  (to the process that started this one)
    os._exit(0)  # also where a function goes on that reading gave up on
