"""Arrays of JAX ↔ those of NumPy, and the cotangents that JAX hands to a pullback. Level 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.adapters.libraries import to_numpy
from gradcheck.trees import describe, entry_name, is_number, leaves, mapped, rebuild

__all__ = ["arrays_of", "cotangent_for", "jax_for", "must_compute_the_same", "to_jax"]

SAME_PRIMAL = 1e-6  # how far two runs may differ, relative to the largest output; oracles.autodiff likewise


def jax_for(adapter: str) -> Any:
    """Return the module ``jax``.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import jax
    except ImportError as error:
        raise ImportError(
            f"{adapter} must be able to import jax, but could not: {error}. Install gradcheck[jax]."
        ) from error
    return jax


def to_jax(jax: Any, tree: Any) -> Any:
    """Return ``tree`` with the arrays of numbers of other libraries as fresh ones of JAX."""

    def one(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):
            return leaf
        leaf = to_numpy(leaf)
        return jax.numpy.array(leaf) if isinstance(leaf, np.ndarray) and is_number(leaf) else leaf

    return mapped(one, tree)


def arrays_of(tree: Any) -> Any:
    """Return ``tree`` with JAX's read-only arrays as NumPy's, and ``float0`` as None."""
    return mapped(_leaf_to_numpy, tree)


def _leaf_to_numpy(leaf: Any) -> Any:
    if not hasattr(leaf, "dtype") or not isinstance(leaf.dtype, np.dtype):  # a key has a dtype of its own kind
        return leaf
    array = np.array(leaf)
    return None if array.dtype.names == ("float0",) else array


def cotangent_for(jax: Any, dout: Any, out: Any) -> Any:
    """Return ``dout`` in the container, the shapes and the dtypes of ``out``, as JAX hands it to ``bwd``."""
    given = (leaf for _, leaf in leaves(dout, ""))
    return rebuild(out, (_leaf_cotangent(jax, d, o) for d, (_, o) in zip(given, leaves(out, ""), strict=True)))


def _leaf_cotangent(jax: Any, dout: Any, out: Any) -> Any:
    dtype = jax.numpy.result_type(out)
    if not jax.numpy.issubdtype(dtype, jax.numpy.inexact):
        return np.zeros(np.shape(out), jax.dtypes.float0)
    return jax.numpy.asarray(dout, dtype=dtype)


def must_compute_the_same(rule: str, out: Any, primal: Any) -> None:
    """Raise a ValueError, which begins with the ``rule``, unless ``out`` and ``primal`` hold the same numbers."""
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
