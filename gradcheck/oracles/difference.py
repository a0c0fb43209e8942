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

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.oracles.estimate import Estimate
from gradcheck.trees import Array

__all__ = ["Differences", "central_difference"]

EPS = float(np.finfo(np.float64).eps)
FACTOR = 4.2  # of neighbouring steps; no whole number, or an f that rounds to a grid could look linear on them all
RUNGS = 12  # steps of a first direction: 0.5 · 4.2⁰ … 4.2⁻¹¹ of the point's own length,
FIRST_RUNGS = slice(4, 10)  # of which these, finest first, are enough where f is smooth: no noise but
PLAIN = 16.0  # times the rounding of the output, no kink, and a relative bound below
CLEAR = 1e-9  # this;
FINER_RUNGS = 4  # and so many below all, or above, where these leave a relative bound
DOUBT = 1e-7  # worse than this, or see a kink,
WIDE = 24.0  # in this ratio where noise drowns the first: is it noise, or structure finer than all of them?
LOUD = 1e3  # times the rounding of the output is more than plain rounding
NEXT_RUNGS = 4  # steps of a further direction, around the step that the first one chose, and one more on either side
EARLY = 2  # of these, the finest, are enough to refute a claim that is off by
FAR = 100.0  # times their bound,
SOUND = 1e-6  # if that is so small a part of the slope: a report prints six digits, and other steps may not suit
WORSE = 30.0  # where these make its bound so much worse; if that does not help, a ladder is sampled anew
TINY = 1e-13  # of the point is the smallest step at which it still moves by more than its rounding
LOW_PRECISION = 2e-6  # below this part of the point, an f that does not move rounds its argument to float32
COLUMNS = 5  # of Richardson's table: error terms up to h⁸ are removed
STRETCH = 5  # residues among which the noise level is read,
QUIET = 3  # or so few at the finest steps, if they are as small as rounding makes them
STRUCTURE = 100.0  # times quieter than the quietest stretch; noise does not fade with the step
AGREE = 6.0  # how many noise levels two estimates may differ by and still agree,
NEAR = 40.0  # and how many of what is left over at a fine step itself
SAFETY = 16.0  # the bound in noise levels; benchmarks/calibration.py measures how often it holds


class Limit(NamedTuple):
    """What a ladder of samples says about the derivative, and which step said it, in lengths of the point."""

    value: float
    error: float
    noise: float
    step: float
    kink: float = 0.0


class Samples(NamedTuple):
    """Changes of every entry of f at ± h, finest step first: arrays of shape (steps, entries)."""

    h: Array
    right: Array
    left: Array

    def below(self, finer: Samples) -> Samples:
        """These samples with ``finer`` ones put before them."""
        return Samples(*(np.concatenate(parts) for parts in zip(finer, self, strict=True)))


@dataclass(frozen=True)
class Differences:
    """A pushforward by differences.

    ``against(v, claimed)`` measures the slope along v no more sharply than it takes to see that a number is not it.
    """

    measure: Callable[[Array, float | None], Estimate]

    def __call__(self, v: Array) -> Estimate:
        """Measure the slope along ``v`` as sharply as can be."""
        return self.measure(v, None)

    def against(self, v: Array, claimed: float) -> Estimate:
        """Measure the slope along ``v``; roughly, if that is far from ``claimed`` already."""
        return self.measure(v, claimed)


def central_difference(f: Callable[[Array], Any], x: Array) -> Differences:
    """Return the pushforward of ``f`` at ``x`` by central differences with a measured error bound.

    ``f`` may return a number or an array of any shape, which is then the shape of the estimate. Costs 13 evaluations
    for the first direction, 25 or 33 where these leave a doubt, and 8 or 12 for each further one, unless the steps that
    suited the first do not suit it. A step at which ``f`` raises or is not finite is not used. Where ``f`` has an
    ``origin``, that is its value at ``x``.
    """
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        origin = np.array(f.origin if hasattr(f, "origin") else f(x.copy()), dtype=np.float64)
    floor = np.ravel(getattr(f, "rounding", EPS / 2 * np.abs(origin))) + np.zeros(origin.size)
    unit = float(getattr(f, "unit", EPS))
    found: list[Limit | None] = [None] * origin.size  # along a tangent that moves the point by its own length

    def measure(v: Array, claimed: float | None) -> Estimate:
        v = np.asarray(v, dtype=np.float64)
        length = _length(f, x, v)
        if length == 0.0:
            return Estimate(np.zeros(origin.shape)[()], np.zeros(origin.shape)[()])
        sample = functools.partial(_sample, f, x, origin, v)
        limits = _again(sample, floor, unit, length, found, claimed)
        if limits is None:
            limits = _ladder(sample, floor, unit, length)
            found[:] = [_scaled(limit, length) if np.isfinite(limit.error) and limit.step else None for limit in limits]
        value, error, kink = (np.reshape([limit[k] for limit in limits], origin.shape)[()] for k in (0, 1, 4))
        reason = None if np.isfinite(error).all() else "the forward is finite at too few steps"
        return Estimate(value, error, kink, reason)

    return Differences(measure)


def _length(f: Callable[[Array], Any], x: Array, v: Array) -> float:
    """Return how far along ``v`` the part of the point that moves changes by its own length; 0.0 if nothing moves."""
    if hasattr(f, "length"):
        return float(f.length(x, v))
    moves = v != 0
    return (
        (float(np.linalg.norm(x[moves])) or math.sqrt(moves.sum())) / float(np.linalg.norm(v)) if moves.any() else 0.0
    )


def _sample(f: Callable[[Array], Any], x: Array, origin: Array, v: Array, h: Array) -> Samples:
    def change(t: float) -> Array:
        try:
            u = t * v
            u += x
            return np.ravel(np.asarray(f(u), dtype=np.float64) - origin)
        except Exception:  # noqa: BLE001  (f may refuse a point outside its domain; at x itself it was heard)
            return np.full(origin.size, np.nan)

    with np.errstate(all="ignore"):
        return Samples(h, np.stack([change(t) for t in h]), np.stack([change(-t) for t in h]))


def _again(
    sample: Callable[[Array], Samples],
    floor: Array,
    unit: float,
    length: float,
    found: list[Limit | None],
    claimed: float | None,
) -> list[Limit] | None:
    """Use the steps that suited the direction before; None where they do not suit this one.

    Of a single slope that is not the one ``claimed`` by far, the finest of them show it.
    """
    before = [_scaled(limit, 1 / length) for limit in found if limit]
    if len(before) < len(found):
        return None

    def suit(limits: list[Limit]) -> bool:
        return all(now.error <= WORSE * then.error for now, then in zip(limits, before, strict=True))

    top = min(float(np.median([limit.step for limit in before])) * FACTOR ** (NEXT_RUNGS - 2), 0.5 / FACTOR)
    h = top * length * FACTOR ** np.arange(1.0 - NEXT_RUNGS, 1)
    if claimed is None or len(before) > 1:
        samples = sample(h)
    else:
        samples = sample(h[:EARLY])
        rough = _rough(samples, float(floor[0]), unit, length, before[0])
        if abs(rough.value - claimed) > FAR * rough.error and rough.error <= SOUND * abs(rough.value):
            return [rough]
        samples = sample(h[EARLY:]).below(samples)
    limits = _limits(samples, floor, unit, length, before)
    if not suit(limits):
        finer, coarser = (sample(h) for h in (samples.h[:1] / FACTOR, samples.h[-1:] * FACTOR))
        limits = _limits(coarser.below(samples).below(finer), floor, unit, length, before)
    return limits if suit(limits) else None


def _scaled(limit: Limit, factor: float) -> Limit:
    """Return what a limit would be along a tangent so many times as long."""
    return limit._replace(value=factor * limit.value, error=factor * limit.error, kink=factor * limit.kink)


def _ladder(sample: Callable[[Array], Samples], floor: Array, unit: float, length: float) -> list[Limit]:
    """Sample a few rungs, all of them where these do not show a smooth f, and steps beside where doubt is left."""
    steps = 0.5 * length * FACTOR ** np.arange(1.0 - RUNGS, 1)
    samples = sample(steps[FIRST_RUNGS])
    limits = _limits(samples, floor, unit, length)
    if all(_is_clear(limit, low) for limit, low in zip(limits, floor, strict=True)):
        return limits
    samples = sample(steps[FIRST_RUNGS.stop :]).below(samples).below(sample(steps[: FIRST_RUNGS.start]))
    limits = _limits(samples, floor, unit, length)
    if all(limit.error <= DOUBT * abs(limit.value) and not limit.kink for limit in limits):
        return limits
    tops = [limit.step for limit in limits if not limit.kink and limit.noise <= LOUD * max(floor)]
    if tops and min(tops) > 0.5 / FACTOR**1.5:  # the point is short beside what f changes over, such as tiny weights
        coarser = sample(samples.h[-1] * FACTOR ** (1.5 * np.arange(1.0, FINER_RUNGS + 1)))
        wider = _limits(coarser.below(samples), floor, unit, length)
        # Where f is seen to move on none of them, they say nothing: so far away it may be flat and here it is not.
        return [new if abs(new.value) > new.error else old for new, old in zip(wider, limits, strict=True)]
    lost = not np.isfinite(samples.right[-4:] + samples.left[-4:]).all()
    drowned = any(limit.noise > LOUD * low for limit, low in zip(limits, floor, strict=True))
    ratio = WIDE if lost or drowned else FACTOR
    samples = samples.below(sample(samples.h[0] * ratio ** np.arange(-float(FINER_RUNGS), 0)))
    limits = _limits(samples, floor, unit, length)
    if lost and not all(
        np.isfinite(limit.error) for limit in limits
    ):  # the edge of the domain is nearer than all steps
        edge = samples.h[max(_prefix(np.isfinite(samples.right + samples.left).all(axis=1)) - 1, 0)]
        h = edge * FACTOR ** np.arange(1.0 - RUNGS, 1)
        h = h[h >= TINY * length]
        limits = _limits(sample(h), floor, unit, length) if len(h) else limits
    return limits


def _is_clear(limit: Limit, floor: float) -> bool:
    """Whether a few rungs say all: as quiet as plain rounding, no kink, and a small bound."""
    return 0 < limit.error <= CLEAR * abs(limit.value) and limit.noise <= PLAIN * floor and not limit.kink


def _limits(
    samples: Samples, floor: Array, unit: float, length: float, known: list[Limit] | None = None
) -> list[Limit]:
    """Return the limit of every entry."""
    h, right, left = samples
    return [
        _limit(h, right[:, i], left[:, i], low, unit, length, known[i] if known else None)
        for i, low in enumerate(floor)
    ]


def _limit(
    h: Array, right: Array, left: Array, floor: float, unit: float, length: float, known: Limit | None = None
) -> Limit:
    """Return the derivative at 0 from samples at ± ``h``, finest first; ``known`` is what another direction found."""
    usable, *sides = (_prefix(np.isfinite(change)) for change in (right + left, right, left))
    if usable < 3 <= max(sides) - 2:
        side = int(np.argmax(sides))
        part = slice(0, sides[side])
        return _one_sided((h, -h)[side][part], (right, left)[side][part], floor, length)
    h, right, left = h[:usable], right[:usable], left[:usable]
    silent = _silent(right, left)
    if silent and known is None:
        jump = max(abs(right[silent]), abs(left[silent]))
        moving = _limit(h[silent:], right[silent:], left[silent:], max(floor, jump), unit, length)
        # Does f round its argument to float32? Then what it does at finer steps says nothing.
        if h[silent] <= LOW_PRECISION * length or not np.isfinite(moving.error):
            return moving
        if not abs(moving.value) <= moving.error:  # rounded more coarsely still, or a flat stretch between two kinks?
            return moving._replace(error=abs(moving.value) + moving.error)
    if usable < 3:
        return Limit(np.nan, np.inf, floor, 0.0)
    quotient, even = (right - left) / (2 * h), (right + left) / 2
    residue = _residue(h, quotient, even)
    noise = max(floor, 2 * known.noise if known else _noise(residue, quotient, floor))
    near = (NEAR * np.maximum(residue, floor) / h[:-1])[: 0 if known else QUIET]
    blur = 4 * EPS * length * np.abs(even) / h**2  # rounding of x + hv, times how the slope changes within h
    grain = noise + 4 * unit * np.maximum(np.abs(right), np.abs(left))  # an output that grows is rounded more coarsely
    value, error, rung = _grow(h, _columns(h, quotient, COLUMNS), grain, near, blur)
    if rung is None:
        return Limit(np.nan, np.inf, noise, 0.0)
    error += 8 * EPS * abs(known.value) if known else 0.0
    return Limit(value, error, noise, h[rung] / length, _kink(h, even, grain, rung))


def _rough(samples: Samples, floor: float, unit: float, length: float, known: Limit) -> Limit:
    """Return the slope from two steps, with what Richardson takes off as its bound; an infinite one at a kink."""
    h, right, left = samples.h, samples.right[:, 0], samples.left[:, 0]
    quotient, even = (right - left) / (2 * h), (right + left) / 2
    noise = max(floor, 2 * known.noise) + 4 * unit * float(np.max(np.abs([right, left])))
    off = float(quotient[1] - quotient[0]) / (FACTOR**2 - 1)
    error = abs(off) + SAFETY * noise / h[0] + 4 * EPS * length * float(np.max(np.abs(even) / h**2))
    if _kink(h, even, np.full(EARLY, noise), 1) or not math.isfinite(error):
        error = math.inf
    return Limit(float(quotient[0]) - off, error, noise, known.step)


def _one_sided(h: Array, change: Array, floor: float, length: float) -> Limit:
    """Return the derivative at 0 from one side alone, at the edge of the domain of f; ``h`` carries the sign."""
    quotient = change / h
    odd = _least(_pad(np.abs(np.diff(c)) * np.abs(h[: len(c) - 1]), len(h)) for c in _columns(h, quotient, 3, power=1))
    noise = _noise(odd[:-1], quotient, floor)
    columns = _columns(h, quotient, COLUMNS, power=1)
    value, error, rung = _grow(np.abs(h), columns, np.full(len(h), noise), np.empty(0), np.zeros(len(h)))
    return Limit(value, error, noise, 0.0 if rung is None else abs(h[rung]) / length)


def _grow(
    h: Array, columns: Iterable[Array], noise: Array, near: Array, blur: Array
) -> tuple[float, float, int | None]:
    """Return value, error and rung of the best estimate that agrees with all finer ones of its column."""
    best: tuple[float, float, int | None] = (np.nan, np.inf, None)
    for column in columns:
        for rung in range(1, len(column)):
            apart = np.abs(column[rung] - column[:rung])
            allowed = AGREE * (noise[:rung] / h[:rung] + noise[rung] / h[rung] + blur[rung])
            fine = min(rung, len(near))
            allowed[:fine] = np.minimum(allowed[:fine], near[:fine] + AGREE * (noise[rung] / h[rung] + blur[rung]))
            if np.any(apart > allowed):
                break
            implied = float(np.max(apart * h[:rung]))
            error = SAFETY * max(noise[rung], implied) / h[rung] + apart[-1] + blur[rung] + 8 * EPS * abs(column[rung])
            if error < best[1]:
                best = float(column[rung]), float(error), rung
    return best


def _prefix(finite: Array) -> int:
    """Return how many of the finest steps are finite before the first that is not."""
    return len(finite) if finite.all() else int(np.argmin(finite))


def _silent(right: Array, left: Array) -> int:
    """Return at how many of the finest steps f does not move at all before it moves to both sides at once.

    That is how an f looks that rounds its argument more coarsely than the step. A flat f with a kink farther out, such
    as a ReLU that is shut, begins to move on one side.
    """
    moves = (right != 0) | (left != 0)
    first = int(np.argmax(moves)) if moves.any() else 0
    return first if first and np.any(right[first : first + 3] * left[first : first + 3] < 0) else 0


def _residue(h: Array, quotient: Array, even: Array) -> Array:
    """Return what is left of φ at each rung but the coarsest when its smooth part is taken off.

    Of the odd part h, h³ and h⁵ are taken off; of the even part h² and h⁴, or h, as a kink at 0 leaves it: whichever
    leaves least.
    """
    odd = _least(_pad(np.abs(np.diff(column)) * h[: len(column) - 1], len(h)) for column in _columns(h, quotient, 3))
    ratio = h[1:] / h[:-1]
    curved = even[:-1] - even[1:] / ratio**2
    bent = curved[:-1] - curved[1:] / (ratio[:-1] ** 2 * ratio[1:] ** 2)
    kinked = even[:-1] - even[1:] / ratio
    residue: Array = np.maximum(odd, _least(_pad(np.abs(part), len(h)) for part in (curved, bent, kinked)))[:-1]
    return residue


def _noise(residue: Array, quotient: Array, floor: float) -> float:
    """Return the noise level of φ: the largest residue on the quietest stretch of rungs.

    Where the finest rungs are as quiet as the rounding of the output alone, they are believed at once; and where they
    are far quieter than any stretch, what looks like noise on the others is structure.
    """
    finest = float(residue[:QUIET].max())
    stretch = min(STRETCH, len(residue))
    quietest = float(min(residue[i : i + stretch].max() for i in range(len(residue) - stretch + 1)))
    moves = bool(np.all(quotient[: QUIET + 1]))
    if moves and (finest <= 16 * floor or finest <= quietest / STRUCTURE):
        return max(2 * finest, 2 * floor)
    return max(floor, quietest)


def _columns(h: Array, quotient: Array, count: int, power: int = 2) -> Iterator[Array]:
    """Yield the columns of Richardson's table: each removes one more power of h, every second one for ``power`` 2."""
    column = quotient
    for order in range(1, count + 1):
        yield column
        if len(column) < 3:
            return
        column = column[:-1] + (column[:-1] - column[1:]) / ((h[order:] / h[:-order]) ** power - 1)


def _pad(residue: Array, length: int) -> Array:
    return np.concatenate([residue, np.full(length - len(residue), np.inf)])


def _least(residues: Iterable[Array]) -> Array:
    least: Array = np.min(np.stack(list(residues)), axis=0)
    return least


def _kink(h: Array, even: Array, noise: Array, rung: int) -> float:
    """Return half the jump of the slope at 0 as seen from ``rung``; 0.0 where the slopes meet as h shrinks."""
    here, finer = (abs(even[k]) / h[k] for k in (rung, rung - 1))
    return float(here) if abs(even[rung]) > 8 * noise[rung] and finer > here / 2 else 0.0
