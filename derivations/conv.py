"""Convolution of LeNet-5: valid cross-correlation, where a link table says which maps are connected.

Shapes     X (N, P, H, W_)    W (D, P, kh, kw)    b (D,)    T (P, D) boolean    Y (N, D, OH, OW)
           OH = H − kh + 1    OW = W_ − kw + 1

Indices    n sample, p input map, d output map, (i, j) place in the output, (u, v) place in the kernel

Forward    (F1)  K[d,p,u,v] = T[p,d] W[d,p,u,v]                    no link, no kernel
           (F2)  X̂[n,p,i,j,u,v] = X[n,p,i+u,j+v]                   the window that output (i, j) reads
           (F3)  Y[n,d,i,j] = Σ_{p,u,v} K[d,p,u,v] X̂[n,p,i,j,u,v] + b[d]

Backward   Let δ stand for a differential and dL = ⟨dY, δY⟩. (F3) is linear in K, in X̂ and in b:

           δY[n,d,i,j] = Σ_{p,u,v} (δK[d,p,u,v] X̂[n,p,i,j,u,v] + K[d,p,u,v] δX̂[n,p,i,j,u,v]) + δb[d]

           In ⟨dY, δY⟩ each differential is multiplied by what stands beside it, summed over the indices
           that the differential has not:

           (B1)  dX̂[p,u,v,n,i,j] = Σ_d K[d,p,u,v] dY[n,d,i,j]      every output map reads this window
           (B2)  dX[n,p,i+u,j+v] += dX̂[p,u,v,n,i,j]                windows overlap: a pixel is read once for
                                                                   each (u, v), and all its uses add up
           (B3)  dK[d,p,u,v] = Σ_{n,i,j} dY[n,d,i,j] X̂[n,p,i,j,u,v]  one kernel serves all places and samples
           (B4)  dW[d,p,u,v] = T[p,d] dK[d,p,u,v]                  (F1) again: where no link is, W has no effect
           (B5)  db[d] = Σ_{n,i,j} dY[n,d,i,j]                     the broadcast of b becomes a sum

           Collected at one pixel, (B1) and (B2) are the wide convolution of dY with K turned by 180°.

Source     document 001, section 3.3 (3.3a) and section 3.4 (3.4e, 3.4f, 3.4g).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Inexact
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

from gradcheck.derivation import Derivation


def conv_forward(
    X: Inexact[ndarray, "N P H W_"],
    W: Inexact[ndarray, "D P kh kw"],
    b: Inexact[ndarray, "D"],
    T: Bool[ndarray, "P D"],
) -> tuple[Inexact[ndarray, "N D H-kh+1 W_-kw+1"], Any]:
    K = np.where(T.T[:, :, None, None], W, 0)  # (F1)
    windows = sliding_window_view(X, K.shape[2:], axis=(2, 3))  # (F2)
    Y = np.tensordot(K, windows, axes=((1, 2, 3), (1, 4, 5))).swapaxes(0, 1) + b[:, None, None]  # (F3)
    return Y, (X, K, windows, T)


def conv_backward(
    dY: Inexact[ndarray, "N D OH OW"], cache: Any
) -> tuple[Inexact[ndarray, "N P H W_"], Inexact[ndarray, "D P kh kw"], Inexact[ndarray, "D"]]:
    X, K, windows, T = cache
    OH, OW = dY.shape[2:]
    dX = np.zeros_like(X)
    dwindows = np.tensordot(K, dY, axes=(0, 1))  # (B1)
    for u, v in np.ndindex(K.shape[2:]):
        dX[:, :, u : u + OH, v : v + OW] += dwindows[:, u, v].swapaxes(0, 1)  # (B2)
    dK = np.tensordot(dY, windows, axes=((0, 2, 3), (0, 2, 3)))  # (B3)
    dW = np.where(T.T[:, :, None, None], dK, 0)  # (B4)
    db = dY.sum(axis=(0, 2, 3))  # (B5)
    return dX, dW, db


def conv_reference(X: jax.Array, W: jax.Array, b: jax.Array, T: ArrayLike) -> jax.Array:
    linked = jnp.einsum("dpuv,pd->dpuv", W, jnp.asarray(T, W.dtype))
    return lax.conv_general_dilated(X, linked, window_strides=(1, 1), padding="VALID") + b.reshape(1, -1, 1, 1)


def conv_args(
    rng: np.random.Generator, N: int, P: int, D: int, OH: int, OW: int, kh: int, kw: int
) -> tuple[ndarray, ...]:
    X = rng.standard_normal((N, P, OH + kh - 1, OW + kw - 1))
    W = rng.standard_normal((D, P, kh, kw)) / np.sqrt(P * kh * kw)
    b = rng.standard_normal(D)
    T = rng.random((P, D)) < 0.5
    linked, d = rng.integers(P, size=D), np.arange(D)
    T[(linked + 1) % P, d] = False  # every output map lacks an input map, so that the table is seen,
    T[linked, d] = True  # and has one; if there is only one, it has it
    return X, W, b, T


CONV = Derivation(
    "conv",
    conv_forward,
    conv_backward,
    conv_reference,
    "N in 1 2, P in 1 5, D in 1 6, OH in 1 7, OW in 1 8, kh in 1 3, kw in 1 4",
    conv_args,
    samples={"X": 0, "out": 0},
)
