"""A long random campaign: every derivation, right and with a planted mistake, at many shapes, scales and dtypes.

    python benchmarks/campaign.py --checks 100000 --workers 2 --state DIR     run, or go on after a stop of any kind
    python benchmarks/campaign.py --right --checks 100000 --state DIR         the same units, but with nothing planted
    python benchmarks/campaign.py --replay UNIT --seed S                      do one check again, and print its report

Unit number i of seed S is one check, the same one each time. It draws a derivation, its sizes (any, none of them 1, or
all of them smallest), scales, a dtype, an oracle, and whether to plant a mistake in one leaf of the gradient.
Scales are powers of ten, one for each float array: 1e-6 … 1e6 where the derivation is linear, a polynomial or has
kinks only; 1e-4 … 1 where a larger one would saturate a sigmoid or a softmax, whose gradient no digits are left of.
A mistake is planted only where it changes the leaf by more than ``SEEN`` of its norm, and a pass that it survives is a
miss. Counted by themselves are passes that claim less: *blunt*, the report states a bound wider than the mistake, and
*vacuous*, it says that the leaf has no effect that could be seen.

Every finished unit is a line of a file in DIR that is only ever appended to. Exits 1 after a miss, a false alarm (also
one about a leaf beside the wrong one) or an exception; each of them is printed as the line that replays it.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import derivations
import gradcheck
from gradcheck import Derivation, Report, Verdict, central_difference, complex_step, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.shapes.sizes import generic, least, mixed
from gradcheck.trees import leaves, rebuild
from gradcheck.verdict.judge import VACUOUS
from gradcheck.verdict.laws import match_gradients

CHUNK = 50  # units between two fsyncs: what a power cut, but no kill, may cost
PATIENCE = 60.0  # seconds between two lines of progress
SEEN = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-2}
RARE = {"lenet5": 0.1}  # one check of it takes as long as ten others
ANY_SCALE = {
    "affine", "identity", "relu", "cross_entropy", "squared_loss", "weight_decay",
    "conv", "conv_strided", "pooling_max", "pooling_mean", "pooling_trainable",
}  # fmt: skip
TIES = {"relu", "pooling_max"}  # where whole numbers are ties and kinks
RIGHT, WRONG = ("pass", "inconclusive"), ("caught", "undecided", "blunt", "vacuous", "unplanted")
BAD = ("FALSE ALARM", "MISSED", "RAISED")


class Plan(NamedTuple):
    """What one unit does."""

    derivation: Derivation
    args: tuple[Any, ...]
    regime: str
    oracle: Callable[..., Any]
    wrong: bool
    rng: np.random.Generator


class Plant(NamedTuple):
    """A mistake in the gradient of one leaf, as a function of all gradients by path."""

    path: str
    name: str
    apply: Callable[[dict[str, np.ndarray]], np.ndarray]


# -- what a unit draws


def plan(unit: int, seed: int, *, right: bool = False) -> Plan:
    """Return what ``unit`` does; the same each time. With ``right`` it plants nothing and is else the same."""
    rng = np.random.default_rng((seed, unit))
    weights = np.array([RARE.get(each.name, 1.0) for each in derivations.ALL])
    derivation = derivations.ALL[int(rng.choice(len(weights), p=weights / weights.sum()))]
    sizes = str(rng.choice(["any sizes", "no size 1", "smallest sizes"], p=[0.45, 0.4, 0.15]))
    if sizes == "smallest sizes":
        choices = least(derivation.spec)
    else:
        choices = (generic if sizes == "no size 1" else mixed)(derivation.spec, rng)
    args = derivation.spec.point(choices, int(rng.integers(2**32)))
    wrong, oracle = bool(rng.random() < 0.6), central_difference
    values = str(rng.choice(["as drawn", "scaled", "scaled alike"], p=[0.5, 0.35, 0.15]))
    if derivation.name in TIES and rng.random() < 0.2:
        values, wrong = "ties", False
    elif rng.random() < 0.1:
        oracle = complex_step
    dtype = "float32" if rng.random() < 0.2 else "float64"
    args = _valued(args, values, dtype, derivation.name in ANY_SCALE, rng)
    regime = f"{sizes} {choices}, {values}, {dtype}, {oracle.__name__}"
    return Plan(derivation, args, regime, oracle, wrong and not right, rng)


def _valued(args: tuple[Any, ...], values: str, dtype: str, anywhere: bool, rng: np.random.Generator) -> Any:
    """Return ``args`` with their float arrays scaled or rounded, in ``dtype``."""
    low, high = (-6, 6) if anywhere else (-4, 0)
    common = 10.0 ** rng.integers(low, high + 1)

    def value(leaf: Any) -> Any:
        if not (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"):
            return leaf
        if values == "ties":
            leaf = np.round(leaf)
        elif values == "scaled alike":
            leaf = leaf * common
        elif values == "scaled":
            leaf = leaf * 10.0 ** rng.integers(low, high + 1)
        return leaf.astype(dtype)

    return rebuild(args, (value(leaf) for _, leaf in leaves(args, "args")))


def plants(gradients: dict[str, np.ndarray], rng: np.random.Generator) -> Iterator[Plant]:
    """Yield mistakes that fit ``gradients``, in random order."""
    found = [plant for path in gradients for plant in _plants_of(path, gradients, rng)]
    for i in rng.permutation(len(found)):
        yield found[i]


def _plants_of(path: str, gradients: dict[str, np.ndarray], rng: np.random.Generator) -> Iterator[Plant]:
    here = gradients[path]
    factor = 1 + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-6, -0.3)
    for by in (0.0, -1.0, 2.0, float(factor)):
        yield Plant(path, f"d{path} times {by!r}", lambda g, by=by: g[path] * np.asarray(by, here.dtype))
    index = tuple(int(rng.integers(n)) for n in here.shape)
    yield Plant(path, f"d{path}{list(index)} times 1.001", lambda g: _entry_scaled(g[path], index))
    for axis, size in enumerate(here.shape):
        if size > 1:
            yield Plant(path, f"d{path} shifted along axis {axis}", lambda g, axis=axis: np.roll(g[path], 1, axis))
    if here.ndim and here.shape[0] > 1:
        yield Plant(path, f"d{path} with row {index[0]} zero", lambda g: _row_dropped(g[path], index[0]))
    if here.ndim == 2 and here.shape[0] == here.shape[1] > 1:
        yield Plant(path, f"d{path} transposed", lambda g: g[path].T.copy())
    for other, gradient in gradients.items():
        if other != path and gradient.shape == here.shape:
            yield Plant(path, f"d{other} in the place of d{path}", lambda g, other=other: g[other].copy())


def _entry_scaled(gradient: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    gradient = gradient.copy()
    gradient[index] *= 1.001
    return gradient


def _row_dropped(gradient: np.ndarray, row: int) -> np.ndarray:
    gradient = gradient.copy()
    gradient[row] = 0.0
    return gradient


def change(right: np.ndarray, wrong: np.ndarray) -> float:
    """Return how far apart two gradients are, relative to the norm of the right one; 0.0 if that is zero."""
    right, wrong = right.astype(np.float64), wrong.astype(np.float64)
    norm = float(np.linalg.norm(right))
    return float(np.linalg.norm(wrong - right)) / norm if norm else 0.0


class Planted:
    """A backward with a mistake in one leaf; remembers how much the mistake changed in its first call."""

    def __init__(self, backward: Callable[..., Any], arguments: Arguments, plant: Plant) -> None:
        self.backward, self.arguments, self.plant = backward, arguments, plant
        self.change: float | None = None

    def __call__(self, dout: Any, cache: Any) -> Any:
        """Return what the backward returns, but for one leaf."""
        returned = self.backward(dout, cache)
        gradients = match_gradients("backward", returned, self.arguments).gradients
        right = gradients[self.plant.path]
        wrong = self.plant.apply(gradients).astype(right.dtype)
        if self.change is None:
            self.change = change(right, wrong)
        place = self.arguments.layout.paths.index(self.plant.path)
        parts = [wrong if i == place else leaf for i, (_, leaf) in enumerate(leaves(returned, "returned"))]
        return rebuild(returned, iter(parts))


def planted(plan: Plan, arguments: Arguments) -> Planted | None:
    """Return a backward with a mistake that can be seen, None where no mistake changes anything."""
    out, cache = plan.derivation.forward(*arguments.fresh())
    dout = rebuild(out, (plan.rng.standard_normal(np.shape(y)).astype(y.dtype)[()] for _, y in leaves(out, "out")))
    gradients = match_gradients("backward", plan.derivation.backward(dout, cache), arguments).gradients
    for plant in plants(gradients, plan.rng):
        right = gradients[plant.path]
        if change(right, plant.apply(gradients)) > SEEN[right.dtype]:
            return Planted(plan.derivation.backward, arguments, plant)
    return None


# -- what a unit finds


def check(unit: int, seed: int, *, right: bool = False) -> tuple[dict[str, Any], Report | None]:
    """Do the check of ``unit``; return its record, which JSON can hold, and its report where there is one."""
    one = plan(unit, seed, right=right)
    record = {"unit": unit, "derivation": one.derivation.name, "wrong": one.wrong, "regime": one.regime}
    try:
        with np.errstate(all="ignore"):
            arguments = Arguments.of(one.derivation.forward, one.args, one.derivation.wrt)
            backward = planted(one, arguments) if one.wrong else one.derivation.backward
            if backward is None:
                return record | {"outcome": "unplanted"}, None
            how = {"oracle": one.oracle, "wrt": one.derivation.wrt, "seed": unit, "hints": False}
            report = examine_backward(one.derivation.forward, backward, one.args, **how)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what the campaign looks for)
        return record | {"outcome": "RAISED", "reason": f"{type(error).__name__}: {error}"}, None
    return record | (_of_wrong(report, backward) if one.wrong else _of_right(report)), report


def _of_right(report: Report) -> dict[str, Any]:
    outcome = {Verdict.PASS: "pass", Verdict.INCONCLUSIVE: "inconclusive", Verdict.FAIL: "FALSE ALARM"}[report.verdict]
    return {"outcome": outcome, "reason": None if outcome == "pass" else str(report)}


def _of_wrong(report: Report, backward: Planted) -> dict[str, Any]:
    path, there = backward.plant.path, report.arguments[backward.plant.path]
    beside = {name: finding for name, finding in report.arguments.items() if name != path}
    failed = any(finding.verdict is Verdict.FAIL for finding in beside.values())
    if failed or (report.verdict is Verdict.FAIL and there.verdict is not Verdict.FAIL):
        outcome = "FALSE ALARM"  # about another leaf, or about the backward as a whole
    elif there.verdict is not Verdict.PASS:
        outcome = "caught" if there.verdict is Verdict.FAIL else "undecided"
    elif there.reason == VACUOUS:
        outcome = "vacuous"
    else:
        outcome = "MISSED" if backward.change > there.bound else "blunt"
    reason = str(report) if outcome == "FALSE ALARM" else f"{path}: {there.reason or there.verdict}"
    return {
        "outcome": outcome,
        "planted": backward.plant.name,
        "change": backward.change,
        "bound": str(there.bound),
        "reason": reason,
    }


# -- the state: files of lines that are only ever appended to


def opened(state: Path, seed: int, *, right: bool = False) -> None:
    """Make ``state`` the directory of this seed and these sources, or make sure that it is.

    Raises:
        SystemExit: it belongs to another seed, to another choice of ``right``, or to other sources of the check or
            the derivations.
    """
    state.mkdir(parents=True, exist_ok=True)
    mine, file = {"seed": seed, "right": right, "sources": _sources()}, state / "campaign.json"
    if not file.exists():
        half = state / f"campaign.json.{os.getpid()}"
        half.write_text(json.dumps(mine))
        half.replace(file)
    found = json.loads(file.read_text())
    if found != mine:
        what = "of other sources"
        if found["seed"] != seed:
            what = f"of seed {found['seed']}"
        elif found["right"] != right:
            what = "of right gradients alone" if found["right"] else "of right and wrong gradients"
        raise SystemExit(f"--state must name a directory of this campaign, but {state} is {what}. Choose another one.")


def _sources() -> str:
    """Return a digest of everything that the outcome of a unit depends on."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for package in (gradcheck, derivations):
        folder = Path(str(package.__file__)).parent
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def finished(state: Path) -> dict[int, dict[str, Any]]:
    """Return the records of all finished units by number; a line that a kill tore is ignored."""
    records = {}
    for shard in sorted(state.glob("*.jsonl")):
        for line in shard.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            records[record["unit"]] = record
    return records


def work(seed: int, right: bool, chunks: Iterable[list[int]], state: Path) -> None:
    """Do the units of ``chunks`` and append their records to a file of this process's own."""
    if parent := multiprocessing.parent_process():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    with (state / f"{time.time_ns()}-{os.getpid()}.jsonl").open("x") as shard:
        for chunk in chunks:
            for unit in chunk:
                if parent and not parent.is_alive():
                    return
                started = time.perf_counter()
                record, _ = check(unit, seed, right=right)
                record["seconds"] = round(time.perf_counter() - started, 4)
                shard.write(json.dumps(record) + "\n")
                shard.flush()
            os.fsync(shard.fileno())


def run(checks: int, workers: int, seed: int, state: Path, *, right: bool = False) -> None:
    """Do what is left of units 0 … ``checks`` − 1; with one worker in this process."""
    done = finished(state)
    left = [unit for unit in range(checks) if unit not in done]
    chunks = [left[i : i + CHUNK] for i in range(0, len(left), CHUNK)]
    if workers == 1:
        work(seed, right, chunks, state)
        return
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=(seed, right, chunks[i::workers], state)) for i in range(workers)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            while process.is_alive():
                process.join(PATIENCE)
                print(f"{len(finished(state))} of {checks} checks", file=sys.stderr, flush=True)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()


# -- what is said


def summary(records: Iterable[dict[str, Any]]) -> str:
    """Return the table of counts and the totals."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for record in records:
        for row in (record["derivation"], "total"):
            counts[row][record["outcome"]] += 1
            counts[row]["wrong" if record["wrong"] else "right"] += 1
    rows = [each.name for each in derivations.ALL if each.name in counts] + ["total"]
    columns = ("right", *RIGHT, "wrong", *WRONG, *BAD)
    lines = [f"{'':22}" + "".join(f"{column:>13}" for column in columns)]
    lines += [f"{row:22}" + "".join(f"{counts[row][column]:13}" for column in columns) for row in rows]
    return "\n".join(lines)


def replays(records: Iterable[dict[str, Any]], seed: int, *, right: bool = False) -> list[str]:
    """Return every record that is a miss, a false alarm or an exception as the line that replays it."""
    only = " --right" if right else ""
    return [
        f"python benchmarks/campaign.py{only} --replay {record['unit']} --seed {seed}   # {record['outcome']}: "
        f"{record['derivation']}, {record['regime']}, {record.get('planted', 'right')}"
        for record in records
        if record["outcome"] in BAD
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--right", action="store_true", help="plant nothing: only right gradients")
    parser.add_argument("--state", type=Path, help="where the records of finished units are kept")
    parser.add_argument("--replay", type=int, metavar="UNIT", help="do this one check again and print what it finds")
    options = parser.parse_args(argv)
    if options.replay is not None:
        record, report = check(options.replay, options.seed, right=options.right)
        print(json.dumps(record, indent=2))
        print("no report" if report is None else report)
        return int(record["outcome"] in BAD)
    if options.state is None or options.checks < 1 or options.workers < 1:
        parser.error("--state must name a directory, and --checks and --workers must be at least 1. Or pass --replay.")
    opened(options.state, options.seed, right=options.right)
    try:
        run(options.checks, options.workers, options.seed, options.state, right=options.right)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    records = [record for unit, record in sorted(finished(options.state).items()) if unit < options.checks]
    print(summary(records))
    bad = replays(records, options.seed, right=options.right)
    print("\n".join(bad), end="\n" if bad else "")
    if len(records) < options.checks:
        print(f"{options.checks - len(records)} units are not finished; the same command goes on from here")
    return int(bool(bad) or len(records) < options.checks)


if __name__ == "__main__":
    sys.exit(main())
