"""A gradient that is right but for its samples or steps: one is zero, one stands for all, all are shifted. Level 3.

No run of the backward is needed: the claimed gradient tells, and slopes along single samples confirm it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.recurrence import is_time, steps_of
from gradcheck.explanation.suspects.sight import alike
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

PROBES = 3


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what samples of a gradient explain: B6, C8, G3."""
    for path in evidence.wrong:
        claimed = evidence.claimed.get(path)
        if claimed is None or claimed.ndim < 2 or not claimed.any() or not np.isfinite(claimed).all():
            continue
        axis = _samples(evidence, path)
        found = None if axis is None else _left_out(evidence, path, axis) or _one_for_all(evidence, path, axis)
        found = found or (_shifted(evidence, path) if steps_of(evidence) else None)
        if found:
            yield found


def _samples(evidence: Evidence, path: str) -> int | None:
    """Return the axis of an argument that holds the samples, None if there is none or one sample."""
    batch = batch_of(evidence)
    axis = batch.axes.get(path) if batch else None
    return None if axis is None or batch is None or batch.size < 2 else axis % evidence.point[path].ndim


def _left_out(evidence: Evidence, path: str, axis: int) -> Suspicion | None:
    """Return what a sample whose gradient is zero explains, where it must not be and all others are right (C8)."""
    lines = np.moveaxis(evidence.claimed[path], axis, 0)
    empty = [number for number, line in enumerate(lines) if not line.any()]
    if len(empty) != 1 or empty[0] not in (0, len(lines) - 1):
        return None
    if not _right_along(evidence, path, evidence.claimed[path], _all_but(evidence, path, axis, empty[0])):
        return None
    which = "first" if empty[0] == 0 else "last"
    sentence = (
        f"d{path} is zero for the {which} of {len(lines)} samples and right for all others: the {which} sample is "
        "left out. Let the gradient of every sample through."
    )
    return Suspicion("C8", (path,), sentence, {}, 0.3)


def _one_for_all(evidence: Evidence, path: str, axis: int) -> Suspicion | None:
    """Return what the gradient of one sample explains that is repeated for all of them (B6)."""
    claimed = evidence.claimed[path]
    lines = np.moveaxis(claimed, axis, 0)
    if claimed.size < 2 * len(lines) or not all(alike(line, lines[0]) for line in lines[1:]):
        return None
    for which, number in (("first", 0), ("last", len(lines) - 1)):
        if _right_along(evidence, path, claimed, 1 - _all_but(evidence, path, axis, number)):
            sentence = (
                f"d{path} is the gradient of the {which} sample, repeated for all {len(lines)}. "
                "Take that of each sample by itself."
            )
            return Suspicion("B6", (path,), sentence, {}, 0.4)
    return None


def _shifted(evidence: Evidence, path: str) -> Suspicion | None:
    """Return what a gradient explains whose steps are one too early or too late (G3)."""
    claimed = evidence.claimed[path]
    for axis, size in enumerate(claimed.shape):
        if not is_time(evidence, size, axis, claimed.ndim):
            continue
        by = size // steps_of(evidence)
        for forth in (by, -by) if steps_of(evidence) > 2 else ():
            moved = np.roll(claimed, forth, axis=axis)
            inside = np.ones(claimed.shape)  # what is shifted in at the edge is not known
            np.moveaxis(inside, axis, 0)[slice(None, by) if forth > 0 else slice(-by, None)] = 0
            if _right_along(evidence, path, moved, inside):
                late = "early" if forth > 0 else "late"
                sentence = f"d{path} is right, but every step of it stands one too {late}. Do not shift it in time."
                return Suspicion("G3", (path,), sentence, {}, 0.3)
    return None


def _all_but(evidence: Evidence, path: str, axis: int, number: int) -> Array:
    inside = np.ones(evidence.point[path].shape)
    np.moveaxis(inside, axis, 0)[number] = 0
    return inside


def _right_along(evidence: Evidence, path: str, gradient: Array, inside: Array) -> bool:
    """Whether a gradient is the true one where ``inside`` is one, and not zero there."""
    if not (gradient * inside).any():
        return False
    tangents = [inside * evidence.rng.standard_normal(gradient.shape) for _ in range(PROBES)]
    return evidence.is_true_along(path, tangents, [float((gradient * u).sum()) for u in tangents])
