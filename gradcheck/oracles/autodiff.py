"""JAX autodiff of a reference: the same function written in ``jax.numpy``, differentiated by machine. Level 1.

One pullback of the reference gives the whole gradient g of φ, and every direction is then ⟨g, v⟩. The reference is
compiled once for each choice of shapes, in float64 within JAX's thread-local context: no global flag is touched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.oracles.estimate import Estimate, Oracle, OracleError, Pushforward
from gradcheck.oracles.rules import must_have_no_rule
from gradcheck.pairing import Pairing
from gradcheck.trees import Array, entry_name, leaves, rebuild

__all__ = ["autodiff"]

EPS = float(np.finfo(np.float64).eps)
ROUNDINGS = 64.0  # how many roundings of the gradient's entries the bound allows for
SAME_PRIMAL = 1e-6  # how far reference and forward may differ, relative to the largest output
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # compile fast, run slower


@functools.lru_cache(maxsize=256)
def autodiff(reference: Callable[..., Any]) -> Oracle:
    """Return the oracle that differentiates ``reference(*args) -> out`` with JAX.

    Raises (when the oracle is used):
        OracleError: JAX is not installed, cannot trace ``reference``, or would call a rule that its author wrote.
        ValueError: ``reference`` and the forward do not agree on the primal.
    """
    compiled: dict[Hashable, Callable[..., Any]] = {}

    def oracle(f: Callable[[Array], Any], x: Array) -> Pushforward:
        jax = _jax(reference)
        if not isinstance(f, Pairing):
            return _pushforward_of_array_function(jax, reference, x)
        with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
            primal, gradient = _pull(jax, reference, f, compiled)
        _must_agree(reference, f, primal)
        length = (np.linalg.norm(x) or np.sqrt(x.size)) if np.size(x) else 1.0

        def pushforward(v: Array) -> Estimate:
            terms = gradient * v
            size = float(np.linalg.norm(v)) / length
            return Estimate(float(terms.sum()), ROUNDINGS * (EPS * float(np.linalg.norm(terms)) + f.rounding * size))

        return pushforward

    oracle.__name__ = "autodiff"
    return oracle


def _jax(reference: Callable[..., Any]) -> Any:
    try:
        import jax
    except ImportError as error:
        raise OracleError(
            f"autodiff must have JAX to differentiate {name_of(reference)}, but it is not installed. "
            "Install gradcheck[jax], or use oracle=central_difference."
        ) from error
    return jax


def _pull(
    jax: Any, reference: Callable[..., Any], f: Pairing, compiled: dict[Hashable, Any]
) -> tuple[list[Array], Array]:
    """Return the primal leaves of ``reference`` and the flat gradient of its pairing."""
    arguments = f.arguments
    args = arguments.at(arguments.point)
    flat = [pair for name, value in zip(arguments.names, args, strict=True) for pair in leaves(value, name)]
    moving = {path: leaf for path, leaf in flat if path in arguments.layout.paths}
    fixed = {path: leaf for path, leaf in flat if path not in moving and isinstance(leaf, np.ndarray)}

    def function(moving: dict[str, Any], fixed: dict[str, Any]) -> list[Any]:
        values = iter([{**moving, **fixed}.get(path, leaf) for path, leaf in flat])
        return [leaf for _, leaf in leaves(reference(*(rebuild(arg, values) for arg in args)), "out")]

    def pull(moving: dict[str, Any], fixed: dict[str, Any], cotangent: list[Any]) -> Any:
        out, pullback = jax.vjp(lambda moving: function(moving, fixed), moving)
        return out, pullback([c.astype(o.dtype).reshape(o.shape) for c, o in zip(cotangent, out, strict=True)])[0]

    known = len(compiled)
    jitted = _jitted(jax, arguments, flat, set(moving) | set(fixed), pull, compiled)
    if jitted is pull or len(compiled) > known:
        must_have_no_rule(jax, reference, lambda moving: function(moving, fixed), moving)
    cotangent = [jax.numpy.asarray(c) for c in f.cotangent]
    try:
        try:
            out, gradients = jitted(moving, fixed, cotangent)
        except jax.errors.JAXTypeError:  # it wants to see a number that jit hides: run it step by step
            out, gradients = pull(moving, fixed, cotangent)
    except jax.errors.JAXTypeError as error:
        raise OracleError(
            f"autodiff must be able to trace {name_of(reference)}, but it turns a traced array into "
            "NumPy or a Python number. Pass reference=, the same function written in jax.numpy."
        ) from error
    gradient = arguments.layout.flatten(np.asarray(gradients[path]) for path in arguments.layout.paths)
    return [np.asarray(leaf, dtype=np.float64) for leaf in out], gradient


def _jitted(
    jax: Any,
    arguments: Arguments,
    flat: list[tuple[str, Any]],
    arrays: set[str],
    pull: Any,
    compiled: dict[Hashable, Any],
) -> Any:
    """Return ``pull`` compiled, the same object for every call with the same settings."""
    settings = tuple((path, None if path in arrays else leaf) for path, leaf in flat)
    kinds = tuple(str(jax.tree_util.tree_structure(value)) for value in arguments.values)
    try:
        key = (settings, kinds, arguments.layout.paths)
        hash(key)
    except TypeError:
        return pull
    if key not in compiled:
        compiled[key] = jax.jit(pull, compiler_options=QUICK)
    return compiled[key]


def _must_agree(reference: Callable[..., Any], f: Pairing, primal: list[Array]) -> None:
    who = f"{name_of(reference)} must return what {f.arguments.function} returns"
    if len(primal) != len(f.primal):
        raise ValueError(f"{who}, but it returned {len(primal)} arrays and not {len(f.primal)}. Check the reference.")
    for (path, _), got, expected in zip(f.named_primal, primal, f.primal, strict=True):
        if got.size != expected.size or np.squeeze(got).shape != np.squeeze(expected).shape:
            raise ValueError(
                f"{who}, but {path} has shape {got.shape} and not {expected.shape}. Return the same shape from both."
            )
        apart = np.abs(got.reshape(expected.shape) - expected)
        allowed = SAME_PRIMAL * float(np.max(np.abs(expected)))
        if not np.all(apart <= allowed):
            worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
            raise ValueError(
                f"{who}, but {entry_name(path, expected.shape, worst)} is {got.ravel()[worst]:.10g} and not "
                f"{expected.ravel()[worst]:.10g}. Make the reference compute the same function first."
            )


def _pushforward_of_array_function(jax: Any, reference: Callable[..., Any], x: Array) -> Pushforward:
    def pushforward(v: Array) -> Estimate:
        with jax.enable_x64(True):
            _, tangent = jax.jvp(reference, (jax.numpy.asarray(x),), (jax.numpy.asarray(v),))
            value = np.asarray(tangent)[()]
        return Estimate(value, ROUNDINGS * EPS * np.abs(value))

    return pushforward
