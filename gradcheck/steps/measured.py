"""The true gradients where no recording gives them: measured entry by entry, or along a few tangents. Level 3.

What is said of a gradient is tested on what was measured: that an array is the true gradient, or a multiple of it.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.oracles.estimate import Pushforward
from gradcheck.trees import Array, norm

__all__ = ["Measured", "measured"]

MOST = 1000  # entries that are measured one by one
PROBES = 6  # tangents along which a larger gradient is measured
CLOSE = 1e-6  # of the norm: what equals the true gradient; more where the measured errors are larger
SECONDS = 1.0  # for all entries together
VAGUE = 1e-2  # where the errors are larger than that, nothing is equal


class Measured(NamedTuple):
    """A true gradient of a ``shape``: its entries, or the slopes along ``tangents`` (K, n); ``close``, relative."""

    shape: tuple[int, ...]
    values: Array
    tangents: Array | None = None
    close: float = CLOSE

    @property
    def entries(self) -> Array | None:
        """The gradient entry by entry; None where it is not known so well."""
        return None if self.tangents is not None else self.values.reshape(self.shape)

    def holds(self, gradient: Array) -> bool:
        """Whether ``gradient`` is the true one, in shape and numbers."""
        return np.shape(gradient) == self.shape and self._near(self._seen(gradient))

    def share(self, gradient: Array) -> float | None:
        """Return how many times ``gradient`` the true one is; None if it is no multiple of it."""
        if np.shape(gradient) != self.shape:
            return None
        seen = self._seen(gradient)
        size = float(seen @ seen)
        share = float(seen @ self.values) / size if size and math.isfinite(size) else 0.0
        return share if share and self._near(share * seen) else None

    def less(self, gradient: Array) -> Measured:
        """Return what is left of the true gradient when one of its shape is taken off."""
        rest = self.values - self._seen(gradient)
        size = norm(rest)
        worse = norm(self.values) / size if size else math.inf
        return self._replace(values=rest, close=max(self.close, self.close * worse))

    def _seen(self, gradient: Array) -> Array:
        flat = np.ravel(np.asarray(gradient, dtype=np.float64))
        return flat if self.tangents is None else self.tangents @ flat

    def _near(self, seen: Array) -> bool:
        size = max(norm(self.values), norm(seen))
        return self.close < VAGUE and bool(norm(seen - self.values) <= self.close * size)


def measured(
    arguments: Arguments, slope: Pushforward, paths: Iterable[str], rng: np.random.Generator, seconds: float = SECONDS
) -> dict[str, Measured]:
    """Return what ``slope``, along a tangent of all arguments, tells of the gradients at ``paths``.

    As many entries are measured one by one, of the small gradients first, as fit into so many ``seconds``.
    """
    layout = arguments.layout
    at = {path: leaf for leaf, path in enumerate(layout.paths)}
    end = time.perf_counter() + seconds
    found = {}
    for path in sorted(paths, key=lambda path: layout.sizes[at[path]]):
        leaf = at[path]
        size, embedded = layout.sizes[leaf], functools.partial(_embedded, layout.size, layout.slices[leaf])
        start = time.perf_counter()
        probes = rng.standard_normal((PROBES, size))
        seen = [slope(embedded(tangent)) for tangent in probes]
        each = (time.perf_counter() - start) / PROBES
        whole = size <= MOST and time.perf_counter() + size * each < end
        if whole:
            seen = [slope(embedded(tangent)) for tangent in np.eye(size)]
        values = np.array([float(each.value) for each in seen])
        errors = np.array([float(each.error) + float(each.kink) for each in seen])
        close = max(CLOSE, 4 * norm(errors) / (norm(values) or 1.0))
        found[path] = Measured(layout.shapes[leaf], values, None if whole else probes, close)
    return found


def _embedded(size: int, part: slice, tangent: Array) -> Array:
    """Return the tangent of all arguments that moves one of them."""
    vector = np.zeros(size)
    vector[part] = tangent
    return vector
