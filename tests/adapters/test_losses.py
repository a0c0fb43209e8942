import collections
import inspect

import numpy as np
import pytest

from gradcheck import GradientError, check_backward, examine_backward
from gradcheck.adapters import from_loss_and_grad, from_value_and_gradient


def svm_loss(x, y):
    rows = np.arange(len(y))
    margins = np.maximum(0, x - x[rows, y][:, None] + 1)
    margins[rows, y] = 0
    dx = (margins > 0).astype(float)
    dx[rows, y] -= dx.sum(axis=1)
    return margins.sum() / len(y), dx / len(y)


def ridge(W, X, y, reg):
    residual = X @ W - y
    return (residual**2).mean() + reg * (W**2).sum(), 2 * X.T @ residual / residual.size + 2 * reg * W


class Net:
    """CS231n's form: the parameters live in a dict of the object."""

    def __init__(self, rng):
        self.params = {"W": rng.normal(size=(3, 2)).astype(np.float32), "b": np.zeros(2, dtype=np.float32)}
        self.fails = False

    def loss(self, X, y):
        if self.fails:
            raise RuntimeError("no loss today")
        residual = X @ self.params["W"] + self.params["b"] - y
        return 0.5 * (residual**2).sum(), {"b": residual.sum(axis=0), "W": X.T @ residual}


def rng():
    return np.random.default_rng(0)


def message(error):
    return str(error.value)


def test_a_gradient_of_the_first_argument_passes_beside_integer_labels():
    pair = from_loss_and_grad(svm_loss)
    assert list(check_backward(*pair, (rng().normal(size=(5, 3)), np.array([0, 1, 2, 1, 0]))).arguments) == ["x"]


def test_a_gradient_of_one_of_two_float_arrays_passes_with_wrt():
    args = (rng().normal(size=(3, 2)), rng().normal(size=(5, 3)), rng().normal(size=(5, 2)), 0.1)
    assert list(check_backward(*from_loss_and_grad(ridge), args, wrt="W").arguments) == ["W"]


def test_a_wrong_gradient_fails():
    def halved(x, y):
        loss, dx = svm_loss(x, y)
        return loss, dx / 2

    with pytest.raises(GradientError):
        check_backward(*from_loss_and_grad(halved), (rng().normal(size=(5, 3)), np.array([0, 1, 2, 1, 0])))


def test_the_pair_keeps_the_names_of_the_function_and_its_arguments():
    forward, backward = from_loss_and_grad(ridge)
    assert (forward.__name__, backward.__name__) == ("ridge", "ridge")
    assert list(inspect.signature(forward).parameters) == ["W", "X", "y", "reg"]


def test_the_backward_scales_by_the_cotangent_and_keeps_the_precision():
    forward, backward = from_loss_and_grad(lambda x: (x.sum(), np.ones_like(x)))
    grads = backward(np.array(0.5), forward(np.ones(2, dtype=np.float32))[1])
    assert grads.dtype == np.float32
    np.testing.assert_array_equal(grads, [0.5, 0.5])


def test_an_earlier_cache_survives_a_later_call_that_reuses_its_buffer():
    buffer = np.zeros(2)

    def reusing(x):
        buffer[:] = 2 * x
        return (x**2).sum(), buffer

    forward, backward = from_loss_and_grad(reusing)
    _, cache = forward(np.array([1.0, 2.0]))
    forward(np.array([7.0, 7.0]))
    np.testing.assert_array_equal(backward(1.0, cache), [2.0, 4.0])


@pytest.mark.parametrize("prefix", ["", "d", "grad_"])
def test_a_dict_keyed_by_argument_names_becomes_one_gradient_per_argument(prefix):
    forward, backward = from_loss_and_grad(
        lambda x, W1, b1: (0 * x.sum(), {f"{prefix}b1": b1 + 1, f"{prefix}W1": W1 + 2})
    )
    assert backward(2.0, forward(np.zeros(1), np.array(1.0), np.array(1.0))[1]) == (None, 6.0, 4.0)


def test_a_dict_keyed_like_a_dict_argument_becomes_its_gradient():
    def loss(params, scale):
        return scale * (params["W"] ** 2).sum(), {"W": 2 * scale * params["W"]}

    check_backward(*from_loss_and_grad(loss), ({"W": rng().normal(size=3)}, 3))


def test_several_gradients_after_the_loss_are_a_tuple():
    def product(x, y):
        return (x * y).sum(), y, x

    check_backward(*from_loss_and_grad(product), (rng().normal(size=3), rng().normal(size=3)))


def test_parameters_in_a_dict_of_the_object_are_checked_and_left_as_they_were():
    net = Net(rng())
    own = dict(net.params)
    forward, backward = from_loss_and_grad(net.loss, params=net.params)
    args = (net.params, rng().normal(size=(4, 3)), rng().normal(size=(4, 2)))
    report = check_backward(forward, backward, args, wrt="params")
    assert all(net.params[key] is own[key] for key in own)
    assert list(net.params) == ["W", "b"]
    assert list(report.arguments) == ["params['W']", "params['b']"]
    assert list(inspect.signature(forward).parameters) == ["params", "X", "y"]


def test_parameters_are_put_back_when_the_loss_raises():
    net = Net(rng())
    own = dict(net.params)
    forward, _ = from_loss_and_grad(net.loss, params=net.params)
    net.fails = True
    with pytest.raises(RuntimeError, match="no loss today"):
        forward({"W": np.ones((3, 2)), "b": np.ones(2)}, np.ones((4, 3)), np.ones((4, 2)))
    assert all(net.params[key] is own[key] for key in own)


def test_other_parameter_keys_are_refused_by_name():
    net = Net(rng())
    forward, _ = from_loss_and_grad(net.loss, params=net.params)
    with pytest.raises(ValueError, match="must be given params") as error:
        forward({"W": np.ones((3, 2))}, np.ones((4, 3)), np.ones((4, 2)))
    assert message(error) == (
        "Net.loss must be given params with the keys 'W', 'b', but was given a dict with the keys 'W'. "
        "Pass the object's own dict, or a copy of it, as the first argument."
    )


def test_a_function_without_a_gradient_is_refused():
    forward, _ = from_loss_and_grad(np.sum)
    with pytest.raises(TypeError) as error:
        forward(np.ones(2))
    assert message(error) == (
        "sum must return a pair (loss, grads), but returned the float64 2.0. "
        "Use from_value_and_gradient if the gradient is a function of its own."
    )


def test_a_loss_that_is_no_scalar_is_refused():
    forward, _ = from_loss_and_grad(lambda x: (x, x))
    with pytest.raises(ValueError, match="scalar") as error:
        forward(np.ones(2))
    assert message(error) == (
        "<lambda> must return a scalar loss, but returned a float64 array of shape (2,). "
        "Sum or average it, or write a backward that takes the upstream gradient dout."
    )


def test_gradient_keys_that_fit_nothing_are_refused_with_what_would_fit():
    forward, _ = from_loss_and_grad(lambda x, params: (0.0 * len(params), {"W": x, "w2": x}))
    with pytest.raises(ValueError, match="keyed") as error:
        forward(np.ones(2), {"W": np.ones(2)})
    assert message(error) == (
        "<lambda> must return a dict of gradients keyed by its arguments or like one dict among them, "
        "x, params (keys 'W'), but returned a dict with the keys 'W', 'w2'. "
        "Rename the keys, return a tuple in order, or pass params=net.params."
    )


def test_what_is_no_function_and_what_is_no_dict_is_refused():
    with pytest.raises(TypeError) as error:
        from_loss_and_grad(3)
    assert message(error) == "from_loss_and_grad must be given a callable f, but was given the int 3."
    with pytest.raises(TypeError, match="given params as the dict"):
        from_loss_and_grad(svm_loss, params=[np.ones(2)])
    with pytest.raises(ValueError, match="called params of its own"):
        from_loss_and_grad(lambda params: (0.0, params), params={})


def quartic(x, a):
    return (a * x**4).sum()


def quartic_gradient(x, a):
    return 4 * a * x**3


def test_a_function_and_its_gradient_pass_with_fixed_extra_arguments():
    a = rng().normal(size=3)
    forward, backward = from_value_and_gradient(quartic, quartic_gradient, args=(a,))
    assert list(inspect.signature(forward).parameters) == ["x"]
    assert backward.__name__ == "quartic_gradient"
    check_backward(forward, backward, (rng().normal(size=3),))


def test_extra_arguments_given_to_the_forward_stay_with_wrt():
    args = (rng().normal(size=3), rng().normal(size=3))
    check_backward(*from_value_and_gradient(quartic, quartic_gradient), args, wrt="x")


def test_a_wrong_gradient_of_a_value_fails():
    with pytest.raises(GradientError):
        check_backward(*from_value_and_gradient(quartic, lambda x, a: 3 * a * x**3, args=(2.0,)), (np.ones(3),))


def test_extra_arguments_that_are_no_tuple_are_refused():
    with pytest.raises(TypeError) as error:
        from_value_and_gradient(quartic, quartic_gradient, args=np.ones(2))
    assert message(error) == (
        "from_value_and_gradient must be given args as a tuple, but was given a float64 array of shape (2,). "
        "Write args=(a,) for one extra argument."
    )


def test_extra_positional_arguments_of_the_gradient_keep_the_signature():
    def dotted(x, *weights):
        return sum((w * x).sum() for w in weights)

    forward, backward = from_value_and_gradient(dotted, lambda x, *weights: sum(weights) + 0 * x, args=(2.0, 3.0))
    assert str(inspect.signature(forward)) == "(x, *weights)"
    check_backward(forward, backward, (np.ones(3),))


def test_gradients_gathered_in_a_defaultdict_pass():
    def loss(params):
        return (params["W"] ** 2).sum(), collections.defaultdict(float, W=2 * params["W"])

    check_backward(*from_loss_and_grad(loss), ({"W": rng().normal(size=3)},))


class Layer:
    """Keeps the arrays that it is given, as those of a net with a dict of all parameters do."""

    def __init__(self, W):
        self.W = W

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


class Layered:
    """``params`` holds the arrays of the layers, which read their own."""

    factor = 1

    def __init__(self, dtype=np.float64, *, copies=False):
        self.params = {"W1": rng().normal(size=(3, 4)).astype(dtype), "W2": rng().normal(size=(4, 2)).astype(dtype)}
        self.first, self.second = (Layer(W.copy() if copies else W) for W in self.params.values())

    def loss(self, X):
        y = self.second.forward(self.first.forward(X))
        self.first.backward(self.second.backward(self.factor * y))
        return 0.5 * (y**2).sum(), {"W1": self.first.dW, "W2": self.second.dW}


class Tripled(Layered):
    factor = 3


class WithProperty(Layered):
    """``params`` is made each time it is asked for."""

    def __init__(self, dtype=np.float64):
        self.first, self.second = Layer(rng().normal(size=(3, 4)).astype(dtype)), Layer(np.ones((4, 2), dtype))

    @property
    def params(self):
        return {"W1": self.first.W, "W2": self.second.W}


def held(net):
    return [(id(array), array.tobytes()) for array in (*net.params.values(), net.first.W, net.second.W)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", [Layered, WithProperty])
def test_the_arrays_that_the_layers_hold_are_moved_and_left_as_they_were(kind, dtype):
    net = kind(dtype)
    before = held(net)
    args = (net.params, rng().normal(size=(5, 3)))
    report = check_backward(*from_loss_and_grad(net.loss, params=net.params), args, wrt="params")
    assert list(report.arguments) == ["params['W1']", "params['W2']"]
    assert held(net) == before
    assert not hasattr(net.first, "x")


def test_a_wrong_gradient_of_the_arrays_that_the_layers_hold_fails():
    net = Tripled()
    with pytest.raises(GradientError):
        check_backward(
            *from_loss_and_grad(net.loss, params=net.params), (net.params, rng().normal(size=(5, 3))), wrt="params"
        )


def test_a_loss_that_does_not_react_to_params_is_refused():
    net = Layered(copies=True)
    forward, _ = from_loss_and_grad(net.loss, params=net.params)
    with pytest.raises(ValueError, match="must read") as error:
        forward(net.params, np.eye(3))
    loss, _ = net.loss(np.eye(3))
    assert message(error) == (
        f"Layered.loss must read its parameters from params, but its loss stays {loss} when they change. "
        "Pass the dict whose arrays it reads, with float64 arrays, or use from_layer."
    )


def test_a_default_after_the_extra_arguments_keeps_its_default():
    def f(x, a, b, scale=1.0):
        return scale * (a * x**2 + b * x).sum()

    forward, backward = from_value_and_gradient(f, lambda x, a, b, scale=1.0: scale * (2 * a * x + b), args=(2.0, 3.0))
    assert str(inspect.signature(forward)) == "(x)"
    check_backward(forward, backward, (np.ones(3),))


@pytest.mark.parametrize("x0", [[1.0, 2.0, -1.0], (1, 2.0, np.float64(3)), np.array([1, 2, 3])])
def test_a_point_of_numbers_moves_as_an_array_of_floats(x0):
    pair = from_value_and_gradient(lambda x: (x**3).sum(), lambda x: 3 * x**2)
    assert list(check_backward(*pair, (x0,)).arguments) == ["x"]
    pair = from_value_and_gradient(lambda x: (x**3).sum(), lambda x: 2 * x**2)
    with pytest.raises(GradientError):
        check_backward(*pair, (x0,))


def test_a_loss_that_is_a_whole_number_is_a_float():
    def hinge(x):
        loss = 0
        for each in x:
            loss += max(0, each)
        return loss, (x > 0) * 1.0

    check_backward(*from_loss_and_grad(hinge), (np.array([-1.0, 2.0]),))
    loss, _ = from_loss_and_grad(hinge)[0](np.array([-1.0]))
    assert (loss, loss.dtype) == (0.0, np.float64)


@pytest.mark.parametrize("gradient", ["g", {1.0}, dict, np.array(["2020-01-01"], dtype="datetime64[D]")])
def test_a_gradient_that_is_no_number_is_left_to_the_check_that_says_so(gradient):
    pair = from_value_and_gradient(lambda x: (x**2).sum(), lambda _x: gradient)
    assert examine_backward(*pair, (np.ones(3),)).breached


def test_a_loss_of_several_shapes_is_no_scalar():
    pair = from_loss_and_grad(lambda x: ([np.ones(2), np.ones(3)], x))
    with pytest.raises(ValueError, match="must return a scalar loss, but returned a list of 2"):
        examine_backward(*pair, (np.ones(3),))
