"""Derivatives in released packages: is every right one accepted, and every wrong one that is planted in it refused?

    python -m benchmarks.released                      every package that is installed; some minutes
    python -m benchmarks.released --only sklearn       one of them
    python -m benchmarks.released --name expit         the cases with that in their name
    python -m benchmarks.released --json out.json

The derivatives are written by hand by others (benchmarks/packages/): rules of automatic differentiation, scores of
likelihoods, losses, special functions, layers; each at a random point, at ordinary ones and at some near an edge or
saturated. A package that is not installed is named and not counted.

A derivative as it was released is right unless another measurement says more than 5e-7: one that shares no code with
the check, differences of every entry in a table of Ridders. It is made for those that are refused, and printed. Into
every derivative mistakes are planted, for each argument: a factor 1 ± 1e-6 (1 ± 1e-2 in float32), one entry wrong by a
thousandth or zero, the sign, and for all of them what comes from one entry of the output left out. A plant that hardly
changes the gradient is not asked. What is inconclusive is counted apart, with its reason.

Exits 1 if a right derivative whose error is below 5e-7 is refused, or a wrong one passes.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import importlib.util
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

from benchmarks.packages.case import Case
from gradcheck import examine_backward
from gradcheck.trees import leaves, rebuild

PACKAGES = ("scipy", "sklearn", "statsmodels", "autograd", "autograd_gamma", "mygrad", "thinc", "torch", "jax")
NEEDED = {"autograd_gamma": ("autograd", "autograd_gamma")}
RIGHT = "right"
EXACT = 5e-7  # the relative error up to which a derivative is right
WRONG_SINGLE = 1e-2  # the error that float32 does not explain
SEEN = 1e-7  # the least change of the gradient that is a plant; in float32
SEEN_SINGLE = 1e-3


class Outcome(NamedTuple):
    """What the check says of one backward."""

    package: str
    name: str
    what: str
    verdict: str
    error: float
    reason: str
    seconds: float
    measured: float = float("nan")  # by the other measurement, where it was made
    single: bool = False
    bound: float = float("nan")  # what a pass says could be hidden
    size: float = float("nan")  # of a plant, relative to the norm of the gradient


def cases(package: str, seed: int) -> Iterator[Case]:
    """Yield the cases of a package."""
    module = importlib.import_module(f"benchmarks.packages.with_{package}")
    yield from module.cases(np.random.default_rng([seed, PACKAGES.index(package)]))


def missing(package: str) -> bool:
    """Whether a package is not installed."""
    return any(importlib.util.find_spec(name) is None for name in NEEDED.get(package, (package,)))


# ------------------------------------------------------------------ the check, and the other measurement


def check(package: str, case: Case, backward: Any, what: str, seed: int) -> Outcome:
    """Ask the check about a backward of a case."""
    started = time.perf_counter()
    try:
        report = examine_backward(case.forward, backward, case.args, seed=seed, hints=False)
        findings = [f for f in report.arguments.values() if f.verdict == report.verdict]
        reasons = [*report.broken, *(str(f.reason) for f in findings if f.reason)]
        verdict, error, reason = str(report.verdict), float(report.error), "; ".join(dict.fromkeys(reasons))
        bound = float(report.bound)
    except Exception as problem:  # noqa: BLE001  (a check that raises has not passed; it is counted as what it is)
        verdict, error, bound = "raises", float("nan"), float("nan")
        reason = f"{type(problem).__name__}: {problem} at {traceback.extract_tb(problem.__traceback__)[-1].name}"
    seconds = time.perf_counter() - started
    return Outcome(package, case.name, what, verdict, error, reason[:300], seconds, bound=bound)


def measured_error(case: Case, seed: int) -> float:
    """Return the relative error of a released derivative by Ridders' differences of every entry, in float64."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        out, cache = case.forward(*_copies(case.args))
        dout = rng.standard_normal(np.shape(out))[()]
        claimed = np.concatenate(
            [np.ravel(g) for _, g in leaves(case.backward(_cast(dout, out), cache), "") if g is not None]
        )
        point = [np.array(leaf, dtype=np.float64) for _, leaf in leaves(case.args, "")]
        noise = 2 * np.finfo(float).eps * float(np.abs(dout * out).sum())
        true = []
        for i, leaf in enumerate(point):
            for j in range(leaf.size):

                def phi(h, i=i, j=j, leaf=leaf):
                    moved = [part.copy() for part in point]
                    moved[i].flat[j] = leaf.flat[j] + h
                    return float(
                        (dout * (np.asarray(case.forward(*_as(case.args, moved))[0], dtype=np.float64) - out)).sum()
                    )

                true.append(_ridders(phi, noise, max(abs(leaf.flat[j]), 1e-3 * float(np.abs(leaf).max()) or 1.0)))
    truth = np.array(true)
    return float(np.linalg.norm(claimed - truth) / (np.linalg.norm(truth) or 1.0))


def runs(case: Case) -> bool:
    """Whether a derivative is there at all: a package may lack it, or refuse the point."""
    try:
        with np.errstate(all="ignore"):
            out, cache = case.forward(*_copies(case.args))
            given = case.backward(_cast(np.ones(np.shape(out)), out), cache)
    except Exception as problem:  # noqa: BLE001  (it is said, and the case is not counted)
        print(f"left out: {case.name}, which raises {type(problem).__name__}: {str(problem)[:100]}", file=sys.stderr)
        return False
    finite = all(np.isfinite(np.asarray(leaf, dtype=np.float64)).all() for _, leaf in leaves((given, out), ""))
    if not finite:
        print(f"left out: {case.name}, which is not finite", file=sys.stderr)
    return finite


def is_single(case: Case) -> bool:
    """Whether anything of a case is in float32."""
    with np.errstate(all="ignore"):
        out, cache = case.forward(*_copies(case.args))
        returned = case.backward(_cast(np.ones(np.shape(out)), out), cache)
    return any(np.asarray(leaf).dtype.itemsize < 8 for _, leaf in leaves((returned, out), ""))


def _ridders(phi: Any, noise: float, size: float, rows: int = 12, shrink: float = 1.6) -> float:
    """Return the derivative of ``phi`` at 0: the entry of Ridders' table that moved least, over several first steps."""
    best, least = np.nan, np.inf
    for first in (0.2, 2e-2, 1e-3, 1e-5, 1e-7, 1e-9):
        table, h = np.full((rows, rows), np.nan), first * size
        for i in range(rows):
            try:
                table[0, i] = (phi(h) - phi(-h)) / (2 * h)
            except (ValueError, FloatingPointError, np.linalg.LinAlgError):
                table[0, i] = np.nan
            for k in range(1, i + 1):
                factor = shrink ** (2 * k)
                table[k, i] = (factor * table[k - 1, i] - table[k - 1, i - 1]) / (factor - 1)
                error = max(abs(table[k, i] - table[k - 1, i]), abs(table[k, i] - table[k - 1, i - 1]), noise / h)
                if error < least:
                    best, least = table[k, i], error
            h /= shrink
    return best


def _copies(args: Any) -> Any:
    return rebuild(args, (np.array(leaf) for _, leaf in leaves(args, "")))


def _as(args: Any, moved: Sequence[Any]) -> Any:
    return rebuild(args, iter(moved))


def _cast(dout: Any, out: Any) -> Any:
    return np.asarray(dout, dtype=np.asarray(out).dtype)[()]


# ------------------------------------------------------------------ plants


def plants(case: Case, seed: int) -> Iterator[tuple[str, Any, float]]:
    """Yield wrong backwards of a case, each with what is wrong in it and by which part of the gradient's norm."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        out, cache = case.forward(*_copies(case.args))
        dout = _cast(rng.standard_normal(np.shape(out)), out)
        returned = case.backward(dout, cache)
    parts = [np.array(g, dtype=np.float64) for _, g in leaves(returned, "")]
    single = is_single(case)
    factor, least = (1e-2, SEEN_SINGLE) if single else (1e-6, SEEN)
    for i, part in enumerate(parts):
        norm, where = float(np.linalg.norm(part)), int(np.argmax(np.abs(part))) if part.size else 0
        if not np.isfinite(norm) or norm == 0:
            continue
        changes = {
            f"×(1+{factor:g})": lambda g, f=factor: g * (1 + f),
            f"×(1−{factor:g})": lambda g, f=factor: g * (1 - f),
            "the sign": lambda g: -g,
            "one entry 0": lambda g, j=where: _with_entry(g, j, 0.0),
            "one entry ×(1+1e-3)": lambda g, j=where: _with_entry(g, j, 1 + (0.05 if single else 1e-3)),
        }
        for what, change in changes.items():
            size = float(np.linalg.norm(change(part) - part)) / norm
            if size > least:
                yield f"argument {i}: {what}", _changed(case.backward, i, change), size
    if np.ndim(out):
        yield from _left_out(case, dout, parts)


def _left_out(case: Case, dout: Any, parts: list[Any]) -> Iterator[tuple[str, Any, float]]:
    """Yield the backward without what comes from the first entry of the output, where that is something."""

    def wrong(dout, cache):
        short = np.array(dout)
        short.flat[0] = 0
        return case.backward(short, cache)

    with np.errstate(all="ignore"):
        given = [
            np.array(g, dtype=np.float64) for _, g in leaves(wrong(dout, case.forward(*_copies(case.args))[1]), "")
        ]
    apart = [np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0) for a, b in zip(given, parts, strict=True)]
    if np.nanmax(apart) > 1e-2:
        yield "one entry of the output left out", wrong, float(np.nanmax(apart))


def _with_entry(gradient: Any, index: int, factor: float) -> Any:
    changed = np.array(gradient)
    if changed.ndim == 0:
        return changed * factor
    changed.flat[index] *= factor
    return changed


def _changed(backward: Any, i: int, change: Any) -> Any:
    def wrong(dout, cache):
        returned = backward(dout, cache)
        return rebuild(
            returned, (change(np.asarray(g)) if k == i else g for k, (_, g) in enumerate(leaves(returned, "")))
        )

    return wrong


# ------------------------------------------------------------------ the run


def run(package: str, seeds: Sequence[int], only: str = "", *, planted: bool = True) -> Iterator[Outcome]:
    """Yield the outcomes of a package: every derivative as released, and with each plant."""
    for seed in seeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number, case in enumerate(cases(package, seed)):
                if only not in case.name or not runs(case):
                    continue
                one = check(package, case, case.backward, RIGHT, number)
                if one.verdict != "pass":
                    one = one._replace(measured=_measured(case, one, number), single=is_single(case))
                yield one
                if planted and one.verdict in ("pass", "inconclusive"):
                    for what, wrong, size in plants(case, number):
                        yield check(package, case, wrong, what, number)._replace(size=size)


def _measured(case: Case, one: Outcome, seed: int) -> float:
    """Return the error of a released derivative; of one in float32, where no difference tells, what the check saw."""
    try:
        return one.error if is_single(case) else measured_error(case, seed)
    except Exception:  # noqa: BLE001  (a function that refuses every step cannot be measured so)
        return float("nan")


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the counts by package."""
    lines = [
        f"{'':16}{'right':>7}{'pass':>7}{'refused':>9}{'undecided':>11}{'wrong':>8}{'fail':>7}{'missed':>8}{'undecided':>11}"
    ]
    for package in [*dict.fromkeys(o.package for o in outcomes), "together"]:
        mine = [o for o in outcomes if package in (o.package, "together")]
        right, wrong = ([o for o in mine if (o.what == RIGHT) == is_right] for is_right in (True, False))
        r, w = collections.Counter(o.verdict for o in right), collections.Counter(o.verdict for o in wrong)
        lines.append(
            f"{package:16}{len(right):7}{r['pass']:7}{r['fail'] + r['raises']:9}{r['inconclusive']:11}"
            f"{len(wrong):8}{w['fail']:7}{w['pass']:8}{w['inconclusive'] + w['raises']:11}"
        )
    return "\n".join(lines)


def bad(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Return the right derivatives that are refused though no more than 5e-7 away, and the wrong ones that pass."""
    refused = [
        o
        for o in outcomes
        if o.what == RIGHT
        and o.verdict in ("fail", "raises")
        and not o.measured > (WRONG_SINGLE if o.single else EXACT)
    ]
    return refused, [o for o in outcomes if o.what != RIGHT and o.verdict == "pass"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PACKAGES, action="append", help="one package; repeatable")
    parser.add_argument("--name", default="", help="only cases with that in their name")
    parser.add_argument("--seeds", type=int, default=2, help="points of each case (default: %(default)s)")
    parser.add_argument("--right", action="store_true", help="plant nothing")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every outcome there")
    options = parser.parse_args(argv)
    outcomes: list[Outcome] = []
    for package in options.only or PACKAGES:
        if missing(package):
            print(f"{package} is not installed: not counted")
            continue
        outcomes += run(package, range(options.seeds), options.name, planted=not options.right)
        print(f"{package}: {len(outcomes)} so far", file=sys.stderr, flush=True)
    print(table(outcomes))
    refused, missed = bad(outcomes)
    for o in outcomes:
        if o.what == RIGHT and o.verdict != "pass":
            seen = f"its error is {o.measured:.1e}, the check sees {o.error:.1e}"
            print(f"{o.verdict:13}{o.package}: {o.name}; {seen}. {o.reason}")
    for o in missed:
        print(
            f"missed       {o.package}: {o.name}, {o.what}; the pass says that an error up to {o.bound:.1e} could hide"
        )
    for o in outcomes:
        if o.what != RIGHT and o.verdict in ("inconclusive", "raises"):
            print(f"undecided    {o.package}: {o.name}, {o.what}: {o.reason[:150]}")
    beyond = sum(o.size > o.bound for o in missed)
    print(f"{len(refused)} right derivatives are refused, {len(missed)} wrong ones are missed", end=", ")
    print(f"{beyond} of these by more than the pass says could hide")
    if options.json:
        options.json.write_text(
            json.dumps([o._asdict() for o in outcomes], indent=1).replace("NaN", "null").replace("Infinity", "null")
        )
    return int(bool(refused or missed))


if __name__ == "__main__":
    sys.exit(main())
