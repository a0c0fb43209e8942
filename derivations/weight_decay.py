"""Weight decay: half λ times the squared Frobenius norm of every weight matrix.

Shapes     weights: a list of matrices W, each of its own shape    lam, written λ, a number    R ()

Forward    (F1)  R = λ/2 Σ_W tr(WᵀW)             tr(WᵀW) = Σ_ij W_ij²; the squares are products, not moduli

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B = tr(AᵀB). R is a number and so is its cotangent dR.
λ is chosen by hand, stays fixed and gets no gradient. From (F1) δR = λ/2 Σ_W (⟨δW, W⟩ + ⟨W, δW⟩): the two factors of
the square are equal, and their sum meets the half. Each matrix stands in a term of its own, so

           (B1)  dW = dR λ W                     for every W; the whole is a list like weights

A composition adds this dW to the one that comes from its data: W has two sources there.

Source     document 001, equation 2.2b.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact
from numpy import generic, ndarray

from gradcheck.derivation import Derivation


def weight_decay_forward(
    weights: list[Inexact[ndarray, "_ _"]], lam: float
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    R = lam / 2 * sum((W * W).sum() for W in weights)  # (F1)
    return R, (weights, lam)


def weight_decay_backward(dR: Inexact[ndarray | generic, ""], cache: Any) -> list[Inexact[ndarray, "_ _"]]:
    weights, lam = cache
    dweights: list[ndarray] = [dR * lam * W for W in weights]  # (B1)
    return dweights


def weight_decay_reference(weights: list[jax.Array], lam: float) -> jax.Array:
    return lam * jnp.sum(jnp.stack([jnp.trace(W.T @ W) for W in weights])) / 2


def weight_decay_args(
    rng: np.random.Generator, count: int, D: int, M: int, lam: float
) -> tuple[list[ndarray] | float, ...]:
    return [rng.standard_normal((D + k, M)) for k in range(count)], lam


WEIGHT_DECAY = Derivation(
    "weight_decay",
    weight_decay_forward,
    weight_decay_backward,
    weight_decay_reference,
    "count in 1 2 3, D in 1 7, M in 1 4, lam in 0.1 0.7",
    weight_decay_args,
)
