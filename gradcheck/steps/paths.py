"""What a blamed value is made of: the parts of the true cotangent, one for each path of the forward, each so many times.

No rewrite is needed for this: a path that is missing, or is there with another factor, is read off the value itself. A
part is what comes back along a path; the paths are split where a value is used more than once, the coarsest first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.blame import Blame, Pin
from gradcheck.steps.match import Sight, same
from gradcheck.steps.rewrites.meanings import Meanings
from gradcheck.steps.rewrites.table import Array, proportional
from gradcheck.steps.words import Cause

STATISTICS = {"sum", "mean", "var", "std", "norm"}
PARTS = 8  # paths that are told apart
SPLITS = 6  # values at which paths are split
TURNS = 60  # turns of a place that are looked at
NOTHING = 1e-9  # of the largest part: a part that rounding made


class Part(NamedTuple):
    """What comes back along a path: its uses (node, operand) from the value on, and the array."""

    uses: tuple[tuple[int, int], ...]
    value: Array


class Composition:
    """The blamed value of a pin in terms of the true parts of what it ought to be."""

    def __init__(self, blame: Blame, facts: Meanings) -> None:
        self.blame, self.sight, self.run, self.facts = blame, blame.sight, blame.run, facts

    def causes(self, pin: Pin) -> Iterator[Cause]:
        """Yield what is missing from a value, or there with another factor, at all its turns alike."""
        wrong = [j for j, i in enumerate(pin.nodes) if not same(self.run.value(i), pin.truths[j])]
        if not wrong or len(wrong) > TURNS:
            return
        for split in range(SPLITS):
            found = [self._shares(pin, j, split) for j in wrong]
            if any(each is None for each in found):
                continue
            off = [[(part, share) for part, share in each or () if abs(share - 1) > 1e-6] for each in found]
            kinds = {tuple(sorted((self._place(part), round(share, 6)) for part, share in some)) for some in off}
            if all(off) and len({round(share, 6) for some in off for _, share in some}) == 1 and len(kinds) <= 2:
                yield self._told(pin, off[0], [part for part, share in found[0] or () if abs(share - 1) <= 1e-6])
                return

    def _place(self, part: Part) -> tuple[Any, ...]:
        return tuple((str(self.run.nodes[i].site.name), self.run.nodes[i].site.line, k) for i, k in part.uses)

    def _shares(self, pin: Pin, j: int, split: int) -> list[tuple[Part, float]] | None:
        """Return how many times each part is in a turn of the blamed value, None if it is made of something else."""
        value = np.ravel(self.run.value(pin.nodes[j])).astype(float)
        parts = [part._replace(value=sliced(self.sight, pin, j, part.value)) for part in self.parts(pin.of[j], split)]
        if not 2 <= len(parts) <= PARTS or any(part.value.size != value.size for part in parts):
            return None
        matrix = np.stack([np.ravel(part.value) for part in parts], axis=1).astype(float)
        size = np.linalg.norm(matrix, axis=0)
        if matrix.shape[0] <= matrix.shape[1] or not np.isfinite(size).all():
            return None
        found, _, rank, _ = np.linalg.lstsq(matrix / size, value, rcond=1e-9)
        found = found / size
        if rank < matrix.shape[1] or not same(matrix @ found, value, 1e-6):
            return None
        return [(part, 0.0 if abs(c) < 1e-7 else float(c)) for part, c in zip(parts, found, strict=True)]

    def parts(self, of: int, split: int) -> list[Part]:
        """Return the parts of a cotangent, split at so many values that are used more than once."""
        paths: list[tuple[tuple[int, int], ...]] = [(use,) for use in self.sight.uses.get(of, ())]
        for _ in range(split):
            for n, path in enumerate(paths):
                uses = self.sight.uses.get(path[-1][0], ())
                if uses and len(paths) + len(uses) <= 2 * PARTS:
                    at = path
                    while len(uses) == 1:  # a chain
                        at = (*at, uses[0])
                        uses = self.sight.uses.get(at[-1][0], ())
                    if len(uses) > 1:
                        paths[n : n + 1] = [(*at, use) for use in uses]
                        break
            else:
                return []
        parts = [Part(path, self._along(path)) for path in paths]
        largest = max((float(np.linalg.norm(part.value)) for part in parts), default=0.0)
        return self._joined([part for part in parts if np.linalg.norm(part.value) > NOTHING * largest])

    def _along(self, path: tuple[tuple[int, int], ...]) -> Array:
        bar = np.asarray(self.sight.bars.edges[path[-1]], dtype=float)
        for i, k in reversed(path[:-1]):
            bar = np.asarray(self.sight.pulls[i, k](np.reshape(bar, self.run.value(i).shape)))
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

    def _told(self, pin: Pin, off: list[tuple[Part, float]], present: list[Part]) -> Cause:
        (part, share), run = off[0], self.run
        of = run.nodes[pin.of[pin.nodes.index(pin.first)]]
        there = {use for other in present for use in other.uses}
        node = run.nodes[next((use for use in part.uses if use not in there), part.uses[0])[0]]
        line = (self.blame.lines([pin.first]) or [None])[0]
        through = self.facts.called(node.id)
        regular = self._regular(part.value, of)
        if share:
            meaning = self.facts.number(1 / share)
            mistake = regular or ("A1" if math.isclose(share, -1, rel_tol=1e-6) else meaning.mistake if meaning else "A4")
            words = f"has the path through {through} {meaning.said if meaning else f'{1 / share:.4g}'} times too seldom" if share > 0 else f"has the path through {through} with the wrong sign"
        else:
            mistake, words = regular or self._missing(part, node, of, run.value(pin.first)), f"lacks the path through {through}"
        return Cause(mistake, pin.paths, line, "", words, (0.0 if share in (0.0, -1.0) or regular else 0.5, 0.0))

    def _missing(self, part: Part, node: Any, of: Any, value: Array) -> str:
        """Return the mistake of leaving out a part that comes back through a node."""
        run = self.run
        if self.facts.softmax(node):
            return "C6"
        if node.name in STATISTICS and of.kind != "leaf":
            return "C7"
        if node.turn or (run.tape.turns[node.site] and self.facts.over_time):
            return "E1" if of.kind == "leaf" or not self.facts.over_time else "G1"
        if node.name in STATISTICS:
            return "C7"
        if not np.any(part.value * value.reshape(part.value.shape)) and np.any(value):
            return "C3"
        unused = (n for n in run.nodes[run.start :] if n.is_float and n.value.size == part.value.size and n.id not in self.blame.replay.needed)
        return "E1" if any(same(n.value, part.value) for n in unused) else "C8"

    def _regular(self, part: Array, node: Any) -> str:
        """Return the class of a part that is so many times the parameter itself."""
        if node.kind != "leaf" or part.size < 2 or not proportional(part, node.value, 1e-7):
            return ""
        return "D2" if self.facts.bias(node.value) else "D1"


def sliced(sight: Sight, pin: Pin, j: int, value: Array) -> Array:
    """Return the part of an array that goes with a turn of a pin, where a batch is done sample by sample, as many times
    as the whole backward has it."""
    bar = np.asarray(sight.bars.nodes.get(pin.of[j], 0.0))
    value = value * (proportional(pin.truths[j], bar) or 1.0)
    if len(pin.nodes) > 1 and pin.of.count(pin.of[j]) == len(pin.nodes) and value.shape == bar.shape:
        for axis, count in enumerate(bar.shape):
            if count == len(pin.nodes) and proportional(pin.truths[j], np.take(bar, j, axis)):
                return np.asarray(np.take(value, j, axis))
    return value
