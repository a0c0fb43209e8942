"""Derivatives in scikit-learn: losses, linear models, networks, Gaussian processes, NCA, t-SNE."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn._loss import loss as losses
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor, kernels
from sklearn.linear_model._huber import _huber_loss_and_gradient
from sklearn.linear_model._linear_loss import LinearModelLoss
from sklearn.manifold import _t_sne
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._base import ACTIVATIONS, DERIVATIVES

from benchmarks.packages.case import Case, value_and_gradient, with_gradient, with_vjp


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _losses(rng)
    yield from _linear_models(rng)
    yield from _networks(rng)
    yield from _processes(rng)
    yield from _embeddings(rng)


def _losses(rng):
    for n, scale in ((6, 1.0), (200, 1.0), (6, 15.0)):
        counts, positive = rng.poisson(2.0, n).astype(float), rng.uniform(0.3, 3, n)
        reals, binary, unit = rng.standard_normal(n), rng.integers(0, 2, n).astype(float), rng.uniform(0.1, 0.9, n)
        table: dict[str, tuple[Any, Any]] = {
            "HalfSquaredError": (losses.HalfSquaredError(), reals),
            "AbsoluteError": (losses.AbsoluteError(), reals),
            "PinballLoss": (losses.PinballLoss(quantile=0.3), reals),
            "HuberLoss": (losses.HuberLoss(delta=0.8), reals),
            "HalfPoissonLoss": (losses.HalfPoissonLoss(), counts),
            "HalfGammaLoss": (losses.HalfGammaLoss(), positive),
            "HalfTweedieLoss": (losses.HalfTweedieLoss(power=1.5), positive),
            "HalfTweedieLossIdentity": (losses.HalfTweedieLossIdentity(power=0), reals),
            "HalfBinomialLoss": (losses.HalfBinomialLoss(), binary),
            "HalfBinomialLoss soft": (losses.HalfBinomialLoss(), unit),
            "ExponentialLoss": (losses.ExponentialLoss(), binary),
        }
        for name, (loss, y) in table.items():
            if scale > 1 and name not in ("HalfBinomialLoss", "HalfBinomialLoss soft", "HalfSquaredError", "HuberLoss"):
                continue
            raw = scale * rng.standard_normal(n)
            yield with_vjp(
                f"_loss.{name} n={n} ×{scale:g}",
                lambda r, f=loss, y=y: f.loss(y, r),
                lambda g, r, f=loss, y=y: g * f.gradient(y, r),
                raw,
            )
        classes = rng.integers(0, 4, n).astype(float)
        multi = losses.HalfMultinomialLoss(n_classes=4)
        yield with_vjp(
            f"_loss.HalfMultinomialLoss n={n} ×{scale:g}",
            lambda r, f=multi, y=classes: f.loss(y, r),
            lambda g, r, f=multi, y=classes: g[:, None] * f.gradient(y, r),
            scale * rng.standard_normal((n, 4)),
        )


def _linear_models(rng):
    for n, d in ((8, 3), (300, 20)):
        X, binary, counts = (
            rng.standard_normal((n, d)),
            rng.integers(0, 2, n).astype(float),
            rng.poisson(2.0, n).astype(float),
        )
        weight = rng.uniform(0.5, 2, n)
        for name, base, y in (
            ("logistic", losses.HalfBinomialLoss(), binary),
            ("poisson", losses.HalfPoissonLoss(), counts),
            ("gamma", losses.HalfGammaLoss(), counts + 0.5),
            ("squares", losses.HalfSquaredError(), counts),
        ):
            model = LinearModelLoss(base_loss=base, fit_intercept=True)
            for l2 in (0.0, 0.7):
                yield value_and_gradient(
                    f"LinearModelLoss {name} {n}×{d} l2={l2}",
                    lambda w, m=model, X=X, y=y, l2=l2, s=weight: m.loss_gradient(w, X, y, s, l2_reg_strength=l2),
                    0.3 * rng.standard_normal(d + 1),
                )
        multi, classes = (
            LinearModelLoss(base_loss=losses.HalfMultinomialLoss(n_classes=3), fit_intercept=True),
            rng.integers(0, 3, n).astype(float),
        )
        yield value_and_gradient(
            f"LinearModelLoss multinomial {n}×{d}",
            lambda w, m=multi, X=X, y=classes: m.loss_gradient(w, X, y, l2_reg_strength=0.3),
            0.3 * rng.standard_normal((3, d + 1)),
        )
        w = np.append(0.3 * rng.standard_normal(d + 1), 1.1)
        yield value_and_gradient(
            f"_huber_loss_and_gradient {n}×{d}",
            lambda w, X=X, y=counts, s=weight: _huber_loss_and_gradient(w, X, y, 1.35, 0.1, s),
            w,
        )


def _networks(rng):
    z = rng.standard_normal((4, 5))
    for name in ("tanh", "logistic", "relu", "identity"):
        yield with_vjp(
            f"neural_network {name}",
            lambda z, f=ACTIVATIONS[name]: _in_place(f, z),
            lambda g, z, n=name: _derivative(n, g, z),
            z,
        )
        yield with_vjp(
            f"neural_network {name} saturated",
            lambda z, f=ACTIVATIONS[name]: _in_place(f, z),
            lambda g, z, n=name: _derivative(n, g, z),
            9 * z,
        )
    for activation in ("tanh", "logistic", "relu"):
        for kind, n in ((MLPClassifier, 12), (MLPRegressor, 12), (MLPClassifier, 100)):
            yield _mlp(rng, kind, activation, n)


def _in_place(function, z):
    z = z.copy()
    function(z)
    return z


def _derivative(name, g, z):
    delta = g.copy()
    DERIVATIVES[name](_in_place(ACTIVATIONS[name], z), delta)
    return delta


def _mlp(rng, kind, activation, n):
    X = rng.standard_normal((n, 4))
    y = rng.integers(0, 3, n) if kind is MLPClassifier else rng.standard_normal(n)
    model = kind(hidden_layer_sizes=(5, 3), activation=activation, alpha=0.1, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    targets = np.eye(3)[y] if kind is MLPClassifier else y[:, None]
    shapes = [c.shape for c in (*model.coefs_, *model.intercepts_)]

    def run(packed):
        at, parts = 0, []
        for shape in shapes:
            parts.append(packed[at : at + np.prod(shape)].reshape(shape).copy())
            at += np.prod(shape)
        layers = len(model.coefs_)
        model.coefs_, model.intercepts_ = parts[:layers], parts[layers:]
        activations = [X, *(np.empty((n, c.shape[1])) for c in model.coefs_)]
        deltas = [np.empty_like(a) for a in activations[1:]]
        coefs, intercepts = [np.empty_like(c) for c in model.coefs_], [np.empty_like(i) for i in model.intercepts_]
        loss, coefs, intercepts = model._backprop(X, targets, None, activations, deltas, coefs, intercepts)
        return loss, np.concatenate([g.ravel() for g in (*coefs, *intercepts)])

    packed = np.concatenate([c.ravel() for c in (*model.coefs_, *model.intercepts_)])
    return value_and_gradient(
        f"{kind.__name__}._backprop {activation} n={n}", run, packed + 0.1 * rng.standard_normal(packed.size)
    )


def _processes(rng):
    X, y = rng.standard_normal((9, 2)), rng.standard_normal(9)
    table = {
        "RBF": kernels.RBF(0.8),
        "RBF ard": kernels.RBF([0.8, 1.7]),
        "Matern 0.5": kernels.Matern(0.9, nu=0.5),
        "Matern 1.5": kernels.Matern(0.9, nu=1.5),
        "Matern 2.5": kernels.Matern([0.9, 2.0], nu=2.5),
        "Matern 0.8": kernels.Matern(0.9, nu=0.8),
        "RationalQuadratic": kernels.RationalQuadratic(1.2, 0.7),
        "ExpSineSquared": kernels.ExpSineSquared(1.1, 2.3),
        "DotProduct": kernels.DotProduct(0.9),
        "Constant×RBF+White": kernels.ConstantKernel(1.5) * kernels.RBF(1.1) + kernels.WhiteKernel(0.2),
        "RBF**2": kernels.RBF(0.9) ** 2,
        "Compound": kernels.RBF(1.0) * kernels.DotProduct(0.5) + kernels.ExpSineSquared(0.9, 1.7),
    }
    for name, kernel in table.items():

        def value(theta, k=kernel):
            return k.clone_with_theta(theta)(X)

        def vjp(g, theta, k=kernel):
            return np.einsum("ij,ijk->k", g, k.clone_with_theta(theta)(X, eval_gradient=True)[1])

        yield with_vjp(f"gaussian_process.kernels {name}", value, vjp, kernel.theta)
        if "ExpSineSquared" in repr(kernel):
            continue  # not positive definite in two dimensions
        model = GaussianProcessRegressor(kernel + kernels.WhiteKernel(0.3), optimizer=None).fit(X, y)
        yield value_and_gradient(
            f"GaussianProcessRegressor {name}",
            lambda t, m=model: m.log_marginal_likelihood(t, eval_gradient=True),
            model.kernel_.theta,
        )
    for name in ("RBF", "RBF ard", "Matern 1.5"):
        model = GaussianProcessClassifier(1.5 * table[name], optimizer=None).fit(X, y > 0)
        yield value_and_gradient(
            f"GaussianProcessClassifier {name}",
            lambda t, m=model: m.log_marginal_likelihood(t, eval_gradient=True),
            model.kernel_.theta,
        )
    sharp = GaussianProcessRegressor(kernels.RBF(3.0), alpha=1e-8, optimizer=None).fit(X, y)
    yield value_and_gradient(
        "GaussianProcessRegressor nearly singular",
        lambda t: sharp.log_marginal_likelihood(t, eval_gradient=True),
        sharp.kernel_.theta,
    )


def _embeddings(rng):
    for n in (10, 60):
        X, y = rng.standard_normal((n, 4)), rng.integers(0, 3, n)
        nca = NeighborhoodComponentsAnalysis(n_components=2)
        nca.n_iter_ = 1
        same = y[:, None] == y[None, :]
        yield value_and_gradient(
            f"NCA n={n}", lambda w, m=nca, X=X, s=same: m._loss_grad_lbfgs(w, X, s, -1.0), rng.standard_normal(8)
        )
        P = rng.uniform(0, 1, n * (n - 1) // 2)
        P /= 2 * P.sum()
        for dof in (1, 2.5):
            yield value_and_gradient(
                f"t-SNE n={n} dof={dof}",
                lambda p, P=P, n=n, dof=dof: _t_sne._kl_divergence(p, P, dof, n, 2),
                rng.standard_normal(2 * n),
            )
    yield with_gradient(
        "t-SNE near zero",
        lambda p: _t_sne._kl_divergence(p, P, 1, 60, 2)[0],
        lambda p: _t_sne._kl_divergence(p, P, 1, 60, 2)[1],
        1e-4 * rng.standard_normal(120),
    )
