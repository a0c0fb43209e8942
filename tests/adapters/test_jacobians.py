import numpy as np
import pytest

from gradcheck import check_backward, check_shapes, examine_backward, from_hessian_vector_product, from_jacobian
from gradcheck.adapters.jacobians import blocks_of

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 3))
X = RNG.standard_normal(3)


def gradient(x, a=1.0):
    return a * x**3


def test_a_matrix_is_a_pair_for_whatever_takes_one():
    pair = from_jacobian(np.sin, lambda x: np.diag(np.cos(x)))
    assert check_shapes(*pair, "x: N", seed=0, examples=8)


def test_the_block_of_a_single_number_is_a_row_or_a_column():
    out, names, args = np.array(3.0), ("x",), (X,)
    for matrix in (X, X[None], X[:, None].T):
        ((path, name, block),) = blocks_of("J", matrix, out, names, args)
        assert (path, name, block.rows, block.columns) == ("out", "x", (), (3,))
        assert np.array_equal(block.pulled(np.array(2.0)), 2 * X)


def test_a_diagonal_is_pulled_back_by_element():
    ((_, _, block),) = blocks_of("J", X, X, ("x",), (X,))
    assert block.is_diagonal
    assert np.array_equal(block.pulled(np.ones(3)), X)
    assert np.array_equal(block.column(1), [0, X[1], 0])


def test_a_hessian_vector_product_is_the_pullback_of_the_gradient():
    assert check_backward(*from_hessian_vector_product(gradient, lambda x, v: 3 * x**2 * v), (X,), seed=0)
    assert not examine_backward(*from_hessian_vector_product(gradient, lambda x, v: 3 * x * v), (X,), seed=0)


def test_further_arguments_of_a_product_follow_the_vector():
    pair = from_hessian_vector_product(gradient, lambda x, v, a: a * 3 * x**2 * v)
    assert check_backward(*pair, (X, 2.0), seed=0)


@pytest.mark.parametrize("functions", [(None, gradient), (gradient, 3)])
def test_what_cannot_be_called_is_refused(functions):
    for adapter in (from_jacobian, from_hessian_vector_product):
        with pytest.raises(TypeError, match="must be given a callable"):
            adapter(*functions)
