"""What reading a failing report costs beyond its check, in seconds of the processor and memory, at sizes of coursework.

    python -m benchmarks.steps_cost                all of them, each in a process of its own
    python -m benchmarks.steps_cost --only "conv*"

Memory is the peak of what Python and NumPy allocate while the answers are found (tracemalloc, in a run of its own, not
timed). "pass" is what the right backward's report costs to print: nothing is recorded.

Exits 1 if a report takes longer, or more memory, than the limit in ``ROWS``.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its BLAS: the time of the process is that of a core

import numpy as np

from derivations.lenet5 import LENET5
from derivations.rnn import RNN
from gradcheck import examine_backward, point
from tests.strangers import images, sequences
from tests.strangers.case import from_layers


class Row(NamedTuple):
    """A wrong backward at the sizes of coursework, and what its report may cost."""

    forward: Callable[..., Any]
    wrong: Callable[..., Any]
    right: Callable[..., Any]
    args: tuple[Any, ...]
    wrt: tuple[str, ...] | None = None
    seconds: float = 2.0
    megabytes: float = 300.0


def halved(backward: Callable[..., Any], which: int) -> Callable[..., Any]:
    """Return a backward of which one gradient is half of what it should be."""

    def wrong(dout: Any, cache: Any) -> Any:
        found = list(backward(dout, cache))
        found[which] = found[which] * 0.5
        return tuple(found)

    return wrong


def normal(*shapes: Any, size: float = 0.4) -> tuple[np.ndarray, ...]:
    """Return arrays of these shapes, always the same."""
    rng = np.random.default_rng(0)
    return tuple(size * rng.standard_normal(shape) for shape in shapes)


class Lstm:
    """An LSTM that keeps what every step made, as an object."""

    def __init__(self, n_in: int, n_hidden: int) -> None:
        rng = np.random.default_rng(1)
        self.W = 0.3 * rng.standard_normal((4 * n_hidden, n_in + n_hidden))
        self.b = 0.1 * rng.standard_normal(4 * n_hidden)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)
        self.H = n_hidden

    def forward(self, x: Any) -> Any:
        """Return the states of all steps."""
        N, T, _ = x.shape
        h, c = np.zeros((N, self.H)), np.zeros((N, self.H))
        self.steps, out = [], []
        for t in range(T):
            z = np.concatenate([x[:, t], h], axis=1)
            i, f, o, g = np.split(z @ self.W.T + self.b, 4, axis=1)
            i, f, o, g = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o)), np.tanh(g)
            before, c = c, f * c + i * g
            h = o * np.tanh(c)
            self.steps.append((z, i, f, o, g, before, c))
            out.append(h)
        return np.stack(out, axis=1)

    def backward(self, dout: Any) -> Any:
        """Return the gradient of the input; those of the weights are kept."""
        N, T, H = dout.shape
        dx = np.zeros((N, T, self.W.shape[1] - H))
        dh, dc = np.zeros((N, H)), np.zeros((N, H))
        for t in reversed(range(T)):
            z, i, f, o, g, before, c = self.steps[t]
            dh = dh + dout[:, t]
            dc = dc + dh * o * (1 - np.tanh(c) ** 2)
            da = np.concatenate(
                [dc * g * i * (1 - i), dc * before * f * (1 - f), dh * np.tanh(c) * o * (1 - o), self.gate(dc * i, g)],
                axis=1,
            )
            self.dW += da.T @ z
            self.db += da.sum(axis=0)
            dz = da @ self.W
            dx[:, t], dh = dz[:, :-H], dz[:, -H:]
            dc = dc * f
        return dx

    def gate(self, dg: Any, g: Any) -> Any:
        """Pull the candidate back."""
        return dg * (1 - g**2)


class WrongLstm(Lstm):
    """The derivative of the candidate is forgotten."""

    def gate(self, dg: Any, g: Any) -> Any:  # noqa: ARG002  (which is the mistake)
        """Forget it."""
        return dg


def rows() -> dict[str, Callable[[], Row]]:
    """Return each row by its name."""

    def lenet() -> Row:
        args = point(LENET5.spec, N=2)

        def wrong(dL: Any, cache: Any) -> Any:
            dX, dparams = LENET5.backward(dL, cache)
            layer = next(iter(dparams))
            return dX, dparams | {layer: tuple(2 * g for g in dparams[layer])}

        return Row(LENET5.forward, wrong, LENET5.backward, args, LENET5.wrt)

    def rnn(T: int) -> Row:
        args = point(RNN.spec, T=T, n=4, d=10, h=16, V=10)
        return Row(RNN.forward, halved(RNN.backward, 2), RNN.backward, args, RNN.wrt, 0.3 * max(1, T / 20))

    def lstm() -> Row:
        (x,) = normal((4, 20, 6))
        forward, wrong, right = from_layers(Lstm(6, 8), WrongLstm(6, 8))
        return Row(forward, wrong, right, (x,))

    def naive(shape: tuple[int, ...], kernel: tuple[int, ...], seconds: float, megabytes: float) -> Row:
        x, w, b = normal(shape, kernel, kernel[:1])
        forward, right = images.conv_forward_naive, images.conv_backward_naive
        args = (x, w, b, {"stride": 2 if shape[2] == 4 else 1, "pad": 1})
        return Row(forward, halved(right, 1), right, args, None, seconds, megabytes)

    def gru() -> Row:
        forward, right = sequences.gru_forward, sequences.gru_backward
        case = next(case for case in sequences.CASES if case.forward is forward)
        return Row(forward, case.backward, right, case.args(np.random.default_rng(0)))

    return {
        "lenet5, batch 2": lenet,
        "rnn of 20 steps": lambda: rnn(20),
        "rnn of 60 steps": lambda: rnn(60),
        "lstm object of 20 steps": lstm,
        "gru": gru,
        "conv by four loops, small": lambda: naive((2, 3, 5, 5), (2, 3, 3, 3), 2.0, 300.0),
        "conv by four loops, notebook": lambda: naive((10, 3, 4, 4), (8, 3, 3, 3), 5.0, 300.0),
    }


def measure(name: str) -> str:
    """Return the line of a row."""
    row = rows()[name]()

    def report(backward: Callable[..., Any]) -> Any:
        return examine_backward(row.forward, backward, row.args, wrt=row.wrt, seed=0)

    passed = report(row.right)
    start = time.process_time()
    str(passed)
    printing = time.process_time() - start
    failed = report(row.wrong)
    start = time.process_time()
    str(failed)
    seconds = time.process_time() - start
    again = report(row.wrong)
    tracemalloc.start()
    _ = again.answers
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    first = failed.explanations[0].sentence if failed.explanations else f"no explanation: {failed.silence}"
    wrong = [step.line for step in failed.steps if step.verdict == "wrong"]
    fits = seconds <= row.seconds and peak <= row.megabytes
    return (
        f"{'' if fits else 'TOO MUCH '}{name:30} {seconds:6.2f} s of {row.seconds:g}, {peak:5.0f} MB of "
        f"{row.megabytes:g}; pass {printing * 1e3:.1f} ms; wrong lines {wrong}; {first[:90]}"
    )


def main() -> int:
    """Measure every row in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*")
    parser.add_argument("--row")
    given = parser.parse_args()
    if given.row:
        print(measure(given.row))
        return 0
    worst = 0
    for name in fnmatch.filter(rows(), given.only):
        command = [sys.executable, "-m", "benchmarks.steps_cost", "--row", name]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603  (our own)
        print(line, flush=True)
        worst |= line.startswith("TOO MUCH")
    return worst


if __name__ == "__main__":
    sys.exit(main())
