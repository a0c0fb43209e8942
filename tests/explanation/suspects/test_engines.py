"""An engine of nodes is asked without its source: who hands on twice, and who replaces what others have left."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import engines
from tests.explanation.suspects.pair import evidence_of, normal

ENGINE = """
import numpy as np

class Node:
    def __init__(self, value, *parents):
        self.value, self.parents, self.total, self.send = value, parents, 0.0, None

def times(a, b):
    out = Node(a.value * b.value, a, b)
    def send():
        a.total = a.total + out.total * b.value
        b.total = b.total + out.total * a.value
    out.send = send
    return out

def plus(a, b):
    out = Node(a.value + b.value, a, b)
    def send():
        a.total = a.total + out.total
        b.total += out.total
    out.send = send
    return out

def tanh(a):
    out = Node(np.tanh(a.value), a)
    def send():
        a.total = a.total + out.total * (1 - out.value**2)
    out.send = send
    return out

def forward(x, w):
    x, w = Node(x), Node(w)
    h = tanh(times(x, w))
    out = plus(times(h, x), h)
    return out.value, (out, x, w)

def backward(dy, cache):
    out, x, w = cache
    order, seen = [], []
    def visit(node):
        if any(node is one for one in seen):
            return
        seen.append(node)
        for parent in node.parents:
            visit(parent)
        order.append(node)
    visit(out)
    for node in order:
        node.total = np.zeros(node.value.shape)
    out.total = dy
    for node in reversed(order):
        if node.send:
            node.send()
    return x.total, w.total
"""


def engine(right="", wrong=""):
    assert right in ENGINE
    space = {"__name__": "engine"}
    exec(ENGINE.replace(right, wrong, 1) if right else ENGINE, space)  # noqa: S102  (no source may be found)
    return evidence_of(space["forward"], space["backward"], normal(0, (3, 4), (3, 4)))


@pytest.mark.parametrize(
    ("mistake", "right", "wrong"),
    [
        ("E2", "seen.append(node)", "pass"),
        ("E1", "a.total = a.total + out.total * b.value", "a.total = out.total * b.value"),
    ],
)
def test_what_an_engine_does_twice_or_loses_is_told(mistake, right, wrong):
    evidence = engine(right, wrong)
    found = list(engines.suspects(evidence))
    assert [each.mistake for each in found] == [mistake]
    assert set(found[0].repaired) == set(evidence.wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(1 - out.value**2)", "(1 + out.value**2)"),
        ("b.total = b.total + out.total * a.value", "b.total = b.total - out.total * a.value"),
    ],
)
def test_another_mistake_of_an_engine_is_not_taken_for_one_of_these(right, wrong):
    evidence = engine(right, wrong)
    assert evidence.wrong
    assert not list(engines.suspects(evidence))


class Layer:
    """An object that outlives the check, and holds a function."""

    def __init__(self):
        def slope(y):
            return 1 - y**2

        self.slope, self.hooks = slope, [slope]


@pytest.mark.parametrize("raises", [False, True])
def test_an_object_that_outlives_the_check_holds_what_it_held(raises):
    layer = Layer()
    slope = layer.slope

    def forward(x):
        y = np.tanh(x)
        return y, (layer, y)

    def backward(dy, cache):
        held, y = cache
        if raises and held.slope is not slope:
            held.hooks.clear()
            raise RuntimeError
        return 3 * dy * held.slope(y)

    assert list(engines.suspects(evidence_of(forward, backward, normal(1, (3, 4))))) == []
    assert type(layer) is Layer
    assert layer.slope is slope
    assert layer.hooks == ([] if raises else [slope])
