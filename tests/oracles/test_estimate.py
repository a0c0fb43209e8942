"""What the oracles take, alone and in a check, and what they say of everything else."""

import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import autodiff, central_difference, complex_step, examine_backward

X = np.array([1.0, 2.0, -0.5])
ORACLES = {"central_difference": central_difference, "complex_step": complex_step, "autodiff": autodiff(jnp.sin)}
NO_NUMBERS = {
    "None": None,
    "a str": "same",
    "a masked float64 array of shape (3,)": np.ma.masked_array(X),
    "a complex128 array of shape (3,)": X + 1j,
    "a tuple of 2": (np.ones(2), np.ones(3)),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("came", NO_NUMBERS)
def test_a_point_and_a_tangent_are_real_numbers(name, came):
    oracle, value = ORACLES[name], NO_NUMBERS[came]
    for role, ask in (("point", lambda: oracle(np.sin, value)), ("tangent", lambda: oracle(np.sin, X)(value))):
        with pytest.raises(TypeError) as caught:
            ask()
        assert (
            str(caught.value) == f"{name} must be given a {role} of real numbers, but it is {came}. Pass a float array."
        )


@pytest.mark.parametrize("name", ORACLES)
def test_a_tangent_has_the_shape_of_the_point(name):
    with pytest.raises(ValueError, match=r"the shape of the point, \(3,\), but it is a float64 array of shape \(2,\)"):
        ORACLES[name](np.sin, X)(np.ones(2))


@pytest.mark.parametrize("name", ORACLES)
def test_what_is_differentiated_is_a_function(name):
    with pytest.raises(TypeError, match=r"^f must be a function, but it is the float 0\.5\. Pass"):
        ORACLES[name](0.5, X)


@pytest.mark.parametrize("oracle", [central_difference, complex_step])
@pytest.mark.parametrize("returned", [None, "y", 1 + 2j, {1.0}])
def test_what_a_function_returns_is_real(oracle, returned):
    def f(_x):
        return returned

    with pytest.raises(TypeError, match=r"^f must return a real number or an array of them, but it returned "):
        oracle(f, X)


@pytest.mark.parametrize("oracle", [central_difference, complex_step])
def test_what_a_function_raises_is_noted(oracle):
    def f(_x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        oracle(f, X)
    assert caught.value.__notes__ == ["gradcheck: raised inside f, called with args[0] (3,)."]


@pytest.mark.parametrize("oracle", [central_difference, complex_step])
def test_a_tangent_whose_length_overflows_beside_the_point_says_nothing(oracle):
    found = oracle(lambda x: np.sin(x).sum(), 1e-300 * X)(1e200 * X)
    assert np.isnan(found.value)
    assert found.error == np.inf
    assert found.reason == "the tangent is too long for the point: scale it down"


@pytest.mark.parametrize(
    ("oracle", "message"),
    [
        (lambda _f, _x: None, "<lambda> must return a function of the tangent, but it returned None. "),
        (lambda _f, _x: lambda _v: 0.0, "<lambda> must answer with an Estimate, but it is the float 0.0. "),
    ],
)
def test_an_oracle_of_the_users_own_answers_with_estimates(oracle, message):
    with pytest.raises(TypeError, match=rf"^{message}Write oracle"):
        examine_backward(lambda x: (np.sin(x), x), lambda dy, x: dy * np.cos(x), (X,), oracle=oracle)
