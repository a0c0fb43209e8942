"""An edit that is run ends, and does nothing but compute."""

import contextlib
import types

import numpy as np
import pytest

from gradcheck.explanation.edits import edits, source_of
from gradcheck.explanation.edits.purity import is_harmless
from gradcheck.explanation.edits.scene import is_cotangent
from gradcheck.explanation.edits.source import Endless

X = np.arange(1.0, 4.0)
WRITTEN = []


def countdown_backward(dout, cache):
    x, n = cache
    t = n - 1
    dx = np.zeros_like(x)
    while t > 0:
        dx[t] = -dout[t] * x[t]
        t -= 1
    return dx


def run_all(made):
    for edit in made:
        with contextlib.suppress(Exception):
            edit.backward(X.copy(), (X.copy(), len(X)))


def test_every_edit_of_a_loop_ends():
    made = list(edits(countdown_backward, (X, (X, len(X)))))
    assert any("t += 1" in edit.after for edit in made), "one that never ends is among them"
    run_all(made)  # or the test never ends


def test_a_loop_without_an_end_is_ended():
    source = source_of(countdown_backward)
    loop = source.tree.body[3]
    step = loop.body.pop()
    endless = source.ending(most=50)
    with pytest.raises(Endless) as caught:
        endless(X, (X, len(X)))
    assert str(caught.value) == "countdown_backward must end, but its loops turned 51 times."
    loop.body.append(step)
    ended = source.ending(most=50)
    np.testing.assert_array_equal(ended(X, (X, len(X))), countdown_backward(X, (X, len(X))))


def test_each_call_may_turn_as_often_as_the_first():
    ended = source_of(countdown_backward).ending(most=2)
    right = countdown_backward(X, (X, len(X)))
    for _ in range(3):
        np.testing.assert_array_equal(ended(X, (X, len(X))), right)
    assert ended(np.ones(2), (np.ones(2), 2)).tolist() == [0.0, -1.0]
    with pytest.raises(Endless):
        ended(np.ones(4), (np.ones(4), 4))


def test_the_test_of_a_loop_is_edited():
    found = [(e.mistake, e.before, e.after) for e in edits(countdown_backward, (X, (X, len(X))))]
    assert ("G2", "while t > 0:", "while t >= 0:") in found


def double_prime(x):
    return 2 * x


def noisy_prime(x):
    WRITTEN.append(x)
    return 2 * x


def storing_prime(x):
    x[0] = 0.0
    return x


def adding_prime(x):
    x += 1
    return x


def test_only_functions_that_compute_are_harmless():
    found = [is_harmless(f) for f in (double_prime, noisy_prime, storing_prime, adding_prime)]
    assert found == [True, False, False, False]


def plain_backward(dout, cache):
    if dout.sum() > 1e9:
        WRITTEN.append(cache)
    return dout if cache.sum() > 0 else noisy_prime(dout)


def test_no_edit_calls_what_was_not_called():
    WRITTEN.clear()
    for edit in edits(plain_backward, (X, X)):
        with contextlib.suppress(Exception):
            edit.backward(X.copy(), X.copy())
        assert "noisy_prime(x)" not in edit.after
    assert WRITTEN == []


def test_names_that_only_begin_with_a_d_are_no_gradients():
    words = ["decay", "data", "dst", "dropout", "denom", "deg", "dim", "dilation"]
    gradients = ["dout", "dW", "dx", "delta", "d_h", "grad", "dist_grad", "dimg", "denc", "ddecay"]
    assert not any(map(is_cotangent, words))
    assert all(map(is_cotangent, gradients))


def test_a_compiled_function_leaves_the_globals_alone():
    assert isinstance(source_of(countdown_backward).ending(9), types.FunctionType)
    assert not any(name.startswith("__gradcheck") for name in globals())
