"""What one argument is, and the sizes for which there is no such argument."""

import numpy as np
import pytest

from gradcheck.shapes.specification import specified


def test_zeros_are_drawn_as_such():
    x, b = specified("x: N D zero, b: float zero").point({"N": 2, "D": 3}, 0)
    assert x.shape == (2, 3)
    assert not x.any()
    assert not np.signbit(x).any()
    assert (type(b), b) == (float, 0.0)


@pytest.mark.parametrize("rule", ["scale D**-0.5", "> 1/D", "away from 1/D", "distinct"])
def test_an_array_without_entries_is_drawn_where_its_rule_has_no_number(rule):
    spec = specified(f"W: D M {rule}")
    assert spec.problem({"D": 0, "M": 3}, least=0) is None
    (W,) = spec.point({"D": 0, "M": 3}, seed=0)
    assert W.shape == (0, 3)


@pytest.mark.parametrize("rule", ["scale D**-0.5", "> 1/D", "away from 1/D"])
def test_an_array_with_entries_whose_rule_has_no_number_is_a_problem_of_the_sizes(rule):
    spec = specified(f"x: D, b: M {rule}")
    assert spec.problem({"D": 0, "M": 3}, least=0) == "be numbers, and there is a ZeroDivisionError"
