"""What one turn of a loop hands to the next, and some turns do not take. Level 3.

``dh + (later if t > T - 3 else 0)`` ends the sum over the steps too early; so does ``later = 0 * later`` now and then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, redone, site_of
from gradcheck.explanation.suspects.recurrence import steps_of
from gradcheck.explanation.suspects.sight import groups
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield what is handed on, taken at every turn of a loop that carries a state (G2)."""
    if not steps_of(evidence):
        return
    every = {site_of(group): group for group in groups(tape.steps).values()}
    for group in within:
        if group[0].name != "add":
            continue
        for place in (0, 1):
            handed = {site_of([tape.steps[s]]) for step in group if (s := step.sources[place]) is not None}
            for source in handed:
                results = every.get(source, [])
                lost = {step.turn for step in results if step.number not in tape.used}
                if lost and len(lost) < len(results) and len(results) > 1:
                    yield from _taken(tape, every, group, place, results, lost)


def _taken(
    tape: Tape,
    every: dict[tuple[object, ...], list[Step]],
    group: Sequence[Step],
    place: int,
    results: Sequence[Step],
    lost: set[int],
) -> Iterator[Otherwise]:
    """Yield the sum with what is handed on at the turns without, where there is a sum and where there is none."""
    numbers = {step.number for step in results}
    without = {step.turn for step in group if step.sources[place] not in numbers}
    others = {site_of([tape.steps[s]]) for step in group if (s := step.sources[1 - place]) is not None}
    summed = {step.sources[1 - place] for step in group}
    terms = every.get(next(iter(others)), []) if len(others) == 1 else []
    alone = {step.turn for step in terms if step.number not in summed}
    if terms and len(terms) != len(results):
        alone = set()

    def change(step: Step, run: Tape) -> Array | None:
        at_sum = site_of([step]) == site_of(group) and step.turn in without
        at_term = bool(alone) and site_of([step]) == site_of(terms) and step.turn in alone
        last = _last(run, results) if at_sum or at_term else None
        if last is None or last.turn not in lost:
            return None
        if at_term:
            return np.asarray(step.result + last.result)
        return redone(step, [last.result if p == place else o for p, o in enumerate(step.operands)])

    if without or alone:
        sentence = (
            f"What {results[0].place} hands to the step before is not taken at {len(lost)} of {len(results)} turns: "
            f"the sum over the steps ends there. Add it, in {group[0].place}, at every turn."
        )
        yield Otherwise("G2", change, sentence, 0.25, "", site_of(group))


def _last(run: Tape, results: Sequence[Step]) -> Step | None:
    place = site_of(results)
    return next((step for step in reversed(run.steps) if site_of([step]) == place), None)
