"""Half the squared L2 distance between prediction and target, summed or averaged over the batch.

Shapes     y_hat, written ŷ (N, K) prediction    y (N, K) target    r (N, K)    L ()
           c = 1 for the sum over the batch, c = 1/N for the mean

Forward    (F1)  r = ŷ − y
           (F2)  L = c/2 Σ_n ‖r[n]‖²

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B. L is a number and so is its cotangent dL. The target is
data: it stays fixed and gets no gradient. So δr = δŷ, and from (F2) δL = c ⟨r, δr⟩, where the 2 of the square has met
the half. Thus dL δL = ⟨dL c r, δŷ⟩ and

           (B1)  dŷ = dL c r                     the number dL is broadcast to all entries, as all were summed

Source     document 002, equation 4, and document 001, section 1 (L2 distance); the mean is document 003, equation 4.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Inexact
from numpy import generic, ndarray

from gradcheck.derivation import Derivation


def squared_loss_forward(
    y_hat: Inexact[ndarray, "N K"], y: Inexact[ndarray, "N K"], reduction: Literal["sum", "mean"]
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    c = {"sum": 1.0, "mean": 1 / len(y)}[reduction]
    r = y_hat - y  # (F1)
    L = c / 2 * (r * r).sum()  # (F2)
    return L, (r, c)


def squared_loss_backward(dL: Inexact[ndarray | generic, ""], cache: Any) -> Inexact[ndarray, "N K"]:
    r, c = cache
    dy_hat: ndarray = dL * c * r  # (B1)
    return dy_hat


def squared_loss_reference(y_hat: jax.Array, y: jax.Array, reduction: Literal["sum", "mean"]) -> jax.Array:
    losses: jax.Array = jax.vmap(lambda a, b: jnp.dot(a - b, a - b) / 2)(y_hat, y)
    return losses.sum() if reduction == "sum" else losses.mean()


SQUARED_LOSS = Derivation(
    "squared_loss",
    squared_loss_forward,
    squared_loss_backward,
    squared_loss_reference,
    wrt=("y_hat",),
)
