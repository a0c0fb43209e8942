"""A part taken for the whole: some samples, steps or links left out, one of them for all (C8, E1, F, G2). Level 1."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from gradcheck.edits.nodes import constant, fill, names_in, text
from gradcheck.edits.scene import Proposal, Scene, Site, Statement

__all__ = ["part_class", "singles", "twice", "wholes"]

_STRIDE = re.compile(r"^(s|st|stride\w*|S|sh|sw|hop|dil\w*)$|stride", re.IGNORECASE)
_PAD = re.compile(r"^(p|P|pad\w*|padding|ph|pw|q)$|pad", re.IGNORECASE)
_ONE = {":1", "-1:", "0:1"}


def part_class(scene: Scene, statement: Statement, node: ast.Subscript, axis: int, part: ast.Slice) -> str:
    """Return what it is that a slice of ``node`` leaves out, or takes too little of."""
    seen, names = scene.seen(node.value), names_in(part)
    if any(_STRIDE.search(name) for name in names):
        return "F2"
    if any(_PAD.search(name) for name in names):
        return "F3"
    ndim = len(seen.shape or ())
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    sliced = sum(isinstance(p, ast.Slice) and (p.lower is not None or p.upper is not None) for p in parts)
    if (ndim == 4 and axis >= 1) or (ndim in {2, 3} and axis >= ndim - 2 and sliced > 1):
        return "F3"  # of an image
    if text(part) in _ONE:
        return "E1"
    return "G2" if statement.time else "C8"


def wholes(scene: Scene) -> Iterator[Proposal]:
    """Take all of an axis where slices take a part of it, in every operand of the statement at once."""
    alike: dict[tuple[int, str, str], list[tuple[Site, ast.expr]]] = defaultdict(list)
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
            continue
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for axis, part in enumerate(parts):
            if isinstance(part, ast.Slice) and part.step is None and (part.lower or part.upper):
                label = part_class(scene, site.statement, node, axis, part)
                alike[site.statement.position, label, text(part)].append((site, _whole(node, parts, axis)))
    for (_, label, _), found in alike.items():
        if len(found) > 1:
            changes = tuple((site.place, made) for site, made in found)
            yield Proposal(label, 16, found[0][0].statement, changes)
        for site, made in found:
            yield _at(site, label, 19, made)


def _whole(node: ast.Subscript, parts: list[ast.expr], axis: int) -> ast.expr:
    """Return ``node`` with all of one axis."""
    if len(parts) == 1:
        return node.value
    kept = [*parts[:axis], ast.Slice(None, None, None), *parts[axis + 1 :]]
    return ast.Subscript(node.value, ast.Tuple(kept, ast.Load()), ast.Load())


def singles(scene: Scene) -> Iterator[Proposal]:
    """Sum over the samples where one of them stands for all, and leave each its own where one is repeated."""
    for site in scene.values:
        node = site.node
        index = constant(node.slice) if isinstance(node, ast.Subscript) else None
        index = -1 if isinstance(node, ast.Subscript) and text(node.slice) == "-1" else index
        all_of_it = scene.seen(node.value) if isinstance(node, ast.Subscript) and index in {0, -1} else scene.nothing
        if isinstance(node, ast.Subscript) and all_of_it.is_float and len(all_of_it.shape or ()) > 1:
            yield _at(site, "E1", 17, fill("v.sum(axis=0)", v=node.value))
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "repeat":
            base = node.func.value if text(node.func) != "np.repeat" else node.args[0]
            whole = _unsliced(base)
            if whole is not None and not scene.shapes_differ(scene.seen(node), scene.seen(whole)):
                yield _at(site, "E1", 16, whole)


def _unsliced(node: ast.expr) -> ast.expr | None:
    """Return an array whose first sample alone is taken, with all samples; None if that is not what is taken."""
    if not isinstance(node, ast.Subscript):
        return None
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if text(parts[0]) not in _ONE:
        return None
    return _whole(node, parts, 0)


def twice(scene: Scene) -> Iterator[Proposal]:
    """Add once what is added twice: a term of a sum, or a statement; and begin to add at zero."""
    empty = {"np.ones_like": "np.zeros_like", "np.ones": "np.zeros", "np.empty": "np.zeros"}
    written = {text(s.node.value) for s in scene.sites if isinstance(s.node, ast.Subscript) and _is_stored(s.node)}
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Call) and text(node.func) in empty and site.statement.target in written:
            yield _at(site, "E2", 10, ast.Call(fill(empty[text(node.func)]), node.args, node.keywords))
    for site in scene.sites:
        node = site.node
        added = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and scene.seen(node).is_float
        if isinstance(node, ast.BinOp) and added and text(node.left) == text(node.right):
            yield _at(site, "E2", 9, node.left)
    for each in scene.statements:
        body, index = getattr(each.place.parent, each.place.field), each.place.slot
        again = isinstance(each.node, ast.AugAssign) and index
        if again and any(text(other) == text(each.node) for other in body[: index or 0]):
            yield Proposal("E2", 9, each, ((each.place, ast.copy_location(ast.Pass(), each.node)),))


def _is_stored(node: ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Store)


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
