"""How much rounding a claimed gradient carries, measured by computing it again otherwise. Level 2.

A backward loses digits where it cancels or saturates (p − y of a confident softmax, 1 − y of an open sigmoid), and no
formula can tell how many from outside. But the same code shows it. In a higher precision the lost digits come back; and
at arguments that differ in their last digit alone everything inside is rounded otherwise. Neither sees everything (a
buffer may stay float64, and a constant is the same each time), so the larger of the two counts. A lower precision would
show more, and is never asked for: a solver with an absolute tolerance may not come to an end in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.pairing import Pairing
from gradcheck.trees import Array, Layout, leaves, norm, rebuild, rounding_unit
from gradcheck.verdict.laws import match_gradients

__all__ = ["SAFETY", "Again", "rounding_of", "rounding_of_gradients"]

Again = Callable[[Array], Mapping[str, Array | None]]
EPS = float(np.finfo(np.float64).eps)
STREAM = 0x726F756E  # our own: the same draws for every check
NEARBY = 3  # points that differ from this one by so many
ULPS = 2.0  # units in the last place of every number
JUMP = 1e-6  # of the natural size of a gradient, and
BEND = 1e-3  # of an entry, is more than rounding does: between two such points lies a kink
SAFETY = 8.0  # how many times the rounding that was seen may be there: it is one draw of a random quantity
UNKNOWN = 1e4  # roundings allowed for where the code runs in no other precision
LOW = 1e3  # and so many of a lower precision that the code keeps whatever it is given


def rounding_of(
    again: Again,
    point: Array,
    layout: Layout,
    claimed: Mapping[str, Array | None],
    natural: Callable[[int], float],
    size: Callable[[int], float],
) -> tuple[Array, Array]:
    """Return two flat vectors: the rounding error of each claimed entry where it is known, and what it may be besides.

    The first has signs: a float64 run of the same code shows the very rounding of a gradient in a lower precision. The
    second bounds a random error of each entry.

    Args:
        again: what the same code claims at a point, in the precision of that; nothing where it does not run there.
        point: the flat point of the arguments that move.
        layout: of what is ``claimed``, and the paths of both.
        claimed: by path; None where nothing is.
        natural: the natural size of what is claimed of a leaf: what every precision loses below it (1 − 1 for
            1 − (1 − 1e-20)) shows in no run.
        size: what a leaf would claim of an output that is all its.
    """
    finer, same = again(point.astype(np.longdouble)), again(point)
    signs = np.random.default_rng(STREAM).choice([-1.0, 1.0], (NEARBY, point.size))
    nearby = [again(point * (1 + ULPS * EPS * sign)) for sign in signs]
    known, random = np.zeros(layout.size), np.zeros(layout.size)
    for leaf, (path, part) in enumerate(zip(layout.paths, layout.slices, strict=True)):
        gradient = claimed[path]
        if gradient is None:
            continue
        eps = rounding_unit(gradient.dtype)
        entries = np.abs(np.ravel(gradient).astype(np.float64))
        random[part] = SAFETY * eps * (entries + natural(leaf))
        double = same.get(path)
        shown = _apart(gradient, double)
        if eps > EPS and shown is not None and double is not None and double.dtype.itemsize > gradient.dtype.itemsize:
            known[part] = shown
            random[part] /= SAFETY
        elif eps > EPS:  # the code keeps the low precision whatever it is given
            random[part] = LOW * eps * entries
        else:
            exact = _apart(gradient, finer.get(path))
            spread = [one for run in nearby if (one := _apart(gradient, run.get(path))) is not None]
            moved = np.max(np.abs([np.zeros_like(entries), *spread]), axis=0)
            moved = np.minimum(moved, JUMP * size(leaf) + BEND * entries)
            random[part] += UNKNOWN * eps * entries if exact is None else 0.0
            random[part] += SAFETY * np.maximum(moved, 0.0 if exact is None else np.abs(exact))
    return known, random


def rounding_of_gradients(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    cotangent: Any,
    claimed: Mapping[str, Array | None],
    pairing: Pairing,
) -> tuple[Array, Array]:
    """Return :func:`rounding_of` what a backward claims for ``cotangent``, which is that of ``pairing``."""
    arguments = pairing.arguments
    layout, point = arguments.layout, arguments.point
    lengths = [norm(point[part]) or 1.0 for part in layout.slices]

    def again(at: Array) -> dict[str, Array | None]:
        return _gradients(forward, backward, arguments, cotangent, at)

    return rounding_of(
        again,
        point,
        layout,
        claimed,
        lambda leaf: pairing.excursion(leaf) / lengths[leaf],
        lambda leaf: pairing.size / lengths[leaf],
    )


def _apart(gradient: Array, again: Array | None) -> Array | None:
    """Return the first of two runs of the same code less the second, None where that gave nothing to compare."""
    if again is None or again.shape != gradient.shape or not np.isfinite(again).all():
        return None
    apart: Array = (np.ravel(gradient) - np.ravel(again).astype(np.longdouble)).astype(np.float64)
    return apart


def _gradients(
    forward: Callable[..., Any], backward: Callable[[Any, Any], Any], arguments: Arguments, cotangent: Any, point: Array
) -> dict[str, Array | None]:
    """Return the gradients that the same code claims at a point, in its precision; none where it does not run there."""
    try:
        with np.errstate(all="ignore"):
            _, cache = forward(*arguments.at(point))
            dout = rebuild(
                cotangent, (np.asarray(leaf).astype(point.dtype)[()] for _, leaf in leaves(cotangent, "dout"))
            )
            return match_gradients("backward", backward(dout, cache), arguments).gradients
    except Exception:  # noqa: BLE001  (whatever it raises, the code does not run there: nothing is known)
        return {}
