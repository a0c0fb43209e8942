"""What a gradient of a single entry is off by, as a multiple of its argument. Level 3.

One number is always some multiple of another. Of a regulariser it is the same multiple wherever the argument is.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.oracles.difference import central_difference
from gradcheck.pairing import Pairing

__all__ = ["multiple"]

ELSEWHERE = (1.6, -0.7)  # times the argument: the other points at which the multiple has to be the same
SHARP = 1e-4  # relative: a multiple that is known no better tells nothing


def multiple(evidence: Evidence, path: str) -> tuple[float, float] | None:
    """Return (true - claimed) / argument, and how well it is known, relative; None if it is not the same elsewhere."""
    weight = evidence.point[path]
    one = np.ones(weight.shape)
    value, error = evidence.slope(evidence.embedded(path, one))
    found = (value - float(evidence.claimed[path].sum())) / float(weight.sum())
    near = 4 * error / abs(found * float(weight.sum())) if found else math.inf
    if not near <= SHARP:
        return None
    near = max(near, 1e-6)
    for factor in ELSEWHERE:
        there = _there(evidence, path, factor)
        if there is None or not abs(there - found) <= 10 * near * abs(found):
            return None
    return found, near


def _there(evidence: Evidence, path: str, factor: float) -> float | None:
    """Return the multiple where the argument is so many times as large."""
    weight = evidence.point[path]
    vector = evidence.arguments.point + evidence.embedded(path, (factor - 1) * weight)
    moved = evidence.arguments.moved(vector)
    try:
        claimed = replace(evidence, arguments=moved, _kept={}).pull(evidence.cotangent).get(path)
        evidence.spent[0] += 1
        pairing = Pairing.at_point(evidence.forward, moved, evidence.cotangent)
        slope = central_difference(pairing, moved.point)(evidence.embedded(path, np.ones(weight.shape)))
    except Exception:  # noqa: BLE001  (the user's code may refuse another point; then nothing is known)
        return None
    return None if claimed is None else (float(slope.value) - float(claimed.sum())) / (factor * float(weight.sum()))
