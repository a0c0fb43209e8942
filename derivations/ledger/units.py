"""The error signals of document 004 as it states them for any network, where one output unit feeds another.

The network, its letters and its right backward are those of derivations/units.py. The document's examples have one
output, without successors; its general steps speak of "an output node" and of the others, and of no such network.

Shapes     x (N, I)    w (K, K)    y (N, 2)    T (K, K): the last two units are outputs, and linked
           z (N, K)    E () the mean over the batch
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from derivations.ledger.system import System
from derivations.units import units_args, units_backward, units_forward, units_reference
from gradcheck.equations.equation import Equation


def forward(x: Any, w: Any, y: Any, T: Any, f: Any, outputs: Any) -> tuple[Any, dict[str, Any]]:
    E, cache = units_forward(x, w, y, T, f, outputs)
    return E, {"x": x, "z": cache[0], "w": w, "y": y, "T": T, "f": f, "outputs": outputs, "cache": cache}


def backward(dE: Any, cache: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(("x", "w"), units_backward(dE, cache["cache"]), strict=True))


def draw(rng: np.random.Generator, N: int, I: int, H: int) -> tuple[Any, ...]:
    x, w, y, T, f, outputs = units_args(rng, N, I, H, 2, "one")
    T[outputs[0], outputs[1]] = True
    return x, w, y, T, f, outputs


LINKED = System(forward, backward, units_reference, "N in 1 2 3 5, I in 1 2 3, H in 1 2 3 4", draw)


def slope(q: SimpleNamespace, j: int) -> Any:
    """f_j'(s_j), from the output of the unit."""
    z = q.z[:, j]
    return {"tanh": 1 - z**2, "sigmoid": z * (1 - z), "identity": np.ones_like(z)}[q.f[j]]


def gradient(q: SimpleNamespace, delta: Any) -> Any:
    """∂E/∂w_{i→j} = 1/N Σ_n δ_j z_i for every link."""
    return np.where(q.T, q.dout * q.z.T @ delta / len(q.z), 0)


def either_or(q: SimpleNamespace) -> Any:
    delta = np.zeros_like(q.z)
    for j in reversed(range(q.x.shape[1], len(q.T))):
        if j in q.outputs:
            delta[:, j] = slope(q, j) * (q.z[:, j] - q.y[:, q.outputs.index(j)])
        else:
            delta[:, j] = slope(q, j) * (delta[:, q.T[j]] @ q.w[j, q.T[j]])
    return gradient(q, delta)


def both(q: SimpleNamespace) -> Any:
    delta = np.zeros_like(q.z)
    for j in reversed(range(q.x.shape[1], len(q.T))):
        source = q.z[:, j] - q.y[:, q.outputs.index(j)] if j in q.outputs else 0
        delta[:, j] = slope(q, j) * (source + delta[:, q.T[j]] @ q.w[j, q.T[j]])
    return gradient(q, delta)


ROW = partial(Equation, document="004")

EQUATIONS = (
    ROW(
        id="004-4d",
        place="General form of backpropagation, step 2",
        claims="The error signals of all units of an arbitrary network: an output unit has its own error, any other "
        "that of its successors.",
        latex=r"\delta_j = \begin{cases} f_j'(s_j)(\hat y_j - y_j) & \text{if } j \text{ is an output node} \\ "
        r"f_j'(s_j) \sum_{k \in \mathrm{outs}(j)} \delta_k w_{j \to k} & \text{if not} \end{cases}",
        printed=LINKED.gradient("w", either_or),
        reading="On networks in which one output has the other for a successor; 004-4b has those in which none has. "
        "The error is half the squared distance of all outputs, and the gradient is 1/N Σ δ_j z_i.",
        corrected_latex=r"\delta_j = f_j'(s_j) \left([j \text{ is an output node}]\, (\hat y_j - y_j) "
        r"+ \sum_{k \in \mathrm{outs}(j)} \delta_k w_{j \to k}\right)",
        corrected=LINKED.gradient("w", both),
    ),
)
