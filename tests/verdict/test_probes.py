import math

import numpy as np
import pytest

from gradcheck.oracles import Estimate
from gradcheck.verdict.probes import Probe, certificate, least_error, probe


def test_a_probe_compares_both_sides_of_the_identity():
    one = probe(np.array([1.0, 2.0]), lambda _v: Estimate(10.0, 0.5), np.array([3.0, 4.0]))
    assert one == Probe(claimed=11.0, measured=10.0, error=pytest.approx(0.5), kink=0.0)
    assert one.gap == 1.0
    assert not one.agrees
    assert one.reach == pytest.approx(1.5)


def test_the_rounding_of_the_claim_widens_the_error():
    one = probe(np.array([1e16, 2.0]), lambda _v: Estimate(1e16, 0.0), np.array([1.0, 1.0]))
    assert 1.0 < one.error < 100.0
    assert one.agrees


def test_a_gap_that_a_kink_explains_is_no_contradiction():
    assert probe(np.array([1.0]), lambda _v: Estimate(0.5, 0.0, kink=0.5), np.ones(1)).agrees


def test_an_error_beyond_the_certificate_is_missed_no_more_often_than_promised():
    """With τ from two probes and ‖e‖ = ε(δ), the share of pairs of probes that both stay within τ is at most δ."""
    tau, delta, k = 1.0, 1e-2, 2
    epsilon = math.sqrt(2 / math.pi) * tau * delta ** (-1 / k)
    rng = np.random.default_rng(0)
    gaps = np.abs(epsilon * rng.standard_normal((200_000, k)))
    assert np.mean((gaps <= tau).all(axis=1)) <= 1.05 * delta


def test_the_certificate_is_the_formula_of_its_docstring():
    probes = [Probe(0.0, 0.0, 1e-10, 0.0), Probe(0.0, 0.0, 4e-10, 0.0)]
    assert certificate(probes) == pytest.approx(math.sqrt(2 / math.pi) * 2e-10 * 1e3)


def test_more_probes_make_the_certificate_sharper():
    one = Probe(0.0, 0.0, 1e-10, 0.0)
    assert [certificate([one] * k) > certificate([one] * (k + 1)) for k in (1, 2, 3)] == [True] * 3


@pytest.mark.parametrize("probes", [[], [Probe(0.0, 0.0, math.inf, 0.0)], [Probe(0.0, math.nan, 1.0, 0.0)]])
def test_without_a_finite_probe_nothing_is_certified(probes):
    assert certificate(probes) == math.inf


def test_gaps_that_no_error_explains_count_with_what_was_seen_of_them():
    """Of two squared Gaussian numbers the mean is below 3.7e-7 with a probability of 1e-6."""
    probes = [Probe(1e-8, 0.0, 1e-10, 0.0), Probe(4e-8, 0.0, 1e-10, 0.0)]
    assert certificate(probes) == pytest.approx(math.hypot(1.01e-8, 4.01e-8) / math.sqrt(2 * 3.679e-7), rel=1e-3)


def gaps(error, k, rounds=100_000):
    """Return probes of a gradient that is off by ``error``, as many as are asked at once."""
    drawn = error * np.random.default_rng(0).standard_normal((rounds, k))
    return [[Probe(gap, 0.0, 0.0, 0.0) for gap in row] for row in drawn.tolist()]


@pytest.mark.parametrize("k", [2, 6, 24])
def test_seen_gaps_certify_less_than_the_error_no_more_often_than_promised(k, monkeypatch):
    monkeypatch.setattr("gradcheck.verdict.probes.CONFIDENCE", 1e-2)
    assert np.mean([certificate(probes) < 1.0 for probes in gaps(1.0, k, 20_000)]) <= 1.2e-2


@pytest.mark.parametrize("k", [1, 2, 6, 24])
def test_the_least_error_exceeds_the_error_no_more_often_than_promised(k, monkeypatch):
    monkeypatch.setattr("gradcheck.verdict.probes.CONFIDENCE", 1e-2)
    some = gaps(1.0, k, 20_000)
    assert np.mean([least_error(probes) > 1.0 for probes in some]) <= 1e-2
    assert np.mean([least_error(probes) for probes in some]) > 0.1


def test_what_errors_and_kinks_explain_is_no_error_of_the_gradient():
    assert least_error([Probe(1.0, 0.5, 0.3, 0.2), Probe(1.0, 1.2, 0.3, 0.0)]) == 0.0


def test_more_looks_ask_for_more_evidence():
    probes = [Probe(0.0, 1.0, 0.1, 0.0)] * 3
    assert certificate(probes, looks=24) > certificate(probes)
    assert least_error(probes, looks=24) < least_error(probes)


def test_what_was_not_measured_contradicts_nothing():
    assert Probe(1.0, math.nan, math.inf, 0.0).agrees
