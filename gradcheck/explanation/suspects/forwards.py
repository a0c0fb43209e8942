"""A loop of the backward that runs forwards in time, so that nothing reaches an earlier step. Level 3.

Run again, each turn takes and stores what belongs to the turn as far from the end of the loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, redone, site_of
from gradcheck.explanation.suspects.recurrence import steps_of
from gradcheck.explanation.suspects.sight import groups
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]


def ways(evidence: Evidence, tape: Tape) -> Iterator[Otherwise]:
    """Yield the turns of the loop over all steps in the other order, where they go forwards (G1)."""
    steps = steps_of(evidence)
    loops = {site_of(group): group for group in groups(tape.steps).values() if len(group) == steps}
    forwards = [group for group in loops.values() if _goes_forwards(group)]
    if steps < 2 or not forwards:
        return

    def change(step: Step, _: Tape) -> Array | None:
        group = loops.get(site_of([step]))
        return None if group is None or step.turn >= steps else _mirrored(step, group)

    sentence = (
        f"The loop around {forwards[0][0].place} runs forwards over the {steps} steps, so that what the later steps "
        "hand back reaches no earlier one. Let it run from the last step to the first."
    )
    yield Otherwise("G1", change, sentence, 0.3, "", site_of(forwards[0]))


def _goes_forwards(group: Sequence[Step]) -> bool:
    if group[0].name not in ("get", "set"):
        return False
    keys = [step.operands[1] for step in group]
    if not all(isinstance(key, int | np.integer) for key in keys):
        return False
    return all(int(two) == int(one) + 1 for one, two in itertools.pairwise(keys))


def _mirrored(step: Step, group: Sequence[Step]) -> Array | None:
    """Return what a turn gives with the part, and the arrays out of the cache, of the turn opposite."""
    own, other = group[step.turn], group[-1 - step.turn]
    if step.name in ("get", "set"):
        key = other.operands[1]
        if not isinstance(key, int | np.integer):
            return None
        if step.name == "get":
            return np.asarray(step.operands[0][key])
        made = np.array(step.operands[0])
        made[key] = step.operands[2]
        return made
    operands = list(step.operands)
    for place in range(min(len(operands), len(own.sources))):
        from_cache = all(turn.sources[place] is None for turn in group)
        if from_cache and isinstance(operands[place], np.ndarray):
            operands[place] = other.operands[place]
    moved = any(one is not two for one, two in zip(operands, step.operands, strict=True))
    return redone(step, operands) if moved else None
