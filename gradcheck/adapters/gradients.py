"""Gradients as others return them: copied, scaled by a cotangent, found by their keys or by argument. Level 1."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from gradcheck.adapters.libraries import is_tensor, kind_of, to_numpy
from gradcheck.trees import is_float, is_number, leaves, mapped, rebuild

__all__ = [
    "LEFT_OUT",
    "aside",
    "by_argument",
    "by_key",
    "copied",
    "holds_floats",
    "pass_on",
    "same",
    "scaled",
    "spellings",
]

ASIDE = 1e-3  # by what part of its size, and by how much, a number is changed to see whether something depends on it

LEFT_OUT = False
"""Stands in an output for what has no derivative: a check leaves out what is discrete, and says so."""


def spellings(name: Hashable) -> tuple[Hashable, ...]:
    """Return the keys under which the gradient of ``name`` is found in the wild, the plain one first."""
    before, after = ("d", "d_", "grad_", "grad", "gradient_", "nabla_", "g", "dL_d", "dLd"), ("_grad", "_gradient")
    capital = (f"grad{name[:1].upper()}{name[1:]}",) if isinstance(name, str) else ()
    spelled = (*(f"{prefix}{name}" for prefix in before), *(f"{name}{suffix}" for suffix in after), *capital)
    return (name, *dict.fromkeys(spelled))


def by_key(gradients: Mapping[Any, Any], names: Iterable[Hashable]) -> dict[Hashable, Any]:
    """Return the gradients found for ``names``, in their order: ``W`` takes ``gradients['W']`` or ``['dW']``."""
    found = {}
    for name in names:
        key = next((spelling for spelling in spellings(name) if spelling in gradients), None)
        if key is not None:
            found[name] = gradients[key]
    return found


def by_argument(args: tuple[Any, ...], gradients: Iterable[Any]) -> tuple[Any, ...]:
    """Return the gradients of all leaves of ``args`` by argument, each in its form; None where it has none."""
    trees = rebuild(args, iter(gradients))
    return tuple(None if all(leaf is None for _, leaf in leaves(tree, "")) else tree for tree in trees)


def copied(tree: Any) -> Any:
    """Return ``tree`` with every array of NumPy and tensor of PyTorch copied, so that no later call can disturb it."""

    def one(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return np.array(leaf)
        return leaf.detach().clone().requires_grad_(leaf.requires_grad) if is_tensor(leaf) else leaf

    return mapped(one, tree)


def same(some: Any, other: Any) -> bool:
    """Whether two arrays hold the same numbers, bit by bit but for the sign of zero; NaN is the same as NaN."""
    return np.array_equal(some, other) or np.array_equal(some, other, equal_nan=True)


def aside(array: Any, rng: np.random.Generator) -> Any:
    """Return an array near ``array`` in which every finite number is another one."""
    size = np.where(np.isfinite(array), 1 + np.abs(array), 0)
    return array + (ASIDE * size * rng.standard_normal(array.shape)).astype(array.dtype)


def pass_on(before: Any, after: Any, given: Any) -> None:
    """Write into the arrays of ``given`` what changed between ``before`` and ``after``, all trees of one form.

    What a function does to the copies that it was handed is so seen by a law that looks at what the caller handed in.
    """
    rows = zip(*([leaf for _, leaf in leaves(tree, "")] for tree in (before, after, given)), strict=False)
    for then, now, target in rows:
        can_take = isinstance(target, np.ndarray) and target.flags.writeable and target.shape == np.shape(now)
        if can_take and is_float(target) and not same(np.asarray(then), np.asarray(now)):
            target[...] = now


def scaled(gradients: Any, dout: Any) -> Any:
    """Return ``gradients`` times the scalar cotangent ``dout``; what is no number stays what it is.

    A Python float keeps the precision of each gradient, which an array of float64 would not.
    """
    factor = float(np.asarray(to_numpy(dout)).reshape(()))

    def one(leaf: Any) -> Any:
        leaf = to_numpy(leaf)
        return np.asarray(leaf) * factor if is_number(leaf) else leaf

    return mapped(one, gradients)


def holds_floats(tree: object) -> bool:
    """Whether an array of floats or of complex numbers lies in ``tree``: whether a check would move it."""
    kinds = ((leaf, kind_of(leaf)) for _, leaf in leaves(tree, ""))
    return any(is_float(leaf) or (kind and ("float" in str(kind.dtype) or kind.is_complex)) for leaf, kind in kinds)
