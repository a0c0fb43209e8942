"""Every δ of every network is the gradient of the rest of the network, and a mistake in it is found where it is."""

from operator import attrgetter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import derivations
from derivations.deltas import DELTAS, deltas_of
from gradcheck import Verdict, autodiff, central_difference, check_backward, complex_step, examine_backward
from gradcheck.strategies import cases, seeds
from gradcheck.verdict import locate
from tests.mutants import CHOICES, with_mistake
from tests.mutants.deltas import DELTA_MISTAKES

NETWORKS = {f"{derivation.name}_deltas": derivation for derivation in derivations.ALL}
every_network = pytest.mark.parametrize("record", DELTAS, ids=attrgetter("name"))


def generic_args(record):
    rng = np.random.default_rng(0)
    name = NETWORKS[record.name].name
    choices = {"N": 2} if name == "lenet5" else CHOICES.get(name, {})
    return record.args(rng, **record.draw(rng, generic=True) | choices)


def assert_passes(record, args, oracle, seed):
    check_backward(record.forward, record.backward, args, oracle=oracle, wrt=record.wrt, seed=seed)


# -- against the oracles


@every_network
@pytest.mark.parametrize("oracle", [central_difference, complex_step], ids=attrgetter("__name__"))
@given(data=st.data())
def test_every_delta_is_the_gradient_of_the_rest_of_the_network(record, oracle, data):
    case = data.draw(cases(record), label="case")
    assert_passes(record, case.args, oracle, case.seed)


@every_network
@given(data=st.data())
def test_every_delta_passes_against_autodiff_at_two_structures_and_many_values(record, data):
    least, most = ({name: values[i] for name, values in record.structure.items()} for i in (0, -1))
    structure = data.draw(st.sampled_from([least, most]), label="structure")
    seed = data.draw(seeds(), label="seed")
    args = record.args(np.random.default_rng(seed), **structure)
    assert_passes(record, args, autodiff(record.reference), seed)


@pytest.mark.parametrize("record", [record for record in DELTAS if record.real], ids=attrgetter("name"))
def test_every_delta_passes_on_real_input(record):
    for oracle in (central_difference, complex_step, autodiff(record.reference)):
        assert_passes(record, record.real(), oracle, 0)


# -- what is judged is the network itself


def test_every_network_has_its_deltas():
    assert {record.name for record in DELTAS} == {
        f"{name}_deltas" for name in ("mlp", "mlp_one_hidden", "lenet5", "rnn", "rnn_columns")
    }


def assert_same(array, expected):
    """Assert equality but for the order of a sum: adding an η of zeros may lay an array out anew in memory."""
    np.testing.assert_allclose(array, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


@every_network
@given(data=st.data())
def test_with_nothing_injected_it_is_the_network_itself(record, data):
    network = NETWORKS[record.name]
    case = data.draw(cases(record), label="case")
    eta, *primals = case.args
    assert not any(np.any(each) for each in eta.values())
    out, cache = record.forward(eta, *primals)
    own_out, own_cache = network.forward(*primals)
    assert_same(out, own_out)
    cotangent = np.random.default_rng(case.seed).standard_normal(np.shape(out))[()]
    deltas, own_deltas = record.backward(cotangent, cache), deltas_of(network.backward)(cotangent, own_cache)
    assert deltas.keys() == own_deltas.keys() == eta.keys()
    for name, delta in deltas.items():
        assert_same(delta, own_deltas[name])


@every_network
def test_an_injected_perturbation_is_felt_at_every_place(record):
    eta, *primals = generic_args(record)
    out, _ = record.forward(eta, *primals)
    rng = np.random.default_rng(0)
    for name in eta:
        moved, _ = record.forward(eta | {name: 1e-3 * rng.standard_normal(eta[name].shape)}, *primals)
        assert np.any(moved != out), name


# -- planted mistakes


@pytest.mark.parametrize(
    ("record", "mistake"),
    [
        pytest.param(record, mistake, id=f"{record.name}-{mistake.name.replace(' ', '-')}")
        for record in DELTAS
        for mistake in DELTA_MISTAKES[NETWORKS[record.name].name]
    ],
)
def test_a_mistake_in_a_delta_fails_and_names_the_deltas_that_it_makes_wrong(record, mistake, monkeypatch):
    monkeypatch.setattr(locate, "BUDGET", 1)
    args = generic_args(record)
    wrong = deltas_of(with_mistake(NETWORKS[record.name].backward, mistake))
    for oracle in (central_difference, complex_step, autodiff(record.reference)):
        report = examine_backward(record.forward, wrong, args, oracle=oracle, wrt=record.wrt, seed=0)
        failed = {path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL}
        assert report.verdict is Verdict.FAIL, str(report)
        assert failed == {path for path in report.arguments if mistake.infects(path)}, str(report)


@every_network
def test_every_delta_is_made_wrong_by_some_mistake(record):
    row = DELTA_MISTAKES[NETWORKS[record.name].name]
    assert len({mistake.name for mistake in row}) == len(row)
    largest = {key: values[-1] for key, values in record.structure.items()}
    eta, *_ = record.args(np.random.default_rng(0), **largest)
    for name in eta:
        assert any(mistake.infects(f"eta[{name!r}]") for mistake in row), name
