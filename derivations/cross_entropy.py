"""Cross-entropy of given probabilities: how little each sample's label was expected, summed or averaged over the batch.

Shapes     y_hat, written ŷ (N, K) positive    labels (N,) integers in 0 … K−1    q (N,)    L ()
           c = 1 for the sum over the batch, c = 1/N for the mean

Forward    (F1)  q[n] = ŷ[n, labels[n]]          the sum over K of y log ŷ with a one-hot y keeps one term
           (F2)  L = −c Σ_n log q[n]

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B. L is a number and so is its cotangent dL. The entries of
ŷ are independent here: that the rows sum to one is softmax's affair, and its pullback deals with it. From (F2)
δL = −c Σ_n δq[n] / q[n], and (F1) reads one entry of every row, so its adjoint writes one entry of every row:

           (B1)  dq[n] = −c dL / q[n]
           (B2)  dŷ[n, k] = dq[n] if k = labels[n], else 0

Source     document 001, equations 2.2a, 2.2b (its second term is weight_decay.py) and 2.4g1; the mean is document 003,
equation 4.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact, Int
from numpy import generic, ndarray

from gradcheck.derivation import Derivation


def cross_entropy_forward(
    y_hat: Inexact[ndarray, "N K"], labels: Int[ndarray, "N"], reduction: Literal["sum", "mean"]
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    c = {"sum": 1.0, "mean": 1 / len(y_hat)}[reduction]
    q = y_hat[np.arange(len(labels)), labels]  # (F1)
    L = -c * np.log(q).sum()  # (F2)
    return L, (y_hat, labels, q, c)


def cross_entropy_backward(dL: Inexact[ndarray | generic, ""], cache: Any) -> Inexact[ndarray, "N K"]:
    y_hat, labels, q, c = cache
    dq = -c * dL / q  # (B1)
    dy_hat: ndarray = np.zeros_like(y_hat)
    dy_hat[np.arange(len(labels)), labels] = dq  # (B2)
    return dy_hat


def cross_entropy_reference(y_hat: jax.Array, labels: jax.Array, reduction: Literal["sum", "mean"]) -> jax.Array:
    y = jax.nn.one_hot(labels, y_hat.shape[1], dtype=y_hat.dtype)
    losses = -jnp.einsum("nk,nk->n", y, jnp.log(y_hat))
    return losses.sum() if reduction == "sum" else losses.mean()


CROSS_ENTROPY = Derivation(
    "cross_entropy",
    cross_entropy_forward,
    cross_entropy_backward,
    cross_entropy_reference,
    # Away from 0, where the logarithm ends; the rows need not sum to one for the derivative to hold.
    "y_hat: N K in 0.1 1, labels: N int < K",
)
