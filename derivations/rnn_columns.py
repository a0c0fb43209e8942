"""Recurrent network without a loss, in column vectors: every column of x[t] is one sample, y is the whole sequence.

Shapes     x (T, N, B)    h_0, z_t, h_t (M, B)    U (M, M)    W (M, N)    b (M,)    y (T, M, B)    B samples
           The document prints W ∈ R^{N×M}, which contradicts its own W x_t with x_t ∈ R^N: here W is (M, N).

Forward    for t = 1 … T
           (F1)  z_t = U h_{t-1} + W x_t + b     b is added to each column
           (F2)  h_t = f(z_t)                    activations.py
           (F3)  y_t = g(h_t)                    activations.py

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B = tr(AᵀB), so that dL = Σ_t ⟨dy_t, δy_t⟩ defines dy. From
(F1), δz_t = δU h_{t-1} + U δh_{t-1} + δW x_t + W δx_t + δb 1ᵀ, and h_t is used twice: by its own output in (F3) and by
the next state in (F1). So dh_t has two sources, and the second is known once step t+1 is done.

           for t = T … 1, starting with no later step: r_T = 0
           (B1)  dh_t = dy_t ⊙ g'(h_t) + r_t
           (B2)  dz_t = dh_t ⊙ f'(z_t)
           (B3)  r_{t-1} = Uᵀ dz_t               ⟨dz_t, U δh_{t-1}⟩ = ⟨Uᵀ dz_t, δh_{t-1}⟩
           (B4)  dx_t = Wᵀ dz_t                  ⟨dz_t, W δx_t⟩ = ⟨Wᵀ dz_t, δx_t⟩
           (B5)  dh_0 = r_0                      the initial state has no output of its own
           (B6)  dU = Σ_t dz_t h_{t-1}ᵀ          one matrix serves all steps and samples: a sum over both
           (B7)  dW = Σ_t dz_t x_tᵀ              likewise
           (B8)  db = Σ_t Σ_n dz_t[:, n]         the broadcast of b to steps and columns becomes a sum over them

The document sends the loss of every step t back by itself, δ_{t,k} for k ≤ t, and sums T(T+1)/2 terms. As all these
recursions are one and the same linear map, they run as one: dz_k = Σ_{t≥k} δ_{t,k}, in T steps.

Source     document 001, equations 4.3 and 4.4a to 4.4f.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact
from numpy import ndarray

from derivations.activations import ACTIVATIONS
from gradcheck.derivation import Derivation


def rnn_columns_forward(
    x: Inexact[ndarray, "T N B"],
    h0: Inexact[ndarray, "M B"],
    U: Inexact[ndarray, "M M"],
    W: Inexact[ndarray, "M N"],
    b: Inexact[ndarray, "M"],
    f: str,
    g: str,
) -> tuple[Inexact[ndarray, "T M B"], Any]:
    f_forward, f_backward = ACTIVATIONS[f]
    g_forward, g_backward = ACTIVATIONS[g]
    h, f_caches = [h0], []
    for x_t in x:
        z_t = U @ h[-1] + W @ x_t + b[:, None]  # (F1)
        h_t, f_cache = f_forward(z_t)  # (F2)
        h.append(h_t)
        f_caches.append(f_cache)
    y, g_cache = g_forward(np.stack(h[1:]))  # (F3)
    return y, (x, np.stack(h[:-1]), U, W, f_caches, g_cache, f_backward, g_backward)


def rnn_columns_backward(
    dy: Inexact[ndarray, "T M B"], cache: Any
) -> tuple[
    Inexact[ndarray, "T N B"],
    Inexact[ndarray, "M B"],
    Inexact[ndarray, "M M"],
    Inexact[ndarray, "M N"],
    Inexact[ndarray, "M"],
]:
    x, h_before, U, W, f_caches, g_cache, f_backward, g_backward = cache
    dh_from_y = g_backward(dy, g_cache)
    dh, dz = np.empty_like(dh_from_y), np.empty_like(dh_from_y)
    r = np.zeros_like(dh_from_y[0])
    for t in reversed(range(len(dy))):
        dh_t = dh[t] = dh_from_y[t] + r  # (B1)
        dz[t] = f_backward(dh_t, f_caches[t])  # (B2)
        r = U.T @ dz[t]  # (B3)
    dx = W.T @ dz  # (B4)
    dh0 = r  # (B5)
    dU = np.tensordot(dz, h_before, axes=([0, 2], [0, 2]))  # (B6)
    dW = np.tensordot(dz, x, axes=([0, 2], [0, 2]))  # (B7)
    db = dz.sum(axis=(0, 2))  # (B8)
    return dx, dh0, dU, dW, db


def rnn_columns_reference(
    x: jax.Array, h0: jax.Array, U: jax.Array, W: jax.Array, b: jax.Array, f: str, g: str
) -> jax.Array:
    """A scan over the steps of one sample, mapped over the samples, which lie along the last axis."""

    def outputs_of_one(x: jax.Array, h0: jax.Array) -> jax.Array:
        def step(h: jax.Array, drive_t: jax.Array) -> tuple[jax.Array, jax.Array]:
            h = getattr(jax.nn, f)(jnp.einsum("ij,j->i", U, h) + drive_t)
            return h, getattr(jax.nn, g)(h)

        return jax.lax.scan(step, h0, jnp.einsum("tn,mn->tm", x, W) + b)[1]

    return jax.vmap(outputs_of_one, in_axes=(2, 1), out_axes=2)(x, h0)


RNN_COLUMNS = Derivation(
    "rnn_columns",
    rnn_columns_forward,
    rnn_columns_backward,
    rnn_columns_reference,
    "U: M M scale M**-0.5, W: M N scale N**-0.5, f in tanh sigmoid, g in identity sigmoid",
    samples={"x": 2, "h0": 1, "out": 2},
)
