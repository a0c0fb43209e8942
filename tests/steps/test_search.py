import time

import numpy as np
import pytest

from gradcheck.steps.search import Search
from tests.steps.rewrites.rows import arrays, composed, rewritten, searched

X, W, S, V = arrays((5, 4), (4, 3), (4, 4), (3, 2))


def layers(x, w, v):
    h = np.tanh(x @ w)
    return h @ v, (x, w, v, h)


def wrong_sign(g, c):
    x, w, v, h = c
    dh = -(g @ v.T)
    dz = dh * (1 - h**2)
    return dz @ w.T, x.T @ dz, h.T @ g


def test_what_explains_several_gradients_is_said_once_with_its_line():
    (cause, *_) = rewritten(layers, wrong_sign, (X, W, V))
    assert (cause.mistake, cause.paths) == ("A1", ("w", "x"))
    assert cause.line.number == wrong_sign.__code__.co_firstlineno + 2


def test_what_is_found_once_is_not_looked_for_again():
    search, blame, _ = searched(layers, wrong_sign, (X, W, V))
    (pin,) = blame.pins
    assert search.causes(pin)
    assert search.causes(pin) == []


def test_nothing_is_tried_when_the_time_is_over():
    _, blame, second = searched(layers, wrong_sign, (X, W, V))
    assert Search(blame, second, time.perf_counter() - 10).causes(blame.pins[0]) == []


def test_a_rewrite_in_a_function_that_is_called_twice_is_made_in_both_calls():
    def dense(g, x, w):
        return g @ w, x.T @ g

    def backward(g, c):
        x, a, b, h = c
        dh, db = dense(g, h, b)
        dx, da = dense(dh, x, a)
        return dx, da, db

    def forward(x, a, b):
        h = x @ a
        return h @ b, (x, a, b, h)

    (cause, *_) = rewritten(forward, backward, (X, S, S + 0.5))
    assert (cause.mistake, cause.paths) == ("B1", ("a", "x"))


def test_a_value_that_only_seems_right_at_one_point_is_no_cause():
    def backward(g, x):
        return (g * np.float64(X[0, 0]),)  # a number of one point in the place of a derivative

    assert all(cause.mistake in ("C1", "C2", "C3", "B6") for cause in rewritten(lambda x: (x**2, x), backward, (X,)))


def test_what_is_read_off_and_what_is_rewritten_agree_on_a_missing_path():
    forward, backward = lambda x: (x * np.sin(x), x), lambda g, x: (g * np.sin(x),)
    assert {cause.mistake for cause in composed(forward, backward, (X,))} == {"C8"}


def test_a_step_too_many_after_a_right_value_is_said_of_its_own_line():
    def forward(x, b):
        p = 1 / (1 + np.exp(-(x + b)))
        return (p**2).sum() / len(x), (p, len(x))

    def backward(g, c):
        p, n = c
        dz = 2 * p**2 * (1 - p) / n
        db = np.sum(dz) / n
        return g * dz, g * db

    (cause, *_) = rewritten(forward, backward, (X[:, 0], np.array(0.3)))
    assert (cause.mistake, cause.paths) == ("A3", ("b",))
    assert cause.line.number == backward.__code__.co_firstlineno + 3


@pytest.mark.parametrize(("more", "said"), [(0, True), (1, False)])
def test_what_repairs_one_gradient_and_leaves_more_wrong_that_it_changes_is_no_cause(more, said):
    def forward(x, w, b):
        return np.tanh(x * w + b), (x, w, b)

    def visited_again(g, c):
        x, w, b = c
        dz = (g + g + g) * (1 - np.tanh(x * w + b) ** 2)
        return dz * (w + more * np.sin(w)), dz * (x + more * np.cos(x)), dz.sum(axis=0)

    found = rewritten(forward, visited_again, (X, X + 1, X[0]))
    assert ("A1" in {cause.mistake for cause in found}) == said


def test_a_state_of_another_turn_that_stands_in_a_derivative_is_told_from_another_layer():
    def forward(u, k):
        kept = []
        for _ in range(3):
            kept.append(np.diff(u))
            u = u + 0.1 * np.append(k * kept[-1], 0.0)
        return u, (k, kept)

    def backward(g, c):
        k, kept = c
        dk = np.zeros(3)
        for d in kept:
            df = 0.1 * g[:-1]
            dk += df * d
            g = g.copy()
            g[1:] += df * k
            g[:-1] -= df * k
        return g, dk

    (cause, *_) = rewritten(forward, backward, (X[0], X[1, :3]))
    assert cause.mistake == "G3"


def test_a_view_is_known_as_it_was_before_parts_of_it_were_overwritten():
    def forward(x, y):
        r = x - y
        return (r**2).sum() + (np.diff(x) ** 2).sum(), (r, np.diff(x))

    def alias(g, c):
        r, d = 2 * g * c[0], 2 * g * c[1]
        dx = r
        dx[:, 1:] += d
        dx[:, :-1] -= d
        return dx, -r

    (cause, *_) = rewritten(forward, alias, (X, X + 1.5 * X**2))
    assert (cause.mistake, cause.should) == ("E3", "r before it was overwritten")


def test_an_axis_of_size_one_that_is_lost_is_told_from_a_sum_over_another_axis():
    def backward(g, c):
        x, s = c
        return g * s, (g * x).sum(axis=1) + np.zeros((4, 1))

    found = rewritten(lambda x, s: (x * s, (x, s)), backward, (S, S[:, :1] + 1))
    assert "B2" in {cause.mistake for cause in found}
