"""Reading a failing report leaves the interpreter as the backward has switched it."""

import collections
import contextlib
import gc
import logging
import os
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.steps.dangers import (
    Itself,
    X,
    affine,
    averaged,
    examined,
    layer,
    read,
    unsquared,
)

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
