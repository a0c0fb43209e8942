"""Suspicions about the labels of a loss: off by one, left out, of the wrong sign, or for every class. Level 3.

The true gradient of a loss by its scores is a number times p - y, with the probabilities p and ones at the labels in
y; by probabilities or their logarithms it is zero but at the labels. What was claimed is taken apart likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.factors import tolerance
from gradcheck.explanation.suspects.sight import alike
from gradcheck.explanation.suspects.words import number
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

SUMS = 1e-6  # how far probabilities may be from adding up to 1
EXACT = 1e-9  # relative: how well a claim has to be a sum of two arrays
LEAST = 4  # entries, of which a sum of two arrays is told


class Labels(NamedTuple):
    """Arrays of labels by name, as ones in an array of the gradient's shape, with the axis of the classes."""

    name: str
    hot: Array
    axis: int

    def moved(self, by: int, *, around: bool) -> Array:
        """Return the ones as of other labels; those beyond the last class come around, or are lost."""
        made: Array = np.roll(self.hot, by, self.axis)
        if not around:
            lost = slice(0, by) if by > 0 else slice(by, None)
            made[(slice(None),) * self.axis + (lost,)] = 0
        return made


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what labels explain: A1, A2, B6, C1, C3, C8."""
    for path in evidence.wrong:
        claimed = evidence.claimed.get(path)
        if claimed is None or claimed.ndim < 2 or not claimed.any():
            continue
        for labels in _labels(evidence, claimed.shape):
            found = next(chain(_fused(evidence, path, labels), _at_labels(evidence, path, labels)), None)
            if found is not None:
                yield found
                break


def _labels(evidence: Evidence, shape: tuple[int, ...]) -> Iterator[Labels]:
    """Yield what is in sight as labels: whole numbers, one for each row or column, or ones among zeros."""
    for name, array in evidence.at_hand.items():
        for axis in (len(shape) - 1, 0, 1) if len(shape) > 2 else (1, 0):
            rest = shape[:axis] + shape[axis + 1 :]
            if array.dtype.kind in "iu" and array.shape == rest and array.min() >= 0 and array.max() < shape[axis]:
                hot = np.zeros(shape)
                np.put_along_axis(hot, np.expand_dims(array.astype(np.int64), axis), 1.0, axis)
                yield Labels(name, hot, axis)
            elif array.shape == shape and np.isin(array, (0, 1)).all() and (array.sum(axis=axis) == 1).all():
                yield Labels(name, array.astype(np.float64), axis)


def _probabilities(evidence: Evidence, path: str, axis: int) -> Iterator[tuple[str, Array]]:
    """Yield the probabilities in sight, and those that the argument has as scores."""
    x = evidence.point[path]
    scores = np.exp(x - x.max(axis=axis, keepdims=True))
    p = scores / scores.sum(axis=axis, keepdims=True)
    for name, array in evidence.at_hand.items():
        if array.shape == x.shape and array.dtype.kind == "f" and alike(array.astype(np.float64), p):
            yield name, p
            return
    yield f"softmax({path})", p


def _fused(evidence: Evidence, path: str, labels: Labels) -> Iterator[Suspicion]:
    """Yield what is wrong in a claim with a part of p - y, where the true gradient is a number times that."""
    claimed = evidence.claimed[path]
    if claimed.size < LEAST:
        return
    for name, p in _probabilities(evidence, path, labels.axis):
        fitted = evidence.combine(path, [p - labels.hot])
        if fitted is None or not fitted[0]:
            continue
        rate, near = float(fitted[0]), tolerance(evidence, path)
        repaired = {path: rate * (p - labels.hot)}
        told = _taken_apart(claimed, p, labels, rate, near)
        if told is not None:
            mistake, state = told
            advice = f"Take {name} minus one at the label, both times the same number."
            sentence = f"d{path} {state.format(p=name, y=labels.name)}. {advice}"
            yield Suspicion(mistake, (path,), sentence, repaired, 0.2)
            return


def _taken_apart(claimed: Array, p: Array, labels: Labels, rate: float, near: float) -> tuple[str, str] | None:
    """Return which mistake it is, and how it is told, that a claim is another sum of p and y; None if it is none."""
    for by, around in ((0, True), (1, True), (-1, True), (1, False), (-1, False)):
        columns = np.stack([p.ravel(), labels.moved(by, around=around).ravel()], axis=1)
        (of_p, of_y), _, rank, _ = np.linalg.lstsq(columns, claimed.ravel(), rcond=None)
        if rank < 2 or np.linalg.norm(columns @ (of_p, of_y) - claimed.ravel()) > EXACT * np.linalg.norm(claimed):
            continue
        small = EXACT * (abs(of_p) + abs(of_y))
        if by:
            return ("B6", "has the labels {y} off by one") if abs(of_y) > small else None
        if abs(of_y) <= small:
            return "C8", "holds {p}, and lacks the one at the label {y}"
        if abs(of_p) <= small:
            return "C8", "holds the one at the label {y}, and lacks {p}"
        if abs(of_p - of_y) <= near * abs(of_p):
            return "A1", "adds the one at the label {y} to {p} instead of subtracting it"
        if abs(of_p - rate) <= near * abs(rate) or abs(of_y + rate) <= near * abs(rate):
            wrong = "one at the label {y}" if abs(of_p - rate) <= near * abs(rate) else "{p}"
            ratio = -of_y / of_p if wrong.startswith("one") else -of_p / of_y
            return "A2", f"has {number(float(ratio))} times the {wrong} that belongs there"
        return None
    return None


def _at_labels(evidence: Evidence, path: str, labels: Labels) -> Iterator[Suspicion]:
    """Yield what is wrong in a claim where the true gradient is zero but at the labels."""
    claimed, x, hot = evidence.claimed[path], evidence.point[path], labels.hot
    name, axis = labels.name, labels.axis
    of_every = any(
        float(np.ptp(each, axis=axis).max()) <= EXACT * float(abs(each).max()) for each in (claimed, claimed * x)
    )
    if of_every and evidence.is_true(path, claimed * hot):
        sentence = (
            f"d{path} is right at the labels {name}, and the same formula gives it for the other classes, which "
            "the loss does not use. Give the gradient to the label's class alone."
        )
        yield Suspicion("B6", (path,), sentence, {path: claimed * hot}, 0.2)
        return
    for by in (1, -1):
        moved = np.roll(claimed, by, axis)
        if not moved[hot == 0].any() and moved[hot == 1].any() and evidence.is_true(path, moved):
            sentence = f"d{path} has its entries one class beside the labels {name}: they are off by one. Take {name}."
            yield Suspicion("B6", (path,), sentence, {path: moved}, 0.2)
            return
    if claimed[hot == 0].any() or not x[hot == 1].all():
        return
    safe = np.where(hot == 1, x, 1.0)
    for mistake, power, found in (("C1", 1, "is missing"), ("C3", 2, "is not 1 / {x} but {x}")):
        if evidence.is_true(path, claimed / safe**power) and np.ptp(x) > 0:
            said = found.format(x=path)
            sentence = f"d{path} at the labels {name}: the derivative of the logarithm {said}. Divide by {path} there."
            yield Suspicion(mistake, (path,), sentence, {path: claimed / safe**power}, 0.2)
            return
