"""What a statement depends on: when it runs, whether it runs, and what it leaves unused (C8, D1, E4). Level 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, statement, text
from gradcheck.explanation.edits.purity import calls_nothing
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Statement, is_cotangent, is_regulariser, parsed
from gradcheck.explanation.edits.sequence import is_own

__all__ = ["balanced", "conditions", "divided", "exchanged", "forgotten", "updates"]


def updates(scene: Scene) -> Iterator[Proposal]:
    """Leave out, or put at the end, a step that changes a parameter while its old value is still needed."""
    for each in scene.statements:
        node = each.node
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Sub | ast.Add):
            step: ast.expr | None = node.value
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
            taken = isinstance(node.value.op, ast.Sub | ast.Add) and text(node.value.left) == each.target
            step = node.value.right if taken else None
        else:
            step = None
        if step is None or is_cotangent(each.target) or not isinstance(step, ast.BinOp):
            continue
        if isinstance(step.op, ast.Mult | ast.Div) and any(is_cotangent(name) for name in _paths(step)):
            yield Proposal("E4", 10, each, ((each.place, ast.copy_location(ast.Pass(), node)),))


def exchanged(scene: Scene) -> Iterator[Proposal]:
    """Run two neighbouring statements in the other order, if one of them changes what the other uses."""
    nodes = {id(each.node): each for each in scene.statements}
    for each in scene.statements:
        body, index = getattr(each.place.parent, each.place.field), each.place.slot
        if index is None or index + 1 >= len(body) or id(body[index + 1]) not in nodes:
            continue
        after = nodes[id(body[index + 1])]
        both = each.node, after.node
        if not all(isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) for node in both):
            continue
        augmented = [isinstance(node, ast.AugAssign) for node in both]
        related = each.target and (each.target == after.target or each.target in text(after.node))
        if not related or not any(augmented) or not isinstance(after.node, ast.AugAssign | ast.Assign):
            continue
        spoken = _paths(each.node) | _paths(after.node)
        gradients = is_cotangent(each.target) and is_cotangent(after.target)
        label = "D1" if any(is_regulariser(path) for path in spoken) else "E3" if gradients else "E4"
        nothing = ast.copy_location(ast.Pass(), after.node)
        changes = ((each.place, [after.node, each.node]), (after.place._replace(slot=index + 2), nothing))
        yield Proposal(label, 14, each, changes)


def _paths(node: ast.AST) -> set[str]:
    return {text(part) for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute | ast.Subscript)}


def conditions(scene: Scene) -> Iterator[Proposal]:
    """Do always what is done under a condition."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.IfExp):
            for chosen in filter(calls_nothing, (node.body, node.orelse)):
                empty = isinstance(chosen, ast.Constant)
                other = node.orelse if chosen is node.body else node.body
                cut = site.statement.time and (constant(other) == 0 or text(other).startswith("np.zeros"))
                # Nothing is handed on at some steps.
                mistake = "G2" if cut and not is_own(scene, chosen, site.statement) else "C8"
                yield Proposal(mistake, 27 if empty else 12, site.statement, ((site.place, chosen),))
    for each in scene.statements:
        node_ = each.node
        if not isinstance(node_, ast.If) or not all(map(calls_nothing, node_.body)):
            continue  # a call that was not made might do anything
        if not node_.orelse and not isinstance(node_.body[0], ast.Continue | ast.Return):
            yield Proposal("G2" if each.time else "C8", 19, each, ((each.place, list(node_.body)),))


def divided(scene: Scene) -> Iterator[Proposal]:
    """Divide a sum that a loop has made, before something is added to it."""
    for each in scene.statements:
        node = each.node
        added = isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub)
        if not added or each.loops or not scene.operands(each).get(each.target, scene.nothing).is_float:
            continue
        for path in scene.sizes(each):
            new = statement("target /= n", target=each.target, n=parsed(path))
            new.target.ctx = ast.Store()
            yield Proposal("A2", 16, each, ((each.place, [new, node]),))


def forgotten(scene: Scene) -> Iterator[Proposal]:
    """Use what was computed and is never read: in the entries of the labels, or as a factor of what is returned."""
    unread = scene.unread
    for each in scene.statements:
        if not isinstance(each.node, ast.AugAssign | ast.Return | ast.Assign) or each.loops:
            continue
        operands = scene.operands(each)
        labels = [p for p, s in operands.items() if s.kind in {"i", "u"} and s.shape is not None and len(s.shape) == 1]
        for path in sorted(unread & operands.keys()):
            count = operands[path]
            if count.shape is None or len(count.shape) != 1:
                continue
            for target, seen in operands.items():
                fits = seen.shape is not None and len(seen.shape) == 2 and seen.shape[0] == count.shape[0]
                if not fits or not target.isidentifier() or not (is_cotangent(target) and seen.is_float):
                    continue
                for label in (y for y in labels if y != path and operands[y].shape == count.shape):
                    yield _inserted(each, f"{target}[np.arange(len({label})), {label}] -= {path}")


def balanced(scene: Scene) -> Iterator[Proposal]:
    """Give the label's entry of each row minus the sum of its row, where a constant is written."""
    for each in scene.statements:
        node = each.node
        if isinstance(node, ast.Assign | ast.AugAssign) and isinstance(node.value, ast.UnaryOp | ast.Constant):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Subscript) and scene.seen(target.value).shape is not None:
                made = fill("-m.sum(axis=1)", m=target.value)
                yield Proposal("C8", 20, each, ((Place(node, "value", None), made),))


def _inserted(each: Statement, line: str) -> Proposal:
    return Proposal("C8", 20, each, ((each.place, [_filled(line), each.node]),))


def _filled(line: str) -> ast.stmt:
    made: ast.stmt = statement(line)
    return made
