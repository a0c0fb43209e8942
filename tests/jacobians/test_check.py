"""Derivative matrices are judged by what they pull back, and the entry that is wrong is named."""

import time
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from gradcheck import (
    ContractError,
    GradientError,
    Verdict,
    check_hessian,
    check_jacobian,
    examine_hessian,
    examine_jacobian,
)

RNG = np.random.default_rng(0)
A, X = RNG.standard_normal((5, 3)), RNG.standard_normal(3)
Y = (RNG.random(6) > 0.5).astype(float)
P = RNG.standard_normal(6)


def f(x):
    return np.sin(A @ x)


def jac(x):
    return np.cos(A @ x)[:, None] * A


def spoilt(x):
    J = jac(x)
    J[3, 1] *= 1.1
    return J


@pytest.mark.parametrize(
    "form",
    [lambda J: J, scipy.sparse.csr_matrix, scipy.sparse.coo_array, aslinearoperator, lambda J: J.reshape(5, 3)],
    ids=["dense", "csr", "coo", "operator", "reshaped"],
)
def test_a_right_matrix_passes_in_every_form_and_a_wrong_entry_is_named(form):
    assert check_jacobian(f, lambda x: form(jac(x)), (X,), seed=0)
    finding = examine_jacobian(f, lambda x: form(spoilt(x)), (X,), seed=0).arguments["x"]
    assert finding.verdict is Verdict.FAIL
    assert finding.where == ("dout[3]/dx[1]",)
    assert finding.worst.claimed == pytest.approx(1.1 * finding.worst.measured)


def test_outputs_and_arguments_of_several_axes_have_a_block_in_their_shapes():
    x = RNG.standard_normal((2, 3))

    def square(x):
        return x**2

    def block(x):
        return np.einsum("ij,ik,jl->ijkl", 2 * x, np.eye(2), np.eye(3))

    assert examine_jacobian(square, block, (x,), seed=0)

    def wrong(x):
        J = block(x)
        J[1, 2, 1, 2] = 0
        return J

    assert examine_jacobian(square, wrong, (x,), seed=0).arguments["x"].where == ("dout[1, 2]/dx[1, 2]",)


def test_a_matrix_of_another_shape_breaks_its_contract():
    with pytest.raises(ContractError, match=r"with shape \(5, 3\), but returned shape \(3, 5\). Did you forget"):
        check_jacobian(f, lambda x: jac(x).T, (X,), seed=0)


def test_what_is_no_matrix_breaks_its_contract():
    with pytest.raises(ContractError, match="as a matrix, but returned"):
        check_jacobian(f, lambda x: "J", (X,), seed=0)


def partials(x, y):
    return {
        ("f", "x"): np.diag(y),
        ("f", "y"): x,
        ("g", "x"): np.full((1, 3), y[0]),
        ("g", "y"): np.array([[x.sum(), 0.0, 0.0]]),
    }


def outputs(x, y):
    return {"f": x * y, "g": np.array([x.sum() * y[0]])}


def test_partials_by_output_and_argument_pass_and_what_is_missing_is_zero():
    args = (X, X[::-1].copy())
    assert examine_jacobian(outputs, partials, args, seed=0)

    def without(x, y):
        return {key: block for key, block in partials(x, y).items() if key != ("g", "y")}

    report = examine_jacobian(outputs, without, args, seed=0)
    assert report.arguments["x"].verdict is Verdict.PASS
    assert report.arguments["y"].where == ("dout['g'][0]/dy[0]",)


def test_several_arguments_have_a_matrix_each_in_a_tuple_or_by_name():
    def g(x, y):
        return A @ x * y

    def blocks(x, y):
        return y[:, None] * A, np.diag(A @ x)

    y = RNG.standard_normal(5)
    assert examine_jacobian(g, blocks, (X, y), seed=0)
    assert examine_jacobian(g, lambda x, y: dict(zip("xy", blocks(x, y), strict=True)), (X, y), seed=0)
    assert not examine_jacobian(g, lambda x, y: (blocks(x, y)[0], 2 * blocks(x, y)[1]), (X, y), seed=0)
    report = examine_jacobian(g, lambda x, y: (blocks(x, y)[0],) * 3, (X, y), seed=0)
    assert report.breached
    assert "must return a matrix for each argument that moves (x, y)" in " ".join(str(report).split())


def gradient(x):
    return 4 * x**3 + A.T @ A @ x


def hessian(x):
    return np.diag(12 * x**2) + A.T @ A


def test_a_right_hessian_passes_and_one_triangle_alone_is_named():
    assert check_hessian(gradient, hessian, (X,), seed=0)
    with pytest.raises(GradientError, match="the Hessian must be symmetric, but"):
        check_hessian(gradient, lambda x: np.triu(hessian(x)), (X,), seed=0)


def test_a_jacobian_need_not_be_symmetric_unless_it_is_asked_for():
    M = RNG.standard_normal((3, 3))
    assert examine_jacobian(lambda x: M @ x, lambda x: M, (X,), seed=0)
    assert not examine_jacobian(lambda x: M @ x, lambda x: M, (X,), seed=0, symmetric=True)


def test_the_objective_of_a_booster_has_a_diagonal():
    def grad(p, y):
        return 1 / (1 + np.exp(-p)) - y

    def hess(p, y):
        s = 1 / (1 + np.exp(-p))
        return s * (1 - s)

    assert check_hessian(grad, hess, (P, Y), seed=0)
    report = examine_hessian(grad, lambda p, y: 2 * hess(p, y), (P, Y), seed=0)
    assert report.arguments["p"].worst.name.startswith("dout[")
    assert "Replay: examine_hessian(grad, hessian, args, seed=0)" in str(report)


def test_arguments_may_be_given_by_name():
    assert examine_jacobian(f, jac, {"x": X}, seed=0)


def test_hints_are_withheld_where_they_are():
    report = examine_jacobian(f, spoilt, (X,), seed=0, hints="places")
    assert report.explanations == ()
    assert np.isnan(report.arguments["x"].worst.measured)


def test_a_failure_is_explained():
    report = examine_jacobian(f, lambda x: np.sin(A @ x)[:, None] * A, (X,), seed=0)
    assert [each.mistake for each in report.explanations] == ["C3"]


def test_a_jacobian_that_writes_into_its_argument_fails_and_what_was_given_stays():
    def writing(x):
        J = np.diag(2 * x)
        x[0] = 9.0
        return J

    x = X.copy()
    with pytest.raises(GradientError, match="must not write into its arguments"):
        check_jacobian(lambda x: x**2, writing, (x,), seed=0)
    assert np.array_equal(x, X)


def test_an_operator_whose_products_are_not_of_one_matrix_fails():
    def operator(x):
        J = jac(x)
        return LinearOperator(J.shape, matvec=lambda v: 2 * J @ v, rmatvec=lambda u: J.T @ u, dtype=float)

    with pytest.raises(GradientError, match="Compare matvec with rmatvec"):
        check_jacobian(f, operator, (X,), seed=0)


def test_an_operator_known_from_one_side_is_built_from_that():
    assert check_jacobian(f, lambda x: LinearOperator((5, 3), matvec=lambda v: jac(x) @ v, dtype=float), (X,), seed=0)


def test_arrays_of_jax_and_complex_ones_have_matrices_too():
    assert check_jacobian(jnp.sin, lambda x: jnp.diag(jnp.cos(x)), (jnp.asarray(X),), seed=0)
    assert check_jacobian(lambda x: np.exp(1j * x), lambda x: np.diag(1j * np.exp(1j * x)), (X,), seed=0)
    z = X + 1j
    assert check_jacobian(np.exp, lambda z: np.diag(np.exp(z)), (z,), seed=0)
    assert not examine_jacobian(np.exp, lambda z: np.diag(np.exp(z).conj()), (z,), seed=0)


def test_an_argument_that_is_a_container_has_a_block_for_each_of_its_arrays():
    def product(p):
        return p["a"] * p["b"]

    p = {"a": X, "b": X + 1}
    assert check_jacobian(product, lambda p: {"a": np.diag(p["b"]), "b": np.diag(p["a"])}, (p,), seed=0)
    report = examine_jacobian(product, lambda p: {"p": {"a": np.diag(p["b"]), "b": np.diag(p["b"])}}, (p,), seed=0)
    assert [str(finding.verdict) for finding in report.arguments.values()] == ["pass", "fail"]


def test_partials_without_any_of_an_argument_are_zero():
    assert check_jacobian(lambda x, y: {"o": 2 * x}, lambda x, y: {("o", "x"): 2 * np.eye(3)}, (X, X), seed=0, wrt="x")


@pytest.mark.parametrize("key", [("nothing", "x"), ("f", "nothing")])
def test_partials_that_name_nothing_are_refused(key):
    def named(x, y):
        return partials(x, y) | {key: np.eye(3)}

    with pytest.raises(ContractError, match="nothing"):
        check_jacobian(outputs, named, (X, X[::-1].copy()), seed=0)


def test_a_function_given_for_the_gradient_of_a_hessian_is_refused():
    with pytest.raises(
        TypeError, match="must return the gradient, which the Hessian is the Jacobian of, but it returned"
    ):
        check_hessian(lambda x: np.sum(x**3), lambda x: np.diag(6 * x), (np.arange(1.0, 4.0),), seed=0)


def test_a_rule_of_another_kind_given_for_a_jacobian_is_refused():
    with pytest.raises(TypeError, match="must accept the 1 arguments in args, but its signature does not"):
        check_jacobian(np.sin, lambda dout, cache: dout * np.cos(cache), (np.arange(3.0),), seed=0)


def test_a_hessian_in_float32_that_is_symmetric_but_for_rounding_passes():
    C = RNG.standard_normal((30, 8))

    def gradient(x):
        return C.astype(x.dtype).T @ np.tanh(C.astype(x.dtype) @ x)

    def hessian(x):
        return (C.T * (1 - np.tanh(C @ x) ** 2)).astype(np.float32) @ C.astype(np.float32)

    assert check_hessian(gradient, hessian, (RNG.standard_normal(8).astype(np.float32),), seed=0)


def test_an_operator_that_computes_in_float32_is_of_one_matrix():
    single = A.astype(np.float32)

    def operator(x):
        products = {"matvec": lambda v: single @ v.astype("f4"), "rmatvec": lambda u: single.T @ u.astype("f4")}
        return LinearOperator(A.shape, dtype="f4", **products)

    assert check_jacobian(lambda x: single.astype(x.dtype) @ x, operator, (X.astype(np.float32),), seed=0)


def test_a_large_sparse_hessian_is_never_made_dense():
    n = 5000
    H = scipy.sparse.diags([np.full(n, 2.0), np.full(n - 1, -1.0), np.full(n - 1, -1.0)], [0, 1, -1]).tocsr()
    x = RNG.standard_normal(n)
    tracemalloc.start()
    assert check_hessian(lambda x: H @ x, lambda x: H, (x,), seed=0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < n * n  # bytes; dense it has eight times as many
    upper = scipy.sparse.triu(H).tocsr()
    with pytest.raises(GradientError, match="the Hessian must be symmetric"):
        check_hessian(lambda x: H @ x, lambda x: upper, (x,), seed=0)


def test_an_argument_that_does_not_move_may_be_anything():
    y = np.array([1.0, np.nan, 0.0])
    assert check_hessian(lambda p, y: p**3, lambda p, y: 3 * p**2, (X, y), seed=0)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda x, y: {"f": (np.diag(y), np.diag(x))}, "must return the blocks of each output, but there are none for"),
        (lambda x, y: {"f": {"x": {"a": np.eye(3)}}, "g": {}}, r"must return blocks of what moves \(x, y\)"),
    ],
)
def test_blocks_that_are_missing_or_too_many_are_refused(returned, said):
    with pytest.raises(ContractError, match=said):
        check_jacobian(outputs, returned, (X, X[::-1].copy()), seed=0)


def never(*_):
    time.sleep(60)


@pytest.mark.parametrize(("function", "matrix"), [(f, never), (never, lambda x: np.cos(A @ x)[:, None] * A)])
def test_a_call_that_does_not_return_in_time_is_undecided(function, matrix):
    report = examine_jacobian(function, matrix, (X,), timeout=0.05, seed=0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "never did not return within 0.05 s" in str(report)


def test_a_call_for_the_entries_that_does_not_return_in_time_is_undecided():
    calls = []

    def late(x):
        calls.append(1)
        if len(calls) > given:
            time.sleep(60)
        return 1.1 * np.cos(A @ x)[:, None] * A

    given = float("inf")
    assert examine_jacobian(f, late, (X,), seed=0).verdict is Verdict.FAIL
    given = len(calls) - 1
    calls.clear()
    assert examine_jacobian(f, late, (X,), timeout=0.3, seed=0).verdict is Verdict.INCONCLUSIVE
