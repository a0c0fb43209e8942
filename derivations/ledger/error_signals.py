"""Error signals, unit by unit: document 004.

Shapes     the three cases: every letter (S,), S numbers, a network each
           the general network: n units in an order in which every edge leads forward, the first I of them inputs
             x (B, I)    w (n, n), w[i, j] the weight from unit i to j, of which those with links[i, j] = 1 count
             y (B,)      s, z (B, n)    the last unit is the output, and linear; E (B,) or their mean

The letters of the three cases carry their edge: w_ik is the weight from unit i to unit k. An s is added to the sum of
that unit, and is zero, so that its gradient is the error signal δ = ∂E/∂s.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import sigmoid, tanh_slope
from derivations.ledger.system import System
from gradcheck.equations.equation import Definition, Equation

ETA = 0.1


def slope(s: Any) -> Any:
    """σ'(s) = σ(s)(1 − σ(s))."""
    return sigmoid(s) * (1 - sigmoid(s))


# Case 1: i → j → k → o.


def path_forward(
    w_ij: Any, w_jk: Any, w_ko: Any, s_j: Any, s_k: Any, s_o: Any, x: Any, y: Any
) -> tuple[Any, dict[str, Any]]:
    s_j = w_ij * x + s_j
    z_j = sigmoid(s_j)
    s_k = w_jk * z_j + s_k
    z_k = sigmoid(s_k)
    y_hat = w_ko * z_k + s_o
    values = {"s_j": s_j, "z_j": z_j, "s_k": s_k, "z_k": z_k, "y_hat": y_hat, "x": x, "y": y}
    return (y_hat - y) ** 2 / 2, {**values, "w_ij": w_ij, "w_jk": w_jk, "w_ko": w_ko}


def path_backward(dE: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache)
    ds_o = dE * (q.y_hat - q.y)
    ds_k = ds_o * q.w_ko * q.z_k * (1 - q.z_k)
    ds_j = ds_k * q.w_jk * q.z_j * (1 - q.z_j)
    return {"w_ij": ds_j * q.x, "w_jk": ds_k * q.z_j, "w_ko": ds_o * q.z_k, "s_j": ds_j, "s_k": ds_k, "s_o": ds_o}


def path_reference(w_ij: Any, w_jk: Any, w_ko: Any, s_j: Any, s_k: Any, s_o: Any, x: Any, y: Any) -> Any:
    y_hat = w_ko * jax.nn.sigmoid(w_jk * jax.nn.sigmoid(w_ij * x + s_j) + s_k) + s_o
    return jnp.square(y_hat - y) / 2


PATH = System(
    path_forward,
    path_backward,
    path_reference,
    "w_ij: S, w_jk: S, w_ko: S, s_j: S zero, s_k: S zero, s_o: S zero, x: S, y: S",
)
ONE_PATH = Definition(
    lambda w1, w2, w3, x, y: 1 / 2 * (w3 * sigmoid(w2 * sigmoid(w1 * x)) - y) ** 2,
    lambda w1, w2, w3, x, y: path_reference(w1, w2, w3, 0 * x, 0 * x, 0 * x, x, y),
    lambda dE, args: tuple(
        path_backward(dE, path_forward(*args[:3], *np.zeros((3, len(args[3]))), *args[3:])[1])[name]
        for name in ("w_ij", "w_jk", "w_ko")
    ),
    "w1: S, w2: S, w3: S, x: S, y: S",
    wrt=("w1", "w2", "w3"),
    analytic=True,
)


# Cases 2 and 3 in one network: in → i; i, j → k of case 2 is i → k, j → k here.


def inputs_forward(w_ik: Any, w_jk: Any, w_ko: Any, s_k: Any, z_i: Any, z_j: Any, y: Any) -> tuple[Any, dict[str, Any]]:
    s_k = z_i * w_ik + z_j * w_jk + s_k
    y_hat = sigmoid(s_k) * w_ko
    return (y_hat - y) ** 2 / 2, {"w_ko": w_ko, "s_k": s_k, "z_i": z_i, "z_j": z_j, "y_hat": y_hat, "y": y}


def inputs_backward(dE: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache)
    z_k = sigmoid(q.s_k)
    ds_k = dE * (q.y_hat - q.y) * q.w_ko * z_k * (1 - z_k)
    return {"w_ik": ds_k * q.z_i, "w_jk": ds_k * q.z_j, "w_ko": dE * (q.y_hat - q.y) * z_k, "s_k": ds_k}


def inputs_reference(w_ik: Any, w_jk: Any, w_ko: Any, s_k: Any, z_i: Any, z_j: Any, y: Any) -> Any:
    z_k = jax.nn.sigmoid(jnp.einsum("is,is->s", jnp.stack([w_ik, w_jk]), jnp.stack([z_i, z_j])) + s_k)
    return jnp.square(w_ko * z_k - y) / 2


INPUTS = System(
    inputs_forward,
    inputs_backward,
    inputs_reference,
    "w_ik: S, w_jk: S, w_ko: S, s_k: S zero, z_i: S, z_j: S, y: S",
)


def outputs_forward(
    w_ni: Any, w_ij: Any, w_ik: Any, w_jo: Any, w_ko: Any, s_i: Any, s_j: Any, s_k: Any, s_o: Any, x: Any, y: Any
) -> tuple[Any, dict[str, Any]]:
    s_i = w_ni * x + s_i
    z_i = np.tanh(s_i)
    s_j, s_k = z_i * w_ij + s_j, z_i * w_ik + s_k
    z_j, z_k = sigmoid(s_j), sigmoid(s_k)
    y_hat = z_j * w_jo + z_k * w_ko + s_o
    values = {"s_i": s_i, "s_j": s_j, "s_k": s_k, "z_i": z_i, "z_j": z_j, "z_k": z_k, "y_hat": y_hat, "x": x, "y": y}
    return (y_hat - y) ** 2 / 2, {**values, "w_ij": w_ij, "w_ik": w_ik, "w_jo": w_jo, "w_ko": w_ko}


def outputs_backward(dE: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache)
    ds_o = dE * (q.y_hat - q.y)
    dz_j, dz_k = ds_o * q.w_jo, ds_o * q.w_ko
    ds_j, ds_k = dz_j * q.z_j * (1 - q.z_j), dz_k * q.z_k * (1 - q.z_k)
    ds_i = (ds_j * q.w_ij + ds_k * q.w_ik) * (1 - q.z_i**2)
    into = {"w_ni": ds_i * q.x, "w_ij": ds_j * q.z_i, "w_ik": ds_k * q.z_i, "w_jo": ds_o * q.z_j, "w_ko": ds_o * q.z_k}
    return {**into, "s_i": ds_i, "s_j": ds_j, "s_k": ds_k, "s_o": ds_o}


def outputs_reference(
    w_ni: Any, w_ij: Any, w_ik: Any, w_jo: Any, w_ko: Any, s_i: Any, s_j: Any, s_k: Any, s_o: Any, x: Any, y: Any
) -> Any:
    z = jax.nn.sigmoid(jnp.stack([w_ij, w_ik]) * jnp.tanh(w_ni * x + s_i) + jnp.stack([s_j, s_k]))
    return jnp.square((jnp.stack([w_jo, w_ko]) * z).sum(axis=0) + s_o - y) / 2


OUTPUTS = System(
    outputs_forward,
    outputs_backward,
    outputs_reference,
    "w_ni: S, w_ij: S, w_ik: S, w_jo: S, w_ko: S, s_i: S zero, s_j: S zero, s_k: S zero, s_o: S zero, x: S, y: S",
)


# Any acyclic network of units.


def units_forward(w: Any, s: Any, x: Any, y: Any, links: Any, c: str) -> tuple[Any, dict[str, Any]]:
    B, I = x.shape
    n = len(w)
    sums, z = [s[:, j] for j in range(n)], [x[:, j] for j in range(I)]
    for j in range(I, n):
        sums[j] = sum(w[i, j] * z[i] for i in range(j) if links[i, j]) + s[:, j]
        z.append(sums[j] if j == n - 1 else np.tanh(sums[j]))
    E = (z[-1] - y) ** 2 / 2
    cache = {"w": w, "s": np.stack(sums, axis=1), "z": np.stack(z, axis=1), "y": y, "links": links, "I": I}
    return (E, {**cache, "N": 1}) if c == "each" else (E.sum() / B, {**cache, "N": B})


def unit_slope(q: Any, j: int) -> Any:
    """f_j'(s_j) of every sample: the output unit is linear."""
    return np.ones(len(q.y)) if j == len(q.w) - 1 else tanh_slope(q.s[:, j])


def units_backward(dE: Any, cache: dict[str, Any]) -> dict[str, Any]:
    """Hand every z's cotangent on along the edges, from the last unit to the first."""
    q = SimpleNamespace(**cache)
    n = len(q.w)
    dz, ds, dw = np.zeros_like(q.z), np.zeros_like(q.z), np.zeros_like(q.w)
    dz[:, -1] = dE / q.N * (q.z[:, -1] - q.y)
    for j in reversed(range(q.I, n)):
        ds[:, j] = dz[:, j] * unit_slope(q, j)
        for i in np.flatnonzero(q.links[:, j]):
            dz[:, i] += ds[:, j] * q.w[i, j]
            dw[i, j] = ds[:, j] @ q.z[:, i]
    return {"w": dw, "s": ds}


def units_reference(w: Any, s: Any, x: Any, y: Any, links: Any, c: str) -> Any:
    """All units at once, n times: after as many sweeps as the longest path has edges nothing changes any more."""
    n, I = len(w), x.shape[1]
    linked = w * jnp.asarray(links, w.dtype)
    given = jnp.pad(x, ((0, 0), (0, n - I)))
    linear = jnp.arange(n) == n - 1

    def sweep(_: Any, z: Any) -> Any:
        sums = z @ linked + s
        return jnp.where(jnp.arange(n) < I, given, jnp.where(linear, sums, jnp.tanh(sums)))

    z = jax.lax.fori_loop(0, n, sweep, given)
    E = jnp.square(z[:, -1] - y) / 2
    return E if c == "each" else E.mean()


def units_draw(rng: np.random.Generator, B: int, I: int, hidden: int, c: str) -> tuple[Any, ...]:
    n = I + hidden + 1
    links = np.triu(rng.random((n, n)) < 0.6, 1)
    links[:, :I] = False
    j = np.arange(I, n)
    links[rng.integers(j), j] = True  # every unit has an input,
    links[np.arange(n - 1), np.maximum(np.arange(1, n), I)] = True  # and leads to the output
    x, y, w = rng.standard_normal((B, I)), rng.standard_normal(B), rng.standard_normal((n, n))
    return w * links, np.zeros((B, n)), x, y, links.astype(int), c


UNITS = "I in 1 2 3 5 7, hidden in 1 2 4 8"
EACH, MEAN, SINGLE = (
    System(units_forward, units_backward, units_reference, f"{batch}, {UNITS}", units_draw)
    for batch in ("B in 1 2 3 5, c in each", "B in 1 2 3 5, c in mean", "B in 1, c in mean")
)


def error_signals(q: SimpleNamespace) -> Any:
    """δ of every unit and sample by the document's recursion; the derivative of the whole has the weight dout / N."""
    n = len(q.w)
    delta = np.zeros_like(q.s)
    for j in reversed(range(q.I, n)):
        if j == n - 1:
            delta[:, j] = (q.z[:, j] - q.y) * unit_slope(q, j)
        else:
            outs = [k for k in range(n) if q.links[j, k]]
            delta[:, j] = unit_slope(q, j) * sum(delta[:, k] * q.w[j, k] for k in outs)
    return delta


def every_edge(q: SimpleNamespace, weight: Any) -> Any:
    """``weight(i, j)`` for every edge, zero where there is none."""
    change = np.zeros_like(q.w)
    for i, j in zip(*np.nonzero(q.links), strict=True):
        change[i, j] = weight(i, j)
    return change


def batch_step(q: SimpleNamespace) -> Any:
    delta, N = error_signals(q), len(q.y)
    return every_edge(q, lambda i, j: -ETA / N * sum(delta[m, j] * q.z[m, i] for m in range(N)))


def single_step(q: SimpleNamespace) -> Any:
    delta = error_signals(q)[0]
    return every_edge(q, lambda i, j: -ETA * delta[j] * q.z[0, i])


ROW = partial(Equation, document="004")
DOWN = r"(\hat y - y)"
K = r"\sigma(s_k)(1 - \sigma(s_k))"
J = r"\sigma(s_j)(1 - \sigma(s_j))"
GENERAL = "General form of backpropagation"

CASES = (
    ROW(
        id="004-1a",
        place="Case 1",
        claims="The error of a network with a single path.",
        latex=r"E = \frac{1}{2} (w_3\, \sigma(w_2\, \sigma(w_1 x)) - y)^2",
        printed=ONE_PATH,
        reading="w₁, w₂, w₃ are w_{i→j}, w_{j→k}, w_{k→o}.",
    ),
    ROW(
        id="004-1b",
        place="Case 1",
        claims="The gradient of the last weight.",
        latex=rf"\frac{{\partial E}}{{\partial w_{{k \to o}}}} = {DOWN} z_k",
        printed=PATH.gradient("w_ko", lambda q: q.dout * (q.y_hat - q.y) * q.z_k),
    ),
    ROW(
        id="004-1c",
        place="Case 1",
        claims="The gradient of the middle weight.",
        latex=rf"\frac{{\partial E}}{{\partial w_{{j \to k}}}} = {DOWN} w_{{k \to o}} {K} z_j",
        printed=PATH.gradient("w_jk", lambda q: q.dout * (q.y_hat - q.y) * q.w_ko * slope(q.s_k) * q.z_j),
    ),
    ROW(
        id="004-1d",
        place="Case 1",
        claims="The gradient of the first weight.",
        latex=rf"\frac{{\partial E}}{{\partial w_{{i \to j}}}} = {DOWN} w_{{k \to o}} {K} w_{{j \to k}} {J} x",
        printed=PATH.gradient(
            "w_ij", lambda q: q.dout * (q.y_hat - q.y) * q.w_ko * slope(q.s_k) * q.w_jk * slope(q.s_j) * q.x
        ),
    ),
    ROW(
        id="004-2",
        place="Case 2",
        claims="The gradient of a weight into a unit with several inputs.",
        latex=rf"\frac{{\partial E}}{{\partial w_{{i \to k}}}} = {DOWN} {K} w_{{k \to o}} z_i",
        printed=INPUTS.gradient("w_ik", lambda q: q.dout * (q.y_hat - q.y) * slope(q.s_k) * q.w_ko * q.z_i),
    ),
    ROW(
        id="004-3",
        place="Case 3",
        claims="The gradient of a weight into a unit with several outputs: both paths are summed.",
        latex=rf"\frac{{\partial E}}{{\partial w_{{in \to i}}}} = {DOWN} (w_{{j \to o}} \sigma_j'(s_j) w_{{i \to j}} "
        r"\sigma_i'(s_i) + w_{k \to o} \sigma_k'(s_k) w_{i \to k} \sigma_i'(s_i))\, x",
        printed=OUTPUTS.gradient(
            "w_ni",
            lambda q: (
                q.dout
                * (q.y_hat - q.y)
                * (
                    q.w_jo * slope(q.s_j) * q.w_ij * tanh_slope(q.s_i)
                    + q.w_ko * slope(q.s_k) * q.w_ik * tanh_slope(q.s_i)
                )
                * q.x
            ),
        ),
        reading="σ_i is tanh, σ_j and σ_k are the logistic sigmoid.",
    ),
)

SIGNALS = (
    ROW(
        id="004-4a",
        place="Error Signals",
        claims="The error signal of an output unit.",
        latex=rf"\delta_j = {DOWN} f_j'(s_j)",
        printed=PATH.gradient("s_o", lambda q: q.dout * (q.y_hat - q.y) * 1.0),
        reading="The output unit is linear: f' = 1.",
    ),
    ROW(
        id="004-4b",
        place="Error Signals",
        claims="The error signal of a hidden unit.",
        latex=r"\delta_j = f_j'(s_j) \sum_{k \in \mathrm{outs}(j)} \delta_k w_{j \to k}",
        printed=EACH.gradient("s", lambda q: q.dout[:, None] * error_signals(q)),
        reading="On random acyclic networks of units with one linear output.",
    ),
    ROW(
        id="004-4c",
        place=GENERAL,
        claims="The error signals of the network with several outputs.",
        latex=r"\delta_o = \hat y - y,\quad \delta_k = \delta_o w_{k \to o} \sigma'(s_k),\quad "
        r"\delta_j = \delta_o w_{j \to o} \sigma'(s_j),\quad \delta_i = \sigma'(s_i) \sum_{k \in \mathrm{outs}(i)} "
        r"\delta_k w_{i \to k}",
        printed=OUTPUTS.gradient(
            ("s_o", "s_k", "s_j", "s_i"),
            lambda q: (
                q.dout * (q.y_hat - q.y),
                q.ds_o * q.w_ko * slope(q.s_k),
                q.ds_o * q.w_jo * slope(q.s_j),
                tanh_slope(q.s_i) * (q.ds_j * q.w_ij + q.ds_k * q.w_ik),
            ),
        ),
        reading="The document writes σ' out as σ(1 − σ). σ_i is tanh, with its own slope in the place of it.",
    ),
    ROW(
        id="004-5a",
        place=GENERAL,
        claims="The update of a weight for one sample.",
        latex=r"\Delta w_{i \to j} = -\eta\, \delta_j z_i",
        printed=SINGLE.update("w", single_step, ETA),
    ),
    ROW(
        id="004-5b",
        place=GENERAL,
        claims="The update of a weight for a mini-batch.",
        latex=r"\Delta w_{i \to j} = -\frac{\eta}{N} \sum_{y_i} \delta_j^{(y_i)} z_i^{(y_i)}",
        printed=MEAN.update("w", batch_step, ETA),
        reading="The loss of the mini-batch is the mean over its N samples.",
    ),
    ROW(
        id="004-6",
        place=GENERAL,
        claims="The three steps: feed forward, error signals of all units, sums of products.",
        latex=r"\frac{\partial E}{\partial w_{i \to j}} = \frac{1}{N} \sum_{y_i} \delta_j^{(y_i)} z_i^{(y_i)}",
        printed=MEAN.gradient("w", lambda q: q.dout * batch_step(q) / -ETA),
        reading="The gradient that the update of the third step goes along, on random acyclic networks.",
    ),
    ROW(
        id="004-7",
        place="Examples",
        claims="Stochastic gradient descent, as the document begins with it.",
        latex=r"w_{i \to j} = w_{i \to j} - \eta \frac{\partial E}{\partial w_{i \to j}}",
        printed=MEAN.update("w", lambda q: -ETA * q.dw, ETA),
    ),
)

EQUATIONS = (*CASES, *SIGNALS)
