"""Candidates for the order of rows and columns: reversed, or moved by one. Level 3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.candidate import Candidate
from gradcheck.trees import Array

__all__ = ["lined_up"]


def lined_up(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    """Yield a vector or a matrix reversed along one axis (F1), or rolled along it by one (F3)."""
    if array.shape != evidence.point[path].shape or not 1 <= array.ndim <= 2:
        return
    for axis in reversed(range(array.ndim)):
        if array.shape[axis] < 2 or array.size < 3:
            continue
        if array.ndim == 2:
            state = f"{{gradients}} {{are}} {{truth}} reversed along axis {axis}"
            yield Candidate("F1", np.flip(array, axis), state, f"Reverse it along axis {axis}.", 0.3)
        for by in (1, -1) if array.shape[axis] > 2 else (1,):
            state = f"{{gradients}} {{are}} {{truth}} rolled by {by} along axis {axis}"
            yield Candidate("F3", np.roll(array, -by, axis), state, "Some index is off by one.", 0.4)
