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


@pytest.mark.parametrize("distance", [1e-2, 1e-6, 1e-10, 1e-13])
def test_near_the_edge_of_the_domain_its_bound_holds(distance):
    x = np.array([1 - distance, 0.3])
    pushforward = complex_step(lambda u: np.arctanh(u).sum(), x)
    for v in np.random.default_rng(0).standard_normal((3, 2)):
        estimate, true = pushforward(v), float((v / ((1 - x) * (1 + x))).sum())
        assert not abs(estimate.value - true) > estimate.error


def test_it_is_no_sharper_than_the_difference_that_could_not_confirm_it():
    """The norm is not analytic, and its part is within what the difference leaves open beside a noisy one."""
    noise = np.random.default_rng(0)
    f = lambda u: u.sum() + 1e-4 * np.linalg.norm(u) + 1e-5 * noise.standard_normal()  # noqa: E731  (a formula)
    x, v = np.array([1.0, -2.0]), np.array([1.0, 1.5])
    true = v.sum() + 1e-4 * (x @ v) / np.linalg.norm(x)
    pushforward = complex_step(f, x)
    for _ in range(2):
        estimate = pushforward(v)
        assert abs(estimate.value - true) <= estimate.error
        assert estimate.error > 1e-5


def test_digits_that_the_forward_loses_widen_its_bound():
    n = 5
    A = 1.0 / (np.arange(n)[:, None] + np.arange(n) + 1)  # Hilbert's, of condition number 5e5
    A = np.kron(A, A[:2, :2])
    rng = np.random.default_rng(0)
    b, y, v = rng.standard_normal((3, 2 * n))
    exact = np.linalg.inv(A.astype(np.float64))
    V = np.outer(v, v)
    estimate = complex_step(lambda u: y @ np.linalg.solve(u.reshape(A.shape), b), A.ravel())(V.ravel())
    true = -(y @ exact @ V @ exact @ b)
    assert abs(estimate.value - true) <= estimate.error + 1e-9 * abs(true)
    assert estimate.error > 1e-13 * abs(true)
