"""Recurrent network in column vectors and its backpropagation through time: section 4 of document 001.

Shapes     x (S, N)    h0 (M,)    U (M, M)    W (M, N)    b (M,)    t (S, M) the targets    out = L_1 … L_S (S,)
           z, h (S, M): added to the quantity of that name, and zero.    S steps: the document's T

Forward    z_k = U h_{k−1} + W x_k + b,  h_k = f(z_k),  y_k = g(h_k),  L_k = −Σ_j t_kj log y_kj

f is tanh; g, the mapping function at the output, is the softmax, so that C = M. The output is the vector of the losses
of all steps: its cotangent weighs them at random, so that no L_t stands in for another. The document's L is their sum.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import softmax
from derivations.ledger.activations import tanh_slope as slope
from derivations.ledger.system import System
from gradcheck.equations.equation import Definition, Equation


def run(x: Any, h0: Any, U: Any, W: Any, b: Any, z: Any, h: Any) -> tuple[Any, Any]:
    zs, hs = [], [h0]
    for k in range(len(x)):
        zs.append(U @ hs[-1] + W @ x[k] + b + z[k])
        hs.append(np.tanh(zs[-1]) + h[k])
    return np.stack(zs), np.stack(hs)


def forward(x: Any, h0: Any, U: Any, W: Any, b: Any, z: Any, h: Any, t: Any) -> tuple[Any, dict[str, Any]]:
    z, h = run(x, h0, U, W, b, z, h)
    y = softmax(h[1:])
    return -(t * np.log(y)).sum(axis=1), {"x": x, "U": U, "W": W, "b": b, "z": z, "h": h, "y": y, "t": t}


def backward(dout: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache)
    dz, dh, r = np.zeros_like(q.z), np.zeros_like(q.z), np.zeros_like(q.b)
    for k in reversed(range(len(q.x))):
        dh[k] = dout[k] * (q.y[k] * q.t[k].sum() - q.t[k]) + r
        dz[k] = dh[k] * slope(q.z[k])
        r = q.U.T @ dz[k]
    weights = {"U": dz.T @ q.h[:-1], "W": dz.T @ q.x, "b": dz.sum(axis=0)}
    return {"x": dz @ q.W, "h0": r, **weights, "z": dz, "h": dh}


def reference(x: Any, h0: Any, U: Any, W: Any, b: Any, z: Any, h: Any, t: Any) -> Any:
    """A scan with input, state and one matrix for both side by side."""
    both = jnp.concatenate([U, W], axis=1)

    def step(state: Any, now: Any) -> tuple[Any, Any]:
        x, z, h, t = now
        state = jnp.tanh(both @ jnp.concatenate([state, x]) + b + z) + h
        return state, jnp.dot(t, jax.nn.logsumexp(state) - state)

    losses: Any = jax.lax.scan(step, h0, (x, z, h, t))[1]
    return losses


INPUTS = "x: S N, h0: M, U: M M scale M**-0.5, W: M N scale N**-0.5, b: M"
TARGETS = "t: S M in 0 1; M > 1"  # the softmax of a single number has no gradient
RNN = System(forward, backward, reference, f"{INPUTS}, z: S M zero, h: S M zero, {TARGETS}")


def losses_sum(x: Any, h0: Any, U: Any, W: Any, b: Any, t: Any) -> Any:
    nothing = np.zeros((len(x), len(b)))
    return sum(forward(x, h0, U, W, b, nothing, nothing, t)[0])


def losses_sum_reference(x: Any, h0: Any, U: Any, W: Any, b: Any, t: Any) -> Any:
    nothing = jnp.zeros((len(x), len(b)))
    return reference(x, h0, U, W, b, nothing, nothing, t).sum()


def losses_sum_backward(dL: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    x, h0, U, W, b, t = args
    nothing = np.zeros((len(x), len(b)))
    out, cache = forward(x, h0, U, W, b, nothing, nothing, t)
    right = backward(dL * np.ones_like(out), cache)
    return tuple(right[name] for name in ("x", "h0", "U", "W", "b"))


LOSSES_SUM = Definition(
    losses_sum,
    losses_sum_reference,
    losses_sum_backward,
    f"{INPUTS}, {TARGETS}",
    wrt=("x", "h0", "U", "W", "b"),
    analytic=True,
)


def one_step(formula: Any, W: str) -> Definition:
    """One step from h_{t-1} to y_t; W may have the shape that the document declares."""

    def step_reference(x: Any, h: Any, U: Any, W: Any, b: Any) -> Any:
        return jax.nn.softmax(jnp.tanh(jnp.concatenate([U, W], axis=1) @ jnp.concatenate([h, x]) + b))

    def step_backward(dy: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, h, U, W, b = args
        z = U @ h + W @ x + b
        y = softmax(np.tanh(z))
        dz = y * (dy - dy @ y) * slope(z)
        return W.T @ dz, U.T @ dz, np.outer(dz, h), np.outer(dz, x), dz.copy()

    shapes = f"x: N, h: M, U: M M, W: {W} scale N**-0.5, b: M; M > 1"
    return Definition(formula, step_reference, step_backward, shapes, analytic=True)


def step(x: Any, h: Any, U: Any, W: Any, b: Any) -> Any:
    return softmax(np.tanh(np.dot(U, h) + np.dot(W, x) + b))


# The formulas as printed. The cotangent of L_t multiplies what the document says of L_t.


def per_step(q: SimpleNamespace) -> Any:
    """∂L_t/∂U for each t: the right gradient of one loss at a time, weighed."""
    cache = {name: getattr(q, name) for name in ("x", "U", "W", "b", "z", "h", "y", "t")}
    return np.stack([backward(one * q.dout, cache)["U"] for one in np.eye(len(q.x))])


def deltas(q: SimpleNamespace) -> dict[tuple[int, int], Any]:
    """δ_{t,k} = ∂L_t/∂z_k for k ≤ t by the document's recurrence from δ_{t,t}; steps count from 0."""
    delta = {}
    for t in range(len(q.x)):
        delta[t, t] = q.dout[t] * (q.y[t] * q.t[t].sum() - q.t[t]) * slope(q.z[t])
        for k in reversed(range(t)):
            delta[t, k] = np.diag(slope(q.z[k])) @ q.U.T @ delta[t, k + 1]
    return delta


def immediate(q: SimpleNamespace, k: int) -> Any:
    """∂⁺z_k/∂U: entry (p, i, j) is [h_{k−1}]_j I(i = p)."""
    return np.einsum("j,ip->pij", q.h[k], np.eye(len(q.b)))


def dU_by_immediate(q: SimpleNamespace) -> Any:
    return sum(np.einsum("pij,p->ij", immediate(q, k), delta) for (_, k), delta in deltas(q).items())


def dz_by_deltas(q: SimpleNamespace) -> Any:
    dz = np.zeros_like(q.z)
    for (_, k), delta in deltas(q).items():
        dz[k] += delta
    return dz


def immediate_forward(U: Any, h: Any, x: Any, W: Any, b: Any) -> tuple[Any, dict[str, Any]]:
    """z_k as a function of U alone: h_{k-1} is held."""
    return U @ h + W @ x + b, {"U": U, "h": [h], "x": x, "W": W, "b": b}


IMMEDIATE = System(
    immediate_forward,
    lambda dz, cache: {"U": np.outer(dz, cache["h"][0])},
    lambda U, h, x, W, b: jnp.einsum("ij,j->i", U, h) + jnp.einsum("ij,j->i", W, x) + b,
    "U: M M, h: M, x: N, W: M N, b: M",
)

ROW = partial(Equation, document="001")
SUMS = r"\sum_{t=1}^{T} \sum_{k=1}^{t} \delta_{t,k}"
WEIGHED = "The losses L_t are weighed at random by the cotangent; the document's L has all weights 1."

EQUATIONS = (
    ROW(
        id="001-4.2",
        place="4.2",
        claims="The loss of the sequence is the sum of the losses of its steps.",
        latex=r"L = \sum_{t=1}^{T} L_t, \quad L_t = L(y_t, \hat y_t)",
        printed=LOSSES_SUM,
        reading="L_t is the cross-entropy, as the document says it usually is.",
    ),
    ROW(
        id="001-4.3",
        place="4.3",
        claims="One step of the network.",
        latex=r"z_t = U h_{t-1} + W x_t + b,\quad h_t = f(z_t),\quad y_t = g(h_t),\quad "
        r"U \in \mathbb{R}^{M \times M},\ W \in \mathbb{R}^{N \times M},\ b \in \mathbb{R}^{M}",
        printed=one_step(step, "N M"),
        reading="x_t ∈ R^N and h_t ∈ R^M (4.1); f is tanh and g the softmax.",
        corrected_latex=r"z_t = U h_{t-1} + W x_t + b,\quad h_t = f(z_t),\quad y_t = g(h_t),\quad "
        r"U \in \mathbb{R}^{M \times M},\ W \in \mathbb{R}^{M \times N},\ b \in \mathbb{R}^{M}",
        corrected=one_step(step, "M N"),
    ),
    ROW(
        id="001-4.4a",
        place="4.4",
        claims="The gradient is the sum of those of the steps' losses.",
        latex=r"\frac{\partial L}{\partial U} = \sum_{t=1}^{T} \frac{\partial L_t}{\partial U}",
        printed=RNN.gradient("U", lambda q: per_step(q).sum(axis=0)),
        reading=WEIGHED,
    ),
    ROW(
        id="001-4.4b1",
        place="4.4",
        claims="The immediate derivative of z_k, with h_{k−1} held.",
        latex=r"\left(\frac{\partial^+ z_k}{\partial U_{ij}}\right)_p = [h_{k-1}]_j\, I(i=p)",
        printed=IMMEDIATE.gradient("U", lambda q: np.einsum("pij,p->ij", immediate(q, 0), q.dout)),
    ),
    ROW(
        id="001-4.4b2",
        place="4.4",
        claims="The gradient of the loss of one step, through all earlier ones.",
        latex=r"\frac{\partial L_t}{\partial U_{ij}} = \sum_{k=1}^{t} \frac{\partial^+ z_k}{\partial U_{ij}} "
        r"\frac{\partial L_t}{\partial z_k}",
        printed=RNN.gradient("U", dU_by_immediate),
        reading=f"The product of the two is the sum over the entries of z_k. {WEIGHED}",
    ),
    ROW(
        id="001-4.4c",
        place="4.4",
        claims="The recurrence for δ_{t,k} = ∂L_t/∂z_k.",
        latex=r"\delta_{t,k} = \mathrm{diag}(f'(z_k))\, U^{\top} \delta_{t,k+1}",
        printed=RNN.gradient("z", dz_by_deltas),
        reading=f"For k < t; δ_{{t,t}} = ∂L_t/∂z_t is given. {WEIGHED}",
    ),
    ROW(
        id="001-4.4d",
        place="4.4",
        claims="The gradient of the recurrent weights.",
        latex=rf"\frac{{\partial L}}{{\partial U}} = {SUMS}\, h_{{k-1}}^{{\top}}",
        printed=RNN.gradient("U", lambda q: sum(np.outer(d, q.h[k]) for (_, k), d in deltas(q).items())),
        reading=WEIGHED,
    ),
    ROW(
        id="001-4.4e",
        place="4.4",
        claims="The gradient of the input weights.",
        latex=rf"\frac{{\partial L}}{{\partial W}} = {SUMS}\, x_k^{{\top}}",
        printed=RNN.gradient("W", lambda q: sum(np.outer(d, q.x[k]) for (_, k), d in deltas(q).items())),
        reading=f"W ∈ R^{{M×N}}, as W x_t wants it. {WEIGHED}",
    ),
    ROW(
        id="001-4.4f",
        place="4.4",
        claims="A second formula for the gradient of the recurrent weights.",
        latex=rf"\frac{{\partial L}}{{\partial U}} = {SUMS}",
        printed=RNN.gradient("U", lambda q: sum(deltas(q).values())),
        reading=WEIGHED,
        corrected_latex=rf"\frac{{\partial L}}{{\partial b}} = {SUMS}",
        corrected=RNN.gradient("b", lambda q: sum(deltas(q).values())),
    ),
)
