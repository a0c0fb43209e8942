"""Which lines are to blame. Level 3.

A pin (pins.py) says what a value ought to be. If the value is no cotangent at all, the mistake lies between it and the
nearest values that are right: the *segment*. If it is right as the cotangent of something else, a step is missing on its
way from where it is made to where it is used, and the lines of that way are to blame (journey.py).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from gradcheck.steps.journey import Line, bindings, chooses, passing, returning, storing
from gradcheck.steps.match import Sight, same
from gradcheck.steps.pins import Pin, Pins
from gradcheck.steps.pulls import MOVES
from gradcheck.steps.replay import At, Replay
from gradcheck.steps.tape import Node

__all__ = ["At", "Blame", "Line", "Pin", "Replay"]

PATIENCE = 2.0  # seconds for the pins
WRITES = frozenset({"setitem", "add", "subtract", "multiply", "add.at", "subtract.at", "divide"})
COPIES = frozenset({"copy", "array", "astype", "reshape", "ravel", "flatten", "transpose", "squeeze", "gather"})
LONGEST = 30  # nodes of a segment that is done again
OTHERS = 60  # values of the forward that are tried in the place of one
SHORT = 2  # lines of a segment that are blamed together with a step that may be missing before it


class Blame:
    """What is wrong in the backward of a run, and where."""

    def __init__(self, sight: Sight, patience: float = PATIENCE) -> None:
        self.sight, self.run, self.replay = sight, sight.run, Replay(sight)
        self.until = time.perf_counter() + patience
        run = self.run
        claimed = {path: run.value(i) if i >= 0 else run.claimed[path] for path, i in run.results.items()}
        self.wrong = [path for path, g in claimed.items() if not sight.is_right(path, g)]

    @functools.cached_property
    def pins(self) -> list[Pin]:
        """The places that explain all that is wrong; of several mistakes, one for each."""
        return Pins(self.replay, self.wrong, self.until).found() if self.wrong else []

    def above(self, i: int) -> set[int]:
        """Return the nodes of the backward that a node is computed from, itself included."""
        return self.replay.above([i])

    @functools.cached_property
    def reaching(self) -> dict[int, set[str]]:
        """The wrong arguments that each node of the forward is computed from."""
        found: dict[int, set[str]] = {self.run.leaf[path]: {path} for path in self.wrong}
        for node in self.run.nodes[: self.run.start]:
            for parent in node.parents:
                if parent in found:
                    found.setdefault(node.id, set()).update(found[parent])
        return found

    # -- the segment

    def segment(self, pin: Pin) -> list[int]:
        """Return the nodes between the first wrong turn of the pinned place and the nearest right values."""
        run, verified, found, waiting = self.run, self.sight.verified, set(), [pin.first]
        it_is = verified.get(pin.first)
        while waiting:
            i = waiting.pop()
            if i in found or i < run.start or run.nodes[i].kind == "leaf":
                continue
            match = verified.get(i)
            if i != pin.first:
                if match and not (it_is and match.nodes == it_is.nodes):
                    continue
                if i in self.sight.primal:
                    continue
            found.add(i)
            if run.nodes[i].kind == "gather":  # what wrote the cells belongs to how they were put together
                found.update(p for p in run.nodes[i].parents if p >= run.start and run.nodes[p].name in WRITES)
            waiting.extend(run.nodes[i].parents)
        return sorted(found)

    # -- lines

    def blamed(self, pin: Pin) -> tuple[list[Line], list[Line]]:
        """Return the lines to blame, and those that could hold the mistake although they compute nothing."""
        segment = self.segment(pin)
        match = self.sight.verified.get(pin.first)
        own = match is not None and match.nodes[0] == pin.goal
        missing = pin if match or self.run.nodes[pin.first].kind == "leaf" else pin.early
        main = self.mishanded(pin, segment) or set(self.corrected(segment))
        if missing is pin and not own:
            main = self.missing(pin)
        elif missing is not None and not (own and match.factor != 1):
            keeps = len(main) <= SHORT and not self.began_right(pin) and not self.only_moves(segment)
            main = self.handed(missing, main) if own or keeps else self.missing(missing)
        if pin.first in self.run.results.values() and not self.is_close(pin.first, pin):
            main |= set(self.returned())
        main |= self.allocating(segment, main)
        near = set(self.feeding(main)) | set(self.lines(segment))
        near |= {line for i in segment for line in map(Line.at, self.run.nodes[i].site.frames[:-1])}
        if missing is not None:
            uses = self.lines(self.replay.children.get(missing.first, ()))
            near |= {*self.lines([missing.first]), *uses[:1], *self.feeding(uses)}
        if not main or pin.first in self.run.results.values():
            near |= set(self.returning) | set(self.feeding(self.returning)) | self.stores
        return self.ordered(main), self.ordered(near - main)

    def is_close(self, i: int, pin: Pin) -> bool:
        """Whether a gradient that is wrong has at least the shape that it ought to have."""
        return i >= 0 and np.shape(self.run.value(i)) == np.shape(pin.truths[pin.nodes.index(i)])

    def kinds(self, pin: Pin) -> set[Line]:
        """Return the lines on the way of a right value, after which a step is missing, to where it is first used.

        Lines that only hand it on under another name, or copy it, come first: there the step ought to stand.
        """
        nodes, goals = self.run.nodes, self.replay.above(self.run.results[path] for path in pin.paths)
        origin, copies = self.origin(pin.first)
        copies = copies if pin.users else [*copies, *self.handing([pin.first])]
        users = set(pin.users) or {c for i in (origin, *copies) for c in self.replay.children.get(i, ())} - {*copies}
        ways = sorted(c for c in users if c in goals and nodes[c].site.frames)
        writer = max(nodes[origin].parents) if nodes[origin].kind == "gather" and len(nodes[origin].parents) > 1 else origin
        made = nodes[writer].site.frames
        if ways:
            used = [nodes[c].site.frames for c in ways]
            depth = self.level(made, used[0])
            ends = list(dict.fromkeys(Line.at(f[depth]) for f in used if len(f) > depth and f[depth][0] is used[0][depth][0]))
        else:
            depth = min(self.entry, len(made) - 1) if made else self.entry
            ends = self.returned()
        maker = Line.at(made[depth]) if len(made) > depth else None
        copied = {line for i in copies if (line := Line.of(nodes[i].site.frames))} - {maker, *ends}
        copied |= {line for copy in copied for line in returning(copy.code) if copy.code not in {e.code for e in ends}}
        same_code = [end for end in ends if maker is None or maker.code is end.code]
        start = maker.number if maker else None
        renamed = {
            Line(end.code, n) for end in same_code for n in passing(end.code, start, end.number, self.silent(end.code))
        }
        passed = {
            Line(end.code, n)
            for end in same_code[:1]
            for n in passing(end.code, start, end.number, set(bindings(end.code)) - {e.number for e in ends})
        } if start is not None and not ways else set()
        passed = passed if len(passed) <= SHORT else set()
        self.deep = len(made) > depth + 1
        return {"renamed": renamed, "copied": copied, "passed": passed, "maker": {maker} - {None}, "ends": set(ends[:1])}

    def missing(self, pin: Pin) -> set[Line]:
        k = self.kinds(pin)
        if k["renamed"]:
            return k["renamed"] | k["copied"]
        return (k["copied"] or k["passed"] or k["maker"]) | k["ends"]

    def handed(self, pin: Pin, main: set[Line]) -> set[Line]:
        k = self.kinds(pin)
        return k["renamed"] | k["copied"] | k["passed"] or (k["maker"] | k["ends"] if self.deep else main)

    def only_moves(self, segment: Iterable[int]) -> bool:
        """Whether nothing is computed in a segment: values are only put elsewhere."""
        return all(self.run.nodes[i].name in MOVES or self.run.nodes[i].kind != "op" for i in segment)

    def began_right(self, pin: Pin) -> bool:
        """Whether a place is right at its first turn: then what is done there is right, and not what it is done with."""
        return pin.first != pin.nodes[0] and (match := self.sight.verified.get(pin.nodes[0])) is not None and match.kind == "cotangent"

    def origin(self, i: int) -> tuple[int, list[int]]:
        """Return where a value was made, and the nodes that only hand it on: copies, and other shapes of it."""
        nodes, copies = self.run.nodes, []
        while True:
            node = nodes[i]
            parents = [p for p in node.parents if p >= self.run.start and nodes[p].is_float]
            plain = node.name in COPIES or not node.site.frames  # an adapter, or the return itself
            if not plain or len(parents) != 1 or not _holds(node, nodes[parents[0]]):
                return i, copies
            copies.append(i)
            i = parents[0]

    def handing(self, ids: list[int]) -> list[int]:
        """Return the copies of some values that are made of them further down."""
        nodes, found, waiting = self.run.nodes, [], list(ids)
        while waiting:
            i = waiting.pop()
            for c in self.replay.children.get(i, ()):
                if nodes[c].name in COPIES and nodes[c].site.frames and _holds(nodes[c], nodes[i]):
                    found.append(c)
                    waiting.append(c)
        return found

    def level(self, made: tuple[Any, ...], used: tuple[Any, ...]) -> int:
        """Return the depth of the function in which a value is both made, itself or by a call, and used."""
        depth = 0
        while depth + 1 < min(len(made), len(used)) and made[depth] == used[depth] and made[depth + 1][0] is used[depth + 1][0]:
            depth += 1
        return depth if made else min(self.entry, len(used) - 1)

    @functools.cached_property
    def entry(self) -> int:
        """The depth of the outermost function of the backward that does more than call another."""
        frames = [n.site.frames for n in self.working]
        depth = 0
        while frames and all(len(f) > depth + 1 for f in frames) and len({f[depth] for f in frames}) == 1:
            depth += 1
        return depth

    @functools.cached_property
    def working(self) -> list[Node]:
        """The steps of the backward that the gradients are made by, without what is only the forward again."""
        nodes = (self.run.nodes[i] for i in sorted(self.replay.needed))
        carries = self.sight.carrying
        return [n for n in nodes if n.site.frames and (n.id in carries or self.sight.scalar) and n.id not in self.sight.primal]

    def returned(self) -> list[Line]:
        """Return the lines on which the function that puts the gradients together returns."""
        codes = {f[self.entry][0] for n in self.working if len(f := n.site.frames) > self.entry}
        return [line for code in codes for line in returning(code)]

    def mishanded(self, pin: Pin, segment: list[int]) -> set[Line]:
        """Return the lines that hand over a value of the forward where another one of its shape makes the segment right."""
        nodes, found = self.run.nodes, set()
        if not 0 < len(segment) <= LONGEST:
            return found
        outside = {
            p for i in segment for p in nodes[i].parents
            if p >= 0 and p not in segment and nodes[p].is_float and nodes[p].value.size > 1
            and (p < self.run.start or p in self.sight.primal)
        }
        for p in outside:
            users = [i for i in segment if p in nodes[i].parents]
            if any(self.becomes(pin, segment, {p: c}) for c in self.others(p)):
                for i in users:
                    frames = nodes[i].site.frames
                    while len(frames) > self.entry + 1 and not chooses(frames[-1][0]) and nodes[p].site.frames[: len(frames) - 1] != frames[:-1]:
                        frames = frames[:-1]
                    if frames:
                        line = Line.at(frames[-1])
                        found |= {line, *(Line(line.code, n) for n in bindings(line.code).get(line.number, ()) if n in self.silent(line.code))}
        return found

    def others(self, p: int) -> list[Any]:
        """Return other values of the forward of the shape of one."""
        nodes, value = self.run.nodes, self.run.nodes[p].value
        found = [n.value for n in nodes[: self.run.start] if n.is_float and n.value.shape == value.shape and n.id in self.sight.bars.nodes]
        return [other for other in found[-OTHERS:] if not same(other, value)]

    def becomes(self, pin: Pin, segment: list[int], given: dict[int, Any]) -> bool:
        """Whether the first wrong value becomes what it ought to be with other values given to its segment."""
        new = dict(given)
        for i in segment:
            node = self.run.nodes[i]
            try:
                new[i] = node.compute([new.get(p, self.run.value(p)) for p in node.parents])
            except Exception:
                return False
        return same(new[pin.first], pin.truth, 1e-6)

    def corrected(self, segment: Iterable[int]) -> list[Line]:
        """Return the lines of a segment; of a helper that is right in another call, the line that calls it."""
        found = []
        for i in segment:
            frames = self.run.nodes[i].site.frames
            called = False
            while len(frames) > self.entry + 1 and self.is_sound(frames, i in self.sight.carrying):
                frames, called = frames[:-1], True
            if frames:
                found.append(line := Line.at(frames[-1]))
                if called:  # what is handed over there
                    found += [Line(line.code, n) for n in bindings(line.code).get(line.number, ()) if n in self.silent(line.code)]
            for p in self.run.nodes[i].parents:  # what another function gave that is only a value of the forward
                other = self.run.nodes[p].site.frames if p >= self.run.start and p in self.sight.primal else ()
                if len(other) > len(frames) + 1:
                    found.append(Line.at(other[len(frames)]))
                elif other and len(other) < len(frames):
                    found.append(Line.at(other[-1]))
        return found

    def is_sound(self, frames: tuple[Any, ...], carries: bool) -> bool:
        """Whether what a line of a helper gives is right in another call; of what carries nothing, the whole helper."""
        line, call = Line.at(frames[-1]), frames[:-1]
        if carries or self.sight.scalar:
            return bool(self.sound.get(line, set()) - {call})
        lines = [line for line in self.sound if line.code is frames[-1][0]]
        return bool(lines) and all(self.sound[line] - {call} for line in lines)

    @functools.cached_property
    def sound(self) -> dict[Line, set[Any]]:
        """The calls in which each line that carries the cotangent gave something right, as the last that it did."""
        last: dict[tuple[Any, Line], Node] = {}
        for node in self.run.nodes[self.run.start :]:
            if node.site.frames and node.is_float and node.kind == "op" and (node.id in self.sight.carrying or self.sight.scalar):
                last[node.site.frames[:-1], Line.at(node.site.frames[-1])] = node
        found: dict[Line, set[Any]] = {}
        for (call, line), node in last.items():
            calls = found.setdefault(line, set())
            if self.is_right(node):
                calls.add(call)
        return found

    def is_right(self, node: Node) -> bool:
        """Whether a value is right: of the forward again, or a cotangent that keeps the convention of its operands."""
        match = self.sight.verified.get(node.id)
        if match is None or match.kind == "part":
            return node.id in self.sight.primal
        if match.factor != 1 and self.run.nodes[match.nodes[0]].kind == "leaf":
            return False
        before = (self.sight.verified.get(p) for p in node.parents)
        return all(m is None or m.kind == "slope" or m.factor == match.factor for m in before)

    def allocating(self, segment: Iterable[int], main: Collection[Line]) -> set[Line]:
        """Return the lines that made a buffer too coarse for what is written into it."""
        nodes = self.run.nodes
        coarse = any(
            nodes[i].name in WRITES
            and any(p >= 0 and np.result_type(nodes[i].value, nodes[p].value) != nodes[i].value.dtype for p in nodes[i].parents)
            for i in segment
        )
        return {line for line in self.feeding(main) if line in self.constants} if coarse else set()

    @functools.cached_property
    def constants(self) -> set[Line]:
        """The lines that make a buffer."""
        return set(self.lines(n.id for n in self.run.nodes[self.run.start :] if n.kind == "const"))

    def silent(self, code: Any) -> set[int]:
        """Return the lines of a function on which nothing is computed, and nothing is called that computes."""
        busy = {
            Line.at(frame).number
            for n in self.run.nodes[self.run.start :]
            if n.kind == "op" and n.is_float
            for frame in n.site.frames
            if frame[0] is code
        }
        making = {line.number for line in self.constants if line.code is code}
        return {line for line in bindings(code) if line not in busy | making}

    @functools.cached_property
    def codes(self) -> set[Any]:
        """The functions of the backward."""
        return {code for n in self.run.nodes[self.run.start :] for code, _ in n.site.frames}

    @functools.cached_property
    def returning(self) -> list[Line]:
        """The lines on which the functions of the backward return."""
        return [line for code in self.codes for line in returning(code)]

    @functools.cached_property
    def stores(self) -> set[Line]:
        """The lines that store something in an object or a container and compute nothing."""
        return set().union(*map(storing, self.codes)) - self.busy

    def lines(self, ids: Iterable[int]) -> list[Line]:
        """Return the lines of some nodes."""
        found = (Line.of(self.run.nodes[i].site.frames) for i in ids)
        return self.ordered({line for line in found if line is not None})

    def ordered(self, lines: Iterable[Line]) -> list[Line]:
        return sorted(lines, key=lambda line: (line.code.co_filename, line.number))

    @functools.cached_property
    def busy(self) -> set[Line]:
        """The lines on which something is computed."""
        return set(self.lines(n.id for n in self.run.nodes[self.run.start :] if n.kind == "op" and n.is_float))

    def feeding(self, lines: Iterable[Line], deep: int = 2) -> list[Line]:
        """Return the lines on which nothing is computed but names are bound that ``lines`` read: numbers, views, other
        names of an array, loops."""
        lines, found = set(lines), set()
        for line in lines:
            for other in bindings(line.code).get(line.number, ()):
                if Line(line.code, other) not in self.busy:
                    found.add(Line(line.code, other))
        if deep > 1 and found:
            found |= set(self.feeding(found, deep - 1))
        return self.ordered(found - lines)


def _holds(node: Node, parent: Node) -> bool:
    """Whether a node holds what its operand holds, in whatever order and shape."""
    value, other = np.ravel(node.value), np.ravel(parent.value)
    return value.size == other.size and (same(value, other) or bool(np.array_equal(np.sort(value), np.sort(other))))
