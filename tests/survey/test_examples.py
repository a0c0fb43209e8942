"""What becomes of one point: its verdict alone is that of the whole check, and empty arrays warn of nothing."""

import threading
import warnings

import pytest

from gradcheck.shapes.specification import specified
from gradcheck.survey.examples import Pair


def halved(x):
    if len(x) == 7:
        raise ValueError("not seven")
    return x / 2, x


def backward(dy, x):
    if len(x) == 5:
        raise IndexError("five")
    return (dy / 2 if len(x) != 3 else dy,)


@pytest.mark.parametrize(("size", "verdict"), [(2, "pass"), (3, "fail"), (5, "fail"), (7, "refused"), (0, "pass")])
def test_the_verdict_alone_is_that_of_the_whole_check(size, verdict):
    pair = Pair(halved, backward, specified("x: N"), {})
    assert (pair.examine({"N": size}, 0).verdict, pair.verdict({"N": size}, 0)) == (verdict, verdict)


def test_a_remark_fails_the_verdict_where_the_check_is_strict():
    pair = Pair(lambda x: (x + 1, None), lambda dy, _: (dy,), specified("x: N"), {"strict": True})
    assert pair.verdict({"N": 2}, 0) == pair.examine({"N": 2}, 0).verdict == "fail"


def test_a_verdict_that_takes_too_long_is_none():
    held = threading.Event()

    def waiting(dy, _cache):
        held.wait(5)
        return (2 * dy,)

    pair = Pair(lambda x: (2 * x, None), waiting, specified("x: N"), {"timeout": 0.02})
    assert pair.verdict({"N": 2}, 0) == "inconclusive"
    held.set()


def scored(x):
    warnings.warn("Mean of empty slice", RuntimeWarning, stacklevel=2)
    return 2 * x, None


def test_a_warning_is_shown_but_where_arrays_are_empty_on_purpose():
    pair = Pair(scored, lambda dy, _: (2 * dy,), specified("x: N"), {})
    filters = list(warnings.filters)
    with pytest.warns(RuntimeWarning, match="empty slice"):
        pair.examine({"N": 2}, 0)
    assert pair.examine({"N": 0}, 0).verdict == "pass"
    assert warnings.filters == filters
