import numpy as np
import pytest

from benchmarks import rules, rules_peers, rules_truth
from benchmarks.rules_case import CASES, GENERIC, Case

FEW = [
    ("pushforward", "recurrent network"),
    ("hessian", "Gaussian process log likelihood"),
    ("product", "chain of springs"),
    ("double", "softmax"),
    ("jacobian", "partials of a wing, in the manner of OpenMDAO"),
    ("complex", "phase retrieval"),
    ("complex", "fft, jax"),
    ("meant", "gradient on a sphere"),
]


def case_of(kind, name):
    return next(case for case in CASES if (case.kind, case.name) == (kind, name))


@pytest.mark.parametrize(("kind", "name"), FEW)
def test_a_right_rule_passes_and_its_mistakes_fail(kind, name):
    case = case_of(kind, name)
    assert rules.judged(case, 0).verdict == "pass"
    for bug in case.mistakes:
        assert rules.judged(case, 0, bug).verdict == "fail", bug


@pytest.mark.parametrize(("kind", "name"), FEW)
def test_the_truth_tells_a_right_rule_from_its_mistakes(kind, name):
    case = case_of(kind, name)
    assert max(rules_truth.errors(case, 0)) < rules.TRUE
    assert max(rules_truth.errors(case, 0, "all by 1.001")) > 1e-4
    assert max(rules_truth.errors(case, 0, case.bugs[0])) > 1e-4


def test_there_are_as_many_cases_of_each_kind_as_are_wanted():
    counts = {kind: sum(rules.group(case) == kind for case in CASES) for kind in rules.KINDS}
    assert all(counts[kind] >= least for kind, least in zip(rules.KINDS, (25, 20, 20, 25, 12), strict=True)), counts
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES)
    assert min(len(case.bugs) for case in CASES) >= 2


def test_a_mistake_that_changes_nothing_is_not_asked():
    case = case_of("pushforward", "recurrent network")
    assert all(rules.shows(case, 0, bug) for bug in case.mistakes)
    same = Case("pushforward", "the same twice", lambda _rng, _bug: (np.sin, sine, (np.ones(3),)), ("none",), tie=False)
    assert not rules.shows(same, 0, "none")


def sine(primals, tangents):
    (x,), (t,) = primals, tangents
    return np.sin(x), np.cos(x) * t


def test_the_bench_counts_what_was_said(capsys):
    assert rules.main(["--seeds", "1", "--kind", "meant", "--name", "sphere"]) == 0
    assert capsys.readouterr().out.startswith(
        "meant        right: 0 failed, 0 inconclusive, 0 raised of 1; wrong: 0 passed, 0 inconclusive, 0 raised of 6; "
    )


def test_a_wrong_verdict_is_printed_and_counted(capsys, monkeypatch):
    wrong = Case("pushforward", "a sine", lambda _rng, _bug: (np.cos, sine, (np.ones(3),)), ("not at all",), tie=False)
    monkeypatch.setattr(rules, "CASES", [wrong])
    assert rules.main(["--seeds", "1", "-v"]) == 1
    assert "FAIL         pushforward: a sine [right], seed 0\n  cos: FAIL" in capsys.readouterr().out


def test_a_rule_that_raises_is_counted_apart(capsys, monkeypatch):
    def raises(_primals, _tangents):
        raise ArithmeticError

    broken = Case(
        "pushforward", "broken", lambda _rng, bug: (np.sin, raises if bug else sine, (np.ones(3),)), ("b",), True
    )
    monkeypatch.setattr(rules, "CASES", [broken])
    assert rules.main(["--seeds", "1"]) == 1
    assert "1 raised of" in capsys.readouterr().out


def test_the_truth_prints_what_it_refutes(capsys, monkeypatch):
    wrong = Case("pushforward", "a sine", lambda _rng, _bug: (np.cos, sine, (np.ones(3),)), (), tie=False)
    monkeypatch.setattr(rules, "CASES", [wrong])
    assert rules.main(["--seeds", "1", "--truth"]) == 1
    assert capsys.readouterr().out.endswith("1 right rules refuted of 1 cases at 1 points\n")


def test_peers_that_are_not_installed_are_named(capsys, monkeypatch):
    monkeypatch.setattr(rules_peers, "PEERS", [rules_peers.PEERS[2]._replace(package="no_such_package")])
    assert rules.main(["--seeds", "1", "--peers"]) == 0
    assert capsys.readouterr().out == "scipy approx_derivative is absent\n"


def test_a_peer_judges_the_same_cases(capsys, monkeypatch):
    monkeypatch.setattr(rules_peers, "PEERS", [rules_peers.PEERS[2]])
    assert rules.main(["--seeds", "1", "--peers", "--kind", "jacobian", "--name", "planar arm"]) == 0
    assert f"wrong: 0 passed, 0 errors of {3 + len(GENERIC)}" in capsys.readouterr().out
