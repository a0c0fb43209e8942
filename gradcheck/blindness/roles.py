"""What an axis of size 1 is for: measured by giving the forward two slices and each of them alone. Level 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.trees import Array, leaves, rebuild

__all__ = ["BATCH", "hidden_by", "role_of"]

SAME = 1e-9  # relative: what rounding may do to outputs that are equal
BATCH = {"samples", "mean"}
_HIDES = {"samples": ("A2", "E1"), "mean": ("A2", "A3", "E1"), "steps": ("G1", "G2"), "coupled": ("C7",), "size": ()}


def hidden_by(role: str, axes: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Return the mistakes that nothing can show where axes of this role have size 1: no sum over one differs from it.

    ``shapes`` are those of all arguments that move, by path. Along the places of an image nothing flows, so that its
    steps are none; and statistics are taken over the first axis.
    """
    spatial = any(len(shapes.get(path, ())) > 3 for path in axes)
    if (role == "steps" and spatial) or (role == "coupled" and set(axes.values()) != {0}):
        return ()
    shared = set(shapes) - set(axes)  # what all samples use accumulates over them
    return tuple(mistake for mistake in _HIDES[role] if mistake != "E1" or shared)


def role_of(forward: Callable[..., tuple[Any, Any]], names: Sequence[str], args: Any, axes: Mapping[str, int]) -> str:
    """Return what the axes, by the paths of their arrays, are for.

    ``samples`` where the slices do not see each other, ``mean`` where besides their mean comes out, ``steps`` where
    the second sees the first or their order matters, ``coupled`` where each sees the other, else ``size``.
    ``args`` hold two slices along each of the axes. Costs four calls of the forward, which may raise.
    """

    def of(index: Sequence[int]) -> list[Array]:
        def taken(path: str, leaf: Any) -> Any:
            return np.take(leaf, index, axis=axes[path]) if path in axes else leaf

        chosen = (
            rebuild(arg, (taken(path, leaf) for path, leaf in leaves(arg, name)))
            for name, arg in zip(names, args, strict=True)
        )
        with np.errstate(all="ignore"):
            return [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(forward(*chosen)[0], "out")]

    one, two, both, swapped = of([0]), of([1]), of([0, 1]), of([1, 0])
    for a, b, ab, ba in zip(one, two, both, swapped, strict=True):
        grown = next((i for i in range(min(a.ndim, ab.ndim)) if (a.shape[i], ab.shape[i]) == (1, 2)), None)
        if grown is not None:
            first, second = np.take(ab, [0], axis=grown), np.take(ab, [1], axis=grown)
            if not _close(first, a):
                return "coupled"
            return "samples" if _close(second, b) else "steps"
        if a.shape == ab.shape:
            if _close(ab, (a + b) / 2):
                return "mean"
            if _close(ab, a + b):
                return "samples"
            return "size" if _close(ab, ba) else "steps"
    return "size"


def _close(one: Array, other: Array) -> bool:
    size = float(np.abs(one).max(initial=0.0))
    return one.shape == other.shape and bool(np.abs(one - other).max(initial=0.0) <= SAME * size)
