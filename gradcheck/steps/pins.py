"""Pins: where a true cotangent put in the place of a value makes the gradients right. Level 3.

A place of the backward, at all of its turns, is a pin if all that is wrong becomes right, and nothing right becomes
wrong, once its values are those cotangents of the forward that they ought to be and everything after them is done
again as it was. Which these are nobody says: all that fit are asked (meant.py), all at the cost of a product
(influence.py), and the one that answers is replayed.

There are two kinds. A *wrong* value is no cotangent as it is: the first pin of these bounds the mistake from below. A
value that is right as the cotangent of something else is *early*: after the last of these a step is missing, or after
it on the way to some of its uses alone.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.influence import Influence
from gradcheck.steps.match import same
from gradcheck.steps.meant import Meaning, Meant
from gradcheck.steps.nodes import Node
from gradcheck.steps.replay import At, Replay
from gradcheck.trees import Array

__all__ = ["Pin", "Pins"]

TURNS = 4000  # turns of one place that are replaced together,
SINGLES = 8  # and of one of which each is also replaced alone


class Pin(NamedTuple):
    """A place of the backward, what each turn of it ought to be, and the gradients that this makes right.

    Attributes:
        nodes: the turns of the place.
        truths: what they ought to be.
        of: the nodes of the forward whose cotangents these are.
        use: whether it is the part of a single use of them.
        paths: the arguments whose gradients become right.
        first: the first turn that is wrong.
        early: the last pin before it that is a true cotangent of something else: a step may be missing after it.
        users: where not all that is computed from the values is to be given the truths, what is.
    """

    nodes: tuple[int, ...]
    truths: tuple[Array, ...]
    of: tuple[int, ...]
    use: bool
    paths: tuple[str, ...]
    first: int
    early: Pin | None = None
    users: tuple[int, ...] = ()

    @property
    def goal(self) -> int:
        """The node of the forward whose cotangent the first wrong turn ought to be."""
        return self.of[self.nodes.index(self.first)]

    @property
    def truth(self) -> Array:
        """What the first wrong turn ought to be."""
        return self.truths[self.nodes.index(self.first)]


class Pins:
    """The search for pins in a run, until a moment of ``time.perf_counter``."""

    def __init__(self, replay: Replay, wrong: Sequence[str], until: float) -> None:
        self.replay, self.sight, self.run = replay, replay.sight, replay.run
        self.wrong, self.until = tuple(wrong), until
        self.before, self.meant = replay.rights({}), Meant(replay.sight)

    def found(self) -> list[Pin]:
        """Return the pin that explains all that is wrong, or else one for each mistake."""
        fitting = [path for path in self.wrong if self.fits(path)]
        if len(fitting) == len(self.wrong) and (pin := self.pin(self.wrong)):
            return [pin]
        pins, left = [], list(self.wrong)
        while left:
            path = left.pop(0)
            pin = (self.pin((path,)) if path in fitting else None) or self.trivial(path)
            left = [other for other in left if other not in pin.paths]
            pins.append(pin)
        return list(together(pins))

    def fits(self, path: str) -> bool:
        """Whether a gradient is recorded and has the shape that it ought to have."""
        i = self.run.results[path]
        return i >= 0 and np.shape(self.run.value(i)) == self.sight.truth(path).shape

    def trivial(self, path: str) -> Pin:
        """Return the pin that is the gradient itself."""
        i = self.run.results[path]
        return Pin((i,), (self.sight.truth(path),), (self.run.leaf[path],), False, (path,), i)

    def pin(self, paths: tuple[str, ...]) -> Pin | None:
        """Return the first pin of ``paths`` that is no cotangent as it is; else the last that is one."""
        search = Search(self, paths)
        early: Pin | None = None
        for ids in search.places():
            if time.perf_counter() > self.until:
                break
            for pin, wrong in search.at(ids):
                if wrong:
                    return pin._replace(early=early)
                early = pin
                break
        return early

    def is_wrong(self, node: int, goal: int, factor: float) -> bool | None:
        """Whether a node is wrong by itself: no true cotangent, or a part of its own, or its own too many times.

        None where it is its own so many times as the whole backward has it until it returns.
        """
        match = self.sight.verified.get(node)
        if match is None:
            return node not in self.sight.implied
        if match.kind == "part":
            return True
        if match.nodes[0] != goal:
            return False
        if match.factor != factor:
            return True if match.factor == 1 or node in self.run.results.values() else None
        return match.kind in ("use", "uses")

    @functools.cached_property
    def carried(self) -> set[object]:
        """The places of which a turn is computed from another turn."""
        bits: dict[object, int] = {}
        after: dict[int, int] = {}
        found: set[object] = set()
        for node in self.run.nodes[self.run.start :]:
            mask = 0
            for p in node.parents:
                mask |= after.get(p, 0)
            bit = 1 << bits.setdefault(node.site, len(bits))
            if mask & bit:
                found.add(node.site)
            after[node.id] = mask | bit
        return found

    @functools.cached_property
    def reaching(self) -> dict[int, int]:
        """The wrong arguments that each node of the forward is computed from, as bits."""
        found = {self.run.leaf[path]: 1 << k for k, path in enumerate(self.wrong)}
        for node in self.run.nodes[: self.run.start]:
            for parent in node.parents:
                if parent in found:
                    found[node.id] = found.get(node.id, 0) | found[parent]
        return found


class Search:
    """The search for the pins of some gradients together."""

    def __init__(self, pins: Pins, paths: tuple[str, ...]) -> None:
        self.pins, self.paths, self.replay, self.run = pins, paths, pins.replay, pins.run
        self.sight, self.meant = pins.sight, pins.meant
        self.influence = Influence(self.replay, paths, pins.before)
        self.results = [self.run.results[path] for path in paths]
        self.goals = self.replay.above(self.results)
        self.others = self.replay.above(i for path in pins.before if (i := self.run.results[path]) >= 0)
        self.wanted = sum(1 << pins.wrong.index(path) for path in paths)

    def places(self) -> list[list[int]]:
        """Return the turns of each place that all gradients are computed from, what is in doubt first before others."""
        run, sight = self.run, self.sight
        above = [self.replay.above([i]) for i in self.results]
        carry = [
            i for i in sorted(self.replay.needed) if i in sight.carrying or (sight.scalar and run.nodes[i].site.frames)
        ]
        found = list(sight.turns(i for i in carry if run.nodes[i].kind not in ("leaf", "const")).values())
        found += [[i] for i in carry if run.nodes[i].kind == "leaf"]
        found += self.operands(found, set(carry))
        found = [ids for ids in found if len(ids) <= TURNS and all(not a.isdisjoint(ids) for a in above)]
        if len(self.results) == 1 and self.results not in found:
            found.append(self.results)
        return sorted(found, key=lambda ids: ids[-1] if ids == self.results else self.doubtful(ids))

    def operands(self, places: list[list[int]], carry: set[int]) -> list[list[int]]:
        """Return what the turns of a place are handed, where that comes from several places."""
        nodes, found = self.run.nodes, set()
        for ids in places:
            for k in range(len(nodes[ids[0]].parents)) if len(ids) > 1 else ():
                given = [nodes[i].parents[k] for i in ids if len(nodes[i].parents) > k]
                given = list(dict.fromkeys(p for p in given if p in carry))
                if len(given) > 1 and len({nodes[p].site for p in given}) > 1:
                    found.add(tuple(given))
        return [list(given) for given in sorted(found)]

    def doubtful(self, ids: Sequence[int]) -> int:
        """Return the first turn of a place that is no whole cotangent."""
        known = self.sight.verified
        return next((i for i in ids if i not in known or known[i].kind != "cotangent"), ids[0])

    def at(self, ids: Sequence[int]) -> Iterator[tuple[Pin, bool]]:
        """Yield the pins of a place, and whether it is wrong by itself: all turns, then each alone, then some uses."""
        for meaning in self.answers(ids):
            if self.wanted & ~self.reach(meaning.of):
                continue
            pin = self.made(meaning)
            wrong = self.pins.is_wrong(pin.first, pin.goal, meaning.factor)
            if wrong is not None and self.holds(pin):
                yield pin._replace(paths=self.repaired(pin)), wrong
        for i in ids if len(ids) <= SINGLES else ():
            yield from ((pin, False) for pin in self.partly(i))

    def answers(self, ids: Sequence[int]) -> Iterator[Meaning]:
        """Yield what a place could be that makes the gradients right, to first order."""
        if len(ids) > 1:
            carried = not {self.run.nodes[i].site for i in ids}.isdisjoint(self.pins.carried)
            known: dict[tuple[int, ...], tuple[Array, Array]] = {}
            for meaning in self.meant.turns(ids):
                if (nodes := meaning.nodes) not in known:
                    by = self.influence.holding(nodes) if carried else self.influence.free
                    known[nodes] = self.influence.turns(nodes, by)
                if self.influence.explains(*known[nodes], meaning.truths):
                    yield meaning
        for i in ids if len(ids) <= SINGLES else ():
            if (w := self.influence.free.get(i)) is not None:
                yield from self.meant.single(i, functools.partial(self.influence.fits, w, i))

    def partly(self, i: int) -> Iterator[Pin]:
        """Yield the pins of a right value for some of what is computed from it alone."""
        if self.run.nodes[i].kind != "leaf" and i not in self.sight.verified:
            return
        users = [c for c in self.replay.children.get(i, ()) if c in self.goals]
        only = tuple(c for c in users if c not in self.others)
        for some in dict.fromkeys((only, *((c,) for c in users))):
            if not some or len(some) == len(self.replay.children[i]):
                continue
            w = self.influence.through(i, some)
            fitting = () if w is None else self.meant.single(i, functools.partial(self.influence.fits, w, i))
            for meaning in fitting:
                pin = self.made(meaning)._replace(users=some)
                if not self.wanted & ~self.reach(meaning.of) and self.holds(pin):
                    yield pin

    def made(self, meaning: Meaning) -> Pin:
        """Return the pin of a meaning."""
        pairs = zip(meaning.nodes, meaning.truths, strict=True)
        first = next((i for i, truth in pairs if not same(truth, self.run.value(i))), meaning.nodes[0])
        return Pin(meaning.nodes, tuple(meaning.truths), meaning.of, meaning.use, self.paths, first)

    def holds(self, pin: Pin) -> bool:
        """Whether the gradients become right, and none wrong, when the backward is done again."""
        expected = {self.run.results[path]: self.sight.truth(path) for path in self.paths}
        given = dict(zip(pin.nodes, pin.truths, strict=True))

        def handed(node: Node, values: list[Any], _: At) -> Any:
            return node.compute([given.get(p, value) for p, value in zip(node.parents, values, strict=True)])

        patch = {"patch": handed, "patched": pin.users} if pin.users else {"given": given}
        new = self.replay.again(**patch, expected=expected)
        return new is not None and self.replay.rights(new) >= self.pins.before | set(self.paths)

    def repaired(self, pin: Pin) -> tuple[str, ...]:
        """Return the wrong arguments whose gradients are right with a pin."""
        new = self.replay.again(dict(zip(pin.nodes, pin.truths, strict=True))) or {}
        return tuple(sorted(self.replay.rights(new) - self.pins.before))

    def reach(self, of: Iterable[int]) -> int:
        """Return the wrong arguments that some nodes of the forward are computed from, as bits."""
        found = 0
        for i in of:
            found |= self.pins.reaching.get(i, 0)
        return found


def together(pins: Sequence[Pin]) -> Iterator[Pin]:
    """Yield pins; those that have the same early one give way to it."""
    alike: dict[int, list[Pin]] = {}
    for pin in pins:
        alike.setdefault(pin.early.first if pin.early and not pin.early.users else pin.first, []).append(pin)
    for some in alike.values():
        early = some[0].early
        if len(some) == 1 or early is None:
            yield from some
        else:
            yield early._replace(paths=tuple(sorted({path for pin in some for path in pin.paths})))
