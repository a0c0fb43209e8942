"""Whether every corrected form of the ledger passes on many shapes, by all oracles that apply.

    python -m benchmarks.ledger                   every record, on 50 shapes each
    python -m benchmarks.ledger --document 001    those of one document
    python -m benchmarks.ledger --shapes 5        on fewer

Each record is judged on that many different shapes, or on all that are drawn of those with few sizes: generic ones and
degenerate ones on purpose. Asked are central differences, the complex step and autodiff, the whole backward around the
formula included. A claim has no sizes, and is tried as often with other numbers.

JAX runs step by step here: to compile a reference costs more than to run it once. Exits 1 if any form does not pass.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its BLAS: the processes share the cores

import jax
import numpy as np

from derivations.ledger import EQUATIONS
from gradcheck.equations.equation import Claim, Statement, judge_statement
from gradcheck.equations.statement import specification
from gradcheck.report import Verdict
from gradcheck.shapes.sizes import rounds
from gradcheck.shapes.specification import Sizes, Specification
from gradcheck.trees import leaves

SHAPES = 50
TRIES = 20  # draws for each shape that is wanted


class Row(NamedTuple):
    """What became of a record: how many shapes differ, which oracles were asked, and what did not pass."""

    id: str
    judged: int
    shapes: int
    oracles: tuple[str, ...]
    failures: tuple[str, ...]
    seconds: float


def shape_of(spec: Specification, sizes: Sizes) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of all arguments at these sizes: sizes that leave them alike are one shape."""
    return tuple(np.shape(leaf) for _, leaf in leaves(tuple(spec.point(sizes, 0)), ""))


def at_distinct_shapes(statement: Statement, count: int) -> Iterator[Sizes]:
    """Yield sizes of ``count`` different shapes, or of all that are drawn; ``count`` times nothing for a claim."""
    if isinstance(statement, Claim):
        yield from itertools.repeat({}, count)
        return
    spec = specification(statement)
    drawn = itertools.islice(rounds(spec, np.random.default_rng(0)), TRIES * count)
    by_shape: dict[Any, Sizes] = {}
    for why, sizes in drawn:
        if len(by_shape) == count:
            break
        if why != "empty":
            by_shape.setdefault(shape_of(spec, sizes), sizes)
    yield from by_shape.values()


def judge(name: str, count: int) -> Row:
    """Judge the corrected form of one record at ``count`` shapes."""
    (equation,) = (each for each in EQUATIONS if each.id == name)
    statement = equation.corrected or equation.printed
    started = time.perf_counter()
    held = list(at_distinct_shapes(statement, count))
    oracles: dict[str, None] = {}
    failures = []
    with jax.disable_jit():
        for seed, sizes in enumerate(held):
            ruling = judge_statement(statement, seed, sizes=sizes, hints=False)
            oracles.update(dict.fromkeys(() if ruling.report is None else ruling.report.oracles))
            if ruling.verdict != Verdict.PASS:
                failures.append(f"{name}, seed {seed}, {_told(sizes)}: {ruling.verdict}, {ruling.found}")
    shapes = 0 if isinstance(statement, Claim) else len(held)
    return Row(name, len(held), shapes, tuple(oracles), tuple(failures), time.perf_counter() - started)


def _told(sizes: Sizes) -> str:
    return ", ".join(f"{name}={value}" for name, value in sizes.items())


def told(row: Row) -> str:
    """Return the line of the table for one record."""
    passed = row.judged - len(row.failures)
    shapes = str(row.shapes) if row.shapes else "no sizes"
    return f"{row.id:12} {shapes:>8} {passed:5}/{row.judged:<4} {row.seconds:7.1f} s  {', '.join(row.oracles)}"


def main(argv: Sequence[str] | None = None) -> int:
    documents = list(dict.fromkeys(each.document for each in EQUATIONS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", choices=documents, help="only the records of that document")
    parser.add_argument("--shapes", type=int, default=SHAPES, help="of each record (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    options = parser.parse_args(argv)
    names = [each.id for each in EQUATIONS if options.document in (None, each.document)]
    started = time.perf_counter()
    print(f"{'record':12} {'shapes':>8} {'passed':>10} {'time':>9}  oracles")
    rows = []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(judge, names, itertools.repeat(options.shapes)):
            rows.append(row)
            print("\n".join((told(row), *row.failures)), flush=True)
    wrong = [row.id for row in rows if row.failures or not row.judged]
    print(
        f"{len(rows) - len(wrong)} of {len(rows)} corrected forms pass wherever they were judged, "
        f"{sum(row.judged for row in rows)} judgements, {time.perf_counter() - started:.0f} s"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
