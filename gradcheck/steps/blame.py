"""Where the first wrong step is.

A value of the backward is to blame if all gradients become right once it is replaced by the true cotangent of some
value of the forward, and everything after it is done again as it was (a *pin*). The earliest such place bounds the
mistake from below; from above it is bounded by the nearest values that are true cotangents already. What lies between
is the blamed segment.
"""

from __future__ import annotations

import dis
import functools
import itertools
import time
from typing import NamedTuple

import numpy as np

from gradcheck.steps.match import Sight, same
from gradcheck.steps.places import Site

PATIENCE = 3.0  # seconds for the pins
TURNS = 400  # turns of one place that are replaced together


class Pin(NamedTuple):
    """A place of the backward, what each turn of it ought to be, and the gradients that this makes right."""

    nodes: tuple[int, ...]
    truths: tuple[np.ndarray, ...]
    of: tuple[int, ...]  # the forward's nodes whose cotangents these are
    use: bool  # of one use alone
    paths: tuple[str, ...]
    first: int  # the first turn that is wrong
    early: Pin | None = None  # a true cotangent of something else, after which a step could be missing as well


class At(NamedTuple):
    """What is at hand in a replay: the values as they are in it, and the derivatives that were measured."""

    sight: Sight
    new: dict[int, np.ndarray]

    def value(self, i):
        return self.new[i] if i in self.new else self.sight.run.nodes[i].value

    def made(self, site, turn):
        """Return what a place made at one of its turns."""
        return self.value(self.sight.run.tape.at[site, turn])

    def used(self, site, turn, k):
        """Return operand k of a place at one of its turns."""
        return self.value(self.sight.run.nodes[self.sight.run.tape.at[site, turn]].parents[k])

    def slope(self, a, b, turn):
        """Return the derivative by element of what place b made with respect to what place a made."""
        at = self.sight.run.tape.at
        return self.sight.derivatives[at[a, turn if (a, turn) in at else 0], at[b, turn]]


class Replay:
    """The backward of a run again from some node on, without the user's code."""

    def __init__(self, sight: Sight):
        self.sight, self.run = sight, sight.run
        self.children: dict[int, list[int]] = {}
        for node in self.run.nodes[self.run.start :]:
            for parent in node.parents:
                self.children.setdefault(parent, []).append(node.id)
        self.count = 0

    @functools.lru_cache(maxsize=4096)
    def below(self, ids: tuple[int, ...]):
        """Return what is computed from some nodes, in order, them included."""
        found, waiting = set(ids), list(ids)
        while waiting:
            for child in self.children.get(waiting.pop(), ()):
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return sorted(found)

    @functools.cached_property
    def needed(self):
        """What the results are computed from."""
        found, waiting = set(), [i for i in self.run.results.values() if i >= 0]
        while waiting:
            i = waiting.pop()
            if i not in found and i >= self.run.start:
                found.add(i)
                waiting.extend(self.run.nodes[i].parents)
        return found

    def again(self, given=None, patch=None, patched=(), expected=None, only=None):
        """Return the values that change where nodes have a ``given`` value, or ``patch(node, values, at)`` is done at
        the nodes ``patched``; None as soon as one is not as ``expected``, or cannot be computed."""
        self.count += 1
        nodes, given = self.run.nodes, given or {}
        at = At(self.sight, new := dict(given))
        patched = frozenset(patched)
        for i in self.below(tuple(sorted({*given, *patched}))):
            if i in given or i not in (only if only is not None else self.needed):
                continue
            values = [at.value(p) for p in nodes[i].parents]
            try:
                new[i] = patch(nodes[i], values, at) if i in patched else nodes[i].compute(values)
            except Exception:  # noqa: BLE001  (a shape that does not fit)
                return None
            if expected and i in expected and not same(new[i], expected[i], 1e-6):
                return None
        return new

    def gradients(self, new):
        """Return the gradients with the values that changed."""
        run = self.run
        return {path: new.get(i, run.value(i) if i >= 0 else run.claimed[path]) for path, i in run.results.items()}

    def rights(self, new):
        """Return the arguments whose gradients are right, with the values that changed."""
        return {path for path, g in self.gradients(new).items() if self.sight.is_right(path, np.asarray(g))}


class Blame:
    """What is wrong in the backward of a run, and where."""

    def __init__(self, sight: Sight):
        self.sight, self.run = sight, sight.run
        self.replay = Replay(sight)
        claimed = {path: self.run.value(i) if i >= 0 else self.run.claimed[path] for path, i in self.run.results.items()}
        self.wrong = [path for path, g in claimed.items() if not sight.is_right(path, g)]

    def above(self, i):
        """Return the nodes of the backward that a node is computed from, itself included."""
        found, waiting = set(), [i]
        while waiting:
            j = waiting.pop()
            if j >= self.run.start and j not in found:
                found.add(j)
                waiting.extend(self.run.nodes[j].parents)
        return found

    @functools.cached_property
    def reaching(self) -> dict[int, set[str]]:
        """The wrong arguments that each node of the forward is computed from."""
        found: dict[int, set[str]] = {self.run.leaf[path]: {path} for path in self.wrong}
        for node in self.run.nodes[: self.run.start]:
            for parent in node.parents:
                if parent in found:
                    found.setdefault(node.id, set()).update(found[parent])
        return found

    @functools.cached_property
    def pins(self) -> list[Pin]:
        """The earliest places that explain all that is wrong; of several mistakes, one for each."""
        self.until = time.perf_counter() + PATIENCE
        pins, left = [], list(self.wrong)
        pin = self.pin(tuple(left)) if left else None
        if pin:
            return [pin]
        while left:
            pin = self.pin((left[0],)) or self.trivial(left[0])
            done = set(pin.paths) | {left[0]}
            left = [path for path in left if path not in done]
            pins.append(pin)
        return pins

    def trivial(self, path):
        i, truth = self.run.results[path], self.sight.truth(path)
        return Pin((i,), (truth,), (self.run.leaf[path],), False, (path,), i)

    def pin(self, paths) -> Pin | None:
        """Return the earliest place whose true value makes the gradients of ``paths`` right, and no other wrong.

        One that is no true cotangent as it is comes first; else a step is missing after one that is.
        """
        run, replay = self.run, self.replay
        paths = tuple(sorted(paths, key=lambda p: len(self.above(run.results[p]))))
        results = [run.results[path] for path in paths]
        if min(results) < 0:
            return None
        above = [self.above(i) for i in results]
        places = [ids for ids in self.sight.turns(sorted(replay.needed)).values() if all(a.intersection(ids) for a in above)]
        if len(results) == 1 and [results[0]] not in places:
            places.append(results)
        before, early = replay.rights({}), None
        for ids in sorted(places, key=lambda ids: ids[-1] if ids == results else ids[0]):
            if len(ids) > TURNS or not (self.sight.carrying.intersection(ids) or self.sight.scalar):
                continue
            for factor, (truths, of, use) in itertools.product(self.sight.factors, list(self.candidates(ids, paths))):
                if time.perf_counter() > self.until:
                    return early
                given = {i: factor * (t.reshape(run.value(i).shape) if t.size == run.value(i).size else t)
                         for i, t in zip(ids, truths)}
                first = next((i for i in ids if not same(given[i], run.value(i))), None)
                if first is None or (early and not self.is_first(first, of[ids.index(first)])):
                    continue
                goal = {results[0]: self.sight.truth(paths[0])}  # one gradient first: most places are told by it
                if replay.again(given, expected=goal, only=above[0]) is None:
                    continue
                new = replay.again(given, expected={r: self.sight.truth(p) for p, r in zip(paths, results)})
                if new is None:
                    continue
                rights = replay.rights(new)
                if rights >= before | set(paths):
                    pin = Pin(tuple(ids), tuple(given.values()), tuple(of), use, tuple(sorted(rights - before)), first, early)
                    if self.is_first(first, of[ids.index(first)]):
                        return pin
                    early = early or pin
        return early

    def is_first(self, node, of):
        """Whether a node is wrong by itself: it is no true cotangent, or a part of the one that it ought to be."""
        match = self.sight.verified.get(node)
        return match is None or (match.kind in ("use", "uses") and match.nodes[0] == of) or match.kind == "part"

    def candidates(self, ids, paths):
        """Yield what the turns of a place could be: the cotangents of as many turns of a place of the forward."""
        run, paths, sizes = self.run, set(paths), [self.run.value(i).size for i in ids]
        goals = {run.leaf[path] for path in paths} if ids[-1] in run.results.values() else ()
        for of, bars, use in self.families:
            if not paths <= set().union(*(self.reaching.get(i, set()) for i in of)):
                continue
            if len(ids) == 1:
                for one, bar in zip(of, bars):
                    if (bar.size == sizes[0] or one in goals) and paths <= self.reaching.get(one, set()):
                        yield [bar], [one], use
            elif len(of) == len(ids):
                for order in (slice(None, None, -1), slice(None)):
                    if [bar.size for bar in bars[order]] == sizes:
                        yield bars[order], of[order], use
            elif len(ids) < len(of) <= len(ids) + 2:  # the others are done before or after the loop
                for order in (slice(None, None, -1), slice(None)):
                    for skip in range(len(of) - len(ids) + 1):
                        some = slice(skip, skip + len(ids))
                        if [bar.size for bar in bars[order][some]] == sizes:
                            yield bars[order][some], of[order][some], use
            elif len(of) == 1 and bars[0].size == sum(sizes) and not use:  # a batch, done one by one
                for axis, count in enumerate(bars[0].shape):
                    if count == len(ids):
                        yield [np.take(bars[0], j, axis) for j in range(count)], of * count, use

    @functools.cached_property
    def families(self):
        """Lists of nodes of the forward that are turns of one place, and their cotangents; likewise of single uses."""
        sight, nodes, found = self.sight, self.run.nodes, []
        bars = {i: bar for i, bar in sight.bars.nodes.items() if nodes[i].kind != "const"}
        for ids in sight.turns(sorted(bars, reverse=True)).values():
            found.append((sorted(ids), [bars[i] for i in sorted(ids)], False))
        uses = {}
        for i, k in sorted(sight.bars.edges):
            uses.setdefault((nodes[i].site, k), []).append((i, k))
        for some in uses.values():
            of = [nodes[i].parents[k] for i, k in some]
            if len({nodes[i].site for i in of}) > 1 or any(len(sight.uses[i]) > 1 for i in of):
                found.append((of, [np.asarray(sight.bars.edges[use]) for use in some], True))
        return found

    # -- the segment

    def segment(self, pin: Pin) -> list[int]:
        """Return the nodes between the first wrong turn of the pinned place and the nearest true cotangents."""
        run, verified, found, waiting = self.run, self.sight.verified, set(), [pin.first]
        it_is = verified.get(pin.first)
        while waiting:
            i = waiting.pop()
            if i in found or i < run.start or run.nodes[i].kind == "leaf":
                continue
            match = verified.get(i)
            if match and i != pin.first and not (it_is and match.nodes == it_is.nodes):
                if match.kind == "slope" or i in self.sight.carrying or self.sight.scalar:
                    continue
            found.add(i)
            if run.nodes[i].kind == "gather":  # what wrote the cells belongs to how they were put together
                found.update(p for p in run.nodes[i].parents if p >= run.start and run.nodes[p].name in WRITES)
            waiting.extend(run.nodes[i].parents)
        return sorted(found)

    def blamed(self, pin: Pin) -> tuple[list[Line], list[Line]]:
        """Return the lines of the segment, and those that could hold the mistake although they compute nothing."""
        main = self.lines(self.segment(pin))
        near = set(self.feeding(main))
        for one in filter(None, (pin.early, pin if pin.first in self.sight.verified else None)):  # a missing step
            uses = self.lines(self.replay.children.get(one.first, ()))
            near |= {*self.lines([one.first]), *uses[:1], *self.feeding(uses)}
        near |= {line for i in self.segment(pin) for line in callers(self.run.nodes[i].site)}
        if not main or pin.first in self.run.results.values():
            near |= set(self.returning)
            near |= {line for line in self.feeding(self.returning)} | self.stores
        return main, sorted(near - set(main), key=lambda l: l.number)

    @functools.cached_property
    def codes(self):
        """The functions of the backward."""
        return {code for n in self.run.nodes[self.run.start :] for code, _ in n.site.frames}

    @functools.cached_property
    def returning(self):
        """The lines on which the functions of the backward return."""
        return [Line(code, i.positions.lineno) for code in self.codes for i in dis.get_instructions(code) if i.opname.startswith("RETURN")]

    @functools.cached_property
    def stores(self):
        """The lines that store something in an object or a container and compute nothing."""
        found = {Line(code, i.positions.lineno) for code in self.codes for i in dis.get_instructions(code)
                 if i.opname in ("STORE_ATTR", "STORE_SUBSCR")}
        return found - self.busy

    def lines(self, ids) -> list[Line]:
        """Return the lines of some nodes."""
        sites = (self.run.nodes[i].site for i in ids)
        return sorted({Line(site.frames[-1][0], site.line) for site in sites if site.frames}, key=lambda l: l.number)

    @functools.cached_property
    def busy(self):
        """The lines on which something is computed."""
        return set(self.lines(n.id for n in self.run.nodes[self.run.start :] if n.kind == "op" and n.is_float))

    def feeding(self, lines, deep=2):
        """Return the lines on which nothing is computed but names are bound that ``lines`` read: numbers, views, other
        names of an array, loops. Read off the bytecode."""
        found = set()
        for line in lines:
            for other in bindings(line.code).get(line.number, ()):
                if Line(line.code, other) not in self.busy and other != line.number:
                    found.add(Line(line.code, other))
        if deep > 1 and found:
            found |= set(self.feeding(found, deep - 1))
        return sorted(found - set(lines), key=lambda l: l.number)


class Line(NamedTuple):
    """A line of a function."""

    code: object
    number: int

    @classmethod
    def of(cls, frames):
        """Return the innermost line of some frames."""
        return cls(frames[-1][0], Site(frames, "").line) if frames else None


def callers(site):
    """Return the lines that called the function in which a place is."""
    return [Line(code, Site(((code, at),), "").line) for code, at in site.frames[:-1]]


@functools.lru_cache(maxsize=256)
def bindings(code) -> dict[int, set[int]]:
    """Return for each line of a function the lines that bind the names that it reads."""
    reads, binds, line, given = {}, {}, 0, set(code.co_varnames[: code.co_argcount])
    for i in dis.get_instructions(code):
        line = i.positions.lineno or line
        if i.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_NAME")):
            reads.setdefault(line, set()).add(i.argval)
        elif i.opname.startswith("UNPACK") and reads.get(line, {""}) <= given:
            reads[line] = {""}  # the cache taken apart
        elif i.opname.startswith(("STORE_FAST", "STORE_DEREF", "STORE_NAME")) and reads.get(line) != {""}:
            binds.setdefault(i.argval, set()).add(line)
    return {line: set().union(*(binds.get(name, ()) for name in names)) for line, names in reads.items()}


WRITES = {"setitem", "add", "subtract", "multiply", "add.at", "subtract.at", "divide"}
