"""At a kink or a tie the tangent of the output is a convention: is what a rule claims there one? Level 4.

Beside the point the rule has been judged. Close by it takes the values that belong to the pieces that meet there; what
it claims at the point has to lie between these, entry by entry and along several tangents: any choice at each fold
does, or any average of choices. Where one entry has many folds, so many pieces meet there that a few points do not show
them all, and of what lies outside of those that were seen is said that it was not verified.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.pushforward.rule import Answer, Rule
from gradcheck.report import Verdict
from gradcheck.trees import Array, norm

__all__ = ["CONVENTION", "at_tie", "settled"]

CONVENTION = "at a kink: a convention, one of those that the pieces there allow; measured beside it"
UNVERIFIED = "at a kink: measured beside it; not verifiable at the point, where many folds meet"
OUTSIDE = "at a kink: what is claimed is no choice between the pieces that meet there"

NEAR = 1e-3  # of the length of each leaf are the points away that show the pieces: farther than a mask has tolerance,
POINTS = 24  # so many of them
JUMP = 0.1  # of the tangent of a leaf, root mean square, is a jump, and
SLACK = 3e-2  # how far outside the pieces a claim may be
TANGENTS = 4  # along which a rule is asked: between two pieces lies by chance what is no choice
PIECES = 2  # values of one entry tell a single fold


def at_tie(rule: Rule, tangent: Array, rng: np.random.Generator) -> bool:
    """Whether what the rule claims jumps at the point."""
    answer = rule.claim(tangent)
    if not isinstance(answer, Answer):
        return False
    claimed = rule.flat(answer)
    scale = _scale(rule, claimed)
    return any(np.any(np.abs(each - claimed) > JUMP * scale) for each in _beside(rule, tangent, rng, 2))


def settled(rule: Rule, tangent: Array, rng: np.random.Generator) -> tuple[Verdict, str]:
    """Return whether the rule makes a choice between the pieces that meet at a tie, and what to say.

    It is asked along tangents of what ``tangent`` moves.
    """
    said = CONVENTION
    for turn in range(TANGENTS):
        along = tangent * rng.standard_normal(tangent.size) if turn else tangent
        answer, around = rule.claim(along), np.array(_beside(rule, along, rng, POINTS))
        if not isinstance(answer, Answer) or not len(around):
            return Verdict.PASS, UNVERIFIED
        claimed = rule.flat(answer)
        scale = SLACK * _scale(rule, claimed)
        outside = (claimed < around.min(axis=0) - scale) | (claimed > around.max(axis=0) + scale)
        if outside.any():
            counts = [_values(around[:, entry], float(scale[entry])) for entry in np.flatnonzero(outside)]
            if min(counts) <= PIECES:
                return Verdict.FAIL, OUTSIDE
            said = UNVERIFIED
    return Verdict.PASS, said


def _beside(rule: Rule, tangent: Array, rng: np.random.Generator, count: int) -> Sequence[Array]:
    """Return what the rule claims along ``tangent`` at some points close by, where it claims anything."""
    arguments = rule.arguments
    point, sizes = arguments.point, np.empty(arguments.layout.size)
    for part in arguments.layout.slices:
        sizes[part] = norm(point[part]) / np.sqrt(point[part].size) or 1.0
    found = []
    for _ in range(count):
        moved = arguments.moved(point + NEAR * sizes * rng.standard_normal(point.size))
        try:
            answer = rule.claim(tangent, moved.fresh())
        except Exception:  # noqa: BLE001, S112  (a rule may refuse a point beside its own; nothing is known of that one)
            continue
        if isinstance(answer, Answer):
            found.append(rule.flat(answer))
    return found


def _scale(rule: Rule, claimed: Array) -> Array:
    """Return for every entry the size of the tangent of its leaf, root mean square."""
    scale = np.empty(claimed.size)
    for part in rule.layout.slices:
        scale[part] = norm(claimed[part]) / np.sqrt(max(claimed[part].size, 1))
    return scale + np.finfo(float).tiny


def _values(column: Array, slack: float) -> int:
    """Return how many values an entry takes, as far as they can be told apart."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(column)) > 2 * slack))
