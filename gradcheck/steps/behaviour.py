"""What a backward returns for other cotangents and at a second call tells what is wrong with a gradient. Level 3.

A gradient is linear in the cotangent: what it gives for none is no gradient, and what never changes has ignored it.
"""

from __future__ import annotations

import numpy as np

from gradcheck.steps.claims import Gradient, Says, is_a_line
from gradcheck.trees import Array, leaves, norm

__all__ = ["clipped", "deaf", "deaf_to_an_end", "grows", "offset", "steps"]

OTHER = -1.7  # times the cotangent: of another sign and another size
FEW = 3  # entries: so small an array is a multiple of another by chance
SAME = 1e-9  # relative: what two calls may differ by
ROUGH = 1e-2  # relative: how well a step follows a gradient


def deaf(gradient: Gradient) -> Says | None:
    """Say that another cotangent changes nothing."""
    case, path, came, _ = gradient
    drawn = [np.asarray(OTHER * bar if bar.size == 1 else case.rng.standard_normal(bar.shape)) for bar in case.bars]
    if came.any() and np.array_equal(case.pulled(drawn)[path], came):
        return "C5", "the same for every cotangent: dout is not multiplied in"
    return None


def clipped(gradient: Gradient) -> Says | None:
    """Say at which number entries are cut, or to which norm all are scaled: it stays for a larger cotangent."""
    case, path, came, truth = gradient
    if came.shape != truth.shape or not came.any():
        return None
    larger, limit = case.pulled([-OTHER * bar for bar in case.bars])[path], float(np.abs(came).max())
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
    more = case.grown()[path]
    if more.any() and truth.holds(more):
        return "E2", "more with every call: what the last call left must be zeros at first"
    return None


def offset(gradient: Gradient) -> Says | None:
    """Say what is there for no cotangent at all: a multiple of the argument, or what a buffer held."""
    case, path, came, truth = gradient
    rest, point = case.pulled([np.zeros(bar.shape) for bar in case.bars])[path], case.point[path]
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
    (bar,) = case.bars
    for axis, size in enumerate(bar.shape):
        places = {"first": [0], "last": [size - 1], "others": list(range(1, size - 1))} if size > 1 else {}
        parts = {which: _within(bar, axis, some) for which, some in places.items() if some}
        heard = [which for which, part in parts.items() if case.pulled([part])[path].any()]
        kept = np.asarray(sum(parts[which] for which in heard))
        if heard and len(heard) < len(parts) and case.slopes([kept], [path])[path].holds(came):
            left_out = [which for which in parts if which not in heard]
            most = len(heard) >= len(left_out)
            what = f"without the {' and '.join(left_out)}" if most else f"of the {heard[0]} alone"
            return "G2" if axis and most else "C8", f"the gradient {what} of {size} along axis {axis} of the output"
    return None


def _within(bar: Array, axis: int, places: list[int]) -> Array:
    """Return a cotangent that is zero but at some places along an axis."""
    kept = np.zeros(bar.shape)
    part = (slice(None),) * axis + (places,)
    kept[part] = bar[part]
    return kept


def steps(gradient: Gradient) -> Says | None:
    """Say which argument the backward moves along its own gradient, as a step of the descent does."""
    case = gradient.case
    args = case.arguments.fresh()
    _, cache = case.forward(*args)
    case.backward(case.cotangent, cache)
    named = zip(case.arguments.names, args, strict=True)
    after = {path: value for name, arg in named for path, value in leaves(arg, name)}
    for path, before in case.point.items():
        came, step = case.returned.get(path), np.asarray(after[path], dtype=np.float64) - before
        if came is None or came.shape != step.shape or not step.any() or not came.any():
            continue
        rate = float((step * came).sum() / (came**2).sum())
        if norm(step - rate * came) <= ROUGH * norm(step):
            return "E4", f"made while {path} moves by {rate:.4g} times its gradient: move it after the backward"
    return None
