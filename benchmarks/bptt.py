"""Backpropagation through time: what the double sum and the Jacobian product cost beside the recursion.

    OMP_NUM_THREADS=1 python benchmarks/bptt.py                      # a table, ten seconds
    OMP_NUM_THREADS=1 python benchmarks/bptt.py --picture bptt.png   # and both columns of it, drawn

Multiplications are those of numbers in products with U or with a step Jacobian made of it: what going back through time
costs. They are counted while the backward runs. The time is the shortest of several calls of the whole backward. The
last line says by which power of T each grew over the last doubling.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from derivations.bptt import BPTT_DOUBLE_SUM, BPTT_JACOBIANS
from derivations.rnn_columns import RNN_COLUMNS
from gradcheck import point

FORMS = {"recursion": RNN_COLUMNS, "double sum": BPTT_DOUBLE_SUM, "Jacobian product": BPTT_JACOBIANS}
LENGTHS = (8, 16, 32, 64, 128, 256)
M = 16


class Counted(np.ndarray):
    """A matrix that counts the multiplications of numbers in its matrix products, and so do its multiples."""

    multiplications = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        inputs = tuple(map(np.asarray, inputs))
        if "out" in kwargs:
            kwargs["out"] = tuple(map(np.asarray, kwargs["out"]))
        result = getattr(ufunc, method)(*inputs, **kwargs)
        if ufunc is np.matmul:
            Counted.multiplications += result.size * inputs[0].shape[-1]
        return result.view(Counted) if ufunc is np.multiply else result


class Cost(NamedTuple):
    """What one form costs at one length."""

    form: str
    T: int
    multiplications: int
    ms: float


def cost(form: str, T: int, repeats: int) -> Cost:
    """Count and time one form's backward of T steps, one sample and M units."""
    record = FORMS[form]
    rng = np.random.default_rng(T)
    out, cache = record.forward(*point(record.spec, T, T=T, B=1, N=M, M=M, f="tanh", g="identity"))
    cotangent = rng.standard_normal(out.shape)
    x, h_before, U, *rest = cache
    Counted.multiplications = 0
    record.backward(cotangent, (x, h_before, U.view(Counted), *rest))
    multiplications = Counted.multiplications
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        record.backward(cotangent, cache)
        times.append(time.perf_counter() - start)
    return Cost(form, T, multiplications, 1e3 * min(times))


def growth(costs: Sequence[Cost], quantity: str) -> float:
    """Return the power of T by which a quantity grew from the last but one length to the last."""
    before, last = costs[-2:]
    return math.log(getattr(last, quantity) / getattr(before, quantity)) / math.log(last.T / before.T)


def table(costs: dict[str, list[Cost]]) -> str:
    """Return the costs as text, a row for each length."""
    lines = [
        "".join(f"{form:>32}" for form in costs),
        "     T" + "".join(f"{'multiplications':>21}{'ms':>11}" for _ in costs),
    ]
    lines += [
        f"{row[0].T:6}" + "".join(f"{each.multiplications:21,}{each.ms:11.2f}" for each in row)
        for row in zip(*costs.values(), strict=True)
    ]
    powers = ((growth(each, "multiplications"), growth(each, "ms")) for each in costs.values())
    return "\n".join([*lines, "power " + "".join(f"{count:21.2f}{ms:11.2f}" for count, ms in powers)])


def draw(costs: dict[str, list[Cost]], path: Path) -> None:
    """Draw multiplications and time against the number of steps, on logarithmic axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (quantity, label) in zip(
        figure.subplots(1, 2), {"multiplications": "multiplications", "ms": "time (ms)"}.items(), strict=True
    ):
        for form, row in costs.items():
            axes.loglog([each.T for each in row], [getattr(each, quantity) for each in row], marker="o", label=form)
        axes.set_xlabel("steps T")
        axes.set_ylabel(label)
        axes.legend()
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="T", help="two or more")
    parser.add_argument("--repeats", type=int, default=3, help="calls of which the shortest counts (3)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the table")
    options = parser.parse_args(arguments)
    lengths = sorted(set(options.lengths))
    if len(lengths) < 2:
        parser.error("--lengths must be two or more, but is one. Add another: the powers need two.")
    costs = {form: [cost(form, T, options.repeats) for T in lengths] for form in FORMS}
    print(table(costs))
    if options.picture:
        draw(costs, options.picture)


if __name__ == "__main__":
    main()
