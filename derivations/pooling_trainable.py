"""Trainable mean pooling of LeNet-5: one coefficient and one bias for every map, before the activation.

Shapes     y (N, D, H, W_)    omega = ω (D,)    a (D,)    x (N, D, OH, OW)
           kh, kw: integers, H = kh OH, W_ = kw OW

Indices    n sample, d map, (i, j) window, (u, v) place in the window

Forward    (F1)  m[n,d,i,j] = 1/(kh kw) Σ_{u,v} y[n,d,kh i+u,kw j+v]
           (F2)  x[n,d,i,j] = ω[d] m[n,d,i,j] + a[d]

Backward   Let δ stand for a differential and dL = ⟨dx, δx⟩. From (F2)

           δx[n,d,i,j] = ω[d] δm[n,d,i,j] + m[n,d,i,j] δω[d] + δa[d]

           (B1)  dm[n,d,i,j] = ω[d] dx[n,d,i,j]
           (B2)  dy[n,d,kh i+u,kw j+v] = dm[n,d,i,j] / (kh kw)     the windows tile the map: every pixel stands in
                                                                   one window, with the factor 1/(kh kw)
           (B3)  dω[d] = Σ_{n,i,j} dx[n,d,i,j] m[n,d,i,j]          one ω serves all samples and windows of its
           (B4)  da[d] = Σ_{n,i,j} dx[n,d,i,j]                     map, and so does a: broadcasts become sums

Source     document 001, section 3.3 (3.3b, x is its X̃) and section 3.4 (3.4a, 3.4b, 3.4c), where the activation g
           is part of the formulas; here it is a part of its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Inexact
from numpy import ndarray

from gradcheck.derivation import Derivation


def pooling_trainable_forward(
    y: Inexact[ndarray, "N D H W_"], omega: Inexact[ndarray, "D"], a: Inexact[ndarray, "D"], kh: int, kw: int
) -> tuple[Inexact[ndarray, "N D H//{kh} W_//{kw}"], Any]:
    m = np.stack([y[:, :, u::kh, v::kw] for u, v in np.ndindex(kh, kw)]).sum(axis=0) / (kh * kw)  # (F1)
    x = omega[:, None, None] * m + a[:, None, None]  # (F2)
    return x, (m, omega, kh, kw)


def pooling_trainable_backward(
    dx: Inexact[ndarray, "N D OH OW"], cache: Any
) -> tuple[Inexact[ndarray, "N D H W_"], Inexact[ndarray, "D"], Inexact[ndarray, "D"]]:
    m, omega, kh, kw = cache
    dm = omega[:, None, None] * dx  # (B1)
    dy = (dm / (kh * kw)).repeat(kh, axis=2).repeat(kw, axis=3)  # (B2)
    domega = (dx * m).sum(axis=(0, 2, 3))  # (B3)
    da = dx.sum(axis=(0, 2, 3))  # (B4)
    return dy, domega, da


def pooling_trainable_reference(y: jax.Array, omega: jax.Array, a: jax.Array, kh: int, kw: int) -> jax.Array:
    # One fixed averaging kernel for every map: a grouped convolution.
    D = omega.shape[0]
    kernel = jnp.broadcast_to(omega[:, None, None, None] / (kh * kw), (D, 1, kh, kw))
    x = lax.conv_general_dilated(y, kernel, window_strides=(kh, kw), padding="VALID", feature_group_count=D)
    return x + a.reshape(1, D, 1, 1)


POOLING_TRAINABLE = Derivation(
    "pooling_trainable",
    pooling_trainable_forward,
    pooling_trainable_backward,
    pooling_trainable_reference,
    "y: N D OH*kh OW*kw; N in 1 4, D in 1 5, OH in 1 7, OW in 1 6, kh in 1 2, kw in 1 3",
    samples={"y": 0, "out": 0},
)
