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
    assert names == ["backward", "first", "second"]


def affine(x, w):
    y = x @ w
    return y, (x, w)


def affine_backward(dy, cache):
    x, w = cache
    dx = dy @ w.T
    return dx, x.T @ dy


def through_helpers(x, w, v):
    z, first = affine(x, w)
    h = np.tanh(z)
    a, second = affine(h, v)
    return a, (first, second, z)


def through_helpers_backward(da, cache, slope=lambda z: 1 - np.tanh(z) ** 2):
    first, second, z = cache
    dh, dv = affine_backward(da, second)
    dz = dh * slope(z)
    dx, dw = affine_backward(dz, first)
    return dx, dw, dv


def test_a_line_that_calls_a_function_hands_on_what_that_makes():
    steps = marks(through_helpers, through_helpers_backward, ARGS[:2] + ARGS[3:])
    held = {step.source.partition(" = ")[0]: step for step in steps.values() if step.source}
    assert (held["dh, dv"].verdict, held["dh, dv"].operation) == ("right", "affine_backward")
    assert held["dh, dv"].cotangent_of == "h, v"


def test_a_function_speaks_of_the_forward_in_the_letters_of_the_forward_that_is_as_deep():
    steps = marks(through_helpers, through_helpers_backward, ARGS[:2] + ARGS[3:])
    held = {step.source.partition(" = ")[0]: step.cotangent_of for step in steps.values() if step.source}
    assert held["dz"] == "z"
    assert held["dx, dw"] == "x, w"


def test_a_line_that_calls_what_is_wrong_is_not_right():
    def backward(da, cache):
        return through_helpers_backward(da, cache, slope=lambda z: 1 - np.tanh(z))

    steps = marks(through_helpers, backward, ARGS[:2] + ARGS[3:])
    held = {step.source.partition(" = ")[0]: step.verdict for step in steps.values() if step.source}
    assert next(step for step in steps.values() if step.function == "<lambda>").verdict == "wrong"
    assert held["dz"] == "unreached"
    assert held["dh, dv"] == "right"  # what it hands on is, and it does not feed the line that is wrong
    assert held["dx, dw"] == "unreached"


def filled_backward(dout, y):
    dy = np.zeros_like(y)
    dy[:2] = dout * y[2:]
    dy[2:] = dout * y[:2]
    return dy


def test_of_a_buffer_that_a_call_fills_is_told_what_is_read_of_it():
    def forward(x):
        y = 3.0 * x
        return y[:2] * y[2:], y

    def backward(dout, y):
        dy = filled_backward(dout, y)
        return 3.0 * dy

    steps = marks(forward, backward, (np.arange(1.0, 5.0),))
    (dy,) = [step for step in steps.values() if step.source == "dy = filled_backward(dout, y)"]
    assert (dy.verdict, dy.cotangent_of) == ("right", "y")
