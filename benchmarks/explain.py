"""What a failed check says of the mistake: the right name, a wrong one, or none; and which entries it calls wrong.

    python -m benchmarks.explain                           every planted mistake at three draws of sizes
    python -m benchmarks.explain --strangers               backwards with a mistake as strangers write them
    python -m benchmarks.explain --only "conv/*" --every 3 some of them
    python -m benchmarks.explain --replay "NAME" --seed S  one of them: its report, and how it was scored

A case (explain_cases.py) is a backward with one mistake, whose class a teacher would name; it is examined with its
source at hand, as in a notebook, and without, as in a grader. Counted are the cases that the inputs can reveal: the
wrong gradients differ from the right ones by more than 1e-6 of the norm of some argument's. Of these,

    first        the first explanation is the right class, or one that is honestly the same thing
    listed       it is among the others
    wrong        the first explanation is verified, and another class
    unverified   the first explanation is another class, and not verified
    none         there is no explanation

"Arguments" are named exactly if those that fail are those that are wrong; "entries" are located exactly if the regions
of an argument hold each entry that is wrong by more than 1e-6 of the gradient's norm, and none that is right. Times are
those of the process, for a failing check and for the passing one of the right backward at the same point, each until
the explanations of its report are read. Calls of the forward are those of the check alone.

Exits 1 if too few cases are named rightly, too many wrongly, or a report costs too much: ``LIMITS`` below.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its BLAS: one core for each process
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from benchmarks.explain_cases import Case, Pair, Truth, planted_cases, strangers_cases, truth_of
from gradcheck import Report, Verdict, examine_backward
from gradcheck.mistakes import CATALOGUE
from gradcheck.verdict import judge
from gradcheck.verdict.locate import Location

SCORES = ("first", "listed", "wrong", "unverified", "none")
PATIENCE = 30.0  # seconds between two lines of progress
LARGE = 500  # entries of all arguments, from which on what a failing check costs is compared with a passing one
LIMITS = (  # the name of a figure, its limit, and whether it is a least one
    ("first", 0.90, True),
    ("wrong", 0.01, False),
    ("arguments", 1.0, True),
    ("entries", 0.95, True),
    ("ratio", 30.0, False),
    ("lenet5", 3.0, False),
    ("raised", 0.0, False),
)


class Outcome(NamedTuple):
    """What one examination said; the costs are of the failing check and of the passing one beside it.

    ``seconds`` hold what reading the explanations takes, ``evaluations`` are those of the check alone.
    """

    name: str
    group: str
    draw: str
    source: bool
    ids: tuple[str, ...]
    said: tuple[tuple[str, bool], ...]
    revealed: bool
    arguments: bool
    located: tuple[int, int]
    size: int
    seconds: tuple[float, float]
    evaluations: tuple[int, int]
    raised: str | None = None

    @property
    def score(self) -> str:
        """How good the explanation is, one of ``SCORES``."""
        if not self.said:
            return "none"
        names = [name for name, _ in self.said]
        if names[0] in self.ids:
            return "first"
        if set(names) & set(self.ids):
            return "listed" if not self.said[0][1] else "wrong"
        return "wrong" if self.said[0][1] else "unverified"


# -- one case


def examine(case: Case, seed: int) -> tuple[Outcome, Report | None]:
    """Return what is said of a case, and the report."""
    pair = case.make(seed)
    truth = truth_of(pair, seed)
    found: dict[str, Location] = {}
    spent, report, raised = 0.0, None, None
    passing = min((_timed(pair.forward, pair.right, pair, seed) for _ in range(2)), key=lambda timed: timed[0])
    try:
        with _noted(found):
            spent, report = _timed(pair.forward, pair.wrong, pair, seed)
    except Exception as error:  # noqa: BLE001  (a report that dies is what this bench is there to find)
        raised = f"{type(error).__name__}: {error}".splitlines()[0]
    outcome = Outcome(
        case.name,
        case.group,
        case.draw,
        case.source,
        case.ids,
        tuple((each.mistake, each.verified) for each in report.explanations) if report is not None else (),
        bool(truth.revealed),
        report is not None and named_exactly(report, truth),
        located_exactly(found, truth),
        truth.size,
        (spent, passing[0]),
        (0 if report is None else report.evaluations, passing[1].evaluations),
        raised,
    )
    return outcome, report


def named_exactly(report: Report, truth: Truth) -> bool:
    """Whether the arguments that fail are those that are wrong; one that is wrong by next to nothing may be either."""
    failed = {path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL}
    return truth.revealed <= failed <= truth.changed


def located_exactly(found: dict[str, Location], truth: Truth) -> tuple[int, int]:
    """Return in how many arguments the wrong entries are located exactly, and in how many there are any to locate."""
    exact = 0
    for path, (must, may) in truth.entries.items():
        location = found.get(path)
        if location is None or any(region.startswith("some entries") for region in location.regions):
            continue
        exact += bool((location.mask >= must).all() and (location.mask <= may).all())
    return exact, len(truth.entries)


class _noted:
    """While it is open, what the check locates is noted by path; what it is asked for again, only the first time."""

    def __init__(self, found: dict[str, Location]) -> None:
        self.found = found

    def __enter__(self) -> None:
        self.locate = locate = judge.locate

        def noting(case: Any, leaf: int) -> Location:
            return self.found.setdefault(case.layout.paths[leaf], locate(case, leaf))

        judge.locate = noting

    def __exit__(self, *_: object) -> None:
        judge.locate = self.locate


def _timed(forward: Any, backward: Any, pair: Pair, seed: int) -> tuple[float, Report]:
    start = time.process_time()
    report = examine_backward(forward, backward, pair.args, wrt=pair.wrt, seed=seed)
    _ = report.explanations  # which are found when they are first read
    return time.process_time() - start, report


# -- figures


def figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the figures of some outcomes; shares are of the cases that the inputs reveal, NaN where there are none."""
    seen = [outcome for outcome in outcomes if outcome.revealed]
    share = {score: _share(outcome.score == score for outcome in seen) for score in SCORES}
    share["arguments"] = _share(outcome.arguments for outcome in seen)
    share["entries"] = _ratio(sum(o.located[0] for o in seen), sum(o.located[1] for o in seen))
    large = [o for o in seen if o.size >= LARGE]
    return share | {
        "cases": len(outcomes),
        "revealed": len(seen),
        "not revealed": len(outcomes) - len(seen),
        "raised": sum(outcome.raised is not None for outcome in outcomes),
        "ratio": _median(o.seconds[0] / o.seconds[1] for o in large if o.seconds[1]),
        "evaluations": _median(o.evaluations[0] / o.evaluations[1] for o in seen if o.evaluations[1]),
        "seconds": _median(o.seconds[0] for o in seen),
        "lenet5": _median(o.seconds[0] for o in seen if o.group == "lenet5"),
    }


def unmet(found: dict[str, float]) -> list[str]:
    """Return the figures that miss their limits, a sentence each; what could not be measured misses none."""
    return [
        f"{name} must be {'at least' if least else 'at most'} {limit:g}, but is {found[name]:.3g}"
        for name, limit, least in LIMITS
        if (found[name] < limit if least else found[name] > limit)
    ]


def _share(truths: Iterable[bool]) -> float:
    told = list(truths)
    return _ratio(sum(told), len(told))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values) or [float("nan")])


# -- tables


def table(outcomes: Sequence[Outcome], key: Callable[[Outcome], str], title: str) -> str:
    """Return a Markdown table with one line for each value of ``key``, and one for all."""
    columns = (*SCORES, "arguments", "entries")
    head = f"| {title} | cases | revealed | not revealed | {' | '.join(columns)} | evaluations | s |"
    rows = [head, "|---|" + "---:|" * (head.count("|") - 2)]
    groups = {value: [o for o in outcomes if key(o) == value] for value in sorted({key(o) for o in outcomes})}
    for name, some in [*groups.items(), ("**all**", list(outcomes))]:
        found = figures(some)
        counts = f"{found['cases']} | {found['revealed']} | {found['not revealed']}"
        shares = " | ".join(_percent(found[column]) for column in columns)
        rows.append(f"| {name} | {counts} | {shares} | ×{found['evaluations']:.3g} | {found['seconds']:.2g} |")
    return "\n".join(rows)


def lapses(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes that must not be, a line each: wrong classes, arguments and what raised."""
    lines = []
    for outcome in outcomes:
        said = ", ".join(name if verified else f"{name}?" for name, verified in outcome.said) or "nothing"
        what = [f"RAISED {outcome.raised}"] if outcome.raised else []
        if outcome.revealed and outcome.score == "wrong":
            what.append(f"WRONG: said {said}, is {' or '.join(outcome.ids)}")
        if outcome.revealed and not outcome.arguments and not outcome.raised:
            what.append("ARGUMENTS not named exactly")
        lines += [f"{outcome.name}   # {'; '.join(what)}"] if what else []
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "" if share != share else f"{100 * share:.0f} %"  # noqa: PLR0124  (NaN: there was none to be counted)


def _class_of(outcome: Outcome) -> str:
    return f"{outcome.ids[0]} {CATALOGUE[outcome.ids[0]].name}"


def _mode_of(outcome: Outcome) -> str:
    return f"{outcome.draw}, {'source' if outcome.source else 'no source'}"


# -- the command


def run(work: tuple[bool, str, int]) -> Outcome:
    """Examine one case, by its name; a unit of work for one process."""
    strangers, name, seed = work
    return examine(cases(strangers=strangers)[name], seed)[0]


def _deaf_to_interrupts() -> None:
    """Leave an interrupt, which reaches every process of a terminal, to the one that prints what there is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def cases(*, strangers: bool = False) -> dict[str, Case]:
    """Return all cases by name."""
    return {case.name: case for case in (strangers_cases() if strangers else planted_cases())}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench and return its exit code."""
    options = _parser().parse_args(argv)
    if options.replay:
        return _replay(options)
    if options.every < 1:
        raise SystemExit(f"--every must be at least 1, but is {options.every}. Leave it out for all cases.")
    every = cases(strangers=options.strangers)
    chosen = [name for name in every if fnmatch.fnmatch(name, options.only)][:: options.every]
    if not chosen:
        raise SystemExit(f"--only must match the name of a case, but {options.only!r} matches none. Try '*'.")
    work = [(options.strangers, name, options.seed) for name in chosen]
    start = time.perf_counter()
    if options.workers > 1:
        pool = ProcessPoolExecutor(options.workers, get_context("spawn"), initializer=_deaf_to_interrupts)
        outcomes = _watched(pool.map(run, work, chunksize=4), len(work))
        pool.shutdown(wait=False, cancel_futures=True)  # what is under way must not keep back what there is
    else:
        outcomes = _watched(map(run, work), len(work))
    seconds = time.perf_counter() - start
    for key, title in ((_class_of, "class"), (lambda o: o.group, "derivation"), (_mode_of, "mode")):
        print(f"{table(outcomes, key, title)}\n")
    print(lapses(outcomes))
    total = figures(outcomes)
    missed = unmet(total)
    print(f"\n{len(outcomes)} examinations, {seconds:.0f} s, seed {options.seed}", *missed, sep="\n")
    if options.json:
        told = {"seed": options.seed, "seconds": seconds, "figures": total, "unmet": missed}
        told["outcomes"] = [outcome._asdict() | {"score": outcome.score} for outcome in outcomes]
        options.json.write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
    return int(bool(missed))


def _watched(outcomes: Iterable[Outcome], number: int) -> list[Outcome]:
    """Return all outcomes, or those that there are when somebody interrupts; say now and then how many there are."""
    found, told = [], time.monotonic()
    try:
        for outcome in outcomes:
            found.append(outcome)
            if time.monotonic() > told + PATIENCE:
                told = time.monotonic()
                print(f"{len(found)} of {number}: {outcome.name}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"interrupted after {len(found)} of {number}", file=sys.stderr)
    return found


def _replay(options: argparse.Namespace) -> int:
    every = cases(strangers=options.strangers)
    if options.replay not in every:
        raise SystemExit(f"--replay must name a case, but {options.replay!r} is none. List them by --json.")
    outcome, report = examine(every[options.replay], options.seed)
    print(outcome.raised or report, f"\n{outcome.name}: {outcome.score}, is {' or '.join(outcome.ids)}", sep="\n")
    return int(outcome.raised is not None or outcome.score == "wrong")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explain", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of all points and checks (default 0)")
    parser.add_argument("--workers", type=int, default=2, help="how many processes (default 2)")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names of cases, with wildcards (default all)")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only every K-th of these cases")
    parser.add_argument("--strangers", action="store_true", help="the strangers' cases instead of the planted ones")
    parser.add_argument("--replay", metavar="NAME", help="examine one case and print its report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every outcome")
    return parser


if __name__ == "__main__":
    sys.exit(main())
