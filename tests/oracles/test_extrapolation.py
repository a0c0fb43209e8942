import math

import numpy as np
import pytest

from gradcheck.oracles.extrapolation import Limit, Scale, one_sided, rough, two_sided

STEPS = [0.5 / 4.2**k for k in reversed(range(12))]
SCALE = Scale(floor=1e-16, unit=2.0**-52, grain=2.0**-52)


def samples(phi, steps=STEPS):
    return steps, [float(phi(t)) for t in steps], [float(phi(-t)) for t in steps]


@pytest.mark.parametrize("size", [1e-300, 1e-12, 1.0, 1e12, 1e300])
def test_the_slope_of_a_smooth_function_is_found_at_every_size(size):
    limit = two_sided(*samples(lambda t: size * np.sin(t)), SCALE._replace(floor=1e-16 * size))
    assert abs(limit.value - size) <= limit.error <= 1e-10 * size


def test_a_few_steps_that_are_finite_are_too_few():
    limit = two_sided(*samples(lambda t: t if abs(t) < 2e-7 else np.nan), SCALE)
    assert math.isnan(limit.value)
    assert limit.error == math.inf


def test_the_steps_beyond_the_first_that_is_not_finite_are_not_used():
    limit = two_sided(*samples(lambda t: 3 * t if abs(t) < 1e-3 or abs(t) > 0.1 else np.inf), SCALE)
    assert abs(limit.value - 3) <= limit.error
    assert limit.step < 1e-3


def test_what_stands_still_everywhere_has_slope_zero():
    assert two_sided(*samples(lambda _t: 0.0), SCALE._replace(floor=0.0))[:2] == (0.0, 0.0)


def test_what_fades_like_a_root_down_to_the_finest_step_is_not_taken_for_noise():
    root = lambda t: math.copysign(math.sqrt(abs(t)), t)  # noqa: E731  (a formula)
    assert two_sided(*samples(root), SCALE).error == math.inf


def test_noise_does_not_fade_and_has_a_bound():
    rng = np.random.default_rng(0)
    limit = two_sided(*samples(lambda t: t + 1e-6 * rng.standard_normal()), SCALE)
    assert abs(limit.value - 1) <= limit.error < 1e-3


def test_the_rounding_of_the_point_widens_a_bound_at_steps_that_are_hardly_longer():
    steps = [1e-13 / 4.2**k for k in reversed(range(4))]
    blurred = two_sided(*samples(lambda t: 1e4 * t, steps), SCALE._replace(grain=2.0**-52))
    sharp = two_sided(*samples(lambda t: 1e4 * t, steps), SCALE._replace(grain=0.0))
    assert blurred.error > 10 * sharp.error


def test_one_side_is_enough_for_a_polynomial():
    limit = one_sided(STEPS, [3 * t + t * t for t in STEPS], SCALE)
    assert abs(limit.value - 3) <= limit.error < 1e-6


@pytest.mark.parametrize("phi", [math.sqrt, lambda t: math.log1p(1e13 * t)], ids=["root", "logarithm"])
def test_one_side_says_nothing_of_what_has_no_slope_there(phi):
    assert one_sided(STEPS, [phi(t) for t in STEPS], SCALE).error == math.inf


def test_two_steps_outside_the_domain_refute_nothing():
    limit = rough([1e-3, 4e-3], [1e-3, math.nan], [-1e-3, -4e-3], SCALE, Limit(1.0, 1e-9, 1e-16, 1e-2))
    assert limit.error == math.inf
