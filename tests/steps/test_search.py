import time

import numpy as np

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
