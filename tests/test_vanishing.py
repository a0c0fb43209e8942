"""What the spectrum of the recurrent matrix says of ∂h_t/∂h_k, and what it does not say."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from derivations.activations import ACTIVATIONS
from derivations.rnn_columns import RNN_COLUMNS
from derivations.vanishing import STEEPEST, bounds, counterexamples, main, norms, run, spectra

SPECTRA = spectra(np.random.default_rng(0))
NOT_NORMAL, NILPOTENT, TWICE_ORTHOGONAL = counterexamples()


def str_of(case):
    return f"{case.activation}-{case.radius:.1f}"


every_activation = pytest.mark.parametrize("activation", STEEPEST)


@every_activation
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 1.0, 4.0]))
def test_no_norm_exceeds_the_bound_of_the_largest_singular_value_and_slope(activation, seed, scale):
    rng = np.random.default_rng(seed)
    U = scale * rng.standard_normal((5, 5))
    z = run(U, 3 * rng.standard_normal((12, 5)), activation)
    assert np.all(norms(U, z, activation) <= bounds(U, activation, 12) * (1 + 1e-12))


@pytest.mark.parametrize("case", [case for case in SPECTRA if case.name == "steepest"], ids=str_of)
def test_an_orthogonal_matrix_attains_the_bound_where_f_is_steepest(case):
    np.testing.assert_allclose(case.norms, case.bounds, rtol=1e-12)


@every_activation
def test_no_slope_is_larger_than_the_steepest_one(activation):
    forward, backward = ACTIVATIONS[activation]
    z = np.linspace(-5, 5, 1001)
    slopes = backward(np.ones_like(z), forward(z)[1])
    where, slope = STEEPEST[activation]
    assert slopes.max() == pytest.approx(slope, abs=1e-12)
    assert backward(np.ones(1), forward(np.array([where]))[1]) == pytest.approx(slope)


@every_activation
def test_a_norm_is_that_of_the_network_s_own_jacobian(activation):
    rng = np.random.default_rng(1)
    U, inputs, e = rng.standard_normal((3, 3)), rng.standard_normal((6, 3)), np.eye(3)
    z = run(U, inputs, activation)
    states, cache = RNN_COLUMNS.forward(
        inputs[:, :, None], np.zeros((3, 1)), U, np.eye(3), np.zeros(3), activation, "identity"
    )
    np.testing.assert_allclose(states[:, :, 0], ACTIVATIONS[activation][0](z)[0], atol=1e-15)
    rows = []
    for row in e:  # the gradient of one unit of h_T with respect to h_0
        cotangent = np.zeros((6, 3, 1))
        cotangent[-1, :, 0] = row
        rows.append(RNN_COLUMNS.backward(cotangent, cache)[1][:, 0])
    assert norms(U, z, activation)[-1] == pytest.approx(np.linalg.norm(rows, 2), rel=1e-12)


def test_an_eigenvalue_above_one_vanishes_all_the_same():
    assert TWICE_ORTHOGONAL.activation == "sigmoid"
    assert TWICE_ORTHOGONAL.radius == pytest.approx(2)
    np.testing.assert_allclose(TWICE_ORTHOGONAL.norms, 0.5 ** np.arange(41), rtol=1e-12)
    driven = {(case.activation, round(case.radius, 1)): case.norms for case in SPECTRA if case.name == "driven"}
    for activation in ("tanh", "relu"):
        assert driven[activation, 1.1][-1] < 1e-4
    assert driven["sigmoid", 6.0][-1] < 1e-2  # where even the bound grows


def test_eigenvalues_below_one_grow_first_if_the_matrix_is_not_normal():
    measured = NOT_NORMAL.norms
    assert NOT_NORMAL.radius == pytest.approx(0.5)
    assert np.all(np.diff(measured[:12]) > 0)
    assert measured.max() > 1000
    assert measured[-1] < 1


def test_a_matrix_whose_eigenvalues_are_all_zero_grows_for_ever_under_a_sigmoid():
    assert NILPOTENT.radius < 1e-6
    np.testing.assert_array_equal(NILPOTENT.U @ NILPOTENT.U, 0)
    sigmoid_at_4 = 1 / (1 + np.exp(-4))
    rate = 12 * (1 / 4 - sigmoid_at_4 * (1 - sigmoid_at_4))
    assert rate > 2.7
    np.testing.assert_allclose(NILPOTENT.norms[2:] / NILPOTENT.norms[1:-1], rate, rtol=1e-10)


def test_the_printed_claim_fails_for_some_cases_of_each_activation_and_holds_for_others():
    for activation in STEEPEST:
        assert {case.claim_holds for case in SPECTRA if case.activation == activation} == {True, False}
    assert [case.claim_holds for case in (NOT_NORMAL, NILPOTENT, TWICE_ORTHOGONAL)] == [True, False, False]


def test_the_command_prints_the_table_and_makes_the_picture(tmp_path, capsys):
    picture = tmp_path / "vanishing.png"
    main(["--picture", str(picture)])
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[-2:] == ["largest", "claim"]
    assert len(rows) == len(SPECTRA) + 3
    assert " ".join(rows[-1].split()) == (
        "sigmoid twice orthogonal 2.00 2.00 0.50 5.0e-01 9.8e-04 9.1e-13 1.0e+00 FAILS"
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
