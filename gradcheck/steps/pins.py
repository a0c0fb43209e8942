"""Pins: where a true cotangent put in the place of a value makes the gradients right. Level 3.

A place of the backward, at all of its turns, is a pin if all that is wrong becomes right, and nothing right becomes
wrong, once its values are those cotangents of the forward that they ought to be and everything after them is done
again as it was. What the place ought to hold nobody says: all cotangents of fitting size are asked, each at the cost of
a product (influence.py), and the one that answers is replayed.

There are two kinds. A *wrong* value is no cotangent as it is: the first pin of these bounds the mistake from below. A
value that is right as the cotangent of something else is *early*: after the last of these a step is missing.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.influence import Influence
from gradcheck.steps.match import Sight, same
from gradcheck.steps.replay import At, Replay
from gradcheck.steps.tape import Node
from gradcheck.trees import Array

__all__ = ["Pin", "Pins"]

TURNS = 4000  # turns of one place that are replaced together
SINGLES = 8  # turns of one place of which each is also replaced alone
SPARE = 2  # turns of the forward that are done before or after the loop of the backward
ORDERS = 8  # of axes in which one cotangent is tried at a place of another shape


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


class Family(NamedTuple):
    """The turns of a place of the forward, and their cotangents, or the parts of single uses."""

    of: tuple[int, ...]
    bars: tuple[Array, ...]
    use: bool
    reaches: int  # the wrong arguments that all of it together is computed from, as bits


class Pins:
    """The search for pins in a run."""

    def __init__(self, replay: Replay, wrong: Sequence[str], until: float) -> None:
        self.replay, self.sight, self.run = replay, replay.sight, replay.run
        self.wrong, self.until = list(wrong), until

    def found(self) -> list[Pin]:
        """Return the pin that explains all that is wrong, or else one for each mistake."""
        fitting = [path for path in self.wrong if self.fits(path)]
        if fitting and len(fitting) == len(self.wrong) and (pin := self.pin(tuple(fitting))):
            return [pin]
        pins, left = [], list(self.wrong)
        while left:
            path = left.pop(0)
            pin = (self.pin((path,)) if path in fitting else None) or self.trivial(path)
            left = [other for other in left if other not in pin.paths]
            pins.append(pin)
        return list(self.together(pins))

    def together(self, pins: list[Pin]) -> Iterator[Pin]:
        """Yield pins; those that have the same early one give way to it."""
        alike: dict[int, list[Pin]] = {}
        for pin in pins:
            alike.setdefault(pin.early.first if pin.early and not pin.early.users else pin.first, []).append(pin)
        for some in alike.values():
            if len(some) == 1 or some[0].early is None:
                yield from some
            else:
                paths = set().union(*(pin.paths for pin in some))
                yield some[0].early._replace(paths=tuple(sorted(paths)))

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
        before = self.replay.rights({})
        influence = Influence(self.replay, paths, before)
        early: Pin | None = None
        for ids in self.places(paths):
            if time.perf_counter() > self.until:
                break
            by: dict[bool, object] = {}
            for nodes, truths, family, factor in itertools.chain(self.candidates(ids, paths), self.alone(ids, paths)):
                first = next((i for i, t in zip(nodes, truths, strict=True) if not same(t, self.run.value(i))), None)
                if first is None:
                    continue
                goal = family.of[nodes.index(first)]
                wrong = self.is_wrong(first, goal, factor)
                if wrong is None:
                    continue
                joint = len(nodes) > 1 and self.is_carried(ids)
                if joint not in by:
                    by[joint] = influence.holding(nodes) if joint else influence.free
                pin = Pin(nodes, truths, family.of, family.use, paths, first)
                if not influence.explains(by[joint], nodes, truths) or not self.holds(pin, before):
                    pin = self.partly(pin, influence, before)
                    if pin is None:
                        continue
                    early = pin
                    break
                pin = pin._replace(paths=tuple(sorted(self.repaired(pin) - before)))
                if wrong:
                    return pin._replace(early=early)
                early = pin
                break
        return early

    def partly(self, pin: Pin, influence: Influence, before: set[str]) -> Pin | None:
        """Return the same pin for some of what is computed from a right value; None if there are none such."""
        if self.run.nodes[pin.first].kind != "leaf" and pin.first not in self.sight.verified:
            return None
        users = [c for i in pin.nodes for c in self.replay.children.get(i, ())]
        goals = self.replay.above(self.run.results[path] for path in pin.paths)
        others = self.replay.above(i for path in before if (i := self.run.results[path]) >= 0)
        only = tuple(c for c in users if c in goals and c not in others)
        for some in dict.fromkeys((only, *((c,) for c in users if c in goals and len(pin.nodes) == 1))):
            if not some or set(some) == set(users):
                continue
            by: dict[int, Array] = {}
            for c in some:
                for k, p in enumerate(self.run.nodes[c].parents):
                    if p in pin.nodes and (c, k) in influence.uses:
                        by[p] = by.get(p, 0.0) + influence.uses[c, k]
            part = pin._replace(users=some)
            if by and influence.explains(by, pin.nodes, pin.truths) and self.holds(part, before):
                return part
        return None

    def holds(self, pin: Pin, before: set[str]) -> bool:
        """Whether the gradients become right when the backward is done again."""
        goals = {self.run.results[path]: self.sight.truth(path) for path in pin.paths}
        given = dict(zip(pin.nodes, pin.truths, strict=True))
        if not pin.users:
            new = self.replay.again(given, expected=goals)
        else:

            def handed(node: Node, values: list[Any], at: At) -> Any:
                return node.compute([given.get(p, value) for p, value in zip(node.parents, values, strict=True)])

            new = self.replay.again(patch=handed, patched=pin.users, expected=goals)
        return new is not None and self.replay.rights(new) >= before | set(pin.paths)

    def repaired(self, pin: Pin) -> set[str]:
        """Return the arguments whose gradients are right with a pin."""
        return self.replay.rights(self.replay.again(dict(zip(pin.nodes, pin.truths, strict=True))) or {})

    def is_wrong(self, node: int, goal: int, factor: float) -> bool | None:
        """Whether a node is wrong by itself: no true cotangent, or a part of its own, or its own too many times.

        None where it is its own so many times as the whole backward has it until it returns.
        """
        match = self.sight.verified.get(node)
        if match is None:
            return node not in self.implied
        if match.kind == "part":
            return True
        if match.nodes[0] != goal:
            return False
        if match.factor != factor:
            return True if match.factor == 1 or node in self.run.results.values() else None
        return match.kind in ("use", "uses")

    @functools.cached_property
    def implied(self) -> set[int]:
        """The values that are right although they are no cotangents, because one that follows from them is."""
        run, known, found = self.run, self.sight.verified, set()
        for node in reversed(run.nodes[run.start :]):
            match = known.get(node.id)
            if node.id in found or (match is not None and match.kind == "cotangent" and node.id in self.replay.needed):
                found.update(p for p in node.parents if p >= run.start and p not in known)
        return found

    # -- the places of the backward

    def places(self, paths: tuple[str, ...]) -> list[list[int]]:
        """Return the turns of each place that all of ``paths`` are computed from, in the order of what is first in doubt."""
        run, results = self.run, [self.run.results[path] for path in paths]
        above = [self.replay.above([i]) for i in results]
        reached = [i for i in sorted(self.replay.needed) if i in self.sight.carrying or self.sight.scalar]
        found = list(self.sight.turns(i for i in reached if run.nodes[i].kind not in ("leaf", "const")).values())
        found += [[i] for i in reached if run.nodes[i].kind == "leaf"]
        found = [ids for ids in found if len(ids) <= TURNS and all(not a.isdisjoint(ids) for a in above)]
        if len(results) == 1 and results not in found:
            found.append(results)
        return sorted(found, key=lambda ids: ids[-1] if ids == results else self.doubtful(ids))

    def doubtful(self, ids: Sequence[int]) -> int:
        """Return the first turn of a place that is no whole cotangent."""
        known = self.sight.verified
        return next((i for i in ids if i not in known or known[i].kind != "cotangent"), ids[0])

    def is_carried(self, ids: Sequence[int]) -> bool:
        """Whether a turn of a place is computed from another of its turns."""
        site = self.run.nodes[ids[0]].site
        return site in self._carried

    @functools.cached_property
    def _carried(self) -> set[object]:
        """The places of which a turn is computed from another turn."""
        run, bits, after, found = self.run, {}, {}, set()
        for node in run.nodes[run.start :]:
            mask = 0
            for p in node.parents:
                mask |= after.get(p, 0)
            bit = 1 << bits.setdefault(node.site, len(bits))
            if mask & bit:
                found.add(node.site)
            after[node.id] = mask | bit
        return found

    # -- what they could be

    def candidates(
        self, ids: Sequence[int], paths: tuple[str, ...]
    ) -> Iterator[tuple[tuple[int, ...], tuple[Array, ...], Family, float]]:
        """Yield what turns of a place could be: the cotangents of as many turns of a place of the forward."""
        wanted = sum(1 << self.wrong.index(path) for path in paths)
        goals = {self.run.leaf[path] for path in paths} if ids[-1] in self.run.results.values() else set()
        for family in self.families:
            if wanted & ~family.reaches:
                continue
            for some, of, bars in self.aligned(ids, family, goals):
                if wanted & ~self.reach_of(of):
                    continue

                for order in self.orders(bars, [self.run.value(i).shape for i in some], of[0] in goals):
                    for factor in self.sight.factors:
                        truths = tuple(factor * order(bar) for bar in bars) if factor != 1 else tuple(map(order, bars))
                        yield tuple(some), truths, family._replace(of=tuple(of)), factor


    def alone(self, ids: Sequence[int], paths: tuple[str, ...]):
        """Yield what single turns of a place could be."""
        for i in ids if 1 < len(ids) <= SINGLES else ():
            yield from self.candidates([i], paths)

    def reach_of(self, of: Sequence[int]) -> int:
        found = 0
        for i in of:
            found |= self.reaching.get(i, 0)
        return found

    def aligned(
        self, ids: Sequence[int], family: Family, goals: set[int]
    ) -> Iterator[tuple[Sequence[int], Sequence[int], Sequence[Array]]]:
        """Yield turns of a place, and which turns of a place of the forward they could be."""
        of, bars, size = family.of, family.bars, self.run.value(ids[0]).size
        if len(ids) == 1:
            for one, bar in zip(of, bars, strict=True):
                if bar.size == size or one in goals:
                    yield ids, [one], [bar]
        elif len(of) == 1:
            if not family.use and bars[0].size == size * len(ids) and size > 0:  # a batch, done one by one
                for axis, count in enumerate(bars[0].shape):
                    if count == len(ids):
                        yield ids, of * count, [np.take(bars[0], j, axis) for j in range(count)]
        elif bars[0].size == size and abs(len(of) - len(ids)) <= SPARE:
            most = min(len(of), len(ids))
            for n in range(most, max(most - SPARE, 0), -1):
                for order in (slice(None, None, -1), slice(None)):
                    for i, j in itertools.product(range(len(ids) - n + 1), range(len(of) - n + 1)):
                        yield ids[i : i + n], of[order][j : j + n], bars[order][j : j + n]

    def orders(self, bars: Sequence[Array], shapes: Sequence[tuple[int, ...]], exact: bool):
        """Yield the ways to bring the cotangents into the shapes of the values: as they are, or their axes exchanged."""
        bar, shape = bars[0], shapes[0]
        if any(b.size != math.prod(s) for b, s in zip(bars, shapes, strict=True)):
            if exact and len(bars) == 1:
                yield lambda b: b
            return
        if bar.shape == shape:
            yield lambda b: b
            return
        if len(set(shapes)) > 1 or len({b.shape for b in bars}) > 1:
            return
        yield lambda b: b.reshape(shape)
        if 2 <= bar.ndim <= 6:
            fitting = (p for p in itertools.permutations(range(bar.ndim)) if coarsens([bar.shape[a] for a in p], shape))
            for p in itertools.islice(itertools.dropwhile(lambda p: p == tuple(range(bar.ndim)), fitting), ORDERS):
                yield lambda b, p=p: b.transpose(p).reshape(shape)

    @functools.cached_property
    def reaching(self) -> dict[int, int]:
        """The wrong arguments that each node of the forward is computed from, as bits."""
        found = {self.run.leaf[path]: 1 << k for k, path in enumerate(self.wrong)}
        for node in self.run.nodes[: self.run.start]:
            for parent in node.parents:
                if parent in found:
                    found[node.id] = found.get(node.id, 0) | found[parent]
        return found

    @functools.cached_property
    def families(self) -> list[Family]:
        """The places of the forward with a cotangent, the last first, and then the single uses of their values."""
        sight, nodes, found = self.sight, self.run.nodes, []
        bars = {i: np.asarray(bar) for i, bar in sight.bars.nodes.items() if nodes[i].kind != "const"}
        for ids in sight.turns(sorted(bars, reverse=True)).values():
            of = tuple(sorted(ids))
            found.append(Family(of, tuple(bars[i] for i in of), False, self.reach_of(of)))
        uses: dict[object, list[tuple[int, int]]] = {}
        for i, k in sorted(sight.bars.edges):
            uses.setdefault((nodes[i].site, k), []).append((i, k))
        for some in uses.values():
            of = tuple(nodes[i].parents[k] for i, k in some)
            if len({nodes[i].site for i in of}) > 1 or any(len(sight.uses[i]) > 1 for i in of):
                parts = tuple(np.asarray(sight.bars.edges[use]) for use in some)
                found.append(Family(of, parts, True, self.reach_of(of)))
        return found


def coarsens(fine: Sequence[int], coarse: Sequence[int]) -> bool:
    """Whether neighbouring axes of lengths ``fine`` can be joined into axes of lengths ``coarse``."""
    rest = iter(fine)
    for length in coarse:
        product = 1
        while product < length:
            product *= next(rest, length + 1)
        if product != length:
            return False
    return True
