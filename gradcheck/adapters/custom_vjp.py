"""JAX's ``custom_vjp`` rules: ``fwd(*args) -> (out, residuals)``, ``bwd(residuals, g) -> cotangents``. Level 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradcheck.adapters.jax_arrays import arrays_of, cotangent_for, jax_for, must_compute_the_same, to_jax
from gradcheck.adapters.misgiven import must_be_for
from gradcheck.adapters.signatures import Pair, listed, must_be_callable, name_of, names_of, pair, signature_of
from gradcheck.trees import describe

__all__ = ["from_custom_vjp"]


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
    jax = jax_for("from_custom_vjp")
    rules = _rules(jax, fwd, bwd)
    primal = rules.primal  # None once it has been compared

    def forward(*args: Any) -> tuple[Any, Any]:
        nonlocal primal
        with jax.enable_x64(True):
            every = [a if i in rules.nondiff else to_jax(jax, a) for i, a in enumerate(_with_defaults(rules, args))]
            returned = rules.fwd(*every)
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                raise TypeError(
                    f"{name_of(rules.fwd)} must return a pair (out, residuals), but returned {describe(returned)}. "
                    "Return None as the residuals if there are none."
                )
            out, residuals = returned
            if primal is not None:
                rule = f"{rules.name}'s forward rule must return what {rules.name} returns"
                must_compute_the_same(rule, arrays_of(out), arrays_of(primal(*every)))
                primal = None
            return arrays_of(out), (args, out, residuals)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        args, out, residuals = cache
        every = _with_defaults(rules, args)
        with jax.enable_x64(True):
            fixed = [every[i] for i in rules.nondiff]
            returned = rules.bwd(*fixed, residuals, cotangent_for(jax, dout, out))
            moving = [i for i in range(len(every)) if i not in rules.nondiff]
            _must_be_one_per_argument(rules, returned, [names_of(rules.signature, len(every))[i] for i in moving])
            cotangents: list[Any] = [None] * len(every)
            for i, cotangent in zip(moving, returned, strict=True):
                cotangents[i] = arrays_of(cotangent)
        return tuple(cotangents[: len(args)])

    parameters = list(rules.signature.parameters.values())
    return pair(forward, backward, names=(rules.name, name_of(rules.bwd)), parameters=parameters, convention="jax")


def _rules(jax: Any, fwd: Any, bwd: Any) -> _Rules:
    if bwd is None:
        inner = fwd  # jax.jit(f) is f to its caller, and has no rules to be seen
        while not isinstance(inner, jax.custom_vjp | jax.custom_jvp) and hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        if isinstance(inner, jax.custom_vjp):
            fwd = inner
        else:
            must_be_for("from_custom_vjp", inner)
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
            f"Pass {name} to from_jax."
        )
    return _Rules(fwd.fwd, fwd.bwd, tuple(fwd.nondiff_argnums), name, signature_of(fwd), fwd.__wrapped__)


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
            f"{describe(arrays_of(returned))}. Return (g,) for one argument."
        )
    if len(returned) != len(names):
        raise ValueError(
            f"{who} must return a tuple with one cotangent per argument ({listed(names)}), but returned "
            f"{len(returned)}. Return None for an argument that has no gradient."
        )
