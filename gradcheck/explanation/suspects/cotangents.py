"""Suspicions about the cotangent: none, twice as large, or in a part of the output only. Level 3.

A gradient is linear in the cotangent. What a backward gives for none at all is no gradient, one that grows with the
square has used it twice, and one that is zero for a part of the output has left that part out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.recurrence import is_time
from gradcheck.explanation.suspects.sight import alike, is_multiple
from gradcheck.explanation.suspects.words import gradients, is_are, number
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.oracles.difference import central_difference
from gradcheck.pairing import Pairing
from gradcheck.trees import Array, leaves

__all__ = ["suspects"]

FEW = 3  # entries: so small a gradient is a multiple of another by chance
PROBES = 2  # random tangents for each question
NEAR = 1e-6  # relative: how well slopes have to be met
LARGER = 3.0  # by how much a cotangent is enlarged


class Heard(NamedTuple):
    """Which part of the output a gradient depends on: the ``kept`` indices of an ``axis`` with ``size`` of them."""

    axis: int
    size: int
    kept: tuple[int, ...]


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what other cotangents explain: D1, E2, B6, and what is left out of a sum (C8, E1, G2)."""
    paths = [path for path in evidence.wrong if path in evidence.claimed and evidence.claimed[path].any()]
    if not paths:
        return
    found = [*_offset(evidence, paths), *_squared(evidence, paths), *_deaf(evidence, paths)]
    yield from found
    told = {path for each in found for path in each.arguments}
    for path in paths:
        if path not in told:
            yield from _empty_sample(evidence, path)


def _pulled(evidence: Evidence, vector: Array) -> dict[str, Array]:
    try:
        return evidence.pull(next(evidence.cotangents([vector])))
    except Exception:  # noqa: BLE001  (a backward may refuse another cotangent; then nothing is known)
        return {}


def _offset(evidence: Evidence, paths: list[str]) -> Iterator[Suspicion]:
    """Yield gradients that are not zero where the cotangent is, by what is too much in them."""
    none = _pulled(evidence, np.zeros_like(evidence.flat_cotangent))
    for path in paths:
        offset = none.get(path)
        if offset is None or not offset.any() or not np.isfinite(offset).all():
            continue
        repaired = evidence.claimed[path] - offset
        if not evidence.is_true(path, repaired):
            continue
        point = evidence.point[path]
        if point.size > FEW and is_multiple(offset, point):
            rate = float((offset * point).sum() / (point**2).sum())
            sentence = (
                f"d{path} holds {number(rate)} times {path}, whatever the cotangent is, like a regulariser that the "
                "forward has not. Leave it out."
            )
            yield Suspicion("D1", (path,), sentence, {path: repaired}, 0.2)
        else:
            sentence = (
                f"d{path} is not zero for a cotangent of zero: it is added to something else. "
                "Start from zeros in every call."
            )
            yield Suspicion("E2", (path,), sentence, {path: repaired}, 0.3)


def _squared(evidence: Evidence, paths: list[str]) -> Iterator[Suspicion]:
    """Yield gradients that grow with the square of the cotangent."""
    larger = _pulled(evidence, LARGER * evidence.flat_cotangent)
    each = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.cotangent, "dout")]
    for path in paths:
        claimed = evidence.claimed[path]
        if path not in larger or not alike(larger[path], LARGER**2 * claimed):
            continue
        for dout in each:
            if dout.shape not in ((), claimed.shape) or not dout.all():
                continue
            if evidence.is_true(path, claimed / dout):
                sentence = f"d{path} holds the cotangent squared. Multiply by it once."
                yield Suspicion("B6", (path,), sentence, {path: claimed / dout}, 0.2)
                break


def _deaf(evidence: Evidence, paths: list[str]) -> Iterator[Suspicion]:
    """Yield gradients that are zero for a part of the output, and right for the rest of it (C8, E1, G2)."""
    out = [np.asarray(leaf) for _, leaf in leaves(evidence.out, "out")]
    if len(out) != 1 or evidence.outputs < 2:
        return
    told: set[str] = set()
    for axis in range(out[0].ndim):
        found: dict[Heard, list[str]] = {}
        for path, heard in _heard(evidence, [path for path in paths if path not in told], axis):
            if _right_for(evidence, path, heard):
                found.setdefault(heard, []).append(path)
        for heard, some in found.items():
            told.update(some)
            yield _left_out(evidence, tuple(some), heard)


def _heard(evidence: Evidence, paths: list[str], axis: int) -> Iterator[tuple[str, Heard]]:
    """Yield the part of an axis that each gradient depends on, where it is not the whole."""
    size = int(np.shape(next(leaf for _, leaf in leaves(evidence.out, "out")))[axis])
    if size < 2 or not paths:
        return
    parts = ((0,), (size - 1,), tuple(range(1, size - 1)))
    ends = [_pulled(evidence, _within(evidence, axis, part)) for part in parts[:2]]
    doubtful = [path for path in paths if any(path in end and not end[path].any() for end in ends)]
    if not doubtful:
        return
    middle = _pulled(evidence, _within(evidence, axis, parts[2])) if parts[2] else {}
    for path in doubtful:
        kept = tuple(
            index
            for part, pulled in zip(parts, [*ends, middle], strict=True)
            if path in pulled and pulled[path].any()
            for index in part
        )
        if kept:
            yield path, Heard(axis, size, tuple(sorted(kept)))


def _within(evidence: Evidence, axis: int, kept: tuple[int, ...]) -> Array:
    """Return the cotangent with zeros at all but some indices of an axis, flat."""
    (leaf,) = (np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.cotangent, "dout"))
    made: Array = np.zeros_like(leaf)
    part = (slice(None),) * axis + (list(kept),)
    made[part] = leaf[part]
    return made.ravel()


def _right_for(evidence: Evidence, path: str, heard: Heard) -> bool:
    """Whether the claimed gradient is the true one of the part of the output that it depends on."""
    cotangent = next(evidence.cotangents([_within(evidence, heard.axis, heard.kept)]))
    pairing = replace(
        evidence.pairing, cotangent=tuple(np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(cotangent, "dout"))
    )
    return _slopes_met(evidence, path, pairing, np.ones(evidence.point[path].shape))


def _slopes_met(evidence: Evidence, path: str, pairing: Pairing, where: Array) -> bool:
    pushforward = central_difference(pairing, evidence.arguments.point)
    claimed = evidence.claimed[path]
    size = float(np.linalg.norm(claimed * where))
    for _ in range(PROBES):
        tangent = where * evidence.rng.standard_normal(claimed.shape)
        evidence.spent[0] += 1
        estimate = pushforward(evidence.embedded(path, tangent))
        gap = abs(float((claimed * tangent).sum()) - float(estimate.value))
        if not gap <= 4 * float(estimate.error) + NEAR * size:
            return False
    return True


def _left_out(evidence: Evidence, paths: tuple[str, ...], heard: Heard) -> Suspicion:
    """Return what it is called to leave a part of the output out."""
    axis, size, kept = heard
    dropped = [index for index in range(size) if index not in kept]
    of_batch = _is_batch(evidence, axis)
    what = "samples" if of_batch else "places" if np.ndim(evidence.out) > 3 else "steps"
    verb = "depends" if len(paths) == 1 else "depend"
    others = set(evidence.point) - set(paths)  # where there are none, the cotangent itself was not used
    if len(kept) == 1 and size > 2 and others:
        which = "last" if kept[0] else "first"
        sentence = (
            f"{gradients(paths)} {verb} on the {which} of {size} {what} along axis {axis} of the output alone, as if "
            f"each overwrote the one before. Add up what all {size} contribute."
        )
        return Suspicion("E1", paths, sentence, {}, 0.4)
    which = " and ".join(["first"] * (0 in dropped) + ["last"] * (size - 1 in dropped))
    sentence = (
        f"{gradients(paths)} {is_are(paths)} right but for the {which} of {size} {what} along axis {axis} of the "
        f"output, which {'is' if len(dropped) == 1 else 'are'} left out. Sum over all {size}."
    )
    of_time = what == "steps" and (others or is_time(evidence, size, axis, np.ndim(evidence.out)))
    return Suspicion("G2" if of_time else "C8", paths, sentence, {}, 0.4)


def _is_batch(evidence: Evidence, axis: int) -> bool:
    """Whether an axis of the output holds the samples; with no batch the first does, unless it is time."""
    shape = np.shape(evidence.out)
    batch = batch_of(evidence)
    if batch is None:
        return axis == 0 and not is_time(evidence, shape[axis], axis, len(shape))
    return shape[axis] == batch.size and any(
        axis == (given if given >= 0 else len(shape) + given) for given in batch.axes.values()
    )


def _empty_sample(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield an argument whose gradient is zero for its first or last sample, and right for all others (C8)."""
    batch = batch_of(evidence)
    claimed = evidence.claimed[path]
    if batch is None or path not in batch.axes or not claimed.ndim:
        return
    axis = batch.axes[path] % claimed.ndim
    empty = [index for index, line in enumerate(np.moveaxis(claimed, axis, 0)) if not line.any()]
    if empty not in ([0], [batch.size - 1]):
        return
    where: Array = np.ones(claimed.shape)
    where[(slice(None),) * axis + (empty[0],)] = 0
    if _slopes_met(evidence, path, evidence.pairing, where):
        which = "last" if empty[0] else "first"
        sentence = (
            f"d{path} is zero for the {which} of {batch.size} samples and right for all others. "
            f"Let the {which} sample take part."
        )
        yield Suspicion("C8", (path,), sentence, {}, 0.4)
