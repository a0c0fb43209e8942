"""The smallest sizes at which a check still fails, and what that says about the mistake. Level 3.

A mistake over the batch cannot be seen in a batch of one, one of recurrence not in a single step. So every size in the
arguments is cut to 1, if the forward stands that, and the check is run again: it fails only if the size is at least 2
where the cut one passes. What can be cut without losing the failure is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gradcheck.trees import leaves, rebuild

__all__ = ["Smallest", "smallest"]

MOST = 6  # sizes that are tried

Args = tuple[Any, ...]


class Smallest(NamedTuple):
    """The arguments of the smallest failing case, the sizes that were cut, and those that the failure needs.

    ``needed`` names sizes, such as ``x.shape[0]``, with which the check passes as soon as they are 1.
    """

    args: Args
    needed: tuple[str, ...]
    free: tuple[str, ...]


def smallest(names: tuple[str, ...], args: Args, fails: Callable[[Args], bool | None]) -> Smallest:
    """Cut every size of ``args`` as far as the failure allows.

    ``fails`` says whether the check fails for other arguments, None where it cannot tell (the forward refuses them).
    """
    needed, free = [], []
    now: dict[int, int] = {}  # to what each size is cut; by the size it had, for two may have been cut to the same
    for name, size in _sizes(names, args):
        verdict = fails(_cut(args, now | {size: 1}))
        if verdict:
            now[size] = 1
            free.append(name)
        elif verdict is False:
            needed.append(name)
            if size > 2 and fails(_cut(args, now | {size: 2})):
                now[size] = 2
    return Smallest(_cut(args, now), tuple(needed), tuple(free))


def _sizes(names: tuple[str, ...], args: Args) -> Iterator[tuple[str, int]]:
    """Yield every size above 1 once, by the first axis that has it."""
    seen: set[int] = set()
    for name, arg in zip(names, args, strict=True):
        for path, leaf in leaves(arg, name):
            for axis, size in enumerate(np.shape(leaf) if isinstance(leaf, np.ndarray) else ()):
                if size > 1 and size not in seen and len(seen) < MOST:
                    seen.add(size)
                    yield f"{path}.shape[{axis}]", size


def _cut(args: Args, to: Mapping[int, int]) -> Args:
    """Return copies of ``args`` with every axis of some sizes cut to others."""

    def cut(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        return leaf[tuple(slice(to.get(length, length)) for length in leaf.shape)].copy()

    return tuple(rebuild(arg, (cut(leaf) for _, leaf in leaves(arg, ""))) for arg in args)
