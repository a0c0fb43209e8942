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
    report = examine_backward(wrong_forward, wrong, (X,), seed=0)
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


def trial_of(gradient):
    return Trial(forward, backward, Arguments.of(forward, (X,)), np.tanh(X), np.ones(SIZE), {"x": gradient})


def test_gradients_are_compared_with_a_factor_times_a_sum():
    trial = trial_of(X)
    both = {"x": trial.sketches["x"] + sketched({"x": X[::-1]})["x"]}
    total = sketched({"x": 8 * (X + X[::-1])})
    assert list(trial.differing(both, total, 8.0)) == []
    assert [path for path, _ in trial.differing(trial.sketches, total, 8.0)] == ["x"]
    assert dict(trial.differing(trial.sketches, {})) == {"x": np.inf}


def test_what_is_not_finite_differs_from_everything():
    trial = trial_of(X)
    nan = sketched({"x": np.nan * X})
    assert dict(trial.differing(trial.sketches, nan, runs=1e300, levels=("least",))) == {"x": np.inf}


def test_a_difference_is_compared_with_the_rounding_of_so_many_runs():
    trial = trial_of(backward(np.ones(SIZE), X))
    lost = sketched({"x": trial.gradients["x"] + 1e-3})
    assert [path for path, _ in trial.differing(trial.sketches, lost, runs=1, levels=("least",))] == ["x"]
    assert list(trial.differing(trial.sketches, lost, bent=1e-2)) == []
    assert list(trial.differing(trial.sketches, lost, runs=1e15, levels=("least",))) == []
    assert [path for path, _ in trial.differing(trial.sketches, lost)] == ["x"]


def test_the_rounding_of_a_backward_is_measured_in_the_precision_that_it_computes_in():
    single = lambda dout, x: (dout.astype(np.float32) * (1 - np.tanh(x).astype(np.float32) ** 2)).astype(float)  # noqa: E731
    for function, unit in ((backward, 1e-16), (single, 1e-7)):
        trial = Trial(forward, function, Arguments.of(forward, (X[:99],)), None, X[:99], {"x": X[:99]})
        assert unit / 30 < trial.noise["x"] / np.linalg.norm(X[:99]) < 30 * unit


def test_nothing_is_known_of_the_rounding_of_a_backward_that_raises():
    def raising(dout, x):
        raise ValueError

    trial = Trial(forward, raising, Arguments.of(forward, (X[:9],)), None, X[:9], {"x": X[:9]})
    assert trial.noise == trial.sensitivity == {}
    assert isinstance(trial.ask(X[:9]), ValueError)


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

    report = examine_backward(drifting, backward, (X,), seed=0)
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


def test_an_output_without_an_axis_gets_a_cotangent_of_its_own_kind():
    kinds = set()

    def pull(dy, x):
        kinds.add(type(dy))
        return 2 * dy * x

    for out, kind in ((np.array, np.ndarray), (np.float64, np.float64), (float, float)):
        kinds.clear()
        assert examine_backward(lambda x, out=out: (out(np.sum(x * x)), x), pull, (X[:4],), seed=0)
        assert kinds == {kind, float}  # the ones and zeros that a loss hands down are Python's


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_is_compared_as_an_array():
    matrix = np.matrix([[1.0, 2.0]])
    assert close(matrix, matrix)
    assert not close(matrix, 2 * matrix)
