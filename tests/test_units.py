"""Error signals on any acyclic network: the cases written out by hand, the matrix form, JAX, and the update."""

from itertools import pairwise

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given

from derivations.mlp import MLP, mlp_backward, mlp_forward
from derivations.units import UNITS, units_args, units_backward, units_forward, units_reference, weight_update
from derivations.units_cases import (
    one_path_backward,
    one_path_forward,
    several_inputs_backward,
    several_inputs_forward,
    several_outputs_backward,
    several_outputs_forward,
)
from gradcheck import GradientError, central_difference, check_backward, complex_step
from gradcheck.strategies import points
from tests.mutants import MISTAKES, with_mistake

ACTIVE = ("identity", "sigmoid", "tanh")
MOVING = ("x", "w")
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def settings_of_networks(draw):
    """Draw how many samples and inputs there are, the activations and the outputs."""
    N, I, units = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    f = draw(st.lists(st.sampled_from(ACTIVE), min_size=units, max_size=units), label="f")
    outputs = draw(st.sets(st.integers(I, I + units - 1), min_size=1), label="outputs")
    return N, I, ("identity",) * I + tuple(f), tuple(sorted(outputs))


@st.composite
def networks(draw, settings=settings_of_networks()):  # noqa: B008  (a strategy is a description, and is not changed)
    """Draw a network, its links, and a seed, from which the numbers come."""
    N, I, f, outputs = draw(settings)
    K = len(f)
    T = np.zeros((K, K), dtype=bool)
    for j in range(I, K):
        T[sorted(draw(st.sets(st.integers(0, j - 1), min_size=1), label=f"ins({j})")), j] = True
    rng = np.random.default_rng(draw(SEEDS, label="seed"))
    x, w, y = (rng.standard_normal(shape) for shape in ((N, I), (K, K), (N, len(outputs))))
    return x, w / np.sqrt(np.maximum(T.sum(axis=0), 1)), y, T, f, outputs


def table(K, *links):
    T = np.zeros((K, K), dtype=bool)
    T[tuple(np.transpose(links))] = True
    return T


def weights(K, links, values):
    w = np.zeros((K, K))
    w[tuple(np.transpose(links))] = values
    return w


def with_probes(args):
    """Return a network in which every unit after the inputs has one more link of weight 1, from an input that is 0."""
    x, w, y, T, f, outputs = args
    (N, I), K = x.shape, len(T)
    U = K - I
    wide_T, wide_w = np.zeros((K + U, K + U), dtype=bool), np.zeros((K + U, K + U))
    wide_T[U:, U:], wide_w[U:, U:] = T, w
    wide_T[range(U), range(K, K + U)], wide_w[range(U), range(K, K + U)] = True, 1
    return np.hstack([np.zeros((N, U)), x]), wide_w, y, wide_T, ("identity",) * U + f, tuple(o + U for o in outputs)


def signals(args):
    """Return δ of every unit after the inputs for every sample, for which each sample's error counts by itself."""
    (N, I), K = args[0].shape, len(args[3])
    _, cache = units_forward(*with_probes(args))
    dx, _ = units_backward(np.float64(N), cache)
    return dx[:, : K - I]


def sample(args, n):
    x, w, y, *network = args
    return x[n : n + 1], w, y[n : n + 1], *network


def assert_close(got, expected, rtol=1e-12):
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * np.abs(expected).max(initial=1e-3))


# -- against JAX and the check


# Each is compiled, once for all links. The first output may have successors.
COMPILED = (
    (1, 1, ("identity", "tanh", "sigmoid"), (1, 2)),
    (3, 2, ("identity", "identity", "tanh", "sigmoid", "identity", "tanh", "sigmoid", "tanh"), (5, 7)),
    (2, 3, ("identity",) * 3 + ("sigmoid", "tanh") * 3, (8,)),
)
value_and_grad = jax.jit(jax.value_and_grad(units_reference, argnums=(0, 1)), static_argnums=(4, 5))


@given(args=networks(st.sampled_from(COMPILED)))
def test_the_recursion_equals_jax_on_random_networks(args):
    E, cache = units_forward(*args)
    with jax.enable_x64(True):
        primal, expected = value_and_grad(*map(jnp.asarray, args[:4]), *args[4:])
        primal, expected = float(primal), [np.asarray(each) for each in expected]
    assert_close(E, primal)
    for got, wanted in zip(units_backward(np.float64(1), cache), expected, strict=True):
        assert_close(got, wanted)


@given(args=networks(), seed=SEEDS)
def test_the_recursion_passes_the_check_on_random_networks(args, seed):
    assume(min(np.abs(g).max() for g in units_backward(np.float64(1), units_forward(*args)[1])) > 1e-6)
    oracle = (central_difference, complex_step)
    check_backward(units_forward, units_backward, args, oracle=oracle, wrt=MOVING, seed=seed)


@given(args=networks())
def test_one_successor_left_out_is_found(args):
    forgetful = with_mistake(units_backward, next(m for m in MISTAKES["units"] if m.name == "one successor left out"))
    _, cache = units_forward(*args)
    right, wrong = (np.concatenate([g.ravel() for g in b(np.float64(1), cache)]) for b in (units_backward, forgetful))
    assume(np.linalg.norm(right - wrong) > 1e-3 * np.linalg.norm(right))
    with pytest.raises(GradientError):
        check_backward(units_forward, forgetful, args, wrt=MOVING, seed=0)


@given(args=networks(), seed=SEEDS)
def test_an_error_signal_is_the_derivative_by_what_is_added_to_the_sum_of_its_unit(args, seed):
    assume(np.abs(signals(args)).max() > 1e-6)
    wide = with_probes(args)
    assert_close(units_forward(*wide)[0], units_forward(*args)[0])
    check_backward(
        units_forward, units_backward, wide, oracle=(central_difference, complex_step), wrt=MOVING, seed=seed
    )


def test_relu_units_pass():
    *numbers, T, _, outputs = units_args(np.random.default_rng(0), N=5, I=3, H=7, O=2, network="another")
    args = (*numbers, T, ("relu",) * len(T), outputs)
    check_backward(units_forward, units_backward, args, reference=units_reference, wrt=MOVING, seed=0)


# -- the document's cases


def draw_numbers(seed, count):
    return np.random.default_rng(seed).standard_normal(count)


CASES = {
    "one path": (one_path_forward, one_path_backward, 3, 0.7),
    "several inputs": (several_inputs_forward, several_inputs_backward, 3, (0.7, -0.4)),
    "several outputs": (several_outputs_forward, several_outputs_backward, 5, 0.7),
}


@pytest.mark.parametrize("case", CASES)
@given(seed=SEEDS)
def test_a_case_as_printed_passes_the_check(case, seed):
    forward, backward, count, x = CASES[case]
    args = draw_numbers(seed, count), x, 1.5
    check_backward(forward, backward, args, oracle=(central_difference, complex_step), wrt=("w",), seed=seed)


# Units in order, links in the order of the case's weights; what has no number in the case is an input.
NETWORKS = {
    "one path": (4, ((0, 1), (1, 2), (2, 3)), 1),
    "several inputs": (4, ((0, 2), (1, 2), (2, 3)), 2),
    "several outputs": (5, ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4)), 1),
}


@pytest.mark.parametrize("case", CASES)
@given(seed=SEEDS)
def test_the_recursion_equals_the_case_as_printed(case, seed):
    forward, backward, count, x = CASES[case]
    K, links, I = NETWORKS[case]
    values = draw_numbers(seed, count)
    E, cache = forward(values, x, 1.5)
    f = ("identity",) * I + ("sigmoid",) * (K - I - 1) + ("identity",)
    network = np.atleast_2d(x), weights(K, links, values), np.array([[1.5]]), table(K, *links), f, (K - 1,)
    network_E, network_cache = units_forward(*network)
    _, dw = units_backward(np.float64(1), network_cache)
    assert_close(network_E, E)
    assert_close(dw[tuple(np.transpose(links))], backward(1.0, cache))


@given(seed=SEEDS)
def test_the_error_signals_of_the_network_with_several_outputs_are_those_listed(seed):
    K, links, _ = NETWORKS["several outputs"]
    values = draw_numbers(seed, 5)
    _, w_ij, w_ik, w_jo, w_ko = values
    f = ("identity", "sigmoid", "sigmoid", "sigmoid", "identity")
    args = np.array([[0.7]]), weights(K, links, values), np.array([[1.5]]), table(K, *links), f, (4,)
    _, (z, *_) = units_forward(*args)
    z_i, z_j, z_k, y_hat = z[0, 1:]
    delta_o = y_hat - 1.5
    delta_k, delta_j = delta_o * w_ko * z_k * (1 - z_k), delta_o * w_jo * z_j * (1 - z_j)
    delta_i = z_i * (1 - z_i) * (delta_j * w_ij + delta_k * w_ik)
    assert_close(signals(args), [[delta_i, delta_j, delta_k, delta_o]])


def either_or(args):
    """Return dw by the three steps as printed: an output unit has its difference alone, whatever follows it."""
    x, w, y, T, f, outputs = args
    _, (z, *_) = units_forward(*args)
    slopes = {"identity": np.ones_like, "sigmoid": lambda z: z * (1 - z), "tanh": lambda z: 1 - z * z}
    delta = np.zeros_like(z)
    for j in reversed(range(x.shape[1], len(T))):
        slope = slopes[f[j]](z[:, j])
        if j in outputs:
            delta[:, j] = slope * (z[:, j] - y[:, outputs.index(j)])
        else:
            delta[:, j] = slope * sum(delta[:, k] * w[j, k] for k in np.flatnonzero(T[j]))
    return np.where(T, sum(np.outer(z_n, delta_n) for z_n, delta_n in zip(z, delta, strict=True)), 0) / len(x)


@given(args=networks())
def test_the_three_steps_as_printed_hold_where_no_output_has_successors(args):
    x, w, _, T, f, _ = args
    outputs = tuple(int(j) for j in np.flatnonzero(~T.any(axis=1)) if j >= x.shape[1])
    args = x, w, np.full((len(x), len(outputs)), 0.6), T, f, outputs
    _, cache = units_forward(*args)
    _, dw = units_backward(np.float64(1), cache)
    assert_close(either_or(args), dw)


def test_the_three_steps_as_printed_fail_where_an_output_feeds_another_unit():
    x, w, y = (draw_numbers(seed, shape) for seed, shape in enumerate(((2, 1), (3, 3), (2, 2))))
    args = x, w, y, table(3, (0, 1), (1, 2)), ("identity", "tanh", "tanh"), (1, 2)
    _, cache = units_forward(*args)
    _, dw = units_backward(np.float64(1), cache)
    assert np.abs(either_or(args) - dw)[0, 1] > 0.01 * np.abs(dw[0, 1])
    with pytest.raises(GradientError):
        check_backward(units_forward, lambda dE, _: dE * either_or(args), args, wrt=("w",), seed=0)


# -- the matrix form


def as_units(X, layers, activation):
    """Return the perceptron as a network of units: input 0 is 1 and brings the biases."""
    widths = [X.shape[1], *(len(b) for _, b in layers)]
    starts = 1 + np.cumsum([0, *widths])
    K = int(starts[-1])
    w, T = np.zeros((K, K)), np.zeros((K, K), dtype=bool)
    for (W, b), (start, middle), stop in zip(layers, pairwise(starts), starts[2:], strict=False):
        w[start:middle, middle:stop], w[0, middle:stop] = W, b
        T[start:middle, middle:stop] = T[0, middle:stop] = True
    f = ("identity",) * int(starts[1]) + (activation,) * (K - int(starts[1]))
    return np.hstack([np.ones((len(X), 1)), X]), w, T, f, tuple(range(int(starts[-2]), K)), starts


@given(args=points(MLP))
def test_on_layers_the_recursion_is_the_matrix_form(args):
    X, layers, target, activation, _ = MLP.spec.point({**args.sizes, "loss": "squared"}, args.seed)
    C, cache = mlp_forward(X, layers, target, activation, "squared")
    dX, dlayers = mlp_backward(np.float64(1.7), cache)
    x, w, T, f, outputs, starts = as_units(X, layers, activation)
    E, cache = units_forward(x, w, target, T, f, outputs)
    dx, dw = units_backward(np.float64(1.7), cache)
    assert_close(E, C)
    assert_close(dx[:, 1:], dX)
    for l, (dW, db) in enumerate(dlayers):
        start, middle, stop = starts[l : l + 3]
        assert_close(dw[start:middle, middle:stop], dW)
        assert_close(dw[0, middle:stop], db)


# -- batches and updates


@given(args=networks())
def test_the_gradient_of_a_batch_is_the_mean_of_the_gradients_of_its_samples(args):
    _, cache = units_forward(*args)
    dx, dw = units_backward(np.float64(1), cache)
    N = len(dx)
    each = [units_backward(np.float64(1), units_forward(*sample(args, n))[1]) for n in range(N)]
    assert_close(dw, sum(dw_n for _, dw_n in each) / N)
    assert_close(dx, np.concatenate([dx_n for dx_n, _ in each]) / N)


@given(args=networks())
def test_the_update_is_minus_eta_over_n_times_the_sum_of_signal_times_output(args):
    x, _, _, T, *_ = args
    (N, I), eta = x.shape, 0.3
    expected = np.zeros(T.shape)
    for i, j in np.argwhere(T):
        for n in range(N):
            _, (z, *_) = units_forward(*sample(args, n))
            expected[i, j] -= eta / N * signals(sample(args, n))[0, j - I] * z[0, i]
    assert_close(weight_update(eta, units_forward(*args)[1]), expected)


@given(args=networks())
def test_the_error_falls_along_the_update_as_fast_as_the_gradient_is_long(args):
    x, w, *rest = args
    _, cache = units_forward(*args)
    _, dw = units_backward(np.float64(1), cache)
    assume(np.linalg.norm(dw) > 1e-3)
    step = weight_update(1.0, cache)

    def along(t):
        return units_forward(x, w + t[0] * step, *rest)[0], None

    check_backward(along, lambda dE, _: -dE * np.array([(dw * dw).sum()]), (np.zeros(1),), seed=0)


def test_weights_without_a_link_stay():
    x, w, y, T, f, outputs = units_args(np.random.default_rng(0), N=5, I=3, H=4, O=2, network="chained")
    step = weight_update(0.1, units_forward(x, w, y, T, f, outputs)[1])
    assert not step[~T].any()
    assert step[T].all()


def test_the_networks_of_the_record_hold_a_unit_with_two_successors_and_an_output_with_one():
    for network in UNITS.spec.choices["network"]:
        *_, T, _, _ = units_args(np.random.default_rng(0), N=1, I=3, H=7, O=2, network=network)
        assert (T.sum(axis=1) > 1).any()
    *_, T, _, outputs = units_args(np.random.default_rng(0), N=1, I=3, H=4, O=2, network="chained")
    assert T[outputs[0], outputs[1]]
