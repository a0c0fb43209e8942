"""Functions with exact derivatives for calibration.py: at the edges of domains, and where digits run out.

Points lie at distances of 1e-1 to 1e-15 from where the function ends, folds, jumps or cancels. Outside its domain a
function returns NaN, raises, or clips its argument, as people write it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from calibration_cases import Case

from gradcheck.arguments import Arguments
from gradcheck.pairing import Pairing

Function = Callable[[np.ndarray], np.ndarray]


def _distance(rng: np.random.Generator, low: float = -15.0, high: float = -1.0) -> float:
    return float(10.0 ** rng.uniform(low, high))


def _paired(
    rng: np.random.Generator, f: Function, x: np.ndarray, push: Callable[[np.ndarray], np.ndarray], m: int
) -> Case:
    """⟨y, f(x)⟩ for an f with m outputs, as a plain function of a vector or as a check pairs it."""
    y = rng.standard_normal(m)
    if rng.random() < 0.5:
        arguments = Arguments.of(f, (x,), None)
        function: Any = Pairing.at_point(lambda u: (f(u), None), arguments, y)
    else:
        function = lambda u: float(y @ f(u))  # noqa: E731  (a formula)
    return Case(function, lambda v: float(y @ push(v)), x, smooth=False)


def _elementwise(rng: np.random.Generator, x: np.ndarray, f: Function, df: Function, inside: Function) -> Case:
    """⟨y, f(x)⟩, or ⟨y, f(Q x)⟩ for an orthogonal Q, for an elementwise f with its domain, kept to as people do."""
    n = x.size
    manner = rng.choice(["nan", "raise"])
    if rng.random() < 0.3:
        Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
        x = Q.T @ x
        if not inside(Q @ x).all():
            x = x * (1 - 4e-16)
    else:
        Q = np.eye(n)
    if not inside(Q @ x).all():
        return _elementwise(rng, np.full(n, 0.5) if inside(np.full(n, 0.5)).all() else np.full(n, 2.0), f, df, inside)
    z = Q @ x

    def function(u: np.ndarray) -> np.ndarray:
        z = Q @ u
        if manner == "raise" and not inside(z).all():
            raise ValueError("outside the domain")
        with np.errstate(all="ignore"):
            return np.where(inside(z), f(z), np.nan)

    return _paired(rng, function, x, lambda v: df(z) * (Q @ v), n)


def _unit_interval(rng: np.random.Generator, f: Function, df: Function) -> Case:
    """Entries in (−1, 1), some of them near ±1."""
    n, near = int(rng.integers(1, 12)), int(rng.integers(1, 4))
    x = rng.uniform(-0.9, 0.9, n)
    x[:near] = rng.choice([-1, 1], len(x[:near])) * (1 - _distance(rng))
    return _elementwise(rng, x, f, df, lambda z: np.abs(z) < 1)


def _half_line(
    rng: np.random.Generator, f: Function, df: Function, edge: float = 0.0, low: float = -15.0, spread: float = 1.0
) -> Case:
    """Entries above ``edge``, some of them just above."""
    n, near = int(rng.integers(1, 12)), int(rng.integers(1, 4))
    x = edge + spread * np.exp(rng.standard_normal(n))
    x[:near] = edge + _distance(rng, low)
    return _elementwise(rng, x, f, df, lambda z: z > edge)


def _probabilities(rng: np.random.Generator) -> np.ndarray:
    n = int(rng.integers(2, 12))
    p = rng.random(n)
    p[: rng.integers(1, n)] *= _distance(rng)
    return p / p.sum()


def _entropy(rng: np.random.Generator) -> Case:
    """−Σ p log p of a distribution with entries down to 1e-15; outside it raises."""
    p = _probabilities(rng)

    def f(u: np.ndarray) -> np.ndarray:
        if np.any(u <= 0):
            raise ValueError("probabilities must be positive")
        return -u * np.log(u)

    return _paired(rng, f, p, lambda v: -(np.log(p) + 1) * v, p.size)


def _cross_entropy(rng: np.random.Generator) -> Case:
    """−t log p − (1 − t) log(1 − p) of probabilities 1e-15 to 1e-1 from the edges."""
    n = int(rng.integers(1, 12))
    t = (rng.random(n) < 0.5) * 1.0
    d = 10.0 ** rng.uniform(-15, -1, n)
    p = np.where(rng.random(n) < 0.5, d, 1 - d)

    def f(u: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return -np.where(t == 1, np.log(u), np.log1p(-u))

    return _paired(rng, f, p, lambda v: -np.where(t == 1, v / p, -v / (1 - p)), n)


def _tiny_beside_one(rng: np.random.Generator) -> Case:
    """x^a, log x or 1/x with one entry of 1e-30 to 1e-6 beside others of size 1."""
    a = rng.choice([0.5, 1 / 3, 1.5, -1.0])
    return _half_line(rng, lambda z: z**a, lambda z: a * z ** (a - 1), low=-30.0)


def _at_the_edge(rng: np.random.Generator) -> Case:
    """x^a or x² log x with an entry at 0 itself, beyond which there is nothing."""
    a = rng.choice([1.5, 2.0, 2.5, 1.25])
    n = int(rng.integers(1, 6))
    x = np.exp(rng.standard_normal(n))
    x[0] = 0.0

    def f(u: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.where(u >= 0, np.abs(u) ** a + 3 * u, np.nan)

    return _paired(rng, f, x, lambda v: (a * x ** (a - 1) + 3) * v, n)


def _clipped(rng: np.random.Generator) -> Case:
    """The arccos of an argument that is clipped to its domain, which hides the edge."""
    n = int(rng.integers(1, 12))
    x = rng.uniform(-0.9, 0.9, n)
    x[0] = rng.choice([-1, 1]) * (1 - _distance(rng))
    eps = rng.choice([0.0, 1e-7, 1e-12])
    clip = lambda u: np.clip(u, -1 + eps, 1 - eps)  # noqa: E731
    dx = np.where(np.abs(x) < 1 - eps, -1 / np.sqrt((1 - x) * (1 + x)), 0.0)
    return _paired(rng, lambda u: np.arccos(clip(u)), x, lambda v: dx * v, n)


def _sinc_slope(t: Any) -> Any:
    """The derivative of sin t / t, by the series where the formula cancels."""
    series = sum((-1) ** k * 2 * k / math.factorial(2 * k + 1) * t ** (2 * k - 1) for k in range(1, 9))
    return np.where(np.abs(t) < 1, series, (np.cos(t) - np.sin(t) / t) / t)


def _versine_slope(t: float) -> float:
    """The derivative of (1 − cos t) / t², by the series where the formula cancels."""
    series = sum((-1) ** k * 2 * k / math.factorial(2 * k + 2) * t ** (2 * k - 1) for k in range(1, 9))
    return series if abs(t) < 1 else math.sin(t) / t**2 - 2 * (1 - math.cos(t)) / t**3


def _rotation(rng: np.random.Generator) -> Case:
    """The factors sin t / t and (1 − cos t) / t² of the length t of a vector, where the second loses its digits."""
    w = rng.standard_normal(3)
    w *= 10.0 ** rng.uniform(-6, 0.5) / np.linalg.norm(w)
    t = np.linalg.norm(w)
    slopes = np.array([_sinc_slope(t), _versine_slope(t)])

    def f(u: np.ndarray) -> np.ndarray:
        t = np.sqrt(u @ u)
        return np.array([np.sin(t) / t, (1 - np.cos(t)) / t**2])

    return _paired(rng, f, w, lambda v: slopes * (w @ v / t), 2)


def _branch(rng: np.random.Generator) -> Case:
    """The same with a series below a threshold, near it."""
    threshold = 10.0 ** rng.uniform(-4, -1)
    n = int(rng.integers(1, 8))
    t = threshold * (1 + rng.choice([-1, 1]) * _distance(rng, -8, -0.1)) * np.ones(n)
    t[1:] = rng.uniform(0.5, 2, n - 1)
    small = t < threshold

    def f(u: np.ndarray) -> np.ndarray:
        return np.where(np.abs(u) < threshold, 1 - u**2 / 6 + u**4 / 120, np.sin(u) / u)

    slopes = np.where(small, -t / 3 + t**3 / 30, _sinc_slope(t))
    return _paired(rng, f, t, lambda v: slopes * v, n)


def _angle_of_a_trace(rng: np.random.Generator) -> Case:
    """arccos((tr R − 1) / 2) of a rotation by 1e-7 to 1."""
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    angle = 10.0 ** rng.uniform(-7, 0)
    K = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    R = np.eye(3) + np.sin(angle) * K + 2 * np.sin(angle / 2) ** 2 * K @ K

    def cosine(u: np.ndarray) -> float:
        return (u[0] + u[4] + u[8] - 1) / 2

    def f(u: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.array([np.arccos(cosine(u))])

    x = R.ravel()
    if not cosine(x) < 1:
        return _angle_of_a_trace(rng)
    slope = -1 / math.sqrt((1 - cosine(x)) * (1 + cosine(x)))
    return _paired(rng, f, x, lambda v: np.array([slope * (v[0] + v[4] + v[8]) / 2]), 1)


def _conditioned(rng: np.random.Generator) -> np.ndarray:
    n = int(rng.integers(2, 7))
    Q, R = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    return np.asarray(Q @ np.diag(np.logspace(0, -rng.uniform(0, 12), n)) @ R)


def _inverse(A: np.ndarray) -> np.ndarray:
    """A⁻¹ in extended precision, by Gauss and Jordan with pivots."""
    n = len(A)
    M = np.concatenate([A, np.eye(n)], axis=1).astype(np.longdouble)
    for i in range(n):
        pivot = i + int(np.argmax(np.abs(M[i:, i])))
        M[[i, pivot]] = M[[pivot, i]]
        M[i] /= M[i, i]
        rest = np.arange(n) != i
        M[rest] -= M[rest, i : i + 1] * M[i]
    return M[:, n:]


def _solve(rng: np.random.Generator) -> Case:
    """A⁻¹ b as a function of A and b, at condition numbers of 1e0 to 1e12."""
    A = _conditioned(rng)
    n = len(A)
    b = A @ rng.standard_normal(n) if rng.random() < 0.5 else rng.standard_normal(n)
    inverse = _inverse(A)
    solution = inverse @ b

    def f(u: np.ndarray) -> np.ndarray:
        return np.linalg.solve(u[: n * n].reshape(n, n), u[n * n :])

    def push(v: np.ndarray) -> np.ndarray:
        return np.asarray(inverse @ (v[n * n :] - v[: n * n].reshape(n, n) @ solution))

    return _paired(rng, f, np.concatenate([A.ravel(), b]), push, n)


def _inverse_matrix(rng: np.random.Generator) -> Case:
    A = _conditioned(rng)
    n = len(A)
    inverse = _inverse(A)
    return _paired(
        rng,
        lambda u: np.linalg.inv(u.reshape(n, n)).ravel(),
        A.ravel(),
        lambda v: -(inverse @ v.reshape(n, n) @ inverse).ravel(),
        n * n,
    )


def _log_determinant(rng: np.random.Generator) -> Case:
    A = _conditioned(rng)
    n = len(A)
    inverse = _inverse(A)
    return _paired(
        rng,
        lambda u: np.array([np.linalg.slogdet(u.reshape(n, n))[1]]),
        A.ravel(),
        lambda v: np.array([np.trace(inverse @ v.reshape(n, n))]),
        1,
    )


def _huge_or_minute(rng: np.random.Generator) -> Case:
    """A tanh with inputs and outputs at scales of 1e-290 to 1e290."""
    n = int(rng.integers(1, 12))
    in_scale, out_scale = 10.0 ** rng.uniform(-140, 140), 10.0 ** rng.uniform(-150, 150)
    if rng.random() < 0.3:
        in_scale, out_scale = 1.0, 10.0 ** rng.uniform(-290, 290)
    z = rng.standard_normal(n)
    case = _paired(
        rng,
        lambda u: out_scale * np.tanh(u / in_scale),
        in_scale * z,
        lambda v: out_scale * (1 / np.cosh(z) ** 2 * (v / in_scale)),
        n,
    )
    return case._replace(smooth=True)


def _near_kinks(rng: np.random.Generator) -> Case:
    """Units that fold at distances of 1e-1 to 1e-10, on either side, under some curvature or none."""
    n, near = int(rng.integers(2, 20)), int(rng.integers(1, 6))
    x = rng.standard_normal(n)
    x[:near] = rng.choice([-1, 1], len(x[:near])) * 10.0 ** rng.uniform(-10, -1, len(x[:near]))
    a, curvature = rng.choice([0.0, 0.01, -1.0]), rng.choice([0.0, 1e-3, 1.0])
    return _paired(
        rng,
        lambda u: np.where(u > 0, u, a * u) + curvature * np.sin(u),
        x,
        lambda v: (np.where(x > 0, 1.0, a) + curvature * np.cos(x)) * v,
        n,
    )


def _maximum(rng: np.random.Generator) -> Case:
    """The largest of some numbers of which two differ by little."""
    n = int(rng.integers(2, 12))
    x = rng.standard_normal(n)
    first, second = np.argsort(x)[:-3:-1]
    x[second] = x[first] - 10.0 ** rng.uniform(-10, -1)
    return _paired(rng, lambda u: np.array([np.sort(u)[-1]]), x, lambda v: v[[int(np.argmax(x))]], 1)


def _fixed_point(rng: np.random.Generator) -> Case:
    """The z of z = tanh(W z + x), iterated until it moves by less than a tolerance."""
    n = int(rng.integers(1, 6))
    W = rng.standard_normal((n, n))
    W *= rng.uniform(0.1, 0.8) / np.linalg.norm(W, 2)
    x, tolerance = rng.standard_normal(n), rng.choice([1e-4, 1e-6, 1e-10])

    def iterate(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z, dz = np.zeros(n), np.zeros(n)
        for _ in range(500):
            after = np.tanh(W @ z + u)
            dz = (1 - after**2) * (W @ dz + v)
            moved = np.max(np.abs(after - z))
            z = after
            if moved < tolerance:
                break
        return z, dz

    return _paired(rng, lambda u: iterate(u, 0 * u)[0], x, lambda v: iterate(x, v)[1], n)


def _newton(rng: np.random.Generator) -> Case:
    """Cube roots by Newton's method, stopped at a tolerance."""
    n = int(rng.integers(1, 6))
    x, tolerance = np.exp(rng.standard_normal(n)), rng.choice([1e-4, 1e-6, 1e-10])

    def iterate(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z, dz = np.ones(n), np.zeros(n)
        for _ in range(200):
            after, dz = (2 * z + u / z**2) / 3, (2 * dz + v / z**2 - 2 * u * dz / z**3) / 3
            moved = np.max(np.abs(after - z))
            z = after
            if moved < tolerance:
                break
        return z, dz

    return _paired(rng, lambda u: iterate(u, 0 * u)[0], x, lambda v: iterate(x, v)[1], n)


def _bisection(rng: np.random.Generator) -> Case:
    """The root of z³ + z = x by halving a bracket until it is short: constant but for jumps."""
    n = int(rng.integers(1, 6))
    x, tolerance = rng.standard_normal(n), rng.choice([1e-4, 1e-6, 1e-10])

    def root(u: np.ndarray, tolerance: float) -> np.ndarray:
        low, high = np.full(n, -4.0), np.full(n, 4.1)
        while np.max(high - low) > tolerance:
            middle = (low + high) / 2
            above = middle**3 + middle > u
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (low + high) / 2

    z = root(x, 1e-15)
    return _paired(rng, lambda u: root(u, tolerance), x, lambda v: v / (3 * z**2 + 1), n)


def _float32_layers(rng: np.random.Generator) -> Case:
    """A float32 network inside a float64 shell."""
    n, m = (int(k) for k in rng.integers(1, 33, 2))
    W = (rng.standard_normal((m, n)) / np.sqrt(n)).astype(np.float32)
    x = rng.standard_normal(n).astype(np.float32).astype(float)
    V = rng.standard_normal((3, m)).astype(np.float32)
    z = W.astype(float) @ x
    return _paired(
        rng,
        lambda u: (V @ np.tanh(W @ u.astype(np.float32))).astype(np.float64),
        x,
        lambda v: V.astype(float) @ ((W.astype(float) @ v) / np.cosh(z) ** 2),
        3,
    )


def _float16_cast(rng: np.random.Generator) -> Case:
    """An intermediate value kept in float16."""
    n = int(rng.integers(1, 20))
    x = rng.uniform(-1, 1, n)
    return _paired(
        rng, lambda u: np.sin(u).astype(np.float16).astype(np.float64) + u, x, lambda v: (np.cos(x) + 1) * v, n
    )


def _logit(rng: np.random.Generator) -> Case:
    """The logit of probabilities 1e-15 to 1e-1 from the edges."""
    d = 10.0 ** rng.uniform(-15, -1, int(rng.integers(1, 9)))
    p = np.where(rng.random(d.size) < 0.5, d, 1 - d)
    return _elementwise(
        rng, p, lambda z: np.log(z) - np.log1p(-z), lambda z: 1 / (z * (1 - z)), lambda z: (z > 0) & (z < 1)
    )


def _inside(f: Function, df: Function) -> Callable[[np.random.Generator], Case]:
    return lambda rng: _unit_interval(rng, f, df)


EDGES: dict[str, Callable[[np.random.Generator], Case]] = {
    "arccos": _inside(np.arccos, lambda z: -1 / np.sqrt((1 - z) * (1 + z))),
    "arcsin": _inside(np.arcsin, lambda z: 1 / np.sqrt((1 - z) * (1 + z))),
    "arctanh": _inside(np.arctanh, lambda z: 1 / ((1 - z) * (1 + z))),
    "root of 1 - x²": _inside(lambda z: np.sqrt(1 - z * z), lambda z: -z / np.sqrt((1 - z) * (1 + z))),
    "log1p": lambda r: _half_line(r, np.log1p, lambda z: 1 / (1 + z), edge=-1.0),
    "arccosh": lambda r: _half_line(r, np.arccosh, lambda z: 1 / np.sqrt((z - 1) * (z + 1)), edge=1.0),
    "logit": _logit,
    "log": lambda r: _half_line(r, np.log, lambda z: 1 / z),
    "entropy": _entropy,
    "cross-entropy": _cross_entropy,
    "tiny beside one": _tiny_beside_one,
    "at the edge": _at_the_edge,
    "clipped": _clipped,
    "rotation": _rotation,
    "branch": _branch,
    "angle of trace": _angle_of_a_trace,
    "solve": _solve,
    "inverse": _inverse_matrix,
    "log-determinant": _log_determinant,
    "huge or minute": _huge_or_minute,
    "near kinks": _near_kinks,
    "maximum": _maximum,
    "fixed point": _fixed_point,
    "newton": _newton,
    "bisection": _bisection,
    "float32 layers": _float32_layers,
    "float16 cast": _float16_cast,
}
