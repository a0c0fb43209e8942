"""Forward-mode rules of JAX and PyTorch: ``jax.custom_jvp``, ``torch.autograd.Function.jvp``. Level 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.adapters.jax_arrays import arrays_of, jax_for, to_jax
from gradcheck.adapters.libraries import to_numpy
from gradcheck.adapters.misgiven import must_be_function_for
from gradcheck.adapters.signatures import name_of, signature_of
from gradcheck.adapters.tensors import torch_for
from gradcheck.adapters.torch_functions import parameters_of
from gradcheck.trees import describe, flatten, leaves, mapped

__all__ = ["from_custom_jvp", "from_function_jvp"]

Rule = tuple[Callable[..., Any], Callable[..., Any]]


def from_custom_jvp(f: Callable[..., Any]) -> Rule:
    """Return a function and its pushforward, for ``check_pushforward(*from_custom_jvp(f), args)``.

    The function is ``f`` without its rule; what is pushed forward is what ``jax.jvp`` of ``f`` gives, which calls the
    rule. Both run in ``jax.enable_x64(True)``; integers have no tangent.

    Args:
        f: a function decorated with ``jax.custom_jvp`` whose rule is set by ``defjvp`` or ``defjvps``; it may be under
            ``jax.jit``.

    Raises:
        ImportError: JAX is not installed.
        TypeError: ``f`` is no ``jax.custom_jvp``.
        ValueError: its rule is not set.
    """
    jax = jax_for("from_custom_jvp")
    inner: Any = f
    while not isinstance(inner, jax.custom_jvp | jax.custom_vjp) and hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if not isinstance(inner, jax.custom_jvp):
        hint = "Pass it to from_custom_vjp." if isinstance(inner, jax.custom_vjp) else "Decorate it, and set its rule."
        raise TypeError(f"from_custom_jvp must be given a jax.custom_jvp, but was given {describe(f)}. {hint}")
    name, plain = name_of(inner), inner.__wrapped__
    if inner.jvp is None:
        raise ValueError(f"{name} must have its rule set, but has none. Call {name}.defjvp(rule) first.")

    def function(*args: Any) -> Any:
        with jax.enable_x64(True):
            return arrays_of(plain(*to_jax(jax, args)))

    def pushforward(primals: Any, tangents: Any) -> Any:
        with jax.enable_x64(True):
            found, structure = flatten(to_jax(jax, primals))
            moves = [isinstance(x, jax.Array) and jax.numpy.issubdtype(x.dtype, jax.numpy.inexact) for x in found]

            def moved(moving: list[Any]) -> Any:
                values = iter(moving)
                return inner(*structure.unflatten(next(values) if m else x for m, x in zip(moves, found, strict=True)))

            along = [leaf for _, leaf in leaves(tangents, "")]
            pairs = [(x, jax.numpy.asarray(v, x.dtype)) for x, v, m in zip(found, along, moves, strict=True) if m]
            return arrays_of(jax.jvp(moved, *([list(each)] for each in zip(*pairs, strict=True))))

    function.__name__, pushforward.__name__ = name, name_of(inner.jvp)
    function.__signature__ = signature_of(inner)  # type: ignore[attr-defined]
    return function, pushforward


def from_function_jvp(f: Any) -> Rule:
    """Return a function of tensors and its pushforward, for ``check_pushforward(*from_function_jvp(f), args)``.

    What is pushed forward is what ``torch.autograd.forward_ad`` gives, which calls the ``jvp`` of a
    ``torch.autograd.Function``. float64 stays float64, and integers have no tangent.

    Args:
        f: a subclass of ``torch.autograd.Function`` with ``jvp``, its ``apply``, or a function that calls such.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: ``f`` cannot be called.
    """
    torch = torch_for("from_function_jvp")
    owner = getattr(f, "__self__", f)
    is_rule = isinstance(owner, type) and issubclass(owner, torch.autograd.Function)
    if not is_rule:
        must_be_function_for("from_function_jvp", f)
    call: Any = owner.apply if is_rule else f
    name = name_of(owner if is_rule else f)

    def tensor(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.detach()
        is_array = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc"
        return torch.from_numpy(np.array(leaf)) if is_array else leaf

    def function(*args: Any) -> Any:
        return mapped(to_numpy, call(*mapped(tensor, args)))

    def pushforward(primals: Any, tangents: Any) -> Any:
        ad = torch.autograd.forward_ad
        (given, structure), (along, _) = flatten(mapped(tensor, primals)), flatten(mapped(tensor, tangents))
        with ad.dual_level():
            pairs = zip(given, along, strict=True)
            duals = [ad.make_dual(x, v.to(x.dtype)) if _is_inexact(torch, x) else x for x, v in pairs]
            out = call(*structure.unflatten(duals))
            tangent = mapped(lambda y: _tangent(ad, y) if _is_inexact(torch, y) else y, out)
            return mapped(to_numpy, out), mapped(to_numpy, tangent)

    function.__name__, pushforward.__name__ = name, f"{name}.jvp"
    function.__signature__ = inspect.Signature(parameters_of(torch, f))  # type: ignore[attr-defined]
    return function, pushforward


def _is_inexact(torch: Any, leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex())


def _tangent(ad: Any, y: Any) -> Any:
    """Return the tangent of a dual number: zeros where nothing that moves reaches it."""
    primal, tangent = ad.unpack_dual(y)
    return primal.new_zeros(primal.shape) if tangent is None else tangent
