import numpy as np
import pytest

from gradcheck import Verdict, examine_backward
from gradcheck.verdict.jumps import jumps
from tests.verdict.test_judge import case_of

W = np.random.default_rng(0).standard_normal((5, 5))
W *= 0.5 / np.linalg.norm(W, 2)
X = np.random.default_rng(1).standard_normal(5)


def fixed_point(tolerance):
    """Return z = tanh(W z + x), iterated until z moves by less than ``tolerance``."""

    def forward(x):
        z, before = np.tanh(x), np.zeros_like(x)
        while np.linalg.norm(z - before) >= tolerance:
            z, before = np.tanh(W @ z + x), z
        return z, z

    return forward


def implicit(factor=1.0):
    def backward(dz, z):
        slope = 1 - z * z
        return factor * slope * np.linalg.solve((np.eye(5) - slope[:, None] * W).T, dz)

    return backward


@pytest.mark.parametrize("seed", range(3))
def test_a_right_derivative_of_a_solution_is_not_refuted_by_a_solver_that_stops_early(seed):
    report = examine_backward(fixed_point(1e-4), implicit(), (X,), seed=seed, hints=False)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "as a solver does that stops at a tolerance" in report.arguments["x"].reason
    assert "pass tol=" in report.arguments["x"].reason


def test_it_passes_where_the_solver_goes_on_and_under_the_tolerance_that_is_named():
    assert examine_backward(fixed_point(1e-11), implicit(), (X,), seed=0)
    assert examine_backward(fixed_point(1e-4), implicit(), (X,), seed=0, tol=1e-2)


def test_a_mistake_that_is_larger_than_the_jumps_fails():
    assert examine_backward(fixed_point(1e-6), implicit(1.01), (X,), seed=0, hints=False).verdict is Verdict.FAIL


def test_a_smooth_function_and_one_with_a_kink_do_not_jump():
    for function in (lambda x: np.sin(3 * x).sum(), lambda x: np.abs(x - 0.9 * X).sum()):
        assert max(jumps(case_of(function, (np.ones(5),), X), 0)) < 1e-8


def test_a_jump_is_seen_with_its_size():
    step = case_of(lambda x: x.sum() + 1e-3 * (x.sum() > 1.01 * X.sum()), (np.ones(5),), X)
    assert 1e-5 < max(jumps(step, 0)) < 1e-1


def test_a_pole_and_a_step_of_another_size_excuse_nothing():
    for function, slope in ((lambda x: 1 / x, lambda x: -1 / x**2), (lambda x: x + (x > 1), np.ones_like)):
        x = np.array([0.4, 0.7, 1.2, 2.0])
        report = examine_backward(
            lambda x, f=function: (f(x), x), lambda d, x, df=slope: d * df(x) * (1 + 1e-5), (x,), wrt="x", seed=0
        )
        assert report.verdict is Verdict.FAIL, str(report)
