"""More functions whose gradient is a convention at the point of the check: those that are no chain of layers."""

from __future__ import annotations

import numpy as np
from kink_nets import (
    both,
    chain,
    conv,
    dense,
    fixed,
    flat,
    mlp,
    pool,
    relu,
    right,
    softmax_loss,
    winners,
)


def mask(z, s):
    return np.where(z == 0, s, z > 0)


# rnn with relu, zero initial state and zero first input
def rnn(n, s):
    x = n((4, 3, 5))
    x[0] = 0

    def f(x, h, W, U, b):
        hs = [h]
        zs = []
        for t in range(len(x)):
            z = x[t] @ W + hs[-1] @ U + b
            zs.append(z)
            hs.append(np.maximum(z, 0))
        return hs[-1], (x, hs, zs, W, U)

    def b(d, c):
        x, hs, zs, W, U = c
        dW = 0 * W
        dU = 0 * U
        db = 0 * W[0]
        dx = 0 * x
        for t in reversed(range(len(x))):
            dz = d * mask(zs[t], s)
            dW = dW + x[t].T @ dz
            dU = dU + hs[t].T @ dz
            db = db + dz.sum(0)
            dx[t] = dz @ W.T
            d = dz @ U.T
        return dx, d, dW, dU, db

    return f, b, (x, np.zeros((3, 4)), n((5, 4)) / 2, n((4, 4)) / 2, np.zeros(4))


both("relu rnn from zero state", rnn, (0.0, 1.0, 0.5), (2.0, -1.0))


# graph max aggregation
def graph(n, tie):
    A = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4], [0, 3, 5], [1, 4, 5]])
    x = np.floor(3 * np.abs(n((6, 4)) % 1))
    V = n((4, 2))

    def f(x):
        g = x[A]
        return np.tanh(g.max(1) @ V * 0.3), (x, g)

    def b(d, c):
        x, g = c
        y = np.tanh(g.max(1) @ V * 0.3)
        dm = (d * (1 - y * y) * 0.3) @ V.T
        w = np.moveaxis(winners(np.moveaxis(g, 1, -1), tie), -1, 1)
        dx = np.zeros_like(x)
        np.add.at(dx, A, w * dm[:, None])
        return dx

    return f, b, (x,)


both("graph max", graph, ("first", "last", "share"), ("every", "nobody"))


# quantile (pinball) loss with exact hits
def pinball(n, s):
    y = np.round(n(7))
    q = y.copy()
    q[[1, 3, 5]] += n(3)
    tau = 0.3

    def f(q):
        return (np.maximum(tau * (y - q), (tau - 1) * (y - q)).mean(), y - q)

    return f, (lambda d, r: d * np.where(r == 0, s, np.where(r > 0, -tau, 1 - tau)) / 7), (q,)


both("pinball loss hit exactly", pinball, (-0.3, 0.7, 0.0, 0.2), (-1.0, 1.0))


# total variation
def tv(n, s):
    x = np.floor(3 * np.abs(n((6, 6)) % 1))

    def f(x):
        a, b = np.diff(x, axis=0), np.diff(x, axis=1)
        return np.abs(a).sum() + np.abs(b).sum() + 5 * (x**2).sum(), (a, b, x)

    def b(d, c):
        a, bb, x = c
        g = 10 * x
        sa, sb = (np.where(v == 0, s, np.sign(v)) for v in (a, bb))
        g[1:] += sa
        g[:-1] -= sa
        g[:, 1:] += sb
        g[:, :-1] -= sb
        return d * g

    return f, b, (x,)


both("total variation of integers", tv, (0.0, 1.0, -1.0), (3.0,))


# multiclass hinge, zero weights
def crammer(n, tie):
    X = n((5, 4))
    y = np.array([0, 1, 2, 1, 0])

    def f(W):
        s = X @ W + 1
        s[np.arange(5), y] -= 1
        return s.max(1).mean() - (X @ W)[np.arange(5), y].mean(), s

    def b(d, s):
        w = winners(s, tie)
        w[np.arange(5), y] -= 1
        return d * X.T @ w / 5

    return f, b, (np.zeros((4, 3)),)


both("multiclass hinge at zero weights", crammer, ("first", "last", "share"), ("every",))


# kmeans
def kmeans(_, tie):
    x = np.array([[0.0, 0], [2, 0], [1, 1], [3, 1], [1, -1]])
    c = np.array([[0.0, 0], [2, 0], [4, 0]])

    def f(c):
        return ((((x[:, None] - c) ** 2).sum(-1)).min(1).sum(), c)

    def b(d, c):
        D = ((x[:, None] - c) ** 2).sum(-1)
        w = winners(-D, tie)
        return d * (2 * w[..., None] * (c - x[:, None])).sum(0)

    return f, b, (c,)


both("k-means with equal distances", kmeans, ("first", "last", "share"), ("every", "nobody"))


# attention with relu scores and zero queries
def reluatt(n, s):
    K, V = n((5, 3)), n((5, 2))

    def f(q):
        z = q @ K.T
        return np.maximum(z, 0) @ V, z

    q = n((3, 3))
    q[1] = 0
    return f, (lambda d, z: (d @ V.T * mask(z, s)) @ K), (q,)


both("relu attention of a zero query", reluatt, (0.0, 1.0), ())


# only parameters move: cnn closure
def params(n, how):
    tie, s = how
    x = np.zeros((2, 1, 6, 6))
    x[:, :, 2:4, 2:4] = n((2, 1, 2, 2))
    net = chain(conv(), relu(s), pool(tie), flat(), dense(), softmax_loss(np.array([1, 0])))
    f0, b0 = net
    return (
        (lambda *p: f0(x, *p)),
        (lambda d, c: b0(d, c)[1:]),
        (n((2, 1, 3, 3)), np.zeros(2), n((18, 3)) / 3, np.zeros(3)),
    )


both(
    "cnn, parameters alone", params, (("first", 0.0), ("share", 0.0), ("last", 0.0), ("first", 1.0)), (("first", 2.0),)
)


def paramsb(n, tie):
    f, b, a = params(n, (tie, 0.0))
    return f, b, (a[0], np.abs(n(2)) + 0.1, *a[2:])


both("cnn, parameters alone, ties,", paramsb, ("first", "share"), ("every",))


def mparams(n, s):
    X = n((6, 4))
    X[1] = 0
    X[4] = 0
    f0, b0 = chain(dense(), relu(s), dense(), softmax_loss(np.arange(6) % 3))
    return (lambda *p: f0(X, *p)), (lambda d, c: b0(d, c)[1:]), (n((4, 9)), np.zeros(9), n((9, 3)), np.zeros(3))


both("mlp, parameters alone", mparams, (0.0, 1.0, 0.5), (2.0, -1.0))


# l-infinity norm, ties in absolute value
def linf(_, tie):
    x = np.array([1.0, -2, 2, 0.5, -2])
    return (lambda x: (np.abs(x).max(), x)), (lambda d, x: d * np.sign(x) * winners(np.abs(x), tie)), (x,)


both("largest absolute value", linf, ("first", "last", "share"), ("every", "nobody"))


# median pool even count
def med4(n, how):
    x = np.floor(3 * np.abs(n((5, 5)) % 1))

    def b(d, x):
        o = np.argsort(x, axis=1, kind="stable")
        g = np.zeros_like(x)
        g[np.arange(5), o[:, 2]] = d * how
        return g

    return (lambda x: (np.median(x, axis=1), x)), b, (x,)


both("row medians", med4, (1.0,), (2.0, 0.9))


# quantile 0.25 interpolated
def quant(n, how):
    x = np.floor(3 * np.abs(n(10) % 1))

    def b(d, x):
        o = np.argsort(x, kind="stable")
        g = np.zeros(10)
        g[o[2]] += 0.75
        g[o[3]] += 0.25
        return d * g * how

    return (lambda x: (np.quantile(x, 0.25), x)), b, (x,)


both("a quantile between ties", quant, (1.0,), (1.1,))


# curvature large + relu chain, mixed scale
def scaled(n, s):
    x = n((4, 3)) * 1e-3
    x[0] = 0

    def f(x, W):
        return (100 * (np.sum(x @ W) ** 2) + np.maximum(x @ W, 0).sum(), (x, W))

    def b(d, c):
        x, W = c
        z = x @ W
        g = d * (200 * z.sum() + mask(z, s))
        return g @ W.T, x.T @ g

    return f, b, (x, n((3, 4)))


both("small inputs, curvature,", scaled, (0.0, 1.0), ())


# big input scale f32
def f32pool(n, tie):
    x = np.floor(4 * np.abs(n((1, 1, 6, 6)) % 1)).astype(np.float32) * 50
    f0, b0 = chain(pool(tie), flat(), fixed(n((9, 3)).astype(np.float32)))
    return f0, (lambda d, c: b0(d, c).astype(np.float32)), (x,)


both("float32 pool of pixels", f32pool, ("first", "share"), ("every",))


# overlapping pool
def overlap(n, tie):
    x = np.floor(3 * np.abs(n(12) % 1))
    c = n(10)

    def win(x):
        return np.lib.stride_tricks.sliding_window_view(x, 3)

    def b(d, x):
        w = winners(win(x).copy(), tie) * (d * c)[:, None]
        g = np.zeros(12)
        for i in range(10):
            g[i : i + 3] += w[i]
        return g

    return (lambda x: ((win(x).max(1) * c).sum(), x)), b, (x,)


both("overlapping pool under a loss", overlap, ("first", "last", "share"), ("every", "nobody"))


# dtw-like min path
def path(_, tie):
    c = np.ones((4, 4))
    c[1, 1] = c[2, 2] = 3  # the way around has a twin on the other side of the diagonal

    def f(c):
        D = np.full((5, 5), 1e3)
        D[0, 0] = 0
        for i in range(4):
            for j in range(4):
                D[i + 1, j + 1] = c[i, j] + min(D[i, j], D[i, j + 1], D[i + 1, j])
        return D[4, 4], D

    def b(d, D):
        g = np.zeros((5, 5))
        g[4, 4] = d
        out = np.zeros((4, 4))
        for i in reversed(range(4)):
            for j in reversed(range(4)):
                out[i, j] = g[i + 1, j + 1]
                o = [(i, j), (i, j + 1), (i + 1, j)]
                w = winners(-np.array([D[p] for p in o]), tie)
                for p, a in zip(o, w, strict=True):
                    g[p] += a * g[i + 1, j + 1]
        return out

    return f, b, (c,)


both("shortest path with ties", path, ("first", "last", "share"), ("every", "nobody"))


def crelu(n, s):
    x = n((3, 4))
    x[1] = 0
    W = n((4, 3))
    V = np.abs(n((6, 2)))

    def f(x):
        return (np.concatenate([np.maximum(x @ W, 0), np.maximum(-x @ W, 0)], 1) @ V, x @ W)

    return f, (lambda d, z: ((d @ V.T)[:, :3] * mask(z, s) - (d @ V.T)[:, 3:] * mask(-z, s)) @ W.T), (x,)


both("concatenated relu, weights of one sign,", crelu, (0.0, 0.5, 1.0), ())


def jump(n, _):
    x = n((3, 3))
    x[1] = 2.0
    return (lambda x: (np.floor(x).sum() + (x**2).sum(), x)), (lambda d, x: 2 * d * x), (x,)


right("floor at a whole number", lambda n: jump(n, 0), "inconclusive")


def dead(n, _):
    f, b, a = mlp(n, 0.0)
    a = list(a)
    a[0][:] = 0
    return f, b, tuple(a)


right("mlp with all rows empty", lambda n: dead(n, 0))


def huber(n, s):
    x = n(6)
    x[:2] = 1.0
    x[3] = -1.0
    return (
        (lambda x: (np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5).sum(), x)),
        (lambda d, x: d * s * np.clip(x, -1, 1)),
        (x,),
    )


both("huber at its threshold", huber, (1.0,), (2.0,))
