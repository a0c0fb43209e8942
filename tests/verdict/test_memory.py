import itertools

import numpy as np

from gradcheck.verdict.memory import sharing


def test_arrays_that_share_a_number_are_found():
    x, rng = np.arange(12.0).reshape(3, 4), np.random.default_rng(0)
    arrays = {"x": x, "row": x[1], "column": x[:, 2], "even": x.ravel()[::2], "odd": x.ravel()[1::2], "other": x.copy()}
    arrays |= {f"random{i}": x.ravel()[a : a + 3] for i, a in enumerate(rng.integers(0, 10, 6))}
    expected = {(a, b) for a, b in itertools.combinations(arrays, 2) if np.shares_memory(arrays[a], arrays[b])}
    assert set(sharing(arrays.items())) == expected
    assert ("row", "column") in expected
    assert ("even", "odd") not in expected


def test_empty_arrays_share_nothing():
    x = np.ones(3)
    assert list(sharing([("x", x), ("none", x[:0])])) == []


def test_many_arrays_are_not_compared_each_with_each(monkeypatch):
    calls = 0

    def counted(*arrays, count=np.shares_memory):
        nonlocal calls
        calls += 1
        return count(*arrays)

    monkeypatch.setattr(np, "shares_memory", counted)
    assert list(sharing((str(i), np.ones(3)) for i in range(500))) == []
    assert calls == 0
