"""Derivatives in SciPy: special functions, distributions, splines, optimisation, transforms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.signal
from scipy import special as sp
from scipy import stats

from benchmarks.packages.case import Case, elementwise, linear, with_gradient, with_vjp

SQRT_PI = np.sqrt(np.pi)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _special(rng)
    yield from _distributions(rng)
    yield from _splines(rng)
    yield from _optimize(rng)
    yield from _arrays(rng)


def _special(rng):
    reals, positive = rng.standard_normal(6) * 2, rng.uniform(0.2, 6, 6)
    unit = rng.uniform(0.05, 0.95, 6)
    saturated = np.array([-25.0, -12.0, 0.1, 9.0, 20.0])
    edge = np.array([1e-9, 1e-4, 0.5, 1 - 1e-5, 1 - 1e-9])
    small = np.array([1e-8, 1e-3, 0.4, 30.0])
    for nu in (0, 1, 2.5):
        for f, df in ((sp.jv, sp.jvp), (sp.yv, sp.yvp), (sp.kv, sp.kvp), (sp.iv, sp.ivp)):
            name = f"special.{f.__name__}({nu})"
            yield elementwise(name, lambda x, f=f, nu=nu: f(nu, x), lambda x, df=df, nu=nu: df(nu, x), positive)
    for n in (0, 2):
        for f in (sp.spherical_jn, sp.spherical_yn, sp.spherical_in, sp.spherical_kn):
            yield elementwise(
                f"special.{f.__name__}({n})",
                lambda x, f=f, n=n: f(n, x),
                lambda x, f=f, n=n: f(n, x, derivative=True),
                positive,
            )
    for i in (0, 2):
        yield elementwise(f"special.airy[{i}]", lambda x, i=i: sp.airy(x)[i], lambda x, i=i: sp.airy(x)[i + 1], reals)
    rows = {
        "erf": (sp.erf, lambda x: 2 / SQRT_PI * np.exp(-x * x), reals),
        "erfc": (sp.erfc, lambda x: -2 / SQRT_PI * np.exp(-x * x), reals),
        "erfcx": (sp.erfcx, lambda x: 2 * x * sp.erfcx(x) - 2 / SQRT_PI, reals),
        "erfi": (sp.erfi, lambda x: 2 / SQRT_PI * np.exp(x * x), reals),
        "dawsn": (sp.dawsn, lambda x: 1 - 2 * x * sp.dawsn(x), reals),
        "expit": (sp.expit, lambda x: sp.expit(x) * sp.expit(-x), reals),
        "expit saturated": (sp.expit, lambda x: sp.expit(x) * sp.expit(-x), saturated),
        "log_expit": (sp.log_expit, lambda x: sp.expit(-x), reals),
        "log_expit saturated": (sp.log_expit, lambda x: sp.expit(-x), saturated),
        "logit": (sp.logit, lambda p: 1 / (p * (1 - p)), unit),
        "logit near the edges": (sp.logit, lambda p: 1 / (p * (1 - p)), edge),
        "digamma": (sp.digamma, lambda x: sp.polygamma(1, x), positive),
        "gammaln": (sp.gammaln, sp.digamma, positive),
        "gammaln small": (sp.gammaln, sp.digamma, small),
        "gamma": (sp.gamma, lambda x: sp.gamma(x) * sp.digamma(x), positive),
        "rgamma": (sp.rgamma, lambda x: -sp.digamma(x) * sp.rgamma(x), positive),
        "polygamma 1": (lambda x: sp.polygamma(1, x), lambda x: sp.polygamma(2, x), positive),
        "polygamma 3": (lambda x: sp.polygamma(3, x), lambda x: sp.polygamma(4, x), positive),
        "lambertw": (
            lambda x: sp.lambertw(x).real,
            lambda x: (sp.lambertw(x) / (x * (1 + sp.lambertw(x)))).real,
            positive,
        ),
        "ndtr": (sp.ndtr, stats.norm.pdf, reals),
        "ndtr in the tail": (sp.ndtr, stats.norm.pdf, np.array([-20.0, -8.0, -3.0, 0.2])),
        "log_ndtr": (sp.log_ndtr, lambda x: np.exp(stats.norm.logpdf(x) - sp.log_ndtr(x)), reals),
        "log_ndtr in the tail": (
            sp.log_ndtr,
            lambda x: np.exp(stats.norm.logpdf(x) - sp.log_ndtr(x)),
            np.array([-30.0, -10.0, 1.0]),
        ),
        "ndtri": (sp.ndtri, lambda p: 1 / stats.norm.pdf(sp.ndtri(p)), unit),
        "ndtri near the edges": (sp.ndtri, lambda p: 1 / stats.norm.pdf(sp.ndtri(p)), edge),
        "erfinv": (sp.erfinv, lambda p: SQRT_PI / 2 * np.exp(sp.erfinv(p) ** 2), unit),
        "erfcinv": (sp.erfcinv, lambda p: -SQRT_PI / 2 * np.exp(sp.erfcinv(p) ** 2), unit),
        "entr": (sp.entr, lambda p: -np.log(p) - 1, unit),
        "entr near zero": (sp.entr, lambda p: -np.log(p) - 1, edge),
        "log1p": (sp.log1p, lambda x: 1 / (1 + x), unit),
        "log1p near -1": (sp.log1p, lambda x: 1 / (1 + x), -edge),
        "expm1": (sp.expm1, np.exp, reals),
        "exprel": (sp.exprel, lambda x: (np.exp(x) * (x - 1) + 1) / x**2, positive),
        "expi": (sp.expi, lambda x: np.exp(x) / x, positive),
        "exp1": (sp.exp1, lambda x: -np.exp(-x) / x, positive),
        "sici si": (lambda x: sp.sici(x)[0], lambda x: np.sin(x) / x, positive),
        "shichi chi": (lambda x: sp.shichi(x)[1], lambda x: np.cosh(x) / x, positive),
        "fresnel": (lambda x: sp.fresnel(x)[0], lambda x: np.sin(np.pi / 2 * x * x), unit),
        "spence": (sp.spence, lambda x: np.log(x) / (1 - x), positive),
        "ellipk": (sp.ellipk, lambda m: (sp.ellipe(m) - (1 - m) * sp.ellipk(m)) / (2 * m * (1 - m)), unit),
        "ellipe": (sp.ellipe, lambda m: (sp.ellipe(m) - sp.ellipk(m)) / (2 * m), unit),
        "struve": (lambda x: sp.struve(1, x), lambda x: sp.struve(0, x) - sp.struve(1, x) / x, positive),
        "pseudo_huber": (lambda r: sp.pseudo_huber(1.3, r), lambda r: r / np.sqrt(1 + (r / 1.3) ** 2), reals),
        "huber": (lambda r: sp.huber(1.3, r), lambda r: np.clip(r, -1.3, 1.3), reals),
        "boxcox": (lambda x: sp.boxcox(x, 0.3), lambda x: x ** (0.3 - 1), positive),
        "inv_boxcox": (lambda y: sp.inv_boxcox(y, 0.3), lambda y: (1 + 0.3 * y) ** (1 / 0.3 - 1), positive),
        "gammainc x": (
            lambda x: sp.gammainc(2.5, x),
            lambda x: np.exp(1.5 * np.log(x) - x - sp.gammaln(2.5)),
            positive,
        ),
        "gammaincc x": (
            lambda x: sp.gammaincc(2.5, x),
            lambda x: -np.exp(1.5 * np.log(x) - x - sp.gammaln(2.5)),
            positive,
        ),
        "betainc x": (lambda x: sp.betainc(2, 3.5, x), lambda x: x * (1 - x) ** 2.5 / sp.beta(2, 3.5), unit),
        "hyp2f1": (lambda x: sp.hyp2f1(0.5, 1.5, 2.0, x), lambda x: 0.375 * sp.hyp2f1(1.5, 2.5, 3.0, x), unit / 2),
        "hyp1f1": (lambda x: sp.hyp1f1(0.5, 1.5, x), lambda x: sp.hyp1f1(1.5, 2.5, x) / 3, reals),
        "eval_chebyt": (lambda x: sp.eval_chebyt(5, x), lambda x: 5 * sp.eval_chebyu(4, x), unit),
        "eval_hermite": (lambda x: sp.eval_hermite(4, x), lambda x: 8 * sp.eval_hermite(3, x), reals),
        "eval_legendre": (
            lambda x: sp.eval_legendre(4, x),
            lambda x: 4 * (x * sp.eval_legendre(4, x) - sp.eval_legendre(3, x)) / (x * x - 1),
            unit,
        ),
        "eval_genlaguerre": (
            lambda x: sp.eval_genlaguerre(4, 0.5, x),
            lambda x: -sp.eval_genlaguerre(3, 1.5, x),
            positive,
        ),
        "i0e": (sp.i0e, lambda x: sp.i1e(x) - sp.i0e(x), positive),
        "k0e": (sp.k0e, lambda x: sp.k0e(x) - sp.k1e(x), positive),
        "owens_t": (
            lambda h: sp.owens_t(h, 0.7),
            lambda h: -np.exp(-h * h / 2) * sp.erf(0.7 * h / np.sqrt(2)) / (2 * np.sqrt(2 * np.pi)),
            reals,
        ),
        "chdtr": (lambda x: sp.chdtr(3, x), lambda x: stats.chi2.pdf(x, 3), positive),
        "stdtr": (lambda t: sp.stdtr(3.5, t), lambda t: stats.t.pdf(t, 3.5), reals),
        "sinc": (np.sinc, lambda x: (np.cos(np.pi * x) - np.sinc(x)) / x, positive),
    }
    for name, (f, df, x) in rows.items():
        yield elementwise(f"special.{name}", f, df, x)
    x, y = rng.uniform(0.1, 2, 5), rng.uniform(0.1, 2, 5)
    yield with_vjp("special.xlogy", sp.xlogy, lambda g, x, y: (g * np.log(y), g * x / y), x, y)
    yield with_vjp("special.rel_entr", sp.rel_entr, lambda g, x, y: (g * (np.log(x / y) + 1), -g * x / y), x, y)
    yield with_vjp("special.kl_div", sp.kl_div, lambda g, x, y: (g * np.log(x / y), g * (1 - x / y)), x, y)
    yield with_vjp(
        "special.betaln",
        sp.betaln,
        lambda g, a, b: (g * (sp.digamma(a) - sp.digamma(a + b)), g * (sp.digamma(b) - sp.digamma(a + b))),
        x,
        y,
    )
    for scale in (1.0, 30.0):
        s = scale * rng.standard_normal((4, 5))
        yield with_gradient(f"special.logsumexp ×{scale:g}", sp.logsumexp, lambda s: sp.softmax(s), s)
        yield with_vjp(f"special.softmax ×{scale:g}", lambda s: sp.softmax(s, axis=1), _softmax_vjp, s)
        yield with_vjp(
            f"special.log_softmax ×{scale:g}",
            lambda s: sp.log_softmax(s, axis=1),
            lambda g, s: g - sp.softmax(s, axis=1) * g.sum(1, keepdims=True),
            s,
        )


def _softmax_vjp(g, s):
    p = sp.softmax(s, axis=1)
    return p * (g - (g * p).sum(1, keepdims=True))


def _distributions(rng):
    reals, positive, unit = rng.standard_normal(5), rng.uniform(0.2, 3, 5), rng.uniform(0.1, 0.9, 5)
    tails = np.array([1e-6, 0.01, 0.5, 0.999])
    table = {
        "norm": (stats.norm(), reals),
        "t": (stats.t(4.2), reals),
        "logistic": (stats.logistic(), reals),
        "cauchy": (stats.cauchy(), reals),
        "gumbel_r": (stats.gumbel_r(), reals),
        "laplace": (stats.laplace(), reals),
        "skewnorm": (stats.skewnorm(1.5), reals),
        "gamma": (stats.gamma(2.3), positive),
        "expon": (stats.expon(), positive),
        "chi2": (stats.chi2(3), positive),
        "lognorm": (stats.lognorm(0.7), positive),
        "weibull": (stats.weibull_min(1.7), positive),
        "f": (stats.f(3, 5), positive),
        "invgamma": (stats.invgamma(2.5), positive),
        "pareto": (stats.pareto(2.0), 1 + positive),
        "rayleigh": (stats.rayleigh(), positive),
        "beta": (stats.beta(2.0, 3.3), unit),
        "arcsine": (stats.arcsine(), unit),
        "genextreme": (stats.genextreme(0.2), reals),
        "gompertz": (stats.gompertz(0.9), positive),
        "nakagami": (stats.nakagami(1.4), positive),
        "invgauss": (stats.invgauss(0.8), positive),
        "johnsonsu": (stats.johnsonsu(0.5, 1.2), reals),
    }
    for name, (d, x) in table.items():
        yield elementwise(f"stats.{name}.cdf", d.cdf, d.pdf, x)
        yield elementwise(f"stats.{name}.sf", d.sf, lambda x, d=d: -d.pdf(x), x)
        yield elementwise(f"stats.{name}.ppf", d.ppf, lambda q, d=d: 1 / d.pdf(d.ppf(q)), unit)
    for name in ("norm", "logistic", "gamma"):
        d = table[name][0]
        yield elementwise(f"stats.{name}.ppf in the tails", d.ppf, lambda q, d=d: 1 / d.pdf(d.ppf(q)), tails)


def _splines(rng):
    t, y = np.sort(rng.uniform(0, 5, 9)), rng.standard_normal(9)
    x = rng.uniform(t[0], t[-1], 6)
    for make in (
        scipy.interpolate.CubicSpline,
        scipy.interpolate.PchipInterpolator,
        scipy.interpolate.Akima1DInterpolator,
    ):
        spline = make(t, y)
        yield elementwise(f"interpolate.{make.__name__}", spline, spline.derivative(), x)
    b = scipy.interpolate.make_interp_spline(t, y, k=5)
    yield elementwise("interpolate.BSpline", b, b.derivative(), x)
    u = scipy.interpolate.UnivariateSpline(t, y, s=0.5)
    yield elementwise("interpolate.UnivariateSpline", u, u.derivative(), x)
    krogh = scipy.interpolate.KroghInterpolator(t[:5], y[:5])
    yield elementwise("interpolate.KroghInterpolator", krogh, krogh.derivative, x)
    p = np.polynomial.Chebyshev(rng.standard_normal(6))
    yield elementwise("numpy.polynomial.Chebyshev", p, p.deriv(), rng.uniform(-1, 1, 5))
    yield elementwise(
        "interpolate.CubicSpline at its knots",
        scipy.interpolate.CubicSpline(t, y),
        scipy.interpolate.CubicSpline(t, y).derivative(),
        t[1:-1],
    )


def _optimize(rng):
    for n in (2, 7, 60):
        x = 1 + 0.3 * rng.standard_normal(n)
        yield with_gradient(f"optimize.rosen {n}", scipy.optimize.rosen, scipy.optimize.rosen_der, x)
        yield with_vjp(
            f"optimize.rosen_der {n}", scipy.optimize.rosen_der, lambda g, x: scipy.optimize.rosen_hess_prod(x, g), x
        )
        yield with_vjp(
            f"optimize.rosen_hess {n}", scipy.optimize.rosen_der, lambda g, x: scipy.optimize.rosen_hess(x) @ g, x
        )
    yield with_gradient(
        "optimize.rosen at its minimum, nearly", scipy.optimize.rosen, scipy.optimize.rosen_der, np.ones(4) + 1e-6
    )
    from scipy.optimize._lsq.least_squares import IMPLEMENTED_LOSSES

    z = rng.uniform(0.05, 4, 6)
    for name in ("huber", "soft_l1", "cauchy", "arctan"):
        loss = IMPLEMENTED_LOSSES[name]
        yield elementwise(f"optimize.{name}.rho", lambda z, f=loss: _rho(f, z)[0], lambda z, f=loss: _rho(f, z)[1], z)
        yield elementwise(f"optimize.{name}.rho'", lambda z, f=loss: _rho(f, z)[1], lambda z, f=loss: _rho(f, z)[2], z)


def _rho(loss, z):
    rho = np.empty((3, z.size))
    loss(z, rho, cost_only=False)
    return rho


def _arrays(rng):
    for n in (3, 6):
        A = 0.5 * rng.standard_normal((n, n))
        yield with_vjp(
            f"linalg.expm {n}", scipy.linalg.expm, lambda g, A: scipy.linalg.expm_frechet(A.T, g, compute_expm=False), A
        )
    A = 4 * rng.standard_normal((4, 4))
    yield with_vjp(
        "linalg.expm of norm 10",
        scipy.linalg.expm,
        lambda g, A: scipy.linalg.expm_frechet(A.T, g, compute_expm=False),
        A,
    )
    x, w = rng.standard_normal(12), rng.standard_normal(4)
    yield with_vjp(
        "signal.convolve",
        scipy.signal.convolve,
        lambda g, x, w: (scipy.signal.correlate(g, w, mode="valid"), scipy.signal.correlate(g, x, mode="valid")),
        x,
        w,
    )
    yield linear(
        "signal.fftconvolve",
        lambda x: scipy.signal.fftconvolve(x, w),
        lambda g: scipy.signal.correlate(g, w, mode="valid"),
        x,
    )
    yield linear("fft.dct", lambda x: scipy.fft.dct(x, norm="ortho"), lambda g: scipy.fft.idct(g, norm="ortho"), x)
    yield linear("fft.dst", lambda x: scipy.fft.dst(x, norm="ortho"), lambda g: scipy.fft.idst(g, norm="ortho"), x)
    yield linear(
        "fft.hfft",
        lambda x: scipy.fft.dctn(x.reshape(3, 4), norm="ortho"),
        lambda g: scipy.fft.idctn(g, norm="ortho").ravel(),
        x,
    )
    image = rng.standard_normal((6, 7))
    yield linear(
        "ndimage.gaussian_filter",
        lambda x: scipy.ndimage.gaussian_filter(x, 1.2, mode="constant"),
        lambda g: scipy.ndimage.gaussian_filter(g, 1.2, mode="constant"),
        image,
    )
    k = rng.standard_normal((3, 3))
    yield linear(
        "ndimage.correlate",
        lambda x: scipy.ndimage.correlate(x, k, mode="constant"),
        lambda g: scipy.ndimage.convolve(g, k, mode="constant"),
        image,
    )
    yield linear(
        "ndimage.laplace",
        lambda x: scipy.ndimage.laplace(x, mode="constant"),
        lambda g: scipy.ndimage.laplace(g, mode="constant"),
        image,
    )
    L = np.tril(rng.standard_normal((5, 5))) + 3 * np.eye(5)
    yield linear(
        "linalg.solve_triangular",
        lambda b: scipy.linalg.solve_triangular(L, b, lower=True),
        lambda g: scipy.linalg.solve_triangular(L, g, lower=True, trans="T"),
        rng.standard_normal(5),
    )
    lu = scipy.linalg.lu_factor(L + rng.standard_normal((5, 5)))
    yield linear(
        "linalg.lu_solve",
        lambda b: scipy.linalg.lu_solve(lu, b),
        lambda g: scipy.linalg.lu_solve(lu, g, trans=1),
        rng.standard_normal(5),
    )
