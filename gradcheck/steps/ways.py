"""The way of a right value to where it is used, on which a step is missing. Level 3.

A value is made on a line, perhaps in a helper; it is copied, handed on under other names, put in a container; and it is
used, or returned. If it is right as the cotangent of something else, the step that would make of it what it ought to be
should stand on a line of this way: first of all on one that does nothing but hand it on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradcheck.steps.journey import Line, bindings, passing, returning
from gradcheck.steps.lines import Lines
from gradcheck.steps.match import same
from gradcheck.steps.nodes import Node
from gradcheck.steps.pins import Pin
from gradcheck.steps.places import Frames
from gradcheck.steps.replay import Replay

__all__ = ["Way", "Ways"]

COPIES = frozenset({"copy", "array", "astype", "reshape", "ravel", "flatten", "transpose", "squeeze", "gather"})
FEW = 2  # lines that compute other things and may hand a value on


class Way(NamedTuple):
    """The lines of a way.

    Attributes:
        renamed: those that only give the value another name, or put it in a container.
        copied: those that copy it; and where a function does nothing but copy it, those on which it returns.
        passed: those that compute other things, and may hand it on beside them.
        maker: that on which it is made, or the call of the helper that makes it.
        end: that on which it is used first, or returned.
        helped: whether a helper made it.
    """

    renamed: set[Line]
    copied: set[Line]
    passed: set[Line]
    maker: set[Line]
    end: set[Line]
    helped: bool

    @property
    def silent(self) -> set[Line]:
        """The lines that hand the value on and do nothing to it."""
        return self.renamed | self.copied | self.passed

    @property
    def likely(self) -> set[Line]:
        """The lines on which the missing step should stand."""
        if self.renamed:
            return self.renamed | self.copied
        return (self.copied or self.passed or self.maker) | self.end


class Ways:
    """The ways of the values of a backward."""

    def __init__(self, replay: Replay, lines: Lines) -> None:
        self.replay, self.run, self.lines = replay, replay.run, lines

    def of(self, pin: Pin) -> Way:
        """Return the way of the value at a pin to what makes the wrong gradients of it."""
        nodes = self.run.nodes
        origin, before = self.origin(pin.first)
        copies = before if pin.users else [*before, *self.copies(pin.first)]
        made = self.maker(nodes[origin])
        ends, depth = self.ends(pin, origin, copies, made)
        maker = {Line.at(made[depth])} if len(made) > depth else set()
        copied = set(self.lines.of(copies)) - {*maker, *ends}
        copied |= {back for line in copied if line.code not in {e.code for e in ends} for back in returning(line.code)}
        start = next(iter(maker)).number if maker else None
        near = [end for end in ends if not maker or next(iter(maker)).code is end.code]
        renamed, passed = set[Line](), set[Line]()
        for end in near:
            numbers = passing(end.code, start, end.number, self.lines.silent(end.code))
            renamed |= {Line(end.code, number) for number in numbers}
        renamed -= self.shared(pin, start, renamed)
        if maker and near and ends == self.lines.returned:
            others = set(bindings(near[0].code)) - {end.number for end in ends}
            found = passing(near[0].code, start, near[0].number, others)
            passed = {Line(near[0].code, n) for n in found if start is None or n > start}
        passed = passed if len(passed) <= FEW else set()
        return Way(renamed, copied, passed, maker, set(ends[:1]), helped=len(made) > depth + 1)

    def shared(self, pin: Pin, start: int | None, lines: set[Line]) -> set[Line]:
        """Return those of some lines over which the value at a pin comes to a use of it that is right as well."""
        right = set(self.replay.children.get(pin.first, ())) - set(pin.users) if pin.users else set()
        uses = {Line.at(frame) for c in right for frame in self.run.nodes[c].site.frames}
        found = set[Line]()
        for code, number in uses:
            allowed = {line.number for line in lines if line.code is code}
            found |= {Line(code, n) for n in passing(code, start, number, allowed)} if allowed else set()
        return found

    def ends(self, pin: Pin, origin: int, copies: list[int], made: Frames) -> tuple[list[Line], int]:
        """Return the lines on which a value is used, the first first, or else returned; and how deep in the calls."""
        nodes, goals = self.run.nodes, self.replay.above(self.run.results[path] for path in pin.paths)
        users = set(pin.users) or {c for i in (origin, *copies) for c in self.replay.children.get(i, ())} - {*copies}
        used = [nodes[c].site.frames for c in sorted(users) if c in goals and nodes[c].site.frames]
        if not used:
            return self.lines.returned, min(self.lines.entry, len(made) - 1) if made else self.lines.entry
        depth = self.level(made, used[0])
        here = (f[depth] for f in used if len(f) > depth and f[depth][0] is used[0][depth][0])
        return list(dict.fromkeys(map(Line.at, here))), depth

    def level(self, made: Frames, used: Frames) -> int:
        """Return the depth of the function in which a value is both made and used, each itself or by a call."""
        if not made:
            return min(self.lines.entry, len(used) - 1)
        depth = 0
        while depth + 1 < min(len(made), len(used)) and made[depth] == used[depth]:
            if made[depth + 1][0] is not used[depth + 1][0]:
                break
            depth += 1
        return depth

    def maker(self, node: Node) -> Frames:
        """Return where a value is made: of a gather of several values, where the last of them was written."""
        several = node.kind == "gather" and len(node.parents) > 1
        frames: Frames = self.run.nodes[max(node.parents)].site.frames if several else node.site.frames
        return frames

    def origin(self, i: int) -> tuple[int, list[int]]:
        """Return where a value was made, and the nodes that only hand it on: copies, and other shapes of it."""
        nodes = self.run.nodes
        copies: list[int] = []
        while True:
            node = nodes[i]
            plain = node.name in COPIES or not node.site.frames  # an adapter, or the return itself
            parents = [p for p in node.parents if p >= self.run.start and nodes[p].is_float]
            alike = [p for p in parents if same(node.value, nodes[p].value) or (plain and holds(node, nodes[p]))]
            if len(alike) != 1:
                return i, copies
            copies.append(i)
            i = alike[0]

    def copies(self, i: int) -> list[int]:
        """Return the copies that are made of a value further down."""
        nodes, found, waiting = self.run.nodes, list[int](), [i]
        while waiting:
            i = waiting.pop()
            for c in self.replay.children.get(i, ()):
                if nodes[c].name in COPIES and nodes[c].site.frames and holds(nodes[c], nodes[i]):
                    found.append(c)
                    waiting.append(c)
        return found


def holds(node: Node, other: Node) -> bool:
    """Whether a node holds what another one holds, in whatever order and shape."""
    a, b = np.ravel(node.value), np.ravel(other.value)
    return a.size == b.size and (same(a, b) or bool(np.array_equal(np.sort(a), np.sort(b))))
