"""What is spread over windows: who wins a maximum, how a pixel is repeated, which step is a stride (A5, F). Level 1."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, names_in, text, with_each
from gradcheck.explanation.edits.operators.tables import mask_class
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site, is_cotangent, parsed

__all__ = ["areas", "off_by_one", "rolls", "spreads", "steps_of_slices", "winners"]

_STRIDE = re.compile(r"^(s|st|S|sh|sw|hop)$|stride", re.IGNORECASE)
_SIDE = re.compile(r"^(k|kh|kw|K|size|pool\w*|ph|pw|fh|fw|HH|WW|window\w*|kernel\w*|ksize|factor|scale)\d?$")
_EXTREMES = {"argmin": "argmax", "argmax": "argmin", "min": "max", "amin": "amax", "mean": "max"}
FEW = 4  # names of one role in a scope that are tried


def winners(scene: Scene) -> Iterator[Proposal]:
    """Give the gradient of a window to the entry that won it, where every entry gets it or a loser."""
    for site in scene.values:
        loops = site.statement.loops
        if not loops or any(isinstance(part, ast.Compare) for part in ast.walk(site.node)):
            continue
        for mistake, rank, base in _undivided(scene, site.node):
            for mask in itertools.chain(_by_index(scene, site), _by_value(scene, site)):
                yield _at(site, mistake, rank, fill("v * m", v=base, m=mask))
    yield from _spread_winners(scene)
    for site in scene.sites:
        node = site.node
        named = isinstance(node, ast.Attribute) and node.attr in _EXTREMES and _is_called(site)
        if not isinstance(node, ast.Attribute) or not named:
            continue
        if node.attr.startswith("arg") or any(isinstance(p, ast.Compare) for p in ast.walk(site.statement.node)):
            yield _at(site, "C3", 9, ast.Attribute(node.value, _EXTREMES[node.attr], ast.Load()))


def _spread_winners(scene: Scene) -> Iterator[Proposal]:
    """Mask what was repeated over the windows by the entries that equal the output, repeated likewise."""
    for site in scene.values:
        chain, shape = _repeats(site.node), scene.seen(site.node).shape
        base = scene.seen(chain[0]).shape if chain else None
        if chain is None or base is None or len(base) < 2:
            continue
        held = {p: s.shape for p, s in scene.operands(site.statement).items() if s.is_float and not is_cotangent(p)}
        inputs, outputs = ([p for p, s in held.items() if s == wanted][:FEW] for wanted in (shape, base))
        for x, m in itertools.product(inputs, outputs):
            spread = with_each(site.node, text(chain[0]), parsed(m))
            yield _at(site, "F6", 18, fill(f"v * ({x} == m)", v=site.node, m=spread))


def off_by_one(scene: Scene) -> Iterator[Proposal]:
    """Compare whole numbers as they are, without the one that is added or subtracted."""
    for site in scene.sites:
        node, parent = site.node, site.place.parent
        compared = scene.seen(node).kind in {"i", "u"}
        if not isinstance(parent, ast.Compare) or not isinstance(node, ast.BinOp) or not compared:
            continue
        if isinstance(node.op, ast.Add | ast.Sub) and constant(node.right) is not None:
            # Which places are taken, or how many.
            label = "B6" if isinstance(parent.ops[0], ast.Eq | ast.NotEq) else "G2" if site.statement.time else "C8"
            yield _at(site, label, 13, node.left)


def _is_called(site: Site) -> bool:
    return isinstance(site.place.parent, ast.Call) and site.place.field == "func"


def _undivided(scene: Scene, node: ast.expr) -> Iterator[tuple[str, int, ast.expr]]:
    """Yield a value as it is, and without the area of a window that it is divided by: the share of a mean."""
    yield "F6", 17, node
    whole = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and scene.seen(node.right).kind == "i"
    if isinstance(node, ast.BinOp) and whole and scene.seen(node.right).shape == ():
        yield "C3", 18, node.left


def _by_index(scene: Scene, site: Site) -> Iterator[ast.expr]:
    """Yield comparisons of an array of indices with the place in the window that a turn of the loops is about."""
    shape = scene.seen(site.node).shape
    operands = scene.operands(site.statement)
    held = [p for p, s in operands.items() if s.kind in "iu" and s.shape == shape and shape and p.isidentifier()]
    counters = _counters(site)
    ends = {name for loop in site.statement.loops for name in names_in(loop.iter)}
    sizes = [p for p in sorted(ends) if p in operands and operands[p].kind == "i" and operands[p].shape == ()]
    for path in held[:FEW]:
        for u, v in itertools.permutations(counters, 2):
            for size in sizes[:FEW]:
                yield fill(f"({path} == {size} * {u} + {v})")
        for u in counters if len(counters) == 1 else ():
            yield fill(f"({path} == {u})")


def _by_value(scene: Scene, site: Site) -> Iterator[ast.expr]:
    """Yield comparisons of a window of the input with its largest entry: the window that is written to."""
    node = site.statement.node
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if not isinstance(target, ast.Subscript) or not any(isinstance(p, ast.Slice) for p in ast.walk(target.slice)):
        return
    operands = scene.operands(site.statement)
    whole = operands.get(text(target.value), scene.nothing).shape
    for path, seen in operands.items():
        if whole is None or not seen.is_float or seen.shape != whole or is_cotangent(path) or "[" in path:
            continue
        window = ast.Subscript(parsed(path), target.slice, ast.Load())
        yield fill("(w == w.max())", w=window)
        yield fill("(w == w.max(axis=(-2, -1), keepdims=True))", w=window)


def _counters(site: Site) -> list[str]:
    """Return the variables of the loops around a site, in the order in which they are written."""
    return [part.id for loop in site.statement.loops for part in ast.walk(loop.target) if isinstance(part, ast.Name)]


def spreads(scene: Scene) -> Iterator[Proposal]:
    """Repeat each pixel over its window: not the image as a whole, and along both axes."""
    for site in scene.sites:
        node, ndim = site.node, len(scene.seen(site.node).shape or ())
        if isinstance(node, ast.Call) and text(node.func) == "np.tile" and len(node.args) == 2:
            reps = node.args[1].elts if isinstance(node.args[1], ast.Tuple | ast.List) else [node.args[1]]
            made: ast.expr = node.args[0]
            for axis, count in enumerate(reps, start=-len(reps)):
                if constant(count) != 1:
                    made = fill(f"np.repeat(x, k, axis={axis})", x=made, k=count)
            yield _at(site, "B1", 14, made)
        chain = _repeats(node)
        if not chain or _repeats(site.place.parent) or _inside_repeats(site) or ndim < 2:
            continue
        base, counts = chain
        if all(-ndim <= axis < ndim for axis in counts):
            told = {axis % ndim: count for axis, count in counts.items()}
            reps = [told.get(axis, ast.Constant(1)) for axis in range(ndim)]
            yield _at(site, "B1", 19, fill("np.tile(x, r)", x=base, r=ast.Tuple(reps, ast.Load())))
            for axis in {a % ndim + step for a in counts for step in (-1, 1)} & set(range(ndim)) - told.keys():
                for path in _sides(scene, site):
                    yield _at(site, "F2", 17, fill(f"np.repeat(v, {path}, axis={axis})", v=node))
    for site in scene.values:
        if len(scene.seen(site.node).shape or ()) == 4 and not _repeats(site.node):
            for one, two in itertools.product(_sides(scene, site), repeat=2):
                spread = f"np.repeat(np.repeat(v, {one}, axis=2), {two}, axis=3)"
                yield _at(site, "F2", 25, fill(spread, v=site.node))


def _sides(scene: Scene, site: Site) -> list[str]:
    """Return the whole numbers at hand that may be the sides of a window."""
    operands = scene.operands(site.statement)
    found = [p for p, s in operands.items() if s.kind == "i" and s.shape == () and p.isidentifier()]
    return [path for path in found if _SIDE.match(path) and (operands[path].value or 0) > 1][:FEW]


def _repeats(node: ast.AST) -> tuple[ast.expr, dict[int, ast.expr]] | None:
    """Return what a chain of ``repeat`` repeats, and how often along which axis; None for anything else."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "repeat":
        return None
    method = text(node.func) != "np.repeat"
    given = [node.func.value, *node.args] if method else [*node.args]
    given += [keyword.value for keyword in node.keywords if keyword.arg == "axis"]
    if len(given) != 3:
        return None
    axis = ast.literal_eval(given[2]) if isinstance(given[2], ast.Constant | ast.UnaryOp) else None
    if not isinstance(axis, int):
        return None
    inner = _repeats(given[0])
    base, counts = inner or (given[0], {})
    return (base, {**counts, axis: given[1]}) if axis not in counts else None


def _inside_repeats(site: Site) -> bool:
    """Whether a site is what a method ``repeat`` is called on."""
    return isinstance(site.place.parent, ast.Attribute) and site.place.parent.attr == "repeat"


def steps_of_slices(scene: Scene) -> Iterator[Proposal]:
    """Let slices step by the stride, or leave the steps out."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple | ast.Slice):
            continue
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        slices = [p for p in parts if isinstance(p, ast.Slice)]
        stepped = [p for p in slices if isinstance(p.step, ast.Name | ast.Attribute | ast.Subscript)]
        if stepped:
            yield _sliced(site, node, [_unstrided(p) if p in stepped else p for p in parts])
            continue
        operands = scene.operands(site.statement)
        strides = [p for p, s in operands.items() if _STRIDE.search(p) and s.kind == "i" and s.shape == ()]
        bounded = [p for p in slices if p.lower is not None and p.upper is not None and p.step is None]
        for stride in strides[:2] if bounded else ():
            yield _sliced(site, node, [_strided(p, stride) if p in bounded else p for p in parts])


def _strided(part: ast.expr, stride: str) -> ast.expr:
    assert isinstance(part, ast.Slice)
    upper = part.upper
    if isinstance(upper, ast.BinOp) and isinstance(upper.op, ast.Add) and stride not in names_in(upper):
        for begin, length in ((upper.left, upper.right), (upper.right, upper.left)):
            if part.lower is not None and text(begin) == text(part.lower):
                return ast.Slice(part.lower, fill(f"b + {stride} * n", b=begin, n=length), parsed(stride))
    return ast.Slice(part.lower, upper, parsed(stride))


def _unstrided(part: ast.expr) -> ast.expr:
    """Return a slice with steps of one that takes as many places."""
    assert isinstance(part, ast.Slice)
    assert part.step is not None
    step, upper = text(part.step), part.upper
    if isinstance(upper, ast.BinOp) and isinstance(upper.op, ast.Add) and part.lower is not None:
        length = upper.right if text(upper.left) == text(part.lower) else upper.left
        if isinstance(length, ast.BinOp) and isinstance(length.op, ast.Mult):
            factors = [length.left, length.right]
            plain = next((f for f in factors if text(f) != step), None)
            if plain is not None and step in map(text, factors):
                upper = fill("b + n", b=part.lower, n=plain)
    return ast.Slice(part.lower, upper, None)


def _sliced(site: Site, node: ast.Subscript, parts: list[ast.expr]) -> Proposal:
    index = ast.Tuple(parts, ast.Load()) if isinstance(node.slice, ast.Tuple) else parts[0]
    return Proposal("F2", 15, site.statement, ((Place(node, "slice", None), index),))


def rolls(scene: Scene) -> Iterator[Proposal]:
    """Leave out what moves an array by some places along an axis."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Call) and text(node.func) == "np.roll" and node.args:
            given = [k.value for k in node.keywords if k.arg == "axis"] + node.args[2:3]
            axis, ndim = (constant(given[0]) if given else None), len(scene.seen(node).shape or ())
            image = ndim == 4 and axis is not None and axis % ndim >= 2
            label = "F3" if image else "G3" if site.statement.time else "B6"
            mask = scene.seen(node).kind == "b"
            yield _at(site, mask_class(scene, node.args[0]) if mask else label, 14, node.args[0])


def areas(scene: Scene) -> Iterator[Proposal]:
    """Take the product of the sides of a window for their sum, and another such number for one side."""
    for site in scene.sites:
        node, parent = site.node, site.place.parent
        whole = isinstance(node, ast.BinOp) and scene.seen(node).kind == "i" and scene.seen(node).shape == ()
        factor = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult | ast.Div)
        if not isinstance(node, ast.BinOp) or not whole or not factor or not scene.seen(parent).is_float:
            continue
        if isinstance(node.op, ast.Add | ast.Sub | ast.FloorDiv | ast.Pow) and constant(node.right) is None:
            yield _at(site, "A5", 14, fill("m * n", m=node.left, n=node.right))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
