"""What a backward computes rightly and throws away: overwritten before it is used, dropped, or never read. Level 3."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from gradcheck.steps.journey import Line, headed, is_dropped, names, returning
from gradcheck.steps.nodes import Node
from gradcheck.steps.pins import Pin
from gradcheck.steps.replay import Replay

__all__ = ["Thrown"]

WHOLE = ("cotangent", "use", "uses")


class Thrown:
    """The true cotangents in the backward of a run that no gradient is computed from."""

    def __init__(self, replay: Replay) -> None:
        self.replay, self.sight, self.run = replay, replay.sight, replay.run

    @functools.cached_property
    def last(self) -> list[Node]:
        """The last values of what is thrown away: nothing known is computed from them."""
        sight = self.sight
        kept = {sight.verified[i].nodes for i in sight.needed if i in sight.verified}
        idle = {
            i
            for i, match in sight.verified.items()
            if match.kind in WHOLE
            and i not in sight.needed
            and match.nodes not in kept
            and self.run.nodes[i].kind == "op"
        }
        return [self.run.nodes[i] for i in sorted(idle) if idle.isdisjoint(self.replay.below((i,))[1:])]

    def to_blame(self, pin: Pin, main: Iterable[Line]) -> set[Line]:
        """Return the lines on which what a pin lacks is lost; ``main`` are those that are to blame otherwise."""
        wanted = {self.run.leaf[path] for path in pin.paths}
        return {
            line
            for node in self.last
            if not wanted.isdisjoint(self.sight.sources(self.sight.verified[node.id].nodes[0])) and node.site.frames
            for line in self.losing(node, main)
        }

    def losing(self, node: Node, main: Iterable[Line]) -> set[Line]:
        """Return where a value is lost: where its name is bound anew, where it is dropped, or should be returned."""
        code, _ = node.site.frames[-1]
        here, name = Line.at(node.site.frames[-1]), node.site.variable
        if is_dropped(*node.site.frames[-1]):
            return {here}
        if name not in {*code.co_varnames, *code.co_cellvars}:
            return set()
        back = set(returning(code))
        reading = {Line(code, n) for n, read in names(code).reads.items() if name in read and n != here.number}
        if not reading:
            turns = bool(headed(code, here.number, loops=True))
            instead = any(line.code is code and (turns or line.number > here.number) for line in main)
            return set() if instead else back  # unless another value is used in its place
        for other in self.run.nodes[node.id + 1 :]:
            if other.site.variable == name and [c for c, _ in other.site.frames] == [c for c, _ in node.site.frames]:
                again = Line.at(other.site.frames[-1])
                return {again} if again != here or (here in main and headed(code, here.number, loops=True)) else set()
        return {here} if reading - back else set()
