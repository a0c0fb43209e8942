import numpy as np
import pytest

from gradcheck.explanation.evidence import FEW, FIRST, JOINT, PROBES, SPARE, WHOLE, Exhausted
from tests.explanation.suspects.pair import evidence_of, normal

X, W, B = normal(0, (5, 3), (3, 4), (4,))


def affine(x, W, b):
    return x @ W + b, (x, W)


def affine_backward(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


def halved(dout, cache):
    dx, dW, db = affine_backward(dout, cache)
    return dx, dW / 2, db


def evidence(dtype=np.float64, args=(X, W, B), **settings):
    return evidence_of(affine, halved, tuple(arg.astype(dtype) for arg in args), **settings)


def truth(found):
    return 2 * found.claimed["W"]


# -- what is verified


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_true_gradient_is_true_in_either_precision(dtype):
    found = evidence(dtype)
    assert found.is_true("W", truth(found))
    assert found.is_true("x", found.claimed["x"])


@pytest.mark.parametrize("off", [1e-5, -1e-5, 1e-6])
def test_what_is_off_by_little_is_not_true(off):
    found = evidence()
    assert not found.is_true("W", (1 + off) * truth(found))
    assert found.combine("W", [(1 + off) * truth(found) + off * np.sin(W)]) is None


def test_one_wrong_entry_is_not_true():
    found = evidence()
    wrong = truth(found).copy()
    wrong[1, 2] += 1e-5 * np.linalg.norm(wrong)
    assert not found.is_true("W", wrong)
    assert found.combine("W", [wrong]) is None


def test_in_float32_what_is_off_by_a_thousandth_is_not_true():
    found = evidence(np.float32)
    assert not found.is_true("W", 1.001 * truth(found))


def test_another_shape_and_nan_are_not_true():
    found = evidence()
    assert not found.is_true("W", truth(found).T)
    assert not found.is_true("W", np.full_like(W, np.nan))
    assert found.combine("W", [np.full_like(W, np.nan)]) is None


def test_the_coefficients_of_the_true_combination_are_found():
    found = evidence()
    np.testing.assert_allclose(found.combine("W", [found.claimed["W"]]), [2.0], rtol=1e-9)
    terms = [truth(found) - 3 * W, W]
    np.testing.assert_allclose(found.combine("W", terms), [1.0, 3.0], rtol=1e-7)
    assert found.combine("W", [W, np.sin(W)]) is None


def test_no_combination_is_taken_that_a_few_probes_would_always_meet():
    """As many unknowns as probes fit anything: SPARE more have to be met."""
    found = evidence()
    rng = np.random.default_rng(1)
    noise = [rng.standard_normal(W.shape) for _ in range(PROBES - SPARE + 1)]
    assert found.combine("W", noise) is None
    assert found.combine("W", [truth(found), *noise[:2]]) is not None
    assert found.combine("W", [truth(found), *noise[:3]]) is None


def test_terms_that_are_zero_or_the_same_have_no_coefficients():
    found = evidence()
    assert found.combine("W", [np.zeros_like(W)]) is None
    assert found.combine("W", [truth(found), truth(found)]) is None


def test_slopes_along_chosen_tangents_are_compared():
    found = evidence()
    tangents = [np.ones_like(W), W]
    slopes = [float(np.sum(truth(found) * tangent)) for tangent in tangents]
    assert found.is_true_along("W", tangents, slopes)
    assert not found.is_true_along("W", tangents, [slopes[0], slopes[1] * (1 + 1e-5)])


def test_a_small_gradient_is_measured_entry_by_entry_and_a_large_one_is_not():
    found = evidence()
    np.testing.assert_allclose(found.truth("W"), truth(found), rtol=1e-7)
    large = evidence(args=normal(1, (5, 3), (3, WHOLE), (WHOLE,)))
    assert large.truth("W") is None


def test_true_gradients_of_several_arguments_cost_a_few_slopes_together():
    found = evidence()
    assert found.are_true({"x": found.claimed["x"], "W": truth(found), "b": found.claimed["b"]})
    assert found.spent == [JOINT]


@pytest.mark.parametrize("off", [1e-6, 1e-5, 1.0])
@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_one_of_several_that_is_off_by_little_is_seen_however_small_it_is(off, scale):
    def scaled(x, W, b):
        return x @ W + scale * b, (x, W)

    true = evidence_of(scaled, lambda d, c: (d @ c[1].T, c[0].T @ d, scale * d.sum(axis=0)), (X, W, B)).claimed
    found = evidence_of(scaled, lambda d, c: (d @ c[1].T, 2 * c[0].T @ d, scale * d.sum(axis=0)), (X, W, B))
    assert found.are_true(true)
    assert not found.are_true(true | {"b": (1 + off) * true["b"]})


def test_one_of_several_that_is_zero_or_of_another_shape_is_seen():
    found = evidence()
    true = {"x": found.claimed["x"], "W": truth(found)}
    assert not found.are_true(true | {"b": np.zeros_like(B)})
    assert not found.are_true(true | {"b": found.claimed["b"][:1]})
    assert not found.are_true(true | {"b": np.full_like(B, np.nan)})


# -- the budget


def test_every_slope_is_counted_and_measured_once():
    found = evidence()
    assert found.spent == [0]
    found.is_true("W", truth(found))
    assert found.spent == [FIRST]
    found.combine("W", [truth(found)])
    assert found.spent == [FIRST]
    found.is_true("b", found.claimed["b"])
    assert found.spent == [2 * FIRST]
    found.truth("b")
    assert found.spent == [2 * FIRST + B.size]


def test_more_unknowns_cost_more_slopes_and_those_measured_before_stay():
    found = evidence()
    before = found.slopes("W")
    found.combine("W", [truth(found), W, np.sin(W)])
    assert found.spent == [PROBES]
    np.testing.assert_array_equal(found.slopes("W").values[:FIRST], before.values)
    np.testing.assert_array_equal(found.slopes("W").tangents[:FIRST], before.tangents)


def test_a_budget_that_is_used_up_raises():
    found = evidence(budget=FIRST - 1)
    with pytest.raises(Exhausted) as raised:
        found.is_true("W", truth(found))
    assert str(raised.value) == "3 slopes were measured, and no more are allowed for an explanation"
    assert found.spent == [FIRST - 1]


def test_a_jacobian_is_paid_for_too():
    with pytest.raises(Exhausted):
        evidence(budget=W.size - 1).jacobians("W")
    found = evidence(budget=W.size)
    found.jacobians("W")
    assert found.spent == [W.size]


# -- Jacobians


def test_the_claimed_and_the_measured_jacobian_are_those_of_the_pair():
    claimed, measured = evidence().jacobians("W")
    exact = np.einsum("ni,oq->noiq", X, np.eye(4)).reshape(20, 12)
    np.testing.assert_allclose(claimed, exact / 2, atol=1e-12)
    np.testing.assert_allclose(measured, exact, atol=1e-9)


def test_there_is_no_jacobian_of_a_single_number_or_of_many():
    loss = lambda w: (float(np.sum(w**2)), w)  # noqa: E731
    assert evidence_of(loss, lambda dout, w: dout * w, (W,)).jacobians("w") is None
    large = evidence(args=normal(1, (5, FEW // 4 + 1), (FEW // 4 + 1, 4), (4,)))
    assert large.jacobians("W") is None


# -- what is at hand


def with_settings(x, w, scale, steps):
    h = np.tanh(x @ w) * scale
    return h * steps, {"x": x, "w": w, "h": h, "gain": np.float64(0.25), "flag": True}


def wrong_with_settings(dout, cache):
    return dout @ cache["w"].T, cache["x"].T @ dout


def test_every_array_in_sight_is_named_once_and_plain_numbers_are_apart():
    found = evidence_of(with_settings, wrong_with_settings, (X, W, 0.5, 3))
    assert list(found.at_hand) == ["x", "w", "out", "dout", "cache['h']"]
    assert found.numbers == {"scale": 0.5, "steps": 3.0, "cache['gain']": 0.25}
    assert found.sizes == {"x.shape[0]": 5, "x.shape[1]": 3, "w.shape[1]": 4}


def test_another_cotangent_is_pulled_back():
    found = evidence()
    (ones,) = found.cotangents([np.ones(20)])
    assert ones.shape == (5, 4)
    np.testing.assert_allclose(found.pull(ones)["b"], np.full(4, 5.0))
    np.testing.assert_allclose(found.pull(ones)["W"], X.T @ np.ones((5, 4)) / 2)


def test_what_a_backward_writes_into_does_not_spoil_the_evidence():
    def writes(dout, cache):
        dout *= 2
        return affine_backward(dout, cache)

    found = evidence_of(affine, writes, (X, W, B))
    before = found.flat_cotangent.copy()
    (cotangent,) = found.cotangents([before])
    found.pull(cotangent)
    np.testing.assert_array_equal(found.flat_cotangent, before)


def test_a_sealed_cache_can_be_read_and_not_written_to_and_its_containers_are_new():
    found = evidence()
    x, W = found.sealed()
    assert np.array_equal(x, X)
    with pytest.raises(ValueError, match="read-only"):
        W += 1
    assert found.cache[1].flags.writeable


def test_what_else_could_be_written_into_is_not_sealed():
    def layered(x, W, b):
        return x @ W + b, (x, W, {"layer": object()})

    assert evidence_of(layered, lambda dout, cache: affine_backward(dout, cache[:2]), (X, W, B)).sealed() is None
