"""How much rounding a claimed gradient carries, measured by computing it once more in other precisions. Level 2.

A backward loses digits where it cancels or saturates (p − y of a confident softmax, 1 − y of an open sigmoid), and no
formula can tell how many from outside. But the same code shows it when it runs in another precision: in a higher one
the lost digits come back; in float32 the same digits are lost in units 2²⁹ times as large. Neither sees everything (a
buffer may stay float64, and float32 may lose all), so the larger of the two counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.trees import Array, leaves, norm, rebuild, rounding_unit
from gradcheck.verdict.laws import Claims, match_gradients

__all__ = ["SAFETY", "rounding_of"]

EPS = float(np.finfo(np.float64).eps)
RATIO = EPS / float(np.finfo(np.float32).eps)
SAFETY = 8.0  # how many times the rounding that was seen may be there: it is one draw of a random quantity
UNKNOWN = 1e4  # roundings allowed for where the code runs in no other precision
LOW = 1e3  # and so many of a lower precision that the code keeps whatever it is given


def rounding_of(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    cotangent: Any,
    claims: Claims,
    excursion: Callable[[int], float],
) -> tuple[Array, Array]:
    """Return two flat vectors: the rounding error of each claimed entry where it is known, and what it may be besides.

    The first has signs: a float64 run of the same code shows the very rounding of a gradient in a lower precision. The
    second bounds a random error of each entry.
    ``excursion`` gives the natural size of the output's change with each leaf: what every precision loses below it
    (1 − 1 for 1 − (1 − 1e-20)) shows in none of them.
    """
    layout = arguments.layout
    runs = {
        dtype: _gradients(forward, backward, arguments, cotangent, dtype)
        for dtype in (np.longdouble, np.float64, np.float32)
    }
    known, random = np.zeros(layout.size), np.zeros(layout.size)
    for leaf, (path, part) in enumerate(zip(layout.paths, layout.slices, strict=True)):
        gradient = claims.gradients[path]
        if gradient is None:
            continue
        eps = rounding_unit(gradient.dtype)
        apart = {dtype: _apart(gradient, run.get(path)) for dtype, run in runs.items()}
        entries = np.abs(np.ravel(gradient).astype(np.float64))
        length = norm(arguments.point[part]) or 1.0
        random[part] = SAFETY * eps * (entries + excursion(leaf) / length)
        if eps > EPS:
            again = runs[np.float64].get(path)
            finer = again is not None and again.dtype.itemsize > gradient.dtype.itemsize
            if finer and (shown := apart[np.float64]) is not None:
                known[part] = shown
                random[part] /= SAFETY
            else:  # the code keeps the low precision whatever it is given
                random[part] = LOW * eps * entries
            continue
        seen = [np.abs(one) for one in (apart[np.longdouble], _scaled(apart[np.float32])) if one is not None]
        random[part] += SAFETY * np.max(seen, axis=0) if seen else UNKNOWN * eps * entries
    return known, random


def _apart(gradient: Array, again: Array | None) -> Array | None:
    """Return the first of two runs of the same code less the second, None where that gave nothing to compare."""
    if again is None or again.shape != gradient.shape or not np.isfinite(again).all():
        return None
    apart: Array = (np.ravel(gradient) - np.ravel(again).astype(np.longdouble)).astype(np.float64)
    return apart


def _scaled(apart: Array | None) -> Array | None:
    return None if apart is None else RATIO * apart


def _gradients(
    forward: Callable[..., Any], backward: Callable[[Any, Any], Any], arguments: Arguments, cotangent: Any, dtype: type
) -> dict[str, Array | None]:
    """Return the gradients that the same code claims in another precision; none where it does not run there."""
    try:
        with np.errstate(all="ignore"):
            _, cache = forward(*arguments.at(arguments.point.astype(dtype)))
            dout = rebuild(cotangent, (np.asarray(leaf).astype(dtype)[()] for _, leaf in leaves(cotangent, "dout")))
            return match_gradients("backward", backward(dout, cache), arguments).gradients
    except Exception:  # noqa: BLE001  (whatever it raises, the code does not run in that precision: nothing is known)
        return {}
