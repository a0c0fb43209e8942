import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def benches(monkeypatch):
    """Return a function that imports one of the scripts of the folder by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield __import__
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == FOLDER:
            del sys.modules[name]


def test_a_check_holds_few_arrays_of_the_size_of_its_function(benches):
    memory = benches("memory")
    for pair in memory.PAIRS.values():
        peak = memory.peak_of(pair, 1_000_000)
        assert peak.library < 6.5
        assert peak.function < peak.total < 6.5


def test_what_a_function_allocates_is_counted_as_its_own(benches):
    memory = benches("memory")
    pair = memory.Pair(lambda x: (x + 1, None), lambda dy, _: dy + np.zeros(10 * dy.size)[0], 1)
    peak = memory.peak_of(pair, 100_000)
    assert 10 < peak.function < 12
    assert peak.total > peak.function + 1


def test_the_time_of_a_check_is_told_in_runs_of_its_function(benches):
    memory = benches("memory")
    assert 1 < memory.relative_time(memory.PAIRS["tanh(x)"], 100_000) < 1000


def test_a_median_leaves_out_the_first_call_and_takes_the_clock_it_is_given(benches):
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 29.0])
    calls = []
    assert benches("speed").median_seconds(lambda: calls.append(1), 3, lambda: next(ticks)) == 2.0
    assert len(calls) == 4


def test_a_network_that_computes_something_else_is_refused(benches):
    with pytest.raises(RuntimeError) as raised:
        benches("peers_lenet").must_compute(1.0, abs, (2.0,))
    assert (
        str(raised.value)
        == "<built-in function abs> must return the loss 1.0 of the NumPy network, but it returned 2.0."
    )
