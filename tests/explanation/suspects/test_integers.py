"""A gradient that is summed into an array of whole numbers is told from one that is wrong besides."""

import numpy as np

from gradcheck.explanation.suspects import numbers
from tests.explanation.suspects.pair import evidence_of, normal


def scores(x, table):
    out = np.zeros(len(x))
    for n, row in enumerate(x):
        for k, value in enumerate(row):
            out[n] += value * table[k]
    return out, (x, table)


def summed_backward(dout, cache, sign=1):
    x, table = cache
    dx, dtable = np.zeros(x.shape), np.zeros(table.shape, dtype=int)
    for n, row in enumerate(x):
        for k, value in enumerate(row):
            dx[n, k] += dout[n] * table[k]
            dtable[k] += dout[n] * value + (sign - 1) * dout[n]
    return dx, dtable


def test_a_sum_in_whole_numbers_is_named_though_every_addition_cuts():
    found = next(numbers.suspects(evidence_of(scores, summed_backward, (3 * normal(1, (9, 4))[0], *normal(2, (4,))))))
    assert (found.mistake, found.arguments) == ("H3", ("table",))


def test_a_sum_in_whole_numbers_that_is_wrong_besides_is_not_named():
    evidence = evidence_of(
        scores, lambda dout, cache: summed_backward(dout, cache, sign=-1), (3 * normal(1, (9, 4))[0], *normal(2, (4,)))
    )
    assert [each for each in numbers.suspects(evidence) if each.mistake == "H3"] == []
