"""Blocks in the wrong order or of the wrong size are named, and other permutations are not."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import shapes
from tests.explanation.suspects.pair import evidence_of, normal


def pooled(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 3, 3).mean(axis=(3, 5)), None


def upsampled(x):
    return np.tile(x, (1, 1, 2, 2)) ** 3, x


def named(forward, backward, shape):
    evidence = evidence_of(forward, backward, normal(0, shape))
    return [each.mistake for each in shapes.suspects(evidence)]


@pytest.mark.parametrize(
    ("spread", "mistake"),
    [
        (lambda g: np.tile(g, (1, 1, 2, 3)), "B1"),
        (lambda g: np.tile(g.repeat(2, axis=2), (1, 1, 1, 3)), "B1"),
        (lambda g: g.repeat(3, axis=2).repeat(2, axis=3), "F4"),
        (lambda g: np.kron(g, np.ones((2, 1))), "F2"),
        (lambda g: g, "F2"),
    ],
    ids=["tiled", "one axis tiled", "exchanged", "one axis", "not at all"],
)
def test_what_a_mean_spreads_is_read_from_its_blocks(spread, mistake):
    assert named(pooled, lambda d, _: spread(d / 6), (2, 2, 4, 9)) == [mistake]


def test_shares_of_a_window_that_differ_are_no_matter_of_order():
    def backward(dout, _):
        g = (dout / 6).repeat(2, axis=2).repeat(3, axis=3)
        g[..., ::3] *= 2
        return g

    assert named(pooled, backward, (2, 2, 4, 9)) == []


@pytest.mark.parametrize(
    ("backward", "mistake"),
    [(lambda d, _: d[::-1], "F1"), (lambda d, _: d[:, ::-1], "F1"), (lambda d, _: np.roll(d, -1, axis=0), "F3")],
    ids=["rows", "columns", "rolled"],
)
def test_rows_and_columns_that_are_reversed_or_moved_are_told(backward, mistake):
    assert named(lambda x: (x + 1, None), backward, (4, 3)) == [mistake]


def test_rows_in_a_random_order_have_no_name():
    assert named(lambda x: (x + 1, None), lambda d, _: d[[2, 0, 3, 1]], (4, 3)) == []
