"""The arguments of a forward: which of them move, what they are called, and how to move them. Level 0."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from gradcheck.containers import LEAVES, shown
from gradcheck.trees import (
    Array,
    Layout,
    Structure,
    describe,
    entry_name,
    flatten,
    is_container,
    is_float,
)

__all__ = [
    "CONSTANT",
    "Arguments",
    "Chosen",
    "Completing",
    "Leaf",
    "as_tuple",
    "by_name",
    "can_move",
    "instead_of",
    "must_accept",
    "name_of",
]

Chosen = Sequence[str | int] | str | int | None
CONSTANT = LEAVES - {np.ndarray}  # types of which no call can change an instance: they need not be copied


class Leaf(NamedTuple):
    """A leaf of an argument: its path, what was given, and its number in the layout, None where it stays."""

    path: str
    value: Any
    number: int | None


class Slot(NamedTuple):
    """Where a leaf that moves goes among all leaves, and where it comes from in the flat vector."""

    position: int
    part: slice
    shape: tuple[int, ...]
    kind: type


@runtime_checkable
class Completing(Protocol):
    """A forward that knows more of its arguments than it is given: those of the layer behind it, say."""

    def as_arguments(self, args: Sequence[Any], /) -> tuple[Any, ...]:
        """Return the arguments to call it with; those that are complete as they are."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call of a function, and which of their leaves move.

    Float arrays move. Integers, strings, None, Python floats, complex numbers, objects that are no containers, and
    dicts of settings (those with a string among their values) stay, unless ``wrt`` names them. ``moving`` holds the
    positions of the arguments that move, in the order in which the backward returns their gradients; ``layout`` says
    where each moving leaf lies in the flat vector of all of them.
    """

    function: str
    names: tuple[str, ...]
    values: tuple[Any, ...]
    moving: tuple[int, ...]
    layout: Layout
    keep: bool = False

    @classmethod
    def of(
        cls, function: Callable[..., Any], args: Sequence[Any], wrt: Chosen = None, *, empty: bool = False
    ) -> Arguments:
        """Return the arguments ``args`` of ``function``; arrays that move may be ``empty`` where none is measured.

        Raises:
            TypeError: ``args`` is no tuple, ``wrt`` is no name, one of them is of another framework, or none moves.
            ValueError: ``wrt`` names no argument, a moving array is empty or holds NaN or Inf, or a container holds
                itself.
        """
        who = name_of(function)
        args = as_tuple(function, args)
        args = function.as_arguments(args) if isinstance(function, Completing) else args
        names = _names(function, len(args))
        given = cls(who, names, tuple(args), (), Layout((), (), ()))
        _must_be_trees(who, given.leaves)
        taken = given._put_together([_to_numpy(leaf.value) for leaf in given.leaves])
        arguments = replace(given, values=taken)
        moving = _by_themselves(arguments) if wrt is None else _chosen(arguments, wrt)
        return arguments.moving_only(moving, empty=empty)

    def moving_only(self, paths: Iterable[str], *, empty: bool = False) -> Arguments:
        """Return the same arguments, of which the leaves at ``paths`` move and no others.

        The arguments that hold them are ordered as ``paths`` first names them, and the leaves of one as it holds them.

        Raises:
            TypeError: there is none, or one of them is a masked array.
            ValueError: one of the leaves is empty, or holds NaN or Inf.
        """
        paths = list(paths)
        position_of = {leaf.path: i for i in range(len(self.names)) for leaf in self.leaves_of(i)}
        moving = tuple(dict.fromkeys(position_of[path] for path in paths))
        chosen = frozenset(paths)
        found = [leaf for i in moving for leaf in self.leaves_of(i) if leaf.path in chosen]
        if not found:
            came = ", ".join(
                f"{name} is {describe(value)}" for name, value in zip(self.names, self.values, strict=True)
            )
            raise TypeError(
                f"{self.function} must be given at least one float array that moves, but {came or 'args is empty'}. "
                "Pass arrays of floats, or name a Python float in wrt=."
            )
        for leaf in found:
            _must_be_usable(self.function, leaf.path, leaf.value, empty=empty)
        return replace(self, moving=moving, layout=Layout.of((leaf.path, np.asarray(leaf.value)) for leaf in found))

    @property
    def point(self) -> Array:
        """The moving leaves as one flat float64 vector."""
        return self.layout.flatten(self.moving_leaves)

    def fresh(self, lay: Callable[[Array], Array] | None = None) -> tuple[Any, ...]:
        """Return a copy of the arguments as they were given, so that no call can disturb another.

        Arrays that move are copied by ``lay``, in another memory order for example.
        """
        moving = set() if lay is None else {slot.position for slot in self._slots if issubclass(slot.kind, np.ndarray)}
        values = enumerate(self._values_of_leaves)
        return self._put_together([lay(leaf) if lay and i in moving else _copy(leaf) for i, leaf in values])

    def at(self, vector: Array) -> tuple[Any, ...]:
        """Return the arguments with their moving leaves taken from ``vector``, as views in its precision.

        Where they keep their own, each is rounded to that.
        """
        found, changeable = list(self._values_of_leaves), self._changeable
        for position in changeable:
            found[position] = _copy(found[position])
        for (position, part, shape, kind), dtype in zip(self._slots, self.layout.dtypes, strict=True):
            moved = vector[part].reshape(shape)
            moved = moved.astype(dtype) if self.keep else moved
            found[position] = moved if kind is np.ndarray else _as(kind, moved)
        return self._put_together(found)

    def moved(self, vector: Array) -> Arguments:
        """Return the same arguments at another point; each leaf keeps its dtype."""
        found = list(self._values_of_leaves)
        for position, part, shape, kind in self._slots:
            moved = vector[part].reshape(shape)
            leaf = found[position]
            found[position] = _as(kind, moved.astype(leaf.dtype)) if isinstance(leaf, np.ndarray) else kind(moved)
        return replace(self, values=self._put_together(found))

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The leaves of all arguments, in order."""
        number = {path: i for i, path in enumerate(self.layout.paths)}
        return tuple(
            Leaf(path, value, number.get(path))
            for name, (found, structure) in zip(self.names, self._flat, strict=True)
            for path, value in zip(structure.paths(name), found, strict=True)
        )

    def leaves_of(self, position: int) -> tuple[Leaf, ...]:
        """Return the leaves of the argument at ``position``."""
        return self.leaves[self._spans[position]]

    @cached_property
    def moving_leaves(self) -> tuple[Any, ...]:
        """The leaves that move, in the order of the layout."""
        return tuple(self._values_of_leaves[slot.position] for slot in self._slots)

    @cached_property
    def _flat(self) -> tuple[tuple[list[Any], Structure], ...]:
        """The arguments taken apart, once for all calls."""
        return tuple(map(flatten, self.values))

    @cached_property
    def _values_of_leaves(self) -> list[Any]:
        return [leaf.value for leaf in self.leaves]

    @cached_property
    def _spans(self) -> tuple[slice, ...]:
        """Which of all leaves are whose."""
        ends = itertools.accumulate((structure.size for _, structure in self._flat), initial=0)
        return tuple(itertools.starmap(slice, itertools.pairwise(ends)))

    @cached_property
    def _changeable(self) -> tuple[int, ...]:
        """The positions of the leaves that stay and that a call could change."""
        return tuple(
            i for i, leaf in enumerate(self.leaves) if leaf.number is None and type(leaf.value) not in CONSTANT
        )

    @cached_property
    def _slots(self) -> tuple[Slot, ...]:
        """The places of the leaves that move, in the order of the layout."""
        place = {leaf.number: i for i, leaf in enumerate(self.leaves)}
        parts = enumerate(zip(self.layout.slices, self.layout.shapes, strict=True))
        return tuple(Slot(place[i], part, shape, type(self.leaves[place[i]].value)) for i, (part, shape) in parts)

    def _put_together(self, found: Iterable[Any]) -> tuple[Any, ...]:
        found = iter(found)
        return tuple(structure.unflatten(found) for _, structure in self._flat)


def name_of(function: object) -> str:
    """Return what to call ``function`` in a message."""
    return getattr(function, "__name__", None) or type(function).__name__


def as_tuple(function: Callable[..., Any], args: Any) -> tuple[Any, ...]:
    """Return ``args`` as a tuple of the arguments of ``function``.

    Raises:
        TypeError: they are none.
    """
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"args must be a tuple of the arguments of {name_of(function)}, but it is {describe(args)}. "
            "Write args=(x,) for a single argument."
        )
    return tuple(args)


def by_name(names: Iterable[str]) -> str:
    """Return ``names`` as a list in a sentence: ``x, W and b``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def must_accept(function: Callable[..., Any], count: int) -> inspect.Signature | None:
    """Return the signature of what has to accept ``count`` positional arguments; None where it does not say.

    Raises:
        TypeError: it does not accept them.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:
        return None
    try:
        signature.bind(*range(count))
    except TypeError as error:
        lacks_cotangent = tuple(signature.parameters)[count:] == ("dout",)
        raise TypeError(
            f"{name_of(function)} must accept the {count} arguments in args, but its signature does not: {error}. "
            f"{'Pass the cotangent as the last one.' if lacks_cotangent else 'Check args against its signature.'}"
        ) from None
    return signature


def _names(function: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Name ``count`` positional arguments as the signature does, ``args[i]`` where it does not say."""
    signature = must_accept(function, count)
    if signature is None:
        return tuple(f"args[{i}]" for i in range(count))
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return tuple(names[:count])


def _by_themselves(arguments: Arguments) -> list[str]:
    """Return the paths of the leaves that move without being named: float arrays, but for those among settings."""
    return [
        leaf.path
        for position, value in enumerate(arguments.values)
        if not _is_settings(value)
        for leaf in arguments.leaves_of(position)
        if is_float(leaf.value)
    ]


def _is_settings(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(setting, str) for setting in value.values())


def _chosen(arguments: Arguments, wrt: Chosen) -> list[str]:
    """Return the paths of the leaves that ``wrt`` names."""
    who, names = arguments.function, arguments.names
    keys = [wrt] if isinstance(wrt, str | int | np.integer) else wrt
    if not isinstance(keys, tuple | list) or not keys:
        raise TypeError(
            f"wrt must be a name, a position, or a tuple of them, but it is {describe(wrt)}. "
            f"Choose among the arguments of {who} ({', '.join(names)}), or leave it out."
        )
    chosen: list[str] = []
    for key in keys:
        name, came, found = _named(arguments, key)
        if not found:
            raise ValueError(
                f"wrt must name arguments of {who} ({', '.join(names)}), leaves of them or positions, "
                f"but it holds {shown(key)}. Choose among these."
            )
        movable = [leaf.path for leaf in found if can_move(leaf.value)]
        if not movable:
            raise ValueError(
                f"wrt must name arguments of {who} that hold floats, but {name} is {describe(came)}. "
                f"Leave it out, or {instead_of(came)}."
            )
        chosen += movable
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"wrt must name each argument once, but it is {shown(wrt)}. Remove the repetition.")
    return chosen


def _named(arguments: Arguments, key: Any) -> tuple[str, Any, tuple[Leaf, ...]]:
    """Return the name, the value and the leaves of an argument or of a leaf; no leaves where there is none."""
    names = arguments.names
    if isinstance(key, str) and key not in names:
        wanted = key.replace('"', "'")
        named = [(leaf.path.replace('"', "'"), leaf) for leaf in arguments.leaves]
        under = (f"{wanted}[", f"{wanted}.")
        found = tuple(leaf for path, leaf in named if path == wanted or path.startswith(under))
        return key, found[0].value if found else None, found
    position = names.index(key) if isinstance(key, str) else key
    if isinstance(position, bool) or not isinstance(position, int | np.integer):
        return "", None, ()
    if not -len(names) <= position < len(names):
        return "", None, ()
    position = int(position) % len(names)
    return names[position], arguments.values[position], arguments.leaves_of(position)


def can_move(leaf: object) -> bool:
    """Whether a leaf can move, if somebody asks for it: an array of floats, or a float."""
    return is_float(leaf) or isinstance(leaf, float | np.floating)


def instead_of(value: Any) -> str:
    """Return what to pass in the place of an argument or a leaf that cannot move, as an imperative."""
    dtype = getattr(value, "dtype", None)
    kind = getattr(dtype, "kind", "")
    if isinstance(value, complex):
        return "pass it as an array, np.asarray(z)"
    if kind == "c":
        return "pass its real and its imaginary part as two arguments: only a check takes complex arrays apart"
    if can_move(value):
        return "choose a point where it is finite"
    if kind == "V" and getattr(dtype, "names", None):
        return "pass its fields as arrays in a dict"
    if hasattr(value, "nnz"):
        return "pass the array of its stored numbers, .data"
    if kind == "O":
        return "pass its arrays in a list"
    if isinstance(value, bool | int | str | type(None)) or (kind and kind in "biuSUmM"):
        return "pass floats"
    return "pass its arrays in a tuple, a dict or a dataclass"


def _to_numpy(leaf: Any) -> Any:
    """Return ``leaf`` with an array of another library as a NumPy array."""
    if isinstance(leaf, np.ndarray):
        return leaf
    if not hasattr(type(leaf), "__array_namespace__"):
        return leaf
    try:
        return np.array(leaf)
    except Exception:  # noqa: BLE001  (an array of what NumPy has no dtype for, such as a JAX key, stays what it is)
        return leaf


def _must_be_trees(who: str, leaves: Iterable[Leaf]) -> None:
    known = set()
    for path, value, _ in leaves:
        if path in known:
            raise ValueError(
                f"{who} must be given leaves with names of their own, but two are called {path}. "
                "Use keys that are printed differently."
            )
        known.add(path)
        if type(value) not in LEAVES and is_container(value):
            raise ValueError(
                f"{who} must be given containers that end, but {path} is {describe(value)} that holds itself. "
                "Pass the arrays in a tuple, a list or a dict of their own."
            )


def _must_be_usable(who: str, path: str, leaf: Any, *, empty: bool) -> None:
    if isinstance(leaf, np.ma.MaskedArray):
        raise TypeError(
            f"{path} must be a plain array, but it is a masked one. "
            "Pass its numbers, x.filled(0), and its mask as two arguments."
        )
    array = np.asarray(leaf)
    if array.size == 0 and not empty:
        raise ValueError(
            f"{who} must be checked where {path} has entries, but its shape is {array.shape}. Pass a non-empty array."
        )
    with np.errstate(all="ignore"):
        finite = np.isfinite(array.astype(np.float64, copy=False))
    if not finite.all():
        index = int(np.argmin(finite.ravel()))
        raise ValueError(
            f"{who} must be checked at a finite point, but {entry_name(path, array.shape, index)} is "
            f"{array.ravel()[index]}. Choose a point where every argument is finite."
        )


def _copy(leaf: Any) -> Any:
    """Return a copy of a leaf; what cannot be copied (a module, a lock) is shared."""
    if isinstance(leaf, np.ndarray) and not leaf.dtype.hasobject:
        return leaf.copy(order="K")
    if type(leaf) in CONSTANT:
        return leaf
    try:
        return copy.deepcopy(leaf)
    except Exception:  # noqa: BLE001  (whatever a class raises that refuses to be copied)
        return leaf


def _as(kind: type, array: Array) -> Any:
    """Return ``array`` as what was given: a number for a number, and for a ``matrix`` a matrix."""
    if not issubclass(kind, np.ndarray):
        return array[()]
    return array if kind is np.memmap else array.view(kind)
