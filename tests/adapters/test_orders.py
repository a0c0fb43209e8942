"""Rules of JAX differentiated twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import check_backward, examine_backward, from_jax

RNG = np.random.default_rng(0)
X, DOUT = RNG.standard_normal((3, 2)), RNG.standard_normal((3, 2))


def cube(second):
    """Return x³ with a rule whose own derivative is right if ``second`` is 1."""

    @jax.custom_vjp
    def slope(x):
        return 3 * x**2

    slope.defvjp(lambda x: (slope(x), x), lambda x, g: (second * 6 * x * g,))

    @jax.custom_vjp
    def f(x):
        return x**3

    f.defvjp(lambda x: (x**3, x), lambda x, g: (slope(x) * g,))
    return f


def test_a_rule_that_may_be_differentiated_twice_passes_at_both_orders():
    assert check_backward(*from_jax(cube(1.0)), (X,), seed=0)
    report = check_backward(*from_jax(cube(1.0), order=2), (X, DOUT), seed=0)
    assert list(report.arguments) == ["x", "dout"]


def test_a_rule_that_is_wrong_at_the_second_order_alone_fails_there():
    assert examine_backward(*from_jax(cube(0.9)), (X,), seed=0)
    report = examine_backward(*from_jax(cube(0.9), order=2), (X, DOUT), seed=0)
    assert [str(finding.verdict) for finding in report.arguments.values()] == ["fail", "pass"]


def test_integers_among_the_arguments_have_no_gradient():
    pair = from_jax(lambda table, ids: jnp.sin(table[ids]), order=2)
    assert check_backward(*pair, (X, np.array([0, 2, 2]), RNG.standard_normal((3, 2))), seed=0)


@pytest.mark.parametrize("order", [0, 3, True, "2"])
def test_another_order_is_refused(order):
    with pytest.raises(ValueError, match="must be given order=1 or order=2"):
        from_jax(jnp.sin, order=order)
