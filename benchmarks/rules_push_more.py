"""More pushforwards: over time, transforms, several outputs, dicts, integers, scalars, float32."""

from __future__ import annotations

import numpy as np

from benchmarks.rules_push import positive, push, sizes


@push("cumulative sum", "from the end", "exclusive")
def cumsum(rng, bug):
    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        out = np.cumsum(t[:, ::-1], 1)[:, ::-1] if bug == "from the end" else np.cumsum(t, 1)
        return np.cumsum(x, 1), out - t if bug == "exclusive" else out

    return lambda x: np.cumsum(x, 1), jvp, (rng.normal(size=sizes(rng, 2)),)


@push("cumulative product", "of the tangent", "off by one")
def cumprod(rng, bug):
    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        y, share = np.cumprod(x), t / x
        total = np.cumsum(share) - (share if bug == "off by one" else 0)
        return y, np.cumprod(t) if bug == "of the tangent" else y * total

    return np.cumprod, jvp, (rng.uniform(0.5, 2, sizes(rng, 1, 3)[0]),)


@push("power spectrum", "no conjugate", "no two", "one frequency less")
def spectrum(rng, bug):
    n, m = sizes(rng, 2, 4, 9)

    def f(x):
        return abs(np.fft.rfft(x)) ** 2

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        F, G = np.fft.rfft(x), np.fft.rfft(t)
        out = (1 if bug == "no two" else 2) * ((F if bug == "no conjugate" else F.conj()) * G).real
        out[:, -1] *= bug != "one frequency less"
        return f(x), out

    return f, jvp, (rng.normal(size=(n, m)),)


@push("fft of a complex signal", "inverse transform", "wrong axis", "conjugated")
def fft(rng, bug):
    n, m = sizes(rng, 2, 3)

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        out = np.fft.ifft(t, axis=0) if bug == "inverse transform" else np.fft.fft(t, axis=int(bug == "wrong axis"))
        return np.fft.fft(x, axis=0), out.conj() if bug == "conjugated" else out

    return lambda x: np.fft.fft(x, axis=0), jvp, (rng.normal(size=(n, m)) + 1j * rng.normal(size=(n, m)),)


@push("recurrent network", "last step left out", "no path through time", "state of the step before")
def rnn(rng, bug):
    time, n, d, k = sizes(rng, 4)

    def f(x, h, W, U, b):
        hs = []
        for step in x:
            h = np.tanh(step @ W + h @ U + b)
            hs.append(h)
        return np.stack(hs)

    def jvp(primals, tangents):
        (x, h, W, U, b), (xt, ht, Wt, Ut, bt) = primals, tangents
        hs, out = f(x, h, W, U, b), []
        for i in range(len(x) - (bug == "last step left out")):
            at = xt[i] @ W + x[i] @ Wt + ht @ U * (bug != "no path through time") + h @ Ut + bt
            ht = (1 - (h if bug == "state of the step before" else hs[i]) ** 2) * at
            h = hs[i]
            out.append(ht)
        return hs, np.stack(out + [0 * ht] * (bug == "last step left out"))

    shapes = ((time, n, d), (n, k), (d, k), (k, k), (k,))
    return f, jvp, tuple(rng.normal(size=shape) / 2 for shape in shapes)


@push("convolution", "kernel not flipped", "kernel does not move")
def conv(rng, bug):
    n, k = int(rng.integers(6, 12)), int(rng.integers(2, 5))

    def jvp(primals, tangents):
        (x, w), (xt, wt) = primals, tangents
        out = np.convolve(xt, w[::-1] if bug == "kernel not flipped" else w, "valid")
        return np.convolve(x, w, "valid"), out + np.convolve(x, wt, "valid") * (bug != "kernel does not move")

    return lambda x, w: np.convolve(x, w, "valid"), jvp, (rng.normal(size=n), rng.normal(size=k))


@push("mean and variance", "no two", "swapped outputs", "sum for mean")
def moments(rng, bug):
    n, m = sizes(rng, 2)

    def f(x):
        return x.mean(0), x.var(0)

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        mean = t.sum(0) if bug == "sum for mean" else t.mean(0)
        var = (1 if bug == "no two" else 2) * ((x - x.mean(0)) * t).mean(0)
        return f(x), (var, mean) if bug == "swapped outputs" else (mean, var)

    return f, jvp, (rng.normal(size=(n, m)),)


@push("parameters in a dict", "a layer without its mask", "bias of the wrong layer")
def network(rng, bug):
    n, d, h = sizes(rng, 3)

    def f(params, x):
        z = x @ params["W1"] + params["b1"]
        return {"out": np.tanh(z) @ params["W2"], "hidden": z}

    def jvp(primals, tangents):
        (params, x), (moved, xt) = primals, tangents
        z = x @ params["W1"] + params["b1"]
        zt = xt @ params["W1"] + x @ moved["W1"] + (params if bug == "bias of the wrong layer" else moved)["b1"]
        at = zt if bug == "a layer without its mask" else zt / np.cosh(z) ** 2
        return f(params, x), {"out": at @ params["W2"] + np.tanh(z) @ moved["W2"], "hidden": zt}

    shapes = {"W1": (d, h), "b1": (h,), "W2": (h, 2)}
    return f, jvp, ({name: rng.normal(size=shape) for name, shape in shapes.items()}, rng.normal(size=(n, d)))


@push("power with an integer", "the exponent itself", "no factor")
def power(rng, bug):
    def jvp(primals, tangents):
        (x, k), (t, _) = primals, tangents
        return x**k, (1 if bug == "no factor" else k) * x ** (k if bug == "the exponent itself" else k - 1) * t

    return lambda x, k: x**k, jvp, (rng.uniform(0.5, 2, sizes(rng, 2)), int(rng.integers(2, 5)))


@push("rows gathered by index", "the first rows", "scattered")
def gather(rng, bug):
    n, m = sizes(rng, 2, 4)
    index = np.concatenate([rng.permutation(np.arange(1, n)), [1, 1]])

    def jvp(primals, tangents):
        (x, index), (t, _) = primals, tangents
        where = {"the first rows": np.arange(len(index)) % n, "scattered": n - 1 - index}.get(bug, index)
        return x[index], t[where]

    return lambda x, index: x[index], jvp, (rng.normal(size=(n, m)), index)


@push("two numbers", "one term", "sine for cosine")
def numbers(rng, bug):
    def jvp(primals, tangents):
        (a, b), (at, bt) = primals, tangents
        slope = np.sin(b) if bug == "sine for cosine" else np.cos(b)
        return a * np.sin(b), at * np.sin(b) + a * slope * bt * (bug != "one term")

    return lambda a, b: a * np.sin(b), jvp, (float(rng.normal()), float(rng.normal())), {"wrt": ("a", "b")}


@push("gelu in float32", "no density", "a coefficient", "float64 returned for float32")
def gelu(rng, bug):
    c, k = np.float32(np.sqrt(2 / np.pi)), np.float32(0.044715)

    def f(x):
        return x * (1 + np.tanh(c * (x + k * x**3))) / 2

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        u = np.tanh(c * (x + k * x**3))
        inner = (1 - u**2) * c * (1 + (1 if bug == "a coefficient" else 3) * k * x**2) * (bug != "no density")
        out = ((1 + u) / 2 + x * inner / 2) * t
        return f(x), out.astype(np.float64) if bug.startswith("float64") else out

    return f, jvp, (rng.normal(size=sizes(rng, 2)).astype(np.float32),)


@push("squared distances of pairs", "one of the points", "no two")
def distances(rng, bug):
    n, m, d = sizes(rng, 3)

    def f(x, y):
        return ((x[:, None] - y) ** 2).sum(-1)

    def jvp(primals, tangents):
        (x, y), (xt, yt) = primals, tangents
        moved = xt[:, None] - yt * (bug != "one of the points")
        return f(x, y), (1 if bug == "no two" else 2) * ((x[:, None] - y) * moved).sum(-1)

    return f, jvp, (rng.normal(size=(n, d)), rng.normal(size=(m, d)))


@push("attention", "queries only", "softmax as identity", "not scaled")
def attention(rng, bug):
    n, m, d = sizes(rng, 3)

    def weights(q, k):
        s = q @ k.T / np.sqrt(d)
        e = np.exp(s - s.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def jvp(primals, tangents):
        (q, k, v), (qt, kt, vt) = primals, tangents
        p = weights(q, k)
        st = (qt @ k.T + q @ kt.T * (bug != "queries only")) / (1 if bug == "not scaled" else np.sqrt(d))
        pt = st if bug == "softmax as identity" else p * (st - (p * st).sum(1, keepdims=True))
        return p @ v, pt @ v + p @ vt

    shapes = ((n, d), (m, d), (m, d + 1))
    return lambda q, k, v: weights(q, k) @ v, jvp, tuple(rng.normal(size=shape) for shape in shapes)


@push("Kepler's equation by Newton", "eccentricity does not move", "sign of the sine")
def kepler(rng, bug):
    def f(M, e):
        E = M + e
        for _ in range(50):
            E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
        return E

    def jvp(primals, tangents):
        (M, e), (Mt, et) = primals, tangents
        E = f(M, e)
        extra = np.sin(E) * et * {"eccentricity does not move": 0, "sign of the sine": -1}.get(bug, 1)
        return E, (Mt + extra) / (1 - e * np.cos(E))

    n = sizes(rng, 1)[0]
    return f, jvp, (rng.uniform(0.3, 2.8, n), rng.uniform(0.05, 0.6, n))


@push("Euler steps of a pendulum", "one step less", "updated angle in the slope")
def pendulum(rng, bug):
    def f(s, h, steps):
        for _ in range(steps):
            s = s + h * np.array([s[1], -np.sin(s[0])])
        return s

    def jvp(primals, tangents):
        (s, h, steps), (st, ht, _) = primals, tangents
        for _ in range(steps - (bug == "one step less")):
            new = s + h * np.array([s[1], -np.sin(s[0])])
            angle = new[0] if bug == "updated angle in the slope" else s[0]
            st = st + ht * (new - s) / h + h * np.array([st[1], -np.cos(angle) * st[0]])
            s = new
        return f(*primals), st

    return f, jvp, (rng.normal(size=2), np.array(0.1), int(rng.integers(2, 8)))


@push("quadratic form", "matrix taken for symmetric", "no transpose")
def quadratic(rng, bug):
    n = sizes(rng, 1)[0]

    def jvp(primals, tangents):
        (x, A), (t, At) = primals, tangents
        slope = {"matrix taken for symmetric": 2 * A @ x, "no transpose": A @ x}.get(bug, A @ x + A.T @ x)
        return x @ A @ x, slope @ t + x @ At @ x

    return lambda x, A: x @ A @ x, jvp, (rng.normal(size=n), rng.normal(size=(n, n)))


@push("batch normalisation, arguments by name", "no variance path", "running mean")
def batchnorm(rng, bug):
    n, d = sizes(rng, 2, 3)

    def f(x, scale, eps):
        return scale * (x - x.mean(0)) / np.sqrt(x.var(0) + eps)

    def jvp(primals, tangents):
        (x, scale, eps), (xt, st, _) = primals, tangents
        r = 1 / np.sqrt(x.var(0) + eps)
        xc, ct = x - x.mean(0), xt - xt.mean(0) * (bug != "running mean")
        rt = -(r**3) * (xc * xt).mean(0) * (bug != "no variance path")
        return f(x, scale, eps), scale * (ct * r + xc * rt) + st * xc * r

    return f, jvp, {"x": rng.normal(size=(n, d)), "scale": rng.normal(size=d), "eps": 1e-3}


@push("sums of segments", "counted once", "averaged")
def segments(rng, bug):
    n = int(rng.integers(6, 12))

    def f(x, ids):
        out = np.zeros(4)
        np.add.at(out, ids, x**2)
        return out

    def jvp(primals, tangents):
        (x, ids), (t, _) = primals, tangents
        out = np.zeros(4)
        if bug == "counted once":
            out[ids] = 2 * x * t
        else:
            np.add.at(out, ids, 2 * x * t)
        return f(x, ids), out / (np.maximum(np.bincount(ids, minlength=4), 1) if bug == "averaged" else 1)

    return f, jvp, (rng.normal(size=n), np.concatenate([np.arange(4), rng.integers(0, 4, n - 4)]))


@push("Huber loss", "quadratic everywhere", "no threshold", "nonlinear in the tangent")
def huber(rng, bug):
    def f(x, y):
        r = abs(x - y)
        return np.where(r < 1, r**2 / 2, r - 0.5).mean()

    def jvp(primals, tangents):
        (x, y), (xt, yt) = primals, tangents
        r = x - y
        slope = {"quadratic everywhere": r, "no threshold": np.sign(r)}.get(bug, np.clip(r, -1, 1))
        extra = 0.01 * (xt**2).mean() if bug == "nonlinear in the tangent" else 0
        return f(x, y), (slope * (xt - yt)).mean() + extra

    n = sizes(rng, 1, 8, 12)[0]
    return f, jvp, (np.linspace(-3, 3, n) + 0.1 * rng.normal(size=n), 0.1 * rng.normal(size=n))


@push("Gaussian log density", "no determinant", "precision for covariance", "no half")
def gaussian(rng, bug):
    n = sizes(rng, 1)[0]

    def f(x, S):
        return -(x @ np.linalg.solve(S, x) + np.linalg.slogdet(S)[1]) / 2

    def jvp(primals, tangents):
        (x, S), (t, T) = primals, tangents
        a = np.linalg.solve(S, x)
        inner = a @ T @ a * (2 if bug == "no half" else 1)
        trace = np.trace(T @ S if bug == "precision for covariance" else np.linalg.solve(S, T))
        return f(x, S), -a @ t + (inner - trace * (bug != "no determinant")) / 2

    return f, jvp, (rng.normal(size=n), positive(rng, n))


@push("a tuple inside a tuple", "one leaf", "product without the other")
def nested(rng, bug):
    n = sizes(rng, 1)[0]

    def f(pair, scale):
        (a, b), c = pair
        return {"sum": a + scale * c, "parts": (a * b, [np.sin(c)])}

    def jvp(primals, tangents):
        (pair, scale), (moved, _) = primals, tangents
        ((a, b), c), ((at, bt), ct) = pair, moved
        product = at * b + a * bt * (bug != "product without the other")
        return f(pair, scale), {
            "sum": at + scale * ct * (bug != "one leaf"),
            "parts": (product, [np.cos(c) * ct]),
        }

    a, b, c = rng.normal(size=(3, n))
    return f, jvp, (((a, b), c), 3)
