"""What is written in the source where an operation stands, and what its operands are written as. Level 3.

Bytecode says from where to where an instruction was written. Where no source is to be had nothing is quoted.
"""

from __future__ import annotations

import ast
import functools
import linecache
import textwrap
from types import CodeType
from typing import NamedTuple

from gradcheck.steps.places import Site

__all__ = ["Quote", "quoted"]

LONG = 48  # letters: a longer expression is not quoted


class Quote(NamedTuple):
    """An expression as it is written, and its operands; ``text`` is "" where it is too long to be quoted."""

    text: str
    operands: tuple[str, ...]

    def operand(self, place: int) -> str:
        """Return an operand as it is written, "" if it is not known or too long."""
        found = self.operands[place] if place < len(self.operands) else ""
        return found if len(found) <= LONG else ""


NOTHING = Quote("", ())


def quoted(site: Site) -> Quote:
    """Return what is written where an operation stands."""
    return _quoted(*site.frames[-1]) if site.frames else NOTHING


@functools.lru_cache(maxsize=4096)
def _quoted(code: CodeType, at: int) -> Quote:
    text = _text(code, at)
    statement = _parsed(text) or (_parsed(text := f"({text})") if text else None)  # an expression may go on over lines
    if statement is None:
        return NOTHING
    operands = tuple(_segment(text, each) for each in _operands(statement))
    whole = (
        " ".join((ast.get_source_segment(text, statement.value) or "").split())
        if isinstance(statement, ast.Expr)
        else ""
    )
    return Quote(whole if len(whole) <= LONG else "", operands)


def _parsed(text: str) -> ast.stmt | None:
    """Return the only statement of a text, None if it is not one."""
    try:
        (statement,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    return statement


def _segment(text: str, operand: ast.expr) -> str:
    """Return an operand as it is written, in parentheses where another operator beside it would need them."""
    written = " ".join((ast.get_source_segment(text, operand) or "").split())
    return f"({written})" if isinstance(operand, ast.BinOp | ast.UnaryOp | ast.Compare) else written


def _text(code: CodeType, at: int) -> str:
    """Return the source from which an instruction was made."""
    first, last, start, end = next(p for i, p in enumerate(code.co_positions()) if i == at // 2)
    if first is None or last is None or start is None or end is None:
        return ""
    lines = [linecache.getline(code.co_filename, number) for number in range(first, last + 1)]
    if not all(lines):
        return ""
    raw = [line.encode() for line in lines]  # columns are counted in bytes
    raw[-1] = raw[-1][:end]
    raw[0] = raw[0][start:]
    return textwrap.dedent(b"".join(raw).decode(errors="replace"))


def _operands(statement: ast.stmt) -> list[ast.expr]:
    """Return the operands of a statement that is one operation, in the order in which NumPy is given them."""
    if isinstance(statement, ast.AugAssign):
        return [statement.target, statement.value]
    match getattr(statement, "value", None):
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Compare(left=left, comparators=[right]):
            return [left, right]
        case ast.Subscript(value=value):
            return [value]
        case ast.Attribute(value=value):
            return [value]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy" | "jnp")), args=args):
            return args
        case ast.Call(func=ast.Attribute(value=receiver), args=args):
            return [receiver, *args]
        case ast.Call(args=args):
            return args
    return []
