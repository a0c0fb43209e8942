"""f along one tangent, seen under any cotangent: computed once at each point, and at no point for another."""

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.oracles import central_difference, complex_step
from gradcheck.trees import Layout
from gradcheck.verdict.line import Line, Remembering

X, V = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.3, -0.7])


def line_of(f, x=X, v=V):
    """Return the line of ``f`` at ``x`` along ``v``, and the list of the points at which f was called since."""
    points = []

    def forward(x):
        points.append(x.copy())
        return f(x), None

    out = f(x)
    arguments = Arguments.of(forward, (x,))
    pairing = Remembering.at_point(forward, arguments, np.zeros_like(out), out).along_line(v)
    points.clear()
    return Line(pairing, v, Layout.of([("out", out)])), points


@pytest.mark.parametrize("oracle", [central_difference, complex_step])
def test_the_slope_under_a_cotangent_is_its_product_with_the_tangent_of_the_output(oracle):
    line, _ = line_of(np.sin)
    bar = np.array([1.0, -2.0, 0.5])
    estimate = line.measured_by(oracle)(bar)
    assert abs(estimate.value - bar @ (np.cos(X) * V)) <= estimate.error


def test_the_function_is_called_once_at_each_point_whatever_the_cotangent():
    line, points = line_of(np.sin)
    measure = line.measured_by(central_difference)
    measure(np.array([1.0, -2.0, 0.5]))
    once = len(points)
    measure(np.array([0.3, 1.0, -1.0]))
    assert len(points) == once
    assert len({point.tobytes() for point in points}) == once


def test_points_that_agree_in_all_entries_at_zero_are_told_apart():
    x, v = np.zeros(40), np.zeros(40)
    x[:2], v[:2] = [1.0, 3.0], [1.0, 1.0]
    line, points = line_of(lambda x: np.array([np.sum(x**2)]), x, v)
    assert line.excursion(0) == pytest.approx(10.0, rel=1e-3)
    assert line.along(np.ones(1), 0.0) == 0.0
    assert len(points) == 2


def test_more_than_there_is_room_for_is_computed_again(monkeypatch):
    monkeypatch.setattr("gradcheck.verdict.line.MOST", 0)
    line, points = line_of(np.sin)
    line.along(np.ones(3), 0.1)
    line.along(np.ones(3), 0.1)
    assert len(points) == 2


def test_where_the_function_refuses_a_shrunk_point_nothing_is_known_of_its_size():
    def f(x):
        if np.all(np.abs(x) < 0.1):
            raise ValueError("too small")
        return np.sin(x)

    assert line_of(f)[0].excursion(0) == 0.0


def test_no_cotangent_shows_nothing():
    line, points = line_of(np.sin)
    assert line.measured_by(central_difference)(np.zeros(3)).value == 0.0
    assert points == []
