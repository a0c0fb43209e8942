"""What a blamed value is made of: the parts of the true cotangent, one for each path, each so many times. Level 3.

No rewrite is needed for this: a path that is missing, or is there with another factor, is read off the value itself. A
part is what comes back along a path; the paths are split where a value is used more than once, the coarsest first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.blame import Blame, Line, Pin, Replay
from gradcheck.steps.match import Sight, same
from gradcheck.steps.pulls import is_by_element
from gradcheck.steps.rewrites.meanings import Meanings
from gradcheck.steps.rewrites.table import NUMBERS, PRODUCTS, Array, proportional
from gradcheck.steps.words import Cause, multiplied_by

CHOICES = {"where", "maximum", "minimum", "clip"}
ROWS = {"array", "stack", "vstack", "concatenate"}
SUMMING = {"add", "subtract", "add.at", "subtract.at", "setitem", "copy", "gather"}
POWERS = {"square": 2.0, "sqrt": 0.5}  # whose derivatives have this number as a factor
BEHIND = (2.4,)  # the cost of what a rewrite may tell more simply
TWICE = 2.0  # what is added again
FEW = 2  # operands that are no row
PARTS = 8  # paths for which shares are solved
MANY = 40  # paths of which one may be missing, or alone there
SPLITS = 6  # values at which paths are split
TURNS = 60  # turns of a place that are looked at
NOTHING = 1e-9  # of the largest part: a part that rounding made


class Part(NamedTuple):
    """What comes back along a path: its uses (node, operand) from the value on, and the array."""

    uses: tuple[tuple[int, int], ...]
    value: Array


class Composition:
    """The blamed value of a pin in terms of the true parts of what it ought to be, at two points."""

    def __init__(self, blame: Blame, facts: Meanings, second: Replay | None) -> None:
        self.blame, self.sight, self.run, self.facts = blame, blame.sight, blame.run, facts
        self.second = second.sight if second else None

    def causes(self, pin: Pin) -> Iterator[Cause]:
        """Yield what is missing from a value, or there with another factor, at all its turns alike."""
        wrong = [j for j, i in enumerate(pin.nodes) if not same(self.run.value(i), pin.truths[j])]
        if not wrong or len(wrong) > TURNS:
            return
        line, blamed = line_of(self.blame, pin.first), self.blame.blamed(pin)[0]
        line = blamed[0] if len(blamed) == 1 else line  # not where it is summed up, but who leaves out a turn
        if not any(np.any(self.run.value(pin.nodes[j])) for j in wrong):
            of = self.run.nodes[pin.of[wrong[0]]]
            coarse = self.blame.coarse(self.blame.segment(pin), [line] if line else [])
            if lossy := next((each for each in blamed if each in coarse), None):
                words = "makes an array that cannot hold what is written into it, and keeps its whole numbers alone"
                yield Cause("H3", pin.paths, lossy, "", words, (0, 0, 0))
                return
            uses = self.sight.uses.get(of.id, ())
            state = (
                of.kind != "leaf"
                and self.facts.over_time
                and (pin.use or all(self.run.nodes[i].turn > of.turn for i, _ in uses))
            )
            yield Cause(
                "G1" if state else "C8",
                pin.paths,
                line,
                "",
                f"is zero, and should be the cotangent of {self.facts.called(of.id)}",
                (0, 0, 0),
            )
            return
        for split in range(SPLITS):
            shares = (self._shares(self.sight, pin, j, split) for j in wrong)
            found = list(itertools.takewhile(lambda each: each is not None, shares))
            if len(found) < len(wrong):
                continue
            off = [[(part, share) for part, share in each or () if share != 1] for each in found]
            kinds = {tuple(sorted((self._place(part), share) for part, share in some)) for some in off}
            if (
                all(off)
                and len({share for some in off for _, share in some}) == 1
                and len(kinds) <= 2
                and self._again(pin, wrong[0], split, found[0] or [])
            ):
                yield self._told(pin, off[0], [part for part, share in found[0] or () if share == 1], line)
                return
        if way := self._undone(self.sight, pin, wrong):
            node = next(filter(_mixes, way))
            if self.second is None or self._undone(self.second, pin, wrong):
                words = (
                    f"is the cotangent of {self.facts.called(way[-1].id)}, and does not go back through the {node.name}"
                )
                mistake = "B6" if any(each.name in PRODUCTS for each in way) else "C8"
                yield Cause(mistake, pin.paths, line, "", f"{words} in line {node.site.line} of the forward", BEHIND)

    def _undone(self, sight: Sight, pin: Pin, wrong: Sequence[int]) -> list[Any]:
        """Return what is done to the goal of a pin, and nothing else, up to the value whose cotangent stands there."""
        ways = []
        for j in wrong:
            value, way = sight.run.value(pin.nodes[j]), list[Any]()
            for node in self.facts.chain(sight.run.nodes[pin.of[j]]):
                way.append(node)
                if len(sight.uses.get(pin.of[j], ())) == 1 and same(value, sight.bars.nodes.get(node.id, 0.0)):
                    break
            else:
                return []
            ways.append(way)
        return ways[0] if any(_mixes(each) for each in ways[0]) else []

    def _again(self, pin: Pin, j: int, split: int, found: list[tuple[Part, float]]) -> bool:
        """Whether a turn is made of the same parts at the second point."""
        if self.second is None:
            return True
        again = self._shares(self.second, pin, j, split)
        return again is not None and [share for _, share in again] == [share for _, share in found]

    def _place(self, part: Part) -> tuple[Any, ...]:
        return tuple((str(self.run.nodes[i].site.name), self.run.nodes[i].site.line, k) for i, k in part.uses)

    def _shares(self, sight: Sight, pin: Pin, j: int, split: int) -> list[tuple[Part, float]] | None:
        """Return how many times each part is in a turn of the blamed value, None if it is made of something else."""
        value = np.ravel(sight.run.value(pin.nodes[j])).astype(float)
        parts = [part._replace(value=self._turn(pin, j, part.value)) for part in self.parts(sight, pin.of[j], split)]
        if (
            not parts
            or len(parts) > MANY
            or (len(parts) == 1 and not self._regular(parts[0], sight.run.nodes[pin.of[j]]))
        ):
            return None
        if any(part.value.size != value.size for part in parts) or not np.isfinite(value).all():
            return None
        matrix = np.stack([np.ravel(part.value) for part in parts], axis=1).astype(float)
        if len(parts) > PARTS or matrix.shape[0] <= matrix.shape[1]:
            shares = self._plain(matrix, value)
        else:
            size = np.linalg.norm(matrix, axis=0)
            if not (size.all() and np.isfinite(size).all()):
                return None
            found, _, rank, _ = np.linalg.lstsq(matrix / size, value, rcond=1e-9)
            shares = found / size if rank == matrix.shape[1] and same(matrix @ (found / size), value, 1e-6) else None
        return (
            None
            if shares is None
            else [(part, round(float(c), 6) + 0.0) for part, c in zip(parts, shares, strict=True)]
        )

    def _plain(self, matrix: Array, value: Array) -> Array | None:
        """Return the shares of parts that are too many to solve for: one is missing, or one alone is there."""
        whole, n = matrix.sum(axis=1), matrix.shape[1]
        for k in range(n):
            for shares, made in ((1.0 - np.eye(n)[k], whole - matrix[:, k]), (np.eye(n)[k], matrix[:, k])):
                if same(made, value, 1e-6):
                    return np.asarray(shares)
        return None

    def _turn(self, pin: Pin, j: int, part: Array) -> Array:
        """Return what of a part goes with a turn of a pin, as many times as the whole backward has it.

        It is a sample where a batch is done one by one.
        """
        bar = np.asarray(self.sight.bars.nodes.get(pin.of[j], 0.0))
        if len(pin.nodes) > 1 and pin.of.count(pin.of[j]) == len(pin.nodes) and part.shape == bar.shape:
            for axis, count in enumerate(bar.shape):
                if count == len(pin.nodes) and (times := proportional(pin.truths[j], np.take(bar, j, axis))):
                    return np.asarray(np.take(part, j, axis)) * times
        return part * (proportional(pin.truths[j], bar) or 1.0)

    def parts(self, sight: Sight, of: int, split: int) -> list[Part]:
        """Return the parts of a cotangent, split at so many values that are used more than once."""
        paths: list[tuple[tuple[int, int], ...]] = [(use,) for use in sight.uses.get(of, ())]
        for _ in range(split):
            for n, path in enumerate(paths):
                uses = sight.uses.get(path[-1][0], ())
                if uses and len(paths) + len(uses) <= MANY:
                    at = path
                    while len(uses) == 1:  # a chain
                        at = (*at, uses[0])
                        uses = sight.uses.get(at[-1][0], ())
                    if len(uses) > 1:
                        paths[n : n + 1] = [(*at, use) for use in uses]
                        break
            else:
                return []
        parts = [Part(path, self._along(sight, path)) for path in paths]
        outs = zip(sight.run.outs, sight.run.cotangent, strict=True)
        parts += [Part((), np.asarray(bar, dtype=float)) for out, bar in outs if out == of and paths]
        largest = max((float(np.linalg.norm(part.value)) for part in parts), default=0.0)
        return self._joined([part for part in parts if np.linalg.norm(part.value) > NOTHING * largest])

    def _along(self, sight: Sight, path: tuple[tuple[int, int], ...]) -> Array:
        bar = np.asarray(sight.bars.edges[path[-1]], dtype=float)
        for i, k in reversed(path[:-1]):
            bar = np.asarray(sight.pulls[i, k](np.reshape(bar, sight.run.value(i).shape)))
        return bar

    def _joined(self, parts: list[Part]) -> list[Part]:
        """Return the parts, those in one direction together: they cannot be told apart."""
        found: list[Part] = []
        for part in parts:
            for n, other in enumerate(found):
                if part.value.size > 1 and proportional(part.value, other.value, 1e-9):
                    found[n] = Part(other.uses, other.value + part.value.reshape(other.value.shape))
                    break
            else:
                found.append(part)
        return found

    # -- what it means

    def _told(self, pin: Pin, off: list[tuple[Part, float]], present: list[Part], line: Line | None) -> Cause:
        (part, share), run, mistake = off[0], self.run, ""
        of = run.nodes[pin.of[pin.nodes.index(pin.first)]]
        there = {use for other in present for use in other.uses}
        node = run.nodes[next((use for use in part.uses if use not in there), part.uses[0])[0]] if part.uses else of
        through = (
            f"the path through {self.facts.called(node.id)}"
            if part.uses
            else f"what is given for {self.facts.called(of.id)}"
        )
        regular = self._regular(part, of) if present or len(off) == 1 else ""
        if not share:
            mistake, words = regular or self._missing(pin, [p for p, _ in off], present, node, of), f"lacks {through}"
        elif share == -1:
            mistake, words = regular or "A1", f"has {through} with the wrong sign" if present else "has the wrong sign"
        elif present and share == TWICE and not self._written(pin, part, share):
            mistake, words = regular or "E2", f"has {through} twice"
        else:
            meaning = self.facts.number(1 / share)
            times = multiplied_by(meaning.said if meaning else f"{1 / share:.4g}")
            number = meaning.mistake if meaning else "A4"
            if number == "A5" and self.facts.statistic(node, of):
                number = "A2"  # the size of a mean over what is no window
            mistake, words = (
                regular or self._local(part, share) or number,
                f"should have {through} {times}" if present else f"should be {times}",
            )
        plain = share in (0, -1) or regular or mistake == "E2"
        return Cause(mistake, pin.paths, line, "", words, (0 if plain else 1, 0, 0))

    def _written(self, pin: Pin, part: Part, c: float) -> bool:
        """Whether a number stands in what computes a blamed value, or on the way of a part through the forward."""
        way = [n for i, _ in part.uses for n in self.facts.along(i)]
        nodes = [*way, *(self.run.nodes[i] for i in self.blame.segment(pin))]
        numbers = [each for node in nodes for each in (*node.args, POWERS.get(node.name)) if isinstance(each, NUMBERS)]
        return c in numbers or 1 / c in numbers

    def _missing(self, pin: Pin, off: list[Part], present: list[Part], node: Any, of: Any) -> str:
        """Return the mistake of leaving out parts, the first of which comes back through a node."""
        run, part = self.run, off[0]
        if not part.uses:
            return "C8"
        last, some = run.tape.turns[node.site] > 0, self._sometimes(off, node)
        unused = self._beside(part, self.blame.replay.needed) or (some and self._beside(part, self._summed(pin)))
        overwritten = unused or (len(present) == 1 and len(off) > 1 and (some or not last))
        if self.facts.over_time and last and of.kind != "leaf":
            return "G1"
        if self.facts.over_time and some:
            return "E1" if overwritten else "G2"
        if self.facts.softmax(node, of):
            return "C6"
        if self.facts.statistic(node, of):
            return "C7"
        if (some or not last) and self._at_an_end(off, node) and not overwritten:
            return "G2"
        if of.kind != "leaf" and self.facts.repeated and self._leads_on(node):
            return "G1"
        if some:
            return "E1"
        other = {i for p in present for i, _ in p.uses} | {
            n.id for p in present if p.uses for n in self.facts.chain(run.nodes[p.uses[-1][0]])
        }
        meeting = next((n for n in (node, *self.facts.chain(node)) if n.id in other), None)
        if meeting is not None and meeting.name in CHOICES:
            return "C3"  # a branch of a function
        return "E1" if unused else "C8"

    def _sometimes(self, off: Sequence[Part], node: Any) -> bool:
        """Whether parts come back through a place of a loop at some of the turns that matter, and not at all."""
        tape, bars = self.run.tape, self.sight.bars.nodes
        here = {self.run.nodes[i].turn for part in off for i, _ in part.uses if self.run.nodes[i].site == node.site}
        last = tape.turns[node.site]
        turns = {t for t in range(last + 1) if np.any(bars.get(tape.at[node.site, t], 0.0))}
        return last > 0 and not turns <= here

    def _beside(self, part: Part, used: Container[int]) -> bool:
        """Whether the backward computes a part, and it is not among what is ``used``."""
        run = self.run
        some = (n for n in run.nodes[run.start :] if n.kind == "op" and n.is_float and n.value.size == part.value.size)
        return any(n.id not in used and same(n.value, part.value) for n in some)

    def _summed(self, pin: Pin) -> set[int]:
        """Return what a blamed value is a sum of."""
        run, found, waiting = self.run, set[int](), [pin.first]
        while waiting:
            i = waiting.pop()
            if i >= run.start and i not in found:
                found.add(i)
                waiting += run.nodes[i].parents if i == pin.first or run.nodes[i].name in SUMMING else ()
        return found

    def _leads_on(self, node: Any) -> bool:
        """Whether a node of the forward matters to later turns of its loop alone."""
        for each in self.facts.along(node.id):
            uses = [self.run.nodes[i] for i, _ in self.sight.uses.get(each.id, ())]
            if uses and all(use.turn > each.turn for use in uses):
                return True
        return False

    def _at_an_end(self, off: Sequence[Part], node: Any) -> bool:
        """Whether parts come back through the first turns of a place, or its last; or an end of a row of states."""
        if (node.name in ROWS or node.kind == "gather") and len(node.parents) > FEW:
            return {k for part in off for i, k in part.uses if i == node.id} <= {0, len(node.parents) - 1}
        last = self.run.tape.turns[node.site]
        turns = {self.run.nodes[i].turn for part in off for i, _ in part.uses if self.run.nodes[i].site == node.site}
        return (
            last > 0
            and len(turns) <= last
            and turns in (set(range(len(turns))), set(range(last + 1 - len(turns), last + 1)))
        )

    def _regular(self, part: Part, node: Any) -> str:
        """Return D1 for a part that is so many times the parameter itself and a term of the loss, "" for another."""
        scaled = (
            part.uses and node.kind == "leaf" and part.value.size > 1 and proportional(part.value, node.value, 1e-7)
        )
        return "D1" if scaled and self.facts.penalty(part.uses[0][0]) else ""

    def _local(self, part: Part, share: float) -> str:
        """Return the mistake of a factor that is an exponent, or a number, of the path; "" for another."""
        for node in (self.run.nodes[i] for i, _ in part.uses):
            for c in (float(each) for each in node.args if isinstance(each, NUMBERS) and not isinstance(each, bool)):
                if any(math.isclose(abs(c), abs(s), rel_tol=1e-5) for s in (share, 1 / share)):
                    return "C3" if node.name == "power" else "A4" if node.name == "multiply" else ""
        return ""


def _mixes(node: Any) -> bool:
    """Whether an operation is no function by the entry, whose derivative would be a factor."""
    return node.kind == "op" and not is_by_element(node)


def line_of(blame: Blame, i: int) -> Line | None:
    """Return the line of a node of the backward; of what is only read or handed on, that of what wrote it last."""
    run = blame.run
    while i >= run.start and not run.nodes[i].site.frames and run.nodes[i].parents:
        i = max(run.nodes[i].parents)
    return next(iter(blame.lines([i])), None) if i >= run.start else None
