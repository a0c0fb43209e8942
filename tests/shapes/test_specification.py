"""A specification that contradicts itself is refused; a point of it is drawn again from what its repr says."""

import numpy as np
import pytest

from gradcheck import point
from gradcheck.shapes.specification import specified, specified_by

CONTRADICTIONS = {
    "x: N D, y: N int < M": "hold each size as that of an axis or an argument, but M is none.",
    "x: N; q > 3": "hold each size as that of an axis or an argument, but q is none.",
    "x: N; M in 1 2": "hold each size as that of an axis or an argument, but M is none.",
    "x: N scale M": "hold each size as that of an axis or an argument, but M is none.",
    "x: x N": "call an argument otherwise than a size, but x is both.",
    "x: *b b": "call a number otherwise than several axes, but b is both.",
    "x: *b, b": "call a number otherwise than several axes, but b is both.",
    "x: N psd": "have 2 axes where values are psd, but there are fewer.",
    "k, x: N": (
        "say what each argument is, but of k there is the name alone. "
        "Write k: N D for an array, or k in 1 2 3 for a number."
    ),
    "x: N; N in 1.5 2": "choose a size from whole numbers, but N is chosen from (1.5, 2).",
}


@pytest.mark.parametrize("text", CONTRADICTIONS)
def test_a_specification_that_contradicts_itself_is_refused(text):
    with pytest.raises(ValueError, match="shapes must") as refused:
        specified(text)
    assert str(refused.value).splitlines()[0] == f"shapes must {CONTRADICTIONS[text]}"


PROBLEMS = {
    ("x: N; N > 3", "N", 2): "obey N > 3",
    ("x: N-3 N", "N", 2): "give x no axis shorter than 1, and its shape would be (-1, 2)",
    ("x: N 2 psd", "N", 3): "let x be psd only where its last two axes are equal",
    ("x: *b psd", "b", (2,)): "let x be psd only where it has 2 axes or more",
    ("x: N in 3 N", "N", 2): "let x have values between 3 and N only where these leave room",
    ("x: 6//(N-2)", "N", 2): "be numbers, and there is a ZeroDivisionError",
    ("x: N N N", "N", 1000): "make a point of at most 10,000,000 entries, and this one would have 1,000,000,000",
    ("x: N int < N-2", "N", 2): "let x have values between 0 and N-2 only where these leave room",
    ("x: N int < 3 distinct", "N", 4): "let x have distinct values only where there are enough below 3",
}


@pytest.mark.parametrize(("text", "name", "size"), PROBLEMS)
def test_sizes_of_which_there_is_no_point_are_told(text, name, size):
    assert specified(text).problem({name: size}) == PROBLEMS[text, name, size]
    with pytest.raises(ValueError, match="point must"):
        point(text, **{name: size})


def test_the_repr_of_a_point_draws_it_again():
    drawn = point("x: *b N, labels: N int < K, act in tanh relu, K", seed=5)
    again = eval(repr(drawn))  # noqa: S307  (it is ours, and to evaluate it is the point)
    assert repr(again) == repr(drawn)
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))
    assert repr(point("x: ... N", seed=1, **{"...": (2,)}, N=3)) == "point('x: ... N', seed=1, N=3, **{'...': (2,)})"


def test_a_setting_may_be_called_seed():
    x, seed = drawn = point("x: N, seed in 3 4", 7, seed=4, N=2)
    assert (x.shape, seed, drawn.seed) == ((2,), 4, 7)
    assert repr(drawn) == "point('x: N, seed in 3 4', 7, N=2, seed=4)"


def test_a_point_of_unknown_sizes_is_refused():
    with pytest.raises(TypeError) as refused:
        point("x: N D", M=3)
    assert str(refused.value) == ("point must be given sizes of its specification (N, D), but M is none. Leave it out.")


def test_sizes_that_are_not_given_are_generic():
    x, w = point("x: N D, w: D M", D=4)
    assert x.shape[1] == w.shape[0] == 4
    assert len({*x.shape, *w.shape}) == 3
    assert min(x.shape + w.shape) > 1


def test_a_function_makes_the_arguments_where_a_text_does_not():
    def made(rng, depth, kind):
        return [rng.standard_normal(k) for k in range(1, depth + 1)], kind

    spec = specified_by("depth in 1 2 3, kind in a b", made)
    layers, kind = spec.point({"depth": 2, "kind": "b"}, 3)
    assert [each.shape for each in layers] == [(1,), (2,)]
    assert kind == "b"
    with pytest.raises(ValueError, match="shapes must name sizes alone where a function makes the arguments"):
        specified_by("x: N", made)
