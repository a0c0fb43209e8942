"""Convolutions, pooling and what else slides over images and sequences, with specifications and right backwards."""

from __future__ import annotations

import numpy as np
from shape_layers import layer


def conv1d(x, W, b, pad, stride):
    k = W.shape[2]
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad)))
    n = (xp.shape[2] - k) // stride + 1
    cols = np.stack([xp[:, :, i * stride : i * stride + k] for i in range(n)], 2)
    return np.einsum("ncik,fck->nfi", cols, W) + b[:, None], (cols, W, xp.shape, pad, stride)


def conv1d_backward(dy, cache):
    cols, W, padded, pad, stride = cache
    k = W.shape[2]
    dW = np.einsum("nfi,ncik->fck", dy, cols)
    db = dy.sum((0, 2))
    dcols = np.einsum("nfi,fck->ncik", dy, W)
    dxp = np.zeros(padded)
    for i in range(dy.shape[2]):
        dxp[:, :, i * stride : i * stride + k] += dcols[:, :, i]
    return dxp[:, :, pad : padded[2] - pad], dW, db


layer("x: N C L, W: F C k, b: F, pad in 0 1 2, stride in 1 2 3; L+2*pad >= k", conv1d, conv1d_backward)


def conv2d(x, w, b, stride, pad):
    kh, kw = w.shape[2:]
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    h, v = (xp.shape[2] - kh) // stride + 1, (xp.shape[3] - kw) // stride + 1
    y = np.zeros((len(x), len(w), h, v))
    for i in range(h):
        for j in range(v):
            patch = xp[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            y[:, :, i, j] = np.tensordot(patch, w, ((1, 2, 3), (1, 2, 3))) + b
    return y, (x, xp, w, stride, pad)


def conv2d_backward(dy, cache):
    x, xp, w, stride, pad = cache
    H, W = x.shape[2:]
    kh, kw = w.shape[2:]
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            rows, columns = slice(i * stride, i * stride + kh), slice(j * stride, j * stride + kw)
            d = dy[:, :, i, j]
            dw += np.tensordot(d, xp[:, :, rows, columns], ((0,), (0,)))
            dxp[:, :, rows, columns] += np.tensordot(d, w, ((1,), (0,)))
    db = dy.sum((0, 2, 3))
    return dxp[:, :, pad : pad + H, pad : pad + W], dw, db


layer(
    "x: N C H W, w: F C kh kw, b: F, stride in 1 2, pad in 0 1; H+2*pad >= kh, W+2*pad >= kw", conv2d, conv2d_backward
)


def conv_same(x, w):
    k = len(w)
    left = (k - 1) // 2
    xp = np.pad(x, ((0, 0), (left, k - 1 - left), (0, 0)))
    return sum(xp[:, i : i + x.shape[1]] @ w[i] for i in range(k)), (xp, w, x.shape)


def conv_same_backward(dy, cache):
    xp, w, shape = cache
    k = len(w)
    T = shape[1]
    left = (k - 1) // 2
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for i in range(k):
        dw[i] = np.tensordot(xp[:, i : i + T], dy, ((0, 1), (0, 1)))
        dxp[:, i : i + T] += dy @ w[i].T
    return dxp[:, left : left + T], dw


layer("x: N T C, w: k C F", conv_same, conv_same_backward)


def conv_causal(x, w, dilation):
    k = len(w)
    past = (k - 1) * dilation
    xp = np.pad(x, ((0, 0), (past, 0), (0, 0)))
    y = sum(xp[:, i * dilation : i * dilation + x.shape[1]] @ w[i] for i in range(k))
    return y, (xp, w, dilation)


def conv_causal_backward(dy, cache):
    xp, w, dilation = cache
    T = dy.shape[1]
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for i in range(len(w)):
        start = i * dilation
        dxp[:, start : start + T] += dy @ w[i].T
        dw[i] = np.einsum("ntc,ntf->cf", xp[:, start : start + T], dy)
    return dxp[:, (len(w) - 1) * dilation :], dw


layer("x: N T C, w: k C F, dilation in 1 2 4", conv_causal, conv_causal_backward)


def conv_grouped(x, w):
    G, F, C, k = w.shape
    N, _, L = x.shape
    z = x.reshape(N, G, C, L)
    y = sum(np.einsum("ngcl,gfc->ngfl", z[..., i : i + L - k + 1], w[..., i]) for i in range(k))
    return y.reshape(N, G * F, L - k + 1), (z, w)


def conv_grouped_backward(dy, cache):
    z, w = cache
    G, F, C, k = w.shape
    N, L = len(dy), dy.shape[2]
    d = dy.reshape(N, G, F, L)
    dz, dw = np.zeros_like(z), np.zeros_like(w)
    for i in range(k):
        dw[..., i] = np.einsum("ngfl,ngcl->gfc", d, z[..., i : i + L])
        dz[..., i : i + L] += np.einsum("ngfl,gfc->ngcl", d, w[..., i])
    return dz.reshape(N, G * C, -1) if dz.size else np.zeros((N, G * C, z.shape[3])), dw


layer("x: N G*C L, w: G F C k; L >= k", conv_grouped, conv_grouped_backward)


def max_pool(x, k, stride):
    N, C, H, W = x.shape
    h, w = (H - k) // stride + 1, (W - k) // stride + 1
    y, where = np.zeros((N, C, h, w)), np.zeros((N, C, h, w), int)
    for i in range(h):
        for j in range(w):
            patch = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k].reshape(N, C, k * k)
            where[:, :, i, j] = patch.argmax(2)
            y[:, :, i, j] = patch.max(2)
    return y, (where, x.shape, k, stride)


def max_pool_backward(dy, cache):
    where, shape, k, stride = cache
    dx = np.zeros(shape)
    n, c = np.ogrid[: shape[0], : shape[1]]
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            row, column = np.divmod(where[:, :, i, j], k)
            dx[n, c, i * stride + row, j * stride + column] += dy[:, :, i, j]
    return (dx,)


layer("x: N C H W distinct, k in 2 1 3, stride in 2 1 3; H >= k, W >= k", max_pool, max_pool_backward)


def mean_pool(x, k, stride):
    n = (x.shape[2] - k) // stride + 1
    return np.stack([x[:, :, i * stride : i * stride + k].mean(2) for i in range(n)], 2), (x.shape, k, stride)


def mean_pool_backward(dy, cache):
    shape, k, stride = cache
    dx = np.zeros(shape)
    for i in range(dy.shape[2]):
        dx[:, :, i * stride : i * stride + k] += dy[:, :, i : i + 1] / k
    return (dx,)


layer("x: N C L, k in 2 1 3, stride in 2 1 3 5; L >= k", mean_pool, mean_pool_backward)


def global_pool(x):
    return x.mean((2, 3)), x.shape


def global_pool_backward(dy, shape):
    H, W = shape[2:]
    dx = np.broadcast_to(dy[:, :, None, None], shape) / (H * W)
    return (dx,)


layer("x: N C H W", global_pool, global_pool_backward)


def upsample(x, s):
    return x.repeat(s, 2).repeat(s, 3), (x.shape, s)


def upsample_backward(dy, cache):
    (N, C, H, W), s = cache
    return (dy.reshape(N, C, H, s, W, s).sum((3, 5)),)


layer("x: N C H W, s in 2 1 3", upsample, upsample_backward)


def pixel_shuffle(x, r):
    N, D, H, W = x.shape
    C = D // r**2
    return x.reshape(N, C, r, r, H, W).transpose(0, 1, 4, 2, 5, 3).reshape(N, C, H * r, W * r), (x.shape, r)


def pixel_shuffle_backward(dy, cache):
    (N, D, H, W), r = cache
    C = D // r**2
    return (dy.reshape(N, C, H, r, W, r).transpose(0, 1, 3, 5, 2, 4).reshape(N, D, H, W),)


layer("x: N C*r*r H W, r in 2 1 3", pixel_shuffle, pixel_shuffle_backward)


def flatten(x, W):
    N, C, H, V = x.shape
    z = x.reshape(N, C * H * V)
    return z @ W, (x.shape, z, W)


def flatten_backward(dy, cache):
    shape, z, W = cache
    dW = z.T @ dy
    dx = (dy @ W.T).reshape(shape)
    return dx, dW


layer("x: N C H V, W: C*H*V M", flatten, flatten_backward)
