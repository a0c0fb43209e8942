"""JAX's ``custom_jvp`` rules: ``jvp(primals, tangents) -> (out, tangent_out)``. Level 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.adapters.signatures import name_of, signature_of
from gradcheck.trees import describe, is_number, leaves, mapped, rebuild

__all__ = ["from_custom_jvp"]


def from_custom_jvp(f: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a function and its pushforward, for ``check_pushforward(*from_custom_jvp(f), args)``.

    The function is ``f`` without its rule; what is pushed forward is what ``jax.jvp`` of ``f`` gives, which calls the
    rule. Both run in ``jax.enable_x64(True)``; integers have no tangent.

    Args:
        f: a function decorated with ``jax.custom_jvp`` whose rule is set by ``defjvp`` or ``defjvps``.

    Raises:
        ImportError: JAX is not installed.
        TypeError: ``f`` is no ``jax.custom_jvp``.
        ValueError: its rule is not set.
    """
    jax = _jax()
    inner = f
    while not isinstance(inner, jax.custom_jvp | jax.custom_vjp) and hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if not isinstance(inner, jax.custom_jvp):
        hint = "Call from_custom_vjp for a jax.custom_vjp." if isinstance(inner, jax.custom_vjp) else "Decorate it."
        raise TypeError(f"from_custom_jvp must be given a jax.custom_jvp, but was given {describe(f)}. {hint}")
    name, plain = name_of(inner), inner.__wrapped__
    if inner.jvp is None:
        raise ValueError(f"{name} must have its rule set, but has none. Call {name}.defjvp(rule) first.")

    def function(*args: Any) -> Any:
        with jax.enable_x64(True):
            return _to_numpy(plain(*_to_jax(jax, args)))

    def pushforward(primals: Any, tangents: Any) -> Any:
        with jax.enable_x64(True):
            given = _to_jax(jax, primals)
            found = [leaf for _, leaf in leaves(given, "")]
            moves = [hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact) for leaf in found]

            def moved(*moving: Any) -> Any:
                values = iter(moving)
                parts = (next(values) if each else leaf for each, leaf in zip(moves, found, strict=True))
                return inner(*rebuild(given, parts))

            along = [leaf for _, leaf in leaves(tangents, "")]
            pairs = [(x, jax.numpy.asarray(v, dtype=x.dtype)) for x, v, m in zip(found, along, moves, strict=True) if m]
            out, tangent = jax.jvp(moved, *zip(*pairs, strict=True))
            return _to_numpy(out), _to_numpy(tangent)

    function.__name__, pushforward.__name__ = name, name_of(inner.jvp)
    function.__signature__ = signature_of(inner)  # type: ignore[attr-defined]
    return function, pushforward


def _jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise ImportError(
            f"from_custom_jvp must be able to import jax, but could not: {error}. Install gradcheck[jax]."
        ) from error
    return jax


def _to_jax(jax: Any, tree: Any) -> Any:
    def one(leaf: Any) -> Any:
        return jax.numpy.asarray(leaf) if isinstance(leaf, np.ndarray) and is_number(leaf) else leaf

    return mapped(one, tree)


def _to_numpy(tree: Any) -> Any:
    def one(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype") or not isinstance(leaf.dtype, np.dtype):
            return leaf
        array = np.array(leaf)
        return np.zeros(array.shape) if array.dtype.names == ("float0",) else array

    return mapped(one, tree)
