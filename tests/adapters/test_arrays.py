"""Complex arrays, and arrays of other libraries, as a check takes them and hands them on."""

import array_api_strict as xp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import GradientError, OracleError, Verdict, check_backward, complex_step, examine_backward
from gradcheck.adapters.arrays import at_home, is_foreign, taken

RNG = np.random.default_rng(0)
Z = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
W = RNG.standard_normal((4, 2)) + 1j * RNG.standard_normal((4, 2))
X = RNG.standard_normal((3, 4))


def product_forward(z, w):
    return z @ w, (z, w)


def product_backward(dout, cache):
    z, w = cache
    return dout @ w.conj().T, z.conj().T @ dout


@pytest.mark.parametrize("leaf", [Z, np.complex128(1j), jnp.ones(2), xp.ones(2), xp.ones(2, dtype=xp.complex128)])
def test_complex_arrays_and_those_of_other_libraries_are_foreign(leaf):
    assert is_foreign((leaf,))


@pytest.mark.parametrize("leaf", [X, np.float32(1), 1.0, 1j, "text", None, jax.random.key(0)])
def test_real_arrays_of_numpy_and_what_is_no_array_are_at_home(leaf):
    assert not is_foreign((leaf,))


def test_a_complex_array_is_taken_as_its_two_parts():
    parts = taken({"z": Z})["z"]
    assert np.array_equal(parts.real, Z.real)
    assert np.array_equal(parts.imag, Z.imag)
    assert np.array_equal(taken(Z, conjugated=True).imag, -Z.imag)


def test_the_function_is_called_with_what_it_was_given():
    seen = []

    def forward(z, x, n):
        seen.append((z, x, n))
        return z.sum(), None

    home = at_home(forward, lambda dout, cache: None, (Z.astype(np.complex64), xp.asarray(X, dtype=xp.float32), 3))
    home.pair()[0](*home.args)
    (z, x, n) = seen[0]
    assert z.dtype == np.complex64
    assert np.array_equal(z, Z.astype(np.complex64))
    assert (type(x), x.dtype) == (type(xp.ones(1)), xp.float32)
    assert n == 3


def test_a_right_gradient_of_complex_arrays_passes_under_their_names():
    report = check_backward(product_forward, product_backward, (Z, W), seed=0)
    assert list(report.arguments) == ["z", "w"]
    assert report.arguments["z"].shape == Z.shape
    assert report.convention == "∂L/∂Re z + i ∂L/∂Im z"
    assert "gradients ∂L/∂Re z + i ∂L/∂Im" in str(report)


def test_an_output_may_be_complex_where_no_argument_is():
    def forward(x):
        return np.fft.rfft(x), len(x)

    def backward(dout, n):
        weights = np.ones(len(dout))
        weights[1:-1] = 0.5
        return np.fft.irfft(dout * weights, n) * n

    report = check_backward(forward, backward, (X[0],), seed=0)
    assert report.convention
    assert not examine_backward(forward, lambda dout, n: backward(dout.conj(), n), (X[0],), seed=0)


@pytest.mark.parametrize(
    ("f", "gradient"),
    [
        (np.exp, lambda d, z: d * np.exp(z).conj()),
        (np.conj, lambda d, z: d.conj()),
        (np.abs, lambda d, z: d * z / np.abs(z)),
        (lambda z: z.real * z.imag, lambda d, z: d * (z.imag + 1j * z.real)),
        (lambda z: (np.abs(z) ** 2).sum(), lambda d, z: 2 * d * z),
        (lambda z: z * np.abs(z) ** 2, lambda d, z: 2 * np.abs(z) ** 2 * d + z**2 * d.conj()),
    ],
    ids=["exp", "conj", "abs", "re·im", "norm", "z|z|²"],
)
def test_functions_that_are_holomorphic_and_others_pass_and_fail(f, gradient):
    assert examine_backward(lambda z: (f(z), z), gradient, (Z,), seed=0)
    wrong = examine_backward(lambda z: (f(z), z), lambda d, z: gradient(d, z) * np.exp(1e-3j), (Z,), seed=0)
    assert wrong.verdict is Verdict.FAIL


def test_the_convention_of_jax_is_that_of_conjugates():
    def backward(dout, cache):
        z, w = cache
        return dout @ w.T, z.T @ dout

    report = check_backward(product_forward, backward, (Z, W), seed=0, convention="jax")
    assert report.convention == "∂L/∂Re z − i ∂L/∂Im z"
    assert not examine_backward(product_forward, product_backward, (Z, W), seed=0, convention="jax")


def test_a_convention_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="convention must be 'pytorch' or 'jax', but it is 'numpy'"):
        check_backward(product_forward, product_backward, (Z, W), convention="numpy")


def test_a_real_gradient_of_a_complex_array_breaks_its_contract():
    report = examine_backward(lambda z: ((np.abs(z) ** 2).sum(), z), lambda d, z: 2 * d * np.abs(z), (Z,), seed=0)
    assert report.breached
    assert "must return dz.real in a ComplexArray like z" in str(report)


def test_a_complex_gradient_of_a_real_array_breaks_its_contract():
    report = examine_backward(
        lambda x: (np.exp(1j * x), x), lambda d, x: d * (1j * np.exp(1j * x)).conj(), (X,), seed=0
    )
    assert report.breached
    assert "must return dx as a float array, but returned a ComplexArray" in str(report)


def test_hermitian_matrices_have_the_gradient_of_their_entries():
    hermitian = Z[:3, :3] @ Z[:3, :3].conj().T + np.eye(3)

    def forward(a):
        return np.linalg.slogdet(a)[1], a

    assert examine_backward(forward, lambda d, a: d * np.linalg.inv(a).conj().T, (hermitian,), seed=0)
    assert not examine_backward(forward, lambda d, a: d * np.linalg.inv(a).T, (hermitian,), seed=0)


def test_the_complex_step_refuses_complex_arguments():
    with pytest.raises(OracleError, match="an array of complex128 must be moved by real numbers"):
        check_backward(product_forward, product_backward, (Z, W), oracle=complex_step)


def test_a_reference_takes_complex_arguments_too():
    report = check_backward(product_forward, product_backward, (Z, W), reference=lambda z, w: z @ w, seed=0)
    assert report.oracles == ("central_difference", "autodiff")
    assert not examine_backward(
        product_forward, lambda d, c: (product_backward(d, c)[0], 2j * c[0].T @ d), (Z, W), reference=jnp.matmul
    )


def test_what_is_written_into_a_complex_argument_or_its_cotangent_is_seen():
    def spoiling(z):
        y = z * z
        z *= 2
        return y, z / 2

    with pytest.raises(GradientError, match="must not write into its arguments"):
        check_backward(spoiling, lambda d, z: 2 * d * z.conj(), (Z,), seed=0)

    def backward(dout, z):
        dout *= 2 * z.conj()
        return dout

    with pytest.raises(GradientError, match="must not write into the cotangent"):
        check_backward(lambda z: (z * z, z), backward, (Z,), seed=0)


@pytest.mark.parametrize("dtype", [xp.float64, xp.float32])
def test_arrays_of_the_standard_go_straight_into_a_check(dtype):
    def forward(x):
        assert x.dtype == dtype
        return xp.sum(x * x, axis=0), x

    def backward(dout, x):
        assert dout.dtype == dtype
        return 2 * x * dout

    x = xp.asarray(X, dtype=dtype)
    assert examine_backward(forward, backward, (x,), seed=0)
    assert not examine_backward(forward, lambda dout, x: 3 * x * dout, (x,), seed=0)


def test_arrays_of_jax_keep_their_precision():
    with jax.enable_x64(True):
        x = jnp.asarray(X)
    for given in (x, x.astype(jnp.float32)):
        seen = set()

        def forward(x, seen=seen):
            seen.add(x.dtype.name)
            return jnp.sin(x), x

        assert examine_backward(forward, lambda d, x: d * jnp.cos(x), (given,), seed=0)
        assert seen == {given.dtype.name}


def test_the_same_seed_gives_the_same_report_of_complex_arrays():
    one, other = (examine_backward(product_forward, product_backward, (Z, W), seed=3) for _ in range(2))
    assert one.to_dict() == other.to_dict()
