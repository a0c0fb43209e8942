"""What people take for a mistake is recognised in a right backward, and only there."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import right
from tests.explanation.suspects.pair import evidence_of, normal


def sigmoid_forward(x):
    out = 1 / (1 + np.exp(-x))
    return out, out


def softmax_loss(x, y):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean(), (p, y)


def softmax_loss_backward(dout, cache):
    p, y = cache
    d = p.copy()
    d[np.arange(len(y)), y] -= 1
    return dout * d / len(y)


def half_square(y, target):
    d = y - target
    return 0.5 * np.sum(d**2), d


def scaled(x):
    return 0.6 * x, None


def relu(x):
    return np.maximum(x, 0), x


def sentences(forward, backward, args):
    return [each.sentence for each in right.suspects(evidence_of(forward, backward, args, seed=1))]


@pytest.mark.parametrize(
    ("forward", "backward", "args", "said"),
    [
        (
            sigmoid_forward,
            lambda dout, s: dout * s * (1 - s),
            normal(0, (4, 3)),
            "dx is dout times out * (1 - out): the derivative of the sigmoid, written in its output. "
            "Keep it: no further derivative belongs there.",
        ),
        (
            softmax_loss,
            softmax_loss_backward,
            (*normal(0, (4, 3)), np.array([0, 2, 1, 1])),
            "dx is cache[0] minus the targets: softmax and cross-entropy together. "
            "Keep it: the Jacobian of the softmax is in it already.",
        ),
        (
            half_square,
            lambda dout, d: (dout * d, -dout * d),
            normal(0, (4, 3), (4, 3)),
            "dy is cache without a factor 2. Keep it: the half in the loss cancels the 2 of the square's derivative.",
        ),
        (
            scaled,
            lambda dout, cache: 0.6 * dout,
            normal(0, (4, 3)),
            "dx is dout times 0.6. Keep it: the forward does just that here, as a dropout does at test time.",
        ),
        (
            relu,
            lambda dout, x: dout * (x > 0),
            (np.array([[0.0, 1, -1], [2, 0, -3]]),),
            "dx takes the slope 0 of the ReLU at exactly 0. Keep it: every number from 0 to 1 is right there.",
        ),
    ],
    ids=["output", "fused", "half", "test time", "kink"],
)
def test_a_right_form_that_looks_wrong_is_explained(forward, backward, args, said):
    assert sentences(forward, backward, args)[0] == said


def test_of_a_wrong_gradient_nothing_is_called_right():
    assert sentences(sigmoid_forward, lambda dout, s: dout * s, normal(0, (4, 3))) == []


def test_of_a_plain_gradient_nothing_is_said():
    assert (
        sentences(lambda x, W: (x @ W, (x, W)), lambda d, c: (d @ c[1].T, c[0].T @ d), normal(0, (4, 3), (3, 2))) == []
    )
