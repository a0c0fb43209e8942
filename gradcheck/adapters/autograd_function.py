"""PyTorch's ``torch.autograd.Function``, with ``forward(ctx, ...)`` or with ``setup_context``. Level 1."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from gradcheck.adapters.signatures import Pair, pair, signature_of
from gradcheck.trees import describe, is_float, leaves, rebuild

__all__ = ["from_autograd_function"]


def from_autograd_function(function: Any) -> Pair:
    """Return the pair of a subclass of ``torch.autograd.Function``.

    The forward is ``function.apply`` on CPU tensors in the precision of the arrays given (float64 stays
    float64); float arrays require a gradient. The backward is ``torch.autograd.grad``, so PyTorch's own
    rules hold: a gradient of a shape that does not fit raises PyTorch's RuntimeError, one that broadcast
    is summed. It returns one gradient per argument; None for integers and where ``function`` returned
    None. Arrays inside containers get no gradient, because PyTorch tracks none through them.

    Args:
        function: The class, not ``function.apply``. ``once_differentiable``, ``mark_dirty``,
            ``mark_non_differentiable`` and several outputs work.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: ``function`` is no subclass of ``torch.autograd.Function``.
    """
    torch = _torch()
    if not (isinstance(function, type) and issubclass(function, torch.autograd.Function)):
        raise TypeError(
            "from_autograd_function must be given a subclass of torch.autograd.Function, but was given "
            f"{describe(function)}. Pass the class itself, not its apply and not an instance."
        )

    apply: Any = function.apply  # type: ignore[attr-defined]  # torch is not there to be read

    def forward(*args: Any) -> tuple[Any, Any]:
        with torch.enable_grad():
            inputs = [_to_torch(torch, arg) for arg in args]
            # A Function that works in place (mark_dirty) refuses a leaf; a clone is none.
            clones = (x.clone() if isinstance(x, torch.Tensor) else x for x in inputs)
            out = apply(*clones)
        return _to_numpy(torch, out), (inputs, out)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        inputs, out = cache
        tracked = [x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad]
        cotangents = (leaf for _, leaf in leaves(dout, ""))
        outputs = [
            (y, torch.tensor(np.asarray(dy), dtype=y.dtype))
            for dy, (_, y) in zip(cotangents, leaves(out, ""), strict=True)
            if isinstance(y, torch.Tensor) and y.requires_grad
        ]
        if not outputs or not tracked:
            return (None,) * len(inputs)
        found = iter(
            torch.autograd.grad(
                [y for y, _ in outputs], tracked, [dy for _, dy in outputs], allow_unused=True, retain_graph=True
            )
        )
        return tuple(
            _to_numpy(torch, next(found)) if isinstance(x, torch.Tensor) and x.requires_grad else None for x in inputs
        )

    name = function.__name__
    return pair(
        forward, backward, names=(f"{name}.forward", f"{name}.backward"), parameters=_parameters(torch, function)
    )


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"from_autograd_function must be able to import torch, but could not: {error}. Install gradcheck[torch]."
        ) from error
    return torch


def _parameters(torch: Any, function: Any) -> list[inspect.Parameter]:
    """Return the parameters of the function's forward, without the ``ctx`` of the older style."""
    parameters = list(signature_of(function.forward).parameters.values())
    has_ctx = function.setup_context is torch.autograd.Function.setup_context
    return parameters[1:] if has_ctx and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL else parameters


def _to_torch(torch: Any, tree: Any) -> Any:
    return rebuild(tree, (_leaf_to_torch(torch, leaf) for _, leaf in leaves(tree, "")))


def _leaf_to_torch(torch: Any, leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray) or (leaf.dtype.kind not in "biufc" and not is_float(leaf)):
        return leaf
    if leaf.dtype.name == "bfloat16":
        return torch.from_numpy(leaf.astype(np.float32)).to(torch.bfloat16).requires_grad_()
    # A C-ordered copy: the tensor must not share memory with the caller, and torch takes no negative strides.
    return torch.from_numpy(np.array(leaf, order="C")).requires_grad_(is_float(leaf))


def _to_numpy(torch: Any, tree: Any) -> Any:
    return rebuild(tree, (_leaf_to_numpy(torch, leaf) for _, leaf in leaves(tree, "")))


def _leaf_to_numpy(torch: Any, leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    tensor = leaf.detach()
    # NumPy has no bfloat16; every bfloat16 is a float32.
    tensor = tensor.float() if tensor.dtype is torch.bfloat16 else tensor
    return np.array(tensor.numpy(force=True))
