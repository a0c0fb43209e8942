import json

import numpy as np
import pytest

import derivations
from derivations.affine import AFFINE
from derivations.conv import CONV
from derivations.rnn import RNN
from derivations.rnn_columns import RNN_COLUMNS
from derivations.weight_decay import WEIGHT_DECAY
from gradcheck import BlindSpot, BlindSpots, blind_spots, examine_backward, point
from gradcheck.errors import NoReturnError
from gradcheck.report import Verdict
from gradcheck.shapes.sizes import least


def drawn(derivation, **sizes):
    """Return args of generic sizes, but of those that are given."""
    return point(derivation.spec, 7, **sizes)


def spots_of(derivation, args):
    return blind_spots(derivation.forward, derivation.backward, args, wrt=derivation.wrt)


def reasons(spots, mistake):
    return {spot.why for spot in spots if spot.mistake == mistake}


def verdict(forward, backward, args, wrt=None):
    return examine_backward(forward, backward, args, wrt=wrt, hints=False, seed=1).verdict


# -- what is said is true: the mistake passes the check where it is called hidden, and fails where it is not


def affine_averaged(dy, cache):
    dx, dW, db = AFFINE.backward(dy, cache)
    return dx, dW, db / len(dy)


def test_one_sample_hides_a_mean():
    one, three = (drawn(AFFINE, N=N) for N in (1, 3))
    assert reasons(spots_of(AFFINE, one), "A2") == {"x.shape[0] is 1"}
    assert verdict(AFFINE.forward, affine_averaged, one) is Verdict.PASS
    assert reasons(spots_of(AFFINE, three), "A2") == set()
    assert verdict(AFFINE.forward, affine_averaged, three) is Verdict.FAIL


def affine_untransposed(dy, cache):
    x, W = cache
    return dy @ W, x.T @ dy, dy.sum(axis=0)


def affine_plain_forward(x, W, b):
    return x @ W + b, (x, W)


def affine_plain_backward(dy, cache):
    x, W = cache
    return dy @ W.T, x.T @ dy, dy.sum(axis=0)


def from_no_file(text, name):
    namespace = {}
    exec(text, namespace)  # noqa: S102  (the text is our own)
    return namespace[name]


NOWHERE = from_no_file(
    "def backward(dy, cache):\n    x, W = cache\n    return dy @ W.T, x.T @ dy, dy.sum(axis=0)\n", "backward"
)


def square(symmetric, rng):
    x, W, b = rng.standard_normal((3, 4)), rng.standard_normal((4, 4)), rng.standard_normal(4)
    return x, W + W.T if symmetric else W, b


@pytest.mark.parametrize("backward", [affine_plain_backward, NOWHERE], ids=["with source", "without source"])
def test_a_symmetric_matrix_hides_a_transpose(backward):
    for symmetric in (True, False):
        args = square(symmetric, np.random.default_rng(0))
        found = reasons(blind_spots(affine_plain_forward, backward, args), "B1")
        assert found == ({"W is symmetric"} if symmetric else set())
        passes = verdict(affine_plain_forward, affine_untransposed, args) is Verdict.PASS
        assert passes is symmetric


def test_the_line_that_could_be_wrong_is_told():
    spots = blind_spots(affine_plain_forward, affine_plain_backward, square(True, np.random.default_rng(0)))
    (spot,) = (spot for spot in spots if spot.mistake == "B1")
    line = affine_plain_forward.__code__.co_firstlineno + 1
    said = f"matmul in line {line} of affine_plain_forward has its operand 2 transposed wrongly"
    assert spot.unseen == (said,)


def test_no_regulariser_hides_what_it_does():
    args = drawn(WEIGHT_DECAY)
    here, there = ((args[0], lam) for lam in (0.0, 0.1))
    assert reasons(spots_of(WEIGHT_DECAY, here), "I2")
    assert reasons(spots_of(WEIGHT_DECAY, there), "I2") == set()


def ridge_forward(w, b, x, lam):
    return ((x @ w + b) ** 2).sum() + lam * (w**2).sum(), (w, b, x, lam)


def ridge_backward(dl, cache):
    w, b, x, lam = cache
    r = 2 * (x @ w + b) * dl
    return x.T @ r + 2 * dl * lam * w, r.sum()


def ridge_backward_unregularised(dl, cache):
    w, b, x, _ = cache
    r = 2 * (x @ w + b) * dl
    return x.T @ r, r.sum()


def test_a_regulariser_of_zero_hides_that_it_is_missing():
    rng = np.random.default_rng(0)
    w, b, x = rng.standard_normal(3), np.array(0.3), rng.standard_normal((5, 3))
    for lam in (0.0, 0.1):
        args, wrt = (w, b, x, lam), ("w", "b")
        found = reasons(blind_spots(ridge_forward, ridge_backward, args, wrt=wrt), "D1")
        assert found == ({"lam is 0.0"} if lam == 0 else set())
        hidden = verdict(ridge_forward, ridge_backward_unregularised, args, wrt) is Verdict.PASS
        assert hidden is (lam == 0)


def relu_net_forward(x, W):
    z = x @ W
    return np.maximum(z, 0), (x, W, z > 0)


def relu_net_backward(dy, cache):
    x, W, positive = cache
    dz = dy * positive
    return dz @ W.T, x.T @ dz


def relu_net_backward_without_the_mask(dy, cache):
    x, W, _ = cache
    return dy @ W.T, x.T @ dy


def test_open_units_hide_that_the_mask_is_missing():
    rng = np.random.default_rng(0)
    x, W = rng.uniform(0.5, 1, (3, 4)), rng.uniform(0.5, 1, (4, 5))
    assert reasons(blind_spots(relu_net_forward, relu_net_backward, (x, W)), "C1") == {"x has no negative entry"}
    assert verdict(relu_net_forward, relu_net_backward_without_the_mask, (x, W)) is Verdict.PASS
    mixed = x * np.sign(rng.standard_normal(x.shape)), W
    assert reasons(blind_spots(relu_net_forward, relu_net_backward, mixed), "C1") == set()
    assert verdict(relu_net_forward, relu_net_backward_without_the_mask, mixed) is Verdict.FAIL


def test_one_time_step_hides_that_the_path_through_time_is_missing():
    args = drawn(RNN_COLUMNS, T=1)
    assert reasons(spots_of(RNN_COLUMNS, args), "G1") == {"x.shape[0] is 1"}
    assert reasons(spots_of(RNN_COLUMNS, drawn(RNN_COLUMNS, T=3)), "G1") == set()
    args = drawn(RNN, T=1)
    assert "X.shape[0] is 1" in reasons(spots_of(RNN, args), "G1")


def test_a_kernel_of_one_hides_its_rotation():
    assert reasons(spots_of(CONV, drawn(CONV, kh=1, kw=1)), "F1")
    assert reasons(spots_of(CONV, drawn(CONV)), "F1") == set()


def sums_forward(x, stride):
    out = np.array([x[i : i + 3].sum() for i in range(0, len(x) - 2, stride)])
    return out, (x, stride)


def sums_backward(dy, cache):
    x, stride = cache
    dx = np.zeros_like(x)
    for k, i in enumerate(range(0, len(x) - 2, stride)):
        dx[i : i + 3] += dy[k]
    return dx


def sums_backward_that_overwrites(dy, cache):
    x, stride = cache
    dx = np.zeros_like(x)
    for k, i in enumerate(range(0, len(x) - 2, stride)):
        dx[i : i + 3] = dy[k]
    return dx


def test_a_stride_as_long_as_the_window_hides_what_overlaps():
    x = np.random.default_rng(0).standard_normal(9)
    for stride in (1, 3):
        found = reasons(blind_spots(sums_forward, sums_backward, (x, stride)), "E1")
        assert found == ({"stride is 3"} if stride == 3 else set())
        hidden = verdict(sums_forward, sums_backward_that_overwrites, (x, stride)) is Verdict.PASS
        assert hidden is (stride == 3)


def maximum_forward(x):
    return x.max(axis=1), x


def maximum_backward(dy, x):
    mask = x == x.max(axis=1, keepdims=True)
    return dy[:, None] * (mask / mask.sum(axis=1, keepdims=True))


def maximum_backward_that_counts_ties_twice(dy, x):
    return dy[:, None] * (x == x.max(axis=1, keepdims=True))


def test_no_ties_hide_that_each_of_them_is_counted():
    x = np.random.default_rng(0).standard_normal((4, 3))
    spots = blind_spots(maximum_forward, maximum_backward, (x,))
    assert "no two entries of x are equal" in {spot.why for spot in spots}
    assert verdict(maximum_forward, maximum_backward_that_counts_ties_twice, (x,)) is Verdict.PASS
    tied = np.round(x)
    assert verdict(maximum_forward, maximum_backward_that_counts_ties_twice, (tied,)) is Verdict.FAIL


def test_a_gradient_that_is_zero_here_is_called_vacuous():
    def forward(x, w):
        return x * np.maximum(w, 0), (x, w)

    def backward(dy, cache):
        x, w = cache
        return dy * np.maximum(w, 0), dy * x * (w > 0)

    x = np.random.default_rng(0).standard_normal(5)
    w = np.array([1.0, 2.0, -1.0, -2.0, 0.5])
    assert reasons(blind_spots(forward, backward, (x, w)), "I2") == set()
    assert reasons(blind_spots(forward, backward, (np.zeros(5), w)), "I2") == {"dw is zero here"}


def tanh_layer_forward(x, W):
    h = np.tanh(x @ W)
    return h, (x, W, h)


def tanh_layer_backward(dh, cache):
    x, W, h = cache
    dz = dh * (1 - h**2)
    return dz @ W.T, x.T @ dz


def tanh_layer_backward_without_its_derivative(dh, cache):
    x, W, _ = cache
    return dh @ W.T, x.T @ dh


@pytest.mark.parametrize(("size", "hidden"), [(1e-6, True), (1e-2, False)])
def test_weights_so_small_that_tanh_is_straight_hide_its_derivative(size, hidden):
    rng = np.random.default_rng(0)
    args = rng.standard_normal((3, 4)), size * rng.standard_normal((4, 5))
    found = reasons(blind_spots(tanh_layer_forward, tanh_layer_backward, args), "C1")
    assert found == ({"W is tiny"} if hidden else set())
    passes = verdict(tanh_layer_forward, tanh_layer_backward_without_its_derivative, args) is Verdict.PASS
    assert passes is hidden


# -- at generic sizes no size is to blame

# LeNet-5 has no sizes to choose, and is made of layers that are here too.
SMALL = [derivation for derivation in derivations.ALL if derivation.name != "lenet5"]


@pytest.mark.parametrize("derivation", SMALL, ids=lambda derivation: derivation.name)
def test_generic_inputs_hide_nothing_by_a_size_of_one(derivation):
    spots = spots_of(derivation, drawn(derivation))
    assert [spot for spot in spots if spot.why.endswith("] is 1") and "shape" in spot.why] == []


@pytest.mark.parametrize("derivation", [d for d in SMALL if d.name != "graph"], ids=lambda derivation: derivation.name)
def test_the_smallest_sizes_hide_something(derivation):
    """Not in a graph of numbers: its arrays are lists of them, and nothing runs over these."""
    args = derivation.spec.point(least(derivation.spec), seed=7)
    if any(1 in np.shape(leaf) for leaf in args if isinstance(leaf, np.ndarray)):
        assert len(spots_of(derivation, args)) > 0


def test_code_that_does_the_same_everywhere_is_no_blind_spot():
    def forward(x):
        return x * x, x

    def backward(dy, x):
        dx = 2 * x * dy
        dx = dx * 1
        return dx + 0

    assert len(blind_spots(forward, backward, (np.random.default_rng(0).standard_normal((3, 5)),))) == 0


# -- several inputs


def test_several_inputs_hide_what_none_of_them_reveals():
    one, three = spots_of(AFFINE, drawn(AFFINE, N=1)), spots_of(AFFINE, drawn(AFFINE, N=3))
    assert reasons(one & one, "A2") == {"x.shape[0] is 1"}
    assert list(one & three) == list(three & one) == []


def test_reasons_that_differ_are_both_told():
    one = BlindSpots("f", (BlindSpot("B1", "W is symmetric", "Draw another W.", ("W transposed", "U transposed")),))
    other = BlindSpots("f", (BlindSpot("B1", "W.shape[0] is 1", "Draw a larger W.", ("W transposed",)),))
    assert (one & other).spots == (
        BlindSpot("B1", "W is symmetric; elsewhere W.shape[0] is 1", "Draw another W.", ("W transposed",)),
    )


def test_other_mistakes_of_one_class_are_not_combined():
    one = BlindSpots("f", (BlindSpot("B1", "W is symmetric", "Draw another W.", ("W transposed",)),))
    other = BlindSpots("f", (BlindSpot("B1", "U is symmetric", "Draw another U.", ("U transposed",)),))
    assert (one & other).spots == ()


# -- how it is said

SPOTS = BlindSpots(
    "rnn",
    (
        BlindSpot("B1", "Wh is symmetric", "Draw a Wh that is not symmetric.", ("Wh transposed",)),
        BlindSpot("G1", "x.shape[0] is 1", "Draw x.shape[0] of at least 2."),
    ),
)


def test_blind_spots_are_printed_by_what_hides_them():
    assert str(SPOTS) == (
        "rnn: these inputs hide mistakes of 2 classes\n"
        "  Wh is symmetric. Draw a Wh that is not symmetric.\n"
        "    B1  transpose: Wh transposed\n"
        "  x.shape[0] is 1. Draw x.shape[0] of at least 2.\n"
        "    G1  path through time dropped"
    )
    assert str(SPOTS[0]) == ("B1 transpose (such as Wh transposed): Wh is symmetric. Draw a Wh that is not symmetric.")
    assert str(BlindSpots("rnn")) == "rnn: these inputs hide none of the mistakes that were tried"


def test_blind_spots_are_plain_data():
    assert json.loads(json.dumps(SPOTS.to_dict())) == {
        "name": "rnn",
        "spots": [
            {
                "mistake": "B1",
                "why": "Wh is symmetric",
                "change": "Draw a Wh that is not symmetric.",
                "unseen": ["Wh transposed"],
            },
            {"mistake": "G1", "why": "x.shape[0] is 1", "change": "Draw x.shape[0] of at least 2.", "unseen": []},
        ],
        "alike": [],
    }


def test_blind_spots_are_shown_in_a_notebook_with_their_text_escaped():
    shown = BlindSpots("f", (BlindSpot("B1", "a < b", "Draw a > b."),))._repr_html_()
    assert "<td>a &lt; b</td><td>Draw a &gt; b.</td>" in shown


def test_a_batch_of_two_is_told_as_ambiguous():
    (alike,) = spots_of(AFFINE, drawn(AFFINE, N=2)).alike
    assert alike == BlindSpot(
        "A2",
        "x.shape[0] is 2, so that a factor of the batch (A2) looks like any factor 2 (A4)",
        "Draw x.shape[0] of at least 3.",
    )
    assert spots_of(AFFINE, drawn(AFFINE, N=3)).alike == ()


# -- bad input


def test_a_wrong_backward_is_refused():
    with pytest.raises(ValueError) as caught:
        blind_spots(AFFINE.forward, affine_averaged, drawn(AFFINE, N=3))
    assert str(caught.value) == (
        "blind_spots must be given a pair that passes the check, but affine_averaged fails for db. "
        "Run check_backward, and mend what it finds first."
    )


def test_the_search_can_be_repeated():
    args = drawn(AFFINE, N=1)
    assert spots_of(AFFINE, args) == spots_of(AFFINE, args)


def test_the_arguments_stay_as_they_were():
    args = drawn(RNN_COLUMNS, T=1)
    before = [np.copy(arg) for arg in args if isinstance(arg, np.ndarray)]
    spots_of(RNN_COLUMNS, args)
    after = [arg for arg in args if isinstance(arg, np.ndarray)]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_what_a_backward_raises_in_the_search_is_noted_and_no_skip_leaves_it():
    def pair(error):
        def backward(dy, x):
            raise error

        return lambda x: (np.sin(x), x), backward, (np.array([[1.0, 2.0, 0.5]]),)

    with pytest.raises(NoReturnError, match="must return, but it raised Skipped"):
        blind_spots(*pair(pytest.skip.Exception("later")))
    with pytest.raises(KeyError) as caught:
        blind_spots(*pair(KeyError()))
    assert caught.value.__notes__[0].startswith("gradcheck: raised inside backward, called with ")
