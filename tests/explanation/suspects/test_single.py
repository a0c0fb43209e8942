"""A regulariser of a bias of one entry is told by being the same multiple of it wherever it is."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import regulariser
from tests.explanation.suspects.pair import evidence_of, normal


def logistic(X, w, b, y, decay):
    margin = y * (X @ w + b[0])
    loss = np.log1p(np.exp(-margin)).mean() + 0.5 * decay * (w @ w)
    return loss, (X, w, b, y, margin, decay)


def backward(dout, cache, wrong):
    X, w, b, y, margin, decay = cache
    s = -y / (1 + np.exp(margin)) / len(y)
    return dout * np.outer(s, w), dout * (X.T @ s + decay * w), dout * np.array([wrong(s.sum(), b[0], decay)])


def found(wrong):
    args = (*normal(3, (8, 3), (3,), (1,)), np.array([1, -1, -1, 1, 1, -1, 1, 1]), 0.3)
    evidence = evidence_of(logistic, lambda dout, cache: backward(dout, cache, wrong), args)
    assert evidence.wrong == ("b",)
    return [each.mistake for each in regulariser.suspects(evidence)]


def test_a_decay_of_the_only_bias_is_named():
    assert found(lambda s, b, decay: s + decay * b) == ["D2"]


OTHERS = {
    "a factor": lambda s, b, decay: 1.1 * s,
    "a constant": lambda s, b, decay: s + decay,
    "nothing but the bias": lambda s, b, decay: 2 * b,
}


@pytest.mark.parametrize("wrong", OTHERS.values(), ids=OTHERS.keys())
def test_what_is_no_multiple_of_the_only_bias_is_not_named(wrong):
    assert found(wrong) == []
