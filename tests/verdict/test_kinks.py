import numpy as np
import pytest

from gradcheck import Verdict, complex_step, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.verdict.kinks import CONVENTION, beside, settle

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
    assert report.arguments["x"].reason == CONVENTION


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
    assert report.arguments["x"].reason == "at a kink: the gradient is none of the conventions that the folds allow"


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
def test_the_order_of_ties_in_a_sort_is_a_convention(first, seed):

    def forward(x):
        order = np.lexsort((np.arange(x.size) * (1 if first else -1), x))
        return x[order], order

    def backward(dy, order):
        dx = np.zeros_like(dy)
        dx[order] = dy
        return dx

    x = np.array([1.0, -1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 2.0, -1.0])
    report = examine_backward(forward, backward, (x,), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)


def median(x):
    return np.median(x), x


def first_median(dm, x):
    return dm * (np.arange(x.size) == np.argmax(x == np.median(x)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_median_between_two_ties_is_a_convention(seed):
    x = np.array([0.0, 1.0, -2.0, 0.0, 3.0])
    assert examine_backward(median, first_median, (x,), seed=seed).verdict is Verdict.PASS


@pytest.mark.parametrize("seed", range(8))
def test_a_median_among_three_ties_is_a_convention(seed):
    """Both sides of every line have one slope, but it is not linear in the line."""
    x = np.array([0.0, 0.0, 0.0, 1.0, -2.0])
    assert examine_backward(median, first_median, (x,), seed=seed).verdict is Verdict.PASS
    twice = lambda dm, x: 2 * first_median(dm, x)  # noqa: E731
    assert examine_backward(median, twice, (x,), seed=seed).verdict is Verdict.FAIL


def test_an_oracle_that_sees_no_kink_does_not_refuse_a_convention():
    x = np.array([0.0, 1.0, -1.0])
    forward = lambda x: (np.where(x.real > 0, x, 0), x)  # noqa: E731
    report = examine_backward(forward, relu_backward_with(1.0), (x,), oracle=complex_step, seed=0)
    assert report.verdict is Verdict.PASS, str(report)


def test_no_convention_is_counted_where_no_kink_is():
    x = np.array([0.3, 1.0, -1.0])
    assert examine_backward(relu, relu_backward_with(0.0), (x,), seed=0).arguments["x"].conventions == 0


def test_beside_a_point_every_leaf_moves_by_a_part_of_its_own_size():
    arguments = Arguments.of(lambda x, y: (x + y, None), (np.full(50, 1e6), np.zeros(50)))
    moved = beside(arguments, np.random.default_rng(0))
    steps = [np.sqrt(np.mean((now - then) ** 2)) for now, then in zip(moved.values, arguments.values, strict=True)]
    assert steps[0] == pytest.approx(1e4, rel=0.5)
    assert steps[1] == pytest.approx(1e-2, rel=0.5)


# -- many folds of both signs at one point


def zero_row_net(slope, threshold=0.0):
    """A ReLU net of which one row of the input and the bias are zero: all units of that row fold."""

    def forward(x, W, b, V):
        z = x @ W + b
        return np.maximum(z, 0) @ V, (x, W, V, z)

    def backward(dy, cache):
        x, W, V, z = cache
        dz = dy @ V.T * np.where(z == threshold, slope, z > threshold)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0), np.maximum(z, 0).T @ dy

    return forward, backward


def zero_row_args(seed, dtype=np.float64):
    normal = np.random.default_rng(seed).standard_normal
    x = normal((4, 5))
    x[1] = 0
    return tuple(array.astype(dtype) for array in (x, normal((5, 7)), np.zeros(7), normal((7, 3))))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_units_that_fold_with_both_signs_at_an_empty_row_are_a_convention(slope, seed):
    report = examine_backward(*zero_row_net(slope), zero_row_args(seed), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)
    assert {finding.reason for finding in report.arguments.values()} == {CONVENTION}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slope", [2.0, -1.0])
def test_a_slope_out_of_bounds_at_an_empty_row_fails_where_it_is(slope, seed):
    report = examine_backward(*zero_row_net(slope), zero_row_args(seed), seed=seed)
    wrong = {path: finding for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL}
    assert set(wrong) == {"x", "b"}
    assert wrong["x"].worst.name.startswith("dx[1, ")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mask_with_another_threshold_fails_although_the_gradient_does_not_jump(seed):
    report = examine_backward(*zero_row_net(1.0, -1e-3), zero_row_args(seed), seed=seed)
    assert report.verdict is Verdict.FAIL, str(report)


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, "pass"), (1.0, "pass"), (2.0, "fail")])
def test_float32_folds_as_float64_does(slope, verdict):
    report = examine_backward(*zero_row_net(slope), zero_row_args(0, np.float32), seed=0)
    assert str(report.verdict) == verdict, str(report)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("at_zero", "verdict"), [(0.0, "pass"), (1.0, "pass"), (-1.0, "fail"), (2.0, "fail")])
def test_a_kink_under_curvature_is_a_convention_all_the_same(at_zero, verdict, seed):
    x = np.random.default_rng(seed).standard_normal(5)
    x[2] = 0

    def forward(x):
        return 10 * (x**2).sum() + np.maximum(x, 0).sum(), x

    backward = lambda d, x: d * (20 * x + np.where(x == 0, at_zero, x > 0))  # noqa: E731
    assert str(examine_backward(forward, backward, (x,), seed=seed).verdict) == verdict


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 1e-8])
def test_a_kink_beside_the_point_is_none_at_the_point(distance, seed):
    x = np.random.default_rng(seed).standard_normal((3, 4))
    x[1, 2], x[0, 0] = distance, -distance
    report = examine_backward(relu, relu_backward_with(0.0), (x,), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)
    assert report.arguments["x"].reason != CONVENTION


@pytest.mark.parametrize("tie", [first_winner, shared_among_winners, every_winner])
def test_a_tie_counted_twice_fails_under_a_loss_in_which_signs_mix(tie):
    x = np.floor(3 * (np.abs(np.random.default_rng(3).standard_normal((20, 5))) % 1))
    c = np.random.default_rng(4).standard_normal(20)
    forward = lambda x: (c @ x.max(axis=1), x)  # noqa: E731
    report = examine_backward(forward, lambda d, x: tie(d * c, x), (x,), seed=0)
    assert report.verdict is (Verdict.FAIL if tie is every_winner else Verdict.PASS), str(report)


def test_what_cannot_be_verified_at_the_point_passes_by_what_is_beside_it_and_says_so():
    """A norm at zero has a gradient of its own along every tangent."""
    x = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, -2.0, 0.5, 3.0]])

    def forward(x):
        r = np.sqrt((x**2).sum(axis=1))
        return r, (x, r)

    backward = lambda dr, c: dr[:, None] * c[0] / np.where(c[1] == 0, 1, c[1])[:, None]  # noqa: E731
    finding = examine_backward(forward, backward, (x,), seed=0).arguments["x"]
    assert finding.verdict is Verdict.PASS
    assert finding.reason == (
        "at a kink: measured beside it; not verifiable at the point, where more folds meet than can be told apart"
    )


def test_a_forward_that_jumps_at_the_point_has_no_convention():
    forward, backward = lambda x: (np.floor(x) + np.abs(x), x), lambda dy, x: dy * np.sign(x)
    finding = examine_backward(forward, backward, (np.array([0.0, 0.3, 1.6, -0.4]),), seed=0).arguments["x"]
    assert finding.verdict is Verdict.INCONCLUSIVE
    arguments = Arguments.of(forward, (np.array([0.0, 0.3]),))
    found = settle(forward, backward, arguments, np.ones(2), [0], np.random.default_rng(0))
    assert found.sentence is None
    assert not found.wrong


@pytest.mark.parametrize("seed", SEEDS)
def test_folds_that_coincide_are_not_held_to_the_bounds_of_one(seed):
    """Two units fold together, with opposite signs, and the code may choose another side at each of them."""
    A = np.array([[1.0, -0.9], [0.5, -0.7], [-0.2, 0.6]])
    forward = lambda b: (A @ np.maximum([b[0], b[0]], 0) + b[1] ** 2, b)  # noqa: E731

    def backward(dy, b):
        first, second = dy @ A
        return np.array([first * (b[0] >= 0) + second * (b[0] > 0), dy.sum() * 2 * b[1]])

    report = examine_backward(forward, backward, (np.array([0.0, 0.7]),), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)


def test_a_kink_costs_a_bounded_number_of_pullbacks():
    calls = 0
    _, backward = zero_row_net(0.0)

    def counted(dy, cache):
        nonlocal calls
        calls += 1
        return backward(dy, cache)

    examine_backward(zero_row_net(0.0)[0], counted, zero_row_args(0), seed=0)
    assert calls < 60
    x = np.zeros((6, 5))
    calls = 0
    examine_backward(zero_row_net(0.0)[0], counted, (x, *zero_row_args(0)[1:]), seed=0)
    assert calls < 640
