"""Arrays of other libraries become NumPy's and come back, or are refused for a reason."""

import sys

import array_api_strict as xp
import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck.adapters.libraries import in_double, in_precision_of, kind_of, made_like, to_numpy


@pytest.mark.parametrize("array", [jnp.arange(3.0), xp.arange(3.0), xp.asarray([1j]), jnp.arange(3)])
def test_an_array_comes_back_as_it_was(array):
    plain = to_numpy(array)
    again = made_like(kind_of(array), plain)
    assert isinstance(plain, np.ndarray)
    assert plain.flags.writeable
    assert (type(again), again.dtype) == (type(array), array.dtype)
    assert np.array_equal(to_numpy(again), plain)


def test_a_precision_that_no_other_library_has_is_refused():
    with pytest.raises(TypeError, match="must have a dtype of its own, but it is"):
        made_like(kind_of(xp.ones(2)), np.ones(2, np.longdouble))


def test_sixteen_bits_are_measured_with_thirty_two_and_called_with_their_own():
    half = jnp.ones(2, jnp.float16)
    assert made_like(kind_of(half), np.ones(2)).dtype == jnp.float32
    assert made_like(kind_of(half), np.ones(2, np.float16)).dtype == jnp.float16


def test_jax_keeps_sixty_four_bits_only_where_somebody_has_them():
    with in_precision_of([kind_of(jnp.ones(2))]):
        assert jnp.ones(2).dtype == jnp.float32
    with in_double(np.ones(2)):
        double = jnp.ones(2)
    with in_precision_of([kind_of(double)]):
        assert jnp.ones(2).dtype == jnp.float64
    assert jnp.ones(2).dtype == jnp.float32


def test_what_is_no_array_stays_as_it_is():
    for leaf in (None, 3, "text", np.ones(2), sys):
        assert kind_of(leaf) is None
        assert to_numpy(leaf) is leaf
