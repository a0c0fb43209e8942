"""What one argument is, and the sizes for which there is no such argument."""

import numpy as np

from gradcheck.shapes.specification import specified


def test_zeros_are_drawn_as_such():
    x, b = specified("x: N D zero, b: float zero").point({"N": 2, "D": 3}, 0)
    assert x.shape == (2, 3)
    assert not x.any()
    assert not np.signbit(x).any()
    assert (type(b), b) == (float, 0.0)


def test_a_scale_that_divides_by_an_empty_axis_is_a_problem_of_the_sizes():
    spec = specified("W: D M scale D**-0.5")
    assert spec.problem({"D": 0, "M": 2}, least=0) == "be numbers, and there is a ZeroDivisionError"
    assert spec.problem({"D": 4, "M": 2}, least=0) is None
