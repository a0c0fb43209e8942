"""At a kink a rule passes if it makes a choice between the pieces that meet there."""

import numpy as np
import pytest

from gradcheck import Verdict, examine_pushforward

Z = np.array([0.0, 1.0, -1.0, 0.0])
A, B = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 1.0])


@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_any_choice_at_a_kink_is_a_convention(at_zero):
    def rule(primals, tangents):
        (x,), (dx,) = primals, tangents
        return np.maximum(x, 0), dx * np.where(x == 0, at_zero, x > 0)

    report = examine_pushforward(lambda x: np.maximum(x, 0), rule, (Z,), seed=0)
    assert report
    assert "a convention" in str(report)


@pytest.mark.parametrize("at_zero", [2.0, -1.0])
def test_what_is_no_choice_at_a_kink_fails(at_zero):
    def rule(primals, tangents):
        (x,), (dx,) = primals, tangents
        return np.maximum(x, 0), dx * np.where(x == 0, at_zero, x > 0)

    assert examine_pushforward(lambda x: np.maximum(x, 0), rule, (Z,), seed=0).verdict is Verdict.FAIL


def test_a_tie_that_is_counted_twice_fails():
    def rule(primals, tangents):
        (a, b), (da, db) = primals, tangents
        return np.maximum(a, b), da * (a >= b) + db * (b >= a)

    def once(primals, tangents):
        (a, b), (da, db) = primals, tangents
        return np.maximum(a, b), da * (a >= b) + db * (b > a)

    assert not examine_pushforward(np.maximum, rule, (A, B), seed=0)
    assert examine_pushforward(np.maximum, once, (A, B), seed=0)


def test_a_mistake_beside_the_kink_fails():
    def rule(primals, tangents):
        (x,), (dx,) = primals, tangents
        return np.maximum(x, 0), dx * (x > 0) * 1.1

    assert not examine_pushforward(lambda x: np.maximum(x, 0), rule, (Z,), seed=0)


def test_where_many_folds_meet_nothing_is_refuted():
    weights = np.linspace(-1.0, 1.0, 12).reshape(12, 1)

    def f(x):
        return np.maximum(weights * x, 0).sum(axis=0)

    def rule(primals, tangents):
        (x,), (dx,) = primals, tangents
        return f(x), 0.0 * dx if not x.any() else (weights * dx * (weights * x > 0)).sum(axis=0)

    assert examine_pushforward(f, rule, (np.zeros(3),), seed=0).verdict is not Verdict.FAIL


def test_a_rule_that_refuses_points_beside_a_tie_is_undecided_and_never_raises():
    def refusing(primals, tangents):
        (x,), (dx,) = primals, tangents
        if not np.array_equal(x, Z):
            raise RuntimeError("only here")
        return np.maximum(x, 0), dx * (x > 0)

    report = examine_pushforward(lambda x: np.maximum(x, 0), refusing, (Z,), seed=0)
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_rule_that_refuses_points_close_to_a_tie_is_not_verified_there():
    def shy(primals, tangents):
        (x,), (dx,) = primals, tangents
        if 0 < np.max(np.abs(x - Z)) < 5e-3:
            raise RuntimeError("too close")
        return np.maximum(x, 0), dx * (x > 0)

    report = examine_pushforward(lambda x: np.maximum(x, 0), shy, (Z,), seed=0)
    assert "not verifiable at the point" in report.arguments["x"].reason
    assert report
