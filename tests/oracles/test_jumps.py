import numpy as np
import pytest

from gradcheck.oracles.extrapolation import Scale, two_sided
from gradcheck.oracles.jumps import past_jumps

STEPS = [0.5 / 4.2**k for k in reversed(range(12))]
SCALE = Scale(floor=1e-16, unit=2.0**-52, grain=2.0**-52)


def looked_into(phi):
    right, left = [phi(t) for t in STEPS], [phi(-t) for t in STEPS]
    limit = two_sided(STEPS, right, left, SCALE)
    return limit, past_jumps(phi, STEPS, right, left, limit, SCALE)


def sawtooth(period, amplitude=1.0):
    """A slope of ``amplitude`` that jumps take back, as digits that are lost inside leave it."""
    return lambda t: amplitude * ((t + period / 3) % period - period / 3) + 0.1 * np.sin(t)


@pytest.mark.parametrize("period", [3e-5, 1e-4, 3e-4])
def test_a_slope_that_jumps_take_back_is_found_out_and_the_one_across_them_is_within_the_bound(period):
    limit, (across, reason) = looked_into(sawtooth(period))
    assert abs(limit.value - 1.1) < 1e-6
    assert abs(across.value - 0.1) <= across.error
    assert reason.startswith("the forward jumps by ")


def test_of_jumps_as_small_as_rounding_only_the_slope_across_them_counts():
    _, (across, _) = looked_into(sawtooth(3e-5, 1e-3))
    assert abs(across.value - 0.1) <= across.error < 1e-3


def test_of_larger_jumps_the_bound_covers_the_slope_between_them_as_well():
    _, (across, _) = looked_into(sawtooth(1e-4))
    assert abs(across.value - 1.1) <= across.error
    assert abs(across.value - 0.1) <= across.error
    assert across.kink == 0


@pytest.mark.parametrize(
    "phi",
    [
        np.tanh,
        lambda t: np.sin(1e4 * t) / 1e4,
        lambda t: t + max(t - 3e-5, 0.0),
        lambda t: t + max(t - 3e-5, 0.0) - 2 * max(-t - 7e-5, 0.0) + max(t - 1.1e-4, 0.0),
        lambda t: t + np.sqrt(max(t - 1e-4, 0.0)),
        lambda t: t + (t > 3e-5),
        lambda t: t + 1e-5 * (t > 0.02),
    ],
    ids=["smooth", "oscillating", "kink", "kinks", "root", "branch", "far jump"],
)
def test_what_does_not_jump_or_not_by_little_and_near_is_left_as_it_is(phi):
    assert looked_into(phi)[1] is None
