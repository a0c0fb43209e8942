"""Sums inside a backward that lack a factor: a cotangent alone, where its product with an array belongs. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, redone, site_of
from gradcheck.explanation.suspects.sight import alike, sight, varies
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]

SUMS = ("sum", "add.reduce", "mean")


def ways(evidence: Evidence, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield sums of a product with an array in sight, where one operand is summed alone (B6)."""
    for group in within:
        first = group[0]
        operand = first.operands[0]
        if first.name not in SUMS or len(group) > 1 or not isinstance(operand, np.ndarray) or operand.size < 2:
            continue
        for series in sight(evidence):
            array = series.arrays[0]
            if len(series.arrays) > 1 or array.shape != operand.shape or not varies(array) or alike(array, operand):
                continue

            def product(step: Step, _: Tape, array: Array = array) -> Array:
                return np.asarray(redone(step, (step.operands[0] * array, *step.operands[1:])))

            name = (first.names[0] if first.names else "") or "an operand"
            sentence = (
                f"{first.place} sums {name} alone, where its product with {series.name} belongs. "
                f"Multiply by {series.name} before the sum."
            )
            yield Otherwise("B6", at(group, product), sentence, 0.5, "", site_of(group))
