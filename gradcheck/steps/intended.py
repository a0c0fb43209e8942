"""Gradients that are no derivatives and yet no accident: projected, made symmetric, passed straight through. Level 3.

Who means such a thing can say so, by ``projection=`` or ``surrogate=``; who does not, reads what is returned instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.steps.claims import Gradient, Says
from gradcheck.trees import Array, norm

__all__ = ["intended"]

MISTAKE = "I3"
MEANT = "the gradient {what}: if that is meant, say projection={how}"
STRAIGHT = "the cotangent, passed straight through: if that is meant, say surrogate= with the function it belongs to"


def intended(gradient: Gradient) -> Says | None:
    """Say which projection of the gradient was returned, or what else in its place."""
    case, path, came, truth = gradient
    if came.shape != truth.shape or came.size < 2:
        return None
    bars = [bar for bar in case.bars if bar.shape == came.shape]
    if not np.any(truth.values) and any(norm(bar - came) <= truth.close * norm(bar) for bar in bars):
        return MISTAKE, STRAIGHT
    if truth.entries is None or not np.any(truth.values):
        return None
    for what, how, projected in _projections(truth.entries, case.point[path].astype(np.float64)):
        if norm(projected - came) <= truth.close * norm(truth.entries):
            return MISTAKE, MEANT.format(what=what.format(path), how=how)
    return None


def _projections(g: Array, x: Array) -> Iterator[tuple[str, str, Array]]:
    """Yield what a gradient may be projected to: in words, as Python, and the projected gradient."""
    if g.ndim == 2 and g.shape[0] == g.shape[1]:
        yield "made symmetric", "lambda g: (g + g.T) / 2", (g + g.T) / 2
        yield "made antisymmetric", "lambda g: (g - g.T) / 2", (g - g.T) / 2
        yield "without what is above the diagonal", "np.tril", np.tril(g)
        yield "without what is below the diagonal", "np.triu", np.triu(g)
    along, square = float(np.sum(x * g)), float(np.sum(x * x))
    for length in (square, 1.0) if square else ():  # some take for granted that x has length 1
        yield "without its part along {}", "lambda g: g - x * np.sum(x * g) / np.sum(x * x)", g - x * along / length
    yield "without its mean", "lambda g: g - g.mean()", g - g.mean()
    if g.ndim > 1:
        yield "without the mean of each row", "lambda g: g - g.mean(-1, keepdims=True)", g - g.mean(-1, keepdims=True)
