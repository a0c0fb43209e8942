"""Why it is wrong: one operation of the blamed segment, done otherwise, is what it ought to be.

The true value at the blamed place is known, so a rewrite there is a comparison of two arrays; one of an operation before
it is replayed only so far. What agrees at two turns is replayed once, at all turns and at two points, before it is said.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.blame import At, Blame, Line, Pin, Replay
from gradcheck.steps.match import same
from gradcheck.steps.paths import line_of
from gradcheck.steps.quotes import quoted
from gradcheck.steps.rewrites import factors, itself, jacobians, memory, sums, values
from gradcheck.steps.rewrites.meanings import Meanings
from gradcheck.steps.rewrites.table import Array, Make, Operation, Refused, Rewrite, proportional
from gradcheck.steps.rewrites.values import Values
from gradcheck.steps.words import Cause

CLOSE = 1e-6  # of the norm: a rewrite gives the truth
PLACES = 24  # operations of a segment that are tried
NODES = 4000  # nodes that are replayed for one comparison
SAID = 3  # rewrites that cannot be told apart are said
BAD = (Refused, ValueError, TypeError, IndexError, KeyError, AttributeError, ZeroDivisionError, FloatingPointError, OverflowError, np.linalg.LinAlgError)

OWN = (itself.signs, itself.dropped, itself.functions, itself.precision, sums.reductions, sums.products, sums.axes, memory.reads)
STRANGE = 2  # the level at which the operation itself is done otherwise in a way that nobody would mean
LEVELS: tuple[tuple[Callable[..., Iterator[Rewrite]], ...], ...] = (
    (),
    (factors.derivatives, factors.too_many, factors.linked, jacobians.jacobians),
    (values.operands, values.steps, values.factors),
    (factors.numbers,),
)


def spot(node: Any) -> Any:
    """Return where in the code a node stands, whoever called the function."""
    return node.site.frames[-1:], node.site.name


class Place(NamedTuple):
    """A site of the backward, and for each of two turns the true value after it.

    ``turns`` has for each the node whose truth is known, the truth, and the nodes of the site that are rewritten.
    """

    site: Any
    spot: Any
    first: int
    turns: tuple[tuple[int, Array, tuple[int, ...]], ...]
    wanted: tuple[int, ...] | None
    far: int  # lines between it and the place of the pin


class Fix(NamedTuple):
    """A rewrite that makes gradients right, at all turns and at two points."""

    place: Place
    rewrite: Rewrite
    sites: frozenset[Any]
    repaired: frozenset[str] = frozenset()


class Search:
    """The rewrites that make right what a pin says is wrong."""

    def __init__(self, blame: Blame, second: Replay | None, until: float) -> None:
        self.blame, self.sight, self.run, self.replay, self.second = blame, blame.sight, blame.run, blame.replay, second
        self.until, self.tried = until, 0
        self.facts = Meanings(self.sight)
        self.right = set(self.run.results) - set(blame.wrong)
        self.repaired: set[str] = set()

    def causes(self, pin: Pin) -> list[Cause]:
        """Return what makes the gradients of a pin right, the simplest first."""
        if set(pin.paths) <= self.repaired:
            return []
        level, fixes = self.found(pin)
        self.repaired |= set().union(*(fix.repaired for fix in fixes))
        return [self._told(fix, pin, level)._replace(cost=(level + 1, fix.rewrite.strange, n)) for n, fix in enumerate(fixes)]

    def found(self, pin: Pin) -> tuple[int, list[Fix]]:
        """Return the rewrites of the first level that has any."""
        with np.errstate(all="ignore"):
            world = At(self.sight, self.replay.again(dict(zip(pin.nodes, pin.truths, strict=True))) or {})
            places = [place for place in self._places(pin) if place.turns][:PLACES]
            tried = [_Tried(self, pin, place, world) for place in places]
            for level in range(len(LEVELS)):
                found = self._verified(pin, self._level(tried, level))
                if found:
                    return level, found
                if level == 0 and (moved := self._moves(pin, world)):
                    return 0, moved
                if level == 0 and (found := self._verified(pin, self._together(pin, tried))):
                    return 1, found
        return 0, []

    def _level(self, tried: Sequence[_Tried], level: int) -> Iterator[Fix]:
        for each in tried:
            for rewrite in each.rewrites(level):
                if time.perf_counter() > self.until:
                    return
                if each.gives(rewrite.make):
                    yield Fix(each.place, rewrite, frozenset({each.place.spot}))

    def _verified(self, pin: Pin, fixes: Iterator[Fix]) -> list[Fix]:
        """Return the rewrites that make the gradients right at all turns and at two points, the simplest first."""
        found: list[Fix] = []
        for fix in sorted(fixes, key=self._simple):
            if len({f.rewrite.id for f in found}) >= SAID or time.perf_counter() > self.until + 0.5:
                break
            repaired = self.holds(fix, pin)
            if repaired:
                found.append(fix._replace(repaired=repaired))
        return found

    def _simple(self, fix: Fix) -> tuple[int, ...]:
        return fix.rewrite.strange, fix.place.far, len(fix.sites)

    def holds(self, fix: Fix, pin: Pin) -> frozenset[str]:
        """Return the gradients that a rewrite makes right, at all turns and at two points: none unless they are those of
        a pin at least, and no other becomes wrong."""
        found = self._replayed(fix, pin, spot)
        if not found and len(self._spots[fix.place.spot]) > 1:  # in one call of the function alone
            found = self._replayed(fix, pin, lambda node: node.site if node.site == fix.place.site else None)
        return found

    def _replayed(self, fix: Fix, pin: Pin, where: Callable[[Any], Any]) -> frozenset[str]:
        repaired = frozenset(self.run.results)
        for replay in filter(None, (self.replay, self.second)):
            ids = [node.id for node in replay.run.nodes[replay.run.start :] if where(node) in (*fix.sites, fix.place.site)]
            try:
                new = replay.again(patch=fix.rewrite.make, patched=ids)
            except BAD:
                return frozenset()
            repaired &= self._rights(replay, new, pin)
        return repaired - self.right

    def _rights(self, replay: Replay, new: dict[int, Any] | None, pin: Pin) -> frozenset[str]:
        rights = frozenset(replay.rights(new)) if new is not None else frozenset()
        return rights if rights >= self.right | set(pin.paths) else frozenset()

    @functools.cached_property
    def _spots(self) -> dict[Any, set[Any]]:
        """The sites of each spot of the code: a function that is called in several places has one for each."""
        found: dict[Any, set[Any]] = {}
        for node in self.run.nodes[self.run.start :]:
            found.setdefault(spot(node), set()).add(node.site)
        return found

    # -- memory

    def _moves(self, pin: Pin, world: At) -> list[Fix]:
        """Return the reads and writes at other places that make the gradients right."""
        run, found = self.run, []
        inside = set(self.blame.segment(pin)) | {pin.first}
        buffers = {id(run.nodes[i].memory[0]) for i in inside if run.nodes[i].memory is not None}
        own = [a for a in memory.accesses(run, run.start, len(run.nodes)) if any(id(run.nodes[i].memory[0]) in buffers for i in self._nodes(a))]
        tried = [move for access in own for move in memory.moves(run, self.facts, access)]
        for move in sorted(tried, key=lambda m: m.strange):
            if time.perf_counter() > self.until or len(found) >= SAID:
                break
            repaired = frozenset(self.run.results)
            for replay in filter(None, (self.replay, self.second)):
                repaired &= self._plays(move, replay, pin) if repaired else repaired
            if repaired:
                first = move.access.ids[0]
                place = Place(run.nodes[first].site, spot(run.nodes[first]), first, (), (), 0)
                found.append(Fix(place, Rewrite(move.mistake, move.should, _none, strange=move.strange), frozenset(), repaired - self.right))
        return found

    def _nodes(self, access: memory.Access) -> list[int]:
        return [i for site in access.sites for i in memory.nodes_of(self.run, site)]

    def _plays(self, move: memory.Move, replay: Replay, pin: Pin) -> frozenset[str]:
        """Return the gradients that are right when a move is made in a run; none unless those of a pin are, and what was."""
        self.tried += 1
        try:
            patches = memory.replayed(move, replay.run)
            new: dict[int, Any] = {}
            at = At(replay.sight, new)
            for node in replay.run.nodes[min(patches) :] if patches else ():
                if node.id in patches:
                    new[node.id] = patches[node.id]([at.value(p) for p in node.parents], at)
                elif not new.keys().isdisjoint(node.parents):
                    new[node.id] = node.compute([at.value(p) for p in node.parents])
        except BAD:
            return frozenset()
        return self._rights(replay, new, pin) if patches else frozenset()

    # -- places

    def _places(self, pin: Pin) -> Iterator[Place]:
        """Yield the place of the pin, and those before it that are not known to be right."""
        run = self.run
        at = [j for j, i in enumerate(pin.nodes) if not same(run.value(i), pin.truths[j])]
        goals = [(pin.nodes[j], np.asarray(pin.truths[j])) for j in (at[:1] + at[-1:] if len(at) > 1 else at[:1])]
        if not goals:
            return
        if run.nodes[pin.first].kind == "leaf" or pin.first in self.sight.verified:
            yield from self._after(pin)
        own = run.nodes[pin.first]
        if own.name.startswith("return") and self.replay.children.get(own.parents[0]) == [own.id] and run.nodes[own.parents[0]].kind != "leaf":
            own, goals = run.nodes[own.parents[0]], [(own.parents[0], goals[0][1])]
        if own.kind != "leaf":
            yield self._place(pin, [(g, t, (g,)) for g, t in goals], 0)
        sites: dict[Any, list[list[int]]] = {}
        segments = self.blame.segment(pin) + (self.blame.segment(pin.early) if pin.early else [])
        inside = {spot(run.nodes[i]) for i in segments}
        for k, (goal, _) in enumerate(goals):
            cut = set(pin.nodes) - {goal}
            for i in self.above(goal, tuple(cut)):
                site = spot(run.nodes[i])
                if site in inside and site not in (spot(own), spot(run.nodes[pin.first])) and run.nodes[i].kind in ("op", "gather") and isinstance(run.value(i), np.ndarray):
                    sites.setdefault(site, [[] for _ in goals])[k].append(i)
        for far, (site, ids) in enumerate(sorted(sites.items(), key=lambda each: -max(each[1][0], default=0)), start=1):
            yield self._place(pin, [(g, t, tuple(sorted(some))) for (g, t), some in zip(goals, ids, strict=True) if some], far)

    def _after(self, pin: Pin) -> Iterator[Place]:
        """Yield what is computed of a value after which a step is missing."""
        right = self.replay.again(dict(zip(pin.nodes, pin.truths, strict=True))) or {}
        for i in self.replay.children.get(pin.first, ()):
            if i in right and self.run.nodes[i].site.frames:
                yield self._place(pin, [(i, np.asarray(right[i]), (i,))], 1)

    def _place(self, pin: Pin, turns: list[tuple[int, Array, tuple[int, ...]]], far: int) -> Place:
        first = turns[0][2][0] if turns else -1
        wanted: tuple[int, ...] | None = np.shape(self.run.value(first)) if first >= 0 else ()
        if not far and first >= 0:
            leaf = self.run.leaf.get(pin.paths[0]) if pin.first in self.run.results.values() else None
            wanted = self.run.value(leaf).shape if leaf is not None else np.shape(turns[0][1])
        elif turns and np.size(self.run.value(turns[0][0])) != np.size(turns[0][1]):
            wanted = None
        node = self.run.nodes[first]
        return Place(node.site, spot(node), first, tuple(turns), wanted, far)

    @functools.lru_cache(maxsize=4096)  # noqa: B019  (a search lives no longer than a report)
    def above(self, goal: int, cut: tuple[int, ...]) -> list[int]:
        """Return what a node is computed from in the backward, up to some nodes."""
        found, stop, waiting = set(), set(cut), [goal]
        while waiting:
            i = waiting.pop()
            if i in found or i in stop or i < self.run.start:
                continue
            found.add(i)
            waiting.extend(self.run.nodes[i].parents)
        return sorted(found)

    @functools.lru_cache(maxsize=256)  # noqa: B019  (a search lives no longer than a report)
    def matters(self, goal: int) -> Array | None:
        """Return which cells of a value anything is made of, None if all are."""
        nodes, value = self.run.nodes, self.run.value(goal)
        found = np.zeros(value.shape, dtype=bool)
        for child in self.replay.children.get(goal, ()):
            node = nodes[child]
            for k in (k for k, p in enumerate(node.parents) if p == goal):
                if node.kind == "gather":
                    found.flat[node.data[1][node.data[0] == k]] = True
                elif node.name in ("copy", "array") and node.value.shape == value.shape:
                    inner = self.matters(child)
                    found |= True if inner is None else inner
                elif node.name == "multiply" and node.value.shape == value.shape and len(node.parents) == 2:
                    found |= np.broadcast_to(self.run.value(node.parents[1 - k]) != 0, value.shape)
                else:
                    return None
        return found if found.any() and not found.all() and goal not in self.run.results.values() else None

    # -- several places at once

    def _together(self, pin: Pin, tried: Sequence[_Tried]) -> Iterator[Fix]:
        """Yield the rewrites that several operations need at once, all of one kind."""
        alike: dict[tuple[str, str], list[tuple[_Tried, Rewrite]]] = {}
        for each in tried:
            for rewrite in each.rewrites(0):
                if rewrite.several:
                    alike.setdefault((rewrite.id, rewrite.should.split(" ")[0] if rewrite.operand < 0 else "operand"), []).append((each, rewrite))
        del pin
        for some in alike.values():
            for (one, a), (two, b) in itertools.combinations(some, 2):
                if one is two or time.perf_counter() > self.until:
                    continue
                both = {one.place.spot: a.make, two.place.spot: b.make}
                make = _of_sites(both)
                outer = min((one, two), key=lambda t: t.place.far)
                if outer.gives_at(make, (one.place, two.place)):
                    yield Fix(outer.place, a._replace(make=make, strange=1), frozenset(both))

    # -- words

    def _told(self, fix: Fix, pin: Pin, level: int) -> Cause:
        node, rewrite = self.run.nodes[fix.place.first], fix.rewrite
        line = line_of(self.blame, node.id)
        if rewrite.operand >= 0 and node.kind == "op":  # what was handed over is wrong, not what is done with it
            line = self._made(node, rewrite) or line
        mistake, of = rewrite.id, self.run.nodes[pin.of[pin.nodes.index(pin.first)]]
        if mistake[0] == "A" and of.kind == "leaf" and of.value.size > 1 and any(
            proportional(np.asarray(part), of.value, 1e-7) for part in (pin.truths[0], node.value)
        ):
            mistake = "D1"  # what is scaled wrongly is all of it the regulariser's
        stands = rewrite.stands
        if rewrite.operand < 0 and stands.removeprefix("the ") in ("", node.name):
            stands = quoted(node.site).text or f"the {node.name}"
        cost = level + 1, rewrite.strange, 0
        return Cause(mistake, tuple(sorted(fix.repaired)), line, stands, rewrite.should, cost)

    def _made(self, node: Any, rewrite: Rewrite) -> Line | None:
        """Return the line on which the operand that is wrong is made, if that carries no cotangent."""
        k = getattr(node.args[rewrite.operand], "k", None)
        p = node.parents[k] if k is not None else -1
        if p < self.run.start or p in self.sight.carrying or not self.run.nodes[p].site.frames:
            return None
        return line_of(self.blame, p)


class _Tried:
    """A place, and what the rewrites of it give."""

    def __init__(self, search: Search, pin: Pin, place: Place, world: At) -> None:
        self.search, self.pin, self.place, self.world, self.run = search, pin, place, world, search.run
        self.met: set[Any] = set()
        self.node = self.run.nodes[place.first]

    @functools.cached_property
    def operation(self) -> Operation:
        return Operation(self.node, [self.world.value(p) for p in self.node.parents], self.place.wanted, self.search.facts)

    @functools.cached_property
    def values(self) -> Values:
        """The values that can be taken, with the turns of the forward that go with those of the place."""
        run, pin, nodes = self.run, self.pin, set(self.pin.nodes)
        turns, rows, ofs = {}, {}, {}
        same_value = len(pin.nodes) > 1 and pin.of.count(pin.of[0]) == len(pin.nodes)
        for j, goal in enumerate(pin.nodes):
            for i in self._inside(goal, nodes - {goal}):
                turns[i], ofs[i] = self._used(pin.of[j]).turn, pin.of[j]
                rows |= {i: j} if same_value else {}
        for other in self.search.blame.pins:
            for of, goal in zip(other.of, other.nodes, strict=True):
                for i in self._inside(goal, {*other.nodes, *nodes} - {goal}):
                    turns.setdefault(i, self._used(of).turn)
                    ofs.setdefault(i, of)
        count = run.tape.turns[self._used(pin.of[0]).site] + 1
        return Values(self.search.sight, self.search.facts, self.node, turns, count, rows, ofs)

    def _used(self, of: int) -> Any:
        """Return the node whose turn a value of the forward goes with: itself, of an argument what uses it first."""
        uses = self.search.sight.uses.get(of, ())
        alone = self.run.nodes[of].kind == "leaf" and self.pin.of.count(of) <= 1
        return self.run.nodes[min(i for i, _ in uses)] if alone and uses else self.run.nodes[of]

    def _inside(self, goal: int, cut: set[int]) -> list[int]:
        """Return the nodes of the place that a node is computed from, up to some nodes."""
        return [i for i in self.search.above(goal, tuple(sorted(cut))) if spot(self.run.nodes[i]) == self.place.spot]

    @functools.cached_property
    def _matters(self) -> list[Array | None]:
        """Of each truth the cells that anything is made of: those under a mask may be anything."""
        return [self.search.matters(goal) for goal, _, _ in self.place.turns]

    def rewrites(self, level: int) -> Iterator[Rewrite]:
        """Yield the rewrites of a level that can be made here at all."""
        own = [functools.partial(t, self.operation) for t in OWN] if level in (0, STRANGE) else []
        for table in (*own, *(functools.partial(t, self.operation, self.values) for t in LEVELS[level])):
            try:
                yield from (rewrite for rewrite in table() if level or not rewrite.strange)
            except BAD:
                continue

    def gives(self, make: Make) -> bool:
        """Whether a rewrite gives the truth, at two turns."""
        return self.gives_at(make, (self.place,))

    def gives_at(self, make: Make, places: Sequence[Place]) -> bool:
        first = None
        if len(places) == 1:
            try:
                first = np.asarray(make(self.node, [self.world.value(p) for p in self.node.parents], self.world), dtype=float)
            except BAD:
                return False
            if not np.isfinite(first).all() or same(first, self.node.value, 1e-12) and first.shape == self.node.value.shape:
                return False
            key = first.shape, first.tobytes()
            if key in self.met:
                return False
            self.met.add(key)
        self.search.tried += 1
        for k, (goal, truth, _) in enumerate(self.place.turns):
            ids = {i for place in places for i in place.turns[k][2] if k < len(place.turns)}
            try:
                made = first if first is not None and not k and self.place.first == goal else self._reached(make, goal, ids)
            except BAD:
                return False
            matters = self._matters[k]
            if made is not None and matters is not None and made.shape == truth.shape == matters.shape:
                made, truth = made * matters, truth * matters
            if made is None or not same(made, truth, CLOSE) or (self.place.far == 0 and not k and np.shape(made) != self.place.wanted):
                return False
        return True

    def _reached(self, make: Make, goal: int, ids: set[int]) -> Array | None:
        """Return what a node becomes when the nodes of a site before it are rewritten."""
        between = self._between(goal, tuple(sorted(ids)))
        if len(between) > NODES:
            return None
        new: dict[int, Any] = {}
        at = At(self.search.sight, ChainMap(new, self.world.new))
        for i in between:
            node = self.run.nodes[i]
            values = [at.value(p) for p in node.parents]
            new[i] = make(node, values, at) if i in ids else node.compute(values)
        return np.asarray(at.value(goal))

    def _between(self, goal: int, ids: tuple[int, ...]) -> list[int]:
        return self.search.between(goal, ids, tuple(i for i in self.pin.nodes if i != goal))


def _of_sites(both: dict[Any, Make]) -> Make:
    return lambda node, values, at: both[spot(node)](node, values, at)


def _between(self: Search, goal: int, ids: tuple[int, ...], cut: tuple[int, ...]) -> list[int]:
    """Return the nodes from some to another, in order."""
    above = self.above(goal, cut)
    found = set(ids)
    for i in above:
        if found.intersection(self.run.nodes[i].parents):
            found.add(i)
    return [i for i in above if i in found]


Search.between = functools.lru_cache(maxsize=1024)(_between)  # type: ignore[attr-defined]


def _none(node: Any, values: Any, at: Any) -> Array:
    raise Refused
