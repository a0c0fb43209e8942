"""Derivatives of activations inside a backward: missing, at the wrong argument, or the wrong function. Level 3."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, redone, site_of, walk
from gradcheck.explanation.suspects.derivatives import of_shape, read
from gradcheck.explanation.suspects.sight import (
    Activation,
    Series,
    Shelf,
    activations,
    alike,
    forward_steps,
    is_multiple,
    varies,
)
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]

TURNS = 4  # of a loop that are multiplied by one array at most
DEEP = 4  # factors that are looked through
PARTS = ("exp", "log", "square root", "square")  # functions of which others are made
SCALES = ("multiply", "divide", "where", "set", "negative")
VECTORS = ("multiply", "divide", "matmul", "dot", "add", "subtract", "get", "set", "sum", "where", "negative", "outer")


class Slope(NamedTuple):
    """What a backward has to multiply by, for each turn."""

    arrays: tuple[Array, ...]
    said: str
    activation: Activation | None


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield other factors at every place where a cotangent may be multiplied."""
    slopes = [Slope(each.slopes, each.said, each) for each in activations(evidence)]
    for group in within:
        if group[0].name not in VECTORS or group[0].result.ndim == 0:
            continue
        for slope in slopes:
            for turned in (False, True) if len(slope.arrays) > 1 else (False,):
                fitted = _fitted(slope.arrays, group, turned=turned)
                if fitted is not None:
                    yield from _instead(evidence, tape, group, fitted, slope)
        yield from _by_name(evidence, tape, group)
        yield from _of_operands(group, slopes)
        yield from _superfluous(evidence, tape, group)
        yield from _without_softmax(evidence, group)
        yield from _dropped(evidence, group)


def _of_operands(group: Sequence[Step], slopes: list[Slope]) -> Iterator[Otherwise]:
    """Yield the derivative multiplied into an operand of a product or a sum, at all of them together (C1)."""
    first = group[0]
    if first.name not in ("matmul", "dot", "sum") or len(group) > 1:
        return
    for slope, (place, operand) in itertools.product(slopes, enumerate(first.operands[:2])):
        if slope.activation is None or len(slope.arrays) > 1 or not isinstance(operand, np.ndarray):
            continue
        for array in (slope.arrays[0], slope.arrays[0].T):
            if array.shape != operand.shape or not np.ptp(array):
                continue

            def multiplied(step: Step, _: Tape, place: int = place, array: Array = array) -> Array:
                return redone(step, [o * array if p == place else o for p, o in enumerate(step.operands)])

            sentence = (
                f"The derivative of the {slope.activation.function.name} is missing before {first.place}. "
                f"Multiply by {slope.said} before the product is taken."
            )
            kind = f"operands {slope.said} {float(np.abs(operand).sum()):.9g}"
            yield Otherwise("C1", at(group, multiplied), sentence, 0.36, "", site_of(group), kind)
            break


def _by_name(evidence: Evidence, tape: Tape, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield the derivative from an array that the function itself has a name for, at every turn its own (C1 to C3)."""
    first = group[0]
    used = {each.function.name: each.function for each in activations(evidence)}
    for name, function in ((name, function) for name in first.around for function in used.values()):
        array = first.around[name]
        if array.shape != first.result.shape:
            continue
        for act in activations(evidence):
            if act.function is not function:
                continue
            for part, slope in ((act.z, function.slope), (act.a, function.of_output)):
                if slope is None or part.shape != array.shape or not _shelf(evidence, part).of(array):
                    continue
                yield from _named(evidence, tape, group, name, act, slope)
                break


def _shelf(evidence: Evidence, series: Series) -> Shelf:
    return evidence.once("shelf", str(id(series)), lambda _: Shelf(series.arrays))


def _named(
    evidence: Evidence, tape: Tape, group: Sequence[Step], name: str, act: Activation, slope: Callable[[Array], Array]
) -> Iterator[Otherwise]:
    first = group[0]
    array = np.asarray(slope(first.around[name]), dtype=float)
    if not np.ptp(array):
        return
    text = act.function.said.format(z=name, a=name)

    def multiplied(step: Step, _: Tape) -> Array | None:
        return step.result * slope(step.around[name]) if name in step.around else None

    sentence = f"The derivative of the {act.function.name} is missing in {first.place}. Multiply by {text} there."
    kind = f"{act.function.name} by name"
    yield Otherwise("C1", at(group, multiplied), sentence, 0.32, "", site_of(group), f"{kind} {first.site}")
    for way in _ways_down(first, tape):
        factor = _factor(first, way, tape)
        if factor is None or not varies(factor) or is_multiple(factor, array):
            continue
        reading = read(evidence, factor, act, array, walk(first, way, tape))

        def replaced(step: Step, run: Tape, way: tuple[int, ...] = way) -> Array | None:
            try:
                return np.asarray(walk(step, way, run) * slope(step.around[name]))
            except (LookupError, ValueError):
                return None

        sentence = (
            f"{first.place} multiplies by {reading.found} where the derivative of the {act.function.name} belongs. "
            f"Multiply by {text} instead."
        )
        yield Otherwise(
            reading.mistake, at(group, replaced), sentence, reading.doubt + 0.02, reading.apart, site_of(group), kind
        )


def _dropped(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield the mask of a dropout, and its scale, multiplied in (E5)."""
    for name, mask, scale in _masks_forward(evidence):
        fits = _broadcast(mask, group[0].result.shape)
        if fits is None or group[0].name not in (*SCALES, "matmul", "dot"):
            continue
        for factor, what in (
            (fits, name),
            (fits * scale, f"{name} and its scale {scale:.4g}"),
            (scale, f"{scale:.4g}"),
        ):
            if np.ndim(factor) == 0 and scale == 1:
                continue
            sentence = f"The dropout's mask or its scale is missing in {group[0].place}. Multiply by {what} there."
            change = at(group, lambda step, _, f=factor: np.asarray(step.result * f))  # type: ignore[misc]
            yield Otherwise("E5", change, sentence, 0.35, "", site_of(group))


def _masks_forward(evidence: Evidence) -> Iterator[tuple[str, Array, float]]:
    """Yield the masks that the forward multiplies by, with the number that it multiplies or divides by as well."""
    steps = forward_steps(evidence)
    for step in steps:
        if step.name != "multiply" or len(step.operands) < 2:
            continue
        for mask, name in zip(step.operands[:2], step.names[:2], strict=False):
            if not isinstance(mask, np.ndarray) or mask.size < 2 or len(np.unique(mask)) != 2 or mask.min() != 0:
                continue
            scale = 1.0
            for after in steps:
                if step.number in after.sources and after.name in ("divide", "multiply"):
                    number = after.operands[1 - after.sources.index(step.number)]
                    if np.ndim(number) == 0:
                        scale = 1 / float(number) if after.name == "divide" else float(number)
            yield name or "the mask", np.asarray(mask, dtype=float), scale


def _fitted(arrays: Sequence[Array], group: Sequence[Step], *, turned: bool) -> list[Array] | None:
    """Return one array for each turn of a group, in the order of the turns or against it."""
    shape = group[0].result.shape
    if len(arrays) == 1:
        fits = _broadcast(arrays[0], shape) if len(group) <= TURNS else None
        return None if fits is None else [fits] * len(group)
    if len(arrays) != len(group) or arrays[0].shape != shape:
        return None
    return list(reversed(arrays)) if turned else list(arrays)


def _broadcast(array: Array, shape: tuple[int, ...]) -> Array | None:
    if array.shape == shape:
        return array
    if array.size == int(np.prod(shape)) and [n for n in array.shape if n > 1] == [n for n in shape if n > 1]:
        return array.reshape(shape)
    return None


def _instead(
    evidence: Evidence, tape: Tape, group: Sequence[Step], slopes: list[Array], slope: Slope
) -> Iterator[Otherwise]:
    """Yield the factor multiplied in, and in the place of factors that are there."""
    activation = slope.activation
    if activation is None or not any(np.ptp(each) for each in slopes):
        return
    first = group[0]
    where = first.place
    sentence = (
        f"The derivative of the {activation.function.name} is missing in {where}. Multiply by {slope.said} there."
    )
    other = _whole(evidence, tape, first, slopes[0]) if activation.function.name in PARTS else None
    if other is not None:
        sentence = (
            f"{where} multiplies by something else where the derivative of the {other.function.name} belongs. "
            f"Multiply by {other.said} instead."
        )
    yield Otherwise(
        "C1" if other is None else "C3",
        at(group, lambda step, _: step.result * slopes[step.turn % len(slopes)]),
        sentence,
        0.3,
        "",
        site_of(group),
        f"{activation.function.name} {first.site}",
    )
    for way in _ways_down(first, tape):
        factor = _factor(first, way, tape)
        if factor is None or is_multiple(factor, slopes[0]) or not varies(factor):
            continue
        reading = read(evidence, factor, activation, slopes[0], walk(first, way, tape))
        sentence = (
            f"{where} multiplies by {reading.found} where the derivative of the {activation.function.name} belongs. "
            f"Multiply by {slope.said} instead."
        )
        change = at(group, lambda step, run, way=way: _over(step, run, way, slopes))  # type: ignore[misc]
        yield Otherwise(
            reading.mistake, change, sentence, reading.doubt, reading.apart, site_of(group), activation.function.name
        )


def _whole(evidence: Evidence, tape: Tape, first: Step, slope: Array) -> Activation | None:
    """Return the activation whose derivative a factor that is there and ``slope`` make together, None if none."""
    for way in _ways_down(first, tape):
        factor = _factor(first, way, tape)
        if factor is None or not varies(factor):
            continue
        for act in activations(evidence):
            if act.function.name in PARTS or len(act.slopes) > 1:
                continue
            if act.slopes[0].shape == factor.shape and alike(act.slopes[0], factor * slope):
                return act
    return None


def _over(step: Step, tape: Tape, way: tuple[int, ...], slopes: list[Array]) -> Array | None:
    try:
        made: Array = np.asarray(walk(step, way, tape) * slopes[step.turn % len(slopes)])
    except LookupError:
        return None
    return made


def _ways_down(step: Step, tape: Tape, depth: int = DEEP) -> Iterator[tuple[int, ...]]:
    """Yield the ways to what a result is a multiple of, entry by entry."""
    if step.name not in SCALES or not depth:
        return
    for place, operand in enumerate(step.operands):
        if not isinstance(operand, np.ndarray) or operand.shape != step.result.shape or operand.dtype.kind != "f":
            continue
        if (step.name == "divide" and place) or (step.name == "set" and (place or not _masks(step))):
            continue
        yield (place,)
        source = step.sources[place]
        if source is not None:
            for way in _ways_down(tape.steps[source], tape, depth - 1):
                yield (place, *way)


def _masks(step: Step) -> bool:
    key, value = step.operands[1:]
    return isinstance(key, np.ndarray) and key.dtype.kind == "b" and np.ndim(value) == 0


def _factor(step: Step, way: tuple[int, ...], tape: Tape) -> Array | None:
    vector = walk(step, way, tape)
    if np.shape(vector) != step.result.shape:
        return None  # a reshape lies on the way
    factor = step.result / vector
    if not np.isfinite(factor).all() and vector.any():
        factor = _product(step, way, tape)
    return factor if np.isfinite(factor).all() else None


def _product(step: Step, way: tuple[int, ...], tape: Tape) -> Array:
    """Return the product of the factors on a way, where a vector with zeros does not tell their ratio."""
    factor = np.ones(step.result.shape)
    for depth, place in enumerate(way):
        if step.name not in ("multiply", "divide"):
            return np.full(step.result.shape, np.nan)
        other = step.operands[1 - place]
        factor = factor * other if step.name == "multiply" else factor / other
        if depth + 1 < len(way):
            step = tape.steps[step.sources[place] or 0]
    return factor


def _superfluous(evidence: Evidence, tape: Tape, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield factors p (1 - p), times a number, left out: the derivative of a fused loss, applied twice (C6)."""
    first = group[0]
    for way in _ways_down(first, tape):
        factor = _factor(first, way, tape)
        if factor is None or not varies(factor):
            continue
        local = [Series(name, (array,)) for name, array in first.around.items() if array.shape == factor.shape]
        for series in (*of_shape(evidence, factor.shape)[0], *local):
            p = series.arrays[0]
            if p.min() <= 0 or p.max() >= 1:
                continue
            axis = next((a for a in range(p.ndim) if p.shape[a] > 1 and np.allclose(p.sum(axis=a), 1)), None)
            if axis is not None and alike(p, factor):
                yield _whole_softmax(group, way, p, axis, series.name)
                break
            ratio = factor / (p * (1 - p))
            number = float(ratio.flat[0])
            if np.ptp(ratio) > 1e-9 * abs(number):
                continue
            if axis is not None:
                yield _whole_softmax(group, way, p, axis, series.name)
            if evidence.outputs != 1:
                break
            sentence = (
                f"{first.place} multiplies by {series.name} * (1 - {series.name}), which the gradient of this loss "
                "holds already. Leave that factor out."
            )
            change = at(group, lambda step, run, way=way, c=number: c * walk(step, way, run))  # type: ignore[misc]
            yield Otherwise("C6", change, sentence, 0.3, "", site_of(group))
            break


def _without_softmax(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield the Jacobian of a softmax, where it is missing altogether (C1)."""
    for series in of_shape(evidence, group[0].result.shape)[0]:
        p = series.arrays[0]
        if len(group) > 1 or p.ndim == 0 or p.min() <= 0 or p.max() >= 1:
            continue
        axis = next((a for a in range(p.ndim) if p.shape[a] > 1 and np.allclose(p.sum(axis=a), 1)), None)
        if axis is not None:
            whole = _whole_softmax(group, (), p, axis, series.name)
            sentence = (
                f"The derivative of the softmax is missing in {group[0].place}. {whole.sentence.partition('. ')[2]}"
            )
            yield whole._replace(mistake="C1", sentence=sentence, doubt=0.35)


def _whole_softmax(group: Sequence[Step], way: tuple[int, ...], p: Array, axis: int, name: str) -> Otherwise:
    """Return the whole Jacobian of a softmax in the place of its diagonal."""

    def whole(step: Step, run: Tape) -> Array | None:
        try:
            v = walk(step, way, run) if way else step.result
        except LookupError:
            return None
        return np.asarray(p * (v - (p * v).sum(axis=axis, keepdims=True)))

    sentence = (
        f"{group[0].place} uses only the diagonal of the softmax's Jacobian. "
        f"Write {name} * (d - (d * {name}).sum(axis={axis}, keepdims=True)) for the gradient d."
    )
    return Otherwise("C6", at(group, whole), sentence, 0.25, "", site_of(group))
