import numpy as np
import pytest

from gradcheck.explanation.shrink import smallest

X, W, B = np.arange(15.0).reshape(5, 3), np.ones((3, 4)), np.ones(4)
NAMES = ("x", "W", "b")


def shapes(args):
    return [np.shape(arg) for arg in args]


def test_a_mistake_over_the_batch_needs_two_samples_and_nothing_else():
    found = smallest(NAMES, (X, W, B), lambda args: len(args[0]) > 1)
    assert found.needed == ("x.shape[0]",)
    assert found.free == ("x.shape[1]", "W.shape[1]")
    assert shapes(found.args) == [(2, 1), (1, 1), (1,)]


def test_nothing_is_needed_where_every_size_can_be_one():
    found = smallest(NAMES, (X, W, B), lambda args: True)
    assert found.needed == ()
    assert shapes(found.args) == [(1, 1), (1, 1), (1,)]


def test_a_size_that_has_to_be_larger_than_two_stays():
    found = smallest(NAMES, (X, W, B), lambda args: len(args[0]) > 2)
    assert found.needed == ("x.shape[0]",)
    assert shapes(found.args) == [(5, 1), (1, 1), (1,)]


def test_a_size_is_cut_in_all_arrays_that_have_it():
    found = smallest(("x", "h"), (np.ones((3, 2)), [np.ones((2, 3, 2))]), lambda args: args[0].shape[0] > 1)
    assert found.needed == ("x.shape[0]",)
    assert found.free == ("x.shape[1]",)
    assert (found.args[0].shape, found.args[1][0].shape) == ((2, 1), (1, 2, 1))


def test_sizes_that_the_forward_refuses_to_cut_are_neither_needed_nor_free():
    found = smallest(NAMES, (X, W, B), lambda args: None if args[0].shape != (5, 3) else True)
    assert (found.needed, found.free) == ((), ("W.shape[1]",))
    assert shapes(found.args) == [(5, 3), (3, 1), (1,)]


def test_labels_are_cut_with_their_samples_and_keep_their_dtype():
    labels = np.array([2, 0, 1, 1, 2])
    found = smallest(("scores", "labels"), (X, labels), lambda args: len(args[0]) > 1 and args[0].shape[1] == 3)
    assert found.needed == ("scores.shape[0]", "scores.shape[1]")
    assert found.args[1].dtype == labels.dtype
    np.testing.assert_array_equal(found.args[1], [2, 0])


def test_what_is_no_array_stays_and_what_was_given_is_not_touched():
    settings = {"stride": 2, "pad": 1, "mode": "same"}
    found = smallest(("x", "settings"), (X, settings), lambda args: True)
    assert found.args[1] == settings
    found.args[0][:] = 7
    assert X.max() == 14


def test_no_more_than_six_sizes_are_tried():
    tried = []
    smallest(("x",), (tuple(np.ones(n) for n in range(2, 20)),), tried.append)
    assert len(tried) == 6


@pytest.mark.parametrize("args", [(1.0,), (np.ones(()),), (np.ones((1, 1)),)])
def test_where_every_size_is_one_nothing_is_tried(args):
    assert smallest(("x",), args, pytest.fail) == (args, (), ())


def test_a_size_cut_to_two_is_not_taken_for_another_of_two():
    found = smallest(("x",), (np.ones((5, 2)),), lambda args: len(args[0]) > 1)
    assert (found.needed, found.free) == (("x.shape[0]",), ("x.shape[1]",))
    assert shapes(found.args) == [(2, 1)]
