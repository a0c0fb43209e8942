"""The fuzzer sees each kind of fault: the entry of an ordinary case is replaced by one that does what it must not."""

import itertools
import pickle
import unittest
import warnings

import numpy as np
import pytest

import gradcheck
from benchmarks import fuzz
from benchmarks.fuzzing import entries, outcome

RIGHT = gradcheck.examine_backward


@pytest.fixture(autouse=True)
def warmed():
    outcome.warm()


@pytest.fixture
def ordinary():
    """The number of a case of examine_backward in which nothing is odd."""
    cases = ((seed, entries.make(seed)[0]) for seed in itertools.count())
    return next(seed for seed, case in cases if case.entry == "examine_backward" and not case.labels)


def fault_of(monkeypatch, seed, entry):
    monkeypatch.setattr(gradcheck, "examine_backward", entry)
    return fuzz.play(seed).fault


def test_an_ordinary_case_passes_and_plays_the_same_again(ordinary):
    first, again = fuzz.play(ordinary), fuzz.play(ordinary)
    assert first[:5] == again[:5] == (ordinary, "examine_backward", "nothing odd", "pass", "")


def test_an_exception_from_inside_is_a_fault(monkeypatch, ordinary):
    def entry(forward, backward, args, **settings):
        return RIGHT(forward, backward, args, seed=int("x"))

    assert fault_of(monkeypatch, ordinary, entry) == "ValueError from inside"


def test_a_clear_error_is_none(monkeypatch, ordinary):
    assert fault_of(monkeypatch, ordinary, lambda *args, **settings: RIGHT(3, *args[1:])) == ""


def test_what_changes_global_state_is_a_fault_and_is_put_back(monkeypatch, ordinary):
    def entry(*args, **settings):
        np.set_printoptions(precision=3)
        np.random.seed(0)  # noqa: NPY002  (that is the fault)
        return RIGHT(*args, **settings)

    before = np.get_printoptions()
    assert fault_of(monkeypatch, ordinary, entry) == "global state changed"
    assert np.get_printoptions() == before


def test_what_changes_an_argument_is_a_fault(monkeypatch, ordinary):
    def entry(forward, backward, args, **settings):
        report = RIGHT(forward, backward, args, **settings)
        args[0][...] = 7
        return report

    assert fault_of(monkeypatch, ordinary, entry) == "an argument changed"


def test_a_case_that_takes_too_long_is_a_fault(monkeypatch, ordinary):
    def entry(*args, **settings):
        while True:
            pass

    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    assert fault_of(monkeypatch, ordinary, entry) == "hangs"


@pytest.mark.parametrize("problem", [SystemExit(0), unittest.SkipTest(), pytest.skip.Exception()])
def test_an_exception_of_the_users_that_a_runner_takes_for_no_failure_is_a_fault(problem):
    case = entries.make(0)[0]
    case.raised.append(problem)
    assert outcome.of_exception(case, problem)[1].endswith("a runner takes it for no failure")


def test_the_users_own_exception_needs_a_note():
    case, problem = entries.make(0)[0], ValueError("the user's own")
    case.raised.append(problem)
    assert outcome.of_exception(case, problem)[1] == "the user's own exception without a note"
    problem.add_note("gradcheck: raised inside forward, called with x (3,).")
    assert outcome.of_exception(case, problem) == ("the user's own", "", "")


def test_a_pass_that_cannot_be_one_is_a_fault():
    case = entries.make(0)[0]
    case.pulled.update(calls=1, nan=False, watched=True)
    report = RIGHT(lambda x: (x * x, x), lambda d, x: 2 * d * x, (np.ones(2),), seed=0)
    case.truth = "wrong"
    assert outcome.untrue(case, report) == "passes a wrong backward"
    case.pulled["nan"] = True
    assert outcome.untrue(case, report) == "passes although the backward gave NaN"
    case.pulled["calls"] = 0
    assert outcome.untrue(case, report) == "passes without a call of the backward"


def test_a_right_backward_that_fails_is_a_fault():
    case = entries.make(0)[0]
    case.truth = "right"
    report = RIGHT(lambda x: (x * x, x), lambda d, x: 3 * d * x, (np.ones(2),), seed=0)
    assert outcome.untrue(case, report) == "fails a right backward"


def test_a_report_that_loses_words_in_a_pickle_is_a_fault(monkeypatch):
    report = RIGHT(lambda x: (x * x, x), lambda d, x: 2 * d * x, (np.ones(2),), seed=0)
    monkeypatch.setattr(pickle, "loads", lambda _: "nothing")
    with pytest.raises(RuntimeError, match="a pickled report says something else"):
        outcome.render(report)


def test_every_entry_is_drawn_and_a_run_ends_with_1_on_a_fault(monkeypatch, capsys):
    drawn = {entries.make(seed)[0].entry for seed in range(400)}
    assert drawn >= set(entries.SHARES) - {"adapters"} | set(entries.ADAPTERS)
    monkeypatch.setattr(fuzz, "play", lambda seed: fuzz.Result(seed, "main", "nothing odd", "pass", "", "", 0.0))
    assert fuzz.main(["--cases", "2"]) == 0
    monkeypatch.setattr(
        fuzz, "play", lambda seed: fuzz.Result(seed, "main", "did", "exception", "hangs", "a:1\nb", 9.0)
    )
    assert fuzz.main(["--cases", "3"]) == 1
    assert "   3 × hangs: a:1\n         | b\n" in capsys.readouterr().out


def test_what_the_fuzzer_raises_and_warns_stays_inside(ordinary):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for seed in range(ordinary, ordinary + 5):
            fuzz.play(seed)
    assert seen == []
