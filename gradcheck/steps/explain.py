"""The whole of it for one pair: which line is the first wrong one, why, and every line marked."""

from __future__ import annotations

import functools
import itertools
import linecache
import time
from dataclasses import dataclass, field

import numpy as np

from gradcheck.report import Answers, Explanation, Step, Steps
from gradcheck.trees import leaves
from gradcheck.steps.blame import Blame, Line, Replay
from gradcheck.steps.lapses import Cause, Lapses, claimed_of
from gradcheck.steps.match import Sight, same
from gradcheck.steps.paths import Composition
from gradcheck.steps.search import Search
from gradcheck.steps.run import Run, traced
from gradcheck.steps.words import said

SAID = 0.72  # what is verified on a line is not doubted more
SURE = 0.5  # a repair on a line that is doubted less needs no other explanation
SECONDS = 2.0  # for why
EVERY = 0.6  # doubt of a law that is said first


@dataclass
class Explained:
    """What was found of a backward."""

    run: Run
    sight: Sight
    blame: Blame
    lapses: Lapses
    evidence: object
    notes: list = field(default_factory=list)

    @functools.cached_property
    def lines(self):
        """The lines to blame, and those that compute nothing and could hold the mistake all the same."""
        main, near = set(), set()
        for pin in self.blame.pins:
            some, others = self.blame.blamed(pin)
            main |= set(some)
            near |= set(others)
        order = lambda line: (line.code.co_name, line.number)  # noqa: E731
        return sorted(main, key=order), sorted(near - main, key=order)

    @functools.cached_property
    def second(self):
        return self.lapses.second

    @functools.cached_property
    def causes(self) -> list[Cause]:
        """Why: what explains most first, then the least doubtful."""
        laws = self.laws()
        told = [law for law in laws if len(law.paths) == len(self.evidence.wrong) and law.doubt <= EVERY]
        if told or not self.blame.wrong:
            return sorted(told or laws, key=lambda c: c.doubt)
        found = [*self.lapses.returned()]
        self.search = search = Search(self.blame, self.second, time.perf_counter() + SECONDS)
        parts = Composition(self.blame, search.facts)
        alike = {}
        for pin in self.blame.pins:
            found += self.lapses.missing(pin)
            for cause in (*parts.causes(pin), *search.causes(pin)):
                alike.setdefault((cause.mistake, cause.should), []).append(cause)
        for some in alike.values():
            cause = some[0]
            paths = tuple(sorted(set().union(*(c.paths for c in some))))
            found.append(Cause(0.3 + 0.05 * cause.cost[0], cause.mistake, said(cause), cause.line, paths))
        self.lapses.loops = search.facts.over_time
        told = set().union(*(c.paths for c in found if c.line and c.doubt <= SURE))
        if not told >= set(self.blame.wrong):
            found += [*self.lapses.lapses(), *self.lapses.elsewhen()]
        found += laws
        unlike = {cause.text: cause for cause in reversed(found)}.values()
        return sorted(unlike, key=lambda c: (-len(c.paths), c.doubt))

    def laws(self):
        """What other cotangents, and the numbers themselves, tell of a gradient as a whole."""
        from gradcheck.explanation.suspects import cotangents, numbers, shapes

        e, found = self.evidence, []
        try:
            with np.errstate(all="ignore"):
                for each in itertools.chain(numbers.suspects(e), cotangents.suspects(e)):
                    found.append(Cause(0.7 if "identically zero" in each.sentence else each.doubt, each.mistake, each.sentence, None, tuple(each.arguments)))
                given = {p: e.claimed.get(p, e.misshapen.get(p)) for p in e.wrong}
                for each in shapes._exchanged(e, {p: a for p, a in given.items() if a is not None and np.asarray(a).any()}):
                    found.append(Cause(each.doubt, each.mistake, each.sentence, None, tuple(each.arguments)))
        except Exception as problem:  # noqa: BLE001
            self.notes.append(f"laws: {problem!r}")
        return found


def explain(forward, backward, arguments, evidence, *, seed=0):
    """Return why the gradients of a backward that fails are wrong, and what each of its lines holds."""
    found = explained(forward, backward, arguments, evidence, seed=seed)
    causes = found.causes if evidence.wrong else []
    told = tuple(
        Explanation(c.id or "B6", c.paths, c.text, verified=True, file=c.line.code.co_filename if c.line else "", line=c.line.number if c.line else 0)
        for c in causes[:3]
    )
    return Answers(told, None if told else "no mistake of the catalogue, undone, makes the check pass", listing(found))


def explained(forward, backward, arguments, evidence, *, seed=0) -> Explained:
    (tree,) = evidence.cotangents([evidence.flat_cotangent])
    bars = [np.asarray(bar) for _, bar in leaves(tree, "out")]
    run = traced(forward, backward, arguments, [np.ones(bars[0].shape)] if len(bars) == 1 and bars[0].size == 1 else bars, seed=seed)
    blame = Blame(Sight(run))
    return Explained(run, blame.sight, blame, Lapses(blame, forward, backward, seed), evidence)


def listing(found: Explained) -> Steps:
    """Return every line of the backward that computes something, or feeds a line that is to blame."""
    run, sight = found.run, found.sight
    main, near = found.lines
    by_line = {}
    for node in run.nodes[run.start :]:
        line = Line.of(node.site.frames)
        if line is not None and node.is_float and node.kind != "const":
            by_line.setdefault(line, []).append(node)
    steps = []
    goals = {Line.of(run.nodes[p.first].site.frames): p.of[p.nodes.index(p.first)] for p in found.blame.pins}
    for line in sorted({*by_line, *main, *near}, key=lambda l: (l.code.co_filename, l.code.co_firstlineno, l.number)):
        nodes = by_line.get(line, [])
        last = nodes[-1] if nodes else None
        match = sight.verified.get(last.id) if last else None
        carries = any(n.id in sight.carrying for n in nodes)
        if line in main:
            verdict, of = "wrong", sight.name(goals[line]) if line in goals else None
        elif match is not None and match.kind != "slope":
            verdict, of = "right", sight.name(match.nodes[0])
        elif carries:
            verdict, of = "unreached", None
        else:
            verdict, of = "auxiliary", None
        source = linecache.getline(line.code.co_filename, line.number).strip() or None
        names = ", ".join(dict.fromkeys(n.name for n in nodes))
        steps.append(Step(line.code.co_filename, line.number, line.code.co_name, source, names, of, verdict))
    return Steps(steps)
