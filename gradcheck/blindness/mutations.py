"""Right gradients turned into wrong ones, as far as that can be done to the arrays alone. Level 3.

The opposite direction of ``suspects``: a check that passes is tried on these, and a mistake that changes nothing is
one that the inputs cannot reveal. Classes that live inside the backward, such as the derivative of an activation, are
not among them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.factors import masks
from gradcheck.trees import Array

__all__ = ["mutations"]

Gradients = Mapping[str, Array]
Mutation = tuple[str, str, dict[str, Array]]

LIMIT = 1.0  # what somebody clips a gradient at


def mutations(gradients: Gradients, evidence: Evidence) -> Iterator[Mutation]:
    """Yield (id of the mistake, what was done, the wrong gradients) for right ``gradients``, by path in float64.

    A mutation is yielded even where it changes nothing on these inputs: a batch of one divided by its size, a
    symmetric matrix transposed. What needs an input that is not there (a mask, a setting, two equal shapes) is not.
    """
    for family in (_scaled, _reordered, _reduced, _exchanged, _decayed, _masked, _placed, _numeric):
        yield from family(gradients, evidence)


def _each(gradients: Gradients, mistake: str, done: str, change: Callable[[Array], Array]) -> Iterator[Mutation]:
    """Yield one mutation for each argument; ``done`` is said of ``d`` and its path."""
    for path, gradient in gradients.items():
        yield mistake, f"d{path} {done}", {**gradients, path: change(gradient)}


def _all(gradients: Gradients, mistake: str, done: str, change: Callable[[Array], Array]) -> Mutation:
    return mistake, f"every gradient {done}", {path: change(gradient) for path, gradient in gradients.items()}


def _scaled(gradients: Gradients, evidence: Evidence) -> Iterator[Mutation]:
    yield _all(gradients, "A1", "negated", np.negative)
    yield from _each(gradients, "A1", "negated", np.negative)
    size, name, over = _batch(gradients, evidence)
    if over != "mean":
        yield from _each(gradients, "A2", f"divided by {name}", lambda g: g / size)
    else:
        yield from _each(gradients, "A2", f"multiplied by {name}", lambda g: g * size)
        yield _all(gradients, "A3", f"divided by {name} once more", lambda g: g / size)
    yield from _each(gradients, "A4", "doubled", lambda g: 2 * g)
    yield from _each(gradients, "A4", "halved", lambda g: g / 2)
    for name, setting in evidence.numbers.items():
        if setting >= 1 and setting == int(setting):
            area = setting * setting
            for path, gradient in gradients.items():
                yield "A5", f"d{path} divided by {name}²", {**gradients, path: gradient / area}
    for name, array in evidence.point.items():
        for path, gradient in gradients.items():
            if array.ndim == 1 and path != name and gradient.ndim > 1 and array.all() and array.size in gradient.shape:
                axis = gradient.shape.index(array.size)
                along = array.reshape([-1 if axis == other else 1 for other in range(gradient.ndim)])
                yield "A5", f"d{path} divided by {name} along axis {axis}", {**gradients, path: gradient / along}


def _batch(gradients: Gradients, evidence: Evidence) -> tuple[int, str, str]:
    """Return the size of the batch, its name and what is done over it; a batch of one looks like the first axis."""
    batch = batch_of(evidence)
    if batch:
        return batch.size, batch.name, batch.over
    path, first = next(((path, g) for path, g in gradients.items() if g.ndim), (next(iter(gradients)), np.zeros(1)))
    return first.shape[0], f"{path}.shape[0]", "sum"


def _reordered(gradients: Gradients, _evidence: Evidence) -> Iterator[Mutation]:
    for path, gradient in gradients.items():
        if gradient.ndim == 2:
            yield "B1", f"d{path} transposed", {**gradients, path: gradient.T}
        if gradient.ndim > 2:
            yield "B1", f"the first two axes of d{path} exchanged", {**gradients, path: gradient.swapaxes(0, 1)}
        if gradient.ndim and 1 in gradient.shape:
            yield "B2", f"the axes of size one of d{path} lost", {**gradients, path: gradient.squeeze()}


def _reduced(gradients: Gradients, evidence: Evidence) -> Iterator[Mutation]:
    size, name, _ = _batch(gradients, evidence)
    batch = batch_of(evidence)
    for path, gradient in gradients.items():
        if gradient.ndim and max(gradient.shape) == gradient.size:
            if not (batch and path in batch.axes):
                share = np.linspace(1.0, 2.0, size) / np.linspace(1.0, 2.0, size).sum()
                unsummed = share.reshape([-1] + [1] * gradient.ndim) * gradient
                yield "B3", f"d{path} not summed over {name}", {**gradients, path: unsummed}
            whole = np.full_like(gradient, gradient.sum())
            yield "B4", f"d{path} summed over everything", {**gradients, path: whole}


def _exchanged(gradients: Gradients, _evidence: Evidence) -> Iterator[Mutation]:
    for one, two in itertools.combinations(gradients, 2):
        if gradients[one].shape == gradients[two].shape:
            swapped = {**gradients, one: gradients[two], two: gradients[one]}
            yield "B5", f"d{one} and d{two} exchanged", swapped


def _decayed(gradients: Gradients, evidence: Evidence) -> Iterator[Mutation]:
    if evidence.outputs != 1:
        return
    cotangent = float(evidence.flat_cotangent[0])
    for name, setting in evidence.numbers.items():
        if setting < 0 or (setting == int(setting) and setting):
            continue
        for path, gradient in gradients.items():
            decay = cotangent * setting * evidence.point[path]
            bias = decay.size == max(decay.shape, default=1)
            for mistake, done, times in (("D2", "added to", 1),) if bias else (
                ("D1", "missing from", -1), ("D1", "twice in", 1), ("D1", "negated in", -2)
            ):  # fmt: skip
                said = f"{name} * {path} {done} d{path}"
                yield mistake, said, {**gradients, path: gradient + times * decay}


def _masked(gradients: Gradients, evidence: Evidence) -> Iterator[Mutation]:
    for name, mask in masks(evidence).items():
        for path, gradient in gradients.items():
            if mask.shape == gradient.shape:
                filled = gradient + (mask == 0) * _typical(gradient)
                yield "E5", f"d{path} without the mask {name}", {**gradients, path: filled}
                yield "E5", f"d{path} without the scale of {name}", {**gradients, path: gradient / mask.max()}


def _typical(gradient: Array) -> float:
    return float(np.sqrt(np.mean(gradient**2)))


def _placed(gradients: Gradients, _evidence: Evidence) -> Iterator[Mutation]:
    for path, gradient in gradients.items():
        if gradient.ndim == 4:
            places = (2, 3)
            yield "F1", f"d{path} turned by 180°", {**gradients, path: np.flip(gradient, places)}
            yield "F3", f"d{path} shifted by one place", {**gradients, path: np.roll(gradient, (1, 1), places)}
            yield "F4", f"height and width of d{path} exchanged", {**gradients, path: gradient.swapaxes(2, 3)}


def _numeric(gradients: Gradients, evidence: Evidence) -> Iterator[Mutation]:
    yield from _each(gradients, "C8", "set to zero", np.zeros_like)
    yield from _each(gradients, "E2", "accumulated over two calls", lambda g: g + g)
    yield from _each(gradients, "G4", f"clipped at {LIMIT:g}", lambda g: np.clip(g, -LIMIT, LIMIT))
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    scale = min(1.0, LIMIT / norm) if norm else 1.0
    yield _all(gradients, "G4", f"scaled to a norm of at most {LIMIT:g}", lambda g: g * scale)
    yield from _each(gradients, "H3", "cut to whole numbers", np.trunc)
    yield from _each(gradients, "H3", "rounded to float16", lambda g: g.astype(np.float16).astype(np.float64))
    ones = next(evidence.cotangents([np.ones(evidence.outputs)]))
    yield "C5", "every gradient for a cotangent of ones", {**gradients, **evidence.pull(ones)}
    for path, gradient in gradients.items():
        if gradient.ndim and len(gradient) > 1:
            lost = gradient.copy()
            lost[-1] = 0.0
            yield "E1", f"the last row of d{path} lost", {**gradients, path: lost}
