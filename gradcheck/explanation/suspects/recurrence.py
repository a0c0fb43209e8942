"""Which loop of a forward carries a state from step to step, and so what is time. Level 3."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.runs import forward_tape, tape_of
from gradcheck.explanation.suspects.sight import alike, groups
from gradcheck.explanation.suspects.tape import Step
from gradcheck.trees import Array

__all__ = ["depends", "is_later", "is_time", "steps_of"]

PRODUCTS = ("matmul", "dot", "multiply", "einsum", "tensordot")


def steps_of(evidence: Evidence) -> int:
    """Return the number of steps of the loop in which one matrix serves a state at every step; 0 if there is none."""
    return evidence.once("steps of time", "", lambda _: _steps_of(evidence))


def is_time(evidence: Evidence, size: int, axis: int, ndim: int) -> bool:
    """Whether an axis holds the steps of time: alone, beside the samples of each step, or after an initial state."""
    steps = steps_of(evidence)
    batch = batch_of(evidence)
    if steps and size == steps + 1 and axis == 0 and not (batch and size == batch.size):
        return True
    if not steps or size % steps:
        return False
    if batch and size == batch.size:
        return steps == size and axis == 0 and ndim >= 3
    return True


def _steps_of(evidence: Evidence) -> int:
    backward = tape_of(evidence)
    for steps in (forward_tape(evidence).steps, backward.steps if backward else []):
        found = [len(group) for group in groups(steps).values() if _carries(evidence, steps, group)]
        if found:
            return max(found)
    return 0


def _carries(evidence: Evidence, steps: Sequence[Step], group: Sequence[Step]) -> bool:
    """Whether each turn takes the same whole argument, and an array that comes from the turn before."""
    if len(group) < 2 or group[0].name not in PRODUCTS:
        return False
    shared = any(
        isinstance(one, np.ndarray) and isinstance(two, np.ndarray) and _is_argument(evidence, one) and alike(one, two)
        for one, two in zip(group[0].operands, group[-1].operands, strict=False)
    )
    return shared and depends(steps, group[1], group[0])


def _is_argument(evidence: Evidence, array: Array) -> bool:
    return any(alike(array, each) or alike(array, each.T) for each in evidence.point.values())


def depends(steps: Sequence[Step], later: Step, earlier: Step, through: Collection[str] = ()) -> bool:
    """Whether the result of one step came out of another's, by operations of some names only if any are given."""
    left, seen = [later.number], set()
    while left:
        number = left.pop()
        if through and steps[number].name not in through:
            continue
        for source in steps[number].sources:
            if source == earlier.number:
                return True
            if source is not None and source > earlier.number and source not in seen:
                seen.add(source)
                left.append(source)
    return False


def is_later(evidence: Evidence, one: Array, two: Array) -> bool:
    """Whether two arrays of all steps hold the same, but one a step later or earlier than the other."""
    if one.shape != two.shape:
        return False
    for axis, size in enumerate(one.shape):
        if not is_time(evidence, size, axis, one.ndim):
            continue
        by = size // steps_of(evidence)
        these, those = np.moveaxis(one, axis, 0), np.moveaxis(two, axis, 0)
        if alike(these[by:], those[:-by]) or alike(these[:-by], those[by:]):
            return True
    return False
