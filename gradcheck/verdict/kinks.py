"""What can be said where the slopes on both sides differ: at a kink or a tie. Level 3.

There the gradient is a convention, and no single number is right. Two things can still be decided. Beside the kink, at
a generic point nearby, everything but the convention has to be right. And at the kink itself a convention lies between
the slopes on both sides, along every tangent, wherever the output is locally convex or concave (a max, a ReLU, an
absolute value): a tie that is counted twice does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.trees import Array, Layout, leaves
from gradcheck.verdict.laws import match_gradients
from gradcheck.verdict.trial import each

__all__ = ["beside", "outside_the_slopes"]

ASIDE = 1e-2  # how far beside the kink, in root mean squares of each leaf
STEP = 1e-6  # of a one-sided slope, likewise
COARSER = 4.0  # times that step is another: what the slopes at both differ by is noise or curvature, and no kink
KINKED = 1e-3  # slopes that differ by less, relative to the largest, meet
NOISE = 8.0  # and so do those that differ by less than so many times their noise
EPS = float(np.finfo(np.float64).eps)
OUTPUTS = 8  # entries of the output that are looked at, those with the largest kinks
TANGENTS = 10
BENDS = 6  # so many sums of two tangents have to show one and the same sign of curvature


def beside(arguments: Arguments, rng: np.random.Generator) -> Arguments:
    """Return the arguments at a random point nearby."""
    return arguments.moved(arguments.point + ASIDE * _tangent(arguments, rng))


def outside_the_slopes(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    leaf: int,
    rng: np.random.Generator,
) -> str | None:
    """Return which entry of the output has a gradient in leaf number ``leaf`` outside the slopes on both sides.

    None where none was found.
    """
    part = np.zeros(arguments.layout.size)
    part[arguments.layout.slices[leaf]] = 1.0
    half = [part * _tangent(arguments, rng) for _ in range(TANGENTS // 2)]
    drawn = half + [-v for v in half]  # both ways, so that every kink is seen from both sides
    pairs = list(itertools.combinations(range(TANGENTS), 2))
    tangents = drawn + [drawn[a] + drawn[b] for a, b in pairs]
    out, _ = forward(*arguments.at(arguments.point))
    here = _flat(out)
    slopes = np.stack([_slopes(forward, arguments, here, v, STEP) for v in tangents])  # (tangents, 2, entries)
    coarse = np.stack([_slopes(forward, arguments, here, v, COARSER * STEP) for v in drawn])
    if not (np.isfinite(slopes).all() and np.isfinite(coarse).all()):
        return None
    right, left = slopes[:, 0], slopes[:, 1]
    noise = np.abs(slopes[:TANGENTS] - coarse).max(axis=(0, 1)) + EPS * np.abs(here) / STEP
    slack = KINKED * np.abs(slopes).max(axis=(0, 1)) + NOISE * noise + 1e-300
    apart = np.abs(right - left).max(axis=0) / slack
    first, second = np.array(pairs).T
    bend = right[TANGENTS:] - right[first] - right[second]  # f'(a + b) − f'(a) − f'(b)
    back = left[first] + left[second] - left[TANGENTS:]
    up, down = (np.count_nonzero(s * np.concatenate([bend, back]) > slack, axis=0) for s in (1, -1))
    plain = ((up == 0) & (down >= BENDS)) | ((down == 0) & (up >= BENDS))
    kinked = np.flatnonzero((apart > 1) & plain)
    for entry in kinked[np.argsort(-apart[kinked])][:OUTPUTS].tolist():
        gradient = _gradient(forward, backward, arguments, out, entry)
        if gradient is None:
            continue
        claimed = np.array([gradient @ v for v in tangents])
        low = np.minimum(right, left)[:, entry] - slack[entry]
        high = np.maximum(right, left)[:, entry] + slack[entry]
        worst = int(np.argmax(np.maximum(low - claimed, claimed - high)))
        if not low[worst] <= claimed[worst] <= high[worst]:
            name = _layout(out).entry_name(entry)
            return (
                f"at a kink of {name} the claimed slope {claimed[worst]:.4g} lies outside the slopes "
                f"{left[worst, entry]:.4g} and {right[worst, entry]:.4g} on both sides"
            )
    return None


def _tangent(arguments: Arguments, rng: np.random.Generator) -> Array:
    """Return a Gaussian tangent in which every leaf moves by its own root mean square."""
    point, v = arguments.point, np.empty(arguments.layout.size)
    for part in arguments.layout.slices:
        size = float(np.sqrt(np.mean(point[part] ** 2))) or 1.0
        v[part] = size * rng.standard_normal(part.stop - part.start)
    return v


def _slopes(forward: Callable[..., Any], arguments: Arguments, here: Array, v: Array, step: float) -> Array:
    """Return the slopes of every entry of the output to the right and to the left: an array (2, entries).

    ``here`` is the flat output at the point.
    """

    def out(t: float) -> Array:
        value, _ = forward(*arguments.at(arguments.point + t * v))
        return _flat(value)

    with np.errstate(all="ignore"):
        return np.stack([out(step) - here, here - out(-step)]) / step


def _flat(out: Any) -> Array:
    return _layout(out).flatten(leaf for _, leaf in leaves(out, "out"))


def _gradient(
    forward: Callable[..., Any], backward: Callable[[Any, Any], Any], arguments: Arguments, out: Any, entry: int
) -> Array | None:
    """Return the flat gradient of one entry of ``out``, None where the backward breaks its contract.

    In float64, as the slopes are, so that what a lower precision loses is not taken for another convention.
    """
    layout = _layout(out)
    one_hot = np.zeros(layout.size)
    one_hot[entry] = 1.0
    cotangent = each(lambda _leaf, one: one, out, layout.unflatten(one_hot))
    _, cache = forward(*arguments.at(arguments.point))
    claims = match_gradients("backward", backward(cotangent, cache), arguments)
    gradients = [claims.gradients[path] for path in arguments.layout.paths]
    if any(gradient is None for gradient in gradients):
        return None
    return arguments.layout.flatten(gradients)


def _layout(out: Any) -> Layout:
    return Layout.of((path, np.asarray(leaf)) for path, leaf in leaves(out, "out"))
