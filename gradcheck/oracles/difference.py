"""Central differences that find their own step and measure their own error. Level 1.

Along a direction v the function is sampled at ± h for steps h on a geometric ladder. Two things spoil a
difference: rounding, which grows as h shrinks, and truncation, which grows with h.

Noise.    For small h the odd part of φ is linear in h and the even part quadratic, whatever φ is. What is left
          of both after these are taken off is noise. The quietest stretch of the ladder gives its level η; a
          known floor (the rounding of the output) keeps a lucky cancellation from making it zero.
Truth.    Richardson's table T removes h², h⁴, … from the symmetric quotients S(h) = (φ(h) − φ(−h)) / 2h.
          In each column the step grows from the finest one for as long as the estimate agrees with *all* finer
          ones within what noise explains (Lepski's rule). A fluke at a coarse step has to coincide with every
          finer step to be believed, which a minimum over the table would not ask for.
Bound.    The noise at the chosen step, or the noise that the disagreement with finer steps implies where that
          is larger, times ``SAFETY``; never less than the rounding of the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.oracles.estimate import Estimate, Pushforward
from gradcheck.trees import Array

__all__ = ["central_difference"]

EPS = float(np.finfo(np.float64).eps)
FACTOR = 4.0  # ratio of neighbouring steps
RUNGS = 12  # steps of a first direction: 0.5 · 4⁰ … 4⁻¹¹ of the point's own length,
FINER_RUNGS = 4  # and so many below these, where the first leave a relative bound
DOUBT = 1e-7  # worse than this, or see a kink
NEXT_RUNGS = 6  # steps of a further direction, around the step that the first one chose,
WORSE = 30.0  # which may make its bound this much worse before a full ladder is sampled again
LOW_PRECISION = 2e-6  # below this part of the point, an f that does not move rounds its argument to float32
COLUMNS = 5  # of Richardson's table: error terms up to h⁸ are removed
STRETCH = 5  # residues among which the noise level is read,
QUIET = 3  # or so few at the finest steps, if they are as small as rounding makes them
AGREE = 6.0  # how many noise levels two estimates may differ by and still agree
SAFETY = 16.0  # the bound in noise levels: 7 of 90 000 estimates left one of 12, by a factor of up to 2.5


class Limit(NamedTuple):
    """What a ladder of samples says about the derivative, and which step said it, in lengths of the point."""

    value: float
    error: float
    noise: float
    step: float
    kink: float = 0.0


def central_difference(f: Callable[[Array], Any], x: Array) -> Pushforward:
    """Return the pushforward of ``f`` at ``x`` by central differences with a measured error bound.

    ``f`` may return a number or an array of any shape, which is then the shape of the estimate. Costs 25 evaluations
    for the first direction, or 33 where these leave a doubt, and 12 for each further one, unless the steps that suited
    the first do not suit it.
    """
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        origin = np.asarray(f(x), dtype=np.float64)
    floor = np.ravel(getattr(f, "rounding", EPS / 2 * np.abs(origin))) + np.zeros(origin.size)
    found: list[Limit | None] = [None] * origin.size

    def sample(v: Array, h: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):  # a step may leave the domain of f; it is then not used
            right = np.stack([np.ravel(f(x + t * v) - origin) for t in h])
            left = np.stack([np.ravel(f(x - t * v) - origin) for t in h])
        return right, left

    def again(v: Array, length: float) -> list[Limit] | None:
        """Use the steps that suited the direction before; None where they do not suit this one."""
        if not all(found):
            return None
        step = float(np.median([limit.step for limit in found if limit]))
        top = min(step * FACTOR ** (NEXT_RUNGS - 3), 0.5)
        h = top * length * FACTOR ** np.arange(1.0 - NEXT_RUNGS, 1)
        right, left = sample(v, h)
        limits = [_limit(h, right[:, i], left[:, i], floor[i], length, before) for i, before in enumerate(found)]
        suits = (now.error <= WORSE * before.error for now, before in zip(limits, found, strict=True) if before)
        return limits if all(suits) else None

    def ladder(v: Array, length: float) -> list[Limit]:
        """Sample the ladder, and finer steps below it where it leaves more than a small doubt."""
        h = 0.5 * length * FACTOR ** np.arange(1.0 - RUNGS, 1)
        right, left = sample(v, h)
        limits = [_limit(h, right[:, i], left[:, i], floor[i], length) for i in range(origin.size)]
        if all(limit.error <= DOUBT * abs(limit.value) and not limit.kink for limit in limits):
            return limits
        finer = h[0] * FACTOR ** np.arange(-float(FINER_RUNGS), 0)
        more = sample(v, finer)
        h, right, left = np.r_[finer, h], np.r_[more[0], right], np.r_[more[1], left]
        return [_limit(h, right[:, i], left[:, i], floor[i], length) for i in range(origin.size)]

    def pushforward(v: Array) -> Estimate:
        v = np.asarray(v, dtype=np.float64)
        size = float(np.linalg.norm(v))
        if size == 0.0:
            return Estimate(np.zeros(origin.shape)[()], np.zeros(origin.shape)[()])
        length = (float(np.linalg.norm(x)) or math.sqrt(x.size)) / size
        limits = again(v, length)
        if limits is None:
            limits = ladder(v, length)
            found[:] = [limit if np.isfinite(limit.error) and limit.step else None for limit in limits]
        value, error, kink = (np.reshape([limit[k] for limit in limits], origin.shape)[()] for k in (0, 1, 4))
        return Estimate(value, error, kink)

    return pushforward


def _limit(h: Array, right: Array, left: Array, floor: float, length: float, known: Limit | None = None) -> Limit:
    """Return the derivative at 0 from samples at ± ``h``, finest first; ``known`` is what another direction found."""
    finite = np.isfinite(right) & np.isfinite(left)
    usable = len(h) if finite.all() else int(np.argmin(finite))
    h, right, left = h[:usable], right[:usable], left[:usable]
    silent = _silent(right, left)
    if silent and known is None:
        moving = _limit(h[silent:], right[silent:], left[silent:], max(floor, abs(right[silent])), length)
        if h[silent] <= LOW_PRECISION * length:  # f rounds its argument to float32: what it does there says nothing
            return moving
        if abs(moving.value) > moving.error:  # rounded more coarsely still, or a flat stretch between two kinks?
            return moving._replace(error=abs(moving.value) + moving.error)
    if usable < 3:
        return Limit(np.nan, np.inf, floor, 0.0)
    quotient, even = (right - left) / (2 * h), (right + left) / 2
    noise = max(floor, 2 * known.noise if known else _noise(h, quotient, even, floor))
    blur = 4 * EPS * length * np.abs(even) / h**2  # rounding of x + hv, times how the slope changes within h
    best = Limit(np.nan, np.inf, noise, 0.0)
    for column in _columns(quotient, COLUMNS):
        for rung in range(1, len(column)):
            apart = np.abs(column[rung] - column[:rung])
            if np.any(apart > AGREE * (noise * (1 / h[:rung] + 1 / h[rung]) + blur[rung])):
                break
            implied = float(np.max(apart * h[:rung]))
            error = SAFETY * max(noise, implied) / h[rung] + apart[-1] + blur[rung]
            error += 8 * EPS * (abs(column[rung]) + (abs(known.value) if known else 0.0))
            if error < best.error:
                best = Limit(float(column[rung]), float(error), noise, h[rung] / length, _kink(h, even, noise, rung))
    return best


def _silent(right: Array, left: Array) -> int:
    """Return at how many of the finest steps f does not move at all before it moves to both sides at once.

    That is how an f looks that rounds its argument more coarsely than the step. A flat f with a kink farther out, such
    as a ReLU that is shut, begins to move on one side.
    """
    moves = (right != 0) | (left != 0)
    first = int(np.argmax(moves)) if moves.any() else 0
    return first if first and np.any(right[first : first + 3] * left[first : first + 3] < 0) else 0


def _noise(h: Array, quotient: Array, even: Array, floor: float) -> float:
    """Return the noise level of φ: what is left of its odd and even part on the quietest stretch of rungs.

    Of the odd part h, h³ and h⁵ are taken off; of the even part h² and h⁴, or h, as a kink at 0 leaves it: whichever
    leaves least. Where the finest rungs are as quiet as the rounding of the output alone, they are believed at once.
    """
    odd = _least(_pad(np.abs(np.diff(column)) * h[: len(column) - 1], len(h)) for column in _columns(quotient, 3))
    curved = even[:-1] - even[1:] / FACTOR**2
    bent = curved[:-1] - curved[1:] / FACTOR**4
    kinked = even[:-1] - even[1:] / FACTOR
    residue = np.maximum(odd, _least(_pad(np.abs(part), len(h)) for part in (curved, bent, kinked)))[:-1]
    finest = float(residue[:QUIET].max())
    if finest <= 16 * floor and np.any(quotient[:QUIET]):
        return max(finest, 2 * floor)
    stretch = min(STRETCH, len(residue))
    return max(floor, float(min(residue[i : i + stretch].max() for i in range(len(residue) - stretch + 1))))


def _columns(quotient: Array, count: int) -> Iterator[Array]:
    """Yield the columns of Richardson's table: each removes one more even power of h."""
    column = quotient
    for order in range(1, count + 1):
        yield column
        if len(column) < 3:
            return
        column = column[:-1] + (column[:-1] - column[1:]) / (FACTOR ** (2 * order) - 1)


def _pad(residue: Array, length: int) -> Array:
    return np.concatenate([residue, np.full(length - len(residue), np.inf)])


def _least(residues: Iterable[Array]) -> Array:
    least: Array = np.min(np.stack(list(residues)), axis=0)
    return least


def _kink(h: Array, even: Array, noise: float, rung: int) -> float:
    """Return half the jump of the slope at 0 as seen from ``rung``; 0.0 where the slopes meet as h shrinks."""
    here, finer = (abs(even[k]) / h[k] for k in (rung, rung - 1))
    return float(here) if abs(even[rung]) > 8 * noise and finer > here / 2 else 0.0
