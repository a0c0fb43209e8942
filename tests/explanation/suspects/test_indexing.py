"""Kernels, windows and strides inside a loop are named by the part that would have been right."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import absent, counterfactual, returned
from tests.explanation.suspects.pair import evidence_of, normal


def convolved(x, k):
    h, w = x.shape[1] - 2, (x.shape[2] - 3) // 2 + 1
    out = sum(k[u, v] * x[:, u : u + h, v : v + 2 * w - 1 : 2] for u in range(3) for v in range(3))
    return out, (x, k)


TEXT = """
def backward(dout, cache):
    x, k = cache
    dx, dk = np.zeros_like(x), np.zeros_like(k)
    h, w = dout.shape[1:]
    for u in range(3):
        for v in range(3):
            dx[:, u : u + h, v : v + 2 * w - 1 : 2] += k[u, v] * dout
            dk[u, v] = (x[:, u : u + h, v : v + 2 * w - 1 : 2] * dout).sum()
    return dx, dk
"""


def backward_with(right, wrong):
    assert TEXT.count(right) == 1
    namespace = {"np": np}
    exec(compile(TEXT.replace(right, wrong), "<string>", "exec"), namespace)  # noqa: S102  (the text is our own)
    return namespace["backward"]


@pytest.mark.parametrize(
    ("right", "wrong", "mistake", "argument"),
    [
        ("dx[:, u : u + h, v", "dx[:, 2 - u : 2 - u + h, v", "F1", "x"),
        ("dx[:, u : u + h, v : v + 2 * w - 1 : 2]", "dx[:, u : u + h, v : v + w]", "F2", "x"),
        ("dk[u, v] = (x[:, u : u + h, v : v + 2 * w - 1 : 2]", "dk[u, v] = (x[:, u : u + h, v : v + w]", "F2", "k"),
        (
            "(x[:, u : u + h, v : v + 2 * w - 1 : 2] * dout)",
            "(x[:, u : u + h, v : v + 2 * w - 1 : 2] * dout[:, ::-1])",
            "F1",
            "k",
        ),
    ],
)
def test_a_part_that_is_taken_from_the_wrong_place_is_named(right, wrong, mistake, argument):
    evidence = evidence_of(convolved, backward_with(right, wrong), normal(0, (2, 6, 9), (3, 3)))
    first = min(counterfactual.suspects(evidence), key=lambda each: each.doubt)
    assert (first.mistake, first.arguments) == (mistake, (argument,))


def test_a_loop_that_takes_something_else_is_not_named():
    backward = backward_with("k[u, v] * dout", "k[u, v] * np.abs(dout)")
    evidence = evidence_of(convolved, backward, normal(0, (2, 6, 9), (3, 3)))
    assert not {each.mistake for each in counterfactual.suspects(evidence)} & {"F1", "F2", "F3"}


def two(x, W, U):
    h = x @ W
    return np.tanh(h) @ U, (x, W, U, h)


def two_backward(dout, cache):
    x, W, U, h = cache
    dh = (dout @ U.T) * (1 - np.tanh(h) ** 2)
    return dh @ W.T, x.T @ dh, np.tanh(h).T @ dout, dh


ARGS = normal(2, (3, 4), (4, 4), (4, 2))


def test_another_array_that_is_returned_is_named_where_the_gradient_was_computed():
    def backward(dout, cache):
        _, dW, dU, dh = two_backward(dout, cache)
        return dh, dW, dU

    def with_dx(dout, cache):
        x, W, U, h = cache
        dh = (dout @ U.T) * (1 - np.tanh(h) ** 2)
        dx = dh @ W.T
        dW, dU = x.T @ dh, np.tanh(h).T @ dout
        return (dh if dx.any() else dx), dW, dU

    named = [(each.mistake, each.arguments) for each in returned.suspects(evidence_of(two, with_dx, ARGS))]
    assert named == [("B6", ("x",))]
    assert [each.mistake for each in returned.suspects(evidence_of(two, backward, ARGS))] == ["B6"]


def test_a_gradient_that_is_returned_before_a_term_is_added_lacks_that_term():
    def forward(x, W):
        return x @ W + np.sin(x), (x, W)

    def backward(dout, cache):
        x, W = cache
        dx = dout @ W.T
        whole = dx + dout * np.cos(x)
        return (dx if whole.any() else whole), x.T @ dout

    found = returned.suspects(evidence_of(forward, backward, normal(5, (3, 4), (4, 4))))
    assert [(each.mistake, each.arguments) for each in found] == [("C8", ("x",))]


def test_a_gradient_that_is_changed_after_it_is_computed_is_not_called_another_array():
    def backward(dout, cache):
        dx, dW, dU, _ = two_backward(dout, cache)
        return dx + np.outer(np.arange(3), np.arange(4)), dW, dU

    assert list(returned.suspects(evidence_of(two, backward, ARGS))) == []


def test_a_gradient_that_is_not_in_the_dict_is_not_returned():
    def forward(params):
        return two(params["x"], params["W"], params["U"])

    def backward(dout, cache):
        dx, dW, _, _ = two_backward(dout, cache)
        return {"x": dx, "W": dW}

    params = dict(zip(("x", "W", "U"), ARGS, strict=True))
    found = list(absent.suspects(evidence_of(forward, backward, (params,))))
    assert [(each.mistake, each.arguments) for each in found] == [("C8", ("params['U']",))]


def scaled(x, g):
    xhat = x / (1 + x**2)
    return g * xhat, (xhat, g, x)


def scaled_backward(dout, cache, summed):
    xhat, g, x = cache
    return dout * g * (1 - x**2) / (1 + x**2) ** 2, summed(dout, xhat).sum(axis=0)


def test_a_sum_without_its_factor_takes_the_wrong_operand():
    evidence = evidence_of(scaled, lambda d, c: scaled_backward(d, c, lambda d, _: d), normal(3, (5, 3), (3,)))
    found = list(counterfactual.suspects(evidence))
    assert [each.mistake for each in found] == ["B6"]
    assert "sums" in found[0].sentence


def test_a_sum_with_another_factor_lacks_none():
    def backward(dout, cache):
        return scaled_backward(dout, cache, lambda d, xhat: d * np.cosh(xhat))

    found = counterfactual.suspects(evidence_of(scaled, backward, normal(3, (5, 3), (3,))))
    assert not any("alone" in each.sentence for each in found)


def gated(x, W, table):
    return x @ np.where(table, W, 0), (x, W, table)


def gated_backward(text):
    return lambda dout, cache: eval(text, {"np": np}, {"dout": dout, "x": cache[0], "W": cache[1], "table": cache[2]})  # noqa: S307  (the text is our own)


GATE = np.array([[True, False, True], [False, True, True], [True, True, False], [False, True, True]])


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("(dout @ np.where(table, W, 0).T, np.where(~table, x.T @ dout, 0))", "C3"),
        ("(dout @ np.where(table, W, 0).T, np.where(table, np.roll(x, 1, axis=0).T @ dout, 0))", "B6"),
    ],
)
def test_a_choice_the_wrong_way_round_and_a_rolled_operand_are_named(text, mistake):
    evidence = evidence_of(gated, gated_backward(text), (*normal(4, (5, 4), (4, 3)), GATE), wrt=("x", "W"))
    first = min(counterfactual.suspects(evidence), key=lambda each: each.doubt)
    assert (first.mistake, first.arguments) == (mistake, ("W",))
