"""What is wrong with the labels of a loss is told from its parts."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import targets
from tests.explanation.suspects.pair import evidence_of, normal

Y = np.array([2, 0, 3, 1, 2])
ROWS = np.arange(5)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def fused(z, y):
    p = softmax(z)
    return -np.log(p[ROWS, y]).mean(), (p, y)


def named(forward, backward, args):
    return [each.mistake for each in targets.suspects(evidence_of(forward, backward, args))]


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (lambda p, hot: p, ["C8"]),
        (lambda p, hot: -hot, ["C8"]),
        (lambda p, hot: p + hot, ["A1"]),
        (lambda p, hot: p - 5 * hot, ["A2"]),
        (lambda p, hot: p - np.roll(hot, 1, axis=1), ["B6"]),
        (lambda p, hot: p - np.eye(4, k=-1)[Y], ["B6"]),
        (lambda p, hot: p * (p - hot), []),
    ],
    ids=["p alone", "labels alone", "added", "not averaged", "off by one", "beyond the classes", "other"],
)
def test_scores_are_compared_with_probabilities_minus_labels(wrong, mistake):
    def backward(dout, cache):
        p, y = cache
        return dout * wrong(p, np.eye(4)[y]) / 5

    assert named(fused, backward, (*normal(0, (5, 4)), Y)) == mistake


def likelihood(p, y):
    return -np.log(p[ROWS, y]).sum(), (p, y)


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (lambda q, hot: -hot, ["C1"]),
        (lambda q, hot: -hot * q, ["C3"]),
        (lambda q, hot: -1 / q, ["B6"]),
        (lambda q, hot: -np.roll(hot / q, 1, axis=1), ["B6"]),
        (lambda q, hot: -hot / (q + 1), []),
    ],
    ids=["no derivative", "product", "every class", "off by one", "other"],
)
def test_probabilities_have_a_gradient_at_the_labels_alone(wrong, mistake):
    def backward(dout, cache):
        p, y = cache
        return dout * wrong(p, np.eye(4)[y])

    p = np.random.default_rng(1).uniform(0.1, 1, (5, 4))
    assert named(likelihood, backward, (p, Y)) == mistake
