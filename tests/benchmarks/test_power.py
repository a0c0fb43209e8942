import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def bench(monkeypatch):
    """The benchmark's three files, imported as a script imports its neighbours."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for variable in ("OMP_NUM_THREADS", "JAX_PLATFORMS"):  # which the script sets where they are not
        monkeypatch.setenv(variable, "1" if variable == "OMP_NUM_THREADS" else "cpu")
    import peers
    import power
    import subjects

    yield power, peers, subjects
    for module in (power, peers, subjects):
        del sys.modules[module.__name__]


def regimes(subjects):
    for kind in subjects.KINDS:
        depth = 2 if kind in subjects.ACTIVATIONS else 0
        for kinks in ("away", "near") if kind == "relu" else ("none",):
            yield subjects.Regime(kind, depth, 100, "float64", 1.0, kinks)


def test_the_right_backward_of_every_subject_passes_and_every_planted_mistake_fails(bench):
    power, peers, subjects = bench
    checked = 0
    for regime in regimes(subjects):
        rng = np.random.default_rng(1)
        subject = subjects.draw(rng, regime)
        assert peers.check_with_gradcheck(subject.forward, subject.backward, subject.args, 0) == "pass", regime
        for mutant in power.backwards(rng, subject, regime)[2:]:
            verdict = peers.check_with_gradcheck(subject.forward, mutant.backward, subject.args, 0)
            assert verdict == "fail", (regime, mutant.mistake)
            checked += 1
    assert checked == 4 * 8


def test_a_change_too_small_to_be_a_mistake_is_not_planted(bench):
    _, _, subjects = bench
    regime = subjects.Regime("sin", 0, 1000, "float32", 1.0, "none")
    rng = np.random.default_rng(0)
    subject = subjects.draw(rng, regime)
    assert subjects.plant(rng, subject, "×(1+1e−6)", "float32") is None
    assert subjects.plant(rng, subject, "×(1+1e−6)", "float64") is not None


def test_an_entry_whose_true_gradient_is_zero_is_never_the_one_that_is_doubled(bench):
    _, _, subjects = bench
    subject = subjects.Subject(
        lambda x: ((x * x).sum(), x), lambda dout, x: (2 * dout * x,), (np.array([0.0, 0.0, 3.0]),), {}
    )
    out, cache = subject.forward(*subject.args)
    for seed in range(20):
        mutant = subjects.plant(np.random.default_rng(seed), subject, "one entry ×2", "float64")
        assert mutant.backward(np.ones_like(out), cache)[0].tolist() == [0.0, 0.0, 12.0]


def test_a_relu_keeps_the_distance_from_its_kinks_that_its_regime_says(bench):
    _, _, subjects = bench
    for kinks, least in (("away", subjects.MARGIN), ("near", subjects.NEAR)):
        regime = subjects.Regime("relu", 1, 100, "float64", 1.0, kinks)
        x, W, b, *_ = subjects.draw(np.random.default_rng(0), regime).args
        nearest = np.abs(x @ W + b).min()
        assert nearest == pytest.approx(least) if kinks == "near" else nearest >= least


def test_counts_tell_a_miss_from_a_false_alarm_and_leave_out_what_was_not_asked(bench):
    power, _, subjects = bench
    regime = subjects.Regime("sin", 0, 10, "float64", 1.0, "none")
    said = [
        ("right", 0.0, "fail"),
        ("right", 0.0, "pass"),
        ("×2", 1.0, "pass"),
        ("×(1+1e−2)", 1e-2, "pass"),
        ("×0", 1.0, "fail"),
        ("×0", 1.0, "inconclusive"),
        ("×0", 1.0, "error: ValueError"),
        ("×0", 1.0, None),
    ]
    outcomes = [power.Outcome(0, "p", regime, mistake, size, verdict, 1.0, 3) for mistake, size, verdict in said]
    told = power.summary(outcomes)
    assert {key: told[key] for key in ("missed", "missed_gross", "false_alarms", "inconclusive", "not_asked")} == {
        "missed": [2, 5],
        "missed_gross": [1, 4],
        "false_alarms": [1, 2],
        "inconclusive": [2, 7],
        "not_asked": 1,
    }


def test_the_command_prints_a_table_and_writes_json(bench, tmp_path, capsys):
    power, peers, _ = bench
    path = tmp_path / "power.json"
    options = ["--quick", "--examples", "2", "--workers", "1", "--peers", peers.OURS, "--json", str(path)]
    assert power.main(options) == 0
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["overall"][peers.OURS]["missed"] == [0, 8]
    assert told["overall"][peers.OURS]["false_alarms"] == [0, 4]
    assert "| gradcheck | 0.0 % (0 / 8) |" in capsys.readouterr().out


def test_a_peer_that_is_not_installed_is_said_to_be_so_and_not_counted(bench, monkeypatch):
    power, peers, _ = bench
    absent = peers.Peer("absent", "no_such_package", np.inf, None)
    monkeypatch.setattr(power, "PEERS", (*power.PEERS[:1], absent))
    outcomes = power.run_examples(0, range(1), 100, (peers.OURS,))
    assert power.peer_table(outcomes).splitlines()[-1] == "| absent | not installed | | | | | | |"
    assert {outcome.peer for outcome in outcomes} == {peers.OURS}
