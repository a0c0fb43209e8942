"""Train a network with its hand-written gradients, and see what it has learnt.

    python -m derivations.train mlp        # handwritten digits
    python -m derivations.train lenet5     # the same digits, enlarged
    python -m derivations.train rnn        # the next character of The Zen of Python
    python -m derivations.train mlp --picture loss.png --epochs 50 --rate 0.2 --decay 1e-3 --clip 1

A fifth of the data, drawn at random, is held out. As the settings stand, with one core, the perceptron reads 98.6 % of
the digits held out rightly (1800 steps, 0.3 s), LeNet-5 97.5 % (675 steps, 6.5 s). The recurrent net's loss falls from
2.84 to 0.24 nats a character (1200 steps, 0.8 s), the means of the first and the last tenth of the steps; of the
characters held out it foresees 21 %, where naming the commonest alone would give 13 %: it has 684 to learn from.

The accuracy is that of the most probable class, of the probabilities that the softmax cross-entropy keeps.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from derivations.descent import Reduction, Values, arguments, batches, decay_of_weights, descend
from derivations.lenet5 import LENET5, enlarged, lenet5_args
from derivations.mlp import MLP, mlp_args
from derivations.rnn import RNN, rnn_args
from gradcheck.derivation import Derivation

__all__ = ["TASKS", "Task", "accuracy", "split"]


@dataclass(frozen=True)
class Task:
    """A network, its data, and settings with which it learns.

    ``params(rng)`` are where it starts. ``data()`` holds arrays, whose samples lie along ``axes``, and settings.
    ``loss`` takes the cache of the softmax cross-entropy out of that of the network.
    """

    network: Derivation
    params: Callable[[np.random.Generator], dict[str, Any]]
    data: Callable[[], dict[str, Any]]
    axes: dict[str, int]
    loss: Callable[[Any], Any]
    epochs: int
    rate: float
    batch: int
    clip: float = math.inf


def _mlp_params(rng: np.random.Generator) -> dict[str, Any]:
    _, layers, *_ = mlp_args(rng, 2, 1, 64, 32, 10, "tanh", "softmax_cross_entropy")
    return {"layers": layers}


def _mlp_data() -> dict[str, Any]:
    from derivations.digits import digits

    images, labels = digits(1797)
    X = images.reshape(-1, 64)
    return {"X": X, "target": labels, "activation": "tanh", "loss": "softmax_cross_entropy"}


def _lenet5_params(rng: np.random.Generator) -> dict[str, Any]:
    _, params, _ = lenet5_args(rng, 1)
    return {"params": params}


def _lenet5_data() -> dict[str, Any]:
    from derivations.digits import digits

    images, labels = digits(1797)
    return {"X": enlarged(images), "labels": labels}


def _rnn_params(rng: np.random.Generator) -> dict[str, Any]:
    from derivations.text import zen

    V = len(set(zen()))
    _, _, Wxh, Whh, bh, Whs, bs, *_ = rnn_args(rng, 1, 1, V, 64, V, "tanh")
    return {"Wxh": Wxh, "Whh": Whh, "bh": bh, "Whs": Whs, "bs": bs}


def _rnn_data() -> dict[str, Any]:
    """The text in stretches of 19 characters, and a state of zeros before each."""
    from derivations.text import next_characters

    X, labels = next_characters(19, 45)
    return {"X": X, "labels": labels, "h0": np.zeros((45, 64)), "activation": "tanh"}


TASKS = {
    "mlp": Task(MLP, _mlp_params, _mlp_data, {"X": 0, "target": 0}, itemgetter(1), epochs=40, rate=0.3, batch=32),
    "lenet5": Task(
        LENET5, _lenet5_params, _lenet5_data, {"X": 0, "labels": 0}, itemgetter(-1), epochs=15, rate=0.1, batch=32
    ),
    "rnn": Task(
        RNN,
        _rnn_params,
        _rnn_data,
        {"X": 1, "labels": 1, "h0": 0},
        itemgetter(-2),
        epochs=200,
        rate=0.5,
        batch=6,
        clip=1.0,
    ),
}


def count(task: Task, data: Values) -> int:
    """Return how many samples ``data`` holds."""
    return int(data["X"].shape[task.axes["X"]])


def rows(task: Task, data: Values, which: ndarray) -> dict[str, Any]:
    """Return the samples of these numbers; what is no array of samples stays."""
    return {name: np.take(each, which, task.axes[name]) if name in task.axes else each for name, each in data.items()}


def split(task: Task, data: Values, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return four fifths of the samples to learn from and one fifth to be held out, drawn at random."""
    order = rng.permutation(count(task, data))
    held_out = len(order) // 5
    return rows(task, data, order[held_out:]), rows(task, data, order[:held_out])


def accuracy(task: Task, params: Values, data: Values) -> float:
    """Return the share of labels that are the most probable class."""
    total = count(task, data)
    parts = np.array_split(np.arange(total), math.ceil(total / 64))  # all windows of all images would fill the memory
    return float(np.mean(np.concatenate([_hits(task, params, rows(task, data, part)) for part in parts])))


def _hits(task: Task, params: Values, data: Values) -> ndarray:
    """Return for every label whether it is the most probable class."""
    labels = data["target" if "target" in data else "labels"]
    _, cache = task.network.forward(*arguments(task.network, params, data).values())
    p, *_ = task.loss(cache)
    hits: ndarray = np.argmax(p, axis=-1) == labels.ravel()
    return hits


def epochs(task: Task, data: Values, rng: np.random.Generator, number: int, size: int) -> Iterator[dict[str, Any]]:
    """Yield the batches of some epochs, each of which goes through all samples in a new order."""
    for _ in range(number):
        for which in batches(rng, count(task, data), size):
            yield rows(task, data, which)


def draw(losses: Sequence[float], name: str, path: Path) -> None:
    """Draw the loss of every batch, on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.semilogy(losses, linewidth=0.7)
    axes.set_xlabel("step")
    axes.set_ylabel(f"loss of the batch ({name})")
    figure.savefig(path)


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be larger than 0, but is {text}. Raise it, or leave it out.")
    return value


def _number(text: str) -> int:
    if not int(text) > 0:
        raise argparse.ArgumentTypeError(f"must be 1 or more, but is {text}. Raise it, or leave it out.")
    return int(text)


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m derivations.train", description="Train a network with its hand-written gradients."
    )
    parser.add_argument("task", choices=TASKS, help="what to train")
    parser.add_argument("--epochs", type=_number, help="how often every sample is used (mlp 40, lenet5 15, rnn 200)")
    parser.add_argument("--batch", type=_number, help="samples a step (32, for rnn 6)")
    parser.add_argument("--rate", type=_positive, help="learning rate (mlp 0.3, lenet5 0.1, rnn 0.5)")
    parser.add_argument("--decay", type=float, default=0.0, help="weight decay, of matrices and kernels (0)")
    parser.add_argument("--clip", type=_positive, help="largest norm of a gradient (rnn 1, others any)")
    parser.add_argument("--reduction", choices=("mean", "sum"), default="mean", help="over a batch (mean)")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the start and the batches (0)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the loss of every step")
    return parser.parse_args(given)


def train(
    task: Task, learn: Values, options: argparse.Namespace, rng: np.random.Generator
) -> tuple[dict[str, Any], list[float]]:
    """Return the trained parameters and the loss of every step, showing a progress bar."""
    from rich.console import Console
    from rich.progress import Progress

    number, size = options.epochs or task.epochs, options.batch or task.batch
    reduction: Reduction = options.reduction
    params, losses = task.params(rng), []
    steps = descend(
        task.network,
        params,
        epochs(task, learn, rng, number, size),
        options.rate or task.rate,
        decay=decay_of_weights(params, options.decay),
        clip=options.clip or task.clip,
        reduction=reduction,
    )
    total = number * math.ceil(count(task, learn) / size)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(options.task, total=total)
        for after in steps:
            params = after.params
            losses.append(after.loss)
            progress.update(bar, advance=1, description=f"{options.task}, loss {after.loss:8.4f}")
    return params, losses


def main(given: Sequence[str] | None = None) -> None:
    """Train, print how long it took, what the loss was and how much of the data is classified rightly."""
    options = _options(given)
    task, rng = TASKS[options.task], np.random.default_rng(options.seed)
    learn, held_out = split(task, task.data(), rng)
    start = time.perf_counter()
    params, losses = train(task, learn, options, rng)
    seconds = time.perf_counter() - start
    tenth = max(1, len(losses) // 10)
    sys.stdout.write(
        f"{options.task}: {len(losses)} steps in {seconds:.1f} s\n"
        f"loss of the first tenth {np.mean(losses[:tenth]):.4f}, of the last {np.mean(losses[-tenth:]):.4f}\n"
        f"accuracy {accuracy(task, params, learn):.1%}, held out {accuracy(task, params, held_out):.1%}\n"
    )
    if options.picture:
        draw(losses, options.task, options.picture)


if __name__ == "__main__":
    main()
