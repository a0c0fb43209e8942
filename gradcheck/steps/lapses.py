"""One step of the forward differentiated wrongly that gives exactly what is claimed. Level 3.

The backward is not asked how it came to its gradients: a slip (slips.py) in the sweep back over the forward gives the
gradients of whoever makes it. Where these are the claimed ones, at two points, that is what the backward does, on
whichever of its lines.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcheck.steps.blame import Blame, Line, Replay
from gradcheck.steps.match import Sight, same
from gradcheck.steps.places import Site
from gradcheck.steps.slips import Slip, slipped, slips
from gradcheck.steps.words import Cause
from gradcheck.trees import Array

__all__ = ["lapses"]

COST = (2.5,)  # more than any rewrite that few values need
CLOSE = 1e-6  # of the norm: a sweep with a slip gives what is claimed


def lapses(blame: Blame, second: Replay | None, until: float) -> Iterator[Cause]:
    """Yield the slips that give what a wrong backward claims, until the time is over.

    A slip changes the gradients of everything that its operand is made of; so it is one that all wrong ones are made
    of, and nothing that is right.
    """
    if second is None or not blame.wrong or not all(_has_its_shape(blame.sight, path) for path in blame.run.results):
        return
    reach = _reach(blame.sight)
    for slip in slips(blame.run):
        if time.perf_counter() > until:
            return
        if (
            reach.get((slip.site, slip.operand)) == set(blame.wrong)
            and _gives(blame.sight, slip)
            and _gives(second.sight, slip)
        ):
            yield _cause(blame, slip)


def _cause(blame: Blame, slip: Slip) -> Cause:
    """Return what a slip is, and the line that is to blame where there is one alone."""
    lines = {line for pin in blame.pins for line in blame.blamed(pin)[0]}
    line = next(iter(lines)) if len(lines) == 1 else None
    words = f"the {slip.site.name} in line {slip.site.line} of {slip.site.function} {slip.said}"
    return Cause(slip.mistake, tuple(blame.wrong), line, "", f"goes back as if {words}", COST, _line(slip.site))


def _line(site: Site) -> Line | None:
    return Line.of(site.frames)


def _reach(sight: Sight) -> dict[tuple[Any, int], set[str]]:
    """Return the arguments that each operand of each place of the forward is made of, at any of its turns."""
    run = sight.run
    made: dict[int, set[str]] = {i: {path} for path, i in run.leaf.items() if path in run.results}
    found: dict[tuple[Any, int], set[str]] = {}
    for node in run.nodes[: run.start]:
        for k, parent in enumerate(node.parents):
            if above := made.get(parent):
                made.setdefault(node.id, set()).update(above)
                if (node.id, k) in sight.bars.edges:
                    found.setdefault((node.site, k), set()).update(above)
    return found


def _gives(sight: Sight, slip: Slip) -> bool:
    """Whether the sweep back over a run gives, with a slip in it, what its backward claims."""
    bars = slipped(sight.run, sight.pulls, slip)
    return bars is not None and all(
        _equal(bars.nodes.get(sight.run.leaf[path]), _claimed(sight, path)) for path in sight.run.results
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
