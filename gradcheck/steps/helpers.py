"""Whether a helper is wrong, or what it is called with. Level 3.

A line of a helper that gives something right in another call is right: then the line that calls it is to blame, and
what that hands over. And if a segment becomes right once it is given another value of the forward, of the same shape,
than the one that it was given, it does the right thing with the wrong value.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from gradcheck.steps.journey import Line, chooses
from gradcheck.steps.lines import Lines
from gradcheck.steps.match import same
from gradcheck.steps.nodes import Node
from gradcheck.steps.pins import Pin
from gradcheck.steps.places import Frames
from gradcheck.trees import Array

__all__ = ["Helpers"]

LONGEST = 30  # nodes of a segment that is done again with other values,
OTHERS = 60  # of the forward, so many for each
CLOSE = 1e-6  # of the norm


class Helpers:
    """The functions that the backward of a run calls."""

    def __init__(self, lines: Lines) -> None:
        self.lines, self.sight, self.run = lines, lines.sight, lines.run

    def to_blame(self, pin: Pin, segment: list[int]) -> set[Line]:
        """Return the lines of a segment, or where it is handed the wrong values."""
        if not 0 < len(segment) <= LONGEST:
            return {line for i in segment for line in self.corrected(i)}
        made = (i for i in self.miscomputed(pin, segment) if not self.is_read(i))
        return self.mishanded(pin, segment) or {line for i in made for line in self.corrected(i)}

    def is_read(self, i: int) -> bool:
        """Whether a value is only read from what the forward made: on no line of its own, but wherever it is used."""
        node = self.run.nodes[i]
        return node.kind == "gather" and max(node.parents) < self.run.start

    def corrected(self, i: int) -> Iterable[Line]:
        """Yield the line of a node; of a helper that is right in another call, the line that calls it."""
        frames: Frames = self.run.nodes[i].site.frames
        outermost = len(frames)
        while len(frames) > self.lines.entry + 1 and self.is_sound(frames, carries=self.carries(self.run.nodes[i])):
            frames = frames[:-1]
        if frames:
            yield (line := Line.at(frames[-1]))
            yield from self.lines.beside(line) if len(frames) < outermost else ()
        for p in self.run.nodes[i].parents:  # what another function gave that is only a value of the forward
            other: Frames = self.run.nodes[p].site.frames if p >= self.run.start and p in self.sight.primal else ()
            if len(other) > len(frames) + 1:
                yield Line.at(other[len(frames)])
            elif 0 < len(other) < len(frames):
                yield Line.at(other[-1])

    # ------------------------------------------------------------------ right in another call

    def is_sound(self, frames: Frames, *, carries: bool) -> bool:
        """Whether what a line of a helper gives, or all of it if that carries nothing, is right in another call."""
        line, call = Line.at(frames[-1]), frames[:-1]
        if carries:
            return bool(self.sound.get(line, set()) - {call})
        lines = [line for line in self.sound if line.code is frames[-1][0]]
        return bool(lines) and all(self.sound[line] - {call} for line in lines)

    @functools.cached_property
    def sound(self) -> dict[Line, set[Frames]]:
        """The calls in which each line that carries the cotangent gave something right, as the last that it did."""
        last: dict[tuple[Frames, Line], Node] = {}
        for node in self.lines.nodes:
            if node.site.frames and node.is_float and node.kind == "op" and self.carries(node):
                last[node.site.frames[:-1], Line.at(node.site.frames[-1])] = node
        found: dict[Line, set[Frames]] = {}
        for (call, line), node in last.items():
            calls = found.setdefault(line, set())
            if self.is_right(node):
                calls.add(call)
        return found

    def carries(self, node: Node) -> bool:
        """Whether a value may be made of the cotangent; that of a loss may be left out as it is 1."""
        return self.sight.scalar or node.id in self.sight.carrying

    def is_right(self, node: Node) -> bool:
        """Whether a value is one of the forward, or a cotangent as many times as what it is made of."""
        known = self.sight.verified
        match = known.get(node.id)
        if match is None or match.kind == "part":
            return node.id in self.sight.primal
        if match.factor != 1 and self.run.nodes[match.nodes[0]].kind == "leaf":
            return False
        before = (known[p] for p in node.parents if p in known)
        return all(each.kind == "slope" or each.factor == match.factor for each in before)

    # ------------------------------------------------------------------ right with another value

    def mishanded(self, pin: Pin, segment: list[int]) -> set[Line]:
        """Return the lines that hand over a value of the forward where another one of its shape makes all right."""
        nodes, found = self.run.nodes, set[Line]()
        for p in {p for i in segment for p in nodes[i].parents if self.is_given(p, segment)}:
            if any(self.becomes(pin, segment, {p: other}) for other in self.others(p)):
                for i in segment:
                    if p in nodes[i].parents and (line := self.handing(nodes[i], nodes[p])) is not None:
                        found |= {line, *self.lines.beside(line)}
        return found

    def miscomputed(self, pin: Pin, segment: list[int]) -> list[int]:
        """Return the part of a segment that makes a factor where another one is right; all of it without one."""
        nodes = self.run.nodes
        for i in segment:
            if (
                i == pin.first
                or self.is_read(i)
                or self.carries(nodes[i])
                or not nodes[i].is_float
                or nodes[i].value.size < 2
            ):
                continue
            slopes = (d for d in self.sight.derivatives.values() if d.shape == nodes[i].value.shape)
            if any(self.becomes(pin, segment, {i: other}) for other in itertools.chain(slopes, self.others(i))):
                before = self.lines.above(i)
                return [j for j in segment if j in before]
        return segment

    def is_given(self, p: int, segment: list[int]) -> bool:
        """Whether a value is one of the forward that a segment is given."""
        if p < 0 or p in segment or not self.run.nodes[p].is_float or self.run.nodes[p].value.size < 2:
            return False
        return p < self.run.start or p in self.sight.primal

    def handing(self, user: Node, given: Node) -> Line | None:
        """Return the line that chose a value: where it is used, or the call of the helper that was given no other."""
        frames: Frames = user.site.frames
        while len(frames) > self.lines.entry + 1 and not chooses(frames[-1][0]):
            if given.site.frames[: len(frames) - 1] == frames[:-1]:  # it made the value itself
                break
            frames = frames[:-1]
        return Line.of(frames)

    def others(self, p: int) -> list[Array]:
        """Return other values of the forward of the shape of one."""
        nodes, value = self.run.nodes, self.run.nodes[p].value
        alike = (nodes[i].value for i in sorted(self.sight.bars.nodes) if nodes[i].value.shape == value.shape)
        return [other for other in list(alike)[-OTHERS:] if not same(other, value)]

    def becomes(self, pin: Pin, segment: list[int], given: Mapping[int, Any]) -> bool:
        """Whether the first wrong value becomes what it ought to be with other values given to its segment."""
        new = dict(given)
        for i in segment:
            node = self.run.nodes[i]
            if i in given:
                continue
            try:
                new[i] = node.compute([new.get(p, self.run.value(p)) for p in node.parents])
            except Exception:  # noqa: BLE001  (a shape that does not fit: NumPy may raise anything)
                return False
        return same(new[pin.first], pin.truth, CLOSE)
