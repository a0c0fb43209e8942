import numpy as np
import pytest

from gradcheck import examine_backward
from gradcheck.explanation.edits.keep import kept

X = np.random.default_rng(1).standard_normal((5, 3))


def layer(W):
    def forward(x):
        h = np.tanh(x @ W)
        return h, (x, h)

    def backward(dy, cache):
        x, h = cache
        dW = np.zeros_like(W)
        dz = dy * (1 - h)  # wrong: 1 - h**2
        for i in range(len(x)):
            dW += np.outer(x[i], dz[i])
        return dz @ W.T

    return forward, backward


class Layer:
    def __init__(self, W):
        self.W = W

    def forward(self, x):
        h = np.tanh(x @ self.W)
        return h, (x, h)

    def backward(self, dy, cache):
        x, h = cache
        dW = np.zeros_like(self.W)
        dz = dy * (1 - h)  # wrong: 1 - h**2
        for i in range(len(x)):
            dW += np.outer(x[i], dz[i])
        return dz @ self.W.T


@pytest.mark.parametrize("of", [layer, lambda W: (Layer(W).forward, Layer(W).backward)], ids=["cells", "object"])
def test_an_edit_that_writes_into_the_weights_leaves_them_as_they_were(of):
    W = np.random.default_rng(0).standard_normal((3, 4))
    before = W.copy()
    report = examine_backward(*of(W), (X,), seed=0)
    assert not report
    assert "(1 - h ** 2)" in str(report)
    assert np.array_equal(W, before)


def holder(array, *, by):
    if by == "cell":
        return lambda: array
    if by == "default":
        return lambda held=array: held
    if by == "keyword":
        return lambda *, held=array: held
    if by == "container":
        held = {"layers": [(array,)]}
        return lambda: held
    return Layer(array).forward


@pytest.mark.parametrize("by", ["cell", "default", "keyword", "container", "object"])
def test_what_a_function_holds_is_put_back(by):
    array = np.arange(3.0)
    with kept(holder(array, by=by)):
        array += 1
    assert array.tolist() == [0, 1, 2]


def test_an_array_that_no_function_holds_is_not_touched():
    array = np.arange(3.0)
    with kept(len, np.sin):
        array += 1
    assert array.tolist() == [1, 2, 3]
