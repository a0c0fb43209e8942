import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import check_pushforward, examine_pushforward, from_custom_jvp

X = np.random.default_rng(0).standard_normal((3, 2))


def softplus(factor):
    @jax.custom_jvp
    def f(x, n):
        return n * jnp.log1p(jnp.exp(x))

    @f.defjvp
    def rule(primals, tangents):
        (x, n), (dx, _) = primals, tangents
        return f(x, n), factor * n * dx * jax.nn.sigmoid(x)

    return f


def test_a_right_rule_of_jax_passes_and_a_wrong_one_fails():
    assert check_pushforward(*from_custom_jvp(softplus(1.0)), (X, 3), seed=0)
    assert not examine_pushforward(*from_custom_jvp(softplus(1.001)), (X, 3), seed=0)


def test_a_function_under_jit_has_the_rule_inside_it():
    assert check_pushforward(*from_custom_jvp(jax.jit(softplus(1.0))), (X, 3), seed=0)


def test_the_precision_of_jax_is_left_as_it_was():
    check_pushforward(*from_custom_jvp(softplus(1.0)), (X, 3), seed=0)
    assert jnp.ones(1).dtype == jnp.float32


def test_what_has_no_such_rule_is_refused_with_the_call_for_it():
    with pytest.raises(TypeError, match="Pass it to from_custom_vjp"):
        from_custom_jvp(jax.custom_vjp(jnp.sin))
    with pytest.raises(TypeError, match=r"must be given a jax\.custom_jvp"):
        from_custom_jvp(jnp.sin)
    with pytest.raises(ValueError, match="must have its rule set"):
        from_custom_jvp(jax.custom_jvp(lambda x: x))
