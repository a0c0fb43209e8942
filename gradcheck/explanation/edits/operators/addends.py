"""Terms of a sum that have no name of their shape: of a mean, of a gate, of a constant, with a minus (C7, C8, G1).

Level 1.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import fill, names_in, text
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, is_cotangent, parsed

__all__ = ["constants", "gated", "statistics", "subtracted"]

_EMPTY = {"np.zeros_like", "np.zeros"}


def statistics(scene: Scene) -> Iterator[Proposal]:
    """Add the gradient of a mean that nothing reads, over the number of entries that it is of."""
    for site in scene.values:
        shape, operands = scene.seen(site.node).shape, scene.operands(site.statement)
        for path in sorted(scene.unread & operands.keys()):
            held = operands[path].shape
            if not is_cotangent(path) or not shape or not held or path in names_in(site.statement.node):
                continue
            kept = len(held) == len(shape) and all(one in {1, size} for one, size in zip(held, shape, strict=True))
            if kept and held != shape and operands[path].is_float:
                yield _at(site, "C7", 11, fill(f"v + {path}", v=site.node))
                for size in scene.sizes(site.statement):
                    yield _at(site, "C7", 11, fill(f"v + {path} / n", v=site.node, n=parsed(size)))


def subtracted(scene: Scene) -> Iterator[Proposal]:
    """Subtract a gradient of the same shape that is at hand: what enters a difference with a minus."""
    for site in scene.values:
        shape, used = scene.seen(site.node).shape, names_in(site.node)
        if (
            not shape
            or site.statement.loops
            or isinstance(site.node, ast.Name)
            or not is_cotangent(site.statement.target)
        ):
            continue
        for path, other in scene.operands(site.statement).items():
            fits = path.isidentifier() and is_cotangent(path) and other.is_float and other.shape == shape
            if fits and path not in used and path != site.statement.target:
                yield _at(site, "C8", 26, fill(f"v - {path}", v=site.node))


def constants(scene: Scene) -> Iterator[Proposal]:
    """Add one, or the number that arrives: the gradient of a term that enters the loss as it is."""
    first = next((name for name in scene.parameters if name not in {"self", "cls", "ctx"}), "")
    for site in scene.values:
        number = scene.operands(site.statement).get(first)
        if number is None or number.shape != () or site.statement.loops or not scene.seen(site.node).is_array:
            continue
        if isinstance(site.node, ast.BinOp | ast.UnaryOp):
            term = first if first in names_in(site.node) else "1"
            yield _at(site, "C8", 25, fill(f"v + {term}", v=site.node))
            yield _at(site, "C8", 25, fill(f"v - {term}", v=site.node))


def gated(scene: Scene) -> Iterator[Proposal]:
    """Begin what a step hands to the one before it with what it was handed, times a gate, and not with zeros."""
    for site in scene.sites:
        node, loops = site.node, site.statement.loops
        empty = isinstance(node, ast.Call) and text(node.func) in _EMPTY and loops
        if not empty or not is_cotangent(site.statement.target) or site.place.field != "value":
            continue
        stored = {n.id for n in ast.walk(loops[-1]) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        alike = {
            p: s for p, s in scene.operands(site.statement).items() if s.shape == scene.seen(node).shape and s.is_float
        }
        handed = [p for p in alike if is_cotangent(p) and p in stored and p != site.statement.target]
        gates = [p for p, s in alike.items() if s.low >= 0 and s.high <= 1 and "zeros" not in s.facts]
        for path, gate in itertools.product(handed, gates):
            yield _at(site, "G1", 12, fill(f"{path} * {gate}"))
            yield _at(site, "G1", 12, fill(f"{path} * (1 - {gate})"))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
