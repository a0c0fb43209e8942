"""One operation done otherwise repairs a wrong backward, and names its mistake; without a source."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import counterfactual
from tests.explanation.suspects.pair import evidence_of, normal


def net(X, W1, W2):
    z = X @ W1
    h = np.tanh(z)
    return h @ W2, (X, W1, W2, z, h)


RIGHT = """
def backward(dout, cache):
    X, W1, W2, z, h = cache
    dW2 = h.T @ dout
    dh = dout @ W2.T
    dz = dh * (1 - h**2)
    dW1 = X.T @ dz
    return dz @ W1.T, dW1, dW2
"""

RIGHT_RNN = """
def backward(dh, cache):
    x, W, U, hs = cache
    dx, dW, dU, dnext = np.zeros(x.shape), np.zeros(W.shape), np.zeros(U.shape), np.zeros(hs[0].shape)
    for t in reversed(range(len(x))):
        dz = (dh[t] + dnext) * (1 - hs[t + 1] ** 2)
        dx[t] = dz @ W.T
        dW += x[t].T @ dz
        dU += hs[t].T @ dz
        dnext = dz @ U.T
    return dx, dnext, dW, dU
"""


def rnn(x, h0, W, U):
    hs = [h0]
    for t in range(len(x)):
        hs.append(np.tanh(x[t] @ W + hs[-1] @ U))
    return np.stack(hs[1:]), (x, W, U, hs)


def embedding(W, words):
    return W[words], (W, words)


def embedding_backward(dout, cache):
    W, words = cache
    dW = np.zeros(W.shape)
    dW[words] = dout
    return dW


def edited(text, right, wrong):
    assert text.count(right) == 1
    space = {"np": np, "__name__": "submission"}
    exec(text.replace(right, wrong), space)  # noqa: S102  (the text is our own)
    return space["backward"]


def found(forward, backward, args):
    return list(counterfactual.suspects(evidence_of(forward, backward, args, seed=1)))


NET = normal(0, (4, 3), (3, 3), (3, 3))
RNN = normal(0, (4, 3, 2), (3, 5), (2, 5), (5, 5))


@pytest.mark.parametrize(
    ("right", "wrong", "mistake", "arguments"),
    [
        ("dh * (1 - h**2)", "1.0 * dh", "C1", ("X", "W1")),
        ("(1 - h**2)", "(1 - z**2)", "C2", ("X", "W1")),
        ("(1 - h**2)", "h", "C3", ("X", "W1")),
        ("dout @ W2.T", "dout @ W2", "B1", ("X", "W1")),
        ("h.T @ dout", "z.T @ dout", "B6", ("W2",)),
        ("dh = dout @ W2.T", "W2 = W2 - 0.1 * dW2\n    dh = dout @ W2.T", "E4", ("X", "W1")),
    ],
)
def test_one_operation_done_otherwise_repairs_a_net(right, wrong, mistake, arguments):
    first, *_ = found(net, edited(RIGHT, right, wrong), NET)
    assert (first.mistake, first.arguments) == (mistake, arguments)


@pytest.mark.parametrize(
    ("right", "wrong", "mistake", "arguments"),
    [
        ("dh[t] + dnext", "dh[t]", "G1", ("x", "h0", "W", "U")),
        ("hs[t].T @ dz", "hs[t + 1].T @ dz", "G3", ("U",)),
        ("dz @ U.T", "dz @ U", "B1", ("x", "h0", "W", "U")),
        ("(1 - hs[t + 1] ** 2)", "1", "C1", ("x", "h0", "W", "U")),
    ],
)
def test_one_operation_done_otherwise_repairs_a_recurrent_net(right, wrong, mistake, arguments):
    first, *_ = found(rnn, edited(RIGHT_RNN, right, wrong), RNN)
    assert (first.mistake, first.arguments) == (mistake, arguments)


def test_a_repeated_index_that_overwrites_is_named():
    W = np.random.default_rng(0).standard_normal((5, 3))
    (suspicion,) = found(embedding, embedding_backward, (W, np.array([1, 2, 1, 0])))
    assert suspicion.mistake == "E1"


@pytest.mark.parametrize(
    ("forward", "text", "right", "wrong", "args"),
    [
        (net, RIGHT, "dh * (1 - h**2)", "1.0 * dh", NET),
        (rnn, RIGHT_RNN.replace("dx[t] =", "dx[t] +="), "(1 - hs[t + 1] ** 2)", "1", RNN),
    ],
)
def test_where_a_place_leads_is_read_from_the_first_run(forward, text, right, wrong, args, monkeypatch):
    monkeypatch.setattr(counterfactual, "_reached", lambda *place: pytest.fail("it was run to see where it leads"))
    first, *_ = found(forward, edited(text, right, wrong), args)
    assert first.mistake == "C1"


def test_a_place_of_which_the_first_run_tells_nothing_is_run_to_see_where_it_leads():
    untold = RIGHT.replace(
        "return dz @ W1.T, dW1, dW2", "return tuple(np.array(g.tolist()) for g in (dz @ W1.T, dW1, dW2))"
    )
    first, *_ = found(net, edited(untold, "dh * (1 - h**2)", "1.0 * dh"), NET)
    assert (first.mistake, first.arguments) == ("C1", ("X", "W1"))


def test_after_a_change_that_helps_few_more_are_tried(monkeypatch):
    backward, runs, limits = edited(RIGHT, "(1 - h**2)", "(1 - z**2)"), [], (0, counterfactual.RUNS)
    own = counterfactual.undone_by
    for limit in limits:
        tried = []
        monkeypatch.setattr(counterfactual, "RUNS", limit)
        monkeypatch.setattr(counterfactual, "undone_by", lambda *way, tried=tried: tried.append(1) or own(*way))
        first, *_ = found(net, backward, NET)
        assert first.mistake == "C2"
        runs.append(len(tried))
    assert runs[0] < runs[1]


def test_a_scale_a_regulariser_and_a_random_gradient_are_not_named():
    for right, wrong in (("dz @ W1.T, dW1", "dz @ W1.T, 3 * dW1"), ("dW1, dW2", "dW1 + 0.3 * W1, np.sin(9 * dW2)")):
        assert found(net, edited(RIGHT, right, wrong), NET) == []


def test_the_users_functions_and_numpy_are_left_as_they_were():
    backward = edited(RIGHT, "(1 - h**2)", "h")
    world, zeros = dict(backward.__globals__), np.zeros
    found(net, backward, NET)
    assert backward.__globals__ == world
    assert np.zeros is zeros
    assert type(backward(np.ones((4, 3)), net(*NET)[1])[0]) is np.ndarray
