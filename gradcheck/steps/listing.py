"""The annotated backward: what every line of it holds. Level 3.

A line is right if all that it hands on is: at every turn of a loop and in every call, each of its values is a cotangent
of the forward or a part of one, or one follows from it. What follows from a wrong line, and is nothing known, is
unreached. A mask, an index, a local derivative hold no cotangent: they are auxiliary.
"""

from __future__ import annotations

import functools
import linecache
from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import CodeType

from gradcheck.report import Step, Steps
from gradcheck.steps.blame import Blame
from gradcheck.steps.journey import Line
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
        self.nodes: dict[Line, list[Node]] = defaultdict(list)
        for node in self.run.nodes[self.run.start :]:
            if node.is_float and node.kind != "const" and (line := Line.of(node.site.frames)) is not None:
                self.nodes[line].append(node)

    def steps(self) -> Steps:
        """Return the steps."""
        began: dict[CodeType, int] = {}
        for node in self.run.nodes[self.run.start :]:
            for code, _ in node.site.frames:
                began.setdefault(code, len(began))
        shown = {line for line, nodes in self.nodes.items() if not all(n.id in self.sight.primal for n in nodes)}
        order = sorted(shown | self.wrong | self.near, key=lambda line: (began.get(line.code, -1), line.number))
        return Steps(self.step(line) for line in order)

    def step(self, line: Line) -> Step:
        """Return what is known of a line."""
        code, nodes = line.code, self.nodes.get(line, [])
        verdict, of = self.verdict(line, self.handed(nodes))
        source = linecache.getline(code.co_filename, line.number).strip() or None
        done = ", ".join(dict.fromkeys(node.name for node in nodes))
        return Step(code.co_filename, line.number, code.co_name, source, done, of, verdict)

    def verdict(self, line: Line, handed: list[Node]) -> tuple[str, str | None]:
        """Return the verdict of a line that hands on some values, and of what it holds the cotangent."""
        if line in self.wrong:
            return "wrong", self.named([self.goals[line]]) if line in self.goals else None
        carry = [node for node in handed if self.carries(node)]
        carry = [node for node in carry if node.id in self.blame.replay.needed] or carry  # the rest is thrown away
        if not carry:
            return "auxiliary", None
        known = [match for node in carry if (match := self.sight.verified.get(node.id)) is not None]
        if all(node.id in self.sight.verified or node.id in self.sight.implied for node in carry):
            return "right", self.named([match.nodes[0] for match in known if match.kind != "part"] or None)
        return "unreached", None

    def handed(self, nodes: list[Node]) -> list[Node]:
        """Return the values of a line that are used on other lines, or returned."""
        here = {node.id for node in nodes}
        children, results = self.blame.replay.children, set(self.run.results.values())
        return [n for n in nodes if n.id in results or not children.get(n.id) or set(children[n.id]) - here]

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

    def named(self, ids: Iterable[int] | None) -> str | None:
        """Return the names of nodes of the forward, as the code has them; None where it has none."""
        names = list(dict.fromkeys(self.name(i) for i in ids or ()))
        return ", ".join(names[:NAMES]) + ("…" if len(names) > NAMES else "") if names else None

    def name(self, i: int) -> str:
        """Return what to call a node: its variable, with the line where several are called so."""
        node = self.sight.written(i)
        if node.kind == "leaf":
            return str(node.name)
        if not node.site.variable:
            return f"({node.name}, line {node.site.line})"
        return f"{node.site.variable} (line {node.site.line})" if self.is_ambiguous(node) else node.site.variable

    def is_ambiguous(self, node: Node) -> bool:
        """Whether another value of the forward that has a cotangent has the same name."""
        return len(self.namesakes[node.site.variable]) > 1

    @functools.cached_property
    def namesakes(self) -> dict[str, set[Line]]:
        """The lines that bind each name in the forward."""
        found: dict[str, set[Line]] = defaultdict(set)
        for i in self.sight.bars.nodes:
            site = self.run.nodes[i].site
            if site.variable:
                found[site.variable].add(Line.at(site.frames[-1]))
        return found
