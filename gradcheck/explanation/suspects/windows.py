"""Suspicions about windows and links: a stride, a table of connections, ties of a maximum. Level 3."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array, leaves

__all__ = ["suspects"]

MOST = 600  # outputs: for each of them the backward is called once
STRIDES = (2, 3, 4)
BLOCKS = 40  # of a table of connections
ZERO = 1e-9  # relative: a slope that is no larger is zero


def suspects(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield what a stride (F2), a table of connections (F5) or ties (F6) explain."""
    yield from _linked(evidence, path)
    yield from _tied(evidence, path)
    yield from _strided(evidence, path)


def _out(evidence: Evidence) -> Array | None:
    each = [leaf for _, leaf in leaves(evidence.out, "out")]
    return np.asarray(each[0]) if len(each) == 1 and np.ndim(each[0]) >= 2 else None


def _rows(evidence: Evidence, path: str) -> Array | None:
    """Return the backward's gradient for a cotangent that is one at each output in turn: (outputs, *shape)."""
    return evidence.once("rows", path, lambda path: _pulled(evidence, path))


def _pulled(evidence: Evidence, path: str) -> Array | None:
    if not 2 <= evidence.outputs <= MOST:
        return None
    rows = [evidence.pull(one).get(path) for one in evidence.cotangents(np.eye(evidence.outputs))]
    if any(row is None for row in rows):
        return None
    return np.stack([row for row in rows if row is not None])


def _strided(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield windows that the backward puts at y where the forward has them at y times the stride."""
    out, x = _out(evidence), evidence.point[path]
    if out is None or x.ndim != out.ndim or x.ndim < 3 or x.shape[0] != out.shape[0]:
        return
    strides = [s for s in STRIDES if any(o > 1 and x.shape[a] >= (o - 1) * s for a, o in enumerate(out.shape) if a > 1)]
    rows = _rows(evidence, path) if strides else None
    if rows is None:
        return
    places = list(range(2, x.ndim)) if x.ndim > 3 else [x.ndim - 1]
    for stride in strides:
        repaired = np.zeros(x.shape)
        for row, index, v in zip(rows, np.ndindex(out.shape), evidence.flat_cotangent, strict=True):
            by = [(stride - 1) * index[axis] for axis in places]
            repaired += v * _shifted(row, places, by)
        if evidence.is_true(path, repaired):
            sentence = (
                f"d{path} puts the window of output (i, j) at (i, j), but the forward takes it from "
                f"({stride} i, {stride} j). Multiply the places by the stride, {stride}."
            )
            yield Suspicion("F2", (path,), sentence, {path: repaired}, 0.2)
            return


def _shifted(array: Array, axes: list[int], by: list[int]) -> Array:
    """Return ``array`` moved along some axes; what leaves it is lost."""
    made: Array = np.zeros(array.shape)
    to = [slice(None)] * array.ndim
    of = [slice(None)] * array.ndim
    for axis, step in zip(axes, by, strict=True):
        if step >= array.shape[axis]:
            return made
        to[axis], of[axis] = slice(step, None), slice(0, array.shape[axis] - step)
    made[tuple(to)] = array[tuple(of)]
    return made


def _linked(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield blocks, maps by maps, that the forward does not use and whose gradient is claimed not to be zero."""
    claimed = evidence.claimed[path]
    if claimed.ndim < 3 or math.prod(claimed.shape[:2]) > BLOCKS or math.prod(claimed.shape[2:]) < 2:
        return
    table: Array = np.ones(claimed.shape[:2])
    probe: Array = np.asarray(evidence.rng.standard_normal(claimed.shape))
    size = float(np.abs(claimed).max())
    for block in np.ndindex(table.shape):
        tangent: Array = np.zeros(claimed.shape)
        tangent[block] = probe[block]
        value, error = evidence.slope(evidence.embedded(path, tangent))
        said = float((claimed * tangent).sum())
        if abs(value) <= 4 * error + ZERO * size and abs(said) > 1e-3 * size * ZERO:
            table[block] = 0
        elif abs(value - said) > 4 * error + 1e-6 * abs(value):
            return  # wrong elsewhere too
    repaired = claimed * table.reshape(table.shape + (1,) * (claimed.ndim - 2))
    if not table.all() and table.any() and evidence.is_true(path, repaired):
        unused = int((table == 0).sum())
        sentence = (
            f"d{path} is not zero in {unused} of {table.size} blocks that the forward does not use. "
            f"Multiply d{path} by the table of connections."
        )
        yield Suspicion("F5", (path,), sentence, {path: repaired}, 0.2)


def _tied(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield outputs that are the largest of tied entries, each of which gets the whole gradient."""
    x = evidence.point[path]
    out = [np.ravel(leaf) for _, leaf in leaves(evidence.out, "out")]
    values = np.concatenate(out)
    if len(np.unique(x)) == x.size or x.ndim < 2:
        return
    rows = _rows(evidence, path)
    if rows is None:
        return
    tied = 0
    for row, value in zip(rows, values, strict=True):
        hit = row != 0
        if not hit.any() or not np.array_equal(row[hit], np.ones(int(hit.sum()))) or (x[hit] != value).any():
            return
        tied += hit.sum() > 1
    if tied:
        sentence = (
            f"d{path}: {tied} of {len(rows)} outputs are a maximum of tied entries, and each of these gets the whole "
            "gradient. Give it to one of them, the first."
        )
        yield Suspicion("F6", (path,), sentence, {}, 0.2)
