"""Suspicions about the numbers: whole, coarse, not finite, clipped, all zero, deaf to the cotangent. Level 3."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.factors import NEAR, VAGUE, tolerance
from gradcheck.explanation.suspects.integers import floats, summed
from gradcheck.explanation.suspects.scale import ROUND, scaled
from gradcheck.explanation.suspects.words import gradients, is_are, number, plural
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.oracles.difference import central_difference
from gradcheck.trees import Array, entry_name

__all__ = ["suspects"]

LARGE = 100.0  # by how much a cotangent is enlarged to reach a limit
LOOKED_AT = 12  # entries that are measured one by one
PROBES = 3  # random tangents for the entries that are right
COARSE = {np.float16: 3e-2, np.float32: 1e-4}  # relative: by how much a gradient of this precision may be off
ROUNDINGS = (("cut to", np.trunc), ("rounded to", np.rint), ("rounded down to", np.floor))


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what the numbers alone tell: H1, H3, G4, C5, E2, and a gradient that is zero (C8)."""
    for path in evidence.wrong:
        if path not in evidence.claimed:
            whole = next(chain(_whole_numbers(evidence, path), summed(evidence, path)), None)
            yield from [whole] if whole else _not_finite(evidence, path)
    wrong = [path for path in evidence.wrong if path in evidence.claimed]
    yield from _zero([path for path in wrong if not evidence.claimed[path].any()])
    left = [path for path in wrong if evidence.claimed[path].any()]
    for find in (_deaf, _doubled):
        for suspicion in find(evidence, left):
            left = [path for path in left if path not in suspicion.arguments]
            yield suspicion
    for path in left:
        yield from _clipped(evidence, path)
        yield from _clipped_above(evidence, path)
    yield from _normalised(evidence)
    for path in left:
        yield from _whole_numbers(evidence, path)
        yield from _coarse(evidence, path)


def _zero(paths: list[str]) -> Iterator[Suspicion]:
    if paths:
        verb = "Return" if len(paths) == 1 else "Compute"
        what = "what was computed, not the buffer it starts from" if len(paths) == 1 else "them and add the terms up"
        zero = f"{gradients(paths)} {is_are(paths)} identically zero"
        sentence = f"{zero}, and {plural(paths)} {is_are(paths)} not. {verb} {what}."
        yield Suspicion("C8", tuple(paths), sentence, {}, 1.0)


def _whole_numbers(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield H3 where every claimed entry is whole, and the true entry cut or rounded."""
    array = evidence.claimed.get(path, _of_whole_numbers(evidence).get(path))
    if array is None:
        array = evidence.misshapen.get(path)
    shape = evidence.point[path].shape
    if array is None or array.shape != shape:
        return
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.float64)
    if not np.isfinite(whole).all() or not np.array_equal(whole, np.rint(whole)):
        return
    chosen = evidence.rng.permutation(array.size)[:LOOKED_AT]
    truth = np.array([_entry(evidence, path, index)[0] for index in chosen])
    if np.array_equal(truth, whole.ravel()[chosen]):
        return
    for how, rounding in ROUNDINGS:
        if np.array_equal(rounding(truth), whole.ravel()[chosen]):
            first = int(chosen[int(np.argmax(np.abs(truth - rounding(truth))))])
            name, value = entry_name(f"d{path}", shape, first), _entry(evidence, path, first)[0]
            sentence = (
                f"d{path} is {how} whole numbers: {name} is {number(float(whole.ravel()[first]))}, "
                f"and {value:.4g} is true. Make its array of floats."
            )
            yield Suspicion("H3", (path,), sentence, {}, 0.3 if array.dtype.kind in "iu" or whole.any() else 2.0)
            return


def _of_whole_numbers(evidence: Evidence) -> dict[str, Array]:
    """Return the gradients by path, with those of a type of whole numbers as floats."""
    return evidence.once("whole numbers", "", lambda _: floats(evidence, evidence.returned))


def _entry(evidence: Evidence, path: str, index: int) -> tuple[float, float]:
    """Return one entry of the true gradient and its error."""
    one = np.zeros(evidence.point[path].size)
    one[index] = 1.0
    return evidence.once(f"entry {index}", path, lambda _: evidence.slope(evidence.embedded(path, one)))


def _coarse(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield H3 where every entry is a number of a lower precision than the argument, and nearly true."""
    claimed = evidence.claimed[path]
    dtype = evidence.arguments.layout.dtypes[evidence.leaf_of[path]]
    for lower, allowed in COARSE.items():
        with np.errstate(over="ignore"):
            fits = np.array_equal(claimed.astype(lower).astype(np.float64), claimed)
        if not fits or dtype.itemsize <= np.dtype(lower).itemsize or np.array_equal(claimed, np.rint(claimed)):
            continue
        tangents, values, errors = evidence.slopes(path)
        gap = np.abs(tangents @ claimed.ravel() - values)
        size = float(np.sqrt(np.mean(values**2)))
        if np.isfinite(errors).all() and size and float(gap.max()) <= allowed * size:
            name = np.dtype(lower).name
            sentence = (
                f"d{path} is right to {float(gap.max()) / size:.0e} only, and every entry is a {name}. "
                f"Compute it in {dtype.name}, like {path}."
            )
            yield Suspicion("H3", (path,), sentence, {}, 0.4)
            return


def _not_finite(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield H1 where an entry is NaN or infinite, the true one is finite, and a zero is in sight."""
    array = evidence.misshapen.get(path)
    shape = evidence.point[path].shape
    if array is None or array.shape != shape or array.dtype.kind != "f" or np.isfinite(array).all():
        return
    index = int(np.argmin(np.isfinite(array).ravel()))
    value, error = _entry(evidence, path, index)
    zero = _zero_in_sight(evidence, path, index)
    if zero is None or not (math.isfinite(value) and math.isfinite(error)):
        return
    name = entry_name(f"d{path}", shape, index)
    sentence = (
        f"{name} is {array.ravel()[index]} where the true gradient is {value:.4g}, and {zero} is 0. Treat zeros apart."
    )
    yield Suspicion("H1", (path,), sentence, {}, 0.3)


def _zero_in_sight(evidence: Evidence, path: str, index: int) -> str | None:
    """Return the name of an entry that is zero: the same one, another of that argument, or one at hand."""
    point = evidence.point[path]
    if point.ravel()[index] == 0:
        return entry_name(path, point.shape, index)
    for name, array in {path: point, **evidence.at_hand}.items():
        if array.dtype.kind == "f" and not array.all():
            return entry_name(name, array.shape, int(np.argmin(array.ravel() != 0)))
    return None


def _deaf(evidence: Evidence, paths: list[str]) -> Iterator[Suspicion]:
    """Yield C5 where another cotangent gives the same gradient."""
    vector = evidence.flat_cotangent
    other = -1.7 * vector if vector.size == 1 else evidence.rng.standard_normal(vector.size)
    try:
        pulled = evidence.pull(next(evidence.cotangents([other])))
    except Exception:  # noqa: BLE001  (a backward may refuse another cotangent; then nothing is known)
        return
    found = tuple(path for path in paths if path in pulled and _close(pulled[path], evidence.claimed[path]))
    if not found:
        return
    repaired = _heard(evidence, found, vector)
    ones = _right_for_ones(evidence, found)
    if vector.size == 1:
        times = f"Multiply {'it' if len(found) == 1 else 'them'} by dout, here {vector[0]:.4g}."
    else:
        times = "Multiply the cotangent in where it arrives."
    whether = ", and right for a cotangent of ones" if ones else ""
    sentence = f"{gradients(found)} {is_are(found)} the same for every cotangent{whether}. {times}"
    yield Suspicion("C5", found, sentence, repaired, 0.2 if repaired or ones else 0.8)


def _close(one: Array, two: Array) -> bool:
    return bool(np.linalg.norm(one - two) <= 1e-12 * np.linalg.norm(two))


def _heard(evidence: Evidence, paths: tuple[str, ...], vector: Array) -> dict[str, Array]:
    """Return the gradients multiplied by the cotangent, those that are true."""
    repaired = {}
    for path in paths:
        claimed = evidence.claimed[path]
        cotangents = [vector.reshape(())] if vector.size == 1 else evidence.pairing.cotangent
        for cotangent in cotangents:
            if cotangent.shape in ((), claimed.shape) and evidence.is_true(path, claimed * cotangent):
                repaired[path] = claimed * cotangent
    return repaired


def _right_for_ones(evidence: Evidence, paths: tuple[str, ...]) -> bool:
    """Whether the claimed gradients are true for a cotangent of ones, along one tangent of each argument."""
    pairing = replace(evidence.pairing, cotangent=tuple(np.ones_like(leaf) for leaf in evidence.pairing.cotangent))
    pushforward = central_difference(pairing, evidence.arguments.point)
    for path in paths:
        tangent = np.asarray(evidence.rng.standard_normal(evidence.point[path].shape))
        evidence.spent[0] += 1
        estimate = pushforward(evidence.embedded(path, tangent))
        claimed = float((evidence.claimed[path] * tangent).sum())
        size = max(float(np.linalg.norm(evidence.claimed[path])), abs(claimed))
        if not abs(claimed - float(estimate.value)) <= 4 * float(estimate.error) + NEAR * size:
            return False
    return True


def _doubled(evidence: Evidence, paths: list[str]) -> Iterator[Suspicion]:
    """Yield E2 where a second call with the same cache adds the true gradient once more."""
    if not paths:
        return
    try:
        with np.errstate(all="ignore"):
            _, cache = evidence.forward(*evidence.arguments.fresh())
            first, second = (evidence.claims(evidence.backward(evidence.cotangent, cache)) for _ in range(2))
    except Exception:  # noqa: BLE001  (a backward may refuse a second call; then nothing is known)
        return
    found = tuple(
        path
        for path in paths
        if path in first
        and path in second
        and not _close(second[path], first[path])
        and evidence.is_true(path, second[path] - first[path])
    )
    if found:
        repaired = {path: second[path] - first[path] for path in found}
        each = "grows" if len(found) == 1 else "grow"
        sentence = (
            f"{gradients(found)} {each} by {plural(found)} with every call of the backward. "
            "Start each call from zeros, not from what the last one left."
        )
        yield Suspicion("E2", found, sentence, repaired, 0.2)


def _clipped(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield G4 where several entries are of one largest size, the true ones beyond it, and all others right."""
    claimed = evidence.claimed[path]
    limit = float(np.abs(claimed).max())
    at_limit = np.abs(claimed) == limit
    count = int(at_limit.sum())
    if (
        claimed.size < 2
        or not (count >= 2 or _is_round(evidence, limit))
        or evidence.combine(path, [claimed]) is not None
    ):
        return
    if not _stays(evidence, path, limit):
        return
    chosen = np.flatnonzero(at_limit)[:PROBES]
    entries = [_entry(evidence, path, int(index)) for index in chosen]
    signs = np.sign(claimed.ravel()[chosen])
    if not all(value * sign > limit - error for (value, error), sign in zip(entries, signs, strict=True)):
        return
    if count < claimed.size:
        draws = [np.where(at_limit, 0.0, evidence.rng.standard_normal(claimed.shape)) for _ in range(PROBES)]
        if not evidence.is_true_along(path, draws, [float((claimed * u).sum()) for u in draws]):
            return
    elif np.unique(signs).size == 1 and not _is_round(evidence, limit):
        return
    worst = int(chosen[int(np.argmax([abs(value) for value, _ in entries]))])
    name = entry_name(f"d{path}", claimed.shape, worst)
    sentence = (
        f"d{path} is clipped at {number(limit)}, in {count} of {claimed.size} entries: {name} is "
        f"{_entry(evidence, path, worst)[0]:.4g} in truth. Clip after the check, not in the backward."
    )
    yield Suspicion("G4", (path,), sentence, {}, 0.3)


def _clipped_above(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield G4 where the claim is true here, and that for a larger cotangent is as much larger up to a limit."""
    claimed = evidence.claimed[path]
    if not evidence.is_true(path, claimed):
        return
    try:
        large = evidence.pull(next(evidence.cotangents([LARGE * evidence.flat_cotangent]))).get(path)
    except Exception:  # noqa: BLE001  (a backward may refuse another cotangent; then nothing is known)
        return
    if large is None or not large.any():
        return
    limit, norm = float(np.abs(large).max()), float(np.linalg.norm(large))
    expected = LARGE * claimed
    clipped = np.clip(expected, -limit, limit)
    scaled_down = expected * (norm / float(np.linalg.norm(expected)))
    how = ""
    if limit < 0.99 * float(np.abs(expected).max()) and np.allclose(large, clipped, rtol=1e-9, atol=1e-12 * limit):
        how = f"every entry is clipped at {number(limit)}"
    elif _is_round(evidence, norm) and norm < 0.99 * float(np.linalg.norm(expected)):
        how = f"it is scaled to the norm {number(norm)}" if np.allclose(large, scaled_down, rtol=1e-9) else ""
    if how:
        sentence = (
            f"d{path} is right here, but for a larger cotangent {how}. Clip after the check, not in the backward."
        )
        yield Suspicion("G4", (path,), sentence, {path: claimed}, 0.4)


def _stays(evidence: Evidence, path: str, limit: float) -> bool:
    """Whether the largest entry is the same for a cotangent three times as large, as a limit is."""
    try:
        pulled = evidence.pull(next(evidence.cotangents([3 * evidence.flat_cotangent])))
    except Exception:  # noqa: BLE001  (a backward may refuse another cotangent; then nothing is known)
        return False
    return path in pulled and float(np.abs(pulled[path]).max()) == limit


def _is_round(evidence: Evidence, value: float) -> bool:
    known = (*ROUND, *(abs(v) for v in evidence.numbers.values() if v))
    return any(abs(value - each) <= 1e-9 * each for each in known)


def _normalised(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield G4 where gradients are the true ones scaled to a norm that somebody chose, each alone or all together."""
    for paths, factor, _ in scaled(evidence):
        if factor <= 0:
            continue
        norms = {path: float(np.linalg.norm(evidence.claimed[path])) for path in paths}
        alone = [path for path in paths if _is_round(evidence, norms[path]) and evidence.claimed[path].size > 1]
        together = math.sqrt(sum(float((g**2).sum()) for g in evidence.claimed.values()))
        groups: list[tuple[tuple[str, ...], float]] = [((path,), norms[path]) for path in alone]
        if not alone and _is_round(evidence, together) and set(paths) == set(evidence.claimed):
            groups = [(paths, together)]
        for group, norm in groups:
            near = max(tolerance(evidence, path) for path in group)
            if near > VAGUE:
                continue
            whole = "the norm" if len(group) == 1 else "the joint norm"
            repaired = {path: factor * evidence.claimed[path] for path in group}
            sentence = (
                f"{gradients(group)} {is_are(group)} {plural(group)} scaled by {1 / factor:.4g}, "
                f"to {whole} {number(norm)}. Clip after the check, not in the backward."
            )
            yield Suspicion("G4", group, sentence, repaired, 0.35)
