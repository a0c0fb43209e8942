"""JAX's ``custom_vjp`` rules: ``fwd(*args) -> (out, residuals)``, ``bwd(residuals, g) -> cotangents``. Level 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.adapters.signatures import Pair, listed, must_be_callable, name_of, names_of, pair, signature_of
from gradcheck.trees import describe, entry_name, is_number, leaves, mapped, rebuild

__all__ = ["from_custom_vjp"]

SAME_PRIMAL = 1e-6  # how far rule and function may differ, relative to the largest output; oracles.autodiff likewise


@dataclass(frozen=True)
class _Rules:
    """The two rules of a custom_vjp, where the arguments are that ``bwd`` gets first, and the function itself."""

    fwd: Callable[..., Any]
    bwd: Callable[..., Any]
    nondiff: tuple[int, ...]
    name: str
    signature: inspect.Signature
    primal: Callable[..., Any] | None = None


def from_custom_vjp(fwd: Callable[..., Any], bwd: Callable[..., Any] | None = None) -> Pair:
    """Return the pair of the two rules of a ``jax.custom_vjp``.

    The rules run eagerly in float64, inside ``jax.enable_x64(True)``, on the CPU or wherever JAX puts
    them; arrays come back as writable NumPy arrays of the dtype that the rules gave them. As in JAX,
    ``bwd`` returns a tuple with one cotangent per argument. None and ``float0`` (an integer's cotangent)
    become None. JAX reads None as zero; a check does not: return zeros, or leave the argument out of
    ``wrt=``.

    What is judged is ``fwd`` with ``bwd``; of a decorated function ``f`` also whether ``fwd`` computes
    what ``f`` does, at the first point. A ``reference`` must be ``f.__wrapped__``, as ``f`` has the rule to judge.

    Args:
        fwd: ``fwd(*args) -> (out, residuals)``; or a function decorated with ``jax.custom_vjp`` whose
            rules are set by ``defvjp``, with its ``nondiff_argnums``.
        bwd: ``bwd(residuals, g) -> tuple``; None if ``fwd`` is a ``jax.custom_vjp``.

    Raises:
        ImportError: JAX is not installed.
        TypeError: A rule is not callable, ``fwd`` returns no pair or ``bwd`` no tuple.
        ValueError: The rules of a ``custom_vjp`` are not set, take symbolic zeros, or ``bwd`` returns a
            tuple of another length; or ``fwd`` returns something else than ``f``.
    """
    jax = _jax()
    rules = _rules(jax, fwd, bwd)
    primal = rules.primal  # None once it has been compared

    def forward(*args: Any) -> tuple[Any, Any]:
        nonlocal primal
        with jax.enable_x64(True):
            every = [a if i in rules.nondiff else _to_jax(jax, a) for i, a in enumerate(_with_defaults(rules, args))]
            returned = rules.fwd(*every)
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                raise TypeError(
                    f"{name_of(rules.fwd)} must return a pair (out, residuals), but returned {describe(returned)}. "
                    "Return None as the residuals if there are none."
                )
            out, residuals = returned
            if primal is not None:
                _must_compute_the_same(rules.name, _to_numpy(out), _to_numpy(primal(*every)))
                primal = None
            return _to_numpy(out), (args, out, residuals)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        args, out, residuals = cache
        every = _with_defaults(rules, args)
        with jax.enable_x64(True):
            fixed = [every[i] for i in rules.nondiff]
            returned = rules.bwd(*fixed, residuals, _cotangent(jax, dout, out))
            moving = [i for i in range(len(every)) if i not in rules.nondiff]
            _must_be_one_per_argument(rules, returned, [names_of(rules.signature, len(every))[i] for i in moving])
            cotangents: list[Any] = [None] * len(every)
            for i, cotangent in zip(moving, returned, strict=True):
                cotangents[i] = _to_numpy(cotangent)
        return tuple(cotangents[: len(args)])

    parameters = list(rules.signature.parameters.values())
    return pair(forward, backward, names=(rules.name, name_of(rules.bwd)), parameters=parameters, convention="jax")


def _jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise ImportError(
            f"from_custom_vjp must be able to import jax, but could not: {error}. Install gradcheck[jax]."
        ) from error
    return jax


def _rules(jax: Any, fwd: Any, bwd: Any) -> _Rules:
    if bwd is None:
        inner = fwd  # jax.jit(f) is f to its caller, and has no rules to be seen
        while not isinstance(inner, jax.custom_vjp) and hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        fwd = inner if isinstance(inner, jax.custom_vjp) else fwd
    if not isinstance(fwd, jax.custom_vjp):
        must_be_callable("from_custom_vjp", "fwd", fwd)
        must_be_callable("from_custom_vjp", "bwd (or a jax.custom_vjp alone)", bwd)
        return _Rules(fwd, bwd, (), name_of(fwd), signature_of(fwd))
    name = name_of(fwd)
    if bwd is not None:
        raise TypeError(
            f"from_custom_vjp must be given {name} alone, because a jax.custom_vjp has its own bwd, but was also "
            f"given {name_of(bwd)}. Leave the second argument out."
        )
    if fwd.fwd is None or fwd.bwd is None:
        raise ValueError(f"{name} must have its rules set, but has none. Call {name}.defvjp(fwd, bwd) first.")
    if fwd.symbolic_zeros:
        raise ValueError(
            f"{name} must have rules that take arrays, but they are set with symbolic_zeros=True. "
            "Pass two functions that take arrays: from_custom_vjp(fwd, bwd)."
        )
    return _Rules(fwd.fwd, fwd.bwd, tuple(fwd.nondiff_argnums), name, signature_of(fwd), fwd.__wrapped__)


def _must_compute_the_same(who: str, out: Any, primal: Any) -> None:
    """Raise a ValueError unless the forward rule returns what the function returns."""
    rule = f"{who}'s forward rule must return what {who} returns"
    found, expected = list(leaves(out, "out")), list(leaves(primal, "out"))
    if [path for path, _ in found] != [path for path, _ in expected]:
        raise ValueError(f"{rule}, but returned {describe(out)} and not {describe(primal)}. Return the same.")
    for (path, here), (_, there) in zip(found, expected, strict=True):
        if np.shape(here) != np.shape(there):
            raise ValueError(
                f"{rule}, but {path} has shape {np.shape(here)} and not {np.shape(there)}. Compare the two."
            )
        a, b = np.asarray(here, dtype=np.complex128), np.asarray(there, dtype=np.complex128)
        apart = np.where(np.isnan(a) & np.isnan(b) | (a == b), 0.0, np.abs(a - b))
        if not np.all(apart <= SAME_PRIMAL * np.max(np.abs(b), initial=0.0)):
            worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
            raise ValueError(
                f"{rule}, but {entry_name(path, a.shape, worst)} is {np.ravel(here)[worst]:.10g} and not "
                f"{np.ravel(there)[worst]:.10g}. Compute the same in both."
            )


def _with_defaults(rules: _Rules, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return ``args`` and the defaults of those not given: JAX passes all of them to the rules."""
    bound = rules.signature.bind(*args)
    bound.apply_defaults()
    return bound.args


def _must_be_one_per_argument(rules: _Rules, returned: object, names: list[str]) -> None:
    who = name_of(rules.bwd)
    if not isinstance(returned, tuple | list):
        raise TypeError(
            f"{who} must return a tuple with one cotangent per argument ({listed(names)}), but returned "
            f"{describe(_to_numpy(returned))}. Return (g,) for one argument."
        )
    if len(returned) != len(names):
        raise ValueError(
            f"{who} must return a tuple with one cotangent per argument ({listed(names)}), but returned "
            f"{len(returned)}. Return None for an argument that has no gradient."
        )


def _to_jax(jax: Any, tree: Any) -> Any:
    return mapped(
        lambda leaf: jax.numpy.array(leaf) if isinstance(leaf, np.ndarray) and is_number(leaf) else leaf, tree
    )


def _to_numpy(tree: Any) -> Any:
    """Return ``tree`` with JAX's read-only arrays as NumPy's, and ``float0`` as None."""
    return mapped(_leaf_to_numpy, tree)


def _leaf_to_numpy(leaf: Any) -> Any:
    if not hasattr(leaf, "dtype") or not isinstance(leaf.dtype, np.dtype):  # a key has a dtype of its own kind
        return leaf
    array = np.array(leaf)
    return None if array.dtype.names == ("float0",) else array


def _cotangent(jax: Any, dout: Any, out: Any) -> Any:
    """Return ``dout`` in the container, the shapes and the dtypes of ``out``, as JAX hands it to ``bwd``."""
    given = (leaf for _, leaf in leaves(dout, ""))
    return rebuild(out, (_leaf_cotangent(jax, d, o) for d, (_, o) in zip(given, leaves(out, ""), strict=True)))


def _leaf_cotangent(jax: Any, dout: Any, out: Any) -> Any:
    dtype = jax.numpy.result_type(out)
    if not jax.numpy.issubdtype(dtype, jax.numpy.inexact):
        return np.zeros(np.shape(out), jax.dtypes.float0)
    return jax.numpy.asarray(dout, dtype=dtype)
