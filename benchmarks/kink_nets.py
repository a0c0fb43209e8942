"""Nets whose gradient is a convention at the point of the check: what is right there, and what is wrong.

A net is a chain of layers at a point where units fold: zero rows under zero biases, borders of zeros, ties among small
whole numbers. A layer takes its convention as an argument, so that one chain is right by one and wrong by another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Normal = Callable[..., Any]


class Layer(NamedTuple):
    """``forward(x, *parameters) -> (y, cache)`` and ``backward(dy, cache) -> (dx, *their gradients)``."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], tuple[Any, ...]]
    parameters: int = 0


def chain(*layers: Layer) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the forward (x, *parameters) -> (y, cache) of one layer after the other, and its backward."""

    def forward(x, *parameters):
        caches, left = [], list(parameters)
        for layer in layers:
            own, left = left[: layer.parameters], left[layer.parameters :]
            x, cache = layer.forward(x, *own)
            caches.append(cache)
        return x, caches

    def backward(dy, caches):
        found = []
        for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
            dy, *own = layer.backward(dy, cache)
            found = [*own, *found]
        return (dy, *found) if found else dy

    return forward, backward


def elementwise(function: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Layer:
    return Layer(lambda x: (function(x), x), lambda dy, x: (dy * slope(x),))


def relu(at: float = 0.0, threshold: float = 0.0) -> Layer:
    """max(x, 0); ``at`` is the slope at zero, and the mask is right for the ``threshold`` zero alone."""
    return elementwise(lambda x: np.maximum(x, 0), lambda x: np.where(x == threshold, at, x > threshold))


def leaky(at: float) -> Layer:
    return elementwise(lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x == 0, at, np.where(x > 0, 1, 0.1)))


def absolute(at: float = 0.0) -> Layer:
    return elementwise(np.abs, lambda x: np.where(x == 0, at, np.sign(x)))


def clip(at: float) -> Layer:
    """Clip to −1 … 1; ``at`` is the slope at both bounds."""
    return elementwise(lambda x: np.clip(x, -1, 1), lambda x: np.where(np.abs(x) == 1, at, np.abs(x) < 1))


def soft_threshold(at: float, by: float = 1.0) -> Layer:
    return elementwise(
        lambda x: np.sign(x) * np.maximum(np.abs(x) - by, 0), lambda x: np.where(np.abs(x) == by, at, np.abs(x) > by)
    )


def square() -> Layer:
    return elementwise(np.square, lambda x: 2 * x)


def tanh() -> Layer:
    return elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2)


def flat() -> Layer:
    return Layer(lambda x: (x.reshape(len(x), -1), x.shape), lambda dy, shape: (dy.reshape(shape),))


def total(weights: Any = 1.0) -> Layer:
    return Layer(lambda x: ((x * weights).sum(), x.shape), lambda d, shape: (d * weights * np.ones(shape),))


def dense() -> Layer:
    def backward(dy, cache):
        x, W = cache
        return dy @ W.T, x.T @ dy, dy.sum(0)

    return Layer(lambda x, W, b: (x @ W + b, (x, W)), backward, 2)


def dense_without_bias() -> Layer:
    return Layer(lambda x, W: (x @ W, (x, W)), lambda dy, c: (dy @ c[1].T, c[0].T @ dy), 1)


def fixed(W: Any) -> Layer:
    """A product with a matrix that does not move."""
    return Layer(lambda x: (x @ W, None), lambda dy, _: (dy @ W.T,))


def bias() -> Layer:
    return Layer(lambda x, b: (x + b, None), lambda dy, _: (dy, dy.reshape(-1, dy.shape[-1]).sum(0)), 1)


def conv() -> Layer:
    """3 × 3 over (N, C, H, W), zeros around."""

    def windows(x):
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))

    def forward(x, W, b):
        return np.einsum("nchwij,ocij->nohw", windows(x), W) + b[:, None, None], (x, W)

    def backward(dy, cache):
        x, W = cache
        dW = np.einsum("nchwij,nohw->ocij", windows(x), dy)
        dx = np.einsum("nohwij,ocij->nchw", windows(dy), W[:, :, ::-1, ::-1])
        return dx, dW, dy.sum((0, 2, 3))

    return Layer(forward, backward, 2)


def pool(tie: str = "first", size: int = 2) -> Layer:
    """Max-pool over the last two axes.

    Who gets the gradient of a tie: the first, the last, all in equal parts; or, wrong, every one in full, or nobody.
    """

    def split(x):
        n, c, h, w = x.shape
        s = size
        return x.reshape(n, c, h // s, s, w // s, s).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // s, w // s, s * s)

    def backward(dy, x):
        won = winners(split(x), tie) * dy[..., None]
        n, c, h, w = x.shape
        s = size
        return (won.reshape(n, c, h // s, w // s, s, s).transpose(0, 1, 2, 4, 3, 5).reshape(x.shape),)

    return Layer(lambda x: (split(x).max(-1), x), backward)


def rowmax(tie: str = "first") -> Layer:
    return Layer(lambda x: (x.max(-1), x), lambda dy, x: (dy[..., None] * winners(x, tie),))


def winners(x: Any, tie: str) -> Any:
    """Return which part of the gradient of the maximum along the last axis each entry gets."""
    top = x == x.max(-1, keepdims=True)
    if tie == "every":
        return top * 1.0
    if tie == "share":
        return top / top.sum(-1, keepdims=True)
    if tie == "nobody":
        return top * (top.sum(-1, keepdims=True) == 1)
    at = x.argmax(-1) if tie == "first" else x.shape[-1] - 1 - x[..., ::-1].argmax(-1)
    return np.eye(x.shape[-1])[at]


def softmax_loss(labels: Any) -> Layer:
    def forward(s):
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return -np.log(p[np.arange(len(s)), labels]).mean(), p

    def backward(d, p):
        return (d * (p - np.eye(p.shape[1])[labels]) / len(p),)

    return Layer(forward, backward)


# -- the nets


class Net(NamedTuple):
    """A pair and where it is checked; ``expect`` holds the verdicts that a person would accept."""

    name: str
    make: Callable[[Normal], tuple[Any, Any, tuple[Any, ...]]]
    expect: tuple[str, ...]


RIGHT: list[Net] = []
WRONG: list[Net] = []


def right(name, make, *expect):
    RIGHT.append(Net(name, make, expect or ("pass",)))


def wrong(name, make, *expect):
    WRONG.append(Net(name, make, expect or ("fail",)))


def both(name, make, good, bad):
    for each in good:
        right(f"{name} {each}", lambda n, each=each: make(n, each))
    for each in bad:
        wrong(f"{name} {each}", lambda n, each=each: make(n, each))


def empty(x, *rows):
    for row in rows:
        x[row] = 0
    return x


def mlp(n, at):
    return *chain(dense(), relu(at), dense()), (empty(n((4, 5)), 1), n((5, 7)), np.zeros(7), n((7, 3)), n(3))


both("mlp, an empty row,", mlp, (0.0, 0.5, 1.0), (2.0, -1.0))


def wide(n, at):
    x = empty(n((6, 8)), 0, 3)
    labels = np.arange(6) % 4
    net = chain(dense(), relu(at), dense(), softmax_loss(labels))
    return *net, (x, n((8, 40)) / 3, np.zeros(40), n((40, 4)) / 6, np.zeros(4))


both("wide mlp under a loss, two empty rows,", wide, (0.0, 1.0), (2.0,))


def deep(n, at):
    net = chain(dense(), relu(at), dense(), relu(at), dense())
    return *net, (empty(n((5, 6)), 2), n((6, 8)), np.zeros(8), n((8, 7)), np.zeros(7), n((7, 2)), n(2))


both("deep mlp, an empty row,", deep, (0.0, 1.0), (2.0,))


def without_bias(n, at):
    return *chain(dense_without_bias(), relu(at), dense_without_bias()), (empty(n((4, 3)), 1), n((3, 6)), n((6, 2)))


both("no bias, more units than inputs,", without_bias, (0.0, 0.3, 1.0), ())


def only_a_bias(n, at):
    return *chain(bias(), relu(at), fixed(n((9, 2)))), (empty(n((5, 9)), 1, 2, 4), np.zeros(9))


both("a bias over three empty rows,", only_a_bias, (0.0, 1.0), (-1.0,))


def zero_weights(n, at):
    return *chain(fixed(np.eye(6)[:, :4]), dense(), relu(at), dense()), (
        n((3, 6)),
        np.zeros((4, 5)),
        np.zeros(5),
        n((5, 2)),
        n(2),
    )


both("zero weights,", zero_weights, (0.0, 1.0), (1.5,))


def curved(n, at):
    x = n(5)
    x[2] = 0
    add = Layer(
        lambda x: (10 * (x**2).sum() + np.maximum(x, 0).sum(), x),
        lambda d, x: (d * (20 * x + np.where(x == 0, at, x > 0)),),
    )
    return *chain(add), (x,)


both("a kink under curvature,", curved, (0.0, 1.0), (-1.0, 2.0))


def lasso(n, at):
    A, y, w = n((30, 8)), n(30), n(8)
    w[[1, 4, 6]] = 0

    def forward(w):
        r = A @ w - y
        return (r @ r) / 2 + 1e-3 * np.abs(w).sum(), (r, w)

    return forward, lambda d, c: d * (A.T @ c[0] + 1e-3 * np.where(c[1] == 0, at, np.sign(c[1]))), (w,)


both("lasso at 1e-3,", lasso, (0.0, 1.0, -0.5), (3.0,))


def integers(n, low, high, shape):
    return np.floor(low + (high - low) * (np.abs(n(shape)) % 1))


def pooled(n, tie):
    return *chain(pool(tie), flat(), dense()), (integers(n, 0, 3, (2, 2, 6, 6)), n((18, 3)), n(3))


both("max-pool of small integers, dense,", pooled, ("first", "last", "share"), ("every", "nobody"))


def pooled_alone(n, tie):
    return *chain(pool(tie)), (integers(n, 0, 3, (2, 3, 8, 8)),)


both("max-pool alone,", pooled_alone, ("first", "share"), ("every", "nobody"))


def cnn(n, tie, at=0.0):
    x = np.zeros((2, 1, 8, 8))
    x[:, :, 2:6, 2:6] = n((2, 1, 4, 4))
    net = chain(conv(), relu(at), pool(tie), flat(), dense(), softmax_loss(np.array([0, 2])))
    return *net, (x, n((3, 1, 3, 3)), np.zeros(3), n((48, 4)) / 5, np.zeros(4))


both("cnn with a border of zeros,", cnn, ("first", "share"), ())
right("cnn with a border of zeros, slope 1", lambda n: cnn(n, "first", 1.0), "pass", "inconclusive")


def cnn_with_bias(n, tie):
    forward, backward, args = cnn(n, tie)
    return forward, backward, (*args[:2], np.abs(n(3)) + 0.1, *args[3:])


both("cnn whose border ties,", cnn_with_bias, ("first", "share"), ("every",))


def digits(n, tie):
    x = integers(n, 0, 4, (1, 1, 12, 12))
    return *chain(pool(tie), conv(), relu(), flat(), dense()), (x, n((2, 1, 3, 3)), n(2), n((72, 3)), n(3))


both("max-pool of digits before a cnn,", digits, ("first", "last"), ("every",))


def rows(n, tie):
    return *chain(rowmax(tie), total(n(5))), (integers(n, 0, 3, (5, 7)),)


both("row maxima under one loss,", rows, ("first", "last", "share"), ("every", "nobody"))


def bounded(n, at):
    x = n((3, 4))
    x[0, :2], x[1, 1:] = 1.0, -1.0
    return *chain(clip(at), fixed(n((4, 3))), tanh()), (x,)


both("clip at both bounds,", bounded, (0.0, 1.0, 0.5), (2.0, -0.5))


def hinge(n, at):
    X, y = n((6, 3)), np.sign(n(6))
    w = n(3)
    X[0] /= (X[0] @ w) * y[0]

    def forward(w, b):
        m = 1 - y * (X @ w + b)
        m[0] = m[0] if abs(m[0]) > 1e-15 else 0.0
        return np.maximum(m, 0).mean(), m

    def backward(d, m):
        g = -d * y * np.where(m == 0, at, m > 0) / 6
        return X.T @ g, g.sum()[()]

    return forward, backward, (w, np.zeros(()))


both("hinge at the margin,", hinge, (0.0, 1.0), (2.0,))


def folded_twice(n, at):
    x = empty(n((4, 5)), 1)
    return *chain(fixed(n((5, 6))), relu(at), absolute(at), fixed(n((6, 3)))), (x,)


both("absolute of a relu,", folded_twice, (0.0, 1.0), ())


def relu_after_pool(n, at):
    x = -np.abs(n((1, 2, 6, 6)))
    x[:, :, ::2, ::2] = 0
    x[:, :, 1, 1] = 0
    return *chain(pool("first"), relu(at), flat(), fixed(n((18, 2)))), (x,)


both("relu after a max-pool at zero,", relu_after_pool, (0.0, 1.0), (2.0,))


def ordered(n, descending):
    def forward(x):
        order = np.lexsort((np.arange(x.size) * (-1 if descending else 1), x))
        return x[order], order

    def backward(dy, order):
        dx = np.zeros(order.size)
        dx[order] = dy
        return dx

    return forward, backward, (integers(n, 0, 4, 8),)


for each in (False, True):
    right(f"a sort with ties, {each}", lambda n, each=each: ordered(n, each), "pass", "inconclusive")


def median(n, share):
    x = np.array([0.0, 0.0, 0.0, 1.0, -2.0])

    def backward(d, x):
        ties = x == np.median(x)
        return d * (ties / ties.sum() if share else np.arange(5) == np.argmax(ties))

    return (lambda x: (np.median(x), x)), backward, (x + n(),)


both("a median among three ties,", median, (False, True), ())


def thresholded(n, at):
    x = n((3, 4))
    x[0, :2], x[1, 1] = 1.0, -1.0
    return *chain(soft_threshold(at), square(), fixed(n((4, 2)))), (x,)


right("a soft threshold, squared", lambda n: thresholded(n, 0.0))


def norm_at_zero(n):
    x = empty(n((3, 4)), 1)

    def forward(x):
        r = np.sqrt((x**2).sum(1))
        return r, (x, r)

    return forward, lambda dy, c: dy[:, None] * c[0] / np.where(c[1] == 0, 1, c[1])[:, None], (x,)


right("a norm at zero", norm_at_zero, "pass", "inconclusive")


def float32(n, at):
    forward, backward, args = mlp(n, at)
    return (
        forward,
        lambda dy, c: tuple(g.astype(np.float32) for g in backward(dy, c)),
        tuple(a.astype(np.float32) for a in args),
    )


both("float32 mlp, an empty row,", float32, (0.0, 1.0), (2.0,))


def near(n, distance):
    x = n((3, 4))
    x[1, 2], x[0, 0] = distance, -distance
    return *chain(relu(0.0), fixed(n((4, 3)))), (x,)


both("a kink at a distance of", near, (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9), ())


# wrong in other ways at a kink


def late_mask(n):
    return *chain(dense(), relu(1.0, -1e-3), dense()), (empty(n((4, 5)), 1), n((5, 7)), np.zeros(7), n((7, 3)), n(3))


wrong("a mask with another threshold", late_mask)


def elsewhere(n, factor):
    forward, backward, args = mlp(n, 0.0)

    def changed(dy, caches):
        dx, dW, *others = backward(dy, caches)
        dW = dW.copy()
        dW[2, 3] *= factor
        return dx, dW, *others

    return forward, changed, args


wrong("one weight wrong beside the kink", lambda n: elsewhere(n, 1.01))
wrong("one weight zero beside the kink", lambda n: elsewhere(n, 0.0))


def there_alone(n):
    forward, backward, args = mlp(n, 0.0)

    def changed(dy, caches):
        dx, *others = backward(dy, caches)
        x = caches[0][0]
        return (dx * np.where(x.any(1), 1, 1)[:, None] + 0.3 * ~x.any(1)[:, None], *others)

    return forward, changed, args


wrong("a backward that is wrong at the empty row alone", there_alone)


def everywhere(n):
    forward, backward, args = cnn(n, "first")

    def changed(dy, caches):
        dx, dW, *others = backward(dy, caches)
        return dx, dW.transpose(0, 1, 3, 2).copy(), *others

    return forward, changed, args


wrong("a transposed kernel beside a border of zeros", everywhere)


def signs(n, at):
    x = n((3, 4))
    x[1], x[0, 0] = 0, 0
    return *chain(absolute(at), fixed(n((4, 3)))), (x,)


both("an absolute value,", signs, (0.0, 1.0, -1.0), (2.0, -1.5))


def leaked(n, at):
    x = empty(n((4, 3)), 2)
    return *chain(dense(), leaky(at), dense(), tanh()), (x, n((3, 5)), np.zeros(5), n((5, 2)), n(2))


both("a leaky relu,", leaked, (0.1, 1.0), (0.0, 2.0))
