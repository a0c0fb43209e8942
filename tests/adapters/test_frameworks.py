import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import OracleError, Verdict, check_backward, examine_backward, from_jax

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
Z = X + 1j * RNG.standard_normal((3, 4))


def sine_by_vjp(slip=1.0):
    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (slip * g * jnp.cos(x),))
    return sine


def sine_by_jvp(slip=1.0):
    @jax.custom_jvp
    def sine(x):
        return jnp.sin(x)

    sine.defjvp(lambda primals, tangents: (jnp.sin(primals[0]), slip * jnp.cos(primals[0]) * tangents[0]))
    return sine


def wrapped(rule):
    return jax.jit(lambda x: rule(x).sum(axis=0))


RULES = pytest.mark.parametrize("make", [sine_by_vjp, sine_by_jvp])
WRAPS = pytest.mark.parametrize("wrap", [lambda f: f, wrapped, jax.jit], ids=["itself", "inside", "jit"])


@RULES
@WRAPS
def test_a_right_rule_passes_and_a_wrong_one_fails(make, wrap):
    for given in (X, X.astype(np.float32), jnp.asarray(X), Z):
        assert check_backward(*from_jax(wrap(make())), (given,), seed=0)
        assert examine_backward(*from_jax(wrap(make(1.01))), (given,), seed=0).verdict is Verdict.FAIL


@RULES
def test_the_plain_function_is_the_reference_and_the_rule_itself_is_none(make):
    assert check_backward(*from_jax(make()), (X,), reference=make().__wrapped__, seed=0).oracles == (
        "central_difference",
        "autodiff",
    )
    with pytest.raises(OracleError, match="which would judge itself"):
        check_backward(*from_jax(make()), (X,), reference=make())


def test_a_plain_function_passes_in_the_convention_of_jax():
    report = check_backward(*from_jax(lambda z, w: jnp.abs(z @ w) ** 2), (Z, X.T), seed=0)
    assert report.convention == "∂L/∂Re z − i ∂L/∂Im z"
    assert list(report.arguments) == ["z", "w"]


def test_containers_keep_their_form_and_settings_stay():
    def function(params, x, power, name):
        return {"y": jnp.tanh(x @ params["w"] + params["b"]) ** power, "norm": (x**2).sum()}

    params = {"w": X.T, "b": np.ones(3), "steps": np.array([1, 2])}
    forward, backward = from_jax(function)
    report = check_backward(forward, backward, (params, X, 2, "name"), seed=0)
    assert list(report.arguments) == ["params['w']", "params['b']", "x"]
    out, cache = forward(params, X, 2, "name")
    gradients = backward(out, cache)
    assert gradients[0]["steps"] is None
    assert gradients[2:] == (None, None)


def test_what_is_no_array_of_floats_is_left_out():
    def function(x):
        return x.sum(), x.argmax(), None

    report = check_backward(*from_jax(function), (X,), seed=0)
    assert report.remarks == (
        "out[1] and out[2] are left out: what holds no floats, or is declared to have no derivative, has none.",
    )


def test_a_rule_that_returns_something_else_than_its_function_is_refused():
    @jax.custom_jvp
    def sine(x):
        return jnp.sin(x)

    sine.defjvp(lambda primals, tangents: (2 * jnp.sin(primals[0]), jnp.cos(primals[0]) * tangents[0]))
    with pytest.raises(ValueError, match="must return the same where it is differentiated"):
        check_backward(*from_jax(sine), (X,), seed=0)


def test_no_setting_of_jax_changes_and_float32_stays():
    before = jax.config.jax_enable_x64
    forward, backward = from_jax(functools.partial(jnp.sum, axis=0))
    out, cache = forward(X.astype(np.float32))
    (gradient, *_) = backward(out, cache)
    assert (out.dtype, gradient.dtype, jax.config.jax_enable_x64) == (np.float32, np.float32, before)


def test_arguments_by_name_and_by_keyword_alone_have_gradients():
    def function(x, *, w, n):
        return jnp.tanh(x @ w) * n

    report = check_backward(*from_jax(function), {"n": 3, "w": X.T, "x": X}, seed=0)
    assert list(report.arguments) == ["x", "w"]


def test_without_jax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match="from_jax must be able to import jax") as error:
        from_jax(lambda x: x)
    assert str(error.value).endswith("Install gradcheck[jax].")
