"""The annotated backward: what every line of it holds. Level 3.

A line is right if all that it hands on is: at every turn of a loop and in every call, each of its values is a cotangent
of the forward or a part of one, or one follows from it. What follows from a wrong line, and is nothing known, is
unreached. A mask, an index, a local derivative hold no cotangent: they are auxiliary. A line that calls a function of
the user's hands on what that makes.
"""

from __future__ import annotations

import functools
import itertools
import linecache
from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import CodeType

from gradcheck.report import Step, Steps
from gradcheck.steps.blame import Blame
from gradcheck.steps.journey import Line
from gradcheck.steps.letters import Letters
from gradcheck.steps.nodes import Node
from gradcheck.steps.pins import Pin

__all__ = ["listing"]

NAMES = 3  # values of which one line holds the cotangents that are named


def listing(blame: Blame, pins: Sequence[Pin] = ()) -> Steps:
    """Return the lines of the backward that compute something, or feed a line that is to blame.

    The functions come in the order in which they run, and the lines of each in the order of the code.
    """
    return Listing(blame, pins).steps()


class Listing:
    """The lines of a backward, and which of them the ``pins`` blame."""

    def __init__(self, blame: Blame, pins: Sequence[Pin]) -> None:
        self.blame, self.sight, self.run = blame, blame.sight, blame.run
        self.goals = {line: pin.goal for pin in pins for line in blame.lines([pin.first])}
        self.wrong: set[Line] = set()
        self.near: set[Line] = set()
        for pin in pins:
            wrong, near = blame.blamed(pin)
            self.wrong.update(wrong)
            self.near.update(near)
        self.letters = Letters(self.sight)
        self.nodes: dict[Line, list[Node]] = defaultdict(list)  # what is made on a line, or in what it calls
        self.depth: dict[Line, int] = {}  # in how many calls a line stands
        self.done: dict[Line, dict[str, None]] = defaultdict(dict)  # what is done on a line, or called
        self.makes: set[Line] = set()  # the lines on which something is made
        for node in self.run.nodes[self.run.start :]:
            if node.is_float and node.kind != "const" and node.site.frames:
                lines = list(map(Line.at, node.site.frames))
                for line in dict.fromkeys(lines):
                    self.nodes[line].append(node)
                for depth, (line, called) in enumerate(itertools.zip_longest(lines, lines[1:])):
                    self.depth.setdefault(line, depth)
                    self.done[line][called.code.co_name if called else node.name] = None
                self.makes.add(lines[-1])

    def steps(self) -> Steps:
        """Return the steps."""
        began: dict[CodeType, int] = {}
        for node in self.run.nodes[self.run.start :]:
            for code, _ in node.site.frames:
                began.setdefault(code, len(began))
        shown = {line for line in self.nodes if self.is_shown(line)}
        order = sorted(shown | self.wrong | self.near, key=lambda line: (began.get(line.code, -1), line.number))
        return Steps(self.step(line) for line in order)

    def is_shown(self, line: Line) -> bool:
        """Whether a line makes more than what the forward knows, or calls what makes a cotangent."""
        new = [node for node in self.nodes[line] if node.id not in self.sight.primal]
        return bool(new) if line in self.makes else any(self.carries(node) for node in self.handed(new))

    def step(self, line: Line) -> Step:
        """Return what is known of a line."""
        code = line.code
        verdict, of = self.verdict(line, self.handed(self.nodes.get(line, [])))
        source = linecache.getline(code.co_filename, line.number).strip() or None
        return Step(code.co_filename, line.number, code.co_name, source, ", ".join(self.done[line]), of, verdict)

    def verdict(self, line: Line, handed: list[Node]) -> tuple[str, str | None]:
        """Return the verdict of a line that hands on some values, and of what it holds the cotangent."""
        depth = self.depth.get(line, 0)
        if line in self.wrong:
            return "wrong", self.named([self.goals[line]], depth) if line in self.goals else None
        if line in self.near and line not in self.makes:  # what a line that only calls hands on does not clear it
            return "auxiliary", None
        carry = [node for node in handed if self.carries(node)]
        carry = [node for node in carry if node.id in self.blame.replay.needed] or carry  # the rest is thrown away
        if not carry:
            return "auxiliary", None
        known = [match for node in carry if (match := self.sight.verified.get(node.id)) is not None]
        if all(node.id in self.sight.verified or node.id in self.sight.implied for node in carry):
            return "right", self.named([match.nodes[0] for match in known if match.kind != "part"], depth)
        return "unreached", None

    def handed(self, nodes: list[Node]) -> list[Node]:
        """Return the values of a line that are used on other lines, or returned; of a buffer what is read."""
        here = {node.id for node in nodes}
        children, results = self.blame.replay.children, set(self.run.results.values())
        found: dict[int, None] = {}
        for node in nodes:
            used = set(children.get(node.id, ())) - here
            read = {i for i in used if self.is_filled(i, here)}
            found.update(dict.fromkeys(sorted(read)))
            if node.id in results or not children.get(node.id) or used - read:
                found[node.id] = None
        return [self.run.nodes[i] for i in found]

    def is_filled(self, i: int, here: set[int]) -> bool:
        """Whether a node is known, and read from what some nodes have written and nothing else."""
        node = self.run.nodes[i]
        written = (p for p in node.parents if self.run.nodes[p].kind != "const")
        return node.kind == "gather" and i in self.sight.verified and here.issuperset(written)

    def carries(self, node: Node) -> bool:
        """Whether a value is made of the cotangent; of a loss, which may leave it out, whether one is known in it."""
        match = self.sight.verified.get(node.id)
        if match is not None:
            return match.kind != "slope"
        if node.id in self.sight.primal:
            return False
        return node.id in self.sight.carrying or (self.sight.scalar and node.id in self.following)

    @functools.cached_property
    def following(self) -> set[int]:
        """What is computed from a value that is known for a cotangent."""
        known = (i for i, match in self.sight.verified.items() if match.kind != "slope")
        return set(self.blame.replay.below(tuple(sorted(known))))

    def named(self, ids: Iterable[int] | None, depth: int) -> str | None:
        """Return what a function so many calls deep calls nodes of the forward; None where there are none."""
        names = list(dict.fromkeys(self.letters.of(i, depth) for i in ids or ()))
        return ", ".join(names[:NAMES]) + ("…" if len(names) > NAMES else "") if names else None
