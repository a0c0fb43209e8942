"""Rules that people would have, right and wrong, of every kind: what does gradcheck say of them, and what its peers?

    python -m benchmarks.rules                        every case at two points, its right rule and every mistake
    python -m benchmarks.rules --seeds 5 --kind second
    python -m benchmarks.rules --name cholesky -v     one case, and the report of every wrong verdict
    python -m benchmarks.rules --peers                the peers that are installed, on the same cases
    python -m benchmarks.rules --truth                whether right rules are right, by differences of its own

The kinds are pushforwards, second (Hessians, products with them, backwards of backwards), Jacobians, complex functions,
and rules that are meant as something else. A case is a function with a rule that is right and with the mistakes that
people make in it; besides, every rule is wrong by a factor of 1.001, in one entry, and in half of its entries. A
mistake that changes nothing at a point is not asked there. Sizes and values are drawn from the seed.

Exits 1 if a right rule failed, a wrong one passed, or anything was raised.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import sys
import time
import warnings
from typing import Any, NamedTuple

import numpy as np

import benchmarks.rules_complex_more
import benchmarks.rules_found
import benchmarks.rules_jacobian
import benchmarks.rules_meant
import benchmarks.rules_push_more
import benchmarks.rules_twice  # noqa: F401  (each adds its cases)
from benchmarks import rules_peers, rules_truth
from benchmarks.rules_case import CASES, Case, Made, claims, difference
from gradcheck import (
    examine_backward,
    examine_hessian,
    examine_jacobian,
    examine_pushforward,
    from_double_backward,
    from_hessian_vector_product,
)

GROUPS = {"hessian": "second", "product": "second", "double": "second"}
KINDS = ("pushforward", "second", "jacobian", "complex", "meant")
SEEN = 1e-5
TRUE = 1e-6


class Said(NamedTuple):
    """What was said of one rule: a verdict or "raised", its seconds and evaluations, and the report or the error."""

    verdict: str
    seconds: float
    evaluations: int
    what: Any


def group(case: Case) -> str:
    """Return the kind under which a case is counted."""
    return GROUPS.get(case.kind, case.kind)


def examined(kind: str, made: Made, seed: int) -> Any:
    """Return gradcheck's report of a rule."""
    function, rule, args, settings = made
    if kind == "pushforward":
        return examine_pushforward(function, rule, args, seed=seed, **settings)
    if kind == "hessian":
        return examine_hessian(function, rule, args, seed=seed, **settings)
    if kind == "jacobian":
        return examine_jacobian(function, rule, args, seed=seed, **settings)
    if kind == "product":
        pair = from_hessian_vector_product(function, rule)
    else:
        pair = from_double_backward(*function, rule) if kind == "double" else (function, rule)
    return examine_backward(*pair, args, seed=seed, **settings)


def judged(case: Case, seed: int, bug: str = "") -> Said:
    """Return what gradcheck says of a case at the point of a seed, with a mistake if one is named."""
    made, start = case.made(seed, bug), time.perf_counter()
    try:
        report = examined(case.kind, made, seed)
        said = str(getattr(report.verdict, "value", report.verdict)), report.evaluations
    except Exception as error:  # noqa: BLE001  (a check must not raise, so that what it raises is counted)
        report, said = f"{type(error).__name__}: {error}", ("raised", 0)
    return Said(said[0], time.perf_counter() - start, said[1], report)


def shows(case: Case, seed: int, bug: str) -> bool:
    """Whether a mistake changes what is claimed at the point of a seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            right, wrong = (claims(case.kind, case.made(seed, each), np.random.default_rng(3)) for each in ("", bug))
        except Exception:  # noqa: BLE001  (a mistake in the shapes shows itself)
            return True
    return difference(right, wrong) > SEEN


def survey(chosen: list[Case], seeds: int, verbose: bool) -> int:
    """Judge the cases; print a line for each wrong verdict and the counts of every kind; return how many are wrong."""
    counts, wrongly = collections.defaultdict(collections.Counter), 0
    spent, evaluations = collections.defaultdict(list), collections.defaultdict(list)
    for case in chosen:
        kind = group(case)
        for seed in range(seeds):
            for bug in ("", *(bug for bug in case.mistakes if shows(case, seed, bug))):
                said = judged(case, seed, bug)
                counts[kind, bool(bug)][said.verdict] += 1
                spent[kind].append(said.seconds)
                evaluations[kind].append(said.evaluations)
                if said.verdict == ("fail" if bug else "pass"):
                    continue
                wrongly += said.verdict != "inconclusive"
                print(f"{said.verdict.upper():12} {case.kind}: {case.name} [{bug or 'right'}], seed {seed}")
                if verbose or said.verdict == "raised":
                    print(f"  {said.what}")
        sys.stdout.flush()
    for kind in KINDS:
        if not spent[kind]:
            continue
        right, wrong = counts[kind, False], counts[kind, True]
        print(
            f"{kind:12} right: {right['fail']} failed, {right['inconclusive']} inconclusive, {right['raised']} raised"
            f" of {right.total()}; wrong: {wrong['pass']} passed, {wrong['inconclusive']} inconclusive,"
            f" {wrong['raised']} raised of {wrong.total()}; {statistics.median(spent[kind]):.3f} s in the median,"
            f" {max(spent[kind]):.2f} at most; {statistics.median(evaluations[kind]):.0f} evaluations,"
            f" {max(evaluations[kind])} at most"
        )
    return wrongly


def proved(chosen: list[Case], seeds: int) -> int:
    """Print every right rule that differences of its own refute, and return how many."""
    refuted = 0
    for case in chosen:
        for seed in range(0 if case.tie else seeds):
            worst = max(rules_truth.errors(case, seed))
            bar = 1e-2 if "float32" in case.name or "complex64" in case.name else TRUE
            if not worst <= bar:
                refuted += 1
                print(f"{case.kind}: {case.name}, seed {seed}: error {worst:.2g}")
    print(f"{refuted} right rules refuted of {len(chosen)} cases at {seeds} points")
    return refuted


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--name", default="")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [case for case in CASES if options.kind in {None, group(case)} and options.name in case.name]
    if options.truth:
        return int(proved(chosen, options.seeds) > 0)
    if options.peers:
        return rules_peers.survey(chosen, options.seeds, shows, group, options.verbose)
    return int(survey(chosen, options.seeds, options.verbose) > 0)


if __name__ == "__main__":
    sys.exit(main())
