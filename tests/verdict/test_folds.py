import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.verdict.folds import bounded, examine
from gradcheck.verdict.hair import Hair, Unknown, folded, spread

RNG = np.random.default_rng


def hair(forward, backward, *args, pulls=200, cotangent=None):
    arguments = Arguments.of(forward, args)
    out, _ = forward(*args)
    cotangent = RNG(5).standard_normal(np.shape(out))[()] if cotangent is None else cotangent
    return Hair(forward, backward, arguments, cotangent, np.arange(arguments.layout.size), pulls)


def relu(x):
    return np.maximum(x, 0), x


def relu_with(slope):
    return lambda dy, x: dy * np.where(x == 0, slope, x > 0)


# -- bounded least squares


def test_least_squares_inside_the_bounds_are_the_plain_ones():
    jumps, t = RNG(0).standard_normal((6, 4)), np.array([0.2, 0.9, 0.5, 0.1])
    assert bounded(jumps, jumps @ t) == pytest.approx(t)


@pytest.mark.parametrize("seed", range(40))
def test_bounded_least_squares_meet_the_conditions_of_an_optimum(seed):
    rng = RNG(seed)
    jumps = rng.standard_normal((rng.integers(1, 12), rng.integers(1, 30)))
    wanted = jumps @ rng.uniform(-0.5, 1.5, jumps.shape[1]) + rng.standard_normal(len(jumps))
    t = bounded(jumps, wanted)
    downhill = jumps.T @ (wanted - jumps @ t)
    assert ((t >= 0) & (t <= 1)).all()
    assert np.abs(downhill[(t > 0) & (t < 1)]).max(initial=0.0) < 1e-8
    assert (downhill[t == 0] < 1e-8).all()
    assert (downhill[t == 1] > -1e-8).all()


def test_without_jumps_there_is_nothing_to_choose():
    assert bounded(np.empty((3, 0)), np.ones(3)).size == 0


# -- the pair a hair beside the point


def test_a_leaf_of_zeros_moves_by_the_least_of_the_others_but_by_no_more_than_one():
    f = lambda x, b: (x + b, None)  # noqa: E731
    assert spread(Arguments.of(f, (np.full(2, 1e-3), np.zeros(2)))) == pytest.approx(np.full(4, 1e-3))
    assert spread(Arguments.of(f, (np.full(2, 1e3), np.zeros(2)))) == pytest.approx([1e3, 1e3, 1, 1])


def test_pullbacks_are_counted_and_end():
    one = hair(relu, relu_with(0.0), np.array([0.0, 1.0]), pulls=1)
    one.gradient()
    with pytest.raises(Unknown, match="more folds meet than can be told apart"):
        one.gradient()


def raising(dy, x):
    raise ValueError("no float64, please")


def without_numbers(dy, x):
    return dy * np.nan


@pytest.mark.parametrize("backward", [raising, without_numbers])
def test_a_backward_that_does_not_run_beside_the_point_leaves_it_unknown(backward):
    answer = examine(hair(relu, backward, np.array([0.0, 1.0, -1.0])), RNG(0))
    assert answer.holds is None
    assert answer.reason == "the pair cannot be run a hair beside the point"
    assert not folded(hair(relu, backward, np.array([0.0, 1.0, -1.0])), RNG(0))


def test_a_forward_that_jumps_is_told_from_one_that_folds():
    step = lambda x: (np.floor(x), x)  # noqa: E731
    assert (
        examine(hair(step, lambda dy, x: 0 * dy + 0 * x, np.array([1.0, 0.5])), RNG(0)).reason
        == "the forward itself jumps"
    )


@pytest.mark.parametrize("seed", range(100))
def test_a_gradient_that_jumps_at_the_point_is_folded(seed):
    x = np.array([0.0, 0.3, -1.2])
    assert folded(hair(relu, relu_with(0.0), x), RNG(seed))
    assert not folded(hair(relu, relu_with(0.0), x + 0.1), RNG(seed))
    assert not folded(hair(lambda x: (np.sin(9 * x), x), lambda dy, x: dy * np.cos(9 * x), x), RNG(seed))


# -- choices


@pytest.mark.parametrize("seed", range(4))
def test_a_choice_at_each_of_several_folds_holds_and_is_sharp(seed):
    slopes = np.array([0.0, 0.4, 1.0, 0.7])
    answer = examine(hair(relu, relu_with(slopes), np.array([0.0, 0.0, 0.0, 2.0])), RNG(seed))
    assert answer.holds
    assert answer.sharp


@pytest.mark.parametrize("seed", range(4))
def test_what_is_no_choice_says_which_part_of_a_jump_is_taken_and_the_nearest_choice(seed):
    answer = examine(hair(relu, relu_with(3.0), np.array([0.0, 1.0]), cotangent=np.array([2.0, 1.0])), RNG(seed))
    assert answer.holds is False
    assert answer.part == pytest.approx(2.5)
    assert answer.claimed == pytest.approx([6.0, 1.0])
    assert answer.nearest == pytest.approx([2.0, 1.0])


def test_parts_out_of_bounds_that_differ_from_fold_to_fold_are_no_one_part():
    slopes = np.array([3.0, 1.7, 0.0])
    answer = examine(hair(relu, relu_with(slopes), np.array([0.0, 0.0, 1.0])), RNG(0))
    assert answer.holds is False
    assert np.isnan(answer.part)


@pytest.mark.parametrize("seed", range(4))
def test_a_cone_whose_gradient_is_not_the_slope_is_no_ground_to_stand_on(seed):
    answer = examine(hair(relu, lambda dy, x: dy * (x > -1e-3), np.array([0.0, 1.0])), RNG(seed))
    assert answer.holds is False
    assert answer.reason == "a hair beside the point the gradient is not the slope of the forward"


def test_where_a_cone_ends_before_a_difference_can_look_nothing_is_known():
    answer = examine(hair(relu, relu_with(0.0), np.array([3e-8, -3e-8, 1.0])), RNG(1))
    assert answer.holds is not False


def test_a_leaf_without_a_gradient_is_not_held_against_its_own_rounding():
    """At zero weights the gradient of what they multiply is of the size of the hair."""
    forward = lambda x, W: (np.maximum(x @ W, 0), (x, W))  # noqa: E731

    def backward(dy, cache):
        x, W = cache
        dz = dy * (x @ W > 0)
        return dz @ W.T, x.T @ dz

    answer = examine(hair(forward, backward, RNG(1).standard_normal((3, 4)), np.zeros((4, 2))), RNG(0))
    assert answer.holds
