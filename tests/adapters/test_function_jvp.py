"""PyTorch's rules of forward mode, and rules differentiated twice."""

import numpy as np
import pytest
import torch

from gradcheck import (
    check_backward,
    check_pushforward,
    examine_backward,
    examine_pushforward,
    from_function_jvp,
    from_torch,
)

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # what PyTorch itself still calls
RNG = np.random.default_rng(0)
X, DOUT = RNG.standard_normal((3, 2)), RNG.standard_normal((3, 2))


def square(factor=1.0, second=1.0):
    class Slope(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, dy):
            return 2 * second * dy

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.save_for_forward(x)
            return x * x

        @staticmethod
        def backward(ctx, dy):
            return dy * Slope.apply(ctx.saved_tensors[0])

        @staticmethod
        def jvp(ctx, dx):
            return factor * 2 * ctx.saved_tensors[0] * dx

    return Square


def test_a_right_rule_passes_and_a_wrong_one_fails():
    assert check_pushforward(*from_function_jvp(square()), (X,), seed=0)
    assert not examine_pushforward(*from_function_jvp(square(1.001)), (X,), seed=0)


def test_tensors_and_a_function_around_the_rule_are_taken():
    def f(x, n):
        return square().apply(x) * n, x.shape[0]

    assert check_pushforward(*from_function_jvp(f), (torch.tensor(X), 3), seed=0)


def test_complex_tensors_are_pushed_forward():
    assert check_pushforward(*from_function_jvp(torch.exp), (X + 1j * DOUT,), seed=0)


def test_a_rule_is_differentiated_twice():
    assert check_backward(*from_torch(square(), order=2), (X, DOUT), seed=0)
    assert examine_backward(*from_torch(square(second=0.5)), (X,), seed=0)
    report = examine_backward(*from_torch(square(second=0.5), order=2), (X, DOUT), seed=0)
    assert [str(finding.verdict) for finding in report.arguments.values()] == ["fail", "pass"]


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="must be given a function"):
        from_function_jvp(3)
