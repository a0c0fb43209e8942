"""Does the forward jump, as a solver does that stops at a tolerance? Level 3.

The number of iterations of such a solver changes from point to point, and where it does the output jumps by about the
tolerance. Between two jumps it is smooth, and its slope there is not that of the solution: a right derivative of the
solution misses it by about as much. No difference can tell that from a mistake of the same size; the jump can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.trees import Array
from gradcheck.verdict.case import Case

__all__ = ["jumps"]

SPAN = 0.5  # of the point's own length is looked over on either side,
PLACES = 48  # at so many places,
CLOSER = 9  # and at so many where a fourth difference is largest, each time on half the stretch
HALVINGS = 25  # leave the fourth difference of a jump as it was, up to where it lies among the places:
FALLING = 6.0  # one that has fallen by more belongs to a smooth function (by 16 each time) or a kink (by 2)
BEND = 3.0  # jumps is the fourth difference across one
TRIES = 3  # tangents
SEEN = 1e3  # times the rounding of the output is a jump


def jumps(case: Case, leaf: int) -> Iterator[float]:
    """Yield the jump of φ along each of some tangents, as a part of how φ changes on the leaf's own length.

    0.0 where none was seen, which costs some 60 calls of the forward.
    """
    for _ in range(TRIES):
        yield _jump(case, case.tangent([(leaf, 1.0)]))


def _jump(case: Case, v: Array) -> float:
    length = case.pairing.length(v)
    change = abs(float(case.gradient @ v)) * length
    places, first = np.linspace(-SPAN * length, SPAN * length, PLACES), 0.0
    for _ in range(HALVINGS):
        with np.errstate(all="ignore"):
            values = np.array([case.pairing.along(v, t) for t in places])
            bends = np.abs(np.diff(values, 4))
        at = int(np.argmax(bends))
        if not bends[at] >= first / FALLING:
            return 0.0
        first = max(first, float(bends[at]))
        places = np.linspace(places[at], places[at + 4], CLOSER)
    jump = float(bends[at]) / BEND
    floor = SEEN * max(case.pairing.rounding, math.ulp(case.pairing.size))
    return jump / change if jump > floor and change else 0.0
