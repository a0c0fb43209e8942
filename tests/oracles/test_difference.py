import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck import central_difference

seeds = st.integers(0, 2**32 - 1)
scales = st.integers(-12, 12).map(lambda power: 10.0**power)


@given(seed=seeds, in_scale=scales, out_scale=scales)
def test_the_bound_holds_at_every_scale_of_value_and_gradient(seed, in_scale, out_scale):
    rng = np.random.default_rng(seed)
    W, x, y, v = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(4), rng.standard_normal(3)
    f = lambda u: out_scale * (y @ np.tanh(W @ (u / in_scale)))  # noqa: E731  (a formula)
    true = out_scale * (y @ ((W @ v) / np.cosh(W @ x) ** 2)) / in_scale
    value, error, kink, _ = central_difference(f, in_scale * x)(v)
    assert abs(value - true) <= error
    assert error <= 1e-8 * out_scale / in_scale
    assert kink == 0


def test_a_first_direction_costs_11_evaluations_and_each_further_one_6():
    rng = np.random.default_rng(0)
    calls = 0

    def f(u):
        nonlocal calls
        calls += 1
        return np.tanh(u).sum()

    pushforward = central_difference(f, rng.standard_normal(50))
    counts = []
    for _ in range(5):
        pushforward(rng.standard_normal(50))
        counts.append(calls)
    assert np.diff([0, *counts]).tolist() == [11, 6, 6, 6, 6]


def test_a_slope_that_is_small_by_chance_costs_no_more_and_has_an_honest_bound():
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((2, 50))
    gradient = 1 / np.cosh(x) ** 2
    v -= (1 - 1e-3) * (gradient @ v) / (gradient @ gradient) * gradient
    f, calls = counted(lambda u: np.tanh(u).sum())
    value, error, *_ = central_difference(f, x)(v)
    assert len(calls) == 11
    assert abs(value - gradient @ v) <= error
    assert 1e-9 * abs(value) < error < 1e-7 * abs(value)


def counted(f):
    calls = []

    def call(u):
        calls.append(u)
        return f(u)

    return call, calls


@given(seed=seeds, off=st.floats(-2, 2))
def test_what_is_measured_against_a_claim_tells_it_from_the_slope_with_an_honest_bound(seed, off):
    rng = np.random.default_rng(seed)
    x, y, (v, w) = rng.standard_normal(9), rng.standard_normal(9), rng.standard_normal((2, 9))
    pushforward = central_difference(lambda u: y @ np.tanh(u), x)
    pushforward(w)
    true = float(y @ (v / np.cosh(x) ** 2))
    value, error, *_ = pushforward.against(v, true + off)
    assert abs(value - true) <= error
    assert abs(off) <= 1e-6 or abs(value - true - off) > error


def test_a_claim_that_is_far_off_costs_4_evaluations_and_one_that_is_right_6():
    rng = np.random.default_rng(0)
    f, calls = counted(lambda u: np.tanh(u).sum())
    x, v = rng.standard_normal((2, 50))
    pushforward = central_difference(f, x)
    pushforward(v)
    true = float((v / np.cosh(x) ** 2).sum())
    counts = [len(calls)]
    for claimed in (2 * true, true):
        pushforward.against(v, claimed)
        counts.append(len(calls))
    assert np.diff(counts).tolist() == [4, 6]


def test_two_steps_do_not_refute_where_they_do_not_suit():
    pushforward = central_difference(lambda u: np.sin(1e5 * u[0]) + u[1], np.ones(2))
    pushforward(np.array([0.0, 1.0]))
    true = 1e5 * np.cos(1e5)
    value, error, *_ = pushforward.against(np.array([1.0, 0.0]), true)
    assert abs(value - true) <= error


def test_at_a_kink_two_steps_say_nothing():
    pushforward = central_difference(lambda u: abs(u[0]) + u[1], np.array([0.0, 1.0]))
    pushforward(np.array([0.0, 1.0]))
    assert pushforward.against(np.array([1.0, 1.0]), 5.0).kink > 0


def test_steps_that_suited_one_direction_are_sampled_anew_where_they_do_not_suit_another():
    f = lambda u: np.sin(1e5 * u[0]) + u[1]  # noqa: E731
    pushforward = central_difference(f, np.ones(2))
    pushforward(np.array([0.0, 1.0]))
    value, error, *_ = pushforward(np.array([1.0, 0.0]))
    true = 1e5 * np.cos(1e5)
    assert abs(value - true) <= error <= 0.1 * abs(true)


def test_fast_oscillation_does_not_fool_it():
    for w in 10.0 ** np.arange(6):
        f = lambda u, w=w: np.sin(w * u).sum()  # noqa: E731
        value, error, *_ = central_difference(f, np.array([0.3, 0.7]))(np.array([1.0, -2.0]))
        assert abs(value - w * (np.cos(0.3 * w) - 2 * np.cos(0.7 * w))) <= error


def test_noise_widens_the_bound_by_itself():
    noise = np.random.default_rng(0)
    f = lambda u: np.tanh(u).sum() + 1e-6 * noise.standard_normal()  # noqa: E731
    value, error, *_ = central_difference(f, np.array([0.5]))(np.array([1.0]))
    assert abs(value - 1 / np.cosh(0.5) ** 2) <= error
    assert 1e-7 < error < 1e-2


def test_float32_inside_is_seen_as_noise():
    x = np.array([0.1, 0.2, 0.3])
    value, error, *_ = central_difference(lambda u: float(np.sin(u.astype(np.float32)).sum()), x)(np.ones(3))
    assert abs(value - np.cos(x).sum()) <= error
    assert 1e-8 < error < 1e-3


def test_an_exactly_zero_derivative_still_has_a_bound():
    value, error, *_ = central_difference(lambda u: np.cos(u).sum(), np.zeros(3))(np.ones(3))
    assert value == 0
    assert 0 < error < 1e-12


def test_a_kink_at_the_point_is_reported_with_half_its_jump():
    value, error, kink, _ = central_difference(lambda u: np.maximum(3 * u, 0).sum(), np.zeros(1))(np.ones(1))
    assert value == pytest.approx(1.5, abs=error)
    assert kink == pytest.approx(1.5, rel=1e-6)


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_a_kink_near_the_point_is_not_stepped_over(distance):
    x = np.array([distance, 1.0, 2.0])
    value, error, kink, _ = central_difference(lambda u: np.abs(u).sum(), x)(np.ones(3))
    assert abs(value - 3) <= error < 1e-4
    assert kink == 0


def test_a_shut_relu_has_derivative_zero():
    value, error, *_ = central_difference(lambda u: np.maximum(u, 0).sum(), np.array([-1.0]))(np.ones(1))
    assert (value, error < 1e-12) == (0, True)


def test_steps_that_leave_the_domain_are_not_used():
    value, error, *_ = central_difference(lambda u: np.log(u).sum(), np.array([1e-3]))(np.array([1.0]))
    assert abs(value - 1e3) <= error < 1e-3


def test_a_function_that_is_nowhere_finite_nearby_has_an_infinite_bound():
    f = lambda u: 1.0 if u[0] == 2.0 else np.nan  # noqa: E731
    assert central_difference(f, np.array([2.0]))(np.ones(1)).error == np.inf


def test_an_array_output_has_an_estimate_per_entry():
    x, v = np.array([0.2, 0.4]), np.array([1.0, -1.0])
    value, error, *_ = central_difference(lambda u: np.outer(u, u), x)(v)
    true = np.outer(v, x) + np.outer(x, v)
    assert value.shape == error.shape == (2, 2)
    assert np.all(np.abs(value - true) <= error)


def test_the_zero_direction_has_derivative_zero():
    assert central_difference(lambda u: u.sum(), np.ones(2))(np.zeros(2))[:2] == (0, 0)


def test_numpy_warnings_and_error_state_are_left_alone():
    before = np.geterr()
    central_difference(lambda u: np.exp(1000 * u).sum(), np.ones(1))(np.ones(1))
    assert np.geterr() == before


def test_at_the_edge_of_the_domain_one_side_is_enough():
    f = lambda u: np.sum(np.where(u >= 0, u, np.nan) ** 2 + 3 * u)  # noqa: E731
    value, error, *_ = central_difference(f, np.array([0.0, 1.0]))(np.array([1.0, 0.5]))
    assert abs(value - 5.5) <= error < 1e-6


def test_steps_at_which_the_function_raises_are_not_used():
    def f(u):
        if u[0] > 1.3:
            raise ValueError("outside")
        return np.log(2 - u[0])

    value, error, *_ = central_difference(f, np.array([1.0]))(np.ones(1))
    assert abs(value + 1) <= error < 1e-6


@pytest.mark.parametrize("w", [1e6, 1e7, 1e8])
def test_structure_finer_than_the_ladder_is_not_taken_for_noise(w):
    x = np.array([0.7, -1.2, 0.4])
    value, error, *_ = central_difference(lambda u: np.sin(w * u).sum(), x)(np.ones(3))
    assert abs(value - w * np.cos(w * x).sum()) <= error


def test_tiny_points_are_stepped_beyond_their_own_length():
    x = np.full(5, 1e-5)
    value, error, *_ = central_difference(lambda u: 1 + np.tanh(u).sum(), x)(np.ones(5))
    assert abs(value - 5 / np.cosh(1e-5) ** 2) <= error < 1e-8


@pytest.mark.parametrize(
    "f",
    [
        lambda u: np.maximum(u, 0).sum(),
        lambda u: (1e5 + np.tanh(u).sum()) - 1e5,
        lambda u: np.sin(1e3 * u).sum(),
        lambda u: float(np.tanh(u.astype(np.float32)).sum()),
    ],
    ids=["kink", "noise", "structure", "float32"],
)
def test_a_few_rungs_are_believed_of_smooth_quiet_code_alone(f):
    calls = []
    central_difference(lambda u: (calls.append(u), f(u))[1], np.array([0.3, 0.0, -0.7]))(np.array([1.0, 2.0, -1.0]))
    assert 25 <= len(calls) <= 60


def test_a_function_that_knows_its_value_at_the_point_is_not_asked_for_it():
    class Shifted:
        origin, rounding = 0.0, 1e-16
        calls = 0

        def __call__(self, u):
            self.calls += 1
            return np.tanh(u).sum() - np.tanh(0.5)

    f = Shifted()
    value, error, *_ = central_difference(f, np.array([0.5]))(np.ones(1))
    assert abs(value - 1 / np.cosh(0.5) ** 2) <= error
    assert f.calls == 10


def test_steps_beyond_the_point_say_nothing_where_the_function_is_seen_to_move_on_none_of_them():
    """The slope of 1e-17 is below all rounding at steps of the point's length, and gone far beyond it."""
    x, v = np.array([0.3, -0.2]), np.array([1.0, 2.0])
    value, error, *_ = central_difference(lambda u: 2.4 + 1e-17 * np.tanh(u).sum(), x)(v)
    assert abs(value - 1e-17 * (v / np.cosh(x) ** 2).sum()) <= error < 1e-13


def test_an_estimate_that_fails_has_an_infinite_error_and_no_undefined_one():
    """Flat but for the two coarsest steps, which are too few for an estimate."""
    flat = lambda u: np.where(np.abs(u - 1) < 0.05, 0.0, u - 1).sum()  # noqa: E731
    assert central_difference(flat, np.array([1.0]))(np.ones(1)).error == np.inf


def test_a_bound_does_not_depend_on_how_long_the_tangent_before_was():
    """A joint tangent is long where gradients are small; an argument alone was once measured as coarsely as it."""
    pushforward = central_difference(lambda x: 1e-7 * np.sin(x).sum(), np.array([0.3, 0.7]))
    pushforward(np.array([1e9, 1e9]))
    alone = pushforward(np.array([1.0, 0.0]))
    assert abs(alone.value - 1e-7 * np.cos(0.3)) <= alone.error < 1e-8 * alone.value


EDGES = {
    "arccos": (np.arccos, lambda x: -1 / np.sqrt((1 - x) * (1 + x)), lambda d: 1 - d),
    "arctanh": (np.arctanh, lambda x: 1 / ((1 - x) * (1 + x)), lambda d: d - 1),
    "log1p": (np.log1p, lambda x: 1 / (1 + x), lambda d: d - 1),
    "arccosh": (np.arccosh, lambda x: 1 / np.sqrt((x - 1) * (x + 1)), lambda d: 1 + d),
    "log": (np.log, lambda x: 1 / x, lambda d: d),
}


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-8, 1e-10, 1e-12, 1e-14])
@pytest.mark.parametrize("edge", EDGES)
def test_a_point_near_the_edge_of_the_domain_is_measured_from_within_or_not_at_all(edge, distance):
    f, df, place = EDGES[edge]
    x = np.array([place(distance), place(0.3)])
    pushforward = central_difference(lambda u: f(u).sum(), x)
    for v in np.random.default_rng(0).standard_normal((4, 2)):
        estimate, true = pushforward(v), float(df(x) @ v)
        assert not abs(estimate.value - true) > estimate.error
        assert distance < 1e-8 or estimate.error <= 1e-3 * abs(true)


def test_a_forward_that_refuses_what_lies_beyond_its_edge_is_measured_from_within():
    p = np.array([1e-9, 0.4, 0.6])

    def entropy(u):
        if np.any(u <= 0):
            raise ValueError("probabilities must be positive")
        return -(u * np.log(u)).sum()

    v = np.array([1.0, -2.0, 1.0])
    value, error, *_ = central_difference(entropy, p)(v)
    true = -((np.log(p) + 1) @ v)
    assert abs(value - true) <= error <= 1e-4 * abs(true)


def test_one_side_is_believed_only_at_the_edge_and_not_at_1e_30_from_it():
    estimate = central_difference(lambda u: np.sqrt(u).sum(), np.array([1e-30, 1.0]))(np.ones(2))
    assert estimate.error == np.inf
    assert estimate.reason == (
        "the point lies less than 2e-15 of its length from the edge of the forward's domain: move it inside, or pass "
        "reference=, which is differentiated by machine"
    )


def test_a_root_that_is_continued_beyond_its_edge_is_not_measured_at_steps_that_are_all_too_coarse():
    estimate = central_difference(lambda u: np.arccos(np.clip(u, -1, 1)).sum(), np.array([1 - 2e-16, 0.3]))(np.ones(2))
    assert estimate.error == np.inf
    assert estimate.reason == (
        "the forward changes its slope closer to the point than float64 can step: move the point, or pass reference=, "
        "which is differentiated by machine"
    )


def test_an_entry_near_an_edge_that_hardly_moves_is_not_left_behind_by_the_rounding_of_the_point():
    """At steps at which the first entry stands still, the function is smooth and another one."""
    x, v = np.array([3e-12 - 1, 0.4]), np.array([1e-3, 1.0])
    value, error, *_ = central_difference(lambda u: np.arccos(u).sum(), x)(v)
    assert abs(value + (v / np.sqrt((1 - x) * (1 + x))).sum()) <= error


def test_cancellation_inside_is_not_taken_for_a_slope():
    """Between two jumps of 1 − cos t, the slope of this is −2 f / t; the function's is −t / 12."""
    f = lambda u: (1 - np.cos(u[0])) / u[0] ** 2  # noqa: E731
    for t in 10.0 ** np.arange(-6, 0):
        estimate = central_difference(f, np.array([t]))(np.ones(1))
        true = np.sin(t) / t**2 - 4 * np.sin(t / 2) ** 2 / t**3 if t > 0.05 else -t / 12 + t**3 / 180
        assert abs(estimate.value - true) <= estimate.error
    assert central_difference(f, np.array([1e-6]))(np.ones(1)).reason == (
        "the forward jumps by 2e-04 of its size near the point (digits lost in a cast or a cancellation, or a solver "
        "that stops early): compute it in a way that keeps its digits, or pass tol="
    )


def test_a_part_that_is_cast_to_float16_is_covered_by_the_bound():
    x = np.array([0.3, -1.2, 0.7])
    f = lambda u: (np.sin(u).astype(np.float16) + u).sum()  # noqa: E731
    value, error, *_ = central_difference(f, x)(np.ones(3))
    assert abs(value - (np.cos(x) + 1).sum()) <= error


def test_iterations_that_stop_at_a_tolerance_have_the_slope_of_those_that_ran():
    def root(u):
        z = 1.0
        while abs(z * z - u[0]) > 1e-4:
            z = (z + u[0] / z) / 2
        return z

    value, error, *_ = central_difference(root, np.array([2.0]))(np.ones(1))
    assert abs(value - 0.5 / np.sqrt(2)) <= error + 1e-4
    assert error < 1e-9


@pytest.mark.parametrize("scale", [1e-290, 1e-150, 1e148, 1e290])
def test_numbers_whose_squares_leave_the_range_of_float64_are_measured_as_others_are(scale):
    x, v = np.array([0.3, -0.7]), np.array([1.0, 2.0])
    true = float((v / np.cosh(x) ** 2).sum())
    value, error, *_ = central_difference(lambda u: scale * np.tanh(u).sum(), x)(v)
    assert abs(value - scale * true) <= error <= 1e-9 * scale
    value, error, *_ = central_difference(lambda u: np.tanh(u / scale).sum(), scale * x)(scale * v)
    assert abs(value - true) <= error <= 1e-9


def test_whatever_a_forward_raises_beside_the_point_the_step_is_not_used():
    def f(u):
        if u[0] > 1.001:
            raise LookupError
        return np.exp(u[0])

    value, error, *_ = central_difference(f, np.array([1.0]))(np.ones(1))
    assert abs(value - np.e) <= error < 1e-6


def test_an_interrupt_beside_the_point_stops_at_once():
    def f(u):
        if u[0] != 1.0:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        central_difference(f, np.array([1.0]))(np.ones(1))


def test_a_further_direction_near_an_edge_costs_no_more_than_one_far_from_it():
    f, calls = counted(lambda u: np.log(u).sum())
    pushforward = central_difference(f, np.array([1e-9, 1.0, 2.0]))
    pushforward(np.array([1.0, 0.5, -0.3]))
    before = len(calls)
    pushforward(np.array([0.9, -0.5, 0.2]))
    assert len(calls) - before == 8


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (
            lambda u: float(np.sin(u.astype(np.float32)).sum()),
            "the forward carries noise of 9e-08 of its size (a lower precision inside, digits lost in a cancellation, "
            "randomness, or a solver that stops early): compute it more exactly, or pass tol=",
        ),
        (
            lambda u: 1e9 + np.tanh(u).sum(),
            "what the output changes by is next to the rounding of the output itself: take off what is large and does "
            "not change, or check the part of the forward before it is added",
        ),
        (lambda u: np.tanh(u).sum(), None),
    ],
    ids=["float32", "offset", "smooth"],
)
def test_a_wide_bound_has_a_reason_along_every_direction(f, reason):
    pushforward = central_difference(f, np.array([0.1, 0.2, 0.3]))
    for v in np.random.default_rng(0).standard_normal((3, 3)):
        assert pushforward(v).reason == reason


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 10.0, 1e3])
def test_a_kink_under_curvature_is_reported_with_half_its_jump(curvature):
    x, v = np.array([1.0, 0.0, -2.0]), np.array([0.3, 1.0, 0.5])
    f = lambda u: curvature * (u**2).sum() + np.maximum(u[1], 0)  # noqa: E731  (a formula)
    value, error, kink, _ = central_difference(f, x)(v)
    assert kink == pytest.approx(0.5, rel=1e-3)
    assert abs(value - (2 * curvature * (x @ v) + 0.5)) <= error


def test_units_that_are_shut_by_a_hair_have_their_slope_within_bound_and_kink():
    x = np.array([-5e-9, -7e-9, -1.0])
    value, error, kink, _ = central_difference(lambda u: np.maximum(u, 0).sum(), x)(np.array([1.0, -0.5, 0.3]))
    assert abs(value) <= error + kink


def test_a_small_number_that_is_cast_to_float32_among_larger_ones_is_no_structure():
    x = np.array([1e-6, 0.7, -0.4])
    value, error, *_ = central_difference(lambda u: float(np.sin(u.astype(np.float32)).sum()), x)(np.ones(3))
    assert abs(value - np.cos(x).sum()) <= error < 1e-2
