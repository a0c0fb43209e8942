"""Another operand in an operand's place: one layer, one time step, one gradient taken for another. Level 1."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import factors, names_in, text, with_each
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, is_cotangent, parsed
from gradcheck.explanation.edits.sequence import is_later
from gradcheck.explanation.edits.watch import Seen

__all__ = ["operands"]

_ACTIVATION = re.compile(
    r"(self\.)?(a|z|h|l|o|s|act\w*|out\w*|hid\w*|relu\w*|sig\w*|tanh\w*|layer\w*|mask\w*|cache\w*)$", re.IGNORECASE
)
_DERIVATIVE = re.compile(r"1(\.0)? - |> 0|< 0|>= 0|<= 0|cos|cosh|exp|prime|deriv|_grad|dsig|dtanh|drelu", re.IGNORECASE)


def operands(scene: Scene) -> Iterator[Proposal]:
    """Read another array of the same shape, at one place or throughout the statement."""
    done: set[tuple[int, str, str]] = set()
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript) or not isinstance(node.ctx, ast.Load):
            continue
        parent, field, _ = site.place
        old, seen = text(node), scene.seen(node)
        if isinstance(parent, ast.Call) and field == "func":
            continue
        yield from _unread(scene, site)
        yield from _lists(scene, site)
        if seen.kind == "i" and seen.shape == () and isinstance(node, ast.Name):
            yield from _sizes(scene, site, node.id)
        # Where the name of an indexed array is changed, the index is kept.
        if not (seen.is_array or scene.blind) or (isinstance(node, ast.Attribute) and node.attr == "T"):
            continue
        for path, other in scene.operands(site.statement).items():
            if path == old or not (scene.blind or _exchangeable(seen, other)):
                continue
            crossed = seen.is_float and is_cotangent(old) != is_cotangent(path) and not isinstance(parent, ast.Compare)
            if (scene.blind or crossed) and _alike(old, path) < 0.5:
                continue
            later = is_later(seen, other)
            mistake = "G3" if later else "C1" if _is_derived(scene, old, path) else _mistake(old, path, site)
            rank = 33 - round(14 * _alike(old, path)) + 4 * (is_cotangent(old) != is_cotangent(path))
            rank = min(rank, 16) if later else rank
            if isinstance(parent, ast.Compare) and is_cotangent(old) and not is_cotangent(path):
                rank = 12  # a mask asks the value, not its gradient
            # One element of a list, by a literal index in a loop, is right for one turn only.
            rank += 6 * bool(site.statement.loops and re.search(r"\[-?\d+\]", path))
            new = parsed(path)
            yield Proposal(mistake, rank, site.statement, ((site.place, new),))
            key = (site.statement.position, old, path)
            if key not in done and not isinstance(site.statement.node, ast.For | ast.FunctionDef):
                done.add(key)
                times = [0]
                whole = with_each(site.statement.node, old, new, times)
                if times[0] > 1:
                    yield Proposal(mistake, rank - 1, site.statement, ((site.statement.place, whole),))


def _is_derived(scene: Scene, old: str, new: str) -> bool:
    """Whether a gradient is another one times something of its shape, entry by entry: the derivative, as it seems."""
    for each in scene.statements:
        value = each.node.value if isinstance(each.node, ast.Assign) and each.target == new else None
        if value is None or not is_cotangent(new) or not isinstance(value, ast.BinOp):
            continue
        parts = list(factors(value))
        others = [part for part in parts if text(part) != old]
        if len(others) == len(parts) - 1 and any(scene.seen(part).is_array for part in others):
            return not any(is_cotangent(name) for part in others for name in names_in(part))
    return False


def _unread(scene: Scene, site: Site) -> Iterator[Proposal]:
    """Return a gradient that nothing reads instead of one that is returned, whatever its shape."""
    returned = isinstance(site.statement.node, ast.Return) and isinstance(site.place.parent, ast.Return | ast.Tuple)
    if not returned or not is_cotangent(text(site.node)):
        return
    loaded = {text(s.node) for s in scene.sites if isinstance(s.node, ast.Name) and isinstance(s.node.ctx, ast.Load)}
    for path, other in scene.operands(site.statement).items():
        if path.isidentifier() and is_cotangent(path) and path not in loaded and other.is_array:
            yield Proposal("B6", 18, site.statement, ((site.place, parsed(path)),))


def _lists(scene: Scene, site: Site) -> Iterator[Proposal]:
    """Read another list at the same index: zs[-l] for activations[-l]."""
    if not isinstance(site.place.parent, ast.Subscript) or site.place.field != "value":
        return
    scope = scene.watched.scopes.get(site.statement.position, {})
    old = text(site.node)
    kind = scope[old].kind if old in scope else ""
    for path, seen in scope.items() if kind in {"list", "tuple", "dict"} else ():
        if path.isidentifier() and path != old and seen.kind == kind and is_cotangent(path) == is_cotangent(old):
            yield Proposal("C2", 22, site.statement, ((site.place, parsed(path)),))


def _sizes(scene: Scene, site: Site, old: str) -> Iterator[Proposal]:
    """Read the width where the height is read, and such."""
    for path, other in scene.operands(site.statement).items():
        close = path.isidentifier() and path != old and len(path) == len(old) and _alike(old, path) >= 0.5
        if close and other.kind == "i" and other.shape == ():
            yield Proposal("F4", 26, site.statement, ((site.place, parsed(path)),))


def _exchangeable(left: Seen, right: Seen) -> bool:
    return left.shape == right.shape and (left.kind == right.kind or "b" in {left.kind, right.kind})


def _alike(left: str, right: str) -> float:
    """How alike two names are; such as differ in a number or an index only are taken for each other."""
    plain = [re.sub(r"_?(prev|next|new|old|last)_?|[\d_]+|\[.*?\]", "", name) for name in (left, right)]
    if plain[0] == plain[1]:
        return 1.0
    return difflib.SequenceMatcher(None, left, right).ratio()


def _mistake(old: str, new: str, site: Site) -> str:
    """Return the class of taking ``old`` for ``new``."""
    if isinstance(site.place.parent, ast.Compare):
        return "C2"
    if old != new and sorted(re.findall(r"\w+", old)) == sorted(re.findall(r"\w+", new)) and not site.statement.time:
        return "F4"  # the same counters in another order
    if site.statement.time and _base(old) == _base(new):
        return "G3"
    # h and h_prev, also outside a loop: the state before the step.
    if re.search(r"prev|last|old|^h0$", old) or re.search(r"prev|last|old|^h0$", new):
        return "G3" if not is_cotangent(old) and not is_cotangent(new) and not _updated(old, new) else "B6"
    if _updated(old, new):
        return "E4"
    if is_cotangent(old) or is_cotangent(new):
        return "B6"
    numbers = [re.findall(r"\d+", name) for name in (old, new)]
    if numbers[0] != numbers[1] and _base(old) == _base(new):
        return "C4" if _ACTIVATION.match(_base(old)) else "B6"
    return "C2" if _DERIVATIVE.search(_around(old, site)) else "B6"


def _updated(old: str, new: str) -> bool:
    return bool(re.search(r"new|updated", old + new)) and bool(re.search(r"[WUVwbθ]", old))


def _base(path: str) -> str:
    return re.sub(r"_?(prev|next)|[\d_]+|\[[^\]]*\]", "", path)


def _around(old: str, site: Site) -> str:
    """Return the smallest part of the statement around a site that has the form of a derivative, or the parent."""
    parent = site.place.parent
    if isinstance(parent, ast.Call | ast.Compare):
        return text(parent)
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.MatMult):
        return ""
    value = getattr(site.statement.node, "value", None)
    candidates = [
        text(part)
        for part in (ast.walk(value) if value is not None else ())
        if isinstance(part, ast.BinOp | ast.Compare | ast.Call) and old in names_in(part) | {old}
    ]
    if isinstance(parent, ast.BinOp):
        candidates = [text(parent), *candidates]
    return " ".join(candidates[:2])
