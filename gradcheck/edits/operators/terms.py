"""Terms that were left out of a sum: another path, the next time step, the other half of a product. Level 1."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradcheck.edits.nodes import fill, names_in, text
from gradcheck.edits.scene import Proposal, Scene, Site, Statement, is_cotangent, parsed

__all__ = ["product_rule", "terms"]


def terms(scene: Scene) -> Iterator[Proposal]:
    """Add another cotangent of the same shape that is at hand: a path that was left out."""
    loaded = [text(s.node) for s in scene.sites if isinstance(s.node, ast.Name) and isinstance(s.node.ctx, ast.Load)]
    for site in scene.values:
        seen = scene.seen(site.node)
        used = names_in(site.node)
        for path, other in scene.operands(site.statement).items():
            # What the next step hands on, and what nothing reads, are gradients whatever their names.
            named = is_cotangent(path) or (
                path.isidentifier() and _is_local(path, scene) and _is_loose(path, site, loaded)
            )
            if not named or path == text(site.node) or not other.is_float:
                continue
            if not other.is_array or seen.shape != other.shape or ("[" in path and path.partition("[")[0] in used):
                continue
            carried = _is_carried(path, site.statement)
            # A gradient that nothing reads was computed for something.
            rank = 13 if loaded.count(path) == 0 else 16 if carried else 24
            late = 3 * isinstance(site.node, ast.Name) + 8 * (path in used)
            yield _at(site, "G1" if carried else "C8", rank + late, fill("v + d", v=site.node, d=parsed(path)))
    yield from _terms_inside(scene, loaded)
    yield from _direct_paths(scene)


def _terms_inside(scene: Scene, loaded: list[str]) -> Iterator[Proposal]:
    """Add, where a cotangent is a factor, one that nothing reads or that the next time step handed on."""
    for site in scene.sites:
        node, seen = site.node, scene.seen(site.node)
        simple = (
            isinstance(node, ast.Name | ast.Subscript) and isinstance(node.ctx, ast.Load) and is_cotangent(text(node))
        )
        if not simple or not isinstance(site.place.parent, ast.BinOp | ast.Call):
            continue
        for path, other in scene.operands(site.statement).items():
            alike = is_cotangent(path) and other.is_array and other.shape == seen.shape and path != text(node)
            carried = _is_carried(path, site.statement)
            if alike and path.isidentifier() and (carried or path not in loaded):
                yield _at(site, "G1" if carried else "C8", 19, fill("v + d", v=node, d=path))


def _direct_paths(scene: Scene) -> Iterator[Proposal]:
    """Add the incoming cotangent times an operand to a sum: a path that does not pass the rest of the function."""
    first = next((p for p in scene.parameters if p not in {"self", "cls", "ctx"}), None)
    for site in scene.values:
        dout = scene.operands(site.statement).get(first or "")
        added = isinstance(site.node, ast.BinOp) and isinstance(site.node.op, ast.Add | ast.Sub)
        if first is None or dout is None or not dout.is_array or not added or dout.shape != scene.seen(site.node).shape:
            continue
        for path, other in scene.operands(site.statement).items():
            if other.is_float and other.shape == dout.shape and not is_cotangent(path):
                yield _at(site, "C8", 27, fill("v + d * x", v=site.node, d=first, x=parsed(path)))


def product_rule(scene: Scene) -> Iterator[Proposal]:
    """Add the other half of a product: where dA = D * B stands, dB has a term D * A."""
    halves: list[tuple[str, ast.expr]] = []
    for each in scene.statements:
        node = each.node
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name | ast.Tuple):
            continue
        pairs: list[tuple[ast.expr, ast.expr]] = [(node.targets[0], node.value)]
        if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(node.targets[0].elts, node.value.elts, strict=False))
        for target, value in pairs:
            if (
                isinstance(value, ast.BinOp)
                and isinstance(value.op, ast.Mult)
                and re.match(r"d_?[^\W\d_]\w*$", text(target))
            ):
                for d, b in ((value.left, value.right), (value.right, value.left)):
                    if isinstance(b, ast.Name) and is_cotangent(text(d)):
                        halves.append((f"d{b.id}", fill("D * A", D=d, A=text(target)[1:].lstrip("_"))))
    for partner, term in halves:
        for site in scene.values:
            bound = names_in(term) <= scene.operands(site.statement).keys()
            if bound and site.statement.target == partner and text(term) not in text(site.node):
                yield _at(site, "C8", 18, fill("v + t", v=site.node, t=term))


def _is_local(path: str, scene: Scene) -> bool:
    stored = (p for p in ast.walk(scene.tree) if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Store))
    return any(part.id == path for part in stored)


def _is_loose(path: str, site: Site, loaded: list[str]) -> bool:
    return path not in loaded or (bool(site.statement.loops) and _is_carried(path, site.statement))


def _is_carried(path: str, statement_: Statement) -> bool:
    """Whether a name is set later in the same loop: what one time step hands to the next."""
    if re.search(r"next|prev|carry|future", path):
        return True
    body = [part for loop in statement_.loops for child in loop.body for part in ast.walk(child)]
    later = (part for part in body if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
    return any(part.id == path and part.lineno > statement_.node.lineno for part in later)


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
