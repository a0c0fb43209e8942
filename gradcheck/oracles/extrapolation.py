"""From samples of a function at ± h to its slope at 0, with a bound of the error. Level 1.

Along a direction v, φ(t) = f(x + t v) − f(x) is known at ± h for steps h on a geometric ladder. Two things spoil a
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

Steps are measured in lengths of the point and changes in the largest of them, so that no square leaves the range of
float64; and tables of a dozen numbers are lists, which Python reads faster than NumPy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["EPS", "LOUD", "QUIET", "SAFETY", "Limit", "Scale", "leftovers", "one_sided", "rough", "two_sided"]

EPS = 2.0**-52
COLUMNS = 5  # of Richardson's table: error terms up to h⁸ are removed
LEAST = 3  # rungs, or nothing can be said of a slope;
LEAST_ONE_SIDED = 5  # from one side alone, where every power of h has to be removed and not every second one
ONE_SIDED = 4.0  # times as wide: at an edge f often has powers of h that are not whole, such as x^1.5 at 0
STRETCH = 5  # residues among which the noise level is read,
QUIET = 3  # or so few at the finest steps, if they are as small as rounding makes them
STRUCTURE = 100.0  # times quieter than the quietest stretch; noise does not fade with the step
LOUD = 1e3  # times the rounding of the output is more than plain rounding
FADES = 7  # residues that only grow: of noise one in 5,040 does,
GRADUAL = 50.0  # by less than this from one to the next, as those of a root do (2 to 9) and not those of a jump,
FINEST = 3  # from one of the finest on, which may be lost in the rounding of the point
DEEP = 1e-8  # of the point: at such steps its rounding is no longer small, and a bound is
DEEPER = 4.0  # times as wide
AGREE = 6.0  # how many noise levels two estimates may differ by and still agree,
NEAR = 40.0  # and how many of what is left over at a fine step itself
SAFETY = 16.0  # the bound in noise levels; benchmarks/calibration.py measures how often it holds
LOW_PRECISION = 2e-6  # below this part of the point, an f that does not move rounds its argument to float32


class Limit(NamedTuple):
    """What samples say about the slope, and which step said it, in lengths of the point; 0.0 if none did."""

    value: float
    error: float
    noise: float
    step: float = 0.0
    kink: float = 0.0

    def scaled(self, factor: float) -> Limit:
        """Return what this would be along a tangent so many times as long."""
        return self._replace(value=factor * self.value, error=factor * self.error, kink=factor * self.kink)


class Scale(NamedTuple):
    """What rounding does: to the output at the point, to an output in relation to itself, and to the point.

    ``floor`` is in the units of φ; ``grain`` is in lengths of the point.
    """

    floor: float
    unit: float
    grain: float


def two_sided(
    h: Sequence[float],
    right: Sequence[float],
    left: Sequence[float],
    scale: Scale,
    known: Limit | None = None,
    *,
    steady: bool = True,
    quiet: int = QUIET,
) -> Limit:
    """Return the slope at 0 from φ(h) and φ(−h), finest first.

    ``known`` is what another direction found. A φ that jumps is not ``steady``: that its finest changes are quiet says
    nothing then. Otherwise so many as are ``quiet`` tell the noise.
    """
    usable = _prefix([r + l for r, l in zip(right, left, strict=True)])
    if usable < LEAST:
        return Limit(math.nan, math.inf, scale.floor)
    h, right, left = h[:usable], right[:usable], left[:usable]
    largest = max(scale.floor, *map(abs, right), *map(abs, left))
    if not largest:
        return Limit(0.0, 0.0, 0.0, h[-1])
    silent = _silent(right, left) if steady and not known else 0
    if silent:
        jump = max(abs(right[silent]), abs(left[silent]))
        coarser = scale._replace(floor=max(scale.floor, jump))
        moving = two_sided(h[silent:], right[silent:], left[silent:], coarser)
        # Does f round its argument to float32? Then what it does at finer steps says nothing.
        if h[silent] <= LOW_PRECISION or not math.isfinite(moving.error):
            return moving
        if not abs(moving.value) <= moving.error:  # rounded more coarsely still, or a flat stretch between two kinks?
            return moving._replace(error=abs(moving.value) + moving.error)
    found = _two_sided(
        h,
        [r / largest for r in right],
        [l / largest for l in left],
        scale._replace(floor=scale.floor / largest),
        known and known.scaled(1 / largest)._replace(noise=known.noise / largest),
        quiet=quiet if steady else 0,
    )
    return found.scaled(largest)._replace(noise=found.noise * largest)


def _two_sided(
    h: Sequence[float],
    right: Sequence[float],
    left: Sequence[float],
    scale: Scale,
    known: Limit | None,
    *,
    quiet: int,
) -> Limit:
    """As :func:`two_sided`, of changes that are finite and no larger than 1."""
    quotient, even = _parts(h, right, left)
    residue = _residue(h, quotient, even)
    if not known and _fades(h, residue, right, left, scale):
        return Limit(math.nan, math.inf, scale.floor)
    noise = max(scale.floor, known.noise if known else _noise(residue, quotient, scale.floor, quiet))
    near = [NEAR * max(left_over, scale.floor) / t for left_over, t in zip(residue, h[:-1], strict=True)]
    blur = [4 * scale.grain * abs(e) / (t * t) for e, t in zip(even, h, strict=True)]  # how the slope changes within it
    # An output that grows is rounded more coarsely, and x + hv is rounded as x is.
    level = [
        noise + 4 * scale.unit * max(abs(r), abs(l)) + (scale.grain * abs(q) / 4 if t < DEEP else 0.0)
        for t, q, r, l in zip(h, quotient, right, left, strict=True)
    ]
    value, error, rung = _grow(h, _columns(h, quotient, COLUMNS), level, near[: 0 if known else QUIET], blur)
    if rung is None:
        return Limit(math.nan, math.inf, noise)
    error += 8 * EPS * abs(known.value) if known else 0.0
    if h[rung] < DEEP:
        error *= DEEPER
    return Limit(value, error, noise, h[rung], _kink(h, even, level, rung))


def rough(h: Sequence[float], right: Sequence[float], left: Sequence[float], scale: Scale, known: Limit) -> Limit:
    """Return the slope from two steps, with what Richardson takes off as its bound; an infinite one at a kink."""
    if not all(map(math.isfinite, (*right, *left))):
        return Limit(math.nan, math.inf, known.noise)
    quotient, even = _parts(h, right, left)
    noise = max(scale.floor, 2 * known.noise) + 4 * scale.unit * max(map(abs, (*right, *left)))
    off = (quotient[1] - quotient[0]) / ((h[1] / h[0]) ** 2 - 1)
    blur = max(abs(e) / (t * t) for e, t in zip(even, h, strict=True))
    error = abs(off) + SAFETY * noise / h[0] + 4 * scale.grain * blur
    if not math.isfinite(error) or _kink(h, even, [noise, noise], 1):
        error = math.inf
    return Limit(quotient[0] - off, error, noise, known.step)


def one_sided(h: Sequence[float], change: Sequence[float], scale: Scale) -> Limit:
    """Return the slope at 0 from φ(h) alone, where there is nothing on the other side."""
    usable = _prefix(change)
    if usable < LEAST_ONE_SIDED:
        return Limit(math.nan, math.inf, scale.floor)
    largest = max(scale.floor, *map(abs, change[:usable])) or 1.0
    h, change = h[:usable], [c / largest for c in change[:usable]]
    scale = scale._replace(floor=scale.floor / largest)
    quotient = [c / t for c, t in zip(change, h, strict=True)]
    residue = _least([_steps(h, column) for column in _columns(h, quotient, 3, power=1)])
    if _fades(h, residue, change, change, scale):
        return Limit(math.nan, math.inf, scale.floor)
    noise = _noise(residue, quotient, scale.floor)
    if noise > LOUD * max(scale.floor, scale.unit):
        return Limit(math.nan, math.inf, noise * largest)
    columns = _columns(h, quotient, COLUMNS, power=1)
    level = [noise + scale.grain * abs(q) / 4 for q in quotient]
    value, error, rung = _grow(h, columns, level, [], [0.0] * len(h))
    return Limit(value * largest, ONE_SIDED * error * largest, noise * largest, 0.0 if rung is None else h[rung])


def leftovers(h: Sequence[float], right: Sequence[float], left: Sequence[float]) -> list[float]:
    """Return what is left of φ at each of these finite rungs but the coarsest when its smooth part is taken off."""
    return _residue(h, *_parts(h, right, left))


def _parts(h: Sequence[float], right: Sequence[float], left: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the symmetric quotients and the even part of φ."""
    pairs = list(zip(h, right, left, strict=True))
    return [(r - l) / (2 * t) for t, r, l in pairs], [(r + l) / 2 for _, r, l in pairs]


def _grow(
    h: Sequence[float],
    columns: Iterator[Sequence[float]],
    noise: Sequence[float],
    near: Sequence[float],
    blur: Sequence[float],
) -> tuple[float, float, int | None]:
    """Return value, error and rung of the best estimate that agrees with all finer ones of its column."""
    best: tuple[float, float, int | None] = (math.nan, math.inf, None)
    own = [level / t for level, t in zip(noise, h, strict=True)]
    for column in columns:
        for rung in range(1, len(column)):
            here, reach = column[rung], AGREE * (own[rung] + blur[rung])
            implied = apart = 0.0
            for finer in range(rung):
                apart = abs(here - column[finer])
                allowed = AGREE * own[finer]
                if finer < len(near) and near[finer] < allowed:
                    allowed = near[finer]
                if not apart <= allowed + reach:
                    break
                implied = max(implied, apart * h[finer])
            else:
                error = SAFETY * max(noise[rung], implied) / h[rung] + apart + blur[rung] + 8 * EPS * abs(here)
                if error < best[1]:
                    best = here, error, rung
                continue
            break
    return best


def _prefix(changes: Sequence[float]) -> int:
    """Return how many of the finest steps are finite before the first that is not."""
    return next((i for i, change in enumerate(changes) if not math.isfinite(change)), len(changes))


def _silent(right: Sequence[float], left: Sequence[float]) -> int:
    """Return at how many of the finest steps f does not move at all before it moves to both sides at once.

    That is how an f looks that rounds its argument more coarsely than the step. A flat f with a kink farther out, such
    as a ReLU that is shut, begins to move on one side.
    """
    pairs = list(zip(right, left, strict=True))
    first = next((i for i, (r, l) in enumerate(pairs) if r or l), 0)
    return first if any(min(r, l) < 0 < max(r, l) for r, l in pairs[first : first + 3]) else 0


def _residue(h: Sequence[float], quotient: Sequence[float], even: Sequence[float]) -> list[float]:
    """Return what is left of φ at each rung but the coarsest when its smooth part is taken off.

    Of the odd part h, h³ and h⁵ are taken off; of the even part h² and h⁴, or h, as a kink at 0 leaves it: whichever
    leaves least.
    """
    odd = _least([_steps(h, column) for column in _columns(h, quotient, 3)])
    ratio = [after / before for before, after in itertools.pairwise(h)]
    pairs = list(zip(even, even[1:], ratio, strict=False))
    curved = [near - far / r**2 for near, far, r in pairs]
    kinked = [abs(near - far / r) for near, far, r in pairs]
    bent = [
        abs(near - far / (r * s) ** 2) for near, far, r, s in zip(curved, curved[1:], ratio, ratio[1:], strict=False)
    ]
    return list(map(max, odd, _least([list(map(abs, curved)), bent, kinked])))


def _noise(residue: Sequence[float], quotient: Sequence[float], floor: float, quiet: int = QUIET) -> float:
    """Return the noise level of φ: the largest residue on the quietest stretch of rungs.

    Where the finest rungs, so many as are ``quiet``, are as quiet as the rounding of the output alone, they are
    believed at once; and where they are far quieter than any stretch, what looks like noise on the others is structure.
    """
    stretch = min(STRETCH, len(residue))
    quietest = min(max(residue[i : i + stretch]) for i in range(len(residue) - stretch + 1))
    finest = max(residue[:quiet], default=math.inf)
    if all(quotient[: quiet + 1]) and (finest <= 16 * floor or finest <= quietest / STRUCTURE):
        return max(2 * finest, 2 * floor)
    return max(floor, quietest)


def _fades(
    h: Sequence[float], residue: Sequence[float], right: Sequence[float], left: Sequence[float], scale: Scale
) -> bool:
    """Whether what looks like noise fades all the way down to the finest step: f has structure finer than any.

    An example is arccos at 1e-16 from its edge, where f is made to go on beyond it.
    """
    for start in range(min(FINEST, len(residue) - FADES + 1)):
        window = residue[start : start + FADES]
        last = start + FADES - 1
        rounding = (scale.unit + scale.grain / h[last]) * max(abs(right[last]), abs(left[last]))
        rises = all(here < after < GRADUAL * here for here, after in itertools.pairwise(window))
        if rises and window[-1] > LOUD * max(scale.floor, rounding):
            return True
    return False


def _columns(h: Sequence[float], quotient: Sequence[float], count: int, power: int = 2) -> Iterator[Sequence[float]]:
    """Yield the columns of Richardson's table: each removes one more power of h, every second one for ``power`` 2."""
    column = quotient
    for order in range(1, count + 1):
        yield column
        if len(column) < 3:
            return
        column = [
            column[i] + (column[i] - column[i + 1]) / ((h[i + order] / h[i]) ** power - 1)
            for i in range(len(column) - 1)
        ]


def _steps(h: Sequence[float], column: Sequence[float]) -> list[float]:
    """Return by how much the neighbours in a column differ, as changes of φ."""
    return [abs(after - before) * t for before, after, t in zip(column, column[1:], h, strict=False)]


def _least(residues: Sequence[list[float]]) -> list[float]:
    """Return the least residue at each rung that the first of these reaches."""
    return [min(each[i] for each in residues if i < len(each)) for i in range(len(residues[0]))]


def _kink(h: Sequence[float], even: Sequence[float], noise: Sequence[float], rung: int) -> float:
    """Return half the jump of the slope at 0 as seen up to ``rung``; 0.0 where the slopes meet as h shrinks."""
    half = [e / t for e, t in zip(even[: rung + 1], h, strict=False)]
    parts = [t / h[rung] for t in h[:rung]]  # of it is left of what is curvature, and all of a kink
    bent = [min(2 * part, math.sqrt(part)) * abs(half[rung]) for part in parts]
    if all(abs(half[k]) <= bent[k] + 8 * noise[k] / h[k] for k in range(rung)):
        return 0.0
    jump, error, _ = _grow(h, _columns(h, half, 3, power=1), noise, [], [0.0] * (rung + 1))  # less what is curvature
    if abs(jump) > error:
        return abs(jump)
    return abs(half[rung]) if abs(even[rung]) > 8 * noise[rung] and abs(half[rung - 1]) > abs(half[rung]) / 2 else 0.0
