"""Multi-layer perceptron of any depth with its loss, in row vectors: every row of X is one sample.

Shapes     X = A⁰ (N, n⁰)    layers: a list of L pairs (Wˡ (nˡ⁻¹, nˡ), bˡ (nˡ,))    Zˡ, Aˡ (N, nˡ)    C ()
           target: labels (N,) for the softmax cross-entropy, values (N, nᴸ) for the half squared distance

Diagram    X ─ affine ─ σ ─ affine ─ σ ─ … ─ affine ─ σᴸ ─ loss ─ C          (the mean over the batch)

Forward    for l = 1 … L
           (F1)  Zˡ = Aˡ⁻¹ Wˡ + bˡ               affine.py
           (F2)  Aˡ = σˡ(Zˡ)                     activations.py; under the softmax cross-entropy the last σ is the
                                                 softmax, which lives in its loss, so σᴸ is the identity
           (F3)  C = loss(Aᴸ, target)            squared_loss.py, softmax_cross_entropy.py

Backward   The parts' pullbacks in reverse order. A chain has one way back, so nothing is added anywhere:
           (B1)  dAᴸ                             from the loss; the target is data and gets no gradient
           for l = L … 1
           (B2)  dZˡ = dAˡ ⊙ σˡ'(Zˡ)             the document's δˡ
           (B3)  dAˡ⁻¹ = dZˡ Wˡᵀ, dWˡ = Aˡ⁻¹ᵀ dZˡ, dbˡ = Σ_n dZˡ[n]        dA⁰ is dX

Source     document 000, equations 1 to 11; (B2) with (B3) is its equation 8.
"""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact, Shaped
from numpy import generic, ndarray

from derivations.activations import ACTIVATIONS
from derivations.affine import affine_backward, affine_forward
from derivations.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from derivations.squared_loss import squared_loss_backward, squared_loss_forward
from gradcheck.derivation import Derivation

LOSSES = {
    "squared": (squared_loss_forward, squared_loss_backward),
    "softmax_cross_entropy": (softmax_cross_entropy_forward, softmax_cross_entropy_backward),
}


def mlp_forward(
    X: Inexact[ndarray, "N _"],
    layers: list[tuple[Inexact[ndarray, "_ _"], Inexact[ndarray, "_"]]],
    target: Shaped[ndarray, "N ..."],
    activation: str,
    loss: str,
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    last = "identity" if loss == "softmax_cross_entropy" else activation
    names = [activation] * (len(layers) - 1) + [last]
    A, parts = X, []
    for (W, b), name in zip(layers, names, strict=True):
        sigma_forward, sigma_backward = ACTIVATIONS[name]
        Z, affine_cache = affine_forward(A, W, b)  # (F1)
        A, sigma_cache = sigma_forward(Z)  # (F2)
        parts.append((affine_cache, sigma_cache, sigma_backward))
    loss_forward, loss_backward = LOSSES[loss]
    C, loss_cache = loss_forward(A, target, "mean")  # (F3)
    return C, (parts, loss_cache, loss_backward)


def mlp_backward(
    dC: Inexact[ndarray | generic, ""], cache: Any
) -> tuple[Inexact[ndarray, "N _"], list[tuple[Inexact[ndarray, "_ _"], Inexact[ndarray, "_"]]]]:
    parts, loss_cache, loss_backward = cache
    dA = loss_backward(dC, loss_cache)  # (B1)
    dlayers = []
    for affine_cache, sigma_cache, sigma_backward in reversed(parts):
        dZ = sigma_backward(dA, sigma_cache)  # (B2)
        dA, dW, db = affine_backward(dZ, affine_cache)  # (B3)
        dlayers.append((dW, db))
    return dA, dlayers[::-1]


def mlp_reference(
    X: jax.Array, layers: list[tuple[jax.Array, jax.Array]], target: jax.Array, activation: str, loss: str
) -> jax.Array:
    """One sample at a time, in column vectors, mapped over the batch."""
    sigma = getattr(jax.nn, activation)

    def loss_of_one(x: jax.Array, t: jax.Array) -> jax.Array:
        *hidden, (W, b) = layers
        for V, c in hidden:
            x = sigma(V.T @ x + c)
        z = W.T @ x + b
        if loss == "squared":
            return jnp.dot(sigma(z) - t, sigma(z) - t) / 2
        return -jax.nn.log_softmax(z)[t]

    return jax.vmap(loss_of_one)(X, target).mean()


def mlp_args(
    rng: np.random.Generator, depth: int, N: int, D: int, M: int, K: int, activation: str, loss: str
) -> tuple[Any, ...]:
    widths = (D, *(M + 2 * l for l in range(depth - 1)), K)
    layers = [(rng.standard_normal((i, o)) / np.sqrt(i), rng.standard_normal(o)) for i, o in pairwise(widths)]
    target = rng.standard_normal((N, K)) if loss == "squared" else rng.integers(K, size=N)
    X = rng.standard_normal((N, D))
    if activation == "relu":  # unit 0 of each layer is open for sample 0: no net is shut and without a gradient
        X[0] = np.abs(X[0])
        for W, b in layers:
            W[:, 0], b[0] = np.abs(W[:, 0]), np.abs(b[0])
    return X, layers, target, activation, loss


def mlp_real() -> tuple[Any, ...]:
    """Sixteen handwritten digits, their pixels as rows, and a net with two layers of random weights."""
    from derivations.digits import digits

    images, labels = digits(16)
    _, layers, *_ = mlp_args(np.random.default_rng(0), 2, 16, 64, 12, 10, "tanh", "softmax_cross_entropy")
    return images.reshape(16, 64), layers, labels, "tanh", "softmax_cross_entropy"


MLP = Derivation(
    "mlp",
    mlp_forward,
    mlp_backward,
    mlp_reference,
    "depth in 1 2 3, N in 1 5, D in 1 7, M in 1 4, K in 2 3, "
    "activation in tanh sigmoid relu, loss in squared softmax_cross_entropy",
    mlp_args,
    wrt=("X", "layers"),
    real=mlp_real,
)
