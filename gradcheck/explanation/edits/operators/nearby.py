"""What the function has nearby and does not use here: a matrix, a slope of the step, a derivative (B1, B6, C1).

Level 1.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import fill, names_in, text
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, is_cotangent
from gradcheck.explanation.edits.sequence import counters

__all__ = ["multiplied", "regrouped", "slopes", "uncalled"]

_FUNCTIONS = {"function", "method", "builtin_function_or_method"}
_SLOPE = re.compile(r"slope|deriv|prime|local|jac", re.IGNORECASE)


def multiplied(scene: Scene) -> Iterator[Proposal]:
    """Take the product that an operand is part of elsewhere for the bare operand: ``U.T @ delta`` for ``delta``."""
    products: dict[str, set[str]] = {}
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            for operand in (node.left, node.right):
                if isinstance(operand, ast.Name | ast.Subscript):
                    products.setdefault(text(operand), set()).add(text(node))
    for site in scene.values if products else ():
        bare = isinstance(site.node, ast.Name | ast.Subscript)
        for product in sorted(products.get(text(site.node), ())) if bare else ():
            yield _at(site, "B6", 17, fill(product))


def slopes(scene: Scene) -> Iterator[Proposal]:
    """Multiply a value by the step's entry of an array that has one of the value's shape for each step."""
    for site in scene.values:
        shape, statement = scene.seen(site.node).shape, site.statement
        if not shape or not statement.loops:
            continue
        for path, other in scene.operands(statement).items():
            fits = path.isidentifier() and other.is_float and (other.shape or ())[1:] == shape
            slope = bool(_SLOPE.search(path)) or (other.low >= 0 and other.high <= 1)
            if not fits or not slope or is_cotangent(path) or path in names_in(site.node):
                continue
            for counter in sorted(counters(statement)):
                if scene.operands(statement).get(counter, scene.nothing).kind == "i":
                    yield _at(site, "C1", 19, fill(f"{path}[{counter}] * v", v=site.node))


def uncalled(scene: Scene) -> Iterator[Proposal]:
    """Call, on a value, a derivative that is at hand and never called, with what is kept for it."""
    for site in scene.values:
        scope = scene.watched.scopes.get(site.statement.position, {})
        unread = scene.unread & scope.keys()
        for name in sorted(name for name in unread if scope[name].kind in _FUNCTIONS):
            for kept, seen in scope.items():
                listed = seen.kind in {"list", "tuple"} and kept.isidentifier() and kept != name
                for counter in sorted(counters(site.statement)) if listed and not is_cotangent(kept) else ():
                    yield _at(site, "C1", 13, fill(f"{name}(v, {kept}[{counter}])", v=site.node))
                if kept in unread and kept != name:
                    yield _at(site, "C1", 15, fill(f"{name}(v, {kept})", v=site.node))


def regrouped(scene: Scene) -> Iterator[Proposal]:
    """Split an axis in the other order: ``reshape(T, n, d)`` for ``reshape(n, T, d).swapaxes(0, 1)``, or so."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        inner = node.func.value
        exchanged = node.func.attr in {"swapaxes", "transpose"} and [text(a) for a in node.args[:2]] in (
            ["0", "1"],
            ["1", "0"],
        )
        if exchanged and isinstance(inner, ast.Call) and _splits(inner):
            first, second, *rest = inner.args
            yield _at(site, "B1", 15, ast.Call(inner.func, [second, first, *rest], []))
        elif _splits(node) and not _is_exchanged(site):
            first, second, *rest = node.args
            made = ast.Call(node.func, [second, first, *rest], [])
            yield _at(site, "B1", 17, fill("v.swapaxes(0, 1)", v=made))


def _splits(call: ast.Call) -> bool:
    """Whether a call shapes an array into three axes or more, the first two of which have names."""
    named = len(call.args) > 2 and all(isinstance(arg, ast.Name) for arg in call.args[:2])
    return isinstance(call.func, ast.Attribute) and call.func.attr == "reshape" and named


def _is_exchanged(site: Site) -> bool:
    parent = site.place.parent
    return isinstance(parent, ast.Attribute) and parent.attr in {"swapaxes", "transpose"}


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
