import array_api_strict as xp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import GradientError, check_backward, examine_backward, from_pullback

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
W = RNG.standard_normal((4, 2))
Z = X + 1j * RNG.standard_normal((3, 4))


def product(x, w):
    return x @ w, lambda dy: (dy @ w.conj().T, x.conj().T @ dy)


def slipped(x, w):
    return x @ w, lambda dy: (dy @ w.conj().T, 1.01 * (x.conj().T @ dy))


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64"])
@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (5, 1)])
def test_a_right_pullback_passes_and_a_wrong_one_fails(dtype, shape):
    point = (RNG.standard_normal(shape).astype(dtype), RNG.standard_normal(shape[::-1]).astype(dtype))
    assert check_backward(*from_pullback(product), point, seed=0)
    report = examine_backward(*from_pullback(slipped), point, seed=0)
    assert [str(finding.verdict) for finding in report.arguments.values()] == ["pass", "fail"]


@pytest.mark.parametrize("given", [X, X.astype(np.float32), jnp.asarray(X)], ids=["64", "32", "jax"])
def test_the_pullback_of_jax_is_handed_what_it_asks_for(given):
    def function(x):
        return jax.vjp(lambda x: (jnp.sin(x), x.argmax()), x)

    report = check_backward(*from_pullback(function), (given,), seed=0)
    assert len(report.remarks) == 1
    assert check_backward(*from_pullback(lambda z: jax.vjp(jnp.exp, z), convention="jax"), (Z,), seed=0)
    assert not examine_backward(*from_pullback(lambda z: jax.vjp(jnp.exp, z)), (Z,), seed=0)


def test_arrays_of_the_standard_are_handed_on():
    def scaled(x):
        return xp.sum(x * x, axis=0), lambda dy: 2 * x * dy

    assert check_backward(*from_pullback(scaled), (xp.asarray(X),), seed=0)


def test_what_has_no_gradient_or_no_derivative_is_left_out():
    def gather(x, index):
        def pullback(dy):
            dx = np.zeros_like(x)
            np.add.at(dx, index, dy[0])
            return dx, NotImplemented

        return (x[index], "a text", None), pullback

    report = check_backward(*from_pullback(gather), (X, np.array([0, 2, 2])), seed=0)
    assert report.remarks[0].startswith("out[1] and out[2] are left out")


def test_a_pullback_that_writes_into_its_cotangent_breaks_a_law():
    def function(x):
        return 2 * x, lambda dy: np.multiply(dy, 2, out=dy)

    with pytest.raises(GradientError, match="must not write into the cotangent"):
        check_backward(*from_pullback(function), (X,), seed=0)


def test_a_function_that_returns_no_pullback_is_refused():
    forward, _ = from_pullback(lambda x: (x, x))
    with pytest.raises(TypeError) as error:
        forward(X)
    assert str(error.value) == (
        "<lambda> must return a pair (y, pullback), where pullback is a function of the cotangent, but returned "
        "a tuple of 2. Return y and lambda dy: (dx, …)."
    )


def test_arrays_of_a_library_that_is_not_known_are_refused():
    forward, _ = from_pullback(lambda x: (object(), lambda dy: dy))
    with pytest.raises(TypeError, match=r"must return y as floats or as arrays of .* Return y.numpy\(\) or the like"):
        forward(X)
