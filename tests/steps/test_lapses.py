import functools
import time

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.steps.blame import Blame, Replay
from gradcheck.steps.lapses import lapses
from gradcheck.steps.match import Sight
from gradcheck.steps.run import traced

RNG = np.random.default_rng(0)
POINTS = [tuple(RNG.standard_normal(shape) for shape in ((4, 3), (3, 5), (5, 2))) for _ in range(2)]


def net(x, w1, w2):
    h = np.tanh(x @ w1)
    return np.tanh(h @ w2), (x, w1, w2, h)


def jacobian(dout, cache, inner, outer):
    """Return the gradients by formulas of its own, with the derivatives of both activations as they are given."""
    x, w1, w2, h = cache
    da = np.einsum("ij,ij->ij", dout, outer(h @ w2))
    dz = np.einsum("ij,kj,ik->ik", da, w2, inner(x @ w1))
    return np.einsum("ij,kj->ik", dz, w1), np.einsum("ik,ij->kj", x, dz), np.einsum("ik,ij->kj", h, da)


def slope(z):
    return 1 - np.tanh(z) ** 2


def found(backward, seconds=5.0):
    sights = [Sight(traced(net, backward, Arguments.of(net, args), seed=k)) for k, args in enumerate(POINTS)]
    return list(lapses(Blame(sights[0]), Replay(sights[1]), time.perf_counter() + seconds))


def test_a_step_that_is_taken_for_the_identity_is_found_with_its_line_of_the_forward():
    (cause, *_) = found(lambda dout, cache: jacobian(dout, cache, np.ones_like, slope))
    assert (cause.mistake, cause.paths) == ("C1", ("x", "w1"))
    assert cause.forward.number == net.__code__.co_firstlineno + 1
    line = cause.forward.number
    assert cause.should == f"goes back as if the tanh in line {line} of net is taken for the identity"


def test_the_line_that_is_to_blame_is_named_where_there_is_one_alone():
    def backward(dout, cache):
        x, w1, w2, h = cache
        da = dout * slope(h @ w2)
        dz = da @ w2.T * slope(np.tanh(x @ w1))
        return dz @ w1.T, x.T @ dz, h.T @ da

    (cause, *_) = found(backward)
    assert cause.mistake == "C2"
    assert (cause.line.code, cause.line.number) == (backward.__code__, backward.__code__.co_firstlineno + 3)


def test_no_line_is_named_where_several_are_to_blame():
    (cause, *_) = found(lambda dout, cache: jacobian(dout, cache, np.ones_like, slope))
    assert cause.line is None


def test_a_derivative_at_the_result_is_found():
    mistakes = {
        cause.mistake for cause in found(lambda dout, cache: jacobian(dout, cache, lambda z: slope(np.tanh(z)), slope))
    }
    assert mistakes == {"C2"}


def sigmoid(z):
    e = np.exp(-z)
    return 1 / (1 + e)


def slope_of_sigmoid(z):
    return sigmoid(z) * (1 - sigmoid(z))


def test_the_derivative_of_a_function_of_several_operations_can_be_left_out_or_there_twice():
    def forward(x, w1, w2):
        h = sigmoid(x @ w1)
        return sigmoid(h @ w2), (x, w1, w2, h)

    for inner, mistake, how in (
        (np.ones_like, "C1", "left out"),
        (lambda z: slope_of_sigmoid(z) ** 2, "C3", "there twice"),
    ):
        backward = functools.partial(jacobian, inner=inner, outer=slope_of_sigmoid)
        sights = [
            Sight(traced(forward, backward, Arguments.of(forward, args), seed=k)) for k, args in enumerate(POINTS)
        ]
        (cause, *_) = lapses(Blame(sights[0]), Replay(sights[1]), time.perf_counter() + 5)
        line = sigmoid.__code__.co_firstlineno + 2
        assert cause.mistake == mistake
        assert cause.should == f"goes back as if the derivative of what is made in line {line} of sigmoid were {how}"


def test_what_is_wrong_by_no_slip_of_the_sweep_is_not_explained():
    assert found(lambda dout, cache: jacobian(dout, cache, lambda z: np.sqrt(slope(z)), slope)) == []


def test_a_slip_at_one_point_alone_is_none():
    def backward(dout, cache):
        first = cache[0][0, 0] == POINTS[0][0][0, 0]
        return jacobian(dout, cache, np.ones_like if first else slope, slope)

    assert found(backward) == []


def test_a_right_backward_has_no_slips():
    assert found(lambda dout, cache: jacobian(dout, cache, slope, slope)) == []


def test_gradients_of_another_shape_are_not_compared():
    def flat(dout, cache):
        dx, dw1, dw2 = jacobian(dout, cache, np.ones_like, slope)
        return dx, dw1.ravel(), dw2

    assert found(flat) == []


def test_without_time_nothing_is_tried():
    assert found(lambda dout, cache: jacobian(dout, cache, np.ones_like, slope), seconds=-1.0) == []


def test_a_slip_in_one_gradient_is_found_where_another_is_computed_beside_it():
    def backward(dout, cache):
        wrong, right = jacobian(dout, cache, np.ones_like, slope), jacobian(dout, cache, slope, slope)
        return wrong[0], right[1], right[2]

    assert ("C1", ("x",)) in {(cause.mistake, cause.paths) for cause in found(backward)}
