"""Samples and steps that count otherwise than the rest are told without a source; what only looks so is not."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import sums
from gradcheck.explanation.suspects.recurrence import steps_of
from tests.explanation.suspects.pair import evidence_of, normal


def layer(X, W, b):
    return np.tanh(X @ W + b), (X, W, np.tanh(X @ W + b))


LAYER = """
def backward(dy, cache):
    X, W, y = cache
    dz = dy * (1 - y**2)
    dX = dz @ W.T
    dW = X.T @ dz
    db = dz.sum(axis=0)
    return dX, dW, db
"""


def net(X, h0, W, U):
    """Add up the squares of all states."""
    hs = np.zeros((len(X) + 1, *h0.shape))
    hs[0] = h0
    for t in range(len(X)):
        hs[t + 1] = np.tanh(X[t] @ W + hs[t] @ U)
    return 0.5 * (hs[1:] ** 2).sum(), (X, W, U, hs)


NET = """
def backward(dL, cache):
    X, W, U, hs = cache
    T, n, d = X.shape
    dz = np.zeros(hs[1:].shape)
    later = np.zeros(hs[0].shape)
    for t in range(T - 1, -1, -1):
        dh = dL * hs[t + 1] + later
        dz[t] = dh * (1 - hs[t + 1] ** 2)
        later = dz[t] @ U.T
    flat = dz.reshape(T * n, -1)
    dW = X.reshape(T * n, d).T @ flat
    dU = np.einsum("tni,tnj->ij", hs[:-1], dz)
    return dz @ W.T, later, dW, dU
"""


def edited(text, right, wrong):
    assert text.count(right) == 1
    space = {"np": np, "__name__": "submission"}
    exec(compile(text.replace(right, wrong), "<submission>", "exec"), space)  # noqa: S102  (no source is to be found)
    return space["backward"]


def about(forward, text, right, wrong):
    shapes = ((5, 3), (3, 4), (4,)) if forward is layer else ((4, 3, 2), (3, 5), (2, 5), (5, 5))
    return evidence_of(forward, edited(text, right, wrong), normal(0, *shapes))


@pytest.mark.parametrize(
    ("mistake", "right", "wrong"),
    [
        ("C8", "X.T @ dz", "X[:-1].T @ dz[:-1]"),
        ("C8", "X.T @ dz", "np.dot(np.transpose(X[1:, :]), dz[1:, :])"),
        ("E1", "X.T @ dz", "np.outer(X[0], dz[0])"),
        ("E1", "X.T @ dz", "np.einsum('ni,nj->ij', X[-1:], dz[-1:])"),
        ("E1", "dz.sum(axis=0)", "dz[-1]"),
        ("E1", "dz.sum(axis=0)", "dz[:1].sum(axis=0)"),
        ("C8", "dz.sum(axis=0)", "np.sum(dz[1:], 0)"),
        ("B6", "X.T @ dz", "np.roll(X, 1, axis=0).T @ dz"),
        ("B6", "dX = dz @ W.T", "dX = np.tile((dz @ W.T)[:1], (len(X), 1))"),
        ("C8", "dX = dz @ W.T", "dX = dz @ W.T; dX[-1] = 0"),
    ],
)
def test_samples_that_count_otherwise_are_told(mistake, right, wrong):
    found = list(sums.suspects(about(layer, LAYER, right, wrong)))
    assert found
    assert found[0].mistake == mistake


@pytest.mark.parametrize(
    ("mistake", "right", "wrong"),
    [
        ("G2", "hs[:-1], dz", "hs[1:-1], dz[1:]"),
        ("G3", "hs[:-1], dz", "hs[1:], dz"),
        ("G3", "hs[:-1], dz", "np.roll(hs, -1, axis=0)[:-1], dz"),
        ("E1", "hs[:-1], dz", "hs[-2:-1], dz[-1:]"),
        ("G3", "return dz @ W.T", "return np.roll(dz, 1, axis=0) @ W.T"),
        ("G3", "return dz @ W.T", "return np.concatenate([dz[1:], dz[:1]]) @ W.T"),
        ("G2", "dz[t] @ U.T", "(t > T - 2) * dz[t] @ U.T"),
        ("G2", "hs[t + 1] + later", "hs[t + 1] + float(t % 2) * later"),
        ("G2", "hs[t + 1] + later", "hs[t + 1] + (later if t % 2 else 0.0)"),
        ("G2", "hs[t + 1] + later", "hs[t + 1]; dh = dh + later if t > 1 else dh"),
        ("G2", "later = dz[t] @ U.T", "next_one = dz[t] @ U.T; later = 0 * later if t == 2 else next_one"),
        ("G1", "range(T - 1, -1, -1)", "range(T)"),
        ("G3", "return dz @ W.T", "return np.concatenate([0 * dz[:1], dz[:-1]]) @ W.T"),
        ("A4", "dz[t] @ U.T", "1.00001 * dz[t] @ U.T"),
        ("A4", "dz[t] @ U.T", "dz[t] @ U.T / 3.7"),
        ("A1", "dz[t] @ U.T", "dz[t] @ -U.T"),
        ("A4", "hs[t + 1] ** 2)", "hs[t + 1] ** 2) * (1.0 if t else 1.0001)"),
        ("E2", "hs[t + 1] + later", "hs[t + 1] + later + later"),
        ("B6", "W.T, later, dW", "W.T, dz[0], dW"),
    ],
)
def test_steps_that_count_otherwise_are_told(mistake, right, wrong):
    found = list(sums.suspects(about(net, NET, right, wrong)))
    assert found
    assert found[0].mistake == mistake


def test_a_right_loop_with_another_mistake_is_no_matter_of_steps():
    assert not list(sums.suspects(about(net, NET, "1 - hs[t + 1] ** 2", "1 - hs[t + 1]")))
    assert not list(sums.suspects(about(layer, LAYER, "1 - y**2", "1 - y")))


def test_the_loop_that_carries_a_state_is_time_and_a_loop_over_layers_is_not():
    assert steps_of(about(net, NET, "dz @ W.T, later", "2 * dz @ W.T, later")) == 4

    def layers(X, V, W):
        A = X
        for M in (V, W):
            A = np.tanh(A @ M)
        return A, (X, V, W)

    args = normal(1, (3, 4), (4, 4), (4, 4))
    assert not steps_of(evidence_of(layers, lambda dA, cache: tuple(np.ones(a.shape) for a in cache), args))


def test_the_step_at_the_index_of_another_array_is_told():
    def backward(dL, cache):
        X, W, U, hs = cache
        dX, dh0, dW, dU = (np.zeros(a.shape) for a in (X, hs[0], W, U))
        for t in range(len(X)):
            delta = dL * hs[t + 1] * (1 - hs[t + 1] ** 2)
            for k in range(t, -1, -1):
                dU += hs[k].T @ delta
                dW += X[t].T @ delta
                dX[k] += delta @ W.T
                before = delta @ U.T
                delta = before * (1 - hs[k] ** 2)
            dh0 += before
        return dX, dh0, dW, dU

    evidence = evidence_of(net, backward, normal(0, (4, 3, 2), (3, 5), (2, 5), (5, 5)))
    assert evidence.wrong == ("W",)
    assert next(sums.suspects(evidence)).mistake == "G3"


def test_the_array_that_ought_to_be_returned_is_told():
    text = NET.replace("return dz @ W.T", "dX = dz @ W.T; Z = np.clip(dX, -0.01, 0.01)\n    return dX")
    found = list(sums.suspects(about(net, text, "return dX", "return Z")))
    assert [each.mistake for each in found] == ["G4"]
    square = evidence_of(layer, edited(LAYER, "return dX", "return dz"), normal(0, (5, 4), (4, 4), (4,)))
    assert next(sums.suspects(square)).mistake == "B6"
