"""What the forward calls its values, in the letters of the function that is spoken of. Level 3.

``Z, cache = affine_forward(A, W, b)`` calls Z what ``affine_forward`` calls y. To a backward the value is Z, and to a
function that it calls, as deep as ``affine_forward``, it is y.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from gradcheck.steps.journey import Line
from gradcheck.steps.match import Sight
from gradcheck.steps.nodes import Node
from gradcheck.steps.places import Site, stored

__all__ = ["Letters"]


class Name(NamedTuple):
    """A variable, ``""`` if there is none, the line that binds it, and in how many calls that stands."""

    variable: str
    line: Line
    depth: int

    @property
    def rank(self) -> tuple[bool, int]:
        """What is better known comes first."""
        return not self.variable, self.depth


class Letters:
    """The names of the forward's values."""

    def __init__(self, sight: Sight) -> None:
        self.sight, self.run = sight, sight.run
        self._bound: dict[int, dict[str, set[Line]]] = {}

    def of(self, i: int, depth: int) -> str:
        """Return what a node is called by a function so many calls deep, with the line where several are called so.

        Of the values that have one cotangent it is the one that is named least deep.
        """
        node = self.sight.written(i)
        if node.kind == "leaf":
            return str(node.name)
        if not node.site.frames:  # an adapter made it
            return f"({node.name})"
        node = min([node, *self.alike(i)], key=lambda node: self.named(node.site, depth).rank)
        variable, line, _ = self.named(node.site, depth)
        if not variable:
            return f"({node.name}, line {node.site.line})"
        return f"{variable} (line {line.number})" if len(self.bound(depth)[variable]) > 1 else variable

    def alike(self, i: int) -> Iterator[Node]:
        """Yield other values of the same shape that have the same cotangent."""
        bar = self.sight.bars.nodes[i]
        for match, _ in self.sight.cotangents.find(bar):
            node = self.run.nodes[match.nodes[0]]
            if match.kind == "cotangent" and node.site.frames and node.value.shape == bar.shape:
                yield node

    def named(self, site: Site, depth: int) -> Name:
        """Return the variable that takes the result of a place, of the outermost call from ``depth`` inwards.

        A call has a name for it if that is all that ever leaves it.
        """
        for k, call in enumerate(calls(site)):
            if k >= depth and self.leaving[call] == {site} and (variable := stored(*site.frames[k])):
                return Name(variable, Line.at(site.frames[k]), k)
        return Name(site.variable, Line.at(site.frames[-1]), len(site.frames) - 1)

    def bound(self, depth: int) -> dict[str, set[Line]]:
        """Return the lines that bind each name."""
        if depth not in self._bound:
            found = self._bound[depth] = defaultdict(set)
            for site in {node.site for node in map(self.sight.written, self.sight.bars.nodes) if node.site.frames}:
                variable, line, _ = self.named(site, depth)
                found[variable].add(line)
        return self._bound[depth]

    @functools.cached_property
    def leaving(self) -> dict[Site, set[Site]]:
        """The places in each call whose results are used outside of it."""
        found: dict[Site, set[Site]] = defaultdict(set)
        for node in self.run.nodes[: self.run.start]:
            inside = set(calls(node.site))
            for site in {self.run.nodes[p].site for p in node.parents if p >= 0}:
                for call in calls(site):
                    if call not in inside:
                        found[call].add(site)
        for i in self.run.outs:
            site = self.sight.written(i).site
            for call in calls(site):
                found[call].add(site)
        return found


@functools.lru_cache(maxsize=4096)
def calls(site: Site) -> tuple[Site, ...]:
    """Return the calls in which a place stands, from the outermost to its own line."""
    return tuple(Site(site.frames[: k + 1], "") for k in range(len(site.frames)))
