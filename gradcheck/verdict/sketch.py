"""Large arrays told by a few numbers, so that they can be compared later and need not be kept. Level 2.

A small array is its own sketch. Of a large one the sketch holds the products of its parts of 4,096 entries, in
row-major order, with one Gaussian vector g. It is linear, and since E ⟨g, d⟩² = ‖d‖² the norm of the difference of two
sketches estimates that of the arrays, with a deviation of √(2/parts) where the difference is spread over all parts.
No difference is orthogonal to g but with probability 0; one that lies in a single part shows less than a hundredth of
its norm with probability 0.008.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gradcheck.pairing import BLOCK, blocks
from gradcheck.trees import Array, norm

__all__ = ["WHOLE", "Drawn", "Sketch", "sketch"]

WHOLE = BLOCK  # entries of the largest array that is its own sketch
PART = 1 << 12
STREAM = 0x736B657463680000  # our own: default_rng(0) may have drawn the very array that is sketched


class Sketch:
    """What is kept of an array: its shape, its norm, and the sketch itself, flat, in float64.

    Of a sum, the norm is the sum of the norms: the size of what was summed, of which the sum may be a small rest.
    No dataclass, since it stands in the place of a leaf, and a dataclass is a container of leaves. So does ``Drawn``.
    """

    def __init__(self, shape: tuple[int, ...], norm: float, numbers: Array) -> None:
        self.shape = shape
        self.norm = norm
        self.numbers = numbers

    def __add__(self, other: Sketch) -> Sketch:
        """Return the sketch of the sum."""
        return Sketch(self.shape, self.norm + other.norm, self.numbers + other.numbers)

    def __rmul__(self, factor: float) -> Sketch:
        """Return the sketch of ``factor`` times the array."""
        return Sketch(self.shape, abs(factor) * self.norm, factor * self.numbers)


class Drawn:
    """A large array of normal numbers of deviation ``scale``, drawn anew each time that NumPy asks for it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], seed: int, scale: float = 1.0) -> None:
        self.shape = shape
        self.dtype = dtype
        self.seed = seed
        self.scale = scale

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the array, a fresh one each time."""
        if copy is False:
            raise ValueError("a drawn array must be made anew each time, but copy=False. Leave it out.")
        array, rng = np.empty(self.shape, self.dtype if dtype is None else dtype), np.random.default_rng(self.seed)
        for (part,) in blocks(array):
            np.multiply(rng.standard_normal(part.size), self.scale, out=part, casting="same_kind")
        return array


def sketch(array: Any) -> Sketch:
    """Return the sketch of ``array``, which shares no memory with it; of a sketch that itself."""
    if isinstance(array, Sketch):
        return array
    array = np.asarray(array)
    if array.size <= WHOLE:
        numbers = np.array(array, dtype=np.float64).ravel()
        return Sketch(array.shape, norm(numbers), numbers)
    g, numbers, squares, at = _gaussian(), np.zeros(-(-array.size // PART)), 0.0, 0
    with np.errstate(all="ignore"):
        for (rows,) in blocks(array):
            left = rows.astype(np.float64, copy=False)
            squares += float(left @ left)
            while left.size:
                start = at % PART
                piece, left = left[: PART - start], left[PART - start :]
                numbers[at // PART] += piece @ g[start : start + piece.size]
                at += piece.size
    return Sketch(array.shape, float(np.sqrt(squares)), numbers)


@functools.cache
def _gaussian() -> Array:
    return np.random.default_rng(STREAM).standard_normal(PART)
