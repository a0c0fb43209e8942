"""Turns of a loop that are treated unlike the others, and a factor at each turn. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.evidence import Evidence
from gradcheck.suspects.change import Otherwise, at, redone, site_of
from gradcheck.suspects.recurrence import depends, steps_of
from gradcheck.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["carried", "ways"]


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield one number for all turns where a factor differs between them, and no second addition of a term."""
    for group in within:
        if len(group) > 1 and group[0].name == "multiply":
            yield from _uneven(evidence, group)
        if group[0].name in ("add", "subtract"):
            yield from _twice(tape, group)


def _uneven(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield a plain number as a factor, the same at every turn: a switch that closes at some (G2), or not quite (A4)."""
    for place in (0, 1):
        numbers = [step.operands[place] for step in group]
        if not all(np.ndim(number) == 0 for number in numbers) or len({float(n) for n in numbers}) < 2:
            continue
        values = [float(number) for number in numbers]
        closed = 0.0 in values
        others = sorted({v for v in values if v}, key=lambda v: (v != 1.0, -values.count(v)))
        for value in others[:2]:

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
    first = group[0]
    if first.name != "add":
        return
    for place in (0, 1):
        source = first.sources[place]
        before = tape.steps[source] if source is not None else None
        term = first.operands[1 - place]
        if before is None or before.name != "add" or not isinstance(term, np.ndarray):
            continue
        turn = group[len(group) // 2]
        source = turn.sources[place]
        before = tape.steps[source] if source is not None else None
        if before is None or before.name != "add":
            continue
        if not any(turn.operands[1 - place] is o or np.array_equal(turn.operands[1 - place], o) for o in before.operands[:2]):
            continue
        sentence = f"{first.place} adds a term that is in the sum already. Add it once."
        change = at(group, lambda step, _, place=place: np.asarray(step.operands[place]))  # type: ignore[misc]
        yield Otherwise("E2", change, sentence, 0.15, "", site_of(group))


def carried(tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Sequence[Step]]:
    """Yield the places whose result at one turn goes into that of the next."""
    for group in within:
        first = group[0]
        if len(group) > 1 and first.name not in ("set", "update", "reshape") and first.result.dtype.kind == "f":
            if depends(tape.steps, group[1], first):
                yield group
