"""Every line of a backward gets the mark that it deserves."""

import numpy as np
import pytest

from gradcheck.steps.listing import listing
from tests.steps.pairs import ARGS, STEPS, blame_of, layers, layers_backward, recurrent
from tests.steps.test_blame import exchanged, no_derivative, numbers, through_time, wrong_derivative


def marks(forward, backward, args):
    blame = blame_of(forward, backward, args)
    return {step.line: step for step in listing(blame, blame.pins)}


@pytest.mark.parametrize(
    ("forward", "backward", "args"), [(layers, layers_backward, ARGS), (recurrent, through_time, STEPS)]
)
def test_every_line_of_a_right_backward_is_right_or_auxiliary(forward, backward, args):
    steps = marks(forward, backward, args).values()
    assert {step.verdict for step in steps} <= {"right", "auxiliary"}
    assert sum(step.verdict == "right" for step in steps) >= 4


def test_a_line_holds_the_cotangent_of_the_value_by_its_plain_name():
    steps = marks(layers, layers_backward, ARGS).values()
    held = {step.source.partition(" = ")[0]: step.cotangent_of for step in steps if step.source}
    assert held["dh"] == "h"
    assert held["dz"] == "z"
    assert held["db"] == "b"


def test_a_wrong_line_says_what_it_should_be_and_what_follows_is_unreached():
    steps = marks(layers, wrong_derivative, ARGS)
    (number,) = numbers(wrong_derivative)
    assert (steps[number].verdict, steps[number].cotangent_of) == ("wrong", "z")
    assert steps[number - 1].verdict == "right"
    assert steps[number + 1].verdict == "unreached"


def test_a_line_that_computes_nothing_can_be_wrong():
    steps = marks(layers, no_derivative, ARGS)
    (number,) = numbers(no_derivative)
    assert (steps[number].verdict, steps[number].operation) == ("wrong", "")


def test_the_lines_are_in_the_order_of_the_code_and_have_their_text():
    steps = list(marks(layers, exchanged, ARGS).values())
    assert [step.line for step in steps] == sorted(step.line for step in steps)
    assert all(step.function == "exchanged" and step.source for step in steps)


def test_without_a_text_the_operations_are_told():
    text = """
def forward(x):
    return x * x, x

def backward(dout, x):
    dx = 3 * x
    return dout * dx
"""
    exec(compile(text, "<nowhere>", "exec"), names := {})  # noqa: S102  (the text is our own)
    blame = blame_of(names["forward"], names["backward"], (np.arange(1.0, 4.0),))
    (step,) = [step for step in listing(blame, blame.pins) if step.line == 6]
    assert (step.file, step.source, step.operation) == ("<nowhere>", None, "multiply")


def test_functions_come_in_the_order_in_which_they_run():
    def first(dout):
        return dout * 2.0

    def second(dout):
        return dout * 3.0

    def backward(dout, _):
        return second(first(dout))

    blame = blame_of(lambda x: (6.0 * x, None), backward, (np.arange(3.0),))
    names = list(dict.fromkeys(step.function for step in listing(blame)))
    assert names == ["first", "second"]
