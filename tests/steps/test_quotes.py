import linecache
import textwrap

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.steps.quotes import quoted
from gradcheck.steps.run import traced


def compiled(text, file):
    """Return the function ``f`` of a text that has a file's name."""
    text = textwrap.dedent(text)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names = {"np": np}
    exec(compile(text, file, "exec"), names)  # noqa: S102  (a text of this page)
    return names["f"]


def quotes_of(body, name, file="<a page>"):
    """Return what is quoted of the operations called ``name`` in a function of x (3, 4) and y (3, 4)."""
    f = compiled(f"def f(x, y):\n    {body}\n    return out, None\n", file)
    run = traced(f, None, Arguments.of(f, (np.ones((3, 4)), 2 * np.ones((3, 4)))))
    return [quoted(node.site) for node in run.nodes if node.name == name and node.kind == "op"]


@pytest.mark.parametrize(
    ("body", "name", "text", "operands"),
    [
        ("out = x * y", "multiply", "x * y", ("x", "y")),
        ("out = (x + 1) @ y.T", "matmul", "(x + 1) @ y.T", ("(x + 1)", "y.T")),
        ("out = np.dot(x, y.T)", "dot", "np.dot(x, y.T)", ("x", "y.T")),
        ("out = x.dot(y.T)", "dot", "x.dot(y.T)", ("x", "y.T")),
        ("out = (x * y).sum(axis=0)", "sum", "(x * y).sum(axis=0)", ("(x * y)",)),
        ("out = -x", "negative", "-x", ("x",)),
        ("out = 1.0 * (x > y)", "greater", "x > y", ("x", "y")),
        ("out = x.copy(); out += y", "add", "", ("out", "y")),
    ],
)
def test_an_operation_is_quoted_as_it_is_written_with_its_operands(body, name, text, operands):
    (quote, *_) = quotes_of(body, name)
    assert (quote.text, quote.operands) == (text, operands)


def test_what_is_written_over_several_lines_is_quoted_on_one():
    (quote,) = quotes_of("out = (x *\n           y)", "multiply")
    assert quote.text == "x * y"


def test_a_long_expression_is_not_quoted_but_its_short_operands_are():
    long = " + ".join(["x"] * 20)
    quote = quotes_of(f"out = ({long}) * y", "multiply")[0]
    assert (quote.text, quote.operand(0), quote.operand(1), quote.operand(2)) == ("", "", "y", "")


def test_where_no_source_is_to_be_had_nothing_is_quoted():
    f = compiled("def f(x):\n    return x * 2.0, None\n", "<gone>")
    del linecache.cache["<gone>"]
    run = traced(f, None, Arguments.of(f, (np.ones(3),)))
    assert [quoted(node.site).text for node in run.nodes if node.name == "multiply"] == [""]


def test_letters_of_several_bytes_are_counted_as_one():
    (quote,) = quotes_of("ξ = 'äöü'; out = x * y", "multiply")
    assert quote.text == "x * y"
