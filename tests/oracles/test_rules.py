import functools
import sysconfig
from pathlib import Path

import jax
import numpy as np
import pytest

from gradcheck import OracleError, check_backward, from_custom_vjp

jnp = jax.numpy


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda primals, tangents: (cube(primals[0]), 3 * primals[0] ** 2 * tangents[0]))

X = np.linspace(0.5, 2, 4)


def with_reference(reference):
    return check_backward(lambda x: (np.sin(x), x), lambda dout, x: dout * np.cos(x), (X,), reference=reference)


def test_a_reference_that_has_a_rule_of_its_own_is_refused():
    with pytest.raises(OracleError) as error:
        check_backward(*from_custom_vjp(sine), (X,), reference=sine)
    assert str(error.value) == (
        "sine must be differentiated by JAX to be a reference, but it has a derivative rule of its own, "
        "which would judge itself. Pass the function without it: sine.__wrapped__."
    )
    check_backward(*from_custom_vjp(sine), (X,), reference=sine.__wrapped__)
    with pytest.raises(OracleError, match=r"Pass the function without it: cube.__wrapped__"):
        check_backward(lambda x: (x**3, x), lambda dout, x: 3 * dout * x**2, (X,), reference=cube)


@pytest.mark.parametrize(
    "reference",
    [lambda x: 1 * sine(x), jax.jit(sine), functools.partial(sine), jax.jit(jax.jit(sine))],
    ids=["lambda", "jit", "partial", "jit of jit"],
)
def test_a_reference_that_calls_a_function_with_a_rule_is_refused(reference):
    with pytest.raises(OracleError, match=r"Pass the function without it: sine.__wrapped__"):
        with_reference(reference)


def test_rules_of_installed_packages_are_trusted(monkeypatch):
    with_reference(lambda x: jnp.sin(jax.nn.relu(x)))
    check_backward(lambda x: (1 * x, None), lambda dout, _: 1 * dout, (X,), reference=jax.nn.relu)
    here = Path(__file__).parent
    monkeypatch.setattr("gradcheck.oracles.rules.INSTALLED", (Path(sysconfig.get_path("purelib")), here))
    with_reference(lambda x: 1 * sine(x))


def test_a_reference_that_looks_at_numbers_is_not_looked_into():
    assert with_reference(lambda x: jnp.sin(x) if float(jax.lax.stop_gradient(x)[0]) > 0 else x)
