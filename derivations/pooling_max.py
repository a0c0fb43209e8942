"""Max pooling over windows of kh × kw pixels, s apart; they may overlap.

Shapes     x (N, D, H, W_)    m (N, D, OH, OW)    kh, kw, s: integers
           OH = ⌊(H − kh) / s⌋ + 1    OW = ⌊(W_ − kw) / s⌋ + 1

Indices    n sample, d map, (i, j) window, w = kw u + v place in the window, counted row by row

Forward    (F1)  x̂[n,d,i,j,w] = x[n,d,si+u,sj+v]                   the window, laid out in a row
           (F2)  w*[n,d,i,j] = argmax_w x̂[n,d,i,j,w]               at a tie the first w: its pixel gets everything
           (F3)  m[n,d,i,j] = x̂[n,d,i,j,w*[n,d,i,j]]

Backward   Let δ stand for a differential and dL = ⟨dm, δm⟩. Where the maximum is unique w* stays the same in a
           neighbourhood of x, and (F3) is a selection: δm[n,d,i,j] = δx̂[n,d,i,j,w*[n,d,i,j]]. At a tie m has
           a kink, and (F2) chooses one of the valid subgradients.

           (B1)  dx[n,d,si+u,sj+v] += [w*[n,d,i,j] = kw u + v] dm[n,d,i,j]    a pixel may win in several windows,
                                                                             and what they give it adds up

Source     the usual definition; J. Nagi et al., Max-pooling convolutional neural networks, 2011.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Inexact
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

from gradcheck.derivation import Derivation


def pooling_max_forward(
    x: Inexact[ndarray, "N D H W_"], kh: int, kw: int, s: int
) -> tuple[Inexact[ndarray, "N D OH OW"], Any]:
    tiles = sliding_window_view(x, (kh, kw), axis=(2, 3))[:, :, ::s, ::s]
    windows = tiles.reshape(*tiles.shape[:4], kh * kw)  # (F1)
    winner = windows.real.argmax(axis=-1, keepdims=True)  # (F2)
    m = np.take_along_axis(windows, winner, axis=-1)[..., 0]  # (F3)
    return m, (x, winner[..., 0], kh, kw, s)


def pooling_max_backward(dm: Inexact[ndarray, "N D OH OW"], cache: Any) -> Inexact[ndarray, "N D H W_"]:
    x, winner, kh, kw, s = cache
    OH, OW = dm.shape[2:]
    dx: ndarray = np.zeros_like(x)
    for u, v in np.ndindex(kh, kw):
        dx[:, :, u : u + s * OH : s, v : v + s * OW : s] += np.where(winner == kw * u + v, dm, 0)  # (B1)
    return dx


def pooling_max_reference(x: jax.Array, kh: int, kw: int, s: int) -> jax.Array:
    m: jax.Array = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, kh, kw), (1, 1, s, s), "VALID")
    return m


POOLING_MAX = Derivation(
    "pooling_max",
    pooling_max_forward,
    pooling_max_backward,
    pooling_max_reference,
    # Distinct values: no small step changes a winner. The rest is rows and columns that no window reaches.
    "x: N D s*(OH-1)+kh+rest s*(OW-1)+kw+rest distinct; s in 1 2 3, rest in 0 1, rest < s, "
    "N in 1 2, D in 1 7, OH in 1 5, OW in 1 6, kh in 1 3, kw in 1 4",
    samples={"x": 0, "out": 0},
)
