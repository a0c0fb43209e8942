"""Operations done otherwise, in loops and at once: twice, another one, switched off, found under an index."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import absent, counterfactual, returned
from tests.explanation.suspects.pair import evidence_of, normal

KNOWN = {"relu": lambda s: np.maximum(s, 0), "tanh": np.tanh, "logistic": lambda s: 1 / (1 + np.exp(-s))}
SLOPES = {"relu": lambda a: 1.0 * (a > 0), "tanh": lambda a: 1 - a**2, "logistic": lambda a: a * (1 - a)}


def columns(X, W, kinds):
    A = np.zeros((len(X), len(kinds)))
    for k, kind in enumerate(kinds):
        A[:, k] = KNOWN[kind](X @ W[:, k])
    return (A**2).sum(), (X, W, A, kinds)


RIGHT_COLUMNS = """
def backward(dout, cache):
    X, W, A, kinds = cache
    G = 2 * dout * A
    D = np.zeros(A.shape)
    for k in range(len(kinds)):
        D[:, k] = SLOPES[kinds[k]](A[:, k]) * G[:, k]
    return D @ W.T, X.T @ D
"""


def chain(x):
    values = [np.sin(x[0]), np.exp(x[1])]
    values.append(values[0] * values[1])
    values.append(np.tanh(values[2]))
    return values[3], (x, np.array(values))


RIGHT_CHAIN = """
def backward(dout, cache):
    x, v = cache
    edges = {(1, 2): np.sin(v[0]) + v[0] - np.sin(v[0]), (0, 2): v[1] * 1.0, (2, 3): 1 - v[3] ** 2}
    d = np.zeros(4)
    d[3] = dout
    for i, j in ((2, 3), (0, 2), (1, 2)):
        edge = i, j
        d[i] += edges[edge] * d[j]
    return np.array([np.cos(x[0]), np.exp(x[1])]) * d[:2]
"""


def two_layers(X, V, W):
    a = np.tanh(X @ V)
    return a @ W, (X, V, W, a)


RIGHT_LAYERS = """
def slope(d, a):
    return d * (1 - a * a)

def backward(dout, cache):
    X, V, W, a = cache
    da = dout @ W.T
    dz = slope(da, a)
    return dz @ V.T, X.T @ dz, a.T @ dout
"""


def edited(text, right="", wrong=""):
    assert not right or text.count(right) == 1
    space = {"np": np, "SLOPES": SLOPES, "__name__": "submission"}
    exec(compile(text.replace(right, wrong) if right else text, "<string>", "exec"), space)  # noqa: S102  (our own text)
    return space["backward"]


def told(family, forward, backward, args, wrt=None):
    with np.errstate(all="ignore"):
        return [each.mistake for each in family.suspects(evidence_of(forward, backward, args, wrt))]


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("SLOPES[kinds[k]](A[:, k]) * G[:, k]", "G[:, k]", "C1"),
        ("* G[:, k]", "* (k > 0) * G[:, k]", "C8"),
    ],
)
def test_each_turn_of_a_loop_finds_its_own_derivative_under_an_index(right, wrong, mistake):
    X, W = normal(1, (4, 3), (3, 5))
    args = X, W, ("tanh", "logistic", "tanh", "logistic", "tanh")
    assert told(counterfactual, columns, edited(RIGHT_COLUMNS, right, wrong), args, ("X", "W"))[0] == mistake


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("+= edges[edge] * d[j]", "+= d[j]", "C1"),
        ("+= edges[edge] * d[j]", "+= edges[edge] ** 2 * d[j]", "C3"),
        ("+= edges[edge] * d[j]", "+= edges[edge] + d[j]", "B6"),
        ("+= edges[edge] * d[j]", "+= edges[edge] * d[j - 1]", "C4"),
    ],
)
def test_single_numbers_are_watched_in_a_graph(right, wrong, mistake):
    x = np.array([0.7, -0.4])
    assert told(counterfactual, chain, edited(RIGHT_CHAIN, right, wrong), (x,))[0] == mistake


def test_a_derivative_multiplied_in_twice_is_left_out_once():
    args = normal(2, (4, 3), (3, 5), (5, 2))
    wrong = edited(RIGHT_LAYERS, "slope(da, a)", "slope(slope(da, a), a)")
    assert told(counterfactual, two_layers, wrong, args)[0] == "C3"


def test_two_factors_that_are_not_equal_are_not_one_applied_twice():
    args = normal(2, (4, 3), (3, 5), (5, 2))
    wrong = edited(RIGHT_LAYERS, "slope(da, a)", "slope(np.cos(da) * da**2, a)")
    assert "C3" not in told(counterfactual, two_layers, wrong, args)


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("da = dout @ W.T", "da = dout.astype(np.float16) @ W.T", "H3"),
        ("da = dout @ W.T", "da = abs(dout) @ W.T", "C3"),
        ("da = dout @ W.T", "da = (0 * dout) @ W.T", "C8"),
    ],
)
def test_a_wrong_operand_is_called_what_was_done_to_the_right_one(right, wrong, mistake):
    args = normal(3, (4, 3), (3, 5), (5, 2))
    assert told(counterfactual, two_layers, edited(RIGHT_LAYERS, right, wrong), args)[0] == mistake


# -- signals that are told on the way


def told_on_the_way(eta, X, V, W):
    a = np.tanh(X @ V + eta["z"]) + eta["a"]
    b = np.tanh(a @ W + eta["y"])
    return b, (V, W, a, b)


SIGNALS = """
def backward(dout, cache):
    V, W, a, b = cache
    dy = dout * (1 - b**2)
    da = dy @ W.T
    dz = da * (1 - a**2)
    return {"a": da, "y": dy, "z": dz}
"""


def signals(right="", wrong=""):
    X, V, W = normal(4, (4, 3), (3, 5), (5, 2))
    eta = {"a": np.zeros((4, 5)), "y": np.zeros((4, 2)), "z": np.zeros((4, 5))}
    return told_on_the_way, edited(SIGNALS, right, wrong), (eta, X, V, W), ("eta",)


def test_what_was_told_before_the_mistake_stays_right():
    assert told(counterfactual, *signals("dz = da * (1 - a**2)", "dz = da"))[0] == "C1"


def test_one_mistake_in_every_layer_is_undone_layer_by_layer():
    text = SIGNALS.replace("dy = dout * (1 - b**2)", "dy = dout * 1.0")
    _, _, args, wrt = signals()
    assert told(counterfactual, told_on_the_way, edited(text, "dz = da * (1 - a**2)", "dz = da * 1.0"), args, wrt) == [
        "C1"
    ]


def test_two_different_mistakes_in_two_layers_are_none_that_is_everywhere():
    text = SIGNALS.replace("dy = dout * (1 - b**2)", "dy = dout * 1.0")
    _, _, args, wrt = signals()
    wrong = edited(text, "dz = da * (1 - a**2)", "dz = np.sort(da) * a**3")
    assert told(counterfactual, told_on_the_way, wrong, args, wrt) == []


# -- gradients that do not come back


def test_a_gradient_that_is_left_out_of_a_list_is_missing():
    def squares(weights):
        return sum((W * W).sum() for W in weights), weights

    weights = list(normal(5, (3, 2), (4, 2), (5, 2)))
    assert told(absent, squares, lambda dout, ws: [2 * dout * W for W in ws[:-1]], (weights,)) == ["C8"]
    assert told(absent, squares, lambda dout, ws: [3 * dout * W for W in ws[:-1]], (weights,)) == []


def test_another_array_is_returned_than_what_was_computed():
    args = normal(6, (4, 3), (3, 3), (3, 2))
    wrong = edited(RIGHT_LAYERS, "return dz @ V.T, X.T @ dz", "dX = dz @ V.T\n    return dz, X.T @ dz")
    assert told(returned, two_layers, wrong, args) == ["B6"]


def test_a_right_gradient_that_is_clipped_before_it_is_returned_is_not_another_array():
    args = normal(6, (4, 3), (3, 3), (3, 2))
    wrong = edited(RIGHT_LAYERS, "return dz @ V.T,", "dX = dz @ V.T\n    return np.clip(dX, -0.1, 0.1),")
    assert told(returned, two_layers, wrong, args) == ["G4"]
