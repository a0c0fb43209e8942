"""Suspicions of scale: the claimed gradient is the true one times a number, or times an array in sight. Level 3.

The factor true / claimed is fitted to the slopes and then read: a sign, a size, a setting, a small constant. A number
that no size and no setting explains is named only where it is the same at another point, for another cotangent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.factors import (
    VAGUE,
    Reading,
    holds_elsewhere,
    masks,
    readings,
    tolerance,
)
from gradcheck.explanation.suspects.words import fraction, gradients, is_are, number, plural, times
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["scaled", "suspects"]

FEW = 2  # entries: so small a gradient is often a multiple of another by chance
UNREAD = 3.0  # the doubt of a constant that nothing in sight explains
ROUND = (1.0, 2.0, 5.0, 10.0, 0.1, 0.5, 100.0)  # norms that somebody scales a gradient to


class Scaled(NamedTuple):
    """Arguments whose claimed gradients are the true ones over one ``factor``, known to ``near``, relative."""

    paths: tuple[str, ...]
    factor: float
    near: float


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what a number or an array as a factor explains: A1 to A5, E5; and a term of the wrong sign."""
    explained: set[str] = set()
    for group in scaled(evidence):
        found = list(_of_group(evidence, group))
        explained.update(group.paths if found else ())
        yield from found
    left = [path for path in evidence.wrong if path in evidence.claimed and path not in explained]
    for path in left:
        for suspicion in _arrays(evidence, path) or _terms(evidence, path):
            yield suspicion
            explained.add(path)


def scaled(evidence: Evidence) -> list[Scaled]:
    """Return the wrong gradients that are a multiple of the true ones, in groups of one factor each."""
    return evidence.once("scaled", "", lambda _: _scaled(evidence))


def _scaled(evidence: Evidence) -> list[Scaled]:
    groups: list[Scaled] = []
    left = [path for path in evidence.wrong if path in evidence.claimed and evidence.claimed[path].any()]
    while left:
        path = left.pop(0)
        fitted = evidence.combine(path, [evidence.claimed[path]])
        near = tolerance(evidence, path)
        if fitted is None or near > VAGUE or fitted[0] == 0 or abs(float(fitted[0]) - 1) <= near:
            continue
        factor = float(fitted[0])
        if left and not groups and evidence.are_true({other: factor * evidence.claimed[other] for other in left}):
            return [Scaled((path, *left), factor, near)]  # the usual case, without probes of each
        for place, group in enumerate(groups):
            if abs(group.factor - factor) <= max(near, group.near) * abs(factor):
                sharp = group.factor if group.near <= near else factor
                groups[place] = Scaled((*group.paths, path), sharp, min(near, group.near))
                break
        else:
            groups.append(Scaled((path,), factor, near))
    return groups


def _of_group(evidence: Evidence, group: Scaled) -> Iterator[Suspicion]:
    paths, factor, near = group
    if _is_cotangent(evidence, factor, near) or any(_has_round_norm(evidence, path, factor) for path in paths):
        return
    small = max(evidence.point[path].size for path in paths) <= FEW
    if small and not holds_elsewhere(evidence, paths[0], factor, near):
        return
    if factor < 0:
        yield _of_sign(evidence, group)
        return
    found = readings(evidence, factor, near, paths)
    for reading in found:
        value = reading.value if factor > 1 else 1 / reading.value
        repaired = {path: value * evidence.claimed[path] for path in paths}
        sentence = _sentence(paths, factor, reading)
        of_weights = reading.mistake == "A4" and reading.what and _is_decay(evidence, paths)
        mistake = "D1" if of_weights else reading.mistake
        yield Suspicion(mistake, paths, sentence, repaired, reading.doubt, reading.otherwise)
    if not found and all(holds_elsewhere(evidence, path, factor, near) for path in paths):
        repaired = {path: factor * evidence.claimed[path] for path in paths}
        sentence = (
            f"{gradients(paths)} {is_are(paths)} {number(1 / factor)} times {plural(paths)} at every point. "
            f"Look for a constant factor; no size and no setting in sight equals it."
        )
        yield Suspicion("A4", paths, sentence, repaired, UNREAD)


def _is_decay(evidence: Evidence, paths: tuple[str, ...]) -> bool:
    """Whether the claims are nothing but multiples of the arguments themselves, as a regulariser's are."""
    if evidence.outputs != 1:
        return False
    ratios = [(evidence.claimed[path].ravel(), evidence.point[path].ravel()) for path in paths]
    return all(
        g.size > FEW and abs(abs(g @ w) - np.linalg.norm(g) * np.linalg.norm(w)) <= 1e-9 * abs(g @ w) for g, w in ratios
    )


def _of_sign(evidence: Evidence, group: Scaled) -> Suspicion:
    paths, factor, near = group
    if abs(factor + 1) <= near:
        sentence = f"{gradients(paths)} {is_are(paths)} {plural(paths)} with the wrong sign. Negate {_it(paths)}."
        return Suspicion("A1", paths, sentence, {path: -evidence.claimed[path] for path in paths})
    found = readings(evidence, -factor, near)
    what = f", and {found[0].what}" if found and found[0].what else ""
    sentence = (
        f"{gradients(paths)} {is_are(paths)} {plural(paths)} times {number(1 / factor)}{what}: "
        "the sign is wrong, and a factor too. Negate first, then check again."
    )
    repaired = {path: factor * evidence.claimed[path] for path in paths}
    doubt = 0.5 + found[0].doubt if found else UNREAD
    return Suspicion("A1", paths, sentence, repaired, doubt)


def _it(paths: Sequence[str]) -> str:
    return "it" if len(paths) == 1 else "them"


def _sentence(paths: tuple[str, ...], factor: float, reading: Reading) -> str:
    value = reading.value
    how = times(value) if factor < 1 else f"{fraction(value)} of" if value == round(value) else times(1 / value)
    what = f", and {reading.what}" if reading.what else ""
    return f"{gradients(paths)} {is_are(paths)} {how} {plural(paths)}{what}. {reading.advice}"


def _is_cotangent(evidence: Evidence, factor: float, near: float) -> bool:
    """Whether the factor is the cotangent of a single output: then it was ignored, which is no matter of scale."""
    if evidence.outputs != 1:
        return False
    cotangent = float(evidence.flat_cotangent[0])
    return abs(factor - cotangent) <= near * abs(cotangent)


def _has_round_norm(evidence: Evidence, path: str, factor: float) -> bool:
    """Whether a large gradient was scaled to a round norm: then it was clipped, which is no matter of scale."""
    norm = float(np.linalg.norm(evidence.claimed[path]))
    known = (*ROUND, *(abs(v) for v in evidence.numbers.values() if v))
    return any(abs(norm - value) <= 1e-9 * value for value in known) and factor > 0


def _arrays(evidence: Evidence, path: str) -> list[Suspicion]:
    """Return what a factor for each channel, or a mask, explains."""
    claimed = evidence.claimed[path]
    if claimed.size <= FEW or not claimed.any():
        return []
    dropped = masks(evidence)
    found = [each for name, mask in dropped.items() for each in _masked(evidence, path, name, mask)]
    if found:
        return [min(found, key=lambda each: each.doubt)]
    arguments = evidence.arguments.names
    for name, array in evidence.at_hand.items():
        if not name.startswith(arguments):
            continue  # what depends on the data is no coefficient
        for coefficients in () if name in dropped else _along_an_axis(array, claimed.shape):
            for factor_array, verb in ((coefficients, "Multiply"), (1 / coefficients, "Divide")):
                if evidence.is_true(path, claimed * factor_array):
                    how = "lacks the factor" if verb == "Multiply" else "has the factor"
                    much = "" if verb == "Multiply" else " once too often"
                    sentence = f"d{path} {how} {name}{much}, one number for each slice. {verb} d{path} by {name}."
                    return [Suspicion("A5", (path,), sentence, {path: claimed * factor_array}, 0.4)]
                if evidence.is_true(path, claimed * factor_array**2):
                    how = "divided" if verb == "Multiply" else "multiplied"
                    sentence = f"d{path} is {how} by {name}, one number for each slice. {verb} by it instead."
                    return [Suspicion("A5", (path,), sentence, {path: claimed * factor_array**2}, 0.5)]
    return []


def _masked(evidence: Evidence, path: str, name: str, mask: Array) -> Iterator[Suspicion]:
    """Yield what a mask that was not applied, with its scale or without, explains."""
    shaped = _mask_for(evidence, path, name, mask)
    fitted = None if shaped is None else evidence.combine(path, [evidence.claimed[path] * shaped])
    if shaped is None or fitted is None:
        return
    factor, near = float(fitted[0]), tolerance(evidence, path)
    repaired = {path: factor * evidence.claimed[path] * shaped}
    if abs(factor - 1) <= near:
        sentence = f"d{path} lacks the factor {name}, the mask of a dropout. Multiply d{path} by {name}."
        yield Suspicion("E5", (path,), sentence, repaired, 0.3)
    elif any(reading.mistake == "E5" for reading in readings(evidence, abs(factor), near)):
        sentence = f"d{path} lacks {name}, the mask of a dropout, and its scale {number(factor)}. Multiply by both."
        yield Suspicion("E5", (path,), sentence, repaired, 0.4)


def _mask_for(evidence: Evidence, path: str, name: str, mask: Array) -> Array | None:
    """Return the mask of samples in the gradient's shape; None if it is none, as a table of connections is not."""
    shape = evidence.point[path].shape
    if mask.shape != shape and not (
        mask.ndim == len(shape) and all(m in (1, n) for m, n in zip(mask.shape, shape, strict=True))
    ):
        return None
    batch = batch_of(evidence)
    is_argument = not name.startswith("cache")
    if is_argument and not (batch and (name in batch.axes or path in batch.axes)):
        return None
    return np.broadcast_to(mask, shape)


def _along_an_axis(array: Array, shape: tuple[int, ...]) -> Iterator[Array]:
    """Yield ``array``, various numbers other than 0, as factors along one axis of an array of ``shape``."""
    values = array.astype(np.float64)
    if values.size < 2 or values.size == math.prod(shape) or max(array.shape) != array.size:
        return
    if not values.all() or np.ptp(values) <= 1e-9 * float(np.abs(values).max()):
        return
    for axis, size in enumerate(shape):
        if size == values.size:
            yield values.reshape([-1 if axis == other else 1 for other in range(len(shape))])


def _terms(evidence: Evidence, path: str) -> list[Suspicion]:
    """Return which term of two, an array in sight, has the wrong sign or is missing."""
    claimed = evidence.claimed[path]
    if claimed.size <= FEW + 1:
        return []
    unit = evidence.flat_cotangent[0] if evidence.outputs == 1 else 1.0
    for name, term in evidence.at_hand.items():
        if term.shape != claimed.shape or term.dtype.kind == "b" or not term.any() or name == path:
            continue
        fitted = evidence.combine(path, [claimed, term])
        near = tolerance(evidence, path)
        if fitted is None or abs(fitted[0] - 1) > 10 * near or unit == 0:
            continue
        of_output = name == "dout" or unit == 1.0
        share = float(fitted[1]) / (1.0 if of_output else float(unit))
        repaired = {path: claimed + float(fitted[1]) * term}
        said = name if of_output else f"dout * {name}"
        if abs(abs(share) - 2) <= 20 * near:
            apart = "If the term is twice that array, it may be missing instead."
            sentence = f"The term {said} has the wrong sign in d{path}. {'Add' if share > 0 else 'Subtract'} it."
            return [Suspicion("A1", (path,), sentence, repaired, 1.0, apart)]
        if abs(abs(share) - 1) <= 10 * near:
            verb = "Add" if share > 0 else "Subtract"
            sentence = (
                f"The term {said}, with the sign {'+' if share > 0 else '-'}, is missing from d{path}. {verb} it."
            )
            return [Suspicion("C8", (path,), sentence, repaired, 1.0)] if share > 0 or of_output else []
    return []
