"""The arguments of a forward: which of them move, what they are called, and how to move them. Level 0."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gradcheck.trees import Array, Layout, describe, entry_name, is_float, leaves, rebuild

__all__ = ["Arguments", "Chosen", "Completing", "by_name", "name_of"]

Chosen = Sequence[str | int] | str | int | None


@runtime_checkable
class Completing(Protocol):
    """A forward that knows more of its arguments than it is given: those of the layer behind it, say."""

    def as_arguments(self, args: Sequence[Any], /) -> tuple[Any, ...]:
        """Return the arguments to call it with; those that are complete as they are."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call of a function, and which of their leaves move.

    Float arrays move. Integers, strings, None, Python floats, and dicts of settings (those with a string
    among their values) stay, unless ``wrt`` names their argument. ``moving`` holds the positions of the
    arguments that move, in the order in which the backward returns their gradients; ``layout`` says where
    each moving leaf lies in the flat vector of all of them.
    """

    function: str
    names: tuple[str, ...]
    values: tuple[Any, ...]
    moving: tuple[int, ...]
    layout: Layout

    @classmethod
    def of(cls, function: Callable[..., Any], args: Sequence[Any], wrt: Chosen = None) -> Arguments:
        """Return the arguments ``args`` of ``function``.

        Raises:
            TypeError: ``args`` is no tuple, one of them is complex or of another framework, or none moves.
            ValueError: ``wrt`` names no argument, or a moving array is empty or holds NaN or Inf.
        """
        who = name_of(function)
        if not isinstance(args, tuple | list):
            raise TypeError(
                f"args must be a tuple of the arguments of {who}, but it is {describe(args)}. "
                "Write args=(x,) for a single argument."
            )
        args = function.as_arguments(args) if isinstance(function, Completing) else args
        names = _names(function, len(args))
        values = tuple(
            rebuild(value, (_to_numpy(path, leaf) for path, leaf in leaves(value, name)))
            for name, value in zip(names, args, strict=True)
        )
        moving = _positions(who, names, values, wrt)
        if moving is None:
            moving = tuple(i for i, value in enumerate(values) if _moves_by_itself(names[i], value))
        found = [(path, leaf) for i in moving for path, leaf in leaves(values[i], names[i]) if _can_move(leaf, wrt)]
        if not found:
            came = ", ".join(f"{name} is {describe(value)}" for name, value in zip(names, values, strict=True))
            raise TypeError(
                f"{who} must be given at least one float array that moves, but {came or 'args is empty'}. "
                "Pass arrays of floats, or name a Python float in wrt=."
            )
        for path, leaf in found:
            _must_be_usable(who, path, np.asarray(leaf))
        return cls(who, names, values, moving, Layout.of((path, np.asarray(leaf)) for path, leaf in found))

    @property
    def point(self) -> Array:
        """The moving leaves as one flat float64 vector."""
        by_path = {path: leaf for i in self.moving for path, leaf in leaves(self.values[i], self.names[i])}
        return self.layout.flatten(by_path[path] for path in self.layout.paths)

    def fresh(self) -> tuple[Any, ...]:
        """Return a copy of the arguments as they were given, so that no call can disturb another."""
        return tuple(
            rebuild(value, (_copy(leaf) for _, leaf in placed))
            for value, placed in zip(self.values, self._placed, strict=True)
        )

    def at(self, vector: Array) -> tuple[Any, ...]:
        """Return the arguments with their moving leaves taken from ``vector``, as views in its precision."""
        moved = self.layout.unflatten(vector)
        return tuple(
            rebuild(value, (_copy(leaf) if i is None else _moved(leaf, moved[i]) for i, leaf in placed))
            for value, placed in zip(self.values, self._placed, strict=True)
        )

    @cached_property
    def _placed(self) -> tuple[tuple[tuple[int | None, Any], ...], ...]:
        """The leaves of each argument, each with its number in the layout, None for those that stay."""
        number = {path: i for i, path in enumerate(self.layout.paths)}
        return tuple(
            tuple((number.get(path), leaf) for path, leaf in leaves(value, name))
            for name, value in zip(self.names, self.values, strict=True)
        )

    def moved(self, vector: Array) -> Arguments:
        """Return the same arguments at another point; each leaf keeps its dtype."""
        point = dict(zip(self.layout.paths, self.layout.unflatten(vector), strict=True))

        def place(path: str, leaf: Any) -> Any:
            if path not in point:
                return leaf
            return point[path].astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(point[path])

        values = tuple(
            rebuild(value, (place(path, leaf) for path, leaf in leaves(value, name)))
            for name, value in zip(self.names, self.values, strict=True)
        )
        return replace(self, values=values)

    def moving_leaves(self, position: int) -> list[str]:
        """Return the paths of the leaves that move in the argument at ``position``."""
        return [self.layout.paths[i] for i, _ in self._placed[position] if i is not None]


def name_of(function: object) -> str:
    """Return what to call ``function`` in a message."""
    return getattr(function, "__name__", None) or type(function).__name__


def _names(function: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Name ``count`` positional arguments as the signature does, ``args[i]`` where it does not say."""
    try:
        signature = inspect.signature(function)
        signature.bind(*range(count))
    except TypeError as error:
        raise TypeError(
            f"{name_of(function)} must accept the {count} arguments in args, but its signature does not: {error}. "
            "Check args against the signature of the forward."
        ) from None
    except ValueError:
        return tuple(f"args[{i}]" for i in range(count))
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return tuple(names[:count])


def _positions(who: str, names: tuple[str, ...], values: tuple[Any, ...], wrt: Chosen) -> tuple[int, ...] | None:
    if wrt is None:
        return None
    positions = []
    for key in [wrt] if isinstance(wrt, str | int) else wrt:
        if isinstance(key, str) and key in names:
            positions.append(names.index(key))
        elif isinstance(key, int) and -len(names) <= key < len(names):
            positions.append(key % len(names))
        else:
            raise ValueError(
                f"wrt must name arguments of {who} ({', '.join(names)}) or their positions, but it holds {key!r}. "
                "Choose among these."
            )
    for i in positions:
        if not any(_can_move(leaf, wrt) for _, leaf in leaves(values[i], names[i])):
            raise ValueError(
                f"wrt must name arguments of {who} that hold floats, but {names[i]} is {describe(values[i])}. "
                "Leave it out, or pass floats."
            )
    if len(set(positions)) < len(positions):
        raise ValueError(f"wrt must name each argument once, but it is {wrt!r}. Remove the repetition.")
    return tuple(positions)


def _moves_by_itself(name: str, value: Any) -> bool:
    """Whether an argument moves without being named: it holds a float array and is no dict of settings."""
    if isinstance(value, Mapping) and any(isinstance(setting, str) for setting in value.values()):
        return False
    return any(is_float(leaf) for _, leaf in leaves(value, name))


def _can_move(leaf: object, wrt: Chosen) -> bool:
    return is_float(leaf) or (wrt is not None and isinstance(leaf, float | np.floating))


def _to_numpy(path: str, leaf: Any) -> Any:
    """Return ``leaf`` with an array of another library as a NumPy array; refuse what cannot be checked."""
    if isinstance(leaf, np.ndarray):
        if leaf.dtype.kind == "c":
            raise TypeError(
                f"{path} must be real, but it is {describe(leaf)}. "
                "Pass its real and its imaginary part as two arguments; complex arrays are not supported yet."
            )
        return leaf
    if type(leaf).__module__.startswith("torch"):
        raise TypeError(
            f"{path} must be a NumPy array, but it is {describe(leaf)}. "
            "Pass x.detach().numpy(), and wrap a torch.autograd.Function with from_autograd_function."
        )
    if not hasattr(leaf, "__array_namespace__"):
        return leaf
    numeric = isinstance(getattr(leaf, "dtype", np.dtype(float)), np.dtype)  # not so a random key of JAX, which stays
    return np.array(leaf) if numeric else leaf


def _must_be_usable(who: str, path: str, array: Array) -> None:
    if array.size == 0:
        raise ValueError(
            f"{who} must be checked where {path} has entries, but its shape is {array.shape}. Pass a non-empty array."
        )
    finite = np.isfinite(array.astype(np.float64))
    if not finite.all():
        index = int(np.argmin(finite.ravel()))
        raise ValueError(
            f"{who} must be checked at a finite point, but {entry_name(path, array.shape, index)} is "
            f"{array.ravel()[index]}. Choose a point where every argument is finite."
        )


def _copy(leaf: Any) -> Any:
    """Return a copy of a leaf; what cannot be copied (a module, a lock) is shared."""
    if isinstance(leaf, np.ndarray):
        return leaf.copy(order="K")
    try:
        return copy.deepcopy(leaf)
    except (TypeError, NotImplementedError):
        return leaf


def _moved(leaf: Any, moved: Array) -> Any:
    return moved if isinstance(leaf, np.ndarray) else moved[()]


def by_name(names: Iterable[str]) -> str:
    """Return ``names`` as a list in a sentence: ``x, W and b``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
