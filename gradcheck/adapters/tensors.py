"""What a function of PyTorch computes of tensors, and the gradients that PyTorch finds. Level 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import LEFT_OUT, pass_on
from gradcheck.adapters.libraries import to_numpy
from gradcheck.trees import is_float, leaves, mapped

__all__ = ["Evaluation", "torch_for"]


def torch_for(adapter: str) -> Any:
    """Return the module ``torch``.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{adapter} must be able to import torch, but could not: {error}. Install gradcheck[torch]."
        ) from error
    return torch


@dataclass(frozen=True)
class Evaluation:
    """One call of ``function`` with tensors.

    Attributes:
        given: the arguments, which ask for a gradient where they can.
        used: clones of them, which the function was called with.
        out: what it returned.
    """

    torch: Any
    function: Callable[..., Any]
    given: tuple[Any, ...]
    used: tuple[Any, ...]
    out: Any

    @classmethod
    def of(cls, torch: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> Evaluation:
        """Call ``function`` with arrays of any library, or with tensors, as fresh tensors."""
        return cls.at(torch, function, mapped(lambda leaf: _asking(torch, leaf), args))

    @classmethod
    def at(cls, torch: Any, function: Callable[..., Any], given: tuple[Any, ...]) -> Evaluation:
        """Call ``function`` with tensors of which some ask for a gradient."""
        with torch.enable_grad():
            # A function that works in place refuses a leaf of the graph; a clone is none.
            used = mapped(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, given)
            return cls(torch, function, given, used, function(*used))

    @property
    def shown(self) -> Any:
        """What was returned, as arrays; LEFT_OUT for what PyTorch does not differentiate, unless that is all of it."""
        if not any(self.asks(y) for _, y in leaves(self.out, "")):
            return mapped(to_numpy, self.out)

        def one(y: Any) -> Any:
            return to_numpy(y) if self.asks(y) or self._is_discrete(y) else LEFT_OUT

        return mapped(one, self.out)

    def write_back(self, args: tuple[Any, ...]) -> None:
        """Write what the function did to its arguments into those given, but for what it returned."""
        returned = {id(y) for _, y in leaves(self.out, "")}
        for (_, arg), (_, given), (_, used) in zip(leaves(args, ""), leaves(self.given, ""), self._used, strict=True):
            if isinstance(used, self.torch.Tensor) and id(used) not in returned:
                _pass_on(self.torch, given, used, arg)

    def cotangents(self, dout: Any) -> list[Any]:
        """Return ``dout`` as tensors, None for an output that takes no gradient."""
        pairs = zip(leaves(dout, ""), leaves(self.out, ""), strict=True)
        return [_laid_like(self.torch, dy, y) if self.asks(y) else None for (_, dy), (_, y) in pairs]

    def pull(self, cotangents: list[Any]) -> list[Any]:
        """Return a gradient for each leaf of the arguments, None for what asks for none and what gets none.

        An output without a cotangent is not used.
        """
        pairs = zip(leaves(self.out, ""), cotangents, strict=True)
        outputs = [(y, dy) for (_, y), dy in pairs if dy is not None]
        flat = [x for _, x in leaves(self.given, "")]
        asking = [x for x in flat if self.asks(x)]
        if not outputs or not asking:
            return [None] * len(flat)
        out, dout = zip(*outputs, strict=True)
        found = iter(self.torch.autograd.grad(out, asking, dout, allow_unused=True, retain_graph=True))
        return [next(found) if self.asks(x) else None for x in flat]

    def watched_pull(self, dout: Any, args: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        """Return the cotangents as tensors, and the gradients.

        What is written into a cotangent or an argument meanwhile is written into the arrays given.
        """
        cotangents = self.cotangents(dout)
        tensors = [*(x for _, x in self._used), *cotangents]
        kept = [x.detach().clone() if isinstance(x, self.torch.Tensor) else x for x in tensors]
        gradients = self.pull(cotangents)
        targets = [leaf for tree in (args, dout) for _, leaf in leaves(tree, "")]
        for target, before, now in zip(targets, kept, tensors, strict=True):
            if isinstance(now, self.torch.Tensor):
                _pass_on(self.torch, before, now, target)
        return cotangents, gradients

    def with_zeros(self, gradients: list[Any]) -> list[Any]:
        """Return the gradients with zeros for what the outputs do not depend on."""
        pairs = zip(leaves(self.given, ""), gradients, strict=True)
        return [self.torch.zeros_like(x) if g is None and self.asks(x) else g for (_, x), g in pairs]

    def alone(self, position: int) -> Evaluation:
        """Call again with one argument alone asking for a gradient."""

        def one(i: int, x: Any) -> Any:
            return mapped(lambda leaf: leaf.detach().requires_grad_(i == position) if self.asks(leaf) else leaf, x)

        return Evaluation.at(self.torch, self.function, tuple(one(i, x) for i, x in enumerate(self.given)))

    def asks(self, x: Any) -> bool:
        """Whether ``x`` is a tensor that a gradient is asked for."""
        return isinstance(x, self.torch.Tensor) and x.requires_grad

    @property
    def _used(self) -> list[tuple[str, Any]]:
        return leaves(self.used, "")

    def _is_discrete(self, y: Any) -> bool:
        return isinstance(y, self.torch.Tensor) and not y.is_floating_point() and not y.is_complex()


def _asking(torch: Any, leaf: Any) -> Any:
    """Return a fresh tensor of an array, which asks for a gradient if it holds floats; anything else as it is."""
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().clone().requires_grad_(leaf.is_floating_point() or leaf.is_complex())
    leaf = to_numpy(leaf)
    if not isinstance(leaf, np.ndarray) or (leaf.dtype.kind not in "biufc" and not is_float(leaf)):
        return leaf
    if leaf.dtype.name == "bfloat16":
        return torch.from_numpy(leaf.astype(np.float32)).to(torch.bfloat16).requires_grad_()
    # A copy: the tensor must not share memory with the caller, and torch takes no negative strides.
    return torch.from_numpy(np.array(leaf, order="K")).requires_grad_(is_float(leaf) or leaf.dtype.kind == "c")


def _laid_like(torch: Any, dy: Any, y: Any) -> Any:
    """Return ``dy`` as a tensor of the dtype of ``y`` and of its own memory, expanded or transposed as the array is.

    PyTorch has no negative strides: these become positive.
    """
    array = np.asarray(to_numpy(dy))
    repeated = [stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape, strict=True)]
    once = np.array(array[tuple(slice(0, 1) if each else slice(None) for each in repeated)], order="K")
    return _asking(torch, once).detach().to(dtype=y.dtype, device=y.device).expand(array.shape)


def _pass_on(torch: Any, before: Any, now: Any, given: Any) -> None:
    """Write what changed in a tensor into the array or the tensor that it was made from."""
    if isinstance(given, torch.Tensor) and not torch.equal(before.detach(), now.detach()):
        given.detach().copy_(now.detach())
    pass_on(to_numpy(before), to_numpy(now), given)
