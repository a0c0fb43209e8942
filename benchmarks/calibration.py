"""How often the bound of a central difference holds, and how wide it is, against exact derivatives.

    python benchmarks/calibration.py --cases 100000 --workers 2
    python benchmarks/calibration.py --families edges --cases 20000

Every case is a random function of one family at a random point, measured along three directions (the first, and two
further ones that reuse what the first found). A family states its exact derivative; calibration_cases.py has those of
plain code, smooth and rough, and calibration_edges.py those at the edges of domains and where digits run out. A
violation is printed with the seed that replays it. Exits 1 if the bound holds in fewer than 99.99 % of the estimates.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from calibration_cases import PLAIN, Case
from calibration_edges import EDGES

from gradcheck import central_difference

TABLES: dict[str, dict[str, Callable[[np.random.Generator], Case]]] = {
    "all": {**PLAIN, **EDGES},
    "plain": PLAIN,
    "edges": EDGES,
}


class Outcome(NamedTuple):
    """One estimate: did its bound hold, how wide is it relative to the derivative, and what it cost."""

    family: str
    seed: int
    direction: int
    holds: bool
    decided: bool
    relative: float
    error_over_bound: float
    evaluations: int
    smooth: bool


class Counted:
    """A function that counts its calls; what else it knows of itself (its origin, its rounding) it goes on knowing."""

    def __init__(self, f: Callable[[np.ndarray], Any]) -> None:
        self.f, self.calls = f, 0

    def __call__(self, u: np.ndarray) -> Any:  # noqa: D102  (it is the function)
        self.calls += 1
        return self.f(u)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.f, name)


def measure(seed: int, families: str = "all") -> list[Outcome]:
    """Return the outcomes of the case that ``seed`` draws of some families."""
    rng, table = np.random.default_rng(seed), TABLES[families]
    family = list(table)[int(rng.integers(len(table)))]
    case = table[family](rng)
    counted = Counted(case.f)
    pushforward = central_difference(counted, case.x)
    outcomes = []
    for direction in range(3):
        v = rng.standard_normal(case.x.shape)
        before = counted.calls if direction else 0
        value, error, kink, _ = pushforward(v)
        true = case.derivative(v)
        apart = abs(value - true)
        outcomes.append(
            Outcome(
                family,
                seed,
                direction,
                bool(apart <= error + kink) or not np.isfinite(error),
                bool(np.isfinite(error)),
                float(error / abs(true)) if true else float(error),
                float(apart / error) if error and np.isfinite(error) else 0.0,
                counted.calls - before,
                case.smooth,
            )
        )
    return outcomes


def measure_many(seeds: range, families: str = "all") -> list[Outcome]:
    """Return the outcomes of many seeds; a unit of work for one process."""
    return [outcome for seed in seeds for outcome in measure(seed, families)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; case i uses seed + i")
    parser.add_argument("--families", choices=TABLES, default="all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chunks = [
        range(i, min(i + 500, options.seed + options.cases))
        for i in range(options.seed, options.seed + options.cases, 500)
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        outcomes = [
            outcome for part in pool.map(measure_many, chunks, itertools.repeat(options.families)) for outcome in part
        ]
    for outcome in [o for o in outcomes if not o.holds][:40]:
        print(
            f"violated: {outcome.family}, seed {outcome.seed}, direction {outcome.direction}, "
            f"error / bound {outcome.error_over_bound:.3g}"
        )
    heads = ("violated", "undecided", "median", "99 %", "err/bound", "evals")
    print(f"{'family':16} {'n':>7} {' '.join(f'{head:>9}' for head in heads)}")
    for family in TABLES[options.families]:
        some = [o for o in outcomes if o.family == family]
        widths = [o.relative for o in some if o.decided]
        if not widths:
            continue
        first, later = ([o.evaluations for o in some if (o.direction == 0) is is_first] for is_first in (True, False))
        print(
            f"{family:16} {len(some):7} {sum(not o.holds for o in some):9} {sum(not o.decided for o in some):9} "
            f"{np.median(widths):9.1e} {np.quantile(widths, 0.99):9.1e} "
            f"{np.median([o.error_over_bound for o in some]):9.2g}   {max(first)}/{np.mean(later):.1f}"
        )
    held = float(np.mean([o.holds for o in outcomes]))
    median = float(np.median([o.relative for o in outcomes if o.smooth and o.decided]))
    print(
        f"{len(outcomes)} estimates: the bound holds in {100 * held:.4f} %; "
        f"median relative bound on smooth code {median:.1e}"
    )
    if options.json:
        options.json.write_text(
            json.dumps({"estimates": len(outcomes), "held": held, "median_smooth": median}, indent=2)
        )
    return 0 if held >= 0.9999 else 1


if __name__ == "__main__":
    sys.exit(main())
