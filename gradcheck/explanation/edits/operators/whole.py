"""All of a sum: every element of what a loop goes over, every turn, and no condition as a factor (C8, G2). Level 1."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, factors, fill, names_in, text
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, Statement, is_over_time, is_time

__all__ = ["complements", "gates", "is_spatial", "ranges", "sequences", "shares_weights"]

_STRIDE = re.compile(r"stride|pad|kernel|width|height|window", re.IGNORECASE)


def sequences(scene: Scene) -> Iterator[Proposal]:
    """Take the whole of a list, or of a list of numbers, for a part of it."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
            continue
        if not isinstance(node.ctx, ast.Load) or (node.slice.lower is None and node.slice.upper is None):
            continue
        seen = scene.seen(node.value)
        counted = seen.kind in {"i", "u"} and len(seen.shape or ()) == 1
        if seen.kind not in {"list", "tuple"} and not counted:
            continue
        label = "G2" if _over_time(site.statement) else "C8"
        step = node.slice.step
        whole = node.value if step is None else ast.Subscript(node.value, ast.Slice(None, None, step), ast.Load())
        yield _at(site, label, 11, whole)


def _over_time(statement: Statement) -> bool:
    loop = statement.node if isinstance(statement.node, ast.For) else None
    loops = (*statement.loops, loop) if loop is not None else statement.loops
    return any(is_time(name) for each in loops for name in names_in(each.target))


def ranges(scene: Scene) -> Iterator[Proposal]:
    """Let a loop over layers, or over anything but time and windows, begin at the first and end with the last."""
    for site in scene.sites:
        node, loop = site.node, site.statement.node
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"
        if (
            not called
            or not isinstance(loop, ast.For)
            or (is_over_time(loop) and shares_weights(loop))
            or is_spatial(scene, loop)
        ):
            continue
        assert isinstance(node, ast.Call)
        for rank, made in _longer(node):
            yield _at(site, "C8", rank, made)


def shares_weights(loop: ast.For) -> bool:
    """Whether all turns use the same weights, as steps in time do and layers do not."""
    bound = {n for part in ast.walk(loop) for n in names_in(part) if isinstance(getattr(part, "ctx", None), ast.Store)}
    if any(is_time(name) for name in names_in(loop.target)):
        return True
    products = (part for part in ast.walk(loop) if isinstance(part, ast.BinOp) and isinstance(part.op, ast.MatMult))
    called = (part for part in ast.walk(loop) if isinstance(part, ast.Call) and text(part.func).endswith("dot"))
    operands = [x for part in products for x in (part.left, part.right)] + [x for part in called for x in part.args]
    bare = (x.value if isinstance(x, ast.Attribute) and x.attr == "T" else x for x in operands)
    return any(isinstance(x, ast.Name) and x.id not in bound for x in bare)


def _longer(node: ast.Call) -> Iterator[tuple[int, ast.expr]]:
    """Yield a range that begins one earlier or ends one later."""
    args = node.args
    down = len(args) == 3 and text(args[2]) == "-1"
    if len(args) == 1:
        yield 14, ast.Call(node.func, [_moved(args[0], 1)], [])
        return
    for spot, by in ((0, -1), (1, 1)):
        new = [*args]
        new[spot] = _moved(args[spot], -by if down else by)
        yield 13, ast.Call(node.func, new, [])


def _moved(node: ast.expr, by: int) -> ast.expr:
    value = constant(node)
    if value is not None:
        return fill(str(int(value) + by))  # type: ignore[no-any-return]
    bare = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub if by > 0 else ast.Add)
    if isinstance(node, ast.BinOp) and bare and text(node.right) == "1":
        return node.left
    return fill("n + 1" if by > 0 else "n - 1", n=node)  # type: ignore[no-any-return]


def is_spatial(scene: Scene, node: ast.stmt) -> bool:
    """Whether a statement goes over pixels or windows: it speaks of a stride or a side, or of arrays of images."""
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute | ast.Subscript)]
    if any(_STRIDE.search(text(part).rpartition(".")[2]) for part in parts if not isinstance(part, ast.Subscript)):
        return True
    return any(len(scene.seen(part).shape or ()) > 2 for part in parts)


def complements(scene: Scene) -> Iterator[Proposal]:
    """Add what the derivative of y log a + (1 − y) log (1 − a) has besides y/a, or besides the other term."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            continue
        seen = [scene.seen(part) for part in (node.left, node.right)]
        bounded = all(part.is_array and part.low >= 0 and part.high <= 1 for part in seen)
        if not bounded or scene.shapes_differ(*seen):
            continue
        other = "a / b" if _is_complement(node.left) and _is_complement(node.right) else "(1 - a) / (1 - b)"
        parts = [part.right if _is_complement(part) and other == "a / b" else part for part in (node.left, node.right)]  # type: ignore[attr-defined]
        yield _at(site, "C8", 17, fill(f"(v - {other})", v=node, a=parts[0], b=parts[1]))


def _is_complement(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and constant(node.left) == 1


def gates(scene: Scene) -> Iterator[Proposal]:
    """Leave out a condition that is a factor of a term: what it shuts out is a path."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult | ast.MatMult):
            continue
        parts = list(factors(node))
        for gate in (part for part in parts if _is_condition(scene, part)):
            rest = [part for part in parts if part is not gate]
            if rest:
                named = {f"o{i}": part for i, part in enumerate(rest)}
                new = fill(" * ".join(named), **named)
                yield _at(site, "G2" if _speaks_of_time(gate, site) else "C8", 12, new)


def _is_condition(scene: Scene, node: ast.expr) -> bool:
    """Whether an expression is a comparison of counters: whole numbers, neither arrays of floats nor gradients."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Compare):
        return False
    compared = [node.left, *node.comparators]
    return not any(scene.seen(part).is_float for part in compared) and all(map(_is_counter, compared))


def _is_counter(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Subscript | ast.Constant | ast.BinOp | ast.Call)


def _speaks_of_time(gate: ast.expr, site: Site) -> bool:
    return site.statement.time and any(is_time(name) for name in names_in(gate))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
