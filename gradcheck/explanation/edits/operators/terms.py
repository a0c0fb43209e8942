"""Terms that were left out of a sum: another path, the next time step, the other half of a product. Level 1."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import fill, names_in, text
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, Statement, is_cotangent, parsed

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
                path.isidentifier() and path in scene.stored and _is_loose(path, site, loaded)
            )
            if not named or path == text(site.node) or not other.is_float or path == site.statement.target:
                continue  # what a statement adds to its own target is accumulated
            carried = _is_carried(path, site.statement)
            if (
                not (other.is_array or carried)
                or (seen.shape != other.shape and not (carried and other.shape == ()))  # 0 at first
                or ("[" in path and path.partition("[")[0] in used)
            ):
                continue
            # A gradient that nothing reads was computed for something.
            rank = 13 if loaded.count(path) == 0 else 16 if carried else 24
            late = 3 * isinstance(site.node, ast.Name) + 8 * (path in used)
            yield _at(site, "G1" if carried else "C8", rank + late, fill("v + d", v=site.node, d=parsed(path)))
    yield from _terms_inside(scene, loaded)
    yield from _direct_paths(scene)
    yield from _decayed(scene)
    yield from _other_branches(scene)


def _decayed(scene: Scene) -> Iterator[Proposal]:
    """Add what the next time step hands on, times a number that is at hand, such as a decay."""
    for site in scene.values:
        seen, statement_ = scene.seen(site.node), site.statement
        if not statement_.loops or not seen.is_float:
            continue
        operands = scene.operands(statement_)
        numbers = [p for p, s in operands.items() if s.kind == "f" and s.shape == () and p.isidentifier()]
        carried = [p for p, s in operands.items() if p == statement_.target or _is_carried(p, statement_)]
        for path, number in itertools.product(carried, numbers):
            fits = operands[path].is_float and operands[path].shape == seen.shape and path.isidentifier()
            if fits and path != number and path not in names_in(site.node):
                yield _at(site, "G1", 26, fill(f"v + {number} * {path}", v=site.node))


def _other_branches(scene: Scene) -> Iterator[Proposal]:
    """Add the product of another gradient and another weight: what two heads send to one trunk."""
    for site in scene.sites:
        node, shape = site.node, scene.seen(site.node).shape
        product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "dot"
        if not (product or called) or shape is None or len(shape) != 2 or "d" not in site.statement.target:
            continue
        operands = {p: s.shape for p, s in scene.operands(site.statement).items() if s.is_float and s.is_array}
        used = names_in(node)
        pairs = itertools.product(operands.items(), repeat=2)
        for (d, d_shape), (w, w_shape) in pairs:
            if not is_cotangent(d) or is_cotangent(w) or d in used or w in used or len(d_shape or ()) != 2:
                continue
            if w_shape is not None and d_shape is not None and len(w_shape) == 2:
                if (d_shape[0], w_shape[0]) == shape and d_shape[1] == w_shape[1]:
                    yield _at(site, "C8", 22, fill(f"v + {d}.dot({w}.T)", v=node))
                if (w_shape[1], d_shape[1]) == shape and w_shape[0] == d_shape[0]:
                    yield _at(site, "C8", 22, fill(f"v + {w}.T.dot({d})", v=node))


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
            carried = _is_carried(path, site.statement)
            gradient = is_cotangent(path) or (carried and path in scene.stored)
            alike = gradient and other.is_float and other.shape == seen.shape and path != text(node)
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
                gate = other.low >= 0 and other.high <= 1
                yield _at(site, "C8", 23 if gate else 28, fill("v + d * x", v=site.node, d=first, x=parsed(path)))
                if gate:
                    yield _at(site, "C8", 24, fill("v + d * (1 - x)", v=site.node, d=first, x=parsed(path)))


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
        terms = [(target, term) for target, value in pairs for term in _addends(value)]
        for target, value in terms:
            if (
                isinstance(value, ast.BinOp)
                and isinstance(value.op, ast.Mult)
                and re.match(r"d_?[^\W\d_]\w*$", text(target))
            ):
                for d, b in ((value.left, value.right), (value.right, value.left)):
                    if isinstance(b, ast.Name) and is_cotangent(text(d)):
                        halves.append((f"d{b.id}", fill("D * A", D=d, A=text(target)[1:].lstrip("_"))))
    yield from _through(scene, halves)
    yield from _other_halves(scene)
    for partner, term in halves:
        for site in scene.values:
            bound = names_in(term) <= scene.operands(site.statement).keys()
            if bound and site.statement.target == partner and text(term) not in text(site.node):
                yield _at(site, "C8", 18, fill("v + t", v=site.node, t=term))


def _through(scene: Scene, halves: list[tuple[str, ast.expr]]) -> Iterator[Proposal]:
    """Add the other half to the gradient of what lies under an activation: h = o * tanh(c) reaches c too."""
    for partner, term in halves:
        for site in scene.values:
            operands = scene.operands(site.statement)
            bounded = operands.get(partner[1:])
            if bounded is None or not names_in(term) <= operands.keys() or bounded.shape != scene.seen(site.node).shape:
                continue
            used = text(term) in text(site.node) or site.statement.target == partner
            if bounded.is_float and bounded.low >= -1 and bounded.high <= 1 and not used:
                for slope in ("(1 - b ** 2)", "b * (1 - b)"):
                    yield _at(site, "C8", 22, fill(f"v + t * {slope}", v=site.node, t=term, b=partner[1:]))


def _other_halves(scene: Scene) -> Iterator[Proposal]:
    """Give a factor, or a product of local derivatives, the term that it lacks: h for h - x, x s' for s + x s'."""
    for site in scene.sites:
        node, seen = site.node, scene.seen(site.node)
        product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
        name = (
            isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and isinstance(site.place.parent, ast.BinOp)
        )
        if not (product or (name and isinstance(site.place.parent.op, ast.Mult))):  # type: ignore[attr-defined]
            continue
        if not seen.is_array or not seen.is_float or any(is_cotangent(n) for n in names_in(node)):
            continue
        for path, other in scene.operands(site.statement).items():
            alike = other.is_float and other.shape == seen.shape and path.isidentifier() and not is_cotangent(path)
            if not alike or path == text(node):
                continue
            if name:
                yield _at(site, "C8", 28, fill(f"(v - {path})", v=node))
            elif path in names_in(node):
                yield _at(site, "C8", 24, fill(f"({path} + v)", v=node))
            else:
                yield _at(site, "C8", 30, fill(f"({path} + v)", v=node))


def _addends(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield from _addends(node.left)
        yield from _addends(node.right)
    else:
        yield node


def _is_loose(path: str, site: Site, loaded: list[str]) -> bool:
    handed = bool(site.statement.loops) and not re.search("prev", path) and _is_carried(path, site.statement)
    return path not in loaded or handed


def _is_carried(path: str, statement_: Statement) -> bool:
    """Whether a name is set later in the same loop: what one time step hands to the next."""
    if re.search(r"next|prev|carry|future", path):
        return True
    body = [part for loop in statement_.loops for child in loop.body for part in ast.walk(child)]
    later = (part for part in body if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
    return any(part.id == path and part.lineno > statement_.node.lineno for part in later)


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
