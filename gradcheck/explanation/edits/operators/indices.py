"""Windows, strides, pads, flips and time steps: where a gradient is read and written (classes F and G). Level 1."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, names_in, text, with_each
from gradcheck.explanation.edits.operators.whole import shares_weights
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site, Statement, parsed
from gradcheck.explanation.edits.sequence import is_time_loop

__all__ = ["crops", "flips", "loops", "steps", "strides"]

_STRIDE = re.compile(r"^(s|st|stride\w*|S|sh|sw|step|hop|dil\w*|factor)$|stride", re.IGNORECASE)
_KERNEL = re.compile(r"^(k|ker|kernel\w*|w|filt\w*)$", re.IGNORECASE)
_FLIPS = {"np.rot90", "np.flip", "np.flipud", "np.fliplr"}
_NEARBY: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Gt: (ast.GtE,),
    ast.GtE: (ast.Gt,),
    ast.Lt: (ast.LtE,),
    ast.LtE: (ast.Lt,),
}
_PAD = re.compile(r"^(p|P|pad\w*|padding|ph|pw)$|pad", re.IGNORECASE)
_ONE = {":1", "-1:", "0:1"}


def flips(scene: Scene) -> Iterator[Proposal]:
    """Rotate a kernel by half a turn, or leave the rotation out."""
    for site in scene.sites:
        node = site.node
        shape = scene.seen(node).shape
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and "::-1" in text(node.slice):
            yield _at(site, "F1", 14, node.value)
        written = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and "::-1" in text(node.slice)
        if isinstance(node, ast.Subscript) and written and isinstance(node.value, ast.Subscript):
            yield _at(site, "F1", 14, ast.Subscript(node.value.value, node.value.slice, ast.Store()))
        if isinstance(node, ast.Call) and node.args and text(node.func) in _FLIPS:
            yield _at(site, "F1", 14, node.args[0])
        plain = isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call) and isinstance(
            getattr(node, "ctx", ast.Load()), ast.Load
        )
        inside = isinstance(site.place.parent, ast.Attribute) or (
            isinstance(site.place.parent, ast.Call) and site.place.field == "func"
        )
        if plain and not inside and shape is not None and len(shape) >= 2 and shape[-1] > 1 and shape[-2] > 1:
            spatial = (
                len(shape) == 4 or "conv" in scene.tree.name or shape[-1] == shape[-2] or _KERNEL.search(text(node))
            )
            if spatial and not isinstance(site.place.parent, ast.Subscript):
                yield _at(site, "F1", 21 if len(shape) == 4 else 25, fill("v[..., ::-1, ::-1]", v=node))


def strides(scene: Scene) -> Iterator[Proposal]:
    """Count in strides where the index counts in steps of one, and the reverse."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript):
            continue
        counters = {n for loop in site.statement.loops for n in names_in(loop.target)} & names_in(node.slice)
        yield from _all_strides(scene, site, node)
        strides_ = [p for p in scene.operands(site.statement) if _STRIDE.search(p) and p not in counters]
        for counter in sorted(counters):
            for stride in strides_[:3]:
                made = fill("i * s", i=counter, s=parsed(stride))
                if f"{counter} * {stride}" in text(node.slice) or f"{stride} * {counter}" in text(node.slice):
                    for old in (f"{counter} * {stride}", f"{stride} * {counter}"):
                        yield from _index(site, node, old, fill(counter), "F2", 18)
                else:
                    yield from _index(site, node, counter, made, "F2", 14)
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Name) and isinstance(site.place.parent, ast.BinOp) and isinstance(node.ctx, ast.Load):
            counters = {n for loop in site.statement.loops for n in names_in(loop.target)}
            if node.id in counters and scene.seen(node).shape == ():
                for stride in [p for p in scene.operands(site.statement) if _STRIDE.search(p)][:3]:
                    yield _at(site, "F2", 18, fill("i * s", i=node, s=parsed(stride)))


def _all_strides(scene: Scene, site: Site, node: ast.Subscript) -> Iterator[Proposal]:
    """Count every counter of an index in the first stride at hand."""
    stride = next((p for p in scene.operands(site.statement) if _STRIDE.search(p)), None)
    index = node.slice
    counters = {n for loop in site.statement.loops for n in names_in(loop.target)}
    bounds = {n for part in ast.walk(index) if isinstance(part, ast.Slice | ast.BinOp) for n in names_in(part)}
    bounds &= counters
    if stride is not None and len(bounds) > 1 and stride not in names_in(index):
        for counter in sorted(bounds):
            index = with_each(index, counter, fill("i * s", i=counter, s=parsed(stride)))
        yield Proposal("F2", 15, site.statement, ((Place(node, "slice", None), index),))


def _index(site: Site, node: ast.Subscript, old: str, new: ast.expr, mistake: str, rank: int) -> Iterator[Proposal]:
    times = [0]
    made = with_each(node.slice, old, new, times)
    if times[0]:
        yield Proposal(mistake, rank, site.statement, ((Place(node, "slice", None), made),))
    whole_times = [0]
    whole = with_each(site.statement.node, old, new, whole_times)
    # Both sides of a sum of windows are indexed alike.
    if whole_times[0] > times[0] and not isinstance(site.statement.node, ast.For):
        yield Proposal(mistake, rank + 1, site.statement, ((site.statement.place, whole),))


def crops(scene: Scene) -> Iterator[Proposal]:
    """Crop the frame that padding put around an image, leave the crop out, or move it by one."""
    for site in scene.values:
        shape = scene.seen(site.node).shape
        if shape is None or len(shape) < 2:
            continue
        for pad in _pads(scene, site):
            where = f"{pad}:-{pad}"
            lead = ":, :, " if len(shape) == 4 else ":, " if len(shape) == 3 else ""
            yield _at(site, "F3", 17, fill(f"v[{lead}{where}, {where}]", v=site.node))
            if len(shape) == 4:
                yield _at(site, "F3", 18, fill(f"v[:, {where}, {where}, :]", v=site.node))
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
            continue
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if any(isinstance(p, ast.Slice) and (p.lower is not None or p.upper is not None) for p in parts):
            # Windows that leave a remainder, or a border of padding.
            taken = [(i, p) for i, p in enumerate(parts) if isinstance(p, ast.Slice) and (p.lower or p.upper)]
            labels = {_part_class(scene, site.statement, node, axis, part) for axis, part in taken}
            yield _at(site, "F2" if "F2" in labels else labels.pop() if len(labels) == 1 else "F3", 20, node.value)
            yield from _moved(scene, site, node, parts)


def _part_class(scene: Scene, statement: Statement, node: ast.Subscript, axis: int, part: ast.Slice) -> str:
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


def _pads(scene: Scene, site: Site) -> list[str]:
    """Return the whole numbers at hand that are named like a padding."""
    operands = scene.operands(site.statement)
    return [p for p, seen in operands.items() if _PAD.search(p) and seen.kind == "i" and seen.shape == ()]


def _moved(scene: Scene, site: Site, node: ast.Subscript, parts: list[ast.expr]) -> Iterator[Proposal]:
    for pad in _pads(scene, site):
        made: list[ast.expr] = []
        for part in parts:
            if isinstance(part, ast.Slice) and part.lower is None and part.upper is not None:
                upper = fill("p + u", p=parsed(pad), u=part.upper)
                if isinstance(part.upper, ast.UnaryOp):
                    upper = part.upper
                made.append(ast.Slice(parsed(pad), upper, part.step))
            elif isinstance(part, ast.Slice) and part.lower is not None and part.upper is None:
                made.append(ast.Slice(part.lower, fill(f"-{pad}"), part.step))
            else:
                made.append(part)
        whole = made[0] if len(made) == 1 else ast.Tuple(made, ast.Load())
        yield Proposal("F3", 16, site.statement, ((Place(node, "slice", None), whole),))
        for index, part in enumerate(made):
            if part is not parts[index] and isinstance(node.slice, ast.Tuple):
                yield Proposal("F3", 16, site.statement, ((Place(node.slice, "elts", index), part),))
        for shift in ("p + 1", "p - 1"):
            times = [0]
            moved = with_each(node.slice, pad, fill(shift, p=parsed(pad)), times)
            if times[0]:
                yield Proposal("F3", 19, site.statement, ((Place(node, "slice", None), moved),))


def loops(scene: Scene) -> Iterator[Proposal]:
    """Run a loop one turn more or less, at either end, or the other way round."""
    for node in ast.walk(scene.tree):
        if isinstance(node, ast.While) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            loops_ = [each for each in scene.statements if each.node is node]
            for each, op in itertools.product(loops_, _NEARBY.get(type(node.test.ops[0]), ())):
                made = ast.Compare(node.test.left, [op()], node.test.comparators)
                yield Proposal("G2", 15, each, ((Place(node, "test", None), made),))
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        loop = site.statement.node if isinstance(site.statement.node, ast.For) else None
        target = loop.target if loop is not None else None
        time = loop is not None and is_time_loop(site.statement)
        label = "G2" if time else "F2"
        if node.func.id == "reversed" and node.args and target is not None:
            yield _at(site, label, 20, node.args[0])
        if node.func.id == "range" and node.args:
            turned = isinstance(site.place.parent, ast.Call)
            if not turned and target is not None:
                yield _at(site, label, 21, fill("reversed(r)", r=node))
            yield from (_at(site, label, rank, made) for rank, made in _ranges(node))


def _ranges(node: ast.Call) -> Iterator[tuple[int, ast.expr]]:
    """Yield a range with each bound moved by one, and started where it might start."""
    args = node.args
    spots = range(min(len(args), 2))
    for spot in spots:
        for shift in ("n + 1", "n - 1"):
            new = [*args]
            new[spot] = _shifted(args[spot], shift)
            yield 15, ast.Call(node.func, new, [])
    if len(args) == 1:
        yield 18, fill("range(1, n)", n=args[0])
    elif constant(args[0]) is not None and len(args) == 2:
        yield 14, fill("range(n)", n=args[1])
    elif len(args) == 3:
        new = [args[0], fill("n - 1", n=args[1]), args[2]]
        yield 16, ast.Call(node.func, new, [])


def _shifted(node: ast.expr, shift: str) -> ast.expr:
    """Return ``node`` plus or minus one, without writing ``n - 1 + 1``."""
    value = constant(node)
    if value is not None:
        return ast.Constant(int(value) + (1 if "+" in shift else -1))
    undone = isinstance(node, ast.BinOp) and text(node.right) == "1"
    if undone and isinstance(node.op, ast.Sub) and "+" in shift:  # type: ignore[attr-defined]
        return node.left  # type: ignore[attr-defined, no-any-return]
    if undone and isinstance(node.op, ast.Add) and "-" in shift:  # type: ignore[attr-defined]
        return node.left  # type: ignore[attr-defined, no-any-return]
    return fill(shift, n=node)  # type: ignore[no-any-return]


def _first_steps(scene: Scene) -> Iterator[Proposal]:
    """Read nothing before the first step, where an index would count from the end; or the step before, likewise."""
    for site in scene.sites:
        node = site.node
        read = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and site.statement.time
        if not isinstance(node, ast.Subscript) or not read or not scene.seen(node).is_float:
            continue
        for t in sorted({n for loop in site.statement.loops for n in names_in(loop.target)} & names_in(node.slice)):
            earlier = node if f"{t} - 1" in text(node.slice) else with_each(node, t, fill(f"{t} - 1"))
            yield _at(site, "G3", 23, fill(f"(e if {t} > 0 else 0 * v)", e=earlier, v=node))


def _turned_lists(scene: Scene) -> Iterator[Proposal]:
    """Turn round what a loop over the steps, the last one first, has put in a list."""
    turned = any(
        "[::-1]" in text(loop.iter) or "reversed" in text(loop.iter) or ", -1)" in text(loop.iter)
        for each in scene.statements
        for loop in each.loops
    )
    for site in scene.sites if turned else ():
        node, scope = site.node, scene.watched.scopes.get(site.statement.position, {})
        read = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and not site.statement.loops
        if isinstance(node, ast.Name) and read and node.id in scope and scope[node.id].kind == "list":
            filled = [loop for each in scene.statements for loop in each.loops if f"{node.id}.append" in text(loop)]
            label = "G3" if any(shares_weights(loop) for loop in filled) or not filled else "B5"
            yield _at(site, label, 16, fill("v[::-1]", v=node))


def steps(scene: Scene) -> Iterator[Proposal]:
    """Read or write one step earlier or later."""
    yield from _first_steps(scene)
    yield from _turned_lists(scene)
    for site in scene.sites:
        node, (parent, _, _) = site.node, site.place
        whole = isinstance(node, ast.expr) and not isinstance(node, ast.Slice | ast.Constant)
        indexed = isinstance(parent, ast.Subscript) and site.place.field == "slice"
        listed = isinstance(parent, ast.Tuple) and _is_index(scene, parent)
        bound = isinstance(parent, ast.Slice)
        if not whole or not (indexed or listed or bound) or scene.seen(node).shape not in {(), None}:
            continue
        if isinstance(node, ast.Tuple) or scene.seen(node).kind not in {"i", ""}:
            continue
        written = isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load)
        label = "G3" if site.statement.time else "F3" if bound else "F2"
        listed = isinstance(parent, ast.Subscript) and scene.seen(parent.value).kind in {"list", "tuple", "dict"}
        if label == "F2" and (listed or not _of_windows(scene, node, parent)):
            label = "C4"  # a list of layers, or the nodes of a graph
        if scene.seen(node).kind == "" and not scene.blind:
            continue
        for shift in ("n - 1", "n + 1"):
            yield _at(site, label, 17 + 3 * written + 3 * bound, _shifted(node, shift))


def _of_windows(scene: Scene, node: ast.expr, parent: ast.AST) -> bool:
    """Whether an index may count windows: along one axis of several, in an image, or in strides."""
    rank = len(scene.seen(parent.value).shape or ()) if isinstance(parent, ast.Subscript) else 3
    return rank > 2 or scene.blind or any(_STRIDE.search(name) for name in names_in(scene.tree) | names_in(node))


def _is_index(scene: Scene, node: ast.Tuple) -> bool:
    if not hasattr(scene, "indices"):
        scene.indices = {id(s.node) for s in scene.sites if s.place.field == "slice"}  # type: ignore[attr-defined]
    return id(node) in scene.indices  # type: ignore[attr-defined]


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
