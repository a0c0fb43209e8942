import time
from pathlib import Path

import numpy as np
import pytest

from gradcheck import Verdict, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.steps.explain import explain

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))


def layer(x, w):
    z = x @ w
    return np.tanh(z), (x, w, z)


def right(dout, cache):
    x, w, z = cache
    dz = dout * (1 - np.tanh(z) ** 2)
    return dz @ w.T, x.T @ dz


def without_derivative(dout, cache):
    x, w, _ = cache
    dz = dout
    return dz @ w.T, x.T @ dz


def line_of(function, text):
    """Return the number of the line of a function that holds ``text``."""
    code = function.__code__
    lines = Path(code.co_filename).read_text().splitlines()
    return next(n for n in range(code.co_firstlineno, len(lines)) if text in lines[n - 1])


def answers(forward, backward, args, wrong=(), cotangent=None, **more):
    arguments = Arguments.of(forward, args)
    out, _ = forward(*args)
    drawn = np.random.default_rng(1).standard_normal(np.shape(out)) if np.ndim(out) else 0.7
    return explain(forward, backward, arguments, drawn if cotangent is None else cotangent, wrong, **more)


def test_why_and_where_are_said_of_what_is_wrong():
    found = answers(layer, without_derivative, (X, W), ("x", "w"))
    (why,) = found.explanations
    assert (why.mistake, why.arguments, why.verified) == ("C1", ("w", "x"), True)
    assert "tanh" in why.sentence
    assert found.silence is None
    wrong = {step.line for step in found.steps if step.verdict == "wrong"}
    assert line_of(without_derivative, "dz = dout") in wrong


def test_of_a_right_backward_every_line_is_marked_and_nothing_explained():
    found = answers(layer, right, (X, W))
    assert (found.explanations, found.silence) == ((), None)
    assert {step.verdict for step in found.steps} == {"right"}


def test_an_explanation_speaks_of_what_the_check_found_wrong_alone():
    found = answers(layer, without_derivative, (X, W), ("w",))
    assert [why.arguments for why in found.explanations] == [("w",)]


def mean(x, w):
    y = x @ w
    return np.mean(y**2), (x, w, y)


def deaf(dout, cache):
    x, w, y = cache
    dy = 2 * y / y.size
    return dy @ w.T, x.T @ dy


def test_a_cotangent_that_is_ignored_is_found_of_a_single_number_and_has_a_line():
    found = answers(mean, deaf, (X, W), ("x", "w"))
    assert found.explanations[0].mistake == "C5"
    assert found.explanations[0].line == line_of(deaf, "dy = 2")


def two_mistakes(dout, cache):
    x, w, z = cache
    dz = dout * (1 - np.tanh(z) ** 2)
    return -(dz @ w.T), 3.7 * (x.T @ dz)


def test_of_two_mistakes_each_is_explained():
    found = answers(layer, two_mistakes, (X, W), ("x", "w"))
    assert {why.arguments: why.mistake for why in found.explanations} == {("x",): "A1", ("w",): "A4"}


def by_chance(dout, cache):
    x, w, z = cache
    dz = dout * (1 - np.tanh(z) ** 2)
    return dz @ w.T, np.sqrt(np.abs(x.T @ dz))


def test_what_nothing_explains_is_located_all_the_same():
    found = answers(layer, by_chance, (X, W), ("w",))
    assert found.explanations == ()
    assert found.silence == "no mistake of the catalogue, undone, gives the measured gradients at two points"
    assert {step.line for step in found.steps if step.verdict == "wrong"} == {line_of(by_chance, "np.sqrt")}


class Broken(BaseException):
    """No Exception."""


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(0), GeneratorExit(), Broken("no")])
def test_what_the_backward_raises_in_here_is_told_and_never_escapes(error):
    def raising(dout, cache):
        raise error

    found = answers(layer, raising, (X, W), ("x", "w"))
    assert found.explanations == ()
    assert type(error).__name__ in found.silence


def test_an_interrupt_passes():
    def raising(dout, cache):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers(layer, raising, (X, W), ("x", "w"))


def test_code_that_takes_too_long_is_ended_and_that_is_said():
    def endless(dout, cache):
        while True:
            pass

    start = time.perf_counter()
    found = answers(layer, endless, (X, W), ("x", "w"), seconds=0.3)
    assert time.perf_counter() - start < 3
    assert "the time was over" in found.silence


def test_what_was_found_before_the_time_was_over_is_kept():
    calls = []

    def slow(dout, cache):
        calls.append(1)
        if len(calls) > 1:
            time.sleep(0.5)
        return without_derivative(dout, cache)

    found = answers(layer, slow, (X, W), ("x", "w"), seconds=0.4)
    assert "the time was over" in found.silence
    assert [step.line for step in found.steps if step.verdict == "wrong"] == [
        line_of(without_derivative, "dz = dout"),
    ]


def test_a_point_that_the_forward_refuses_leaves_a_nearer_one():
    def picky(x, w):
        if np.abs(x - X).max() > 0.2:
            raise ValueError("too far")
        return layer(x, w)

    found = answers(picky, without_derivative, (X, W), ("x", "w"))
    assert found.explanations[0].mistake == "C1"


def test_causes_that_cannot_be_told_apart_are_said_with_the_inputs_that_would():
    def forward(x, w):
        y = x @ w
        return y.sum() / len(x) / 2, (x, w)

    def backward(dout, cache):
        x, w = cache
        dy = dout * np.ones((len(x), w.shape[1])) / len(x)
        return dy @ w.T, x.T @ dy

    square = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 2))
    found = answers(forward, backward, square, ("x", "w"))
    assert found.explanations[0].mistake[0] == "A"
    assert all(why.otherwise for why in found.explanations) == (len(found.explanations) > 1)


def test_the_report_of_a_failure_says_the_sentence_and_the_line():
    report = examine_backward(layer, without_derivative, (X, W), seed=0)
    text = str(report)
    assert report.verdict is Verdict.FAIL
    assert "Why (C1)" in text
    assert "✗" in text
