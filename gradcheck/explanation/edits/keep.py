"""The arrays that the user's functions hold, given back as they were: an edit may write into them. Level 1.

``np.zeros_like(W)`` edited to ``W`` makes ``W`` the buffer that the next line adds to.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcheck.explanation.edits.reach import Names, is_own, may_lead, reached, spoken

__all__ = ["kept"]


@contextlib.contextmanager
def kept(*roots: Any) -> Iterator[None]:
    """Put back, at the end, what the arrays contained that the functions among ``roots`` refer to."""
    copies = [(array, array.copy()) for array in _held(roots) if array.flags.writeable]
    try:
        yield
    finally:
        for array, copy in copies:
            np.copyto(array, copy)


def _held(roots: Any) -> list[np.ndarray[Any, Any]]:
    """Return the arrays in the cells, defaults, spoken globals and objects of the functions."""
    found: dict[int, np.ndarray[Any, Any]] = {}
    seen: dict[int, Any] = {}
    names = spoken(roots)
    open_ = [roots, *reached(roots)]
    while open_:
        thing = open_.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # which keeps it alive, and its id its own
        if isinstance(thing, np.ndarray):
            found[id(thing)] = thing
        else:
            open_ += [part for part in _within(thing, names) if isinstance(part, np.ndarray) or may_lead(part)]
    return list(found.values())


def _within(thing: Any, names: Names) -> list[Any]:
    if isinstance(thing, types.FunctionType):
        told = names & thing.__globals__.keys() if is_own(thing) else ()
        cells = [cell.cell_contents for cell in thing.__closure__ or () if _is_bound(cell)]
        return [*cells, thing.__defaults__, thing.__kwdefaults__, *(thing.__globals__[name] for name in told)]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, tuple | list):
        return list(thing)
    if isinstance(thing, type | types.ModuleType):
        return [vars(thing)[name] for name in names & vars(thing).keys()]
    return list(getattr(thing, "__dict__", {}).values())


def _is_bound(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
