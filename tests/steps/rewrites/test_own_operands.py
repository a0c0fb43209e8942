"""One row of the tables that take nothing new: a small backward with that mistake is explained by that row."""

import numpy as np
import pytest

from gradcheck.mistakes import CATALOGUE
from tests.steps.rewrites.rows import arrays, rewritten

X, W, B, S = arrays((5, 4), (4, 3), (3,), (4, 4))
IMAGE, KERNEL = arrays((2, 3, 4, 6), (4, 6), seed=5)


def affine(x, w, b):
    return x @ w + b, (x, w)


def scaled(x):
    return 3.0 * x, None


def squared(x):
    return x**2, x


def tanh(x):
    return np.tanh(x), np.tanh(x)


def grams(x, s):
    return np.einsum("ni,ij->nj", x, s), (x, s)


def turned(x):
    return x.transpose(1, 0, 2, 3) * 1.0, None


def kernels(x, k):
    return (x * k).sum(axis=(2, 3)), (x, k)


# fmt: off
ROWS = [  # mistake, words of what should stand there, forward, wrong backward, arguments
    ("A1", "the other sign", scaled, lambda g, _: (-3.0 * g,), (X,)),
    ("A1", "", lambda x: (x - x**2, x), lambda g, x: (g + 2 * x * g,), (X,)),
    ("A1", "", lambda x: (x - 0.5 * x**2, x), lambda g, x: (g * (x - 1),), (X,)),
    ("A4", "alone", scaled, lambda g, _: (3.0 * g * 1.5,), (X,)),
    ("A2", "a sum", affine, lambda g, c: (g @ c[1].T, c[0].T @ g, g.mean(axis=0)), (X, W, B)),
    ("B1", "@", lambda x, s: (x @ s, (x, s)), lambda g, c: (g @ c[1], c[0].T @ g), (X, S)),
    ("B3", "summed over axis 0", affine, lambda g, c: (g @ c[1].T, c[0].T @ g, g * 1.0), (X, W, B)),
    ("B4", "summed over axis 0", affine, lambda g, c: (g @ c[1].T, c[0].T @ g, g.sum(axis=1)), (X, W, B)),
    ("B1", "", grams, lambda g, c: (np.einsum("nj,ji->ni", g, c[1]), np.einsum("ni,nj->ij", c[0], g)), (X, S)),
    ("B6", "alone", squared, lambda g, x: (2 * x * g * (x + 5),), (X,)),
    ("C3", "exponent 4", lambda x: (x**5, x), lambda g, x: (5 * x**3 * g,), (X,)),
    ("C3", "greater", lambda x: (np.maximum(x, 0), x), lambda g, x: (g * (x < 0),), (X,)),
    ("C3", "the two choices exchanged", lambda x: (np.where(x > 0, x, 0.1 * x), x),
     lambda g, x: (np.where(x > 0, 0.1, 1.0) * g,), (X,)),
    ("C3", "cos of", lambda x: (np.sin(x), x), lambda g, x: (np.tanh(x) * g,), (X,)),
    ("C2", "as it is", tanh, lambda g, h: (g * (1 - np.tanh(h) ** 2),), (X,)),
    ("C8", "alone", squared, lambda g, x: (2 * x * g + 7.0 * g * x**2,), (X,)),
    ("G4", "as it is", scaled, lambda g, _: (np.clip(3.0 * g, -1, 1),), (X,)),
    ("H3", "as it is", scaled, lambda g, _: (np.round(3.0 * g),), (X,)),
    ("F4", "order", lambda x: (x * 1.0, None), lambda g, _: (g.transpose(0, 1, 3, 2) * 1.0,), (IMAGE[:, :, :, :4],)),
    ("F1", "from the last on", lambda x: (x * 1.0, None), lambda g, _: (g[:, :, ::-1, ::-1] * 1.0,), (IMAGE,)),
    ("F3", "alone", lambda x: (x * 1.0, None), lambda g, _: (np.roll(g, 1, 2) * 1.0,), (IMAGE,)),
    ("B1", "first", lambda x: (x.reshape(2, 3, 24), None), lambda g, _: (g.transpose(1, 0, 2).reshape(2, 3, 4, 6),),
     (IMAGE,)),
    ("F1", "turned by 180", kernels, lambda g, c: (g[:, :, None, None] * c[1][::-1, ::-1] * 1.0,
     (g[:, :, None, None] * c[0]).sum(axis=(0, 1))), (IMAGE, KERNEL)),
]
# fmt: on


@pytest.mark.parametrize(("mistake", "words", "forward", "backward", "args"), ROWS)
def test_a_row_undoes_its_mistake_at_two_points(mistake, words, forward, backward, args):
    found = rewritten(forward, backward, args)
    assert found, "nothing was found"
    assert mistake in CATALOGUE
    assert mistake in {cause.mistake for cause in found}
    assert any(words in cause.should for cause in found if cause.mistake == mistake), [c.should for c in found]
    assert all(cause.verified for cause in found)


def test_a_right_backward_has_no_cause():
    assert rewritten(affine, lambda g, c: (g @ c[1].T, c[0].T @ g, g.sum(axis=0)), (X, W, B)) == []
