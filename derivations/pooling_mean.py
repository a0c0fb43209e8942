"""Mean pooling over windows of kh × kw pixels that tile the map.

Shapes     y (N, D, H, W_)    m (N, D, OH, OW)    kh, kw: integers, H = kh OH, W_ = kw OW

Indices    n sample, d map, (i, j) window, (u, v) place in the window

Forward    (F1)  m[n,d,i,j] = 1/(kh kw) Σ_{u,v} y[n,d,kh i+u,kw j+v]

Backward   Let δ stand for a differential and dL = ⟨dm, δm⟩. The windows tile the map, so every pixel of y
           stands in exactly one window, with the factor 1/(kh kw):

           ⟨dm, δm⟩ = Σ_{n,d,i,j} dm[n,d,i,j] 1/(kh kw) Σ_{u,v} δy[n,d,kh i+u,kw j+v]

           (B1)  g[n,d,i,j] = dm[n,d,i,j] / (kh kw)                the share of one pixel
           (B2)  dy[n,d,kh i+u,kw j+v] = g[n,d,i,j]                the sum over (u, v) becomes a repetition

Source     document 001, section 3.3 (MeanPool in 3.3b).
"""

from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Inexact
from numpy import ndarray

from gradcheck.derivation import Derivation


def pooling_mean_forward(
    y: Inexact[ndarray, "N D H W_"], kh: int, kw: int
) -> tuple[Inexact[ndarray, "N D H//{kh} W_//{kw}"], Any]:
    m = np.stack([y[:, :, u::kh, v::kw] for u, v in np.ndindex(kh, kw)]).sum(axis=0) / (kh * kw)  # (F1)
    return m, (kh, kw)


def pooling_mean_backward(dm: Inexact[ndarray, "N D OH OW"], cache: Any) -> Inexact[ndarray, "N D H W_"]:
    kh, kw = cache
    g = dm / (kh * kw)  # (B1)
    dy: ndarray = g.repeat(kh, axis=2).repeat(kw, axis=3)  # (B2)
    return dy


def pooling_mean_reference(y: jax.Array, kh: int, kw: int) -> jax.Array:
    window = (1, 1, kh, kw)
    total: jax.Array = lax.reduce_window(y, 0.0, lax.add, window, window, "VALID")
    return total / (kh * kw)


POOLING_MEAN = Derivation(
    "pooling_mean",
    pooling_mean_forward,
    pooling_mean_backward,
    pooling_mean_reference,
    "y: N D OH*kh OW*kw; N in 1 4, D in 1 5, OH in 1 7, OW in 1 6, kh in 1 2, kw in 1 3",
    samples={"y": 0, "out": 0},
)
