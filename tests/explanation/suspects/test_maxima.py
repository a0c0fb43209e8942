"""Who gets the gradient of a maximum, and the sum in a softmax, are read from the claimed gradient."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import chain, maxima
from tests.explanation.suspects.pair import evidence_of, normal


def pooled(x):
    n, h, w = x.shape[0], x.shape[2] // 2, x.shape[3] // 3
    tiles = x.reshape(n, 1, h, 2, w, 3).transpose(0, 1, 2, 4, 3, 5).reshape(n, 1, h, w, 6)
    return tiles.max(axis=-1), tiles


def pooled_backward(share):
    def backward(dout, tiles):
        n, _, h, w, _ = tiles.shape
        given = share(tiles) * dout[..., None]
        return given.reshape(n, 1, h, w, 2, 3).transpose(0, 1, 2, 4, 3, 5).reshape(n, 1, 2 * h, 3 * w)

    return backward


def hot(place):
    return np.eye(6)[place]


@pytest.mark.parametrize(
    ("share", "mistake"),
    [
        (np.ones_like, ["C1"]),
        (lambda tiles: np.ones_like(tiles) / 6, ["C3"]),
        (lambda tiles: 1 - hot(tiles.argmax(axis=-1)), ["C3"]),
        (lambda tiles: hot(tiles.argmin(axis=-1)), ["C3"]),
        (lambda tiles: hot((tiles.argmax(axis=-1) + 1) % 6), ["F3"]),
        (lambda tiles: hot(tiles.argmax(axis=-1))[..., [0, 2, 4, 1, 3, 5]], ["F4"]),
        (lambda tiles: hot(tiles.argmax(axis=-1))[..., ::-1], ["F1"]),
        (lambda tiles: hot(tiles.argmax(axis=-1)) + 0.1, []),
    ],
    ids=["all", "mean", "losers", "smallest", "next", "by columns", "across", "other"],
)
def test_the_share_of_each_entry_of_a_window_names_the_mistake(share, mistake):
    evidence = evidence_of(pooled, pooled_backward(share), normal(0, (2, 1, 4, 9)))
    assert [each.mistake for each in maxima.suspects(evidence)] == mistake


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True), e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (lambda v, p: p * (v - (p * v).mean(axis=1, keepdims=True)), ["A2"]),
        (lambda v, p: p * (v - (p * v).sum(axis=0, keepdims=True)), ["B4"]),
        (lambda v, p: p * (v - (p * v).sum()), ["B4"]),
        (lambda v, p: p * (v + (p * v).sum(axis=1, keepdims=True)), ["A1"]),
        (lambda v, p: v - (p * v).sum(axis=1, keepdims=True), ["C6"]),
        (lambda v, p: p * (1 - p) * (v - (p * v).sum(axis=1, keepdims=True)), ["C6"]),
        (lambda v, p: p * (v - 0.3 * (p * v).sum(axis=1, keepdims=True)), []),
    ],
    ids=["mean", "other axis", "everything", "added", "no factor", "twice", "other"],
)
def test_the_sum_of_a_softmax_and_its_factor_are_told_apart(wrong, mistake):
    evidence = evidence_of(softmax, wrong, normal(0, (5, 4)))
    assert [each.mistake for each in chain.suspects(evidence)] == mistake
