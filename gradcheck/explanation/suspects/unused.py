"""What a backward computes and never uses, added where it belongs: spread over the axes it was summed over. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, site_of
from gradcheck.explanation.suspects.sight import groups
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]

SUMS = ("add", "subtract", "multiply", "divide")  # whose result a term may be added to
MOST = 8  # terms that are looked at, and places for each


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield terms that reach no gradient, as they are or shared out, added to larger results (C8)."""
    returned = list(evidence.claimed.values())
    lost = [
        group[0]
        for group in groups(tape.steps).values()
        if len(group) == 1 and group[0].result.dtype.kind == "f" and group[0].number not in tape.used
    ]
    lost = [step for step in lost if step.result.any() and not _is_returned(step, returned)]
    for term in lost[-MOST:]:
        places = [group for group in within if len(group) == 1 and _takes(group[0], term)]
        for group in places[: -MOST - 1 : -1]:
            count = group[0].result.size / term.result.size
            for divided in (True, False):
                yield _with(group, term, count if divided else 1.0)


def _is_returned(step: Step, returned: Sequence[Array]) -> bool:
    flat = np.ravel(step.result)
    return any(each.size == flat.size and np.array_equal(np.ravel(each), flat) for each in returned)


def _takes(step: Step, term: Step) -> bool:
    """Whether a term, of fewer entries, can be spread over a result that is made of several."""
    if step.name not in SUMS or step.result.size <= term.result.size or term.result.size < 2:
        return False
    try:
        return bool(np.broadcast_shapes(step.result.shape, term.result.shape) == step.result.shape)
    except ValueError:
        return False


def _with(group: Sequence[Step], term: Step, count: float) -> Otherwise:
    first = group[0]

    def added(step: Step, run: Tape) -> Array:
        found = run.steps[term.number].result if term.number < step.number else term.result
        return np.asarray(step.result + found / count)

    how = f", divided by {count:g}," if count != 1 else ""
    sentence = f"What {term.place} computes is never used. Add it{how} in {first.place}, for one more path."
    return Otherwise("C8", at(group, added), sentence, 0.3, "", site_of(group))
