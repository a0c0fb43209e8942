import inspect

import numpy as np
import pytest

from gradcheck import GradientError, check_backward
from gradcheck.adapters import from_vjp


def scaled_sine(x, y, k):
    return np.sin(x) * y**k


def args():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), 2


def vjp_x(g, ans, x, y, k):
    return g * np.cos(x) * y**k


def vjp_y(g, ans, x, y, k):
    return g * k * ans / y


CURRIED = tuple(lambda ans, x, y, k, vjp=vjp: lambda g: vjp(g, ans, x, y, k) for vjp in (vjp_x, vjp_y))


@pytest.mark.parametrize(("vjps", "curried"), [(CURRIED, True), ((vjp_x, vjp_y), False)])
def test_both_conventions_of_a_vjp_pass(vjps, curried):
    forward, backward = from_vjp(scaled_sine, *vjps, curried=curried)
    assert list(check_backward(forward, backward, args()).arguments) == ["x", "y"]
    assert list(inspect.signature(forward).parameters) == ["x", "y", "k"]
    assert forward.__name__ == backward.__name__ == "scaled_sine"


def test_argnums_say_which_argument_a_vjp_belongs_to():
    check_backward(*from_vjp(scaled_sine, vjp_y, argnums=(1,), curried=False), args(), wrt="y")
    check_backward(*from_vjp(scaled_sine, None, vjp_y, curried=False), args(), wrt="y")


def test_swapped_vjps_fail():
    with pytest.raises(GradientError):
        check_backward(*from_vjp(scaled_sine, vjp_y, vjp_x, curried=False), args())


def test_an_earlier_cache_survives_a_changed_argument_and_output():
    forward, backward = from_vjp(np.exp, lambda g, ans, x: g * ans + 0 * x, curried=False)
    x = np.zeros(2)
    out, cache = forward(x)
    x += 1
    out += 1
    np.testing.assert_array_equal(backward(np.ones(2), cache)[0], [1.0, 1.0])


def test_an_uncurried_vjp_read_as_a_maker_is_named():
    forward, backward = from_vjp(lambda x: 2 * x, lambda g, x: 2 * g + 0 * x)
    with pytest.raises(TypeError) as error:
        backward(np.ones(2), forward(np.ones(2))[1])
    assert str(error.value) == (
        "<lambda>'s vjp for x must return a function of the cotangent, but returned a float64 array of shape (2,). "
        "Pass curried=False if it is vjp(g, ans, *args)."
    )


def test_more_vjps_than_arguments_are_refused():
    forward, _ = from_vjp(scaled_sine, *[vjp_x] * 4, curried=False)
    with pytest.raises(ValueError, match="belong") as error:
        forward(*args())
    assert str(error.value) == (
        "scaled_sine must have every vjp belong to one of its arguments (x, y, k), but has vjps for the positions "
        "0, 1, 2, 3. Pass argnums=, counted from 0."
    )


def test_vjps_that_do_not_fit_argnums_are_refused():
    with pytest.raises(ValueError, match="one vjp for each") as error:
        from_vjp(scaled_sine, vjp_x, argnums=(0, 1))
    assert str(error.value) == (
        "from_vjp must be given one vjp for each of the arguments of scaled_sine that argnums counts, "
        "but was given 1 for argnums (0, 1). Write argnums=(0, 2) for the first and third."
    )


def test_a_vjp_that_is_no_function_is_refused():
    with pytest.raises(TypeError) as error:
        from_vjp(scaled_sine, 3)
    assert str(error.value) == "from_vjp must be given a callable vjp number 0, but was given the int 3."


@pytest.mark.parametrize(("argnums", "came"), [(0, "the int 0"), ("0", "a str"), ((None,), "a tuple of 1")])
def test_argnums_is_a_tuple_of_positions(argnums, came):
    with pytest.raises(TypeError) as caught:
        from_vjp(scaled_sine, CURRIED[0], argnums=argnums)
    assert str(caught.value) == (
        f"from_vjp must be given argnums as a tuple of positions, but was given {came}. "
        "Write argnums=(0, 2) for the first and third."
    )
