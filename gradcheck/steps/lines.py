"""The lines of a recorded backward: what is computed on each, and what only binds names, stores or returns. Level 3."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import CodeType

from gradcheck.steps.journey import Line, bindings, returning, storing
from gradcheck.steps.match import Sight
from gradcheck.steps.nodes import Node
from gradcheck.steps.places import Frames

__all__ = ["Lines", "ordered"]

DEEP = 2  # steps back from a line over lines that compute nothing


def ordered(lines: Iterable[Line]) -> list[Line]:
    """Return lines in the order of the code."""
    return sorted(set(lines), key=lambda line: (line.code.co_filename, line.number, line.code.co_name))


class Lines:
    """The lines of the backward of a run."""

    def __init__(self, sight: Sight) -> None:
        self.sight, self.run = sight, sight.run
        self.nodes = self.run.nodes[self.run.start :]

    def of(self, ids: Iterable[int]) -> list[Line]:
        """Return the lines on which some nodes are made."""
        found = (Line.of(self.run.nodes[i].site.frames) for i in ids)
        return ordered(line for line in found if line is not None)

    @functools.cached_property
    def codes(self) -> set[CodeType]:
        """The functions of the backward."""
        return {code for frames in {node.site.frames for node in self.nodes} for code, _ in frames}

    @functools.cached_property
    def busy(self) -> set[Line]:
        """The lines on which something is computed."""
        return set(self.of(n.id for n in self.nodes if n.kind == "op" and n.is_float))

    @functools.cached_property
    def calling(self) -> set[Line]:
        """The lines on which something is computed, or a function called that computes."""
        frames = {node.site.frames for node in self.nodes if node.kind == "op" and node.is_float}
        return {Line.at(frame) for some in frames for frame in some}

    @functools.cached_property
    def making(self) -> set[Line]:
        """The lines that make a buffer."""
        return set(self.of(n.id for n in self.nodes if n.kind == "const"))

    def silent(self, code: CodeType) -> set[int]:
        """Return the lines of a function that only hand on what they read, under another name or in a container."""
        lines = (Line(code, number) for number in bindings(code))
        return {line.number for line in lines if line not in self.calling and line not in self.making}

    def beside(self, line: Line) -> set[Line]:
        """Return the silent lines that bind what a line reads."""
        return {Line(line.code, n) for n in bindings(line.code).get(line.number, ()) if n in self.silent(line.code)}

    def feeding(self, lines: Iterable[Line], deep: int = DEEP) -> set[Line]:
        """Return the lines that compute nothing but bind what ``lines`` read: numbers, views, other names, loops."""
        lines = set(lines)
        found = {
            other
            for line in lines
            for number in bindings(line.code).get(line.number, ())
            if (other := Line(line.code, number)) not in self.busy
        }
        return (found | self.feeding(found, deep - 1) if deep > 1 and found else found) - lines

    @functools.cached_property
    def returning(self) -> list[Line]:
        """The lines on which the functions of the backward return."""
        return [line for code in self.codes for line in returning(code)]

    @functools.cached_property
    def storing(self) -> set[Line]:
        """The lines that store something in an object or a container and compute nothing."""
        return {line for code in self.codes for line in storing(code)} - self.busy

    def above(self, i: int) -> set[int]:
        """Return the nodes of the backward that a node is computed from, itself included."""
        found, waiting = set[int](), [i]
        while waiting:
            i = waiting.pop()
            if i not in found and i >= self.run.start:
                found.add(i)
                waiting.extend(self.run.nodes[i].parents)
        return found

    # ------------------------------------------------------------------ the function that is the backward

    @functools.cached_property
    def working(self) -> list[Node]:
        """The steps that the gradients are made by, without what is only the forward again."""
        sight = self.sight
        carry = (n for n in self.nodes if n.id in sight.needed and (n.id in sight.carrying or sight.scalar))
        return [node for node in carry if node.site.frames and node.id not in sight.primal]

    @functools.cached_property
    def entry(self) -> int:
        """The depth of the outermost function of the backward that does more than call another."""
        frames: set[Frames] = {node.site.frames for node in self.working}
        depth = 0
        while frames and all(len(f) > depth + 1 for f in frames) and len({f[depth] for f in frames}) == 1:
            depth += 1
        return depth

    @functools.cached_property
    def returned(self) -> list[Line]:
        """The lines on which that function returns the gradients."""
        codes = {f[self.entry][0] for node in self.working if len(f := node.site.frames) > self.entry}
        return ordered(line for code in codes for line in returning(code))
