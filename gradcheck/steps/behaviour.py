"""What a backward returns for other cotangents and at a second call tells what is wrong with a gradient. Level 3.

A gradient is linear in the cotangent: what it gives for none is no gradient, and what never changes has ignored it.
"""

from __future__ import annotations

import numpy as np

from gradcheck.steps.claims import Gradient, Says, is_a_line
from gradcheck.trees import norm

__all__ = ["clipped", "deaf", "deaf_to_an_end", "grows", "offset"]

FEW = 3  # entries: so small an array is a multiple of another by chance
SAME = 1e-9  # relative: what two calls may differ by


def deaf(gradient: Gradient) -> Says | None:
    """Say that another cotangent changes nothing."""
    case, path, came, _ = gradient
    if came.any() and np.array_equal(case.of_another[path], came):
        return "C5", "the same for every cotangent: dout is not multiplied in"
    return None


def clipped(gradient: Gradient) -> Says | None:
    """Say at which number entries are cut, or to which norm all are scaled: it stays for a larger cotangent."""
    case, path, came, truth = gradient
    if came.shape != truth.shape or not came.any():
        return None
    larger, limit = case.of_a_larger[path], float(np.abs(came).max())
    entries = truth.entries
    if entries is not None and limit == np.abs(larger).max() and np.abs(entries).max() > limit:
        if norm(np.clip(entries, -limit, limit) - came) <= truth.close * norm(truth.values):
            return "G4", f"the gradient clipped at {limit:.4g}"
    elif (truth.share(came) or 0.0) > 1 and abs(norm(larger) - norm(came)) <= SAME * norm(came):
        return "G4", f"the gradient scaled to the norm {norm(came):.4g}"
    return None


def grows(gradient: Gradient) -> Says | None:
    """Say that a second call with the same cache adds the gradient once more."""
    case, path, _, truth = gradient
    more = case.grown[path]
    if more.any() and truth.holds(more):
        return "E2", "more with every call: what the last call left must be zeros at first"
    return None


def offset(gradient: Gradient) -> Says | None:
    """Say what is there for no cotangent at all: a multiple of the argument, or what a buffer held."""
    case, path, came, truth = gradient
    rest, point = case.of_none[path], case.point[path]
    if rest.shape != truth.shape or not rest.any() or not truth.holds(came - rest):
        return None
    rate = float((rest * point).sum() / (point**2).sum()) if point.any() else 0.0
    if point.size > FEW and norm(rest - rate * point) <= 1e-6 * norm(rest):
        return "D2" if is_a_line(
            case, path
        ) else "D1", f"the gradient and {rate:.4g} times {path}, whatever the cotangent is"
    return "E2", "the gradient and what was there before: it must begin with zeros"


def deaf_to_an_end(gradient: Gradient) -> Says | None:
    """Say which part of the output, an end of an axis or all but an end, changes nothing where the rest is right."""
    case, path, came, _ = gradient
    if len(case.bars) != 1 or not came.any():
        return None
    for axis, size in enumerate(case.bars[0].shape):
        places = {"first": slice(0, 1), "last": slice(size - 1, size), "others": slice(1, size - 1)}
        parts = {which: part for which, part in places.items() if size > 1 and part.stop > part.start}
        heard = [which for which, part in parts.items() if case.of_a_part(axis, part)[path].any()]
        if not heard or len(heard) == len(parts):
            continue
        kept = np.asarray(sum(case.part(axis, parts[which]) for which in heard))
        if case.slopes([kept], [path])[path].holds(came):
            left_out = [which for which in parts if which not in heard]
            most = len(heard) >= len(left_out)
            what = f"without the {' and '.join(left_out)}" if most else f"of the {heard[0]} alone"
            return "G2" if axis and most else "C8", f"the gradient {what} of {size} along axis {axis} of the output"
    return None
