"""Suspicions about places: reversed, shifted, or with the padding still there. Level 3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.candidate import Candidate
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["cropped", "flipped", "rolled", "shifted"]

FURTHEST = 3  # places that a gradient is shifted at most
MOST_CROPS = 64
PROBES = 2  # random tangents for the places that two gradients share


def flipped(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    """Yield ``array`` reversed along places (F1)."""
    if array.shape != evidence.point[path].shape:
        return
    batch = batch_of(evidence)
    for axes in _places(array):
        if array.ndim == 1 and evidence.outputs <= array.size:
            continue  # a kernel slides along more than its own length
        if batch and path in batch.axes and batch.axes[path] % array.ndim in axes:
            continue
        sizes = [array.shape[axis] for axis in axes]
        if min(sizes) > 1:
            over = f"axis {axes[0]}" if len(axes) == 1 else f"the axes {axes}"
            both = "turned by 180°" if len(axes) == 2 else f"reversed along {over}"
            state = f"{{gradients}} {{are}} {{truth}} {both}"
            yield Candidate("F1", np.flip(array, axes), state, f"Reverse it along {over}.", 0.2)


def rolled(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    """Yield ``array`` rolled by a few places (F3)."""
    if array.shape != evidence.point[path].shape or array.ndim < 3:
        return
    for axes, by in _shifts(array):
        state = f"{{gradients}} {{are}} {{truth}} rolled by {by[0]} along {_along(axes)}"
        advice = "Crop the padding where the forward put it."
        yield Candidate("F3", np.roll(array, [-b for b in by], axes), state, advice, 0.4)


def cropped(evidence: Evidence, path: str, array: Array) -> Iterator[Candidate]:
    """Yield the parts of an ``array`` that is too large (F3)."""
    shape = evidence.point[path].shape
    if array.ndim != len(shape) or array.shape == shape or any(a < n for a, n in zip(array.shape, shape, strict=True)):
        return
    offsets = [range(a - n + 1) for a, n in zip(array.shape, shape, strict=True)]
    for start in itertools.islice(itertools.product(*offsets), MOST_CROPS):
        part = tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))
        state = f"{{gradients}}, of shape {array.shape}, {{are}} {{truth}} with the padding around it"
        written = ", ".join(
            f"{each.start}:{each.stop}" if a > n else ":" for each, a, n in zip(part, array.shape, shape, strict=True)
        )
        yield Candidate("F3", array[part], state, f"Crop the padding: take [{written}].", 0.2)


def shifted(evidence: Evidence, path: str, array: Array) -> Iterator[Suspicion]:
    """Yield a shift by which ``array`` agrees with the true gradient wherever both have entries (F3).

    Costs two slopes along tangents in the middle, which all shifts share, and two more for each that agrees there.
    """
    if array.shape != evidence.point[path].shape or array.ndim < 3 or min(array.shape[-2:]) <= 2:
        return
    furthest = min(FURTHEST, (min(array.shape[-2:]) - 1) // 2)
    inside = np.zeros(array.shape)
    inside[..., furthest:-furthest, furthest:-furthest] = 1
    tangents = [inside * evidence.rng.standard_normal(array.shape) for _ in range(PROBES)]
    measured = [evidence.slope(evidence.embedded(path, tangent)) for tangent in tangents]
    size = max(abs(value) for value, _ in measured)
    for axes, by in _shifts(array, furthest):
        back = np.roll(array, [-b for b in by], axes)
        gaps = [
            abs(float((back * u).sum()) - value) - 4 * error
            for u, (value, error) in zip(tangents, measured, strict=True)
        ]
        if not size or max(gaps) > 1e-6 * size:
            continue
        overlap = np.ones(array.shape)
        for axis, b in zip(axes, by, strict=True):
            gone = slice(-b, None) if b > 0 else slice(0, -b)
            overlap[tuple(gone if a == axis % array.ndim else slice(None) for a in range(array.ndim))] = 0
        whole = [overlap * evidence.rng.standard_normal(array.shape) for _ in range(PROBES)]
        if evidence.is_true_along(path, whole, [float((back * u).sum()) for u in whole]):
            sentence = (
                f"d{path} is the true gradient shifted by {by[0]} along {_along(axes)}, cut off at the border. "
                "Crop the padding at the right place."
            )
            yield Suspicion("F3", (path,), sentence, {}, 0.3)
            return


def _places(array: Array) -> tuple[tuple[int, ...], ...]:
    """Return the axes, alone or together, that may be places of a kernel or an image."""
    if array.ndim < 2:
        return ((0,),) if array.size > 2 else ()
    if array.ndim == 2:
        return ((0, 1),)
    last = (array.ndim - 2, array.ndim - 1)
    further = ((1, 2), (0, 1)) if array.ndim == 4 else ()
    return (last, (last[1],), (last[0],), *further)


def _shifts(array: Array, furthest: int = FURTHEST) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield axes and by how many places: along both axes of an image alike, or along one."""
    last = (array.ndim - 2, array.ndim - 1)
    for axes in (last, last[1:], last[:1]):
        for by in range(1, furthest + 1):
            if all(array.shape[axis] > by for axis in axes):
                yield axes, (by,) * len(axes)
                yield axes, (-by,) * len(axes)


def _along(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"the axes {axes}"
