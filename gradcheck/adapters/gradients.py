"""Gradients as others return them: copied, scaled by a cotangent, and found by their keys. Level 1."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from gradcheck.trees import is_float, leaves, rebuild

__all__ = ["by_key", "copied", "holds_floats", "scaled", "spellings"]


def spellings(name: Hashable) -> tuple[Hashable, ...]:
    """Return the keys under which the gradient of ``name`` is found in the wild, the plain one first."""
    return (name, f"d{name}", f"grad_{name}", f"{name}_grad", f"grad{name}")


def by_key(gradients: Mapping[Any, Any], names: Iterable[Hashable]) -> dict[Hashable, Any]:
    """Return the gradients found for ``names``, in their order: ``W`` takes ``gradients['W']`` or ``['dW']``."""
    found = {}
    for name in names:
        key = next((spelling for spelling in spellings(name) if spelling in gradients), None)
        if key is not None:
            found[name] = gradients[key]
    return found


def copied(tree: Any) -> Any:
    """Return ``tree`` with every NumPy array copied, so that no later call can disturb it."""
    return rebuild(tree, (np.array(leaf) if isinstance(leaf, np.ndarray) else leaf for _, leaf in leaves(tree, "")))


def scaled(gradients: Any, dout: Any) -> Any:
    """Return ``gradients`` times the scalar cotangent ``dout``; None stays None.

    A Python float keeps the precision of each gradient, which an array of float64 would not.
    """
    factor = float(np.asarray(dout).reshape(()))
    return rebuild(
        gradients, (None if leaf is None else np.asarray(leaf) * factor for _, leaf in leaves(gradients, ""))
    )


def holds_floats(tree: object) -> bool:
    """Whether a float array lies in ``tree``: whether a check would move it."""
    return any(is_float(leaf) for _, leaf in leaves(tree, ""))
