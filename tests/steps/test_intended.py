"""A gradient that is projected, made symmetric or passed straight through is named, and how to say that it is meant."""

import numpy as np
import pytest

from gradcheck import examine_backward

RNG = np.random.default_rng(0)
X, M = RNG.standard_normal(4), RNG.standard_normal((4, 4))
U = X / np.linalg.norm(X)


def quadratic(x, M):
    return x @ M @ x, (x, M)


def said(change, x=X, forward=quadratic):
    def backward(d, cache):
        x, M = cache
        return d * change((M + M.T) @ x, x), d * np.outer(x, x)

    report = examine_backward(forward, backward, (x, M), seed=0)
    assert not report
    return " ".join(each.sentence for each in report.explanations if each.mistake == "I3")


@pytest.mark.parametrize(
    ("change", "x", "words"),
    [
        (lambda g, x: g - x * (x @ g) / (x @ x), X, "without its part along x"),
        (lambda g, x: g - x * (x @ g), U, "without its part along x"),
        (lambda g, x: g - g.mean(), X, "without its mean"),
    ],
    ids=["tangent", "sphere", "mean"],
)
def test_a_projected_gradient_is_named(change, x, words):
    assert words in said(change, x)


def test_a_gradient_made_symmetric_is_named_with_the_projection_that_says_so():
    def forward(a):
        return (a @ a * M).sum(), a

    def backward(d, a):
        g = d * (a.T @ M + M @ a.T).T.T
        return (g + g.T) / 2

    report = examine_backward(forward, backward, (RNG.standard_normal((4, 4)),), seed=0)
    assert not report
    assert "say projection=lambda g: (g + g.T) / 2" in " ".join(each.sentence for each in report.explanations)


def test_a_cotangent_that_is_passed_straight_through_is_named():
    report = examine_backward(lambda x: (np.round(x), None), lambda d, _: d.copy(), (3 * X,), seed=0)
    assert not report
    assert "say surrogate=" in report.explanations[0].sentence


def test_another_mistake_is_not_meant():
    assert said(lambda g, x: 2 * g) == ""
