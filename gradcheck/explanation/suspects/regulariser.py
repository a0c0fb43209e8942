"""Suspicions about a regulariser: the claimed gradient of a loss is off by a multiple of the weights. Level 3."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects import single
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.factors import VAGUE, readings, tolerance
from gradcheck.explanation.suspects.scale import scaled
from gradcheck.explanation.suspects.sight import forward_steps
from gradcheck.explanation.suspects.words import gradients, is_are, number, plural
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

MULTIPLES = (1.0, 2.0, 0.5)  # of a setting, that a missing or doubled term leaves
NEAR = 1e-5  # relative: a coefficient of a small term is known less well than that of the whole
FEW = 3  # entries: in so small a gradient terms are told apart by chance
LOOSE = 1e-2  # where it is known no better, nothing is read


class Share(NamedTuple):
    """True = ``factor`` · claimed + ``share`` · cotangent · argument; ``near`` is how well the share is known."""

    path: str
    factor: float
    share: float
    near: float


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what a multiple of the argument itself explains: D1, D2; C5 and scale where one of two parts is wrong."""
    if evidence.outputs != 1 or not evidence.flat_cotangent[0]:
        return
    yield from _of_absolute(evidence)
    found = [share for path in evidence.wrong for share in _share(evidence, path)]
    plain = [share for share in found if abs(share.factor - 1) <= VAGUE]
    explained: set[str] = set()
    for group in _groups(plain):
        for suspicion in _of_term(evidence, group):
            explained.update(suspicion.arguments)
            yield suspicion
    scaled_parts = [share for share in found if share not in plain and share.path not in explained]
    for group in _groups(scaled_parts):
        yield from _of_data(evidence, group)


def _share(evidence: Evidence, path: str) -> Iterator[Share]:
    if path not in evidence.claimed or not evidence.claimed[path].any() or not evidence.point[path].any():
        return
    claimed, weights = evidence.claimed[path], evidence.point[path]
    near = tolerance(evidence, path)
    if near <= VAGUE and claimed.size == 1:
        share = single.multiple(evidence, path)
        if share is not None:
            yield Share(path, 1.0, share[0] / float(evidence.flat_cotangent[0]), max(share[1], NEAR))
        return
    if near > VAGUE or evidence.combine(path, [claimed]) is not None:
        return
    fitted = evidence.combine(path, [claimed, weights])
    if fitted is None or not fitted[1]:
        return
    tangents, values, errors = evidence.slopes(path)
    size = float((values**2).mean()) ** 0.5
    term = abs(float(fitted[1])) * float(((tangents @ weights.ravel()) ** 2).mean()) ** 0.5
    own = max(1e-9 * size, 4 * float(errors.max())) / term if term else math.inf
    whole = max(1e-9, 4 * float(errors.max()) / size)
    factor = 1.0 if abs(fitted[0] - 1) <= max(10 * near, whole) else float(fitted[0])
    if max(own, NEAR) <= LOOSE:
        yield Share(path, factor, float(fitted[1]) / float(evidence.flat_cotangent[0]), max(own, NEAR))


def _of_absolute(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield a regulariser |w| whose gradient, a multiple of sign(w), is missing or stands there as that of w²."""
    if not {step.name for step in forward_steps(evidence)} & {"abs", "absolute"}:
        return
    for path in evidence.wrong:
        claimed, weights = evidence.claimed.get(path), evidence.point[path]
        if claimed is None or not claimed.any() or weights.size <= FEW:
            continue
        sign = np.sign(weights)
        for terms in ([claimed, sign], [claimed, sign, weights]):
            fitted = evidence.combine(path, terms)
            if fitted is None or abs(fitted[0] - 1) > NEAR:
                continue
            share = float(fitted[1]) / float(evidence.flat_cotangent[0])
            taken = 0.0 if len(terms) == 2 else -float(fitted[2] / fitted[1])
            if share <= 0 or (len(terms) == 3 and min(abs(taken - 1), abs(taken - 2)) > LOOSE):
                continue
            instead = f", and has {number(taken * share)} * {path} in its place" if taken else ""
            sentence = (
                f"d{path} lacks {number(share)} * np.sign({path}){instead}. "
                f"Add it{' instead' * bool(taken)}: the regulariser is the sum of |{path}|."
            )
            repaired = np.sum([c * term for c, term in zip(fitted, terms, strict=True)], axis=0)
            yield Suspicion("D1", (path,), sentence, {path: repaired}, 0.4)
            break


def _groups(shares: list[Share]) -> Iterator[list[Share]]:
    left = list(shares)
    while left:
        first = left[0]
        alike = [s for s in left if abs(s.share - first.share) <= max(s.near, first.near) * abs(first.share)]
        yield alike
        left = [s for s in left if s not in alike]


def _coefficients(evidence: Evidence) -> Iterator[tuple[float, str]]:
    """Yield what a regulariser may be multiplied by, with names: the settings in sight, and those over the batch."""
    batch = batch_of(evidence)
    for name, value in evidence.numbers.items():
        if value != int(value):
            yield abs(value), name
            if batch:
                yield abs(value) / batch.size, f"{name} / {batch.name}"


def _read(evidence: Evidence, share: float, near: float) -> tuple[float, str] | None:
    """Return the number that ``share``, without its sign, equals, and how it is written; None if it is none."""
    coefficients = sorted(_coefficients(evidence), key=lambda pair: "/" in pair[1])
    for multiple, (value, name) in itertools.product(MULTIPLES, coefficients):
        if abs(abs(share) - multiple * value) <= near * multiple * value:
            return multiple * value, name if multiple == 1 else f"{number(multiple)} * {name}"
    batch = batch_of(evidence)
    if batch is None:
        return None
    parts = (1 - 1 / batch.size, f"(1 - 1/{batch.name})"), (batch.size - 1, f"({batch.name} - 1)")
    for (value, name), (part, said) in itertools.product(coefficients, parts):
        if abs(abs(share) - part * value) <= near * part * value:
            return part * value, f"{said} * {name}"
    return (1 / batch.size, f"1/{batch.name}") if abs(abs(share) * batch.size - 1) <= near else None


def _of_term(evidence: Evidence, group: list[Share]) -> Iterator[Suspicion]:
    """Yield what a missing or superfluous multiple of the weights stands for."""
    cotangent = float(evidence.flat_cotangent[0])
    share, near = group[0].share, max(each.near for each in group)
    ignored = (cotangent - 1) / cotangent
    if abs(ignored) > LOOSE and (read := _read(evidence, share / ignored, near)) and share / ignored > 0:
        paths = tuple(each.path for each in group)
        if _read(evidence, share, near) is None:
            sentence = (
                f"The part {read[1]} * {paths[0]} of {gradients(paths)} is not multiplied by dout. "
                "Multiply the regulariser's gradient by the cotangent too."
            )
            yield Suspicion("C5", paths, sentence, _repaired(evidence, group), 0.4)
            return
    batch = batch_of(evidence)
    for biases in (False, True):
        some = [each for each in group if _is_bias(evidence, each.path) == biases]
        paths = tuple(each.path for each in some)
        if not some or (batch and any(path in batch.axes for path in paths)):
            continue
        read = _read(evidence, share, near)
        if read is None and (all(evidence.point[path].size <= 3 for path in paths) or biases):
            continue
        value, said = read or (abs(share), number(abs(share)))
        shown = f"{said} * {paths[0]}" if len(paths) == 1 else f"{said} times the weights"
        worth = f", and {number(value)} is {said}" if read and said.isidentifier() else ""
        repaired = _repaired(evidence, some)
        doubt = 0.3 if read else 1.0
        if biases and share < 0:
            sentence = (
                f"{gradients(paths)} {_have(paths)} a term {shown}{worth}: "
                "the loss does not regularise the bias. Remove that term."
            )
            yield Suspicion("D2", paths, sentence, repaired, doubt)
            continue
        turned = said.startswith("2 * ")
        advice = (
            "Add it; or, if half of it is there already, turn its sign." if turned else "Add it for the regulariser."
        )
        sentence = (
            f"{gradients(paths)} {'lacks' if len(paths) == 1 else 'lack'} {shown}{worth}. {advice}"
            if share > 0
            else f"{gradients(paths)} {_have(paths)} {shown} too much{worth}. Subtract it from the regulariser's part."
        )
        yield Suspicion("D1", paths, sentence, repaired, doubt)


def _have(paths: tuple[str, ...]) -> str:
    return "has" if len(paths) == 1 else "have"


def _is_bias(evidence: Evidence, path: str) -> bool:
    shape = evidence.point[path].shape
    return max(shape, default=1) == evidence.point[path].size


def _repaired(evidence: Evidence, group: list[Share]) -> dict[str, Array]:
    cotangent = float(evidence.flat_cotangent[0])
    return {
        each.path: evidence.claimed[each.path] + each.share * cotangent * evidence.point[each.path] for each in group
    }


def _of_data(evidence: Evidence, group: list[Share]) -> Iterator[Suspicion]:
    """Yield the scale of the data's part where the regulariser is right: true = c · claimed + (1 − c) ρ w."""
    factor, share = group[0].factor, group[0].share
    near = max(tolerance(evidence, each.path) for each in group) * 10
    if any(abs(each.factor - factor) > near * abs(factor) for each in group):
        return
    read = _read(evidence, share / (1 - factor), max(each.near for each in group))
    if read is None or share / (1 - factor) <= 0:
        return
    others = next((g for g in scaled(evidence) if abs(g.factor - factor) <= near * abs(factor)), None)
    weights = tuple(each.path for each in group)
    paths = tuple(path for path in evidence.wrong if path in weights or (others and path in others.paths))
    cotangent = float(evidence.flat_cotangent[0])
    repaired = {path: factor * evidence.claimed[path] for path in paths}
    for each in group:
        repaired[each.path] = repaired[each.path] + each.share * cotangent * evidence.point[each.path]
    part = f"The part of {gradients(paths)} that comes from the data"
    if abs(factor - cotangent) <= near * abs(cotangent):
        sentence = f"{part} is not multiplied by dout. Multiply it by the cotangent."
        yield Suspicion("C5", paths, sentence, repaired, 0.4)
        return
    if factor < 0:
        if abs(factor + 1) <= near:
            yield Suspicion(
                "A1", paths, f"{part} has the wrong sign. Negate it; the regulariser is right.", repaired, 0.3
            )
        return
    for reading in readings(evidence, factor, min(near, VAGUE)):
        how = f"1/{number(reading.value)} of" if factor > 1 else f"{number(reading.value)} times"
        what = f", and {reading.what}" if reading.what else ""
        sentence = f"{part} {is_are(('',))} {how} {plural(('',))}{what}. {reading.advice}"
        yield Suspicion(reading.mistake, paths, sentence, repaired, reading.doubt + 0.05, reading.otherwise)
