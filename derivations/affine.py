"""Affine layer, in row vectors: every row of x is one sample.

Shapes     x (N, D)    W (D, M)    b (M,)    y (N, M)

Forward    (F1)  y = x W + b                     b is added to each row

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B = tr(AᵀB), so that dL = ⟨dy, δy⟩ defines dy.
From (F1), δy = δx W + x δW + 1 δb, and moving each factor to the other side of the pairing gives

           (B1)  dx = dy Wᵀ                      ⟨dy, δx W⟩ = ⟨dy Wᵀ, δx⟩
           (B2)  dW = xᵀ dy                      ⟨dy, x δW⟩ = ⟨xᵀ dy, δW⟩: one product sums over the batch
           (B3)  db = Σ_n dy[n]                  the broadcast of b to N rows becomes a sum over them

Source     document 000, equations 1, 9 and 10.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Inexact
from numpy import ndarray

from gradcheck.derivation import Derivation


def affine_forward(
    x: Inexact[ndarray, "N D"], W: Inexact[ndarray, "D M"], b: Inexact[ndarray, "M"]
) -> tuple[Inexact[ndarray, "N M"], Any]:
    y = x @ W + b  # (F1)
    return y, (x, W)


def affine_backward(
    dy: Inexact[ndarray, "N M"], cache: Any
) -> tuple[Inexact[ndarray, "N D"], Inexact[ndarray, "D M"], Inexact[ndarray, "M"]]:
    x, W = cache
    dx = dy @ W.T  # (B1)
    dW = x.T @ dy  # (B2)
    db = dy.sum(axis=0)  # (B3)
    return dx, dW, db


def affine_reference(x: jax.Array, W: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum("nd,dm->nm", x, W) + b[None, :]


AFFINE = Derivation(
    "affine",
    affine_forward,
    affine_backward,
    affine_reference,
    "W: D M scale D**-0.5",
    samples={"x": 0, "out": 0},
)
