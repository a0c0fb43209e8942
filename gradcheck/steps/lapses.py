"""One step of the forward differentiated wrongly that gives exactly what is claimed. Level 3.

The backward is not asked how it came to its gradients: with a lapse in it the sweep back over the forward gives the
gradients of whoever makes that. Where these are the claimed ones, at two points, that is what the backward does, on
whichever of its lines. A lapse is a slip at one operation (slips.py), or the derivative left out of a whole function by
the entry, wherever one line calls it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.blame import Blame, Line, Replay
from gradcheck.steps.match import Sight, same
from gradcheck.steps.nodes import Node
from gradcheck.steps.places import Site
from gradcheck.steps.slips import Slip, slipped, slips
from gradcheck.steps.truth import Bars, adjoint
from gradcheck.steps.words import Cause
from gradcheck.trees import Array

__all__ = ["lapses"]

COST = (2.5,)  # more than any rewrite that few values need
CLOSE = 1e-6  # of the norm: a sweep with a lapse gives what is claimed

Reach = dict[int, frozenset[str]]  # of each node of the forward, the arguments that it is made of


class Lapse(NamedTuple):
    """One way to differentiate the forward wrongly.

    Attributes:
        mistake: the id in the catalogue.
        said: what is done wrongly, in words that follow ``goes back as if``.
        site: the place in the forward that it speaks of.
        reach: the arguments whose gradients it changes.
        bars: the cotangents that the sweep back over a recording gives with it; None if it gives none.
    """

    mistake: str
    said: str
    site: Site
    reach: frozenset[str]
    bars: Callable[[Sight], Bars | None]


def lapses(blame: Blame, second: Replay | None, until: float) -> Iterator[Cause]:
    """Yield the lapses that give what a wrong backward claims, until the time is over.

    A lapse changes the gradients of everything that the step is made of. That is what is wrong, and nothing else; or
    else what is wrong is computed by itself, beside what is right.
    """
    sight, wrong = blame.sight, frozenset(blame.wrong)
    if second is None or not wrong or not all(_has_its_shape(sight, path) for path in blame.run.results):
        return
    reach = _reach(sight)
    some = [lapse for lapse in (*_of_operations(sight, reach), *_of_functions(sight, reach)) if lapse.reach >= wrong]
    for lapse in sorted(some, key=lambda lapse: lapse.reach != wrong):
        if time.perf_counter() > until:
            return
        paths = blame.run.results if lapse.reach == wrong else wrong
        if _gives(sight, lapse, paths) and _gives(second.sight, lapse, paths):
            yield _cause(blame, lapse)


def _cause(blame: Blame, lapse: Lapse) -> Cause:
    """Return what a lapse is, and the line that is to blame where there is one alone."""
    lines = {line for pin in blame.pins for line in blame.blamed(pin)[0]}
    line = next(iter(lines)) if len(lines) == 1 else None
    should = f"goes back as if {lapse.said}"
    return Cause(lapse.mistake, tuple(blame.wrong), line, "", should, COST, Line.of(lapse.site.frames))


def _reach(sight: Sight) -> Reach:
    """Return the arguments with a gradient that each node of the forward is made of."""
    run = sight.run
    made: Reach = {i: frozenset([path]) for path, i in run.leaf.items() if path in run.results}
    for node in run.nodes[: run.start]:
        if above := frozenset[str]().union(*(made.get(parent, frozenset()) for parent in node.parents)):
            made[node.id] = made.get(node.id, frozenset()) | above
    return made


# ------------------------------------------------------------------ at one operation


def _of_operations(sight: Sight, reach: Reach) -> Iterator[Lapse]:
    """Yield the slips at every operation."""
    through: dict[tuple[Site, int], frozenset[str]] = {}
    for i, k in sight.bars.edges:
        node = sight.run.nodes[i]
        above = reach.get(node.parents[k], frozenset())
        through[node.site, k] = through.get((node.site, k), frozenset()) | above
    for slip in slips(sight.run):
        said = f"the {slip.site.name} in line {slip.site.line} of {slip.site.function} {slip.said}"
        changed = through.get((slip.site, slip.operand), frozenset())
        yield Lapse(slip.mistake, said, slip.site, changed, functools.partial(_slipped, slip))


def _slipped(slip: Slip, sight: Sight) -> Bars | None:
    return slipped(sight.run, sight.pulls, slip)


# ------------------------------------------------------------------ of a function by the entry


def _of_functions(sight: Sight, reach: Reach) -> Iterator[Lapse]:
    """Yield the derivatives by the entry that are left out, or there twice: all that one line of the forward calls."""
    for pairs in _groups(sight).values():
        site = sight.run.nodes[pairs[0][1]].site
        changed = frozenset[str]().union(*(reach.get(b, frozenset()) for _, b in pairs))
        where = f"line {site.line} of {site.function}"
        for mistake, what, power in (("C1", "left out", -1), ("C3", "there twice", 1)):
            said = f"the derivative of what is made in {where} were {what}"
            yield Lapse(mistake, said, site, changed, functools.partial(_rescaled, pairs, power))


def _groups(sight: Sight) -> dict[tuple[Any, ...], list[tuple[int, int]]]:
    """Return the pairs of which ∂b/∂a is known and nowhere zero, by place, and by the line that calls the function.

    Of a function that does several operations by the entry the last one counts, whichever function is called.
    """
    nodes = sight.run.nodes
    curved = [pair for pair, d in sight.derivatives.items() if d.all() and np.ptp(d) and np.isfinite(d).all()]
    groups: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    ends: dict[tuple[Any, ...], dict[int, int]] = {}
    for a, b in curved:
        groups.setdefault((nodes[a].site, nodes[b].site), []).append((a, b))
        if caller := nodes[b].site.frames[:-1]:
            ends.setdefault(caller, {})[a] = max(b, ends.get(caller, {}).get(a, b))
    for caller, last in ends.items():
        if list(last.items()) not in groups.values():
            groups[caller] = list(last.items())
    return groups


def _rescaled(pairs: Iterable[tuple[int, int]], power: int, sight: Sight) -> Bars | None:
    """Return the sweep back in which the cotangent of each b is multiplied by a power of ∂b/∂a."""
    if any(pair not in sight.derivatives for pair in pairs):
        return None
    factors = {b: sight.derivatives[a, b] ** power for a, b in pairs}

    def change(node: Node, k: int, bar: Array, part: Array | None) -> Array | None:
        return part if node.id not in factors else sight.pulls[node.id, k](np.asarray(bar * factors[node.id]))

    return adjoint(sight.run, sight.pulls, change)


# ------------------------------------------------------------------ what is claimed


def _gives(sight: Sight, lapse: Lapse, paths: Iterable[str]) -> bool:
    """Whether the sweep back over a recording gives, with a lapse in it, what its backward claims at some paths."""
    bars = lapse.bars(sight)
    return bars is not None and all(
        _equal(bars.nodes.get(sight.run.leaf[path]), _claimed(sight, path)) for path in paths
    )


def _claimed(sight: Sight, path: str) -> Array | None:
    i = sight.run.results[path]
    return sight.run.value(i) if i >= 0 else sight.run.claimed[path]


def _has_its_shape(sight: Sight, path: str) -> bool:
    claimed = _claimed(sight, path)
    return claimed is not None and np.shape(claimed) == sight.truth(path).shape


def _equal(bar: Any, claimed: Array | None) -> bool:
    if bar is None or not np.any(bar):
        return not np.any(claimed)
    return same(bar, claimed, CLOSE)
