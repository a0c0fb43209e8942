"""What stands in the place of a derivative: another function, or the same one at another argument. Level 3."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.sight import Activation, Function, Series, Shelf, activations, alike, sight
from gradcheck.trees import Array

__all__ = ["Reading", "of_shape", "read"]


class Reading(NamedTuple):
    """What stands in the place of a derivative."""

    mistake: str
    found: str
    doubt: float
    apart: str = ""


def read(evidence: Evidence, factor: Array, activation: Activation, slope: Array, vector: Array) -> Reading:
    """Return what a wrong factor is: the same derivative elsewhere (C2), of another layer (C4), or another (C3)."""
    function = activation.function
    if set(np.unique(factor)) <= {0.0, 1.0} and alike(factor, 1.0 * (vector > 0)):
        return Reading("C2", "the mask of the gradient's own sign", 0.4)
    made, shelf = _derivatives(evidence, function, factor.shape)
    for place in shelf.of(factor):
        series, of_output = made[place]
        if _other_layer(evidence, activation, series, of_output=of_output):
            return Reading("C4", f"the derivative at {series.name}, another layer's,", 0.5)
        text = function.said.format(z=series.name, a=series.name)
        return Reading("C2", f"{text}, the wrong argument,", 0.4)
    seen, shelf = of_shape(evidence, factor.shape)
    if factor.shape == slope.shape:
        for series in (seen[place] for place in shelf.of(slope - factor)):
            if np.ptp(series.arrays[0]):
                return Reading("C8", f"one term of the product rule, without {series.name},", 0.4)
    if function.of_output is not None and _nested(evidence, activation, factor.shape).of(factor):
        return Reading("C2", f"the derivative at the {function.name} of its argument", 0.4)
    return Reading("C3", "something else", 0.5)


def _derivatives(
    evidence: Evidence, function: Function, shape: tuple[int, ...]
) -> tuple[list[tuple[Series, bool]], Shelf]:
    """Return the derivative at every array in sight of a shape, taken for the input and for the output."""

    def made(_: str) -> tuple[list[tuple[Series, bool]], Shelf]:
        found = [
            ((series, slope is function.of_output), np.asarray(slope(array), dtype=np.float64))
            for series in of_shape(evidence, shape)[0]
            for array in series.arrays
            for slope in (function.slope, function.of_output)
            if slope is not None
        ]
        return [each for each, _ in found], Shelf([array for _, array in found])

    return evidence.once(f"derivatives of {function.name}", str(shape), made)


def _nested(evidence: Evidence, activation: Activation, shape: tuple[int, ...]) -> Shelf:
    """Return the derivative at the value of the function, where its input and its output lie."""
    function = activation.function

    def made(_: str) -> Shelf:
        every = (*activation.z.arrays, *activation.a.arrays)
        return Shelf([function.slope(function.value(z)) for z in every if z.shape == shape])

    return evidence.once(f"nested {id(activation)}", str(shape), made)


def of_shape(evidence: Evidence, shape: tuple[int, ...]) -> tuple[list[Series], Shelf]:
    """Return what is in sight of a shape, and the first array of each."""

    def made(_: str) -> tuple[list[Series], Shelf]:
        found = [series for series in sight(evidence) if series.shape == shape]
        return found, Shelf([series.arrays[0] for series in found])

    return evidence.once("of shape", str(shape), made)


def _other_layer(evidence: Evidence, activation: Activation, series: Series, *, of_output: bool) -> bool:
    """Whether ``series`` plays the part in another activation that it was given here."""
    own = (activation.z, activation.a)
    if any(alike(series.arrays[0], each.arrays[0]) for each in own if each.shape == series.shape):
        return False
    for other in activations(evidence):
        part = other.a if of_output else other.z
        if other.function.name == activation.function.name and part.shape == series.shape:
            nested = any(alike(other.z.arrays[0], each.arrays[0]) for each in own if each.shape == other.z.shape)
            if not nested and alike(part.arrays[0], series.arrays[0]):
                return True
    return False
