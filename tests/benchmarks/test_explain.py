import inspect
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import explain, explain_cases
from benchmarks.explain import Outcome, figures, lapses, located_exactly, named_exactly, unmet
from benchmarks.explain_cases import Pair, truth_of
from derivations.affine import AFFINE
from gradcheck import Verdict, examine_backward
from gradcheck.mistakes import CATALOGUE
from gradcheck.report import Answers, Explanation
from gradcheck.verdict import judge
from gradcheck.verdict.locate import Location
from tests.mutants import MISTAKES
from tests.mutants.deltas import DELTA_MISTAKES
from tests.mutants.through_time import THROUGH_TIME

SIGN = "identity/sign/generic/source"
RIGHT = Outcome(
    "a", "affine", "generic", True, ("A2", "A3"), (("A2", True),), True, True, (1, 1), 9, (2.0, 1.0), (4, 2)
)


def outcome(*said, **changes):
    return RIGHT._replace(said=said, **changes)


# -- the cases


def test_every_planted_mistake_bears_classes_of_the_catalogue():
    for table in (MISTAKES, DELTA_MISTAKES, THROUGH_TIME):
        for row in table.values():
            for mistake in row:
                assert {mistake.id, *mistake.also} <= set(CATALOGUE), mistake
                assert mistake.id not in mistake.also, mistake


def test_there_are_at_least_600_mutants_each_under_a_name_of_its_own():
    found = list(explain_cases.planted_cases())
    assert len({case.name for case in found}) == len(found)
    assert len({(case.group, case.name.rpartition("/")[0]) for case in found}) >= 600
    assert {case.draw for case in found} == set(explain_cases.DRAWS)


def test_a_case_with_its_source_shows_the_mistake_and_one_without_shows_nothing():
    found = explain.cases()
    assert "-dy" in inspect.getsource(found[SIGN].make(0).wrong)
    with pytest.raises(OSError, match="could not get source code"):
        inspect.getsource(found["identity/sign/generic/no source"].make(0).wrong)


def test_all_mistakes_of_a_derivation_are_made_at_the_same_point_and_another_draw_is_another_point():
    found = explain.cases()
    one, two, other = (
        found[f"affine/{name}/source"].make(3).args[0]
        for name in ("dx sign/generic", "dW zero/generic", "dx sign/generic again")
    )
    np.testing.assert_array_equal(one, two)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_a_degenerate_draw_has_a_batch_of_one():
    args = explain.cases()["affine/db mean for sum/degenerate/no source"].make(0).args
    assert len(args[0]) == 1


# -- what the inputs reveal


def affine_pair(change, N=3):
    def wrong(dy, cache):
        dx, dW, db = AFFINE.backward(dy, cache)
        return dx, dW, change(db, dy)

    args = AFFINE.args(np.random.default_rng(0), N=N, D=4, M=5)
    return Pair(AFFINE.forward, wrong, AFFINE.backward, args, None)


def test_what_differs_is_revealed_and_its_entries_are_told():
    truth = truth_of(affine_pair(lambda db, dy: db * np.array([1, 2, 1, 1, 1])), seed=0)
    assert (truth.revealed, truth.changed, truth.size) == ({"b"}, {"b"}, 12 + 20 + 5)
    must, may = truth.entries["b"]
    assert must.tolist() == may.tolist() == [False, True, False, False, False]


def test_a_batch_of_one_does_not_reveal_a_mean_over_it():
    assert truth_of(affine_pair(lambda db, dy: dy.mean(axis=0)), seed=0).revealed == {"b"}
    alone = truth_of(affine_pair(lambda db, dy: dy.mean(axis=0), N=1), seed=0)
    assert (alone.revealed, alone.changed) == (set(), set())


def test_a_change_of_less_than_a_millionth_is_not_revealed_but_may_fail():
    truth = truth_of(affine_pair(lambda db, dy: db * (1 + 1e-8)), seed=0)
    assert (truth.revealed, truth.changed) == (set(), {"b"})


def test_another_shape_is_revealed_and_has_no_entries():
    truth = truth_of(affine_pair(lambda db, dy: dy), seed=0)
    assert (truth.revealed, truth.entries) == ({"b"}, {})


def test_a_gradient_that_is_not_finite_is_revealed():
    truth = truth_of(affine_pair(lambda db, dy: db * math.nan), seed=0)
    assert truth.revealed == {"b"}


# -- how it is scored


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ([("A2", True)], "first"),
        ([("A3", False), ("A4", True)], "first"),
        ([("A4", False), ("A2", True)], "listed"),
        ([("A4", True), ("A2", True)], "wrong"),
        ([("A4", True)], "wrong"),
        ([("A4", False)], "unverified"),
        ([], "none"),
    ],
)
def test_an_explanation_is_scored_by_its_first_class_and_whether_it_is_verified(said, score):
    assert outcome(*said).score == score


def test_arguments_are_named_exactly_if_the_wrong_ones_fail_and_no_right_one():
    pair = affine_pair(lambda db, dy: 2 * db)
    truth = truth_of(pair, seed=0)
    report = examine_backward(pair.forward, pair.wrong, pair.args, seed=0, hints=False)
    assert named_exactly(report, truth)
    assert not named_exactly(report, truth._replace(revealed=frozenset("Wb"), changed=frozenset("Wb")))
    more = dict(report.arguments) | {"x": replace(report.arguments["x"], verdict=Verdict.FAIL)}
    assert not named_exactly(replace(report, arguments=more), truth)


@pytest.mark.parametrize(
    ("mask", "region", "exact"),
    [
        ([False, True, False, False, False], "db[1]", 1),
        ([True, True, False, False, False], "db[:2]", 0),
        ([False, False, False, False, False], "", 0),
        ([False, True, False, False, False], "some entries of db[1]", 0),
    ],
)
def test_entries_are_located_exactly_if_every_wrong_one_is_in_the_regions_and_no_right_one(mask, region, exact):
    truth = truth_of(affine_pair(lambda db, dy: db * np.array([1, 2, 1, 1, 1])), seed=0)
    location = Location((region,), None, False, (), 0, np.array(mask), 0)
    assert located_exactly({"b": location}, truth) == (exact, 1)


def test_an_argument_that_was_not_located_is_not_exact():
    truth = truth_of(affine_pair(lambda db, dy: 2 * db), seed=0)
    assert located_exactly({}, truth) == (0, 1)


def test_figures_count_only_what_the_inputs_reveal():
    found = figures([RIGHT, outcome(), outcome(("A4", True), revealed=False, arguments=False)])
    assert (found["cases"], found["revealed"], found["not revealed"]) == (3, 2, 1)
    assert (found["first"], found["none"], found["wrong"], found["arguments"]) == (0.5, 0.5, 0.0, 1.0)
    assert math.isnan(found["ratio"])
    assert math.isnan(found["lenet5"])


def test_what_a_failure_costs_is_compared_where_there_are_many_entries():
    assert figures([RIGHT, RIGHT._replace(size=1000, seconds=(12.0, 2.0))])["ratio"] == 6.0


def test_figures_that_miss_their_limits_are_named():
    good = figures([RIGHT])
    assert unmet(good) == []
    wrong = figures([RIGHT] * 10 + [outcome(("A4", True), arguments=False, located=(0, 1), raised="E: e")] * 2)
    assert unmet(wrong) == [
        "first must be at least 0.9, but is 0.833",
        "wrong must be at most 0.01, but is 0.167",
        "arguments must be at least 1, but is 0.833",
        "entries must be at least 0.95, but is 0.833",
        "raised must be at most 0, but is 2",
    ]
    slow = figures([RIGHT._replace(group="lenet5", size=1000, seconds=(62.0, 2.0))])
    assert unmet(slow) == ["ratio must be at most 30, but is 31", "lenet5 must be at most 3, but is 62"]


def test_lapses_are_told_by_case():
    wrong = outcome(("A4", True), ("B1", False), arguments=False)
    assert lapses([RIGHT, wrong, outcome(raised="E: e", arguments=False)]) == (
        "a   # WRONG: said A4, B1?, is A2 or A3; ARGUMENTS not named exactly\na   # RAISED E: e"
    )


# -- the command


def run(*flags):
    return explain.main(["--workers", "1", "--only", SIGN, *flags])


def saying(*said, raising=None):
    """Return a stand-in for the check that says of every failure what it is told to."""

    def examine(*args, **settings):
        report = examine_backward(*args, **settings, hints=False)
        if raising and report.verdict is Verdict.FAIL:
            raise raising
        told = tuple(Explanation(mistake, ("z",), "", verified) for mistake, verified in said)
        return replace(report, inquiry=lambda: Answers(told if report.verdict is Verdict.FAIL else ()))

    return examine


def test_a_right_explanation_exits_0_and_is_written_down(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(explain, "examine_backward", saying(("A1", True)))
    assert run("--json", str(tmp_path / "told.json")) == 0
    assert "| A1 wrong sign | 1 | 1 | 0 | 100 % | 0 % | 0 % | 0 % | 0 % | 100 % | 100 % |" in capsys.readouterr().out
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert [(each["name"], each["score"]) for each in told["outcomes"]] == [(SIGN, "first")]
    assert told["unmet"] == []


def test_a_wrong_verified_explanation_exits_1_and_is_named(monkeypatch, capsys):
    monkeypatch.setattr(explain, "examine_backward", saying(("A4", True)))
    assert run() == 1
    assert f"{SIGN}   # WRONG: said A4, is A1\n" in capsys.readouterr().out


def test_a_report_that_raises_exits_1_and_is_named(monkeypatch, capsys):
    monkeypatch.setattr(explain, "examine_backward", saying(raising=RuntimeError("mine")))
    assert run() == 1
    assert f"{SIGN}   # RAISED RuntimeError: mine\n" in capsys.readouterr().out


def test_a_replay_prints_the_report_and_the_score(monkeypatch, capsys):
    assert explain.main(["--replay", SIGN]) == 0
    printed = capsys.readouterr().out
    assert "FAIL" in printed
    assert printed.endswith(f"{SIGN}: first, is A1\n")
    monkeypatch.setattr(explain, "examine_backward", saying(("A4", True)))
    assert explain.main(["--replay", SIGN]) == 1


def test_a_stranger_is_examined_too(capsys):
    assert explain.main(["--strangers", "--workers", "1", "--only", "strangers/softmax loss: sign"]) == 0
    assert "| strangers | 1 | 1 | 0 | 100 % |" in capsys.readouterr().out


def test_a_name_that_no_case_has_is_refused():
    with pytest.raises(SystemExit) as stopped:
        explain.main(["--only", "nothing"])
    assert str(stopped.value) == "--only must match the name of a case, but 'nothing' matches none. Try '*'."
    with pytest.raises(SystemExit) as stopped:
        explain.main(["--replay", "nothing"])
    assert str(stopped.value) == "--replay must name a case, but 'nothing' is none. List them by --json."


def test_a_share_of_none_is_refused():
    with pytest.raises(SystemExit) as stopped:
        run("--every", "0")
    assert str(stopped.value) == "--every must be at least 1, but is 0. Leave it out for all cases."


def test_of_many_cases_a_share_is_examined(capsys):
    explain.main(["--workers", "1", "--only", "identity/*/generic/source", "--every", "6"])
    assert "| identity | 2 | 2 | 0 |" in capsys.readouterr().out


def test_what_is_located_is_noted_once_and_the_check_is_left_as_it_was():
    before = judge.locate
    pair, found = affine_pair(lambda db, dy: 2 * db), {}
    with explain._noted(found):  # noqa: SLF001  (it replaces a function of the library, which has to be put back)
        assert not examine_backward(pair.forward, pair.wrong, pair.args, seed=0, hints=False)
    assert judge.locate is before
    assert list(found) == ["b"]
    assert found["b"].mask.all()
