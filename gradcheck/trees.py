"""Arrays in nested containers ↔ one flat vector, and the names of its entries. Level 0.

A *tree* is a leaf, or a container of trees: a tuple, list, dict, dataclass (see ``containers``). A *path* leads to one
of its leaves and is written as Python would: ``W1``, ``params['b']``, ``layers[0].W``. An *entry* is one number of one
leaf: ``W1[2, 3]``, ``params['b'][0]``.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gradcheck.containers import LEAVES, Opened, is_container, opened, shown

__all__ = [
    "Layout",
    "Structure",
    "describe",
    "entry_name",
    "flatten",
    "is_container",
    "is_discrete",
    "is_float",
    "is_number",
    "leaves",
    "mapped",
    "norm",
    "rebuild",
    "rounding_unit",
]

Array = np.ndarray[Any, np.dtype[Any]]
PLAIN = 1e-250  # sums of squares between this and its inverse lost nothing to underflow or overflow


def is_float(value: object) -> bool:
    """Whether ``value`` is an array of real floating-point numbers of any precision."""
    return isinstance(value, np.ndarray) and (value.dtype.kind == "f" or value.dtype.name == "bfloat16")


def is_number(value: object) -> bool:
    """Whether ``value`` is a number or an array of numbers of any kind, of NumPy or a library that has its dtypes."""
    dtype = getattr(value, "dtype", None)
    if not isinstance(dtype, np.dtype):
        return isinstance(value, int | float | complex) and np.asarray(value).dtype != object  # which a huge int is
    return dtype.kind in "biufc" or dtype.name.startswith(("bfloat", "float8"))


def is_discrete(value: object) -> bool:
    """Whether ``value`` is, or is an array of, integers or booleans: it changes in steps and has no derivative."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, int) if dtype is None else getattr(dtype, "kind", "") in tuple("biu")


def rounding_unit(dtype: np.dtype[Any]) -> float:
    """Return the distance from 1 to the next number of a floating-point ``dtype``; NumPy does not know bfloat16."""
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7


def norm(array: Array) -> float:
    """Return the norm of all numbers of ``array``, without overflow or underflow of their squares."""
    squares = float(np.vdot(array, array))  # which flattens both, and never warns
    if PLAIN < squares < 1 / PLAIN:
        return math.sqrt(squares)
    flat = np.ravel(array)
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(flat), initial=0.0))
        return largest * float(np.linalg.norm(flat / largest)) if largest and math.isfinite(largest) else largest


class Step(NamedTuple):
    """One container of a structure: after ``before`` more leaves its last ``children`` parts are complete."""

    before: int
    children: int
    build: Callable[[Sequence[Any]], Any]
    keys: Sequence[Any]
    label: Callable[[Any], str]


class Structure:
    """What is left of a tree when its leaves are taken out: how they are put together again, and their paths.

    The containers are kept in the order in which they are completed, inner ones first, so that however deep they are
    nested one loop with a stack rebuilds them.
    """

    def __init__(self, steps: Sequence[Step], size: int) -> None:
        self.steps = steps
        self.size = size

    def unflatten(self, replacements: Iterable[Any]) -> Any:
        """Return the tree with the next ``size`` of ``replacements`` for its leaves."""
        found = iter(replacements)
        stack: list[Any] = []
        for before, count, build, _, _ in self.steps:
            children = list(itertools.islice(found, before))
            if before != count:  # some of them are containers, or belong to an outer one
                stack += children
                children = stack[len(stack) - count :]
                del stack[len(stack) - count :]
            stack.append(build(children))
        return stack.pop() if stack else next(found)

    def paths(self, root: str) -> list[str]:
        """Return the path of every leaf, where the tree is called ``root``."""
        stack: list[list[str]] = []
        for step in self.steps:
            stack += [[""]] * step.before
            children = stack[len(stack) - step.children :]
            del stack[len(stack) - step.children :]
            labels = map(step.label, step.keys)
            stack.append([label + rest for label, rests in zip(labels, children, strict=True) for rest in rests])
        return [root + rest for rest in stack.pop()] if stack else [root]


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of ``tree``, containers in order and dicts by insertion, and the structure that is left.

    A container inside itself is not looked into again, and is a leaf there.
    """
    found: list[Any] = []
    steps: list[Step] = []
    pending: list[Any] = [tree]
    above: set[int] = set()
    before = 0
    while pending:
        node = pending.pop()
        if type(node) is _Completed:
            above.discard(node.identity)
        else:
            parts = None if id(node) in above else opened(node)
            if parts is None:
                found.append(node)
                continue
            if not LEAVES.issuperset(map(type, parts.children)):
                above.add(id(node))
                pending.append(_Completed(id(node), parts))
                pending.extend(reversed(parts.children))
                continue
            found += parts.children
            node = _Completed(id(node), parts)
        keys, children, build, label = node.parts
        steps.append(Step(len(found) - before, len(children), build, keys, label))
        before = len(found)
    return found, Structure(steps, len(found))


class _Completed(NamedTuple):
    """Stands behind the children of a container that are still to be seen."""

    identity: int
    parts: Opened


def leaves(tree: object, path: str) -> list[tuple[str, Any]]:
    """Return ``(path, leaf)`` for every leaf of ``tree``, containers in order, dicts by insertion."""
    if type(tree) in LEAVES:
        return [(path, tree)]
    found, structure = flatten(tree)
    return list(zip(structure.paths(path), found, strict=True))


def rebuild(tree: Any, replacements: Iterator[Any]) -> Any:
    """Return ``tree`` with its leaves replaced, in order, by the next of ``replacements``."""
    if type(tree) in LEAVES:
        return next(replacements)
    return flatten(tree)[1].unflatten(replacements)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return ``tree`` with every leaf replaced by what ``function`` gives for it."""
    if type(tree) in LEAVES:
        return function(tree)
    found, structure = flatten(tree)
    return structure.unflatten(map(function, found))


def entry_name(path: str, shape: Sequence[int], index: int) -> str:
    """Return the name of entry number ``index`` (row-major) of the leaf at ``path``: ``dW1[2, 3]``."""
    if not shape:
        return path
    return f"{path}[{', '.join(str(i) for i in np.unravel_index(index, tuple(shape)))}]"


def describe(value: object) -> str:
    """Say in a few words what ``value`` is: ``a float64 array of shape (3, 4)``, ``None``, ``a dict``."""
    if isinstance(value, np.ndarray):
        masked = "masked " if isinstance(value, np.ma.MaskedArray) else ""
        return f"{_an(masked + value.dtype.name)} array of shape {value.shape}"
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return f"a dict with the keys {', '.join(map(shown, value)) or '(none)'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, bool | int | float | complex | np.generic):
        return f"the {type(value).__name__} {value if isinstance(value, np.generic) else shown(value)}"
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
        return tuple(map(math.prod, self.shapes))

    @cached_property
    def size(self) -> int:
        """The number of entries of the flat vector."""
        return sum(self.sizes)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The part of the flat vector that each array fills."""
        ends = np.cumsum((0, *self.sizes)).tolist()
        return tuple(slice(start, end) for start, end in itertools.pairwise(ends))

    @np.errstate(all="ignore")
    def flatten(self, arrays: Iterable[Any]) -> Array:
        """Return the flat float64 vector of ``arrays``, a fresh one; a number fills the place of its array."""
        parts = [
            np.ravel(array) if np.ndim(array) else np.broadcast_to(array, size)
            for array, size in zip(arrays, self.sizes, strict=True)
        ]
        return np.concatenate(parts, out=np.empty(self.size), casting="unsafe") if parts else np.empty(0)

    def unflatten(self, vector: Array) -> list[Array]:
        """Return the arrays that ``vector`` holds, as views of it."""
        return [vector[part].reshape(shape) for part, shape in zip(self.slices, self.shapes, strict=True)]

    def locate(self, index: int) -> tuple[int, int]:
        """Return which array, and which of its entries, entry ``index`` of the vector is."""
        if index >= self.size:
            raise IndexError(index)
        number = bisect.bisect(self.slices, index, key=lambda part: part.start) - 1
        return number, index - self.slices[number].start

    def entry_name(self, index: int) -> str:
        """Return the name of entry ``index`` of the vector: ``x[0, 2]``."""
        number, offset = self.locate(index)
        return entry_name(self.paths[number], self.shapes[number], offset)
