"""What the backward returned: which gradient belongs to which argument, and to which of its leaves. Level 2.

Accepted are one gradient per moving argument in order, one per argument with None for those that stay, a dict keyed by
argument (``W`` or ``dW``), and the bare gradient where one argument moves. The gradient of a container is like it.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import CONSTANT, Arguments, can_move, instead_of
from gradcheck.containers import LEAVES, Opened, opened
from gradcheck.trees import describe, flatten, is_container, is_float

__all__ = ["MISPLACED", "Reading", "Uncompared", "answered", "paired", "readings"]

Reading = dict[int, Any]  # the gradients by the position of their argument


class Misplaced:
    """Stands for a gradient that is not where that of this leaf should be."""


MISPLACED = Misplaced()


class Uncompared(NamedTuple):
    """A gradient that was returned and that nothing can be compared with: its shape, and why."""

    shape: tuple[int, ...]
    reason: str


def readings(returned: Any, arguments: Arguments) -> Iterator[Reading]:
    """Yield how ``returned`` may be meant, the plainest first."""
    moving, names, values = arguments.moving, arguments.names, arguments.values
    named = _by_name(returned)
    for prefix in ("", "d"):
        if named and all(f"{prefix}{names[i]}" in named for i in moving):
            yield {i: named[f"{prefix}{name}"] for i, name in enumerate(names) if f"{prefix}{name}" in named}
    if len(moving) == 1 and _mirrors(values[moving[0]], returned):
        yield {moving[0]: returned}
    if isinstance(returned, tuple | list):
        some = [i for i in range(len(names)) if i in moving or _could_have_a_gradient(values[i])]
        for positions in (moving, range(len(names)), some):
            if len(returned) == len(positions):
                yield dict(zip(positions, returned, strict=True))
    if len(moving) == 1 and named:
        yield {moving[0]: returned}
    if len(moving) == len(arguments.layout.paths) == 1 and not is_container(returned):
        found, structure = flatten(values[moving[0]])  # the one leaf that moves, of others that stay
        mine = [leaf.number is not None for leaf in arguments.leaves_of(moving[0])]
        yield {moving[0]: structure.unflatten(returned if own else None for own, _ in zip(mine, found, strict=True))}


def paired(value: Any, gradient: Any) -> Iterator[Any]:
    """Yield for each leaf of ``value`` the gradient of it in ``gradient``, MISPLACED where that has another form."""
    pending = [(value, gradient)]
    while pending:
        value, gradient = pending.pop()
        parts = opened(value)
        if parts is None:
            yield gradient
        else:
            pending.extend(zip(reversed(parts.children), reversed(_within(gradient, value, parts)), strict=True))


def answered(reading: Reading | None, returned: Any, arguments: Arguments) -> tuple[Arguments, dict[str, Uncompared]]:
    """Return the arguments with everything moving that a gradient was returned for, and the gradients of what cannot.

    One that was taken to stay moves after all; or one of a container of settings and numbers that has none stays.
    """
    if reading is None:
        plain = [i for i in arguments.moving if not _mixed(arguments.values[i])]
        if not plain or not isinstance(returned, tuple | list) or len(returned) != len(plain):
            return arguments, {}
        return arguments.moving_only(p.path for i in plain for p in arguments.leaves_of(i) if p.number is not None), {}
    paths, uncompared = list(arguments.layout.paths), _left_over(reading, returned, arguments)
    for position, gradient in reading.items():
        pairs = zip(arguments.leaves_of(position), paired(arguments.values[position], gradient), strict=True)
        for leaf, claimed in pairs:
            if leaf.number is None and _claims_something(leaf.value, claimed):
                if _is_usable(leaf.value):
                    paths.append(leaf.path)
                else:
                    uncompared[leaf.path] = Uncompared(
                        np.shape(leaf.value) if isinstance(leaf.value, np.ndarray) else (),
                        f"a gradient was returned for it, but it is {describe(leaf.value)} and does not move, so "
                        f"nothing was compared with it: {instead_of(leaf.value)}, or return None for it",
                    )
    if len(paths) == len(arguments.layout.paths):
        return arguments, uncompared
    widened, chosen = [leaf.path for leaf in arguments.leaves], frozenset(paths)
    return arguments.moving_only(path for path in widened if path in chosen), uncompared


def _by_name(returned: Any) -> dict[Any, Any]:
    """Return the gradients by name, if they have names."""
    if isinstance(returned, Mapping):
        return dict(returned)
    parts = None if isinstance(returned, tuple | list) else opened(returned)
    if parts is None:
        return {}
    fields = dataclasses.fields(returned) if dataclasses.is_dataclass(returned) else ()
    defaults = {field.name: field.default for field in fields}  # of which nobody said anything
    return {name: None if part is defaults.get(name, parts) else part for name, part in _labelled(parts).items()}


def _labelled(parts: Opened) -> dict[Any, Any]:
    names = (parts.label(key).removeprefix(".") for key in parts.keys)
    return dict(zip(names, parts.children, strict=True))


def _mirrors(value: Any, returned: Any) -> bool:
    """Whether ``returned`` looks like the bare gradient of the only argument that moves."""
    parts, given = opened(value), opened(returned)
    if given is None:
        return True
    if parts is None:
        return False
    if isinstance(value, Mapping) and isinstance(returned, Mapping):
        return True
    fits = not any(part is MISPLACED for part in _within(returned, value, parts))
    return fits and (len(parts.keys) != 1 or is_container(given.children[0]) == is_container(parts.children[0]))


def _within(gradient: Any, value: Any, parts: Opened) -> list[Any]:
    """Return the gradients of the children of a container in what was returned for it."""
    count = len(parts.keys)
    if gradient is None or gradient is MISPLACED:
        return [gradient] * count
    if isinstance(value, Mapping):
        if not isinstance(gradient, Mapping):
            return [MISPLACED] * count
        return [gradient.get(key, MISPLACED) for key in parts.keys]
    if isinstance(gradient, tuple | list | collections.deque):
        return list(gradient) if len(gradient) == count else [MISPLACED] * count
    if isinstance(value, tuple | list | collections.deque):
        return [MISPLACED] * count
    named = _by_name(gradient)
    return [named.get(name, MISPLACED) for name in _labelled(parts)]


def _left_over(reading: Reading, returned: Any, arguments: Arguments) -> dict[str, Uncompared]:
    """Return the gradients under names that no argument has, or no part of one."""
    found = {}
    pending = [(arguments.names[i], arguments.values[i], gradient) for i, gradient in reading.items()]
    if isinstance(returned, Mapping) and not any(gradient is returned for gradient in reading.values()):
        known = {f"{prefix}{name}" for name in arguments.names for prefix in ("", "d")}
        extra = {key: gradient for key, gradient in returned.items() if key not in known}
    else:
        extra = {}
    while pending:
        path, value, gradient = pending.pop()
        parts = None if type(value) in LEAVES else opened(value)
        if parts is None:
            continue
        if isinstance(gradient, Mapping):
            own = set(parts.keys) | set(_labelled(parts))
            extra |= {f"{path}[{key!r}]": part for key, part in gradient.items() if key not in own}
        for key, child, part in zip(parts.keys, parts.children, _within(gradient, value, parts), strict=True):
            if type(child) not in LEAVES:
                pending.append((path + parts.label(key), child, part))
    for name, gradient in extra.items():
        if _claims_something(None, gradient):
            found[str(name)] = Uncompared(
                np.shape(gradient) if isinstance(gradient, np.ndarray) else (),
                "a gradient was returned under this name, but nothing that was passed has it, so nothing was compared "
                "with it: leave it out, or pass an argument of this name",
            )
    return found


def _claims_something(leaf: Any, gradient: Any) -> bool:
    """Whether a gradient of what stays says anything.

    Zero does not for an integer or a word, which has that by convention; nor does a word, or the very value that was
    passed, as in a copy of a dataclass with other arrays.
    """
    discrete = not _could_have_a_gradient(leaf)

    def claims(part: Any) -> bool:
        if part is None or part is MISPLACED or isinstance(part, str | bytes | bool | type | FunctionType):
            return False
        if type(part) is type(leaf) and type(part) in CONSTANT and part == leaf:
            return False
        return not (discrete and _is_zero(part))

    return any(map(claims, flatten(gradient)[0]))


def _could_have_a_gradient(value: Any) -> bool:
    """Whether a value that does not move holds, or may hold, numbers that are no integers."""
    if is_container(value):
        return any(map(_could_have_a_gradient, flatten(value)[0]))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind not in "biuSUmM"
    return type(value) not in LEAVES or isinstance(value, float | complex)


def _is_zero(gradient: Any) -> bool:
    if isinstance(gradient, np.ndarray | np.generic) and gradient.dtype.kind == "V":
        return gradient.dtype.names == ("float0",)  # what JAX gives an integer
    return isinstance(gradient, np.ndarray | np.generic | int | float) and not np.any(gradient)


def _mixed(value: Any) -> bool:
    """Whether a container holds numbers or switches beside its arrays, as one of settings and averages does."""
    return is_container(value) and not all(map(is_float, flatten(value)[0]))


def _is_usable(leaf: Any) -> bool:
    """Whether a leaf that was taken to stay can move from where it is."""
    if not can_move(leaf) or isinstance(leaf, np.ma.MaskedArray):
        return False
    return math.isfinite(leaf) if isinstance(leaf, float | np.floating) else bool(leaf.size and np.isfinite(leaf).all())
