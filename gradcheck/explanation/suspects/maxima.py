"""Suspicions about the pooling by maxima: who of a window gets its gradient, and where the windows are. Level 3.

That the forward takes the maxima of windows is seen from the output, and how large and how far apart these are. The
claimed gradient is then compared with what each mistake would give.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.sight import alike
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array, leaves

__all__ = ["suspects"]

STRIDES = 4  # the largest distance of windows that is tried
LARGEST = 50_000  # entries of an array in which windows are looked for


class Windows(NamedTuple):
    """Windows of ``sizes``, ``strides`` apart along the last axes of an array of ``shape``, with the winner in each.

    ``winner`` has one entry for each window, its place counted row by row, and ``values`` the entries of each in a row.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    winner: Array
    values: Array

    def scattered(self, share: Array) -> Array:
        """Return what the entries get if the window (…, place) gives ``share`` to its places."""
        made: Array = np.zeros(self.shape)
        outs = share.shape[len(share.shape) - 1 - len(self.sizes) : -1]
        for number, place in enumerate(np.ndindex(self.sizes)):
            spaced = zip(place, self.strides, outs, strict=True)
            key: tuple[Any, ...] = (..., *(slice(u, u + s * (o - 1) + 1, s) for u, s, o in spaced))
            made[key] += share[..., number]
        return made


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield who gets the gradient of a maximum in the place of the winner: C1, C3, F1, F3, F4."""
    for path in evidence.wrong:
        claimed = evidence.claimed.get(path)
        windows = None if claimed is None or not claimed.any() else _windows(evidence, path)
        if claimed is None or windows is None:
            continue
        (dout,) = (np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.cotangent, "dout"))
        places = np.arange(windows.values.shape[-1])
        wins = windows.winner[..., None] == places
        true = windows.scattered(wins * dout[..., None])
        for mistake, share, state, advice in _shares(windows, dout, wins, places):
            if alike(windows.scattered(share), claimed) and not alike(true, claimed) and evidence.is_true(path, true):
                sentence = f"d{path} {state}. {advice}"
                yield Suspicion(mistake, (path,), sentence, {path: true}, 0.2)
                break


def _windows(evidence: Evidence, path: str) -> Windows | None:
    """Return the windows whose maxima the output is; None if it is none."""
    out = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.out, "out")]
    x = evidence.point[path]
    if len(out) != 1 or out[0].ndim != x.ndim or x.ndim < 3 or x.size > LARGEST or not np.isin(out[0], x).all():
        return None
    places = tuple(range(2, x.ndim)) if x.ndim > 3 else (x.ndim - 1,)
    ends = [(x.shape[axis], out[0].shape[axis]) for axis in places]
    if x.shape[: places[0]] != out[0].shape[: places[0]]:
        return None
    possible = [[s for s in range(1, STRIDES + 1) if size - s * (count - 1) >= 1] for size, count in ends]
    for strides in sorted(itertools.product(*possible), key=lambda each: len(set(each))):  # most often all are the same
        largest = [size - s * (count - 1) for (size, count), s in zip(ends, strides, strict=True)]
        most = [min(s, large) for s, large in zip(strides, largest, strict=True)]  # what is left over is less than that
        for left_over in np.ndindex(*most):
            sizes = tuple(large - rest for large, rest in zip(largest, left_over, strict=True))
            found = _of_size(x, out[0], places, sizes, strides)
            if found is not None:
                return found
    return None


def _of_size(
    x: Array, out: Array, places: tuple[int, ...], sizes: tuple[int, ...], strides: tuple[int, ...]
) -> Windows | None:
    every = sliding_window_view(x, sizes, axis=places)
    apart = (slice(None),) * places[0] + tuple(slice(None, None, s) for s in strides)
    values = every[apart]
    values = values.reshape(*values.shape[: x.ndim], -1)
    if values.shape[:-1] != out.shape or values.shape[-1] < 2 or not np.array_equal(values.max(axis=-1), out):
        return None
    return Windows(x.shape, sizes, strides, values.argmax(axis=-1), values)


def _shares(windows: Windows, dout: Array, wins: Array, places: Array) -> Iterator[tuple[str, Array, str, str]]:
    """Yield mistakes, what each gives to the places of every window, and how it is told."""
    d, count, w = dout[..., None], len(places), windows.winner[..., None]
    mask = "Let only the entry that is the maximum have it."
    yield "C1", d + 0 * places, "gives every entry of a window the gradient of its maximum", mask
    yield "C3", d / count + 0 * places, "shares the gradient of a maximum among its window, as a mean does", mask
    yield "C3", d * ~wins, "gives the gradient of a maximum to all entries but the largest", mask
    least = windows.values.argmin(axis=-1)[..., None] == places
    yield "C3", d * least, "gives the gradient of a maximum to the smallest entry", mask
    where = "Look at how the place of the winner is counted."
    if len(windows.sizes) == 2:
        h, v = windows.sizes
        rows, columns = np.divmod(places, v)
        for counted in (h * rows + columns, h * columns + rows, v * columns + rows):
            state = "takes the place of the winner in its window by columns, or with height for width"
            yield "F4", d * (w == counted), state, f"Count by rows: {v} * row + column."
    for by in (1, -1):
        state = f"gives the gradient of a maximum to the entry {'after' if by > 0 else 'before'} the largest"
        yield "F3", d * (w + by == places), state, where
        yield "F3", d * ((w + by) % count == places), state, where
    yield "F1", d * wins[..., ::-1], "gives the gradient of a maximum to the entry across the window", where
    turned = range(dout.ndim - len(windows.sizes), dout.ndim)
    for axes in ((axis,) for axis in turned) if len(windows.sizes) == 1 else ((-2, -1), (-1,), (-2,)):
        state = "takes the windows from the other end"
        full = tuple(axis % dout.ndim for axis in axes)
        yield "F1", np.flip(d * wins, full), state, f"Do not reverse axis {' and '.join(map(str, full))}."
