"""Candidates for blocks that stand side by side: tiled for repeated, or repeated the wrong number of times. Level 3.

What a pooling backward spreads over its windows, one block for each output. How many blocks there are, and how large
they are, is told by arrays in sight of as many axes, such as the output.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.candidate import Candidate
from gradcheck.trees import Array

__all__ = ["interleaved", "repeated"]

Counts = tuple[int, ...]


def interleaved(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    """Yield ``array`` with copies side by side as blocks of equal entries, and the other way round (B1)."""
    shape = evidence.point[path].shape
    if array.shape != shape:
        return
    for small, counts in _blocks(evidence, shape):
        axes = [axis for axis, count in enumerate(counts) if count > 1 and small[axis] > 1]
        for some in (axes, *([axis] for axis in axes if len(axes) > 1)):
            along = f"axis {some[0]}" if len(some) == 1 else f"the axes {tuple(some)}"
            for tiled in (True, False):
                made, state = array, f"{{gradients}} {{are}} {{truth}} with the entries along {along} in another order"
                for axis in some:
                    made = _swapped(made, axis, counts[axis] if tiled else small[axis])
                advice = "Repeat each entry (np.repeat), not the whole (np.tile)."
                if not tiled:
                    advice = "Repeat the whole (np.tile), not each entry (np.repeat)."
                yield Candidate("B1", made, state, advice, 0.3)


def _swapped(array: Array, axis: int, outer: int) -> Array:
    """Return ``array`` with an axis read as ``outer`` rows, and these taken as columns."""
    shape = array.shape
    split = array.reshape(*shape[:axis], outer, shape[axis] // outer, *shape[axis + 1 :])
    made: Array = split.swapaxes(axis, axis + 1).reshape(shape)
    return made


def repeated(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    """Yield blocks of ``array``, of which there are as many as there should be, in the right size (F2, F4)."""
    shape = evidence.point[path].shape
    if array.shape == shape or array.ndim != len(shape):
        return
    for small, counts in _blocks(evidence, shape):
        if any(size % part for size, part in zip(array.shape, small, strict=True)):
            continue
        came = tuple(size // part for size, part in zip(array.shape, small, strict=True))
        made = array[tuple(slice(None, None, count) for count in came)]
        if not np.array_equal(_spread(made, came), array):
            continue
        state = f"{{gradients}} {{are}} {{truth}} with each entry repeated {_times(came)} instead of {_times(counts)}"
        exchanged = sorted(came) == sorted(counts)
        advice = "Exchange height and width." if exchanged else "Repeat each entry as often as its window is large."
        yield Candidate("F4" if exchanged else "F2", _spread(made, counts), state, advice, 0.2)


def _times(counts: Counts) -> str:
    return " x ".join(str(count) for count in counts[-2:])


def _spread(array: Array, counts: Counts) -> Array:
    for axis, count in enumerate(counts):
        array = array.repeat(count, axis=axis)
    return array


def _blocks(evidence: Evidence, shape: tuple[int, ...]) -> Iterator[tuple[Counts, Counts]]:
    """Yield the shapes in sight of which ``shape`` is a multiple, with how often it is larger along each axis."""
    known = dict.fromkeys(array.shape for array in evidence.at_hand.values() if array.ndim == len(shape) >= 2)
    for small in known:
        pairs = list(zip(shape, small, strict=True))
        if small != shape and 0 not in small and all(size % part == 0 for size, part in pairs):
            counts = tuple(size // part for size, part in pairs)
            if len(list(itertools.filterfalse(lambda count: count == 1, counts))) <= 2:
                yield small, counts
