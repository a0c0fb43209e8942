"""A specification is read as it is written; what is none is refused at the character."""

import pytest

from gradcheck.shapes.grammar import read
from gradcheck.shapes.parts import Array, Group, Setting, Size


def dims(text):
    """The sizes of the array x as they are written."""
    return [getattr(each, "text", None) or f"*{each.name}" for each in read(text).parts["x"].dims]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("x: N D", ["N", "D"]),
        ("x: (N, D)", ["N", "D"]),
        ("x: (N,)", ["N"]),
        ("x: ()", []),
        ("x: N 3 H+kh-1", ["N", "3", "H+kh-1"]),
        ("x: H + kh - 1 N", ["H+kh-1", "N"]),
        ("x: (H+2*q-kh)//s+1 N", ["(H+2*q-kh)//s+1", "N"]),
        ("x: T*N 2**k", ["T*N", "2**k"]),
        ("x: *batch D", ["*batch", "D"]),
        ("x: D *batch", ["D", "*batch"]),
        ("x: ... D", ["*...", "D"]),
    ],
)
def test_sizes_are_separated_by_blanks_unless_an_operator_joins_them(text, sizes):
    assert dims(text) == sizes


def test_an_expression_has_the_value_of_the_arithmetic_that_it_is():
    (size,) = read("x: (H+2*q-kh)//s+1").parts["x"].dims
    assert size({"H": 9, "q": 1, "kh": 4, "s": 2}) == (9 + 2 - 4) // 2 + 1
    assert size.names == {"H", "q", "kh", "s"}
    (power,) = read("x: 2-1-1+2**3**1").parts["x"].dims
    assert power({}) == 8


def test_arguments_are_arrays_numbers_sizes_settings_and_containers():
    parts = read(
        "x: N D float32, lam: float > 0, kh, s in 1 2, mode = train, eps = -1e-5, p: {W: D M, b: M}, "
        "c: tuple[N, N], l: [3, N int < 4]"
    ).parts
    assert parts["x"] == Array(parts["x"].dims, "float32")
    assert parts["lam"].dims is None
    assert parts["kh"] == Size("kh")
    assert parts["s"] == Size("s")
    assert parts["mode"] == Setting("train")
    assert parts["eps"] == Setting(-1e-5)
    assert (parts["p"].kind, parts["p"].keys) == (dict, ("W", "b"))
    assert (parts["c"].kind, len(parts["c"].parts)) == (tuple, 2)
    assert isinstance(parts["l"], Group)
    assert parts["l"].kind is list


def test_an_argument_may_be_called_as_a_rule_is():
    assert set(read("x: N lower, lower: N N, scale = 2, unit in 1 2").parts) == {"x", "lower", "scale", "unit"}


def test_values_are_numbers_words_strings_and_what_python_calls_so():
    assert read("a in 1 -2 0.5 tanh 'two words' True None").choices == {
        "a": (1, -2, 0.5, "tanh", "two words", True, None)
    }


def test_conditions_and_values_of_sizes_follow_a_semicolon():
    grammar = read("x: N kh H; kh <= H, N in 1 2 5, N + 1 != H")
    assert [each.text for each in grammar.conditions] == ["kh <= H", "N+1 != H"]
    assert grammar.choices == {"N": (1, 2, 5)}
    assert grammar.conditions[0].holds({"kh": 2, "H": 2})
    assert not grammar.conditions[0].holds({"kh": 3, "H": 2})


def test_each_argument_is_kept_as_it_is_written():
    assert read("x: N D ,  labels:N int < M").written == {"x": "x: N D", "labels": "labels:N int < M"}


REFUSED = {
    "x: N D W: D": ("separate arguments by commas, and conditions from them by a semicolon, but there is ':'.", 8),
    "x: N int": ("bound integers from above, as in int < M or int in 0 9, but the text ends there.", 8),
    "x:": ("have sizes after a colon, or say which number it is (float, int), but the text ends there.", 2),
    "x: N, x: D": ("name each argument once, and x is one already, but there is 'x'.", 6),
    "None: N": (
        "name an argument here, and 'None' has a meaning of its own, but there is 'None'. Choose another name.",
        0,
    ),
    "x: lambda": ("have sizes after a colon, or say which number it is (float, int), but there is 'lambda'.", 3),
    "x: N +": ("have a size here, such as N, 3 or H+kh-1, but the text ends there.", 6),
    "int in 0 9": (
        "name an argument here, and 'int' has a meaning of its own, but there is 'int'. Choose another name.",
        0,
    ),
    "x: N simplex > 0": ("say of float values only what agrees with the rest, but there is '>'.", 13),
    "x: N > 0 simplex": ("say of float values only what agrees with the rest, but there is 'simplex'.", 9),
    "x: N int < 3 psd": ("say of int values only what agrees with the rest, but there is 'psd'.", 13),
    "x: N bool > 0": ("say of bool values only what agrees with the rest, but there is '>'.", 10),
    "x: N away 0": ("say what values are away from, as in away from 0, but there is '0'.", 10),
    "x: N > 0 > 1": ("say of float values only what agrees with the rest, but there is '>'.", 9),
    "x: (N, D": ("close a shape with ), but the text ends there.", 8),
    "x: (N-1": ("close the bracket of a size with ), but the text ends there.", 7),
    "x: tuple(N)": ("have the parts of a tuple in square brackets, as in tuple[n h, n h], but there is '('.", 8),
    "x: [N, M": ("close what a container holds with ], but the text ends there.", 8),
    "x: {a: N": ("close what a dict holds with }, but the text ends there.", 8),
    "x: {a N}": ("have a colon after a key, but there is 'N'.", 6),
    "x: {a: N, a: M}": ("name each key once, and a is one already, but there is 'a'.", 10),
    "x: * 3": ("name several axes after a star, as in *batch, but there is '3'.", 5),
    "a in": ("have values to choose from after 'in', but the text ends there.", 4),
    "a =": ("give a setting a value, but the text ends there.", 3),
    "a = -b": ("give a setting a value, but there is 'b'.", 5),
    "x: N; N": (
        "compare two sizes here, as in kh <= H, or name the values of one, as in N in 1 2 5, but the text ends there.",
        7,
    ),
    "x: N; N in 1, N in 2": ("say once what N is chosen from, but there is 'N'.", 14),
    "x: N ? D": ("separate arguments by commas, and conditions from them by a semicolon, but there is '?'.", 5),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_specification_is_refused_at_the_character(text):
    sentence, column = REFUSED[text]
    with pytest.raises(ValueError, match="shapes must") as refused:
        read(text)
    assert str(refused.value) == f"shapes must {sentence}\n    {text}\n    {' ' * column}^"


def test_of_several_lines_the_one_is_shown_that_is_refused():
    with pytest.raises(ValueError, match="shapes must") as refused:
        read("x: N D,\ny: +")
    assert str(refused.value).endswith("\n    y: +\n       ^")
