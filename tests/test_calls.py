"""No function of the user's ends a check unseen, or keeps it for ever."""

import contextvars
import functools
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

import numpy as np
import pytest

from gradcheck import Verdict, check_backward, examine_backward
from gradcheck.errors import NoReturnError

ROOT = Path(__file__).resolve().parent.parent
X = np.array([1.0, 2.0, -0.5])


def forward(x):
    return np.sin(x), x


def backward(dy, x):
    return dy * np.cos(x)


class Left(BaseException):
    """What somebody raises to get out."""


GREEN = {
    "Skipped: no GPU": lambda: pytest.skip("no GPU"),
    "XFailed: later": lambda: pytest.xfail("later"),
    "SkipTest: no GPU": lambda: unittest.TestCase().skipTest("no GPU"),
    "Exit: enough": lambda: pytest.exit("enough", returncode=0),
    "SystemExit: 0": lambda: sys.exit(0),
    "SystemExit": sys.exit,
    "GeneratorExit": lambda: (_ for _ in ()).throw(GeneratorExit),
    "Left": lambda: (_ for _ in ()).throw(Left),
}


def raised(said, who):
    """Return a function that raises, and the message that the check has for that."""

    def raising(*_):
        GREEN[said]()

    raising.__name__ = who
    return raising, f"{who} must return, but it raised {said}. Decide before the check whether it can be made."


@pytest.mark.parametrize("said", GREEN)
@pytest.mark.parametrize("timeout", [None, 60])
def test_what_would_be_green_is_an_error_at_the_point_itself(said, timeout):
    for who in ("forward", "backward"):
        raising, message = raised(said, who)
        pair = (raising, backward) if who == "forward" else (forward, raising)
        with pytest.raises(NoReturnError) as caught:
            examine_backward(*pair, (X,), timeout=timeout)
        assert str(caught.value) == message
        assert type(caught.value.__cause__).__name__ == said.partition(":")[0]


@pytest.mark.parametrize("said", GREEN)
def test_what_would_be_green_is_a_step_that_is_not_usable_in_a_probe(said):
    def edged(x):
        if x[0] > 1.0:
            GREEN[said]()
        return forward(x)

    assert examine_backward(edged, backward, (X,), seed=0).verdict is not Verdict.FAIL


@pytest.mark.parametrize("said", GREEN)
def test_what_would_be_green_breaks_a_law(said):
    calls = iter(range(100))

    def once(dy, x):
        if next(calls):
            GREEN[said]()
        return backward(dy, x)

    report = examine_backward(forward, once, (X,), seed=0)
    assert report.verdict is Verdict.FAIL
    assert report.broken == (
        "once must give the same gradients when it is called again with the same cache, but it raised NoReturnError. "
        "Leave the cache as it is.",
    )


@pytest.mark.parametrize("said", GREEN)
def test_what_would_be_green_is_an_error_in_progress(said):
    raising, message = raised(said, "progress")
    with pytest.raises(NoReturnError) as caught:
        examine_backward(forward, backward, (X,), progress=raising)
    assert str(caught.value) == message


@pytest.mark.parametrize("said", GREEN)
def test_what_would_be_green_is_an_error_in_an_oracle(said):
    raising, message = raised(said, "oracle")
    with pytest.raises(NoReturnError) as caught:
        examine_backward(forward, backward, (X,), oracle=raising)
    assert str(caught.value) == message


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.fail.Exception])
@pytest.mark.parametrize("after", [0, 1, 5, 15])
@pytest.mark.parametrize("timeout", [None, 60])
def test_an_interrupt_and_a_time_limit_of_pytest_stop_at_once(error, after, timeout):
    calls = []

    def interrupted(x):
        calls.append(x)
        if len(calls) > after:
            raise error
        return forward(x)

    with pytest.raises(error):
        examine_backward(interrupted, backward, (X,), timeout=timeout)
    assert len(calls) == after + 1


@pytest.mark.parametrize("after", [1, 5, 15])
def test_what_progress_raises_stops_at_once(after):
    told = []

    def progress(count, most):
        told.append(most)
        if count == after:
            raise LookupError("cancelled")

    with pytest.raises(LookupError, match="cancelled"):
        examine_backward(forward, backward, (X,), progress=progress)
    assert len(told) == after


def test_a_script_whose_function_exits_does_not_end_with_success():
    program = (
        "import sys, numpy as np, gradcheck\n"
        "gradcheck.check_backward(lambda x: sys.exit(0), lambda d, _: d, (np.ones(3),))"
    )
    result = subprocess.run(  # noqa: S603  (our own Python and program)
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith(
        "<lambda> must return, but it raised SystemExit: 0. Decide before the check whether it can be made."
    )


# -- a time limit


def report_of(pair, timeout=0.5):
    report = examine_backward(*pair, (X,), timeout=timeout, seed=0)
    assert report.verdict is Verdict.INCONCLUSIVE
    return report.arguments["x"].reason


def stuck(when, function, let_go):
    """Return a function that does not return where ``when`` holds for its first argument, until it is let go."""

    @functools.wraps(function)
    def stays(first, *rest):
        while when(first) and not let_go.is_set():
            time.sleep(0.001)
        return function(first, *rest)

    return stays


@pytest.fixture
def let_go():
    event = threading.Event()
    yield event
    event.set()


LATE = (
    "{} did not return within 0.5 s, called for {}. Raise timeout=, or look for a loop that ends by the size of its "
    "numbers."
)


def test_a_call_that_does_not_return_is_undecided_and_says_what_it_was_for(let_go):
    always = stuck(lambda _: True, forward, let_go), backward
    large = forward, stuck(lambda dy: np.abs(dy).max() > 15, backward, let_go)
    beside = stuck(lambda x: 0 < abs(x[0] - 1) < 1e-2, forward, let_go), backward
    assert report_of(always) == LATE.format("forward", "what the pair gives at the point")
    assert report_of(large) == LATE.format("backward", "the laws of behaviour")
    assert report_of(beside) == LATE.format("forward", "a probe of the gradients")


def test_the_thread_that_is_left_ends_with_the_call(let_go):
    before = threading.enumerate()
    report_of((stuck(lambda _: True, forward, let_go), backward))
    (left,) = (thread for thread in threading.enumerate() if thread not in before)
    assert left.daemon
    let_go.set()
    left.join(60)
    assert not left.is_alive()


def test_a_check_that_returns_in_time_is_the_same():
    plain, timed = (examine_backward(forward, backward, (X,), seed=0, timeout=limit) for limit in (None, 60))
    assert plain.arguments == timed.arguments
    assert "timeout=60" in timed.replay


def test_what_is_raised_in_the_thread_reaches_the_caller():
    def raising(x):
        raise LookupError("not here")

    with pytest.raises(LookupError, match="not here"):
        check_backward(raising, backward, (X,), timeout=60)


def test_the_thread_sees_the_context_of_the_caller():
    scale = contextvars.ContextVar("scale", default=1.0)
    scale.set(2.0)

    def scaled(x):
        return scale.get() * np.sin(x), x

    check_backward(scaled, lambda dy, x: 2.0 * dy * np.cos(x), (X,), timeout=60)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_time_limit_must_be_positive(timeout):
    with pytest.raises(ValueError) as caught:
        examine_backward(forward, backward, (X,), timeout=timeout)
    assert str(caught.value) == (
        f"timeout must be a positive number of seconds, but it is {timeout}. Leave it out to wait for ever."
    )


def test_a_failure_of_pytests_and_what_progress_raises_carry_a_note():
    def failing(_x):
        pytest.fail("too slow")

    def progress(_calls, _likely):
        raise KeyError

    with pytest.raises(pytest.fail.Exception) as caught:
        examine_backward(failing, backward, (X,))
    assert caught.value.__notes__ == ["gradcheck: raised inside failing, called with args[0] (3,)."]
    with pytest.raises(KeyError) as caught:
        examine_backward(forward, backward, (X,), progress=progress)
    assert caught.value.__notes__ == ["gradcheck: raised inside progress, called with no arrays."]


def test_a_note_lists_no_more_than_a_few_arrays():
    def failing(*_xs):
        raise KeyError

    with pytest.raises(KeyError) as caught:
        examine_backward(failing, backward, (X,) * 20)
    assert caught.value.__notes__[0].endswith("args[10] (3,), 9 more.")
