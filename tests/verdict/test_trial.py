"""How a pair is run on copies, also where it is so large that only sketches are kept."""

import numpy as np
import pytest

from gradcheck import Verdict, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.verdict.sketch import WHOLE, Sketch
from gradcheck.verdict.trial import Trial, close, run, sketched

SIZE = WHOLE + 17
X = np.random.default_rng(0).standard_normal(SIZE)


def forward(x):
    return np.tanh(x), x


def backward(dout, x):
    return dout * (1 - np.tanh(x) ** 2)


def told(wrong, wrong_forward=forward):
    report = examine_backward(wrong_forward, wrong, (X,), seed=0, hints=False)
    return report.verdict, [*report.broken, report.arguments["x"].reason]


def test_a_large_output_is_kept_as_a_sketch_and_a_small_one_as_a_copy():
    kept = run(forward, backward, Arguments.of(forward, (X,)), np.ones_like).out
    assert isinstance(kept, Sketch)
    small = X[:5]
    out = run(forward, backward, Arguments.of(forward, (small,)), np.ones_like).out
    np.testing.assert_array_equal(out, np.tanh(small))


def test_an_output_is_compared_with_what_was_kept_of_it():
    kept = sketched({"out": np.tanh(X)})["out"]
    assert close(np.tanh(X), kept)
    assert not close(np.tanh(X)[::-1], kept)
    assert not close(np.tanh(X)[:-1], kept)


def test_gradients_are_compared_with_a_factor_times_a_sum():
    trial = Trial(forward, backward, Arguments.of(forward, (X,)), np.tanh(X), np.ones(SIZE), {"x": X})
    plus, total = sketched({"x": X[::-1]}), sketched({"x": 8 * (X + X[::-1])})
    assert list(trial.differing(trial.sketches, total, 8.0, plus)) == []
    assert [path for path, _ in trial.differing(trial.sketches, total, 8.0)] == ["x"]
    assert dict(trial.differing(trial.sketches, {})) == {"x": np.inf}


@pytest.mark.parametrize("seed", range(5))
def test_a_large_right_backward_passes(seed):
    assert examine_backward(forward, backward, (X,), seed=seed).verdict is Verdict.PASS


def test_a_large_cotangent_that_is_written_into_is_named():
    def in_place(dout, x):
        dout *= 1 - np.tanh(x) ** 2
        return dout.copy()

    verdict, sentences = told(in_place)
    assert verdict is Verdict.FAIL
    assert "in_place must not write into the cotangent, but it changed dout. Work on a copy." in sentences


def test_a_large_gradient_that_is_clipped_is_named():
    verdict, sentences = told(lambda dout, x: np.clip(backward(dout, x), -50, 50))
    assert verdict is Verdict.FAIL
    assert any("must be linear in the cotangent" in str(sentence) for sentence in sentences)


def test_a_large_forward_that_is_not_deterministic_is_undecided():
    calls = iter(range(10**6))

    def drifting(x):
        return np.tanh(x) + 1e-4 * next(calls) * np.arange(x.size), x

    report = examine_backward(drifting, backward, (X,), seed=0, hints=False)
    assert report.verdict is not Verdict.PASS
    assert "not deterministic" in str(report)


def test_a_large_gradient_that_accumulates_is_named():
    def fresh(x):
        return np.tanh(x), {"x": x, "dx": np.zeros_like(x)}

    def accumulating(dout, cache):
        cache["dx"] += backward(dout, cache["x"])
        return cache["dx"].copy()

    verdict, sentences = told(accumulating, fresh)
    assert verdict is Verdict.FAIL
    assert any("when it is called again with the same cache" in str(sentence) for sentence in sentences)
