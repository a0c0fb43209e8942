"""Contributions that are overwritten or left out, windows and tables are named; what is something else is not."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import paths
from tests.explanation.suspects.pair import evidence_of, normal

TABLE = np.array([[1, 0], [1, 1], [0, 1]])


def rnn(x, h0, W, U):
    hs = [h0]
    for t in range(len(x)):
        hs.append(np.tanh(x[t] @ W + hs[-1] @ U))
    return np.stack(hs[1:]), (x, W, U, hs)


def rnn_backward(dh, cache, steps=None, last_only=False):
    x, W, U, hs = cache
    dx, dW, dU, dnext = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros_like(hs[0])
    for t in steps or reversed(range(len(x))):
        dz = (dh[t] + dnext) * (1 - hs[t + 1] ** 2)
        dx[t] = dz @ W.T
        dW_t = x[t].T @ dz
        dW = dW_t if last_only else dW + dW_t
        dU += hs[t].T @ dz
        dnext = dz @ U.T
    return dx, dnext, dW, dU


def residual(x, W):
    h = np.tanh(x @ W)
    return x + h, (x, W, h)


def residual_backward(dout, cache):
    x, W, h = cache
    dz = dout * (1 - h**2)
    return dz @ W.T, x.T @ dz


def tied(x, W):
    h = np.tanh(x @ W)
    return h @ W.T, (x, W, h)


def tied_backward(dout, cache):
    x, W, h = cache
    dW = dout.T @ h
    dz = (dout @ W) * (1 - h**2)
    dW = x.T @ dz
    return dz @ W.T, dW


def strided(x, w):
    out = np.zeros((len(x), 1, (x.shape[2] - len(w)) // 2 + 1))
    for i in range(out.shape[2]):
        out[:, 0, i] = x[:, 0, 2 * i : 2 * i + len(w)] @ w
    return out, (x, w)


def strided_backward(dout, cache):
    x, w = cache
    dx = np.zeros_like(x)
    dw = np.zeros_like(w)
    for i in range(dout.shape[2]):
        dx[:, 0, i : i + len(w)] += dout[:, 0, i, None] * w
        dw += dout[:, 0, i] @ x[:, 0, 2 * i : 2 * i + len(w)]
    return dx, dw


def linked(K, x):
    return np.einsum("fcu,fc,ncu->nf", K, TABLE, x), (K, x)


def linked_backward(dout, cache):
    K, x = cache
    return np.einsum("nf,ncu->fcu", dout, x), np.einsum("nf,fcu,fc->ncu", dout, K, TABLE)


def maximum(x):
    return x.max(axis=1), x


def maximum_backward(dout, x):
    return dout[:, None] * (x == x.max(axis=1, keepdims=True))


def found(forward, backward, args):
    suspicions = list(paths.suspects(evidence_of(forward, backward, args, seed=1)))
    return [(each.mistake, each.arguments) for each in suspicions]


RNN = normal(0, (4, 3, 2), (3, 5), (2, 5), (5, 5))


@pytest.mark.parametrize(
    ("forward", "backward", "args", "expected"),
    [
        (rnn, lambda dh, cache: rnn_backward(dh, cache, last_only=True), RNN, ("E1", ("W",))),
        (rnn, lambda dh, cache: rnn_backward(dh, cache, [3, 2, 1]), RNN, ("G2", ("x", "h0", "W", "U"))),
        (residual, residual_backward, normal(0, (4, 3), (3, 3)), ("C8", ("x",))),
        (tied, tied_backward, normal(0, (4, 5), (5, 3)), ("E1", ("W",))),
        (strided, strided_backward, normal(0, (3, 1, 9), 3), ("F2", ("x",))),
        (linked, linked_backward, normal(0, (3, 2, 4), (5, 2, 4)), ("F5", ("K",))),
        (maximum, maximum_backward, (np.array([[1.0, 3, 3], [0, 2, 1], [5, 5, 5]]),), ("F6", ("x",))),
    ],
    ids=["last turn", "first step", "residual", "overwritten", "stride", "table", "ties"],
)
def test_a_missing_path_is_named(forward, backward, args, expected):
    assert found(forward, backward, args) == [expected]


def test_a_random_gradient_and_one_of_the_wrong_scale_are_not_named():
    args = normal(0, (4, 3), (3, 3))
    assert found(residual, lambda dout, cache: (np.sin(17 * dout), cache[0].T @ np.cos(dout)), args) == []
    right = lambda dout, cache: (dout + residual_backward(dout, cache)[0], 2 * residual_backward(dout, cache)[1])  # noqa: E731
    assert found(residual, right, args) == []
