"""Loops of the backward that leave out turns of a loop of the forward. Level 3."""

from __future__ import annotations

import functools

import numpy as np

from gradcheck.steps.journey import Line, headed
from gradcheck.steps.lines import Lines
from gradcheck.steps.match import Index, Match, same
from gradcheck.steps.pins import Pin
from gradcheck.steps.places import Site
from gradcheck.trees import Array

__all__ = ["Loops"]


class Loops:
    """The loops of a backward, each of which should go through as many turns as that of the forward."""

    def __init__(self, lines: Lines) -> None:
        self.lines, self.sight, self.run = lines, lines.sight, lines.run

    @functools.cached_property
    def short(self) -> list[tuple[Line, int]]:
        """The lines that head loops of which all turns are right, and a turn of the forward that lacks."""
        sight, forward = self.sight, self.sight.turns(range(self.run.start))
        found = []
        for site, ids in sight.turns(n.id for n in self.lines.nodes if n.kind == "op").items():
            known = [sight.verified[i] for i in ids if i in sight.verified]
            if len(known) < len(ids) or any(match.kind != "cotangent" for match in known):
                continue
            places = {self.run.nodes[match.nodes[0]].site for match in known}
            place = next(iter(places)) if len(places) == 1 else None
            if place is not None and self.heads(place) and (heads := self.heads(site)):
                found += [(head, i) for i in self.missing(forward.get(place, []), known) for head in heads]
        return found

    def missing(self, turns: list[int], known: list[Match]) -> list[int]:
        """Return the turns of the forward of which no cotangent is found in the backward."""
        bars = self.sight.bars.nodes
        done = {match.nodes[0] for match in known}
        return [
            i for i in turns if i not in done and i in self.sight.moving and i in bars and not self.is_known(bars[i])
        ]

    def is_known(self, bar: Array) -> bool:
        """Whether a cotangent is zero, or found in the backward."""
        return not np.any(bar) or any(True for _ in self.values.find(bar, turned=True))

    @functools.cached_property
    def values(self) -> Index:
        """The values of the backward that are cotangents."""
        index = Index()
        for i, match in self.sight.verified.items():
            index.add(self.run.value(i) / match.factor, i)
        return index

    def heads(self, site: Site, *, all_around: bool = False) -> list[Line]:
        """Return the lines that head the innermost loop around a place, or all, and the branches in it."""
        for frame in reversed(site.frames):
            line = Line.at(frame)
            if loops := headed(line.code, line.number, loops=True):
                around = headed(line.code, line.number)
                last = loops[-1] if all_around else loops[0]
                return [Line(line.code, n) for n in around[: around.index(last) + 1]]
        return []

    def to_blame(self, pin: Pin) -> set[Line]:
        """Return the lines that head what leaves out a turn that the gradients of a pin need."""
        wanted = {self.run.leaf[path] for path in pin.paths}
        return {head for head, i in self.short if not wanted.isdisjoint(self.sight.sources(i))}

    def around(self, pin: Pin, segment: list[int]) -> set[Line]:
        """Return the lines that head the loops around a sum that lacks the part of one turn of the forward alone."""
        value, uses = self.run.value(pin.first), self.sight.uses.get(pin.goal, [])
        if np.shape(value) != pin.truth.shape or pin.use:
            return set()
        lacks = pin.truth - value
        sites = [site for site, ids in self.sight.turns({i for i, _ in uses}).items() if len(ids) > 1]
        parts = [self.sight.bars.edges[use] for use in uses if self.run.nodes[use[0]].site in sites]
        if not any(same(lacks, part) for part in parts):
            return set()
        return {head for i in segment for head in self.heads(self.run.nodes[i].site, all_around=True)}
