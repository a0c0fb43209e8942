"""Hessians that somebody wrote by hand, whole and as diagonals: ``hessian(x, *rest)`` of ``gradient(x, *rest)``."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.rules_case import case
from benchmarks.rules_push import positive, sizes

hess = functools.partial(case, "hessian")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmaxed(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@hess("logistic regression", "no ridge", "p for p (1 - p)", "upper triangle only", "mean for sum")
def logistic(rng, bug):
    n, d = sizes(rng, 2, 3)
    X, y = rng.normal(size=(n, d)), rng.integers(0, 2, n)

    def gradient(w):
        return X.T @ (sigmoid(X @ w) - y) + 0.1 * w

    def hessian(w):
        p = sigmoid(X @ w)
        s = p if bug == "p for p (1 - p)" else p * (1 - p)
        H = X.T @ (s[:, None] * X) / (n if bug == "mean for sum" else 1) + 0.1 * np.eye(d) * (bug != "no ridge")
        return np.triu(H) if bug == "upper triangle only" else H

    return gradient, hessian, (rng.normal(size=d),)


@hess("Poisson regression", "residual for rate", "offset forgotten")
def poisson(rng, bug):
    n, d = sizes(rng, 2, 3)
    X, y, offset = rng.normal(size=(n, d)), rng.poisson(2, n), rng.normal(size=n)

    def hessian(w):
        rate = np.exp(X @ w + offset * (bug != "offset forgotten"))
        return (X.T * (rate - y if bug == "residual for rate" else rate)) @ X

    return lambda w: X.T @ (np.exp(X @ w + offset) - y), hessian, (rng.normal(size=d) / 2,)


@hess("Huber regression", "all residuals", "the outliers")
def huber(rng, bug):
    d = sizes(rng, 1)[0]
    X, y = rng.normal(size=(12, d)), np.linspace(-4, 4, 12)

    def hessian(w):
        r = abs(X @ w - y)
        inside = {"all residuals": r >= 0, "the outliers": r >= 1}.get(bug, r < 1)
        return X.T @ (inside[:, None] * X)

    return lambda w: X.T @ np.clip(X @ w - y, -1, 1), hessian, (rng.normal(size=d) / 10,)


@hess("quadratic form", "A itself", "no half")
def quadratic(rng, bug):
    n = sizes(rng, 1)[0]
    A = rng.normal(size=(n, n))

    def hessian(_):
        return A if bug == "A itself" else (A + A.T) / (1 if bug == "no half" else 2)

    return lambda x: (A + A.T) @ x / 2, hessian, (rng.normal(size=n),)


@hess(
    "Rosenbrock", "last entry of the diagonal", "lower triangle only", "sign off the diagonal", "no factor of x squared"
)
def rosenbrock(rng, bug):
    n = sizes(rng, 1, 3, 7)[0]

    def gradient(x):
        g = np.zeros_like(x)
        g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
        g[1:] += 200 * (x[1:] - x[:-1] ** 2)
        return g

    def hessian(x):
        off = -400 * x[:-1] * (-1 if bug == "sign off the diagonal" else 1)
        diagonal = np.zeros_like(x)
        square = 400 if bug == "no factor of x squared" else 1200
        diagonal[:-1] = square * x[:-1] ** 2 - 400 * x[1:] + 2
        diagonal[1:] += 200
        diagonal[-1] *= 2 if bug == "last entry of the diagonal" else 1
        return np.diag(diagonal) + np.diag(off, -1) + np.diag(off, 1) * (bug != "lower triangle only")

    return gradient, hessian, (rng.normal(size=n),)


@hess("Gaussian process log likelihood", "no second derivative of K", "no trace of a product", "sign of a trace")
def process(rng, bug):
    n = sizes(rng, 1, 4, 7)[0]
    x, y = np.sort(rng.normal(size=n)), rng.normal(size=n)
    d2 = (x[:, None] - x) ** 2

    def pieces(theta):
        length, noise = np.exp(theta)
        S = np.exp(-d2 / 2 / length**2)
        K = S + noise * np.eye(n)
        u = d2 / length**2
        zero = np.zeros((n, n))
        first = (S * u, noise * np.eye(n))
        second = ((S * (u**2 - 2 * u), zero), (zero, noise * np.eye(n)))
        inverse = np.linalg.inv(K)
        return inverse, inverse @ y, first, second

    def gradient(theta):
        inverse, a, first, _ = pieces(theta)
        return np.array([(-a @ D @ a + np.trace(inverse @ D)) / 2 for D in first])

    def hessian(theta):
        inverse, a, first, second = pieces(theta)
        H = np.zeros((2, 2))
        for i in range(2):
            for j in range(2):
                Di, Dj, Dij = first[i], first[j], second[i][j] * (bug != "no second derivative of K")
                trace = np.trace(inverse @ Di @ inverse @ Dj) * (bug != "no trace of a product")
                trace = -trace if bug == "sign of a trace" else trace
                H[i, j] = a @ Di @ inverse @ Dj @ a + (-a @ Dij @ a - trace + np.trace(inverse @ Dij)) / 2
        return H

    return gradient, hessian, (np.array([rng.normal() / 4, -1 + rng.normal() / 4]),)


@hess("multinomial regression", "blocks on the diagonal", "classes transposed")
def multinomial(rng, bug):
    n, d, k = sizes(rng, 3, 2, 4)
    X, Y = rng.normal(size=(n, d)), np.eye(k)[rng.integers(0, k, n)]

    def hessian(W):
        P = softmaxed(X @ W)
        inner = np.einsum("nk,kl->nkl", P, np.eye(k))
        inner = inner - (P[:, :, None] * P[:, None]) * (bug != "blocks on the diagonal")
        H = np.einsum("ni,nkl,nj->ikjl", X, inner, X)
        return H.transpose(1, 0, 2, 3).reshape(H.shape) if bug == "classes transposed" else H

    return lambda W: X.T @ (softmaxed(X @ W) - Y), hessian, (rng.normal(size=(d, k)),)


@hess("logsumexp", "no outer product", "sign of the outer product")
def logsumexp(rng, bug):
    def hessian(x):
        p = softmaxed(x)
        sign = {"no outer product": 0, "sign of the outer product": -1}.get(bug, 1)
        return np.diag(p) - sign * np.outer(p, p)

    return softmaxed, hessian, (rng.normal(size=sizes(rng, 1)[0]),)


@hess("least squares of an exponential", "Gauss-Newton", "one entry of the curvature")
def exponential(rng, bug):
    t = np.linspace(0, 1, sizes(rng, 1, 4, 9)[0])
    y = 1 + rng.normal(size=t.size)

    def gradient(theta):
        a, b = theta
        e = np.exp(b * t)
        r = a * e - y
        return np.array([e @ r, (a * t * e) @ r])

    def hessian(theta):
        a, b = theta
        e = np.exp(b * t)
        r = a * e - y
        J = np.stack([e, a * t * e])
        cross, square = (t * e) @ r, (a * t**2 * e) @ r * (bug != "one entry of the curvature")
        curvature = np.array([[0, cross], [cross, square]])
        return J @ J.T + curvature * (bug != "Gauss-Newton")

    return gradient, hessian, (rng.normal(size=2),)


@hess("Lennard-Jones pair energy", "no cross block", "radial part only")
def lennard(rng, bug):
    n = int(rng.integers(2, 4))
    x = (np.arange(n)[:, None] * np.array([1.2, 0.3, 0.1]) + 0.1 * rng.normal(size=(n, 3))).ravel()

    def pairs(x):
        points = x.reshape(n, 3)
        for i in range(n):
            for j in range(i):
                d = points[i] - points[j]
                r2 = d @ d
                yield i, j, d, r2, -6 / r2**7 + 3 / r2**4, 42 / r2**8 - 12 / r2**5

    def gradient(x):
        g = np.zeros((n, 3))
        for i, j, d, _, first, _ in pairs(x):
            g[i] += 2 * first * d
            g[j] -= 2 * first * d
        return g.ravel()

    def hessian(x):
        H = np.zeros((n, 3, n, 3))
        for i, j, d, _, first, second in pairs(x):
            block = 4 * second * np.outer(d, d) + 2 * first * np.eye(3) * (bug != "radial part only")
            H[i, :, i] += block
            H[j, :, j] += block
            H[i, :, j] -= block * (bug != "no cross block")
            H[j, :, i] -= block * (bug != "no cross block")
        return H.reshape(3 * n, 3 * n)

    return gradient, hessian, (x,)


def boosting(name, *bugs):
    """Add an objective of gradient boosting: its maker returns (draw of targets, gradient, hessian), elementwise."""

    def add(make):
        @hess(f"boosting, {name}", *bugs)
        def made(rng, bug):
            n = sizes(rng, 1, 4, 9)[0]
            y, gradient, hessian = make(rng, n, bug)
            return gradient, hessian, (rng.normal(size=n), y), {"wrt": 0}

        return made

    return add


@boosting("logistic loss", "the gradient's factor", "1 for the weight", "one half of it")
def boost_logistic(rng, n, bug):
    def hessian(s, _y):
        p = sigmoid(s)
        h = {"the gradient's factor": p, "1 for the weight": np.ones_like(p)}.get(bug, p * (1 - p))
        return h / 2 if bug == "one half of it" else h

    return rng.integers(0, 2, n).astype(float), lambda s, y: sigmoid(s) - y, hessian


@boosting("squared log error", "no gradient term", "no square")
def boost_sle(rng, n, bug):
    def inside(s):
        return np.exp(s) + 1

    def gradient(s, y):
        return (np.log(inside(s)) - np.log1p(y)) * np.exp(s) / inside(s)

    def hessian(s, y):
        q = np.exp(s) / inside(s)
        second = (np.log(inside(s)) - np.log1p(y)) * q * (1 - q) * (bug != "no gradient term")
        return (q if bug == "no square" else q**2) + second

    return rng.uniform(0, 3, n), gradient, hessian


@boosting("Poisson deviance", "with the safety factor of max_delta_step", "residual")
def boost_poisson(rng, n, bug):
    def hessian(s, y):
        if bug == "residual":
            return np.exp(s) - y
        return np.exp(s + (0.7 if bug else 0))

    return rng.poisson(2, n).astype(float), lambda s, y: np.exp(s) - y, hessian


@boosting("pseudo-Huber", "power of one half", "residual not squared")
def boost_huber(rng, n, bug):
    def hessian(s, y):
        z = s - y
        square = abs(z) if bug == "residual not squared" else z**2
        return (1 + square) ** (-0.5 if bug == "power of one half" else -1.5)

    return rng.normal(size=n), lambda s, y: (s - y) / np.sqrt(1 + (s - y) ** 2), hessian


@boosting("gamma deviance", "sign", "no target")
def boost_gamma(rng, n, bug):
    def hessian(s, y):
        return np.exp(-s) * (1 if bug == "no target" else y) * (-1 if bug == "sign" else 1)

    return rng.gamma(2, 1, n), lambda s, y: 1 - y * np.exp(-s), hessian


@boosting("Tweedie", "powers swapped", "sign of the first term")
def boost_tweedie(rng, n, bug):
    rho = 1.3

    def gradient(s, y):
        return -y * np.exp((1 - rho) * s) + np.exp((2 - rho) * s)

    def hessian(s, y):
        a, b = (2 - rho, 1 - rho) if bug == "powers swapped" else (1 - rho, 2 - rho)
        first = y * a * np.exp((1 - rho) * s)
        return (first if bug == "sign of the first term" else -first) + b * np.exp((2 - rho) * s)

    return rng.gamma(2, 1, n), gradient, hessian


@hess("log barrier", "not squared", "dense where it is sparse")
def barrier(rng, bug):
    n, m = sizes(rng, 2, 3)
    A = rng.normal(size=(m, n))
    b = abs(A).sum(1) + 1

    def hessian(x):
        s = b - A @ x
        return A.T @ np.diag(1 / s ** (1 if bug == "not squared" else 2)) @ (abs(A) if bug.startswith("dense") else A)

    return lambda x: A.T @ (1 / (b - A @ x)), hessian, (rng.uniform(-1, 1, n),)


@hess("trace of an inverse", "one term", "output transposed")
def trace_inverse(rng, bug):
    n = int(rng.integers(2, 4))

    def hessian(A):
        B = np.linalg.inv(A)
        square = B @ B
        H = np.einsum("jk,li->ijkl", B, square) + np.einsum("jk,li->ijkl", square, B) * (bug != "one term")
        return H.transpose(1, 0, 2, 3) if bug == "output transposed" else H

    return (
        lambda A: -(np.linalg.inv(A) @ np.linalg.inv(A)).T,
        hessian,
        (positive(rng, n) + rng.normal(size=(n, n)) / 4,),
    )
