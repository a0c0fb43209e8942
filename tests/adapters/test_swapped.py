"""A function whose objects nobody can know runs as it is: its arrays are written into and put back."""

import numpy as np
import pytest

from gradcheck import GradientError, check_backward, from_loss_and_grad


def net(factor=1):
    """Return a loss over arrays of its own, and the dict that holds these arrays."""
    W, b = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([-0.0, 1.0])

    def loss(X, problem=None):
        if problem is not None:
            raise problem
        y = X @ W + b
        return 0.5 * (y**2).sum(), {"W": factor * X.T @ y, "b": y.sum(axis=0)}

    return loss, {"W": W, "b": b}


def held(params):
    return [(key, id(array), array.tobytes()) for key, array in params.items()]


X = np.arange(6.0).reshape(3, 2)


def test_arrays_of_a_plain_function_are_moved_and_put_back_bit_by_bit():
    loss, params = net()
    before = held(params)
    check_backward(*from_loss_and_grad(loss, params=params), (params, X), wrt="params")
    assert held(params) == before
    loss, params = net(factor=2)
    with pytest.raises(GradientError):
        check_backward(*from_loss_and_grad(loss, params=params), (params, X), wrt="params")


@pytest.mark.parametrize("problem", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_arrays_are_put_back_whatever_the_function_raises(problem):
    loss, params = net()
    before = held(params)
    forward, _ = from_loss_and_grad(loss, params=params)
    with pytest.raises(type(problem)):
        forward({"W": np.zeros((2, 2)), "b": np.zeros(2)}, X, problem)
    assert held(params) == before


def test_a_gradient_that_is_the_parameter_itself_keeps_the_value_of_its_call():
    W = np.array([1.0, 2.0])
    forward, backward = from_loss_and_grad(lambda: (0.5 * (W**2).sum(), {"W": W}), params={"W": W})
    loss, cache = forward({"W": np.array([3.0, 4.0])})
    assert loss == 12.5
    np.testing.assert_array_equal(backward(1.0, cache)[0]["W"], [3.0, 4.0])
    np.testing.assert_array_equal(W, [1.0, 2.0])


def test_an_array_that_cannot_hold_the_value_is_exchanged():
    base = np.array([1.0, 2.0])
    params = {"float32": np.ones(2, dtype=np.float32), "one": base, "same": base, "number": 2.0}

    def loss():
        return float(sum(np.sum(each) for each in params.values())), dict.fromkeys(params, 1.0)

    before = dict(params)
    forward, _ = from_loss_and_grad(loss, params=params)
    total, _ = forward({"float32": np.full(2, 0.1), "one": np.zeros(2), "same": np.full(2, 5.0), "number": 1.0})
    assert total == pytest.approx(11.2, abs=1e-15)
    assert all(params[key] is before[key] for key in before)
    np.testing.assert_array_equal(base, [1.0, 2.0])


def test_float32_arrays_that_a_plain_function_keeps_are_refused_as_they_cannot_be_moved_exactly():
    W = np.ones(2, dtype=np.float32)
    params = {"W": W}
    forward, _ = from_loss_and_grad(lambda: (float(W.sum()), {"W": np.ones(2)}), params=params)
    with pytest.raises(ValueError, match="with float64 arrays"):
        forward({"W": np.ones(2)})
