"""Pushforwards that somebody wrote by hand: ``rule(primals, tangents) -> (out, tangent of out)``."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.rules_case import case

push = functools.partial(case, "pushforward")


def sizes(rng, count, low=2, high=6):
    return tuple(int(size) for size in rng.integers(low, high + 1, count))


def positive(rng, n):
    a = rng.normal(size=(n, n))
    return a @ a.T + n * np.eye(n)


@push("sine times exponential", "one term", "sign", "float32")
def elementwise(rng, bug):
    n, m = sizes(rng, 2)

    def f(x, y):
        return np.sin(x) * np.exp(y)

    def jvp(primals, tangents):
        (x, y), (xt, yt) = primals, tangents
        first = np.cos(x) * xt * np.exp(y) * (-1 if bug == "sign" else 1)
        out = first + (bug != "one term") * f(x, y) * yt
        return f(x, y), out.astype(np.float32) if bug == "float32" else out

    return f, jvp, (rng.normal(size=(n, m)), rng.normal(size=m))


@push("affine", "weights do not move", "bias twice")
def affine(rng, bug):
    n, d, m = sizes(rng, 3)

    def f(x, W, b):
        return x @ W + b

    def jvp(primals, tangents):
        (x, W, b), (xt, Wt, bt) = primals, tangents
        moved = x @ Wt if bug != "weights do not move" else 0
        return f(x, W, b), xt @ W + moved + bt * (2 if bug == "bias twice" else 1)

    return f, jvp, (rng.normal(size=(n, d)), rng.normal(size=(d, m)), rng.normal(size=m))


@push("chain of three products", "no middle term", "transposed")
def products(rng, bug):
    n = sizes(rng, 1)[0]

    def jvp(primals, tangents):
        (A, B, C), (At, Bt, Ct) = primals, tangents
        middle = A @ (Bt.T if bug == "transposed" else Bt) @ C * (bug != "no middle term")
        return A @ B @ C, At @ B @ C + middle + A @ B @ Ct

    return lambda A, B, C: A @ B @ C, jvp, tuple(rng.normal(size=(3, n, n)))


@push("softmax", "no mean", "wrong axis", "stale point")
def softmax(rng, bug):
    def f(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        p = f(x if bug != "stale point" else x * 1.01)
        axis = 0 if bug == "wrong axis" else -1
        return f(x), p * (t - (bug != "no mean") * (p * t).sum(axis, keepdims=True))

    return f, jvp, (rng.normal(size=sizes(rng, 2)),)


@push("logsumexp", "not normalised", "mean of the tangent")
def logsumexp(rng, bug):
    def f(x):
        m = x.max(1)
        return m + np.log(np.exp(x - m[:, None]).sum(1))

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        e = np.exp(x - f(x)[:, None]) if bug != "not normalised" else np.exp(x - x.max(1, keepdims=True))
        return f(x), t.mean(1) if bug == "mean of the tangent" else (e * t).sum(1)

    return f, jvp, (rng.normal(size=sizes(rng, 2)),)


@push("layer normalisation", "no variance path", "no mean path", "divides by n - 1")
def layernorm(rng, bug):
    n, d = sizes(rng, 2, 3)

    def f(x, g, b):
        xc = x - x.mean(1, keepdims=True)
        return xc / np.sqrt((xc**2).mean(1, keepdims=True) + 1e-5) * g + b

    def jvp(primals, tangents):
        (x, g, b), (xt, gt, bt) = primals, tangents
        xc = x - x.mean(1, keepdims=True)
        r = 1 / np.sqrt((xc**2).mean(1, keepdims=True) + 1e-5)
        ct = xt - (bug != "no mean path") * xt.mean(1, keepdims=True)
        scale = d - 1 if bug == "divides by n - 1" else d
        rt = -(r**3) * (xc * ct).sum(1, keepdims=True) / scale * (bug != "no variance path")
        return f(x, g, b), (ct * r + xc * rt) * g + xc * r * gt + bt

    return f, jvp, (rng.normal(size=(n, d)), rng.normal(size=d), rng.normal(size=d))


@push("norms of rows", "not divided", "factor two")
def norms(rng, bug):
    def f(x):
        return np.sqrt((x**2).sum(1))

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        out = (x * t).sum(1) * (2 if bug == "factor two" else 1)
        return f(x), out / (1 if bug == "not divided" else f(x))

    return f, jvp, (rng.normal(size=sizes(rng, 2)),)


@push("a unit vector", "not projected", "projected twice the radius")
def unit(rng, bug):
    def f(x):
        return x / np.linalg.norm(x)

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        u, r = f(x), np.linalg.norm(x)
        back = u * (u @ t) * {"not projected": 0, "projected twice the radius": 2}.get(bug, 1)
        return u, (t - back) / r

    return f, jvp, (rng.normal(size=sizes(rng, 1)),)


@push("cholesky", "diagonal not halved", "lower triangle of the tangent", "not symmetrised")
def cholesky(rng, bug):
    def f(A):
        return np.linalg.cholesky((A + A.T) / 2)

    def jvp(primals, tangents):
        (A,), (T,) = primals, tangents
        L = f(A)
        S = {"lower triangle of the tangent": np.tril(T), "not symmetrised": T}.get(bug, (T + T.T) / 2)
        inner = np.tril(np.linalg.solve(L, np.linalg.solve(L, S.T).T))
        inner = inner - (bug != "diagonal not halved") * np.diag(np.diag(inner)) / 2
        return L, L @ inner

    return f, jvp, (positive(rng, sizes(rng, 1)[0]),)


@push("inverse", "sign", "transposed", "one inverse")
def inverse(rng, bug):
    def jvp(primals, tangents):
        (A,), (T,) = primals, tangents
        B = np.linalg.inv(A)
        out = -B @ (T.T if bug == "transposed" else T) @ (np.eye(len(A)) if bug == "one inverse" else B)
        return B, -out if bug == "sign" else out

    return np.linalg.inv, jvp, (positive(rng, sizes(rng, 1)[0]) + rng.normal(),)


@push("determinant", "no determinant", "transposed inverse", "only the diagonal")
def determinant(rng, bug):
    n = sizes(rng, 1)[0]

    def jvp(primals, tangents):
        (A,), (T,) = primals, tangents
        d, B = np.linalg.det(A), np.linalg.inv(A)
        if bug == "only the diagonal":
            return d, d * (np.diag(B) * np.diag(T)).sum()
        return d, (1 if bug == "no determinant" else d) * np.trace((B.T if bug == "transposed inverse" else B) @ T)

    return np.linalg.det, jvp, (rng.normal(size=(n, n)) + 2 * np.eye(n),)


@push("log of a determinant", "sign", "elementwise product without the transpose")
def logdet(rng, bug):
    n = sizes(rng, 1)[0]

    def jvp(primals, tangents):
        (A,), (T,) = primals, tangents
        B = np.linalg.inv(A)
        out = (B * T).sum() if bug == "elementwise product without the transpose" else (B.T * T).sum()
        return np.linalg.slogdet(A)[1], -out if bug == "sign" else out

    return lambda A: np.linalg.slogdet(A)[1], jvp, (rng.normal(size=(n, n)) + 3 * np.eye(n),)


@push("eigenvalues of a symmetric matrix", "rows for columns", "only the diagonal of the tangent")
def eigenvalues(rng, bug):
    def f(A):
        return np.linalg.eigvalsh((A + A.T) / 2)

    def jvp(primals, tangents):
        (A,), (T,) = primals, tangents
        w, V = np.linalg.eigh((A + A.T) / 2)
        V = V.T if bug == "rows for columns" else V
        T = np.diag(np.diag(T)) if bug == "only the diagonal of the tangent" else T
        return w, np.einsum("ik,ij,jk->k", V, T, V)

    return f, jvp, (np.diag(np.arange(1.0, 1 + sizes(rng, 1, 3)[0]) ** 1.5) + 0.1 * rng.normal(),)


@push("projector on the lowest eigenvector", "one side", "sign of the gap")
def projector(rng, bug):
    n = sizes(rng, 1, 3)[0]

    def f(A):
        v = np.linalg.eigh((A + A.T) / 2)[1][:, 0]
        return np.outer(v, v)

    def jvp(primals, tangents):
        (A,), (T,) = primals, tangents
        w, V = np.linalg.eigh((A + A.T) / 2)
        gap = (w[0] - w[1:]) * (-1 if bug == "sign of the gap" else 1)
        vt = V[:, 1:] @ ((V[:, 1:].T @ ((T + T.T) / 2) @ V[:, 0]) / gap)
        out = np.outer(vt, V[:, 0])
        return f(A), out + out.T * (bug != "one side")

    return f, jvp, (np.diag(np.arange(1.0, n + 1)) * 2 + 0.3 * rng.normal(size=(n, n)),)


@push("solve", "sign", "matrix does not move", "stale solution")
def solve(rng, bug):
    n, m = sizes(rng, 2)

    def jvp(primals, tangents):
        (A, b), (At, bt) = primals, tangents
        x = np.linalg.solve(A, b)
        inner = At @ (b if bug == "stale solution" else x) * (bug != "matrix does not move")
        return x, np.linalg.solve(A, bt + inner if bug == "sign" else bt - inner)

    return np.linalg.solve, jvp, (positive(rng, n), rng.normal(size=(n, m)))


@push("interpolation", "values only", "the interval to the left", "knots do not move")
def interpolation(rng, bug):
    n, m = sizes(rng, 2, 4, 9)
    knots = np.arange(n) + rng.uniform(-0.3, 0.3, n)

    def f(q, x, y):
        return np.interp(q, x, y)

    def jvp(primals, tangents):
        (q, x, y), (qt, xt, yt) = primals, tangents
        i = np.searchsorted(x, q) - 1
        j = np.maximum(i - 1, 0) if bug == "the interval to the left" else i
        h = x[j + 1] - x[j]
        slope, s = (y[j + 1] - y[j]) / h, (q - x[j]) / h
        out = (1 - s) * yt[j] + s * yt[j + 1]
        if bug != "values only":
            out = out + slope * qt
            out = out - slope * ((1 - s) * xt[j] + s * xt[j + 1]) * (bug != "knots do not move")
        return f(q, x, y), out

    return f, jvp, (rng.uniform(0.5, n - 1.5, m), knots, rng.normal(size=n))


@push("sort", "not sorted", "inverse permutation")
def sort(rng, bug):
    n, m = sizes(rng, 2, 4, 8)

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        order = np.argsort(x, 0)
        order = np.argsort(order, 0) if bug == "inverse permutation" else order
        return np.sort(x, 0), t if bug == "not sorted" else np.take_along_axis(t, order, 0)

    return lambda x: np.sort(x, 0), jvp, (rng.normal(size=(n, m)),)


@push("maximum along an axis", "of the tangent", "argmin")
def maximum(rng, bug):
    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        i = (x.argmin(1) if bug == "argmin" else x.argmax(1))[:, None]
        return x.max(1), t.max(1) if bug == "of the tangent" else np.take_along_axis(t, i, 1)[:, 0]

    return lambda x: x.max(1), jvp, (rng.normal(size=sizes(rng, 2)),)


@push("relu", "no mask", "mask of the tangent")
def relu(rng, bug):
    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        mask = {"no mask": np.ones_like(x), "mask of the tangent": t > 0}.get(bug, x > 0)
        return np.maximum(x, 0), t * mask

    return lambda x: np.maximum(x, 0), jvp, (rng.normal(size=sizes(rng, 2, 3)),)


def relu_at_zero(rng, bug, slope):
    x = rng.normal(size=sizes(rng, 2, 3))
    x[0] = 0

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        s = {"twice at zero": 2.0, "minus one at zero": -1.0}.get(bug, slope)
        return np.maximum(x, 0), t * np.where(x == 0, s, x > 0)

    return lambda x: np.maximum(x, 0), jvp, (x,)


for each in (0.0, 0.5, 1.0):
    push(f"relu at zero, slope {each}", "twice at zero", "minus one at zero", tie=True)(
        functools.partial(relu_at_zero, slope=each)
    )


@push("maximum at ties, split", "counted twice", "none of them", tie=True)
def ties(rng, bug):
    x = rng.normal(size=sizes(rng, 2, 3))
    x[:, 0] = x[:, 1] = 4.0

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        mask = x == x.max(1, keepdims=True)
        share = 1 if bug == "counted twice" else mask.sum(1)
        return x.max(1), (mask * t).sum(1) / share * (bug != "none of them")

    return lambda x: x.max(1), jvp, (x,)


@push("absolute value at zero", "two at zero", "no sign", tie=True)
def absolute(rng, bug):
    x = rng.normal(size=sizes(rng, 1, 4))
    x[1] = 0

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        return abs(x), t * np.where(
            x == 0, 2.0 if bug == "two at zero" else 0.0, 1.0 if bug == "no sign" else np.sign(x)
        )

    return abs, jvp, (x,)
