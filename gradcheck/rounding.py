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
from gradcheck.laws import Claims, match_gradients
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["rounding_of"]

EPS = float(np.finfo(np.float64).eps)
RATIO = EPS / float(np.finfo(np.float32).eps)
SAFETY = 8.0  # how many times the rounding that was seen may be there: it is one draw of a random quantity
UNKNOWN = 1e4  # roundings allowed for where the code runs in no other precision
LIMIT = 0.5  # the part of the digits of a lower precision that rounding may excuse


def rounding_of(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    cotangent: Any,
    claims: Claims,
    excursion: Callable[[int], float],
) -> Array:
    """Return, entry by entry of the flat gradient, the rounding error that the claims may carry.

    ``excursion`` gives the natural size of the output's change with each leaf: what every precision loses below it
    (1 − 1 for 1 − (1 − 1e-20)) shows in none of them.
    """
    layout = arguments.layout
    runs = {
        dtype: _gradients(forward, backward, arguments, cotangent, dtype)
        for dtype in (np.longdouble, np.float64, np.float32)
    }
    rounding = np.zeros(layout.size)
    for leaf, (path, part) in enumerate(zip(layout.paths, layout.slices, strict=True)):
        gradient = claims.gradients[path]
        if gradient is None:
            continue
        eps = float(np.finfo(gradient.dtype).eps) if gradient.dtype.kind == "f" else 2.0**-7
        double = eps <= EPS
        apart = {dtype: _apart(gradient, run.get(path)) for dtype, run in runs.items()}
        seen = [apart[np.longdouble]] + ([_scaled(apart[np.float32])] if double else [apart[np.float64]])
        known = [one for one in seen if one is not None]
        entries = np.abs(np.ravel(gradient).astype(np.float64))
        lost = SAFETY * np.max(known, axis=0) if known else UNKNOWN * eps * entries
        if not double:  # the float64 run of the same code shows this very rounding, not another draw of it
            lost /= SAFETY / 1.5
            lost *= min(1.0, eps**LIMIT * float(np.linalg.norm(entries)) / (float(np.linalg.norm(lost)) or 1.0))
        length = float(np.linalg.norm(arguments.point[part])) or 1.0
        rounding[part] = lost + (SAFETY if double else 1.0) * eps * (entries + excursion(leaf) / length)
    return rounding


def _apart(gradient: Array, again: Array | None) -> Array | None:
    """Return how far two runs of the same code are apart, None where the second one gave nothing to compare."""
    if again is None or again.shape != gradient.shape or not np.isfinite(again).all():
        return None
    apart: Array = np.abs(np.ravel(again).astype(np.longdouble) - np.ravel(gradient)).astype(np.float64)
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
