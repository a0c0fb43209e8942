"""Forwards that jump: smooth between their jumps, with a slope there that may not be the function's own. Level 1.

(1 − cos t) / t² at t = 1e-6 has five digits left: it is k · 1.1e-16 / t² for a whole number k, whose slope between two
jumps of k is −2 f / t, where the function's is −t / 12. Casts to a lower precision and solvers that stop at a tolerance
look alike. So where f is quiet at fine steps and not at coarser ones, the interval that shows it first is halved again
and again towards where φ bends most. In eight halvings the second differences of a kink fall by 128 at least, those of
a root where it begins by 16, and those of a jump not at all, or to a quarter where there are many.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from gradcheck.oracles.extrapolation import Limit, Scale, leftovers, two_sided

__all__ = ["past_jumps"]

ABRUPT = 1e4  # times as much left over from one step to the next: h⁶, which is left of a smooth φ, grows 5,500 times
STILL_RISING = 100.0  # times as much at the next step: the jump is there, and what showed here was a hint of it
FARTHEST = 2e-3  # of the point: where the first jump lies beyond, there is room for the slope this side of it
HALVINGS = 8
STEEP = 1 / 8  # of the second differences is left of a jump after these,
PART = 1 / 8  # and it is at least this part of what is left over at the rung
ROUNDING = 1e-6  # of the output's size: a jump no larger is rounding, to float32 or of a cancellation,
BRANCH = 1e-2  # and one larger than this is a branch, of which f has a slope on either side
REASON = (
    "the forward jumps by {:.0e} of its size near the point (digits lost in a cast or a cancellation, or a solver that "
    "stops early): compute it in a way that keeps its digits, or pass tol="
)


def past_jumps(
    change: Callable[[float], float],
    h: Sequence[float],
    right: Sequence[float],
    left: Sequence[float],
    limit: Limit,
    scale: Scale,
) -> tuple[Limit, str] | None:
    """Return the slope of a φ that jumps, and the reason why its bound is wide; None where φ does not jump.

    What jumps by as little as rounding is measured as noise, from coarser steps alone. Of larger jumps nobody knows
    from outside whether the slope between them is meant or the one across them: the bound covers both.
    """
    if limit.step > FARTHEST:  # it agrees with all finer steps
        return None
    residue = leftovers(h, right, left)
    noise = max(limit.noise, scale.floor)
    pairs = itertools.pairwise(residue)
    rung = next((k for k, (here, after) in enumerate(pairs, 1) if after > ABRUPT * max(here, noise)), None)
    if rung is None:
        return None
    while rung + 1 < len(residue) and residue[rung + 1] > STILL_RISING * residue[rung]:
        rung += 1
    if h[rung] > FARTHEST:
        return None
    size = max(2 * scale.floor / scale.unit, *map(abs, right), *map(abs, left))
    least = max(residue[rung] * PART, 2 * noise)
    # The interval goes on beyond what showed something, or a kink close to its end could not be told from a jump.
    near, far = h[rung - 1], 2 * h[rung + 1]
    jump = max(_jump(change, near, far, least), _jump(lambda t: change(-t), near, far, least))
    if not 0 < jump <= BRANCH * size:
        return None
    # Farther out there may be larger ones: a number near 0 is cast to a finer grid than others.
    louder = (left_over for left_over, t in zip(residue[rung:], h[rung:], strict=False) if t <= 4 * FARTHEST)
    loud = scale._replace(floor=max(scale.floor, jump, *louder))
    across = two_sided(h[rung:], right[rung:], left[rung:], loud, steady=False)
    across = across._replace(error=across.error + across.kink, kink=0.0)
    reason = REASON.format(jump / size)
    if jump > max(ROUNDING, 4 * scale.unit) * size:
        across = across._replace(error=across.error + abs(across.value - limit.value) + limit.error)
    return across, reason


def _jump(change: Callable[[float], float], near: float, far: float, least: float) -> float:
    """Return how far φ jumps between two steps; 0.0 if by less than ``least``, or if it bends and does not jump."""
    points = [near + (far - near) * i / 4 for i in range(5)]
    values = list(map(change, points))
    bends: list[float] = []
    for _ in range(HALVINGS + 1):
        second = [abs(values[i - 1] - 2 * values[i] + values[i + 1]) for i in (1, 2, 3)]
        bends.append(max(second))
        if len(bends) > 1 and not max(bends[-2:]) > least:  # equal jumps may cancel on one grid, not on two
            return 0.0
        centre = second.index(bends[-1]) + 1
        a, b, c = points[centre - 1 : centre + 2]
        points = [a, (a + b) / 2, b, (b + c) / 2, c]
        u, v, w = values[centre - 1 : centre + 2]
        values = [u, change(points[1]), v, change(points[3]), w]
    return bends[-1] if bends[-1] > max(least, STEEP * bends[0]) else 0.0
