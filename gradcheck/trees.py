"""Arrays in nested containers ↔ one flat vector, and the names of its entries. Level 0.

A *tree* is an array, or a tuple, list or dict of trees. A *path* leads to one of its leaves and is
written as Python would index it: ``W1``, ``params['b']``, ``layers[0][1]``. An *entry* is one number
of one leaf: ``W1[2, 3]``, ``params['b'][0]``.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["Layout", "describe", "entry_name", "is_container", "is_float", "leaves", "rebuild", "rounding_unit"]

Array = np.ndarray[Any, np.dtype[Any]]


def is_container(tree: object) -> bool:
    """Whether ``tree`` is a container that is looked into: a tuple, a list or a dict."""
    return isinstance(tree, tuple | list | Mapping)


def is_float(value: object) -> bool:
    """Whether ``value`` is an array of real floating-point numbers of any precision."""
    return isinstance(value, np.ndarray) and (value.dtype.kind == "f" or value.dtype.name == "bfloat16")


def rounding_unit(dtype: np.dtype[Any]) -> float:
    """Return the distance from 1 to the next number of a floating-point ``dtype``; NumPy does not know bfloat16."""
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7


def leaves(tree: object, path: str) -> Iterator[tuple[str, Any]]:
    """Yield ``(path, leaf)`` for every leaf of ``tree``, containers in order, dicts by insertion."""
    if isinstance(tree, np.ndarray):  # nearly every leaf, and cheaper to recognise than a container
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, subtree in tree.items():
            yield from leaves(subtree, f"{path}[{key!r}]")
    elif isinstance(tree, tuple | list):
        for index, subtree in enumerate(tree):
            yield from leaves(subtree, f"{path}[{index}]")
    else:
        yield path, tree


def rebuild(tree: Any, replacements: Iterator[Any]) -> Any:
    """Return ``tree`` with its leaves replaced, in order, by the next of ``replacements``."""
    if isinstance(tree, np.ndarray):
        return next(replacements)
    if isinstance(tree, Mapping):
        rebuilt = {key: rebuild(subtree, replacements) for key, subtree in tree.items()}
        if type(tree) is dict:
            return rebuilt
        like = copy.copy(tree)  # keeps what a subclass adds: a default factory, an order
        like.update(rebuilt)  # type: ignore[attr-defined]
        return like
    if isinstance(tree, tuple | list):
        items = [rebuild(subtree, replacements) for subtree in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return next(replacements)


def entry_name(path: str, shape: Sequence[int], index: int) -> str:
    """Return the name of entry number ``index`` (row-major) of the leaf at ``path``: ``dW1[2, 3]``."""
    if not shape:
        return path
    return f"{path}[{', '.join(str(i) for i in np.unravel_index(index, tuple(shape)))}]"


def describe(value: object) -> str:
    """Say in a few words what ``value`` is: ``a float64 array of shape (3, 4)``, ``None``, ``a dict``."""
    if isinstance(value, np.ndarray):
        return f"{_an(value.dtype.name)} array of shape {value.shape}"
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return f"a dict with the keys {', '.join(map(repr, value)) or '(none)'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, bool | int | float | complex | np.generic):
        return f"the {type(value).__name__} {value}"
    return f"{_an(type(value).__name__)}"


def _an(word: str) -> str:
    return f"{'an' if word[:1] in 'aeioAEIO' else 'a'} {word}"


@dataclass(frozen=True)
class Layout:
    """Where each of some arrays lies in one flat vector.

    ``paths`` names the arrays; ``shapes`` and ``dtypes`` are theirs. The vector holds them one after
    the other in row-major order.
    """

    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype[Any], ...]

    @classmethod
    def of(cls, named: Iterable[tuple[str, Array]]) -> Layout:
        """Return the layout of ``(path, array)`` pairs."""
        pairs = list(named)
        return cls(
            tuple(path for path, _ in pairs),
            tuple(array.shape for _, array in pairs),
            tuple(array.dtype for _, array in pairs),
        )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of entries of each array."""
        return tuple(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)

    @cached_property
    def size(self) -> int:
        """The number of entries of the flat vector."""
        return sum(self.sizes)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The part of the flat vector that each array fills."""
        ends = np.cumsum((0, *self.sizes)).tolist()
        return tuple(slice(start, end) for start, end in itertools.pairwise(ends))

    def flatten(self, arrays: Iterable[Any]) -> Array:
        """Return the flat float64 vector of ``arrays``, a fresh one; a number fills the place of its array."""
        vector = np.empty(self.size)
        for part, array in zip(self.slices, arrays, strict=True):
            vector[part] = np.asarray(array, dtype=np.float64).ravel()
        return vector

    def unflatten(self, vector: Array) -> list[Array]:
        """Return the arrays that ``vector`` holds, as views of it."""
        return [vector[part].reshape(shape) for part, shape in zip(self.slices, self.shapes, strict=True)]

    def locate(self, index: int) -> tuple[int, int]:
        """Return which array, and which of its entries, entry ``index`` of the vector is."""
        for number, part in enumerate(self.slices):
            if index < part.stop:
                return number, index - part.start
        raise IndexError(index)

    def entry_name(self, index: int) -> str:
        """Return the name of entry ``index`` of the vector: ``x[0, 2]``."""
        number, offset = self.locate(index)
        return entry_name(self.paths[number], self.shapes[number], offset)
