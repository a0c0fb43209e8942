"""What would come out if one operation of the backward were done otherwise. Level 3.

The backward runs on watched arrays, and one place of its code gets another result: the derivative multiplied in, a
matrix transposed, the right operand, a sum for an overwriting. Where that makes the wrong gradients true, and leaves
the others as they were, the place and the mistake are found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects import (
    additions,
    factors_inside,
    indexing,
    loops,
    multiplied,
    operations,
    products,
    residuals,
    softmaxes_inside,
    subscripts,
    unused,
)
from gradcheck.explanation.suspects.change import Otherwise, site_of, together
from gradcheck.explanation.suspects.runs import run, tape_of
from gradcheck.explanation.suspects.sight import groups, is_sharp
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.explanation.suspects.words import gradients
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import leaves, rebuild

__all__ = ["ends_of", "repaired_by", "suspects", "undone_by"]

STEPS = 25_000  # operations that all runs together may do,
RUNS = 60  # and runs after the first that helps
ENOUGH = 3  # explanations, after which no more are looked for
FIRST, LATER = 10, 0.05  # of each class so many come first, and each so many more as if more doubtful by that
FURTHER = 0.3  # nor any that are so much more doubtful than the best
SAME = 1e-9  # relative: what a change may do to a gradient that was right


class Found(NamedTuple):
    """A change that helps, with the true gradients that it gives."""

    otherwise: Otherwise
    repaired: dict[str, np.ndarray[Any, Any]]


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what one operation, done otherwise, explains: most of B, C, E, F and G."""
    tape = tape_of(evidence)
    if tape is None or not evidence.wrong or not all(is_sharp(evidence, path) for path in evidence.wrong):
        return
    left = [STEPS]
    told = _told_at(evidence, tape)
    reach = _reach(evidence, tape, told, left)
    within = [group for group in groups(tape.steps).values() if site_of(group) in reach]
    ways = [
        *factors_inside.ways(evidence, tape, within),
        *products.ways(evidence, tape, within),
        *additions.ways(evidence, tape, within),
        *residuals.ways(evidence, within),
        *indexing.ways(evidence, within),
        *multiplied.ways(evidence, within),
        *operations.ways(evidence, tape, within),
        *loops.ways(evidence, tape, within),
        *softmaxes_inside.ways(evidence, tape, within),
        *subscripts.ways(within),
        *unused.ways(evidence, tape, within),
    ]
    ways = [way._replace(spared=told[way.place]) for way in ways if way.place in reach]
    found: list[Found] = []
    partial: list[Found] = []
    ordered = _ordered(evidence, ways, reach)
    for way in ordered:
        if left[0] <= 0 or len(found) >= ENOUGH:
            break
        if found and way.doubt > found[0].otherwise.doubt + FURTHER:
            continue
        left[0] -= len(tape.steps)
        repaired, settled = undone_by(evidence, way)
        if repaired and settled:
            left[0] = min(left[0], RUNS * len(tape.steps))
            found.append(Found(way, repaired))
        elif repaired and len(partial) < ENOUGH and all(way.mistake != each.otherwise.mistake for each in partial):
            partial.append(Found(way, repaired))
    if not any(len(each.repaired) == len(evidence.wrong) for each in found):
        found += [whole for each in partial for whole in _in_every_layer(evidence, each, ordered)]
    most = max((len(each.repaired) for each in found), default=0)
    named: set[str] = set()
    for way, repaired in found:
        if len(repaired) < most or way.mistake in named:
            continue
        named.add(way.mistake)
        paths = tuple(path for path in evidence.wrong if path in repaired)
        partly = "" if len(paths) == len(evidence.wrong) else f" That repairs {gradients(paths)}."
        yield Suspicion(way.mistake, paths, way.sentence + partly, repaired, way.doubt, way.apart)


def _in_every_layer(evidence: Evidence, first: Found, ways: list[Otherwise]) -> Iterator[Found]:
    """Yield one mistake made at several places, each of which, undone, repairs a gradient more than those before."""
    way, repaired = first
    runs = RUNS
    for other in [each for each in ways if each.place and each.mistake == way.mistake]:
        if not runs or set(repaired) == set(evidence.wrong):
            break
        if other.place == way.place:
            continue
        runs -= 1
        both = way._replace(change=together([other.change, way.change]), spared=way.spared | other.spared)
        more = repaired_by(evidence, both)
        if set(more) > set(repaired):
            way, repaired = both, more
    if set(repaired) == set(evidence.wrong):
        sentence = f"{way.sentence} So it is in the other layers."
        yield Found(way._replace(sentence=sentence, doubt=way.doubt + 0.05), repaired)


def _told_at(evidence: Evidence, tape: Tape) -> dict[tuple[object, ...], frozenset[str]]:
    """Return for each place the right gradients that are its result as it is: they are told before what follows."""
    found: dict[tuple[object, ...], frozenset[str]] = defaultdict(frozenset)
    for path, number in _own(evidence, tape).items():
        if path not in evidence.wrong:
            step = tape.steps[number]
            found[step.site, step.result.shape] |= {path}
    return found


def _own(evidence: Evidence, tape: Tape) -> dict[str, int]:
    """Return the number of the step whose result each gradient is, of those that the tape tells."""
    numbers = (np.full(np.shape(leaf), float(getattr(leaf, "step", -1))) for _, leaf in leaves(tape.returned, ""))
    claims = evidence.claims(rebuild(tape.returned, numbers))
    return {path: int(each.flat[0]) for path, each in claims.items() if each.size and each.flat[0] >= 0}


def _reach(
    evidence: Evidence, tape: Tape, told: dict[tuple[object, ...], frozenset[str]], left: list[int]
) -> dict[tuple[object, ...], set[str]]:
    """Return the places that reach wrong gradients and no right ones, with those that they reach.

    The first run tells of most places where their results went. Those of which it tells nothing, as of what was added
    through a view, are moved, and what moves with them is seen.
    """
    reach = {}
    ends = ends_of(evidence, tape)
    for group in groups(tape.steps).values():
        reached: set[str] | None = {path for step in group for path in ends[step.number]}
        if not reached and left[0] > 0:
            left[0] -= len(tape.steps)
            reached = _reached(evidence, site_of(group))
        reached = None if reached is None else reached - told[site_of(group)]
        if reached and reached <= set(evidence.wrong):
            reach[site_of(group)] = reached
    return reach


def ends_of(evidence: Evidence, tape: Tape) -> list[set[str]]:
    """Return for each step the gradients into which its result went, as far as the tape tells."""
    ends: list[set[str]] = [set() for _ in tape.steps]
    for path, number in _own(evidence, tape).items():
        ends[number].add(path)
    for step in reversed(tape.steps):
        for source in step.sources:
            if source is not None:
                ends[source] |= ends[step.number]
    return ends


def _ordered(evidence: Evidence, kept: list[Otherwise], reach: dict[tuple[object, ...], set[str]]) -> list[Otherwise]:
    """Return the changes, and those that belong together as one, in the order in which they are tried."""
    every = set(evidence.wrong)
    joined: dict[tuple[str, str], list[Otherwise]] = {}
    for way in kept:
        if way.kind:
            joined.setdefault((way.mistake, way.kind), []).append(way)
    for alike in joined.values():
        places = {way.place: way for way in reversed(alike)}
        if len(places) > 1 and set().union(*(reach[place] for place in places)) >= every:
            first = alike[0]
            changes = [way.change for way in places.values()]
            spared = frozenset[str]().union(*(way.spared for way in places.values()))
            kept.append(first._replace(change=together(changes), place=(), doubt=first.doubt + 0.05, spared=spared))
    partly = {id(way): bool(way.place) and not every <= reach[way.place] for way in kept}
    kept.sort(key=lambda way: (partly[id(way)], way.doubt))
    ranks: Counter[str] = Counter()
    late = {}
    for way in kept:  # a kind of change that can be made at many places must not use up the runs of all others
        late[id(way)] = way.doubt + LATER * min(ranks[way.mistake] // FIRST, 3)
        ranks[way.mistake] += 1
    return sorted(kept, key=lambda way: (partly[id(way)], late[id(way)]))


def _reached(evidence: Evidence, place: tuple[object, ...]) -> set[str] | None:
    """Return the wrong gradients that a place reaches; None if it reaches a right one too."""

    def change(step: Step, _: Tape) -> np.ndarray[Any, Any] | None:
        if (step.site, step.result.shape) != place or step.result.dtype.kind != "f":
            return None
        return np.asarray(
            step.result * (1.5 + 0.3 * np.sin(np.arange(step.result.size)).reshape(step.result.shape)) + 0.1
        )

    moved = set()
    gradients = run(evidence, change)
    if gradients is None:
        return None
    for path, claimed in evidence.claimed.items():
        new = gradients.get(path)
        if new is None:
            return None
        if float(np.linalg.norm(new - claimed)) > SAME * float(np.linalg.norm(claimed)):
            if path not in evidence.wrong:
                return None
            moved.add(path)
    return moved


def repaired_by(evidence: Evidence, way: Otherwise) -> dict[str, np.ndarray[Any, Any]]:
    """Return the wrong gradients that become true, if all that were right stay so."""
    return undone_by(evidence, way)[0]


def undone_by(evidence: Evidence, way: Otherwise) -> tuple[dict[str, np.ndarray[Any, Any]], bool]:
    """Return the wrong gradients that become true, if all that were right stay so, and whether no other one moves."""
    gradients = run(evidence, way.change)
    if gradients is None:
        return {}, False
    repaired = {}
    settled = True
    for path, claimed in evidence.claimed.items():
        new = gradients.get(path)
        if new is None or not np.isfinite(new).all():
            return {}, False
        moved = float(np.linalg.norm(new - claimed)) > SAME * float(np.linalg.norm(claimed))
        if moved and path not in evidence.wrong and path not in way.spared:
            return {}, False
        if moved and path in evidence.wrong and evidence.is_true(path, new):
            repaired[path] = new
        elif moved and path in evidence.wrong:
            settled = False
    for path in set(evidence.wrong) - set(evidence.claimed):
        if path in gradients and evidence.is_true(path, gradients[path]):
            repaired[path] = gradients[path]
    return repaired, settled
