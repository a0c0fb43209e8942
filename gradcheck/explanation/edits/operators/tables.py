"""Masks and tables of links: ignored, turned into their contrary, or applied where none belongs (E5, F5). Level 1."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.edits.nodes import fill, names_in, text
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, is_cotangent

__all__ = ["contraries", "forgotten_masks", "labels_of_rows", "links", "mask_class"]

_TABLE = re.compile(r"table|link|conn|adj|edge|^[LT]$", re.IGNORECASE)
_DROPOUT = re.compile(r"drop|keep|mask", re.IGNORECASE)


def mask_class(scene: Scene, node: ast.expr) -> str:
    """Return the class of a mistake with a mask: of a table of links, of a dropout, or of a function's branches."""
    known = scene.source.function.__globals__
    tables = {np.shape(t) for t in known.values() if isinstance(t, np.ndarray) and t.dtype == bool and t.ndim == 2}
    seen = scene.seen(node)
    if any(_TABLE.search(name) for name in names_in(node)) or (seen.kind == "b" and seen.shape in tables):
        return "F5"
    return "E5" if any(_DROPOUT.search(name) for name in names_in(node)) else "C3"


def contraries(scene: Scene) -> Iterator[Proposal]:
    """Take a mask for its contrary, and exchange what is taken where it holds and where it does not."""
    for site in scene.sites:
        node = site.node
        inverted = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not)
        if isinstance(node, ast.UnaryOp) and inverted and scene.seen(node).kind == "b":
            yield _at(site, mask_class(scene, node.operand), 11, node.operand)
        less = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and text(node.left) in {"1", "1.0"}
        if isinstance(node, ast.BinOp) and less and _is_mask(scene, node.right):
            yield _at(site, mask_class(scene, node.right), 13, node.right)
        if isinstance(node, ast.Call) and text(node.func) == "np.logical_not" and len(node.args) == 1:
            yield _at(site, mask_class(scene, node.args[0]), 11, node.args[0])
        if isinstance(node, ast.Call) and text(node.func) == "np.where" and len(node.args) == 3:
            label = mask_class(scene, node.args[0])
            if label != "C3":
                test, yes, no = node.args
                yield _at(site, label, 13, ast.Call(node.func, [test, no, yes], node.keywords))


def forgotten_masks(scene: Scene) -> Iterator[Proposal]:
    """Take a mask for ones of its shape, and a one-hot row for a whole one."""
    for site in scene.sites:
        node = site.node
        ones = isinstance(node, ast.Call) and text(node.func) in {"np.ones_like", "np.full_like", "np.ones"}
        if not isinstance(node, ast.Call) or not ones or not node.args:
            continue
        like = node.args[0].value if isinstance(node.args[0], ast.Attribute) else node.args[0]
        if _is_mask(scene, like):
            label = mask_class(scene, like)
            yield _at(site, "C1" if label == "C3" else label, 14, like)
    for site in scene.values:
        shape = scene.seen(site.node).shape
        for path, seen in scene.operands(site.statement).items() if shape and len(shape) == 2 else ():
            labels = seen.kind in {"i", "u"} and seen.shape == shape[:1] and path.isidentifier()  # type: ignore[index]
            if labels and seen.low >= 0 and seen.high < shape[1] and path not in names_in(site.node):  # type: ignore[index]
                one_hot = f"v * (np.arange(v.shape[1]) == {path}[:, None])"
                yield _at(site, "F5", 22, fill(one_hot, v=site.node))


def links(scene: Scene) -> Iterator[Proposal]:
    """Use the weights of the links alone, and the table the right way round."""
    for site in scene.sites:
        node, seen = site.node, scene.seen(site.node)
        loaded = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        parent = site.place.parent
        inside = isinstance(parent, ast.Subscript) or (isinstance(parent, ast.Attribute) and parent.attr != "T")
        if not loaded or inside or seen.shape is None:
            continue
        if _is_mask(scene, node) and len(seen.shape) == 2 and mask_class(scene, node) == "F5":
            if isinstance(node, ast.Attribute) and node.attr == "T":
                yield _at(site, "F5", 18, node.value)
            elif seen.shape[0] == seen.shape[1]:
                yield _at(site, "F5", 18, fill("t.T", t=node))
        if not seen.is_float or is_cotangent(text(node)) or len(seen.shape) not in {2, 4}:
            continue
        for path, table in scene.operands(site.statement).items():
            weighs = _TABLE.search(path) and (table.kind == "b" or "binary" in table.facts) and path.isidentifier()
            if weighs and table.shape == seen.shape:
                yield _at(site, "F5", 17, fill(f"(w * {path})", w=node))
            elif weighs and len(seen.shape) == 4 and table.shape in {seen.shape[:2], seen.shape[1::-1]}:
                turned = path if table.shape == seen.shape[:2] else f"{path}.T"
                yield _at(site, "F5", 17, fill(f"(w * {turned}[:, :, None, None])", w=node))


def labels_of_rows(scene: Scene) -> Iterator[Proposal]:
    """Subtract the label's one-hot row from the probabilities, and add these where the row stands alone."""
    for site in scene.sites:
        shape, seen = scene.seen(site.node).shape, scene.seen(site.node)
        if shape is None or len(shape) != 2 or not isinstance(getattr(site.node, "ctx", ast.Load()), ast.Load):
            continue
        operands = scene.operands(site.statement)
        if "simplex" in seen.facts and isinstance(site.node, ast.Name) and not isinstance(site.place.parent, ast.Tuple):
            for path in (p for p, s in operands.items() if s.kind in {"i", "u"} and s.shape == shape[:1]):
                one_hot = f"(p - (np.arange(p.shape[1]) == {path}[:, None]))"
                if path.isidentifier() and path not in names_in(site.statement.node):
                    yield _at(site, "C8", 16, fill(one_hot, p=site.node))
        if isinstance(site.node, ast.Compare):
            for path in (p for p, s in operands.items() if "simplex" in s.facts and s.shape == shape):
                yield _at(site, "C8", 17, fill(f"({path} - m)", m=site.node))
                yield _at(site, "C8", 17, fill(f"(m - {path})", m=site.node))


def _is_mask(scene: Scene, node: ast.expr) -> bool:
    return scene.seen(node).kind == "b" or "binary" in scene.seen(node).facts


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
