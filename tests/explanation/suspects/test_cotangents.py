"""What a backward gives for another cotangent tells what is too much or left out; a right one says nothing."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import cotangents
from tests.explanation.suspects.pair import evidence_of, normal


def layer(x, W, b):
    return np.tanh(x @ W) + b, (x, W)


def layer_backward(dout, cache, rows=slice(None), decay=0.0, start=0.0):
    x, W = cache
    dz = dout * (1 - np.tanh(x @ W) ** 2)
    return dz @ W.T, x[rows].T @ dz[rows] + decay * W, dout.sum(axis=0) + start


def found(backward, *, forward=layer, args=None):
    args = args or normal(0, (5, 3), (3, 4), (4,))
    return [(each.mistake, each.arguments) for each in cotangents.suspects(evidence_of(forward, backward, args))]


def test_a_decay_that_the_forward_has_not_is_a_regulariser():
    assert found(lambda d, c: layer_backward(d, c, decay=0.3)) == [("D1", ("W",))]


def test_a_sum_that_starts_from_ones_is_accumulated_too_often():
    assert found(lambda d, c: layer_backward(d, c, start=1.0)) == [("E2", ("b",))]


@pytest.mark.parametrize(
    ("rows", "mistake"), [(slice(1, None), "C8"), (slice(-1), "C8"), (slice(1), "E1"), (slice(-1, None), "E1")]
)
def test_samples_that_are_left_out_are_missing_and_one_alone_overwrites(rows, mistake):
    assert found(lambda d, c: layer_backward(d, c, rows)) == [(mistake, ("W",))]


def test_a_cotangent_of_which_all_gradients_use_one_sample_overwrites_nothing():
    def backward(dout, cache):
        only = np.zeros_like(dout)
        only[-1] = dout[-1]
        return layer_backward(only, cache)

    assert found(backward) == [("C8", ("x", "W", "b"))]


def test_a_cotangent_that_is_squared_is_a_wrong_operand():
    assert found(lambda d, z: d * d * np.cos(z), forward=lambda z: (np.sin(z), z), args=normal(1, (3, 4))) == [
        ("B6", ("z",))
    ]


def test_a_loss_without_its_last_sample_lacks_a_term():
    def forward(p, y):
        return ((p - y) ** 2).sum(), (p, y)

    def backward(dout, cache):
        p, y = cache
        d = 2 * dout * (p - y)
        d[-1] = 0
        return d, -2 * dout * (p - y)

    assert found(backward, forward=forward, args=normal(2, (4, 3), (4, 3))) == [("C8", ("p",))]


def test_nothing_is_left_out_where_a_sample_is_wrong_in_another_way():
    def backward(dout, cache):
        dx, dW, db = layer_backward(dout, cache)
        dx[-1] *= 0.5
        return dx, dW, db

    assert found(backward) == []
