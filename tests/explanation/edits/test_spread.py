"""What is undone in windows, masks, parts of axes and labels, and by which name; and what is not called so."""

import numpy as np
import pytest

from gradcheck import examine_backward
from tests.explanation.edits import spread

RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.standard_normal(shape)


IMAGE = (RNG.permutation(2 * 3 * 6 * 9).reshape(2, 3, 6, 9) / 4.0,)
LINKS = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]], dtype=bool)
DENSE = (normal(5, 4), normal(4, 3), normal(3))
CLASSES = (RNG.uniform(0.2, 1.0, (6, 4)), np.array([0, 3, 1, 2, 1, 0]))
POINTS = {
    "largest": (*IMAGE, 3),
    "square": (RNG.permutation(2 * 3 * 9 * 9).reshape(2, 3, 9, 9) / 4.0, 3),
    "average": (*IMAGE, 2, 3),
    "strided": (normal(3, 11), normal(3), 2),
    "sparse": (normal(5, 4), normal(4, 3), LINKS),
    "sparse square": (normal(5, 3), normal(3, 3), LINKS[:3] & [[True], [True], [False]]),
    "relu": (normal(5, 4),),
    "dense": DENSE,
    "nll": CLASSES,
    "magnitude": (normal(5, 4), normal(5, 4)),
}
MISTAKES = (
    ("largest", "everybody_wins", "C1"),
    ("largest", "mean_wins", "C3"),
    ("largest", "columns_first", "F4"),
    ("largest", "next_one_wins", "F3"),
    ("largest", "whole_window_wins", "C1"),
    ("largest", "smallest_wins", "C3"),
    ("largest", "unmasked_repeat", "C1"),
    ("square", "windows_exchanged", "F4"),
    ("average", "tiled", "B1"),
    ("average", "one_axis", "F2"),
    ("average", "sides_exchanged", "F4"),
    ("average", "unpacked_exchanged", "F4"),
    ("average", "half_the_girth", "A5"),
    ("strided", "stride_left_out", "F2"),
    ("strided", "stride_where_none_is", "F2"),
    ("sparse", "contrary_links", "F5"),
    ("sparse", "exchanged_links", "F5"),
    ("sparse", "forgotten_links", "F5"),
    ("sparse", "weights_without_a_link", "F5"),
    ("sparse square", "turned_links", "F5"),
    ("relu", "closed_units_pass", "C3"),
    ("relu", "leaky", "C3"),
    ("dense", "first_sample", "E1"),
    ("dense", "without_the_first", "C8"),
    ("dense", "bias_of_the_last", "E1"),
    ("dense", "one_late", "B6"),
    ("nll", "label_off_by_one", "B6"),
    ("nll", "times_for_over", "C3"),
    ("nll", "begun_at_one", "E2"),
    ("nll", "every_class", "B6"),
    ("magnitude", "modulus", "C3"),
    ("magnitude", "closed_rows", "C8"),
)


def explained(case, wrong, point=None):
    name = {"square": "largest", "sparse square": "sparse"}.get(case, case)
    forward, backward = getattr(spread, f"{name}_forward"), getattr(spread, wrong)
    return examine_backward(forward, backward, POINTS[case] if point is None else point, seed=0).explanations


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("case", "wrong", "mistake"), MISTAKES)
def test_a_mistake_is_named_by_what_undoing_it_does(case, wrong, mistake):
    assert explained(case, wrong)[0].mistake == mistake


def test_of_what_no_small_edit_undoes_nothing_is_said():
    assert explained("dense", "two_mistakes") == ()


def test_what_is_added_twice_is_called_so_and_not_a_factor_of_two():
    assert [each.mistake for each in explained("dense", "added_twice")] == ["E2"]


def test_a_half_in_a_batch_of_two_is_a_constant_as_it_stays_one_in_a_batch_of_one():
    pair = (DENSE[0][:2], *DENSE[1:])
    assert [each.mistake for each in explained("dense", "half_as_much", pair)] == ["A4"]


def mean_forward(x, t):
    return ((x - t) ** 2).mean(axis=0).sum(), (x, t)


def sum_backward(dout, cache):
    x, t = cache
    return 2 * dout * (x - t), -2 * dout * (x - t)


def test_a_sum_in_a_batch_of_two_is_no_constant_as_it_is_right_in_a_batch_of_one():
    point = normal(2, 3), normal(2, 3)
    found = examine_backward(mean_forward, sum_backward, point, seed=0).explanations
    assert [each.mistake for each in found] == ["A2"]
