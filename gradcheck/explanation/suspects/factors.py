"""What a factor between the true and the claimed gradient may stand for: sizes, settings, small constants. Level 3."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import ROUNDINGS, Evidence
from gradcheck.explanation.suspects.batches import Batch, batch_of
from gradcheck.explanation.suspects.words import number
from gradcheck.oracles.difference import central_difference
from gradcheck.pairing import Pairing
from gradcheck.trees import Array

__all__ = ["Reading", "holds_elsewhere", "masks", "readings", "tolerance"]

NEAR = 1e-6  # relative: how well a factor has to equal what it is read as
VAGUE = 1e-3  # where factors are measured no better than this, none is read
RIVAL = 0.6  # the doubt of a reading that others contradict: then the source has to decide
FURTHER = 0.5  # readings that are so much more doubtful than the best are left out
SIZED = 0.75  # the doubt of a size above which a plain constant is as likely
PLAIN = (3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 1.5, 4 / 3, 100.0, 1000.0)  # constants read where nothing better is
STEP = 0.1  # how far another point is, relative to the arguments


class Reading(NamedTuple):
    """What a factor stands for.

    Attributes:
        mistake: the id in the catalogue.
        value: the number that it is, or whose inverse it is; positive.
        what: a clause that says what the number is: ``5 is x.shape[0], the batch``; "" for a plain constant.
        advice: a sentence that says what to do.
        doubt: how far-fetched it is.
        otherwise: which input would tell it from the other readings.
    """

    mistake: str
    value: float
    what: str
    advice: str
    doubt: float
    otherwise: str = ""


def tolerance(evidence: Evidence, path: str) -> float:
    """Return how well a factor fitted to the slopes of one argument is known, relative; at least ``NEAR``."""
    _, values, errors = evidence.slopes(path)
    dtype = evidence.arguments.layout.dtypes[evidence.leaf_of[path]]
    unit = float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7
    size = float(np.sqrt(np.mean(values**2)))
    return max(NEAR, ROUNDINGS * unit, 4 * float(np.max(errors)) / size if size else math.inf)


def readings(evidence: Evidence, factor: float, near: float, paths: Sequence[str] = ()) -> list[Reading]:
    """Return what ``factor`` = true / claimed, positive, may stand for: one reading a class, the simplest first.

    ``paths`` are the arguments that have it: nothing was averaged over an axis that all of them still have.
    """
    if not math.isfinite(factor) or factor <= 0 or near > VAGUE:
        return []
    small = factor > 1  # the claim is too small
    value = factor if small else 1 / factor
    batch = batch_of(evidence)
    found: list[Reading] = []
    for candidate in itertools.chain(
        _sizes(evidence, batch, value, near, small, paths), _constants(value, near, small)
    ):
        if not any(candidate.mistake == old.mistake for old in found):
            found.append(candidate)
    found += _settings(evidence, factor, near, sized=any(each.mistake in ("A2", "A3") for each in found))
    if not any(each.mistake != "A2" or each.doubt <= SIZED for each in found):
        found += _plain(value, near, small)
    found.sort(key=lambda reading: reading.doubt)
    found = [each for each in found if each.doubt <= found[0].doubt + FURTHER]
    best = {each.mistake: each for each in reversed(found)}
    rivals = sorted(best.values(), key=lambda reading: reading.doubt)
    if len(rivals) == 1:
        return rivals
    apart = _apart(value, rivals, batch)
    return [
        each._replace(doubt=max(each.doubt, RIVAL + 0.1 * rank), otherwise=apart) for rank, each in enumerate(rivals)
    ]


def _apart(value: float, rivals: list[Reading], batch: Batch | None) -> str:
    if {each.mistake for each in rivals} == {"A2", "A3"}:
        return "Whether the forward sums or averages over the batch tells them apart."
    if batch and abs(batch.size - value) <= NEAR * value:
        return f"A batch of {batch.size + 1} tells them apart."
    return f"Sizes other than {number(value)} tell them apart."


def _sizes(
    evidence: Evidence, batch: Batch | None, value: float, near: float, small: bool, paths: Sequence[str]
) -> Iterator[Reading]:
    """Yield readings as the batch, and as a product of sizes of one array, simplest first."""
    if batch and abs(batch.size - value) <= near * value:
        said = f"{batch.name}, the batch"
        yield from _of_batch(evidence, batch, batch.size, said, "the batch size", 0.3, small)
        return
    if abs(value - round(value)) > near * value:
        yield from _roots(evidence, value, near, small)
        return
    value = float(round(value))
    yield from _windows(evidence, value, small)
    products = sorted(
        _products(evidence, value, near), key=lambda product: (product[0].startswith("cache"), len(product[1]))
    )
    for name, axes, ndim in products:
        shape = dict(evidence.at_hand)[name].shape
        said = " * ".join(f"{name}.shape[{axis}]" for axis in axes)
        doubt = 0.5 + 0.3 * len(axes)
        if batch and any(shape[axis] == batch.size and axis in (0, ndim - 1, 1) for axis in axes):
            yield from _of_batch(evidence, batch, value, said, "their number", 0.4, small)
        elif ndim >= 3 and len(axes) >= 2 and set(axes) >= {ndim - 2, ndim - 1}:
            advice = f"{'Multiply' if small else 'Divide'} by {said}." if evidence.outputs > 1 else _undo(said, small)
            yield Reading("A5", value, f"{number(value)} is {said}, the area", advice, doubt - 0.4)
        elif len(axes) == 1 or (ndim == 2 and len(axes) == 2):
            if ndim == 4 and axes[0] >= 2:
                continue  # one side of an image is no number that anything is divided by
            kept = paths and all(value in evidence.point[path].shape for path in paths)
            if kept and not (evidence.outputs == 1 and {*paths} == {*evidence.point}):  # a loss averages over all
                continue
            advice = f"Sum over {said} entries instead of averaging." if small else f"Divide by {said}."
            whole = evidence.outputs == 1 and {*paths} == {*evidence.point}
            more = 0.0 if small or whole else 0.4  # one gradient alone is seldom multiplied by a size
            yield Reading("A2", value, f"{number(value)} is {said}", advice, doubt + more)
            if small and batch is None and evidence.outputs == 1 and axes == (0,):
                yield Reading("A3", value, f"{number(value)} is {said}", _undo(said, small), doubt + 0.2)


def _roots(evidence: Evidence, value: float, near: float, small: bool) -> Iterator[Reading]:
    """Yield the reading as the root of a size, by which scores are divided."""
    for name, size in evidence.sizes.items():
        if abs(math.sqrt(size) - value) <= near * value:
            said = f"the root of {name}"
            advice = f"{'Multiply' if small else 'Divide'} by {said}."
            yield Reading("A4", value, f"{number(value)} is {said}", advice, 0.8)
            return


def _windows(evidence: Evidence, value: float, small: bool) -> Iterator[Reading]:
    """Yield readings as the area of a window: of an image over that of the output, or a product of two settings."""
    images = [array.shape for array in evidence.at_hand.values() if array.ndim == 4]
    outs = [np.shape(leaf) for leaf in (evidence.out,) if np.ndim(leaf) == 4]
    advice = f"{'Multiply' if small else 'Divide'} by the area of the window."
    for image, out in itertools.product(images, outs):
        area = image[2] * image[3] / (out[2] * out[3])
        if value > 1 and value in (area, area**2):
            ratio = f"{image[2] // out[2]} * {image[3] // out[3]}"
            said = f"{ratio}, the window" if value == area else f"({ratio})², the window squared"
            yield Reading("A5", value, f"{number(value)} is {said}", advice, 0.35)
            return
    whole = {name: v for name, v in evidence.numbers.items() if v == int(v) and v > 1}
    for (one, v), (two, w) in itertools.combinations(whole.items(), 2):
        if v * w == value:
            yield Reading("A5", value, f"{number(value)} is {one} * {two}", advice, 0.6)
            return


def _undo(said: str, small: bool) -> str:
    return f"Remove one division by {said}." if small else f"Divide by {said}."


def _products(evidence: Evidence, value: float, near: float) -> Iterator[tuple[str, tuple[int, ...], int]]:
    for name, array in evidence.at_hand.items():
        axes = [axis for axis, size in enumerate(array.shape) if size > 1]
        for count in range(1, min(len(axes), 4) + 1):
            for chosen in itertools.combinations(axes, count):
                if abs(math.prod(array.shape[axis] for axis in chosen) - value) <= near * value:
                    yield name, chosen, array.ndim


def _of_batch(
    evidence: Evidence, batch: Batch, value: float, said: str, short: str, doubt: float, small: bool
) -> Iterator[Reading]:
    what = f"{number(value)} is {said}"
    if not small and batch.over == "mean":
        yield Reading("A2", value, what, f"Divide by {short}, as the forward does.", doubt)
    elif not small:
        yield Reading("A2", value, what, f"Do not multiply by {short}: the forward does not average.", doubt + 0.3)
    elif batch.over == "mean":
        if all(_is_line(evidence.point[path]) and path not in batch.axes for path in evidence.wrong):
            yield Reading("A2", value, what, "Sum over the batch instead of averaging once more.", doubt)
            doubt += 0.05
        yield Reading("A3", value, what, f"Remove one division by {short}.", doubt)
    else:
        yield Reading("A2", value, what, f"Remove the division by {short}: the forward does not average.", doubt)


def _is_line(array: Array) -> bool:
    """Whether an array is a bias, as far as its shape tells: a sum over the samples, and no product with them."""
    return bool(array.ndim and max(array.shape) == array.size)


def _constants(value: float, near: float, small: bool) -> Iterator[Reading]:
    if abs(value - 2) <= 2 * near:
        yield Reading("A4", 2.0, "", "Multiply by 2." if small else "Remove the factor 2.", 0.4)


def _plain(value: float, near: float, small: bool) -> Iterator[Reading]:
    for constant in PLAIN:
        if abs(value - constant) <= near * constant:
            said = number(constant)
            yield Reading("A4", constant, "", f"Multiply by {said}." if small else f"Remove the factor {said}.", 1.0)
            return


def _settings(evidence: Evidence, factor: float, near: float, *, sized: bool) -> Iterator[Reading]:
    """Yield readings as a plain number in sight (none that is a size), its square, or one minus it."""
    dropped = bool(masks(evidence))
    for name, setting in evidence.numbers.items():
        v = abs(setting)
        if dropped and v < 1 and not _is_setting(evidence, name):
            continue
        if v in (0.0, 1.0) or not math.isfinite(v):
            continue
        whole = v == int(v)
        forms = [] if sized and (whole or abs(1 / v - round(1 / v)) <= near / v) else [(v, name)]
        if whole:
            forms.append((v * v, f"{name}²"))
        elif v < 1:
            forms.append((1 - v, f"1 - {name}"))
        for form, said in forms:
            value = form if abs(factor - form) <= near * form else 1 / form
            if abs(factor - value) > near * value or abs(form - 2) <= 2 * near:
                continue
            advice = f"{'Multiply' if value == form else 'Divide'} by {said}."
            mistake = "A5" if whole else "E5" if dropped and v < 1 else "A4"
            yield Reading(mistake, factor if factor > 1 else 1 / factor, f"{number(form)} is {said}", advice, 0.5)


def _is_setting(evidence: Evidence, name: str) -> bool:
    """Whether a plain number is the same at another point: no result, such as one probability of many."""

    def elsewhere(_: str) -> dict[str, float]:
        point = evidence.arguments.point
        moved = evidence.arguments.moved(point + STEP * np.abs(point))
        try:
            return replace(evidence, arguments=moved, _kept={}).numbers
        except Exception:  # noqa: BLE001  (the forward may refuse another point; then nothing is known)
            return dict(evidence.numbers)

    return evidence.once("numbers elsewhere", "", elsewhere).get(name) == evidence.numbers[name]


def masks(evidence: Evidence) -> dict[str, Array]:
    """Return the masks of a dropout among what is at hand: arrays of zeros and one other value.

    A mask that says where another array is positive is none: it is one of a ReLU.
    """
    return evidence.once("masks", "", lambda _: dict(_masks(evidence)))


def _masks(evidence: Evidence) -> Iterator[tuple[str, Array]]:
    for name, array in evidence.at_hand.items():
        kept = array != 0
        if array.ndim == 0 or array.dtype.kind in "iu" or kept.all() or not kept.any():
            continue
        values = np.unique(array[kept])
        if len(values) != 1 or values[0] < 1:
            continue
        if not any(_is_support(kept, other) for key, other in evidence.at_hand.items() if key != name):
            yield name, array.astype(np.float64)


def _is_support(kept: Array, other: Array) -> bool:
    """Whether ``kept`` tells where another array of various numbers is positive."""
    if other.shape != kept.shape or other.dtype.kind == "b" or len(np.unique(other)) <= 2:
        return False
    return bool(np.array_equal(kept, other > 0) or np.array_equal(kept, other >= 0))


def holds_elsewhere(evidence: Evidence, path: str, factor: float, near: float) -> bool:
    """Whether ``factor`` = true / claimed is the same at another point for another cotangent: a constant indeed.

    Costs two slopes.
    """
    return evidence.once(f"elsewhere {factor!r}", path, lambda _: _holds_elsewhere(evidence, path, factor, near))


def _holds_elsewhere(evidence: Evidence, path: str, factor: float, near: float) -> bool:
    arguments = evidence.arguments
    point = arguments.point
    size = float(np.sqrt(np.mean(point**2))) or 1.0
    moved = arguments.moved(point + STEP * size * evidence.rng.standard_normal(point.size))
    there = replace(evidence, arguments=moved, _kept={})
    try:
        cotangent = next(evidence.cotangents([evidence.rng.standard_normal(evidence.outputs)]))
        claimed = there.pull(cotangent).get(path)
        pairing = Pairing.at_point(evidence.forward, moved, cotangent)
        pushforward = central_difference(pairing, moved.point)
    except Exception:  # noqa: BLE001  (the user's code may refuse another point; then nothing is known)
        return False
    if claimed is None or not np.isfinite(claimed).all():
        return False
    for _ in range(2):
        tangent = np.asarray(evidence.rng.standard_normal(claimed.shape))
        evidence.spent[0] += 1
        estimate = pushforward(evidence.embedded(path, tangent))
        expected = factor * float((claimed * tangent).sum())
        allowed = 4 * float(estimate.error) + near * max(abs(expected), abs(float(estimate.value)))
        if not abs(expected - float(estimate.value)) <= allowed:
            return False
    return True
