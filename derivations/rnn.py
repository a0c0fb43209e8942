"""Recurrent network with a softmax at every step, in row vectors: every row of X[t] is one sample.

Shapes     X (T, n, d)    h_0, z_t, h_t (n, h)    Wxh (d, h)    Whh (h, h)    bh (h,)    labels (T, n)    L ()
           Whs (h, V)    bs (V,)    a (T, n, h)    s (T, n, V) scores    V is the size of the vocabulary

Forward    (F1)  a_t = X_t Wxh + bh              no step waits for another: one affine layer of T·n rows, affine.py
           for t = 1 … T
           (F2)  z_t = a_t + h_{t-1} Whh
           (F3)  h_t = σ(z_t)                    activations.py
           (F4)  s_t = h_t Whs + bs              again T·n rows at once
           (F5)  L = Σ_t Σ_n cross-entropy of softmax(s_t[n]) with labels[t, n]       softmax_cross_entropy.py

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B = tr(AᵀB). The parts give
           (B1)  ds                              softmax_cross_entropy.py
           (B2)  dh_t = ds_t Whsᵀ, dWhs, dbs     affine.py; this is not yet all of dh_t

h_t is used twice: by its own output in (F4) and by the next state in (F2), δz_{t+1} = δa_{t+1} + δh_t Whh + h_t δWhh.
So dh_t has two sources, the second known once step t+1 is done; one pass from T down to 1 visits every path through
time, because dz_t already holds the sum over all later losses. Unrolled, it is the document's Σ_t Σ_{k≤t} Π_j.

           for t = T … 1, starting with no later step: r_T = 0
           (B3)  dh_t ← dh_t + r_t
           (B4)  dz_t = dh_t ⊙ σ'(z_t)           activations.py; da_t = dz_t
           (B5)  r_{t-1} = dz_t Whhᵀ             ⟨dz_t, δh_{t-1} Whh⟩ = ⟨dz_t Whhᵀ, δh_{t-1}⟩
           (B6)  dh_0 = r_0                      the initial state has no output of its own
           (B7)  dWhh = Σ_t h_{t-1}ᵀ dz_t        one matrix serves all steps: a sum over time, one product of T·n rows
           (B8)  dX_t = dz_t Wxhᵀ, dWxh, dbh     affine.py

Source     document 000, equations 12 to 19; the biases are the usual ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact, Int
from numpy import generic, ndarray

from derivations.activations import ACTIVATIONS
from derivations.affine import affine_backward, affine_forward
from derivations.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from gradcheck.derivation import Derivation


def rnn_forward(
    X: Inexact[ndarray, "T n d"],
    h0: Inexact[ndarray, "n h"],
    Wxh: Inexact[ndarray, "d h"],
    Whh: Inexact[ndarray, "h h"],
    bh: Inexact[ndarray, "h"],
    Whs: Inexact[ndarray, "h V"],
    bs: Inexact[ndarray, "V"],
    labels: Int[ndarray, "T n"],
    activation: str,
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    sigma_forward, sigma_backward = ACTIVATIONS[activation]
    T, n, d = X.shape
    a, input_cache = affine_forward(X.reshape(T * n, d), Wxh, bh)  # (F1)
    h, step_caches = [h0], []
    for a_t in a.reshape(T, n, -1):
        z_t = a_t + h[-1] @ Whh  # (F2)
        h_t, step_cache = sigma_forward(z_t)  # (F3)
        h.append(h_t)
        step_caches.append(step_cache)
    s, output_cache = affine_forward(np.concatenate(h[1:]), Whs, bs)  # (F4)
    L, loss_cache = softmax_cross_entropy_forward(s, labels.reshape(-1), "sum")  # (F5)
    h_before = np.concatenate(h[:-1])
    return L, (X.shape, Whh, h_before, input_cache, step_caches, output_cache, loss_cache, sigma_backward)


def rnn_backward(
    dL: Inexact[ndarray | generic, ""], cache: Any
) -> tuple[
    Inexact[ndarray, "T n d"],
    Inexact[ndarray, "n h"],
    Inexact[ndarray, "d h"],
    Inexact[ndarray, "h h"],
    Inexact[ndarray, "h"],
    Inexact[ndarray, "h V"],
    Inexact[ndarray, "V"],
]:
    (T, n, d), Whh, h_before, input_cache, step_caches, output_cache, loss_cache, sigma_backward = cache
    ds = softmax_cross_entropy_backward(dL, loss_cache)  # (B1)
    dh_flat, dWhs, dbs = affine_backward(ds, output_cache)  # (B2)
    dh = dh_flat.reshape(T, n, -1)
    dz = np.empty_like(dh)
    r = np.zeros_like(dh[0])
    for t in reversed(range(T)):
        dh_t = dh[t] = dh[t] + r  # (B3)
        dz[t] = sigma_backward(dh_t, step_caches[t])  # (B4)
        r = dz[t] @ Whh.T  # (B5)
    dh0 = r  # (B6)
    dz_flat = dz.reshape(T * n, -1)
    dWhh = h_before.T @ dz_flat  # (B7)
    dX_flat, dWxh, dbh = affine_backward(dz_flat, input_cache)  # (B8)
    return dX_flat.reshape(T, n, d), dh0, dWxh, dWhh, dbh, dWhs, dbs


def rnn_reference(
    X: jax.Array,
    h0: jax.Array,
    Wxh: jax.Array,
    Whh: jax.Array,
    bh: jax.Array,
    Whs: jax.Array,
    bs: jax.Array,
    labels: jax.Array,
    activation: str,
) -> jax.Array:
    """A scan with the loss in its carry, and one matrix for input and state side by side."""
    W = jnp.concatenate([Wxh, Whh])

    def step(carry: tuple[jax.Array, jax.Array], now: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        h, L = carry
        X_t, labels_t = now
        h = getattr(jax.nn, activation)(jnp.concatenate([X_t, h], axis=1) @ W + bh)
        log_p = jax.nn.log_softmax(jnp.einsum("nh,hv->nv", h, Whs) + bs)
        return (h, L - jnp.take_along_axis(log_p, labels_t[:, None], axis=1).sum()), None

    (_, L), _ = jax.lax.scan(step, (h0, jnp.zeros((), X.dtype)), (X, labels))
    return L


def rnn_args(
    rng: np.random.Generator, T: int, n: int, d: int, h: int, V: int, activation: str
) -> tuple[ndarray | str, ...]:
    X, h0, labels = rng.standard_normal((T, n, d)), rng.standard_normal((n, h)), rng.integers(V, size=(T, n))
    Wxh, Whh = rng.standard_normal((d, h)) / np.sqrt(d), rng.standard_normal((h, h)) / np.sqrt(h)
    Whs, bh, bs = rng.standard_normal((h, V)) / np.sqrt(h), rng.standard_normal(h), rng.standard_normal(V)
    if activation == "relu":  # unit 0 is open for sample 0 at every step: no net is shut and without a gradient
        X[:, 0], h0[0], Wxh[:, 0], Whh[:, 0], bh[0] = (
            np.abs(part) for part in (X[:, 0], h0[0], Wxh[:, 0], Whh[:, 0], bh[0])
        )
    return X, h0, Wxh, Whh, bh, Whs, bs, labels, activation


def rnn_real() -> tuple[ndarray | str, ...]:
    """Four stretches of 20 characters of The Zen of Python, each to be followed by its next one."""
    from derivations.text import next_characters

    X, labels = next_characters(20, 4)
    T, n, V = X.shape
    _, *parameters, _, activation = rnn_args(np.random.default_rng(0), T, n, V, 16, V, "tanh")
    return X, *parameters, labels, activation


RNN = Derivation(
    "rnn",
    rnn_forward,
    rnn_backward,
    rnn_reference,
    "T in 1 3 6, n in 1 3, d in 1 5, h in 1 4, V in 2 7, activation in tanh sigmoid relu",
    rnn_args,
    real=rnn_real,
)
