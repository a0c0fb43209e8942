from gradcheck.steps.journey import Line
from gradcheck.steps.words import Cause, named, said


def backward():
    """Has a code."""


LINE = Line(backward.__code__, 9)


def test_what_stands_on_a_line_is_said_beside_what_should():
    cause = Cause("B1", ("w",), LINE, "dout @ x", "x.T @ dout", (1,))
    assert said(cause) == "line 9 of backward: dout @ x should be x.T @ dout"


def test_what_a_line_lacks_is_said_of_the_line():
    cause = Cause("C7", ("x",), LINE, "", "lacks the path through var", (0,))
    assert said(cause) == "line 9 of backward lacks the path through var"


def test_without_a_line_it_is_said_of_what_is_returned():
    cause = Cause("A1", ("w", "b"), None, "", "is the gradient with the wrong sign", (2,))
    assert said(cause) == "what is returned for w and b is the gradient with the wrong sign"


def test_of_many_arguments_the_first_are_named():
    assert named(["a", "b", "c"]) == "a, b and c"
    assert named(list("abcdefgh")) == "a, b, c, d and 4 more"
