"""Derivatives in statsmodels: scores of likelihoods, links, variance functions, robust norms."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import statsmodels.api as sm
from statsmodels.discrete import count_model, discrete_model
from statsmodels.genmod.families import links, varfuncs
from statsmodels.robust import norms

from benchmarks.packages.case import Case, elementwise, with_gradient


def cases(rng: np.random.Generator) -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from _discrete(rng)
        yield from _generalized(rng)
        yield from _functions(rng)


def _discrete(rng):
    for n, d in ((15, 2), (200, 5)):
        X = np.column_stack([np.ones(n), rng.standard_normal((n, d))])
        binary, counts, classes = rng.integers(0, 2, n), rng.poisson(2, n), rng.integers(0, 3, n)
        classes[:3] = [0, 1, 2]
        models = {
            "Logit": (sm.Logit(binary, X), 0),
            "Probit": (sm.Probit(binary, X), 0),
            "Poisson": (sm.Poisson(counts, X), 0),
            "MNLogit": (sm.MNLogit(classes, X), X.shape[1]),
            "NegativeBinomial nb2": (sm.NegativeBinomial(counts, X), 1),
            "NegativeBinomial nb1": (sm.NegativeBinomial(counts, X, loglike_method="nb1"), 1),
            "NegativeBinomial geometric": (sm.NegativeBinomial(counts, X, loglike_method="geometric"), 0),
            "GeneralizedPoisson": (sm.GeneralizedPoisson(counts, X), 1),
            "NegativeBinomialP": (discrete_model.NegativeBinomialP(counts, X), 1),
            "OLS-like GLS": (sm.OLS(counts, X), 0),
        }
        for name, (model, extra) in models.items():
            params = 0.3 * rng.standard_normal(X.shape[1] + extra)
            if extra == 1:
                params[-1] = 0.7
            if name != "OLS-like GLS":
                yield with_gradient(f"discrete.{name} {n}×{d}", model.loglike, model.score, params)
            if hasattr(model, "hessian") and name in ("Logit", "Probit", "Poisson", "MNLogit"):
                yield Case(
                    f"discrete.{name}.score {n}×{d}",
                    lambda p, m=model: (m.score(p), p),
                    lambda g, p, m=model: m.hessian(p) @ g,
                    (params,),
                )
        if d == 2:
            for name in ("Logit", "Probit"):
                model = models[name][0]
                yield with_gradient(
                    f"discrete.{name} far out", model.loglike, model.score, 4 * rng.standard_normal(X.shape[1])
                )
            zero = count_model.ZeroInflatedPoisson(counts, X, exog_infl=X[:, :2])
            yield with_gradient(
                "ZeroInflatedPoisson", zero.loglike, zero.score, 0.3 * rng.standard_normal(X.shape[1] + 2)
            )
    from statsmodels.othermod.betareg import BetaModel

    y = rng.uniform(0.05, 0.95, 30)
    X = np.column_stack([np.ones(30), rng.standard_normal(30)])
    beta = BetaModel(y, X)
    yield with_gradient("BetaModel", beta.loglike, beta.score, np.array([0.1, 0.2, 1.3]))
    from statsmodels.duration.hazard_regression import PHReg

    for ties in ("breslow", "efron"):
        hazard = PHReg(
            np.round(rng.exponential(1, 25), 1) + 0.1,
            rng.standard_normal((25, 3)),
            status=rng.integers(0, 2, 25),
            ties=ties,
        )
        yield with_gradient(f"PHReg {ties}", hazard.loglike, hazard.score, 0.4 * rng.standard_normal(3))
    from statsmodels.discrete.conditional_models import ConditionalLogit, ConditionalPoisson

    groups = np.repeat(np.arange(6), 5)
    alternating, X = np.tile([0, 1, 1, 0, 1], 6), rng.standard_normal((30, 2))
    for kind, y in ((ConditionalLogit, alternating), (ConditionalPoisson, rng.poisson(2, 30) + 1)):
        model = kind(y, X, groups=groups)
        yield with_gradient(kind.__name__, model.loglike, model.score, 0.4 * rng.standard_normal(2))


def _generalized(rng):
    n = 40
    X = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    small = 0.2 * rng.standard_normal(3)
    responses = {
        "Gaussian": (sm.families.Gaussian, rng.standard_normal(n), (links.Identity, links.Log)),
        "Binomial": (
            sm.families.Binomial,
            rng.integers(0, 2, n),
            (links.Logit, links.Probit, links.CLogLog, links.Cauchy, links.LogLog),
        ),
        "Poisson": (sm.families.Poisson, rng.poisson(2, n), (links.Log, links.Sqrt)),
        "Gamma": (sm.families.Gamma, rng.gamma(2, 1, n), (links.Log, links.InversePower)),
        "InverseGaussian": (sm.families.InverseGaussian, rng.gamma(2, 1, n), (links.Log,)),
        "NegativeBinomial": (sm.families.NegativeBinomial, rng.poisson(2, n), (links.Log,)),
    }
    for name, (family, y, several) in responses.items():
        for link in several:
            model = sm.GLM(y, X, family=family(link=link()))
            params = small + (np.array([2.5, 0, 0]) if link in (links.InversePower, links.Sqrt) else 0)
            scale = 1.0 if name == "Binomial" else 1.3  # its likelihood knows none
            yield with_gradient(
                f"GLM {name} {link.__name__}",
                lambda p, m=model, s=scale: m.loglike(p, scale=s),
                lambda p, m=model, s=scale: m.score(p, scale=s),
                params,
            )
    tweedie = sm.GLM(rng.gamma(2, 1, n), X, family=sm.families.Tweedie(var_power=1.5, eql=True))
    yield with_gradient(
        "GLM Tweedie eql", lambda p: tweedie.loglike(p, scale=1.3), lambda p: tweedie.score(p, scale=1.3), small
    )


def _functions(rng):
    unit, reals, positive = rng.uniform(0.05, 0.95, 6), rng.standard_normal(6), rng.uniform(0.2, 4, 6)
    edge = np.array([1e-8, 1e-4, 0.5, 1 - 1e-5])
    for name in (
        "Logit",
        "Probit",
        "CLogLog",
        "LogLog",
        "Cauchy",
        "Log",
        "Identity",
        "InversePower",
        "InverseSquared",
        "Sqrt",
        "LogC",
    ):
        if not hasattr(links, name):
            continue
        link = getattr(links, name)()
        mu = unit if name in ("Logit", "Probit", "CLogLog", "LogLog", "Cauchy", "LogC") else positive
        eta = link(mu)
        yield elementwise(f"links.{name}", link, link.deriv, mu)
        yield elementwise(f"links.{name}.deriv", link.deriv, link.deriv2, mu)
        yield elementwise(f"links.{name}.inverse", link.inverse, link.inverse_deriv, eta)
        yield elementwise(f"links.{name}.inverse_deriv", link.inverse_deriv, link.inverse_deriv2, eta)
        if mu is unit:
            yield elementwise(f"links.{name} near the edge", link, link.deriv, edge)
    for name, variance, mu in (
        ("mu", varfuncs.mu, positive),
        ("mu_squared", varfuncs.mu_squared, positive),
        ("binary", varfuncs.binary, unit),
        ("nbinom", varfuncs.nbinom, positive),
    ):
        yield elementwise(f"varfuncs.{name}", variance, variance.deriv, mu)
    for name in (
        "HuberT",
        "TukeyBiweight",
        "AndrewWave",
        "Hampel",
        "RamsayE",
        "TrimmedMean",
        "LeastSquares",
        "TukeyQuartic",
        "StudentT",
    ):
        if not hasattr(norms, name):
            continue
        norm = getattr(norms, name)()
        yield elementwise(f"robust.{name}.rho", norm.rho, norm.psi, 3 * reals)
        yield elementwise(f"robust.{name}.psi", norm.psi, norm.psi_deriv, 3 * reals)
