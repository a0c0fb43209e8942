"""Softmax of every row: K scores become K positive numbers that sum to one.

Shapes     z (N, K) scores    e (N, K)    p (N, K) probabilities

Forward    (F1)  e = exp(z − max_k z)            the row's maximum cancels in (F2) and keeps exp from overflowing
           (F2)  p = e / Σ_k e

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B, so that dL = ⟨dp, δp⟩ defines dp. The shift in (F1)
cancels, so it counts as a constant. In one row log p_k = z_k − log Σ_j exp z_j, so δp_k = p_k (δz_k − Σ_j p_j δz_j):
every score reaches its own probability through the numerator, and all K of them through the common denominator.
Hence ⟨dp, δp⟩ = Σ_k dp_k p_k δz_k − (Σ_k dp_k p_k) Σ_j p_j δz_j, and the coefficient of δz_k is

           (B1)  m = Σ_k dp_k p_k                one number a row: the mean of dp under p, from the denominator
           (B2)  dz = p ⊙ (dp − m)               every row of dz sums to 0, since adding a constant to a row of z
                                                 changes nothing

Source     document 000, equation 13.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact
from numpy import ndarray

from gradcheck.derivation import Derivation


def softmax_forward(z: Inexact[ndarray, "N K"]) -> tuple[Inexact[ndarray, "N K"], Any]:
    e = np.exp(z - z.real.max(axis=1, keepdims=True))  # (F1)
    p = e / e.sum(axis=1, keepdims=True)  # (F2)
    return p, p


def softmax_backward(dp: Inexact[ndarray, "N K"], cache: Any) -> Inexact[ndarray, "N K"]:
    p = cache
    m = (dp * p).sum(axis=1, keepdims=True)  # (B1)
    dz: ndarray = p * (dp - m)  # (B2)
    return dz


def softmax_reference(z: jax.Array) -> jax.Array:
    return jnp.exp(z - jax.nn.logsumexp(z, axis=1, keepdims=True))


SOFTMAX = Derivation(
    "softmax",
    softmax_forward,
    softmax_backward,
    softmax_reference,
    "; K >= 2",  # a row of one score has no gradient
    samples={"z": 0, "out": 0},
)
