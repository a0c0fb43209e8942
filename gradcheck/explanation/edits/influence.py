"""Which gradients a value reaches: what does not reach all that is wrong holds no single mistake. Level 1.

Each value of a function is moved once, and the gradients that move with it are noted. A change inside a value moves no
other gradients than that, so one that leaves a wrong gradient as it is need not be tried.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gradcheck.explanation.edits.nodes import fill
from gradcheck.explanation.edits.scene import Proposal, Scene

__all__ = ["Touched", "moved", "plausible"]

MOST = 120  # values of a function that are moved
MANY = 500  # proposals, of which not all can be tried: then
AIMED = 6  # ranks earlier come those that reach the wrong gradients and no other
_ALIASES = {"E3"}  # a copy changes those that share the array, not those that its value reaches
Touched = Callable[[Callable[..., Any]], frozenset[str] | None]


def moved(scene: Scene) -> Iterator[tuple[ast.expr, Proposal]]:
    """Yield the values of a function, each with a change of its entries."""
    for site in scene.values[:MOST]:
        if not site.statement.unpacks:
            new = fill("v * 1.37 + 0.11", v=site.node)
            yield site.node, Proposal("", 0, site.statement, ((site.place, new),))


class _Reach:
    """Which gradients the nodes of a function reach, those that were moved, by what they are part of."""

    def __init__(self, touched: Mapping[ast.expr, frozenset[str]]) -> None:
        self._reached = {id(part): paths for node, paths in touched.items() for part in ast.walk(node)}

    def of(self, proposal: Proposal, wrong: frozenset[str]) -> frozenset[str] | None:
        """Return the gradients that a proposal may change, none if a part of it is idle; None if that is not known."""
        found: frozenset[str] = frozenset()
        for place, new in proposal.changes:
            held = getattr(place.parent, place.field)
            held = held if place.slot is None else held[place.slot]
            paths = self._reached.get(id(held)) if isinstance(new, ast.expr) else None
            if paths is None:
                return None
            if not paths & wrong:
                return frozenset()
            found |= paths
        return found


def plausible(
    proposals: list[Proposal], touched: Mapping[ast.expr, frozenset[str]], wrong: frozenset[str]
) -> Iterator[Proposal]:
    """Yield the proposals that may change all that is wrong; of many, those that change nothing else earlier."""
    reach = _Reach(touched)
    paths = [None if each.mistake in _ALIASES else reach.of(each, wrong) for each in proposals]
    kept = [(each, found) for each, found in zip(proposals, paths, strict=True) if found is None or wrong <= found]
    telling = len(kept) > MANY and any(each - wrong for each in touched.values())  # what all values reach tells nothing
    for each, found in kept:
        yield each._replace(rank=each.rank - AIMED) if telling and found == wrong else each
