"""Central differences that find their own step and measure their own error. Level 1.

Along a direction v the function is sampled at ± h for steps h on a geometric ladder, few where it is smooth, and down
to the finest step at which the point still moves where it is not. What the samples say is read in extrapolation.py.

Edge.     Where f refuses every coarse step, those below the edge of its domain are used. One side alone is enough only
          where f refuses the very next number on the other: at a point that is merely near an edge, what one side
          shows at coarser steps is another function.
Jumps.    A forward that loses digits inside (a cast, a cancellation, a solver that stops early) may be smooth between
          its jumps and have a slope there that is not its own: jumps.py finds them, and they count as noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.calls import answering
from gradcheck.oracles.estimate import Estimate, point_of, tangent_at, value_at
from gradcheck.oracles.extrapolation import EPS, LOUD, QUIET, SAFETY, Limit, Scale, one_sided, rough, two_sided
from gradcheck.oracles.jumps import past_jumps
from gradcheck.trees import Array, norm

__all__ = ["Differences", "central_difference"]

FACTOR = 4.2  # of neighbouring steps; no whole number, or an f that rounds to a grid could look linear on them all
STEPS = tuple(0.5 / FACTOR**k for k in reversed(range(12)))  # of a first direction, in lengths of the point,
FIRST = slice(5, 10)  # of which these, finest first, are enough where f is smooth: no noise but
PLAIN = 16.0  # times the rounding of the output, no kink, and a relative bound below
CLEAR = 1e-9  # this; or below DOUBT, where the slope is small by chance along this direction, and no more than
ALONE = 2.0  # times what rounding alone leaves at this step: one that suits f better the rungs beyond would sharpen,
MIDDLE = FIRST.start + 2  # and one that suits it less shows an f that is not smooth;
BOTH = 2  # residues at the finest of them tell the noise, each of them of the odd part and of the even part
DOUBT = 1e-7  # where all leave a relative bound worse than this, or see a kink, there are finer ones
FEW = 8  # or where so few steps lie within the domain of f,
DROWNED = 1e6  # or the noise is more than so many roundings of the output: is it noise, or structure finer than all?
STILL = 3  # at so many of the finest steps f has to move where its slope at coarser ones says so,
STILL_SEEN = 16.0  # by as many roundings of the output; or what it does at the others of these is rounding
FINER = 8.0  # down to so many rounding units of the point's own length,
FINEST = 2.0  # or, where it is to be measured and not only seen, of each entry that moves;
FADED = 8.0  # times as quiet at the finest steps of all is no noise
COARSER_RUNGS = 4  # or so many above all, in a ratio of FACTOR to 1.5, where f is as good as linear on all
NEXT_RUNGS = 4  # steps of a further direction, around the step that the first one chose, and one more on either side,
CLOSE = (1 / FACTOR, 1 / 1.9, 1 / 1.25)  # of that step or, where it left no doubt, three so close together that what
# is left when h² is taken off is no more than a ladder leaves of h² to h⁶
EARLY = 2  # of these, the finest, are enough to refute a claim that is off by
FAR = 100.0  # times their bound,
SOUND = 1e-6  # if that is so small a part of the slope: a report prints six digits, and other steps may not suit
WORSE = 30.0  # where these make its bound so much worse; if that does not help, a ladder is sampled anew
WIDE = 1e-6  # a relative bound worse than this has a reason
EDGE = (
    "the point lies {} the edge of the forward's domain: move it inside, or pass reference=, which is differentiated "
    "by machine"
)
NOISY = (
    "the forward carries noise of {:.0e} of its size (a lower precision inside, digits lost in a cancellation, "
    "randomness, or a solver that stops early): compute it more exactly, or pass tol="
)
SMALL = (
    "what the output changes by is next to the rounding of the output itself: take off what is large and does not "
    "change, or check the part of the forward before it is added"
)
LONG = "the tangent is too long for the point: scale it down"
UNRESOLVED = (
    "the forward changes its slope closer to the point than float64 can step: move the point, or pass reference=, "
    "which is differentiated by machine"
)


class Samples(NamedTuple):
    """Changes of every entry of f at ± h, finest step first, h in lengths of the point."""

    h: tuple[float, ...]
    right: tuple[list[float], ...]
    left: tuple[list[float], ...]

    def below(self, coarser: Samples) -> Samples:
        """These samples with ``coarser`` ones put behind them."""
        return Samples(self.h + coarser.h, self.right + coarser.right, self.left + coarser.left)

    def since(self, step: int) -> Samples:
        """These samples without so many of the finest."""
        return Samples(self.h[step:], self.right[step:], self.left[step:])

    def inside(self) -> int:
        """Return at how many of the finest steps, to both sides, f is finite."""
        finite = [all(map(math.isfinite, r + l)) for r, l in zip(self.right, self.left, strict=True)]
        return finite.index(False) if False in finite else len(finite)

    def of(self, entry: int) -> tuple[tuple[float, ...], list[float], list[float]]:
        """Return h and the changes of one entry."""
        return self.h, [row[entry] for row in self.right], [row[entry] for row in self.left]


class Line(NamedTuple):
    """f along one direction from the point: φ(t) = f(x + t · length · v) − f(x), of every entry.

    Attributes:
        f: the function.
        x: the point.
        origin: f there, flat.
        v: the direction.
        length: how far along v the first part of the point changes by its own length.
        grain: the rounding unit of the longest part of the point, in these lengths.
    """

    f: Callable[[Array], Any]
    x: Array
    origin: list[float]
    v: Array
    length: float
    grain: float

    def change(self, t: float) -> list[float]:
        """Return φ(t); NaN where f refuses the point."""
        u = (t * self.length) * self.v
        u += self.x
        return self._at(u)

    def sample(self, steps: Sequence[float]) -> Samples:
        """Return φ at plus and minus these steps, finest first."""
        return Samples(tuple(steps), tuple([self.change(t) for t in steps]), tuple([self.change(-t) for t in steps]))

    def finest(self) -> float:
        """Return the finest step at which every entry that moves along v does so by more than its rounding."""
        moves = self.v != 0
        slowest = float(np.max(np.spacing(np.abs(self.x[moves])) / np.abs(self.v[moves])))
        return FINEST * slowest / self.length

    def neighbour(self, side: float) -> list[float]:
        """Return φ at the nearest point to either side that float64 can tell from x."""
        ahead = np.nextafter(self.x, np.copysign(math.inf, side * self.v))
        return self._at(np.where(self.v == 0, self.x, ahead))

    def _at(self, u: Array) -> list[float]:
        try:
            with answering("f"):
                values = np.asarray(self.f(u), dtype=np.float64).ravel().tolist()
            return [now - before for now, before in zip(values, self.origin, strict=True)]
        except Exception:  # noqa: BLE001  (f may refuse a point in any way; at x itself it was heard)
            return [math.nan] * len(self.origin)


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

    ``f`` may return a number or an array of any shape, which is then the shape of the estimate. Costs 11 evaluations
    for the first direction, 25 to 100 where these leave a doubt, and 6 to 12 for each further one, unless steps that
    suited the first do not suit it. A step at which ``f`` raises or is not finite is not used. Where ``f`` has an
    ``origin``, that is its value at ``x``.

    Raises (the pushforward too):
        TypeError: ``f`` is no function, or it, ``x`` or a tangent are no real numbers.
        ValueError: a tangent has not the shape of ``x``.
    """
    x = point_of("central_difference", x)
    with np.errstate(all="ignore"):
        origin = np.array(f.origin) if hasattr(f, "origin") else value_at(f, x).copy()
    floors: list[float] = (np.ravel(getattr(f, "rounding", EPS / 2 * np.abs(origin))) + np.zeros(origin.size)).tolist()
    unit = float(getattr(f, "unit", EPS))
    found: list[Limit] = []  # along a tangent that moves the point by its own length
    reason: str | None = None

    @np.errstate(all="ignore")
    def measure(v: Array, claimed: float | None) -> Estimate:
        nonlocal reason
        v = tangent_at("central_difference", x, v)
        length, longest = _span(f, x, v)
        if length == 0.0 and v.any():  # its norm overflows beside that of the point
            return Estimate(np.full(origin.shape, math.nan)[()], np.full(origin.shape, math.inf)[()], reason=LONG)
        if length == 0.0:
            return Estimate(np.zeros(origin.shape)[()], np.zeros(origin.shape)[()])
        line = Line(f, x, origin.ravel().tolist(), v, length, EPS * longest / length)
        scales = [Scale(floor, unit, line.grain) for floor in floors]
        limits = _again(line, scales, found, None if claimed is None else claimed * length) if found else None
        if limits is None:
            limits, reason = _ladder(line, scales)
            pairs = enumerate(zip(limits, floors, strict=True))
            found[:] = limits if all(_is_settled(line, i, limit, floor) for i, (limit, floor) in pairs) else []
        value, error, kink = (np.reshape([limit[k] for limit in limits], origin.shape)[()] for k in (0, 1, 4))
        wide = any(not limit.error <= WIDE * abs(limit.value) for limit in limits)
        return Estimate(value / length, error / length, kink / length, reason if wide else None)

    return Differences(measure)


def _span(f: Callable[[Array], Any], x: Array, v: Array) -> tuple[float, float]:
    """Return how far along ``v`` the first and the last part of the point changes by its own length; 0.0 for none."""
    if hasattr(f, "span"):
        shortest, longest = f.span(x, v)
        return shortest, longest
    moves = v != 0
    length = (norm(x[moves]) or math.sqrt(moves.sum())) / norm(v) if moves.any() else 0.0
    return length, length


def _again(line: Line, scales: list[Scale], before: list[Limit], claimed: float | None) -> list[Limit] | None:
    """Use the steps that suited the direction before; None where they do not suit this one.

    Of a single slope that is not the one ``claimed`` by far, the finest of them show it.
    """

    def suit(limits: list[Limit]) -> bool:
        return all(now.error <= WORSE * then.error for now, then in zip(limits, before, strict=True))

    suited = sorted(limit.step for limit in before)[len(before) // 2]
    if all(map(_is_sharp, before)):
        known, h = before, [part * suited for part in CLOSE]
    else:
        known = [limit._replace(noise=2 * limit.noise) for limit in before]
        top = min(suited * FACTOR ** (NEXT_RUNGS - 2), 0.5 / FACTOR)
        h = [top / FACTOR**k for k in reversed(range(NEXT_RUNGS))]
    if h[0] < STEPS[0] and h[0] < line.finest():
        return None
    if claimed is None or len(before) > 1:
        samples = line.sample(h)
    else:
        samples = line.sample(h[:EARLY])
        limit = rough(*samples.of(0), scales[0], before[0])
        if abs(limit.value - claimed) > FAR * limit.error and limit.error <= SOUND * abs(limit.value):
            return [limit]
        samples = samples.below(line.sample(h[EARLY:]))
    limits = _limits(samples, scales, known)
    if not suit(limits):
        finer, coarser = line.sample([h[0] / FACTOR]), line.sample([h[-1] * FACTOR])
        limits = _limits(finer.below(samples).below(coarser), scales, known)
    return limits if suit(limits) else None


def _ladder(line: Line, scales: list[Scale]) -> tuple[list[Limit], str | None]:
    """Sample a few rungs, all of them where these do not show a smooth f, and steps beside where doubt is left."""
    samples = line.sample(STEPS[FIRST])
    limits = _limits(samples, scales, quiet=BOTH)
    if all(_is_clear(limit, scale.floor) for limit, scale in zip(limits, scales, strict=True)):
        explained, _ = _explain(line, samples, limits, scales)
        if explained == limits:  # nothing jumps
            return limits, None
    samples = line.sample(STEPS[: FIRST.start]).below(samples).below(line.sample(STEPS[FIRST.stop :]))
    limits = _limits(samples, scales)
    if not all(map(_is_sharp, limits)):
        coarser = _coarser(line, samples, limits, scales)
        if coarser:
            return coarser, SMALL
        if samples.inside() < FEW or any(
            limit.noise > DROWNED * scale.floor or limit.kink or not math.isfinite(limit.error)
            for limit, scale in zip(limits, scales, strict=True)
        ):
            return _explain(line, *_finer(line, samples, limits, scales), scales)
    return _explain(line, samples, limits, scales)


def _explain(line: Line, samples: Samples, limits: list[Limit], scales: list[Scale]) -> tuple[list[Limit], str | None]:
    """Return the limits of all entries after a look at edges and jumps, and the first reason for a wide bound."""
    explained = [
        _explained(line, samples, entry, limit, scale)
        for entry, (limit, scale) in enumerate(zip(limits, scales, strict=True))
    ]
    return [limit for limit, _ in explained], next((reason for _, reason in explained if reason), None)


def _coarser(line: Line, samples: Samples, limits: list[Limit], scales: list[Scale]) -> list[Limit] | None:
    """Step beyond the point's length where that is short beside what f changes over, as with tiny weights."""
    loudest = LOUD * max(scale.floor for scale in scales)
    tops = [limit.step for limit in limits if limit.step and not limit.kink and limit.noise <= loudest]
    if not tops or min(tops) <= 0.5 / FACTOR**1.5:
        return None
    coarser = line.sample([samples.h[-1] * FACTOR ** (1.5 * k) for k in range(1, COARSER_RUNGS + 1)])
    wider = _limits(samples.below(coarser), scales)
    # Where f is seen to move on none of them, they say nothing: so far away it may be flat and here it is not.
    return [new if abs(new.value) > new.error else old for new, old in zip(wider, limits, strict=True)]


def _finer(line: Line, samples: Samples, limits: list[Limit], scales: list[Scale]) -> tuple[Samples, list[Limit]]:
    """Step down to the rounding of the point: does what looks like noise fade?

    Steps at which some entry moves by less than its own rounding tell that and no more: without that entry, f is
    another function.
    """
    below, finest = samples.h[0], FINER * line.grain
    count = math.floor(math.log(below / finest, FACTOR)) if finest < below else 0
    finer = line.sample([below / FACTOR**k for k in range(count, 0, -1)])
    if any(_stands_still(finer, entry, *pair) for entry, pair in enumerate(zip(limits, scales, strict=True))):
        return samples, limits
    moved = sum(t < line.finest() for t in finer.h)
    samples = finer.since(moved).below(samples)
    limits = _limits(samples, scales)
    for entry, (limit, scale) in enumerate(zip(limits, scales, strict=True)):
        _, right, left = finer.of(entry)
        quietest = max(map(abs, right[: min(moved, 2)] + left[: min(moved, 2)]), default=math.inf)
        if scale.floor and limit.noise > max(DROWNED * scale.floor, FADED * quietest):
            limits[entry] = Limit(math.nan, math.inf, scale.floor)
    return samples, limits


def _stands_still(finer: Samples, entry: int, limit: Limit, scale: Scale) -> bool:
    """Whether f does not move at steps at which it would if it were smooth: it rounds to something coarser inside."""
    h, right, left = (part[:STILL] for part in finer.of(entry))
    pairs = zip(h, right, left, strict=True)
    still = [abs(limit.value) * t > STILL_SEEN * scale.floor for t, r, l in pairs if r == l == 0]
    return any(still) or len(still) == len(h)


def _is_clear(limit: Limit, floor: float) -> bool:
    """Whether a few rungs say all: as quiet as plain rounding, no kink, and a small bound."""
    rounded = limit.step == STEPS[MIDDLE] and limit.error <= ALONE * SAFETY * limit.noise / limit.step
    small = limit.error <= CLEAR * abs(limit.value) or rounded
    return small and _is_sharp(limit) and limit.error > 0 and limit.noise <= PLAIN * floor


def _is_sharp(limit: Limit) -> bool:
    """Whether no doubt is left: no kink, and a small relative bound."""
    return limit.error <= DOUBT * abs(limit.value) and not limit.kink


def _is_settled(line: Line, entry: int, limit: Limit, floor: float) -> bool:
    """Whether the step that suited this direction may suit others: it does not where it shows nothing but noise."""
    if not math.isfinite(limit.error) or not limit.step:
        return False
    if limit.error <= abs(limit.value):
        return True
    if not floor:  # f is 0 at the point, and what is rounded is its change
        floor = EPS / 2 * abs(line.change(STEPS[FIRST][-1])[entry])
    return limit.noise <= LOUD * floor


def _limits(samples: Samples, scales: list[Scale], known: list[Limit] | None = None, quiet: int = QUIET) -> list[Limit]:
    """Return the limit of every entry."""
    return [
        two_sided(*samples.of(entry), scale, known[entry] if known else None, quiet=quiet)
        for entry, scale in enumerate(scales)
    ]


def _explained(line: Line, samples: Samples, entry: int, limit: Limit, scale: Scale) -> tuple[Limit, str | None]:
    """Look into what may be behind the slope of one entry, an edge or jumps; and say why a bound is wide."""
    h, right, left = samples.of(entry)
    inside = samples.inside()
    if inside == len(h):
        jumped = past_jumps(lambda t: line.change(t)[entry], h, right, left, limit, scale)
        if jumped:
            return jumped
        reason = UNRESOLVED
        if math.isfinite(limit.error) and scale.floor:
            size = 2 * scale.floor / scale.unit
            reason = NOISY.format(limit.noise / size) if limit.noise > LOUD * scale.floor else SMALL
    else:
        reason = EDGE.format(f"{'' if inside else 'less than '}{h[max(inside - 1, 0)]:.0e} of its length from")
        if not math.isfinite(limit.error):
            for change, side in ((right, 1.0), (left, -1.0)):
                if not math.isfinite(line.neighbour(-side)[entry]):
                    limit = one_sided(h, [side * c for c in change], scale)
                    reason = EDGE.format("at")
    return limit, reason
