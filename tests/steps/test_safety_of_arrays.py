"""Reading a failing report leaves the arrays that functions hold as they are."""

import array
import collections
import ctypes
import functools
import operator
import types
from typing import NamedTuple

import numpy as np
import pytest

from tests.steps.dangers import (
    LEARNING_RATE,
    POINT,
    B,
    Frozen,
    Itself,
    Slotted,
    W,
    X,
    also,
    examined,
    layer,
    read,
    unsquared,
)

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
