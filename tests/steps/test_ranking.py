import dataclasses

from gradcheck.mistakes import CATALOGUE
from gradcheck.report import Step, Steps
from gradcheck.steps.journey import Line
from gradcheck.steps.ranking import RETURNED, explanations, merged, ranked
from gradcheck.steps.words import Cause


def backward():
    """Has a code."""


LINE = Line(backward.__code__, 9)
WRONG = Step("a.py", 3, "backward", None, "add", None, "wrong")


def cause(mistake, paths, cost, line=LINE, **more):
    return Cause(mistake, tuple(paths), line, "", f"lacks {mistake}", cost, **more)


def chosen(*causes, wrong="xwb"):
    return [each.mistake for each in ranked(causes, tuple(wrong))]


def test_what_explains_more_is_said_before_what_assumes_less():
    assert chosen(cause("A1", "x", (0,)), cause("B1", "xw", (3,))) == ["B1"]


def test_of_what_explains_as_much_the_cause_that_assumes_less_is_said():
    assert chosen(cause("A1", "xwb", (2,)), cause("B1", "xwb", (1,))) == ["B1"]


def test_a_mistake_that_is_made_on_several_lines_explains_what_it_explains_on_all_of_them():
    several = [cause("A3", "x", (1,)), cause("A3", "w", (1,)), cause("A3", "b", (1,))]
    assert chosen(cause("A2", "xw", (0,), line=None), *several)[0] == "A3"


def test_what_is_left_open_is_explained_by_another_cause():
    assert chosen(cause("A1", "xw", (2,)), cause("B1", "b", (3,))) == ["A1", "B1"]


def test_two_mistakes_that_assume_as_much_are_both_said():
    assert chosen(cause("A1", "x", (1,)), cause("B1", "x", (1,)), wrong="x") == ["A1", "B1"]


def test_what_is_not_verified_comes_last():
    assert chosen(cause("A1", "xwb", (0,), verified=False), cause("B1", "x", (3,)), wrong="x") == ["B1"]


def test_what_is_seen_of_a_returned_gradient_says_which_of_two_mistakes_it_is_and_the_line_of_it():
    seen = cause("G4", "x", RETURNED, line=None)
    (first, *_) = ranked([seen, cause("A4", "x", (0,)), cause("G4", "x", (3,))], ("x",))
    assert (first.mistake, first.line) == ("G4", LINE)


def test_nothing_is_said_of_what_is_right():
    assert chosen(cause("A1", "xq", (0,)), wrong="w") == []
    (only,) = ranked([cause("A1", "xw", (0,))], ("w",))
    assert only.paths == ("w",)


def test_the_same_of_several_arguments_is_one_cause():
    (one,) = merged([cause("A1", "x", (0,)), cause("A1", "w", (0,))])
    assert one.paths == ("w", "x")


def test_causes_of_the_same_arguments_say_on_which_inputs_they_differ():
    first, second = explanations([cause("A1", "x", (1,)), cause("B1", "x", (1,))], Steps())
    assert (first.otherwise, second.otherwise) == (CATALOGUE["B1"].visible, CATALOGUE["A1"].visible)
    (alone,) = explanations([cause("A1", "x", (1,))], Steps())
    assert (alone.otherwise, alone.line) == ("", 9)


def test_what_is_said_of_no_line_stands_at_the_first_wrong_one():
    (why,) = explanations([cause("A1", "x", (1,), line=None)], Steps([WRONG]))
    assert (why.file, why.line) == ("a.py", 3)
    (why,) = explanations([cause("A1", "x", (1,), line=None)], Steps())
    assert (why.file, why.line) == ("", 0)


def test_what_is_said_of_no_line_stands_rather_at_the_one_that_is_known_for_what_it_ought_to_be():
    known = dataclasses.replace(WRONG, line=7, cotangent_of="x")
    (why,) = explanations([cause("A1", "x", (1,), line=None)], Steps([WRONG, known]))
    assert why.line == 7
