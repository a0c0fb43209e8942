"""Whatever module a pair computes with, a mistake in it is found on its line by what a user calls."""

import copy
import functools
import math
import operator

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from gradcheck import examine_backward

X = np.random.default_rng(4).standard_normal(5)


def of_math(x):
    return np.array([math.sin(v) for v in x]), x


def of_math_backward(g, x):
    slope = np.array([math.sin(v) for v in x])
    return (g * slope,)


def of_linalg(x):
    return np.linalg.norm(x), x


def of_linalg_backward(g, x):
    n = np.linalg.norm(x)
    return (g * x * n,)


def of_operator(x):
    return operator.mul(x, x), x


def of_operator_backward(g, x):
    twice = operator.add(x, x)
    return (operator.mul(g, operator.add(x, twice)),)


def of_functools(x):
    return functools.reduce(np.add, [x, np.sin(x)]), x


def of_functools_backward(g, x):
    parts = [g, g * np.sin(x)]
    return (functools.reduce(np.add, parts),)


def of_copy(x):
    y = copy.deepcopy(x)
    y *= x
    return y, x


def of_copy_backward(g, x):
    dx = copy.copy(g)
    dx *= 3 * x
    return (dx,)


def of_windows(x):
    return sliding_window_view(x, 2).sum(axis=1) ** 2, x


def of_windows_backward(g, x):
    s = sliding_window_view(x, 2).sum(axis=1)
    dx, ds = np.zeros(5), 3 * g * s
    dx[1:] += ds
    dx[:-1] += ds
    return (dx,)


def of_random(x):
    return x * np.random.default_rng(1).random(5), x


def of_random_backward(g, x):
    return (2 * g * np.random.default_rng(1).random(5),)


PAIRS = {
    of_math: of_math_backward,
    of_linalg: of_linalg_backward,
    of_operator: of_operator_backward,
    of_functools: of_functools_backward,
    of_copy: of_copy_backward,
    of_windows: of_windows_backward,
    of_random: of_random_backward,
}


@pytest.mark.parametrize(("forward", "backward"), PAIRS.items(), ids=lambda each: each.__name__)
def test_a_mistake_is_found_on_a_line_whatever_module_computes_it(forward, backward):
    report = examine_backward(forward, backward, (X,), seed=0)
    wrong = [step for step in report.steps if step.verdict == "wrong"]
    assert wrong
    assert {step.function for step in wrong} == {backward.__name__}
    assert report.explanations
    assert report.explanations[0].file == __file__
