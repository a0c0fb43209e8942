import math

import numpy as np
import pytest

from gradcheck import Verdict, examine_backward
from gradcheck.verdict.exactness import INEXACT, WRONG

SEEDS = range(4)
SIZES = 10.0 ** np.random.default_rng(0).uniform(-6, 0, 60) * np.random.default_rng(1).choice([-1, 1], 60)


def examined(error, sizes=SIZES, *, seed=0, **settings):
    """Return the finding about Σ sizes · sin(x), of which ``error(true)`` is added to the gradient."""
    x = np.random.default_rng(seed).uniform(0.2, 1.2, sizes.shape)
    true = sizes * np.cos(x)
    off = error(true)
    report = examine_backward(
        lambda x: ((sizes * np.sin(x)).sum(), x),
        lambda d, _x: d * (true + off),
        (x,),
        seed=seed,
        hints=False,
        **settings,
    )
    return report.arguments["x"]


def diffuse(part):
    """Return the error of an approximation: the same everywhere, whatever the size of the entry."""
    noise = np.random.default_rng(5).standard_normal(60)
    return lambda true: part * np.linalg.norm(true) / np.linalg.norm(noise) * noise


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("part", [1e-9, 1e-8, 1e-7, 3e-7])
def test_what_is_right_to_seven_digits_passes_and_the_remark_says_how_exact_it_is(part, seed):
    for error in (diffuse(part), lambda true: part * true):
        finding = examined(error, np.sign(SIZES) if part > 1e-8 else SIZES, seed=seed)
        assert finding.verdict is Verdict.PASS
        assert finding.error == pytest.approx(part, rel=0.8)
        assert finding.error < finding.bound <= INEXACT
        assert finding.remark == f"right to {finding.error:.1e}, not exact: a guard, a solver, rounding?"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("factor", [1 + 1e-6, 1 - 1e-6, 1 + 8e-6, 1 - 4e-5, 1.001])
def test_a_factor_that_seven_digits_show_fails(factor, seed):
    assert examined(lambda true: (factor - 1) * true, seed=seed).verdict is Verdict.FAIL


@pytest.mark.parametrize("seed", SEEDS)
def test_an_error_that_is_diffuse_and_larger_fails(seed):
    assert examined(diffuse(1.5e-6), seed=seed).verdict is Verdict.FAIL


@pytest.mark.parametrize("off", [1.0, 2.0, 0.1])
def test_an_entry_that_is_grossly_wrong_for_its_own_size_fails_however_small_it_is(off):
    index = int(np.argmin(np.abs(SIZES)))

    def error(true):
        wrong = np.zeros_like(true)
        wrong[index] = -off * true[index]
        assert np.linalg.norm(wrong) < 10 * WRONG * np.linalg.norm(true)
        return wrong

    finding = examined(error)
    assert finding.verdict is Verdict.FAIL
    assert finding.worst.name == f"dx[{index}]"


def test_a_small_entry_that_is_claimed_to_be_zero_fails_and_is_named():
    sizes = np.where(np.arange(60) == 7, 1e-8, 1.0)
    finding = examined(lambda true: np.where(np.arange(60) == 7, -true, 0.0), sizes)
    assert finding.verdict is Verdict.FAIL
    assert finding.reason == "dx[7] is wrong by 1.0e+00 of its own size"


def test_small_entries_are_no_grosser_than_the_error_that_all_entries_have():
    """A diffuse error of 1e-7 is all of an entry of 1e-7, and nothing says that this entry is a mistake."""
    sizes = np.where(np.arange(60) < 3, 1e-7, 1.0)
    assert examined(diffuse(1e-7), sizes).verdict is Verdict.PASS


@pytest.mark.parametrize("seed", SEEDS)
def test_with_a_tolerance_of_zero_whatever_can_be_measured_fails(seed):
    assert examined(lambda true: 1e-8 * true, seed=seed, tol=0).verdict is Verdict.FAIL
    assert examined(lambda true: 0 * true, seed=seed, tol=0).verdict is Verdict.PASS


def test_strictly_what_is_not_exact_fails():
    finding = examined(lambda true: 2e-7 * true, strict=True)
    assert finding.verdict is Verdict.FAIL
    assert finding.reason == finding.remark


def test_float32_is_judged_by_its_own_rounding_and_says_which_tolerance_that_is():
    W = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)

    def output(x):
        return np.tanh(x.astype(np.float32) @ W)

    def backward(dy, x):
        return ((dy.astype(np.float32) * (1 - output(x) ** 2)) @ W.T).astype(np.float64)

    x = np.random.default_rng(1).standard_normal((64, 64))
    report = examine_backward(lambda x: (output(x).astype(np.float64), x), backward, (x,), seed=0, hints=False)
    assert report.verdict is Verdict.PASS, str(report)
    wrong = examine_backward(
        lambda x: (output(x).astype(np.float64), x), lambda dy, x: 1.05 * backward(dy, x), (x,), seed=0, hints=False
    )
    assert wrong.verdict is Verdict.FAIL


def test_a_probe_that_measures_nothing_makes_no_entry_gross():
    from gradcheck.oracles import Estimate
    from gradcheck.verdict.exactness import gross
    from tests.verdict.test_judge import case_of

    lost = case_of(lambda x: x.sum(), (np.ones(4),), np.ones(4), measure=lambda _v: Estimate(math.nan, math.inf))
    assert gross(lost, 0) is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("large", [1e6, 1e8, 1e10])
@pytest.mark.parametrize("factor", [3.0, 0.0, 1.0])
def test_a_small_entry_is_not_wrong_in_the_shadow_of_a_large_one(factor, large, seed):
    sizes, wrong = np.array([large, 1.0, 2.0]), np.array([1.0, factor, factor])
    report = examine_backward(
        lambda x: (sizes * np.sin(x), x),
        lambda d, x: d * wrong * sizes * np.cos(x),
        (np.array([0.3, 0.5, 0.7]),),
        seed=seed,
    )
    assert report.verdict is (Verdict.PASS if factor == 1 else Verdict.FAIL), str(report)


@pytest.mark.parametrize("near", [1e-8, 1e-9])
def test_what_lies_beside_an_entry_next_to_the_edge_is_not_waved_through(near):
    x = np.array([near, 0.5, 0.7])
    for wrong, verdict in ((np.ones(3), Verdict.PASS), (np.array([1.0, 3.0, 1.0]), Verdict.FAIL)):
        report = examine_backward(lambda x: (np.log(x), x), lambda d, x, w=wrong: d * w / x, (x,), seed=0)
        assert report.verdict is verdict, str(report)
