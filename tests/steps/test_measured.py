import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.oracles import central_difference
from gradcheck.pairing import Pairing
from gradcheck.steps.measured import Measured, measured


def of_sines(size, seconds):
    """Return what is measured of the gradient of Σ sin x, and that gradient."""

    def forward(x):
        return np.sum(np.sin(x)), None

    arguments = Arguments.of(forward, (np.random.default_rng(0).standard_normal(size),))
    slope = central_difference(Pairing.at_point(forward, arguments, 1.0), arguments.point)
    found = measured(arguments, slope, ["x"], np.random.default_rng(1), seconds)
    return found["x"], np.cos(arguments.point)


@pytest.mark.parametrize(("size", "seconds"), [(20, 10.0), (20, 0.0), (3000, 10.0)])
def test_the_true_gradient_is_told_from_any_other(size, seconds):
    truth, gradient = of_sines(size, seconds)
    assert truth.holds(gradient)
    assert not truth.holds(1.0001 * gradient)
    assert not truth.holds(gradient[None])
    assert truth.share(3 * gradient) == pytest.approx(1 / 3)
    assert truth.share(gradient + 1e-3) is None


def test_entries_are_known_of_a_small_gradient_while_there_is_time():
    assert of_sines(20, 10.0)[0].entries is not None
    assert of_sines(20, 0.0)[0].entries is None
    assert of_sines(3000, 10.0)[0].entries is None


def test_what_is_left_of_a_gradient_is_known_as_well_as_the_whole():
    whole = Measured((4,), np.array([1.0, 2.0, 3.0, 4.0]), close=1e-9)
    rest = whole.less(np.array([1.0, 2.0, 3.0, 3.999]))
    assert rest.share(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(1e-3)
    assert rest.close > 1e-6


def test_nothing_equals_what_is_known_too_vaguely():
    vague = Measured((2,), np.array([1.0, 2.0]), close=0.5)
    assert not vague.holds(np.array([1.0, 2.0]))
    assert vague.share(np.array([1.0, 2.0])) is None
