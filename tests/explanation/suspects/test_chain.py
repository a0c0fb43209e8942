"""Wrong derivatives by the entry, of a softmax and of a normalisation are named; what is something else is not."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import chain
from tests.explanation.suspects.pair import evidence_of, normal


def tanh_forward(x):
    out = np.tanh(x)
    return out, (x, out)


def relu_forward(x):
    return np.maximum(0, x), x


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, p


def standardised(x):
    std = np.sqrt(x.var(axis=0) + 1e-5)
    return (x - x.mean(axis=0)) / std, (x, std)


def found(forward, backward, *shapes):
    return list(chain.suspects(evidence_of(forward, backward, normal(0, *shapes), seed=1)))


@pytest.mark.parametrize(
    ("forward", "backward", "mistake"),
    [
        (tanh_forward, lambda dout, cache: dout.copy(), "C1"),
        (relu_forward, lambda dout, x: dout.copy(), "C1"),
        (tanh_forward, lambda dout, cache: dout * (1 - cache[0] ** 2), "C2"),
        (tanh_forward, lambda dout, cache: dout * (1 - np.tanh(cache[1]) ** 2), "C2"),
        (relu_forward, lambda dout, x: dout * (dout > 0), "C2"),
        (tanh_forward, lambda dout, cache: dout * cache[1], "C3"),
        (tanh_forward, lambda dout, cache: dout * (1 - cache[1]), "C3"),
        (softmax, lambda dout, p: dout * p * (1 - p), "C6"),
        (softmax, lambda dout, p: dout * p, "C6"),
        (standardised, lambda dout, cache: dout / cache[1], "C7"),
        (standardised, lambda dout, cache: (dout - dout.mean(axis=0)) / cache[1], "C7"),
    ],
    ids=[
        "tanh missing",
        "relu missing",
        "at the input",
        "tanh of tanh",
        "own sign",
        "output",
        "no square",
        "diagonal",
        "half",
        "both constant",
        "deviation constant",
    ],
)
def test_a_wrong_derivative_is_named_and_undone(forward, backward, mistake):
    suspicions = found(forward, backward, (4, 3))
    assert [(each.mistake, each.arguments) for each in suspicions] == [(mistake, ("x",))]
    assert len(suspicions[0].sentence) <= 200


def test_the_sentence_says_what_is_missing_and_what_to_write():
    (suspicion,) = found(tanh_forward, lambda dout, cache: dout.copy(), (4, 3))
    assert suspicion.sentence == (
        "dx is the upstream gradient as it came: the derivative of tanh is missing. Multiply by 1 - out**2."
    )


@pytest.mark.parametrize(
    "backward",
    [
        lambda dout, cache: np.sin(17 * dout + cache[0]),
        lambda dout, cache: -dout * (1 - cache[1] ** 2),
        lambda dout, cache: 3 * dout * (1 - cache[1] ** 2),
    ],
    ids=["unrelated", "sign", "factor"],
)
def test_a_gradient_that_is_wrong_otherwise_is_not_named(backward):
    assert found(tanh_forward, backward, (4, 3)) == []
