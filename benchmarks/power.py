"""Which wrong gradients go unseen, and which right ones are refused: this library and its peers on the same code.

    python benchmarks/power.py            # ten minutes on two cores
    python benchmarks/power.py --quick    # a minute

An example is a function with a right backward at a random point (subjects.py), drawn from a regime: function, depth,
size, dtype, scale of the output, distance of the kinks. Every checker (peers.py) judges the right backward twice, with
two seeds, and the same backward with four planted mistakes. A wrong gradient that passes is missed, a right one that
fails is a false alarm; what the checker leaves undecided, or dies of, is inconclusive and neither. "Gross" mistakes
move the gradient of an argument by at least a tenth of its norm. A checker whose cost grows with the size is not asked
about large examples; these are left out of its counts. Times and evaluations of the forward are medians of the checks
themselves, imports and first calls apart, of right and of wrong gradients; the relative time is the median over the
same right gradients.

Exits 1 if this library missed a wrong gradient or refused a right one. ``--first I --examples 1`` replays example I.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its BLAS: the checkers are compared on one core
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from peers import OURS, PEERS, Peer
from subjects import ACTIVATIONS, KINDS, Mutant, Regime, Subject, draw, mistakes, plant

GROSS = 0.1
SIZES = {10: 0.15, 100: 0.3, 1000: 0.3, 10_000: 0.12, 100_000: 0.12, 1_000_000: 0.01}
SCALES = (1e-7, 1.0, 1e6)
MUTANTS = 4
RIGHT = "right"


class Outcome(NamedTuple):
    """What one checker said about one backward, and at what cost; the verdict is None where it was not asked."""

    example: int
    peer: str
    regime: Regime
    mistake: str
    size: float
    verdict: str | None
    ms: float
    evaluations: int

    @property
    def wrong(self) -> bool:
        """Whether the backward was a wrong one."""
        return self.mistake != RIGHT


def regime_of(example: int, rng: np.random.Generator, *, largest: float) -> Regime:
    """Draw the regime of an example; the functions take turns."""
    kind = list(KINDS)[example % len(KINDS)]
    size = int(rng.choice(list(SIZES), p=list(SIZES.values())))
    if kind in ACTIVATIONS or kind == "conv":
        size = max(size, 100)
    return Regime(
        kind,
        depth=int(rng.integers(1, 4)) if kind in ACTIVATIONS else 0,
        size=int(min(size, largest)),
        dtype="float32" if rng.random() < 0.25 else "float64",
        scale=float(rng.choice(SCALES)),
        kinks=str(rng.choice(["away", "near"])) if kind == "relu" else "none",
    )


def backwards(rng: np.random.Generator, subject: Subject, regime: Regime) -> list[Mutant]:
    """Return what is judged in one example: the right backward twice, and four mistakes."""
    names = list(rng.permutation(mistakes(subject, regime)))
    if regime.size == 100_000:  # the hardest mistake where it is hardest to see
        names.sort(key=lambda name: name != "one entry ×(1+1e−3)")
    planted = [plant(rng, subject, name, regime.dtype) for name in names]
    return 2 * [Mutant(subject.backward, RIGHT, 0.0)] + [mutant for mutant in planted if mutant][:MUTANTS]


def ask(peer: Peer, subject: Subject, mutant: Mutant, seed: int) -> tuple[str, float, int]:
    """Return a checker's verdict, the milliseconds it took and how often it called the forward."""
    calls = 0

    def forward(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return subject.forward(*args)

    start = time.perf_counter()
    try:
        verdict = peer.check(forward, mutant.backward, tuple(arg.copy() for arg in subject.args), seed)
    except Exception as error:  # noqa: BLE001  (a checker that dies has decided nothing, and the others go on)
        verdict = f"error: {type(error).__name__}: {str(error)[:200]}"
    return verdict, 1e3 * (time.perf_counter() - start), calls


def run_examples(seed: int, examples: Iterable[int], largest: float, names: tuple[str, ...]) -> list[Outcome]:
    """Let every checker of ``names`` judge some examples; a unit of work for one process."""
    asked = [peer for peer in PEERS if peer.name in names]
    tiny = Regime("affine", 0, 10, "float64", 1.0, "none")
    warm = draw(np.random.default_rng(0), tiny)
    for peer in asked:
        ask(peer, warm, Mutant(warm.backward, RIGHT, 0.0), 0)
    outcomes = []
    for example in examples:
        rng = np.random.default_rng([seed, example])
        regime = regime_of(example, rng, largest=largest)
        subject = draw(rng, regime)
        for mutant in backwards(rng, subject, regime):
            check_seed = int(rng.integers(2**32))
            for peer in asked:
                able = regime.size <= peer.largest
                told = ask(peer, subject, mutant, check_seed) if able else (None, 0.0, 0)
                outcomes.append(Outcome(example, peer.name, regime, mutant.mistake, mutant.size, *told))
    return outcomes


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the counts, [k, n], and medians of one checker over some outcomes."""
    asked = [o for o in outcomes if o.verdict is not None]
    wrong, right = [o for o in asked if o.wrong], [o for o in asked if not o.wrong]
    gross = [o for o in wrong if o.size >= GROSS]
    return {
        "missed": [sum(o.verdict == "pass" for o in wrong), len(wrong)],
        "missed_gross": [sum(o.verdict == "pass" for o in gross), len(gross)],
        "false_alarms": [sum(o.verdict == "fail" for o in right), len(right)],
        "inconclusive": [sum(o.verdict not in ("pass", "fail") for o in asked), len(asked)],
        "not_asked": len(outcomes) - len(asked),
        "ms": {"right": _median(o.ms for o in right), "wrong": _median(o.ms for o in wrong)},
        "evaluations": {
            "right": _median(o.evaluations for o in right),
            "wrong": _median(o.evaluations for o in wrong),
        },
    }


def _median(numbers: Iterable[float]) -> float | None:
    some = list(numbers)
    return statistics.median(some) if some else None


def relative_time(outcomes: list[Outcome], peer: str) -> float | None:
    """Return the median ratio of ``peer``'s time to this library's on the same right gradients."""
    ours = [o for o in outcomes if o.peer == OURS and not o.wrong]
    theirs = [o for o in outcomes if o.peer == peer and not o.wrong]
    return _median(b.ms / a.ms for a, b in zip(ours, theirs, strict=True) if b.verdict is not None)


def _share(k: int, n: int) -> str:
    return f"{100 * k / n:.1f} % ({k} / {n})" if n else "–"


def peer_table(outcomes: list[Outcome]) -> str:
    """Return one row a checker, as Markdown."""
    head = (
        "| checker | missed | missed, gross | false alarms | inconclusive "
        "| time, right / wrong | evaluations, right / wrong | time, relative |"
    )
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for peer in PEERS:
        mine = [o for o in outcomes if o.peer == peer.name]
        if not peer.installed:
            lines.append(f"| {peer.name} | not installed |" + " |" * 6)
        if not any(o.verdict for o in mine):
            continue
        s = summary(mine)
        shares = " | ".join(_share(*s[key]) for key in ("missed", "missed_gross", "false_alarms", "inconclusive"))
        cost = " | ".join(
            [
                "{right:.1f} / {wrong:.1f} ms".format(**s["ms"]),
                "{right:.0f} / {wrong:.0f}".format(**s["evaluations"]),
                f"{relative_time(outcomes, peer.name):.2f} ×",
            ]
        )
        limit = f", to {peer.largest:.0f} entries" if np.isfinite(peer.largest) else ""
        lines.append(f"| {peer.name}{limit} | {shares} | {cost} |")
    return "\n".join(lines)


def by_mistake(mistake: str, size: float) -> str:
    """Return the class of a mistake."""
    if mistake == RIGHT or "entry" in mistake or mistake.startswith("×(1"):
        return mistake.replace("+", "±") if mistake.startswith("×(1") else mistake
    return mistake if mistake.startswith("×") else f"in the code, {'gross' if size >= GROSS else 'small'}"


REGIMES: dict[str, Callable[[Outcome], Any]] = {
    "dtype": lambda o: o.regime.dtype,
    "mistake": lambda o: by_mistake(o.mistake.replace("(1−", "(1+"), o.size),
    "scale": lambda o: f"{o.regime.scale:.0e}",
    "size": lambda o: f"{o.regime.size:.0e}",
    "function": lambda o: o.regime.kind,
    "depth": lambda o: o.regime.depth,
    "kinks": lambda o: o.regime.kinks,
}


def regime_summaries(outcomes: list[Outcome]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the summary of every checker in every value of every regime; beyond ``dtype``, of float64 alone."""
    regimes: dict[str, dict[str, dict[str, Any]]] = {}
    for regime, value_of in REGIMES.items():
        some = [o for o in outcomes if regime == "dtype" or o.regime.dtype == "float64"]
        for value in sorted({value_of(o) for o in some}, key=str):
            within = [o for o in some if value_of(o) == value]
            named = {peer.name: [o for o in within if o.peer == peer.name] for peer in PEERS if peer.installed}
            regimes[f"{regime} {value}"] = {name: summary(mine) for name, mine in named.items() if mine}
    return regimes


def regime_table(regimes: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return missed and false alarms, k / n each, a row a regime and a column a checker, as Markdown."""
    names = [peer.name for peer in PEERS if any(peer.name in row for row in regimes.values())]
    lines = ["| missed; false alarms | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for regime, row in regimes.items():
        cells = []
        for name in names:
            counts = [row[name][key] for key in ("missed", "false_alarms")] if name in row else []
            cells.append("; ".join(f"{k} / {n}" for k, n in counts if n) or "–")
        lines.append(f"| {regime} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def our_lapses(outcomes: list[Outcome]) -> list[str]:
    """Return what this library got wrong or left open, and what made any checker raise something else."""
    lapses = []
    for o in outcomes:
        right_answer = "fail" if o.wrong else "pass"
        if (o.peer == OURS and o.verdict != right_answer) or str(o.verdict).startswith("error"):
            lapses.append(f"{o.peer} said {o.verdict}: example {o.example}, {o.mistake} ({o.size:.1e}), {o.regime}")
    return lapses


def _run(options: argparse.Namespace, names: tuple[str, ...]) -> list[Outcome]:
    largest = 1e4 if options.quick else np.inf
    last = options.first + options.examples
    chunks = [range(i, min(i + 7, last)) for i in range(options.first, last, 7)]
    if options.workers == 1:
        return run_examples(options.seed, range(options.first, last), largest, names)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(run_examples, options.seed, chunk, largest, names) for chunk in chunks]
        outcomes = []
        for chunk, part in zip(chunks, parts, strict=True):
            outcomes += part.result()
            print(f"\r{chunk.stop - options.first} of {options.examples} examples", end="", file=sys.stderr, flush=True)
        return outcomes


def _version(peer: Peer) -> str:
    try:
        return metadata.version(peer.package)
    except metadata.PackageNotFoundError:
        return "from source" if peer.installed else "not installed"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 examples of at most 1e4 entries")
    parser.add_argument("--examples", type=int, help="how many (default 400)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first example")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peers", help="separated by commas, to be asked beside this library; default all")
    parser.add_argument("--json", type=Path, help="write all counts there")
    options = parser.parse_args(argv)
    options.examples = options.examples or (30 if options.quick else 400)
    chosen = None if options.peers is None else {OURS, *options.peers.split(",")}
    names = tuple(peer.name for peer in PEERS if peer.installed and (chosen is None or peer.name in chosen))
    start = time.perf_counter()
    outcomes = _run(options, names)
    seconds = time.perf_counter() - start
    regimes = regime_summaries(outcomes)
    double = [o for o in outcomes if o.regime.dtype == "float64"]
    single = [o for o in outcomes if o.regime.dtype == "float32"]
    plain = [o for o in double if o.regime.scale == 1.0]
    for name, some in (("float64", double), ("float64, outputs of size 1", plain), ("float32", single)):
        print(f"\n{name}\n\n{peer_table(some)}")
    print(f"\nBy regime; all but the dtype in float64 alone\n\n{regime_table(regimes)}\n")
    lapses = our_lapses(outcomes)
    print(*lapses, sep="\n")
    checks = sum(o.peer == OURS for o in outcomes)
    print(f"{options.examples} examples, {checks} checks by each, {seconds:.0f} s, seed {options.seed}")
    if options.json:
        overall = {name: summary([o for o in outcomes if o.peer == name]) for name in names}
        versions = {peer.name: _version(peer) for peer in PEERS}
        told = {"settings": vars(options) | {"json": str(options.json)}, "seconds": seconds, "versions": versions}
        told |= {"overall": overall, "regimes": regimes, "lapses": lapses}
        options.json.write_text(json.dumps(told, indent=2, ensure_ascii=False), encoding="utf-8")
    ours = summary([o for o in outcomes if o.peer == OURS])
    return int(ours["missed"][0] + ours["false_alarms"][0] > 0)


if __name__ == "__main__":
    sys.exit(main())
