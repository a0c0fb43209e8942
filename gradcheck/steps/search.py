"""Why it is wrong: one operation of the blamed segment, done otherwise, is what it ought to be. Level 3.

The true value at the blamed place is known, so a rewrite there is a comparison of two arrays; one of an operation
before it is replayed only so far. What agrees at two turns is replayed once, at all turns and at two points, before it
is said.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.blame import At, Blame, Line, Pin, Replay
from gradcheck.steps.match import same
from gradcheck.steps.paths import line_of
from gradcheck.steps.quotes import quoted
from gradcheck.steps.rewrites import memory
from gradcheck.steps.rewrites.meanings import Meanings
from gradcheck.steps.rewrites.table import Array, Make, Refused, Rewrite, proportional
from gradcheck.steps.trial import BAD, LEVELS, Ground, Place, Trial, spot
from gradcheck.steps.words import Cause

PLACES = 24  # operations of a segment that are tried
SAID = 3  # rewrites that cannot be told apart are said
GRACE = 0.5  # seconds beyond the time in which what was found is verified


class Fix(NamedTuple):
    """A rewrite that makes gradients right.

    Attributes:
        place, rewrite: what is done otherwise, and where.
        spots: all places that are rewritten.
        repaired: the gradients that it makes right, at all turns and at two points.
    """

    place: Place
    rewrite: Rewrite
    spots: frozenset[Any]
    repaired: frozenset[str] = frozenset()


class Search:
    """The rewrites that make right what a pin says is wrong.

    ``until`` is when the clock has run out.
    """

    def __init__(self, blame: Blame, second: Replay | None, until: float) -> None:
        self.blame, self.sight, self.run, self.replay, self.second = blame, blame.sight, blame.run, blame.replay, second
        self.facts, self.ground, self.until = Meanings(blame.sight), Ground(blame), until
        self.right = set(self.run.results) - set(blame.wrong)
        self.repaired: set[str] = set()

    def causes(self, pin: Pin) -> list[Cause]:
        """Return what makes the gradients of a pin right, the simplest first; nothing if another's rewrite does so."""
        if set(pin.paths) <= self.repaired:
            return []
        with np.errstate(all="ignore"):
            level, fixes = self.found(pin)
        self.repaired |= set().union(*(fix.repaired for fix in fixes))
        return [self._told(fix, pin, (level + 1, fix.rewrite.strange, n)) for n, fix in enumerate(fixes)]

    def found(self, pin: Pin) -> tuple[int, list[Fix]]:
        """Return the rewrites of the first level that has any."""
        world = At(self.sight, self.replay.again(dict(zip(pin.nodes, pin.truths, strict=True))) or {})
        places = [place for place in places_of(self.blame, self.ground, pin, world) if place.turns][:PLACES]
        as_is = At(self.sight, {})
        trials = [
            Trial(self.ground, self.blame, self.facts, pin, place, as_is if place.after else world) for place in places
        ]
        blamed = self.blame.blamed(pin)[0]
        own = [trial for trial in trials if line_of(self.blame, trial.place.first) in blamed]
        level, found = self._simplest(pin, own or trials)
        if own and (not found or not found[0].repaired >= set(self.blame.wrong)):
            other = self._simplest(pin, [trial for trial in trials if trial not in own], moved=False)
            if other[1] and (not found or other[1][0].repaired > found[0].repaired):
                return other
        return level, found

    def _simplest(self, pin: Pin, trials: Sequence[Trial], *, moved: bool = True) -> tuple[int, list[Fix]]:
        """Return the rewrites at some places of the first level that has any."""
        for level in range(len(LEVELS)):
            if found := self._verified(pin, self._level(trials, level)):
                return level, found
            if level == 0 and moved and (found := self._moves(pin)):
                return 0, found
            if level == 0 and (found := self._verified(pin, self._together(trials))):
                return 1, found
        return 0, []

    def _level(self, trials: Sequence[Trial], level: int) -> Iterator[Fix]:
        """Yield the rewrites of a level that give the truth at two turns."""
        for trial in trials:
            for rewrite in trial.rewrites(level):
                if self._late():
                    return
                if trial.gives(rewrite.make):
                    yield Fix(trial.place, rewrite, frozenset({trial.place.spot}))

    def _together(self, trials: Sequence[Trial]) -> Iterator[Fix]:
        """Yield the rewrites that two operations need at once, both of one kind."""
        alike: dict[tuple[str, str], list[tuple[Trial, Rewrite]]] = {}
        for trial in trials:
            for rewrite in trial.rewrites(0):
                if rewrite.several:
                    kind = rewrite.should.split(" ")[0] if rewrite.operand < 0 else "operand"
                    alike.setdefault((rewrite.id, kind), []).append((trial, rewrite))
        for (one, a), (two, b) in itertools.chain(*(itertools.combinations(some, 2) for some in alike.values())):
            if self._late():
                return
            both = {one.place.spot: a.make, two.place.spot: b.make}
            make = _by_spot(both)
            outer = min((one, two), key=lambda trial: trial.place.far)
            if one is not two and outer.gives(make, (one.place, two.place)):
                yield Fix(outer.place, a._replace(make=make, strange=1), frozenset(both))

    def _late(self) -> bool:
        return time.perf_counter() > self.until

    # -- at all turns and at two points

    def _verified(self, pin: Pin, fixes: Iterable[Fix]) -> list[Fix]:
        """Return the rewrites that make the gradients right at all turns and at two points, the simplest first."""
        found: list[Fix] = []
        blamed = self.blame.blamed(pin)[0]

        def simple(fix: Fix) -> tuple[int, ...]:
            elsewhere = blamed and self._line(fix) not in blamed
            return bool(elsewhere), fix.rewrite.strange, fix.place.far, len(fix.spots)

        for fix in sorted(fixes, key=simple):
            if len({each.rewrite.id for each in found}) >= SAID or time.perf_counter() > self.until + GRACE:
                break
            if repaired := self.holds(fix, pin):
                found.append(fix._replace(repaired=repaired))
        return found

    def holds(self, fix: Fix, pin: Pin) -> frozenset[str]:
        """Return the gradients that a rewrite makes right, in all calls of the function in which it is, or in one.

        There are none unless those of the pin are right, at both points, and no other becomes wrong.
        """
        own = {node.site for node in self.run.nodes[self.run.start :] if spot(node) in fix.spots}
        found = self._replayed(fix, pin, own)
        return found or (self._replayed(fix, pin, {fix.place.site}) if len(own) > len(fix.spots) else found)

    def _replayed(self, fix: Fix, pin: Pin, sites: set[Any]) -> frozenset[str]:
        repaired = frozenset(self.run.results)
        for replay in filter(None, (self.replay, self.second)):
            ids = [node.id for node in replay.run.nodes[replay.run.start :] if node.site in sites]
            try:
                new = replay.again(patch=fix.rewrite.make, patched=ids)
            except BAD:
                return frozenset()
            repaired &= self._rights(replay, new, pin)
        return repaired - self.right if self._counts(new, repaired) else frozenset()

    def _counts(self, new: dict[int, Any] | None, repaired: frozenset[str]) -> bool:
        """Whether no more gradients are changed and stay wrong than are repaired: it may repair one by chance."""
        run = self.run
        changed = {path for path, i in run.results.items() if i in (new or {}) and path not in repaired | self.right}
        return len(changed) <= len(repaired - self.right)

    def _rights(self, replay: Replay, new: dict[int, Any] | None, pin: Pin) -> frozenset[str]:
        rights = frozenset(replay.rights(new)) if new is not None else frozenset()
        return rights if rights >= self.right | set(pin.paths) else frozenset()

    # -- memory

    def _moves(self, pin: Pin) -> list[Fix]:
        """Return the reads and writes at other places that make the gradients right, at both points."""
        run, found = self.run, list[Fix]()
        inside = [run.nodes[i].memory for i in {*self.blame.segment(pin), pin.first}]
        buffers = {id(each[0]) for each in inside if each is not None}
        touched = [each for each in memory.accesses(run, run.start, len(run.nodes)) if buffers & each.buffers]
        tried = [move for access in touched for move in memory.moves(run, self.facts, access)]
        for move in sorted(tried, key=lambda move: move.strange):
            if self._late() or len(found) >= SAID:
                break
            repaired = frozenset(run.results)
            for replay in filter(None, (self.replay, self.second)):
                repaired &= self._played(move, replay, pin) if repaired else repaired
            if repaired:
                node = run.nodes[move.access.ids[0]]
                rewrite = Rewrite(move.mistake, move.should, _refused, strange=move.strange)
                place = Place(node.site, spot(node), node.id, (), None, 0)
                found.append(Fix(place, rewrite, frozenset(), repaired - self.right))
        return found

    def _played(self, move: memory.Move, replay: Replay, pin: Pin) -> frozenset[str]:
        """Return the gradients that are right when a move is made in a run: none unless those of a pin are."""
        try:
            patches = memory.replayed(move, replay.run)
        except BAD:
            return frozenset()

        def patch(node: Any, values: list[Any], at: At) -> Array:
            return patches[node.id](values, at)

        everything = range(len(replay.run.nodes))  # what was overwritten may be read now
        return self._rights(replay, replay.again(patch=patch, patched=patches, only=everything), pin)

    # -- what is said

    def _told(self, fix: Fix, pin: Pin, cost: tuple[int, int, int]) -> Cause:
        node, rewrite, mistake = self.run.nodes[fix.place.first], fix.rewrite, fix.rewrite.id
        of = self.run.nodes[pin.of[pin.nodes.index(pin.first)]]
        alone = (pin.truths[0], node.value) if mistake[0] == "A" and of.kind == "leaf" and of.value.size > 1 else ()
        if self._regularises(pin, of) or any(proportional(np.asarray(part), of.value, 1e-7) for part in alone):
            mistake = "D1"  # what is wrong is all of it the regulariser's
        stands = rewrite.stands
        if rewrite.operand < 0 and stands.removeprefix("the ") in ("", node.name):
            stands = quoted(node.site).text or f"the {node.name}"
        return Cause(mistake, tuple(sorted(fix.repaired)), self._line(fix), stands, rewrite.should, cost)

    def _regularises(self, pin: Pin, of: Any) -> bool:
        """Whether a pin is the part of a cotangent that comes back through a regulariser."""
        edges, uses = self.sight.bars.edges, self.sight.uses.get(of.id, ()) if pin.use and of.kind == "leaf" else ()
        some = uses if self.facts.joint else ()
        return any(same(edges[use], pin.truths[0]) and self.facts.penalty(use[0]) for use in some if use in edges)

    def _line(self, fix: Fix) -> Line | None:
        """Return the line of a rewrite: where what was handed over is made, if that is wrong and not what is done."""
        node = self.run.nodes[fix.place.first]
        made = self._made(node, fix.rewrite) if fix.rewrite.operand >= 0 and node.kind == "op" else None
        return made or line_of(self.blame, node.id)

    def _made(self, node: Any, rewrite: Rewrite) -> Line | None:
        """Return the line on which the operand that is wrong is made, if that carries no cotangent."""
        k = getattr(node.args[rewrite.operand], "k", None)
        p = node.parents[k] if k is not None else -1
        match = self.sight.verified.get(p)
        right = match is not None and match.kind != "slope"  # a derivative may be another's
        if p < self.run.start or p in self.sight.carrying or right or not self.run.nodes[p].site.frames:
            return None
        return line_of(self.blame, p)


def places_of(blame: Blame, ground: Ground, pin: Pin, world: At) -> Iterator[Place]:
    """Yield the place of a pin, and those of its segment before it, the nearest first."""
    run = blame.run
    wrong = [j for j, i in enumerate(pin.nodes) if not same(run.value(i), pin.truths[j])]
    wrong = wrong or [pin.nodes.index(pin.first)]  # of a wrong shape
    goals = [(pin.nodes[j], np.asarray(pin.truths[j])) for j in sorted({wrong[0], wrong[-1]})]
    if run.nodes[pin.first].kind == "leaf" or pin.first in blame.sight.verified:  # a step is missing after it
        for i in blame.replay.children.get(pin.first, ()):
            if i in world.new and run.nodes[i].site.frames:
                yield _place(run, pin, [(i, np.asarray(world.new[i]), (i,))], 1)._replace(after=True)
    own = run.nodes[pin.first]
    if own.name.startswith("return") and run.nodes[own.parents[0]].kind != "leaf":
        (parent,) = own.parents
        if blame.replay.children.get(parent) == [own.id]:
            own, goals = run.nodes[parent], [(parent, goals[0][1])]
    if own.kind != "leaf":
        yield _place(run, pin, [(goal, truth, (goal,)) for goal, truth in goals], 0)
    inside = {spot(run.nodes[i]) for one in (pin, pin.early) if one for i in blame.segment(one)}
    inside -= {spot(own), spot(run.nodes[pin.first])}
    before: dict[Any, list[list[int]]] = {}
    for k, (goal, _) in enumerate(goals):
        for i in ground.above(goal, frozenset(pin.nodes) - {goal}):
            node = run.nodes[i]
            if spot(node) in inside and node.kind in ("op", "gather") and isinstance(node.value, np.ndarray):
                before.setdefault(spot(node), [[] for _ in goals])[k].append(i)
    for far, ids in enumerate(sorted(before.values(), key=lambda each: -max(each[0], default=0)), start=1):
        yield _place(run, pin, [(g, t, tuple(some)) for (g, t), some in zip(goals, ids, strict=True) if some], far)


def _place(run: Any, pin: Pin, turns: list[tuple[int, Array, tuple[int, ...]]], far: int) -> Place:
    goal, truth, (first, *_) = turns[0]
    wanted: tuple[int, ...] | None = np.shape(run.value(first))
    if not far:
        leaf = run.leaf.get(pin.paths[0]) if pin.first in run.results.values() else None
        wanted = run.value(leaf).shape if leaf is not None else truth.shape
    elif np.size(run.value(goal)) != truth.size:
        wanted = None
    node = run.nodes[first]
    return Place(node.site, spot(node), first, tuple(turns), wanted, far)


def _by_spot(both: dict[Any, Make]) -> Make:
    return lambda node, values, at: both[spot(node)](node, values, at)


def _refused(*_: Any) -> Array:
    raise Refused
