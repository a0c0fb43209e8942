"""A campaign at kinks: right nets by every convention, and wrong ones, at points where many units fold.

    python benchmarks/kinks.py --seeds 10            every net at so many points; exits 1 where one is not judged right
    python benchmarks/kinks.py --only "max-pool"     the nets with that in their name, and the report of a wrong verdict

Each line says what was said of a net, how many pullbacks a check took at most, and how many evaluations.
"""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Callable
from typing import Any

import kink_functions  # noqa: F401  (adds its nets to those of kink_nets)
import numpy as np
from kink_nets import RIGHT, WRONG, Net

from gradcheck import Report, examine_backward


def counted(backward: Callable[[Any, Any], Any]) -> tuple[Callable[[Any, Any], Any], list[None]]:
    """Return ``backward``, and a list that grows by one with every call."""
    calls: list[None] = []

    def counting(dout: Any, cache: Any) -> Any:
        calls.append(None)
        return backward(dout, cache)

    return counting, calls


def check(net: Net, seed: int) -> tuple[Report, int]:
    """Check a net at the point of ``seed``; return the report and the number of pullbacks."""
    forward, backward, args = net.make(np.random.default_rng((seed, 7)).standard_normal)
    counting, calls = counted(backward)
    report = examine_backward(forward, counting, args, seed=seed, hints=False)
    return report, len(calls)


def judged(net: Net, seeds: int) -> tuple[str, int, Report | None]:
    """Return the line about a net, how often it was judged wrongly, and the first such report."""
    found = [check(net, seed) for seed in range(seeds)]
    said = collections.Counter(str(report.verdict) for report, _ in found)
    bad = [report for report, _ in found if report.verdict not in net.expect]
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in said.items())
    most, evaluations = max(pulls for _, pulls in found), max(report.evaluations for report, _ in found)
    line = f"{'NOT' if bad else 'ok ':4}{net.name:60}{verdicts:34}{most:5} pullbacks {evaluations:5} evaluations"
    return line, len(bad), bad[0] if bad else None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args(argv)
    total = 0
    for what, nets in (("right", RIGHT), ("wrong", WRONG)):
        chosen, wrongly = [net for net in nets if options.only in net.name], 0
        for net in chosen:
            line, bad, report = judged(net, options.seeds)
            wrongly += bad
            print(line, flush=True)
            if report is not None and options.only:
                print(report)
        print(f"{what}: {wrongly} of {len(chosen) * options.seeds} judged wrongly, {len(chosen)} nets\n")
        total += wrongly
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
