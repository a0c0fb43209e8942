"""PyTorch's ``torch.autograd.Function``, with ``forward(ctx, ...)`` or with ``setup_context``. Level 1."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import pass_on
from gradcheck.adapters.signatures import Pair, names_of, pair, signature_of
from gradcheck.errors import told
from gradcheck.trees import describe, is_float, leaves, rebuild

__all__ = ["from_autograd_function"]


def from_autograd_function(function: Any) -> Pair:
    """Return the pair of a subclass of ``torch.autograd.Function``.

    The forward is ``function.apply`` on CPU tensors in the precision of the arrays given (float64 stays
    float64); float arrays require a gradient. The backward is ``torch.autograd.grad``, so PyTorch's own
    rules hold: a gradient of a shape that does not fit raises PyTorch's RuntimeError, one that broadcast
    is summed. It returns one gradient per argument; None for integers and where ``function`` returned
    None. Arrays inside containers get no gradient, because PyTorch tracks none through them.

    The cotangent reaches ``function`` with the strides of the array given, expanded or transposed. What
    ``function`` writes into it, or into an argument without ``mark_dirty``, is written into the arrays given as
    well, so that a check sees it. The first backward also tries each output alone, whose cotangent is then None or
    zeros for the others, and each argument alone, which ``needs_input_grad`` then says.

    Args:
        function: The class, not ``function.apply``. ``once_differentiable``, ``mark_dirty``,
            ``mark_non_differentiable``, ``set_materialize_grads`` and several outputs work.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: ``function`` is no subclass of ``torch.autograd.Function``.
        ValueError (by the backward): a gradient changes when only one output is used, or only one argument asks.
    """
    torch = _torch()
    if not (isinstance(function, type) and issubclass(function, torch.autograd.Function)):
        raise TypeError(
            "from_autograd_function must be given a subclass of torch.autograd.Function, but was given "
            f"{describe(function)}. Pass the class itself, not its apply and not an instance."
        )
    name, parameters = function.__name__, _parameters(torch, function)
    names = inspect.Signature(parameters)
    tried = False

    def forward(*args: Any) -> tuple[Any, Any]:
        run = _Run.of(torch, function, [_to_torch(torch, arg) for arg in args])
        for arg, given, used in zip(args, run.given, run.used, strict=True):
            if _is_tensor(torch, used) and not any(leaf is used for _, leaf in leaves(run.out, "")):
                _pass_on(torch, given, used, arg)
        return _to_numpy(torch, run.out), (args, run)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        nonlocal tried
        args, run = cache
        cotangents = run.cotangents(dout)
        kept = [x.detach().clone() if _is_tensor(torch, x) else x for x in (*run.used, *cotangents)]
        gradients = run.pull(cotangents)
        given = (*args, *(leaf for _, leaf in leaves(dout, "")))
        for target, before, now in zip(given, kept, (*run.used, *cotangents), strict=True):
            if _is_tensor(torch, now):
                _pass_on(torch, before, now, target)
        if not tried:
            tried = True
            _must_hold_apart(name, run, cotangents, gradients, names_of(names, len(args)))
        return tuple(_to_numpy(torch, gradient) for gradient in gradients)

    return pair(forward, backward, names=(f"{name}.forward", f"{name}.backward"), parameters=parameters)


@dataclass(frozen=True)
class _Run:
    """One ``apply``: the tensors given, the clones of them that were used, and the outputs."""

    torch: Any
    function: Any
    given: list[Any]
    used: list[Any]
    out: Any

    @classmethod
    def of(cls, torch: Any, function: Any, given: list[Any]) -> _Run:
        with torch.enable_grad():
            # A Function that works in place (mark_dirty) refuses a leaf; a clone is none.
            used = [x.clone() if _is_tensor(torch, x) else x for x in given]
            return cls(torch, function, given, used, function.apply(*used))

    def cotangents(self, dout: Any) -> list[Any]:
        """Return ``dout`` as tensors, None for an output that takes no gradient."""
        pairs = zip(leaves(dout, ""), leaves(self.out, ""), strict=True)
        return [_laid_like(self.torch, dy, y) if self._asks(y) else None for (_, dy), (_, y) in pairs]

    def pull(self, cotangents: list[Any]) -> list[Any]:
        """Return one gradient per argument, None for what requires none; an output without a cotangent is not used."""
        pairs = zip(leaves(self.out, ""), cotangents, strict=True)
        outputs = [(y, dy) for (_, y), dy in pairs if dy is not None]
        asking = [x for x in self.given if self._asks(x)]
        if not outputs or not asking:
            return [None] * len(self.given)
        found = iter(
            self.torch.autograd.grad(
                [y for y, _ in outputs], asking, [dy for _, dy in outputs], allow_unused=True, retain_graph=True
            )
        )
        return [next(found) if self._asks(x) else None for x in self.given]

    def alone(self, position: int) -> _Run:
        """Run again with one argument alone requiring a gradient."""
        given = [x.detach().requires_grad_(i == position) if self._asks(x) else x for i, x in enumerate(self.given)]
        return _Run.of(self.torch, self.function, given)

    def _asks(self, x: Any) -> bool:
        return isinstance(x, self.torch.Tensor) and x.requires_grad


def _must_hold_apart(name: str, run: _Run, cotangents: list[Any], gradients: list[Any], names: tuple[str, ...]) -> None:
    """Raise a ValueError unless the gradients are the same from each output alone, and for each argument alone."""
    copies = [None if dy is None else dy.clone() for dy in cotangents]
    used = [i for i, dy in enumerate(copies) if dy is not None]
    if len(used) > 1:
        who = f"{name}.backward must give the gradients of each output where the others are not used"
        hint = "The cotangents of those are zeros, or None after set_materialize_grads(False)."
        total: list[Any] = [None] * len(gradients)
        for one in used:
            try:
                part = run.pull([dy if i == one else None for i, dy in enumerate(copies)])
            except Exception as error:
                raise ValueError(f"{who}, but then it raised {told(error)}. {hint}") from error
            total = [b if a is None else a if b is None else a + b for a, b in zip(total, part, strict=True)]
        for argument, here, there in zip(names, total, gradients, strict=True):
            if _differ(here, there):
                raise ValueError(f"{who}, but then d{argument} is another. {hint}")
    asking = [i for i, gradient in enumerate(gradients) if gradient is not None]
    for position in asking if len(asking) > 1 else ():
        alone = run.alone(position)
        if any(_differ(a, b) for (_, a), (_, b) in zip(leaves(alone.out, ""), leaves(run.out, ""), strict=True)):
            return  # it draws something: the runs cannot be compared
        if _differ(alone.pull(copies)[position], gradients[position]):
            raise ValueError(
                f"{name}.backward must give the same d{names[position]} where no other argument asks for a gradient, "
                "but then it is another. Look at what ctx.needs_input_grad is asked for."
            )


def _differ(some: Any, other: Any) -> bool:
    """Whether two tensors, or None, are further apart than two orders of a sum."""
    if some is None or other is None or not hasattr(some, "dtype"):
        return (some is None) != (other is None)
    a, b = (np.asarray(x.detach().double().numpy(force=True)) for x in (some, other))
    eps = 2.0**-52 if some.element_size() >= 8 else 2.0**-23 if some.element_size() == 4 else 2.0**-7
    return not np.array_equal(a, b) and not np.linalg.norm(a - b) <= eps**0.5 * np.linalg.norm(b)


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


def _is_tensor(torch: Any, x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def _pass_on(torch: Any, before: Any, now: Any, given: Any) -> None:
    """Write what changed in a tensor into the array or the tensor that it was made from."""
    if isinstance(given, torch.Tensor) and not torch.equal(before.detach(), now.detach()):
        given.detach().copy_(now.detach())
    pass_on(_leaf_to_numpy(torch, before), _leaf_to_numpy(torch, now), given)


def _laid_like(torch: Any, dy: Any, y: Any) -> Any:
    """Return ``dy`` as a tensor of the dtype of ``y`` and of its own memory, expanded or transposed as the array is.

    PyTorch has no negative strides: these become positive.
    """
    array = np.asarray(dy)
    repeated = [stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape, strict=True)]
    once = np.array(array[tuple(slice(0, 1) if each else slice(None) for each in repeated)], order="K")
    return _leaf_to_torch(torch, once).detach().to(y.dtype).expand(array.shape)


def _leaf_to_torch(torch: Any, leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().clone().requires_grad_(leaf.is_floating_point() or leaf.is_complex())
    if not isinstance(leaf, np.ndarray) or (leaf.dtype.kind not in "biufc" and not is_float(leaf)):
        return leaf
    if leaf.dtype.name == "bfloat16":
        return torch.from_numpy(leaf.astype(np.float32)).to(torch.bfloat16).requires_grad_()
    # A copy: the tensor must not share memory with the caller, and torch takes no negative strides.
    return torch.from_numpy(np.array(leaf, order="K")).requires_grad_(is_float(leaf) or leaf.dtype.kind == "c")


def _to_numpy(torch: Any, tree: Any) -> Any:
    return rebuild(tree, (_leaf_to_numpy(torch, leaf) for _, leaf in leaves(tree, "")))


def _leaf_to_numpy(torch: Any, leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    tensor = leaf.detach()
    # NumPy has no bfloat16; every bfloat16 is a float32.
    tensor = tensor.float() if tensor.dtype is torch.bfloat16 else tensor
    return np.array(tensor.numpy(force=True))
