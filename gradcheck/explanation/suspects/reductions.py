"""Suspicions about sums: over too few axes, over others, or over everything. Level 3.

What a sum has lost cannot be had back from the claim, so the true gradient is compared as far as it goes: summed
over the axes in question, along tangents that are constant over these.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.candidate import Candidate
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects", "unsummed"]

MOST_AXES = 6
PROBES = 3  # random tangents for each question
CANCELLED = 1e-6  # a sum that is so much smaller than its terms compares nothing
LINE = 12  # entries of a sum that are measured one by one


def unsummed(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    """Yield the sums of ``array`` over axes that the argument does not have, or has with size one (B3)."""
    shape = evidence.point[path].shape
    if array.ndim > MOST_AXES or array.size <= math.prod(shape):
        return
    for count in range(1, array.ndim + 1):
        for axes in itertools.combinations(range(array.ndim), count):
            summed = array.sum(axis=axes)
            if summed.size == math.prod(shape) and [n for n in summed.shape if n > 1] == [n for n in shape if n > 1]:
                over = f"axis {axes[0]}" if count == 1 else f"the axes {axes}"
                state = f"{{gradients}}, of shape {array.shape}, {{are}} {{truth}} once summed over {over}"
                advice = f"Sum over {over}: what was broadcast forward is summed backward."
                mistake = "B4" if _summed_over_batch_only(evidence, array) else "B3"
                yield Candidate(mistake, summed.reshape(shape), state, advice, 0.2)


def _summed_over_batch_only(evidence: Evidence, array: Array) -> bool:
    """Whether a sum was taken, over the batch among others, but too few axes were summed."""
    batch = batch_of(evidence)
    before = max((np.ndim(leaf) for leaf in evidence.pairing.cotangent), default=0)
    return batch is not None and evidence.outputs > 1 and array.ndim < before and batch.size not in array.shape


def suspects(evidence: Evidence, path: str, array: Array) -> Iterator[Suspicion]:
    """Yield what a sum over the wrong axes explains (B4)."""
    found = _of_array(evidence, path, array)
    if found is None:
        found = (
            _constant(evidence, path, array)
            if array.shape == evidence.point[path].shape
            else _lost(evidence, path, array)
        )
    if found is not None:
        yield found


def _of_array(evidence: Evidence, path: str, array: Array) -> Suspicion | None:
    """Return how an array in sight was summed, where another sum of it is the true gradient."""
    shape = evidence.point[path].shape
    for name, whole in evidence.at_hand.items():
        if whole.ndim < 2 or whole.ndim > MOST_AXES or whole.dtype.kind != "f":
            continue
        sums = [
            (axes, whole.sum(axis=axes))
            for count in range(1, whole.ndim + 1)
            for axes in itertools.combinations(range(whole.ndim), count)
        ]
        claimed = [
            axes
            for axes, total in sums
            if total.size == array.size and np.allclose(total.ravel(), array.ravel(), rtol=1e-9, atol=0)
        ]
        for axes, total in sums if claimed else []:
            if total.size == math.prod(shape) and axes != claimed[0] and evidence.is_true(path, total.reshape(shape)):
                sentence = (
                    f"d{path} is {name} summed over {_axes(claimed[0])}, and the true gradient is the sum over "
                    f"{_axes(axes)}. Sum over {_axes(axes)}."
                )
                return Suspicion("B4", (path,), sentence, {path: total.reshape(shape)}, 0.2)
    return None


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"the axes {axes}"


def _lost(evidence: Evidence, path: str, array: Array) -> Suspicion | None:
    """Return what explains a gradient of another shape that keeps the sum: over too many axes, or over others."""
    shape = evidence.point[path].shape
    over = next(iter(_kept(array.shape, shape)), None)
    if over is not None and array.size < math.prod(shape):
        reduced = array.reshape([1 if axis in over else n for axis, n in enumerate(shape)])
        if _is_sum(evidence, path, reduced, 1.0):
            what = "everything" if array.size == 1 else f"{_axes(over)} of {path}"
            sentence = f"d{path} is the true gradient summed over {what}. Do not sum over {_axes(over)}."
            return Suspicion("B4", (path,), sentence, {}, 0.3)
    lines = all(sum(n > 1 for n in sizes) == 1 for sizes in (array.shape, shape))
    if not lines or not _same_total(evidence, path, array):
        return None
    sentence = (
        f"d{path} has shape {array.shape} for {shape}, and its sum is that of the true gradient. "
        "Sum over the other axis."
    )
    return Suspicion("B4", (path,), sentence, {}, 0.4)


def _kept(came: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the axes of ``shape`` whose loss would leave the sizes that came, those of size one aside."""
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            if [n for axis, n in enumerate(shape) if axis not in axes and n > 1] == [n for n in came if n > 1]:
                yield axes


def _constant(evidence: Evidence, path: str, array: Array) -> Suspicion | None:
    """Return what explains a gradient that is constant along some axes, or a bias in a square layer."""
    size = float(np.abs(array).max())
    axes = tuple(
        a for a in range(array.ndim) if array.shape[a] > 1 and float(np.ptp(array, axis=a).max()) <= 1e-12 * size
    )
    if axes:
        reduced = np.take(array, [0], axis=axes[0])
        for axis in axes[1:]:
            reduced = np.take(reduced, [0], axis=axis)
        count = math.prod(array.shape[axis] for axis in axes)
        for factor, verb in ((1.0, "summed"), (float(count), "averaged")):
            if _is_sum(evidence, path, reduced, factor) and not _is_of_one(evidence, path, reduced, axes):
                every = reduced.size == 1
                what = "everything" if every else f"{_axes(axes)} of {path}"
                sentence = (
                    f"d{path} is the true gradient {verb} over {what}, the same in every place. "
                    f"Do not reduce {_axes(axes)}."
                )
                return Suspicion("B4", (path,), sentence, {}, 0.3)
        return None
    batch = batch_of(evidence)
    square = array.ndim == 1 and batch is not None and array.size == batch.size and path not in batch.axes
    if square and array.size > 2 and _same_total(evidence, path, array):
        sentence = (
            f"d{path} has the sum of the true gradient, and {array.size} is the batch too. "
            "Sum over the batch, not over the units."
        )
        return Suspicion("B4", (path,), sentence, {}, 1.5, f"A batch of {array.size + 1} tells whether it is so.")
    return None


def _is_sum(evidence: Evidence, path: str, reduced: Array, factor: float) -> bool:
    """Whether ``factor`` · ``reduced`` is the true gradient summed over the axes in which ``reduced`` has size one."""
    shape = evidence.point[path].shape
    draws = [np.asarray(evidence.rng.standard_normal(reduced.shape)) for _ in range(PROBES if reduced.size > 1 else 1)]
    expected = [factor * float((reduced * u).sum()) for u in draws]
    if reduced.size == 1 and _cancels(evidence, path, expected[0] / float(draws[0].ravel()[0])):
        return False
    return evidence.is_true_along(path, [np.broadcast_to(u, shape) for u in draws], expected)


def _is_of_one(evidence: Evidence, path: str, reduced: Array, axes: tuple[int, ...]) -> bool:
    """Whether one entry alone of the largest sum is not 0: then an entry was chosen, and nothing was summed."""
    shape = evidence.point[path].shape
    if len(axes) != 1 or not 2 < shape[axes[0]] <= LINE:
        return False
    at = [int(place) for place in np.unravel_index(int(np.argmax(np.abs(reduced))), reduced.shape)]
    largest, entries = float(np.abs(reduced).max()), 0
    for place in range(shape[axes[0]]):
        one = np.zeros(shape)
        one[(*at[: axes[0]], place, *at[axes[0] + 1 :])] = 1.0
        value, error = evidence.slope(evidence.embedded(path, one))
        entries += abs(value) > 4 * error + CANCELLED * largest
    return entries == 1


def _same_total(evidence: Evidence, path: str, array: Array) -> bool:
    total = float(array.sum())
    if _cancels(evidence, path, total):
        return False
    return evidence.is_true_along(path, [np.ones(evidence.point[path].shape)], [total])


def _cancels(evidence: Evidence, path: str, total: float) -> bool:
    """Whether a total is too small, beside the true gradient, to compare anything."""
    size = float(np.sqrt(np.mean(evidence.slopes(path).values ** 2)))
    return abs(total) <= CANCELLED * size
