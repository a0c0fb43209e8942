import inspect
import sys

import jax
import numpy as np
import pytest

from gradcheck import GradientError, check_backward
from gradcheck.adapters import from_custom_vjp

jnp = jax.numpy


def gather_fwd(x, index):
    return (jnp.sin(x)[index], {"sum": (x**2).sum()}), (x, index)


def gather_bwd(residuals, g):
    x, index = residuals
    picked, squares = g
    dx = jnp.zeros_like(x).at[index].add(picked) * jnp.cos(x) + 2 * x * squares["sum"]
    return dx, np.zeros(index.shape, jax.dtypes.float0)


def args():
    return np.random.default_rng(0).normal(size=4), np.array([0, 2, 2])


def powered(rules):
    @jax.custom_vjp
    def power(x, n=3):
        return x**n

    power.defvjp(*rules)
    return power


def test_two_rules_pass_in_float64_with_nested_outputs_and_an_integer_argument():
    forward, backward = from_custom_vjp(gather_fwd, gather_bwd)
    report = check_backward(forward, backward, args())
    assert list(report.arguments) == ["x"]
    assert list(inspect.signature(forward).parameters) == ["x", "index"]
    assert (forward.__name__, backward.__name__) == ("gather_fwd", "gather_bwd")


def test_a_wrong_rule_fails():
    with pytest.raises(GradientError):
        check_backward(
            *from_custom_vjp(gather_fwd, lambda residuals, g: (gather_bwd(residuals, g)[0] * 1.001, None)), args()
        )


def test_arrays_come_back_as_writable_float64_and_no_setting_of_jax_changes():
    before = jax.config.jax_enable_x64
    forward, backward = from_custom_vjp(gather_fwd, gather_bwd)
    (picked, squares), cache = forward(*args())
    dx, dindex = backward((np.ones(3), {"sum": np.array(1.0)}), cache)
    assert dindex is None
    for array in (picked, squares["sum"], dx):
        assert type(array) is np.ndarray
        assert array.dtype == np.float64
        assert array.flags.writeable
    assert jax.config.jax_enable_x64 == before


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_cotangent_has_the_dtype_of_a_low_precision_output(dtype):
    seen = []

    def bwd(_, g):
        seen.append(g.dtype.name)
        return (g.astype(jnp.float64),)

    forward, backward = from_custom_vjp(lambda x: (x.astype(dtype), None), bwd)
    out, cache = forward(np.ones(2))
    np.testing.assert_array_equal(backward(np.full(2, 0.5), cache)[0], [0.5, 0.5])
    assert out.dtype.name == dtype
    assert seen == [dtype]


def test_a_custom_vjp_object_passes_with_its_default_argument():
    power = powered((lambda x, n: (x**n, (x, n)), lambda residuals, g: (g * residuals[1] * residuals[0] ** 2, None)))
    forward, _ = from_custom_vjp(power)
    assert forward.__name__ == "power"
    check_backward(*from_custom_vjp(power), (np.array([1.0, 2.0]),))


def test_nondifferentiable_arguments_go_first_into_the_bwd_as_in_jax():
    def apply(f, x):
        return f(x)

    decorated = jax.custom_vjp(apply, nondiff_argnums=(0,))
    decorated.defvjp(lambda f, x: (f(x), x), lambda f, x, g: (jax.vjp(f, x)[1](g)[0],))
    forward, backward = from_custom_vjp(decorated)
    x = np.random.default_rng(0).normal(size=3)
    assert backward(np.ones(3), forward(jnp.tanh, x)[1])[0] is None
    check_backward(forward, backward, (jnp.tanh, x))


def test_an_object_without_rules_or_with_symbolic_zeros_is_refused():
    bare = jax.custom_vjp(lambda x: x)
    with pytest.raises(ValueError, match="rules set") as error:
        from_custom_vjp(bare)
    assert str(error.value) == ("<lambda> must have its rules set, but has none. Call <lambda>.defvjp(fwd, bwd) first.")
    bare.defvjp(gather_fwd, gather_bwd, symbolic_zeros=True)
    with pytest.raises(ValueError, match="symbolic_zeros=True"):
        from_custom_vjp(bare)
    with pytest.raises(TypeError, match="has its own bwd"):
        from_custom_vjp(bare, gather_bwd)


def test_a_missing_bwd_is_refused():
    with pytest.raises(TypeError) as error:
        from_custom_vjp(gather_fwd)
    assert str(error.value) == (
        "from_custom_vjp must be given a callable bwd (or a jax.custom_vjp alone), but was given None."
    )


def test_a_bare_cotangent_is_refused_as_jax_refuses_it():
    forward, backward = from_custom_vjp(lambda x: (2 * x, None), lambda _, g: 2 * g)
    with pytest.raises(TypeError) as error:
        backward(np.ones(2), forward(np.ones(2))[1])
    assert str(error.value) == (
        "<lambda> must return a tuple with one cotangent per argument (x), but returned a float64 array of shape (2,). "
        "Return (g,) for one argument."
    )


def test_too_few_cotangents_are_refused():
    forward, backward = from_custom_vjp(gather_fwd, lambda residuals, g: gather_bwd(residuals, g)[:1])
    with pytest.raises(ValueError, match="cotangent") as error:
        backward((np.ones(3), {"sum": np.array(1.0)}), forward(*args())[1])
    assert str(error.value) == (
        "<lambda> must return a tuple with one cotangent per argument (x, index), but returned 1. "
        "Return None for an argument that has no gradient."
    )


def test_a_fwd_that_returns_no_pair_is_refused():
    forward, _ = from_custom_vjp(lambda x: (x, x, x), gather_bwd)
    with pytest.raises(TypeError) as error:
        forward(np.ones(2))
    assert str(error.value) == (
        "<lambda> must return a pair (out, residuals), but returned a tuple of 3. "
        "Return None as the residuals if there are none."
    )


def test_an_integer_output_takes_a_float0_cotangent():
    seen = []

    def bwd(x, g):
        seen.append(g[1].dtype)
        return (g[0] * x,)

    forward, backward = from_custom_vjp(lambda x: ((x**2 / 2, x.argmax()), x), bwd)
    out, cache = forward(np.array([1.0, 3.0]))
    assert out[1] == 1
    np.testing.assert_array_equal(backward((np.ones(2), None), cache)[0], [1.0, 3.0])
    assert seen == [jax.dtypes.float0]


def test_without_jax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match="must be able to import jax") as error:
        from_custom_vjp(gather_fwd, gather_bwd)
    assert str(error.value).endswith("Install gradcheck[jax].")


def sine_with(primal):
    @jax.custom_vjp
    def sine(x):
        return primal(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))
    return sine


@pytest.mark.parametrize(
    ("primal", "came"),
    [
        (lambda x: 2 * jnp.sin(x), "out[3] is 0.75 and not 1.5. Compute the same in both."),
        (lambda x: jnp.sin(x).sum(), "out has shape (4,) and not (). Compare the two."),
        (lambda x: (jnp.sin(x), 1), "returned a float64 array of shape (4,) and not a tuple of 2. Return the same."),
    ],
)
def test_a_forward_rule_that_returns_something_else_than_the_function_is_refused(primal, came):
    point = np.arcsin([0.25, -0.5, 0.125, 0.75])
    with pytest.raises(ValueError, match="forward rule") as error:
        check_backward(*from_custom_vjp(sine_with(primal)), (point,))
    assert str(error.value).partition("\n")[0] == f"sine's forward rule must return what sine returns, but {came}"


def test_a_function_with_rules_passes_also_under_jit():
    forward, _ = from_custom_vjp(jax.jit(sine_with(jnp.sin)))
    assert forward.__name__ == "sine"
    check_backward(*from_custom_vjp(jax.jit(sine_with(jnp.sin))), (args()[0],))


def test_keys_dtypes_and_devices_stay():
    @jax.custom_vjp
    def noisy(x, key, dtype, device):
        return x * jax.random.normal(key, x.shape, dtype)

    noisy.defvjp(
        lambda x, key, dtype, device: (noisy.__wrapped__(x, key, dtype, device), key),
        lambda key, g: (g * jax.random.normal(key, g.shape, g.dtype), None, None, None),
    )
    point = (args()[0], jax.random.key(0), jnp.float64, jax.devices()[0])
    assert list(check_backward(*from_custom_vjp(noisy), point).arguments) == ["x"]
