"""PyTorch's ``torch.autograd.Function``, with ``forward(ctx, ...)`` or with ``setup_context``. Level 1."""

from __future__ import annotations

from typing import Any

from gradcheck.adapters.signatures import Pair
from gradcheck.adapters.tensors import torch_for
from gradcheck.adapters.torch_functions import from_torch
from gradcheck.trees import describe

__all__ = ["from_autograd_function"]


def from_autograd_function(function: Any) -> Pair:
    """Return the pair of a subclass of ``torch.autograd.Function``, as :func:`from_torch` does, which takes more.

    The forward is ``function.apply``, the backward is ``torch.autograd.grad``, so PyTorch's own rules hold: a gradient
    of a shape that does not fit raises PyTorch's RuntimeError, one that broadcast is summed. It returns one gradient
    per argument; None for integers and where ``function`` returned None. Arrays inside containers get no gradient,
    because PyTorch tracks none through them.

    The cotangent reaches ``function`` with the strides of the array given, expanded or transposed.

    Args:
        function: The class, or its ``apply``. ``once_differentiable``, ``mark_dirty``,
            ``mark_non_differentiable``, ``set_materialize_grads`` and several outputs work.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: ``function`` is no subclass of ``torch.autograd.Function``.
        ValueError (by the backward): a gradient changes when only one output is used, or only one argument asks.
    """
    torch = torch_for("from_autograd_function")
    owner = getattr(function, "__self__", function)
    if not (isinstance(owner, type) and issubclass(owner, torch.autograd.Function)):
        raise TypeError(
            "from_autograd_function must be given a subclass of torch.autograd.Function, but was given "
            f"{describe(function)}. Pass the class itself, or what you have to from_torch."
        )
    return from_torch(owner)
