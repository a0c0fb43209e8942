import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.pairing import Pairing
from gradcheck.verdict.laws import match_gradients
from gradcheck.verdict.rounding import rounding_of_gradients


def sigmoid_forward(x):
    y = 1 / (1 + np.exp(-x))
    return y, y


def sigmoid_backward(dout, y):
    return dout * y * (1 - y)


def relative_rounding(forward, backward, x):
    arguments = Arguments.of(forward, (x,))
    cotangent = np.ones_like(x)
    claims = match_gradients("backward", backward(cotangent, forward(x)[1]), arguments)
    pairing = Pairing.at_point(forward, arguments, cotangent)
    known, random = rounding_of_gradients(forward, backward, cotangent, claims.gradients, pairing)
    return np.abs(known) + random, np.ravel(claims.gradients["x"])


def test_it_bounds_the_rounding_of_a_saturated_backward_entry_by_entry():
    x = np.linspace(0.0, 30.0, 31)
    rounding, claimed = relative_rounding(sigmoid_forward, sigmoid_backward, x)
    e = np.exp(-x)
    assert np.all(np.abs(claimed - e / (1 + e) ** 2) <= rounding)
    assert rounding[0] < 1e-13 * claimed[0]
    assert rounding[25] > 1e-10 * claimed[25]


def test_a_float32_backward_is_allowed_the_rounding_of_float32():
    rounding, claimed = relative_rounding(sigmoid_forward, sigmoid_backward, np.linspace(-3, 3, 7, dtype=np.float32))
    x = np.linspace(-3, 3, 7)
    e = np.exp(-x)
    assert np.all(np.abs(claimed - e / (1 + e) ** 2) <= rounding)
    assert np.all(rounding < 1e-5 * claimed)


def test_code_that_does_not_run_in_the_other_precision_is_allowed_a_fixed_number_of_roundings():
    def forward(x):
        if x.dtype != np.float64:
            raise ValueError
        return x, None

    rounding, claimed = relative_rounding(forward, lambda dout, _: dout.copy(), np.ones(3))
    np.testing.assert_allclose(rounding, 1e4 * np.finfo(float).eps * claimed, rtol=1e-2)


def test_code_that_overflows_in_the_other_precision_is_allowed_the_same():
    def backward(dout, x):
        return dout * x if x.dtype == np.float64 else x * np.inf

    rounding, claimed = relative_rounding(lambda x: (x, x), backward, np.ones(2))
    np.testing.assert_allclose(rounding, 1e4 * np.finfo(float).eps * claimed, rtol=1e-2)


def test_what_is_lost_in_every_precision_is_seen_from_the_size_of_the_output():
    x = np.array([60.0])
    rounding, claimed = relative_rounding(sigmoid_forward, sigmoid_backward, x)
    assert claimed == 0
    assert 1 / (1 + np.exp(60.0)) <= rounding[0] <= 1e-16


def test_a_kink_between_two_neighbouring_points_is_no_rounding():
    rounding, claimed = relative_rounding(
        lambda x: (np.maximum(x - x[0], 0), x - x[0]), lambda dout, z: dout * (z > 0), np.array([1.0, 1.0, 1.0 + 1e-16])
    )
    assert np.all(claimed == 0)
    assert np.all(rounding < 1e-4)


def test_code_that_ends_in_float64_alone_is_run_in_no_lower_precision():
    def forward(x):
        assert x.dtype.itemsize >= 8
        return np.sin(x), x

    rounding, claimed = relative_rounding(forward, lambda dout, x: dout * np.cos(x), np.ones(3))
    assert np.all(rounding < 1e-13 * np.abs(claimed))
