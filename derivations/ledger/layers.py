"""The layers and the losses of a perceptron with one hidden layer: sections 2.2 and 2.3 of document 001.

Shapes     one sample: x (N,), the network and its letters as in mlp.py; y (C,) the output, t (C,) the target
           all of them: X (samples, N), Y (samples, C); λ the weight decay
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import sigmoid
from derivations.ledger.mlp import WEIGHTS, slope1, slope2
from gradcheck.equations.equation import Definition, Equation


def hidden_backward(dz: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    x, W1, b1 = args
    dh = dz * slope1(W1 @ x + b1)
    return W1.T @ dh, np.outer(dh, x), dh


def hidden_unit_by_unit(x: Any, W1: Any, b1: Any) -> Any:
    return np.stack([np.tanh(sum(W1[k, i] * x[i] for i in range(len(x))) + b1[k]) for k in range(len(b1))])


def hidden_reference(x: Any, W1: Any, b1: Any) -> Any:
    return jnp.tanh(jnp.einsum("ki,i->k", W1, x) + b1)


def output_backward(dy: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    z, W2, b2 = args
    da = dy * slope2(W2 @ z + b2)
    return W2.T @ da, np.outer(da, z), da


def output_reference(z: Any, W2: Any, b2: Any) -> Any:
    return jax.nn.sigmoid(jnp.einsum("jk,k->j", W2, z) + b2)


def output(formula: Any) -> Definition:
    return Definition(formula, output_reference, output_backward, "z: M, W2: C M scale M**-0.5, b2: C", analytic=True)


def loss_reference(y: Any, t: Any) -> Any:
    return -jnp.dot(jnp.asarray(t), jnp.log(y))


def loss(formula: Any) -> Definition:
    """The cross-entropy of one sample; N, the dimension of the input, comes along as a setting."""

    def loss_by_formula(y: Any, t: Any, N: int) -> Any:
        return formula(y, t, N)

    return Definition(
        loss_by_formula,
        lambda y, t, N: loss_reference(y, t),  # noqa: ARG005  (the loss does not depend on N)
        lambda dL, args: (-dL * args[1] / args[0],),
        "y: C in 0 1, t: C in 0 1, N in 8 11 17; C < N",
        wrt=("y",),
        analytic=True,
    )


def data_loss(W1: Any, b1: Any, W2: Any, b2: Any, X: Any, Y: Any, kind: str) -> Any:
    data = 0.0
    for x, t in zip(X, Y, strict=True):
        y = sigmoid(W2 @ np.tanh(W1 @ x + b1) + b2)
        data = data + (-(t * np.log(y)).sum() if kind == "cross_entropy" else ((y - t) * (y - t)).sum() / 2)
    return data


def whole_loss_letter(W1: Any, b1: Any, W2: Any, b2: Any, X: Any, Y: Any, lam: float, kind: str) -> Any:
    return data_loss(W1, b1, W2, b2, X, Y, kind) + lam / 2 * np.trace(W1.T @ W1 + W2.T @ W2)


def whole_loss(W1: Any, b1: Any, W2: Any, b2: Any, X: Any, Y: Any, lam: float, kind: str) -> Any:
    return data_loss(W1, b1, W2, b2, X, Y, kind) + lam / 2 * (np.trace(W1.T @ W1) + np.trace(W2.T @ W2))


def whole_loss_backward(dL: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    W1, b1, W2, b2, X, Y, lam, kind = args
    dW1, db1, dW2, db2 = dL * lam * W1, np.zeros_like(b1), dL * lam * W2, np.zeros_like(b2)
    for x, t in zip(X, Y, strict=True):
        h = W1 @ x + b1
        z = np.tanh(h)
        a = W2 @ z + b2
        da = dL * (-t / sigmoid(a) if kind == "cross_entropy" else sigmoid(a) - t) * slope2(a)
        dh = W2.T @ da * slope1(h)
        dW1, db1, dW2, db2 = dW1 + np.outer(dh, x), db1 + dh, dW2 + np.outer(da, z), db2 + da
    return dW1, db1, dW2, db2


def whole_loss_reference(W1: Any, b1: Any, W2: Any, b2: Any, X: Any, Y: Any, lam: float, kind: str) -> Any:
    y = jax.nn.sigmoid(jnp.tanh(X @ W1.T + b1) @ W2.T + b2)
    data = -jnp.sum(Y * jnp.log(y)) if kind == "cross_entropy" else jnp.sum((y - Y) ** 2) / 2
    return data + lam / 2 * (jnp.sum(W1**2) + jnp.sum(W2**2))


def dataset(formula: Any) -> Definition:
    return Definition(
        formula,
        whole_loss_reference,
        whole_loss_backward,
        f"{WEIGHTS}, X: samples N, Y: samples C in 0 1, lam in 0.1 0.7, kind in cross_entropy squared",
        wrt=("W1", "b1", "W2", "b2"),
        analytic=True,
    )


# The formulas as printed. A letter that is free on the right is an axis of what the formula gives.


def cross_entropy_to_n(y: Any, t: Any, N: int) -> Any:
    return -sum(t[i] * np.log(y[i]) for i in range(N))


def cross_entropy_free_j(y: Any, t: Any, N: int) -> Any:
    return -sum(t * np.log(y) for _ in range(N))


def output_free_k(z: Any, W2: Any, b2: Any) -> Any:
    return sigmoid((W2 @ z)[:, None] + b2[None, :])


ROW = partial(Equation, document="001")

EQUATIONS = (
    ROW(
        id="001-2.2a",
        place="2.2",
        claims="The loss of one sample: the cross-entropy of C classes.",
        latex=r"L(\hat y_n, y_n) = -\sum_{i=1}^{N} y_{ni} \log \hat y_{ni}",
        printed=loss(cross_entropy_to_n),
        reading="N is the dimension of the input (2.1), and y_n has C entries; drawn with N > C.",
        corrected_latex=r"L(\hat y_n, y_n) = -\sum_{j=1}^{C} y_{nj} \log \hat y_{nj}",
        corrected=loss(lambda y, t, N: -sum(t[j] * np.log(y[j]) for j in range(len(t)))),  # noqa: ARG005  (no N in it)
    ),
    ROW(
        id="001-2.2b",
        place="2.2",
        claims="The loss of all samples, the cross-entropy or the L2 distance, with weight decay.",
        latex=r"L(W^{(1)}, b^{(1)}, W^{(2)}, b^{(2)}) = \sum_{n=1}^{N'} L(\hat y_n, y_n) "
        r"+ \frac{\lambda}{2} \mathrm{tr}\left(W^{(1)\top} W^{(1)} + W^{(2)\top} W^{(2)}\right)",
        printed=dataset(whole_loss_letter),
        reading="The last W² is W⁽²⁾. The two products are N × N and M × M. The L2 distance is half the squared norm.",
        corrected_latex=r"L(W^{(1)}, b^{(1)}, W^{(2)}, b^{(2)}) = \sum_{n=1}^{N'} L(\hat y_n, y_n) + \frac{\lambda}{2} "
        r"\left(\mathrm{tr}(W^{(1)\top} W^{(1)}) + \mathrm{tr}(W^{(2)\top} W^{(2)})\right)",
        corrected=dataset(whole_loss),
    ),
    ROW(
        id="001-2.3z",
        place="2.3",
        claims="The hidden layer.",
        latex=r"z_k = f_1\left(\sum_{i=1}^{N} w^{(1)}_{ki} x_i + b^{(1)}_k\right)",
        printed=Definition(
            hidden_unit_by_unit,
            hidden_reference,
            hidden_backward,
            "x: N, W1: M N scale N**-0.5, b1: M",
            analytic=True,
        ),
    ),
    ROW(
        id="001-2.3y",
        place="2.3",
        claims="The output layer.",
        latex=r"y_i = f_2\left(\sum_{k=1}^{M} w^{(2)}_{jk} z_k + b^{(2)}_k\right)",
        printed=output(output_free_k),
        reading="y_i is read as y_j. The k of b_k stands outside the sum: it is free, an entry of b⁽²⁾.",
        corrected_latex=r"y_j = f_2\left(\sum_{k=1}^{M} w^{(2)}_{jk} z_k + b^{(2)}_j\right)",
        corrected=output(lambda z, W2, b2: sigmoid(np.einsum("jk,k->j", W2, z) + b2)),
    ),
    ROW(
        id="001-2.3l",
        place="2.3",
        claims="The loss of one sample, once more.",
        latex=r"L(\hat y_n, y_n) = -\sum_{i=1}^{N} y_{nj} \log y_j",
        printed=loss(cross_entropy_free_j),
        reading="The sum runs over i, and j is free.",
        corrected_latex=r"L(\hat y_n, y_n) = -\sum_{j=1}^{C} y_{nj} \log y_j",
        corrected=loss(lambda y, t, N: -(t * np.log(y)).sum()),  # noqa: ARG005  (no N in it)
    ),
)
