"""One row of the tables that take a derivative, a value or a number: a small backward is explained by that row."""

import numpy as np
import pytest

from tests.steps.rewrites.rows import arrays, rewritten

X, W, S, V, H = arrays((5, 4), (4, 3), (4, 4), (3, 2), (4,))
IMAGE, KERNEL = arrays((1, 2, 6, 7), (3, 3), seed=5)
MASK = (np.random.default_rng(2).random((5, 4)) < 0.6) / 0.6


def tanh(x):
    return np.tanh(x), x


def sigmoid(x):
    s = 1 / (1 + np.exp(-x))
    return s, (x, s)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, p


def relu(x):
    return np.maximum(x, 0), x


def masked(g, mask):
    g = g.copy()
    g[mask] = 0
    return g


def dropout(x):
    return x * MASK, None


def lengths(x):
    r = np.sqrt((x**2).sum(axis=1))
    return r, (x, r)


def dropped(x):
    return np.tanh(x) * MASK, x


def scaled(x, a):
    return x * a, (x, a)


def layers(x, w, v):
    h = np.tanh(x @ w)
    return h @ v, (x, w, v, h)


def layers_backward(g, c, dh=None, dv=None, slope=None):
    x, w, v, h = c
    dz = (g @ v.T if dh is None else dh) * (1 - h**2 if slope is None else slope)
    return dz @ w.T, x.T @ dz, (h.T @ g if dv is None else dv)


def averaged(x):
    return (x**2).mean(axis=0), x


def logistic_loss(x):
    p = 1 / (1 + np.exp(-x))
    return -np.log(p).sum(), p


def windows(x):
    out = np.zeros((1, 2, 3, 3))
    for i in range(3):
        for j in range(3):
            out[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum(axis=(2, 3))
    return out, x.shape


def windows_backward(g, shape, stride=2, add=True):
    dx = np.zeros(shape)
    for i in range(3):
        for j in range(3):
            part = dx[:, :, stride * i : stride * i + 2, stride * j : stride * j + 2]
            part[...] = g[:, :, i, j, None, None] + (part if add else 0)
    return (dx,)


def overlapping(x):
    return np.array([x[t : t + 3].sum() for t in range(5)]), x.shape


def overlapping_backward(g, shape, last):
    dx = np.zeros(shape)
    for t in range(5):
        dx[t : t + 3] = g[t] if last else dx[t : t + 3] + g[t]
    return (dx,)


def recurrent(x, w, h):
    states = [h]
    for each in x:
        states.append(np.tanh(states[-1] @ w + each))
    return states[-1] * 1.0, (w, states)


def recurrent_backward(g, c, shift=0):
    w, states = c
    dx, dw, dh = [], np.zeros_like(w), g
    for t in reversed(range(len(states) - 1)):
        dz = dh * (1 - states[t + 1] ** 2)
        dx.insert(0, dz)
        dw = dw + np.outer(states[t + shift], dz)
        dh = w @ dz
    return np.array(dx), dw, dh


def leaky(x):
    return np.where(x > 0, x, 0.1 * x).transpose(0, 2, 3, 1), x


def never_open(g, x):
    dx = g.transpose(0, 3, 1, 2).copy()
    dx[x <= 0] = 0
    return (dx.transpose(0, 1, 2, 3) * 1.0,)


def filtered(x, a):
    y = np.zeros(len(x) + 1)
    for t in range(len(x)):
        y[t + 1] = a * y[t] + x[t]
    return y[1:], (a, y)


def adjoint(g, c):
    _, y = c
    back = np.zeros(len(g) + 1)
    for t in range(len(g) - 1, -1, -1):
        back[t] = g[t] + back[t + 1]
    return back[:-1], np.asarray(back[:-1] @ y[:-1])


# fmt: off
ROWS = [  # mistake, words of what should stand there, forward, wrong backward, arguments
    ("C1", "times the derivative of the tanh", tanh, lambda g, x: (g * 1.0,), (X,)),
    ("C3", "divided by", lengths, lambda g, c: (g[:, None] * c[0],), (X,)),
    ("E5", "times the derivative of the multiply", dropped, lambda g, x: (g * (1 - np.tanh(x) ** 2),), (X,)),
    ("C1", "times the derivative", layers, lambda g, c: layers_backward(g, c, slope=1.0), (X, W, V)),
    ("C2", "", tanh, lambda g, x: (g * (1 - np.tanh(np.tanh(x)) ** 2),), (X,)),
    ("C3", "the derivative of", sigmoid, lambda g, c: (g * (c[1] + 0.5 * np.sin(c[0])),), (X,)),
    ("C2", "times the derivative", relu, lambda g, x: (masked(g, g <= 0),), (X,)),
    ("E5", "times", dropout, lambda g, _: (g * 1.0,), (X,)),
    ("C6", "", logistic_loss, lambda g, p: (g * (p - 1) * p * (1 - p),), (X,)),
    ("C6", "the whole Jacobian of the softmax", softmax, lambda g, p: (g * p * (1 - p),), (X,)),
    ("C2", "times the derivative of the where", leaky, never_open, (IMAGE,)),
    ("A5", "* a", filtered, adjoint, (X[0], np.array(0.7))),
    ("C4", "the derivative", lambda x, s: (np.tanh(np.tanh(x @ s) @ s), (x, s)),
     lambda g, c: second_layers_slope(g, *c), (X, 0.3 * S)),
    ("B6", "y", lambda x, y: (x * y, (x, y)), lambda g, c: (g * c[0], g * c[0]), (X, X[::-1] + 1)),
    ("A5", "times", scaled, lambda g, c: (g * 1.0, (g * c[0]).sum(axis=0)), (X, H)),
    ("A4", "alone", lambda x: (x**2 / 2, x), lambda g, x: (g * x * 2.0 * 1.0,), (X,)),
    ("A2", "5", averaged, lambda g, x: (2 * x * g,), (X,)),
    ("E1", "added to what is there", overlapping, lambda g, s: overlapping_backward(g, s, last=True),
     (H[[0, 1, 2, 3, 0, 1, 2]],)),
    ("F2", "at", windows, lambda g, s: windows_backward(g, s, stride=1), (IMAGE,)),
    ("G3", "", recurrent, lambda g, c: recurrent_backward(g, c, shift=1), (X, 0.4 * S, H)),
]
# fmt: on


def second_layers_slope(g, x, s):
    h = np.tanh(x @ s)
    y = np.tanh(h @ s)
    dz = g * (1 - y**2)
    dh = (dz @ s.T) * (1 - y**2)
    return dh @ s.T, x.T @ dh + h.T @ dz


@pytest.mark.parametrize(("mistake", "words", "forward", "backward", "args"), ROWS)
def test_a_row_undoes_its_mistake_at_two_points(mistake, words, forward, backward, args):
    found = rewritten(forward, backward, args)
    assert mistake in {cause.mistake for cause in found}, [(c.mistake, c.should) for c in found]
    assert any(words in cause.should for cause in found if cause.mistake == mistake), [c.should for c in found]


@pytest.mark.parametrize(
    ("forward", "backward", "args"),
    [
        (layers, layers_backward, (X, W, V)),
        (windows, windows_backward, (IMAGE,)),
        (recurrent, recurrent_backward, (X, 0.4 * S, H)),
    ],
)
def test_what_is_right_has_no_cause(forward, backward, args):
    assert rewritten(forward, backward, args) == []


def test_a_mask_that_is_wrong_is_said_of_the_line_that_writes_it():
    def backward(g, x):
        dx = g.transpose(0, 3, 1, 2).copy()
        dx[x <= 0] = 0
        scaled = dx * 1.0
        return (scaled,)

    (cause, *_) = rewritten(leaky, backward, (IMAGE,))
    assert cause.line.number == backward.__code__.co_firstlineno + 2


def damped(u):
    states = [u]
    for _ in range(3):
        u = u - 0.1 * (0.5 * u * u)
        states.append(u)
    return u, states


def damped_backward(g, states):
    for u in states[:0:-1]:
        g = g + -0.1 * g * u
    return (g,)


def test_the_state_after_a_step_for_the_one_before_is_one_of_another_turn_in_a_loop_without_parameters():
    (cause, *_) = rewritten(damped, damped_backward, (H,))
    assert cause.mistake == "G3"


def bag(e, w):
    tokens = np.array([[1, 2, 0], [3, 1, 0]])
    mask = (tokens != 0)[:, :, None]
    return (e[tokens] * mask).sum(axis=1) @ w, (e, w, tokens, mask)


def bag_backward(g, cache):
    e, w, tokens, mask = cache
    de = np.zeros_like(e)
    np.add.at(de, tokens, (g @ w.T)[:, None, :] * np.ones_like(mask))
    return de, (e[tokens] * mask).sum(axis=1).T @ g


def test_what_is_not_used_because_of_a_mask_lacks_the_mask():
    assert "F5" not in {cause.mistake for cause in rewritten(bag, bag_backward, (X, W[:4]))}


def test_what_neither_the_output_nor_the_backward_reads_is_not_taken():
    def forward(x, w):
        dx = 3 * x**2 * w  # the right gradient, which a function that returns it beside its loss has made
        dx = dx * 5
        return (x**3 * w).sum(), (x, w)

    def backward(g, cache):
        x, w = cache
        dx = np.arctan(x) * w * g
        return dx / 5, g * x**3

    assert not rewritten(forward, backward, (X[:, 0].copy(), X[:, 1].copy()))
