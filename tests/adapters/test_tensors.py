"""Tensors and arrays of JAX go into every adapter as arrays of NumPy do."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from gradcheck import (
    check_backward,
    examine_backward,
    from_custom_vjp,
    from_gradient_in_place,
    from_jax,
    from_layer,
    from_loss_and_grad,
    from_pullback,
    from_torch,
    from_value_and_gradient,
    from_vjp,
)
from gradcheck.adapters.libraries import to_numpy

X = np.random.default_rng(0).standard_normal((3, 4))
KINDS = {
    "float64": torch.tensor,
    "float32": lambda array: torch.tensor(array, dtype=torch.float32),
    "jax": lambda array: jnp.asarray(array, jnp.float32),
}


class Cube:
    def __init__(self, slip):
        self.slip = slip

    def forward(self, x):
        self.x = x
        return x**3

    def backward(self, dout):
        return self.slip * 3 * dout * self.x**2


def in_place(slip):
    def f(x, grad):
        if grad.numel() if isinstance(grad, torch.Tensor) else grad.size:
            grad[:] = slip * 3 * x**2
        return (x**3).sum()

    return f


def function_of_torch(slip):
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, dout):
            return slip * 3 * dout * ctx.saved_tensors[0] ** 2

    return Function


PAIRS = {
    "loss and grad": lambda slip: from_loss_and_grad(lambda x: ((x**3).sum(), slip * 3 * x**2)),
    "loss and dict": lambda slip: from_loss_and_grad(lambda x: ((x**3).sum(), {"x": slip * 3 * x**2})),
    "value and gradient": lambda slip: from_value_and_gradient(lambda x: (x**3).sum(), lambda x: slip * 3 * x**2),
    "in place": lambda slip: from_gradient_in_place(in_place(slip)),
    "layer": lambda slip: from_layer(Cube(slip)),
    "vjp": lambda slip: from_vjp(lambda x: x**3, lambda ans, x: lambda g: slip * 3 * g * x**2),
    "pullback": lambda slip: from_pullback(lambda x: (x**3, lambda dy: slip * 3 * dy * x**2)),
    "custom_vjp": lambda slip: from_custom_vjp(lambda x: (x**3, x), lambda x, g: (slip * 3 * g * x**2,)),
    "torch": lambda slip: from_torch(function_of_torch(slip)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", PAIRS)
def test_right_passes_and_wrong_fails_for_arrays_of_every_library(pair, kind):
    given = KINDS[kind](X)
    assert check_backward(*PAIRS[pair](1.0), (given,), seed=0)
    assert not examine_backward(*PAIRS[pair](1.01), (given,), seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_the_frameworks_take_arrays_of_each_other(kind):
    assert check_backward(*from_torch(torch.sin), (KINDS[kind](X),), seed=0)
    assert check_backward(*from_jax(jnp.sin), (KINDS[kind](X),), seed=0)


def test_a_tensor_that_is_given_is_handed_on_in_its_dtype_and_keeps_its_numbers():
    seen = set()

    def function(x):
        seen.add((x.dtype, x.device.type))
        return x.exp()

    given = torch.tensor(X, dtype=torch.float32)
    check_backward(*from_torch(function), (given,), seed=0)
    assert seen == {(torch.float32, "cpu")}
    assert torch.equal(given, torch.tensor(X, dtype=torch.float32))
    assert not given.requires_grad


def test_a_sparse_tensor_is_refused():
    with pytest.raises(TypeError, match="a tensor must be dense, but its layout is"):
        to_numpy(torch.eye(2).to_sparse())


def test_bfloat16_needs_a_package_that_has_its_dtype(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="must be able to import ml_dtypes"):
        to_numpy(torch.ones(2, dtype=torch.bfloat16))
