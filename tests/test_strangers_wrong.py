"""Wrong backward passes of strangers fail in the arguments they make wrong; what people take for wrong passes."""

import inspect
from collections import Counter
from operator import attrgetter

import numpy as np
import pytest

from gradcheck import Verdict, examine_backward
from tests.strangers import CASES, RIGHT_ALTHOUGH
from tests.strangers.case import planted
from tests.strangers.layers import relu_backward

# What students do, by the ids of the catalogue.
STUDENTS = "A1 A2 A3 A4 A5 B1 B3 B4 B6 C1 C2 C3 C5 C6 C7 C8 D1 D2 E1 E2 E4 E5 F1 F2 F3 F5 F6 G1 G2 G3 G4 H3"
MASK = ("dx[x <= 0] = 0", "dx[x < 0] = 1")


def examine(case, backward):
    return examine_backward(case.forward, backward, case.args(np.random.default_rng(0)), seed=0)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_the_right_backward_of_a_stranger_passes(case):
    report = examine(case, case.right_backward)
    assert report.verdict is Verdict.PASS, str(report)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_the_wrong_backward_of_a_stranger_fails_where_its_mistake_is_and_nowhere_else(case):
    report = examine(case, case.backward)
    assert report.verdict is Verdict.FAIL, str(report)
    assert set(case.wrong) <= set(report.arguments)
    expected = {path: Verdict.FAIL if path in case.wrong else Verdict.PASS for path in report.arguments}
    assert {path: finding.verdict for path, finding in report.arguments.items()} == expected, str(report)


@pytest.mark.parametrize("right", RIGHT_ALTHOUGH, ids=attrgetter("name"))
def test_what_people_take_for_wrong_passes(right):
    report = examine(right, right.backward)
    assert report.verdict is Verdict.PASS, str(report)


def test_the_strangers_make_every_mistake_of_students_and_are_told_apart_by_their_names():
    mistakes = Counter(case.mistake for case in CASES)
    assert set(STUDENTS.split()) <= set(mistakes)
    assert len({case.name for case in CASES}) == len(CASES)
    assert not [case.name for case in CASES if case.mistake in case.also]


def test_of_a_third_to_a_half_of_the_strangers_there_is_no_source():
    assert 1 / 3 < sum(not case.source for case in CASES) / len(CASES) < 0.5


@pytest.mark.parametrize(
    "case", [case for case in CASES if inspect.getmodule(case.backward) is None], ids=attrgetter("name")
)
def test_a_backward_has_a_source_where_its_case_says_so(case):
    if case.source:
        assert f"def {case.backward.__name__}(" in inspect.getsource(case.backward)
        return
    with pytest.raises(OSError, match="could not get source code"):
        inspect.getsource(case.backward)


def test_a_planted_mistake_is_in_the_source_that_is_found():
    assert MASK[1] in inspect.getsource(planted(relu_backward, MASK))
    assert MASK[0] in inspect.getsource(relu_backward)


def test_a_fragment_that_is_not_there_once_cannot_be_replaced():
    with pytest.raises(ValueError) as caught:
        planted(relu_backward, ("dx", "dy"))
    assert str(caught.value) == (
        "relu_backward must hold 'dx' once, but holds it 3 times. Adapt the edit to the source."
    )
