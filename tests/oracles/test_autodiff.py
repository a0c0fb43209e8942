import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import OracleError, autodiff, check_backward, examine_backward


def forward(x, k):
    return np.tanh(x) * k, (x, k)


def backward(dout, cache):
    x, k = cache
    return dout * k / np.cosh(x) ** 2


X = np.random.default_rng(0).standard_normal((3, 4))


def test_it_measures_to_rounding_by_the_reference():
    report = check_backward(forward, backward, (X, 3), oracle=autodiff(lambda x, k: jnp.tanh(x) * k), seed=0)
    assert report.oracles == ("autodiff",)
    assert report.error < 1e-13


def test_the_x64_flag_of_jax_is_left_alone():
    before = jax.config.jax_enable_x64
    check_backward(forward, backward, (X, 3), reference=lambda x, k: jnp.tanh(x) * k)
    assert jax.config.jax_enable_x64 == before


def test_a_reference_of_another_function_is_refused_before_any_gradient_is_compared():
    def other(x, k):
        return jnp.tanh(x) * k + 0.5

    with pytest.raises(ValueError) as raised:
        examine_backward(forward, backward, (np.zeros(2), 3), oracle=autodiff(other))
    assert str(raised.value) == (
        "other must return what forward returns, but out[0] is 0.5 and not 0. "
        "Make the reference compute the same function first."
    )


def test_a_reference_of_another_shape_is_refused():
    def other(x, k):
        return (jnp.tanh(x) * k).T

    with pytest.raises(ValueError) as raised:
        examine_backward(forward, backward, (X, 3), oracle=autodiff(other))
    assert str(raised.value) == (
        "other must return what forward returns, but out has shape (4, 3) and not (3, 4). "
        "Return the same shape from both."
    )


def test_a_reference_that_calls_numpy_is_named():
    def other(x, k):
        return np.tanh(x) * k

    with pytest.raises(OracleError) as raised:
        examine_backward(forward, backward, (X, 3), oracle=autodiff(other))
    assert str(raised.value) == (
        "autodiff must be able to trace other, but it turns a traced array into NumPy or a Python number. "
        "Pass reference=, the same function written in jax.numpy."
    )


def test_a_reference_that_needs_to_see_an_integer_array_runs_without_jit():
    def pick_forward(x, rows):
        return x[rows], (x.shape, rows)

    def pick_backward(dout, cache):
        shape, rows = cache
        dx = np.zeros(shape)
        np.add.at(dx, rows, dout)
        return dx

    def reference(x, rows):
        return jnp.stack([x[int(row)] for row in rows])

    check_backward(pick_forward, pick_backward, (X, np.array([0, 2, 2])), oracle=autodiff(reference))


def test_a_plain_function_of_a_vector_is_pushed_forward_directly():
    x, v = np.array([0.5, 1.0]), np.array([1.0, 2.0])
    value, error, *_ = autodiff(jnp.sin)(np.sin, x)(v)
    np.testing.assert_allclose(value, np.cos(x) * v, rtol=1e-14)
    assert np.all(error < 1e-12)


@pytest.mark.parametrize("returned", [None, "y", {1.0}])
def test_a_reference_that_returns_no_numbers_is_refused(returned):
    with pytest.raises(TypeError, match=r"^<lambda> must return arrays of numbers to be a reference, but it returned "):
        examine_backward(forward, backward, (X, 3), reference=lambda _x, _k: returned)


def test_a_reference_that_returns_a_number_for_an_array_is_refused_by_its_shape():
    with pytest.raises(ValueError, match=r"but out has shape \(\) and not \(3, 4\)"):
        examine_backward(forward, backward, (X, 3), reference=lambda _x, _k: 0.0)


def test_a_reference_is_a_function_also_where_it_has_no_hash():
    with pytest.raises(
        TypeError, match=r"^reference must be a function, but it is a dict with the keys 'x'\. Pass the"
    ):
        autodiff({"x": X})


def test_what_a_reference_raises_is_noted():
    def reference(x, k):
        raise KeyError(k)

    with pytest.raises(KeyError) as caught:
        examine_backward(forward, backward, (X, 3), reference=reference)
    assert "gradcheck: raised inside reference, called with no arrays." in caught.value.__notes__
