"""Two rules of one function against each other and against the oracle."""

import numpy as np
import pytest

from gradcheck import GradientError, Verdict, check_rules, examine_rules

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3))


def forward(x, W):
    y = np.tanh(x @ W)
    return y, (x, W, y)


def backward(dout, cache):
    x, W, y = cache
    dz = dout * (1 - y * y)
    return dz @ W.T, x.T @ dz


def pushforward(primals, tangents):
    (x, W), (dx, dW) = primals, tangents
    y = np.tanh(x @ W)
    return y, (1 - y * y) * (dx @ W + x @ dW)


def doubled(rule):
    def twice(*args):
        found = rule(*args)
        return (found[0], 2 * found[1])

    return twice


def test_two_right_rules_agree():
    report = check_rules(forward, backward, pushforward, (X, W), seed=0)
    assert report.odd == "The two rules agree with each other."
    assert set(report.arguments) == {"x", "W", "x (pushforward)", "W (pushforward)"}


def test_a_wrong_backward_is_the_odd_one_out():
    report = examine_rules(forward, doubled(backward), pushforward, (X, W), seed=0)
    assert report.contradicted == ("W",)
    assert "the backward is the odd one out, the pushforward and central_difference agree" in report.odd


def test_a_wrong_pushforward_is_the_odd_one_out():
    with pytest.raises(GradientError, match="the pushforward is the odd one out"):
        check_rules(forward, backward, doubled(pushforward), (X, W), seed=0)


def test_rules_that_share_a_mistake_agree_with_each_other_alone():
    def both(dout, cache):
        return tuple(2 * gradient for gradient in backward(dout, cache))

    report = examine_rules(forward, both, doubled(pushforward), (X, W), seed=0)
    assert report.verdict is Verdict.FAIL
    assert "they share a mistake, or belong to another function" in report.odd


def test_rules_that_are_wrong_in_other_ways_contradict_everything():
    report = examine_rules(
        forward, lambda d, c: tuple(3 * g for g in backward(d, c)), doubled(pushforward), (X, W), seed=0
    )
    assert "and both contradict central_difference" in report.odd


def test_complex_rules_are_compared_too():
    z = X + 1j * RNG.standard_normal(X.shape)
    pair = (lambda z: (z**2, z), lambda d, z: 2 * d * z.conj())
    assert examine_rules(*pair, lambda p, t: (p[0] ** 2, 2 * p[0] * t[0]), (z,), seed=0)
    report = examine_rules(*pair, lambda p, t: (p[0] ** 2, 2 * p[0].conj() * t[0]), (z,), seed=0)
    assert "the pushforward is the odd one out" in report.odd


def test_arguments_may_be_given_by_name():
    assert examine_rules(forward, backward, pushforward, {"x": X, "W": W}, seed=0)


def test_rules_of_which_one_breaks_its_contract_are_not_compared():
    report = examine_rules(forward, backward, lambda primals, tangents: primals, (X, W), seed=0)
    assert report.odd == "The two rules were not compared with each other: the pushforward broke its contract."
