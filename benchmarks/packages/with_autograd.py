"""The vjp rules of HIPS autograd for NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import autograd.numpy as anp
import autograd.scipy.special as asp
import autograd.scipy.stats as ast
import numpy as np
from autograd import make_vjp

from benchmarks.packages.case import Case


def of(name: str, f: Callable[..., Any], *args: Any) -> Case:
    """Return the case of a function that autograd differentiates, for all of its float arguments."""

    def forward(*given):
        return np.asarray(f(*given))[()], given

    def backward(dout, given):
        return tuple(np.asarray(make_vjp(f, i)(*given)[0](dout)) for i in range(len(given)))

    return Case(name, forward, backward, args)


UNARY = [
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "arctan",
    "arcsinh",
    "exp",
    "expm1",
    "exp2",
    "square",
    "sinc",
    "absolute",
    "reciprocal",
    "negative",
]
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "cbrt"]
UNIT = ["arcsin", "arccos", "arctanh"]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    n = rng.standard_normal
    edge = np.array([1e-10, 1e-5, 0.3, 1 - 1e-6, 1 - 1e-10])
    for name in UNARY + POSITIVE + UNIT:
        f = getattr(anp, name, None)
        if f is None:
            continue
        x = n(6) if name in UNARY else rng.uniform(0.05, 0.95, 6)
        yield of(f"numpy.{name}", f, x)
        if name not in UNARY:
            yield of(f"numpy.{name} near the edge", f, edge)
        if name in ("tanh", "arctan", "exp", "sinh"):
            yield of(f"numpy.{name} saturated", f, np.array([-19.0, -8.0, 0.2, 11.0]))
    A, B, v = n((3, 4)), n((4, 2)), n(4)
    S = n((4, 4)) + 4 * np.eye(4)
    rows: dict[str, tuple[Any, ...]] = {
        "add": (anp.add, A, v),
        "multiply": (anp.multiply, A, v),
        "divide": (anp.divide, A, 3 + np.abs(v)),
        "power": (anp.power, np.abs(A) + 0.2, v),
        "logaddexp": (anp.logaddexp, A, v),
        "arctan2": (anp.arctan2, A, v),
        "hypot": (lambda a, b: anp.sqrt(a**2 + b**2), A, v),
        "maximum": (anp.maximum, A, v),
        "fmin": (anp.fmin, A, v),
        "dot": (anp.dot, A, B),
        "matmul": (anp.matmul, A, B),
        "tensordot": (lambda a, b: anp.tensordot(a, b, 1), A, B),
        "einsum": (lambda a, b: anp.einsum("ij,jk->ki", a, b), A, B),
        "outer": (anp.outer, v, n(3)),
        "kron": (anp.kron, A, B),
        "sum": (lambda a: anp.sum(a, axis=0), A),
        "mean": (anp.mean, A),
        "var": (lambda a: anp.var(a, axis=1), A),
        "std": (lambda a: anp.std(a, axis=1), A),
        "prod": (lambda a: anp.prod(a, axis=0), A),
        "max": (lambda a: anp.max(a, axis=0), A),
        "min": (anp.min, A),
        "cumsum": (lambda a: anp.cumsum(a, axis=1), A),
        "sort": (anp.sort, v),
        "transpose": (anp.transpose, A),
        "reshape": (lambda a: anp.reshape(a, (2, 6)), A),
        "roll": (lambda a: anp.roll(a, 2, axis=1), A),
        "tile": (lambda a: anp.tile(a, (2, 3)), A),
        "repeat": (lambda a: anp.repeat(a, 3, axis=0), A),
        "pad": (lambda a: anp.pad(a, ((1, 0), (2, 1)), "constant"), A),
        "where": (lambda a, b: anp.where(a > 0, a, b), A, n((3, 4))),
        "clip": (lambda a: anp.clip(a, -0.5, 0.7), A),
        "concatenate": (lambda a, b: anp.concatenate((a, b), axis=0), A, n((2, 4))),
        "stack": (lambda a, b: anp.stack((a, b)), A, n((3, 4))),
        "diag": (anp.diag, v),
        "trace": (anp.trace, S),
        "tril": (anp.tril, S),
        "index": (lambda a: a[np.array([0, 0, 2])], A),
        "diff": (lambda a: anp.diff(a, axis=1), A),
        "gradient": (lambda a: anp.gradient(a, axis=1), A),
        "fft": (lambda a: anp.real(anp.fft.fft(a)), v),
        "abs fft": (lambda a: anp.abs(anp.fft.fft(a)) ** 2, v),
        "inv": (anp.linalg.inv, S),
        "det": (anp.linalg.det, S),
        "slogdet": (lambda a: anp.linalg.slogdet(a)[1], S),
        "solve": (anp.linalg.solve, S, v),
        "cholesky": (lambda a: anp.linalg.cholesky(a @ a.T + anp.eye(4)), S),
        "eigh": (lambda a: anp.linalg.eigh(a + a.T)[0], S),
        "eigh vectors": (lambda a: anp.linalg.eigh(a + a.T)[1] ** 2, S),
        "svd values": (lambda a: anp.linalg.svd(a, compute_uv=False), A),
        "svd": (lambda a: anp.linalg.svd(a, full_matrices=False)[0] ** 2, A),
        "pinv": (anp.linalg.pinv, A),
        "norm": (anp.linalg.norm, A),
        "norm nuc": (lambda a: anp.linalg.norm(a, "nuc"), A),
        "norm 3": (lambda a: anp.linalg.norm(a, 3), v),
        "inv of condition 1e6": (anp.linalg.inv, _conditioned(rng, 1e6)),
        "solve of condition 1e8": (anp.linalg.solve, _conditioned(rng, 1e8), n(4)),
        "slogdet of condition 1e8": (lambda a: anp.linalg.slogdet(a)[1], _conditioned(rng, 1e8)),
        "layer norm": (_layer_norm, n((5, 6)), n(6), n(6)),
        "batch norm": (_batch_norm, n((8, 3)), n(3), n(3)),
        "mlp": (_mlp, n((7, 4)), n((4, 5)), n(5), n((5, 3))),
        "attention": (_attention, n((5, 3)), n((5, 3)), n((5, 2))),
        "large mlp": (_mlp, n((64, 30)), n((30, 40)) / 5, n(40), n((40, 10))),
    }
    for name, (f, *args) in rows.items():
        yield of(f"numpy.{name}", f, *args)
    positive, unit = rng.uniform(0.3, 5, 5), rng.uniform(0.1, 0.9, 5)
    special: dict[str, tuple[Any, ...]] = {
        "gamma": (asp.gamma, positive),
        "gammaln": (asp.gammaln, positive),
        "digamma": (asp.digamma, positive),
        "psi": (asp.psi, positive),
        "rgamma": (asp.rgamma, positive),
        "polygamma": (lambda x: asp.polygamma(1, x), positive),
        "erf": (asp.erf, n(5)),
        "erfc": (asp.erfc, n(5)),
        "erfinv": (asp.erfinv, unit),
        "erfcinv": (asp.erfcinv, unit),
        "expit": (asp.expit, n(5)),
        "logit": (asp.logit, unit),
        "logit near the edge": (asp.logit, edge),
        "logsumexp": (asp.logsumexp, n((3, 4))),
        "logsumexp axis": (lambda x: asp.logsumexp(x, axis=1), 20 * n((3, 4))),
        "j0": (asp.j0, positive),
        "j1": (asp.j1, positive),
        "y0": (asp.y0, positive),
        "jn": (lambda x: asp.jn(2, x), positive),
        "i0": (asp.i0, positive),
        "i1": (asp.i1, positive),
        "iv": (lambda x: asp.iv(1.5, x), positive),
        "ive": (lambda x: asp.ive(1.5, x), positive),
        "beta": (asp.beta, positive, unit),
        "betaln": (asp.betaln, positive, unit),
        "multigammaln": (lambda x: asp.multigammaln(x, 2), 2 + positive),
        "gammainc x": (lambda x: asp.gammainc(2.5, x), positive),
        "gammaincc x": (lambda x: asp.gammaincc(2.5, x), positive),
        "betainc x": (lambda x: asp.betainc(2.0, 3.0, x), unit),
        "gammasgn": (lambda x: asp.gammasgn(x) * x, positive),
    }
    for name, (f, *args) in special.items():
        yield of(f"scipy.special.{name}", f, *args)
    S2 = S[:3, :3] @ S[:3, :3].T + np.eye(3)
    statistics: dict[str, tuple[Any, ...]] = {
        "norm.pdf": (ast.norm.pdf, n(5), n(5), positive),
        "norm.logpdf": (ast.norm.logpdf, n(5), n(5), positive),
        "norm.cdf": (ast.norm.cdf, n(5), n(5), positive),
        "norm.logcdf": (ast.norm.logcdf, n(5), n(5), positive),
        "norm.logcdf in the tail": (lambda x: ast.norm.logcdf(x), np.array([-30.0, -9.0, 0.4])),
        "norm.sf": (ast.norm.sf, n(5), n(5), positive),
        "norm.logsf": (ast.norm.logsf, n(5), n(5), positive),
        "t.logpdf": (ast.t.logpdf, n(5), positive, n(5), positive),
        "t.pdf": (ast.t.pdf, n(5), positive, n(5), positive),
        "t.cdf x": (lambda x: ast.t.cdf(x, 3.5), n(5)),
        "gamma.logpdf": (ast.gamma.logpdf, positive, positive[::-1].copy()),
        "gamma.cdf x": (lambda x: ast.gamma.cdf(x, 2.5), positive),
        "beta.logpdf": (ast.beta.logpdf, unit, positive, positive[::-1].copy()),
        "beta.pdf": (ast.beta.pdf, unit, positive, positive[::-1].copy()),
        "chi2.logpdf": (lambda x: ast.chi2.logpdf(x, 3.0), positive),
        "poisson.logpmf": (lambda mu: ast.poisson.logpmf(np.arange(5), mu), positive),
        "multivariate_normal.logpdf": (
            lambda x, m, S: ast.multivariate_normal.logpdf(x, m, S @ S.T + np.eye(3)),
            n((4, 3)),
            n(3),
            S2,
        ),
        "dirichlet.logpdf": (lambda a: ast.dirichlet.logpdf(np.array([0.2, 0.3, 0.5]), a), positive[:3]),
    }
    for name, (f, *args) in statistics.items():
        yield of(f"scipy.stats.{name}", f, *args)


def _conditioned(rng, condition):
    u, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    v, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    return u * np.geomspace(1, 1 / condition, 4) @ v


def _layer_norm(x, g, b):
    z = x - anp.mean(x, axis=1, keepdims=True)
    return g * z / anp.sqrt(anp.mean(z**2, axis=1, keepdims=True) + 1e-5) + b


def _batch_norm(x, g, b):
    z = x - anp.mean(x, axis=0)
    return g * z / anp.sqrt(anp.mean(z**2, axis=0) + 1e-5) + b


def _mlp(x, W, b, V):
    return anp.tanh(x @ W + b) @ V


def _attention(q, k, v):
    s = anp.exp(q @ k.T)
    return s / anp.sum(s, axis=1, keepdims=True) @ v
