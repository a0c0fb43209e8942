import math

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.steps.run import traced
from gradcheck.steps.truth import adjoint

X = np.array([0.3, -1.2, 0.8])


def gradient(forward):
    run = traced(forward, None, Arguments.of(forward, (X,)))
    return np.asarray(adjoint(run).nodes[run.leaf["x"]]), run.cotangent[0]


@pytest.mark.parametrize(
    "of_list",
    [np.ravel, np.sum, np.mean, np.cumsum, np.diff, np.transpose, np.squeeze, np.array, np.stack, np.concatenate],
    ids=lambda function: function.__name__,
)
def test_a_list_of_recorded_arrays_is_recorded_as_an_array(of_list):
    def forward(x):
        return of_list([x[:2] * 2.0, x[1:] ** 2]) * 1.0, None

    found, bar = gradient(forward)
    step = 1e-6
    for i in range(3):
        moved = [forward(X + sign * step * np.eye(3)[i])[0] for sign in (1, -1)]
        assert found[i] == pytest.approx(float((bar * (moved[0] - moved[1])).sum()) / (2 * step), rel=1e-6)


def of_lists(join):
    return lambda some: join([[each[0], each[1]] for each in some])


@pytest.mark.parametrize(
    "of_list",
    [np.exp, np.negative, lambda some: np.maximum(0.0, some), of_lists(np.hstack), of_lists(np.stack)],
    ids=["exp", "negative", "maximum", "hstack", "stack"],
)
def test_lists_are_recorded_wherever_numpy_takes_them(of_list):
    def forward(x):
        return of_list([x[:2] * 2.0, x[1:] ** 2]) * 1.0, None

    found, bar = gradient(forward)
    moved = [forward(X + sign * 1e-6 * np.eye(3)[i])[0] for i in range(3) for sign in (1, -1)]
    slopes = [float((bar * (a - b)).sum()) / 2e-6 for a, b in zip(moved[::2], moved[1::2], strict=True)]
    assert found == pytest.approx(slopes, rel=1e-6)


def test_the_methods_of_a_ufunc_are_its_own():
    def forward(x):
        out = np.zeros(2)
        np.add.at(out, [0, 1, 0], x)
        return out + np.multiply.outer(x, x).sum() + np.add.reduce(x), None

    found, bar = gradient(forward)
    assert found == pytest.approx(bar[[0, 1, 0]] + bar.sum() * (2 * X.sum() + 1))


def test_single_numbers_stay_recorded_through_math():
    def forward(x):
        return np.array([math.exp(x[0]), math.tanh(x[1]), math.sqrt(abs(x[2]))]), None

    found, bar = gradient(forward)
    assert found == pytest.approx(bar * [math.exp(0.3), 1 - math.tanh(-1.2) ** 2, 0.5 / math.sqrt(0.8)])


def test_a_buffer_that_is_made_and_filled_is_recorded():
    def forward(x):
        out = np.zeros(3)
        out[:2] = x[1:]
        out += np.full(3, 2.0) * x
        return out, None

    found, bar = gradient(forward)
    assert found == pytest.approx(2 * bar + np.array([0.0, bar[0], bar[1]]))
