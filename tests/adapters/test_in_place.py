import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import Verdict, check_backward, examine_backward, from_gradient_in_place

X = np.random.default_rng(0).standard_normal(5)


def rosenbrock(x, grad, slip=1.0):
    left, right = x[:-1], x[1:]
    if grad.size:
        grad[:] = 0
        grad[:-1] += -400 * left * (right - left**2) - 2 * (1 - left)
        grad[1:] += 200 * slip * (right - left**2)
    return float((100 * (right - left**2) ** 2 + (1 - left) ** 2).sum())


def with_slip(x, grad):
    return rosenbrock(x, grad, 1.01)


@pytest.mark.parametrize("given", [X, X[:2], X.astype(np.float32), jnp.asarray(X)], ids=["5", "2", "float32", "jax"])
def test_a_right_gradient_passes_and_a_wrong_one_fails(given):
    assert list(check_backward(*from_gradient_in_place(rosenbrock), (given,), seed=0).arguments) == ["x"]
    assert examine_backward(*from_gradient_in_place(with_slip), (given,), seed=0).verdict is Verdict.FAIL


def test_an_entry_that_is_not_filled_or_only_added_to_fails():
    def forgetful(x, grad):
        if grad.size:
            grad[:-1] = 2 * x[:-1]
        return x @ x

    def adding(x, grad):
        if grad.size:
            grad[:2] = 2 * x[:2]
            grad[2:] += 2 * x[2:]
        return x @ x

    for f, left in ((forgetful, 1), (adding, 3)):
        report = examine_backward(*from_gradient_in_place(f), (X,), seed=0)
        assert report.verdict is Verdict.FAIL
        assert f"is nan ({left} of 5 entries are not finite)" in report.arguments["x"].reason


def test_a_gradient_that_only_gets_a_name_is_refused():
    def renaming(x, grad):
        if grad.size:
            grad = 2 * x
        return x @ x

    with pytest.raises(ValueError, match="must fill grad") as error:
        check_backward(*from_gradient_in_place(renaming), (X,), seed=0)
    assert str(error.value).partition("\n")[0] == (
        "renaming must fill grad, but left all 5 entries as they came. "
        "Write grad[:] = …, where grad = … only names another array."
    )


def test_another_value_where_the_gradient_is_asked_for_is_refused():
    def two_faced(x, grad):
        if grad.size:
            grad[:] = 2 * x
            return 2 * (x @ x)
        return x @ x

    with pytest.raises(ValueError, match="must return the same value with grad and without"):
        check_backward(*from_gradient_in_place(two_faced), (X,), seed=0)


def test_what_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match="must return a scalar loss"):
        check_backward(*from_gradient_in_place(lambda x, grad: x), (X,), seed=0)
