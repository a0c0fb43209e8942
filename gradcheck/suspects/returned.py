"""An array that the backward makes is the true gradient, and it returns another one. Level 3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.evidence import Evidence
from gradcheck.suspects.recurrence import depends, steps_of
from gradcheck.suspects.runs import tape_of
from gradcheck.suspects.sight import alike, is_multiple
from gradcheck.suspects.tape import Step
from gradcheck.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

CLIPS = ("clip", "minimum", "maximum")
SUMS = ("add", "get", "set", "subtract", "update")


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield which array the backward makes and ought to return: B6, C1, C3, C8, G1, G4."""
    tape = tape_of(evidence)
    for path in evidence.wrong if tape else ():
        claimed = evidence.claimed.get(path)
        if claimed is None or claimed.size < 2 or not claimed.any() or tape is None:
            continue
        true = _true(evidence, path, claimed, tape.steps)
        born = next((step for step in reversed(tape.steps) if _is(step, claimed)), None)
        if true is None:
            continue
        found = _class(evidence, tape.steps, born, true)
        if found is not None:
            mistake, why = found
            sentence = f"d{path} is the result of {true.name} in {true.place}, and {why}."
            if born is not None:
                sentence = (
                    f"d{path} is returned as {born.name} in {born.place} gives it, {why}. "
                    f"The true gradient is what {true.name} in {true.place} gives: return that."
                )
            yield Suspicion(mistake, (path,), sentence, {path: np.asarray(true.result).reshape(claimed.shape)}, 0.35)


def _true(evidence: Evidence, path: str, claimed: Array, steps: list[Step]) -> Step | None:
    """Return the first step whose result is the true gradient."""
    for step in steps:
        if step.result.shape != claimed.shape or step.result.dtype.kind != "f" or is_multiple(step.result, claimed):
            continue
        if step.result.any() and evidence.is_true(path, step.result):
            return step
    return None


def _is(step: Step, array: Array) -> bool:
    return step.result.dtype.kind == "f" and alike(step.result, array)


def _class(evidence: Evidence, steps: list[Step], born: Step | None, true: Step) -> tuple[str, str] | None:
    """Return which mistake it is to return one array in the place of the true one, and why; None if it is not clear."""
    if born is None:
        return None
    if depends(steps, born, true):
        if born.name in CLIPS:
            return "G4", "clipped"
        if born.name == "multiply" and any(_holds(o, true.result) for o in born.operands):
            return "C3", "with one derivative too many"
        return None
    if depends(steps, true, born):
        if true.name == "multiply" and any(_holds(o, born.result) for o in true.operands):
            return "C1", "before the derivative is multiplied in"
        if true.name in SUMS:
            late = steps_of(evidence) > 0
            return ("G1", "without what later steps add") if late else ("C8", "before all terms are added")
    return "B6", "another array of the same shape"


def _holds(operand: object, array: Array) -> bool:
    return isinstance(operand, np.ndarray) and operand.dtype.kind == "f" and alike(operand, array)
