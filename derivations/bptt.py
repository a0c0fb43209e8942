"""Backpropagation through time as it is derived: every loss goes back to every step, term by term.

The forward is that of rnn_columns.py, and so are shapes and letters: column vectors, z_t = U h_{t-1} + W x_t + b,
h_t = f(z_t), y_t = g(h_t). Two backwards of it stand here beside the one that stands there. All three are one function.

Let L = Σ_t L_t, where L_t depends on y_t alone, and let J_j = ∂h_j/∂h_{j-1} and δ_{t,k} = ∂L_t/∂z_k for k ≤ t.

By the double sum of document 001. U, W and b act once a step, so a gradient is a sum over the steps k where they act,
and over the losses t ≥ k that feel it. (∂⁺z_k/∂U_ij)_p = [h_{k-1}]_j [i = p] is the immediate derivative: h is held.

           (B1)  e_t = dy_t ⊙ g'(h_t)            ∂L_t/∂h_t
           (B2)  δ_{t,t} = f'(z_t) ⊙ e_t
           (B3)  δ_{t,k} = f'(z_k) ⊙ Uᵀ δ_{t,k+1}                 diag(f'(z_k)) Uᵀ δ_{t,k+1}, column by column
           (B4)  dU = Σ_t Σ_{k≤t} δ_{t,k} h_{k-1}ᵀ
           (B5)  dW = Σ_t Σ_{k≤t} δ_{t,k} x_kᵀ
           (B6)  db = Σ_t Σ_{k≤t} δ_{t,k} 1
           (B7)  dx_k = Σ_{t≥k} Wᵀ δ_{t,k}
           (B8)  dh_0 = Σ_t Uᵀ δ_{t,1}

By the Jacobian product of document 000, for one sample at a time, as both h_t and h_k are vectors then:

           (B9)  J_j = diag(f'(z_j)) U           from δh_j = f'(z_j) ⊙ U δh_{j-1}
           (B10) ∂h_t/∂h_{k-1} = ∂h_t/∂h_k J_k   hence J_t J_{t-1} … J_{k+1}, and the identity for k = t
           (B11) δ_{t,k} = f'(z_k) ⊙ (∂h_t/∂h_k)ᵀ e_t             what is left is (B4) to (B7)
           (B12) dh_0 = Σ_t (∂h_t/∂h_0)ᵀ e_t

What they cost. Either has T(T+1)/2 pairs (t, k); the double sum multiplies a matrix and a vector for each, the Jacobian
product two matrices. Yet δ_{t,k} enters every sum linearly, and (B3) is one and the same linear map for all t. So the
sum over t may be taken first: dz_k = Σ_{t≥k} δ_{t,k} = f'(z_k) ⊙ (e_k + Uᵀ dz_{k+1}), in T products: rnn_columns.py.

Source     document 000, equations 15 to 19; document 001, equations 4.4a to 4.4e.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Inexact
from numpy import ndarray

from derivations.rnn_columns import RNN_COLUMNS

__all__ = ["BPTT", "BPTT_DOUBLE_SUM", "BPTT_JACOBIANS", "jacobian_products", "step_jacobians"]

Gradients = tuple[
    Inexact[ndarray, "T N B"],
    Inexact[ndarray, "M B"],
    Inexact[ndarray, "M M"],
    Inexact[ndarray, "M N"],
    Inexact[ndarray, "M"],
]


def bptt_double_sum_backward(dy: Inexact[ndarray, "T M B"], cache: Any) -> Gradients:
    x, h_before, U, W, f_caches, g_cache, f_backward, g_backward = cache
    e = g_backward(dy, g_cache)  # (B1)
    dx, dh0, dU, dW, db = _zeros(x, h_before, U, W)
    for t in range(len(dy)):
        delta = f_backward(e[t], f_caches[t])  # (B2)
        for k in range(t, -1, -1):
            if k < t:
                delta = f_backward(U.T @ delta, f_caches[k])  # (B3)
            dU += delta @ h_before[k].T  # (B4)
            dW += delta @ x[k].T  # (B5)
            db += delta.sum(axis=1)  # (B6)
            dx[k] += W.T @ delta  # (B7)
        dh0 += U.T @ delta  # (B8)
    return dx, dh0, dU, dW, db


def bptt_jacobians_backward(dy: Inexact[ndarray, "T M B"], cache: Any) -> Gradients:
    x, h_before, U, W, f_caches, g_cache, f_backward, g_backward = cache
    e = g_backward(dy, g_cache)
    slopes = np.stack([f_backward(np.ones_like(e[0]), f_cache) for f_cache in f_caches])
    J = step_jacobians(U, slopes.swapaxes(1, 2))
    dx, dh0, dU, dW, db = _zeros(x, h_before, U, W)
    for t in range(len(dy)):
        *to_states, to_start = jacobian_products(J[: t + 1])
        for k, product in zip(range(t, -1, -1), to_states, strict=True):
            delta = slopes[k] * np.einsum("bpi,pb->ib", product, e[t])  # (B11)
            dU += delta @ h_before[k].T
            dW += delta @ x[k].T
            db += delta.sum(axis=1)
            dx[k] += W.T @ delta
        dh0 += np.einsum("bpi,pb->ib", to_start, e[t])  # (B12)
    return dx, dh0, dU, dW, db


def step_jacobians(U: Inexact[ndarray, "M M"], slopes: Inexact[ndarray, "T *B M"]) -> Inexact[ndarray, "T *B M M"]:
    """Return J_t = ∂h_t/∂h_{t-1} for all steps t (and samples B) from the slopes f'(z_t)."""
    J: ndarray = slopes[..., :, None] * U  # (B9)
    return J


def jacobian_products(J: Inexact[ndarray, "t *B M M"]) -> Iterator[Inexact[ndarray, "*B M M"]]:
    """Yield ∂h_t/∂h_k for k = t, t−1 … 0, where t is the number of the step Jacobians J_1 … J_t given."""
    product = np.broadcast_to(np.eye(J.shape[-1], dtype=J.dtype), J.shape[1:])
    yield product
    for J_k in J[::-1]:
        product = product @ J_k  # (B10)
        yield product


def _zeros(x: ndarray, h_before: ndarray, U: ndarray, W: ndarray) -> tuple[ndarray, ...]:
    """Return the sums of no terms, shaped like x, h_0, U, W and b."""
    return tuple(np.zeros_like(part) for part in (x, h_before[0], U, W, U[0]))


BPTT_DOUBLE_SUM = replace(RNN_COLUMNS, name="bptt_double_sum", backward=bptt_double_sum_backward)
BPTT_JACOBIANS = replace(RNN_COLUMNS, name="bptt_jacobians", backward=bptt_jacobians_backward)
BPTT = (BPTT_DOUBLE_SUM, BPTT_JACOBIANS)
