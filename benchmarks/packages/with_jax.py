"""JAX's derivative rules: custom_jvp functions of jax.nn, jax.numpy, jax.scipy, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np

from benchmarks.packages.case import Case


def of(name: str, f: Callable[..., Any], *args: Any) -> Case:
    """Return the case of a function of JAX, for all of its arguments; compiled once."""
    with jax.enable_x64(True):
        value = jax.jit(f)
        pull = jax.jit(lambda given, dout: jax.vjp(f, *given)[1](dout))

    def forward(*given):
        with jax.enable_x64(True):
            return np.array(value(*given))[()], given

    def backward(dout, given):
        with jax.enable_x64(True):
            return tuple(np.array(g) for g in pull(tuple(given), jnp.asarray(dout)))

    return Case(name, forward, backward, args)


NN = [
    "relu",
    "relu6",
    "sigmoid",
    "softplus",
    "soft_sign",
    "silu",
    "log_sigmoid",
    "elu",
    "celu",
    "selu",
    "gelu",
    "glu",
    "leaky_relu",
    "hard_tanh",
    "hard_sigmoid",
    "hard_swish",
    "squareplus",
    "mish",
]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    n = rng.standard_normal
    for name in NN:
        yield of(f"nn.{name}", getattr(jax.nn, name), 2 * n((3, 4)))
    for name in ("softplus", "gelu", "silu", "log_sigmoid"):
        yield of(f"nn.{name} saturated", getattr(jax.nn, name), np.array([-60.0, -20.0, 0.3, 25.0]))
    A, v = n((3, 4)), n(4)
    S = n((4, 4)) + 4 * np.eye(4)
    positive, unit, edge = (
        rng.uniform(0.3, 4, 5),
        rng.uniform(0.1, 0.9, 5),
        np.array([1e-9, 1e-5, 0.3, 1 - 1e-6, 1 - 1e-9]),
    )
    rows: dict[str, tuple[Any, ...]] = {
        "nn.softmax": (jax.nn.softmax, A),
        "nn.log_softmax": (jax.nn.log_softmax, 20 * A),
        "nn.logsumexp": (jax.nn.logsumexp, A),
        "nn.standardize": (jax.nn.standardize, A),
        "nn.logmeanexp": (lambda a: jsp.special.logsumexp(a, axis=1), 30 * A),
        "nn.dot_product_attention": (
            lambda q, k, v: jax.nn.dot_product_attention(q, k, v),
            n((1, 4, 2, 3)),
            n((1, 4, 2, 3)),
            n((1, 4, 2, 3)),
        ),
        "numpy.logaddexp": (jnp.logaddexp, A, v),
        "numpy.sinc": (jnp.sinc, A),
        "numpy.arctan2": (jnp.arctan2, A, v),
        "numpy.power": (jnp.power, np.abs(A) + 0.2, v),
        "numpy.hypot": (jnp.hypot, A, v),
        "numpy.arccos": (jnp.arccos, edge),
        "numpy.arctanh": (jnp.arctanh, edge),
        "numpy.log1p": (jnp.log1p, -edge),
        "numpy.cumprod": (lambda a: jnp.cumprod(a, axis=1), A),
        "numpy.linalg.inv": (jnp.linalg.inv, S),
        "numpy.linalg.det": (jnp.linalg.det, S),
        "numpy.linalg.slogdet": (lambda a: jnp.linalg.slogdet(a)[1], S),
        "numpy.linalg.solve": (jnp.linalg.solve, S, v),
        "numpy.linalg.cholesky": (lambda a: jnp.linalg.cholesky(a @ a.T + jnp.eye(4)), S),
        "numpy.linalg.eigh": (lambda a: jnp.linalg.eigh(a + a.T)[0], S),
        "numpy.linalg.svd": (lambda a: jnp.linalg.svd(a, compute_uv=False), A),
        "numpy.linalg.norm": (jnp.linalg.norm, A),
        "scipy.linalg.expm": (jsp.linalg.expm, S / 4),
        "scipy.gammaln": (jsp.special.gammaln, positive),
        "scipy.digamma": (jsp.special.digamma, positive),
        "scipy.erf": (jsp.special.erf, n(5)),
        "scipy.erfinv": (jsp.special.erfinv, unit),
        "scipy.ndtri": (jsp.special.ndtri, unit),
        "scipy.log_ndtr": (jsp.special.log_ndtr, np.array([-20.0, -5.0, 0.3, 3.0])),
        "scipy.logit": (jsp.special.logit, edge),
        "scipy.xlogy": (jsp.special.xlogy, positive, unit[::-1].copy()),
        "scipy.entr": (jsp.special.entr, unit),
        "scipy.i0e": (jsp.special.i0e, n(5)),
        "scipy.i1": (jsp.special.i1, n(5)),
        "scipy.betaln": (jsp.special.betaln, positive, unit),
        "scipy.gammainc": (jsp.special.gammainc, positive, 0.5 + unit),
        "scipy.betainc x": (lambda x: jsp.special.betainc(2.0, 3.0, x), unit),
        "scipy.expi": (jsp.special.expi, positive),
        "scipy.spence": (jsp.special.spence, unit),
        "scipy.zeta": (lambda q: jsp.special.zeta(2.5, q), positive),
        "stats.norm.logcdf": (jsp.stats.norm.logcdf, n(5)),
        "stats.t.logpdf": (lambda x: jsp.stats.t.logpdf(x, 3.0), n(5)),
        "optimize root": (_implicit, positive[:3]),
        "lax.scan": (_scan, n((5, 3)), n(3), n((3, 3)) / 2),
        "lax.conv": (lambda x, w: jax.lax.conv(x, w, (1, 1), "SAME"), n((1, 2, 4, 5)), n((3, 2, 3, 3))),
        "lax.custom_root of a cubic": (_implicit, 50 * positive[:3]),
        "nn.softmax of large": (jax.nn.softmax, 40 * A),
    }
    for name, (f, *args) in rows.items():
        yield of(name, f, *args)


def _implicit(a):
    """Return x with x³ + x = a: Newton inside, and the rule of implicit differentiation."""

    def solve(f, x):
        return jax.lax.fori_loop(0, 60, lambda _, x: x - f(x) / jax.jvp(f, (x,), (jnp.ones_like(x),))[1], x)

    return jax.lax.custom_root(lambda x: x**3 + x - a, jnp.cbrt(a), solve, lambda g, y: y / g(jnp.ones_like(y)))


def _scan(x, h, W):
    def step(h, x):
        h = jnp.tanh(x + W @ h)
        return h, h

    return jax.lax.scan(step, h, x)[1]
