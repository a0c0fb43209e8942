"""Mini-batch backpropagation in row vectors: the first half of document 000.

Shapes     X (m, n0)    W1 (n0, n1)    b1 (1, n1)    W2 (n1, n2)    b2 (1, n2)    W3 (n2, n3)    b3 (1, n3)    C ()
           Z1, A1, Z2, A2, Z3, A3: added to the quantity of that name, and zero    Y (m, n3) the labels

Forward    Z^l = A^{l−1} W^l + b^l,  A^l = σ(Z^l),  C = ½ Σ (A³ − Y)²

Its displayed formulas are lost; they are reconstructed from the prose, which says what depends on what and which shape
everything has. σ is the logistic sigmoid.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import sigmoid
from derivations.ledger.activations import sigmoid_slope as slope
from derivations.ledger.system import LOST, System
from gradcheck.equations.equation import Definition, Equation

PARAMETERS = ("W1", "b1", "W2", "b2", "W3", "b3")


def forward(
    X: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    W3: Any,
    b3: Any,
    Z1: Any,
    A1: Any,
    Z2: Any,
    A2: Any,
    Z3: Any,
    A3: Any,
    Y: Any,
) -> tuple[Any, dict[str, Any]]:
    Z1 = X @ W1 + b1 + Z1
    A1 = sigmoid(Z1) + A1
    Z2 = A1 @ W2 + b2 + Z2
    A2 = sigmoid(Z2) + A2
    Z3 = A2 @ W3 + b3 + Z3
    A3 = sigmoid(Z3) + A3
    values = {"A0": X, "Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2, "Z3": Z3, "A3": A3, "Y": Y}
    C = ((A3 - Y) * (A3 - Y)).sum() / 2
    return C, {**values, "W1": W1, "b1": b1, "W2": W2, "b2": b2, "W3": W3, "b3": b3}


def backward(dC: Any, cache: dict[str, Any]) -> dict[str, Any]:
    right: dict[str, Any] = {"A3": dC * (cache["A3"] - cache["Y"])}
    for l in (3, 2, 1):
        dZ = right[f"A{l}"] * slope(cache[f"Z{l}"])
        below = "X" if l == 1 else f"A{l - 1}"
        right[f"Z{l}"], right[below] = dZ, dZ @ cache[f"W{l}"].T
        right[f"W{l}"], right[f"b{l}"] = cache[f"A{l - 1}"].T @ dZ, dZ.sum(axis=0, keepdims=True)
    return {name: right[name] for name in ("X", *PARAMETERS, "Z1", "A1", "Z2", "A2", "Z3", "A3")}


def reference(X: Any, *rest: Any) -> Any:
    """One sample at a time, mapped over the batch."""
    (W1, b1, W2, b2, W3, b3), added, Y = rest[:6], rest[6:12], rest[12]

    def cost(x: Any, y: Any, *added: Any) -> Any:
        for W, b, Z, A in zip((W1, W2, W3), (b1, b2, b3), added[::2], added[1::2], strict=True):
            x = jax.nn.sigmoid(W.T @ x + b[0] + Z) + A
        return jnp.dot(x - y, x - y) / 2

    return jax.vmap(cost)(X, Y, *added).sum()


WEIGHTS = ", ".join(f"W{l}: n{l - 1} n{l} scale n{l - 1}**-0.5, b{l}: 1 n{l}" for l in (1, 2, 3))
ADDED = ", ".join(f"Z{l}: m n{l} zero, A{l}: m n{l} zero" for l in (1, 2, 3))
ROWS = System(forward, backward, reference, f"X: m n0, {WEIGHTS}, {ADDED}, Y: m n3")


# One layer, from Z^l to Z^{l+1}.


def layer_forward(Z: Any, W: Any, b: Any) -> tuple[Any, dict[str, Any]]:
    return sigmoid(Z) @ W + b, {"Z": Z, "W": W}


LAYER = System(
    layer_forward,
    lambda dnext, cache: {"Z": dnext @ cache["W"].T * slope(cache["Z"])},
    lambda Z, W, b: jnp.einsum("ij,jk->ik", jax.nn.sigmoid(Z), W) + b,
    "Z: m n, W: n k, b: 1 k",
)
LINEAR = Definition(
    lambda A, W, b: A @ W + b,
    lambda A, W, b: jnp.stack([jnp.einsum("ij,i->j", W, a) + b[0] for a in A]),
    lambda dZ, args: (dZ @ args[1].T, args[0].T @ dZ, dZ.sum(axis=0, keepdims=True)),
    "A: m n, W: n k, b: 1 k",
    analytic=True,
)
ACTIVATION = Definition(
    sigmoid,
    lambda Z: (jnp.tanh(Z / 2) + 1) / 2,
    lambda dA, args: (dA * slope(args[0]),),
    "z: m n",
    analytic=True,
)


def next_by_elements(Z: Any, W: Any, b: Any) -> Any:
    """Z^{l+1}_ik = Σ_j σ(Z^l_ij) W_jk + b_k."""
    return np.array([[sum(sigmoid(z[j]) * W[j, k] for j in range(len(W))) + b[0, k] for k in range(b.size)] for z in Z])


NEXT = Definition(
    next_by_elements,
    lambda Z, W, b: jnp.einsum("ij,jk->ik", jax.nn.sigmoid(Z), W) + b,
    lambda dnext, args: (
        dnext @ args[1].T * slope(args[0]),
        sigmoid(args[0]).T @ dnext,
        dnext.sum(axis=0, keepdims=True),
    ),
    LAYER.shapes,
    analytic=True,
)


# The formulas.


def chain_of_rows(q: SimpleNamespace) -> Any:
    """δ_ij = Σ_k δ^{l+1}_ik ∂Z^{l+1}_ik/∂Z^l_ij: row i alone; the derivative is taken by a complex step."""
    step = 1e-30
    delta = np.zeros_like(q.Z2)
    for i, j in np.ndindex(q.Z2.shape):
        moved = q.Z2[i].astype(complex)
        moved[j] += 1j * step
        delta[i, j] = q.dZ3[i] @ ((sigmoid(moved) @ q.W3).imag / step)
    return delta


def layer_jacobian(q: SimpleNamespace) -> Any:
    """∂Z^{l+1}_ik/∂Z^l_ij = W_jk σ'(Z_ij), and zero between different rows."""
    m = len(q.Z)
    jacobian = np.einsum("jk,ij,ip->ikpj", q.W, slope(q.Z), np.eye(m))
    return np.einsum("ik,ikpj->pj", q.dout, jacobian)


def delta_by_elements(q: SimpleNamespace) -> Any:
    return np.array(
        [
            [sum(row[k] * q.W3[j, k] for k in range(len(row))) * slope(q.Z2[i, j]) for j in range(q.Z2.shape[1])]
            for i, row in enumerate(q.dZ3)
        ]
    )


def four_steps(q: SimpleNamespace) -> tuple[Any, ...]:
    """Forward is done; the error of the output layer, the errors of all others, the derivatives of every parameter."""
    A, Z = (q.A0, q.A1, q.A2), {2: q.Z2, 1: q.Z1}
    delta = {3: q.dA3 * slope(q.Z3)}
    for l in (2, 1):
        delta[l] = delta[l + 1] @ (q.W2 if l == 1 else q.W3).T * slope(Z[l])
    gradients = [(A[l - 1].T @ delta[l], np.ones((1, len(delta[l]))) @ delta[l]) for l in (1, 2, 3)]
    return tuple(part for pair in gradients for part in pair)


ETA = 0.1
ROW = partial(Equation, document="000")
PLACE = "Mini-Batch BP"
DELTA = r"\delta^{l}"

EQUATIONS = (
    ROW(
        id="000-1",
        place=PLACE,
        claims="The linear transformation of a layer; b is added to each row.",
        latex=r"Z^l = A^{l-1} W^l + b^l",
        printed=LINEAR,
        reading=LOST,
    ),
    ROW(
        id="000-2",
        place=PLACE,
        claims="The activation, element-wise.",
        latex=r"A^l = \sigma(Z^l)",
        printed=ACTIVATION,
        reading=LOST,
    ),
    ROW(
        id="000-3",
        place=PLACE,
        claims="The error of the output layer.",
        latex=r"\delta^L = \frac{\partial C}{\partial Z^L} = \frac{\partial C}{\partial A^L} \odot \sigma'(Z^L)",
        printed=ROWS.gradient("Z3", lambda q: q.dA3 * slope(q.Z3)),
        reading=f"{LOST} C is half the squared distance of A^L from the labels.",
    ),
    ROW(
        id="000-4",
        place=PLACE,
        claims="The error of a layer by the chain rule: row i of Z^{l+1} depends on row i of Z^l alone.",
        latex=rf"{DELTA}_{{ij}} = \sum_k \delta^{{l+1}}_{{ik}} "
        r"\frac{\partial Z^{l+1}_{ik}}{\partial Z^l_{ij}}",
        printed=ROWS.gradient("Z2", chain_of_rows),
        reading=LOST,
    ),
    ROW(
        id="000-5",
        place=PLACE,
        claims="An element of the next layer.",
        latex=r"Z^{l+1}_{ik} = \sum_j \sigma(Z^l_{ij}) W^{l+1}_{jk} + b^{l+1}_k",
        printed=NEXT,
        reading=LOST,
    ),
    ROW(
        id="000-6",
        place=PLACE,
        claims="Its derivative with respect to an element of this layer.",
        latex=r"\frac{\partial Z^{l+1}_{ik}}{\partial Z^l_{ij}} = W^{l+1}_{jk} \sigma'(Z^l_{ij})",
        printed=LAYER.gradient("Z", layer_jacobian),
        reading=LOST,
    ),
    ROW(
        id="000-7",
        place=PLACE,
        claims="The error of a layer, element by element.",
        latex=rf"{DELTA}_{{ij}} = \sum_k \delta^{{l+1}}_{{ik}} W^{{l+1}}_{{jk}} \sigma'(Z^l_{{ij}})",
        printed=ROWS.gradient("Z2", delta_by_elements),
        reading=LOST,
    ),
    ROW(
        id="000-8",
        place=PLACE,
        claims="The error of a layer, as matrices.",
        latex=rf"{DELTA} = \left(\delta^{{l+1}} (W^{{l+1}})^{{\top}}\right) \odot \sigma'(Z^l)",
        printed=ROWS.gradient(("Z1", "Z2"), lambda q: (q.dZ2 @ q.W2.T * slope(q.Z1), q.dZ3 @ q.W3.T * slope(q.Z2))),
        reading=LOST,
    ),
    ROW(
        id="000-9",
        place=PLACE,
        claims="The gradient of the weights: one matrix multiplication on the δ.",
        latex=r"\frac{\partial C}{\partial W^l} = (A^{l-1})^{\top} \delta^l",
        printed=ROWS.gradient(("W1", "W2", "W3"), lambda q: (q.A0.T @ q.dZ1, q.A1.T @ q.dZ2, q.A2.T @ q.dZ3)),
        reading=LOST,
    ),
    ROW(
        id="000-10",
        place=PLACE,
        claims="The gradient of the bias, of shape (1, n^l).",
        latex=r"\frac{\partial C}{\partial b^l} = \sum_{i=1}^{m} \delta^l_{i}",
        printed=ROWS.gradient("b2", lambda q: q.dZ2.sum(axis=0, keepdims=True)),
        reading=f"{LOST} The sum runs over the rows of δ.",
    ),
    ROW(
        id="000-11a",
        place=PLACE,
        claims="The summary: forward, the error of the output, the errors of all layers, every derivative.",
        latex=r"\delta^L \to \delta^{L-1} \to \cdots \to \delta^1, \quad \frac{\partial C}{\partial W^l}, "
        r"\frac{\partial C}{\partial b^l} \text{ for all } l",
        printed=ROWS.gradient(PARAMETERS, four_steps),
        reading=LOST,
    ),
    ROW(
        id="000-11b",
        place=PLACE,
        claims="The summary's last step: gradient descent.",
        latex=r"W^l \leftarrow W^l - \eta \frac{\partial C}{\partial W^l}",
        printed=ROWS.update("W2", lambda q: -ETA * four_steps(q)[2], ETA),
        reading=f"{LOST} W² stands for all parameters.",
    ),
)
