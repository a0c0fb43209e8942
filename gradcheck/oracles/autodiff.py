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
from gradcheck.oracles.estimate import Estimate, Oracle, OracleError, Pushforward, point_of, tangent_at
from gradcheck.oracles.rules import must_have_no_rule
from gradcheck.pairing import Pairing, call
from gradcheck.trees import Array, describe, entry_name, is_number, leaves, rebuild

__all__ = ["autodiff"]

EPS = float(np.finfo(np.float64).eps)
ROUNDINGS = 64.0  # how many roundings of the gradient's entries the bound allows for
SAME_PRIMAL = 1e-6  # how far reference and forward may differ, relative to the largest output
UNTRACEABLE = (
    "autodiff must be able to trace {}, but it turns a traced array into NumPy or a Python number. "
    "Pass reference=, the same function written in jax.numpy."
)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # compile fast, run slower


def autodiff(reference: Callable[..., Any]) -> Oracle:
    """Return the oracle that differentiates ``reference(*args) -> out`` with JAX.

    Raises:
        TypeError: ``reference`` is no function.

    Raises (when the oracle is used):
        OracleError: JAX is not installed, cannot trace ``reference``, or would call a rule that its author wrote.
        TypeError: ``reference`` returns something else than arrays.
        ValueError: ``reference`` and the forward do not agree on the primal.
    """
    if not callable(reference):
        raise TypeError(f"reference must be a function, but it is {describe(reference)}. Pass the function itself.")
    try:
        return _oracle_of(reference)
    except TypeError:  # it has no hash: it is compiled anew for every oracle
        return _oracle_of.__wrapped__(reference)


@functools.lru_cache(maxsize=256)
def _oracle_of(reference: Callable[..., Any]) -> Oracle:
    compiled: dict[Hashable, Callable[..., Any]] = {}

    def oracle(f: Callable[[Array], Any], x: Array) -> Pushforward:
        jax = _jax(reference)
        if not isinstance(f, Pairing):
            return _pushforward_of_array_function(jax, reference, f, x)
        with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
            gradient = _pull(jax, reference, f, compiled)
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


def _pull(jax: Any, reference: Callable[..., Any], f: Pairing, compiled: dict[Hashable, Any]) -> Array:
    """Return the flat gradient of the pairing of ``reference``."""
    arguments = f.arguments
    args = arguments.at(arguments.point)
    flat = [pair for name, value in zip(arguments.names, args, strict=True) for pair in leaves(value, name)]
    moving = {path: leaf for path, leaf in flat if path in arguments.layout.paths}
    fixed = {path: leaf for path, leaf in flat if path not in moving and isinstance(leaf, np.ndarray)}

    def function(moving: dict[str, Any], fixed: dict[str, Any]) -> list[Any]:
        values = iter([{**moving, **fixed}.get(path, leaf) for path, leaf in flat])
        found = map(jax.numpy.asarray, _called(reference, tuple(rebuild(arg, values) for arg in args)))
        return [leaf if jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact) else leaf.astype(float) for leaf in found]

    def pull(moving: dict[str, Any], fixed: dict[str, Any], cotangent: list[Any]) -> Any:
        out, pullback = jax.vjp(lambda moving: function(moving, fixed), moving)
        if [np.size(o) for o in out] != [np.size(c) for c in cotangent]:
            return out, None
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
        raise OracleError(UNTRACEABLE.format(name_of(reference))) from error
    _must_agree(reference, f, [np.asarray(leaf, dtype=np.float64) for leaf in out])
    return arguments.layout.flatten(np.asarray(gradients[path]) for path in arguments.layout.paths)


def _called(reference: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
    """Return the leaves of what ``reference`` returns: arrays, of JAX or NumPy, and numbers."""
    out = call(reference, args)
    found = [leaf for _, leaf in leaves(out, "out")]
    if not all(map(is_number, found)):
        raise TypeError(
            f"{name_of(reference)} must return arrays of numbers to be a reference, but it returned {describe(out)}. "
            "Return what the forward returns, without the cache."
        )
    return found


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


def _pushforward_of_array_function(jax: Any, reference: Callable[..., Any], f: Any, x: Any) -> Pushforward:
    x = point_of("autodiff", x)
    if not callable(f):
        raise TypeError(f"f must be a function, but it is {describe(f)}. Pass the function itself.")

    def function(x: Any) -> Any:
        found = _called(reference, (x,))
        if len(found) != 1:
            raise TypeError(f"{name_of(reference)} must return one array, but it returned {len(found)}. Return one.")
        return found[0]

    def pushforward(v: Array) -> Estimate:
        v = tangent_at("autodiff", x, v)
        with jax.enable_x64(True):
            try:
                _, tangent = jax.jvp(function, (jax.numpy.asarray(x),), (jax.numpy.asarray(v),))
            except jax.errors.JAXTypeError as error:
                raise OracleError(UNTRACEABLE.format(name_of(reference))) from error
        still = tangent.dtype == jax.dtypes.float0  # that of whole numbers
        value = (np.zeros(tangent.shape) if still else np.asarray(tangent))[()]
        return Estimate(value, ROUNDINGS * EPS * np.abs(value))

    return pushforward
