"""Sums over all samples or steps that leave some of them out, or add some twice (classes C8, E1, E2, G2). Level 1."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, names_in, text
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site
from gradcheck.explanation.edits.sequence import counters, is_own, sliced_axes, steps_of, time_axes

__all__ = ["kept", "masked", "padded", "repeated", "single", "twice"]

BARELY = 0.05  # a factor so near to one is in no formula
_MADE_LIKE = ("zeros", "ones", "empty", "full")


def kept(scene: Scene) -> Iterator[Proposal]:
    """Leave out the slices of all operands of a product, or of a sum, that keep only some samples or steps."""
    axes: dict[str, int] | None = None
    groups: dict[int, list[Site]] = defaultdict(list)
    around = {id(site.node): site for site in scene.sites}
    for site in scene.sites:
        if _keeps_some(scene, site):
            groups[_product_around(site, around)].append(site)
    for sites in groups.values():
        axes = time_axes(scene) if axes is None else axes
        mistake = _class_of(scene, sites, axes)
        yield Proposal(mistake, 12, sites[0].statement, tuple((site.place, _whole(site.node)) for site in sites))
        if any(isinstance(p, ast.Slice) and p.lower and p.upper for site in sites for p in _parts(site.node)):
            mistake = "G2" if mistake in {"G2", "G3"} else "C8"
            for given in ({"upper": False}, {"lower": False}):
                changes = tuple((site.place, _whole(site.node, **given)) for site in sites)
                yield Proposal(mistake, 13, sites[0].statement, changes)


def _keeps_some(scene: Scene, site: Site) -> bool:
    """Whether an expression is a slice with fixed bounds that leaves out entries of an array."""
    node = site.node
    if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
        return False
    bounded = [part for part in _parts(node) if isinstance(part, ast.Slice) and (part.lower or part.upper)]
    if len(bounded) != 1 or names_in(node.slice) & counters(site.statement) or _crops(scene, node, bounded[0]):
        return False
    before, after = scene.seen(node.value), scene.seen(node)
    if scene.blind or before.kind == "list":
        return True
    # Of what was empty when it was first seen nothing can be left out then.
    return before.is_array and after.is_array and (before.shape != after.shape or 0 in (before.shape or ()))


def _crops(scene: Scene, node: ast.Subscript, part: ast.Slice) -> bool:
    """Whether a slice cuts an image: along one of its last axes, or by what was computed from its size."""
    image = len(scene.seen(node.value).shape or ()) > 3 and sliced_axes(node)[-1] not in {0, 1}
    return image or any(isinstance(each, ast.BinOp) for each in (part.lower, part.upper))


def _parts(node: ast.expr) -> list[ast.expr]:
    if not isinstance(node, ast.Subscript):
        return []
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def _product_around(site: Site, around: dict[int, Site]) -> int:
    """Return which product, call or value an operand belongs to: the largest that is no sum."""
    node, parent = site.node, site.place.parent
    while id(parent) in around or isinstance(parent, ast.Tuple | ast.keyword | ast.Starred):
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add | ast.Sub):
            break
        if (
            isinstance(parent, ast.Tuple)
            and id(parent) in around
            and isinstance(around[id(parent)].place.parent, ast.Return)
        ):
            break
        if id(parent) not in around:
            break
        node, parent = around[id(parent)].node, around[id(parent)].place.parent
    return id(node)


def _whole(node: ast.expr, *, lower: bool = True, upper: bool = True) -> ast.expr:
    """Return a subscript whose slices have lost their lower bounds, their upper ones or both."""
    if not isinstance(node, ast.Subscript):
        return node
    made = [_unbounded(part, lower, upper) if isinstance(part, ast.Slice) else part for part in _parts(node)]
    if all((isinstance(part, ast.Slice) and text(part) == ":") or text(part) == "..." for part in made):
        return node.value
    return ast.Subscript(node.value, made[0] if len(made) == 1 else ast.Tuple(made, ast.Load()), ast.Load())


def _unbounded(part: ast.Slice, lower: bool, upper: bool) -> ast.Slice:
    return ast.Slice(None if lower else part.lower, None if upper else part.upper, part.step)


def _class_of(scene: Scene, sites: list[Site], axes: dict[str, int]) -> str:
    """Return what leaving out samples or steps is: one alone counts, some are missing, or each meets another."""
    nodes = [site.node for site in sites if isinstance(site.node, ast.Subscript)]
    time = any(_is_time(node, axes, len(scene.seen(node.value).shape or ())) for node in nodes)
    bounds = {
        text(part) for node in nodes for part in _parts(node) if isinstance(part, ast.Slice) and text(part) != ":"
    }
    if len(bounds) > 1:
        return "G3" if time else "B6"
    part = next(p for p in _parts(nodes[0]) if isinstance(p, ast.Slice) and text(p) != ":")
    if _one_end(part) and _is_one(scene, nodes[0], axes if time else {}):
        return "E1"
    return "G2" if time else "C8"


def _is_time(node: ast.Subscript, axes: dict[str, int], rank: int) -> bool:
    if not isinstance(node.value, ast.Name) or node.value.id not in axes:
        return False
    axis = axes[node.value.id]
    return axis in sliced_axes(node) or axis - rank in sliced_axes(node)


def _one_end(part: ast.Slice) -> bool:
    """Whether a slice keeps an end, ``[:k]`` or ``[-k:]``, rather than to leave one out."""
    bound = part.lower if part.upper is None else part.upper if part.lower is None else None
    negative = isinstance(bound, ast.UnaryOp) and isinstance(bound.op, ast.USub)
    return part.step is None and bound is not None and negative == (part.upper is None)


def _is_one(scene: Scene, node: ast.Subscript, axes: dict[str, int]) -> bool:
    """Whether a slice keeps one sample, or one step of several samples that lie one below the other."""
    before, after = scene.seen(node.value).shape or (), scene.seen(node).shape or ()
    cut = [(whole, part) for whole, part in zip(before, after, strict=False) if whole != part]
    lengths = {1, *(steps_of(scene, name, axes)[0] for name in axes)}
    return all(part == 1 or (part and whole // part in lengths) for whole, part in cut)


def single(scene: Scene) -> Iterator[Proposal]:
    """Sum over an axis of which a literal index, or a loop's variable after the loop, takes one entry."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
            continue
        whole, seen = scene.seen(node.value), scene.seen(node)
        if not (whole.is_array and whole.is_float and seen.shape is not None) or _is_pattern(site):
            continue
        for axis, part in enumerate(_parts(node)):
            size = (whole.shape or ())[axis] if axis < len(whole.shape or ()) else 1
            left_over = isinstance(part, ast.Name) and part.id not in counters(site.statement)
            if text(part) == "..." or size < 2 or not (_whole_number(part) or left_over):
                continue
            if left_over and scene.seen(part).shape != ():
                continue
            rest = [p for i, p in enumerate(_parts(node)) if i != axis]
            summed = fill("a.sum(axis=k)", a=node.value, k=ast.Constant(axis))
            plain = all(isinstance(p, ast.Slice) and text(p) == ":" for p in rest)
            made = summed if plain else ast.Subscript(summed, ast.Tuple(rest, ast.Load()), ast.Load())
            yield Proposal("E1", 16, site.statement, ((site.place, made),))
            break


def _whole_number(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
    return isinstance(constant(inner), int)


def _is_pattern(site: Site) -> bool:
    """Whether an array is read for its shape or its type alone."""
    parent = site.place.parent
    if isinstance(parent, ast.Attribute):
        return parent.attr in {"shape", "dtype", "ndim", "size"}
    return isinstance(parent, ast.Call) and text(parent.func).rpartition(".")[2].startswith((*_MADE_LIKE, "len"))


def masked(scene: Scene) -> Iterator[Proposal]:
    """Leave out a factor that is 0 or 1 by where an entry or a step stands; or a number that is put on one of them."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for factor, rest in ((node.left, node.right), (node.right, node.left)):
                mistake = _by_position(scene, site, factor, rest)
                if mistake is not None:
                    yield Proposal(mistake, 12, site.statement, ((site.place, rest),))
        called = isinstance(node, ast.Call) and text(node.func) == "np.where" and len(node.args) == 3
        if isinstance(node, ast.Call) and called and constant(node.args[2]) == 0:
            mistake = _by_position(scene, site, node.args[0], node.args[1])
            if mistake in {"G2", "C8"}:
                yield Proposal(mistake, 12, site.statement, ((site.place, node.args[1]),))


def _by_position(scene: Scene, site: Site, factor: ast.expr, rest: ast.expr) -> str | None:
    """Return the mistake that a factor is which knows nothing but a position or a literal; None for any other."""
    value = scene.seen(factor).value if isinstance(factor, ast.BinOp) else constant(factor)
    if not names_in(factor):
        return "A4" if value is not None and 0 < abs(value - 1) < BARELY else None
    compared = any(isinstance(part, ast.Compare) for part in ast.walk(factor))
    counted = bool(names_in(factor) & counters(site.statement)) and scene.seen(factor).shape in {(), None}
    placed = any(isinstance(part, ast.Call) and text(part.func) == "np.arange" for part in ast.walk(factor))
    if not compared or not (counted or placed):
        return None
    numbers = [constant(part) for part in ast.walk(factor)]
    if any(number is not None and number != int(number) for number in numbers):
        return "A4"  # 1 + 1e-5 at one step
    return "G2" if site.statement.time and not is_own(scene, rest, site.statement) else "C8"


def repeated(scene: Scene) -> Iterator[Proposal]:
    """Give each sample its own, where one of them is repeated for all."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, method = text(node.func), node.func.attr == "repeat" and not text(node.func).startswith("np.")
        inner = node.func.value if method else node.args[0] if name in _SPREADS and node.args else None
        if not isinstance(inner, ast.Subscript) or not isinstance(inner.ctx, ast.Load):
            continue
        before, after = scene.seen(inner.value).shape or (), scene.seen(inner).shape or ()
        parts = _parts(inner)
        one = [_whole_number(p) or (isinstance(p, ast.Slice) and _one_end(p)) for p in parts]
        if len(before) == len(after):
            one = [each and axis < len(before) and after[axis] == 1 < before[axis] for axis, each in enumerate(one)]
        if any(one):
            made = [ast.Slice() if cut else part for cut, part in zip(one, parts, strict=True)]
            whole = ast.Subscript(inner.value, ast.Tuple(made, ast.Load()), ast.Load())
            yield Proposal("E1", 14, site.statement, ((site.place, whole),))


def padded(scene: Scene) -> Iterator[Proposal]:
    """Take an array as it is, where its slice is put together with zeros: in its place, or some steps off."""
    for site in scene.sites:
        node = site.node
        joined: ast.expr | None = None
        if isinstance(node, ast.Call) and text(node.func) in _JOINS and node.args:
            joined = node.args[0]
        elif isinstance(node, ast.Subscript) and text(node.value) in {"np.r_", "np.c_"}:
            joined = node.slice
        parts = joined.elts if isinstance(joined, ast.Tuple | ast.List) else []
        cut = [p for p in parts if isinstance(p, ast.Subscript) and isinstance(p.ctx, ast.Load)]
        if len(parts) != 2 or len(cut) == 0:
            continue
        taken = next((p for p in cut if scene.seen(p.value).shape == scene.seen(node).shape), None)
        if taken is None or not scene.seen(node).is_float:
            continue
        bounds = [p for p in _parts(taken) if isinstance(p, ast.Slice) and text(p) != ":"]
        first = taken is parts[0]
        stays = any((p.lower is None) == first for p in bounds)
        time = site.statement.time or _is_time(taken, time_axes(scene), len(scene.seen(node).shape or ()))
        mistake = ("G2" if time else "C8") if stays else "G3" if time else "B6"
        yield Proposal(mistake, 13, site.statement, ((site.place, taken.value),))


_JOINS = {"np.concatenate", "np.vstack", "np.hstack", "np.append"}
_SPREADS = {"np.repeat", "np.tile", "np.broadcast_to"}


def twice(scene: Scene) -> Iterator[Proposal]:
    """Add once what is added twice, in one sum or in two statements alike."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            terms = [text(term) for term in _terms(node.left)]
            if text(node.right) in terms and constant(node.right) is None and scene.seen(node).is_float:
                yield Proposal("E2", 11, site.statement, ((site.place, node.left),))
    added: dict[tuple[int, str], int] = {}
    for each in scene.statements:
        if isinstance(each.node, ast.AugAssign) and isinstance(each.node.op, ast.Add):
            key = id(each.place.parent), text(each.node)
            added[key] = added.get(key, 0) + 1
            if added[key] > 1:
                new = ast.copy_location(ast.Pass(), each.node)
                yield Proposal("E2", 11, each, ((each.place, new),))
            else:
                yield from _outside(scene, each.node, each.place)


def _outside(scene: Scene, node: ast.AugAssign, place: Place) -> Iterator[Proposal]:
    """Add behind a loop, once, what the loop adds in each turn although no turn changes it."""
    each = next(s for s in scene.statements if s.node is node)
    loop = next((s for s in scene.statements if each.loops and s.node is each.loops[-1]), None)
    if loop is None or place.parent is not loop.node:
        return
    bound = {n.id for part in ast.walk(loop.node) if isinstance(n := part, ast.Name) and isinstance(n.ctx, ast.Store)}
    if not names_in(node.value) & (bound | names_in(node.target)) and not names_in(node.target) & counters(each):
        gone = ast.copy_location(ast.Pass(), node)
        yield Proposal("E2", 14, each, ((each.place, gone), (loop.place, [loop.node, node])))


def _terms(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield node
