import numpy as np
import pytest

from gradcheck.adapters.habits import gradients_of, stored
from gradcheck.adapters.places import parsed, text


class Node:
    def __init__(self, **parts):
        self.__dict__.update(parts)


class Parameter:
    __slots__ = ("grad", "value")

    def __init__(self):
        self.value, self.grad = g(), g()


def g():
    return np.ones(2)


HABITS = [
    ("W", "dW", Node(W=g(), dW=g())),
    ("W", "grad_W", Node(W=g(), grad_W=None)),
    ("W", "W_grad", Node(W=g(), W_grad=g())),
    ("weight", "gradWeight", Node(weight=g(), gradWeight=g())),
    ("W", "gW", Node(W=g(), gW=g())),
    ("_W", "dW", Node(_W=g(), dW=g())),
    ("_W", "_dW", Node(_W=g(), _dW=g())),
    ("alpha", "dalpha", Node(alpha=0.5, dalpha=0.0)),
    ("cell['W']", "cell['dW']", Node(cell={"W": g(), "dW": g()})),
    ("weights[1]", "dweights[1]", Node(weights=[g(), g()], dweights=[g(), g()])),
    ("params['W']", "grads['W']", Node(params={"W": g()}, grads={"W": g()})),
    ("params['W']", "grads['dW']", Node(params={"W": g()}, grads={"dW": g()})),
    ("params[0]", "grads[0]", Node(params=[g()], grads=[g()])),
    ("theta['a']['W']", "gradients['a']['W']", Node(theta={"a": {"W": g()}}, gradients={"a": {"W": g()}})),
    ("W", "grads['W']", Node(W=g(), grads={"W": g()})),
    ("W", "grads['dW']", Node(W=g(), grads={"dW": g()})),
    ("layers[0].W", "grads[0]['W']", Node(layers=[Node(W=g())], grads=[{"W": g()}])),
    ("layers[0].W", "grads['layers'][0]['dW']", Node(layers=[Node(W=g())], grads={"layers": [{"dW": g()}]})),
    ("p.data", "p.grad", Node(p=Node(data=g(), grad=g(), moment=g()))),
    ("p.value", "p.grad", Node(p=Parameter())),
    ("p.w", "p.grad", Node(p=Node(w=g(), grad=g()))),
    ("p.v", "p.grad", Node(p=Node(v=g(), grad=None))),
    ("p['value']", "p['grad']", Node(p={"value": g(), "grad": g()})),
]


@pytest.mark.parametrize(
    ("name", "gradient", "thing"), HABITS, ids=[f"{name} {gradient}" for name, gradient, _ in HABITS]
)
def test_a_gradient_is_found_by_its_habit(name, gradient, thing):
    assert [text(path) for path in gradients_of(thing, parsed(name), {})] == [gradient]


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        ("W", Node(W=g(), x=g(), db=g())),
        ("x", Node(x=g(), w=g(), grad=g())),
        ("w", Node(w=g(), grad=np.ones((3, 2)))),
        ("params[0]", Node(params=[g(), g()], grads=[g()])),
        ("params[0]", Node(params=[g()], grads={"W": g()})),
        ("W", Node(W=g(), dW=lambda: 0)),
        ("layers[0].T", Node(layers=[Node(T=g())], grads=[g()])),
    ],
)
def test_what_is_no_habit_is_no_gradient(name, thing):
    assert gradients_of(thing, parsed(name), {}) == []


def test_a_habit_of_the_users_takes_the_place_of_the_known_ones():
    layer = Node(weights=g(), dweights=g(), dW=g())
    assert [text(path) for path in gradients_of(layer, parsed("weights"), {"weights": "dW"})] == ["dW"]


def test_a_stored_gradient_is_read_under_another_spelling_of_its_key():
    assert stored(Node(grads={"dW": 1}), parsed("grads['W']")) == 1
    assert stored(Node(grads={}), parsed("grads['W']")) is None
