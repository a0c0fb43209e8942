from operator import attrgetter

import numpy as np
import pytest

from gradcheck.explanation.suspects import shapes
from tests.explanation.suspects.pair import evidence_of, normal, suspicions
from tests.explanation.suspects.passes import LAYER, SQUARE, layer, layer_forward
from tests.explanation.suspects.wrong_shapes import SHAPES


@pytest.mark.parametrize("wrong", SHAPES, ids=attrgetter("name"))
def test_an_order_a_slot_or_a_sum_is_named(wrong):
    first = suspicions(evidence_of(wrong.forward, wrong.backward, wrong.args, wrong.wrt))[0]
    assert (first.mistake, first.arguments) == (wrong.mistake, wrong.paths)
    assert first.sentence == wrong.sentence


def test_two_transposed_gradients_are_one_suspicion():
    def forward(x, U, V):
        return x @ U + np.tanh(x @ V), (x, np.tanh(x @ V), U, V)

    def backward(dout, cache):
        x, h, U, V = cache
        dz = dout * (1 - h * h)
        return dout @ U.T + dz @ V.T, dout.T @ x, dz.T @ x

    (only,) = shapes.suspects(evidence_of(forward, backward, normal(1, (5, 4), (4, 4), (4, 4))))
    assert (only.mistake, only.arguments) == ("B1", ("U", "V"))
    assert only.sentence == (
        "dU and dV are the transpose of the true gradients. Transpose it, or exchange the two factors of its product."
    )


def test_three_gradients_in_each_others_place_are_one_cycle():
    def forward(a, b, c):
        return np.sin(a) + b**2 + np.exp(c), (a, b, c)

    def backward(dout, cache):
        a, b, c = cache
        return dout * np.exp(c), dout * np.cos(a), dout * 2 * b

    (only,) = shapes.suspects(evidence_of(forward, backward, normal(2, (3, 4), (3, 4), (3, 4))))
    assert (only.mistake, only.arguments) == ("B5", ("a", "b", "c"))
    assert only.sentence == (
        "da holds the gradient of c; db holds the gradient of a; dc holds the gradient of b. "
        "Return them in the order of the arguments: da, db, dc."
    )


def test_a_gradient_returned_for_two_arguments_is_no_exchange():
    """One is right, and the other a copy of it: a term may be missing just as well."""

    def forward(a, b):
        return a + 3 * b + b * b, b

    evidence = evidence_of(forward, lambda dout, b: (dout, dout), normal(3, (3, 4), (3, 4)))
    assert not [each for each in shapes.suspects(evidence) if each.mistake == "B5"]


def test_a_sum_that_cancels_compares_nothing():
    """The cotangents of a softmax sum to zero: then a sum over the wrong axis cannot be told from others."""

    def forward(x, b):
        z = x + b
        e = np.exp(z - z.max(axis=1, keepdims=True))
        s = e / e.sum(axis=1, keepdims=True)
        return s, s

    def backward(dout, s):
        dz = s * (dout - (dout * s).sum(axis=1, keepdims=True))
        return dz, np.full(4, dz.sum())

    assert list(shapes.suspects(evidence_of(forward, backward, normal(4, (5, 4), (4,))))) == []


def test_a_symmetric_matrix_hides_a_transpose():
    def forward(W):
        return np.sum(W * W) / 2, W

    W = SQUARE[1] + SQUARE[1].T
    evidence = evidence_of(forward, lambda dout, W: dout * W.T, (W,))
    assert evidence.wrong == ()
    assert list(shapes.suspects(evidence)) == []


def test_a_shape_without_any_of_the_numbers_is_not_named():
    evidence = evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, np.cos(dW.T), db)), LAYER)
    assert evidence.wrong == ("W",)
    assert list(shapes.suspects(evidence)) == []
