"""Operands of products inside a backward: not transposed, the wrong one, or updated too early. Level 3."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, redone, site_of
from gradcheck.explanation.suspects.recurrence import is_later
from gradcheck.explanation.suspects.sight import activations, alike, groups, is_multiple, sight, varies
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array, leaves

__all__ = ["ways"]

MATRIX = ("matmul", "dot", "outer")
PRODUCTS = (*MATRIX, "multiply", "sum", "add.reduce")
MOST_AXES = 5  # of arrays with more, no permutations are tried
PARALLEL = 1e-6  # relative: how well a difference has to be a multiple of a gradient

FORMS: dict[str, Callable[[Array], Array]] = {
    "the modulus": np.abs,
    "the square": np.square,
    "the sign": np.sign,
    "the inverse": lambda x: np.divide(1, x, out=np.zeros(x.shape), where=x != 0),
}


class Operand(NamedTuple):
    """An array for each turn, or one for all, by what it is called."""

    name: str
    arrays: tuple[Array, ...]
    transposed: bool = False


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield products with another operand, at every place where there is one."""
    known = _known(evidence, tape)
    for group in within:
        first = group[0]
        if first.name == "reshape":
            yield from _reordered(group)
        if first.name not in PRODUCTS:
            continue
        yield from _by_name(evidence, group)
        for place, operand in enumerate(first.operands[:2]):
            if isinstance(operand, np.ndarray) and operand.ndim and operand.dtype.kind == "f" and operand.size > 1:
                if first.name in MATRIX:
                    yield from _transposed(group, place)
                    yield from _of_another_step(evidence, group, place)
                if first.name != "sum" or place == 0:
                    yield from _replaced(evidence, group, place, known)


def _with(step: Step, place: int, operand: Array) -> Array | None:
    operands = list(step.operands)
    operands[place] = operand
    try:
        return np.asarray(redone(step, operands))
    except (ValueError, TypeError):
        return None


def _called(step: Step, place: int) -> str:
    return (step.names[place] if place < len(step.names) else "") or "an operand"


def _transposed(group: Sequence[Step], place: int) -> Iterator[Otherwise]:
    first = group[0]
    operand = first.operands[place]
    if operand.ndim < 2 or operand.shape[-1] != operand.shape[-2] or alike(operand, operand.swapaxes(-1, -2)):
        return
    name = _called(first, place)
    turned = f"{name}.T" if operand.ndim == 2 else f"{name}.swapaxes(-1, -2)"
    instead = name[:-2] if name.endswith(".T") else turned
    how = f"Write {instead}" if name != "an operand" else "Transpose it"
    sentence = (
        f"{first.place} multiplies by {name}, a square matrix, the wrong way round. "
        f"{how}: the product runs over its other axis."
    )
    change = at(group, lambda step, _: _with(step, place, step.operands[place].swapaxes(-1, -2)))
    yield Otherwise("B1", change, sentence, 0.2, "", site_of(group), f"{first.site}")


def _reordered(group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield an array of three axes or more whose axes were not moved before it was made a matrix (B1)."""
    first = group[0]
    array = first.operands[0]
    if array.ndim > MOST_AXES:
        return
    for axes in itertools.permutations(range(array.ndim)):
        if axes == tuple(range(array.ndim)):
            continue
        sentence = (
            f"{first.place} makes a matrix of {_called(first, 0)} without moving its axes. "
            f"Transpose it by {axes} before it is reshaped."
        )

        def moved(step: Step, _: Tape, axes: tuple[int, ...] = axes) -> Array:
            made: Array = step.operands[0].transpose(axes).reshape(step.result.shape)
            return made

        yield Otherwise("B1", at(group, moved), sentence, 0.4, "", site_of(group))


def _of_another_step(evidence: Evidence, group: Sequence[Step], place: int) -> Iterator[Otherwise]:
    """Yield the operand of the turn before or after, with an initial state at the end (G3)."""
    arrays = [step.operands[place] for step in group]
    if len(arrays) < 2 or any(alike(one, two) for one, two in itertools.pairwise(arrays)):
        return
    shape = arrays[0].shape
    ends = [("zeros", np.zeros(shape))]
    for name, array in evidence.at_hand.items():
        if array.shape == shape and array.dtype.kind == "f":
            ends.append((name, array))
        elif array.ndim == 2 and array.T.shape == shape and array.dtype.kind == "f":
            ends.append((name, array.T))
    for name, end in ends:
        for back in (True, False):
            moved = [*arrays[1:], end] if back else [end, *arrays[:-1]]
            sentence = (
                f"{group[0].place} takes {_called(group[0], place)} of the wrong time step. "
                f"Take that of the step before; at the first step it is the initial state, {name}."
            )
            change = at(group, lambda step, _, m=moved: _with(step, place, m[step.turn]))  # type: ignore[misc]
            yield Otherwise("G3", change, sentence, 0.3, "", site_of(group))


def _known(evidence: Evidence, tape: Tape) -> list[Operand]:
    """Return what may have been meant: what is in sight, its transpose, and what the backward itself has made."""
    found = [Operand(each.name, each.arrays) for each in sight(evidence)]
    names = {
        source: name
        for step in tape.steps
        for source, name in zip(step.sources, step.names, strict=False)
        if source is not None and name and not name.endswith(".T")
    }
    for group in groups(tape.steps).values():
        name = names.get(group[0].number)
        if not name and group[0].result.ndim and not any(step.number in tape.used for step in group):
            name = f"what {group[0].place} gives"
        if name and group[0].result.dtype.kind == "f":
            found.append(Operand(name, tuple(step.result for step in group)))
            found += [Operand(names.get(s.number, name), (s.result,)) for s in group] if len(group) in (2, 3) else []
    found += [
        Operand(f"{each.name}.T", tuple(a.T for a in each.arrays), transposed=True)
        for each in found
        if each.arrays[0].ndim == 2
    ]
    return found


def _replaced(evidence: Evidence, group: Sequence[Step], place: int, known: list[Operand]) -> Iterator[Otherwise]:
    first = group[0]
    operand = first.operands[place]
    tried: list[tuple[Array, ...]] = []
    for other in known:
        arrays = other.arrays
        if arrays[0].shape != operand.shape or len(arrays) not in (1, len(group)):
            continue
        if len(group) > 1 and first.name not in MATRIX:
            continue  # products by the entry in a loop run over windows, whose order is another matter
        orders = (arrays,) if len(arrays) == 1 else (tuple(reversed(arrays)), arrays)
        for order in orders:
            if alike(order[0], operand) or any(len(order) == len(old) and all(map(alike, order, old)) for old in tried):
                continue
            if len(order) > 1 and alike(order[0], group[-1].operands[place]):
                continue  # the same arrays the other way round
            tried.append(order)
            if is_multiple(order[0], operand):
                continue  # which is a matter of scale
            mistake, why, doubt = _class(evidence, first, place, order[0])
            sentence = (
                f"{first.place} takes {_called(first, place)}{why} where {other.name} belongs. Take {other.name}."
            )
            change = at(group, lambda step, _, o=order: _with(step, place, o[step.turn % len(o)]))  # type: ignore[misc]
            yield Otherwise(mistake, change, sentence, doubt, "", site_of(group))


def _by_name(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield another array that the function itself has a name for, at every turn its own (B6, E4)."""
    first = group[0]
    for place, operand in enumerate(first.operands[:2]):
        if not isinstance(operand, np.ndarray) or operand.ndim < 1 or operand.size < 2 or operand.dtype.kind != "f":
            continue
        for name, array in first.around.items():
            for turned in (False, True) if array.ndim == 2 else (False,):
                meant = array.T if turned else array
                if meant.shape != operand.shape or alike(meant, operand) or is_multiple(meant, operand):
                    continue
                if turned and operand.shape[0] == operand.shape[1] and alike(array, operand):
                    continue  # which is a matter of a transpose

                def other(step: Step, _: Tape, place: int = place, name: str = name, turned: bool = turned) -> Any:
                    if name not in step.around:
                        return None
                    return _with(step, place, step.around[name].T if turned else step.around[name])

                said = f"{name}.T" if turned else name
                mistake, why, doubt = _class(evidence, first, place, meant)
                sentence = f"{first.place} takes {_called(first, place)}{why} where {said} belongs. Take {said}."
                kind = f"{first.site} {place} {name} {turned}"
                yield Otherwise(mistake, at(group, other), sentence, doubt - 0.05, "", site_of(group), kind)


def _class(evidence: Evidence, step: Step, place: int, meant: Array) -> tuple[str, str, float]:
    """Return which mistake it is to take this operand for the one that was meant."""
    taken = step.operands[place]
    if not taken.any():
        return "C8", ", which is zero,", 0.5
    precision = _precision(taken, meant)
    if precision:
        return "H3", f", rounded to {precision},", 0.3
    form = next((said for said, function in FORMS.items() if alike(taken, function(meant))), "")
    if form:
        return "C3", f", {form} of what belongs there,", 0.5
    if set(np.unique(taken)) == {0.0, 1.0} and meant.min() == 0 and alike(1.0 * (meant != 0), taken):
        return "E5", ", a mask without its scale,", 0.3
    cotangents = [leaf for _, leaf in leaves(evidence.cotangent, "dout")]
    if not varies(taken) and any(np.shape(leaf) == meant.shape and alike(leaf, meant) for leaf in cotangents):
        return "C5", ", which is constant,", 0.3
    order = _order(taken, meant)
    if order:
        return *order, 0.4
    for act in activations(evidence):
        if any(slope.shape == meant.shape and alike(taken * slope, meant) for slope in act.slopes):
            return "C1", f", which lacks the derivative of the {act.function.name},", 0.45
    if is_later(evidence, taken, meant):
        return "G3", ", which is of another time step,", 0.35
    if _same_function(evidence, taken, meant):
        return "C2", ", a function at the wrong argument,", 0.5
    for path, parameter in evidence.point.items():
        for view, gradient in ((parameter, evidence.claimed.get(path)), (parameter.T, _transpose(evidence, path))):
            if view.shape == meant.shape and alike(view, meant) and gradient is not None:
                difference = taken - meant
                rate = -float((difference * gradient).sum()) / max(float((gradient**2).sum()), 1e-300)
                left = float(np.linalg.norm(difference + rate * gradient))
                if rate and left <= PARALLEL * float(np.linalg.norm(difference)):
                    return "E4", f", which is {path} already updated at the rate {rate:.4g},", 0.3
    return "B6", "", 0.6 if step.name in MATRIX or step.name == "sum" else 0.8


def _precision(taken: Array, meant: Array) -> str:
    """Return the type of lower precision to which an operand was rounded, "" if to none."""
    for lower in (np.float16, np.float32):
        with np.errstate(over="ignore"):
            rounded = np.asarray(meant).astype(lower)
        if np.asarray(meant).dtype.itemsize > rounded.itemsize and np.array_equal(rounded, taken):
            return np.dtype(lower).name
    return ""


def _order(taken: Array, meant: Array) -> tuple[str, str] | None:
    """Return which mistake it is if the operand holds the same numbers in another order: F1 reversed, B1 transposed."""
    places = [axis for axis in range(meant.ndim) if meant.shape[axis] > 1]
    for count in range(1, len(places) + 1) if meant.ndim <= MOST_AXES else ():
        for axes in itertools.combinations(places, count):
            if alike(np.flip(meant, axes), taken):
                return "F1", ", which is reversed,"
    if meant.ndim == 2 and alike(meant.T, taken):
        return "B1", ", which is transposed,"
    return None


def _same_function(evidence: Evidence, taken: Array, meant: Array) -> bool:
    """Whether the operand and the one that was meant are one function of two arrays in sight."""
    for act in activations(evidence):
        if act.a.shape != meant.shape or not any(is_multiple(meant, each) for each in act.a.arrays):
            continue
        seen = [array for each in sight(evidence) if each.shape == taken.shape for array in each.arrays]
        if any(varies(array) and is_multiple(taken, act.function.value(array)) for array in seen):
            return True
    return False


def _transpose(evidence: Evidence, path: str) -> Array | None:
    gradient = evidence.claimed.get(path)
    return None if gradient is None else gradient.T
