import inspect
import sys

import numpy as np
import pytest
import torch

from gradcheck import GradientError, check_backward, examine_backward
from gradcheck.adapters import from_autograd_function
from gradcheck.arguments import Arguments


class ScaledExp(torch.autograd.Function):
    """The older style: ``forward`` takes ``ctx``."""

    @staticmethod
    def forward(ctx, x, w, k):
        out = w * x.exp() ** k
        ctx.save_for_backward(x, w, out)
        ctx.k = k
        return out

    @staticmethod
    def backward(ctx, dout):
        x, _, out = ctx.saved_tensors
        return ctx.k * dout * out, (dout * x.exp() ** ctx.k).sum(0), None


class SinCos(torch.autograd.Function):
    """The newer style, with two outputs."""

    @staticmethod
    def forward(x, index):
        return x.sin(), x[index].cos()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, dsin, dcos):
        x, index = ctx.saved_tensors
        return dsin * x.cos() + torch.zeros_like(x).index_add(0, index, -dcos * x[index].sin()), None


class InPlaceDouble(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, dout):
        return 2 * dout


class Forgetful(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, dout):
        return None


def x(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_a_function_of_the_older_style_passes_and_keeps_its_names():
    forward, backward = from_autograd_function(ScaledExp)
    assert list(check_backward(forward, backward, (x(2, 3), x(3), 2)).arguments) == ["x", "w"]
    assert list(inspect.signature(forward).parameters) == ["x", "w", "k"]
    assert (forward.__name__, backward.__name__) == ("ScaledExp.forward", "ScaledExp.backward")


def test_a_function_with_setup_context_two_outputs_and_integers_passes():
    forward, backward = from_autograd_function(SinCos)
    check_backward(forward, backward, (x(4), np.array([0, 2, 2])))
    assert list(inspect.signature(forward).parameters) == ["x", "index"]


def test_a_wrong_function_fails():
    class Wrong(SinCos):
        @staticmethod
        def backward(ctx, dsin, dcos):
            return SinCos.backward(ctx, dsin, -dcos)

    with pytest.raises(GradientError):
        check_backward(*from_autograd_function(Wrong), (x(4), np.array([0, 2, 2])))


def test_a_function_that_works_in_place_passes_and_leaves_the_argument_alone():
    point = x(3)
    kept = point.copy()
    check_backward(*from_autograd_function(InPlaceDouble), (point,))
    from_autograd_function(InPlaceDouble)[0](point)
    np.testing.assert_array_equal(point, kept)


def test_a_gradient_that_the_function_returns_as_none_stays_none():
    forward, backward = from_autograd_function(Forgetful)
    assert backward(np.ones(2), forward(np.ones(2))[1]) == (None,)


def test_a_cache_serves_many_backwards_after_another_forward_and_without_grad_mode():
    forward, backward = from_autograd_function(ScaledExp)
    with torch.no_grad():
        _, cache = forward(x(2, 3), x(3), 2)
        first = backward(np.ones((2, 3)), cache)
        forward(np.zeros((2, 3)), np.zeros(3), 2)
        second = backward(np.ones((2, 3)), cache)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_low_precision_output_becomes_an_array(dtype):
    class Cast(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.to(dtype)

        @staticmethod
        def backward(ctx, dout):
            return dout.double()

    forward, backward = from_autograd_function(Cast)
    out, cache = forward(np.ones(2)[::-1])
    np.testing.assert_array_equal(out, [1.0, 1.0])
    np.testing.assert_array_equal(backward(np.full(2, 0.5), cache)[0], [0.5, 0.5])


def test_apply_is_taken_for_the_class():
    forward, backward = from_autograd_function(ScaledExp.apply)
    assert (forward.__name__, backward.__name__) == ("ScaledExp.forward", "ScaledExp.backward")
    check_backward(forward, backward, (x(2, 3), x(3), 2))


def test_what_is_no_function_class_is_sent_to_the_adapter_that_takes_it():
    with pytest.raises(TypeError) as error:
        from_autograd_function(torch.sin)
    assert str(error.value) == (
        "from_autograd_function must be given a subclass of torch.autograd.Function, but was given "
        "a builtin_function_or_method. Pass the class itself, or what you have to from_torch."
    )


def test_a_function_without_differentiable_output_has_no_gradients():
    class Sign(Forgetful):
        @staticmethod
        def forward(ctx, x):
            out = x.sign()
            ctx.mark_non_differentiable(out)
            return out

    forward, backward = from_autograd_function(Sign)
    assert backward(np.ones(2), forward(np.ones(2))[1]) == (None,)


def test_a_bfloat16_argument_reaches_the_function_in_its_precision():
    import ml_dtypes

    seen = []

    class Doubling(InPlaceDouble):
        @staticmethod
        def forward(ctx, x):
            seen.append(x.dtype)
            return InPlaceDouble.forward(ctx, x)

    forward, backward = from_autograd_function(Doubling)
    out, cache = forward(np.array([1.5], dtype=ml_dtypes.bfloat16))
    assert (out.dtype, seen) == (ml_dtypes.bfloat16, [torch.bfloat16])
    np.testing.assert_array_equal(backward(np.ones(1), cache)[0], [2.0])


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="must be able to import torch") as error:
        from_autograd_function(ScaledExp)
    assert str(error.value).endswith("Install gradcheck[torch].")


def function_of(forward, backward):
    return type("F", (torch.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def sine_forward(ctx, x):
    ctx.save_for_backward(x)
    return x.sin()


def sine_backward(ctx, dout):
    return dout * ctx.saved_tensors[0].cos()


def broken_law(function, *args):
    report = examine_backward(*from_autograd_function(function), args, seed=0)
    assert not report
    return report.broken


def test_a_backward_that_writes_into_its_grad_output_breaks_a_law():
    function = function_of(sine_forward, lambda ctx, dout: dout.mul_(ctx.saved_tensors[0].cos()))
    assert broken_law(function, x(4)) == (
        "F.backward must not write into the cotangent, but it changed dout. Work on a copy.",
    )


def test_a_forward_that_writes_into_its_input_undeclared_breaks_a_law():
    def forward(ctx, x):
        ctx.save_for_backward(x.clone())
        out = x.sin()
        x.zero_()
        return out

    assert broken_law(function_of(forward, sine_backward), x(4)) == (
        "F.forward must not write into its arguments, but it changed x.",
    )


def test_a_backward_that_writes_into_an_argument_breaks_a_law():
    def forward(ctx, x):
        ctx.x = x
        return x.sin()

    def backward(ctx, dout):
        dx = dout * ctx.x.cos()
        with torch.no_grad():
            ctx.x.zero_()
        return dx

    assert broken_law(function_of(forward, backward), x(4)) == (
        "F.backward must not write into the forward's arguments, but it changed x.",
    )


def test_none_for_an_argument_that_asks_for_a_gradient_fails():
    def forward(ctx, x, w, k):
        ctx.save_for_backward(w)
        return x * w * k

    function = function_of(forward, lambda ctx, dout: (3 * dout * ctx.saved_tensors[0], None, None))
    report = examine_backward(*from_autograd_function(function), (x(4), x(4) + 1, 3), seed=0)
    assert [str(finding.verdict) for finding in report.arguments.values()] == ["pass", "fail"]
    assert "because w moves, but returned None" in report.arguments["w"].reason


@pytest.mark.parametrize(("handles", "raised"), [(True, None), (False, "unsupported operand")])
def test_the_cotangent_of_an_output_that_is_not_used_may_be_none(handles, raised):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        return x.sin(), x.cos()

    def backward(ctx, dsin, dcos):
        (x,) = ctx.saved_tensors
        zero = torch.zeros_like(x)
        dsin, dcos = (zero if handles and d is None else d for d in (dsin, dcos))
        return dsin * x.cos() - dcos * x.sin()

    pair = from_autograd_function(function_of(forward, backward))
    if handles:
        check_backward(*pair, (x(4),))
    else:
        with pytest.raises(ValueError, match=raised) as error:
            check_backward(*pair, (x(4),))
        assert "must give the gradients of each output where the others are not used, but then it raised" in str(
            error.value
        )


def test_an_output_alone_must_give_its_part_of_the_gradient():
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        return x.sin(), x.cos()

    def backward(ctx, dsin, dcos):
        (x,) = ctx.saved_tensors
        return torch.zeros_like(x) if dsin is None or dcos is None else dsin * x.cos() - dcos * x.sin()

    with pytest.raises(ValueError, match="but then dx is another"):
        check_backward(*from_autograd_function(function_of(forward, backward)), (x(4),))


def test_an_argument_that_asks_alone_must_get_the_same_gradient():
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    def backward(ctx, dout):
        x, y = ctx.saved_tensors
        return dout * y, dout * x if ctx.needs_input_grad[0] else None

    with pytest.raises(ValueError, match="asks") as error:
        check_backward(*from_autograd_function(function_of(forward, backward)), (x(4), x(4) + 1))
    assert str(error.value).partition("\n")[0] == (
        "F.backward must give the same dy where no other argument asks for a gradient, but then it is another. "
        "Look at what ctx.needs_input_grad is asked for."
    )


def test_a_function_that_draws_is_not_compared_with_another_run():
    def forward(ctx, x, y):
        noise = torch.rand_like(x)
        ctx.save_for_backward(x, y, noise)
        return x * y * noise

    def backward(ctx, dout):
        x, y, noise = ctx.saved_tensors
        return dout * y * noise, dout * x * noise

    forward, backward = from_autograd_function(function_of(forward, backward))
    _, cache = forward(x(4), x(4))
    assert len(backward(np.ones(4), cache)) == 2


def test_the_cotangent_keeps_the_strides_of_the_array():
    seen = []

    def backward(ctx, dout):
        seen.append(dout.stride())
        return sine_backward(ctx, dout)

    forward, backward = from_autograd_function(function_of(sine_forward, backward))
    _, cache = forward(x(2, 3))
    for dout in (np.ones((3, 2)).T, np.broadcast_to(np.ones(3), (2, 3)), np.ones((2, 3))[::-1, ::-1]):
        backward(dout, cache)
    assert seen == [(1, 2), (0, 1), (3, 1)]


def test_what_torch_has_and_is_no_tensor_stays():
    def function(x, *rest):
        return x.sum(), None

    stays = (torch.float32, torch.device("cpu"), torch.Generator(), torch.Size([2]), torch.nn.Linear(1, 1))
    assert Arguments.of(function, (np.ones(1), *stays)).layout.paths == ("x",)


def test_tensors_are_arguments_as_arrays_are():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, dy):
            return 2 * dy * ctx.saved_tensors[0]

    for dtype in (torch.float64, torch.float32):
        assert examine_backward(*from_autograd_function(Square), (torch.arange(1.0, 5.0, dtype=dtype),), seed=0)


def test_an_argument_that_is_a_tensor_and_written_into_breaks_a_law():
    class Spoiling(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = 2 * x
            x.mul_(3)
            return y

        @staticmethod
        def backward(ctx, dy):
            return 2 * dy

    with pytest.raises(GradientError, match="must not write into its arguments"):
        check_backward(*from_autograd_function(Spoiling), (torch.arange(1.0, 5.0, dtype=torch.float64),), seed=0)
