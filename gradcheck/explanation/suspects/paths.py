"""Suspicions about paths: what is overwritten or left out, and steps, windows and links not reached. Level 3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects import terms, windows
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.runs import tape_of
from gradcheck.explanation.suspects.sight import alike, groups, is_sharp
from gradcheck.explanation.suspects.words import gradients, is_are
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

PROBES = 2


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what a contribution too few explains: C8, E1, F2, F5, F6, G2."""
    with np.errstate(all="ignore"):
        found = [*_last_turns(evidence)]
        yield from found
        explained = {path for each in found for path in each.arguments}
        for path in evidence.wrong:
            if path in evidence.claimed and path not in explained:
                yield from itertools.islice(terms.missing(evidence, path), 1)
                yield from itertools.islice(windows.suspects(evidence, path), 1)
        yield from _steps_left_out(evidence)


def _last_turns(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield gradients that are the contribution of one turn of a loop, whose sum is the true one (E1)."""
    tape = tape_of(evidence)
    repaired: dict[str, Array] = {}
    where = ""
    for path in evidence.wrong if tape else ():
        claimed = evidence.claimed.get(path)
        if claimed is None or not claimed.any() or not is_sharp(evidence, path):
            continue
        for group in groups(tape.steps).values() if tape else ():
            if len(group) < 2 or group[0].result.size != claimed.size:
                continue
            turns = [_shaped(step.result, claimed.shape) for step in group]
            if any(turn is None for turn in turns):
                continue
            total = np.sum([turn for turn in turns if turn is not None], axis=0)
            for one in (turns[-1], turns[0]):
                rate = _rate(claimed, one)
                if rate and not alike(rate * total, claimed) and evidence.is_true(path, rate * total):
                    repaired[path] = rate * total
                    where = where or f"one of the {len(group)} turns through {group[0].place}"
            if path in repaired:
                break
    if repaired:
        paths = tuple(repaired)
        sentence = (
            f"{gradients(paths)} {is_are(paths)} what {where} contributes; every turn overwrites the one before. "
            "Add the contributions up: write +=."
        )
        yield Suspicion("E1", paths, sentence, repaired, 0.2)


def _shaped(array: Array, shape: tuple[int, ...]) -> Array | None:
    if array.shape == shape:
        return array
    return array.reshape(shape) if [n for n in array.shape if n > 1] == [n for n in shape if n > 1] else None


def _rate(claimed: Array, one: Array | None) -> float:
    """Return the number by which ``claimed`` is ``one``; 0 if it is none."""
    if one is None or not one.any():
        return 0.0
    rate = float((claimed * one).sum() / (one**2).sum())
    return rate if alike(rate * np.asarray(one, dtype=float), claimed) else 0.0


def _steps_left_out(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield an argument with a gradient at every step but the first or the last, where it is zero (G2)."""
    batch = batch_of(evidence)
    for path in evidence.wrong:
        claimed = evidence.claimed.get(path)
        if claimed is None or claimed.ndim < 2:
            continue
        for axis in range(claimed.ndim if claimed.ndim > 2 else 1):
            if claimed.shape[axis] < 3 or (batch and batch.axes.get(path, -9) % claimed.ndim == axis):
                continue
            lines = np.moveaxis(claimed, axis, 0)
            empty = [number for number, line in enumerate(lines) if not line.any()]
            if empty not in ([0], [len(lines) - 1]) or claimed.ndim > 3:
                continue
            if _only_there(evidence, path, axis, empty[0]):
                which = "first" if empty[0] == 0 else "last"
                sentence = (
                    f"d{path} is zero at the {which} of {len(lines)} steps and right at all others: the loop leaves "
                    f"the {which} step out. Let it run over all {len(lines)} steps."
                )
                yield Suspicion("G2", _with_parameters(evidence, path), sentence, {}, 0.4)
                return


def _with_parameters(evidence: Evidence, path: str) -> tuple[str, ...]:
    """Return the wrong arguments, all of which a step that is left out changes, this one among them."""
    return tuple(other for other in evidence.wrong if other == path or evidence.claimed.get(other) is not None)


def _only_there(evidence: Evidence, path: str, axis: int, step: int) -> bool:
    """Whether the claimed gradient is right at all steps but one, where the true one is not zero."""
    claimed = evidence.claimed[path]
    tangents = [evidence.rng.standard_normal(claimed.shape) for _ in range(PROBES)]
    there = [slice(None)] * claimed.ndim
    there[axis] = slice(step, step + 1)
    inside = np.zeros(claimed.shape)
    inside[tuple(there)] = 1
    elsewhere = [tangent * (1 - inside) for tangent in tangents]
    if not evidence.is_true_along(path, elsewhere, [float((claimed * u).sum()) for u in elsewhere]):
        return False
    value, error = evidence.slope(evidence.embedded(path, inside * tangents[0]))
    return abs(value) > 10 * error
