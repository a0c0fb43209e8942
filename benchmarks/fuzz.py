"""Every public entry of the library, called with what nobody expects: is each outcome one that a user can live with?

    python -m benchmarks.fuzz                    3,000 cases, a few minutes on one core
    python -m benchmarks.fuzz --cases 300        the first of them
    python -m benchmarks.fuzz --only 1234        one case, in full

A case is made from its number alone: a random function (benchmarks/fuzzing/functions.py, adapted.py), an entry
(entries.py) and up to two changes (changes.py) of arguments, settings, and of what the functions do. Its
outcome has to be one of these:

a verdict          a report or its like, which can be shown, pickled, and written as strict JSON
a clear error      raised on purpose, of the form "<who> must <rule>, but <what came>"
the user's own     an exception that his functions raised, with the note that says in which call

Anything else is a fault: an exception on the house's own behalf, more than 20 s of the processor, global state or an
argument that is not as it was, an outcome that a test runner takes for no failure, a pass of a backward that was never
called, that gave NaN, or that is wrong, a failure of one that is right. Exits 1 if there is one.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

import gradcheck
from benchmarks.fuzzing import outcome
from benchmarks.fuzzing.case import Case
from benchmarks.fuzzing.entries import make

CASES = 3000
CONSOLES = 10  # one case of so many is printed on consoles that cannot show every sign
SECONDS = 20.0  # of the processor, after which a case hangs


class Result(NamedTuple):
    """What came of one case; ``fault`` is empty where it is one that a user can live with."""

    seed: int
    entry: str
    did: str
    kind: str
    fault: str
    detail: str
    seconds: float


class Hung(BaseException):
    """A case takes too long; no ``except Exception`` of a check takes it for the user's."""


def play(seed: int) -> Result:
    """Play one case and judge its outcome."""
    case, call = make(seed)
    did = "; ".join(case.labels) or "nothing odd"
    before, given, started = outcome.state(), outcome.snapshot(case.args), time.process_time()
    value, problem = None, None
    try:
        with _at_most(SECONDS), _ambient(case):
            value = _answer(call)
            outcome.render(value, consoles=case.seed % CONSOLES == 0)
    except BaseException as error:  # noqa: BLE001  (whatever it is, it is the outcome of this case)
        problem = error
    seconds = time.process_time() - started
    kind, fault, detail = _judged(case, value, problem)
    changed = outcome.changes(before, outcome.state())
    if seconds > SECONDS:
        fault, detail = "hangs", f"{seconds:.0f} s"
    elif not fault and changed:
        fault, detail = "global state changed", ", ".join(changed)
        outcome.restore(before)
    elif not fault and not outcome.same(given, outcome.snapshot(case.args)):
        fault, detail = "an argument changed", ""
    return Result(seed, case.entry, did, kind, fault, detail, seconds)


def _answer(call: Callable[[], Any]) -> Any:
    """Return what an entry returns, or the report that it raises."""
    try:
        return call()
    except gradcheck.GradientError as verdict:
        return verdict.report


def _judged(case: Case, value: Any, problem: BaseException | None) -> tuple[str, str, str]:
    """Return the kind of an outcome, what is wrong with it, and where that comes from."""
    if problem is None:
        kind = outcome.kind_of(value)
        return kind, outcome.untrue(case, value), ""
    return outcome.of_exception(case, problem)


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise Hung after so many seconds of the processor, and again until it gets out."""

    def stop(_signal: int, _frame: object) -> None:
        raise Hung(f"more than {seconds:.0f} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 5.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _ambient(case: Case) -> Iterator[None]:
    """Run a case where its user lives: with warnings that are errors, or floating-point errors that raise."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        strict = case.ambient in ("warnings are errors", "both")
        warnings.simplefilter("error" if strict else "ignore")
        if case.ambient in ("floating-point errors raise", "both"):
            stack.enter_context(np.errstate(all="raise"))
        yield


def causes(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Return the faults, those of one cause together, the most frequent first."""
    grouped: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.fault:
            grouped.setdefault((result.fault, result.detail.partition("\n")[0]), []).append(result)
    return dict(sorted(grouped.items(), key=lambda item: -len(item[1])))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=CASES, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: %(default)s)")
    parser.add_argument("--only", type=int, help="one case, with its traceback")
    options = parser.parse_args(argv)
    outcome.warm()
    if options.only is not None:
        return _shown(options.only)
    results = []
    for seed in range(options.first, options.first + options.cases):
        results.append(play(seed))
        if sys.stderr.isatty():
            print(f"\r{seed}", end="", file=sys.stderr)
    _print_table(results)
    faults = causes(results)
    for (fault, where), cases in faults.items():
        print(f"{len(cases):4} × {fault}: {where}")
        print("".join(f"         | {line}\n" for line in cases[0].detail.splitlines()[1:]), end="")
        for case in cases[:3]:
            print(f"         python -m benchmarks.fuzz --only {case.seed:<6} {case.entry}: {case.did}")
    count = sum(map(len, faults.values()))
    slowest = max(results, key=lambda r: r.seconds)
    print(f"{count} faults of {len(faults)} causes in {len(results)} cases")
    print(f"the slowest took {slowest.seconds:.1f} s ({slowest.seed})")
    return int(count > 0)


def _print_table(results: Sequence[Result]) -> None:
    kinds = ["pass", "fail", "inconclusive", "other answer", "clear error", "the user's own", "exception"]
    table = collections.Counter((r.entry, "fault" if r.fault else r.kind) for r in results)
    print(f"{'':26}" + "".join(f"{kind:>16}" for kind in [*kinds[:-1], "fault"]))
    for entry in sorted({r.entry for r in results}):
        print(f"{entry:26}" + "".join(f"{table[entry, kind]:16}" for kind in [*kinds[:-1], "fault"]))


def _shown(seed: int) -> int:
    """Play one case and show everything about it."""
    case, call = make(seed)
    print(f"{case.entry}: {'; '.join(case.labels) or 'nothing odd'}")
    try:
        with _at_most(SECONDS), _ambient(case):
            value: Any = _answer(call)
            print(value)
            outcome.render(value, consoles=True)
    except BaseException:  # noqa: BLE001  (it is shown)
        traceback.print_exc(file=sys.stdout)
    result = play(seed)
    print(f"{result.kind}, {result.fault or 'no fault'} {result.detail} ({result.seconds:.2f} s)")
    return int(bool(result.fault))


if __name__ == "__main__":
    sys.exit(main())
