"""What the user's code may take when it runs to be explained, and what it may leave switched. Level 3.

A recording looks at the clock and at the memory at every operation. Code that computes something else for ever is ended
by an exception that is raised in its thread from outside. What waits in C code is not: it comes back by itself.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Budget", "Exceeded", "guarded"]

GRACE = 0.25  # seconds after the end: what looks at the clock itself comes to its end in better order
TURNS = 16  # of a loop, for what is on its way
TIMES = 40  # that it is told to end: a destructor swallows what is raised in it
PATIENCE = 20  # of these times, the moments that a destructor is left to come to its own end,
MOMENT = 0.05  # seconds each: what it swallows is printed


class Exceeded(BaseException):
    """The code took more time or memory than it may; no ``except Exception`` of the user's ends it."""

    def __init__(self, why: str = "too long") -> None:
        super().__init__(why)


class Budget(NamedTuple):
    """What a recording may take: up to a moment of ``time.perf_counter``, and so many bytes of values."""

    until: float = float("inf")
    bytes: int = 512 * 2**20

    @classmethod
    def of(cls, seconds: float) -> Budget:
        """Return the budget of what may take ``seconds`` from now."""
        return cls(time.perf_counter() + seconds)


@contextlib.contextmanager
def guarded(until: float) -> Iterator[None]:
    """Let what runs inside end at a moment of ``time.perf_counter``, and put back what it changed of Python's hooks.

    Raises:
        Exceeded: it did not end by itself.
    """
    hooks = sys.getprofile(), sys.gettrace(), threading.getprofile(), threading.gettrace()
    watch = _Watch(until) if until < float("inf") else None
    try:
        yield
    finally:
        while watch is not None:
            with contextlib.suppress(Exceeded):
                watch.stop()  # what was raised before and has not arrived does so at a turn of a loop
                for _ in range(TURNS):
                    pass
                watch = None
        for put, get, hook in zip(
            (sys.setprofile, sys.settrace, threading.setprofile, threading.settrace),
            (sys.getprofile, sys.gettrace, threading.getprofile, threading.gettrace),
            hooks,
            strict=True,
        ):
            if get() is not hook:
                put(hook)  # type: ignore[arg-type]


class _Watch:
    """A thread that raises ``Exceeded`` in the one that made it, once it is late, unless it is stopped before."""

    def __init__(self, until: float) -> None:
        self._until, self._watched = until, threading.get_ident()
        self._stopped, self._lock = threading.Event(), threading.Lock()
        threading.Thread(target=self._wait, name="gradcheck", daemon=True).start()

    def _wait(self) -> None:
        ended = self._stopped.wait(max(0.0, self._until - time.perf_counter()) + GRACE)
        for turn in range(0 if ended else TIMES):
            swallowed = turn < PATIENCE and _is_swallowed(self._watched)
            with self._lock:
                if self._stopped.is_set():
                    return
                if not swallowed:
                    _raise_in(self._watched, Exceeded)
            if self._stopped.wait(MOMENT if swallowed else GRACE):
                return

    def stop(self) -> None:
        """Raise nothing from now on."""
        self._stopped.set()
        with self._lock:
            pass  # who holds it has raised by now


def _is_swallowed(thread: int) -> bool:
    """Whether what is raised in a thread now ends in a destructor, or in what the collector of garbage calls."""
    called = {getattr(each, "__code__", None) for each in gc.callbacks}
    frame = sys._current_frames().get(thread)  # noqa: SLF001 documented, and the one way to see another thread
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in called:
            return True
        frame = frame.f_back
    return False


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    """Raise in another thread. It is never taken back: after that Python 3.11 hangs in the next traced function."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
