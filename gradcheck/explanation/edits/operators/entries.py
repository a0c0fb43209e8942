"""Which entry is read or written: a label, two indices in their order, the slot of a name (B1, B6). Level 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, names_in, text
from gradcheck.explanation.edits.operators.whole import is_spatial
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site, is_cotangent

__all__ = ["branches", "gradients", "indices", "labels", "rows", "slots"]


def labels(scene: Scene) -> Iterator[Proposal]:
    """Move an array of labels by one, or leave out that it is moved."""
    for site in scene.sites:
        node, seen = site.node, scene.seen(site.node)
        if seen.kind not in {"i", "u"} or not seen.is_array or not _picks(site):
            continue
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and constant(node.right) == 1:
            yield _at(site, "B6", 11, node.left)
        elif isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            for rank, template in ((18, "v - 1"), (19, "v + 1")):
                yield _at(site, "B6", rank, fill(template, v=node))


def _picks(site: Site) -> bool:
    """Whether an expression is an index, is compared, or is given a name."""
    parent, field, _ = site.place
    return isinstance(parent, ast.Compare | ast.Tuple | ast.BinOp | ast.Assign) or field == "slice"


def rows(scene: Scene) -> Iterator[Proposal]:
    """Pick one entry of each row for whole columns: ``p[np.arange(n), y]`` for ``p[:, y]``."""
    for site in scene.sites:
        node = site.node
        index = node.slice.elts if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) else []
        if len(index) != 2 or not isinstance(index[0], ast.Slice) or ast.unparse(index[0]) != ":":
            continue
        seen = scene.seen(index[1])
        if seen.kind in {"i", "u"} and len(seen.shape or ()) == 1:
            new = ast.Tuple([fill("np.arange(len(y))", y=index[1]), index[1]], ast.Load())
            yield Proposal("B6", 11, site.statement, ((Place(node, "slice", None), new),))


def branches(scene: Scene) -> Iterator[Proposal]:
    """Let no gradient through where a mask shuts a unit: zero for the slope that is written."""
    for each in scene.statements:
        node = each.node
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        masked = isinstance(target, ast.Subscript) and scene.seen(target.slice).kind == "b"
        value = getattr(node, "value", None)
        if masked and isinstance(value, ast.Constant) and value.value != 0:
            yield Proposal("C3", 12, each, ((Place(node, "value", None), ast.Constant(0)),))


def indices(scene: Scene) -> Iterator[Proposal]:
    """Exchange the two indices of a matrix; move an index, or both ends of a slice, by one."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript) or is_spatial(scene, site.statement.node):
            continue
        if isinstance(node.slice, ast.Tuple) and len(node.slice.elts) == 2 and scene.seen(node.value).is_float:
            one, two = node.slice.elts
            if not isinstance(one, ast.Slice) and not isinstance(two, ast.Slice) and text(one) != text(two):
                yield Proposal(
                    "B1", 13, site.statement, ((Place(node, "slice", None), ast.Tuple([two, one], ast.Load())),)
                )
        if not site.statement.time or not site.statement.loops:
            yield from _shifted(scene, site, node)


def _shifted(scene: Scene, site: Site, node: ast.Subscript) -> Iterator[Proposal]:
    """Undo a shift by one that is written in an index of a vector or a matrix."""
    if not scene.seen(node.value).is_array:
        return
    held = node.slice
    moved = isinstance(held, ast.BinOp) and isinstance(held.op, ast.Add | ast.Sub) and constant(held.right) == 1
    if isinstance(held, ast.BinOp) and moved and isinstance(node.ctx, ast.Load):
        yield Proposal("B6", 12, site.statement, ((Place(node, "slice", None), held.left),))
    if isinstance(held, ast.Slice) and held.lower is not None and held.upper is not None and held.step is None:
        begin, end = constant(held.lower), held.upper
        if begin is None or not isinstance(end, ast.BinOp) or constant(end.right) != begin:
            return
        if isinstance(end.op, ast.Add):
            yield Proposal("B6", 12, site.statement, ((Place(node, "slice", None), ast.Slice(None, end.left)),))


def slots(scene: Scene) -> Iterator[Proposal]:
    """Put the gradient of a name under this name: ``y=dy`` for ``y=da``, ``"W1": dW1`` for ``"W1": dW2``."""
    for site in scene.sites:
        node, (parent, field, slot) = site.node, site.place
        key = parent.arg if isinstance(parent, ast.keyword) else None
        if isinstance(parent, ast.Dict) and field == "values":
            held = parent.keys[slot or 0]
            key = held.value if isinstance(held, ast.Constant) and isinstance(held.value, str) else None
        if key is None or text(node) in _names_of(key):
            continue
        for name in _names_of(key):
            gradient = isinstance(node, ast.Name) and is_cotangent(node.id)
            if name in scene.operands(site.statement) and (gradient or name in scene.unread):
                yield _at(site, _part_class(scene, name, text(node)), 12, fill(name))


def _part_class(scene: Scene, whole: str, part: str) -> str:
    """Return the mistake of taking one gradient for another: a term is missing where it is one of the other's terms."""
    for each in scene.statements:
        targets = each.node.targets if isinstance(each.node, ast.Assign) else []
        value = getattr(each.node, "value", None)
        made = any(whole in names_in(target) for target in targets)
        if made and isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and part in names_in(value):
            return "G1" if each.time else "C8"
    return "B6"


def _names_of(key: str) -> tuple[str, ...]:
    return (f"d{key}", f"d_{key}", f"grad_{key}", f"{key}_grad", f"delta_{key}")


def gradients(scene: Scene) -> Iterator[Proposal]:
    """Take the gradient that was made last and that hardly anything reads; return one of another shape."""
    loaded = [s.node.id for s in scene.sites if isinstance(s.node, ast.Name) and isinstance(s.node.ctx, ast.Load)]
    made = {n: each for each in scene.statements for n in names_in(each.node) if n in each.target.split(", ")}
    lines = {name: each.node.lineno for name, each in made.items()}
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or not is_cotangent(node.id):
            continue
        returned = isinstance(site.statement.node, ast.Return) and isinstance(site.place.parent, ast.Return | ast.Tuple)
        seen = scene.seen(node)
        for path, other in scene.operands(site.statement).items():
            gradient = is_cotangent(path) and path in scene.stored and other.is_float and other.is_array
            if not gradient or path == node.id:
                continue
            idle = loaded.count(path) <= 1 < loaded.count(node.id)
            if other.shape == seen.shape and idle and lines.get(path, 0) > lines.get(node.id, 0):
                yield _at(site, "B6", 15, fill(path))
            elif returned and other.shape != seen.shape and max(len(other.shape or ()), len(seen.shape or ())) <= 2:
                yield _at(site, "B6", 17, fill(path))
    yield from _whole_values(scene)


def _whole_values(scene: Scene) -> Iterator[Proposal]:
    """Return the entries of a gradient where those of its primal are returned, times whatever."""
    for site in scene.values:
        operands = scene.operands(site.statement)
        parts = (part for part in ast.walk(site.node) if isinstance(part, ast.Subscript))
        for part in parts:
            base = part.value
            if not isinstance(base, ast.Name) or f"d{base.id}" not in operands or f"d{base.id}" in names_in(site.node):
                continue
            if operands[f"d{base.id}"].shape == scene.seen(base).shape:
                yield _at(site, "B6", 14, ast.Subscript(fill(f"d{base.id}"), part.slice, ast.Load()))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
