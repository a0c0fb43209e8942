from operator import attrgetter

import numpy as np
import pytest

from gradcheck.explanation.suspects import regulariser
from tests.explanation.suspects.pair import evidence_of, normal, suspicions
from tests.explanation.suspects.passes import LOSS, loss, loss_forward
from tests.explanation.suspects.wrong_regulariser import REGULARISER


@pytest.mark.parametrize("wrong", REGULARISER, ids=attrgetter("name"))
def test_a_part_of_the_loss_is_named(wrong):
    first = suspicions(evidence_of(wrong.forward, wrong.backward, wrong.args, wrong.wrt))[0]
    assert (first.mistake, first.arguments) == (wrong.mistake, wrong.paths)
    assert first.sentence == wrong.sentence


def two_layers(x, U, V, lam):
    h = np.tanh(x @ U)
    y = h @ V
    return np.sum(y * y) / 2 + lam / 2 * (np.sum(U * U) + np.sum(V * V)), (x, U, V, h, y)


def two_layers_backward(dout, cache):
    x, _, V, h, y = cache
    dy = dout * y
    return x.T @ (dy @ V.T * (1 - h * h)), h.T @ dy


def test_a_regulariser_missing_in_two_layers_is_one_suspicion():
    args = (*normal(1, (5, 3), (3, 4), (4, 2)), 0.07)
    (only,) = regulariser.suspects(evidence_of(two_layers, two_layers_backward, args, ("U", "V")))
    assert (only.mistake, only.arguments) == ("D1", ("U", "V"))
    assert only.sentence == "dU and dV lack lam times the weights, and 0.07 is lam. Add it for the regulariser."


def test_a_regulariser_whose_coefficient_is_nowhere_in_sight_is_named_with_doubt():
    def forward(x, W):
        return np.sum(np.sin(x @ W)) + 0.0123 * np.sum(W * W), (x, W)

    def backward(dout, cache):
        x, W = cache
        return x.T @ (dout * np.cos(x @ W))

    (only,) = regulariser.suspects(evidence_of(forward, backward, normal(2, (5, 3), (3, 4)), "W"))
    assert (only.mistake, only.doubt) == ("D1", 1.0)
    assert only.sentence == "dW lacks 0.0246 * W. Add it for the regulariser."


def test_a_multiple_of_the_samples_is_no_regulariser():
    def forward(x):
        return np.sum(np.sin(x)) + np.sum(x * x), x

    evidence = evidence_of(forward, lambda dout, x: dout * np.cos(x), normal(3, (5, 3)))
    assert evidence.wrong == ("x",)
    assert list(regulariser.suspects(evidence)) == []


def test_an_output_of_many_numbers_has_no_regulariser():
    evidence = evidence_of(lambda W: (np.sin(W) + W, W), lambda dout, W: dout * np.cos(W), normal(4, (3, 4)))
    assert list(regulariser.suspects(evidence)) == []


def test_a_right_loss_has_no_suspects():
    evidence = evidence_of(loss_forward, loss(), LOSS, ("W", "b"))
    assert evidence.wrong == ()
    assert list(regulariser.suspects(evidence)) == []
