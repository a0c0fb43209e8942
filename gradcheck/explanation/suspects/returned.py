"""An array that the backward makes is the true gradient, and it returns another one. Level 3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.recurrence import depends, steps_of
from gradcheck.explanation.suspects.runs import tape_of
from gradcheck.explanation.suspects.sight import activations, alike, is_multiple
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

CLIPS = ("clip", "minimum", "maximum")
SUMS = ("add", "get", "set", "subtract", "update")
BY_ENTRY = ("multiply", "divide", "where", "set", "get")
SHAPES = ("sum", "add.reduce", "mean", "reshape", "get", "transpose", "swapaxes", "squeeze")


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield which array the backward makes and ought to return: B6, C1, C3, C8, G1, G4."""
    tape = tape_of(evidence)
    for path in evidence.wrong if tape else ():
        claimed = evidence.claimed.get(path, evidence.misshapen.get(path))
        if claimed is None or claimed.size < 2 or not claimed.any() or tape is None:
            continue
        true = _true(evidence, path, claimed, tape)
        born = next((step for step in reversed(tape.steps) if _is(step, claimed)), None)
        found = None if true is None or born is None else _class(evidence, tape, born, true)
        if found is not None and true is not None and born is not None:
            mistake, why = found
            sentence = (
                f"d{path} is returned as {born.name} in {born.place} gives it, {why}. "
                f"The true gradient is what {true.name} in {true.place} gives: return that."
            )
            yield Suspicion(mistake, (path,), sentence, {path: np.asarray(true.result)}, 0.35)


def _true(evidence: Evidence, path: str, claimed: Array, tape: Tape) -> Step | None:
    """Return the first step whose result is the true gradient, if the claim holds no part of it."""
    for step in tape.steps:
        made = step.result
        if made.shape != evidence.point[path].shape or made.dtype.kind != "f" or not made.any():
            continue
        if made.shape == claimed.shape and is_multiple(made, claimed):
            continue
        if evidence.is_true(path, made):
            return step
    return None


def _is(step: Step, array: Array) -> bool:
    return step.result.dtype.kind == "f" and alike(step.result, array)


def _class(evidence: Evidence, tape: Tape, born: Step, true: Step) -> tuple[str, str] | None:
    """Return which mistake it is to return one array in the place of the true one, and why; None if it is not clear."""
    claimed, made, steps = born.result, true.result, tape.steps
    if depends(steps, born, true):
        if born.name in CLIPS:
            return "G4", "clipped"
        if depends(steps, born, true, BY_ENTRY) and _is_slope(evidence, made, claimed):
            return "C3", "with one derivative too many"
        further = born.number in tape.used and not depends(steps, born, true, SHAPES)
        return ("B6", "another array than that of this argument") if further else None
    if depends(steps, true, born):
        if depends(steps, true, born, BY_ENTRY):
            return ("C1", "before the derivative is multiplied in") if _is_slope(evidence, claimed, made) else None
        if depends(steps, true, born, SUMS):
            late = steps_of(evidence) > 0
            return ("G1", "without what later steps add") if late else ("C8", "before all terms are added")
        if depends(steps, true, born, SHAPES):
            return None
    if claimed.shape == made.shape and np.isclose(claimed, made, rtol=1e-9, atol=0).any():
        return None  # a part of it is right
    return "B6", "another array than that of this argument"


def _is_slope(evidence: Evidence, before: Array, after: Array) -> bool:
    """Whether one array is another times the derivative of an activation in sight."""
    return any(
        slope.shape == before.shape and alike(before * slope, after)
        for act in activations(evidence)
        for slope in act.slopes
    )
