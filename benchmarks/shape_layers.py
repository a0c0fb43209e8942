"""Layers, losses and kernels with their specifications and right backwards; those that run over time are beside these.

``forward(*args)`` returns the output and a cache, ``backward(dout, cache)`` a cotangent for each float argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Layer(NamedTuple):
    """A forward, its right backward, and what its arguments are."""

    text: str
    forward: Callable[..., Any]
    backward: Callable[[Any, Any], Any]


LAYERS: dict[str, Layer] = {}


def layer(text: str, forward: Callable[..., Any], backward: Callable[[Any, Any], Any]) -> None:
    """Add a layer under the name of its forward."""
    LAYERS[forward.__name__] = Layer(text, forward, backward)


def softmax(s, axis=-1):
    e = np.exp(s - s.max(axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis, keepdims=True)


def affine(x, W, b):
    return x @ W + b, (x, W)


def affine_backward(dy, cache):
    x, W = cache
    dx = dy @ W.T
    dW = x.T @ dy
    db = dy.sum(0)
    return dx, dW, db


layer("x: N D, W: D M, b: M", affine, affine_backward)


def mlp(x, W1, b1, W2, b2):
    h = np.tanh(x @ W1 + b1)
    return h @ W2 + b2, (x, W1, h, W2)


def mlp_backward(dy, cache):
    x, W1, h, W2 = cache
    dW2 = h.T @ dy
    db2 = dy.sum(0)
    dh = dy @ W2.T
    da = dh * (1 - h**2)
    dW1 = x.T @ da
    db1 = da.sum(0)
    dx = da @ W1.T
    return dx, dW1, db1, dW2, db2


layer("x: N D, W1: D H, b1: H, W2: H M, b2: M", mlp, mlp_backward)


def bilinear(x, W, y):
    return np.einsum("na,kab,nb->nk", x, W, y), (x, W, y)


def bilinear_backward(dz, cache):
    x, W, y = cache
    dx = np.einsum("nk,kab,nb->na", dz, W, y)
    dW = np.einsum("nk,na,nb->kab", dz, x, y)
    dy = np.einsum("nk,na,kab->nb", dz, x, W)
    return dx, dW, dy


layer("x: N A, W: K A B, y: N B", bilinear, bilinear_backward)


def residual(x, W, V):
    h = np.tanh(x @ W)
    return x + h @ V, (x, W, V, h)


def residual_backward(dy, cache):
    x, W, V, h = cache
    dV = h.T @ dy
    da = (dy @ V.T) * (1 - h**2)
    dW = x.T @ da
    dx = dy + da @ W.T
    return dx, dW, dV


layer("x: N D, W: D H, V: H D", residual, residual_backward)


def gated(x, W):
    a, b = np.split(x @ W, 2, axis=1)
    s = 1 / (1 + np.exp(-b))
    return a * s, (x, W, a, s)


def gated_backward(dy, cache):
    x, W, a, s = cache
    dz = np.concatenate([dy * s, dy * a * s * (1 - s)], axis=1)
    dx = dz @ W.T
    dW = x.T @ dz
    return dx, dW


layer("x: N D, W: D 2*M", gated, gated_backward)


def dropout(x, mask, p):
    return x * mask / (1 - p), (mask, p)


def dropout_backward(dy, cache):
    mask, p = cache
    return (dy * mask / (1 - p),)


layer("x: N D, mask: N D bool, p in 0.1 0.5", dropout, dropout_backward)


def squared_loss(y, t):
    d = y - t
    return (d**2).sum() / (2 * len(y)), d


def squared_loss_backward(dL, d):
    dy = dL * d / len(d)
    dt = -dy
    return dy, dt


layer("y: N D, t: N D", squared_loss, squared_loss_backward)


def cross_entropy(scores, labels):
    p = softmax(scores)
    return -np.log(p[np.arange(len(p)), labels]).sum() / len(p), (p, labels)


def cross_entropy_backward(dL, cache):
    p, labels = cache
    ds = p.copy()
    ds[np.arange(len(p)), labels] -= 1
    return (dL * ds / len(p),)


layer("scores: N K, labels: N int < K", cross_entropy, cross_entropy_backward)


def binary_cross_entropy(s, t):
    p = 1 / (1 + np.exp(-s))
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1), (p, t, s)


def binary_cross_entropy_backward(dL, cache):
    p, t, s = cache
    ds = dL[:, None] * (p - t)
    dt = -dL[:, None] * s
    return ds, dt


layer("s: N K, t: N K in 0 1", binary_cross_entropy, binary_cross_entropy_backward)


def log_softmax(x):
    p = softmax(x)
    return np.log(p), p


def log_softmax_backward(dy, p):
    return (dy - p * dy.sum(1, keepdims=True),)


layer("x: N K", log_softmax, log_softmax_backward)


def contrastive(x, y):
    p = softmax(x @ y.T)
    return -np.log(np.diag(p)).sum(), (x, y, p)


def contrastive_backward(dL, cache):
    x, y, p = cache
    ds = dL * (p - np.eye(len(p)))
    dx = ds @ y
    dy = ds.T @ x
    return dx, dy


layer("x: N D, y: N D", contrastive, contrastive_backward)


def weighted_mean(x, w):
    return w @ x, (x, w)


def weighted_mean_backward(dy, cache):
    x, w = cache
    dx = np.outer(w, dy)
    dw = x @ dy
    return dx, dw


layer("x: N D, w: N simplex", weighted_mean, weighted_mean_backward)


def factorization_machine(x, w, V):
    s = x @ V
    y = x @ w + 0.5 * (s**2 - x**2 @ V**2).sum(1)
    return y, (x, w, V, s)


def factorization_machine_backward(dy, cache):
    x, w, V, s = cache
    d = dy[:, None]
    dx = d * (w + s @ V.T - x * (V**2).sum(1))
    dw = x.T @ dy
    dV = x.T @ (d * s) - V * (x**2 * d).sum(0)[:, None]
    return dx, dw, dV


layer("x: N D, w: D, V: D k", factorization_machine, factorization_machine_backward)


def graph_conv(A, x, W):
    degree = A.sum(1, keepdims=True)
    z = A @ x / degree
    return np.tanh(z @ W), (A, x, W, degree, z)


def graph_conv_backward(dy, cache):
    A, x, W, degree, z = cache
    da = dy * (1 - np.tanh(z @ W) ** 2)
    dW = z.T @ da
    dz = da @ W.T / degree
    dx = A.T @ dz
    dA = dz @ x.T - (dz * z).sum(1, keepdims=True)
    return dA, dx, dW


layer("A: N N > 0, x: N D, W: D M", graph_conv, graph_conv_backward)


def batch_norm(x, gamma, beta):
    s = 1 / np.sqrt(x.var(0) + 1e-3)
    xhat = (x - x.mean(0)) * s
    return gamma * xhat + beta, (xhat, s, gamma)


def batch_norm_backward(dy, cache):
    xhat, s, gamma = cache
    N = len(dy)
    dbeta = dy.sum(0)
    dgamma = (dy * xhat).sum(0)
    dh = dy * gamma
    dx = s * (dh - dh.sum(0) / N - xhat * (dh * xhat).sum(0) / N)
    return dx, dgamma, dbeta


layer("x: N D, gamma: D, beta: D", batch_norm, batch_norm_backward)


def batch_norm_images(x, gamma, beta):
    axes = (0, 2, 3)
    s = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-3)
    xhat = (x - x.mean(axes, keepdims=True)) * s
    return gamma[:, None, None] * xhat + beta[:, None, None], (xhat, s, gamma)


def batch_norm_images_backward(dy, cache):
    xhat, s, gamma = cache
    N, H, W = len(dy), *dy.shape[2:]
    m = N * H * W
    axes = (0, 2, 3)
    dbeta = dy.sum(axes)
    dgamma = (dy * xhat).sum(axes)
    dh = dy * gamma[:, None, None]
    dx = s * (dh - dh.sum(axes, keepdims=True) / m - xhat * (dh * xhat).sum(axes, keepdims=True) / m)
    return dx, dgamma, dbeta


layer("x: N C H W, gamma: C, beta: C", batch_norm_images, batch_norm_images_backward)


def layer_norm(x, gamma, beta):
    s = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    xhat = (x - x.mean(-1, keepdims=True)) * s
    return gamma * xhat + beta, (xhat, s, gamma)


def layer_norm_backward(dy, cache):
    xhat, s, gamma = cache
    dbeta = dy.sum((0, 1))
    dgamma = (dy * xhat).sum((0, 1))
    dh = dy * gamma
    dx = s * (dh - dh.mean(-1, keepdims=True) - xhat * (dh * xhat).mean(-1, keepdims=True))
    return dx, dgamma, dbeta


layer("x: N T D, gamma: D, beta: D", layer_norm, layer_norm_backward)


def group_norm(x, gamma, beta, G):
    N, C, L = x.shape
    z = x.reshape(N, G, -1) if x.size else x.reshape(N, G, C // G * L)
    s = 1 / np.sqrt(z.var(2, keepdims=True) + 1e-3)
    zhat = (z - z.mean(2, keepdims=True)) * s
    return gamma[:, None] * zhat.reshape(x.shape) + beta[:, None], (zhat, s, gamma, G)


def group_norm_backward(dy, cache):
    zhat, s, gamma, G = cache
    N, C, L = dy.shape
    dbeta = dy.sum((0, 2))
    dgamma = (dy * zhat.reshape(dy.shape)).sum((0, 2))
    dz = (dy * gamma[:, None]).reshape(N, G, C // G * L)
    m = dz.shape[2]
    dz = s * (dz - dz.sum(2, keepdims=True) / m - zhat * (dz * zhat).sum(2, keepdims=True) / m)
    return dz.reshape(N, C, L), dgamma, dbeta


layer("x: N G*C L, gamma: G*C, beta: G*C, G", group_norm, group_norm_backward)


def rms_norm(x, g):
    r = 1 / np.sqrt((x**2).mean(1, keepdims=True) + 1e-3)
    return g * x * r, (x, g, r)


def rms_norm_backward(dy, cache):
    x, g, r = cache
    D = x.shape[1]
    dg = (dy * x * r).sum(0)
    dh = dy * g
    dx = r * dh - x * r**3 * (dh * x).sum(1, keepdims=True) / D
    return dx, dg


layer("x: N D, g: D", rms_norm, rms_norm_backward)


def cosine(x, y):
    a, b = np.sqrt((x**2).sum(1) + 1e-2), np.sqrt((y**2).sum(1) + 1e-2)
    c = (x * y).sum(1) / (a * b)
    return c, (x, y, a, b, c)


def cosine_backward(dc, cache):
    x, y, a, b, c = cache
    dx = (dc / a)[:, None] * (y / b[:, None] - c[:, None] * x / a[:, None])
    dy = (dc / b)[:, None] * (x / a[:, None] - c[:, None] * y / b[:, None])
    return dx, dy


layer("x: N D, y: N D", cosine, cosine_backward)


def rbf_kernel(x, y, ell):
    d = (x[:, None] - y[None]) / ell
    K = np.exp(-0.5 * (d**2).sum(2))
    return K, (d, K, ell)


def rbf_kernel_backward(dK, cache):
    d, K, ell = cache
    g = (dK * K)[:, :, None] * d / ell
    dx = -g.sum(1)
    dy = g.sum(0)
    dell = (g * d).sum((0, 1))
    return dx, dy, dell


layer("x: N D, y: M D, ell: D > 0.5", rbf_kernel, rbf_kernel_backward)


def gaussian_process(K, y):
    C = K + np.eye(len(y))
    a = np.linalg.solve(C, y)
    return -0.5 * y @ a - 0.5 * np.linalg.slogdet(C)[1], (C, a)


def gaussian_process_backward(dL, cache):
    C, a = cache
    inverse = np.linalg.inv(C).T
    b = inverse @ (C @ a)
    dK = 0.5 * dL * (np.outer(b, a) - inverse)
    dy = -0.5 * dL * (a + b)
    return dK, dy


layer("K: N N psd, y: N", gaussian_process, gaussian_process_backward)


def cholesky(A):
    L = np.linalg.cholesky(A + np.eye(len(A)))
    return L, L


def cholesky_backward(dL, L):
    P = np.tril(L.T @ dL)
    P[np.diag_indices(len(L))] /= 2
    inverse = np.linalg.inv(L)
    S = inverse.T @ P @ inverse
    dA = np.tril(S + S.T)
    dA[np.diag_indices(len(L))] /= 2
    return (dA,)


layer("A: N N psd", cholesky, cholesky_backward)


def kalman_step(m, P, F, Q, H, R, y):
    mp, Pp = F @ m, F @ P @ F.T + Q
    S = H @ Pp @ H.T + R + np.eye(len(y))
    K = np.linalg.solve(S.T, H @ Pp.T).T
    e = y - H @ mp
    return (mp + K @ e, Pp - K @ H @ Pp), (m, P, F, mp, Pp, H, S, K, e)


def kalman_step_backward(dout, cache):
    dm, dC = dout
    m, P, F, mp, Pp, H, S, K, e = cache
    dmp = dm - H.T @ (K.T @ dm)
    de = K.T @ dm
    dK = np.outer(dm, e) - dC @ (H @ Pp).T
    dPp = dC - (K @ H).T @ dC
    dH = -np.outer(de, mp) - K.T @ dC @ Pp.T
    dG = np.linalg.solve(S, dK.T).T
    dS = -K.T @ dG
    dPp = dPp + dG @ H + H.T @ dS @ H
    dH = dH + dG.T @ Pp + dS @ H @ Pp.T + dS.T @ H @ Pp
    dF = np.outer(dmp, m) + dPp @ F @ P.T + dPp.T @ F @ P
    return F.T @ dmp, F.T @ dPp @ F, dF, dPp, dH, dS, de


layer("m: D, P: D D psd, F: D D, Q: D D psd, H: E D, R: E E psd, y: E", kalman_step, kalman_step_backward)
