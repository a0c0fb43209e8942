import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.verdict.laws import match_gradients, split_forward

X, W = np.ones((2, 3)), np.ones((3, 4))


def f(x, W, labels=None):
    raise NotImplementedError


ARGUMENTS = Arguments.of(f, (X, W, np.arange(2)))
NESTED = Arguments.of(f, (X, {"W": W, "b": [np.ones(4)], "steps": 3}))


def breaches(returned, arguments=ARGUMENTS):
    claims = match_gradients("back", returned, arguments)
    return claims.breach or list(claims.breaches.values())


@pytest.mark.parametrize(
    "returned",
    [
        (X, W),
        [X, W],
        (X, W, None),
        {"x": X, "W": W},
        {"dW": W, "dx": X},
    ],
    ids=["a tuple in order", "a list", "None for what stays", "a dict by name", "a dict by d and name"],
)
def test_gradients_are_matched_with_the_arguments_that_move(returned):
    claims = match_gradients("back", returned, ARGUMENTS)
    assert not claims.breaches
    assert claims.gradients["x"].shape == (2, 3)
    assert claims.gradients["W"].shape == (3, 4)


def test_gradients_of_containers_mirror_them():
    claims = match_gradients("back", (X, {"b": (np.ones(4),), "W": W}), NESTED)
    assert not claims.breaches
    assert list(claims.gradients) == ["x", "params['W']".replace("params", "W"), "W['b'][0]"]


@pytest.mark.parametrize("returned", [W, (W,), [W], {"W": W}, {"dW": W}])
def test_a_single_gradient_may_stand_alone(returned):
    claims = match_gradients("back", returned, Arguments.of(f, (X, W), "W"))
    assert not claims.breaches
    assert claims.gradients["W"] is not None


def test_one_argument_that_is_a_dict_takes_a_dict_of_gradients():
    arguments = Arguments.of(lambda params: None, ({"W": W, "b": np.ones(2)},))
    claims = match_gradients("back", {"W": W, "b": np.ones(2)}, arguments)
    assert not claims.breaches
    assert all(gradient is not None for gradient in claims.gradients.values())


def test_a_number_is_the_gradient_of_a_zero_dimensional_array():
    assert breaches((1.0, W), Arguments.of(f, (np.array(2.0), W))) == []


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            (X,),
            "back must return one gradient for each argument that moves (x and W), but it returned a tuple of 1. "
            "Return them as a tuple in this order, or name in wrt= what moves.",
        ),
        (
            (X, W, X, W),
            "back must return one gradient for each argument that moves (x and W), but it returned a tuple of 4. "
            "Return them as a tuple in this order, or name in wrt= what moves.",
        ),
        (
            None,
            "back must return one gradient for each argument that moves (x and W), but it returned None. "
            "Return them as a tuple in this order, or name in wrt= what moves.",
        ),
        (
            (X, W.T),
            ["back must return dW with W's shape (3, 4), but returned shape (4, 3). Did you forget a transpose?"],
        ),
        (
            (np.ones((5, 2, 3)), W),
            ["back must return dx with x's shape (2, 3), but returned shape (5, 2, 3). "
             "Sum over the axis that was broadcast."],
        ),
        ((X.ravel(), W), ["back must return dx with x's shape (2, 3), but returned shape (6,). Reshape it."]),
        (
            (X, None),
            ["back must return dW because W moves, but returned None. Return a gradient, or leave W out of wrt=."],
        ),
        (
            (X.astype(int), W),
            ["back must return dx as a float array, but returned an int64 array of shape (2, 3). "
             "Make it in the dtype of x."],
        ),
        (
            (X.astype(object), W),
            ["back must return dx as a float array, but returned an object array of shape (2, 3). "
             "Make it in the dtype of x."],
        ),
        (
            (X * np.nan, W),
            ["back must return dx finite, but dx[0, 0] is nan (6 of 6 entries are not finite)."],
        ),
        (
            (X, np.where(np.arange(12).reshape(3, 4) == 5, np.inf, W)),
            ["back must return dW finite, but dW[1, 1] is inf (1 of 12 entries are not finite)."],
        ),
        (("x", W), ["back must return dx as a float array, but returned a str."]),
    ],
)  # fmt: skip
def test_what_is_no_gradient_is_named_with_its_argument(returned, message):
    assert breaches(returned) == message


def test_a_gradient_in_another_container_is_named():
    assert breaches((X, [W, np.ones(4)]), NESTED) == [
        f"back must return dW{key} in a dict with the keys 'W', 'b', 'steps' like W, but returned a list of 2."
        for key in ("['W']", "['b'][0]")
    ]


def test_a_gradient_missing_from_a_dict_is_named():
    assert breaches((X, {"W": W}), NESTED) == [
        "back must return dW['b'][0] in a dict with the keys 'W', 'b', 'steps' like W, "
        "but returned a dict with the keys 'W'."
    ]


def test_the_other_gradients_can_still_be_judged():
    claims = match_gradients("back", (X, W.T), ARGUMENTS)
    assert claims.gradients["x"] is not None
    assert claims.gradients["W"] is None


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (
            X,
            TypeError,
            "fwd must return a pair (out, cache), but it returned a float64 array of shape (2, 3). "
            "Return what the backward needs as the second value, None if it needs nothing.",
        ),
        (
            (np.arange(3), None),
            TypeError,
            "fwd must return real floats, but out is an int64 array of shape (3,). "
            "Move what is no float into the cache.",
        ),
        (
            (np.ma.masked_array([1.0]), None),
            TypeError,
            "fwd must return real floats, but out is a masked float64 array of shape (1,). "
            "Move what is no float into the cache.",
        ),
        (
            (True, None),
            TypeError,
            "fwd must return real floats, but out is the bool True. Move what is no float into the cache.",
        ),
        (
            ((X, "loss"), None),
            TypeError,
            "fwd must return real floats, but out[1] is a str. Move what is no float into the cache.",
        ),
        (
            (np.array([1.0, np.nan]), None),
            ValueError,
            "fwd must be finite at the point of the check, but out[1] is nan. Choose another point.",
        ),
        (
            (np.ones((0, 2)), None),
            ValueError,
            "fwd must return at least one number, but out is a float64 array of shape (0, 2). Pass non-empty arrays.",
        ),
    ],
)
def test_a_forward_that_cannot_be_checked_is_refused(returned, error, message):
    with pytest.raises(error) as raised:
        split_forward("fwd", returned)
    assert str(raised.value) == message


def test_integers_beside_floats_are_no_part_of_what_is_differentiated():
    out = (np.ones(2), np.array([3, 4]), np.array([True]), 5)
    assert split_forward("fwd", (out, None))[0] is out


@pytest.mark.parametrize("loss", [0, np.int64(0)])
def test_an_integer_alone_is_a_loss(loss):
    out, _ = split_forward("fwd", (loss, None))
    assert type(out) is float


@pytest.mark.parametrize("out", [1.0, np.float32(2), np.ones(2), (np.ones(2), 3.0), {"h": np.ones(2)}])
def test_numbers_arrays_and_containers_of_them_are_outputs(out):
    assert split_forward("fwd", (out, "cache")) == (out, "cache")
