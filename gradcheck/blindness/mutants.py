"""Wrong backwards made of a right one: edits of its source, and other arrays in its cache. Level 3.

A repair undoes a mistake, so the repair of something right is a mistake. And a backward that reads ``Wh`` where it
should read ``Wh.T`` is the right one with ``Wh.T`` in its cache, whether or not its source can be had.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.explanation.edits import edits
from gradcheck.explanation.evidence import Evidence
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["Mutant", "mutants"]

FACTORS = {"C1", "C7", "E5", "F5", "F6"}  # classes that lack a factor or a divisor
EDITS = 300  # of the source that are tried, the most plausible first


class Mutant(NamedTuple):
    """A wrong backward, with the forward whose cache it takes.

    Attributes:
        mistake: the id of the mistake in the catalogue.
        what: what stands in it that should not.
        forward: the forward.
        backward: the wrong backward.
    """

    mistake: str
    what: str
    forward: Callable[..., Any]
    backward: Callable[[Any, Any], Any]


def mutants(evidence: Evidence) -> Iterator[Mutant]:
    """Yield wrong backwards made of the right one of ``evidence``."""
    yield from _of_cache(evidence)
    yield from _of_source(evidence)


def _of_source(evidence: Evidence) -> Iterator[Mutant]:
    example = (evidence.cotangent, evidence.cache)
    found = edits(evidence.backward, example, forward=evidence.forward, args=evidence.arguments.fresh())
    for edit in itertools.islice(found, EDITS):
        if edit.mistake in FACTORS and len(edit.after) > len(edit.before):
            continue  # a factor too many, which nobody writes
        what = f"line {edit.line} of {edit.function} as `{edit.after}`"
        yield Mutant(
            _mistake(edit.mistake, edit.before, edit.after), what, edit.forward or evidence.forward, edit.backward
        )


def _mistake(repairs: str, before: str, after: str) -> str:
    """Return the class of an edit as a mistake: it was found as a repair, and here it does the opposite."""
    if repairs in {"E1", "E2"}:
        return "E1" if "+=" in before and "+=" not in after else "E2" if "+=" in after else repairs
    return "B3" if repairs == "B4" and ".sum(" in before and ".sum(" not in after else repairs


def _of_cache(evidence: Evidence) -> Iterator[Mutant]:
    held = dict(leaves(evidence.cache, "cache"))
    for path, leaf in held.items():
        if isinstance(leaf, np.ndarray) and leaf.size:
            name = _name(path, leaf, evidence)
            for mistake, done, other in _others(leaf):
                yield Mutant(mistake, f"{name} {done}", evidence.forward, _reading(evidence.backward, path, other))


def _others(leaf: Array) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Yield what may be read in the place of an array of the cache: id, words, and from the array to the other."""
    if leaf.ndim == 2 and leaf.dtype.kind == "f" and leaf.shape[0] == leaf.shape[1]:
        yield "B1", "transposed", np.transpose
    if leaf.ndim == 4 and leaf.dtype.kind == "f":
        yield "F1", "turned by 180°", lambda array: np.flip(array, (2, 3))
        if leaf.shape[2] == leaf.shape[3]:
            yield "F4", "with height and width exchanged", lambda array: array.swapaxes(2, 3)
    if leaf.dtype.kind == "b":
        yield "C1", "true everywhere", np.ones_like
    elif leaf.ndim == 2 and leaf.dtype.kind in "iu" and set(np.unique(leaf).tolist()) <= {0, 1}:
        yield "F5", "1 everywhere", np.ones_like


def _reading(
    backward: Callable[[Any, Any], Any], wanted: str, other: Callable[[Array], Array]
) -> Callable[[Any, Any], Any]:
    """Return ``backward`` with another array in the cache at the path ``wanted``."""

    def reading(dout: Any, cache: Any) -> Any:
        pairs = leaves(cache, "cache")
        return backward(dout, rebuild(cache, (other(leaf) if path == wanted else leaf for path, leaf in pairs)))

    return reading


def _name(path: str, leaf: Array, evidence: Evidence) -> str:
    """Return what a person calls an array of the cache: the argument that it is, if it is one."""
    for name, value in zip(evidence.arguments.names, evidence.arguments.values, strict=True):
        for argument, array in leaves(value, name):
            if isinstance(array, np.ndarray) and array.shape == leaf.shape and np.array_equal(array, leaf):
                return argument
    return path
