"""What a cache of objects holds: in their attributes, and in the cells of the functions that they keep. Level 3.

A forward that returns a network, or a graph of nodes with a closure each, has made them for this one run. They are
changed where they are, since their closures refer to them, and are given back as they were.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradcheck.trees import leaves

__all__ = ["changed_in", "has_objects", "is_object"]

MOST = 20_000  # things that are looked at
OTHERS = {"gradcheck", "numpy", "jax", "jaxlib", "torch"}

Leaf = Callable[[Any], Any]


def has_objects(cache: Any) -> bool:
    """Whether objects of the user's, or functions, are among the leaves of a cache."""
    return any(_holds(leaf) for _, leaf in leaves(cache, ""))


def is_object(thing: Any) -> bool:
    """Whether a thing is an object of the user's, with attributes."""
    if isinstance(thing, type | types.ModuleType | np.ndarray | np.generic) or not hasattr(thing, "__dict__"):
        return False
    package = (type(thing).__module__ or "").partition(".")[0]
    return package == "__main__" or package not in OTHERS | sys.stdlib_module_names


def changed_in(cache: Any, leaf: Leaf, undo: contextlib.ExitStack | None = None) -> None:
    """Put ``leaf(value)`` in the place of every value that the objects and functions in a cache hold.

    ``undo`` puts each of them back, whatever was made of its place in the meantime: an object may outlive the run.
    """
    waiting = [each for _, each in leaves(cache, "") if _holds(each)]
    seen: dict[int, Any] = {}
    while waiting and len(seen) < MOST:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        for value, put in _places(thing):
            new = _changed(value, leaf, waiting)
            if new is not value:
                if undo is not None:
                    undo.callback(_put_back, put, value)
                put(new)


def _put_back(put: Callable[[Any], None], value: Any) -> None:
    with contextlib.suppress(IndexError):  # of a list that has become shorter, that place is gone
        put(value)


def _changed(value: Any, leaf: Leaf, waiting: list[Any]) -> Any:
    """Return what takes the place of a value; what it holds itself has to wait."""
    if isinstance(value, tuple):
        parts = [_changed(part, leaf, waiting) for part in value]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    new = leaf(value)
    if _holds(value) or isinstance(value, list | dict):
        waiting.append(value)
    return new


def _holds(thing: Any) -> bool:
    is_array = isinstance(thing, np.ndarray) and thing.dtype.kind == "O"
    is_function = isinstance(thing, types.FunctionType | types.MethodType)
    return is_array or is_function or is_object(thing)


def _places(thing: Any) -> Iterator[tuple[Any, Callable[[Any], None]]]:
    """Yield what a thing holds, each with the function that puts something else in its place."""
    if isinstance(thing, types.MethodType):
        yield thing.__self__, lambda _: None
    elif isinstance(thing, types.FunctionType):
        for cell in thing.__closure__ or ():
            if cell != types.CellType():
                yield cell.cell_contents, functools.partial(setattr, cell, "cell_contents")
    elif isinstance(thing, np.ndarray):
        for place in np.ndindex(thing.shape):
            yield thing[place], functools.partial(thing.__setitem__, place)
    else:
        held = dict(enumerate(thing)) if isinstance(thing, list) else thing if isinstance(thing, dict) else vars(thing)
        target = thing if isinstance(thing, list) else held
        for key, value in list(held.items()):
            yield value, functools.partial(target.__setitem__, key)
