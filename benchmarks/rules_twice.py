"""Products with a Hessian, and backwards of backwards, that somebody wrote by hand."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.rules_case import case
from benchmarks.rules_push import positive, sizes
from benchmarks.rules_second import sigmoid, softmaxed

product_of = functools.partial(case, "product")
double_of = functools.partial(case, "double")


@product_of("logistic regression", "no ridge", "p for p (1 - p)")
def logistic(rng, bug):
    n, d = sizes(rng, 2, 3)
    X, y = rng.normal(size=(n, d)), rng.integers(0, 2, n)

    def product(w, v):
        p = sigmoid(X @ w)
        return X.T @ ((p if bug.startswith("p ") else p * (1 - p)) * (X @ v)) + 0.1 * v * (bug != "no ridge")

    return lambda w: X.T @ (sigmoid(X @ w) - y) + 0.1 * w, product, (rng.normal(size=d),)


@product_of("one hidden layer by the R-operator", "no curvature of tanh", "cotangent not differentiated", "sign")
def hidden(rng, bug):
    n, d, h = sizes(rng, 3)
    X, y, v2 = rng.normal(size=(n, d)), rng.normal(size=n), rng.normal(size=h)

    def gradient(W):
        a = np.tanh(X @ W)
        return X.T @ (((a @ v2 - y)[:, None] * v2) * (1 - a**2))

    def product(W, V):
        a = np.tanh(X @ W)
        at = (1 - a**2) * (X @ V)
        r, rt = a @ v2 - y, at @ v2 * (bug != "cotangent not differentiated")
        bend = -2 * a * at * r[:, None] * (bug != "no curvature of tanh")
        bend = -bend if bug == "sign" else bend
        return X.T @ (v2 * (rt[:, None] * (1 - a**2) + bend))

    return gradient, product, (rng.normal(size=(d, h)),)


@product_of("log of a determinant", "sign", "not transposed")
def logdet(rng, bug):
    n = sizes(rng, 1)[0]

    def product(A, V):
        B = np.linalg.inv(A)
        out = -(B @ V.T @ B) if bug == "not transposed" else -(B @ V @ B).T
        return -out if bug == "sign" else out

    return lambda A: np.linalg.inv(A).T, product, (positive(rng, n) + rng.normal(size=(n, n)) / 3,)


@product_of("chain of springs", "an end is free", "no cubic term", "stale positions")
def springs(rng, bug):
    n = sizes(rng, 1, 3, 8)[0]

    def force(u):
        return u + u**3

    def gradient(x):
        u = force(np.diff(x, prepend=0.0))
        return u - np.append(u[1:], 0)

    first = []

    def product(x, v):
        first.append(x.copy())
        u = np.diff(1.1 * first[0] if bug == "stale positions" else x, prepend=0.0)
        vt = np.diff(v, prepend=0.0 if bug != "an end is free" else v[0])
        w = (1 + 3 * u**2 * (bug != "no cubic term")) * vt
        return w - np.append(w[1:], 0)

    return gradient, product, (rng.normal(size=n),)


@product_of("Rayleigh quotient, matrix as an argument", "denominator does not move", "one half")
def rayleigh(rng, bug):
    n = sizes(rng, 1, 3)[0]

    def gradient(x, A):
        s = x @ x
        return 2 * (A @ x - (x @ A @ x / s) * x) / s

    def product(x, v, A):
        s, Ax = x @ x, A @ x
        q, g = x @ Ax / s, gradient(x, A)
        out = 2 * (A @ v - q * v - (g @ v) * x) / s
        out = out - 2 * (x @ v) / s * g * (bug != "denominator does not move")
        return out / 2 if bug == "one half" else out

    return gradient, product, (rng.normal(size=n), positive(rng, n)), {"wrt": 0}


@product_of("softmax regression", "no mean", "mean over the batch")
def softmax_regression(rng, bug):
    n, d, k = sizes(rng, 3)
    X, Y = rng.normal(size=(n, d)), np.eye(k)[rng.integers(0, k, n)]

    def product(W, V):
        p, z = softmaxed(X @ W), X @ V
        mean = (p * z).sum(0 if bug == "mean over the batch" else 1, keepdims=True)
        return X.T @ (p * (z - mean * (bug != "no mean"))) / n

    return lambda W: X.T @ (softmaxed(X @ W) - Y) / n, product, (rng.normal(size=(d, k)),)


@product_of("total variation, smoothed", "weight to the power one", "adjoint of the difference")
def variation(rng, bug):
    n = sizes(rng, 1, 4, 9)[0]

    def back(u):
        return -np.diff(u, prepend=0.0, append=0.0)

    def product(x, v):
        d = np.diff(x)
        w = np.diff(v) / (d**2 + 0.1) ** (0.5 if bug == "weight to the power one" else 1.5)
        w = w * (1 if bug.startswith("weight") else 0.1)
        return -back(w) if bug.startswith("adjoint") else back(w)

    return lambda x: back(np.diff(x) / np.sqrt(np.diff(x) ** 2 + 0.1)), product, (rng.normal(size=n),)


def doubled(name, *bugs):
    """Add a case whose maker returns forward, backward, double backward, arguments and the shape of the output."""

    def add(make):
        @double_of(name, *bugs)
        def made(rng, bug):
            forward, backward, double, args = make(rng, bug)
            return (forward, backward), double, (*args, rng.normal(size=np.shape(forward(*args)[0])))

        return made

    return add


@doubled("affine", "no path to the weights", "transposed", "cotangent's gradient")
def affine(rng, bug):
    n = sizes(rng, 1)[0]

    def double(dgrads, dout, cache):
        (gx, gW, gb), (x, W) = dgrads, cache
        dx = dout @ (gW if bug == "transposed" else gW.T)
        dW = gx.T @ dout * (bug != "no path to the weights")
        return dx, dW, np.zeros_like(gb), gx @ W + x @ gW + gb * (bug != "cotangent's gradient")

    def backward(dout, cache):
        x, W = cache
        return dout @ W.T, x.T @ dout, dout.sum(0)

    return lambda x, W, b: (x @ W + b, (x, W)), backward, double, (*rng.normal(size=(2, n, n)), rng.normal(size=n))


def unary(name, function, slope, curve, bugs):
    """Add the double backward of a function of single entries; ``curve`` knows the name of a mistake."""

    @doubled(name, *bugs, "cotangent left out of the curvature", "slope left out")
    def made(rng, bug):
        def double(g, dout, x):
            curved = g * curve(x, bug) * (1 if bug.startswith("cotangent") else dout)
            return curved, g * (1 if bug == "slope left out" else slope(x))

        return lambda x: (function(x), x), lambda dout, x: dout * slope(x), double, (rng.normal(size=sizes(rng, 2)),)


unary(
    "sigmoid",
    sigmoid,
    lambda x: sigmoid(x) * (1 - sigmoid(x)),
    lambda x, bug: sigmoid(x) * (1 - sigmoid(x)) * (1 - (1 if bug == "factor two" else 2) * sigmoid(x)),
    ("factor two",),
)
unary(
    "tanh",
    np.tanh,
    lambda x: 1 - np.tanh(x) ** 2,
    lambda x, bug: (2 if bug == "sign" else -2) * np.tanh(x) * (1 - np.tanh(x) ** (1 if bug == "no square" else 2)),
    ("sign", "no square"),
)
unary("cube", lambda x: x**3, lambda x: 3 * x**2, lambda x, bug: (3 if bug else 6) * x, ("no two",))
unary(
    "softplus",
    lambda x: np.log1p(np.exp(x)),
    sigmoid,
    lambda x, bug: sigmoid(x) * (1 - sigmoid(x)) ** (2 if bug == "squared" else 1),
    ("squared",),
)
unary(
    "squared relu",
    lambda x: np.maximum(x, 0) ** 2,
    lambda x: 2 * np.maximum(x, 0),
    lambda x, bug: 2.0 * (x > (-9 if bug == "no mask" else 0)),
    ("no mask",),
)


@doubled("product of two", "no cross term", "swapped")
def product(rng, bug):
    def double(dgrads, dout, cache):
        (ga, gb), (a, b) = dgrads, cache
        da, db = gb * dout * (bug != "no cross term"), ga * dout
        return (db, da, ga * b + gb * a) if bug == "swapped" else (da, db, ga * b + gb * a)

    def backward(dout, cache):
        return dout * cache[1], dout * cache[0]

    return lambda a, b: (a * b, (a, b)), backward, double, tuple(rng.normal(size=(2, *sizes(rng, 2))))


@doubled("softmax", "no second mean", "point for cotangent", "no derivative by the point")
def softmax(rng, bug):
    def forward(x):
        p = softmaxed(x)
        return p, p

    def backward(dout, p):
        return p * (dout - (p * dout).sum(-1, keepdims=True))

    def double(g, dout, p):
        def mean(a):
            return (p * a).sum(-1, keepdims=True)

        bar = (g - mean(g)) * dout - g * mean(dout) if bug != "point for cotangent" else (g - mean(g)) * p
        dx = p * (bar - mean(bar) * (bug != "no second mean"))
        return dx * (bug != "no derivative by the point"), p * (g - mean(g))

    return forward, backward, double, (rng.normal(size=sizes(rng, 2)),)


@doubled("euclidean norm of rows", "no radial part", "power of the radius")
def norm(rng, bug):
    def forward(x):
        r = np.sqrt((x**2).sum(1))
        return r, (x, r)

    def double(g, dout, cache):
        x, r = cache
        u = x / r[:, None]
        along = (g * u).sum(1)
        radial = u * along[:, None] * (bug != "no radial part")
        return (g - radial) * (dout / (r**2 if bug == "power of the radius" else r))[:, None], along

    def backward(dout, cache):
        return dout[:, None] * cache[0] / cache[1][:, None]

    return forward, backward, double, (rng.normal(size=sizes(rng, 2)),)
