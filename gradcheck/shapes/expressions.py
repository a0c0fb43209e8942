"""Sizes as they are written: ``N``, ``3``, ``H+kh-1``, ``(H+2*q-kh)//s+1``. Level 0."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from gradcheck.shapes.text import Tokens
from gradcheck.shapes.values import FAMILIES

__all__ = ["KEYWORDS", "Expression", "begins", "expression"]

Tree = int | float | str | tuple[str, Any, Any]  # a number, the name of a size, or an operation on two of these

HIGHEST = 64  # exponent; what is larger is no size, and takes long to find out


def _power(base: Any, exponent: Any) -> Any:
    if exponent > HIGHEST:
        raise OverflowError("an exponent is too large for a size")
    return base**exponent


_OPERATORS: dict[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "+": (1, operator.add),
    "-": (1, operator.sub),
    "*": (2, operator.mul),
    "/": (2, operator.truediv),
    "//": (2, operator.floordiv),
    "%": (2, operator.mod),
    "**": (3, _power),
}
KEYWORDS = FAMILIES.keys() | {"int", "bool", "float", "float32", "complex", "tuple", "in", "away", "from", "scale"}


@dataclass(frozen=True)
class Expression:
    """A number that depends on sizes: how it is written, where that begins in the text, and what it is made of."""

    text: str
    start: int
    tree: Tree

    @property
    def names(self) -> frozenset[str]:
        """The names of the sizes in it."""
        return frozenset(_names(self.tree))

    def __call__(self, sizes: Mapping[str, Any]) -> Any:
        """Return its value for some sizes.

        Raises:
            ZeroDivisionError: one of them is zero where it divides.
        """
        return _value(self.tree, sizes)


def begins(tokens: Tokens) -> bool:
    """Whether an expression begins at the next token."""
    kind, text, _ = tokens.next
    is_name = kind == "name" and text not in KEYWORDS and not iskeyword(text)
    return kind == "number" or is_name or (text == "(" and kind == "sign")


def expression(tokens: Tokens) -> Expression:
    """Read an expression: a blank ends it unless an operator stands on one side."""
    start = tokens.next.start
    tree = _sum(tokens, 1)
    written = tokens.text[start : tokens.next.start].strip()
    return Expression("".join(written.split()), start, tree)


def _sum(tokens: Tokens, level: int) -> Tree:
    """Read operations that bind as strongly as ``level`` or more so."""
    left = _operand(tokens)
    while tokens.next.kind == "sign" and (found := _OPERATORS.get(tokens.next.text)) and found[0] >= level:
        if tokens.next.text == "*" and _is_axes(tokens):
            break
        sign = tokens.take().text
        left = (sign, left, _sum(tokens, found[0] + (sign != "**")))
    return left


def _is_axes(tokens: Tokens) -> bool:
    """Whether a star begins a name of several axes, ``D *batch``, and multiplies nothing."""
    star, name = tokens.next, tokens.after
    before = tokens.text[star.start - 1 : star.start]
    return before.isspace() and name.kind == "name" and name.start == star.start + 1


def _operand(tokens: Tokens) -> Tree:
    if tokens.takes("-"):
        return ("-", 0, _operand(tokens))
    if not begins(tokens):
        tokens.refuse("have a size here, such as N, 3 or H+kh-1")
    token = tokens.take()
    if token.text == "(":
        inside = _sum(tokens, 1)
        tokens.must_take(")", "close the bracket of a size with )")
        return inside
    if token.kind == "name":
        return token.text
    return int(token.text) if token.text.isdigit() else float(token.text)


def _names(tree: Tree) -> set[str]:
    if isinstance(tree, tuple):
        return _names(tree[1]) | _names(tree[2])
    return {tree} if isinstance(tree, str) else set()


def _value(tree: Tree, sizes: Mapping[str, Any]) -> Any:
    if isinstance(tree, tuple):
        return _OPERATORS[tree[0]][1](_value(tree[1], sizes), _value(tree[2], sizes))
    return sizes[tree] if isinstance(tree, str) else tree
