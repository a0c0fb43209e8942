"""One operation of a backward, done otherwise. Level 3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.explanation.suspects.tape import Change, Step, Tape
from gradcheck.trees import Array

__all__ = ["Otherwise", "at", "redone", "site_of", "together", "walk"]


class Otherwise(NamedTuple):
    """A change of one place in the code.

    Attributes:
        mistake: the id in the catalogue, if the change repairs.
        change: what is done otherwise.
        sentence: what was found, and what to do.
        doubt: as in a Suspicion.
        apart: ``otherwise`` of a Suspicion.
        place: where in the code, and of which shape.
        kind: the same for changes that a person would make together.
        spared: right gradients that are returned as they are before the change.
    """

    mistake: str
    change: Change
    sentence: str
    doubt: float
    apart: str = ""
    place: tuple[object, ...] = ()
    kind: str = ""
    spared: frozenset[str] = frozenset()


def site_of(group: Sequence[Step]) -> tuple[object, ...]:
    """Return the place in the code of a group of steps, with the shape of their results."""
    return (group[0].site, group[0].result.shape)


def together(changes: Sequence[Change]) -> Change:
    """Return the change that makes, at each step, the first of some changes that applies."""

    def change(step: Step, tape: Tape) -> Array | None:
        return next((made for each in changes if (made := each(step, tape)) is not None), None)

    return change


def at(group: Sequence[Step], new: Callable[[Step, Tape], Array | None]) -> Change:
    """Return the change that gives the steps of a group the result ``new(step, tape)``."""
    site, shape = group[0].site, group[0].result.shape

    def change(step: Step, tape: Tape) -> Array | None:
        if step.site != site or step.result.shape != shape:
            return None
        made = new(step, tape)
        return None if made is None or np.shape(made) != shape else made

    return change


def redone(step: Step, operands: Sequence[Any]) -> Array:
    """Return the result of the same operation on other operands."""
    name, _, method = step.name.partition(".")
    function = getattr(np, name)
    made: Array = (getattr(function, method) if method else function)(*operands, **step.settings)
    return made


def walk(step: Step, way: Sequence[int], tape: Tape) -> Array:
    """Return the operand that a way of operands leads to: ``(0, 1)`` is operand 1 of what made operand 0."""
    for place in way[:-1]:
        source = step.sources[place]
        if source is None:
            raise LookupError("the way must lead over steps, but an operand came from none. Look at the first run.")
        step = tape.steps[source]
    found: Array = step.operands[way[-1]]
    return found
