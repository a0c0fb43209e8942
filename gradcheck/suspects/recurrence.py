"""Which loop of a forward carries a state from step to step, and so what is time. Level 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.evidence import Evidence
from gradcheck.suspects.batches import batch_of
from gradcheck.suspects.runs import forward_tape, tape_of
from gradcheck.suspects.sight import alike, groups
from gradcheck.suspects.tape import Step

__all__ = ["depends", "is_time", "steps_of"]

PRODUCTS = ("matmul", "dot", "multiply", "einsum", "tensordot")


def steps_of(evidence: Evidence) -> int:
    """Return the number of steps of the loop in which one matrix serves a state at every step; 0 if there is none."""
    return evidence.once("steps of time", "", lambda _: _steps_of(evidence))


def is_time(evidence: Evidence, size: int, axis: int, ndim: int) -> bool:
    """Whether an axis holds the steps of time, alone or with the samples of each step beside it."""
    steps = steps_of(evidence)
    if not steps or size % steps:
        return False
    batch = batch_of(evidence)
    if batch and size == batch.size:
        return steps == size and axis == 0 and ndim >= 3
    return True


def _steps_of(evidence: Evidence) -> int:
    backward = tape_of(evidence)
    for steps in (forward_tape(evidence).steps, backward.steps if backward else []):
        found = [len(group) for group in groups(steps).values() if _carries(steps, group)]
        if found:
            return max(found)
    return 0


def _carries(steps: Sequence[Step], group: Sequence[Step]) -> bool:
    """Whether each turn takes the same array, and another that comes from the turn before."""
    if len(group) < 2 or group[0].name not in PRODUCTS:
        return False
    shared = any(
        isinstance(one, np.ndarray) and one.size > 1 and isinstance(two, np.ndarray) and alike(one, two)
        for one, two in zip(group[0].operands, group[1].operands, strict=False)
    )
    return shared and depends(steps, group[1], group[0])


def depends(steps: Sequence[Step], later: Step, earlier: Step) -> bool:
    """Whether the result of one step came out of another's."""
    left, seen = [later.number], set()
    while left:
        number = left.pop()
        for source in steps[number].sources:
            if source == earlier.number:
                return True
            if source is not None and source > earlier.number and source not in seen:
                seen.add(source)
                left.append(source)
    return False
