"""Nets as people write them: what moves, what is left alone, what is refused."""

import pickle

import numpy as np
import pytest

from gradcheck import GradientError, check_backward, examine_backward, from_layer


def x():
    return np.random.default_rng(1).normal(size=(5, 3))


class Dense:
    factor = 1

    def __init__(self, inputs=3, outputs=2):
        rng = np.random.default_rng(0)
        self.W, self.b = rng.normal(size=(inputs, outputs)), rng.normal(size=outputs)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, self.factor * dout.sum(axis=0)
        return dout @ self.W.T


class WrongDense(Dense):
    factor = 2


class Tanh:
    def forward(self, x):
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout):
        self.dout = dout
        return dout * (1 - self.out**2)


class Sequential:
    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


def moved(layer, *args, **settings):
    return [name.partition("params")[2] for name in examined(layer, *args, **settings).arguments if name != "x"]


def examined(layer, *args, **settings):
    return examine_backward(*from_layer(layer, **settings), args or (x(),), seed=0)


def refusal(layer, **settings):
    with pytest.raises(ValueError, match="must") as error:
        check_backward(*from_layer(layer, **settings), (x(),))
    return str(error.value).partition("\n")[0]


def test_every_layer_within_a_net_is_checked():
    check_backward(*from_layer(Sequential(Dense(3, 4), Tanh(), Dense(4, 2))), (x(),))
    report = examined(Sequential(Dense(3, 4), Tanh(), WrongDense(4, 2)))
    verdicts = {name: str(finding.verdict) for name, finding in report.arguments.items()}
    assert verdicts == {
        "x": "pass",
        "params['layers[0].W']": "pass",
        "params['layers[0].b']": "pass",
        "params['layers[2].W']": "pass",
        "params['layers[2].b']": "fail",
    }


class Inputs(Dense):
    """As those that keep the gradient of their input beside it."""

    def backward(self, dout):
        self.dx = super().backward(dout)
        return self.dx


def test_a_net_that_was_used_before_moves_its_parameters_and_not_its_caches():
    net = Sequential(Inputs(3, 4), Tanh(), Inputs(4, 2))
    net.backward(net.forward(x()))
    before = pickle.dumps(net)
    assert moved(net) == ["['layers[0].W']", "['layers[0].b']", "['layers[2].W']", "['layers[2].b']"]
    assert pickle.dumps(net) == before


def test_params_that_gather_the_arrays_of_all_layers_are_the_argument_itself():
    class Listing(Dense):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.params, self.grads = [self.W, self.b], [np.zeros_like(self.W), np.zeros_like(self.b)]

        def backward(self, dout):
            dx = super().backward(dout)
            self.grads[0][...], self.grads[1][...] = self.dW, self.db
            return dx

    net = Sequential(Listing(3, 4), Listing(4, 2))
    net.params = [array for layer in net.layers for array in layer.params]
    net.grads = [array for layer in net.layers for array in layer.grads]
    assert moved(net) == ["[0]", "[1]", "[2]", "[3]"]
    assert list(check_backward(*from_layer(net), (x(), net.params)).arguments)[1:] == [f"params[{i}]" for i in range(4)]


class BatchNorm:
    """With running averages, which the forward renews, and the moments of an optimiser beside them."""

    def __init__(self, size):
        self.gamma, self.beta = np.linspace(1, 2, size), np.zeros(size)
        self.mean, self.moment, self.scale = np.zeros(size), {"gamma": np.zeros(size)}, 1e-5

    def forward(self, x, train=True):
        if train:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)
        self.std = np.sqrt(x.var(axis=0) + self.scale) if train else 1
        self.xhat = (x - (x.mean(axis=0) if train else self.mean)) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        self.dgamma, self.dbeta = (dout * self.xhat).sum(axis=0), dout.sum(axis=0)
        g = dout * self.gamma
        return (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)) / self.std


def test_running_averages_and_moments_stay():
    assert moved(Sequential(BatchNorm(3))) == ["['layers[0].gamma']", "['layers[0].beta']"]


def test_an_average_that_is_read_and_not_renewed_is_refused_until_it_is_called_a_constant():
    with pytest.raises(ValueError, match="none is found for mean"):
        check_backward(*from_layer(BatchNorm(3)), (x(), False))
    assert moved(BatchNorm(3), x(), False, parameters={"mean": None}) == ["['gamma']", "['beta']"]


def test_infinities_of_a_mask_are_nothing_that_an_output_could_depend_on():
    class Masked(Dense):
        def __init__(self):
            super().__init__()
            self.mask = np.array([-np.inf, np.inf])

        def forward(self, x):
            return np.clip(super().forward(x), *self.mask)

    assert moved(Masked()) == ["['W']", "['b']"]


def test_a_class_that_keeps_its_instances_is_no_trouble():
    class Registered(Sequential):
        instances = []  # noqa: RUF012  (shared, which is the point)

        def __init__(self, *layers):
            super().__init__(*layers)
            self.instances.append(self)

    assert moved(Registered(Dense())) == ["['layers[0].W']", "['layers[0].b']"]


def test_a_state_that_the_forward_moves_on_stays():
    class Cell:
        def __init__(self):
            self.W, self.h = np.eye(3) + 0.1, np.ones(3)

        def forward(self, x):
            self.before, self.x = self.h, x
            self.h = np.tanh(x @ self.W + self.h)
            return self.h

        def backward(self, dout):
            dz = dout * (1 - self.h**2)
            self.dW = self.x.T @ dz
            return dz @ self.W.T

    assert moved(Cell()) == ["['W']"]


def test_an_array_without_a_gradient_is_refused_with_what_may_be_its_gradient():
    class Other(Dense):
        def __init__(self):
            self.weights, self.bias = x().T, np.ones(5)

        def forward(self, x):
            self.x = x
            return x @ self.weights + self.bias

        def backward(self, dout):
            self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
            return dout @ self.weights.T

    assert refusal(Sequential(Other())) == (
        "Sequential must keep a gradient of each float array that its output depends on, but none is found for "
        "layers[0].weights, layers[0].bias. Name the pairs, None for a constant: "
        'from_layer(layer, parameters={"weights": "dW", "bias": "db"}).'
    )
    named = moved(Sequential(Other()), parameters={"weights": "dW", "bias": "db"})
    assert named == ["['layers[0].weights']", "['layers[0].bias']"]


def test_a_backward_that_steps_its_weights_is_told_so():
    class Stepping(Dense):
        def backward(self, dout):
            dx = dout @ self.W.T
            self.W = self.W - 0.1 * self.x.T @ dout
            self.b -= 0.1 * dout.sum(axis=0)
            return dx

    assert refusal(Sequential(Stepping())) == (
        "Sequential must keep a gradient of each float array that its output depends on, but its backward changes "
        "layers[0].W, layers[0].b instead, as a step of an optimiser does. "
        "Store the gradient, and step where the layer is trained."
    )


def test_two_gradients_of_one_parameter_that_differ_are_refused():
    first, second = Dense(3, 3), Dense(3, 3)
    second.W = first.W
    assert refusal(Sequential(first, Tanh(), second)) == (
        "Sequential must keep one gradient of each parameter, but for layers[0].W layers[0].dW, layers[2].dW differ. "
        "Add them into one, or name the one that counts: "
        'from_layer(layer, parameters={"layers[0].W": "layers[0].dW"}).'
    )


def test_naming_some_parameters_leaves_none_of_the_others_out():
    net = Sequential(Dense(3, 4), Dense(4, 2))
    every = ["['layers[0].W']", "['layers[0].b']", "['layers[1].W']", "['layers[1].b']"]
    assert moved(net, parameters={"layers[0].W": "layers[0].dW"}) == every
    assert moved(net, x(), {"layers[0].W": net.layers[0].W}, parameters={"layers[0].W": "layers[0].dW"}) == every[:1]


def test_the_gradient_that_is_named_is_the_one_that_counts():
    layer = Dense()
    layer.grad_W = np.zeros((3, 2))
    assert "differ" in refusal(layer)
    assert str(examined(layer, parameters={"W": "dW"}).verdict) == "pass"
    assert str(examined(layer, parameters={"W": "grad_W"}).verdict) == "fail"


def test_caches_of_an_earlier_use_may_have_gradients_that_differ():
    class Caching(Inputs):
        def backward(self, dout):
            self.grad_x = 0 * self.x
            return super().backward(dout)

    net = Sequential(Caching(3, 4), Caching(4, 2))
    net.backward(net.forward(x()))
    assert moved(net) == ["['layers[0].W']", "['layers[0].b']", "['layers[1].W']", "['layers[1].b']"]


@pytest.mark.parametrize("adds", [True, False])
def test_a_layer_that_is_used_twice_has_one_gradient_which_must_add_up(adds):
    class Adding:
        def __init__(self):
            self.W, self.dW, self.inputs = np.eye(3) + 0.1, np.zeros((3, 3)), []

        def forward(self, x):
            self.inputs.append(x)
            return x @ self.W

        def backward(self, dout):
            self.dW = self.dW * adds + self.inputs.pop().T @ dout
            return dout @ self.W.T

    layer = Adding()
    report = examined(Sequential(layer, Tanh(), layer))
    assert {name: str(finding.verdict) for name, finding in report.arguments.items()} == {
        "x": "pass",
        "params['layers[0].W']": "pass" if adds else "fail",
    }


def test_parameters_that_the_first_forward_makes_are_refused():
    class Late(Dense):
        def __init__(self):
            self.W = None

        def forward(self, x):
            if self.W is None:
                super().__init__(x.shape[1], 2)
            return super().forward(x)

    assert refusal(Sequential(Late())) == (
        "Sequential must have its parameters before the check, but the first forward makes layers[0].W, layers[0].b. "
        "Call forward once before from_layer."
    )


def test_whole_numbers_with_a_gradient_are_refused():
    layer = Dense()
    layer.W = np.array([[1, 2], [3, 4], [5, 6]])
    assert refusal(Sequential(layer)) == (
        "Sequential must keep its parameters in NumPy arrays of real floats to have them moved, but layers[0].W has a "
        "gradient and is none. Make it with dtype=float, or split its real and imaginary part."
    )


def test_arrays_of_another_library_with_a_gradient_are_refused():
    import jax.numpy as jnp

    class Jax(Dense):
        def __init__(self):
            self.W = jnp.eye(3)

        def forward(self, x):
            self.x = jnp.asarray(x)
            return np.array(self.x @ self.W)

        def backward(self, dout):
            self.dW = self.x.T @ jnp.asarray(dout)
            return np.array(jnp.asarray(dout) @ self.W.T)

    assert "but W has a gradient and is none" in refusal(Jax())


def test_a_copy_that_reaches_the_layer_itself_is_refused_and_nothing_is_changed():
    kept = []

    class Global(Dense):
        def forward(self, x):
            kept[0].W[0, 0] = 7.0
            return super().forward(x)

    layer = Global()
    kept.append(layer)
    before = layer.W.tobytes()
    assert refusal(layer) == (
        "Global must be able to run as a copy, but a run of its copy wrote into W of the layer itself. "
        "Look for a function, a class or a module that refers to it."
    )
    assert layer.W.tobytes() == before


@pytest.mark.parametrize("factor", [1, 2])
def test_a_single_number_with_a_gradient_moves(factor):
    class Leaky:
        def __init__(self):
            self.slope, self.dslope, self.scale = 0.25, 0.0, 2.0

        def forward(self, x):
            self.x = x
            return self.scale * np.where(x > 0, x, self.slope * x)

        def backward(self, dout):
            self.dslope += factor * float((self.scale * dout * np.minimum(self.x, 0)).sum())
            return self.scale * dout * np.where(self.x > 0, 1, self.slope)

    report = examined(Sequential(Tanh(), Leaky()))
    assert str(report.arguments["params['layers[1].slope']"].verdict) == {1: "pass", 2: "fail"}[factor]
    assert "params['layers[1].scale']" not in report.arguments


def test_parameters_behind_properties_are_found():
    class Hidden:
        def __init__(self):
            self.store = [np.eye(3) + 0.1]

        weights = property(lambda self: self.store[0])
        weights_grad = property(lambda self: self.kept)
        broken = property(lambda self: 1 / 0)

        def forward(self, x):
            self.x = x
            return x @ self.weights

        def backward(self, dout):
            self.kept = self.x.T @ dout
            return dout @ self.weights.T

    assert moved(Hidden()) == ["['store'][0]"]


def test_a_forward_that_draws_is_not_asked_what_it_depends_on():
    class Noisy(Dense):
        def __init__(self):
            super().__init__()
            self.table = np.ones(2)

        def forward(self, x):
            return super().forward(x) + self.table + np.random.default_rng().normal()

    forward, _ = from_layer(Noisy())
    assert list(forward.as_arguments((x(),))[1]) == ["W", "b"]


def test_a_wrong_gradient_in_a_dict_at_the_net_fails():
    class Returning:
        def __init__(self):
            self.W = np.eye(3) + 0.1

        def forward(self, x):
            self.x = x
            return np.tanh(x @ self.W)

        def backward(self, dout):
            dz = dout * (1 - np.tanh(self.x @ self.W) ** 2)
            return dz @ self.W.T, {"W": 2 * self.x.T @ dz}

    class Net(Sequential):
        def backward(self, dout):
            self.grads = [None] * len(self.layers)
            for i in reversed(range(len(self.layers))):
                dout, self.grads[i] = self.layers[i].backward(dout)
            return dout

    with pytest.raises(GradientError):
        check_backward(*from_layer(Net(Returning(), Returning())), (x(),))
