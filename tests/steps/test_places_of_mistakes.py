"""The lines that are blamed where the mistake is not on the line that makes a wrong value."""

import numpy as np

from tests.steps.pairs import blame_of
from tests.steps.test_blame import numbers

DRAWN = np.random.default_rng(7)
X, Y = DRAWN.standard_normal((2, 4, 3))


def blamed(forward, backward, *args):
    blame = blame_of(forward, backward, args)
    return {line.number for pin in blame.pins for line in blame.blamed(pin)[0]}


def similarity(x, y, amp):
    k = np.exp(2 * amp) * np.exp(-0.5 * ((x[:, None] - y) ** 2).sum(-1))
    return k, (x[:, None] - y, k)


def without_kernel(dout, cache):
    diff, _ = cache
    g = dout  # here
    dx = -np.einsum("ij,ijd->id", g, diff)
    dy = np.einsum("ij,ijd->jd", g, diff)
    return dx, dy, np.array(2 * g.sum())


def without_cotangent(dout, cache):
    diff, k = cache
    g = k  # here
    dx = -np.einsum("ij,ijd->id", g, diff)
    dy = np.einsum("ij,ijd->jd", g, diff)
    return dx, dy, np.array(2 * g.sum())


def test_a_name_that_all_wrong_gradients_read_is_blamed_alone():
    assert blamed(similarity, without_cotangent, X, Y, np.array(0.3)) == numbers(without_cotangent)


def test_a_name_that_is_read_where_one_pin_explains_all_is_blamed_beside_it():
    returned = max(line for *_, line in without_kernel.__code__.co_lines() if line)
    assert blamed(similarity, without_kernel, X, Y, np.array(0.3)) == numbers(without_kernel) | {returned}


def leaky(x, w):
    y = x @ w
    return np.where(y > 0, y, 0.1 * y), (x, w, y)


def not_leaky(dout, cache):
    x, w, y = cache
    dy = dout.copy()
    dy[y <= 0] = 0  # here
    dy = dy.reshape(4, 2)
    return dy @ w.T, x.T @ dy


def test_what_is_written_over_a_part_of_a_cotangent_is_blamed():
    assert numbers(not_leaky) <= blamed(leaky, not_leaky, X, X[:3, :2])


def ends(q):
    i, j = np.array([0, 1, 2]), np.array([1, 2, 3])
    return q[i] * q[j], (q, i, j)


def one_end(dout, cache):
    q, i, j = cache
    dq = np.zeros_like(q)
    np.add.at(dq, i, dout * q[j])
    return dq  # here


def test_where_a_use_is_never_added_to_a_buffer_its_place_is_blamed_and_not_the_zeros():
    place = numbers(one_end)
    assert blamed(ends, one_end, X[:, 0]) == place | {line - 1 for line in place}


def gate(x, z):
    n = np.tanh(x)
    return (1 - z) * n + z * x, (x, z, n)


def renamed(dout, cache):
    x, z, n = cache
    dn = dout  # here
    dz = dout * (x - n)
    return dn * (1 - n**2) + dout * z, dz


def test_a_new_name_for_what_a_wrong_line_reads_is_blamed():
    assert numbers(renamed) <= blamed(gate, renamed, X, Y)


class Value:
    def __init__(self, data, parents=()):
        self.data, self.parents, self.grad = data, parents, 0.0

    def __mul__(self, o):
        return Value(self.data * o.data, ((self, lambda g: g * o.data), (o, lambda g: g * self.data)))

    def __truediv__(self, o):
        return Value(
            self.data / o.data,
            (
                (self, lambda g: g / o.data),
                (o, lambda g: -g * self.data / o.data),  # here
            ),
        )

    def backprop(self, g):
        self.grad = self.grad + g
        for parent, pullback in self.parents:
            parent.backprop(pullback(g))


def engine(dout, cache):
    x, y = (Value(c) for c in cache)
    (x / (y * y)).backprop(dout)
    return x.grad, y.grad


def test_a_closure_that_holds_the_wrong_value_is_blamed_and_not_what_calls_it():
    assert blamed(lambda x, y: (x / (y * y), (x, y)), engine, X, Y) == numbers(Value.__truediv__)
