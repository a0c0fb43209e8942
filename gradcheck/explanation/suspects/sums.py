"""Sums over samples and steps in which some count otherwise than the rest, or not at all. Level 3.

The backward runs again on watched arrays, and what was taken in part is taken whole, what was switched off at some
turns of a loop is on at all. There are few such places in any backward, so they are asked before the general patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects import cuts, forwards, returned, samples, stretches, turns
from gradcheck.explanation.suspects.change import Otherwise, at, site_of
from gradcheck.explanation.suspects.counterfactual import ends_of, repaired_by
from gradcheck.explanation.suspects.factors import readings, tolerance
from gradcheck.explanation.suspects.runs import run, tape_of
from gradcheck.explanation.suspects.sight import groups, is_sharp
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.explanation.suspects.words import gradients, number
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

MOST = 24  # changes that are tried
FITTED = 12  # places of a loop at which a factor is fitted,
ROUNDS = 6  # in so many rounds each
NUDGE = 1e-3  # of a factor, to see what it does
BETTER = 0.3  # so much smaller a fit has to leave what is unexplained, or no more rounds are spent on it
SMALL = 1e-9


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what samples or steps explain that count otherwise than the others: A1, A4, B6, C8, E1, E2, G2, G3."""
    tape = tape_of(evidence)
    if tape is None or not evidence.wrong or not all(is_sharp(evidence, path) for path in evidence.wrong):
        return
    ends = ends_of(evidence, tape)
    every = list(groups(tape.steps).values())
    within = [group for group in every if _only_wrong(evidence, ends, group)]
    made = [
        *stretches.ways(evidence, tape, within),
        *turns.ways(evidence, tape, within),
        *cuts.ways(evidence, tape, within),
        *forwards.ways(evidence, tape),
        *turns.uneven(evidence, every, lambda steps: _only_wrong(evidence, ends, steps)),
    ]
    left = set(evidence.wrong)
    for suspicion in samples.suspects(evidence):
        left -= set(suspicion.arguments)
        yield suspicion
    if not left:
        return
    for way in sorted(made, key=lambda way: way.doubt)[:MOST]:
        repaired = repaired_by(evidence, way)
        if not set(repaired) & left:
            continue
        left -= set(repaired)
        yield _suspicion(evidence, way, repaired)
        if not left:
            return
    for suspicion in returned.suspects(evidence):
        if set(suspicion.arguments) & left:
            left -= set(suspicion.arguments)
            yield suspicion
    if left == set(evidence.wrong):
        yield from _fitted(evidence, tape, within)


def _suspicion(evidence: Evidence, way: Otherwise, repaired: Mapping[str, Array]) -> Suspicion:
    paths = tuple(path for path in evidence.wrong if path in repaired)
    partly = "" if len(paths) == len(evidence.wrong) else f" That repairs {gradients(paths)}."
    return Suspicion(way.mistake, paths, way.sentence + partly, repaired, way.doubt, way.apart)


def _only_wrong(evidence: Evidence, ends: Sequence[set[str]], steps: Sequence[Step]) -> bool:
    """Whether steps reach wrong gradients, as far as the tape tells, and no right ones."""
    return {path for step in steps for path in ends[step.number]} <= set(evidence.wrong)


def _fitted(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Suspicion]:
    """Yield a factor at each turn of a loop, fitted to the slopes: its powers reach the steps before (A1 to A4)."""
    for group in list(turns.carried(tape, within))[:FITTED]:
        factor = -1.0 if repaired_by(evidence, _times(group, -1.0, "", "")) else _factor(evidence, group)
        if factor is None:
            continue
        near = max(tolerance(evidence, path) for path in evidence.wrong)
        repaired = repaired_by(evidence, _times(group, factor, "A4", ""))
        if set(repaired) != set(evidence.wrong):
            continue
        found = [] if factor < 0 else readings(evidence, factor, near)
        mistake = "A1" if factor < 0 else found[0].mistake if found else "A4"
        how = "has the wrong sign" if factor == -1 else f"has the factor {number(1 / factor)} too much"
        sentence = f"What {group[0].place} gives {how}, once more with each turn of the loop. Leave it out."
        yield _suspicion(evidence, _times(group, factor, mistake, sentence), repaired)
        return


def _times(group: Sequence[Step], factor: float, mistake: str, sentence: str) -> Otherwise:
    change = at(group, lambda step, _: np.asarray(step.result * factor))
    return Otherwise(mistake, change, sentence, 0.4, "", site_of(group))


def _factor(evidence: Evidence, group: Sequence[Step]) -> float | None:
    """Return the number by which the results of a place have to be multiplied; None if there is none."""
    factor, left = 1.0, _misfit(evidence, evidence.claimed)
    if left is None:
        return None
    for _ in range(ROUNDS):
        there = run(evidence, _times(group, factor * (1 + NUDGE), "", "").change)
        nudged = _misfit(evidence, there)
        if nudged is None:
            return None
        direction = (nudged - left) / (factor * NUDGE)
        size = float(direction @ direction)
        if not size:
            return None
        by = -float(direction @ left) / size
        moved = factor + by
        if not 1e-3 < abs(moved) < 1e3:
            return None
        now = _misfit(evidence, run(evidence, _times(group, moved, "", "").change))
        if now is None or np.linalg.norm(now) > BETTER * np.linalg.norm(left):
            return None
        factor, left = moved, now
        if abs(by) <= SMALL * abs(factor) or np.linalg.norm(now) <= SMALL:
            break
    return factor


def _misfit(evidence: Evidence, found: Mapping[str, Array] | None) -> Array | None:
    """Return by how much gradients miss the measured slopes, relative to these."""
    parts = []
    for path in evidence.wrong:
        gradient = None if found is None else found.get(path)
        if gradient is None or not np.isfinite(gradient).all():
            return None
        tangents, values, _ = evidence.slopes(path)
        parts.append((tangents @ gradient.ravel() - values) / np.sqrt(np.mean(values**2)))
    return np.concatenate(parts)
