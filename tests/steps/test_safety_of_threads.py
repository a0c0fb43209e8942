"""Reading a failing report keeps to its thread, its loop and its process."""

import asyncio
import concurrent.futures
import contextvars
import functools
import json
import operator
import pickle
import socket
import subprocess
import sys
import threading
import time

import numpy as np

from tests.steps.dangers import (
    GENEROUS,
    MEGABYTE,
    POINT,
    Fuse,
    W,
    X,
    affine,
    also,
    averaged,
    environment,
    examined,
    layer,
    raising,
    read,
    unsquared,
)

# -- threads, loops and processes


def test_a_lock_that_the_backward_takes_is_free_after_reading():
    lock, fuse = threading.Lock(), Fuse(functools.partial(raising, SystemExit(0)))

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
        [sys.executable, "-c", show, str(path)], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == f"{read(report, held)} {len(getattr(report, 'steps', ()))}\n"
    assert pickle.loads(pickle.dumps(report)).explanations == report.explanations  # noqa: S301  (our own)
