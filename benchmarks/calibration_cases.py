"""Functions with exact derivatives for calibration.py: smooth ones, kinks, noise, structure, float32, plain sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A function of a vector, its exact directional derivative, the point, and whether it is smooth in float64."""

    f: Callable[[np.ndarray], Any]
    derivative: Callable[[np.ndarray], float]
    x: np.ndarray
    smooth: bool = True


def _layer(rng: np.random.Generator, f: Callable, df: Callable, *, smooth: bool = True, spread: float = 1.0) -> Case:
    """⟨y, f(W x)⟩ for an elementwise f, with values and gradients at scales from 1e-12 to 1e12."""
    n, m = (int(k) for k in rng.integers(1, 40, 2))
    W, y = rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m)
    in_scale, out_scale = (10.0 ** rng.uniform(-12, 12) if rng.random() < 0.3 else 1.0 for _ in range(2))
    x = spread * rng.standard_normal(n)
    z = W @ x

    def function(u: np.ndarray) -> float:
        return out_scale * float(y @ f(W @ (u / in_scale)))

    def derivative(v: np.ndarray) -> float:
        return out_scale * float(y @ (df(z) * (W @ (v / in_scale))))

    return Case(function, derivative, x * in_scale, smooth)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def _near_kink(rng: np.random.Generator) -> Case:
    """Σ y max(z, 0) with one entry of z at a distance of 1e-1 to 1e-6 from the kink."""
    n = int(rng.integers(1, 40))
    x, y = rng.standard_normal(n), rng.standard_normal(n)
    x[0] = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-6, -1)
    return Case(lambda u: float(y @ np.maximum(u, 0)), lambda v: float(y @ ((x > 0) * v)), x, smooth=False)


def _cancelling(rng: np.random.Generator) -> Case:
    """(c + g(x)) − c: the digits of a large constant are lost before the output is formed."""
    c = 10.0 ** rng.uniform(0, 10)
    return _layer(rng, lambda z: (c + np.tanh(z)) - c, lambda z: 1 / np.cosh(z) ** 2, smooth=False)


def _offset(rng: np.random.Generator) -> Case:
    c = 10.0 ** rng.uniform(0, 10)
    return _layer(rng, lambda z: c + np.tanh(z), lambda z: 1 / np.cosh(z) ** 2, smooth=False)


def _noisy(rng: np.random.Generator) -> Case:
    """Noise added on purpose, a fresh draw each call."""
    level, noise = 10.0 ** rng.uniform(-10, -3), np.random.default_rng(rng.integers(2**32))
    return _layer(
        rng, lambda z: np.tanh(z) + level * noise.standard_normal(z.shape), lambda z: 1 / np.cosh(z) ** 2, smooth=False
    )


def _oscillating(rng: np.random.Generator) -> Case:
    w = 10.0 ** rng.uniform(0, 4)
    return _layer(rng, lambda z: np.sin(w * z), lambda z: w * np.cos(w * z), smooth=False)


def _float32(rng: np.random.Generator) -> Case:
    return _layer(
        rng, lambda z: np.tanh(z.astype(np.float32)).astype(float), lambda z: 1 / np.cosh(z) ** 2, smooth=False
    )


def _float32_input(rng: np.random.Generator) -> Case:
    """The forward rounds its argument to float32, whatever it is given."""
    n = int(rng.integers(1, 40))
    x, y = rng.standard_normal(n).astype(np.float32).astype(float), rng.standard_normal(n)
    return Case(
        lambda u: float(y @ np.sin(u.astype(np.float32))), lambda v: float(y @ (np.cos(x) * v)), x, smooth=False
    )


def _softmax_loss(rng: np.random.Generator) -> Case:
    """The mean cross-entropy of a softmax, saturated or not."""
    n, k = (int(i) for i in rng.integers(2, 12, 2))
    x, t = 10.0 ** rng.uniform(-2, 1.3) * rng.standard_normal((n, k)), rng.integers(k, size=n)

    def f(u: np.ndarray) -> float:
        z = u.reshape(n, k) - u.reshape(n, k).max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(n), t]))

    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    g = p.copy()
    g[np.arange(n), t] = -(p.sum(axis=1) - p[np.arange(n), t])
    others = p.copy()
    others[np.arange(n), t] = 0.0
    g[np.arange(n), t] = -others.sum(axis=1)
    return Case(f, lambda v: float((g.ravel() / n) @ v), x.ravel(), smooth=False)


def _norm(rng: np.random.Generator) -> Case:
    x = rng.standard_normal(int(rng.integers(1, 40)))
    return Case(lambda u: float(np.sqrt(u @ u)), lambda v: float(x @ v / np.sqrt(x @ x)), x)


def _quadratic_at_minimum(rng: np.random.Generator) -> Case:
    """A zero derivative: the minimum of a quadratic."""
    x = rng.standard_normal(int(rng.integers(1, 40)))
    return Case(lambda u: float((u - x) @ (u - x)), lambda _v: 0.0, x, smooth=False)


def _even(rng: np.random.Generator) -> Case:
    """Σ y cos(k u) at u = 0: all odd derivatives vanish."""
    n = int(rng.integers(1, 40))
    y, k = rng.standard_normal(n), rng.uniform(0.1, 10, n)
    return Case(lambda u: float(y @ np.cos(k * u)), lambda _v: 0.0, np.zeros(n), smooth=False)


def _ill_conditioned(rng: np.random.Generator) -> Case:
    """⟨y, A⁻¹ x⟩ with a condition number of 1e0 to 1e10."""
    n = int(rng.integers(2, 12))
    Q, R = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    A = Q @ np.diag(np.logspace(0, -rng.uniform(0, 10), n)) @ R
    x, y = rng.standard_normal(n), rng.standard_normal(n)
    row = np.linalg.solve(A.T, y)
    return Case(lambda u: float(row @ np.tanh(u)), lambda v: float(row @ (v / np.cosh(x) ** 2)), x)


PLAIN: dict[str, Callable[[np.random.Generator], Case]] = {
    "tanh": lambda r: _layer(r, np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": lambda r: _layer(r, _sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "exp": lambda r: _layer(r, np.exp, np.exp),
    "square": lambda r: _layer(r, np.square, lambda z: 2 * z),
    "cube": lambda r: _layer(r, lambda z: z**3, lambda z: 3 * z**2),
    "linear": lambda r: _layer(r, lambda z: 3 * z, lambda z: 3 + 0 * z),
    "softplus": lambda r: _layer(r, lambda z: np.logaddexp(z, 0), _sigmoid),
    "logarithm": lambda r: _layer(r, lambda z: np.log(z * z + 1e-3), lambda z: 2 * z / (z * z + 1e-3)),
    "lorentzian": lambda r: _layer(r, lambda z: 1 / (1 + 100 * z * z), lambda z: -200 * z / (1 + 100 * z * z) ** 2),
    "saturated": lambda r: _layer(
        r, lambda z: np.tanh(20 * z), lambda z: 20 / np.cosh(np.clip(20 * z, -300, 300)) ** 2, smooth=False
    ),
    "relu": lambda r: _layer(r, lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0, smooth=False),
    "abs": lambda r: _layer(r, np.abs, np.sign, smooth=False),
    "constant": lambda r: _layer(r, lambda z: 0 * z + 1, lambda z: 0 * z, smooth=False),
    "near kink": _near_kink,
    "cancelling": _cancelling,
    "offset": _offset,
    "noisy": _noisy,
    "oscillating": _oscillating,
    "float32 inside": _float32,
    "float32 input": _float32_input,
    "softmax loss": _softmax_loss,
    "norm": _norm,
    "at a minimum": _quadratic_at_minimum,
    "even": _even,
    "ill-conditioned": _ill_conditioned,
}
