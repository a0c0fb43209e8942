"""Error signals: backpropagation unit by unit, on any acyclic network of units.

Shapes     x (N, I): every row is one sample    w (K, K), w[i, j] the weight of the link i → j, written w_{i→j}
           T (K, K) of True and False, T[i, j]: is there a link i → j; only where i < j and j ≥ I
           s, z (N, K): input and output of every unit; units 0 … I−1 are the inputs, which have z alone
           f: the activation of every unit, by name; the inputs' are not used
           outputs: the O units that are compared with y (N, O)    E ()
           ins(j) = {i: T[i, j]}, outs(j) = {k: T[j, k]}. A bias is the weight of a link from an input that is 1.

Forward    (F1)  z_i = x_i                       the inputs
           for every other unit j, in order
           (F2)  s_j = Σ_{i∈ins(j)} w_{i→j} z_i
           (F3)  z_j = f_j(s_j)                  activations.py
           (F4)  E = 1/N Σ_n E^(n), E^(n) = ½ Σ_o (z_o^(n) − y_o^(n))²       the mean over the batch

Backward   The samples do not meet before (F4). For one of them δ_j = ∂E^(n)/∂s_j is the error signal of unit j: how
E^(n) changes with s_j, all later units following. z_j is used by every k in outs(j), through s_k, and by E^(n) itself
if j is an output. Each use is a source of its own, and they add up:

           (B1)  g_j = [j is an output] (z_j − y_j)          ∂E^(n)/∂z_j as far as E^(n) uses z_j itself
           (B2)  g_j += Σ_{k∈outs(j)} δ_k w_{j→k}            the uses by later units, whose δ are known already
           (B3)  δ_j = f_j'(s_j) g_j                         (F3); for an input no more than g_j is asked
           (B4)  dw_{i→j} = dE/N Σ_n δ_j^(n) z_i^(n)         from (F2); zero where there is no link
           (B5)  dx_i = dE/N g_i                             one row for each sample

The document gives (B1) to output units and (B2) to all others: that is the same as long as no output has successors.
It argues that no s_k depends on another s_k'; where a link k → k' makes one do so, (B2) holds none the less, because
δ_k follows that link too. δ_j is N times the gradient of an input that is 0 and has one link, to j, of weight 1.

Update     (F5)  Δw_{i→j} = −η/N Σ_n δ_j^(n) z_i^(n)         −η times (B4) for dE = 1

Source     document 004; its three cases are in units_cases.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Inexact
from numpy import generic, ndarray

from derivations.activations import ACTIVATIONS
from gradcheck.derivation import Derivation


def units_forward(
    x: Inexact[ndarray, "N I"],
    w: Inexact[ndarray, "K K"],
    y: Inexact[ndarray, "N O"],
    T: Bool[ndarray, "K K"],
    f: tuple[str, ...],
    outputs: tuple[int, ...],
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    N, I = x.shape
    z = np.zeros((N, len(T)), np.result_type(x, w))
    z[:, :I] = x  # (F1)
    f_caches = []
    for j in range(I, len(T)):
        ins = np.flatnonzero(T[:, j])
        s_j = z[:, ins] @ w[ins, j]  # (F2)
        f_forward, _ = ACTIVATIONS[f[j]]
        z[:, j], f_cache = f_forward(s_j)  # (F3)
        f_caches.append(f_cache)
    r = z[:, outputs] - y
    E = (r * r).sum() / (2 * N)  # (F4)
    return E, (z, w, T, f, outputs, r, I, f_caches)


def units_backward(
    dE: Inexact[ndarray | generic, ""], cache: Any
) -> tuple[Inexact[ndarray, "N I"], Inexact[ndarray, "K K"]]:
    z, w, T, f, outputs, r, I, f_caches = cache
    g, delta = np.zeros_like(z), np.zeros_like(z)
    g[:, outputs] = r  # (B1)
    for j in reversed(range(len(T))):
        outs = np.flatnonzero(T[j])
        g[:, j] += delta[:, outs] @ w[j, outs]  # (B2)
        if j >= I:
            _, f_backward = ACTIVATIONS[f[j]]
            delta[:, j] = f_backward(g[:, j], f_caches[j - I])  # (B3)
    N = len(z)
    dw = dE * np.where(T, z.T @ delta, 0) / N  # (B4)
    dx = dE * g[:, :I] / N  # (B5)
    return dx, dw


def weight_update(eta: float, cache: Any) -> Inexact[ndarray, "K K"]:
    """Return Δw, what a step of gradient descent with the learning rate ``eta`` adds to the weights."""
    z, *_ = cache
    _, dw = units_backward(z.dtype.type(1), cache)
    delta_w: ndarray = -eta * dw  # (F5)
    return delta_w


def units_reference(
    x: jax.Array, w: jax.Array, y: jax.Array, T: jax.Array, f: tuple[str, ...], outputs: tuple[int, ...]
) -> jax.Array:
    """All units at once, again and again: after K sweeps each rests, because no link leads back."""
    I = x.shape[1]
    kinds = {name: jnp.array([each == name for each in f[I:]]) for name in f[I:]}
    links = jnp.where(T, w, 0)[:, I:]

    def sweep(z: jax.Array, _: None) -> tuple[jax.Array, None]:
        s = z @ links
        units = sum(jnp.where(mask, getattr(jax.nn, name)(s), 0) for name, mask in kinds.items())
        return jnp.concatenate([x, units], axis=1), None

    start = jnp.concatenate([x, jnp.zeros((len(x), len(f) - I), x.dtype)], axis=1)
    z, _ = jax.lax.scan(sweep, start, length=len(f))
    y_hat = jnp.take(z, jnp.array(outputs), axis=1)
    E: jax.Array = jax.vmap(lambda a, b: jnp.dot(a - b, a - b) / 2)(y_hat, y).mean()
    return E


def links(rng: np.random.Generator, I: int, H: int, O: int) -> Bool[ndarray, "K K"]:
    """Return a random table of links among I inputs, H hidden units and O outputs, which may have successors too."""
    K = I + H + O
    T = np.triu(rng.random((K, K)) < 0.4, 1)
    T[:, :I] = False
    for j in range(I, K):
        T[rng.integers(j), j] = True  # no unit is without a source …
    for i in range(I + H):
        T[i, rng.integers(max(i + 1, I), K)] = True  # … and none before the outputs without a successor
    return T


# Which links there are is a setting, drawn from these seeds; in the last network one output feeds the other.
NETWORKS = {"one": 0, "another": 1, "chained": 4}


def units_args(rng: np.random.Generator, N: int, I: int, H: int, O: int, network: str) -> tuple[Any, ...]:
    K = I + H + O
    drawn = np.random.default_rng(NETWORKS[network])
    T = links(drawn, I, H, O)
    f = ("identity",) * I + tuple(drawn.choice(["tanh", "sigmoid", "identity"], H + O).tolist())
    w = rng.standard_normal((K, K)) / np.sqrt(np.maximum(T.sum(axis=0), 1))
    return rng.standard_normal((N, I)), w, rng.standard_normal((N, O)), T, f, tuple(range(I + H, K))


UNITS = Derivation(
    "units",
    units_forward,
    units_backward,
    units_reference,
    f"N in 1 5, I in 1 3, H in 1 4 7, O in 1 2, network in {' '.join(NETWORKS)}",
    units_args,
    wrt=("x", "w"),
)
