"""How a check calls the user's functions: counted, so that none ends it unseen, and none keeps it for ever. Level 1."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from gradcheck.arguments import name_of
from gradcheck.errors import NoReturnError, told
from gradcheck.trees import leaves

__all__ = ["Calls", "TookTooLongError", "answering", "raised_inside", "within"]

T = TypeVar("T")
MANY = 12  # arrays that a note lists
RAISED = "gradcheck: raised inside"


class TookTooLongError(Exception):
    """A call of a function of the user's did not return in time; the message says which, and what it was for."""


class _Stopped(BaseException):
    """Ends a check from inside a probe, where an exception would only make a step unusable; ``args`` holds why."""


class Calls:
    """The calls of the user's functions in one check.

    Attributes:
        count: how often the forward has returned.
        purpose: what the calls are for now, in words.
    """

    def __init__(self, progress: Callable[[int, int], None] | None = None, likely: int = 0) -> None:
        self.count = 0
        self.purpose = "what the pair gives at the point"
        self._progress, self._likely = progress, likely
        self._running: tuple[str, float] | None = None  # the function that is being called, and since when
        self._abandoned = False

    def counted(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return the forward with every call counted, and told to ``progress``."""
        called = self.called(forward)

        @functools.wraps(called)
        def counted(*args: Any) -> Any:
            returned = called(*args)
            self.count += 1
            if self.count > self._likely:
                self._likely = max(self._likely + self._likely // 2, self.count)
            if self._progress:
                try:
                    with answering(name_of(self._progress), ()):
                        self._progress(self.count, self._likely)
                except Exception as error:
                    raise _Stopped(error) from error
            return returned

        return counted

    def called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of the user's of which every call returns or raises an error that is not green."""
        who = name_of(function)

        @functools.wraps(function)
        def called(*args: Any) -> Any:
            before, self._running = self._running, (who, time.monotonic())
            try:
                with answering(who, args):
                    return function(*args)
            finally:
                self._running = before
                if self._abandoned:
                    raise _Stopped

        called.__name__ = who
        return called

    def overdue(self, seconds: float) -> str | None:
        """Return which function has been running for longer than ``seconds``."""
        running = self._running
        return running[0] if running and time.monotonic() - running[1] > seconds else None

    def abandon(self) -> None:
        """Let the check end as soon as the function returns that is being called."""
        self._abandoned = True


class answering:  # a context manager, and no generator: it is entered at every call
    """Turn what would make a test, or the exit code of a script, green or undecided into an error.

    Whether a check can be made, a test decides before it, and not what is checked by a skip, an expected failure or an
    exit. KeyboardInterrupt passes, and so does a failure of pytest's, by which a time limit may end the test. Where
    ``args`` are given, what passes is the user's: it carries a note of the call of ``who`` with them.

    Raises:
        NoReturnError: instead of these.
    """

    __slots__ = ("args", "who")

    def __init__(self, who: str, args: tuple[Any, ...] | None = None) -> None:
        self.who, self.args = who, args

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt | _Stopped):
            return
        if _hides(error):
            raise NoReturnError(
                f"{self.who} must return, but it raised {told(error)}. Decide before the check whether it can be made."
            ) from error
        of_house = type(error).__module__.partition(".")[0] == __package__
        if self.args is not None and not of_house and not raised_inside(error):
            error.add_note(f"{RAISED} {self.who}, called with {_arrays(self.args)}.")


def raised_inside(error: BaseException) -> bool:
    """Whether a function of the user's raised an error, and not the check itself."""
    return any(note.startswith(RAISED) for note in getattr(error, "__notes__", ()))


def _arrays(args: tuple[Any, ...]) -> str:
    found = [f"{path} {leaf.shape}" for path, leaf in leaves(args, "args") if isinstance(leaf, np.ndarray)]
    if len(found) > MANY:
        found = [*found[: MANY - 1], f"{len(found) - MANY + 1} more"]
    return ", ".join(found) or "no arrays"


def _hides(error: BaseException) -> bool:
    """Whether what was raised would not be seen as an error by those who run the code."""
    unittest, pytest = (sys.modules.get(name) for name in ("unittest", "pytest"))
    if unittest and isinstance(error, unittest.SkipTest):
        return True
    if pytest and isinstance(error, pytest.fail.Exception | pytest.exit.Exception):
        return isinstance(error, pytest.xfail.Exception | pytest.exit.Exception)
    return not isinstance(error, Exception)


def within(seconds: float | None, calls: Calls, work: Callable[[], T]) -> T:
    """Return ``work()``, unless one of the calls in it does not return within ``seconds``; None waits for ever.

    The work is done in a thread of its own, in a copy of the caller's context. A thread cannot be ended from outside:
    the one that is left goes on until the function that it is in returns, and ends then; it does not keep the process
    from ending.

    Raises:
        TookTooLongError: a call did not return in time.
    """
    if seconds is None:
        return _ended(work)
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def worked() -> None:
        try:
            done.put((_ended(work), None))
        except BaseException as error:  # noqa: BLE001  (it is raised by whoever waits)
            done.put((None, error))

    threading.Thread(target=contextvars.copy_context().run, args=(worked,), name="gradcheck", daemon=True).start()
    try:
        while True:
            with contextlib.suppress(queue.Empty):
                result, error = done.get(timeout=seconds / 10)
                break
            if late := calls.overdue(seconds):
                raise TookTooLongError(f"{late} did not return within {seconds:g} s, called for {calls.purpose}")
    finally:
        calls.abandon()
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # there is no error


def _ended(work: Callable[[], T]) -> T:
    """Return ``work()``, or raise what stopped it."""
    try:
        with answering("examine_backward"):
            return work()
    except _Stopped as stopped:
        (error,) = stopped.args or (stopped,)
    raise error
