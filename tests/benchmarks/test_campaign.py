import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import campaign
from gradcheck import Verdict, examine_backward

ROOT = Path(__file__).resolve().parent.parent.parent
CHECKS, SEED = 24, 7


def run(state, checks=CHECKS, *flags):
    settings = {"--checks": checks, "--workers": 1, "--seed": SEED, "--state": state}
    return campaign.main([*flags, *(str(part) for setting in settings.items() for part in setting)])


def records(state):
    """Return the records of finished units without what the clock said."""
    return {
        unit: {key: value for key, value in record.items() if key != "seconds"}
        for unit, record in campaign.finished(state).items()
    }


def killed_midway(state):
    """Start the campaign with two processes of its own, and kill it when some of its units are finished."""
    command = [sys.executable, "benchmarks/campaign.py", "--seed", str(SEED), "--checks", "4000", "--state", state]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        deadline = time.monotonic() + 60
        while not (len(records(state)) >= 8 and len(list(state.glob("*.jsonl"))) == 2) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)


def test_a_campaign_that_was_killed_goes_on_and_counts_like_one_that_was_not(tmp_path, capsys):
    killed_midway(tmp_path / "killed")
    shards = list((tmp_path / "killed").glob("*.jsonl"))
    assert len(shards) == 2
    with shards[0].open("a") as torn:
        torn.write('{"unit": 0, "derivation": "af')
    before = records(tmp_path / "killed")
    assert 8 <= len(before) < 4000
    assert run(tmp_path / "killed") == 0
    resumed = capsys.readouterr().out
    assert run(tmp_path / "whole") == 0
    assert capsys.readouterr().out == resumed
    whole = records(tmp_path / "whole")
    assert list(whole) == list(range(CHECKS))
    after = records(tmp_path / "killed")
    assert {unit: after[unit] for unit in whole} == whole
    assert {unit: after[unit] for unit in before} == before


def test_a_finished_campaign_does_nothing_again(tmp_path, monkeypatch):
    run(tmp_path, checks=5)
    monkeypatch.setattr(campaign, "check", None)
    assert run(tmp_path, checks=5) == 0


def test_a_replay_finds_what_the_campaign_found(tmp_path, capsys):
    run(tmp_path, checks=3)
    capsys.readouterr()
    assert campaign.main(["--replay", "2", "--seed", str(SEED)]) == 0
    record, end = json.JSONDecoder().raw_decode(replayed := capsys.readouterr().out)
    assert record == records(tmp_path)[2]
    assert f"seed {2}" in replayed[end:]


def blind(*args, **settings):
    """Examine, and let everything pass."""
    report = examine_backward(*args, **settings)
    passed = {
        path: replace(finding, verdict=Verdict.PASS, bound=1e-9, reason=None)
        for path, finding in report.arguments.items()
    }
    return replace(report, arguments=passed)


def suspicious(*args, **settings):
    """Examine, and let everything fail."""
    report = examine_backward(*args, **settings)
    failed = {path: replace(finding, verdict=Verdict.FAIL) for path, finding in report.arguments.items()}
    return replace(report, arguments=failed)


def broken(*args, **settings):
    raise RuntimeError("mine")


@pytest.mark.parametrize(
    ("examine", "outcome", "wrong"),
    [(blind, "MISSED", True), (suspicious, "FALSE ALARM", False), (broken, "RAISED", None)],
)
def test_a_miss_a_false_alarm_and_an_exception_are_printed_as_lines_that_replay_them(
    examine, outcome, wrong, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(campaign, "examine_backward", examine)
    assert run(tmp_path, checks=12) == 1
    printed = capsys.readouterr().out
    meant = [unit for unit, record in records(tmp_path).items() if wrong in (None, record["wrong"])]
    assert meant
    for unit in meant:
        assert f"python benchmarks/campaign.py --replay {unit} --seed {SEED}   # {outcome}: " in printed
    assert campaign.main(["--replay", str(meant[0]), "--seed", str(SEED)]) == 1
    assert json.JSONDecoder().raw_decode(capsys.readouterr().out)[0]["outcome"] == outcome


def test_a_pass_that_states_a_wide_bound_is_no_miss_but_counted(tmp_path, monkeypatch):
    def blunt(*args, **settings):
        report = blind(*args, **settings)
        wide = {path: replace(finding, bound=np.inf) for path, finding in report.arguments.items()}
        return replace(report, arguments=wide)

    monkeypatch.setattr(campaign, "examine_backward", blunt)
    assert run(tmp_path, checks=12) == 0
    assert {record["outcome"] for record in records(tmp_path).values()} == {"pass", "blunt"}


def test_a_directory_of_another_seed_is_refused(tmp_path):
    campaign.opened(tmp_path, seed=1)
    with pytest.raises(SystemExit) as stopped:
        campaign.opened(tmp_path, seed=2)
    assert str(stopped.value) == (
        f"--state must name a directory of this campaign, but {tmp_path} is of seed 1. Choose another one."
    )


def test_a_directory_of_another_choice_of_gradients_is_refused(tmp_path):
    for right, what in ((True, "right gradients alone"), (False, "right and wrong gradients")):
        state = tmp_path / str(right)
        campaign.opened(state, seed=1, right=right)
        with pytest.raises(SystemExit) as stopped:
            campaign.opened(state, seed=1, right=not right)
        assert str(stopped.value) == (
            f"--state must name a directory of this campaign, but {state} is of {what}. Choose another one."
        )


def test_with_right_alone_the_units_are_the_same_and_nothing_is_planted(tmp_path):
    run(tmp_path / "both")
    run(tmp_path / "right", CHECKS, "--right")
    both, right = records(tmp_path / "both"), records(tmp_path / "right")
    assert any(record["wrong"] for record in both.values())
    assert not any(record["wrong"] for record in right.values())
    same = ("derivation", "regime")
    assert [[both[unit][key] for key in same] for unit in both] == [
        [right[unit][key] for key in same] for unit in right
    ]
    assert {record["outcome"] for record in right.values()} <= {"pass", "inconclusive"}


def test_a_false_alarm_among_right_gradients_alone_is_replayed_among_these(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "examine_backward", suspicious)
    assert run(tmp_path, 3, "--right") == 1
    assert (
        f"python benchmarks/campaign.py --right --replay 0 --seed {SEED}   # FALSE ALARM: " in capsys.readouterr().out
    )


def test_a_directory_of_other_sources_is_refused(tmp_path, monkeypatch):
    campaign.opened(tmp_path, seed=1)
    monkeypatch.setattr(campaign, "_sources", lambda: "changed")
    with pytest.raises(SystemExit, match="is of other sources"):
        campaign.opened(tmp_path, seed=1)


def test_every_kind_of_mistake_is_planted_and_changes_its_leaf_alone():
    rng = np.random.default_rng(0)
    gradients = {"x": rng.standard_normal((3, 3)), "W": rng.standard_normal((3, 3)), "b": rng.standard_normal(4)}
    names = []
    for plant in campaign.plants(gradients, rng):
        before = {path: gradient.copy() for path, gradient in gradients.items()}
        names.append(plant.name)
        assert campaign.change(gradients[plant.path], plant.apply(gradients)) > 0
        assert all(np.array_equal(before[path], gradients[path]) for path in gradients)
    kinds = (
        "times 0.0",
        "times -1.0",
        "times 2.0",
        "] times 1.001",
        "shifted along",
        "zero",
        "transposed",
        "place of dx",
    )
    assert [kind for kind in kinds if not any(kind in name for name in names)] == []


def test_every_regime_is_drawn():
    regimes = [campaign.plan(unit, SEED).regime for unit in range(400)]
    for part in (
        "any sizes",
        "no size 1",
        "smallest sizes",
        "scaled,",
        "scaled alike",
        "ties",
        "float32",
        "complex_step",
    ):
        assert any(part in regime for regime in regimes), part
