"""A result and how it was made, so that it can be made again of other operands. Level 3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.memory import Array, Buffer
from gradcheck.steps.places import Site
from gradcheck.steps.traced import Traced

__all__ = ["TRACED", "Hole", "Node", "emptied", "filled", "gather"]

TRACED = "fbiu"  # kinds of arrays that are recorded: complex ones have no place in a real gradient


class Hole(NamedTuple):
    """The place of operand number ``k`` in the arguments of a node."""

    k: int


class Node:
    """A result: ``compute(values of its parents)``; ``kind`` is leaf, const, gather or op.

    ``memory`` is what it was read from or written into: the buffer and which of its cells, None for all of it.
    """

    __slots__ = ("args", "data", "func", "id", "kind", "kwargs", "memory", "name", "parents", "site", "turn", "value")

    def __init__(
        self,
        id: int,
        kind: str,
        name: str,
        func: Callable[..., Any] | None,
        args: Any,
        kwargs: Any,
        parents: tuple[int, ...],
        site: Site,
        turn: int,
        value: Any,
        data: Any = None,
    ) -> None:
        self.id, self.kind, self.name, self.func, self.args, self.kwargs = id, kind, name, func, args, kwargs
        self.parents, self.site, self.turn, self.value, self.data = parents, site, turn, value, data
        self.memory: tuple[Buffer, Array | None] | None = None

    def compute(self, values: Sequence[Any], args: Any = None, func: Any = None, **changed: Any) -> Any:
        """Return what the node is when its operands have these values, with other arguments or another function."""
        func = func or self.func
        if func is None:
            return self.value
        args = self.args if args is None else args
        made = func(*filled(args, values), **{**filled(self.kwargs, values), **changed})
        return np.asarray(made) if isinstance(made, np.generic) else made  # what comes after was given an array

    @property
    def is_float(self) -> bool:
        """Whether the value is an array of floats."""
        return isinstance(self.value, np.ndarray) and self.value.dtype.kind == "f"


def emptied(tree: Any, operands: list[Array]) -> Any:
    """Return ``tree`` with a hole for every array that can be recorded, which is put into ``operands``."""
    kind = type(tree)
    if kind is Traced or (kind is np.ndarray and tree.dtype.kind in TRACED):
        operands.append(tree)
        return Hole(len(operands) - 1)
    if kind is tuple:
        return tuple([emptied(each, operands) for each in tree])
    if kind is list:
        return [emptied(each, operands) for each in tree]
    if kind is dict:
        return {key: emptied(value, operands) for key, value in tree.items()}
    return tree


def filled(tree: Any, values: Sequence[Any]) -> Any:
    """Return ``tree`` with values in its holes."""
    kind = type(tree)
    if kind is Hole:
        return values[tree.k]
    if kind is tuple:
        return tuple([filled(each, values) for each in tree])
    if kind is list:
        return [filled(each, values) for each in tree]
    if kind is dict:
        return {key: filled(value, values) for key, value in tree.items()}
    return tree


def gather(which: Array, place: Array, values: Sequence[Array]) -> Array:
    """Return the array whose cells are those at ``place`` in the one of ``values`` that ``which`` says."""
    if len(values) == 1:
        return np.ravel(values[0])[place]
    made = np.empty(which.shape, dtype=np.result_type(*values))
    for k, value in enumerate(values):
        here = which == k
        made[here] = np.ravel(value)[place[here]]
    return made
