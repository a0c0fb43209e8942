"""Lines that do what they should are not blamed for what is wrong elsewhere."""

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.steps.blame import Blame
from gradcheck.steps.match import Sight
from gradcheck.steps.run import traced
from tests.steps.test_blame import numbers

RNG = np.random.default_rng(5)


def product(x, w, s):
    return x * w * s, (x, w, s)


def wrong_sign(dout, cache):
    x, w, s = cache
    t = dout * x
    dw = -t * s  # here
    return dout * w * s, dw, t * w


def form(x, a, y):
    return ((x @ a) * y).sum(axis=1), (x, a, y)


def transposed_once_too_often(dout, cache):
    x, a, y = cache
    dx = dout[:, None] * (y @ a.T)
    dy = dout[:, None] * (x @ a.T)  # here
    return dx, x.T @ (dout[:, None] * y), dy


def running(x, w, h):
    states = []
    for t in range(4):
        states.append(h)
        h = np.tanh(w @ h + x[t])
    return np.stack([*states[1:], h]), (w, states, h)


def carry_never_read(dout, cache):
    w, states, h = cache
    dx, dw, after = np.zeros((4, 3)), np.zeros((3, 3)), [*states[1:], h]
    dnext = np.zeros(3)
    for t in reversed(range(4)):
        dh = dout[t] * 1.0  # here
        dz = dh * (1 - after[t] ** 2)
        dx[t] = dz
        dw += np.outer(dz, states[t])
        dnext = w.T @ dz
    return dx, dw, dnext


def gated(z, n, h):
    m = np.tanh(n)
    return (1 - z) * m + z * h, (z, m, h)


def wrong_gate(dout, cache):
    z, m, h = cache
    dm = dout * z  # here
    dn = dm * (1 - m**2)
    return dout * (h - m), dn, dout * z


def two_sums(r, k):
    return {"a": r.sum(), "b": 0.5 * (k * r**2).sum()}, (r, k)


def half_of_one(dout, cache):
    r, k = cache
    da, db = dout["a"], dout["b"]
    return da + db * k * r, db * r**2  # here


def energy(x, w):
    return np.sum(w * np.tanh(x)), (x, w)


def squares(x):
    h = np.tanh(x)
    return np.sum(h**2), h


def no_derivative(dout, h):
    dx = 2 * h  # here
    return dout * dx


def differences(x):
    return np.concatenate([x[1:] - x[:-1], 3 * x]), x


def one_side_left_out(dout, x):
    n = len(x)
    dx = 3 * dout[n - 1 :]
    dx[1:] += dout[: n - 1]
    return dx * 1.0  # here


CASES = [
    (product, wrong_sign, ((3, 2), (3, 2), (3, 2)), 0),
    (form, transposed_once_too_often, ((4, 3), (3, 3), (4, 3)), 0),
    (running, carry_never_read, ((4, 3), (3, 3), (3,)), 1),
    (gated, wrong_gate, ((4,), (4,), (4,)), 0),
    (two_sums, half_of_one, ((4,), (4,)), 0),
    (squares, no_derivative, ((4,),), 1),
]


def blamed(forward, backward, shapes, cotangent=None):
    args = tuple(RNG.standard_normal(shape) for shape in shapes)
    blame = Blame(Sight(traced(forward, backward, Arguments.of(forward, args), cotangent, seed=3)))
    return {line.number for pin in blame.pins for line in blame.blamed(pin)[0]}


@pytest.mark.parametrize(
    ("forward", "backward", "shapes", "more"), CASES, ids=[backward.__name__ for _, backward, *_ in CASES]
)
def test_only_the_wrong_line_is_blamed(forward, backward, shapes, more):
    """``more`` lines are as likely: those on which what is right so far is used."""
    found = blamed(forward, backward, shapes)
    assert numbers(backward) <= found
    assert len(found) <= 1 + more


def deaf_in_one(dout, cache):
    x, w = cache
    dx = w * (1 - np.tanh(x) ** 2)
    return dx, dout * np.tanh(x)  # here


def test_where_the_cotangent_is_multiplied_in_is_blamed_for_the_gradient_without_it():
    assert numbers(deaf_in_one) <= blamed(energy, deaf_in_one, ((4,), (4,)), [np.array(2.5)])


def test_the_line_after_a_sum_by_pieces_is_blamed_for_the_piece_that_lacks():
    found = blamed(differences, one_side_left_out, ((5,),))
    last = max(numbers(one_side_left_out))
    assert last in found
    assert found <= {last - 2, last - 1, last}
