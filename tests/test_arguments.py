import threading

import numpy as np
import pytest

from gradcheck.arguments import Arguments

ENDLESS = [1]
ENDLESS.append(ENDLESS)


class Alike:
    def __repr__(self):
        return "alike"


def f(x, W, b=None, *rest, reg=0.1):
    raise NotImplementedError


def moving(*args, wrt=None, function=f):
    return Arguments.of(function, args, wrt).layout.paths


def test_float_arrays_move_and_everything_else_stays():
    assert moving(np.ones(2), np.arange(3), {"stride": 1, "pad": 0}, 0.5, "relu", None, np.ones(3, np.float32)) == (
        "x",
        "rest[3]",
    )


def test_arrays_inside_containers_move_by_their_own_names():
    assert moving({"W": np.ones(2), "n": 3}, [(np.ones(1), np.ones(2))]) == ("x['W']", "W[0][0]", "W[0][1]")


def test_a_dict_with_a_string_is_a_dict_of_settings_and_stays():
    settings = {"mode": "train", "running_mean": np.zeros(3)}
    assert moving(np.ones(2), settings) == ("x",)
    assert moving(np.ones(2), settings, wrt=["x", "W"]) == ("x", "W['running_mean']")


def test_wrt_takes_names_and_positions_in_the_order_of_the_gradients():
    assert moving(np.ones(2), np.ones(3), np.ones(1), wrt=("b", 0)) == ("b", "x")
    assert moving(np.ones(2), np.ones(3), wrt=-1) == ("W",)


def test_wrt_takes_leaves_and_whatever_lies_under_a_path():
    params = {"W": np.ones(2), "layers": [{"b": np.ones(1)}, {"b": np.ones(3)}], "rate": 0.5}
    assert moving(np.ones(2), params, wrt="W['W']") == ("W['W']",)
    assert moving(np.ones(2), params, wrt=('W["layers"]', "x")) == ("W['layers'][0]['b']", "W['layers'][1]['b']", "x")
    assert moving(np.ones(2), params, wrt="W['rate']") == ("W['rate']",)
    assert moving(np.ones(2), params, None, np.ones(1), np.ones(1), wrt="rest") == ("rest[0]", "rest[1]")


def test_what_moves_can_be_chosen_anew():
    arguments = Arguments.of(f, (np.ones(2), {"W": np.ones(3), "rate": 0.5}))
    other = arguments.moving_only(["W['rate']", "x"])
    assert other.layout.paths == ("W['rate']", "x")
    assert other.moving == (1, 0)
    assert other.at(np.array([2.0, 3.0, 4.0]))[1]["rate"] == 2.0


def test_a_python_float_moves_if_it_is_named():
    arguments = Arguments.of(f, (2.0, np.ones(1)), "x")
    assert arguments.layout.paths == ("x",)
    (x, W) = arguments.at(np.array([3.0]))
    assert isinstance(x, float)
    assert x == 3.0
    assert isinstance(W, np.ndarray)


def test_moved_arguments_take_the_precision_of_the_vector():
    arguments = Arguments.of(f, (np.ones(2, np.float32), np.arange(2)), None)
    x, labels = arguments.at(np.array([1 + 2j, 3]))
    assert x.dtype == np.complex128
    assert labels.tolist() == [0, 1]
    assert arguments.fresh()[0].dtype == np.float32


def test_no_call_sees_what_another_wrote_into_its_arguments():
    generator, settings = np.random.default_rng(0), {"mode": "train"}
    arguments = Arguments.of(f, (np.ones(2), generator, settings), None)
    first, second = arguments.fresh(), arguments.at(np.zeros(2))
    first[2]["running_mean"] = 1.0
    assert settings == second[2] == {"mode": "train"}
    assert first[1].random() == second[1].random() == np.random.default_rng(0).random()
    first[0][:] = 5
    assert arguments.values[0].tolist() == [1, 1]


class Single:
    def __deepcopy__(self, memo):
        raise RuntimeError("there is one")


@pytest.mark.parametrize("single", [np, threading.Lock(), Single()])
def test_an_argument_that_cannot_be_copied_is_shared(single):
    assert Arguments.of(f, (np.ones(1), single), None).fresh()[1] is single


def test_arrays_inside_an_object_array_are_copied():
    ragged = np.array([np.ones(1), np.ones(2)], dtype=object)
    arguments = Arguments.of(f, (np.ones(1), ragged))
    arguments.fresh()[1][0][:] = 5
    assert ragged[0] == 1.0


@pytest.mark.parametrize("constant", [1 + 2j, np.ones(2, complex), np.dtype("f4"), np.float32, b"text", slice(2), ...])
def test_what_is_no_float_stays(constant):
    arguments = Arguments.of(f, (np.ones(1), constant))
    assert arguments.layout.paths == ("x",)
    assert repr(arguments.at(np.zeros(1))[1]) == repr(constant)


def test_a_masked_array_that_stays_keeps_its_mask():
    mask = np.ma.masked_array([1.0, 2.0], [0, 1])
    arguments = Arguments.of(f, (np.ones(1), mask), "x")
    assert arguments.at(np.zeros(1))[1].mask.tolist() == [False, True]


class Kind(np.ndarray):
    """An array of another kind, as ``np.matrix`` is."""


def test_an_array_of_a_subclass_moves_as_one():
    arguments = Arguments.of(f, (np.ones(2).view(Kind), None))
    assert isinstance(arguments.at(arguments.point)[0], Kind)
    assert isinstance(arguments.moved(arguments.point).values[0], Kind)


def test_a_key_of_jax_stays():
    import jax

    key = jax.random.key(0)
    assert Arguments.of(f, (np.ones(1), key)).fresh()[1].dtype == key.dtype


def test_arrays_are_taken_apart_once_for_all_calls(monkeypatch):
    arguments = Arguments.of(f, (np.ones(2), {"W": np.ones(3)}))
    arguments.fresh()
    monkeypatch.setattr("gradcheck.arguments.flatten", lambda tree: pytest.fail("taken apart again"))
    assert arguments.at(np.zeros(5))[1]["W"].tolist() == [0, 0, 0]


class Jax:
    """An array of another library, as far as the array API shows it."""

    def __init__(self, array):
        self.array = array

    def __array_namespace__(self):
        return np

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_an_array_of_another_library_becomes_a_numpy_array():
    arguments = Arguments.of(f, (Jax(np.ones(2)), 1), None)
    assert isinstance(arguments.values[0], np.ndarray)
    assert arguments.layout.paths == ("x",)


@pytest.mark.parametrize(
    ("args", "wrt", "error", "message"),
    [
        (
            np.ones(2),
            None,
            TypeError,
            "args must be a tuple of the arguments of f, but it is a float64 array of shape (2,). "
            "Write args=(x,) for a single argument.",
        ),
        (
            (np.arange(2), 0.5),
            None,
            TypeError,
            "f must be given at least one float array that moves, but x is an int64 array of shape (2,), "
            "W is the float 0.5. Pass arrays of floats, or name a Python float in wrt=.",
        ),
        (
            (np.ones(2), np.ones(2)),
            "V",
            ValueError,
            "wrt must name arguments of f (x, W), leaves of them or positions, but it holds 'V'. Choose among these.",
        ),
        (
            (np.ones(2), np.ones(2)),
            ("x", 0),
            ValueError,
            "wrt must name each argument once, but it is ('x', 0). Remove the repetition.",
        ),
        (
            (np.ones((0, 3)), np.ones(2)),
            None,
            ValueError,
            "f must be checked where x has entries, but its shape is (0, 3). Pass a non-empty array.",
        ),
        (
            (np.ones(2), np.array([[1.0, np.nan]])),
            None,
            ValueError,
            "f must be checked at a finite point, but W[0, 1] is nan. Choose a point where every argument is finite.",
        ),
        (
            (np.ones(2, complex), np.ones(2)),
            "x",
            ValueError,
            "wrt must name arguments of f that hold floats, but x is a complex128 array of shape (2,). Leave it out, "
            "or pass its real and its imaginary part as two arguments: only a check takes complex arrays apart.",
        ),
        (
            (np.ones(2), 3),
            "W",
            ValueError,
            "wrt must name arguments of f that hold floats, but W is the int 3. Leave it out, or pass floats.",
        ),
        (
            (np.ones(2), np.ones(2)),
            1.5,
            TypeError,
            "wrt must be a name, a position, or a tuple of them, but it is the float 1.5. "
            "Choose among the arguments of f (x, W), or leave it out.",
        ),
        (
            (np.ones(2), np.ones(2)),
            [],
            TypeError,
            "wrt must be a name, a position, or a tuple of them, but it is a list of 0. "
            "Choose among the arguments of f (x, W), or leave it out.",
        ),
        (
            (np.ones(2), np.ones(2)),
            True,
            ValueError,
            "wrt must name arguments of f (x, W), leaves of them or positions, but it holds True. Choose among these.",
        ),
        (
            (np.ma.masked_array([1.0, 2.0], [0, 1]), 1),
            None,
            TypeError,
            "x must be a plain array, but it is a masked one. Pass its numbers, x.filled(0), and its mask as two "
            "arguments.",
        ),
        (
            (np.ones(2), ENDLESS),
            None,
            ValueError,
            "f must be given containers that end, but W[1] is a list of 2 that holds itself. "
            "Pass the arrays in a tuple, a list or a dict of their own.",
        ),
        (
            (np.ones(2), {Alike(): 1, Alike(): 2}),
            None,
            ValueError,
            "f must be given leaves with names of their own, but two are called W[alike]. "
            "Use keys that are printed differently.",
        ),
        (
            (np.ones(2),),
            None,
            TypeError,
            "f must accept the 1 arguments in args, but its signature does not: missing a required argument: 'W'. "
            "Check args against its signature.",
        ),
    ],
)
def test_arguments_that_cannot_be_checked_are_refused_by_name(args, wrt, error, message):
    with pytest.raises(error) as raised:
        Arguments.of(f if len(args) > 1 or isinstance(args, np.ndarray) else lambda x, W: None, args, wrt)
    assert str(raised.value).replace("<lambda>", "f") == message


def test_functions_without_a_signature_name_their_arguments_by_position():
    assert moving(np.ones(2), 1, function=np.dot)[0] in ("a", "args[0]")
    assert moving(np.ones(2), function=dict.fromkeys)[0] in ("iterable", "args[0]")
