"""Why it is wrong: one operation of the blamed segment, done otherwise, is what it ought to be.

The true value at the blamed place is known, so a rewrite of the operation there is a plain comparison of two arrays, and
one of an operation before it is replayed only so far. What agrees is done at all turns, and again at a second point.
"""

from __future__ import annotations

import functools
import itertools
import re
import time
from typing import Any, NamedTuple

import numpy as np

from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.steps.blame import At, Blame, Line, Pin, Replay
from gradcheck.steps.match import same
from gradcheck.steps.rewrites import base
from gradcheck.steps.rewrites.base import Op, Refused, Rule, Values, look, redone, value_of
from gradcheck.steps.rewrites.factors import FORMS, factors, slopes_with
from gradcheck.steps.rewrites.itself import of_itself
from gradcheck.steps.rewrites.jacobians import jacobians
from gradcheck.steps.rewrites.operands import operand_factors, operands, replaced_factors
from gradcheck.steps.rewrites.terms import products, terms, triples

SECONDS = 4.0
NAMES = 60
MOST = 6
TOGETHER = {"axis", "mean", "transpose", "subscripts", "power", "four", "sign of one", "order", "compare", "flip", "index", "axes"}
BAD = (Refused, ValueError, TypeError, IndexError, KeyError, AttributeError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError)


class Place(NamedTuple):
    """Where a rewrite is tried: the turns of a site, and the nodes whose true values are known after it."""

    ids: tuple[int, ...]
    first: int
    goals: tuple[int, ...]
    truth: np.ndarray
    paths: tuple[str, ...]
    shape: tuple[int, ...] | None = None  # what the truth has at the place itself


class Fix(NamedTuple):
    """A rewrite that makes gradients right, at two points."""

    rule: Rule
    site: Any
    factor: float
    form: str  # replace or add
    repaired: frozenset
    doubt: float
    line: Line | None
    alpha: str
    place: Place


class Search:
    """The rewrites that make right what a pin says is wrong."""

    def __init__(self, blame: Blame, second: Replay | None, evidence, tapes, seconds=SECONDS):
        self.blame, self.sight, self.run, self.replay = blame, blame.sight, blame.run, blame.replay
        self.second, self.e, self.tapes = second, evidence, tapes
        self.end = time.perf_counter() + seconds
        self.right = set(self.run.results) - set(blame.wrong)
        self.recorded = Values(At(self.sight, {}))
        self.tried = 0
        self._ops, self._extras, self.wanted, self.sites = {}, {}, {}, {}
        self.cotangent = self.run.cotangent[0] if len(self.run.cotangent) == 1 else None

    # -- what the labels ask

    ops = property(lambda self: self.run.nodes)
    given = property(lambda self: self.run.start)

    @functools.cached_property
    def reach(self):
        found = {i: set() for i in range(len(self.run.nodes))}
        for path, i in self.run.results.items():
            if i >= 0:
                found[i].add(path)
        for node in reversed(self.run.nodes):
            for p in node.parents:
                if p >= 0:
                    found[p] |= found[node.id]
        return found

    @functools.cached_property
    def loops(self):
        """Whether the forward goes over time: a turn takes what another turn made."""
        return self._carries(self.run.nodes[: self.run.start]) or self._carries(self.run.nodes[self.run.start :])

    def _carries(self, nodes):
        seen = {}
        made = {}
        for node in nodes:
            up = set()
            for p in node.parents:
                up |= made.get(p, set())
            if node.kind == "op" and node.turn and node.name in (*base.PRODUCTS, "getitem") and node.site in up:
                shared = [p for p in node.parents if p in seen.get(node.site, ())]
                if shared:
                    return True
            if node.kind == "op" and node.name in (*base.PRODUCTS, "getitem"):
                up = up | {node.site}
                seen.setdefault(node.site, set()).update(self._origins(node))
            made[node.id] = up
        return False

    def _origins(self, node):
        return node.parents

    def carried(self, group):
        return len(group) > 1 and group[1].number in self.replay.below((group[0].number,))

    def multiplied(self, said):
        """Whether the derivative of that name is a factor that is given, such as a mask."""
        return any(said == f"the derivative that {self.sight.name(b)} has" and self.run.nodes[b].name in ("multiply", "divide")
                   for _, b in self.sight.derivatives)

    def linked(self, said):
        """Whether the derivative of that name is a table of what is linked, which is given."""
        for _, b in self.sight.derivatives:
            node = self.run.nodes[b]
            if said == f"the derivative that {self.sight.name(b)} has" and node.name == "where":
                return not node.parents or self.run.nodes[node.parents[0]].kind in ("const", "leaf") or self.run.nodes[node.parents[0]].is_float
        return False

    # -- operations

    def op(self, i, run=None):
        run = run or self.run
        key = id(run), i
        if key not in self._ops:
            self._ops[key] = Op(self.tapes[id(run)], run.nodes[i])
            self._ops[key].scope = {**self._ops[key].scope, **{n: h for n, h in self.extras(run).items() if n not in self._ops[key].scope}}
            self._ops[key].wanted = self.wanted.get(run.nodes[i].site, self._ops[key].wanted)
        return self._ops[key]

    def extras(self, run):
        """Return what the forward has names for: its arguments, and what it stores once."""
        if id(run) not in self._extras:
            found = {path: base.Ref(i) for path, i in run.leaf.items()}
            for node in run.nodes[: run.start]:
                if node.kind == "op" and node.is_float and node.value.size > 1 and not run.tape.turns[node.site] and node.site.variable:
                    found[f"{node.site.variable} of line {node.site.line} of the forward"] = base.Ref(node.id)
            self._extras[id(run)] = dict(list(found.items())[-40:])
        return self._extras[id(run)]

    def do(self, fix_rule, form="replace", factor=1.0, run=None):
        """Return what to do at a node in a replay."""

        def patch(node, values, at):
            op, new = self.op(node.id, run), Values(at)
            made = np.asarray(fix_rule.make(op, new))
            if form == "add":
                return redone(op, new) + factor * made
            return made if factor == 1.0 else factor * made

        return patch

    # -- places

    def places(self, pin: Pin, wide=False):
        run, paths = self.run, pin.paths
        if wide:
            goals = tuple(run.results[p] for p in paths)
            if min(goals) < 0:
                return
            truth = np.concatenate([np.ravel(self.sight.truth(p)) for p in paths])
            done = {run.nodes[i].site for one in self.blame.pins for i in self.blame.segment(one)}
            groups = {}
            for i in sorted(self.replay.needed):
                node = run.nodes[i]
                if node.kind in ("op", "gather") and node.is_float and node.site not in done and node.site.frames:
                    groups.setdefault(node.site, []).append(i)
            rows = [(len(set(paths) - self.reach[ids[0]]), -ids[0], ids) for ids in groups.values()
                    if self.reach[ids[0]] & set(paths) and not self.reach[ids[0]] & self.right]
            for *_, ids in sorted(rows, key=lambda r: r[:2])[:40]:
                if set(paths) <= set().union(*(self.reach[i] for i in ids)):
                    yield Place(tuple(ids), ids[0], goals, truth, paths)
            return
        if run.nodes[pin.first].kind == "leaf" or pin.first in self.sight.verified:  # a step is missing after it
            right = self.replay.again(dict(zip(pin.nodes, pin.truths))) or {}
            for i in [c for c in self.replay.children.get(pin.first, ()) if c in right]:
                ids = tuple(n.id for n in run.nodes[run.start :] if n.site == run.nodes[i].site and n.id in self.replay.needed)
                if ids and run.nodes[i].site.frames:
                    yield Place(ids, i, (i,), np.ravel(right[i]), paths)
        segment = self.blame.segment(pin) + (self.blame.segment(pin.early) if pin.early else [])
        own = run.nodes[pin.first].site
        if run.nodes[pin.first].kind != "leaf":
            truth = pin.truths[pin.nodes.index(pin.first)]
            leaf = run.leaf.get(paths[0]) if pin.first in run.results.values() else None
            shape = run.value(leaf).shape if leaf is not None else np.shape(truth)
            yield Place(tuple(pin.nodes), pin.first, (pin.first,), np.ravel(truth), paths, shape)
        seen = {own}
        if run.nodes[pin.first].name.startswith("return"):
            (i,) = run.nodes[pin.first].parents
            if i >= run.start and run.nodes[i].kind != "leaf" and [c for c in self.replay.children[i]] == [pin.first]:
                seen.add(run.nodes[i].site)
                yield Place((i,), i, (i,), np.ravel(truth), paths, shape)
        for i in sorted(set(segment), reverse=True):
            node = run.nodes[i]
            if node.site in seen or node.kind not in ("op", "gather") or not isinstance(node.value, np.ndarray) or not node.site.frames:
                continue
            seen.add(node.site)
            ids = tuple(n.id for n in run.nodes[run.start :] if n.site == node.site and n.id in self.replay.needed)
            if not ids:
                continue
            before = [j for j in ids if j <= pin.first]
            truth = pin.truths[pin.nodes.index(pin.first)]
            yield Place(ids, before[0] if before else ids[0], (pin.first,), np.ravel(truth), paths)

    @functools.lru_cache(maxsize=512)
    def between(self, ids, goals):
        """Return the nodes from some to others, in order."""
        above = set().union(*(self.blame.above(g) for g in goals))
        return [i for i in self.replay.below(ids) if i in above]

    def reached(self, place, patch):
        """Return what the goals of a place become when its nodes are patched."""
        new: dict[int, Any] = {}
        at = At(self.sight, new)
        nodes, patched = self.run.nodes, set(place.ids)
        ids = tuple(i for i in place.ids if i <= max(place.goals))
        for i in self.between(ids, place.goals):
            values = [at.value(p) for p in nodes[i].parents]
            new[i] = np.asarray(patch(nodes[i], values, at) if i in patched else nodes[i].compute(values))
        return np.concatenate([np.ravel(at.value(g)) for g in place.goals])

    # -- one rule at one place

    def attempt(self, place: Place, rule: Rule):
        """Yield (form, factor) with which a rule gives the truth."""
        op = self.op(place.first)
        with np.errstate(all="ignore"):
            try:
                c = np.asarray(rule.make(op, self.recorded), dtype=float)
            except BAD:
                return
            if not np.isfinite(c).all() or (c.shape != op.result.shape and rule.kind not in ("axis", "factor", "slope", "form", "slice whole", "reshape", "broadcast", "crop", "transpose")):
                return
            direct = place.goals == (place.first,)
            key = place.first, place.goals, rule.kind == "term", c.shape, c.tobytes()
            if key in self.met:
                return
            self.met.add(key)
            self.tried += 1
            truth = place.truth
            if rule.kind == "term":
                c = np.broadcast_to(c, op.result.shape)
            try:
                if direct:
                    v, start = np.ravel(c), 0.0
                    if rule.kind == "term":
                        start = np.ravel(op.result)
                elif rule.kind == "term":
                    start = np.concatenate([np.ravel(self.run.value(g)) for g in place.goals])
                    v = self.reached(place, self.do(rule, "add")) - start
                elif len(place.ids) == 1:
                    v = self.reached(place, lambda n, values, at: c)
                    start = self.zero(place)
                    if same(v, truth, 1e-6):
                        yield "replace", 1.0
                        return
                    v = v - start
                else:
                    v, start = self.reached(place, self.do(rule)), None
            except BAD:
                return
            if v.size != truth.size:
                return
            if start is None:
                if same(v, truth, 1e-6):
                    yield "replace", 1.0
                return
            if rule.kind != "term" and same(v + start, truth, 1e-6):
                yield "replace", 1.0
                return
            want = truth - start
            size = float(v @ v)
            if not size or not np.isfinite(size):
                return
            alpha = float(v @ want) / size
            if abs(alpha) > 1e-9 and same(alpha * v, want, 1e-6):
                yield ("add" if rule.kind == "term" else "replace"), alpha

    @functools.lru_cache(maxsize=512)
    def _zero(self, ids, place):
        return self.reached(place, lambda n, values, at: np.zeros(n.value.shape))

    def zero(self, place):
        return self._zero(place.ids, _Key(place))

    def holds(self, place, rule, form, factor):
        """Whether the rewrite makes the gradients right, at all turns, here and at a second point."""
        sites = self.sites.get(id(rule.make), {self.run.nodes[place.first].site})
        for replay in (self.replay, self.second):
            if replay is None:
                continue
            run = replay.run
            ids = [n.id for n in run.nodes[run.start :] if n.site in sites]
            try:
                with np.errstate(all="ignore"):
                    new = replay.again(patch=self.do(rule, form, factor, run), patched=ids)
            except BAD:
                return False
            if new is None or not replay.rights(new) >= self.right | set(place.paths):
                return False
        return True

    def read(self, alpha, form, rule):
        """Return how much more is to be assumed for a factor, its value and what it is; None if it means nothing."""
        if rule.kind == "itself":
            return (0.0, -1.0, "-1") if abs(alpha + 1) < 1e-6 else (0.2, alpha, self.named(alpha) or f"{alpha:.6g}")
        if abs(alpha + 1) < 1e-6:
            return (0.2 if form == "add" else 0.35), -1.0, "-1"
        if form == "add" and abs(alpha - 1) < 1e-6:
            return 0.0, 1.0, ""
        for value in (2.0, 0.5, -2.0, -0.5):
            if abs(alpha - value) < 1e-6 * abs(value):
                return 0.4, value, f"{value:g}"
        for value, said in self.known.items():
            for sign in (1, -1):
                if abs(alpha - sign * value) < 1e-6 * abs(value):
                    return 0.5, sign * value, ("-" if sign < 0 else "") + said
        return None

    def named(self, alpha):
        return next((said for value, said in self.known.items() if abs(alpha - value) < 1e-6 * abs(value)), "")

    @functools.cached_property
    def batch(self):
        return batch_of(self.e)

    @functools.cached_property
    def known(self):
        """Numbers that mean something: sizes, their products, settings, and one over each."""
        sizes = {n for a in self.e.at_hand.values() for n in a.shape if n > 1}
        found = {float(n): f"{n}" for n in sizes} | {1.0 / n: f"1/{n}" for n in sizes}
        for array in self.e.at_hand.values():
            for count in (2, 3):
                for axes in itertools.combinations(range(array.ndim), count):
                    n = float(np.prod([array.shape[a] for a in axes]))
                    found.setdefault(n, f"{n:g}")
                    found.setdefault(1 / n, f"1/{n:g}")
        settings = {v: k for k, v in self.e.numbers.items() if v not in (0, 1)}
        for node in self.run.nodes[: self.run.start]:
            for each in (*node.args, *node.kwargs.values()):
                if isinstance(each, int | float | np.number) and not isinstance(each, bool) and each not in (0, 1) and np.isfinite(each):
                    settings.setdefault(float(each), f"the {each:.4g} of line {node.site.line} of the forward")
        return found | settings | {1 / v: f"1/{k}" for v, k in settings.items()}

    # -- the tables

    def names(self, op, others):
        """Return what may be taken at a place: arrays and numbers by name, each value once; those of the turn first."""
        many, found, seen = len(others) > 1, {}, set()
        for name in sorted(op.scope, key=lambda n: bool(re.search(r"\[-?\d+\]", n)) and many):
            try:
                each = [np.asarray(look(o, name, self.recorded)) for o in others]
            except BAD:
                continue
            value = each[0]
            if value.dtype.kind not in "fbiu" or (value.dtype.kind in "iu" and (value.ndim or int(value) > 64)):
                continue
            key = tuple((v.shape, v.tobytes()) for v in each)
            if key not in seen:
                seen.add(key)
                raw = op.scope[name]
                found[name] = raw if type(raw) in (int, float) else value
                if len(found) >= NAMES:
                    break
        return found

    def phases(self, place):
        op = self.op(place.first)
        op.probes = [value_of(a, self.recorded) for a in op.args] if op.name != "set" else [None, None, value_of(op.args[2], self.recorded)]
        op.probe0 = op.probes[0] if op.probes else None
        group = [op, *(self.op(i) for i in place.ids if i != place.first)]
        named = functools.cache(lambda: self.names(op, [group[0], *group[1:2], *group[-1:]] if len(group) > 1 else [op]))
        shapes = lambda o, p: np.shape(o.probes[p])  # noqa: E731
        slopes, dead = self.slopes, functools.cache(lambda: {n for n, h in op.scope.items() if isinstance(h, base.Ref) and not self.reach[int(h)]})
        single, misshapen = len(group) == 1, sum(np.size(self.run.value(g)) for g in place.goals) != place.truth.size
        if place.shape is not None and np.prod(place.shape) != op.result.size:
            misshapen = True
            self.wanted[op.node.site] = op.wanted = place.shape
        elif place.shape is not None and place.shape != op.result.shape and op.name in base.PRODUCTS:
            self.wanted[op.node.site] = op.wanted = place.shape
        return (
            lambda: itertools.chain([Rule("itself", "a factor", redone, 0.3)], self.scaled(place), self.deeper(op), self.masked(op, named), of_itself(op, op.wanted, misshapen)),
            lambda: itertools.chain(jacobians(op, named()), factors(op, named(), slopes, FORMS, False), self.measured(op)),
            lambda: itertools.chain(operands(op, named(), shapes), operand_factors(op, named(), shapes)),
            lambda: itertools.chain(terms(op, named(), dead()), factors(op, named(), slopes, FORMS, True)),
            lambda: replaced_factors(op, named(), slopes, FORMS, shapes),
            lambda: itertools.chain(products(op, named(), dead()), triples(op, named(), slopes) if single else ()),
        )

    @functools.cached_property
    def slopes(self):
        return slopes_with([v for v in dict.fromkeys([*self.e.numbers.values(), 0.01, 0.1, 0.2]) if 0 < v < 1])

    def scaled(self, place):
        """Yield a factor at all turns of a place whose own true value is not known."""
        if len(place.ids) > 1 and place.goals != (place.first,):
            for value, said in {**self.known, -1.0: "-1", 2.0: "2", 0.5: "1/2"}.items():
                yield Rule("scaled", f"a factor x {said}", lambda o, v, c=value: c * redone(o, v), 0.45, name=repr(value))

    def deeper(self, op, depth=5):
        """Yield what a product was before some of its factors."""
        waiting, seen = [(op.node, 0, ())], {op.number}
        while waiting:
            node, far, way = waiting.pop()
            if far >= depth or node.name not in ("multiply", "divide", "gather"):
                continue
            for k, p in enumerate(node.parents[: 1 if node.name == "divide" else 2]):
                if p < self.run.start or p in seen:
                    continue
                parent, down = self.run.nodes[p], (*way, k)
                seen.add(p)
                if parent.is_float and parent.value.shape == op.result.shape:
                    if far:
                        yield Rule("deep", f"leave out all factors but {self.sight.name(p)}", lambda o, v, w=down: self.up(o.node, w, v), 0.45, name=str(p))
                    waiting.append((parent, far + 1, down))

    def up(self, node, way, values):
        nodes = values.at.sight.run.nodes
        for k in way:
            node = nodes[node.parents[k]]
        return values[node.id]

    def masked(self, op, named):
        """Yield what was before a part of it was overwritten, times another mask."""
        if op.node.kind != "gather" or not any(self.run.nodes[p].name == "setitem" for p in op.node.parents):
            return
        for k, p in enumerate(op.node.parents):
            if self.run.value(p).shape == op.result.shape and self.run.nodes[p].name != "setitem":
                for name, seen in named().items():
                    if np.shape(seen) == op.result.shape and np.asarray(seen).dtype.kind == "f":
                        yield Rule("compare", f"zero where {name} <= 0", lambda o, v, k=k, n=name: v[o.node.parents[k]] * (look(o, n, v) > 0), 0.4)

    def measured(self, op):
        """Yield the derivatives that were measured in the forward, as factors."""
        nodes, seen = self.run.nodes, set()
        for (a, b), d in self.sight.derivatives.items():
            if not np.ptp(d):
                continue
            ways = [k for k, p in enumerate(op.node.parents[:2]) if op.name in (*base.PRODUCTS, "sum") and p >= self.run.start and d.shape == self.run.value(p).shape]
            for sign in (-1, 1) if ways or d.shape == op.result.shape else ():
                one, two, shift = nodes[a].site, nodes[b].site, nodes[b].turn - sign * op.turn
                if (one, two, sign, shift) in seen:
                    continue
                seen.add((one, two, sign, shift))

                def slope(o, v, x=one, y=two, sign=sign, shift=shift):
                    try:
                        return v.at.slope(x, y, sign * o.turn + shift)
                    except KeyError:  # there is no such turn
                        return 1.0

                name, doubt = f"the derivative that {self.sight.name(b)} has", 0.02 * (sign > 0)
                if d.shape == op.result.shape:
                    yield Rule("slope", f"times {name}", lambda o, v, f=slope: redone(o, v) * f(o, v), 0.45 + doubt, name=name)
                for k in ways:

                    def made(o, v, k=k, f=slope):
                        values = [v[q] for q in o.node.parents]
                        return o.node.compute([*values[:k], values[k] * f(o, v), *values[k + 1 :]])

                    yield Rule("slope", f"operand {k + 1} times {name}", made, 0.5 + doubt, name=name)

    # -- the search

    def found(self, pin: Pin, wide=False):
        """Return the fixes of a pin, the best first."""
        self.met = set()
        places = list(self.places(pin, wide))
        tables = []
        for place in places:
            try:
                tables.append((place, self.phases(place)))
            except BAD:
                continue
        for numbers in ((0,), (1,), (2, 3, 4), (5,)):
            hits = list(self.together(pin, tables)) if numbers == (1,) and not wide else []
            for place, phases in tables:
                for rule in itertools.chain(*(self.safely(phases[n]) for n in numbers)):
                    if time.perf_counter() > self.end:
                        break
                    for form, alpha in self.attempt(place, rule):
                        read = (0.0, 1.0, "") if form == "replace" and alpha == 1.0 else self.read(alpha, form, rule)
                        if read is not None:
                            more, value, said = read
                            hits.append(Fix(rule, self.run.nodes[place.first].site, value, form, frozenset(pin.paths), rule.doubt + more, self.line(place.first), said, place))
            passed = []
            for fix in sorted(hits, key=lambda f: f.doubt)[:16]:
                if len(passed) < MOST and self.holds(fix.place, fix.rule, fix.form, fix.factor):
                    passed.append(fix)
            if passed:
                return passed
        return []

    def together(self, pin, tables):
        """Yield the rewrites that several operations of the segment need at once, all of one kind."""
        alike = {}
        for place, phases in tables:
            for rule in self.safely(phases[0]):
                if place.goals == (pin.first,) and rule.kind in TOGETHER:
                    alike.setdefault((rule.kind, rule.what), {})[place.first] = place, rule
        for some in alike.values():
            if not 2 <= len(some) <= 6 or time.perf_counter() > self.end:
                continue
            rules = {self.run.nodes[i].site: rule for i, (_, rule) in some.items()}
            place, rule = next(iter(some.values()))
            make = lambda o, v, rules=rules: rules[o.node.site].make(o, v)  # noqa: E731
            both = rule._replace(make=make, what=f"{rule.what}, on {len(some)} lines", doubt=rule.doubt + 0.1)
            ids = tuple(sorted(i for p, _ in some.values() for i in p.ids))
            whole = Place(ids, ids[0], (pin.first,), place.truth, pin.paths)
            with np.errstate(all="ignore"):
                try:
                    if not same(self.reached(whole, self.do(both)), whole.truth, 1e-6):
                        continue
                except BAD:
                    continue
            self.sites[id(make)] = set(rules)
            yield Fix(both, self.run.nodes[ids[0]].site, 1.0, "replace", frozenset(pin.paths), both.doubt, self.line(place.first), "", whole)

    def safely(self, table):
        try:
            yield from table()
        except BAD:
            return

    def line(self, i):
        return (self.blame.lines([i]) or [None])[0]


class _Key:
    """A place as a key."""

    def __init__(self, place):
        self.place = place

    def __getattr__(self, name):
        return getattr(self.place, name)

    def __hash__(self):
        return hash((self.place.ids, self.place.goals))

    def __eq__(self, other):
        return (self.place.ids, self.place.goals) == (other.place.ids, other.place.goals)
