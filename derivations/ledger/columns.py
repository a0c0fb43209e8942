"""Three layers in column vectors, in matrix form: document 002; document 003 builds on the same network.

Shapes     x0 (n0,)    W1 (n1, n0)    b1 (n1,)    W2 (n2, n1)    b2 (n2,)    W3 (n3, n2)    b3 (n3,)    y (n3,)    L ()
           z1, x1, z2, x2, z3, x3: added to the quantity of that name, and zero

Forward    z_l = W_l x_{l−1} + b_l,  x_l = f_l(z_l),  L = ½ ‖x3 − y‖²

f1 and f3 are tanh and f2 is the logistic sigmoid: neighbours are different, so that one in the place of the other is
seen. A batch is a matrix of columns, one sample each.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import sigmoid, sigmoid_slope, tanh_slope
from derivations.ledger.system import System
from gradcheck.equations.equation import Definition, Equation

F: dict[int, Any] = {1: np.tanh, 2: sigmoid, 3: np.tanh}
SLOPE: dict[int, Any] = {1: tanh_slope, 2: sigmoid_slope, 3: tanh_slope}
PARAMETERS = ("W1", "b1", "W2", "b2", "W3", "b3")


def forward(
    x0: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    W3: Any,
    b3: Any,
    z1: Any,
    x1: Any,
    z2: Any,
    x2: Any,
    z3: Any,
    x3: Any,
    y: Any,
) -> tuple[Any, dict[str, Any]]:
    z1 = W1 @ x0 + b1 + z1
    x1 = F[1](z1) + x1
    z2 = W2 @ x1 + b2 + z2
    x2 = F[2](z2) + x2
    z3 = W3 @ x2 + b3 + z3
    x3 = F[3](z3) + x3
    r = x3 - y
    quantities = {"x0": x0, "z1": z1, "x1": x1, "z2": z2, "x2": x2, "z3": z3, "x3": x3, "y": y}
    return (r * r).sum() / 2, {**quantities, "W1": W1, "b1": b1, "W2": W2, "b2": b2, "W3": W3, "b3": b3}


def backward(dL: Any, cache: dict[str, Any]) -> dict[str, Any]:
    right: dict[str, Any] = {"x3": dL * (cache["x3"] - cache["y"])}
    for l in (3, 2, 1):
        right[f"z{l}"] = right[f"x{l}"] * SLOPE[l](cache[f"z{l}"])
        right[f"W{l}"] = np.outer(right[f"z{l}"], cache[f"x{l - 1}"])
        right[f"b{l}"] = right[f"z{l}"]
        right[f"x{l - 1}"] = cache[f"W{l}"].T @ right[f"z{l}"]
    return {name: right[name] for name in ("x0", *PARAMETERS, "z1", "x1", "z2", "x2", "z3", "x3")}


def reference(x0: Any, *rest: Any) -> Any:
    (W1, b1, W2, b2, W3, b3), (z1, x1, z2, x2, z3, x3), y = rest[:6], rest[6:12], rest[12]
    x1 = jnp.tanh(jnp.einsum("ij,j->i", W1, x0) + b1 + z1) + x1
    x2 = jax.nn.sigmoid(jnp.einsum("ij,j->i", W2, x1) + b2 + z2) + x2
    x3 = jnp.tanh(jnp.einsum("ij,j->i", W3, x2) + b3 + z3) + x3
    return jnp.dot(x3 - y, x3 - y) / 2


WEIGHTS = ", ".join(f"W{l}: n{l} n{l - 1} scale n{l - 1}**-0.5, b{l}: n{l}" for l in (1, 2, 3))
ADDED = ", ".join(f"z{l}: n{l} zero, x{l}: n{l} zero" for l in (1, 2, 3))
COLUMNS = System(forward, backward, reference, f"x0: n0, {WEIGHTS}, {ADDED}, y: n3")


# A batch.


def batch_forward(
    X: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any, Y: Any, c: str
) -> tuple[Any, dict[str, Any]]:
    """The sum or the mean of the losses of all samples, each computed by itself."""
    parameters = (W1, b1, W2, b2, W3, b3)
    nothing = [np.zeros_like(b) for b in (b1, b1, b2, b2, b3, b3)]
    runs = [forward(*(x, *parameters, *nothing, y)) for x, y in zip(X.T, Y.T, strict=True)]
    scale = 1.0 if c == "sum" else 1 / len(runs)
    cache = {"samples": [cache for _, cache in runs], "scale": scale, "X": X, "Y": Y}
    return scale * sum(L for L, _ in runs), {**cache, **dict(zip(PARAMETERS, parameters, strict=True))}


def batch_backward(dL: Any, cache: dict[str, Any]) -> dict[str, Any]:
    """The matrix form, all samples at once."""
    x, z = {0: cache["X"]}, {}
    for l in (1, 2, 3):
        z[l] = cache[f"W{l}"] @ x[l - 1] + cache[f"b{l}"][:, None]
        x[l] = F[l](z[l])
    right, dx = {}, dL * cache["scale"] * (x[3] - cache["Y"])
    for l in (3, 2, 1):
        dz = dx * SLOPE[l](z[l])
        right[f"W{l}"], right[f"b{l}"], dx = dz @ x[l - 1].T, dz.sum(axis=1), cache[f"W{l}"].T @ dz
    return {"X": dx, **{name: right[name] for name in PARAMETERS}}


def batch_reference(X: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any, Y: Any, c: str) -> Any:
    x = jnp.tanh(X.T @ W1.T + b1)
    x = jnp.tanh(jax.nn.sigmoid(x @ W2.T + b2) @ W3.T + b3)
    losses = jnp.sum((x - Y.T) ** 2, axis=1) / 2
    return losses.sum() if c == "sum" else losses.mean()


SAMPLES = f"X: n0 samples, {WEIGHTS}, Y: n3 samples"
SUM, MEAN = (System(batch_forward, batch_backward, batch_reference, f"{SAMPLES}, c = {c}") for c in ("sum", "mean"))


def sample_gradients(q: SimpleNamespace) -> list[tuple[Any, ...]]:
    """The gradients of all parameters for each sample by itself."""
    rights = [backward(q.dout, sample) for sample in q.samples]
    return [tuple(right[name] for name in PARAMETERS) for right in rights]


def added(gradients: list[tuple[Any, ...]], scale: float) -> tuple[Any, ...]:
    return tuple(scale * sum(parts) for parts in zip(*gradients, strict=True))


# One neuron with two successors; every letter stands for S numbers, a network each.


def neuron_forward(
    w1: Any, w2: Any, b: Any, x1: Any, x2: Any, w3: Any, w4: Any, z: Any, z_: Any, z__: Any
) -> tuple[Any, dict[str, Any]]:
    """z_ is z' and z__ is z''; C is some function of both."""
    z = w1 * x1 + w2 * x2 + b + z
    z_, z__ = w3 * sigmoid(z) + z_, w4 * sigmoid(z) + z__
    return np.tanh(z_) + np.sin(z__ * z_), {"x1": x1, "x2": x2, "w1": w1, "w2": w2, "w3": w3, "w4": w4} | {
        "z": z,
        "z_": z_,
        "z__": z__,
    }


def neuron_backward(dC: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache)
    dz_ = dC * (tanh_slope(q.z_) + np.cos(q.z__ * q.z_) * q.z__)
    dz__ = dC * np.cos(q.z__ * q.z_) * q.z_
    a = sigmoid(q.z)
    dz = (dz_ * q.w3 + dz__ * q.w4) * a * (1 - a)
    inputs = {"w1": dz * q.x1, "w2": dz * q.x2, "b": dz, "x1": dz * q.w1, "x2": dz * q.w2}
    return {**inputs, "w3": dz_ * a, "w4": dz__ * a, "z": dz, "z_": dz_, "z__": dz__}


def neuron_reference(w1: Any, w2: Any, b: Any, x1: Any, x2: Any, w3: Any, w4: Any, z: Any, z_: Any, z__: Any) -> Any:
    a = jax.nn.sigmoid(jnp.stack([w1 * x1, w2 * x2, b, z]).sum(axis=0))
    z_, z__ = jnp.stack([w3, w4]) * a + jnp.stack([z_, z__])
    return jnp.tanh(z_) + jnp.sin(z_ * z__)


NEURON = System(
    neuron_forward,
    neuron_backward,
    neuron_reference,
    "w1: S, w2: S, b: S, x1: S, x2: S, w3: S, w4: S, z: S zero, z_: S zero, z__: S zero",
)


def three_layers(x0: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any) -> Any:
    x1 = F[1](W1 @ x0 + b1)
    x2 = F[2](W2 @ x1 + b2)
    return F[3](W3 @ x2 + b3)


def three_layers_backward(dx3: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    nothing = [np.zeros_like(b) for b in (args[2], args[2], args[4], args[4], args[6], args[6])]
    _, cache = forward(*(*args, *nothing, np.zeros_like(args[6])))
    right = backward(1.0, {**cache, "y": cache["x3"] - dx3})  # the residual is then dx3
    return tuple(right[name].copy() for name in ("x0", *PARAMETERS))


def three_layers_reference(x0: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any) -> Any:
    x = jnp.tanh(jnp.dot(x0, W1.T) + b1)
    return jnp.tanh(jnp.dot(jax.nn.sigmoid(jnp.dot(x, W2.T) + b2), W3.T) + b3)


THREE_LAYERS = Definition(
    three_layers,
    three_layers_reference,
    three_layers_backward,
    f"x0: n0, {WEIGHTS}",
    analytic=True,
)


def squared(formula: Any, shapes: str) -> Definition:
    """Half the squared distance of ŷ from y, a column for each sample: with one it is the stochastic loss."""
    return Definition(
        formula,
        lambda y_hat, y: jnp.einsum("kb,kb->", y_hat - y, y_hat - y) / 2,
        lambda dL, args: (dL * (args[0] - args[1]),),
        shapes,
        wrt=("y_hat",),
        analytic=True,
    )


def stochastic_loss(y_hat: Any, y: Any) -> Any:
    return np.dot(y_hat[:, 0] - y[:, 0], y_hat[:, 0] - y[:, 0]) / 2


def batch_loss(y_hat: Any, y: Any) -> Any:
    return sum(np.dot(a - b, a - b) for a, b in zip(y_hat.T, y.T, strict=True)) / 2


def norm_times_jacobian(q: SimpleNamespace) -> Any:
    """A number times ∂x3/∂W3, whose entry (k, i, j) is f3'(z3_k) x2_j where i = k."""
    jacobian = np.einsum("k,ki,j->kij", SLOPE[3](q.z3), np.eye(len(q.z3)), q.x2)
    return q.dout * np.linalg.norm(q.x3 - q.y) * jacobian


# One learning rate for each weight.


def rate_forward(W: Any, x: Any, y: Any, alpha: Any) -> tuple[Any, dict[str, Any]]:
    r = np.tanh(W @ x) - y
    return (r * r).sum() / 2, {"W": W, "x": x, "r": r, "alpha": alpha}


RATES = System(
    rate_forward,
    lambda dL, cache: {
        "W": np.outer(dL * cache["r"] * tanh_slope(cache["W"] @ cache["x"]), cache["x"]),
    },
    lambda W, x, y, alpha: jnp.sum((jnp.tanh(jnp.einsum("ij,j->i", W, x)) - y) ** 2) / 2,  # noqa: ARG005  (not in it)
    "W: M N, x: N, y: M, alpha: M N in 0 0.2",
)

ROW = partial(Equation, document="002")
NORM = r"\lVert \vec x_3 - \vec y \rVert"
DW3 = r"\frac{\partial L}{\partial W_3}"
DW3_RIGHT = rf"{DW3} = \left((\vec x_3 - \vec y) \odot f_3'(W_3 \vec x_2 + \vec b_3)\right) \vec x_2^{{\top}}"

EQUATIONS = (
    ROW(
        id="002-1",
        place="A Simple Overview",
        claims="The loss is a sum over the samples, and so is its gradient.",
        latex=r"L(\theta) = \sum_{n=1}^{N} C^n(\theta), \quad \frac{\partial L(\theta)}{\partial w} "
        r"= \sum_{n=1}^{N} \frac{\partial C^n(\theta)}{\partial w}",
        printed=SUM.gradient(PARAMETERS, lambda q: added(sample_gradients(q), 1.0)),
        reading="The network is that of the matrix form, w each of its parameters, C half the squared distance.",
    ),
    ROW(
        id="002-2a",
        place="Backward Pass",
        claims="The gradient before the activation of a neuron with two successors.",
        latex=r"\frac{\partial C}{\partial z} = \sigma'(z) \left[w_3 \frac{\partial C}{\partial z'} "
        r"+ w_4 \frac{\partial C}{\partial z''}\right]",
        printed=NEURON.gradient("z", lambda q: sigmoid_slope(q.z) * (q.w3 * q.dz_ + q.w4 * q.dz__)),
        reading="C is any function of z' and z''.",
    ),
    ROW(
        id="002-2b",
        place="Forward Pass",
        claims="The derivative of z with respect to a weight is the input that the weight connects.",
        latex=r"\frac{\partial z}{\partial w_1} = x_1, \quad \frac{\partial z}{\partial w_2} = x_2",
        printed=NEURON.gradient(("w1", "w2"), lambda q: (q.dz * q.x1, q.dz * q.x2)),
        reading="With ∂C/∂w = ∂C/∂z · ∂z/∂w, as the document says.",
    ),
    ROW(
        id="002-3",
        place="Matrix Representation",
        claims="Forward propagation through three layers.",
        latex=r"\vec x_1 = f_1(W_1 \vec x_0), \quad \vec x_2 = f_2(W_2 \vec x_1), \quad \vec x_3 = f_3(W_3 \vec x_2)",
        printed=THREE_LAYERS,
        reading="The layers carry the bias that the document says may be added. It prints f₂ds for f₂.",
    ),
    ROW(
        id="002-4a",
        place="Loss Function",
        claims="The loss of a single sample.",
        latex=r"L = 1/2\, \lVert \hat y - y \rVert_2^2",
        printed=squared(stochastic_loss, "y_hat: K 1, y: K 1"),
    ),
    ROW(
        id="002-4b",
        place="Loss Function",
        claims="The loss of a batch.",
        latex=r"L = 1/2 \sum_{i \in \mathrm{Batch}} \lVert \hat y_i - y_i \rVert_2^2",
        printed=squared(batch_loss, "y_hat: K B, y: K B"),
    ),
    ROW(
        id="002-5a",
        place="Chain Rule",
        claims="The gradient of the last weights, to the letter: a norm times a Jacobian.",
        latex=rf"{DW3} = {NORM}\, \frac{{\partial \vec x_3}}{{\partial W_3}}",
        printed=COLUMNS.gradient("W3", norm_times_jacobian),
        reading="The norm is a number, and ∂x₃/∂W₃ has three axes.",
        corrected_latex=DW3_RIGHT,
        corrected=COLUMNS.gradient("W3", lambda q: np.outer((q.x3 - q.y) * SLOPE[3](q.z3), q.x2) * q.dout),
    ),
    ROW(
        id="002-5b",
        place="Chain Rule",
        claims="The gradient of the last weights, with the vector for its norm: the activation is left out.",
        latex=rf"{DW3} = {NORM}\, \frac{{\partial (W_3 \vec x_2 + \vec b_3)}}{{\partial W_3}}",
        printed=COLUMNS.gradient("W3", lambda q: np.outer(q.dout * (q.x3 - q.y), q.x2)),
        reading="The norm is read as the vector x₃ − y, its product with the derivative of W₃ x₂ + b₃ as (x₃ − y) x₂ᵀ.",
        corrected_latex=DW3_RIGHT,
        corrected=COLUMNS.gradient("W3", lambda q: np.outer(q.dout * (q.x3 - q.y) * SLOPE[3](q.z3), q.x2)),
    ),
    ROW(
        id="002-6",
        place="Loss Function",
        claims="Gradient descent with one learning rate for each weight.",
        latex=r"w = w - \alpha_w \frac{\partial L}{\partial w}",
        printed=RATES.update("W", lambda q: -q.alpha * q.dW, lambda q: q.alpha),
    ),
)
