"""Which arrays share memory, without comparing each with each. Level 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gradcheck.trees import Array

__all__ = ["sharing"]


def sharing(named: Iterable[tuple[str, Array]]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of names whose arrays have a number in common.

    Sorted by where they begin in memory, an array can only meet those that begin before it ends.
    """
    spans = sorted((*byte_bounds(array), i, name, array) for i, (name, array) in enumerate(named) if array.size)
    open_spans: list[tuple[int, int, str, Array]] = []
    for start, end, i, name, array in spans:
        open_spans = [span for span in open_spans if span[0] > start]
        for _, j, other, earlier in open_spans:
            if np.shares_memory(array, earlier):
                yield (other, name) if j < i else (name, other)
        open_spans.append((end, i, name, array))
