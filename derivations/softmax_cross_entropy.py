"""Softmax and cross-entropy in one: from scores to the loss, summed or averaged over the batch.

Shapes     z (N, K) scores    labels (N,) integers in 0 … K−1    s (N, K)    l (N,)    L ()
           c = 1 for the sum over the batch, c = 1/N for the mean

Forward    (F1)  s = z − max_k z                 adding a constant to a row changes no probability, so exp is safe
           (F2)  l[n] = log Σ_k exp s[n, k] − s[n, labels[n]]
           (F3)  L = c Σ_n l[n]                  the logarithm is taken of a sum ≥ 1: never of 0

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B. L is a number and so is its cotangent dL. The maximum
cancels in (F2), so it counts as a constant and δs = δz. Score k reaches l[n] by two ways: through the normalising sum,
with ∂ log Σ exp s / ∂s_k = exp s_k / Σ_j exp s_j = p_k, and, if it is the label's, through the second term with −1:

           (B1)  dl[n] = dL c                    the same number for every sample
           (B2)  dz[n, k] = dl[n] (p[n, k] − [k = labels[n]])

cross_entropy.py divides by p and softmax.py multiplies by it again; here both have been done on paper, and p may be 0.

Source     document 000, equations 13 and 14.
"""

from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Inexact, Int
from numpy import generic, ndarray

from gradcheck.derivation import Derivation


def softmax_cross_entropy_forward(
    z: Inexact[ndarray, "N K"], labels: Int[ndarray, "N"], reduction: Literal["sum", "mean"]
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    c = {"sum": 1.0, "mean": 1 / len(z)}[reduction]
    s = z - z.real.max(axis=1, keepdims=True)  # (F1)
    e = np.exp(s)
    total = e.sum(axis=1)
    l = np.log(total) - s[np.arange(len(s)), labels]  # (F2)
    L = c * l.sum()  # (F3)
    p = e / total[:, None]
    return L, (p, labels, c)


def softmax_cross_entropy_backward(dL: Inexact[ndarray | generic, ""], cache: Any) -> Inexact[ndarray, "N K"]:
    p, labels, c = cache
    dl = dL * c  # (B1)
    dz: ndarray = dl * (p - (np.arange(p.shape[1]) == labels[:, None]))  # (B2)
    return dz


def softmax_cross_entropy_reference(z: jax.Array, labels: jax.Array, reduction: Literal["sum", "mean"]) -> jax.Array:
    losses: jax.Array = jax.vmap(lambda row, label: -jax.nn.log_softmax(row)[label])(z, labels)
    return losses.sum() if reduction == "sum" else losses.mean()


SOFTMAX_CROSS_ENTROPY = Derivation(
    "softmax_cross_entropy",
    softmax_cross_entropy_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_reference,
    "labels: N int < K; K >= 2",  # a row of one score has no gradient
)
