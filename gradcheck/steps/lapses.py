"""One step of the forward differentiated wrongly, and what comes back in a wrong place or shape: no line is needed."""

from __future__ import annotations

import functools
import itertools
import math
import time
from typing import NamedTuple

import numpy as np

from gradcheck.steps.blame import Blame, Line, Pin, Replay
from gradcheck.steps.match import Sight, same
from gradcheck.steps.rewrites.sums import subsets
from gradcheck.steps.run import traced
from gradcheck.steps.truth import adjoint, by_element, slope_by_element, unbroadcast

PATIENCE = 2.0
LAPSE = 0.75
LINEAR = {"add", "subtract", "negative", "multiply", "divide"}
NUMBERS = {-1.0: ("-1", "A1"), 2.0: ("2", "A4"), 0.5: ("1/2", "A4")}


class Cause(NamedTuple):
    """Why some gradients are wrong, verified at two points."""

    doubt: float
    id: str
    text: str
    line: Line | None
    paths: tuple[str, ...]


def claimed_of(run):
    """Return what the backward of a run returned, of a wrong shape or not."""
    return {p: run.value(i) if i >= 0 else run.claimed[p] for p, i in run.results.items()}


class Lapses:
    """What can be told from the sweep back over the forward alone."""

    def __init__(self, blame: Blame, forward, backward, seed=0):
        self.blame, self.sight, self.run, self.replay = blame, blame.sight, blame.run, blame.replay
        self.forward, self.backward, self.seed = forward, backward, seed
        self.until = None
        self.right = set(self.run.results) - set(blame.wrong)
        self.reruns = self.sweeps = 0
        self.loops = False

    def returned(self):
        """Yield what is wrong with a returned value that is right but for its place, its shape or its precision."""
        leaves = {i: path for path, i in self.run.leaf.items()}
        for path in self.blame.wrong:
            value, truth = np.asarray(claimed_of(self.run)[path]), self.sight.truth(path)
            match = self.sight.verified.get(self.run.results[path])
            if match and match.kind == "cotangent" and leaves.get(match.nodes[0], path) != path:
                swapped = sum(bool((m := self.sight.verified.get(self.run.results[p])) and m.kind == "cotangent" and leaves.get(m.nodes[0], p) != p) for p in self.blame.wrong)
                yield Cause(0.1 if swapped > 1 else 0.45, "B5", f"what is returned for {path} is the gradient of {leaves[match.nodes[0]]}", None, (path,))
            elif value.size == truth.size and same(value, truth, 1e-6):
                yield Cause(0.1, "B2", f"the shape of what is returned for {path} must be {truth.shape}", None, (path,))
            elif value.size == truth.size and same(value, truth, 1e-2) and value.dtype != truth.dtype:
                yield Cause(0.1, "H3", f"what is returned for {path} is of dtype {value.dtype}", None, (path,))
            for axes in list(itertools.permutations(range(value.ndim)))[1:] if value.size == truth.size and value.ndim <= 4 else ():
                if value.transpose(axes).shape == truth.shape and same(value.transpose(axes), truth, 1e-6):
                    yield Cause(0.15, "B1", f"the axes of what is returned for {path} must be in the order {axes}", None, (path,))
            if value.ndim == truth.ndim and value.size > truth.size and all(m >= n for m, n in zip(value.shape, truth.shape)):
                for start in itertools.islice(itertools.product(*(range(m - n + 1) for m, n in zip(value.shape, truth.shape))), 64):
                    if same(value[tuple(slice(s, s + n) for s, n in zip(start, truth.shape))], truth, 1e-6):
                        yield Cause(0.15, "F3", f"what is returned for {path} must be cut, from {start} on", None, (path,))
            for axes in subsets(value.ndim) if value.size > truth.size else ():
                if same(value.sum(axis=axes), truth, 1e-6):
                    yield Cause(0.4, "B3", f"what is returned for {path} must be summed over axis {axes}", None, (path,))

    def missing(self, pin):
        """Yield the derivative that is missing after what the backward was given."""
        if self.run.nodes[pin.first].kind != "leaf":
            return
        for (a, b), d in self.sight.derivatives.items():
            if np.ptp(d) and d.size == pin.truths[0].size == self.run.value(pin.first).size and same(d * self.run.value(pin.first).reshape(d.shape), pin.truths[0], 1e-6):
                name = self.sight.name(b)
                mask = len(np.unique(d)) == 2 and d.min() == 0 and self.run.nodes[b].name in LINEAR
                yield Cause(0.5, "E5" if mask else "C1", f"dout must be multiplied by the derivative that {name} has", None, pin.paths)
                return

    @functools.cached_property
    def second(self) -> Replay | None:
        """The same backward at another point; None where the forward has no value."""
        arguments, rng = self.run.arguments, np.random.default_rng((self.seed, 11))
        for size in (0.5, 0.05):
            point = arguments.point
            point = point + size * np.sqrt(np.mean(point**2)) * rng.standard_normal(point.size)
            try:
                sight = Sight(traced(self.forward, self.backward, arguments.moved(point), seed=self.seed + 1))
            except Exception:  # noqa: BLE001  (the forward may refuse the point)
                continue
            if all(np.isfinite(bar).all() for bar in sight.bars.nodes.values()):
                return Replay(sight)
        return None

    def label(self, i, kind):
        name = self.sight.name(i)
        return {"value": name, "slope": f"the derivative that {name} has"}.get(kind[0], f"operand {kind[-1]} of {name}")

    @functools.cached_property
    def numbers(self):
        """Numbers that could be a factor, what they are called, and the class of the mistake."""
        found = dict(NUMBERS)
        for path, i in self.run.leaf.items():
            for axis, n in enumerate(self.run.value(i).shape):
                if n > 1:
                    found.setdefault(float(n), (f"{path}.shape[{axis}]", "A2"))
                    found.setdefault(1.0 / n, (f"1/{path}.shape[{axis}]", "A2"))
        for node in self.run.nodes[: self.run.start]:
            for each in (*node.args, *node.kwargs.values()):
                if isinstance(each, int | float | np.number) and not isinstance(each, bool) and each and math.isfinite(each):
                    where = f"the {each:.4g} of line {node.site.line} of the forward"
                    found.setdefault(float(each), (where, "A5"))
                    found.setdefault(1.0 / float(each), (f"1/{where}", "A5"))
        return {c: name for c, name in found.items() if c != 1}

    def named(self, c):
        """Return the name of a factor and the class of the mistake that leaves it out."""
        for number, found in self.numbers.items():
            if math.isclose(c, number, rel_tol=1e-6):
                return found
        for (a, (x, _)), (b, (y, _)) in itertools.combinations(self.numbers.items(), 2):
            if math.isclose(c, a * b, rel_tol=1e-6):
                return f"{x} times {y}", "A2"
        return f"{c:.6g}", "A4"

    def elsewhen(self):
        """Yield the states that the backward takes from another step throughout."""
        run, nodes = self.run, self.run.nodes
        for get, site, n, i, kind in [p for some in self.places.values() for p in some if p[4][0] == "used"]:
            k = kind[1] - 1
            before = [nodes[run.tape.at[site, t]].parents[k] for t in range(n)]  # the state before each step
            states = [*before, *(m.id for m in nodes[: run.start] if m.site == nodes[before[1]].site and m.id > before[-1])]
            for by in (-1, 1):
                def shifted(replay):
                    own = replay.run.tape.at
                    ids = [own[nodes[s].site, nodes[s].turn] for s in states]
                    moved = {ids[j]: replay.run.value(ids[j + by]) for j in range(len(ids)) if 0 <= j + by < len(ids)}
                    new = replay.again({s: v for s, v in moved.items() if s in replay.children})
                    return new is not None and replay.rights(new) >= self.right | set(self.blame.wrong)

                if time.perf_counter() < self.until and shifted(self.replay) and (self.second is None or shifted(self.second)):
                    text = f"{self.sight.name(before[1])}: the state of the step {'before' if by < 0 else 'after'} is needed"
                    yield Cause(0.2, "G3", text, None, tuple(self.blame.wrong))

    def lapses(self):
        """Yield the steps of the forward that, differentiated wrongly, give exactly what is claimed."""
        run, sight, edges = self.run, self.sight, {}
        self.until = time.perf_counter() + PATIENCE
        claimed = claimed_of(run)
        if not self.blame.wrong or any(np.shape(g) != sight.truth(p).shape for p, g in claimed.items()):
            return
        for i, k in sight.bars.edges:
            if run.nodes[i].kind == "op" and set(self.blame.wrong) <= self.blame.reaching.get(run.nodes[i].parents[k], set()):
                edges.setdefault((run.nodes[i].site, k), i)
        ways = [(None, way) for way in self.whole_turns()]
        ways += [(i, way) for (site, k), i in edges.items() for way in self.wrongly(site, k, run.nodes[i], claimed)]
        for i, (id_, text, change) in ways:
            if time.perf_counter() > self.until:
                return
            if self.gives(sight, change, claimed) and (self.second is None or self.gives(self.second.sight, change)):
                where = f"line {run.nodes[i].site.line} of the forward, {run.nodes[i].name}: " if i is not None else ""
                yield Cause(LAPSE + 0.02 * ("missing" not in text) + 0.1 * ("derivative" in text and by_element(run.nodes[i]) and run.nodes[i].name in LINEAR), id_, where + text, None, tuple(self.blame.wrong))

    def gives(self, sight, change, claimed=None):
        """Whether a sweep back with a lapse gives what is claimed."""
        self.sweeps += 1
        try:
            bars = adjoint(sight.run, sight.pulls, change).nodes
        except (IndexError, ValueError):  # another turn of the place has other operands
            return False
        for path, g in (claimed or claimed_of(sight.run)).items():
            bar = bars.get(sight.run.leaf[path], 0.0)
            if not (same(bar, g, 1e-6) if np.any(bar) else not np.any(g)):
                return False
        return True

    def whole_turns(self):
        turns = self.run.tape.turns
        if any(turns[n.site] > 1 for n in self.run.nodes[: self.run.start]):
            for last, what in ((False, "first"), (True, "last")):
                yield "G2", f"the {what} turn of the loop is missing", lambda n, j, bar, part, last=last: (
                    None if turns.get(n.site, 0) > 1 and n.turn == (turns[n.site] if last else 0) else part)

    def wrongly(self, site, k, node, claimed):
        """Yield how operand k of a step of the forward can be differentiated wrongly."""
        turns, values = self.run.tape.turns[site], [self.run.value(p) for p in node.parents]

        def where(change):
            return lambda n, j, bar, part: change(n, bar, part) if j == k and n.site == site else part

        cut = where(lambda n, bar, part: None)
        yield "G1" if turns else "C8", f"its path to operand {k + 1} is missing", cut
        if not turns:
            c = self.share(cut, claimed)
            if c is not None:
                name, id_ = self.named(c)
                yield id_, f"its path to operand {k + 1} is there {name} times", where(lambda n, bar, part: c * part)
        else:
            yield "A1", f"the sign of its path to operand {k + 1} is wrong", where(lambda n, bar, part: -part)
            for turn, what in ((0, "first"), (turns, "last")):
                yield "G2", f"its {what} turn is missing", where(lambda n, bar, part, t=turn: None if n.turn == t else part)
                yield "G1" if self.loops and self.run.nodes[node.parents[k]].kind != "leaf" else "E1", f"only its {what} turn is there", where(lambda n, bar, part, t=turn: None if n.turn != t else part)
        if node.name in ("sum", "mean") and np.size(node.value):
            yield "A2", f"it is taken for a {'sum' if node.name == 'mean' else 'mean'}", where(
                lambda n, bar, part: part * (part.size / bar.size) ** (1 if node.name == "mean" else -1))
        if by_element(node):
            yield "C1", f"its derivative by operand {k + 1} is missing", where(lambda n, bar, part: unbroadcast(bar, part.shape))
            if len(values) == 1:
                yield "C3", "its derivative is there twice", where(
                    lambda n, bar, part: np.divide(part * part, bar, out=np.zeros_like(part), where=bar != 0))
                yield "C2", "its derivative is taken at its result", where(
                    lambda n, bar, part: bar * slope_by_element(n, 0, [n.value]))

    def share(self, cut, claimed):
        """Return the factor that a path must have for what is claimed to come out, None if there is none."""
        self.sweeps += 1
        bars = adjoint(self.run, self.sight.pulls, cut).nodes
        shares = []
        for path in self.blame.wrong:
            part = self.sight.truth(path) - bars.get(self.run.leaf[path], 0.0)
            off = np.reshape(claimed[path], part.shape) - self.sight.truth(path)
            shares += [float((off * part).sum()) / size] if (size := float((part * part).sum())) else []
        return 1 + shares[0] if shares and abs(shares[0] + 1) > 1e-6 and np.ptp(shares) < 1e-5 * abs(shares[0]) else None

    @functools.cached_property
    def places(self):
        """The places of both passes that make or use numbers, by their shape: those with a name first."""
        nodes, turns, found = self.run.nodes, self.run.tape.turns, {}
        order = sorted(nodes, key=lambda n: (n.id < self.run.start, not n.site.variable, n.id))
        for node in order:
            if node.turn or not isinstance(node.value, np.ndarray) or node.value.dtype.kind not in "fb" or node.kind == "const":
                continue
            site, n = node.site, turns[node.site] + 1
            if len(site.frames) or node.kind == "leaf":
                found.setdefault(node.value.shape, []).append(
                    (lambda at, turn, s=site: at.made(s, turn), site, n, node.id, ("value",)))
            for k, p in enumerate(node.parents) if n > 1 and node.id < self.run.start else ():
                again = nodes[self.run.tape.at[site, 1]].parents
                if p >= 0 and len(again) > k and nodes[p].site != nodes[again[k]].site:  # such as the state before
                    found.setdefault(nodes[p].value.shape, []).append(
                        (lambda at, turn, s=site, k=k: at.used(s, turn, k), site, n, node.id, ("used", k + 1)))
        for (a, b), d in self.sight.derivatives.items():
            if nodes[b].turn == 0 and np.ptp(d):
                one, two = nodes[a].site, nodes[b].site
                found.setdefault(d.shape, []).insert(0, (
                    lambda at, turn, one=one, two=two: at.slope(one, two, turn), two, turns[two] + 1, b, ("slope", a)))
        return found

