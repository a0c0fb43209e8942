"""What a failing report says of the mistake: the line that is wrong, why, and how long a person waits for it.

    python -m benchmarks.steps                      backwards with a mistake as strangers write them (tests/strangers)
    python -m benchmarks.steps --set planted        planted mistakes in the derivations
    python -m benchmarks.steps --set PATH.py        the ``CASES`` of a file, such as those of first contacts in contact/
    python -m benchmarks.steps --only "conv*" -v    some of them, each with what was said
    python -m benchmarks.steps --strip              no source text can be found of any

Counted, of the cases whose check fails:

    where       the true line is among those that are marked wrong, and how many these are (median)
    fed         or it is among the lines that compute nothing and feed them
    class       the first explanation names the class of the mistake, or one that is honestly the same thing
    line        or it speaks of the true line
    misleading  it does neither
    nothing     there is no explanation
    seconds     what reading the report takes beyond the check (median, mean, largest)
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import linecache
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.steps_cases import planted_cases
from gradcheck import Report, Verdict, examine_backward
from tests.mutants.mistake import PLANTED
from tests.strangers import CASES


class Outcome(NamedTuple):
    """What was said of a case."""

    name: str
    ids: tuple[str, ...]
    where: bool | None  # None: the line is not known
    fed: bool | None
    blamed: int
    score: str
    seconds: float
    report: Report


def score(report: Report, ids: tuple[str, ...], seconds: float, name: str) -> Outcome:
    """Return how good a report is."""
    wrong = {(s.file, s.line) for s in report.steps if s.verdict == "wrong"}
    fed = {(s.file, s.line) for s in report.steps if s.verdict == "auxiliary"}
    true = {(file, line) for file in {s.file for s in report.steps} for line in PLANTED.get(file, ())}
    said = "nothing"
    if report.explanations:
        first = report.explanations[0]
        right_line = (first.file, first.line) in true
        said = "class" if first.mistake in ids else "line" if right_line else "misleading"
        if said == "class" and right_line:
            said = "class and line"
    known = bool(true) or not report.steps
    where, near = (bool(true & wrong), bool(true & (wrong | fed))) if known else (None, None)
    return Outcome(name, ids, where, near, len(wrong), said, seconds, report)


def examine(name: str, ids: tuple[str, ...], forward: Any, backward: Any, args: Any, wrt: Any = None) -> Outcome | None:
    """Return what is said of a case; None if its check does not fail."""
    report = examine_backward(forward, backward, args, wrt=wrt, seed=0)
    if report.verdict is not Verdict.FAIL:
        return None
    start = time.perf_counter()
    _ = report.answers
    return score(report, ids, time.perf_counter() - start, name)


def cases(which: str) -> Any:
    """Yield (name, ids, forward, backward, args, wrt) of a set."""
    if which == "planted":
        for case in planted_cases(("generic",)):
            if not case.source:
                pair = case.make(0)
                yield case.name, case.ids, pair.forward, pair.wrong, pair.args, pair.wrt
        return
    found = CASES
    if which != "strangers":
        spec = importlib.util.spec_from_file_location(Path(which).stem, which)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        found = module.CASES
    for case in found:
        args = case.args(np.random.default_rng(0))
        yield case.name, (case.mistake, *case.also), case.forward, case.backward, args, None


def told(outcome: Outcome) -> str:
    """Return a line about one case."""
    where = "where" if outcome.where else "fed" if outcome.fed else "ELSEWHERE"
    first = next(iter(outcome.report.explanations), None)
    said = f"{first.mistake}: {first.sentence}" if first else outcome.report.silence
    return f"{outcome.name} [{','.join(outcome.ids)}]: {where} {outcome.score}; {outcome.seconds:.2f} s; {said}"


def summary(found: list[Outcome]) -> str:
    """Return the figures of some cases."""
    n, counts = len(found), Counter(outcome.score for outcome in found)
    classed = counts["class"] + counts["class and line"]
    seconds = [outcome.seconds for outcome in found]

    def share(count: int) -> str:
        return f"{count} ({count / n:.1%})"

    known = [o for o in found if o.where is not None]
    where, fed = (
        sum(map(bool, some)) / max(len(known), 1) for some in ([o.where for o in known], [o.fed for o in known])
    )
    return (
        f"{n} cases: where {where:.1%} of {len(known)}, median "
        f"{statistics.median(o.blamed for o in known)} lines; with feeders {fed:.1%}\n"
        f"class {share(classed)}, of these with the line {counts['class and line']}; class or line "
        f"{share(classed + counts['line'])}; misleading {share(counts['misleading'])}; nothing {counts['nothing']}\n"
        f"seconds: median {statistics.median(seconds):.3f}, mean {statistics.mean(seconds):.3f}, "
        f"largest {max(seconds):.2f}"
    )


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="strangers")
    parser.add_argument("--only", default="*")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--strip", action="store_true")
    parser.add_argument("-v", action="count", default=0)
    given = parser.parse_args()
    found: list[Outcome] = []
    some = [c for c in cases(given.set) if fnmatch.fnmatch(c[0], given.only)][:: given.every]
    if given.strip:
        for file in PLANTED:
            linecache.cache.pop(file, None)
    for case in some:
        outcome = examine(*case)
        if outcome is None:
            print(f"{case[0]}: does not fail")
            continue
        found.append(outcome)
        amiss = outcome.score in ("misleading", "nothing") or outcome.where is False
        if given.v > 1 or (given.v and amiss):
            print(told(outcome), flush=True)
    print(summary(found))


if __name__ == "__main__":
    main()
