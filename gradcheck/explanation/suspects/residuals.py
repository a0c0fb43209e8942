"""What a turn of a loop hands to the next, without what it was handed: ``y = y + f(y)`` has two paths. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, site_of
from gradcheck.explanation.suspects.recurrence import steps_of
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]

HANDED = ("add", "subtract", "matmul", "dot", "multiply", "divide")


def ways(evidence: Evidence, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield what was handed to a turn, added to what it hands on (G1; C8 where the loop is not over time)."""
    loops = [group for group in within if len(group) > 1 and group[0].result.dtype.kind == "f" and group[0].result.ndim]
    for last in loops:
        if last[0].name not in HANDED:
            continue
        numbers = {step.number for step in last}
        for first in loops:
            place = _taken(first, last, numbers)
            if place is not None:
                yield _kept(evidence, last, first[0], place)


def _taken(first: Sequence[Step], last: Sequence[Step], numbers: set[int]) -> int | None:
    """Return the operand by which one place takes, at every turn but the first, what another handed on."""
    if first[0].result.shape != last[0].result.shape or len(first) != len(last) or first[0].number >= last[0].number:
        return None
    for place in range(2):
        if all(len(step.sources) > place and step.sources[place] in numbers for step in first[1:]):
            return place
    return None


def _kept(evidence: Evidence, last: Sequence[Step], first: Step, place: int) -> Otherwise:
    def kept(step: Step, tape: Tape) -> Array | None:
        for earlier in reversed(tape.steps):
            if earlier.site == first.site and earlier.result.shape == first.result.shape:
                handed = earlier.result if earlier.name == "add" else np.asarray(earlier.operands[place])
                return np.asarray(step.result + handed) if handed.shape == step.result.shape else None
        return None

    time = bool(steps_of(evidence))
    what = "step" if time else "turn"
    sentence = (
        f"What {last[0].place} hands to the {what} before lacks the path past the {what}, which leaves the state "
        f"as it is. Add what {first.place} was handed."
    )
    return Otherwise("G1" if time else "C8", at(last, kept), sentence, 0.3, "", site_of(last))
