"""Height and width, rows and columns exchanged throughout an expression (class F4). Level 1."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from gradcheck.explanation.edits.nodes import names_in
from gradcheck.explanation.edits.scene import Proposal, Scene, Site

__all__ = ["are_sides", "mirrored"]

_SIDES = (("height", "width"), ("rows", "cols"), ("row", "col"), ("h", "w"), ("y", "x"), ("r", "c"), ("i", "j"))


def are_sides(left: str, right: str) -> bool:
    """Whether two names are those of a height and of the width beside it: kh and kw, H and W, out_y and out_x."""
    return any(left != right and _turned(left, *pair) == right for pair in _SIDES)


def _turned(name: str, one: str, two: str) -> str:
    other = {one: two, two: one, one.upper(): two.upper(), two.upper(): one.upper()}
    return re.sub("|".join(sorted(other, key=len, reverse=True)), lambda found: other[found[0]], name)


def mirrored(scene: Scene) -> Iterator[Proposal]:
    """Take every height for the width and the reverse, in an index or in the arguments of a call."""
    for site in scene.sites:
        if not _is_whole(scene, site):
            continue
        used = names_in(site.node)
        counters, sizes = _pairs_of_counters(site, used), _pairs_of_sizes(scene, site, used)
        for pairs in (counters | sizes, counters, sizes) if counters and sizes else (counters | sizes,):
            if len(used & pairs.keys()) > 1:
                yield Proposal("F4", 17, site.statement, ((site.place, _exchanged(site.node, pairs)),))


def _exchanged(node: Any, pairs: dict[str, str]) -> Any:
    """Return a copy of an expression with each name among ``pairs`` replaced by its partner."""
    if isinstance(node, ast.Name):
        return ast.Name(pairs.get(node.id, node.id), node.ctx)
    if isinstance(node, ast.AST):
        return type(node)(**{field: _exchanged(value, pairs) for field, value in ast.iter_fields(node)})
    return [_exchanged(part, pairs) for part in node] if isinstance(node, list) else node


def _is_whole(scene: Scene, site: Site) -> bool:
    """Whether a site is a whole expression of indices, or a call that is given sizes: not a part of one."""
    node, parent = site.node, site.place.parent
    indices = isinstance(node, ast.BinOp) and scene.seen(node).kind in "iu" and scene.seen(node).kind != ""
    index = isinstance(parent, ast.Subscript) and site.place.field == "slice" and isinstance(node, ast.Tuple)
    called = isinstance(node, ast.Call) and not isinstance(parent, ast.Attribute | ast.Call)
    return (indices and not isinstance(parent, ast.BinOp)) or index or called


def _pairs_of_counters(site: Site, used: frozenset[str]) -> dict[str, str]:
    """Return the two innermost variables of the loops around a site, each with the other."""
    counters = [p.id for loop in site.statement.loops for p in ast.walk(loop.target) if isinstance(p, ast.Name)]
    one, two = counters[-2:] if len(counters) > 1 else ("", "")
    return {one: two, two: one} if {one, two} & used else {}


def _pairs_of_sizes(scene: Scene, site: Site, used: frozenset[str]) -> dict[str, str]:
    """Return the whole numbers at hand that are a height or a width, each with the other."""
    operands = scene.operands(site.statement)
    whole = [p for p, seen in operands.items() if seen.kind == "i" and seen.shape == () and p.isidentifier()]
    counters = {name for loop in site.statement.loops for name in names_in(loop.target)}
    held = [path for path in whole if path not in counters]
    return {one: two for one in held for two in held if one in used | {one} and are_sides(one, two)}
