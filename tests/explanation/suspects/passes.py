"""Forward passes, and backward passes that can be made wrong, as a person would write them."""

from typing import Any, NamedTuple

import numpy as np

from tests.explanation.suspects.pair import normal


class Wrong(NamedTuple):
    name: str
    mistake: str
    paths: tuple[str, ...]
    sentence: str
    forward: Any
    backward: Any
    args: tuple[Any, ...]
    wrt: Any = None
    rivals: tuple[str, ...] = ()


# -- a layer: rows are samples


def layer_forward(x, W, b):
    a = np.tanh(x @ W + b)
    return a, (x, W, a)


def layer(change):
    """Return the backward of the layer with ``change(dx, dW, db, dz, x, W)`` at its end."""

    def layer_backward(dout, cache):
        x, W, a = cache
        dz = dout * (1 - a * a)
        return change(dz @ W.T, x.T @ dz, dz.sum(0), dz, x, W)

    return layer_backward


LAYER = normal(1, (5, 3), (3, 4), (4,))
SQUARE = normal(2, (3, 4), (4, 4), (4,))
PAIR = normal(3, (2, 3), (3, 4), (4,))
BATCH_IS_WIDTH = normal(4, (4, 3), (3, 4), (4,))
WIDE = normal(5, (7, 5), (5, 4), (1, 4))


def on_layer(name, mistake, paths, sentence, change, args=LAYER, rivals=()):
    return Wrong(name, mistake, paths, sentence, layer_forward, layer(change), args, None, rivals)


# -- a loss that averages over the batch, with weight decay


def loss_forward(x, W, b, t, lam):
    y = x @ W + b
    r = y - t
    return np.sum(r * r) / (2 * len(x)) + lam / 2 * np.sum(W * W), (x, W, b, r, lam)


def loss(data=lambda g, N: g / N, decay=1.0, bias=0.0, heard=(1, 1)):
    """Return the backward of the loss: what is done to the data's part, and how often the decay is counted."""

    def loss_backward(dout, cache):
        x, W, b, r, lam = cache
        N = len(x)
        of_data, of_decay = (dout if each else 1.0 for each in heard)
        dW = of_data * data(x.T @ r, N) + of_decay * decay * lam * W
        db = of_data * data(r.sum(0), N) + of_decay * bias * lam * b
        return dW, db

    return loss_backward


LOSS = (*normal(6, (5, 3), (3, 4), (4,), (5, 4)), 0.07)


def on_loss(name, mistake, paths, sentence, backward, args=LOSS, rivals=()):
    return Wrong(name, mistake, paths, sentence, loss_forward, backward, args, ("W", "b"), rivals)


# -- a loss that sums over the batch


def total_forward(x, W, b):
    z = np.tanh(x @ W + b)
    return np.sum(z * z) / 2, (x, W, z)


def total(change):
    def total_backward(dout, cache):
        x, W, z = cache
        dz = dout * z * (1 - z * z)
        return change(dz @ W.T, x.T @ dz, dz.sum(0), len(x))

    return total_backward


# -- columns are samples


def columns_forward(W, b, x):
    return np.tanh(W @ x + b), (W, x, np.tanh(W @ x + b))


def columns_backward(dout, cache):
    _, x, a = cache
    dz = dout * (1 - a * a)
    m = x.shape[1]
    return dz @ x.T / m, dz.sum(axis=1, keepdims=True) / m


# -- a convolution without padding, and a mean pooling


def conv_forward(x, K):
    kh, kw = K.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    return np.einsum("ncijuv,fcuv->nfij", windows, K), (x, K, windows)


def conv(change, part="K"):
    def conv_backward(dout, cache):
        x, K, windows = cache
        dK = np.einsum("ncijuv,nfij->fcuv", windows, dout)
        dx = np.zeros_like(x)
        for u in range(K.shape[2]):
            for v in range(K.shape[3]):
                dx[:, :, u : u + dout.shape[2], v : v + dout.shape[3]] += np.einsum(
                    "nfij,fc->ncij", dout, K[:, :, u, v]
                )
        return (dx, change(dK)) if part == "K" else (change(dx), dK)

    return conv_backward


CONV = normal(7, (2, 3, 8, 8), (4, 3, 3, 3))


def padded_forward(x):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    weights = np.arange(1.0, 1 + padded.size).reshape(padded.shape) / padded.size
    return np.sin(padded) * weights, (padded, weights)


def padded(crop):
    def padded_backward(dout, cache):
        inside, weights = cache
        return crop(dout * np.cos(inside) * weights)

    return padded_backward


def pool_forward(x, a, k):
    N, C, H, W = x.shape
    mean = x.reshape(N, C, H // k, k, W // k, k).mean(axis=(3, 5))
    return mean * a[:, None, None], (mean, a, k)


def pool(coefficient=True, area=True):
    def pool_backward(dout, cache):
        mean, a, k = cache
        d = dout * a[:, None, None] if coefficient else dout
        dx = np.kron(d, np.ones((k, k))) / (k * k if area else 1)
        return dx, (dout * mean).sum(axis=(0, 2, 3))

    return pool_backward


POOL = (*normal(8, (2, 3, 9, 6), (3,)), 3)


# -- others


def dropout_forward(x, keep, mask):
    kept = mask / keep
    return x * kept, (kept, keep)


MASK = np.random.default_rng(9).random((6, 5)) < 0.8


def residual_forward(x, W):
    h = np.tanh(x @ W)
    return x + h, (x, W, h)


def residual(share):
    def residual_backward(dout, cache):
        x, W, h = cache
        dz = dout * (1 - h * h)
        return dz @ W.T + share * dout, x.T @ dz

    return residual_backward


def twins_forward(x, U, V):
    return np.tanh(x @ U) * (x @ V), (x, U, V)


def twins_backward(dout, cache):
    x, U, V = cache
    t = np.tanh(x @ U)
    dU, dV = x.T @ (dout * (x @ V) * (1 - t * t)), x.T @ (dout * t)
    dx = (dout * (x @ V) * (1 - t * t)) @ U.T + (dout * t) @ V.T
    return dx, dV, dU


def norm_forward(x):
    r = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.abs(x) ** 3 + r, (x, r)


def norm_backward(dout, cache):
    x, r = cache
    with np.errstate(all="ignore"):
        return 3 * np.abs(x) ** 3 / x * dout + dout.sum(axis=1, keepdims=True) * x / r


NORM = normal(10, (3, 4))[0]
NORM[1, 2] = 0.0


def stale():
    """Return the backward of the layer with an accumulator that no call resets, as a module would keep it."""
    kept = np.zeros((3, 4))

    def stale_backward(dout, cache):
        x, W, a = cache
        dz = dout * (1 - a * a)
        kept[...] += x.T @ dz
        return dz @ W.T, kept.copy(), dz.sum(0)

    return stale_backward


def clipped(limit):
    return lambda dx, dW, db, dz, x, W: (dx, np.clip(dW, -limit, limit), db)


def unit(g):
    return g / np.linalg.norm(g)
