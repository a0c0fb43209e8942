import numpy as np
import pytest

from gradcheck import Verdict, complex_step, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.verdict.judge import KINK
from gradcheck.verdict.kinks import beside, outside_the_slopes

SEEDS = range(4)


def relu(x):
    return np.maximum(x, 0), x


def relu_backward_with(slope):
    return lambda dy, x: dy * np.where(x == 0, slope, x > 0)


def pool(x):
    """The maximum of each row."""
    return x.max(axis=1), x


def first_winner(dy, x):
    dx = np.zeros_like(x)
    dx[np.arange(len(x)), x.argmax(axis=1)] = dy
    return dx


def every_winner(dy, x):
    return dy[:, None] * (x == x.max(axis=1, keepdims=True))


def shared_among_winners(dy, x):
    won = x == x.max(axis=1, keepdims=True)
    return dy[:, None] * won / won.sum(axis=1, keepdims=True)


TIED = np.array([[1.0, 1.0, 0.0], [0.3, 0.2, -1.0], [2.0, 2.0, 2.0], [-1.0, 0.5, 0.25]])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_several_zeros_of_a_relu_pass_as_a_convention_whatever_their_cotangents(slope, seed):
    x = np.array([0.0, 0.0, 1.0, -1.0, 0.0, 2.0, 0.0, 0.0])
    report = examine_backward(relu, relu_backward_with(slope), (x,), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)
    assert report.arguments["x"].conventions >= 1
    assert report.arguments["x"].reason == f"{KINK}; measured beside it"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slope", [2.0, -1.0, 1.1])
def test_a_slope_beyond_both_sides_fails(slope, seed):
    x = np.array([0.0, 0.5, 1.0, -1.0])
    assert examine_backward(relu, relu_backward_with(slope), (x,), seed=seed).verdict is Verdict.FAIL


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("factor", [1 + 1e-4, 0.0, 2.0])
def test_a_wrong_entry_fails_although_a_kink_is_at_another_one(factor, seed):
    x = np.array([0.0, 0.5, 1.0, -1.0, 2.0])
    wrong = lambda dy, x: dy * (x > 0) * np.where(np.arange(5) == 2, factor, 1.0)  # noqa: E731
    finding = examine_backward(relu, wrong, (x,), seed=seed).arguments["x"]
    assert finding.verdict is Verdict.FAIL
    assert [entry.name for entry in finding.wrong_entries] == ["dx[2]"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_argument_beside_the_kinked_one_fails_alone(seed):
    def forward(x, b):
        return np.maximum(x, 0) + b, x

    wrong = lambda dy, x: (dy * (x > 0), 1.5 * dy)  # noqa: E731
    report = examine_backward(forward, wrong, (np.array([0.0, 1.0, -1.0]), np.ones(3)), seed=seed)
    assert report.arguments["x"].verdict is Verdict.PASS
    assert report.arguments["b"].verdict is Verdict.FAIL


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("backward", [first_winner, shared_among_winners])
def test_who_wins_a_tie_is_a_convention(backward, seed):
    report = examine_backward(pool, backward, (TIED,), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tie_that_is_counted_twice_fails(seed):
    report = examine_backward(pool, every_winner, (TIED,), seed=seed)
    assert report.verdict is Verdict.FAIL
    assert report.arguments["x"].reason.startswith("at a kink of out[")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("at_zero", "verdict"), [(0.0, "pass"), (1.0, "pass"), (-1.0, "pass"), (3.0, "fail")])
def test_an_absolute_value_at_zero_has_any_slope_between_minus_one_and_one(at_zero, verdict, seed):
    backward = lambda dy, x: dy * np.where(x == 0, at_zero, np.sign(x))  # noqa: E731
    report = examine_backward(lambda x: (np.abs(x), x), backward, (np.array([0.0, 1.0, -2.0, 0.5]),), seed=seed)
    assert str(report.verdict) == verdict, str(report)


# A leaky ReLU in the middle; the first row of x is zero, and so is what its unit reads.
X = np.array([[0.0, 0.0, 0.0], [0.4, -1.2, 0.7], [1.0, 0.3, -0.5]])
W1 = np.array([[0.5, -1.0], [1.5, 0.2], [-0.3, 0.8]])
W2 = np.array([[1.0, -0.6, 0.4], [0.7, 1.1, -0.9]])


def leaky_net(x, W1, W2):
    z = x @ W1
    h = np.where(z > 0, z, 0.1 * z)
    return np.tanh(h @ W2), (x, W1, W2, z, h)


def leaky_net_backward_with(slope):
    def backward(dy, cache):
        x, W1, W2, z, h = cache
        da = dy / np.cosh(h @ W2) ** 2
        dz = da @ W2.T * np.where(z == 0, slope, np.where(z > 0, 1.0, 0.1))
        return dz @ W1.T, x.T @ dz, h.T @ da

    return backward


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slope", [0.1, 1.0])
def test_a_kink_in_a_hidden_layer_is_a_convention(slope, seed):
    report = examine_backward(leaky_net, leaky_net_backward_with(slope), (X, W1, W2), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)
    assert report.arguments["x"].conventions >= 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("first", [True, False])
def test_a_sort_never_fails_at_ties(first, seed):
    """Order statistics are neither convex nor concave: their slopes do not bound a convention."""

    def forward(x):
        order = np.lexsort((np.arange(x.size) * (1 if first else -1), x))
        return x[order], order

    def backward(dy, order):
        dx = np.zeros_like(dy)
        dx[order] = dy
        return dx

    x = np.array([1.0, -1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 2.0, -1.0])
    report = examine_backward(forward, backward, (x,), seed=seed)
    assert report.verdict is not Verdict.FAIL, str(report)


def median(x):
    return np.median(x), x


def first_median(dm, x):
    return dm * (np.arange(x.size) == np.argmax(x == np.median(x)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_median_between_two_ties_never_fails(seed):
    x = np.array([0.0, 1.0, -2.0, 0.0, 3.0])
    assert examine_backward(median, first_median, (x,), seed=seed).verdict is not Verdict.FAIL


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_median_among_three_ties_never_fails(seed):
    """Both sides of every line have one slope, but it is not linear in the line."""
    x = np.array([0.0, 0.0, 0.0, 1.0, -2.0])
    assert examine_backward(median, first_median, (x,), seed=seed).verdict is not Verdict.FAIL


def test_an_oracle_that_sees_no_kink_does_not_refuse_a_convention():
    x = np.array([0.0, 1.0, -1.0])
    forward = lambda x: (np.where(x.real > 0, x, 0), x)  # noqa: E731
    report = examine_backward(forward, relu_backward_with(1.0), (x,), oracle=complex_step, seed=0)
    assert report.verdict is not Verdict.FAIL, str(report)


def test_no_convention_is_counted_where_no_kink_is():
    x = np.array([0.3, 1.0, -1.0])
    assert examine_backward(relu, relu_backward_with(0.0), (x,), seed=0).arguments["x"].conventions == 0


def outside(forward, backward, *args):
    return outside_the_slopes(forward, backward, Arguments.of(forward, args), 0, np.random.default_rng(0))


def test_it_says_at_which_output_the_slope_lies_outside_both_sides():
    said = outside(relu, relu_backward_with(2.0), np.array([1.0, 0.0, -1.0]))
    start, end = "at a kink of out[1] the claimed slope ", " on both sides"
    assert said.startswith(start)
    assert said.endswith(end)


def test_where_f_is_smooth_nothing_lies_outside():
    assert outside(lambda x: (np.sin(x), x), lambda dy, x: 5 * dy, np.ones(3)) is None


def test_where_f_ends_nothing_is_said():
    assert outside(lambda x: (np.sqrt(x), x), lambda dy, x: dy, np.zeros(3)) is None


def test_a_gradient_that_breaks_its_contract_is_not_looked_into():
    assert outside(relu, lambda dy, x: dy[:1], np.array([1.0, 0.0, -1.0])) is None


def test_a_kink_of_a_later_output_is_named_after_it():
    def forward(x):
        return (float(x.sum()), np.abs(x)), x

    said = outside(forward, lambda dout, x: dout[0] + dout[1] * np.where(x == 0, 7.0, np.sign(x)), np.array([1.0, 0.0]))
    assert said.startswith("at a kink of out[1][1] the claimed slope ")


def test_beside_a_point_every_leaf_moves_by_a_part_of_its_own_size():
    arguments = Arguments.of(lambda x, y: (x + y, None), (np.full(50, 1e6), np.zeros(50)))
    moved = beside(arguments, np.random.default_rng(0))
    steps = [np.sqrt(np.mean((now - then) ** 2)) for now, then in zip(moved.values, arguments.values, strict=True)]
    assert steps[0] == pytest.approx(1e4, rel=0.5)
    assert steps[1] == pytest.approx(1e-2, rel=0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_rounding_of_an_output_that_hardly_moves_is_no_kink(seed):
    """A step changes the output by a few of its rounding units; what both sides differ by is noise."""
    rng = np.random.default_rng(seed)
    x, w = 1e-4 * rng.standard_normal((2, 6))

    def smooth(x):
        return 1 + np.tanh(x) * 1e-4 * np.cos(w), x

    backward = lambda dy, x: dy * 1e-4 * np.cos(w) / np.cosh(x) ** 2  # noqa: E731
    assert outside_the_slopes(smooth, backward, Arguments.of(smooth, (x,)), 0, rng) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_claim_is_held_against_the_slopes_in_their_own_precision(dtype):
    """1 − (1 − 1e-6) is 1.3 % larger in float32, and so is the slope that float32 code claims."""
    x, c = np.array([0.0, 0.2, -0.3], dtype), np.full(3, 1e-6, dtype)

    def forward(x):
        small = 1 - (1 - c.astype(x.dtype))
        return np.abs(x) * small, small

    backward = lambda dy, small: dy * small * np.array([1, 1, -1], dtype=small.dtype)  # noqa: E731
    assert outside_the_slopes(forward, backward, Arguments.of(forward, (x,)), 0, np.random.default_rng(0)) is None
