"""A stretch of an array, taken in a sum where the whole array belongs: some samples or steps only. Level 3.

``x[:-1].T @ dy[:-1]`` lacks a sample, ``x[1:].T @ dy[:-1]`` takes two of different steps together, and ``dy[0]`` is one
sample of all. Undone, each place that takes a stretch takes everything; a product or a sum over it does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, site_of, together
from gradcheck.explanation.suspects.recurrence import is_time, steps_of
from gradcheck.explanation.suspects.sight import alike, groups
from gradcheck.explanation.suspects.tape import Change, Step, Tape
from gradcheck.trees import Array

__all__ = ["Stretch", "taken", "ways"]

FEW = 8  # places that may take a stretch together
ARRANGED = ("transpose", "reshape", "swapaxes", "moveaxis", "ravel", "ascontiguousarray")


class Stretch(NamedTuple):
    """What a place takes of one axis of an array.

    Attributes:
        group: the steps that take it.
        axis: of the whole array.
        start: the first index that is taken.
        length: how many are.
        size: how many there are.
        named: whether it was written as those that are taken, not as those that are left out.
        drops: whether the axis is gone from what was taken.
    """

    group: Sequence[Step]
    axis: int
    start: int
    length: int
    size: int
    named: bool
    drops: bool


def taken(group: Sequence[Step]) -> Stretch | None:
    """Return what a place takes, the same at every turn, of one axis; None if it is everything, or something else."""
    first = group[0]
    if first.name != "get" or any(step.operands[1] != first.operands[1] for step in group[1:] if _is_plain(step)):
        return None
    if not all(_is_plain(step) for step in group):
        return None
    array, key = first.operands[0], _full(first.operands[1], first.operands[0].ndim)
    narrow = [
        (axis, part) for axis, part in enumerate(key) if not (isinstance(part, slice) and _is_all(part, array, axis))
    ]
    if len(narrow) != 1:
        return None
    axis, part = narrow[0]
    size = array.shape[axis]
    if not isinstance(part, slice):
        return Stretch(group, axis, int(part) % size, 1, size, named=True, drops=True)
    start, stop, stride = part.indices(size)
    if stride != 1 or stop - start < 1 or stop - start == size:
        return None
    open_ended = (part.start in (None, 0) and (part.stop or 0) < 0) or (part.stop is None and (part.start or 0) > 0)
    return Stretch(group, axis, start, stop - start, size, named=not open_ended, drops=False)


def _is_plain(step: Step) -> bool:
    key = step.operands[1]
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is Ellipsis or isinstance(part, slice | int | np.integer) for part in parts)


def _full(key: object, ndim: int) -> list[Any]:
    """Return a key with one part for each axis."""
    parts: list[Any] = list(key) if isinstance(key, tuple) else [key]
    place = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    before, after = parts[:place], parts[place + 1 :]
    return [*before, *[slice(None)] * (ndim - len(before) - len(after)), *after]


def _is_all(part: slice, array: Array, axis: int) -> bool:
    return part.indices(array.shape[axis]) == (0, array.shape[axis], 1)


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield the whole array in the place of every stretch, of those that are used together at once."""
    found = {site_of(group): each for group in within if (each := taken(group)) is not None}
    where = {step.number: place for place, each in found.items() for step in each.group}
    joined: dict[tuple[tuple[object, ...], ...], Step] = {}
    for group in groups(tape.steps).values() if found else ():
        origins = (_origin(tape, source) for source in group[0].sources)
        places = tuple(dict.fromkeys(where[s] for s in origins if s in where))
        if 2 <= len(places) <= FEW:
            joined.setdefault(places, group[0])
    for places, user in joined.items():
        yield from _all_of([found[place] for place in places], user, evidence)
    for each in found.values():
        yield from _all_of([each], each.group[0], evidence)
        yield from _moved(each, evidence)
    yield from _rolled(evidence, within)


def _origin(tape: Tape, source: int | None) -> int | None:
    """Return the step that made what some steps only arranged otherwise."""
    while source is not None and tape.steps[source].name in ARRANGED:
        source = tape.steps[source].sources[0]
    return source


def _all_of(stretches: list[Stretch], user: Step, evidence: Evidence) -> Iterator[Otherwise]:
    """Yield everything in the place of stretches; of an array that is longer than another, as much of either end."""
    first = min(stretches, key=lambda each: each.size)
    mistake, state = _class(stretches, evidence, first)
    count = f"{first.length} of {first.size}" if first.length > 1 else f"one of {first.size}"
    sentence = f"{user.place} takes {count} along axis {first.axis}: {state}. Take all {first.size}, and sum over them."
    if not any(each.drops for each in stretches):
        for late in (False, True) if any(each.size > first.size for each in stretches) else (False,):
            changes = [_window(each, late * (each.size - first.size), first.size) for each in stretches]
            yield Otherwise(mistake, together(changes), sentence, 0.2, "", site_of(first.group))
    if len(stretches) == 1:
        yield Otherwise(mistake, _total(first), sentence, 0.3, "", site_of(first.group))
    elif all(each.drops for each in stretches) and user.name in ("matmul", "dot", "outer", "multiply"):
        yield Otherwise(mistake, _summed(stretches, user), sentence, 0.3, "", site_of([user]))


def _moved(stretch: Stretch, evidence: Evidence) -> Iterator[Otherwise]:
    """Yield a stretch of the same length at the other end of the array: the states before, not those after (G3)."""
    start, left = stretch.start, stretch.size - stretch.length
    if start not in (0, left) or stretch.drops or stretch.named:
        return
    time = is_time(evidence, stretch.size, stretch.axis, stretch.group[0].operands[0].ndim)
    there = f"[:-{left}]" if start else f"[{left}:]"
    what = "another time step" if time else "another place"
    sentence = f"{stretch.group[0].place} takes the entries of {what}. Take those at {there} along axis {stretch.axis}."
    change = _window(stretch, 0 if start else left, stretch.length)
    yield Otherwise("G3" if time else "B6", change, sentence, 0.25, "", site_of(stretch.group))


def _window(stretch: Stretch, start: int, length: int) -> Change:
    """Return the change that takes ``length`` entries from ``start`` on."""
    key = (*[slice(None)] * stretch.axis, slice(start, start + length))
    return _instead(stretch, lambda array: array[key])


def _total(stretch: Stretch) -> Change:
    """Return the change that takes the sum of all that could be taken."""
    return _instead(stretch, lambda array: array.sum(axis=stretch.axis, keepdims=not stretch.drops))


def _instead(stretch: Stretch, new: Callable[[Array], Array]) -> Change:
    site, shape = stretch.group[0].site, stretch.group[0].result.shape

    def change(step: Step, _: Tape) -> Array | None:
        return new(np.asarray(step.operands[0])) if (step.site, step.result.shape) == (site, shape) else None

    return change


def _summed(stretches: list[Stretch], user: Step) -> Change:
    """Return the sum of a product over all samples or steps, of which it takes one now."""

    def change(step: Step, tape: Tape) -> Array | None:
        wholes = []
        for source, operand in zip(step.sources[:2], step.operands[:2], strict=True):
            if source is None or tape.steps[source].name != "get":
                return None
            wholes.append((np.asarray(tape.steps[source].operands[0]), tape.steps[source].result, operand))
        total = np.zeros(step.result.shape)
        for number in range(stretches[0].size):
            parts = []
            for stretch, (whole, part, operand) in zip(stretches, wholes, strict=True):
                one = np.take(whole, number, axis=stretch.axis)
                parts.append(one if alike(part, operand) else one.T)
            total = total + getattr(np, step.name)(*parts)
        return total

    return at([user], change)


def _class(stretches: list[Stretch], evidence: Evidence, first: Stretch) -> tuple[str, str]:
    """Return which mistake it is to take these stretches, and what happens then."""
    time = is_time(evidence, first.size, first.axis, first.group[0].operands[0].ndim)
    what = "step" if time else "sample or entry"
    unit = first.size // steps_of(evidence) if time else 1
    if len({each.start for each in stretches if each.size == first.size}) > 1:
        return ("G3" if time else "B6"), f"the operands are of different {what}s"
    if first.length == unit and first.named:
        which = "first" if first.start == 0 else "last" if first.start + first.length == first.size else "one"
        return "E1", f"only the {which} {what} counts, as where each overwrites the one before"
    which = "first" if first.start else "last"
    return ("G2" if time else "C8"), f"the {which} {what} is left out"


def _rolled(evidence: Evidence, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield an array as it was before it was shifted (G3, B6)."""
    for group in within:
        first = group[0]
        if first.name != "roll" or first.operands[0].shape != first.result.shape:
            continue
        axes = [a for a in range(first.result.ndim) if not _shares_lines(first.operands[0], first.result, a)]
        axis = axes[0] if len(axes) == 1 else -1
        time = axis >= 0 and is_time(evidence, first.result.shape[axis], axis, first.result.ndim)
        what = "one time step for another" if time else "one sample or entry for another"
        sentence = f"{first.place} shifts an array: that takes {what}. Take it as it is."
        change = at(group, lambda step, _: np.asarray(step.operands[0]))
        yield Otherwise("G3" if time else "B6", change, sentence, 0.2, "", site_of(group))


def _shares_lines(one: Array, two: Array, axis: int) -> bool:
    """Whether two arrays hold the same along all other axes at the first place of one, so that it was not shifted."""
    sums = (np.sort(np.take(each, 0, axis=axis).ravel()) for each in (one, two))
    return alike(*sums)
