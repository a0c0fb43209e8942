"""Which lines are to blame. Level 3.

A pin (pins.py) says what a value ought to be. If the value is no cotangent at all, the mistake lies between it and the
nearest values that are right: the *segment*. If it is right as the cotangent of something else, a step is missing on
its way from where it is made to where it is used (ways.py). What lies in a helper that is right elsewhere is the fault
of the call (helpers.py).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Sequence

import numpy as np

from gradcheck.steps.helpers import Helpers
from gradcheck.steps.influence import Influence
from gradcheck.steps.journey import Line
from gradcheck.steps.lines import Lines, ordered
from gradcheck.steps.loops import Loops
from gradcheck.steps.match import Sight, same
from gradcheck.steps.nodes import Node
from gradcheck.steps.pins import Pin, Pins
from gradcheck.steps.pulls import MOVES
from gradcheck.steps.replay import At, Replay
from gradcheck.steps.thrown import Thrown
from gradcheck.steps.ways import Ways

__all__ = ["At", "Blame", "Line", "Pin", "Replay"]

PATIENCE = 2.0  # seconds for the pins
WRITES = frozenset({"setitem", "add", "subtract", "multiply", "add.at", "subtract.at", "divide"})
INDICES = 3  # lines of indices that are blamed beside what they are used for
PLACED = frozenset({"gather", "setitem", "add.at", "subtract.at"})
SLIGHT = 1e-6  # from 1: no factor
SHORT = 2  # lines of a segment that are blamed although a step may be missing before it


class Blame:
    """What is wrong in the backward of a run, and where; the pins are looked for until a moment of ``perf_counter``."""

    def __init__(self, sight: Sight, until: float | None = None) -> None:
        self.sight, self.run, self.replay = sight, sight.run, Replay(sight)
        patience = time.perf_counter() + PATIENCE
        self.until = patience if until is None else min(until, patience)
        self._lines, self._blamed = Lines(sight), dict[tuple[int, ...], tuple[list[Line], list[Line]]]()
        self.ways, self.helpers = Ways(self.replay, self._lines), Helpers(self._lines)
        self.thrown, self.loops = Thrown(self.replay), Loops(self._lines)
        run = self.run
        claimed = {path: run.value(i) if i >= 0 else run.claimed[path] for path, i in run.results.items()}
        self.wrong = [path for path, g in claimed.items() if not sight.is_right(path, g)]

    @functools.cached_property
    def pins(self) -> list[Pin]:
        """The places that explain all that is wrong; of several mistakes, one for each."""
        return Pins(self.replay, self.wrong, self.until).found() if self.wrong else []

    @functools.cached_property
    def sound(self) -> set[int]:
        """The values that a right gradient would not be right without: whatever is wrong is done to them later."""
        right = self.run.results.keys() - set(self.wrong)
        return Influence(self.replay, (), right).counting

    def lines(self, ids: Iterable[int]) -> list[Line]:
        """Return the lines on which some nodes are made."""
        return self._lines.of(ids)

    def segment(self, pin: Pin) -> list[int]:
        """Return the nodes between the first wrong turn of the pinned place and the nearest right values."""
        run, verified = self.run, self.sight.verified
        found, waiting, itself = set[int](), [pin.first], verified.get(pin.first)
        while waiting:
            i = waiting.pop()
            if i in found or i < run.start or run.nodes[i].kind == "leaf":
                continue
            match = verified.get(i)
            known = (
                (match and not (itself and match.nodes == itself.nodes)) or i in self.sight.primal or i in self.sound
            )
            if known and i != pin.first:
                continue
            found.add(i)
            parents = self.parts(pin) if i == pin.first else run.nodes[i].parents
            if run.nodes[i].kind == "gather":  # what wrote the cells belongs to how they were put together
                found.update(p for p in parents if p >= run.start and run.nodes[p].name in WRITES)
            waiting.extend(parents)
        return sorted(found)

    def parts(self, pin: Pin) -> Sequence[int]:
        """Return what the first wrong turn is made of; where it is put together of cells, what made the wrong ones."""
        node = self.run.nodes[pin.first]
        if node.kind != "gather" or np.shape(node.value) != pin.truth.shape:
            return node.parents
        cells = (node.data[0] == k for k in range(len(node.parents)))
        wrong = [p for p, of in zip(node.parents, cells, strict=True) if not same(node.value[of], pin.truth[of])]
        left_out = any(self.run.nodes[p].kind == "const" for p in wrong)  # nobody wrote there, who should have
        return node.parents if left_out or not wrong else wrong

    def blamed(self, pin: Pin) -> tuple[list[Line], list[Line]]:
        """Return the lines to blame, and those that could hold the mistake although they compute nothing."""
        if (key := (*pin.nodes, -1, *pin.of, -1, *pin.users)) not in self._blamed:  # asked at many a stage
            segment, early = self.segment(pin), self.early(pin)
            main = self.to_blame(pin, segment, early)
            near = self.near(pin, segment, early, main)
            self._blamed[key] = ordered(main), ordered(near - main)
        return self._blamed[key]

    def early(self, pin: Pin) -> Pin | None:
        """Return the right value after which a step may be missing; None where there is none."""
        match = self.sight.verified.get(pin.first)
        if match is None:
            return pin.early
        return None if match.nodes[0] == pin.goal and match.factor != 1 else pin  # so many times what it ought to be

    def to_blame(self, pin: Pin, segment: list[int], early: Pin | None) -> set[Line]:
        """Return the lines to blame: of the segment, of the way of a right value, or of both."""
        if short := self.loops.to_blame(pin):
            return short
        match = self.sight.verified.get(pin.first)
        partial = match is not None and match.nodes[0] == pin.goal
        if early is pin and not partial:
            main = self.ways.of(pin).likely
        else:
            main = self.helpers.to_blame(pin, segment)
            if early is not None:
                main = self.weighed(pin, segment, main, early, partial=partial)
        misshapen = np.shape(self.run.value(pin.first)) != pin.truth.shape
        if pin.first in self.run.results.values() and (misshapen or self.sight.ignores(pin.first)):
            main = main | set(self._lines.returned)
        if main and main.isdisjoint(self._lines.making_any):  # they only hand on what is right
            return main
        if (
            match is not None
            and partial
            and match.kind in ("use", "uses")
            and main == set(self.lines(self.parts(pin) if self.run.nodes[pin.first].kind == "gather" else [pin.first]))
        ):  # the line that would add the rest may have vanished after it
            main = main | self.ways.of(pin).end
        lost = self.thrown.to_blame(pin, main) or self.loops.around(pin, segment)
        return lost or self.surplus(pin) or main | self.coarse(segment, main) | self.beside(pin, segment)

    def beside(self, pin: Pin, segment: list[int]) -> set[Line]:
        """Return the lines of what is as likely: the indices, the same factor before, the step from an inner value."""
        nodes = self.run.nodes
        moved = self.lines(i for i in segment if nodes[i].name in PLACED or self.is_part(nodes[i]))
        indices = set().union(*(self._lines.indices(line) for line in moved))
        return (indices if len(indices) <= INDICES else set()) | self.scaled(pin) | self.inner(pin, segment)

    def is_part(self, node: Node) -> bool:
        """Whether a node is read from some cells of a buffer, or written into them."""
        return node.memory is not None and node.memory[1] is not None

    def scaled(self, pin: Pin) -> set[Line]:
        """Return the lines that scale by the number by which a value differs from what it ought to be."""
        value, truth = np.ravel(self.run.value(pin.first)), np.ravel(pin.truth)
        factor = float(value @ truth) / float(truth @ truth) if truth.any() and value.size == truth.size > 1 else 1.0
        if abs(factor - 1) < SLIGHT or not same(value, factor * truth):
            return set()
        found = set[int]()
        for i in self.replay.above([pin.first]):
            node = self.run.nodes[i]
            if node.kind == "op" and any(
                p >= 0 and np.size(self.run.value(p)) > 1 and same(node.value, factor * self.run.value(p))
                for p in node.parents
            ):
                found.add(i)
        return set(self.lines(found))

    def surplus(self, pin: Pin) -> set[Line]:
        """Return the lines of what is added although it belongs to no cotangent, and is all that is too much."""
        value = self.run.value(pin.first)
        if np.shape(value) != pin.truth.shape or pin.first in self.sight.verified:
            return set()
        excess = value - pin.truth
        return set(
            self.lines(
                i
                for i in self.replay.above([pin.first]) - {pin.first}
                if self.run.nodes[i].kind == "op" and i not in self.sight.verified and same(self.run.value(i), excess)
            )
        )

    def inner(self, pin: Pin, segment: list[int]) -> set[Line]:
        """Return the lines of the cotangents of inner values, without a name, that are made of the one at the pin."""
        nodes, verified = self.run.nodes, self.sight.verified
        before = {p for i in segment for p in nodes[i].parents if p >= self.run.start and p not in segment}
        return set(
            self.lines(
                p
                for p in before
                if (match := verified.get(p)) is not None
                and match.kind == "cotangent"
                and not nodes[match.nodes[0]].site.variable
                and match.nodes[0] != pin.goal
                and (pin.goal, match.nodes[0]) in self.sight.derivatives
                and nodes[p].site.variable
            )
        )

    def weighed(self, pin: Pin, segment: list[int], main: set[Line], early: Pin, *, partial: bool) -> set[Line]:
        """Return the lines to blame where a step may be missing before a segment, or a part in what is a part.

        A segment that is short, computes something, and is wrong from its first turn on, is blamed itself.
        """
        way = self.ways.of(early)
        moves = all(self.run.nodes[i].name in MOVES or self.run.nodes[i].kind != "op" for i in segment)
        if partial:
            return way.silent or (way.maker | way.end if way.helped else main)
        if len(main) <= SHORT and not moves and not self.began_right(pin):
            return way.silent or (self.is_astray(early) and way.maker) or main
        return way.likely

    def is_astray(self, early: Pin) -> bool:
        """Whether an early value is the cotangent of something that is not made of what it ought to be that of."""
        match = self.sight.verified.get(early.first)
        return not early.users and match is not None and early.goal not in self.sight.sources(match.nodes[-1])

    def began_right(self, pin: Pin) -> bool:
        """Whether a place is right at its first turn: then it is done with something wrong."""
        match = self.sight.verified.get(pin.nodes[0])
        return pin.first != pin.nodes[0] and match is not None and match.kind == "cotangent"

    def coarse(self, segment: Iterable[int], main: Iterable[Line]) -> set[Line]:
        """Return the lines that made a buffer too coarse for what is written into it."""
        nodes = self.run.nodes
        written = [nodes[i] for i in segment if nodes[i].name in WRITES]
        values = [(node.value, nodes[p].value) for node in written for p in node.parents if p >= 0]
        if all(np.result_type(into, value) == into.dtype for into, value in values):
            return set()
        return self._lines.feeding(main) & self._lines.making

    def near(self, pin: Pin, segment: list[int], early: Pin | None, main: set[Line]) -> set[Line]:
        """Return the lines that feed those to blame, call them, or return what they make."""
        lines = self._lines
        idle = self.lines(self.replay.above(segment) - self.sight.carrying)
        calls = {Line.at(frame) for i in segment for frame in self.run.nodes[i].site.frames[:-1]}
        given = {*idle, *self.lines(segment), *calls}
        found = given | lines.feeding(main) | (lines.feeding(given) - lines.calling)
        found |= set(lines.returned)
        if early is not None:
            uses = self.lines(self.replay.children.get(early.first, ()))
            found |= {*self.lines([early.first]), *uses[:1], *lines.feeding(uses)}
        if not main or pin.first in self.run.results.values():
            found |= {*lines.returning, *lines.feeding(lines.returning), *lines.storing}
        return found
