"""Perceptron with one hidden layer, unit by unit: sections 2.2 to 2.4 of document 001. Here its backward.

Shapes     x (N,)    W1 (M, N)    b1 (M,)    W2 (C, M)    b2 (C,)    t (C,) the target    L ()
           h (M,), z (M,), a (C,), y (C,): added to the quantity of that name, and zero

Forward    h = W1 x + b1,  z = f1(h),  a = W2 z + b2,  y = f2(a)
           L = −Σ_j t_j log y_j + λ/2 tr(W1ᵀW1 + W2ᵀW2)

f1 is tanh and f2 the logistic sigmoid: different, so that one in the place of the other is seen, and element-wise, as
the document writes them. The document writes y_n for the target t, which lies in [0, 1]. The gradients are those of the
loss of one sample, where λ is 0; the updates are those of the whole, where it is not. The sizes are all different and
N > M > C, so that an index out of its range is seen.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import sigmoid, sigmoid_slope, tanh_slope
from derivations.ledger.system import System
from gradcheck.equations.equation import Equation

slope1, slope2 = tanh_slope, sigmoid_slope  # f1' and f2'


def forward(
    x: Any, W1: Any, b1: Any, W2: Any, b2: Any, h: Any, z: Any, a: Any, y: Any, t: Any, lam: float
) -> tuple[Any, dict[str, Any]]:
    h = W1 @ x + b1 + h
    z = np.tanh(h) + z
    a = W2 @ z + b2 + a
    y = sigmoid(a) + y
    L = -(t * np.log(y)).sum() + lam / 2 * ((W1 * W1).sum() + (W2 * W2).sum())
    return L, {"x": x, "W1": W1, "b1": b1, "W2": W2, "b2": b2, "h": h, "z": z, "a": a, "y": y, "t": t, "lam": lam}


def backward(dL: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache)
    dy = -dL * q.t / q.y
    da = dy * slope2(q.a)
    dz = q.W2.T @ da
    dh = dz * slope1(q.h)
    dW1 = np.outer(dh, q.x) + dL * q.lam * q.W1
    dW2 = np.outer(da, q.z) + dL * q.lam * q.W2
    return {"x": q.W1.T @ dh, "W1": dW1, "b1": dh, "W2": dW2, "b2": da, "h": dh, "z": dz, "a": da, "y": dy}


def reference(x: Any, W1: Any, b1: Any, W2: Any, b2: Any, h: Any, z: Any, a: Any, y: Any, t: Any, lam: float) -> Any:
    z = jnp.tanh(jnp.einsum("ki,i->k", W1, x) + b1 + h) + z
    y = jax.nn.sigmoid(jnp.einsum("jk,k->j", W2, z) + b2 + a) + y
    weights = jnp.concatenate([W1.ravel(), W2.ravel()])
    return -jnp.dot(t, jnp.log(y)) + lam / 2 * jnp.dot(weights, weights)


WEIGHTS = "W1: M N scale N**-0.5, b1: M, W2: C M scale M**-0.5, b2: C"
ADDED = "h: M zero, z: M zero, a: C zero, y: C zero"
MLP, DECAYED = (
    System(forward, backward, reference, f"x: N, {WEIGHTS}, {ADDED}, t: C in 0 1, {lam}; N > M, M > C")
    for lam in ("lam = 0.0", "lam in 0.1 0.7")
)


# The formulas as printed. A letter that is free on the right is an axis of what the formula gives.


def db2_letter(q: SimpleNamespace) -> Any:
    """``k`` is free: the argument of f2' has the weights of unit j and the bias of unit k."""
    argument = (q.W2 @ q.z)[:, None] + q.b2[None, :]
    return np.einsum("j,jk->k", q.dy, slope2(argument))


def dW2_letter(q: SimpleNamespace) -> Any:
    argument = np.stack([(q.W2 @ q.z) + q.b2[k] for k in range(len(q.z))], axis=1)
    return np.einsum("j,jk,k->jk", q.dy, slope2(argument), q.z)


def db1_letter(q: SimpleNamespace) -> Any:
    """``i`` is free in b1, and bound in the sum: the argument of f1' has the weights of unit k and the bias of i."""
    argument = (q.W1 @ q.x)[:, None] + q.b1[None, :]
    return np.einsum("k,ki->i", q.dz, slope1(argument))


def dW1_letter(q: SimpleNamespace) -> Any:
    argument = np.stack([(q.W1 @ q.x) + q.b1[i] for i in range(len(q.x))], axis=1)
    return np.einsum("k,ki,i->ki", q.dz, slope1(argument), q.x)


def everywhere(total: Any, like: Any) -> Any:
    """One and the same number for every entry: the formula's right side does not have the left side's index."""
    return np.full(like.shape, total)


ROW = partial(Equation, document="001")
OF_UNIT = "The argument of f' is read as the one of 2.3 that unit j or k has, so that only the sum is on trial."
DB2 = r"\frac{\partial L}{\partial b^{(2)}_k} = \sum_{j=1}^{C} \frac{\partial L}{\partial y_j} "
DB2 += r"f_2'\left(\sum_{k=1}^{M} w^{(2)}_{jk} z_k + b^{(2)}_k\right)"
DB2_RIGHT = r"\frac{\partial L}{\partial b^{(2)}_j} = \frac{\partial L}{\partial y_j} "
DB2_RIGHT += r"f_2'\left(\sum_{k=1}^{M} w^{(2)}_{jk} z_k + b^{(2)}_j\right)"
DB1 = r"\frac{\partial L}{\partial b^{(1)}_i} = \sum_{k=1}^{M} \frac{\partial L}{\partial z_k} "
DB1 += r"f_1'\left(\sum_{i=1}^{N} w^{(1)}_{ki} x_i + b^{(1)}_i\right)"
DB1_RIGHT = r"\frac{\partial L}{\partial b^{(1)}_k} = \frac{\partial L}{\partial z_k} "
DB1_RIGHT += r"f_1'\left(\sum_{i=1}^{N} w^{(1)}_{ki} x_i + b^{(1)}_k\right)"

EQUATIONS = (
    ROW(
        id="001-2.4g1",
        place="2.4",
        claims="The gradient of the cross-entropy with respect to the output.",
        latex=r"\frac{\partial L}{\partial y_j} = \frac{y_{nj}}{y_j}",
        printed=MLP.gradient("y", lambda q: q.dout * q.t / q.y),
        reading="The document prints ∂L/∂y_i with y_nj / y_j: i is read as j.",
        corrected_latex=r"\frac{\partial L}{\partial y_j} = -\frac{y_{nj}}{y_j}",
        corrected=MLP.gradient("y", lambda q: -q.dout * q.t / q.y),
    ),
    ROW(
        id="001-2.4g2a",
        place="2.4",
        claims="The gradient of the output bias, to the letter.",
        latex=DB2,
        printed=MLP.gradient("b2", db2_letter),
        reading="The k under the sum is another than the free one, which is that of b_k.",
        corrected_latex=DB2_RIGHT,
        corrected=MLP.gradient("b2", lambda q: q.dy * slope2(q.W2 @ q.z + q.b2)),
    ),
    ROW(
        id="001-2.4g2b",
        place="2.4",
        claims="The gradient of the output bias, with the argument of f2' as in 2.3.",
        latex=DB2,
        printed=MLP.gradient("b2", lambda q: everywhere((q.dy * slope2(q.a)).sum(), q.b2)),
        reading=OF_UNIT,
        corrected_latex=DB2_RIGHT,
        corrected=MLP.gradient("b2", lambda q: q.dy * slope2(q.a)),
    ),
    ROW(
        id="001-2.4g3",
        place="2.4",
        claims="The gradient of the output weights.",
        latex=r"\frac{\partial L}{\partial w^{(2)}_{jk}} = \frac{\partial L}{\partial y_j} "
        r"f_2'\left(\sum_{k=1}^{M} w^{(2)}_{jk} z_k + b^{(2)}_k\right) z_k",
        printed=MLP.gradient("W2", dW2_letter),
        reading="k counts hidden units, 1 … M, and b⁽²⁾ has C entries; drawn with M > C.",
        corrected_latex=r"\frac{\partial L}{\partial w^{(2)}_{jk}} = \frac{\partial L}{\partial y_j} "
        r"f_2'\left(\sum_{k'=1}^{M} w^{(2)}_{jk'} z_{k'} + b^{(2)}_j\right) z_k",
        corrected=MLP.gradient("W2", lambda q: np.einsum("j,j,k->jk", q.dy, slope2(q.a), q.z)),
    ),
    ROW(
        id="001-2.4g4",
        place="2.4",
        claims="The gradient with respect to the hidden units.",
        latex=r"\frac{\partial L}{\partial z_k} = \sum_{j=1}^{C} \frac{\partial L}{\partial y_j} w^{(2)}_{jk}",
        printed=MLP.gradient("z", lambda q: q.dy @ q.W2),
        corrected_latex=r"\frac{\partial L}{\partial z_k} = \sum_{j=1}^{C} \frac{\partial L}{\partial y_j} "
        r"f_2'\left(\sum_{k'=1}^{M} w^{(2)}_{jk'} z_{k'} + b^{(2)}_j\right) w^{(2)}_{jk}",
        corrected=MLP.gradient("z", lambda q: np.einsum("j,j,jk->k", q.dy, slope2(q.a), q.W2)),
    ),
    ROW(
        id="001-2.4g5a",
        place="2.4",
        claims="The gradient of the hidden bias, to the letter.",
        latex=DB1,
        printed=MLP.gradient("b1", db1_letter),
        reading="The i under the sum is another than the free one, which is that of b_i, i = 1 … M.",
        corrected_latex=DB1_RIGHT,
        corrected=MLP.gradient("b1", lambda q: q.dz * slope1(q.W1 @ q.x + q.b1)),
    ),
    ROW(
        id="001-2.4g5b",
        place="2.4",
        claims="The gradient of the hidden bias, with the argument of f1' as in 2.3.",
        latex=DB1,
        printed=MLP.gradient("b1", lambda q: everywhere((q.dz * slope1(q.h)).sum(), q.b1)),
        reading=OF_UNIT,
        corrected_latex=DB1_RIGHT,
        corrected=MLP.gradient("b1", lambda q: q.dz * slope1(q.h)),
    ),
    ROW(
        id="001-2.4g6",
        place="2.4",
        claims="The gradient of the hidden weights.",
        latex=r"\frac{\partial L}{\partial w^{(1)}_{ki}} = \frac{\partial L}{\partial z_k} "
        r"f_1'\left(\sum_{i=1}^{N} w^{(1)}_{ki} x_i + b^{(1)}_i\right) x_i",
        printed=MLP.gradient("W1", dW1_letter),
        reading="i counts inputs, 1 … N, and b⁽¹⁾ has M entries; drawn with N > M.",
        corrected_latex=r"\frac{\partial L}{\partial w^{(1)}_{ki}} = \frac{\partial L}{\partial z_k} "
        r"f_1'\left(\sum_{i'=1}^{N} w^{(1)}_{ki'} x_{i'} + b^{(1)}_k\right) x_i",
        corrected=MLP.gradient("W1", lambda q: np.einsum("k,k,i->ki", q.dz, slope1(q.h), q.x)),
    ),
)
