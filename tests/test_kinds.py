"""A rule of another kind than the one that is checked is told which check takes it."""

import numpy as np
import pytest

from gradcheck import check_backward, check_jacobian, check_pushforward

X = np.arange(1.0, 4.0)


def function(x):
    return np.sin(x)


def forward(x):
    return np.sin(x), x


def backward(dout, x):
    return dout * np.cos(x)


def pushforward(primals, tangents):
    (x,), (dx,) = primals, tangents
    return np.sin(x), np.cos(x) * dx


def jacobian(x):
    return np.diag(np.cos(x))


@pytest.mark.parametrize(
    ("check", "of", "rule", "right"),
    [
        (check_backward, forward, pushforward, "check_pushforward"),
        (check_backward, function, pushforward, "check_pushforward"),
        (check_backward, function, jacobian, "check_jacobian"),
        (check_pushforward, forward, backward, "check_backward"),
        (check_pushforward, function, jacobian, "check_jacobian"),
        (check_jacobian, forward, backward, "check_backward"),
        (check_jacobian, function, pushforward, "check_pushforward"),
    ],
)
def test_a_rule_of_another_kind_is_told_where_to_go(check, of, rule, right):
    with pytest.raises(TypeError, match=f"{check.__name__} must be given a rule of its kind, .* Pass it to {right}"):
        check(of, rule, (X,), seed=0)


def test_a_backward_of_two_arguments_is_no_jacobian():
    def product(x, w):
        return x * w, (x, w)

    def gradients(dout, cache):
        x, w = cache
        return dout * w, dout * x

    with pytest.raises(TypeError, match="Pass it to check_backward"):
        check_jacobian(product, gradients, (X, X[::-1].copy()), seed=0)


def test_what_is_of_no_kind_is_told_what_it_raised():
    def broken(dout, x):
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        check_backward(forward, broken, (X,), seed=0)
