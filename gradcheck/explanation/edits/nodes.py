"""Small expressions made from a template, and what is asked of an expression. Level 1."""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Iterator
from typing import Any

__all__ = [
    "cloned",
    "constant",
    "factors",
    "fill",
    "headline",
    "is_held",
    "names_in",
    "reduction",
    "statement",
    "text",
    "with_each",
]


_SHARED = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)  # the parser too makes one for all


def fill(template: str, **parts: ast.expr | str) -> Any:
    """Return the expression ``template`` with each name among ``parts`` replaced by that expression.

    New nodes have no place in the file yet; the nodes of ``parts`` are used as they are, not copied.
    """
    nodes = {name: fill(part) if isinstance(part, str) else part for name, part in parts.items()}
    return _copied(_template(template), nodes)


def statement(template: str, **parts: ast.expr | str) -> Any:
    """Return a statement, likewise."""
    nodes = {name: fill(part) if isinstance(part, str) else part for name, part in parts.items()}
    return _copied(ast.parse(template).body[0], nodes)


@functools.lru_cache(maxsize=4096)
def _template(template: str) -> ast.expr:
    return ast.parse(template, mode="eval").body


def _copied(node: Any, parts: dict[str, ast.expr]) -> Any:
    if isinstance(node, ast.AST):
        if isinstance(node, _SHARED):
            return node
        if isinstance(node, ast.Name) and node.id in parts:
            return parts[node.id]
        return type(node)(**{field: _copied(getattr(node, field), parts) for field in node._fields})
    return [_copied(part, parts) for part in node] if isinstance(node, list) else node


def cloned(node: Any) -> Any:
    """Return a copy of a tree with its places in the file, and without what was kept on its nodes."""
    if isinstance(node, ast.AST):
        if isinstance(node, _SHARED):
            return node
        made = type(node)(**{field: cloned(value) for field, value in ast.iter_fields(node)})
        return ast.copy_location(made, node) if hasattr(node, "lineno") else made
    return [cloned(part) for part in node] if isinstance(node, list) else node


def with_each(node: Any, old: str, new: ast.expr, times: list[int] | None = None) -> Any:
    """Return ``node`` with every part that reads ``old`` replaced by ``new``; ``times[0]`` counts them."""
    if isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load) and text(node) == old:
        if times is not None:
            times[0] += 1
        return new
    if isinstance(node, _SHARED):
        return node
    if isinstance(node, ast.AST):
        fields = {field: with_each(value, old, new, times) for field, value in ast.iter_fields(node)}
        made = type(node)(**fields)
        return ast.copy_location(made, node) if hasattr(node, "lineno") else made
    return [with_each(part, old, new, times) for part in node] if isinstance(node, list) else node


def text(node: ast.AST) -> str:
    """Return the source of a node, in one spelling; kept on the node, which therefore must not change inside."""
    kept = vars(node)
    if "spelling" not in kept:
        kept["spelling"] = ast.unparse(node)
    return str(kept["spelling"])


def names_in(node: ast.AST) -> frozenset[str]:
    """Return the names that an expression uses; kept on the node, as ``text`` is."""
    kept = vars(node)
    if "names" not in kept:
        kept["names"] = frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
    return frozenset(kept["names"])


def constant(node: ast.AST) -> float | None:
    """Return the number that a literal is, None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    return None


def factors(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from factors(node.left)
        yield from factors(node.right)
    else:
        yield node


def reduction(node: ast.AST) -> tuple[str, ast.expr] | None:
    """Return the name and the operand of ``x.sum(...)`` or ``np.sum(x, ...)``; None for any other expression."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    if node.func.attr not in {"sum", "mean"}:
        return None
    module = isinstance(node.func.value, ast.Name) and node.func.value.id in {"np", "numpy", "jnp", "onp", "xp"}
    if not module:
        return node.func.attr, node.func.value
    return (node.func.attr, node.args[0]) if node.args else None


def headline(node: ast.stmt) -> str:
    """Return a statement in one line; of a loop, its head."""
    if isinstance(node, ast.For | ast.With | ast.FunctionDef | ast.If | ast.While | ast.Try):
        node = copy.copy(node)
        node.body = [ast.Pass()]
        if not isinstance(node, ast.With | ast.FunctionDef):
            node.orelse = []
        return ast.unparse(node).partition("\n")[0]
    return ast.unparse(node)


def is_held(node: ast.expr | None) -> bool:
    """Whether an expression reads an attribute, or an entry by a literal key, or is a name."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and is_held(node.value)
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and node.attr != "T")
