import collections
import dataclasses

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.verdict.laws import match_gradients, read
from gradcheck.verdict.returned import MISPLACED, answered, paired

X, W = np.ones((2, 3)), np.ones((3, 4))


@dataclasses.dataclass
class Dense:
    W: object
    b: object


class Layer:
    """An object that is not looked into."""

    def __init__(self, W):
        self.W = W


def f(x, p=None, k=None):
    raise NotImplementedError


def asked(returned, *args):
    """Return what moves once it is known what the backward returned, and what of that is compared with nothing."""
    arguments = Arguments.of(f, args)
    arguments, uncompared = answered(read("back", returned, arguments)[0], returned, arguments)
    return arguments.layout.paths, {path: each.reason for path, each in uncompared.items()}


def breaches(returned, *args, wrt=None):
    claims = match_gradients("back", returned, Arguments.of(f, args, wrt))
    return claims.breach or list(claims.breaches.values())


@pytest.mark.parametrize("gradient", [Dense(1, 2), {"W": 1, "b": 2}, (1, 2), [1, 2]])
def test_the_gradient_of_a_dataclass_is_like_it_or_has_its_names_or_its_order(gradient):
    assert list(paired(Dense(W, X), gradient)) == [1, 2]


@pytest.mark.parametrize("gradient", [3, {"W": 1}, (1, 2, 3)])
def test_what_has_another_form_is_misplaced(gradient):
    assert MISPLACED in paired(Dense(W, X), gradient)


@dataclasses.dataclass
class Slope:
    W: object
    rate: float = 0.5
    stride: int = 2
    mode: str = "same"


@pytest.mark.parametrize(
    ("gradient", "moving"),
    [
        (Slope(W), ("x", "p.W")),
        (Slope(W, 0.1, 3, "valid"), ("x", "p.W")),
        (Slope(W, 0.1, 3, "other"), ("x", "p.W")),
        (Slope(W, 2.0), ("x", "p.W", "p.rate")),
    ],
    ids=["defaults", "a copy with another array", "another word", "a gradient"],
)
def test_the_settings_in_the_gradient_of_a_dataclass_are_no_gradients(gradient, moving):
    assert asked((X, gradient), X, Slope(W, 0.1, 3, "valid")) == (moving, {})


def test_no_gradient_of_a_container_is_none_of_any_of_its_leaves():
    assert list(paired({"a": W, "b": [X]}, None)) == [None, None]
    assert breaches((X, None), X, {"W": W}) == [
        "back must return dp['W'] because p['W'] moves, but returned None. Return a gradient, or leave p['W'] out of "
        "wrt=."
    ]


def test_of_two_ways_to_understand_a_tuple_the_one_that_fits_counts():
    assert breaches(((X, W), None), (X, W), 3) == []


def test_the_one_leaf_that_moves_may_have_a_bare_gradient():
    assert breaches(W, X, {"W": W, "b": X}, wrt="p['W']") == []


def test_gradients_by_name_may_be_a_dataclass():
    Gradients = dataclasses.make_dataclass("Gradients", ["dx", "dp"])
    assert breaches(Gradients(X, W), X, W) == []
    assert breaches(Gradients(X, X), X, W) == ["back must return dp with p's shape (3, 4), but returned shape (2, 3)."]


@pytest.mark.parametrize(
    ("returned", "args", "moving"),
    [
        ((X, 1.0), (X, 0.5), ("x", "p")),
        ((X, 0.0), (X, 0.5), ("x", "p")),
        ((X, 1.0), (X, 0.5, 3), ("x", "p")),
        ({"x": X, "k": 2.0}, (X, "mode", 0.5), ("x", "k")),
        ((X, {"W": W, "rate": 2.0}), (X, {"W": W, "rate": 0.5}), ("x", "p['W']", "p['rate']")),
        ((X, {"mean": X}), (X, {"mean": X, "mode": "train"}), ("x", "p['mean']")),
        ((X, {"mean": None}), (X, {"mean": X, "mode": "train"}), ("x",)),
        ((X, None), (X, 0.5), ("x",)),
        (X, (X, 0.5), ("x",)),
        ((X,), (X, {"mean": X, "momentum": 0.9}), ("x",)),
    ],
)
def test_what_has_a_gradient_moves(returned, args, moving):
    assert asked(returned, *args) == (moving, {})


NOTHING = "so nothing was compared with it:"
RAGGED = np.array([X, W], dtype=object)
RECORD = np.zeros(2, dtype=[("W", "f8"), ("b", "f8")])


@pytest.mark.parametrize(
    ("value", "gradient", "reason"),
    [
        (3, 2.0, "it is the int 3 and does not move, {} pass floats"),
        (np.arange(2), np.ones(2), "it is an int64 array of shape (2,) and does not move, {} pass floats"),
        (3, np.nan, "it is the int 3 and does not move, {} pass floats"),
        (
            Layer(W),
            Layer(W),
            "it is a Layer and does not move, {} pass its arrays in a tuple, a dict or a dataclass",
        ),
        (RAGGED, RAGGED, "it is an object array of shape (2,) and does not move, {} pass its arrays in a list"),
        (
            RECORD,
            RECORD,
            "it is a void128 array of shape (2,) and does not move, {} pass its fields as arrays in a dict",
        ),
        (float("inf"), 1.0, "it is the float inf and does not move, {} choose a point where it is finite"),
        (
            1j,
            1.0,
            "it is the complex 1j and does not move, {} pass it as an array, np.asarray(z)",
        ),
    ],
    ids=["int", "integers", "NaN", "object", "object array", "records", "inf", "complex"],
)
def test_a_gradient_of_what_cannot_move_is_compared_with_nothing(value, gradient, reason):
    moving, uncompared = asked((X, gradient), X, value)
    assert moving == ("x",)
    sentence = f"a gradient was returned for it, but {reason.format(NOTHING)}, or return None for it"
    assert uncompared == {"p": sentence}


def test_a_sparse_matrix_is_to_be_passed_by_its_numbers():
    from scipy import sparse

    matrix = sparse.csr_matrix(W)
    assert "pass the array of its stored numbers, .data" in asked((X, matrix), X, matrix)[1]["p"]


@pytest.mark.parametrize("gradient", [None, 0, 0.0, np.zeros(3), np.zeros((), dtype=[("float0", "V")])])
def test_an_integer_may_have_a_gradient_of_zero(gradient):
    assert asked((X, gradient), X, 3) == (("x",), {})


def test_a_gradient_under_a_name_that_nothing_has_is_compared_with_nothing():
    reason = (
        "a gradient was returned under this name, but nothing that was passed has it, so nothing was compared with it: "
        "leave it out, or pass an argument of this name"
    )
    assert asked({"dx": X, "dh": X}, X) == (("x",), {"dh": reason})
    assert asked((X, {"W": W, "b": X}), X, {"W": W}) == (("x", "p['W']"), {"p['b']": reason})
    assert asked((X, {"W": W, "b": None}), X, {"W": W}) == (("x", "p['W']"), {})
    pair = collections.namedtuple("pair", "W b")  # noqa: PYI024
    assert asked((X, [{"W": W, "c": X}]), X, [{"W": W}])[1] == {"p[0]['c']": reason}
    assert asked((X, pair(W, X)), X, pair(W, X))[1] == {}
