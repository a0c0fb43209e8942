"""Right backward passes as people write them, each with a point: an incoming cotangent and the cache of a forward."""

# ruff: noqa: RUF059, SIM108 (strangers unpack what they do not use)

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def one_hot(y, K):
    return np.eye(K)[y]


def normals(rng, *shapes):
    return [rng.standard_normal(shape) for shape in shapes]


# -- layers


def affine_backward(dout, cache):
    x, w, b = cache
    N = x.shape[0]
    x_row = x.reshape(N, -1)
    dx = np.dot(dout, w.T).reshape(x.shape)
    dw = np.dot(x_row.T, dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db


def affine_point(rng):
    dout, x, w, b = normals(rng, (5, 4), (5, 2, 3), (6, 4), 4)
    return dout, (x, w, b)


def square_affine_backward(dout, cache):
    x, W, b = cache
    return dout @ W.T, x.T @ dout, dout.sum(0)


def square_affine_point(rng):
    dout, x, W, b = normals(rng, (4, 4), (4, 4), (4, 4), 4)
    return dout, (x, W, b)


def linear_vjp(x, W):
    """A closure, as in functional code."""

    def pullback(g):
        gx = np.einsum("no,io->ni", g, W)
        gW = np.einsum("ni,no->io", x, g)
        return gx, gW

    return pullback


def linear_vjp_backward(dout, cache):
    x, W = cache
    return linear_vjp(x, W)(dout)


def linear_vjp_point(rng):
    dout, x, W = normals(rng, (3, 3), (3, 3), (3, 3))
    return dout, (x, W)


class Dense:
    """A layer that keeps its gradients."""

    def __init__(self, W, b):
        self.W, self.b = W, b
        self.dW = np.zeros_like(W)
        self.db = np.zeros_like(b)

    def forward(self, x):
        self.x = x
        self.z = x @ self.W + self.b
        return np.tanh(self.z)

    def backward(self, dout):
        dz = dout * (1 - np.tanh(self.z) ** 2)
        self.dW = self.x.T @ dz
        self.db = dz.sum(axis=0)
        return dz @ self.W.T


def dense_backward(dout, cache):
    layer = Dense(*cache[1:])
    layer.forward(cache[0])
    dx = layer.backward(dout)
    return dx, layer.dW, layer.db


def dense_point(rng):
    dout, x, W, b = normals(rng, (5, 4), (5, 3), (3, 4), 4)
    return dout, (x, W, b)


def relu_backward(dout, cache):
    dx, x = None, cache
    dx = dout.copy()
    dx[x <= 0] = 0
    return dx


def relu_point(rng):
    dout, x = normals(rng, (6, 7), (6, 7))
    return dout, x


def leaky_relu_backward(dout, cache):
    x, alpha = cache
    return dout * np.where(x > 0, 1.0, alpha)


def leaky_relu_point(rng):
    dout, x = normals(rng, (6, 7), (6, 7))
    return dout, (x, 0.1)


sine_backward = lambda dout, x: dout * np.cos(x)  # noqa: E731 (people do)


def sine_point(rng):
    return tuple(normals(rng, (3, 4), (3, 4)))


def cube_backward(dout, x):
    return dout * 3 * x**2


def reciprocal_norm_backward(dout, cache):
    x, n = cache
    return dout / n - x * np.sum(dout * x, axis=1, keepdims=True) / n**3


def reciprocal_norm_point(rng):
    dout, x = normals(rng, (4, 5), (4, 5))
    return dout, (x, np.sqrt((x**2).sum(axis=1, keepdims=True)))


def dropout_backward(dout, cache):
    mode, p, mask = cache
    if mode == "train":
        dx = dout * mask / p
    else:
        dx = dout
    return dx


def dropout_point(rng):
    (dout,) = normals(rng, (6, 7))
    return dout, ("train", 0.7, rng.random((6, 7)) < 0.7)


def embedding_backward(dout, cache):
    W, idx = cache
    dW = np.zeros_like(W)
    np.add.at(dW, idx, dout)
    return dW


def embedding_point(rng):
    dout, W = normals(rng, (2, 4, 3), (5, 3))
    return dout, (W, np.array([[1, 2, 1, 0], [3, 3, 1, 4]]))


# -- losses and small networks


def softmax_backward(dout, cache):
    s = cache["s"]
    return s * (dout - np.sum(dout * s, axis=1, keepdims=True))


def softmax_point(rng):
    dout, z = normals(rng, (4, 5), (4, 5))
    return dout, {"s": softmax(z)}


def cross_entropy_backward(dout, cache):
    probs, y = cache
    N = probs.shape[0]
    dscores = probs.copy()
    dscores[np.arange(N), y] -= 1
    dscores /= N
    return dscores * dout


def cross_entropy_point(rng):
    (z,) = normals(rng, (5, 3))
    return np.float64(0.7), (softmax(z), rng.integers(3, size=5))


def logistic_regression_backward(dout, cache):
    X, y, w, a, reg = cache
    m = X.shape[0]
    dz = (a - y) / m
    dw = X.T.dot(dz) + reg * w
    db = np.sum(dz)
    return dout * dw, dout * db


def logistic_regression_point(rng):
    X, w = normals(rng, (7, 3), 3)
    return np.float64(1.3), (X, rng.integers(2, size=7), w, sigmoid(X @ w), 0.3)


def mlp_backward(dout, cache):
    X, y, params, a1, z1, probs, lam = cache
    m = len(X)
    grads = {}
    dz2 = (probs - y) / m
    grads["W2"] = np.dot(a1.T, dz2) + lam * params["W2"]
    grads["b2"] = dz2.sum(axis=0)
    da1 = np.dot(dz2, params["W2"].T)
    dz1 = da1 * (1 - a1**2)
    grads["W1"] = np.dot(X.T, dz1) + lam * params["W1"]
    grads["b1"] = dz1.sum(axis=0)
    return {name: dout * g for name, g in grads.items()}


def mlp_point(rng):
    X, W1, b1, W2, b2 = normals(rng, (5, 4), (4, 7), 7, (7, 3), 3)
    z1 = X @ W1 + b1
    a1 = np.tanh(z1)
    probs = softmax(a1 @ W2 + b2)
    params = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
    return np.float64(0.9), (X, one_hot(rng.integers(3, size=5), 3), params, a1, z1, probs, 0.2)


def columns_backward(dAL, cache):
    """One example a column, as in a well-known course; sigmoid layers of the same width."""
    X, W1, W2, Z1, A1, Z2, A2 = cache
    m = X.shape[1]
    dZ2 = dAL * A2 * (1 - A2)
    dW2 = 1 / m * np.dot(dZ2, A1.T)
    db2 = 1 / m * np.sum(dZ2, axis=1, keepdims=True)
    dA1 = np.dot(W2.T, dZ2)
    dZ1 = dA1 * A1 * (1 - A1)
    dW1 = 1 / m * np.dot(dZ1, X.T)
    db1 = 1 / m * np.sum(dZ1, axis=1, keepdims=True)
    return dW1, db1, dW2, db2


def columns_point(rng):
    dAL, X, W1, W2 = normals(rng, (4, 6), (4, 6), (4, 4), (4, 4))
    Z1 = W1 @ X
    Z2 = W2 @ sigmoid(Z1)
    return dAL, (X, W1, W2, Z1, sigmoid(Z1), Z2, sigmoid(Z2))


def dsigmoid(z):
    s = sigmoid(z)
    return s * (1 - s)


def layered_backward(dout, cache):
    """Helpers, lists and a loop over layers."""
    Ws, activations, zs = cache
    grads = []
    delta = dout
    for i in reversed(range(len(Ws))):
        delta = delta * dsigmoid(zs[i])
        grads.insert(0, activations[i].T @ delta)
        delta = delta @ Ws[i].T
    return grads, delta


def layered_point(rng):
    dout, x, *Ws = normals(rng, (5, 4), (5, 4), (4, 4), (4, 4), (4, 4))
    activations, zs = [x], []
    for W in Ws:
        zs.append(activations[-1] @ W)
        activations.append(sigmoid(zs[-1]))
    return dout, (Ws, activations, zs)


def residual_backward(dout, cache):
    x, W, z = cache
    dz = dout * (z > 0)
    dW = x.T @ dz
    dx = dz @ W.T + dout
    return dx, dW


def residual_point(rng):
    dout, x, W = normals(rng, (5, 4), (5, 4), (4, 4))
    return dout, (x, W, x @ W)


# -- normalisation


def batchnorm_backward(dout, cache):
    x_hat, gamma, std = cache
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    dx_hat = dout * gamma
    dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std
    return dx, dgamma, dbeta


def batchnorm_point(rng):
    dout, x, gamma = normals(rng, (7, 5), (7, 5), 5)
    std = np.sqrt(x.var(axis=0) + 1e-5)
    return dout, ((x - x.mean(axis=0)) / std, gamma, std)


def batchnorm_staged_backward(dout, cache):
    """The computational graph, node by node."""
    xmu, ivar, sqrtvar, gamma, xhat = cache
    N, D = dout.shape
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    dxhat = dout * gamma
    divar = (dxhat * xmu).sum(axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1 / sqrtvar**2 * divar
    dvar = 0.5 / sqrtvar * dsqrtvar
    dsq = np.ones((N, D)) / N * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1 * dx1.sum(axis=0)
    dx2 = np.ones((N, D)) / N * dmu
    dx = dx1 + dx2
    return dx, dgamma, dbeta


def batchnorm_staged_point(rng):
    dout, x, gamma = normals(rng, (7, 5), (7, 5), 5)
    xmu = x - x.mean(axis=0)
    std = np.sqrt(x.var(axis=0) + 1e-5)
    return dout, (xmu, 1 / std, std, gamma, xmu / std)


def layernorm_backward(dout, cache):
    xhat, rstd, g = cache
    dxhat = dout * g
    mean1 = dxhat.mean(-1, keepdims=True)
    mean2 = (dxhat * xhat).mean(-1, keepdims=True)
    dx = rstd * (dxhat - mean1 - xhat * mean2)
    return dx, (dout * xhat).sum(0), dout.sum(0)


def layernorm_point(rng):
    dout, x, g = normals(rng, (6, 6), (6, 6), 6)
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return dout, ((x - x.mean(-1, keepdims=True)) * rstd, rstd, g)


# -- images


def conv_naive_backward(dout, cache):
    x, w, b, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    _, _, Hout, Wout = dout.shape
    x_pad = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    dx_pad, dw, db = np.zeros_like(x_pad), np.zeros_like(w), np.zeros(F)
    for n in range(N):
        for f in range(F):
            db[f] += dout[n, f].sum()
            for i in range(Hout):
                for j in range(Wout):
                    dw[f] += x_pad[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW] * dout[n, f, i, j]
                    dx_pad[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW] += w[f] * dout[n, f, i, j]
    dx = dx_pad[:, :, pad:-pad, pad:-pad]
    return dx, dw, db


def conv_naive_point(rng):
    x, w, b, dout = normals(rng, (2, 3, 5, 5), (4, 3, 3, 3), 4, (2, 4, 3, 3))
    return dout, (x, w, b, {"stride": 2, "pad": 1})


def conv_full_backward(dout, cache):
    """Stride one: the full correlation with the rotated kernel."""
    x, w = cache
    kh, kw = w.shape[2:]
    windows = sliding_window_view(x, dout.shape[2:], axis=(2, 3))
    dw = np.einsum("ncijuv,nfuv->fcij", windows, dout)
    padded = np.pad(dout, ((0, 0), (0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1)))
    windows = sliding_window_view(padded, (kh, kw), axis=(2, 3))
    dx = np.einsum("nfijuv,fcuv->ncij", windows, w[:, :, ::-1, ::-1])
    return dx, dw


def conv_full_point(rng):
    x, w, dout = normals(rng, (2, 3, 5, 5), (4, 3, 3, 3), (2, 4, 3, 3))
    return dout, (x, w)


def im2col_backward(dout, cache):
    x_cols, w, x_shape, positions = cache
    F = w.shape[0]
    dout_flat = dout.transpose(1, 2, 3, 0).reshape(F, -1)
    db = dout.sum(axis=(0, 2, 3))
    dw = (dout_flat @ x_cols.T).reshape(w.shape)
    dx_cols = w.reshape(F, -1).T @ dout_flat
    dx = np.zeros(x_shape)
    for row, (c, u, v) in enumerate(positions):
        patch = dx_cols[row].reshape(dout.shape[2], dout.shape[3], -1).transpose(2, 0, 1)
        dx[:, c, u : u + dout.shape[2], v : v + dout.shape[3]] += patch
    return dx, dw, db


def im2col_point(rng):
    x, w, dout = normals(rng, (2, 3, 5, 5), (4, 3, 2, 2), (2, 4, 4, 4))
    positions = [(c, u, v) for c in range(3) for u in range(2) for v in range(2)]
    rows = [x[:, c, u : u + 4, v : v + 4].transpose(1, 2, 0).ravel() for c, u, v in positions]
    return dout, (np.stack(rows), w, x.shape, positions)


def table_conv_backward(dout, cache):
    """LeNet's C3: a table says which maps are linked."""
    x, w, table = cache
    dw = np.zeros_like(w)
    dx = np.zeros_like(x)
    k = w.shape[2]
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            window = x[:, :, i : i + k, j : j + k]
            dw += np.einsum("ncuv,nf->fcuv", window, dout[:, :, i, j])
            dx[:, :, i : i + k, j : j + k] += np.einsum("nf,fcuv->ncuv", dout[:, :, i, j], w)
    dw = dw * table[:, :, None, None]
    return dx, dw


def table_conv_point(rng):
    x, w, dout = normals(rng, (2, 3, 4, 4), (5, 3, 2, 2), (2, 5, 3, 3))
    table = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0]])
    return dout, (x, w * table[:, :, None, None], table)


def max_pool_backward(dout, cache):
    x, pool_param = cache
    k, s = pool_param["k"], pool_param["s"]
    N, C, H, W = dout.shape
    dx = np.zeros_like(x)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    window = x[n, c, i * s : i * s + k, j * s : j * s + k]
                    mask = window == np.max(window)
                    dx[n, c, i * s : i * s + k, j * s : j * s + k] += mask * dout[n, c, i, j]
    return dx


def max_pool_point(rng):
    x, dout = normals(rng, (2, 2, 5, 5), (2, 2, 2, 2))
    return dout, (x, {"k": 3, "s": 2})


def tied_pool_backward(dout, cache):
    x, k = cache
    N, H, W = dout.shape
    x_r = x.reshape(N, H, k, W, k)
    mask = x_r == x_r.max(axis=(2, 4), keepdims=True)
    mask = mask / mask.sum(axis=(2, 4), keepdims=True)
    return (mask * dout[:, :, None, :, None]).reshape(x.shape)


def tied_pool_point(rng):
    (dout,) = normals(rng, (2, 2, 3))
    return dout, (np.maximum(0, rng.integers(-2, 3, size=(2, 4, 6))).astype(float), 2)


def mean_pool_backward(dout, cache):
    x, size = cache
    dx = np.repeat(np.repeat(dout, size, axis=2), size, axis=3)
    return dx / (size * size)


def mean_pool_point(rng):
    dout, x = normals(rng, (2, 3, 2, 2), (2, 3, 6, 6))
    return dout, (x, 3)


# -- sequences, attention


def rnn_backward(dh, cache):
    x, h0, Wx, Wh, b, h = cache
    N, T, H = dh.shape
    dx, dWx, dWh = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh)
    db = np.zeros_like(b)
    dh_next = np.zeros((N, H))
    for t in reversed(range(T)):
        dh_t = dh[:, t] + dh_next
        dz = dh_t * (1 - h[:, t] ** 2)
        h_prev = h[:, t - 1] if t > 0 else h0
        dWx += x[:, t].T @ dz
        dWh += h_prev.T @ dz
        db += dz.sum(axis=0)
        dx[:, t] = dz @ Wx.T
        dh_next = dz @ Wh.T
    dh0 = dh_next
    return dx, dh0, dWx, dWh, db


def rnn_point(rng):
    dh, x, h0, Wx, Wh, b = normals(rng, (2, 4, 3), (2, 4, 5), (2, 3), (5, 3), (3, 3), 3)
    hs = []
    for t in range(4):
        hs.append(np.tanh(x[:, t] @ Wx + (hs[-1] if hs else h0) @ Wh + b))
    return dh, (x, h0, Wx, Wh, b, np.stack(hs, axis=1))


def char_rnn_backward(dys, cache):
    """Columns, lists and dicts keyed by time, as in a famous gist."""
    xs, hs, Wxh, Whh, Why = cache
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros((len(Whh), 1)), np.zeros((len(Why), 1))
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(xs))):
        dy = dys[t]
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    return dWxh, dWhh, dWhy, dbh, dby


def char_rnn_point(rng):
    dys, x, h0, Wxh, Whh, Why = normals(rng, (5, 3, 1), (5, 3, 1), (4, 1), (4, 3), (4, 4), (3, 4))
    xs, hs = dict(enumerate(x)), {-1: h0}
    for t in range(5):
        hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t - 1])
    hs[0] = hs[0].copy()
    return dys, (xs, hs, Wxh, Whh, Why)


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c = cache
    tanh_c = np.tanh(next_c)
    do = dnext_h * tanh_c
    dc = dnext_c + dnext_h * o * (1 - tanh_c**2)
    di, df, dg = dc * g, dc * prev_c, dc * i
    dprev_c = dc * f
    da = np.hstack((di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)))
    dx = da.dot(Wx.T)
    dprev_h = da.dot(Wh.T)
    dWx = x.T.dot(da)
    dWh = prev_h.T.dot(da)
    db = da.sum(axis=0)
    return dx, dprev_h, dprev_c, dWx, dWh, db


def lstm_backward(dout, cache):
    return lstm_step_backward(*dout, cache)


def lstm_point(rng):
    dh, dc, x, prev_h, prev_c, Wx, Wh = normals(rng, (3, 5), (3, 5), (3, 4), (3, 5), (3, 5), (4, 20), (5, 20))
    i, f, o, g = np.split(x @ Wx + prev_h @ Wh, 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    return (dh, dc), (x, prev_h, prev_c, Wx, Wh, i, f, o, g, f * prev_c + i * g)


def gru_backward(dh_new, cache):
    x, h, z, r, n, W, U = cache
    H = h.shape[1]
    dn = dh_new * (1 - z)
    dz = dh_new * (h - n)
    dh = dh_new * z
    da_n = dn * (1 - n**2)
    drh = da_n @ U[:, 2 * H :].T
    dr = drh * h
    dh = dh + drh * r
    da_z = dz * z * (1 - z)
    da_r = dr * r * (1 - r)
    dh = dh + da_z @ U[:, :H].T + da_r @ U[:, H : 2 * H].T
    dW = x.T @ np.concatenate([da_z, da_r, da_n], axis=1)
    dU = np.concatenate([h.T @ da_z, h.T @ da_r, (r * h).T @ da_n], axis=1)
    return dh, dW, dU


def gru_point(rng):
    d, x, h, W, U = normals(rng, (3, 4), (3, 5), (3, 4), (5, 12), (4, 12))
    a = x @ W
    z = sigmoid(a[:, :4] + h @ U[:, :4])
    r = sigmoid(a[:, 4:8] + h @ U[:, 4:8])
    n = np.tanh(a[:, 8:] + (r * h) @ U[:, 8:])
    return d, (x, h, z, r, n, W, U)


def attention_backward(dout, cache):
    Q, K, V, A = cache
    d_k = Q.shape[-1]
    dV = A.swapaxes(-1, -2) @ dout
    dA = dout @ V.swapaxes(-1, -2)
    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))
    dS = dS / np.sqrt(d_k)
    dQ = dS @ K
    dK = dS.swapaxes(-1, -2) @ Q
    return dQ, dK, dV


def attention_point(rng):
    dout, Q, K, V = normals(rng, (2, 5, 3), (2, 5, 7), (2, 5, 7), (2, 5, 3))
    return dout, (Q, K, V, softmax(Q @ K.swapaxes(-1, -2) / np.sqrt(7)))


# -- odd callables


class Scale:
    """An object that is called, with a method beside it."""

    def __init__(self, factor):
        self.factor = factor

    def _scaled(self, d):
        return d * self.factor

    def __call__(self, dout, cache):
        return self._scaled(dout) * 2 * cache


def scale_point(rng):
    dout, x = normals(rng, (3, 4), (3, 4))
    return dout, x


scale_backward = Scale(3.0)


def keyword_backward(dout, cache, *, power):
    return dout * power * cache ** (power - 1)


partial_backward = functools.partial(keyword_backward, power=4)
