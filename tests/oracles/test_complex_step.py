import numpy as np
import pytest

from gradcheck import OracleError, complex_step


def test_it_is_exact_to_rounding_for_analytic_code():
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal(20), rng.standard_normal(20)
    value, error, *_ = complex_step(lambda u: np.sum(np.tanh(u) * np.exp(u)), x)(v)
    true = np.sum((1 / np.cosh(x) ** 2 + np.tanh(x)) * np.exp(x) * v)
    assert abs(value - true) <= error <= 1e-12 * np.linalg.norm(v)


def test_further_directions_cost_one_evaluation():
    calls = 0

    def f(u):
        nonlocal calls
        calls += 1
        return np.sum(u**3)

    pushforward = complex_step(f, np.ones(3))
    pushforward(np.ones(3))
    before = calls
    pushforward(np.array([1.0, -1.0, 2.0]))
    assert calls == before + 1


@pytest.mark.parametrize("f", [lambda u: np.abs(u).sum(), np.linalg.norm, np.std], ids=["abs", "norm", "std"])
def test_it_is_not_believed_where_the_function_is_not_analytic(f):
    with pytest.raises(OracleError, match="complex_step must agree with central_difference"):
        complex_step(f, np.array([1.0, -2.0, 0.5]))(np.array([1.0, 2.0, 3.0]))


def test_a_buffer_that_drops_the_imaginary_part_is_named():
    def f(u):
        out = np.zeros(u.shape)
        out[:] = u**2
        return out.sum()

    with pytest.raises(OracleError) as raised:
        complex_step(f, np.ones(2))(np.ones(2))
    assert str(raised.value) == (
        "complex_step must be able to run the forward on complex arrays, but it raised ComplexWarning: "
        "Casting complex values to real discards the imaginary part. "
        "Use oracle=central_difference, or make the buffers in the dtype of the arguments."
    )


def test_a_function_that_refuses_complex_numbers_is_named():
    with pytest.raises(OracleError, match="it raised TypeError"):
        complex_step(lambda u: np.hypot(u, 1.0).sum(), np.ones(2))(np.ones(2))
