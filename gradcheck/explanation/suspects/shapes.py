"""Suspicions of shape: the right numbers in the wrong order, slot or shape, or summed over the wrong axes. Level 3."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects import blocks, order, reductions, spatial
from gradcheck.explanation.suspects.candidate import Candidate
from gradcheck.explanation.suspects.factors import readings, tolerance
from gradcheck.explanation.suspects.scale import scaled
from gradcheck.explanation.suspects.words import gradients, is_are, number, plural
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

MOST_AXES = 5  # of arrays with more, no permutations are tried
SCALED = 0.7  # the doubt of two mistakes at once

Way = Callable[[Evidence, str, Array], Iterator[Candidate]]


class Found(NamedTuple):
    """A candidate that holds for one argument, with the factor that it needs besides."""

    path: str
    candidate: Candidate
    factor: float


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what another order, slot or sum explains: B1 to B5, F1, F3, F4."""
    given = {
        path: array.astype(np.float64)
        for path in evidence.wrong
        for array in (evidence.claimed.get(path, evidence.misshapen.get(path)),)
        if array is not None and array.dtype.kind == "f" and np.isfinite(array).all() and array.any()
    }
    multiples = {path for group in scaled(evidence) for path in group.paths}
    left = {path: array for path, array in given.items() if path not in multiples}
    for suspicion in _exchanged(evidence, left):
        for path in suspicion.arguments:
            del left[path]
        yield suspicion
    found = [each for path, array in left.items() for each in _reordered(evidence, path, array)]
    yield from _merged(found)
    others = [path for path in left if path not in {each.path for each in found}]
    reduced = [each for path in others for each in reductions.suspects(evidence, path, left[path])]
    told = {path for each in reduced for path in each.arguments}
    if len(told) == 1 or told >= {*others}:
        yield from reduced  # several, and others wrong in another way: what they have in common was wrong before
    for path in others:
        yield from spatial.shifted(evidence, path, left[path])


def _reordered(evidence: Evidence, path: str, array: Array) -> list[Found]:
    """Return the first candidate whose array is the true gradient; or, if none is, a multiple of it."""
    ways: tuple[Way, ...] = (
        _permuted,
        _reshaped,
        spatial.flipped,
        spatial.rolled,
        spatial.cropped,
        reductions.unsummed,
        blocks.interleaved,
        blocks.repeated,
        order.lined_up,
    )
    candidates = [each for way in ways for each in way(evidence, path, array)]
    for each in candidates:
        if evidence.is_true(path, each.repaired):
            return [Found(path, each, 1.0)]
    if evidence.point[path].size <= 3:
        return []
    for each in candidates:
        fitted = evidence.combine(path, [each.repaired])
        if fitted is not None and fitted[0]:
            factor, near = float(fitted[0]), tolerance(evidence, path)
            known = readings(evidence, abs(factor), near)
            if abs(abs(factor) - 1) <= near or (known and known[0].doubt <= 1):
                return [Found(path, each._replace(repaired=factor * each.repaired), factor)]
    return []


def _merged(found: list[Found]) -> Iterator[Suspicion]:
    """Yield one suspicion for all arguments to which the same has happened."""

    def what(each: Found) -> tuple[str, str, str, float]:
        return each.candidate.mistake, each.candidate.state, each.candidate.advice, round(each.factor, 6)

    for (mistake, state, advice, factor), group in itertools.groupby(sorted(found, key=what), key=what):
        each = list(group)
        paths = tuple(one.path for one in each)
        said = state.format(gradients=gradients(paths), are=is_are(paths), truth=plural(paths))
        besides = "" if factor == 1 else f", and {number(1 / factor)} times it besides"
        doubt = each[0].candidate.doubt + (0.0 if factor == 1 else SCALED)
        repaired = {one.path: one.candidate.repaired for one in each}
        yield Suspicion(mistake, paths, f"{said}{besides}. {advice}", repaired, doubt)


def _permuted(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    shape = evidence.point[path].shape
    if array.ndim != len(shape) or not 2 <= array.ndim <= MOST_AXES:
        return
    for axes in itertools.permutations(range(array.ndim)):
        if axes == tuple(range(array.ndim)) or tuple(array.shape[axis] for axis in axes) != shape:
            continue
        if array.ndim == 2:
            advice = "Transpose it, or exchange the two factors of its product."
            yield Candidate("B1", array.T, "{gradients} {are} the transpose of {truth}", advice, 0.2)
        elif array.ndim == 4 and axes in ((0, 1, 3, 2), (0, 2, 1, 3)):
            state = "{gradients} {are} {truth} with height and width exchanged"
            last = axes == (0, 1, 3, 2)
            yield Candidate("F4", array.transpose(axes), state, f"Swap axes {'2 and 3' if last else '1 and 2'}.", 0.2)
        else:
            state = "{gradients} {are} {truth} with its axes in another order"
            yield Candidate("B1", array.transpose(axes), state, f"Transpose by {axes}.", 0.3)


def _reshaped(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    shape = evidence.point[path].shape
    if array.shape == shape or array.size != math.prod(shape):
        return
    state = f"{{gradients}} {{are}} {{truth}} in the shape {array.shape} instead of {shape}"
    if [n for n in array.shape if n > 1] == [n for n in shape if n > 1]:
        advice = "Keep the axis of size one: keepdims=True where it sums." if array.ndim < len(shape) else "Reshape it."
        yield Candidate("B2", array.reshape(shape), state, advice, 0.2)
    else:
        yield Candidate("B1", array.reshape(shape), state, f"Reshape it to {path}.shape.", 0.3)
        yield Candidate("B1", array.T.reshape(shape), f"{state}, and transposed", "Transpose it, then reshape it.", 0.4)


def _exchanged(evidence: Evidence, given: dict[str, Array]) -> Iterator[Suspicion]:
    """Yield gradients that stand in each other's place: every one is right for another, whose own is wrong."""
    home: dict[str, tuple[str, Array, str]] = {}
    for path, array in given.items():
        for other in given:
            shape = evidence.point[other].shape
            forms = [(array, "")] if array.shape == shape else []
            forms += [(array.T, " transposed")] if array.ndim > 1 and array.T.shape == shape else []
            for form, how in forms if other != path else []:
                if path not in home and evidence.is_true(other, form):
                    home[path] = (other, form, how)
    while home:
        cycle = [next(iter(home))]
        while home.get(cycle[-1], ("",))[0] not in ("", *cycle):
            cycle.append(home[cycle[-1]][0])
        closed = home.get(cycle[-1], ("",))[0] == cycle[0]
        moved = {path: home.pop(path) for path in cycle if path in home}
        if not closed:
            continue
        paths = tuple(path for path in evidence.wrong if path in cycle)
        repaired = {other: form for other, form, _ in moved.values()}
        how = " too, transposed" if any(how for _, _, how in moved.values()) else ""
        where = "; ".join(f"d{path} holds the gradient of {moved[path][0]}" for path in paths)
        order = ", ".join(f"d{path}" for path in evidence.arguments.layout.paths)
        advice = f"Return them in the order of the arguments: {order}." if len(order) <= 60 else "Exchange them."
        yield Suspicion("B5", paths, f"{where}{how}. {advice}", repaired, 0.2)
