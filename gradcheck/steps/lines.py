"""The lines of a recorded backward: what is computed on each, and what only binds names, stores or returns. Level 3."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import CodeType

from gradcheck.steps.journey import Line, bindings, blocks, headed, renaming, returning, storing
from gradcheck.steps.match import Sight
from gradcheck.steps.nodes import Node
from gradcheck.steps.places import Frames

__all__ = ["Lines", "ordered"]


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
    def making_any(self) -> set[Line]:
        """The lines on which there is any number made, or chosen from an array."""
        return set(self.of(n.id for n in self.nodes))

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
        heads = {head for head, *_ in blocks(code)}
        lines = (Line(code, number) for number in bindings(code).keys() - heads)
        return {line.number for line in lines if self.is_idle(line)}

    def beside(self, line: Line) -> set[Line]:
        """Return the silent lines that bind what a line reads."""
        return {Line(line.code, n) for n in bindings(line.code).get(line.number, ()) if n in self.silent(line.code)}

    def following(self, line: Line) -> list[Line]:
        """Return the line of the code after one, if there is any."""
        after = [n for *_, n in line.code.co_lines() if n is not None and n > line.number]
        return [Line(line.code, min(after))] if after else []

    def renamed(self, lines: Iterable[Line]) -> set[Line]:
        """Return the lines that give another name to what some lines read, and do nothing else."""
        return {
            Line(line.code, n)
            for line in lines
            for n in bindings(line.code).get(line.number, ())
            if n in renaming(line.code)
        }

    def feeding(self, lines: Iterable[Line]) -> set[Line]:
        """Return the lines that compute nothing but bind what ``lines`` read, or head the loops and branches around."""
        given, found = set(lines), set[Line]()
        waiting = list(given)
        while waiting:
            code, number = waiting.pop()
            for other in {*bindings(code).get(number, ()), *headed(code, number)}:
                line = Line(code, other)
                if line not in found and line not in self.busy:
                    found.add(line)
                    waiting.append(line)
        return found - given

    def indices(self, line: Line) -> set[Line]:
        """Return the lines within the loops around a line that make of numbers alone what it reads."""
        code, heads = line.code, headed(line.code, line.number, loops=True)
        bodies = [within for head, within, loops in blocks(code) if loops and head in heads]
        within = set().union(*bodies) - {head for head, *_ in blocks(code)}

        def before(number: int) -> set[int]:
            others = bindings(code).get(number, ())
            return {
                n for n in others if (n in within or Line(code, n) in self.choosing) and self.is_idle(Line(code, n))
            }

        found, waiting = set[int](), [line.number]
        while waiting:
            for other in before(waiting.pop()) - found:
                found.add(other)
                waiting.append(other)
        return {Line(code, number) for number in found if not before(number) - {number}}

    def is_idle(self, line: Line) -> bool:
        """Whether a line computes nothing, makes no buffer and calls nothing that does."""
        return line not in self.calling and line not in self.making

    @functools.cached_property
    def choosing(self) -> set[Line]:
        """The lines that compute what is no float: an index, a mask."""
        return set(self.of(n.id for n in self.nodes if n.kind == "op" and not n.is_float))

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
        return self.run.above([i], self.run.start)

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
