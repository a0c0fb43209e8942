import numpy as np
import pytest

from gradcheck import Verdict, check_backward, examine_backward
from gradcheck.verdict.memory import _overlapping

X = np.random.default_rng(0).standard_normal((4, 3))


def remarks(forward, backward, args):
    """Return the remarks of a right backward, which is a failure where remarks are."""
    report = check_backward(forward, backward, args, seed=1)
    strict = examine_backward(forward, backward, args, seed=1, strict=True)
    assert strict.verdict is (Verdict.FAIL if report.remarks else Verdict.PASS)
    return report.remarks


def told(pairs):
    return (f"<lambda> returns memory that is not its own alone: {pairs}. Copy what is written into later.",)


def test_one_array_that_is_returned_twice_is_a_remark():
    assert remarks(lambda a, b: (a + b, None), lambda dout, _: [dout * 1] * 2, (X, X + 1)) == told("db with da")


def test_a_view_of_the_cotangent_is_a_remark():
    assert remarks(lambda a, b: (a + b, None), lambda dout, _: (dout, dout), (X, X + 1)) == told(
        "da with dout, db with dout"
    )
    assert remarks(lambda x: (x.reshape(-1), x.shape), lambda dout, s: dout.reshape(s), (X,)) == told("dx with dout")


def test_a_gradient_that_is_an_argument_or_in_the_cache_is_a_remark():
    doubled = lambda a, b: ((a * b).sum(), (a, b))  # noqa: E731
    same = lambda dout, cache: (cache[1], cache[0]) if dout == 1 else (dout * cache[1], dout * cache[0])  # noqa: E731
    assert remarks(doubled, same, (X, X + 1)) == ()
    kept = {}

    def forward(x):
        kept["ones"] = np.ones_like(x)
        return x.sum(), (kept["ones"], 1.0)

    def backward(dout, cache):
        cache[0][...] = dout
        return cache[0]

    report = check_backward(forward, backward, (X,), seed=1)
    assert report.remarks == (
        "backward returns memory that is not its own alone: dx with cache[0]. Copy what is written into later.",
    )


def test_many_gradients_are_one_remark():
    args = tuple(X + i for i in range(5))
    (remark,) = remarks(lambda *args: (sum(args), None), lambda dout, _: (dout,) * 5, args)
    assert remark.endswith(
        "args[0] with dout, dargs[1] with dout, dargs[2] with dout and 2 more. Copy what is written into later."
    )


def test_parts_of_one_buffer_that_do_not_overlap_are_accepted():
    def halves(dout, _):
        both = np.concatenate([dout, 2 * dout])
        return both[: len(dout)], both[len(dout) :]

    assert check_backward(lambda a, b: (a + 2 * b, None), halves, (X, X + 1)).remarks == ()


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_are_as_good_as_all_pairs(seed):
    rng = np.random.default_rng(seed)
    memory = np.zeros(60)
    arrays = [memory[i : i + n : s] for i, n, s in rng.integers((0, 1, 1), (50, 12, 4), size=(12, 3))]
    named = [(str(i), array) for i, array in enumerate(arrays)]
    shared = {
        str(i) for i in range(6) for j in range(12) if (j < i or j >= 6) and np.shares_memory(arrays[i], arrays[j])
    }
    assert {one for one, _ in _overlapping(named, 6)} == shared
