"""A rule that is no derivative of its forward says what it is meant to be."""

import numpy as np
import pytest

from gradcheck import examine_backward

RNG = np.random.default_rng(0)
X = RNG.standard_normal(4) * 3


def test_a_straight_through_estimator_claims_the_derivative_of_its_surrogate():
    pair = (lambda x: (np.round(x), None), lambda d, _: d.copy())
    assert not examine_backward(*pair, (X,), seed=0)
    assert examine_backward(*pair, (X,), seed=0, surrogate=lambda x: x)
    report = examine_backward(pair[0], lambda d, _: 1.1 * d, (X,), seed=0, surrogate=lambda x: x)
    assert not report
    assert "surrogate=surrogate" in report.replay


def test_a_reversed_gradient_claims_the_derivative_of_its_negative():
    pair = (lambda x: (x.copy(), None), lambda d, _: -0.5 * d)
    assert examine_backward(*pair, (X,), seed=0, surrogate=lambda x: -0.5 * x)


def test_a_surrogate_of_another_shape_is_refused():
    pair = (lambda x: (np.round(x), None), lambda d, _: d.copy())
    with pytest.raises(ValueError, match=r"must return what .* returns as out"):
        examine_backward(*pair, (X,), surrogate=np.sum)


S = RNG.standard_normal((3, 3))
S = S + S.T + 6 * np.eye(3)


def logdet(a):
    return np.linalg.slogdet(a)[1] + a[0, 1] ** 2, a


def symmetrised(d, a):
    g = np.linalg.inv(a).T.copy()
    g[0, 1] += 2 * a[0, 1]
    return d * (g + g.T) / 2


def test_a_symmetrised_gradient_is_right_under_the_projection_and_wrong_without():
    def sym(g):
        return (g + g.T) / 2

    assert not examine_backward(logdet, symmetrised, (S,), seed=0)
    assert examine_backward(logdet, symmetrised, (S,), seed=0, projection=sym)
    assert not examine_backward(logdet, lambda d, a: 2 * symmetrised(d, a), (S,), seed=0, projection=sym)


def test_a_riemannian_gradient_on_the_sphere_is_right_under_its_projection():
    x, M = X / np.linalg.norm(X), RNG.standard_normal((4, 4))

    def forward(x, M):
        return x @ M @ x, (x, M)

    def backward(d, cache):
        x, M = cache
        g = (M + M.T) @ x
        return d * (g - x * (x @ g)), d * np.outer(x, x)

    onto = {"x": lambda g: g - x * (x @ g)}
    assert examine_backward(forward, backward, (x, M), seed=0, projection=onto)
    assert not examine_backward(forward, backward, (x, M), seed=0)


@pytest.mark.parametrize(
    ("projection", "error", "said"),
    [
        (lambda g: 2 * g, ValueError, "must be an orthogonal one"),
        ({"y": lambda g: g}, ValueError, "must name what moves"),
        ({"x": 3}, TypeError, "that of x is the int 3"),
    ],
)
def test_what_is_no_projection_is_refused(projection, error, said):
    with pytest.raises(error, match=said):
        examine_backward(lambda x: (x.copy(), None), lambda d, _: d.copy(), (X,), projection=projection)


def test_of_several_arguments_it_must_be_said_which_is_projected():
    with pytest.raises(ValueError, match="must say whose gradient"):
        examine_backward(lambda x, y: (x * y, (x, y)), lambda d, c: (d * c[1], d * c[0]), (X, X), projection=np.copy)


def test_a_hermitian_matrix_has_a_projection_of_complex_arrays():
    a = RNG.standard_normal((3, 3)) + 1j * RNG.standard_normal((3, 3))

    def forward(a):
        return (np.abs(a) ** 2).sum(), a

    def hermitian(g):
        return (g + g.conj().T) / 2

    assert examine_backward(forward, lambda d, a: d * (a + a.conj().T), (a,), seed=0, projection=hermitian)
    assert not examine_backward(forward, lambda d, a: 2 * d * a, (a,), seed=0, projection=hermitian)
