"""Backwards that are meant as something else than the gradient of their forward, with what they are meant as."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.rules_case import case
from benchmarks.rules_push import sizes
from benchmarks.rules_second import sigmoid, softmaxed

meant = functools.partial(case, "meant")


@meant("straight through a rounding", "scaled", "masked by the fraction")
def rounding(rng, bug):
    def backward(dout, x):
        return dout * {"scaled": 0.5, "masked by the fraction": x - np.round(x)}.get(bug, 1.0)

    x = rng.normal(size=sizes(rng, 2)) * 3
    return lambda x: (np.round(x), x), backward, (x,), {"surrogate": lambda x: x}


@meant("straight through a sign, clipped", "no window", "window outside", "sign of x")
def sign(rng, bug):
    def backward(dout, x):
        window = {"no window": np.ones_like(x), "window outside": abs(x) > 1, "sign of x": np.sign(x)}
        return dout * window.get(bug, abs(x) < 1)

    x = rng.normal(size=sizes(rng, 2, 4)) * 1.5
    return lambda x: (np.sign(x), x), backward, (x,), {"surrogate": lambda x: np.clip(x, -1, 1)}


@meant("a spike with a surrogate of its slope", "no beta", "not squared")
def spike(rng, bug):
    beta = 5.0

    def backward(dout, v):
        below = 1 + beta * abs(v) * (bug != "no beta")
        return dout / below ** (1 if bug == "not squared" else 2)

    v = rng.normal(size=sizes(rng, 2))
    settings = {"surrogate": lambda v: v / (1 + beta * abs(v))}
    return lambda v: ((v > 0).astype(float), v), backward, (v,), settings


@meant("reversed gradient", "not reversed", "reversed and scaled")
def reversal(rng, bug):
    def backward(dout, _):
        return {"not reversed": dout, "reversed and scaled": -0.1 * dout}.get(bug, -dout)

    return lambda x: (x, None), backward, (rng.normal(size=sizes(rng, 2)),), {"surrogate": lambda x: -x}


@meant("reversed gradient with a weight, behind a layer", "weight on the weights", "weight squared", "not reversed")
def adversary(rng, bug):
    n, d, m = sizes(rng, 3)
    lam = rng.uniform(0.2, 0.8)

    def backward(dout, cache):
        x, W = cache
        weight = {"weight squared": -(lam**2), "not reversed": lam}.get(bug, -lam)
        return weight * dout @ W.T, x.T @ dout * (weight if bug == "weight on the weights" else 1)

    def surrogate(x, W):
        return (-lam * x) @ W + (X + lam * X) @ W

    X = rng.normal(size=(n, d))
    return lambda x, W: (x @ W, (x, W)), backward, (X, rng.normal(size=(d, m))), {"surrogate": surrogate}


@meant("a target that is detached", "target moves", "no two")
def detached(rng, bug):
    n, d = sizes(rng, 2)
    X, Y, w0 = rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.normal(size=d)

    def forward(w):
        r = X @ w - 0.9 * Y @ w
        return (r**2).sum(), r

    def backward(dout, r):
        inner = X - 0.9 * Y if bug == "target moves" else X
        return (1 if bug == "no two" else 2) * dout * inner.T @ r

    return forward, backward, (w0,), {"surrogate": lambda w: ((X @ w - 0.9 * Y @ w0) ** 2).sum()}


@meant("hard choice, soft gradient", "no mean", "temperature left out")
def gumbel(rng, bug):
    n, m = sizes(rng, 2)

    def forward(x):
        p = softmaxed(x / 0.7)
        return (p == p.max(1, keepdims=True)).astype(float), p

    def backward(dout, p):
        mean = (p * dout).sum(1, keepdims=True) * (bug != "no mean")
        return p * (dout - mean) / (1 if bug == "temperature left out" else 0.7)

    return forward, backward, (rng.normal(size=(n, m)),), {"surrogate": lambda x: softmaxed(x / 0.7)}


@meant("identity behind a clamp", "masked by the clamp", "twice where it is clamped")
def clamp(rng, bug):
    def backward(dout, x):
        inside = abs(x) < 0.5
        return dout * {"masked by the clamp": inside, "twice where it is clamped": 2 - inside}.get(bug, 1.0)

    x = np.linspace(-2, 2, sizes(rng, 1, 5, 9)[0]) + rng.normal() / 20
    return lambda x: (np.clip(x, -0.5, 0.5), x), backward, (x,), {"surrogate": lambda x: x}


@meant("quantised weights with a learned step", "step's gradient of the rounding only", "step not summed")
def quantised(rng, bug):
    n = sizes(rng, 1, 4, 9)[0]
    w0, s0 = rng.normal(size=n), np.asarray(rng.uniform(0.2, 0.5))
    rest = np.round(w0 / s0) - w0 / s0

    def backward(dout, cache):
        w, s = cache
        r = np.round(w / s)
        inner = r if bug.startswith("step's") else r - w / s
        ds = dout[0] * inner[0] if bug == "step not summed" else dout @ inner
        return dout.copy(), np.asarray(ds)

    settings = {"surrogate": lambda w, s: s * (w / s + rest)}
    return lambda w, s: (s * np.round(w / s), (w, s)), backward, (w0, s0), settings


@meant("gradient on a sphere", "not projected", "projected twice", "on the radius")
def sphere(rng, bug):
    n = sizes(rng, 1, 3)[0]
    A, x = rng.normal(size=(n, n)), rng.normal(size=n)
    x = x / np.linalg.norm(x)

    def backward(dout, x):
        g = (A + A.T) @ x * dout
        along = (x @ g) * x
        return {"not projected": g, "projected twice": g - 2 * along, "on the radius": along}.get(bug, g - along)

    return lambda x: (x @ A @ x, x), backward, (x,), {"projection": lambda g: g - (x @ g) * x}


@meant("symmetric gradient", "one triangle", "doubled off the diagonal", "not symmetrised")
def symmetric(rng, bug):
    n = sizes(rng, 1, 3)[0]
    a, b = rng.normal(size=(2, n))
    S = np.eye(n) * 3

    def backward(dout, cache):
        G = np.outer(a, b) * dout * np.ones((n, n)) + 2 * dout * cache
        H = (G + G.T) / 2
        if bug == "doubled off the diagonal":
            return 2 * H - np.diag(np.diag(H))
        return {"one triangle": np.tril(H), "not symmetrised": G}.get(bug, H)

    return lambda S: (a @ S @ b + (S**2).sum(), S), backward, (S,), {"projection": lambda G: (G + G.T) / 2}


@meant("tangent of a simplex", "not centred", "weighted mean", "last entry closes the sum")
def simplex(rng, bug):
    p = softmaxed(rng.normal(size=sizes(rng, 1, 3)[0]))

    def backward(dout, p):
        g = dout * (np.log(p) + 1)
        if bug == "last entry closes the sum":
            return np.append(g[:-1], -g[:-1].sum())
        return g - {"not centred": 0, "weighted mean": (p * g).sum()}.get(bug, g.mean())

    return lambda p: ((p * np.log(p)).sum(), p), backward, (p,), {"projection": lambda g: g - g.mean()}


@meant("tangent of matrices of low rank", "left factor only", "both counted twice")
def low_rank(rng, bug):
    n, m = sizes(rng, 2, 4)
    U, V = np.linalg.qr(rng.normal(size=(n, 2)))[0], np.linalg.qr(rng.normal(size=(m, 2)))[0]
    X, Y = (U * [2, 1]) @ V.T, rng.normal(size=(n, m))

    def projection(G):
        return U @ U.T @ G + G @ V @ V.T - U @ U.T @ G @ V @ V.T

    def backward(dout, X):
        G = 2 * (X - Y) * dout
        both = U @ U.T @ G @ V @ V.T
        return {"left factor only": U @ U.T @ G, "both counted twice": projection(G) + both}.get(bug, projection(G))

    return lambda X: (((X - Y) ** 2).sum(), X), backward, (X,), {"projection": projection}


@meant("orthogonal columns, one of two arguments", "skew part", "transposed product", "the other one too")
def stiefel(rng, bug):
    n = sizes(rng, 1, 4)[0]
    Q, b = np.linalg.qr(rng.normal(size=(n, 2)))[0], rng.normal(size=2)
    A = rng.normal(size=(n, n))

    def projection(G):
        S = Q.T @ G
        return G - Q @ (S + S.T) / 2

    def backward(dout, cache):
        Q, b = cache
        y = A @ Q @ b
        G = 2 * dout * np.outer(A.T @ y, b)
        S = Q.T @ G
        wrong = {"skew part": G - Q @ (S - S.T) / 2, "transposed product": G - Q @ S.T}
        db = 2 * dout * (A @ Q).T @ y
        return wrong.get(bug, projection(G)), db - b * (b @ db) * (bug == "the other one too")

    settings = {"projection": {"Q": projection}}
    return lambda Q, b: (((A @ Q @ b) ** 2).sum(), (Q, b)), backward, (Q, b), settings


@meant("gradient of a band matrix", "one band less", "transposed")
def banded(rng, bug):
    n = sizes(rng, 1, 4, 8)[0]
    mask = abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 1
    x = rng.normal(size=n)

    def backward(dout, x):
        G = np.outer(dout, x)
        return (G.T if bug == "transposed" else G) * (np.tril(mask) if bug == "one band less" else mask)

    W = rng.normal(size=(n, n)) * mask
    return lambda W: (W @ x, x), backward, (W,), {"projection": lambda G: G * mask}


@meant("a threshold that learns by a sigmoid", "steepness left out", "sign of the threshold")
def threshold(rng, bug):
    def forward(x, t):
        return (x > t).astype(float), (x, t)

    def backward(dout, cache):
        s = sigmoid(4 * (cache[0] - cache[1]))
        slope = dout * s * (1 - s) * (1 if bug == "steepness left out" else 4)
        return slope, (slope if bug == "sign of the threshold" else -slope).sum(0)

    n, m = sizes(rng, 2)
    settings = {"surrogate": lambda x, t: sigmoid(4 * (x - t))}
    return forward, backward, (rng.normal(size=(n, m)), rng.normal(size=m)), settings
