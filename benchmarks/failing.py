"""What a failing check costs beside the passing one of the right backward at the same point.

    python -m benchmarks.failing               pairs of a thousand entries, and LeNet-5
    python -m benchmarks.failing --only rnn    some of them

For every mistake three checks are timed: the right backward passes; the wrong one fails and is told where, without
explanation; the wrong one fails and is explained. Times are those of the process, the shortest of ``--repeats``, and
ratios are to the passing check. Each mistake is asked twice: with a source to be edited, as in a notebook, and without,
as in a grader, where only the functions that it calls have one. "squared and flipped" is no mistake of the catalogue,
and no single edit undoes it: everything is tried in vain.

Exits 1 if an explained check of a thousand entries takes more than 30 times as long as the passing one, or one of
LeNet-5 more than 3 s of the processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its BLAS: the time of the process is that of a core

import numpy as np

from derivations.affine import AFFINE
from derivations.conv import CONV
from derivations.lenet5 import LENET5
from derivations.mlp import MLP
from derivations.rnn import RNN
from gradcheck import Derivation, examine_backward
from gradcheck.trees import leaves, rebuild
from tests.mutants import MISTAKES, with_mistake

RATIO = 30.0  # of a thousand entries
SECONDS = 3.0  # for LeNet-5,
LARGE = "lenet5"
SIZES: dict[str, dict[str, Any]] = {
    "affine": {"N": 20, "D": 20, "M": 27},
    "mlp": {"depth": 3, "N": 16, "D": 16, "M": 16, "K": 10, "activation": "tanh", "loss": "squared"},
    "rnn": {"T": 6, "n": 4, "d": 12, "h": 16, "V": 10, "activation": "tanh"},
    "conv": {"N": 2, "P": 4, "D": 6, "OH": 8, "OW": 8, "kh": 3, "kw": 3},
    "lenet5": {"N": 2},
}
PLANTED = {
    "affine": ("dW transposed", "dW mean for sum", "db over everything"),
    "mlp": ("factor 2", "missing derivative everywhere", "last layer forgotten"),
    "rnn": ("mean over the batch", "later steps dropped", "dWhh with the new state"),
    "conv": ("dX sign", "dX overwritten where windows overlap", "db mean for sum"),
    "lenet5": ("sign of the loss", "missing derivative of C1", "bias of C3 over everything"),
}
UNKNOWN = "squared and flipped"


class Pair(NamedTuple):
    """A derivation at a point, a wrong backward for it, and whether that has a source."""

    record: Derivation
    args: tuple[Any, ...]
    mistake: str
    source: bool
    wrong: Callable[[Any, Any], Any]


class Cost(NamedTuple):
    """The processor time of a check in seconds, how often it called the forward, and what it named first."""

    seconds: float
    evaluations: int
    named: str


def pairs(name: str) -> Iterator[Pair]:
    """Yield the mistakes of one derivation, each with its source and without."""
    record = {each.name: each for each in (AFFINE, MLP, RNN, CONV, LENET5)}[name]
    args = record.args(np.random.default_rng(0), **SIZES[name])
    planted = {each.name: each for each in MISTAKES[name]}
    for mistake in PLANTED[name]:
        for source in (True, False):
            wrong = with_mistake(record.backward, planted[mistake], source=source)
            yield Pair(record, args, mistake, source, wrong)

    def unknown(dout: Any, cache: Any) -> Any:
        gradients = record.backward(dout, cache)
        return rebuild(gradients, (np.flip(np.square(leaf)) for _, leaf in leaves(gradients, "")))

    yield Pair(record, args, UNKNOWN, True, unknown)


def cost(pair: Pair, backward: Callable[[Any, Any], Any], repeats: int, *, hints: bool) -> Cost:
    """Return what a check costs, the shortest of some."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        report = examine_backward(pair.record.forward, backward, pair.args, wrt=pair.record.wrt, seed=0, hints=hints)
        named = report.explanations[0].mistake if report.explanations else "–"  # found when they are first read
        seconds.append(time.process_time() - start)
    return Cost(min(seconds), report.evaluations, named)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=SIZES, help="the pairs of one derivation")
    parser.add_argument("--repeats", type=int, default=3, help="of each check; the shortest counts (default: 3)")
    options = parser.parse_args(argv)
    print("milliseconds of the processor (ratio to passing, calls of the forward)")
    print(f"{'':46}{'passes':>14}{'fails, located':>22}{'explained':>24}  named")
    ratios, slowest, most = [], 0.0, 0.0
    for name in [options.only] if options.only else SIZES:
        passing = None
        for pair in pairs(name):
            passing = passing or cost(pair, pair.record.backward, options.repeats + 2, hints=True)
            plain, full = (cost(pair, pair.wrong, options.repeats, hints=hints) for hints in (False, True))
            label = f"{name}: {pair.mistake}, {'source' if pair.source else 'no source'}"
            print(
                f"{label:46.46}{1e3 * passing.seconds:8.1f} ({passing.evaluations:3})"
                f"{_told(plain, passing):>22}{_told(full, passing):>24}  {full.named}",
                flush=True,
            )
            if name == LARGE:
                slowest = max(slowest, full.seconds)
            else:
                ratios.append((full.seconds / passing.seconds, plain.seconds / passing.seconds))
                most = max(most, ratios[-1][0])
    if ratios:
        explained, located = zip(*ratios, strict=True)
        print(
            f"a thousand entries: explained {statistics.median(explained):.1f} x the passing check, "
            f"at most {most:.1f} x; located {statistics.median(located):.1f} x, at most {max(located):.1f} x"
        )
    if slowest:
        print(f"LeNet-5: explained in at most {slowest:.2f} s")
    return int(most > RATIO or slowest > SECONDS)


def _told(one: Cost, passing: Cost) -> str:
    return f"{1e3 * one.seconds:.1f} ({one.seconds / passing.seconds:.1f} x, {one.evaluations})"


if __name__ == "__main__":
    sys.exit(main())
