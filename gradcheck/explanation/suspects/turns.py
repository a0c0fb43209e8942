"""Turns of a loop that are treated unlike the others, and a factor at each turn. Level 3."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, redone, site_of
from gradcheck.explanation.suspects.recurrence import depends, is_time, steps_of
from gradcheck.explanation.suspects.sight import activations, groups
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["carried", "uneven", "ways"]


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield what a turn takes, adds or stores otherwise: E2, C1, G3, B6."""
    for group in within:
        if group[0].name == "add":
            yield from _twice(tape, group)
        elif group[0].name == "set" and len(group) > 1:
            yield from _stored(evidence, group)
    yield from _other_index(evidence, tape, [group for group in within if _indices(group)])


def uneven(
    evidence: Evidence, every: Sequence[Sequence[Step]], only_wrong: Callable[[Sequence[Step]], bool]
) -> Iterator[Otherwise]:
    """Yield one number for all turns of a loop where a factor differs between them."""
    for group in every:
        if len(group) > 1 and group[0].name == "multiply":
            yield from _uneven(evidence, group, only_wrong)


def _uneven(
    evidence: Evidence, group: Sequence[Step], only_wrong: Callable[[Sequence[Step]], bool]
) -> Iterator[Otherwise]:
    """Yield a plain number as a factor, the same at every turn: it is zero at some (G2), or another (A4)."""
    for place in (0, 1):
        numbers = [step.operands[place] for step in group]
        if not all(np.ndim(number) == 0 for number in numbers) or len({float(n) for n in numbers}) < 2:
            continue
        values = [float(number) for number in numbers]
        closed = 0.0 in values
        others = sorted({v for v in values if v}, key=lambda v: (v != 1.0, -values.count(v)))
        for value in others[:2]:
            if not only_wrong([step for step, v in zip(group, values, strict=True) if v != value]):
                continue

            def even(step: Step, _: Tape, place: int = place, value: float = value) -> Array:
                return redone(step, [value if p == place else o for p, o in enumerate(step.operands)])

            odd = [number for number, v in enumerate(values) if v != value]
            how = f"at {len(odd)} of {len(values)} turns"
            time = steps_of(evidence) > 0
            state = f"nothing passes {how}, as if the sum over the steps ended there" if closed else f"it differs {how}"
            sentence = f"{group[0].place} multiplies by a number: {state}. Multiply by {value:g} at every turn."
            mistake = "A4" if not closed else "G2" if time else "C8"
            yield Otherwise(mistake, at(group, even), sentence, 0.2, "", site_of(group))


def _twice(tape: Tape, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield a sum without a term that was added to it before (E2)."""
    first, last = group[0], group[-1]  # at the first turn, what is carried is still zero
    for place in (0, 1):
        source, term = last.sources[place], last.operands[1 - place]
        before = tape.steps[source] if source is not None else None
        if before is None or before.name != "add" or not isinstance(term, np.ndarray):
            continue
        if not any(isinstance(old, np.ndarray) and np.array_equal(term, old) for old in before.operands[:2]):
            continue
        sentence = f"{first.place} adds a term that is in the sum already. Add it once."
        change = at(group, lambda step, _, place=place: np.asarray(step.operands[place]))  # type: ignore[misc]
        yield Otherwise("E2", change, sentence, 0.15, "", site_of(group))


def _stored(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield what a loop stores at each turn, times the derivative of that turn (C1)."""
    for act in activations(evidence):
        if len(act.slopes) != len(group) or act.slopes[0].shape != np.shape(group[0].operands[2]):
            continue
        for slopes in (act.slopes[::-1], act.slopes):
            sentence = (
                f"The derivative of the {act.function.name} is missing in {group[0].place}. Multiply by {act.said} "
                "there."
            )
            change = at(group, lambda step, _, s=slopes: _stored_times(step, s))  # type: ignore[misc]
            yield Otherwise("C1", change, sentence, 0.35, "", site_of(group))


def _stored_times(step: Step, slopes: Sequence[Array]) -> Array:
    before, key, value = step.operands
    made = np.array(before)
    made[key] = value * slopes[step.turn % len(slopes)]
    return made


def _other_index(evidence: Evidence, tape: Tape, gets: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield, where a loop takes one step or entry at a turn, that at the index of another array in it (G3, B6)."""
    every = [group for group in groups(tape.steps).values() if gets and _indices(group)]
    for group, other in itertools.product(gets, every):
        indices, meant = _indices(group), _indices(other)
        whole, like = group[0].operands[0], other[0].operands[0]
        if len(indices) != len(meant) or indices == meant or len(whole) != len(like):
            continue
        time = is_time(evidence, len(whole), 0, whole.ndim)
        what = "another time step" if time else "another place"
        sentence = f"{group[0].place} takes what belongs to {what}. Use the index with which {other[0].place} takes."
        change = at(group, lambda step, _, m=meant: np.asarray(step.operands[0][m[step.turn % len(m)]]))  # type: ignore[misc]
        yield Otherwise("G3" if time else "B6", change, sentence, 0.3, "", site_of(group))


def _indices(group: Sequence[Step]) -> list[int]:
    """Return the whole numbers by which a place takes a part, one for each turn; none if it takes by anything else."""
    if group[0].name != "get" or len(group) < 2:
        return []
    keys = [step.operands[1] for step in group]
    if not all(isinstance(key, int | np.integer) for key in keys):
        return []
    return [int(key) % len(group[0].operands[0]) for key in keys]


def carried(tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Sequence[Step]]:
    """Yield the places whose result at one turn goes into that of the next."""
    for group in within:
        first = group[0]
        if len(group) < 2 or first.name in ("set", "update", "reshape") or first.result.dtype.kind != "f":
            continue
        if depends(tape.steps, group[1], first) or depends(tape.steps, group[-1], group[-2]):
            yield group
