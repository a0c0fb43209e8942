import copy

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from gradcheck import GradientError, Verdict, check_backward, examine_backward, from_torch

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
W = RNG.standard_normal((4, 2))
Z = X + 1j * RNG.standard_normal((3, 4))


def plainly(rule):
    return lambda x, w: 2 * rule.apply(x, w)


class Product(torch.autograd.Function):
    """A matrix product with a rule for real and for complex matrices."""

    @classmethod
    def with_slip(cls, slip):
        return type("Slipped", (cls,), {"backward": staticmethod(lambda ctx, dout: cls.pull(ctx, dout, slip))})

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def pull(ctx, dout, slip):
        x, w = ctx.saved_tensors
        return dout @ w.mH, slip * x.mH @ dout

    @staticmethod
    def backward(ctx, dout):
        return Product.pull(ctx, dout, 1.0)


@torch.library.custom_op("gradcheck_tests::scaled_sine", mutates_args=())
def scaled_sine(x: torch.Tensor, factor: float) -> torch.Tensor:
    return factor * x.sin()


@torch.library.custom_op("gradcheck_tests::wrong_sine", mutates_args=())
def wrong_sine(x: torch.Tensor) -> torch.Tensor:
    return x.sin()


scaled_sine.register_autograd(
    lambda ctx, dout: (ctx.factor * dout * ctx.saved_tensors[0].cos(), None),
    setup_context=lambda ctx, inputs, output: (
        ctx.save_for_backward(inputs[0]),
        setattr(ctx, "factor", inputs[1]),
    )[0],
)
wrong_sine.register_autograd(
    lambda ctx, dout: dout * ctx.saved_tensors[0].sin(),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
)


def of_kind(kind, array):
    if kind == "numpy":
        return array
    return jnp.asarray(array, jnp.float32) if kind == "jax" else torch.tensor(array, dtype=getattr(torch, kind))


@pytest.mark.parametrize("kind", ["numpy", "float64", "float32", "jax"])
@pytest.mark.parametrize(
    "function",
    [Product, Product.apply, torch.matmul, plainly(Product)],
    ids=["class", "apply", "builtin", "plain"],
)
def test_whatever_maps_tensors_to_tensors_passes_with_arrays_of_every_library(function, kind):
    assert check_backward(*from_torch(function), (of_kind(kind, X), of_kind(kind, W)), seed=0)


@pytest.mark.parametrize("kind", ["numpy", "float64", "float32", "jax"])
@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: f.apply, plainly], ids=["class", "apply", "plain"])
def test_a_wrong_rule_fails_in_the_argument_that_it_is_wrong_in(wrap, kind):
    wrong = Product.with_slip(1.01)
    report = examine_backward(*from_torch(wrap(wrong)), (of_kind(kind, X), of_kind(kind, W)), seed=0)
    assert [str(finding.verdict) for finding in report.arguments.values()] == ["pass", "fail"]


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_complex_arguments_have_the_gradients_of_pytorch(dtype):
    point = (Z.astype(dtype), W.astype(dtype))
    assert check_backward(*from_torch(Product), point, seed=0).convention == "∂L/∂Re z + i ∂L/∂Im z"
    assert not examine_backward(*from_torch(Product.with_slip(1.01)), point, seed=0)
    assert check_backward(*from_torch(lambda z: z.abs().log()), (torch.tensor(Z),), seed=0)


def test_an_operator_of_ones_own_passes_under_the_names_of_its_schema_and_a_wrong_one_fails():
    for operator in (scaled_sine, torch.ops.gradcheck_tests.scaled_sine):
        forward, backward = from_torch(operator)
        assert list(check_backward(forward, backward, (X, 3.0), seed=0).arguments) == ["x"]
    assert from_torch(scaled_sine)[0].__name__ == "scaled_sine"
    assert not examine_backward(*from_torch(wrong_sine), (X,), seed=0)


class Net(torch.nn.Module):
    """A module with parameters, a buffer that changes in training, and a rule of its own."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule
        self.first = torch.nn.Linear(4, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.weight = torch.nn.Parameter(torch.randn(3, 2))

    def forward(self, x):
        return self.rule.apply(torch.tanh(self.norm(self.first(x))), self.weight)


def net(rule):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(rule).double()


@pytest.mark.parametrize("training", [True, False])
def test_the_parameters_of_a_module_move_by_name_and_nothing_of_it_changes(training):
    module = net(Product).train(training)
    before = copy.deepcopy(module.state_dict())
    report = check_backward(*from_torch(module), (dict(module.named_parameters()), X), seed=0)
    names = [f"params['{name}']" for name, _ in module.named_parameters()]
    assert list(report.arguments) == [*names, "x"]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module.training is training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_wrong_rule_inside_a_module_fails_by_the_name_of_the_parameter():
    module = net(Product.with_slip(0.99))
    report = examine_backward(*from_torch(module), (dict(module.named_parameters()), X), seed=0)
    wrong = [name for name, finding in report.arguments.items() if finding.verdict is Verdict.FAIL]
    assert wrong == ["params['weight']"]


@pytest.mark.parametrize(
    "make", [lambda: torch.nn.LSTM(4, 3), lambda: torch.nn.MultiheadAttention(4, 2)], ids=["LSTM", "attention"]
)
def test_modules_of_pytorch_pass_with_their_containers_and_without_what_is_none(make):
    module = make().double().eval()
    args = (X, X, X) if isinstance(module, torch.nn.MultiheadAttention) else (X,)
    assert check_backward(*from_torch(module), (dict(module.named_parameters()), *args), seed=0)


def test_parameters_that_a_module_does_not_have_are_refused():
    forward, _ = from_torch(torch.nn.Linear(4, 2))
    with pytest.raises(ValueError, match="params as a dict") as error:
        forward({"w": W}, X)
    assert str(error.value) == (
        "Linear must be given params as a dict of its parameters (weight, bias), but was given a dict with the keys "
        "'w'. Pass dict(module.named_parameters()) as the first argument."
    )


def test_arguments_in_containers_have_gradients_in_their_form_and_what_is_not_used_has_zeros():
    def function(weights, x, flag):
        return weights["a"] @ x if flag else x

    forward, backward = from_torch(function)
    weights = {"a": X, "b": [W, 3]}
    report = check_backward(forward, backward, (weights, W, True), seed=0)
    assert list(report.arguments) == ["weights['a']", "weights['b'][0]", "x"]
    assert not examine_backward(*from_torch(lambda x, w: x @ w.detach()), (X, W), seed=0)


def test_what_has_no_derivative_is_left_out_and_the_report_says_so():
    class Peak(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            value, index = x.max(1)
            rounded = x.round()
            ctx.mark_non_differentiable(index, rounded)
            ctx.save_for_backward(index)
            ctx.shape = x.shape
            return value, index, rounded

        @staticmethod
        def backward(ctx, dvalue, dindex, drounded):
            (index,) = ctx.saved_tensors
            return torch.zeros(ctx.shape, dtype=dvalue.dtype).scatter(1, index[:, None], dvalue[:, None])

    said = "out[1] and out[2] are left out: what holds no floats, or is declared to have no derivative, has none."
    for function in (Peak, lambda x: (*x.max(1), x.detach())):
        report = check_backward(*from_torch(function), (X,), seed=0, strict=True)
        assert report.remarks == (said,)
        assert f"Remark: {said}" in " ".join(str(report).split())
    assert not examine_backward(*from_torch(lambda x: x.detach()), (X,), seed=0)


def test_what_a_plain_function_writes_into_its_argument_breaks_a_law():
    with pytest.raises(GradientError, match="must not write into its arguments"):
        check_backward(*from_torch(lambda x: x.mul_(2).sum()), (X,), seed=0)


def test_a_function_may_return_its_argument_and_work_on_a_clone_in_place():
    check_backward(*from_torch(lambda x: (x, x.clone().mul_(2))), (X,), seed=0)


def test_random_dropout_is_inconclusive():
    module = torch.nn.Dropout(0.5)
    with torch.random.fork_rng():
        report = examine_backward(*from_torch(lambda x: 2 * module(x)), (X,), seed=0)
    assert report.verdict is Verdict.INCONCLUSIVE


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError) as error:
        from_torch(3)
    assert str(error.value) == "from_torch must be given a function, but was given the int 3."


def test_arguments_by_name_and_by_keyword_alone_have_gradients():
    def function(x, *, w, n):
        return torch.tanh(x @ w) * n

    report = check_backward(*from_torch(function), {"n": 3, "w": W, "x": X}, seed=0)
    assert list(report.arguments) == ["x", "w"]
    module = torch.nn.Linear(4, 2).double()
    assert check_backward(*from_torch(module), {"input": X, "params": dict(module.named_parameters())}, seed=0)


def test_a_module_that_reads_a_parameter_elsewhere_is_refused():
    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
            self.kept = [self.weight]

        def forward(self, x, *, factor):
            return factor * x * self.kept[0]

    args = {"params": dict(Hidden().named_parameters()), "x": X, "factor": 2.0}
    with pytest.raises(ValueError, match="reads its own") as error:
        check_backward(*from_torch(Hidden()), args, seed=0)
    assert str(error.value).partition("\n")[0] == (
        "Hidden.forward must read weight from the module, where another stands during a call, but it reads its own. "
        "Look for a second reference to it, such as a list or an attribute that is no parameter."
    )
