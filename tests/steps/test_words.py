from gradcheck.steps.journey import Line
from gradcheck.steps.words import Cause, multiplied_by, named, said


def backward():
    """Has a code."""


LINE = Line(backward.__code__, 9)


def test_what_stands_on_a_line_is_said_beside_what_should():
    cause = Cause("B1", ("w",), LINE, "dout @ x", "x.T @ dout", (1,))
    assert said(cause) == "line 9 of backward: dout @ x should be x.T @ dout"


def test_what_a_line_lacks_is_said_of_the_line():
    cause = Cause("C7", ("x",), LINE, "", "lacks the path through var", (0,))
    assert said(cause) == "line 9 of backward lacks the path through var"


def test_a_variable_that_should_hold_what_another_turn_has_is_not_said_to_be_itself():
    cause = Cause("G3", ("w",), LINE, "next_h.T", "next_h.T", (1,))
    assert said(cause) == "line 9 of backward: next_h.T should be that of another turn"


def test_without_a_line_it_is_said_of_what_is_returned():
    cause = Cause("A1", ("w", "b"), None, "", "is the gradient with the wrong sign", (2,))
    assert said(cause) == "what is returned for w and b is the gradient with the wrong sign"


def test_of_many_arguments_the_first_are_named():
    assert named(["a", "b", "c"]) == "a, b and c"
    assert named(list("abcdefgh")) == "a, b, c, d and 4 more"


def test_one_over_a_number_is_said_as_a_division():
    assert multiplied_by("x.shape[0]") == "times x.shape[0]"
    assert multiplied_by("1/x.shape[0]") == "divided by x.shape[0]"
