"""Which end of an axis: a kernel read backwards, a crop at the wrong end, a bias among the weights (D2, F). Level 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, names_in, text
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, is_cotangent, is_regulariser

__all__ = ["backwards", "decays", "tails"]

_PARTS = ("v[1:]", "v[:-1]")
_COLUMNS = ("v[:, 1:]", "v[:, :-1]")


def backwards(scene: Scene) -> Iterator[Proposal]:
    """Count the places of a kernel forward where all of an index that can be is counted from the end."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
            continue
        counters = {name for loop in site.statement.loops for name in names_in(loop.target)}
        index = [_forward(part, counters) or part for part in node.slice.elts]
        if any(new is not old for new, old in zip(index, node.slice.elts, strict=True)):
            yield Proposal("F1", 13, site.statement, ((Place(node.slice, "elts", None), index),))


def _forward(part: ast.expr, counters: set[str]) -> ast.expr | None:
    """Return the counter i of ``n - 1 - i``; None for anything else."""
    left = part.left if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) else None
    last = isinstance(left, ast.BinOp) and isinstance(left.op, ast.Sub) and constant(left.right) == 1
    counter = part.right if isinstance(part, ast.BinOp) and last else None
    return counter if isinstance(counter, ast.Name) and counter.id in counters else None


def tails(scene: Scene) -> Iterator[Proposal]:
    """Take as many places from the end of the last axis: padding on one side is cropped on that side."""
    for site in scene.values:
        node = site.node
        parts = node.slice.elts if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) else []
        if (
            not isinstance(node, ast.Subscript)
            or len(parts) != len(scene.seen(node.value).shape or ())
            or site.statement.loops
        ):
            continue
        last = parts[-1] if len(parts) > 2 else None
        if not isinstance(last, ast.Slice) or last.step is not None or not isinstance(node.slice, ast.Tuple):
            continue
        spot = Place(node.slice, "elts", len(parts) - 1)
        if last.lower is None and last.upper is not None and (scene.seen(last.upper).value or 0) > 0:
            yield Proposal("F3", 15, site.statement, ((spot, ast.Slice(fill("-n", n=last.upper), None)),))


def decays(scene: Scene) -> Iterator[Proposal]:
    """Leave the first or the last row or column out of a regulariser's term: the bias that lies among the weights."""
    for each in scene.statements:
        node = each.node
        if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Add) or each.loops:
            continue
        seen, whole = scene.seen(node.value), scene.operands(each).get(text(node.target))
        decay = is_cotangent(each.target) and any(map(is_regulariser, names_in(node.value)))
        if not decay or whole is None or not seen.is_array or seen.shape != whole.shape:
            continue
        assert isinstance(node.target, ast.Name | ast.Attribute | ast.Subscript)
        for template in (*_PARTS, *(_COLUMNS if len(seen.shape or ()) == 2 else ())):
            target = fill(template, v=fill(text(node.target)))
            target.ctx = ast.Store()
            new = ast.AugAssign(target, node.op, fill(template, v=node.value))
            yield Proposal("D2", 13, each, ((each.place, new),))
