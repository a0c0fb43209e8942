"""What each turn of a loop should multiply by: found in the loop itself, under a name and an index. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, redone, site_of
from gradcheck.explanation.suspects.runs import run
from gradcheck.explanation.suspects.sight import activations, alike, varies
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]

MOST = 1000  # operations: of longer runs the names at every turn are not collected
VECTORS = ("multiply", "divide", "matmul", "dot", "add", "subtract", "get", "sum", "negative")
MATRIX = ("matmul", "dot")
BINARY = (*MATRIX, "multiply", "divide", "add", "subtract")
Named = list[dict[str, Array]]  # what the names stand for, at each turn


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield factors and operands that the loop has under an index, at every turn its own (B6, C1, C4)."""
    loops = [group for group in within if len(group) > 1 and group[0].name in VECTORS and group[0].result.size]
    for group in within:
        if group[0].name == "set" and len(group) > 1:
            yield from _written(evidence, group)
    if not loops or len(tape.steps) > MOST:
        return
    named = _named(evidence, loops)
    for group in loops:
        turns = named.get(site_of(group), [])
        if len(turns) != len(group):
            continue
        for name in dict.fromkeys(name for turn in turns for name in turn if "[" in name):
            yield from _missing(evidence, tape, group, name, turns)
            yield from _instead(group, name, turns)


def _named(evidence: Evidence, loops: Sequence[Sequence[Step]]) -> dict[tuple[object, ...], Named]:
    """Return what the names around each loop stand for, turn by turn: one run that changes nothing tells."""
    places = {site_of(group) for group in loops}
    found: dict[tuple[object, ...], Named] = {}

    def look(step: Step, _: Tape) -> None:
        if (step.site, step.result.shape) in places:
            shapes = {
                step.result.shape,
                (),
                *(each.shape for each in step.operands[:2] if isinstance(each, np.ndarray)),
            }
            fits = {name: np.array(array) for name, array in step.around.items() if array.shape in shapes}
            found.setdefault((step.site, step.result.shape), []).append(fits)

    run(evidence, look)
    return found


def _written(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield what each turn writes into its part of an array, times the derivative of its step (C1)."""
    first = group[0]
    value = first.operands[2]
    for act in activations(evidence):
        if len(act.slopes) != len(group) or np.shape(value) != act.slopes[0].shape or not np.ptp(act.slopes[0]):
            continue
        for slopes in (act.slopes[::-1], act.slopes):

            def sloped(step: Step, _: Tape, slopes: tuple[Array, ...] = slopes) -> Array:
                made = np.array(step.operands[0])
                made[step.operands[1]] = step.operands[2] * slopes[step.turn % len(slopes)]
                return made

            sentence = (
                f"The derivative of the {act.function.name} is missing in what {first.place} writes. "
                f"Multiply by {act.said} of the step there."
            )
            yield Otherwise("C1", at(group, sloped), sentence, 0.35, "", site_of(group))


def _missing(evidence: Evidence, tape: Tape, group: Sequence[Step], name: str, turns: Named) -> Iterator[Otherwise]:
    """Yield a factor that no turn multiplies by: a derivative, or what the backward computes and never uses (C1)."""
    first = group[0]
    arrays = [turn[name] for turn in turns if name in turn and turn[name].shape == first.result.shape]
    if not arrays:
        return
    slopes = Slopes(evidence)
    if first.result.ndim and any(slopes.of(array) is not None for array in arrays):
        sentence = (
            f"The derivative of the activation is missing in {first.place}. "
            f"Multiply there by the derivative where the activation gives {name}."
        )

        def sloped(step: Step, _: Tape) -> Array | None:
            slope = slopes.of(step.around[name]) if name in step.around else None
            return None if slope is None else step.result * slope

        yield Otherwise("C1", at(group, sloped), sentence, 0.45, "", site_of(group))
    if _is_made_in_vain(tape, arrays) and not (first.result.ndim and not any(varies(array) for array in arrays)):
        sentence = f"{name} is computed, and {first.place} does not multiply by it. Multiply by {name} there."

        def multiplied(step: Step, _: Tape) -> Array | None:
            return step.result * step.around[name] if name in step.around else None

        yield Otherwise("C1", at(group, multiplied), sentence, 0.4, "", site_of(group))


def _is_made_in_vain(tape: Tape, arrays: Sequence[Array]) -> bool:
    """Whether the arrays, but for plain whole numbers, are results of the backward that it never uses."""
    lost = [step for step in tape.steps if step.number not in tape.used]
    broken = [array for array in arrays if not np.array_equal(array, np.rint(array))]
    computed = [step.result for step in lost if step.name != "get"]
    return any(alike(array, result) for array in broken for result in computed) and all(
        any(alike(array, step.result) for step in lost) for array in broken
    )


def _instead(group: Sequence[Step], name: str, turns: Named) -> Iterator[Otherwise]:
    """Yield another operand, a single number or one of another size at each turn (B1, B6, C3, C4, C8)."""
    first = group[0]
    if first.name not in BINARY or (first.result.ndim and first.name not in MATRIX):
        return
    for place in (0, 1):
        taken = [np.asarray(step.operands[place], dtype=np.float64) for step in group]
        meant = [turn.get(name) for turn in turns]
        if len({each.shape for each in taken}) == 1 and taken[0].ndim:
            continue  # which its name at the first turn tells
        if not all(each is None or each.shape == one.shape for each, one in zip(meant, taken, strict=True)):
            continue
        if all(map(_equal, meant, taken)) or not any(each is not None and each.size for each in meant):
            continue
        mistake, what, doubt = _class(name, taken, turns)
        sentence = f"{first.place} takes {what} where {name} belongs. Take {name}."

        def other(step: Step, _: Tape, place: int = place) -> Array | None:
            if name not in step.around:
                return None
            operands = [step.around[name] if p == place else each for p, each in enumerate(step.operands)]
            return np.asarray(redone(step, operands))

        yield Otherwise(mistake, at(group, other), sentence, doubt, "", site_of(group))


def _class(name: str, taken: Sequence[Array], turns: Named) -> tuple[str, str, float]:
    """Return which mistake it is to take these numbers for those of a name."""
    meant = [turn.get(name) for turn in turns]
    if all(each is not None and _equal(each**2, one) for each, one in zip(meant, taken, strict=True)):
        return "C3", "the square of a derivative", 0.4
    held = name.partition("[")[0]
    others = dict.fromkeys(n for turn in turns for n in turn if n.partition("[")[0] == held)
    for other in others:
        if all(_equal(turn.get(other), one) for turn, one in zip(turns, taken, strict=True)):
            if sorted(other) == sorted(name):
                return "B1", f"{other}, with its indices exchanged,", 0.4
            return "C4", f"{other}, that of a neighbour,", 0.5
    if any(one.any() for one in taken) and all(
        not one.any() or _equal(each, one) for each, one in zip(meant, taken, strict=True)
    ):
        return "C8", "nothing at some turns", 0.4
    constant = not any(varies(one) for one in taken)
    return "B6", "something else", 0.5 if constant and taken[0].ndim else 0.7


def _equal(one: Array | None, two: Array) -> bool:
    return one is not None and alike(one, two)


class Slopes:
    """The derivatives of all activations, by their inputs and outputs: of every unit its own function."""

    def __init__(self, evidence: Evidence) -> None:
        """Collect the arrays between which a known function leads."""
        self.known = [
            (part, slope)
            for act in activations(evidence)
            for z, a, slope in zip(act.z.arrays, act.a.arrays, act.slopes, strict=False)
            for part in (z, a)
        ]

    def of(self, array: Array) -> Array | None:
        """Return the derivative where an activation takes or gives ``array``; None if none does."""
        return next((slope for part, slope in self.known if alike(part, array)), None)
