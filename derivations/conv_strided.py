"""Convolution with stride and zero padding: cross-correlation at every s-th place, all maps connected.

Shapes     X (N, P, H, W_)    W (D, P, kh, kw)    b (D,)    Y (N, D, OH, OW)    s stride, q padding: integers
           OH = ⌊(H + 2q − kh) / s⌋ + 1    OW = ⌊(W_ + 2q − kw) / s⌋ + 1

Indices    n sample, p input map, d output map, (i, j) place in the output, (u, v) place in the kernel

Forward    (F1)  Z = X with a border of q zeros                    Z (N, P, H + 2q, W_ + 2q)
           (F2)  Ẑ[n,p,i,j,u,v] = Z[n,p,si+u,sj+v]                 the window that output (i, j) reads
           (F3)  Y[n,d,i,j] = Σ_{p,u,v} W[d,p,u,v] Ẑ[n,p,i,j,u,v] + b[d]

Backward   Let δ stand for a differential and dL = ⟨dY, δY⟩. (F3) is linear in W, in Ẑ and in b:

           δY[n,d,i,j] = Σ_{p,u,v} (δW[d,p,u,v] Ẑ[n,p,i,j,u,v] + W[d,p,u,v] δẐ[n,p,i,j,u,v]) + δb[d]

           In ⟨dY, δY⟩ each differential is multiplied by what stands beside it, summed over the indices
           that the differential has not:

           (B1)  dẐ[p,u,v,n,i,j] = Σ_d W[d,p,u,v] dY[n,d,i,j]      every output map reads this window
           (B2)  dZ[n,p,si+u,sj+v] += dẐ[p,u,v,n,i,j]              where s < k windows overlap and the uses add
                                                                   up; what no window reads, between windows
                                                                   or left over at the far edge, keeps 0
           (B3)  dX = dZ without its border                        the zeros of the border are constants
           (B4)  dW[d,p,u,v] = Σ_{n,i,j} dY[n,d,i,j] Ẑ[n,p,i,j,u,v]  one kernel serves all places and samples
           (B5)  db[d] = Σ_{n,i,j} dY[n,d,i,j]                     the broadcast of b becomes a sum

Source     document 001, section 3.3 (3.3a) and section 3.4 (3.4e, 3.4f, 3.4g), which have s = 1 and q = 0.
           V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, 2016.
"""

from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Inexact
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

from gradcheck.derivation import Derivation


def conv_strided_forward(
    X: Inexact[ndarray, "N P H W_"], W: Inexact[ndarray, "D P kh kw"], b: Inexact[ndarray, "D"], s: int, q: int
) -> tuple[Inexact[ndarray, "N D OH OW"], Any]:
    Z = np.pad(X, ((0, 0), (0, 0), (q, q), (q, q)))  # (F1)
    windows = sliding_window_view(Z, W.shape[2:], axis=(2, 3))[:, :, ::s, ::s]  # (F2)
    Y = np.tensordot(W, windows, axes=((1, 2, 3), (1, 4, 5))).swapaxes(0, 1) + b[:, None, None]  # (F3)
    return Y, (Z, W, windows, s, q)


def conv_strided_backward(
    dY: Inexact[ndarray, "N D OH OW"], cache: Any
) -> tuple[Inexact[ndarray, "N P H W_"], Inexact[ndarray, "D P kh kw"], Inexact[ndarray, "D"]]:
    Z, W, windows, s, q = cache
    OH, OW = dY.shape[2:]
    dZ = np.zeros_like(Z)
    dwindows = np.tensordot(W, dY, axes=(0, 1))  # (B1)
    for u, v in np.ndindex(W.shape[2:]):
        dZ[:, :, u : u + s * OH : s, v : v + s * OW : s] += dwindows[:, u, v].swapaxes(0, 1)  # (B2)
    dX = dZ[:, :, q : Z.shape[2] - q, q : Z.shape[3] - q]  # (B3)
    dW = np.tensordot(dY, windows, axes=((0, 2, 3), (0, 2, 3)))  # (B4)
    db = dY.sum(axis=(0, 2, 3))  # (B5)
    return dX, dW, db


def conv_strided_reference(X: jax.Array, W: jax.Array, b: jax.Array, s: int, q: int) -> jax.Array:
    return lax.conv_general_dilated(X, W, window_strides=(s, s), padding=((q, q), (q, q))) + b.reshape(1, -1, 1, 1)


CONV_STRIDED = Derivation(
    "conv_strided",
    conv_strided_forward,
    conv_strided_backward,
    conv_strided_reference,
    # The rest is rows and columns at the far edge that no window reaches.
    "X: N P s*(OH-1)+kh-2*q+rest s*(OW-1)+kw-2*q+rest, W: D P kh kw scale (P*kh*kw)**-0.5; "
    "s in 1 2 3, q in 0 1 2, rest in 0 1, rest < s, "
    "N in 1 2, P in 1 5, D in 1 6, OH in 1 7, OW in 1 8, kh in 1 3, kw in 1 4",
    samples={"X": 0, "out": 0},
)
