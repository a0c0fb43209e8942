"""Reading a failing report runs what NumPy does not see through, and survives what is raised."""

import asyncio
import collections
import ctypes
import functools
import math
import operator
import sys
import unittest

import numpy as np
import pytest

from gradcheck import Verdict
from tests.steps.dangers import (
    POINT,
    SHAPES,
    Fuse,
    Unit,
    X,
    affine,
    also,
    averaged,
    examined,
    layer,
    raising,
    read,
    shared_names,
    surroundings,
    unsquared,
)

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


@pytest.mark.parametrize("later", [0, 2])
@pytest.mark.parametrize("who", ["forward", "backward"])
@pytest.mark.parametrize("name", EXITS)
def test_what_a_function_raises_while_a_report_is_read_does_not_escape(name, who, later):
    fuse = Fuse(functools.partial(raising, EXITS[name]))

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
    fuse, total, seen = Fuse(functools.partial(raising, error)), np.zeros(2), []

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
    fuse, total = Fuse(functools.partial(raising, KeyboardInterrupt())), np.zeros(2)

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
