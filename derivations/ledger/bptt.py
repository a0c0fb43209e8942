"""Backpropagation through time in row vectors: the second half of document 000.

Shapes     X (S, d)    h0 (m,)    Wxh (d, m)    Whh (m, m)    Whs (m, V)    labels (S,)    out = l_1 … l_S (S,)
           h (S, m): added to the state of each step, and zero    one sample: n = 1, so that a state is a row

Forward    z_t = x_t Wxh + h_{t−1} Whh,  h_t = σ(z_t),  ŷ_t = softmax(h_t Whs),  l_t = −log ŷ_t[label]

The displayed formulas are lost, but for one in a line of prose; the others are reconstructed. σ is tanh. The output is
the vector of the losses of all steps: its cotangent weighs them at random, so that no l_t stands in for another. A
Jacobian ∂h_j/∂h_{j−1} has a row for each entry of h_j. vanishing.py has the document's claim about many steps.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import softmax
from derivations.ledger.activations import tanh_slope as slope
from derivations.ledger.system import LOST, System
from gradcheck.equations.equation import Definition, Equation


def forward(X: Any, h0: Any, Wxh: Any, Whh: Any, Whs: Any, h: Any, labels: Any) -> tuple[Any, dict[str, Any]]:
    states, z = [h0], []
    for t in range(len(X)):
        z.append(X[t] @ Wxh + states[-1] @ Whh)
        states.append(np.tanh(z[-1]) + h[t])
    h = np.stack(states)
    y = softmax(h[1:] @ Whs)
    steps = np.arange(len(X))
    cache = {"X": X, "h": h, "z": np.stack(z), "y": y, "labels": labels, "Wxh": Wxh, "Whh": Whh, "Whs": Whs}
    return -np.log(y[steps, labels]), cache


def from_loss(q: SimpleNamespace) -> Any:
    """∂l_t/∂h_t for every t, weighed by the cotangent of l_t."""
    expected = np.eye(q.y.shape[1])[q.labels]
    return q.dout[:, None] * (q.y - expected) @ q.Whs.T


def backward(dout: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache, dout=dout)
    expected = np.eye(q.y.shape[1])[q.labels]
    dh, dz, r = from_loss(q), np.zeros_like(q.z), np.zeros_like(q.h[0])
    for t in reversed(range(len(q.X))):
        dh[t] += r
        dz[t] = dh[t] * slope(q.z[t])
        r = dz[t] @ q.Whh.T
    dWhs = q.h[1:].T @ (dout[:, None] * (q.y - expected))
    return {"X": dz @ q.Wxh.T, "h0": r, "Wxh": q.X.T @ dz, "Whh": q.h[:-1].T @ dz, "Whs": dWhs, "h": dh}


def reference(X: Any, h0: Any, Wxh: Any, Whh: Any, Whs: Any, h: Any, labels: Any) -> Any:
    """A scan with one matrix for input and state side by side."""
    both = jnp.concatenate([Wxh, Whh])

    def step(state: Any, now: Any) -> tuple[Any, Any]:
        x, moved, label = now
        state = jnp.tanh(jnp.concatenate([x, state]) @ both) + moved
        return state, -jax.nn.log_softmax(jnp.einsum("h,hv->v", state, Whs))[label]

    losses: Any = jax.lax.scan(step, h0, (X, h, jnp.asarray(labels)))[1]
    return losses


INPUTS = "X: S d, h0: m, Wxh: d m scale d**-0.5, Whh: m m scale m**-0.5, Whs: m V"
LABELS = "labels: S int < V; V > 1"  # the softmax of a single number has no gradient
BPTT = System(forward, backward, reference, f"{INPUTS}, h: S m zero, {LABELS}")


# One step, from h_{j−1} to h_j, of one sample.

STEP = System(
    lambda h, X, Wxh, Whh: (np.tanh(X @ Wxh + h @ Whh), {"h": h, "X": X, "Wxh": Wxh, "Whh": Whh}),
    lambda dnext, c: {"h": dnext * slope(c["X"] @ c["Wxh"] + c["h"] @ c["Whh"]) @ c["Whh"].T},
    lambda h, X, Wxh, Whh: jnp.tanh(jnp.concatenate([X, h], axis=-1) @ jnp.concatenate([Wxh, Whh])),
    "h: 1 m, X: 1 d, Wxh: d m, Whh: m m",
)


def state_backward(dh: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    X, h, Wxh, Whh = args
    dz = dh * slope(X @ Wxh + h @ Whh)
    return dz @ Wxh.T, dz @ Whh.T, X.T @ dz, h.T @ dz


STATE = Definition(
    lambda X, h, Wxh, Whh: np.tanh(X @ Wxh + h @ Whh),
    lambda X, h, Wxh, Whh: jnp.tanh(jnp.concatenate([X, h], axis=1) @ jnp.concatenate([Wxh, Whh])),
    state_backward,
    "X: n d, h: n m, Wxh: d m, Whh: m m",
    analytic=True,
)


def output_backward(dy: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    h, Whs = args
    y = softmax(h @ Whs)
    ds = y * (dy - (dy * y).sum(axis=1, keepdims=True))
    return ds @ Whs.T, h.T @ ds


OUTPUT = Definition(
    lambda h, Whs: softmax(h @ Whs),
    lambda h, Whs: jnp.exp(jax.nn.log_softmax(jnp.einsum("nh,hv->nv", h, Whs))),
    output_backward,
    "h: n m, Whs: m V; V > 1",
    analytic=True,
)
MOVING = ("X", "h0", "Wxh", "Whh", "Whs")


def total_backward(dL: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    *moving, labels = args
    out, cache = forward(*(*moving, np.zeros((len(labels), len(args[1]))), labels))
    right = backward(dL * np.ones_like(out), cache)
    return tuple(right[name] for name in MOVING)


TOTAL = Definition(
    lambda X, h0, Wxh, Whh, Whs, labels: sum(forward(X, h0, Wxh, Whh, Whs, np.zeros((len(X), len(h0))), labels)[0]),
    lambda X, h0, Wxh, Whh, Whs, labels: reference(X, h0, Wxh, Whh, Whs, jnp.zeros((len(X), len(h0))), labels).sum(),
    total_backward,
    f"{INPUTS}, {LABELS}",
    wrt=MOVING,
    analytic=True,
)


# The formulas. D[t] is ∂h_t/∂W with an axis for h_t before those of W.


def step_jacobian(q: SimpleNamespace, j: int) -> Any:
    """∂h_j/∂h_{j−1} = diag(σ'(z_j)) W_hhᵀ; steps count from 0."""
    return np.diag(slope(q.z[j])) @ q.Whh.T


def product(q: SimpleNamespace, t: int, k: int) -> Any:
    """∂h_t/∂h_k = Π_{j=k+1}^{t} ∂h_j/∂h_{j−1}, the latest step on the left."""
    result = np.eye(q.h.shape[1])
    for j in range(k + 1, t + 1):
        result = step_jacobian(q, j) @ result
    return result


def immediate(q: SimpleNamespace, inputs: Any, k: int) -> Any:
    """∂⁺h_k/∂W: entry (i, a, b) is σ'(z_k)_i inputs_a I(i = b)."""
    return np.einsum("i,a,ib->iab", slope(q.z[k]), inputs[k], np.eye(q.h.shape[1]))


def derivatives(q: SimpleNamespace, inputs: Any) -> list[Any]:
    """∂h_t/∂W for every t, step by step: ∂⁺h_t/∂W + ∂h_t/∂h_{t−1} ∂h_{t−1}/∂W."""
    D = [immediate(q, inputs, 0)]
    for t in range(1, len(q.X)):
        D.append(immediate(q, inputs, t) + np.einsum("ij,jab->iab", step_jacobian(q, t), D[-1]))
    return D


def through_states(q: SimpleNamespace, D: list[Any]) -> Any:
    """Σ_t ∂l_t/∂h_t ∂h_t/∂W, the losses weighed by their cotangent."""
    return sum(np.einsum("i,iab->ab", dh, each) for dh, each in zip(from_loss(q), D, strict=True))


def sum_over_k(q: SimpleNamespace, parts: list[Any]) -> list[Any]:
    """Σ_{k≤t} ∂h_t/∂h_k parts[k] for every t."""
    steps = range(len(parts))
    return [sum(np.einsum("ij,jab->iab", product(q, t, k), parts[k]) for k in range(t + 1)) for t in steps]


def dh_by_products(q: SimpleNamespace) -> Any:
    dh, steps = np.zeros_like(q.z), range(len(q.X))
    for t, given in zip(steps, from_loss(q), strict=True):
        for k in range(t + 1):
            dh[k] += given @ product(q, t, k)
    return dh


def per_step(q: SimpleNamespace) -> Any:
    cache = {name: getattr(q, name) for name in ("X", "h", "z", "y", "labels", "Wxh", "Whh", "Whs")}
    return sum(backward(one * q.dout, cache)["Whh"] for one in np.eye(len(q.X)))


ROW = partial(Equation, document="000")
PLACE = "Backpropagation Through Time"
WEIGHED = "The losses l_t are weighed at random by the cotangent; the document's sum has all weights 1."
DH = r"\frac{\partial h_t}{\partial W} = \sum_{k=1}^{t} \frac{\partial h_t}{\partial h_k} "

EQUATIONS = (
    ROW(
        id="000-12",
        place=PLACE,
        claims="One step of the network.",
        latex=r"h_t = \sigma(X_t W_{xh} + h_{t-1} W_{hh})",
        printed=STATE,
        reading=LOST,
    ),
    ROW(
        id="000-13",
        place=PLACE,
        claims="The output of a step.",
        latex=r"\hat y_t = \mathrm{softmax}(h_t W_{hs})",
        printed=OUTPUT,
        reading=LOST,
    ),
    ROW(
        id="000-14",
        place=PLACE,
        claims="The loss is the sum of the discrepancies of all steps.",
        latex=r"L = \sum_t l(\hat y_t, y_t)",
        printed=TOTAL,
        reading=f"{LOST} l is the cross-entropy, y_t a label.",
    ),
    ROW(
        id="000-15",
        place=PLACE,
        claims="The gradient of a step's loss, through its state.",
        latex=r"\frac{\partial l_t}{\partial W} = \frac{\partial l_t}{\partial h_t} \frac{\partial h_t}{\partial W}",
        printed=BPTT.gradient(
            ("Whh", "Wxh"),
            lambda q: (through_states(q, derivatives(q, q.h)), through_states(q, derivatives(q, q.X))),
        ),
        reading=f"{LOST} {WEIGHED}",
    ),
    ROW(
        id="000-16a",
        place=PLACE,
        claims="The derivative of a state through all earlier ones, with the immediate derivative ∂⁺.",
        latex=DH + r"\frac{\partial^+ h_k}{\partial W}",
        printed=BPTT.gradient(
            ("Whh", "Wxh"),
            lambda q: tuple(
                through_states(q, sum_over_k(q, [immediate(q, inputs, k) for k in range(len(q.X))]))
                for inputs in (q.h, q.X)
            ),
        ),
        reading=f"{LOST} {WEIGHED}",
    ),
    ROW(
        id="000-16b",
        place=PLACE,
        claims="The derivative of a state through all earlier ones, as the prose prints it.",
        latex=DH + r"\frac{\partial h_k}{\partial W}",
        printed=BPTT.gradient("Whh", lambda q: through_states(q, sum_over_k(q, derivatives(q, q.h)))),
        reading=f"∂h_k/∂W is the whole derivative on both sides, as it is written. {WEIGHED}",
        corrected_latex=DH + r"\frac{\partial^+ h_k}{\partial W}",
        corrected=BPTT.gradient(
            "Whh",
            lambda q: through_states(q, sum_over_k(q, [immediate(q, q.h, k) for k in range(len(q.X))])),
        ),
    ),
    ROW(
        id="000-17",
        place=PLACE,
        claims="The derivative of a state with respect to an earlier one.",
        latex=r"\frac{\partial h_t}{\partial h_k} = \prod_{j=k+1}^{t} \frac{\partial h_j}{\partial h_{j-1}}",
        printed=BPTT.gradient("h", dh_by_products),
        reading=f"{LOST} The factor of the latest step stands on the left. {WEIGHED}",
    ),
    ROW(
        id="000-18",
        place=PLACE,
        claims="The derivative of a state with respect to the one before, for one sample.",
        latex=r"\frac{\partial h_j}{\partial h_{j-1}} = \mathrm{diag}\left(\sigma'(X_j W_{xh} + h_{j-1} W_{hh})\right) "
        r"W_{hh}^{\top}",
        printed=STEP.gradient("h", lambda q: q.dout @ np.diag(slope(q.X @ q.Wxh + q.h @ q.Whh)[0]) @ q.Whh.T),
        reading=f"{LOST} Row a of the matrix belongs to entry a of h_j; n = 1.",
    ),
    ROW(
        id="000-19",
        place=PLACE,
        claims="The derivative of the whole is accumulated over the sequence.",
        latex=r"\frac{\partial L}{\partial W} = \sum_t \frac{\partial l_t}{\partial W}",
        printed=BPTT.gradient("Whh", per_step),
        reading=f"{LOST} {WEIGHED}",
    ),
)
