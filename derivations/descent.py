"""Gradient descent with hand-written gradients.

Shapes     θ, g: the parameters and their gradient, trees of arrays of one structure    B a batch of samples
           α, λ: a number each, or a tree like θ of numbers or arrays    c, s numbers    L ()

Update     (U1)  L = s loss(θ, B), g = s ∂loss/∂θ      s makes a mean of a sum over the batch, or a sum of a mean
           (U2)  g ← g min(1, c / ‖g‖)                 clipping: ‖g‖ is the norm of all gradients as one vector
           (U3)  θ ← θ − α ⊙ (g + λ θ)                 α may differ from weight to weight

Why        The steepest way down. To first order L + λ/2 ‖θ‖² changes by −⟨g + λ θ, α ⊙ (g + λ θ)⟩, which is not
positive for any α ≥ 0: learning rates of their own turn the direction, and it still goes down. λ θ is the gradient of
the weight decay and stands beside g, inside the bracket. Biases do not decay, so λ is a tree that is 0 there.

(U1) needs no second backward: a gradient is linear in its cotangent, so s is the cotangent of the loss.

Source     document 000, equation 11, and gradient clipping in its last paragraph; document 001, 2.4u1 to 2.4u4, with
           the signs of a descent; document 002 (002-1, 002-6).
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy import ndarray

from gradcheck.derivation import Derivation
from gradcheck.trees import is_container, is_float, leaves, rebuild

__all__ = [
    "Step",
    "arguments",
    "batches",
    "clipped",
    "decay_of_weights",
    "descend",
    "loss_and_gradients",
    "norm",
    "scale",
    "step",
]

Values = Mapping[str, Any]
Reduction = Literal["sum", "mean"]

# How each network reduces the losses of its samples, and how many there are in some data.
REDUCTIONS: dict[str, tuple[Reduction, Callable[[Values], int]]] = {
    "mlp": ("mean", lambda data: len(data["X"])),
    "mlp_one_hidden": ("sum", lambda data: len(data["x"])),
    "lenet5": ("mean", lambda data: len(data["X"])),
    "rnn": ("sum", lambda data: data["labels"].size),
}


class Step(NamedTuple):
    """The parameters after a step, and the loss of its batch before it."""

    params: dict[str, Any]
    loss: float


def scale(network: Derivation, data: Values, reduction: Reduction) -> float:
    """Return s, which makes the loss of a network over all samples of ``data`` their sum or their mean."""
    own, count = REDUCTIONS[network.name]
    if own == reduction:
        return 1.0
    return float(count(data)) if reduction == "sum" else 1 / count(data)


def arguments(network: Derivation, params: Values, data: Values) -> dict[str, Any]:
    """Return the arguments of ``network.forward`` in order, which ``params`` and ``data`` hold by name."""
    values = {**data, **params}
    return {name: values[name] for name in inspect.signature(network.forward).parameters}


def loss_and_gradients(
    network: Derivation, params: Values, data: Values, s: float = 1.0
) -> tuple[float, dict[str, Any]]:
    """Return s times the loss of a network and its gradients, keyed like ``params``.

    ``params`` and ``data`` hold the arguments of ``network.forward`` by name, what is learnt and what is given.
    """
    args = arguments(network, params, data)
    out, cache = network.forward(*args.values())
    moving = network.wrt or [name for name, value in args.items() if is_float(value)]
    gradients = dict(zip(moving, network.backward(s * np.ones_like(out), cache), strict=True))
    return float(s * out), {name: gradients[name] for name in params}  # (U1)


def norm(gradients: Values) -> float:
    """Return the norm of all gradients as one vector."""
    return math.hypot(*(float(np.linalg.norm(leaf)) for _, leaf in leaves(gradients, "")))


def clipped(gradients: dict[str, Any], c: float) -> dict[str, Any]:
    """Return the gradients, scaled down to the norm ``c`` together if their norm is larger."""
    length = norm(gradients)
    factor = c / length if length > c else 1.0  # no division: the gradients may be 0
    scaled: dict[str, Any] = rebuild(gradients, iter([leaf * factor for _, leaf in leaves(gradients, "")]))  # (U2)
    return scaled


def step(params: dict[str, Any], gradients: Values, rate: Any, decay: Any = 0.0) -> dict[str, Any]:
    """Return the parameters after one step; ``rate`` and ``decay`` are numbers, or trees like ``params``.

    Raises:
        ValueError: a tree has not the leaves of ``params``.
    """
    trees = (("rate", rate), ("gradients", gradients), ("decay", decay))
    alpha, g, lam = (_leaves_like(params, name, tree) for name, tree in trees)
    moved = [
        theta - alpha[path] * (g[path] + lam[path] * theta)  # (U3)
        for path, theta in leaves(params, "")
    ]
    after: dict[str, Any] = rebuild(params, iter(moved))
    return after


def _leaves_like(params: Values, name: str, tree: Any) -> dict[str, Any]:
    """Return the leaves of ``tree`` by the path that they have in ``params``; a number stands for a tree of itself."""
    paths = [path for path, _ in leaves(params, "")]
    if not is_container(tree):
        return dict.fromkeys(paths, tree)
    found = dict(leaves(tree, ""))
    if found.keys() != set(paths):
        raise ValueError(
            f"{name} must be a number or hold the leaves of params, {', '.join(paths)}, but it holds "
            f"{', '.join(found) or 'none'}. Give it the structure of params."
        )
    return found


def decay_of_weights(params: dict[str, Any], lam: float) -> dict[str, Any]:
    """Return a tree like ``params`` of ``lam`` for every matrix and kernel, and 0 for every vector, as biases are."""
    decay: dict[str, Any] = rebuild(params, iter([lam * (np.ndim(leaf) > 1) for _, leaf in leaves(params, "")]))
    return decay


def batches(rng: np.random.Generator, total: int, size: int) -> Iterator[ndarray]:
    """Yield the numbers 0 … total − 1 in random order, ``size`` at a time: an epoch. The last batch may be smaller."""
    order = rng.permutation(total)
    for start in range(0, total, size):
        yield order[start : start + size]


def descend(
    network: Derivation,
    params: dict[str, Any],
    data: Iterable[Values],
    rate: Any,
    *,
    decay: Any = 0.0,
    clip: float = math.inf,
    reduction: Reduction = "mean",
) -> Iterator[Step]:
    """Yield a step of gradient descent for every batch of ``data``.

    Raises:
        FloatingPointError: the loss is not finite any more.
        ValueError: as :func:`step`.
    """
    for batch in data:
        loss, gradients = loss_and_gradients(network, params, batch, scale(network, batch, reduction))
        if not math.isfinite(loss):
            raise FloatingPointError(f"descend must meet finite losses, but met {loss}. Lower the rate, or clip.")
        params = step(params, clipped(gradients, clip), rate, decay)
        yield Step(params, loss)
