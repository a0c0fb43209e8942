"""What becomes of a survey at sizes at which there is little to see, or that the forward does not take."""

import itertools

import numpy as np
import pytest

from gradcheck import check_shapes, examine_shapes, point
from gradcheck.errors import InconclusiveError
from gradcheck.shapes.sizes import rounds, smaller
from gradcheck.shapes.specification import specified
from gradcheck.survey.examples import Pair


def log_softmax(x):
    e = np.exp(x - x.max(1, keepdims=True, initial=-np.inf))
    return np.log(e / e.sum(1, keepdims=True)), e / e.sum(1, keepdims=True)


def log_softmax_backward(dy, p):
    return (dy - p * dy.sum(1, keepdims=True),)


def test_points_at_which_nothing_moves_decide_nothing_and_are_told():
    report = examine_shapes(log_softmax, log_softmax_backward, "x: N K", seed=0, examples=12)
    assert report
    blank = [each for each in report.examples if each.verdict == "inconclusive"]
    assert {each.sizes["K"] for each in blank} == {1}
    told = f"  {len(blank)} points say nothing of a gradient, which has no effect there, as at N=1, K=1."
    assert told in str(report).splitlines()


def test_a_gradient_that_has_no_effect_at_any_point_is_undecided_still():
    report = examine_shapes(log_softmax, log_softmax_backward, "x: N K; K in 1", seed=0, examples=5)
    assert report.verdict == "inconclusive"
    assert "Found at point 1 of 5." in str(report)


def test_a_forward_that_takes_no_point_is_never_called_right():
    def forward(x):
        raise ValueError(f"no {x.ndim} axes")

    report = examine_shapes(forward, log_softmax_backward, "x: N K", seed=0, examples=5)
    assert report.verdict == "inconclusive"
    assert report.arguments["x"].reason == "forward raised at 5 of 5 points"
    with pytest.raises(InconclusiveError):
        check_shapes(forward, log_softmax_backward, "x: N K", seed=0, examples=5)


def test_a_forward_that_is_not_finite_on_empty_arrays_does_not_take_them():
    def forward(x, w):
        return (x * w).mean(0), (x, w)

    def backward(dy, cache):
        x, w = cache
        return np.tile(dy * w / max(len(x), 1), (len(x), 1)), (x * dy).mean(0)

    report = examine_shapes(forward, backward, "x: N D, w: D", seed=0, examples=40)
    assert report, report
    assert any(each.verdict == "refused" for each in report.examples if each.sizes["N"] == 0)
    assert not report.refusals


def test_integers_alone_may_be_empty_where_the_output_is():
    def embedding(E, ids):
        return E[ids], (E.shape, ids)

    def backward(dy, cache):
        shape, ids = cache
        if not ids.size:
            raise ValueError("need at least one word")
        dE = np.zeros(shape)
        np.add.at(dE, ids, dy)
        return (dE,)

    spec = specified("E: V, ids: N int < V")
    example = Pair(embedding, backward, spec, {}).examine({"V": 3, "N": 0}, 0)
    assert example.report.arguments["E"].reason == "backward raised ValueError: need at least one word"


def test_an_output_that_is_empty_although_no_argument_is_shows_nothing():
    pair = Pair(lambda x: (x[:0], len(x)), lambda _dy, n: (np.zeros(n),), specified("x: N"), {})
    with pytest.raises(ValueError, match="must return at least one number"):
        pair.examine({"N": 3}, 0)


def test_a_failure_of_empty_arrays_is_made_smaller_and_stays_empty():
    def backward(dy, _cache):
        if not len(dy):
            raise ValueError("need at least one row")
        return (2 * dy,)

    report = examine_shapes(lambda x: (2 * x, None), backward, "x: N D; D >= 2", seed=0)
    assert not report
    assert report.place == {"N": 0, "D": 2}
    assert report.needs.rules == ("N = 0",)
    assert "It fails only where N = 0: of " in str(report)


@pytest.mark.parametrize(("on_empty", "told"), [(0.0, "N ≥ 2: of "), (1.0, "N ≥ 2, empty arrays apart: of ")])
def test_rules_of_a_failure_of_full_arrays_leave_out_empty_ones_only_where_these_fail(on_empty, told):
    def backward(dy, w):
        return 2 * dy[::-1], (np.zeros(1) if len(dy) else np.full(1, on_empty))

    report = examine_shapes(lambda x, w: (2 * x, w), backward, "x: N, w: 1", wrt=("x", "w"), seed=0)
    assert not report
    assert report.needs.rules == ("N ≥ 2",)
    assert f"It fails only where {told}" in str(report)


def test_a_setting_of_zero_is_no_empty_array():
    def backward(dy, pad):
        return (dy[pad:-pad].copy(),)

    report = examine_shapes(lambda x, pad: (np.pad(x, pad), pad), backward, "x: N, pad in 2 0", seed=0)
    assert not report
    assert report.place == {"N": 1, "pad": 0}
    assert report.needs.rules == ("pad = 0",)
    assert "It fails only where pad = 0: of " in str(report)


def test_a_block_of_32_does_not_hold_every_batch():
    spec = specified("x: N D")
    drawn = list(itertools.islice(rounds(spec, np.random.default_rng(0)), 100))
    assert {name for name in spec.sizes for _, sizes in drawn if sizes[name] > 32} == {"N", "D"}
    tried = [sizes["N"] for sizes in smaller(spec, {"N": 33, "D": 1}, "N")]
    assert tried == [*range(1, 17), 25, 29, 31, 32]


def test_integers_below_an_empty_size_are_refused_with_the_rule():
    with pytest.raises(ValueError, match="values between 0 and K only where these leave room"):
        point("labels: N int < K, W: K", N=2, K=0)
    assert point("labels: N int < K, W: K", N=0, K=0)[0].shape == (0,)


def test_distinct_integers_of_which_there_are_too_few_are_refused_with_the_rule():
    with pytest.raises(ValueError, match="distinct values only where there are enough below K"):
        point("ids: N int < K distinct, W: K", N=3, K=2)


def test_an_argument_may_be_called_as_a_rule_is():
    values, scale, lower = point("x: N > 0, scale: N, lower in True False", N=2, lower=False)
    assert values.shape == scale.shape == (2,)
    assert lower is False


def test_a_power_that_is_no_size_is_refused_at_once():
    with pytest.raises(ValueError, match="OverflowError"):
        point("x: N**N**N", N=9)
