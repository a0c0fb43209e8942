"""A table of connections is found where it is in sight, however large; signs are found in an array."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import signs, tables
from tests.explanation.suspects.pair import evidence_of, normal

TABLE = np.random.default_rng(5).random((9, 9)) < 0.5


def linked(x, K, table):
    return np.einsum("ncu,fcu,fc->nf", x, K, table), (x, K, table)


def linked_backward(dout, cache, table):
    x, K, right = cache
    dK = np.einsum("nf,ncu->fcu", dout, x)
    return np.einsum("nf,fcu,fc->ncu", dout, K, right), dK * table[:, :, None]


def found(table):
    args = (*normal(1, (3, 9, 2), (9, 9, 2)), TABLE)
    evidence = evidence_of(linked, lambda d, c: linked_backward(d, c, table), args, wrt=("x", "K"))
    return [each.mistake for each in tables.suspects(evidence)]


@pytest.mark.parametrize("table", [np.ones((9, 9)), ~TABLE, TABLE.T], ids=["ignored", "inverted", "transposed"])
def test_a_table_that_is_not_applied_as_in_the_forward_is_named(table):
    assert found(table) == ["F5"]


def test_another_table_is_not_named():
    assert found(np.roll(TABLE, 1, axis=1)) == []


def loss(p, y):
    return 0.5 * ((p - y) ** 2).sum(), p - y


def test_a_modulus_is_named_by_the_array_that_has_the_signs():
    evidence = evidence_of(loss, lambda d, r: (abs(d * r), -d * r), normal(3, (3, 4), (3, 4)))
    assert [(each.mistake, each.arguments) for each in signs.suspects(evidence)] == [("C3", ("p",))]


def test_a_gradient_that_is_positive_and_wrong_in_size_is_no_modulus():
    evidence = evidence_of(loss, lambda d, r: ((d * r) ** 2, -d * r), normal(3, (3, 4), (3, 4)))
    assert list(signs.suspects(evidence)) == []
