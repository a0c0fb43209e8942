"""Code that cannot be recorded, as C code is: what is returned is all there is to look at, and it is said so."""

import ctypes
import math

import numpy as np
import pytest

from gradcheck import Verdict, examine_backward, from_custom_vjp

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))
KIND = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
TANH = KIND(math.tanh)  # a pointer to a function


def in_c(x, w):
    z = x @ w
    h = np.empty_like(z)
    for i in range(z.size):
        h.flat[i] = TANH(float(z.flat[i]))
    return h, (x, w, h)


def right(dout, cache):
    x, w, h = cache
    dz = dout * (1 - h**2)
    return dz @ w.T, x.T @ dz


def with_factor(dout, cache):
    dx, dw = right(dout, cache)
    return dx, 2 * dw


def test_a_wrong_gradient_is_explained_by_what_is_returned_where_the_forward_is_c_code():
    report = examine_backward(in_c, with_factor, (X, W), seed=0)
    (why,) = report.explanations
    assert (why.mistake, why.arguments, why.verified, why.line) == ("A4", ("w",), True, 0)
    assert why.sentence == "what is returned for w is 2 times the gradient"
    assert not report.steps


def test_where_nothing_explains_it_the_line_that_cannot_be_recorded_is_named():
    def unlike(dout, cache):
        dx, dw = right(dout, cache)
        return dx, np.sqrt(np.abs(dw))

    report = examine_backward(in_c, unlike, (X, W), seed=0)
    line = in_c.__code__.co_firstlineno + 4
    assert report.explanations == ()
    assert report.silence == (
        "no mistake of the catalogue, undone, gives the measured gradients at two points; the forward calls code that "
        f"cannot be recorded in line {line} of in_c, so no line of the backward can be compared"
    )


def test_a_right_backward_of_c_code_passes_and_claims_no_lines():
    report = examine_backward(in_c, right, (X, W), seed=0)
    assert report.verdict is Verdict.PASS
    assert not report.steps


def test_c_code_in_the_backward_alone_leaves_its_lines_to_be_compared():
    def forward(x, w):
        h = np.tanh(x @ w)
        return h, (x, w, h)

    def half_in_c(dout, cache):
        x, w, h = cache
        slope = np.array([1 - TANH(math.atanh(float(each))) ** 2 for each in h.ravel()]).reshape(h.shape)
        dz = dout * slope
        return dz @ w.T, -(x.T @ dz)

    report = examine_backward(forward, half_in_c, (X, W), seed=0)
    assert [why.mistake for why in report.explanations] == ["A1"]
    assert [step.verdict for step in report.steps if "x.T @ dz" in (step.source or "")] == ["wrong"]


def test_a_function_of_single_numbers_that_numpy_made_is_recorded_as_one_operation():
    tanh = np.frompyfunc(math.tanh, 1, 1)

    def forward(x, w):
        h = tanh(x @ w).astype(float)
        return h, (x, w, h)

    report = examine_backward(forward, with_factor, (X, W), seed=0)
    assert [why.mistake for why in report.explanations] == ["A4"]


def test_functions_of_scipy_are_one_operation_each():
    special = pytest.importorskip("scipy.special")

    def forward(x, w):
        h = special.expit(x @ w)
        return h, (x, w, h)

    def backward(dout, cache):
        x, w, h = cache
        dz = dout * h * (1 - h)
        return dz @ w.T, x.T @ dout

    report = examine_backward(forward, backward, (X, W), seed=0)
    assert [why.mistake for why in report.explanations] == ["C1"]
    assert [step.verdict for step in report.steps if "x.T @ dout" in (step.source or "")] == ["wrong"]


def test_rules_in_jax_are_recorded_as_the_numpy_that_they_look_like():
    jnp = pytest.importorskip("jax.numpy")

    def fwd(x, w):
        h = jnp.tanh(x @ w)
        return h, (x, w, h)

    def bwd(residuals, g):
        x, w, h = residuals
        dz = g * (1 - h**2)
        return dz @ w.T, x.T @ g

    report = examine_backward(*from_custom_vjp(fwd, bwd), (X, W), seed=0)
    assert [why.mistake for why in report.explanations] == ["C1"]
    (wrong,) = (step for step in report.steps if step.verdict == "wrong")
    assert (wrong.source, wrong.cotangent_of) == ("return dz @ w.T, x.T @ g", "w")


def test_rules_in_jax_that_numpy_has_no_words_for_are_explained_by_what_they_return():
    jax = pytest.importorskip("jax")

    def fwd(x):
        return jax.nn.relu(x) * 3, (x,)

    def bwd(residuals, g):
        (x,) = residuals
        return (-3 * g * jax.lax.select(x > 0, jax.numpy.ones(x.shape), jax.numpy.zeros(x.shape)),)

    report = examine_backward(*from_custom_vjp(fwd, bwd), (X,), seed=0)
    assert [why.mistake for why in report.explanations] == ["A1"]


def test_a_rule_in_torch_is_explained_by_what_it_returns():
    torch = pytest.importorskip("torch")
    from gradcheck import from_autograd_function

    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            h = torch.tanh(x)
            ctx.save_for_backward(h)
            return h

        @staticmethod
        def backward(ctx, dout):
            (h,) = ctx.saved_tensors
            return 2 * dout * (1 - h**2)

    report = examine_backward(*from_autograd_function(Tanh), (X,), seed=0)
    assert [why.mistake for why in report.explanations] == ["A4"]
