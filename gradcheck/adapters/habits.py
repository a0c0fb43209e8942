"""Where the gradient of an array is kept, by the habits of those who write layers. Level 1.

``W`` and ``dW`` side by side, as attributes or as keys; ``params`` and ``grads``, dicts or lists, at any height above
the array; an object with ``data`` and ``grad``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import spellings
from gradcheck.adapters.places import MISSING, Path, Step, follow, member, parsed, text
from gradcheck.trees import is_container, is_float

__all__ = ["gradients_of", "stored"]

BESIDE = ("grad", "gradient")  # the gradient of the one array of its object
GATHERED = ("grads", "gradients", "grad", "gradient")  # the gradients of several arrays, by key or in order
PRIMAL = ("data", "value")  # which array of an object its gradient belongs to, if it has several


def gradients_of(thing: Any, path: Path, pairs: Mapping[str, str]) -> list[Path]:
    """Return the paths to what a habit calls the gradient of the array at ``path`` in ``thing``, the nearest first.

    ``pairs`` are habits of the user's own: the name of the gradient for each name of an array, or its path for a path.
    """
    for end in range(len(path), 0, -1):
        if (name := text(path[:end])) in pairs and (own := list(_alike(thing, parsed(pairs[name]), path[end:]))):
            return [each for each in own if follow(thing, each) is not MISSING] or own
    found = []
    for depth in reversed(range(len(path))):
        above, (_, name), below = path[:depth], path[depth], path[depth + 1 :]
        owner = follow(thing, above)
        steps = [*_beside(owner, name, below, pairs), *_gathered(owner, name, below)]
        found += [(*above, *inner) for inner in steps if _can_be_gradient(follow(owner, inner))]
    return list(dict.fromkeys(found))


def stored(thing: Any, path: Path) -> Any:
    """Return the gradient at ``path``, also under another spelling of its keys; None if there is none."""
    exact = follow(thing, path)
    if exact is not MISSING:
        return exact
    for end in range(1, len(path)):
        for spelled in _alike(thing, path[:end], path[end:]):
            return follow(thing, spelled)
    return None


def _beside(owner: Any, name: Any, below: Path, pairs: Mapping[str, str]) -> Iterator[Path]:
    """Yield paths from ``owner`` to what lies beside its member ``name``: ``dW`` to ``W``, ``grad`` to ``data``."""
    for spelling in (pairs[name],) if name in pairs else _spelled(name):
        if step := member(owner, spelling):
            yield from _alike(owner, (step,), below)
    if not below and isinstance(name, str) and name not in BESIDE:
        arrays = {key: value for key, value in _named(owner) if is_float(value) and key not in BESIDE}
        for step in (step for key in BESIDE if (step := member(owner, key))):
            only = list(arrays) == [name] and np.shape(follow(owner, (step,))) in (arrays[name].shape, ())
            if only or name in PRIMAL:
                yield (step,)


def _gathered(owner: Any, name: Any, below: Path) -> Iterator[Path]:
    """Yield paths from ``owner`` to what its dict or list of gradients holds for the member ``name``."""
    for key in GATHERED:
        step = member(owner, key)
        gradients = follow(owner, (step,)) if step else None
        if step is None or key == name or not is_container(gradients):
            continue
        if isinstance(name, str) and isinstance(gradients, Mapping):
            keys = (("item", each) for each in (name, *_spelled(name)) if each in gradients)
            yield from (path for each in keys for path in _alike(owner, (step, each), below))
        if below and _as_long(follow(owner, (member(owner, name) or ("attribute", name),)), gradients):
            yield from _alike(owner, (step,), below)


def _alike(owner: Any, start: Path, below: Path) -> Iterator[Path]:
    """Yield the path from ``owner`` through ``start`` that goes on as ``below`` does, in its own spelling."""
    path = start
    for _, key in below:
        here = follow(owner, path)
        names = (key, *_spelled(key)) if isinstance(key, str) else (key,)
        steps: list[Step] = [step for each in names if (step := _step(here, each))]
        if not steps:
            return
        path = (*path, steps[0])
    yield path


def _step(here: Any, key: Any) -> Step | None:
    if isinstance(here, list | tuple) and isinstance(key, int):
        return ("item", key) if key < len(here) else None
    return member(here, key)


def _spelled(name: Hashable) -> tuple[Hashable, ...]:
    """Return how the gradient of ``name`` is spelled; of ``_W`` also without the underscore, or with it in front."""
    spelled = spellings(name)[1:]
    if isinstance(name, str) and name != (bare := name.lstrip("_")):
        spelled += (*spellings(bare)[1:], *(f"_{each}" for each in spellings(bare)[1:]))
    return spelled


def _named(owner: Any) -> list[tuple[Any, Any]]:
    if isinstance(owner, Mapping):
        return list(owner.items())
    names = [*getattr(owner, "__dict__", {}), *getattr(type(owner), "__slots__", ())]
    return [(name, getattr(owner, name, None)) for name in names]


def _as_long(primals: Any, gradients: Any) -> bool:
    """Whether two containers can belong together: dicts do by their keys, lists if they are of one length."""
    if isinstance(primals, Mapping) or isinstance(gradients, Mapping):
        return isinstance(primals, Mapping) and isinstance(gradients, Mapping)
    return is_container(primals) and len(primals) == len(gradients)


def _can_be_gradient(value: Any) -> bool:
    return value is None or isinstance(value, int | float | np.number) or hasattr(value, "dtype")
