"""The backward of a backward: right ones pass, wrong ones fail at their argument."""

import numpy as np
import pytest

from gradcheck import check_backward, examine_backward, from_double_backward

RNG = np.random.default_rng(0)
X, W, D = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2)), RNG.standard_normal((4, 2))


def forward(x, W):
    return x @ W, (x, W)


def backward(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout


def double_backward(dgradients, dout, cache):
    (ddx, ddW), (x, W) = dgradients, cache
    return dout @ ddW.T, ddx.T @ dout, ddx @ W + x @ ddW


def test_the_backward_of_a_backward_passes_with_the_cotangent_among_its_arguments():
    report = check_backward(*from_double_backward(forward, backward, double_backward), (X, W, D), seed=0)
    assert list(report.arguments) == ["x", "W", "dout"]


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_a_wrong_gradient_of_a_gradient_fails_at_its_argument(slot):
    def wrong(dgradients, dout, cache):
        gradients = list(double_backward(dgradients, dout, cache))
        gradients[slot] = 1.01 * gradients[slot]
        return tuple(gradients)

    report = examine_backward(*from_double_backward(forward, backward, wrong), (X, W, D), seed=0)
    assert [str(finding.verdict) == "fail" for finding in report.arguments.values()] == [i == slot for i in range(3)]


def test_a_forward_that_returns_no_pair_is_refused():
    with pytest.raises(TypeError, match=r"must return a pair \(out, cache\)"):
        check_backward(*from_double_backward(lambda x, W: x @ W, backward, double_backward), (X, W, D))


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="must be given a callable double_backward"):
        from_double_backward(forward, backward, None)


def test_a_point_without_the_cotangent_is_told_to_have_it_last():
    def forward(x):
        return x**2, x

    def backward(dout, x):
        return 2 * dout * x

    pair = from_double_backward(forward, backward, lambda ddx, dout, x: (2 * dout * ddx, 2 * x * ddx))
    with pytest.raises(TypeError, match=r"Pass the cotangent as the last one\."):
        check_backward(*pair, (np.ones(3),), seed=0)
