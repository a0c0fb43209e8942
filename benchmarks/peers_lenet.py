"""What one check of a whole LeNet-5 costs, and how large an error it lets pass: this library and its peers.

    python benchmarks/peers_lenet.py

All gradients of the NumPy network (image and 14 parameter arrays, batch 2), each checker in one run on one core at its
defaults (peers.py), autograd's in first order and reverse mode for all arguments. Times are medians of the
processor time of repeated calls, which other work on the machine disturbs least.

Peers check the NumPy pair as one operation of theirs; and once more the way of their own users, who write the network
in their arrays (natives.py) and have its gradients made by their machinery.

torch's slow mode perturbs every entry alone. It is not run to its end: its time for a few parameter arrays is measured,
and continued in proportion to the number of entries.

What could hide is put in one unit, so that a tolerance along one direction can be compared with one for every entry: an
error of that size, relative to the norm of an argument's gradient (for autograd, of all gradients together), would pass
with a probability of at most 1e-6. For one random direction with tolerance τ that is √(2/π) τ 1e6 (probes.py);
for all entries it is the norm of their tolerances.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its BLAS

import numpy as np
from natives import in_autograd, in_torch
from peers import PEERS, check_with_autograd, check_with_torch
from speed import median_seconds as median_of

from derivations.lenet5 import LENET5
from gradcheck import autodiff, central_difference, check_backward, complex_step, point
from gradcheck.report import CONFIDENCE

FEW = ("S2",)  # the layers of a short and of a longer run of torch's slow mode
MORE = ("S2", "C1", "output")
median_seconds = partial(median_of, clock=time.process_time)
ONE_PROBE = math.sqrt(2 / math.pi) / CONFIDENCE


class Network(NamedTuple):
    """LeNet-5 as a function of a plain tuple of arrays: some layers' parameters, or all of them and the image."""

    forward: Callable[..., Any]
    backward: Callable[[Any, Any], tuple[np.ndarray, ...]]
    args: tuple[np.ndarray, ...]


class Row(NamedTuple):
    """A line of the table."""

    name: str
    seconds: float
    hidden: float
    note: str = ""


def flat(args: Sequence[Any], layers: Sequence[str] | None = None) -> Network:
    """Return the network as a function of the parameters of ``layers`` alone, or by default of everything."""
    X, params, labels = args
    moving = tuple(layers or params)

    def forward(*arrays):
        x, rest = (X, arrays) if layers else (arrays[0], arrays[1:])
        moved = {layer: (rest[2 * i], rest[2 * i + 1]) for i, layer in enumerate(moving)}
        return LENET5.forward(x, params | moved, labels)

    def backward(dL, cache):
        dX, dparams = LENET5.backward(dL, cache)
        gradients = tuple(gradient for layer in moving for gradient in dparams[layer])
        return gradients if layers else (dX, *gradients)

    arrays = tuple(array for layer in moving for array in params[layer])
    return Network(forward, backward, arrays if layers else (X, *arrays))


def must_pass(check: Callable[..., str], network: Network) -> None:
    """Run a peer's check of the right network, which it has to pass for its time to count."""
    verdict = check(network.forward, network.backward, network.args, 0)
    if verdict != "pass":
        raise RuntimeError(f"{check} must pass the right gradients of LeNet-5, but said {verdict}. Change the seed.")


def ours(args: Sequence[Any], repeats: int) -> list[Row]:
    rows = []
    for oracle in (central_difference, complex_step, autodiff(LENET5.reference)):
        bounds: list[float] = []

        def check(oracle: Any = oracle, bounds: list[float] = bounds) -> None:
            bounds.append(check_backward(LENET5.forward, LENET5.backward, args, oracle=oracle).bound)

        seconds = median_seconds(check, repeats)
        rows.append(Row(f"gradcheck, {oracle.__name__}", seconds, statistics.median(bounds)))
    return rows


def must_compute(loss: float, native: Callable[..., Any], arrays: Sequence[Any]) -> None:
    """Make sure that a peer's own network is the NumPy one."""
    found = float(native(*arrays))
    if not math.isclose(found, loss, rel_tol=1e-12):
        raise RuntimeError(f"{native} must return the loss {loss!r} of the NumPy network, but it returned {found!r}.")


def autograds(network: Network, labels: np.ndarray, repeats: int) -> list[Row]:
    from autograd.test_util import check_grads

    gradients = _gradients(network)
    norm = math.hypot(*(float(np.linalg.norm(gradient)) for gradient in gradients))
    hidden = ONE_PROBE * max(1e-6, 2e-6 * norm) / norm  # |a − b| < 1e-6 or |a − b| < 1e-6 |a + b|
    seconds = median_seconds(partial(must_pass, check_with_autograd, network), repeats)
    native = in_autograd(labels)
    must_compute(float(network.forward(*network.args)[0]), native, network.args)
    check = check_grads(native, tuple(range(len(network.args))), modes=["rev"], order=1)
    own = median_seconds(lambda: check(*network.args), repeats)
    return [
        Row("autograd check_grads", seconds, hidden),
        Row("autograd check_grads, network in autograd.numpy", own, hidden),
    ]


def torchs(args: Sequence[Any], network: Network, repeats: int) -> list[Row]:
    gradients = _gradients(network)
    norms = [float(np.linalg.norm(gradient)) for gradient in gradients]
    fast_hidden = max(ONE_PROBE * (1e-3 * n + 1e-5) / n for n in norms)
    slow_hidden = max(
        float(np.linalg.norm(1e-5 + 1e-3 * np.abs(gradient))) / n for gradient, n in zip(gradients, norms, strict=True)
    )
    fast = median_seconds(partial(must_pass, partial(check_with_torch, fast_mode=True), network), repeats)
    few, more = flat(args, FEW), flat(args, MORE)
    entries = [sum(array.size for array in part.args) for part in (few, more, network)]
    short, longer = (median_seconds(partial(must_pass, check_with_torch, part), 3) for part in (few, more))
    each = (longer - short) / (entries[1] - entries[0])
    slow = short + each * (entries[2] - entries[0])
    note = f"continued from {longer:.1f} s for {entries[1]} of {entries[2]} entries"
    return [
        Row("torch gradcheck, fast", fast, fast_hidden),
        Row("torch gradcheck, slow", slow, slow_hidden, note),
        Row("torch gradcheck, fast, network in torch", _own_fast(network, args[2], repeats), fast_hidden),
        Row("torch gradcheck, slow, network in torch", *_own_slow(network, args[2], entries[2], slow_hidden)),
    ]


def _own_fast(network: Network, labels: np.ndarray, repeats: int) -> float:
    """Return the time of torch's fast mode for its own network."""
    import torch

    native, arrays = in_torch(labels), tuple(torch.from_numpy(a.copy()).requires_grad_() for a in network.args)
    must_compute(float(network.forward(*network.args)[0]), lambda *xs: native(*xs).detach(), arrays)
    return median_seconds(lambda: torch.autograd.gradcheck(native, arrays, fast_mode=True), repeats)


def _own_slow(network: Network, labels: np.ndarray, entries: int, hidden: float) -> tuple[float, float, str]:
    """Return the time of torch's slow mode for its own network, continued from its first kernels and biases."""
    import torch

    native = in_torch(labels)
    times, sizes = [], []
    for moving in ((2,), (1, 2, 3, 4)):  # positions of the parameters of C1 and S2
        arrays = tuple(torch.from_numpy(a.copy()).requires_grad_(i in moving) for i, a in enumerate(network.args))
        times.append(median_seconds(lambda arrays=arrays: torch.autograd.gradcheck(native, arrays), 3))
        sizes.append(sum(network.args[i].size for i in moving))
    each = (times[1] - times[0]) / (sizes[1] - sizes[0])
    note = f"continued from {times[1]:.1f} s for {sizes[1]} of {entries} entries"
    return times[0] + each * (entries - sizes[0]), hidden, note


def _gradients(network: Network) -> tuple[np.ndarray, ...]:
    out, cache = network.forward(*network.args)
    return network.backward(np.ones_like(out)[()], cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    args = point(LENET5.spec, options.seed, N=2)
    network = flat(args)
    installed = {peer.package for peer in PEERS if peer.installed}
    rows = ours(args, options.repeats)
    if "autograd" in installed:
        rows += autograds(network, args[2], options.repeats)
    if "torch" in installed:
        rows += torchs(args, network, options.repeats)
    first = rows[0].seconds
    forward = median_seconds(lambda: network.forward(*network.args), 50)
    print(f"LeNet-5, batch 2, {sum(array.size for array in network.args)} entries, forward {1e3 * forward:.2f} ms\n")
    print("| checker | time | relative | an error that could hide | |\n|---|---:|---:|---:|---|")
    for row in rows:
        hidden = f"{row.hidden:.1e}" if row.hidden < 1 else f"{row.hidden:.1e} (any)"
        print(f"| {row.name} | {1e3 * row.seconds:.1f} ms | {row.seconds / first:.2f} × | {hidden} | {row.note} |")
    print(*(f"{package}: not installed" for package in ("autograd", "torch") if package not in installed), sep="\n")


if __name__ == "__main__":
    main()
