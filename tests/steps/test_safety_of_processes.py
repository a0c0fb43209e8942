"""Reading a failing report ends neither the process nor never: each scenario has a process of its own."""

import ctypes
import operator
import os
import resource
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest

from gradcheck import Verdict
from tests.steps.dangers import (
    GENEROUS,
    MEGABYTE,
    SHAPES,
    Fuse,
    X,
    affine,
    averaged,
    environment,
    examined,
    layer,
    unsquared,
)


def in_its_own_process(scenario):
    """Run one of the scenarios below; it must come to its end."""
    try:
        done = subprocess.run(  # noqa: S603  (our own words)
            [sys.executable, "-X", "faulthandler", __file__, scenario.__name__],
            capture_output=True,
            text=True,
            env=environment(),
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
