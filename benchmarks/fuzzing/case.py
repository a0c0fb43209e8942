"""A case of the fuzzer, and what is done with its arguments and trees. The wrappers here are the user's functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Case", "Change", "arrays_in", "mapped", "pick", "watch"]


@dataclass
class Case:
    """One case: what is called, with which functions, arguments and settings, and what is known of it.

    ``truth`` is "right" or "wrong" where a person would know, "" where anything may be said. ``raised`` holds the
    exceptions that the user's functions were made to raise, ``pulled`` how often the backward was called and whether
    it gave NaN where the forward's output was finite.
    """

    seed: int
    entry: str
    forward: Any
    backward: Any
    args: Any
    settings: dict[str, Any] = field(default_factory=dict)
    truth: str = "right"
    ambient: str = ""
    labels: list[str] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)
    pulled: dict[str, Any] = field(default_factory=lambda: {"calls": 0, "nan": False, "finite": True, "watched": False})


Change = Callable[[np.random.Generator, Case], str]


def pick(rng: np.random.Generator, table: Any) -> Any:
    """Return one of the keys of a table, or of the items of a sequence."""
    items = list(table)
    return items[int(rng.integers(len(items)))]


def arrays_in(tree: Any) -> list[Any]:
    """Return the arrays of a plain tree, in order, however deep it is; a container inside itself counts once."""
    found, pending, seen = [], [tree], set()
    while pending:
        part = pending.pop()
        if isinstance(part, np.ndarray):
            found.append(part)
        elif isinstance(part, dict | tuple | list) and id(part) not in seen:
            seen.add(id(part))
            pending += reversed(list(part.values() if isinstance(part, dict) else part))
    return found


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply ``function`` to the arrays of a plain tree."""
    if isinstance(tree, dict):
        return {key: mapped(function, part) for key, part in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, part) for part in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(function, part) for part in tree)
    return tree if tree is None or isinstance(tree, str) else function(tree)


def watch(case: Case) -> None:
    """Wrap the functions of a case so that it is seen whether the backward was called, and what it gave."""
    if not (callable(case.forward) and callable(case.backward)):
        return
    forward, backward, pulled = case.forward, case.backward, case.pulled
    pulled["watched"] = True

    @functools.wraps(forward)
    def watched_forward(*args, **kwargs):
        returned = forward(*args, **kwargs)
        out = returned[0] if isinstance(returned, tuple) and returned else returned
        pulled["finite"] = all(np.isfinite(a).all() for a in arrays_in(out) if a.dtype.kind == "f")
        return returned

    @functools.wraps(backward)
    def watched_backward(*args, **kwargs):
        returned = backward(*args, **kwargs)
        pulled["calls"] += 1
        if pulled["finite"] and all(np.isfinite(a).all() for a in arrays_in(args[:1]) if a.dtype.kind == "f"):
            pulled["nan"] |= any(np.isnan(a).any() for a in arrays_in(returned) if a.dtype.kind == "f")
        return returned

    case.forward, case.backward = watched_forward, watched_backward
