"""Right forward and backward pairs for the fuzzer: what a user might write, each at a random point.

Every maker takes a random generator and returns (forward, backward, args). An exception that leaves one of these
functions is the user's own: the fuzzer tells it by this file's name in the traceback.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Parameters(NamedTuple):
    """Parameters of a layer."""

    W: Any
    b: Any


Maker = Callable[[np.random.Generator], tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]]


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _shape(rng: np.random.Generator, least: int = 1, most: int = 3) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(1, 5, size=int(rng.integers(least, most + 1))))


ELEMENTWISE = {
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "exp": (np.exp, np.exp),
    "square": (np.square, lambda x: 2 * x),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "softplus": (lambda x: np.logaddexp(0, x), _sigmoid),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "relu": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "abs": (np.abs, np.sign),
    "arctan": (np.arctan, lambda x: 1 / (1 + x * x)),
}


def elementwise(rng):
    f, df = ELEMENTWISE[str(rng.choice(list(ELEMENTWISE)))]

    def forward(x):
        return f(x), x

    def backward(dout, x):
        return dout * df(x)

    return forward, backward, (rng.standard_normal(_shape(rng, 0)),)


def product(rng):
    def forward(x, y):
        return x * y, (x, y)

    def backward(dout, cache):
        x, y = cache
        return dout * y, dout * x

    shape = _shape(rng)
    return forward, backward, (rng.standard_normal(shape), rng.standard_normal(shape))


def affine(rng):
    def forward(x, W, b):
        return x @ W + b, (x, W)

    def backward(dout, cache):
        x, W = cache
        return dout @ W.T, x.T @ dout, dout.sum(axis=0)

    n, d, m = (int(k) for k in rng.integers(1, 5, size=3))
    return forward, backward, (rng.standard_normal((n, d)), rng.standard_normal((d, m)), rng.standard_normal(m))


def two_layers(rng):
    def forward(x, W, V):
        h = np.tanh(x @ W)
        return h @ V, (x, W, V, h)

    def backward(dout, cache):
        x, W, V, h = cache
        dz = dout @ V.T * (1 - h * h)
        return dz @ W.T, x.T @ dz, h.T @ dout

    n, d, h, m = (int(k) for k in rng.integers(1, 5, size=4))
    return forward, backward, tuple(rng.standard_normal(s) for s in ((n, d), (d, h), (h, m)))


def mean_over_an_axis(rng):
    def forward(x, axis):
        return x.mean(axis=axis), (x.shape, axis)

    def backward(dout, cache):
        shape, axis = cache
        return np.broadcast_to(np.expand_dims(dout, axis), shape) / shape[axis], None

    shape = _shape(rng)
    return forward, backward, (rng.standard_normal(shape), int(rng.integers(len(shape))))


def half_squares(rng):
    def forward(x, t):
        return 0.5 * ((x - t) ** 2).sum(), x - t

    def backward(dloss, difference):
        return dloss * difference, -dloss * difference

    shape = _shape(rng)
    return forward, backward, (rng.standard_normal(shape), rng.standard_normal(shape))


def cross_entropy(rng):
    def forward(scores, labels):
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        return -np.log(p[rows, labels]).mean(), (p, labels)

    def backward(dloss, cache):
        p, labels = cache
        d = p.copy()
        d[np.arange(len(labels)), labels] -= 1
        return dloss * d / len(labels)

    n, k = int(rng.integers(1, 5)), int(rng.integers(2, 5))
    return forward, backward, (rng.standard_normal((n, k)), rng.integers(0, k, size=n))


def convolution(rng):
    def forward(x, w):
        out = np.zeros(len(x) - len(w) + 1, dtype=x.dtype)
        for i in range(len(out)):
            out[i] = (x[i : i + len(w)] * w).sum()
        return out, (x, w)

    def backward(dout, cache):
        x, w = cache
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i in range(len(dout)):
            dx[i : i + len(w)] += dout[i] * w
            dw += dout[i] * x[i : i + len(w)]
        return dx, dw

    k = int(rng.integers(1, 4))
    return forward, backward, (rng.standard_normal(k + int(rng.integers(0, 5))), rng.standard_normal(k))


def recurrence(rng):
    def forward(x, h, W):
        hs = [h]
        for t in range(len(x)):
            hs.append(np.tanh(x[t] + W @ hs[-1]))
        return np.stack(hs[1:]), (hs, W)

    def backward(dout, cache):
        hs, W = cache
        dx, dh, dW = np.zeros_like(dout), np.zeros_like(hs[0]), np.zeros_like(W)
        for t in reversed(range(len(dout))):
            dz = (dout[t] + dh) * (1 - hs[t + 1] ** 2)
            dx[t], dW, dh = dz, dW + np.outer(dz, hs[t]), W.T @ dz
        return dx, dh, dW

    steps, n = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    return forward, backward, (rng.standard_normal((steps, n)), rng.standard_normal(n), rng.standard_normal((n, n)))


def layer_norm(rng):
    def forward(x):
        s = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        y = (x - x.mean(axis=-1, keepdims=True)) / s
        return y, (y, s)

    def backward(dy, cache):
        y, s = cache
        return (dy - dy.mean(axis=-1, keepdims=True) - y * (dy * y).mean(axis=-1, keepdims=True)) / s

    return forward, backward, (rng.standard_normal((int(rng.integers(1, 4)), int(rng.integers(3, 6)))),)


def two_outputs(rng):
    def forward(x, y):
        return (x + y, np.sin(x) * y), (x, y)

    def backward(douts, cache):
        (da, db), (x, y) = douts, cache
        return da + db * np.cos(x) * y, da + db * np.sin(x)

    shape = _shape(rng)
    return forward, backward, (rng.standard_normal(shape), rng.standard_normal(shape))


def dict_of_parameters(rng):
    def forward(x, params):
        return x @ params["W"] + params["b"], (x, params)

    def backward(dout, cache):
        x, params = cache
        return dout @ params["W"].T, {"W": x.T @ dout, "b": dout.sum(axis=0)}

    n, d, m = (int(k) for k in rng.integers(1, 5, size=3))
    return forward, backward, (rng.standard_normal((n, d)), {"W": rng.standard_normal((d, m)), "b": np.ones(m)})


def named_parameters(rng):
    def forward(x, params):
        return x @ params.W + params.b, (x, params)

    def backward(dout, cache):
        x, params = cache
        return dout @ params.W.T, Parameters(x.T @ dout, dout.sum(axis=0))

    n, d, m = (int(k) for k in rng.integers(1, 5, size=3))
    return forward, backward, (rng.standard_normal((n, d)), Parameters(rng.standard_normal((d, m)), np.ones(m)))


def list_of_layers(rng):
    def forward(x, layers):
        xs = [x]
        for W, b in layers:
            xs.append(np.tanh(xs[-1] @ W + b))
        return xs[-1], (xs, layers)

    def backward(dout, cache):
        xs, layers = cache
        gradients = []
        for (W, _), x, y in zip(reversed(layers), reversed(xs[:-1]), reversed(xs[1:]), strict=True):
            dz = dout * (1 - y * y)
            gradients.insert(0, (x.T @ dz, dz.sum(axis=0)))
            dout = dz @ W.T
        return dout, gradients

    sizes = [int(k) for k in rng.integers(1, 4, size=int(rng.integers(2, 5)))]
    layers = [(rng.standard_normal((i, o)), rng.standard_normal(o)) for i, o in itertools.pairwise(sizes)]
    return forward, backward, (rng.standard_normal((int(rng.integers(1, 4)), sizes[0])), layers)


def linear_solve(rng):
    def forward(A, b):
        x = np.linalg.solve(A, b)
        return x, (A, x)

    def backward(dx, cache):
        A, x = cache
        db = np.linalg.solve(A.T, dx)
        return -np.outer(db, x), db

    n = int(rng.integers(1, 4))
    return forward, backward, (rng.standard_normal((n, n)) + 3 * np.eye(n), rng.standard_normal(n))


def scaled_by_a_number(rng):
    def forward(x, alpha, *, beta=1.0):
        return alpha * x**2 + beta, (x, alpha)

    def backward(dout, cache):
        x, alpha = cache
        return 2 * alpha * x * dout, (dout * x**2).sum()

    return forward, backward, (rng.standard_normal(_shape(rng)), np.float64(1.5))


def settings_in_a_dict(rng):
    def forward(x, settings):
        return settings["scale"] * np.sin(x), (x, settings)

    def backward(dout, cache):
        x, settings = cache
        return dout * settings["scale"] * np.cos(x)

    return forward, backward, (rng.standard_normal(_shape(rng)), {"scale": 2.0, "mode": "same"})


def any_number(rng):
    def forward(*xs):
        return sum(np.sin(x).sum() for x in xs), xs

    def backward(dout, xs):
        return tuple(dout * np.cos(x) for x in xs)

    return forward, backward, tuple(rng.standard_normal(_shape(rng)) for _ in range(int(rng.integers(1, 5))))


class Method:
    """A pair whose functions are methods, and whose cache the object keeps."""

    def forward(self, x):
        self.x = x
        return np.exp(-x * x), None

    def backward(self, dout, _cache):
        return -2 * self.x * np.exp(-self.x * self.x) * dout


def methods(rng):
    one = Method()
    return one.forward, one.backward, (rng.standard_normal(_shape(rng)),)


def partials(rng):
    def forward(scale, x):
        return scale * np.cos(x), (scale, x)

    def backward(sign, dout, cache):
        scale, x = cache
        return sign * scale * np.sin(x) * dout

    return functools.partial(forward, 3.0), functools.partial(backward, -1), (rng.standard_normal(_shape(rng)),)


def max_pool(rng):
    def forward(x):
        return x.max(axis=1), (x.argmax(axis=1), x.shape)

    def backward(dout, cache):
        where, shape = cache
        dx = np.zeros(shape)
        dx[np.arange(len(where)), where] = dout
        return dx

    x = rng.standard_normal((int(rng.integers(1, 4)), int(rng.integers(2, 5))))
    return forward, backward, (np.round(x) if rng.random() < 0.3 else x,)


def embedding(rng):
    def forward(table, rows):
        return table[rows], (table.shape, rows)

    def backward(dout, cache):
        shape, rows = cache
        d = np.zeros(shape)
        np.add.at(d, rows, dout)
        return d, None

    return forward, backward, (rng.standard_normal((4, 2)), rng.integers(0, 4, size=int(rng.integers(1, 5))))


PAIRS: tuple[Maker, ...] = (
    *(elementwise, elementwise, elementwise, product, affine, affine, two_layers, mean_over_an_axis, half_squares),
    *(cross_entropy, convolution, recurrence, layer_norm, two_outputs, dict_of_parameters, named_parameters),
    *(list_of_layers, linear_solve, scaled_by_a_number, settings_in_a_dict, any_number, methods, partials),
    *(max_pool, embedding),
)
SCALAR: tuple[Maker, ...] = (half_squares, cross_entropy, any_number)
