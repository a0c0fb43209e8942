"""Accumulators, copies, clipping and dtypes: how a gradient is stored (classes E, G4, H). Level 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import fill, names_in, text
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, Statement, is_cotangent

__all__ = ["accumulations", "clippings", "copies", "dtypes", "hoisted", "singular_points"]

_CASTS = {"np.float32", "np.float16", "np.int32", "np.int64", "int", "np.round", "np.around", "np.rint", "round"}


def accumulations(scene: Scene) -> Iterator[Proposal]:
    """Add instead of assigning, assign instead of adding, and add to repeated indices."""
    for each in scene.statements:
        node = each.node
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
            value = node.value if isinstance(node.op, ast.Add) else fill("-v", v=node.value)
            yield _of(each, "E2", 13, ast.Assign([node.target], value))
            if isinstance(node.target, ast.Subscript):
                yield _of(each, "E1", 12, _add_at(node.target, value))
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            again = isinstance(target, ast.Subscript | ast.Attribute) or _bound_before(scene, each, text(target))
            if again and not isinstance(target, ast.Tuple):
                yield _of(each, "E1", 11 if each.loops else 14, ast.AugAssign(target, ast.Add(), node.value))  # type: ignore[arg-type]
            if isinstance(target, ast.Subscript):
                yield _of(each, "E1", 15, _add_at(target, node.value))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and text(node.value.func) == "np.add.at":
            array, index, value = node.value.args
            stored = ast.Subscript(array, index, ast.Store())
            yield _of(each, "E2", 20, ast.Assign([stored], value))


def _add_at(target: ast.Subscript, value: ast.expr) -> ast.stmt:
    index = target.slice
    if isinstance(index, ast.Tuple) and any(isinstance(i, ast.Slice) for i in index.elts):
        parts = [fill("slice(a, b, c)", **_bounds(i)) if isinstance(i, ast.Slice) else i for i in index.elts]
        index = ast.Tuple(parts, ast.Load())
    elif isinstance(index, ast.Slice):
        index = fill("slice(a, b, c)", **_bounds(index))
    made: ast.stmt = ast.Expr(fill("np.add.at(a, i, v)", a=_loaded(target.value), i=index, v=value))
    return made


def _bounds(part: ast.Slice) -> dict[str, ast.expr]:
    none = ast.Constant(None)
    return {"a": part.lower or none, "b": part.upper or none, "c": part.step or none}


def _loaded(node: ast.expr) -> ast.expr:
    return node  # the array of a stored element is loaded already


def _bound_before(scene: Scene, each: Statement, target: str) -> bool:
    scope = scene.watched.scopes.get(each.position, {})
    return target in scope or any(s.target == target and s.node.lineno < each.node.lineno for s in scene.statements)


def copies(scene: Scene) -> Iterator[Proposal]:
    """Copy what is changed in place later."""
    for site in scene.sites:
        node, (parent, field, _) = site.node, site.place
        plain = isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Load)
        named = isinstance(parent, ast.Assign) and field == "value"
        shaped = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"reshape", "ravel"}
        )
        if (plain or shaped) and (named or isinstance(parent, ast.Return | ast.Tuple)) and scene.seen(node).is_array:
            yield Proposal("E3", 21 if named else 30, site.statement, ((site.place, fill("v.copy()", v=node)),))
    for each in scene.statements:
        node_ = each.node
        if isinstance(node_, ast.AugAssign) and isinstance(node_.target, ast.Name):
            value = ast.BinOp(ast.Name(node_.target.id, ast.Load()), node_.op, node_.value)
            yield _of(each, "E3", 22, ast.Assign([node_.target], value))


def hoisted(scene: Scene) -> Iterator[Proposal]:
    """Make a buffer before the loop, not in every turn of it."""
    for each in scene.statements:
        node = each.node
        empty = isinstance(node, ast.Assign) and text(node.value).startswith(("np.zeros", "0"))
        if not empty or not each.loops or names_in(node) & names_in(each.loops[-1].target):
            continue
        loop = next((s for s in scene.statements if s.node is each.loops[-1]), None)
        if loop is not None:
            changes = ((each.place, ast.copy_location(ast.Pass(), node)), (loop.place, [node, loop.node]))
            yield Proposal("G1" if each.time else "E1", 17, each, changes)


def clippings(scene: Scene) -> Iterator[Proposal]:
    """Leave out what limits or normalises a gradient."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Call) and text(node.func) in {"np.clip", "np.sign", "np.nan_to_num"} and node.args:
            if isinstance(site.place.parent, ast.Expr):
                yield Proposal("G4", 11, site.statement, ((site.statement.place, _nothing(site)),))
            else:
                # The sign of what is no gradient is the derivative of a modulus.
                modulus = text(node.func) == "np.sign" and not any(map(is_cotangent, names_in(node.args[0])))
                yield Proposal("C3" if modulus else "G4", 11, site.statement, ((site.place, node.args[0]),))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "clip":
            yield Proposal("G4", 11, site.statement, ((site.place, node.func.value),))


def _nothing(site: Site) -> ast.stmt:
    return ast.copy_location(ast.Pass(), site.statement.node)


def dtypes(scene: Scene) -> Iterator[Proposal]:
    """Keep the precision: no cast, no buffer of whole numbers or of half the width."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv) and scene.seen(node).is_array:
            yield _at(site, "H3", 12, ast.BinOp(node.left, ast.Div(), node.right))
        if not isinstance(node, ast.Call):
            continue
        name = text(node.func)
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in {"astype", "round"}
            and not name.startswith("np.")
        ):
            yield _at(site, "H3", 16, node.func.value)
        if name in _CASTS and node.args and scene.seen(node).shape != ():
            yield _at(site, "H3", 16, node.args[0])
        if any(k.arg == "dtype" for k in node.keywords):
            kept = [k for k in node.keywords if k.arg != "dtype"]
            yield _at(site, "H3", 16, ast.Call(node.func, node.args, kept))
            yield _at(site, "H3", 17, ast.Call(node.func, node.args, [*kept, ast.keyword("dtype", fill("float"))]))
        elif name in {"np.zeros_like", "np.empty_like"} and (
            scene.seen(node).kind in "iub" or scene.seen(node).itemsize < 8
        ):
            yield _at(
                site, "H3", 15, ast.Call(node.func, node.args, [*node.keywords, ast.keyword("dtype", fill("float"))])
            )
        elif name in {"np.zeros", "np.empty"} and len(node.args) == 2:
            yield _at(site, "H3", 16, ast.Call(node.func, node.args[:1], node.keywords))


def singular_points(scene: Scene) -> Iterator[Proposal]:
    """Give 0 where a divisor is 0."""
    for site in scene.sites:
        node = site.node
        divides = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if isinstance(node, ast.BinOp) and divides and "zeros" in scene.seen(node.right).facts:
            guarded = "np.where(b == 0, 0, a / np.where(b == 0, 1, b))"
            yield _at(site, "H1", 14, fill(guarded, a=node.left, b=node.right))


def _of(each: Statement, mistake: str, rank: int, new: ast.stmt) -> Proposal:
    return Proposal(mistake, rank, each, ((each.place, new),))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
