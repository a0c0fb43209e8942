import inspect

import numpy as np
import pytest

from gradcheck import GradientError, check_backward
from gradcheck.adapters import from_layer


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


def test_a_float_array_without_a_gradient_is_refused_with_what_was_found():
    layer = Affine()
    del layer.db
    with pytest.raises(ValueError, match="gradient") as error:
        from_layer(layer)
    assert str(error.value) == (
        "Affine must have one attribute for the gradient of each of its float arrays (W, b), but has the attributes "
        'W, b, dW, x. Name the pairs: from_layer(layer, parameters={"W": "dW"}).'
    )


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
    forward, _ = from_layer(layer)
    with pytest.raises(ValueError, match="are the same array"):
        forward(x(4, 3), params(layer))


def test_params_that_do_not_mirror_the_layer_are_refused():
    forward, _ = from_layer(Affine())
    with pytest.raises(ValueError, match="mirror") as error:
        forward(x(4, 3), {"W": np.ones((3, 2))})
    assert str(error.value) == (
        "Affine.forward must be given params that mirror the layer's (params['W'], params['b']), but was given a dict "
        "with the keys 'W'. Pass the layer's own arrays in such a container."
    )
    with pytest.raises(ValueError, match="but was given None"):
        forward(x(4, 3))


def test_too_few_input_gradients_are_refused():
    class Short(Product):
        def backward(self, dout):
            return super().backward(dout)[0]

    forward, backward = from_layer(Short())
    with pytest.raises(ValueError, match="one gradient") as error:
        backward(np.ones(3), forward(x(3), x(3))[1])
    assert str(error.value) == (
        "Short.backward must return one gradient per moving input (x, y), but returned a float64 array of shape (3,). "
        "Return a tuple in the order of the inputs."
    )


def test_an_object_without_backward_or_with_nameless_inputs_is_refused():
    with pytest.raises(TypeError) as error:
        from_layer(np.ones(2))
    assert str(error.value) == "from_layer must be given a callable ndarray.forward, but was given None."

    class Nameless(Product):
        def forward(self, *inputs):
            return inputs

    with pytest.raises(TypeError, match="must name its inputs"):
        from_layer(Nameless())


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
    with pytest.raises(ValueError, match="very arrays") as error:
        forward(x(4, 3), layer.params)
    assert str(error.value) == (
        "Private must hold the very arrays it names as its parameters, but gives copies or views of params[0], "
        "or keeps them on the class. Name the attributes of the instance in parameters=."
    )
