"""What the values of an array may be, and how they are drawn. Level 0.

Values are made well inside of what a rule allows: a probability is no nearer to 0 than a twentieth, and what is to stay
away from 0 stays a tenth away, so that the steps of a difference do not leave the rule behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FAMILIES", "SQUARE", "between", "booleans", "integers", "normal"]

Array = npt.NDArray[Any]
Shape = Sequence[int]

MARGIN = 0.1  # how far values stay from where they must not be,
INSIDE = 0.05  # and from the ends of an interval, as a part of it
APART = 0.25  # distance of values that are distinct
SQUARE = frozenset({"symmetric", "psd"})


def normal(rng: np.random.Generator, shape: Shape) -> Array:
    """Return values of the standard normal distribution."""
    return rng.standard_normal(tuple(shape))


def between(rng: np.random.Generator, shape: Shape, low: float, high: float) -> Array:
    """Return values in an interval, one end of which may be infinite: then of order 1 from the other."""
    if math.isinf(low) or math.isinf(high):
        away = MARGIN + np.abs(rng.standard_normal(tuple(shape)))
        return high - away if math.isinf(low) else low + away
    return low + (high - low) * rng.uniform(INSIDE, 1 - INSIDE, tuple(shape))


def integers(rng: np.random.Generator, shape: Shape, low: int, high: int) -> Array:
    """Return whole numbers from ``low`` to ``high - 1``."""
    return rng.integers(low, high, tuple(shape))


def booleans(rng: np.random.Generator, shape: Shape) -> Array:
    """Return a fair mask, of which each row along the last axis lets something through."""
    mask = rng.random(tuple(shape)) < 0.5
    if mask.ndim and mask.size:
        chosen = rng.integers(mask.shape[-1], size=mask.shape[:-1])
        np.put_along_axis(mask, chosen[..., None], values=True, axis=-1)
    return mask


def _simplex(rng: np.random.Generator, shape: Shape) -> Array:
    """Rows along the last axis that are positive and sum to 1."""
    parts = rng.uniform(INSIDE, 1, tuple(shape))
    return np.asarray(parts / parts.sum(axis=-1, keepdims=True))


def _symmetric(rng: np.random.Generator, shape: Shape) -> Array:
    z = normal(rng, shape)
    return (z + z.swapaxes(-1, -2)) / 2


def _psd(rng: np.random.Generator, shape: Shape) -> Array:
    """Symmetric with eigenvalues from ½ on, of order 1: a factor or an inverse of it loses no digits."""
    z = normal(rng, shape)
    return z @ z.swapaxes(-1, -2) / max(shape[-1], 1) + np.eye(shape[-1]) / 2


def _lower(rng: np.random.Generator, shape: Shape) -> Array:
    """Lower triangular; the diagonal is positive and not small, as that of a Cholesky factor."""
    z = np.tril(normal(rng, shape), -1)
    diagonal = np.arange(min(shape[-2:]))
    z[..., diagonal, diagonal] = between(rng, (*shape[:-2], len(diagonal)), 0.5, 2.0)
    return z


def _upper(rng: np.random.Generator, shape: Shape) -> Array:
    return _lower(rng, (*shape[:-2], shape[-1], shape[-2])).swapaxes(-1, -2)


def _orthogonal(rng: np.random.Generator, shape: Shape) -> Array:
    """Orthonormal columns, or rows where there are more columns than rows."""
    tall = shape[-2] >= shape[-1]
    z = normal(rng, shape if tall else (*shape[:-2], shape[-1], shape[-2]))
    q = np.linalg.qr(z)[0]
    return q if tall else q.swapaxes(-1, -2)


def _unit(rng: np.random.Generator, shape: Shape) -> Array:
    """Rows along the last axis of norm 1."""
    z = normal(rng, shape)
    return np.asarray(z / np.linalg.norm(z, axis=-1, keepdims=True))


def _distinct(rng: np.random.Generator, shape: Shape) -> Array:
    """Values of which no two are nearer than a quarter, in random order, about 0."""
    count = math.prod(shape)
    return (rng.permutation(count) - (count - 1) / 2).reshape(tuple(shape)) * APART


def _increasing(rng: np.random.Generator, shape: Shape) -> Array:
    """Rows along the last axis that increase, as the knots of a spline."""
    steps = MARGIN + rng.exponential(0.5, tuple(shape))
    return np.cumsum(steps, axis=-1) - shape[-1] / 2


def _zero(rng: np.random.Generator, shape: Shape) -> Array:
    """Zeros: an argument that is added where it is to be moved, or a state at the start."""
    del rng
    return np.zeros(tuple(shape))


FAMILIES: dict[str, tuple[int, Callable[[np.random.Generator, Shape], Array]]] = {
    # how many axes it needs, and what makes it
    "simplex": (1, _simplex),
    "unit": (1, _unit),
    "increasing": (1, _increasing),
    "distinct": (0, _distinct),
    "zero": (0, _zero),
    "symmetric": (2, _symmetric),
    "psd": (2, _psd),
    "lower": (2, _lower),
    "upper": (2, _upper),
    "orthogonal": (2, _orthogonal),
}
