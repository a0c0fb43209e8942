import inspect

import numpy as np
import pytest

from gradcheck import GradientError, check_backward, examine_backward
from gradcheck.adapters import from_layer
from gradcheck.errors import NoReturnError


class Affine:
    """Attributes W and dW; gradients are added to, the weights are float32."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W, self.b = rng.normal(size=(3, 2)).astype(np.float32), np.zeros(2, dtype=np.float32)
        self.dW, self.db = np.full((3, 2), 7.0), np.full(2, 7.0)
        self.x = None

    def forward(self, x, *, shift=0):
        self.x = x
        return x @ self.W + self.b + shift

    def backward(self, dout):
        self.dW += self.x.T @ dout
        self.db += dout.sum(axis=0)
        return dout @ self.W.T


class Listed:
    """Lists ``params`` and ``grads``; W is known by two names."""

    def __init__(self):
        self.W = np.random.default_rng(0).normal(size=(3, 2))
        self.params, self.grads = [self.W], [np.zeros((3, 2))]

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.grads[0][...] = self.x.T @ dout
        return dout @ self.W.T


class Keyed(Listed):
    def __init__(self):
        super().__init__()
        self.params, self.grads = {"W": self.W}, {}

    def backward(self, dout):
        self.grads["dW"] = self.x.T @ dout
        return (dout @ self.W.T,)


class Product:
    def forward(self, x, y, power=1):
        self.x, self.y, self.power = x, y, power
        return x * y**power

    def backward(self, dout):
        return dout * self.y**self.power, dout * self.x * self.power * self.y ** (self.power - 1)


def x(*shape):
    return np.random.default_rng(1).normal(size=shape)


def params(layer):
    return {"W": layer.W, "b": layer.b}


@pytest.mark.parametrize("parameters", [None, {"W": "dW", "b": "db"}])
def test_attributes_with_gradients_beside_them_pass(parameters):
    layer = Affine()
    forward, backward = from_layer(layer, parameters=parameters)
    report = check_backward(forward, backward, (x(4, 3), params(layer)))
    assert list(report.arguments) == ["x", "params['W']", "params['b']"]
    assert list(inspect.signature(forward).parameters) == ["x", "params", "shift"]
    assert (forward.__name__, backward.__name__) == ("Affine.forward", "Affine.backward")


def test_the_layer_itself_never_changes():
    layer = Affine()
    forward, backward = from_layer(layer)
    backward(np.ones((4, 2)), forward(x(4, 3), params(layer))[1])
    assert layer.x is None
    np.testing.assert_array_equal(layer.db, [7.0, 7.0])


@pytest.mark.parametrize("layer", [Listed(), Keyed()], ids=["lists", "dicts"])
def test_params_and_grads_pass_though_a_parameter_has_two_names(layer):
    check_backward(*from_layer(layer), (x(4, 3), layer.params))


def test_a_dotted_name_leads_into_a_layer_within_the_layer():
    class Outer:
        def __init__(self):
            self.inner = Affine()

        def forward(self, x):
            return np.tanh(self.inner.forward(x))

        def backward(self, dout):
            out = np.tanh(self.inner.x @ self.inner.W + self.inner.b)
            return self.inner.backward(dout * (1 - out**2))

    layer = Outer()
    check_backward(*from_layer(layer, parameters={"inner.W": "inner.dW"}), (x(4, 3), {"inner.W": layer.inner.W}))


def test_a_layer_without_parameters_and_with_two_inputs_passes():
    forward, backward = from_layer(Product())
    assert list(inspect.signature(forward).parameters) == ["x", "y", "power"]
    check_backward(forward, backward, (x(3), x(3) + 5, 2))


def test_a_wrong_parameter_gradient_fails_for_that_parameter():
    class Wrong(Affine):
        def backward(self, dout):
            dx = super().backward(dout)
            self.db = self.db * 2
            return dx

    layer = Wrong()
    with pytest.raises(GradientError) as error:
        check_backward(*from_layer(layer), (x(4, 3), params(layer)))
    verdicts = {name: str(finding.verdict) for name, finding in error.value.report.arguments.items()}
    assert len({verdicts["x"], verdicts["params['W']"]}) == 1
    assert verdicts["params['b']"] != verdicts["x"]


def test_an_earlier_cache_survives_a_later_forward_and_backward():
    layer = Affine()
    forward, backward = from_layer(layer)
    point = x(4, 3)
    _, cache = forward(point, params(layer))
    expected = point.sum(axis=0)
    point += 1
    backward(np.ones((4, 2)), forward(point, params(layer))[1])
    for _ in range(2):
        np.testing.assert_allclose(backward(np.ones((4, 2)), cache)[1]["W"][:, 0], expected)


def test_the_layers_own_parameters_move_where_none_are_given():
    report = check_backward(*from_layer(Affine()), (x(4, 3),))
    assert list(report.arguments) == ["x", "params['W']", "params['b']"]


def test_parameters_that_are_no_arrays_or_one_array_are_refused():
    layer = Affine()
    with pytest.raises(TypeError) as error:
        from_layer(layer, parameters={"w": "dw"})
    assert str(error.value) == (
        "Affine.w must be an array to be a parameter, but is None. "
        'Name the attributes that hold arrays: from_layer(layer, parameters={"W": "dW"}).'
    )
    with pytest.raises(TypeError, match="parameters as a dict, but was given a list of 1"):
        from_layer(layer, parameters=["W"])
    layer.b = layer.W
    forward, _ = from_layer(layer, parameters={"W": "dW", "b": "db"})
    with pytest.raises(ValueError, match="are the same array"):
        forward(x(4, 3), params(layer))


def test_params_that_do_not_mirror_the_layer_are_refused():
    forward, _ = from_layer(Affine())
    with pytest.raises(ValueError, match="mirror") as error:
        forward(x(4, 3), {"W": np.ones((3, 2))})
    assert str(error.value) == (
        "Affine.forward must be given params that mirror the layer's (params['W'], params['b']), but was given a dict "
        "with the keys 'W'. Pass the layer's own arrays in such a container, or leave them out."
    )


def test_too_few_input_gradients_are_refused():
    class Short(Product):
        def backward(self, dout):
            return super().backward(dout)[0]

    forward, backward = from_layer(Short())
    with pytest.raises(ValueError, match="one gradient") as error:
        backward(np.ones(3), forward(x(3), x(3))[1])
    assert str(error.value) == (
        "Short.backward must return one gradient per moving input (x, y), but returned a float64 array of shape (3,). "
        "Return a tuple in their order, and pass floats where there is a gradient."
    )


def test_an_object_without_backward_is_refused():
    with pytest.raises(TypeError) as error:
        from_layer(np.ones(2))
    assert str(error.value) == "from_layer must be given a callable ndarray.forward, but was given None."


class Sum:
    """Of any number of inputs, each times the same matrix."""

    def __init__(self, factor=1):
        self.W, self.dW, self.factor = x(3, 2), None, factor

    def forward(self, *inputs, **_settings):
        self.inputs = inputs
        return sum(each @ self.W for each in inputs)

    def backward(self, dout):
        self.dW = self.factor * sum(each.T @ dout for each in self.inputs)
        return [dout @ self.W.T for _ in self.inputs]


def test_parameters_come_before_any_number_of_inputs():
    layer = Sum()
    for args in [(x(4, 3), x(4, 3) + 1), ({"W": layer.W}, x(4, 3), x(4, 3) + 1)]:
        report = check_backward(*from_layer(layer), args)
        assert list(report.arguments) == ["params['W']", "inputs[0]", "inputs[1]"]
    with pytest.raises(GradientError):
        check_backward(*from_layer(Sum(factor=2)), (x(4, 3),))


class Dropping(Affine):
    """With a setting after the input."""

    def forward(self, x, train=False):
        self.mask = np.arange(2.0) if train else np.ones(2)
        return super().forward(x) * self.mask

    def backward(self, dout):
        return super().backward(dout * self.mask)


def test_a_setting_follows_the_input_with_and_without_params():
    layer = Dropping()
    for args in [(x(4, 3), True), (x(4, 3), params(layer), True), (x(4, 3),)]:
        assert len(check_backward(*from_layer(layer), args).arguments) == 3


def test_an_input_of_whole_numbers_may_have_no_gradient():
    class Embedding:
        def __init__(self):
            self.W, self.dW = x(5, 3), None

        def forward(self, index):
            self.index = index
            return self.W[index]

        def backward(self, dout):
            self.dW = np.zeros_like(self.W)
            np.add.at(self.dW, self.index, dout)

    assert list(check_backward(*from_layer(Embedding()), (np.array([0, 2, 2]),)).arguments) == ["params['W']"]


def test_what_a_layer_writes_into_its_input_or_its_parameters_breaks_a_law():
    class InPlace(Affine):
        def forward(self, x):
            out = super().forward(x.copy())
            x *= 0
            return out

    class Stepping(Affine):
        def backward(self, dout):
            dx = super().backward(dout)
            self.W = self.W - 0.1 * self.dW
            return dx

    def broken(layer):
        report = examine_backward(*from_layer(layer), (x(4, 3),), seed=0)
        assert not report
        return report.broken

    assert broken(InPlace()) == ("InPlace.forward must not write into its arguments, but it changed x.",)
    assert broken(Stepping()) == (
        "Stepping.backward must not write into the forward's arguments, but it changed params['W'].",
    )


def test_an_exit_in_a_forward_is_an_error():
    class Leaving(Affine):
        def forward(self, x):
            raise SystemExit

    with pytest.raises(NoReturnError) as caught:
        check_backward(*from_layer(Leaving()), (x(4, 3),))
    assert str(caught.value) == (
        "forward must return, but it raised SystemExit. Decide before the check whether it can be made."
    )


def test_a_gradient_per_input_may_be_none_for_an_input_that_stays():
    class Scaled(Product):
        def backward(self, dout):
            return dout * self.y**self.power, None

    check_backward(*from_layer(Scaled()), (x(3), 4))


def test_a_list_for_a_container_is_the_gradient_of_the_only_input():
    class Joined:
        def forward(self, parts):
            self.sizes = [len(part) for part in parts]
            return np.concatenate(parts)

        def backward(self, dout):
            return np.split(dout, np.cumsum(self.sizes)[:-1])

    check_backward(*from_layer(Joined()), ([x(2), x(3)],))


def test_a_gradient_that_is_none_before_the_backward_is_found_after_it():
    class Assigning(Affine):
        def backward(self, dout):
            self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
            return dout @ self.W.T

    layer = Assigning()
    layer.dW = layer.db = None
    check_backward(*from_layer(layer), (x(4, 3), params(layer)))


def test_a_parameter_that_the_layer_only_gives_a_copy_of_is_refused():
    class Private(Listed):
        def __init__(self):
            self.W, self.grads = x(3, 2), [np.zeros((3, 2))]

        @property
        def params(self):
            return [self.W.copy()]

    layer = Private()
    forward, _ = from_layer(layer)
    with pytest.raises(ValueError, match="none is found for W"):
        forward(x(4, 3), layer.params)
    forward, _ = from_layer(layer, parameters={"params": "grads"})
    with pytest.raises(ValueError, match="very arrays") as error:
        forward(x(4, 3), {"params": layer.params})
    assert str(error.value) == (
        "Private must hold the very arrays it names as its parameters, but gives copies or views of "
        "params['params'][0]. Name the attributes that hold them in parameters=."
    )
