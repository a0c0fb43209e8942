"""Softmaxes inside a backward whose Jacobian is taken for its diagonal. Level 3.

What came in is looked for among what the backward has made before, and what came out is compared with what the
diagonal gives: of the softmax, or of its logarithm. So a Jacobian by rows, in a loop that fills a buffer, is seen too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, site_of
from gradcheck.explanation.suspects.sight import alike, sight
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array, leaves

__all__ = ["ways"]

SUMS = 1e-6  # how far probabilities may be from adding up to 1
MADE = ("multiply", "divide", "subtract", "set", "update", "dot", "matmul", "einsum", "get")

Formula = Callable[[Array, Array, int], Array]


def _softmax(v: Array, p: Array, axis: int) -> Array:
    return np.asarray(p * (v - (p * v).sum(axis=axis, keepdims=True)))


def _logarithm(v: Array, p: Array, axis: int) -> Array:
    return np.asarray(v - p * v.sum(axis=axis, keepdims=True))


FORMS: tuple[tuple[str, Formula, Formula], ...] = (
    ("p * (v - (p * v).sum(axis={axis}, keepdims=True))", _softmax, lambda v, p, _: v * p * (1 - p)),
    ("p * (v - (p * v).sum(axis={axis}, keepdims=True))", _softmax, lambda v, p, _: v * p),
    ("v - p * v.sum(axis={axis}, keepdims=True)", _logarithm, lambda v, p, _: v * (1 - p)),
)


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield the whole Jacobian of a softmax at every place where its diagonal stands (C6)."""
    known = list(_probabilities(evidence))
    if not known:
        return
    for group in within:
        last = group[-1]
        if last.name not in MADE:
            continue
        for p, axis in known:
            if last.result.shape != p.shape:
                continue
            for number, v in _before(evidence, tape, last, p.shape):
                yield from _of(group, number, v, p, axis)


def _of(group: Sequence[Step], number: int, v: Array, p: Array, axis: int) -> Iterator[Otherwise]:
    last = group[-1]
    for said, true, wrong in FORMS:
        if not alike(wrong(v, p, axis), last.result):
            continue

        def whole(step: Step, run: Tape, true: Formula = true) -> Array | None:
            arrived = v if number < 0 else run.steps[number].result
            return true(arrived, p, axis) if step.turn == last.turn else None

        sentence = (
            f"{last.place} takes the diagonal of the softmax's Jacobian for the whole. With v, what arrives, and p, "
            f"the softmax, write {said.format(axis=axis)}."
        )
        yield Otherwise("C6", at(group, whole), sentence, 0.15, "", site_of(group))


def _probabilities(evidence: Evidence) -> Iterator[tuple[Array, int]]:
    """Yield what is a softmax in sight, or the exponential of what is its logarithm, with its axis."""
    found: list[Array] = []
    for series in sight(evidence):
        if len(series.arrays) > 1 or series.arrays[0].ndim < 2:
            continue
        array = series.arrays[0]
        for p in (array, np.exp(array) if array.max() <= 0 else array):
            for axis in range(p.ndim):
                is_one = p.min() > 0 and p.shape[axis] > 1 and float(np.abs(p.sum(axis=axis) - 1).max()) < SUMS
                if is_one and not any(alike(p, old) for old in found):
                    found.append(p)
                    yield p, axis


def _before(evidence: Evidence, tape: Tape, last: Step, shape: tuple[int, ...]) -> Iterator[tuple[int, Array]]:
    """Yield what may have arrived there: a cotangent, under no number, and what was made before."""
    for _, leaf in leaves(evidence.cotangent, "dout"):
        if np.shape(leaf) == shape:
            yield -1, np.asarray(leaf, dtype=np.float64)
    for step in itertools.islice(tape.steps, last.number):
        if step.result.shape == shape and step.result.dtype.kind == "f" and step.name not in ("set", "update"):
            yield step.number, step.result
