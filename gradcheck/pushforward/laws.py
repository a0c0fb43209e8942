"""How a pushforward has to behave whatever the numbers are. Level 4.

primal        what it computes as the output is what the function returns
untouched     primals and tangents are not written into
repeatable    a second call gives the same
linear        in the tangents: homogeneous and additive
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.arguments import name_of
from gradcheck.hints import Sentence
from gradcheck.pairing import call
from gradcheck.pushforward.rule import Answer, Rule
from gradcheck.trees import Array, leaves, norm, rounding_unit
from gradcheck.verdict.trial import Breach

__all__ = ["laws"]

SAME = 1e-6  # of its size is the primal off that is another one; of what was summed, the tangent that is
ROUNDED = 1e3  # rounding units of a lower precision are no difference
FAINT = 1e-8  # of its leaf of the output is a tangent so small that rounding may be all of it
FACTOR = -64.0  # by what a tangent is multiplied: no rounding, and clipping or an absolute value shows


def laws(
    rule: Rule, tangent: Array, answer: Answer, parts: Sequence[Answer | Sentence], rng: np.random.Generator
) -> Iterator[Breach]:
    """Yield the laws that ``rule`` breaks.

    ``answer`` is what it gave along ``tangent``, and ``parts`` what it gave along that of each argument alone.
    """
    if answer.written:
        yield Breach(None, Sentence(f"{rule.who} must not write into {answer.written}, but it did.", "Work on a copy."))
    yield from _primal(rule, answer)
    claimed, slack = rule.flat(answer), _slack(rule, answer)
    other = rng.standard_normal(tangent.size) * np.max(np.abs(tangent))
    part, total = _flat(rule, other), _flat(rule, FACTOR * tangent + other)
    if part is not None and total is not None and _off(rule, FACTOR * claimed + part, total) <= slack:
        told = [part for part in parts if isinstance(part, Answer)]
        if len(told) == len(parts):
            yield from _of_parts(rule, claimed, told, slack)
        return  # no other law could be broken then, but by chance
    yield from _one_by_one(rule, tangent, claimed, slack, other)


def _of_parts(rule: Rule, claimed: Array, parts: Sequence[Answer], slack: float) -> Iterator[Breach]:
    """Yield that what all tangents give together is not the sum of what each gives alone."""
    if _off(rule, claimed, np.sum([rule.flat(part) for part in parts], axis=0)) > slack:
        what = "dout of all tangents together is not the sum of what each gives alone"
        yield Breach(None, Sentence(f"{rule.who} must be additive in the tangents, but {what}.", "Add up all terms."))


def _one_by_one(rule: Rule, tangent: Array, claimed: Array, slack: float, other: Array) -> Iterator[Breach]:
    """Yield the first law that is seen to be broken by itself."""
    again = _flat(rule, tangent)
    if again is None or _off(rule, claimed, again) > slack:
        yield Breach(None, f"{rule.who} must give the same when it is called again, but it does not.")
        return
    scaled = _flat(rule, FACTOR * tangent)
    if scaled is None or _off(rule, FACTOR * claimed, scaled) > slack:
        depends = scaled is None or _off(rule, claimed, scaled) > slack
        times = f"{FACTOR:.0f} times"
        what = f"{times} the tangents do not give {times} dout" if depends else "dout does not depend on them"
        hint = "Look for clipping, an absolute value or a constant that is added." if depends else "Multiply by them."
        yield Breach(None, Sentence(f"{rule.who} must be linear in the tangents, but {what}.", hint))
        return
    total, part = _flat(rule, tangent + other), _flat(rule, other)
    if total is None or part is None or _off(rule, claimed + part, total) > slack:
        yield Breach(None, Sentence(f"{rule.who} must be additive in the tangents, but dout of a sum is not the sum."))


def _primal(rule: Rule, answer: Answer) -> Iterator[Breach]:
    computes = rule.computes or rule.function
    who = f"{rule.who} must return what {name_of(computes)} returns as out"
    if answer.primal is None:
        return
    out = call(computes, rule.arguments.fresh()) if rule.computes else rule.out
    for (path, wanted), came in zip(leaves(out, "out"), answer.primal, strict=False):
        if np.shape(wanted) != np.shape(came):
            yield Breach(None, Sentence(f"{who}, but {path} has shape {np.shape(came)} and not {np.shape(wanted)}."))
            return
        a, b = np.asarray(came, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
        unit = max(
            rounding_unit(np.asarray(each).dtype) if np.asarray(each).dtype.kind == "f" else 0.0
            for each in (came, wanted)
        )
        if not norm(a - b) <= max(SAME, ROUNDED * unit) * norm(b):
            yield Breach(None, Sentence(f"{who}, but its {path} is another.", "Compute the same in both."))
            return


def _flat(rule: Rule, tangent: Array) -> Array | None:
    with np.errstate(all="ignore"):
        answer = rule.claim(tangent)
    return rule.flat(answer) if isinstance(answer, Answer) else None


def _off(rule: Rule, one: Array, other: Array) -> float:
    """Return how far two tangents of the output are apart, relative to the larger, where they are farthest."""
    off = 0.0
    for part, natural in zip(rule.layout.slices, map(norm, rule.primal), strict=True):
        size = max(norm(one[part]), norm(other[part]), FAINT * natural)
        off = max(off, norm(one[part] - other[part]) / size if size else 0.0)
    return off


def _slack(rule: Rule, answer: Answer) -> float:
    units = [rounding_unit(tangent.dtype) for tangent in answer.tangents.values()]
    units += [rounding_unit(dtype) for dtype in rule.arguments.layout.dtypes]
    return max(SAME, ROUNDED * max(units))
