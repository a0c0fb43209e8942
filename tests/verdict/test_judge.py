import functools
import math
from dataclasses import replace

import numpy as np
import pytest

from gradcheck import Verdict, central_difference, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.oracles import Estimate
from gradcheck.pairing import Pairing
from gradcheck.verdict.case import Case
from gradcheck.verdict.judge import KINK, VACUOUS, judge

RNG = np.random.default_rng(0)
SEEDS = range(4)


def case_of(function, gradients, *args, measure=None, tol=None, rounding=0.0):
    """Return the case of ``function``, a number or an array with a cotangent of ones, and the claimed gradients."""
    forward = functools.wraps(function)(lambda *primals: (function(*primals), None))
    arguments = Arguments.of(forward, args)
    pairing = Pairing.at_point(forward, arguments, np.ones(np.shape(function(*args))))
    layout, point = arguments.layout, arguments.point
    return Case(
        gradient=layout.flatten(gradients),
        point=point,
        layout=layout,
        judged=tuple(range(len(gradients))),
        pushforward=measure or central_difference(pairing, point),
        rounding=lambda: (np.zeros(layout.size), np.full(layout.size, rounding)),
        pairing=pairing,
        tol=tol,
        rng=np.random.default_rng(1),
    )


def counted(pushforward):
    """Return ``pushforward`` and a list of the tangents that it is asked about."""
    tangents = []

    def measure(v):
        tangents.append(v)
        return pushforward(v)

    return measure, tangents


def line(x, w):
    return 2 * x.sum() + 3 * w.sum()


X, W = RNG.standard_normal(4), RNG.standard_normal(3)
RIGHT = (np.full(4, 2.0), np.full(3, 3.0))
EXACT = lambda v: Estimate(2 * v[:4].sum() + 3 * v[4:].sum(), 1e-13)  # noqa: E731


def test_right_gradients_are_probed_together_and_share_a_bound():
    measure, tangents = counted(EXACT)
    findings = judge(case_of(line, RIGHT, X, W, measure=measure))
    assert {finding.verdict for finding in findings.values()} == {Verdict.PASS}
    assert findings["x"].bound == findings["w"].bound < 1e-7
    assert all(v.all() for v in tangents)


def test_together_all_arguments_contribute_alike_whatever_the_size_of_their_gradients():
    gradients = (np.full(4, 2e4), np.full(3, 3e-1))
    measure, tangents = counted(lambda v: Estimate(2e4 * v[:4].sum() + 3e-1 * v[4:].sum(), 1e-13))
    judge(case_of(lambda x, w: 2e4 * x.sum() + 3e-1 * w.sum(), gradients, X, W, measure=measure))
    first = tangents[0]
    assert np.linalg.norm(first[:4]) / np.linalg.norm(first[4:]) == pytest.approx(0.5 / 4e4, rel=30)


def test_where_the_joint_probe_disagrees_every_argument_is_judged_alone():
    findings = judge(case_of(line, (RIGHT[0], 2 * RIGHT[1]), X, W))
    assert findings["x"].verdict is Verdict.PASS
    assert findings["w"].verdict is Verdict.FAIL
    assert findings["w"].error == pytest.approx(1.0)


def test_an_argument_with_next_to_no_effect_is_judged_alone():
    """Its error would drown among the others in a joint probe."""
    measure, tangents = counted(lambda v: Estimate(v[:4].sum() + 1e-7 * v[4:].sum(), 1e-16))
    gradients = (np.ones(4), np.full(3, 1e-7))
    findings = judge(case_of(lambda x, w: x.sum() + 1e-7 * w.sum(), gradients, X, W, measure=measure))
    assert {finding.verdict for finding in findings.values()} == {Verdict.PASS}
    assert all(not (v[:4].any() and v[4:].any()) for v in tangents)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("factor", [0.0, 2.0, -1.0, 1 + 1e-3])
def test_a_wrong_gradient_with_next_to_no_effect_fails_alone(factor, seed):
    """Its effect is a part of 1e-7 of the output's change."""
    x, w = np.random.default_rng(seed).standard_normal((2, 5))
    forward = lambda x, w: (np.sin(x) + 1e-7 * np.cos(w), (x, w))  # noqa: E731
    wrong = lambda dy, cache: (dy * np.cos(cache[0]), -factor * 1e-7 * dy * np.sin(cache[1]))  # noqa: E731
    report = examine_backward(forward, wrong, (x, w), seed=seed)
    assert report.arguments["x"].verdict is Verdict.PASS
    assert report.arguments["w"].verdict is Verdict.FAIL


def test_a_gradient_that_is_zero_on_both_sides_is_vacuous():
    findings = judge(case_of(lambda x, w: x.sum() + 0 * w.sum(), (np.ones(4), np.zeros(3)), X, W))
    assert findings["w"].verdict is Verdict.PASS
    assert findings["w"].reason == VACUOUS


def test_a_wrong_gradient_of_a_bias_too_small_for_its_output_is_no_pass():
    x, w, b = np.full((5, 3), 1e6), np.full((3, 2), 1e4), np.full(2, 1e-6)
    forgotten = lambda dy, c: (dy @ c[1].T, c[0].T @ dy, 0 * dy.sum(axis=0))  # noqa: E731
    report = examine_backward(lambda x, w, b: (x @ w + b, (x, w)), forgotten, (x, w, b), seed=1)
    assert report.arguments["b"].verdict is not Verdict.PASS


def test_a_zero_for_a_gradient_that_is_none_fails_and_says_so():
    finding = judge(case_of(line, (RIGHT[0], np.zeros(3)), X, W))["w"]
    assert finding.verdict is Verdict.FAIL
    assert finding.reason == "dw is identically zero"
    assert finding.error == pytest.approx(1.0)


def test_a_gradient_of_a_constant_is_infinitely_wrong():
    finding = judge(case_of(lambda x: 0 * x.sum() + 7, (np.ones(4),), X))["x"]
    assert finding.verdict is Verdict.FAIL
    assert finding.error == math.inf


def test_a_kink_leaves_the_verdict_open():
    finding = judge(case_of(lambda x: np.abs(x).sum(), (np.zeros(3),), np.zeros(3)))["x"]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == KINK
    assert finding.conventions == 1


def test_an_oracle_that_measures_nothing_leaves_the_verdict_open():
    lost = lambda _v: Estimate(np.nan, np.inf)  # noqa: E731
    finding = judge(case_of(lambda x: x.sum(), (np.ones(4),), X, measure=lost))["x"]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("the forward is finite at too few steps around the point")


def blunt(error):
    return lambda v: Estimate(v.sum(), error)


@pytest.mark.parametrize(
    ("error", "tol", "verdict"),
    [(1e-5, None, "pass"), (0.5, None, "inconclusive"), (1e-5, 1e-6, "inconclusive"), (1e-11, 1e-6, "pass")],
)
def test_a_pass_must_exclude_a_gross_error_or_reach_the_tolerance(error, tol, verdict):
    case = case_of(lambda x: x.sum(), (np.ones(4),), X, measure=blunt(error), tol=tol)
    assert str(judge(case)["x"].verdict) == verdict


def test_what_could_hide_is_said_with_its_size():
    finding = judge(case_of(lambda x: x.sum(), (np.ones(4),), X, measure=blunt(0.5)))["x"]
    assert finding.reason == (
        f"an error up to {finding.bound:.1e} of it could hide, and 1e-02 is what a pass must exclude: "
        "the forward is too noisy here. Take the noise out of it, or pass reference= for autodiff"
    )


def test_the_rounding_of_the_claim_excuses_what_it_can_explain():
    gradients = (np.ones(4) + 1e-6,)
    for rounding, verdict in ((0.0, Verdict.FAIL), (1e-4, Verdict.PASS)):
        case = case_of(lambda x: x.sum(), gradients, X, measure=blunt(1e-12), rounding=rounding)
        assert judge(case)["x"].verdict is verdict


def test_a_pass_in_float32_says_what_limits_it():
    x = X.astype(np.float32)
    finding = judge(case_of(lambda x: (x * x).sum(), (2 * x,), x))["x"]
    assert finding.verdict is Verdict.PASS
    assert finding.reason == "limited by float32"


def grid(x):
    """A line that is rounded to a grid, and so has no slope where a small step looks."""
    return np.round(x, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_claim_that_the_function_bears_out_at_larger_steps_is_not_refuted(seed):
    x = np.random.default_rng(seed).uniform(1, 2, 40)
    report = examine_backward(lambda x: (grid(x), x), lambda dy, x: dy.copy(), (x,), seed=seed)
    assert report.verdict is not Verdict.FAIL, str(report)


@pytest.mark.parametrize("decimals", [2, 3])
@pytest.mark.parametrize("seed", range(40))
def test_no_grid_that_the_output_is_rounded_to_refutes_a_right_claim(seed, decimals):
    x = np.random.default_rng(0).standard_normal((5, 3))
    report = examine_backward(
        lambda x: (np.round(np.tanh(x), decimals), x), lambda dy, x: dy / np.cosh(x) ** 2, (x,), seed=seed, hints=False
    )
    assert report.verdict is Verdict.INCONCLUSIVE, str(report)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_unit_bears_no_claim_out(seed):
    x = -np.random.default_rng(seed).uniform(1, 2, 40)
    report = examine_backward(lambda x: (np.maximum(x, 0), x), lambda dy, x: dy.copy(), (x,), seed=seed, hints=False)
    assert report.verdict is Verdict.FAIL


@pytest.mark.parametrize("seed", SEEDS)
def test_where_differences_at_one_small_step_add_up_the_oracle_is_not_asked_again(seed):
    x = np.random.default_rng(seed).standard_normal(1000)
    right = examine_backward(lambda x: (np.tanh(x), x), lambda dy, x: dy / np.cosh(x) ** 2, (x,), seed=seed)
    wrong = examine_backward(
        lambda x: (np.tanh(x), x), lambda dy, x: 2 * dy / np.cosh(x) ** 2, (x,), seed=seed, hints=False
    )
    assert wrong.verdict is Verdict.FAIL
    assert wrong.evaluations <= 12 * right.evaluations


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("factor", [-1.0, 5.0, 0.2])
def test_a_claim_that_no_step_bears_out_is_refuted(factor, seed):
    x = np.random.default_rng(seed).uniform(1, 2, 40)
    smooth = examine_backward(lambda x: (np.sin(x), x), lambda dy, x: factor * dy * np.cos(x), (x,), seed=seed)
    assert smooth.verdict is Verdict.FAIL
    rounded = examine_backward(lambda x: (grid(x), x), lambda dy, x: factor * dy, (x,), seed=seed)
    assert rounded.verdict is not Verdict.PASS


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ripple_finer_than_every_step_refutes_nobody(seed):
    x = np.random.default_rng(seed).standard_normal(5)

    def forward(x):
        return x * x + 1e-4 * np.sin(1e7 * x), x

    report = examine_backward(forward, lambda dy, x: dy * (2 * x + 1e3 * np.cos(1e7 * x)), (x,), seed=seed)
    assert report.verdict is not Verdict.FAIL, str(report)


# -- a tolerance: certainly smaller, certainly larger, or too near to tell

OFF = np.array([1.0, -1.0, 1.0, -1.0])  # as long as a gradient of ones


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("error", "verdict"),
    [(1e-6, Verdict.PASS), (1e-5, Verdict.PASS), (1e-4, Verdict.INCONCLUSIVE), (1e-3, Verdict.FAIL), (1, Verdict.FAIL)],
)
def test_an_error_passes_below_a_tolerance_fails_above_and_is_undecided_beside_it(error, verdict, seed):
    case = case_of(lambda x: x.sum(), (np.ones(4) + error * OFF,), X, tol=1e-4)
    finding = judge(replace(case, rng=np.random.default_rng(seed)))["x"]
    assert finding.verdict is verdict
    assert finding.error == pytest.approx(error, rel=0.8)
    if verdict is Verdict.PASS:
        assert error < finding.bound <= 1e-4
        assert finding.reason == f"measurably off by {finding.error:.1e}, within the tolerance"


def test_an_error_too_near_to_the_tolerance_is_told_with_both_its_bounds():
    measure, tangents = counted(lambda v: Estimate(v.sum(), 1e-13))
    finding = judge(case_of(lambda x: x.sum(), (np.ones(4) + 1e-4 * OFF,), X, measure=measure, tol=1e-4))["x"]
    assert finding.reason == (
        "an error between 3.9e-05 and 2.4e-04 of the gradient was measured by 24 probes, too near to tol=1e-04 to tell "
        "on which side: choose another tol, or mend it"
    )
    assert len(tangents) == 24 + 1  # one of them along the claimed gradient itself


def test_with_a_tolerance_an_oracle_too_blunt_to_tell_is_not_asked_again_and_again():
    measure, tangents = counted(blunt(1e-3))
    finding = judge(case_of(lambda x: x.sum(), (np.ones(4),), X, measure=measure, tol=1e-6))["x"]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "could hide, and 1e-06 is what a pass must exclude" in finding.reason
    assert len(tangents) == 2


def test_with_a_tolerance_what_errors_explain_passes_as_it_does_without():
    finding = judge(case_of(lambda x: x.sum(), (np.ones(4),), X, measure=blunt(1e-8), tol=1e-4))["x"]
    assert (finding.verdict, finding.reason) == (Verdict.PASS, None)


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        (lambda v: Estimate(v.sum(), 1e-13, 1.0), KINK),
        (
            lambda _v: Estimate(np.nan, np.inf),
            "the forward is finite at too few steps around the point: move it away from the edge of its domain",
        ),
    ],
)
def test_a_tolerance_decides_nothing_at_a_kink_or_at_the_edge_of_a_domain(measure, reason):
    finding = judge(case_of(lambda x: x.sum(), (np.ones(4),), X, measure=measure, tol=1e-4))["x"]
    assert (finding.verdict, finding.reason) == (Verdict.INCONCLUSIVE, reason)


def test_a_tolerance_splits_a_joint_claim_by_argument():
    findings = judge(case_of(line, (RIGHT[0] * (1 + 1e-6), RIGHT[1] * 1.01), X, W, tol=1e-4))
    assert findings["x"].verdict is Verdict.PASS
    assert findings["w"].verdict is Verdict.FAIL


def closed(x, w, b):
    """A unit that is closed, and a decay of its weight: nothing depends on x and b here."""
    z = x * w + b
    return np.maximum(z, 0.0).sum() + 0.05 * (w * w).sum(), (x, w, z > 0)


def test_a_small_bias_behind_a_closed_unit_is_vacuous_and_no_doubt():
    def backward(dout, cache):
        x, w, mask = cache
        return dout * mask * w, dout * (mask * x + 0.1 * w), dout * mask * np.ones(1)

    args = np.array([0.575]), np.array([-0.605]), np.array([0.0033])
    report = examine_backward(closed, backward, args, seed=0)
    assert report.verdict is Verdict.PASS, str(report)
    assert report.arguments["b"].reason == VACUOUS


def test_a_forgotten_gradient_of_a_small_bias_is_not_vacuous():
    def forward(x, b):
        return np.tanh(x + b), x + b

    def backward(dout, z):
        return dout * (1 - np.tanh(z) ** 2), np.zeros(3)

    report = examine_backward(forward, backward, (np.array([0.3, -0.2, 0.9]), np.full(3, 1e-4)), seed=0)
    assert report.arguments["b"].verdict is Verdict.FAIL


def test_a_gradient_whose_norm_overflows_is_wrong_where_the_probes_disagree():
    x = np.random.default_rng(0).standard_normal(5)
    report = examine_backward(lambda x: (np.sin(x), x), lambda dy, x: dy * 0 + 1e308, (x,), seed=0)
    assert report.verdict is Verdict.FAIL


# -- zero, because a sum cancels


def normalised(x, b):
    z = x + b
    s = z.std(0)
    y = (z - z.mean(0)) / s
    return y, (y, s)


def normalised_backward(factor):
    def backward(dy, cache):
        y, s = cache
        dz = (dy - dy.mean(0) - y * (dy * y).mean(0)) / s
        return dz, dz.sum(0) + factor

    return backward


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_gradient_that_cancels_is_zero_up_to_rounding(seed, scale, dtype):
    rng = np.random.default_rng(seed)
    args = [scale * rng.standard_normal(shape).astype(dtype) for shape in ((7, 4), 4)]
    args = [arg.astype(dtype) for arg in args]
    finding = examine_backward(normalised, normalised_backward(dtype(0)), args, seed=seed).arguments["b"]
    assert finding.verdict is Verdict.PASS
    assert finding.reason.startswith("zero up to rounding: a larger effect than")


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_no_rounding_is_not_taken_for_zero(seed):
    rng = np.random.default_rng(seed)
    args = rng.standard_normal((7, 4)), rng.standard_normal(4)
    finding = examine_backward(normalised, normalised_backward(1e-3), args, seed=seed).arguments["b"]
    assert finding.verdict is not Verdict.PASS


def test_a_gradient_lost_in_its_own_rounding_is_undecided_and_says_so():
    t = np.array([1e-6])
    report = examine_backward(
        lambda t: ((1 - np.cos(t)) / t**2, t),
        lambda d, t: d * (t * np.sin(t) - 2 * (1 - np.cos(t))) / t**3,
        (t,),
        seed=0,
    )
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "no more than its own rounding" in report.arguments["t"].reason


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.0])
def test_an_output_that_is_small_beside_another_has_a_cotangent_of_its_own_size(factor):
    x, y = np.random.default_rng(0).standard_normal((2, 4))
    report = examine_backward(
        lambda x, y: ((np.sin(y), 1e-14 * np.sin(x)), (x, y)),
        lambda d, c: (factor * d[1] * 1e-14 * np.cos(c[0]), d[0] * np.cos(c[1])),
        (x, y),
        seed=0,
    )
    assert report.arguments["x"].verdict is (Verdict.PASS if factor == 1 else Verdict.FAIL)
    assert report.arguments["y"].verdict is Verdict.PASS


@pytest.mark.parametrize("size", [1e160, 1e-160, 1e300, 1e-300])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_numbers_whose_squares_overflow_are_judged_like_others(factor, size):
    x = np.random.default_rng(0).standard_normal(4)
    report = examine_backward(lambda x: (size * np.sin(x), x), lambda d, x: factor * d * size * np.cos(x), (x,), seed=0)
    assert report.verdict is (Verdict.PASS if factor == 1 else Verdict.FAIL)


def test_code_that_refuses_float64_is_checked_in_float32():
    def forward(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sin(x), x

    x = np.random.default_rng(0).standard_normal(5).astype(np.float32)
    assert examine_backward(forward, lambda d, x: d * np.cos(x), (x,), seed=0)
    assert examine_backward(forward, lambda d, x: 2 * d * np.cos(x), (x,), seed=0).verdict is Verdict.FAIL


def test_an_argument_without_any_effect_is_vacuous_however_small_it_is():
    x, e = np.random.default_rng(0).standard_normal((2, 4))
    report = examine_backward(
        lambda x, e: (np.sin(x) + 0 * e, x), lambda d, x: (d * np.cos(x), 0 * d), (x, 1e-4 * e), seed=0
    )
    assert report.arguments["e"].reason == VACUOUS
    assert report
