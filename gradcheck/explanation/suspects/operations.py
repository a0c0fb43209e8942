"""Operations of a backward that are not the right ones: another of the four, a factor too many, twice. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, site_of, together, walk
from gradcheck.explanation.suspects.sight import activations, alike, is_multiple, varies
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]

DEEP = 4  # factors that are looked through
SCALES = ("multiply", "divide")
FOUR = {"add": "adds", "subtract": "subtracts", "multiply": "multiplies", "divide": "divides"}


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield another operation at every place, and factors left out."""
    yield from _twice(evidence, tape, within)
    for group in within:
        if group[0].name in FOUR and _has_two(group):
            yield from _another(group)
            if group[0].name in SCALES:
                yield from _left_out(evidence, group)
        elif group[0].name == "multiply" and group[0].result.size:
            yield from _switched_off(group)
        yield from _squared(evidence, group)
        yield from _written(group)


def _has_two(group: Sequence[Step]) -> bool:
    """Whether both operands are arrays of one shape that vary, or single numbers that do from turn to turn."""
    one, two = (np.asarray(each) for each in group[0].operands[:2])
    if one.shape != two.shape or {one.dtype.kind, two.dtype.kind} - set("fbiu") or not one.size:
        return False
    return len(group) > 1 if one.ndim == 0 else one.size > 1 and varies(1.0 * one) and varies(1.0 * two)


def _another(group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield the other three operations (B6; A1 where only a sign tells them apart)."""
    first = group[0]
    for name, does in FOUR.items():
        if name == first.name:
            continue

        def other(step: Step, _: Tape, name: str = name) -> Array:
            return np.asarray(getattr(np, name)(*step.operands[:2]))

        sign = {name, first.name} == {"add", "subtract"}
        must = {"add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "divide"}[name]
        sentence = f"{first.place} {FOUR[first.name]} where it must {must}. Make it one that {does}."
        yield Otherwise("A1" if sign else "B6", at(group, other), sentence, 0.5, "", site_of(group))


def _left_out(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield a factor left out: a mask that drops terms (C8), a derivative too many (C3), or another (B6)."""
    first = group[0]
    for place in (0, 1) if first.name == "multiply" else (0,):
        factor = np.asarray(first.operands[1 - place], dtype=float)
        name = first.names[1 - place] or "a factor"
        mistake, what, doubt = "B6", f"{name}, which does not belong there", 0.65
        if all(set(np.unique(step.operands[1 - place])) <= {0.0, 1.0} for step in group):
            mistake, what, doubt = "C8", f"{name}, which is 0 or 1, and so drops terms of the sum", 0.55
        elif any(slope.shape == factor.shape and is_multiple(factor, slope) for slope in _slopes(evidence)):
            mistake, what, doubt = "C3", f"{name}, a derivative that the gradient holds already", 0.5
        sentence = f"{first.place} {FOUR[first.name]} by {what}. Leave it out."
        change = at(group, lambda step, _, p=place: np.asarray(step.operands[p], dtype=float))  # type: ignore[misc]
        yield Otherwise(mistake, change, sentence, doubt, "", site_of(group), f"left out {first.site}")


def _switched_off(group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield a single number, 0 at some turns and 1 at others, left out (C8)."""
    for place in (0, 1):
        factors = [step.operands[1 - place] for step in group]
        if any(np.ndim(factor) for factor in factors) or not {*map(float, factors)} <= {0.0, 1.0}:
            continue
        sentence = f"{group[0].place} multiplies by 0 at some turns, and so drops terms of the sum. Leave that out."
        change = at(group, lambda step, _, p=place: np.asarray(step.operands[p]))  # type: ignore[misc]
        yield Otherwise("C8", change, sentence, 0.45, "", site_of(group), f"switched off {group[0].site}")


def _slopes(evidence: Evidence) -> list[Array]:
    return [slope for act in activations(evidence) for slope in act.slopes if np.ptp(slope)]


def _squared(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield a square left out: of a derivative (C3), or of another operand (B6)."""
    first = group[0]
    if first.name not in ("square", "power") or (first.result.ndim == 0 and len(group) < 2):
        return
    if first.name == "power" and not (np.ndim(first.operands[1]) == 0 and first.operands[1] == 2):
        return
    base = np.asarray(first.operands[0], dtype=float)
    held = any(np.shape(each) == base.shape and alike(each, base) for each in evidence.at_hand.values() if base.ndim)
    sentence = f"{first.place} takes the square of a factor that belongs there once. Do not square it."
    change = at(group, lambda step, _: np.asarray(step.operands[0], dtype=float))
    yield Otherwise("B6" if held else "C3", change, sentence, 0.5, "", site_of(group))


def _written(group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield another array for what is written into a part of an array (B6)."""
    first = group[0]
    if first.name != "set" or len(group) > 1:
        return
    before, key, value = first.operands
    shape = np.shape(before[key])
    for name, array in first.around.items():
        if array.shape != shape or array.size < 2 or (np.shape(value) == shape and is_multiple(array, value)):
            continue

        def made(step: Step, _: Tape, name: str = name) -> Array:
            written = np.array(step.operands[0])
            written[step.operands[1]] = step.around[name]
            return written

        what = first.names[2] or (f"{float(value):g}" if np.ndim(value) == 0 else "an array")
        sentence = f"{first.place} writes {what} where {name} belongs. Write {name}."
        yield Otherwise("B6", at(group, made), sentence, 0.45 if np.ndim(value) == 0 else 0.7, "", site_of(group))


def _twice(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield the second of two equal factors left out, wherever there are two, and at each place (C3, B6)."""
    found = []
    for group in within:
        again = [place for step in group for place in [_again(step, tape)] if place is not None]
        if not again:
            continue
        _, factor = again[0]
        derivative = any(slope.shape == factor.shape and is_multiple(factor, slope) for slope in _slopes(evidence))
        known = any(np.shape(each) == factor.shape and alike(each, factor) for each in evidence.at_hand.values())
        mistake = "B6" if known and not derivative else "C3"
        what = "the derivative of the activation" if derivative else "one factor"
        sentence = f"{group[0].place} multiplies by {what} that was multiplied in already. Leave the second one out."
        change = at(group, _once)
        found.append(Otherwise(mistake, change, sentence, 0.3 if derivative else 0.45, "", site_of(group)))
    yield from found
    if len(found) > 1:
        changes = [each.change for each in found]
        yield found[0]._replace(change=together(changes), place=(), doubt=found[0].doubt - 0.05)


def _once(step: Step, tape: Tape) -> Array | None:
    found = _again(step, tape)
    return None if found is None else found[0]


def _again(step: Step, tape: Tape) -> tuple[Array, Array] | None:
    """Return what a step multiplied by a factor by which it had been multiplied before, and that factor."""
    if step.result.ndim == 0 or step.result.size < 2:
        return None
    for vector, factor, maker in _factors(step, tape, DEEP):
        before = tape.steps[maker] if maker is not None else None
        if before is not None and before.result.shape == step.result.shape and not _is_mask(factor):
            for _, other, _ in _factors(before, tape, DEEP):
                if alike(other, factor):
                    return vector, factor
    return None


def _is_mask(factor: Array) -> bool:
    return not varies(factor) or len(np.unique(factor)) <= 2


def _factors(step: Step, tape: Tape, depth: int) -> Iterator[tuple[Array, Array, int | None]]:
    """Yield what a result is a multiple of by the entry, the factor, and the number of the step that made the first."""
    for way in _ways_down(step, tape, depth):
        end = step
        for place in way[:-1]:
            end = tape.steps[end.sources[place] or 0]
        vector = walk(step, way, tape)
        if np.shape(vector) != step.result.shape:
            continue  # a reshape lies on the way
        with np.errstate(all="ignore"):
            factor = step.result / vector
        if np.isfinite(factor).all():
            yield vector, factor, end.sources[way[-1]]


def _ways_down(step: Step, tape: Tape, depth: int) -> Iterator[tuple[int, ...]]:
    if step.name not in SCALES or not depth:
        return
    for place, operand in enumerate(step.operands[:2] if step.name == "multiply" else step.operands[:1]):
        if not isinstance(operand, np.ndarray) or operand.shape != step.result.shape or operand.dtype.kind != "f":
            continue
        yield (place,)
        source = step.sources[place]
        if source is not None and source < len(tape.steps):
            for way in _ways_down(tape.steps[source], tape, depth - 1):
                yield (place, *way)
