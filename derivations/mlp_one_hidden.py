"""Perceptron with one hidden layer, its loss and weight decay, in row vectors: every row of x is one sample.

Shapes     x (N, D)    W1 (D, M)    b1 (M,)    W2 (M, K)    b2 (K,)    h, z (N, M)    a, y (N, K)    E, R, L ()
           target: labels (N,) for the cross-entropy, values (N, K) for the half squared distance    lam, written λ
           The document writes columns: its w1_ki is W1[i, k] here, and tr(WᵀW) is the same for W and Wᵀ.

Diagram    x ─ affine ─ f1 ─ affine ─ f2 ─ loss ─ (+) ─ L                    (the sum over the batch)
                  W1, W2 ─ weight decay ───────────┘

Forward    (F1)  h = x W1 + b1                   affine.py
           (F2)  z = f1(h)                       activations.py
           (F3)  a = z W2 + b2                   affine.py
           (F4)  y = f2(a)                       softmax.py, or a sigmoid in every output unit
           (F5)  E = loss(y, target)             cross_entropy.py, squared_loss.py; the target is data
           (F6)  R = λ/2 tr(W1ᵀW1 + W2ᵀW2)       weight_decay.py; the biases do not decay
           (F7)  L = E + R

Backward   The parts' pullbacks in reverse order. A sum hands its cotangent to both terms: dE = dR = dL.
           (B1)  dy                              from the loss; the target gets no gradient
           (B2)  da                              from f2; a softmax ties the units of a row together, a sigmoid does not
           (B3)  dz = da W2ᵀ, dW2 = zᵀ da, db2 = Σ_n da[n]
           (B4)  dh = dz ⊙ f1'(h)
           (B5)  dx = dh W1ᵀ, dW1 = xᵀ dh, db1 = Σ_n dh[n]
           (B6)  dL λ W1, dL λ W2                from the weight decay
           (B7)  dW1, dW2                        sums of two terms each: a matrix stands in its layer and in the penalty

Source     document 001, equations 2.2a, 2.2b, 2.3 and 2.4g1 to 2.4g6; its section 1 asks for both losses.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact, Shaped
from numpy import generic, ndarray

from derivations.activations import ACTIVATIONS
from derivations.affine import affine_backward, affine_forward
from derivations.cross_entropy import cross_entropy_backward, cross_entropy_forward
from derivations.softmax import softmax_backward, softmax_forward
from derivations.squared_loss import squared_loss_backward, squared_loss_forward
from derivations.weight_decay import weight_decay_backward, weight_decay_forward
from gradcheck.derivation import Derivation

OUTPUTS = {
    "sigmoid": ACTIVATIONS["sigmoid"],
    "softmax": (softmax_forward, softmax_backward),
}
LOSSES = {
    "squared": (squared_loss_forward, squared_loss_backward),
    "cross_entropy": (cross_entropy_forward, cross_entropy_backward),
}


def mlp_one_hidden_forward(
    x: Inexact[ndarray, "N D"],
    W1: Inexact[ndarray, "D M"],
    b1: Inexact[ndarray, "M"],
    W2: Inexact[ndarray, "M K"],
    b2: Inexact[ndarray, "K"],
    target: Shaped[ndarray, "N ..."],
    lam: float,
    f1: str,
    f2: str,
    loss: str,
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    f1_forward, f1_backward = ACTIVATIONS[f1]
    f2_forward, f2_backward = OUTPUTS[f2]
    loss_forward, loss_backward = LOSSES[loss]
    h, h_cache = affine_forward(x, W1, b1)  # (F1)
    z, z_cache = f1_forward(h)  # (F2)
    a, a_cache = affine_forward(z, W2, b2)  # (F3)
    y, y_cache = f2_forward(a)  # (F4)
    E, E_cache = loss_forward(y, target, "sum")  # (F5)
    R, R_cache = weight_decay_forward([W1, W2], lam)  # (F6)
    L = np.add(E, R)  # (F7)
    return L, (h_cache, z_cache, a_cache, y_cache, E_cache, R_cache, f1_backward, f2_backward, loss_backward)


def mlp_one_hidden_backward(
    dL: Inexact[ndarray | generic, ""], cache: Any
) -> tuple[
    Inexact[ndarray, "N D"],
    Inexact[ndarray, "D M"],
    Inexact[ndarray, "M"],
    Inexact[ndarray, "M K"],
    Inexact[ndarray, "K"],
]:
    h_cache, z_cache, a_cache, y_cache, E_cache, R_cache, f1_backward, f2_backward, loss_backward = cache
    dy = loss_backward(dL, E_cache)  # (B1)
    da = f2_backward(dy, y_cache)  # (B2)
    dz, dW2, db2 = affine_backward(da, a_cache)  # (B3)
    dh = f1_backward(dz, z_cache)  # (B4)
    dx, dW1, db1 = affine_backward(dh, h_cache)  # (B5)
    decay1, decay2 = weight_decay_backward(dL, R_cache)  # (B6)
    dW1, dW2 = dW1 + decay1, dW2 + decay2  # (B7)
    return dx, dW1, db1, dW2, db2


def mlp_one_hidden_reference(
    x: jax.Array,
    W1: jax.Array,
    b1: jax.Array,
    W2: jax.Array,
    b2: jax.Array,
    target: jax.Array,
    lam: float,
    f1: str,
    f2: str,
    loss: str,
) -> jax.Array:
    """The document's sums over single units, one sample at a time, mapped over the batch."""

    def loss_of_one(x: jax.Array, t: jax.Array) -> jax.Array:
        z = getattr(jax.nn, f1)(jnp.einsum("i,ik->k", x, W1) + b1)
        y = getattr(jax.nn, f2)(jnp.einsum("k,kj->j", z, W2) + b2)
        return jnp.dot(y - t, y - t) / 2 if loss == "squared" else -jnp.log(y)[t]

    return jax.vmap(loss_of_one)(x, target).sum() + lam / 2 * (jnp.trace(W1.T @ W1) + jnp.trace(W2.T @ W2))


def mlp_one_hidden_args(
    rng: np.random.Generator, N: int, D: int, M: int, K: int, lam: float, f1: str, f2: str, loss: str
) -> tuple[Any, ...]:
    x = rng.standard_normal((N, D))
    W1, b1 = rng.standard_normal((D, M)) / np.sqrt(D), rng.standard_normal(M)
    W2, b2 = rng.standard_normal((M, K)) / np.sqrt(M), rng.standard_normal(K)
    target = rng.standard_normal((N, K)) if loss == "squared" else rng.integers(K, size=N)
    return x, W1, b1, W2, b2, target, lam, f1, f2, loss


def mlp_one_hidden_real() -> tuple[Any, ...]:
    """Sixteen handwritten digits, their pixels as rows, and a net with random weights."""
    from derivations.digits import digits

    images, labels = digits(16)
    rng = np.random.default_rng(0)
    _, W1, b1, W2, b2, *_ = mlp_one_hidden_args(rng, 16, 64, 12, 10, 0.1, "tanh", "softmax", "cross_entropy")
    return images.reshape(16, 64), W1, b1, W2, b2, labels, 0.1, "tanh", "softmax", "cross_entropy"


MLP_ONE_HIDDEN = Derivation(
    "mlp_one_hidden",
    mlp_one_hidden_forward,
    mlp_one_hidden_backward,
    mlp_one_hidden_reference,
    "N in 1 5, D in 1 7, M in 1 4, K in 2 3, lam in 0.1 0.7, "
    "f1 in tanh sigmoid relu, f2 in sigmoid softmax, loss in squared cross_entropy",
    mlp_one_hidden_args,
    wrt=("x", "W1", "b1", "W2", "b2"),
    real=mlp_one_hidden_real,
)
