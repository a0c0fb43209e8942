"""Steps taken for each other, and steps that a loop or a sum leaves out (classes G1, G2, G3, C8, E1, F3). Level 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import fill, names_in, text
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site, Statement
from gradcheck.explanation.edits.sequence import carried, counters, is_time_loop, steps_of, time_axes

__all__ = ["counted", "handed", "inside", "iterated", "neighbours", "rolled", "told"]


_RANGES = {"range", "np.arange"}
_LIMITS = {"max", "min", "np.maximum", "np.minimum"}


def rolled(scene: Scene) -> Iterator[Proposal]:
    """Leave out what turns an array round along an axis."""
    axes: dict[str, int] | None = None
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Call) and text(node.func) == "np.roll" and node.args:
            axes = time_axes(scene) if axes is None else axes
            shape = scene.seen(node).shape or ()
            given = next(
                (k.value for k in node.keywords if k.arg == "axis"), node.args[2] if len(node.args) > 2 else None
            )
            axis = given.value if isinstance(given, ast.Constant) and isinstance(given.value, int) else 0
            names = names_in(site.statement.node) & axes.keys()
            time = any(_along_time(shape, axis, axes[name], *steps_of(scene, name, axes)) for name in names)
            image = len(shape) == 4 and axis % 4 >= 2
            mistake = "G3" if time else "F3" if image else "C3" if scene.seen(node).kind == "b" else "B6"
            yield _at(site, mistake, 13, node.args[0])


def _along_time(shape: tuple[int, ...], axis: int, time: int, steps: int, rank: int) -> bool:
    """Whether an axis of an array is that of time of another beside it, or holds the steps one below the other."""
    if steps < 2 or not shape:
        return False
    flat = len(shape) == rank - 1 and axis == 0 and shape[0] % steps == 0
    return flat or (axis % len(shape) == time and shape[axis] == steps)


def neighbours(scene: Scene) -> Iterator[Proposal]:
    """Take the states before the steps for those after them: ``h[:-1]`` for ``h[1:]``, ``[h0, *h[:-1]]`` for ``h``."""
    axes = time_axes(scene)
    for site in scene.sites:
        node, seen = site.node, scene.seen(site.node)
        if isinstance(node, ast.Slice):
            continue
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield from _other_end(scene, site, node, axes)
        if not isinstance(node, ast.Name | ast.Subscript | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if not seen.is_float or len(seen.shape or ()) < 2 or not _multiplied(site) or not _has_time(scene, axes):
            continue
        for path, first in scene.operands(site.statement).items():
            for axis in (0, 1):
                shape = seen.shape or ()
                if first.is_float and first.shape == (*shape[:axis], *shape[axis + 1 :]) and path.isidentifier():
                    lead = ":, " * axis
                    template = f"np.concatenate([h0[{lead}None], h[{lead}:-1]], axis={axis})"
                    yield _at(site, "G3", 18, fill(template, h0=path, h=node))


def _has_time(scene: Scene, axes: dict[str, int]) -> bool:
    return bool(axes) or any(is_time_loop(each) for each in scene.statements)


def _multiplied(site: Site) -> bool:
    """Whether an array is given a name, or is an operand of a product: of matrices, or a call that may be one."""
    parent = site.place.parent
    if isinstance(parent, ast.Assign):
        return True
    if isinstance(parent, ast.Attribute):
        return parent.attr in {"T", "reshape", "transpose", "swapaxes"}
    return isinstance(parent, ast.Call) or (isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.MatMult))


def _other_end(scene: Scene, site: Site, node: ast.Subscript, axes: dict[str, int]) -> Iterator[Proposal]:
    """Leave out the last entries instead of the first, or the reverse."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for axis, part in enumerate(parts):
        if not isinstance(part, ast.Slice) or part.step is not None or (part.lower is None) == (part.upper is None):
            continue
        bound = part.lower or part.upper
        if bound is None or names_in(bound) & counters(site.statement):
            continue
        negative = isinstance(bound, ast.UnaryOp) and isinstance(bound.op, ast.USub)
        other = bound.operand if isinstance(bound, ast.UnaryOp) and negative else ast.UnaryOp(ast.USub(), bound)
        if negative == (part.upper is None):
            continue  # an end alone, not all but one
        turned = ast.Slice(other, None, None) if part.lower is None else ast.Slice(None, other, None)
        new = ast.Tuple([*parts[:axis], turned, *parts[axis + 1 :]], ast.Load()) if len(parts) > 1 else turned
        known = isinstance(node.value, ast.Name) and axes.get(node.value.id) == axis
        states = scene.seen(node.value).kind == "list" or _has_time(scene, axes)
        mistake = "G3" if known or states else "B6"
        yield Proposal(mistake, 15, site.statement, ((Place(node, "slice", None), new),))


def counted(scene: Scene) -> Iterator[Proposal]:
    """Count with the variable of another loop around: the step that the sum is over, for the step of the loss."""
    for site in scene.sites:
        node, parent = site.node, site.place.parent
        indexed = isinstance(parent, ast.Subscript) and site.place.field == "slice"
        listed = isinstance(parent, ast.Tuple) and scene.seen(node).kind == "i"
        if not isinstance(node, ast.Name) or not (indexed or listed) or not site.statement.time:
            continue
        around = counters(site.statement)
        for other in sorted(around - {node.id}) if node.id in around else ():
            yield _at(site, "G3", 15, ast.Name(other, ast.Load()))


def iterated(scene: Scene) -> Iterator[Proposal]:
    """Run over all of what a loop or a comprehension runs over a part of."""
    for each in scene.statements:
        if isinstance(each.node, ast.For):
            mistake = "G2" if is_time_loop(each) else "C8"
            for place, new in _all_of(scene, each.node.iter, Place(each.node, "iter", None)):
                yield Proposal(mistake, 13, each, ((place, new),))
    for site in scene.sites:
        for number, part in enumerate(getattr(site.node, "generators", ())):
            for place, new in _all_of(scene, part.iter, Place(site.node.generators[number], "iter", None)):  # type: ignore[attr-defined]
                yield Proposal("C8", 13, site.statement, ((place, new),))


def _all_of(scene: Scene, node: ast.expr, place: Place) -> Iterator[tuple[Place, ast.expr]]:
    """Yield, of what is run over, the whole of each part; and for one last number, the numbers up to it."""
    if isinstance(node, ast.List) and len(node.elts) == 1 and scene.seen(node.elts[0]).kind == "i":
        yield place, fill("range(n + 1)", n=node.elts[0])
    if isinstance(node, ast.Call) and text(node.func) in _LIMITS:
        yield from ((place, bound) for bound in node.args)
    elif isinstance(node, ast.Call):
        if text(node.func) in _RANGES:
            yield from ((place, made) for made in _longer(node))
        for slot, arg in enumerate(node.args):
            yield from _all_of(scene, arg, Place(node, "args", slot))
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        cut = node.slice
        yield from _all_of(scene, node.value, Place(node, "value", None))
        if cut.step is None and (cut.lower is not None or cut.upper is not None):
            yield place, node.value
        elif cut.step is not None and (cut.lower is not None or cut.upper is not None):
            yield place, fill("v[::s]", v=node.value, s=cut.step)


def _longer(node: ast.Call) -> Iterator[ast.expr]:
    """Yield a range that begins at the first number, or ends with it where it counts down, or goes on to the last."""
    first, *others = node.args or [ast.Constant(0)]
    if len(others) == 1 and text(first) != "0":
        yield ast.Call(node.func, [others[0]], [])
    if len(others) == 2 and text(others[1]) == "-1" and text(others[0]) != "-1":
        yield ast.Call(node.func, [first, fill("-1"), others[1]], [])
    for slot, arg in enumerate(node.args[:2]):
        if isinstance(arg, ast.BinOp) and isinstance(arg.op, ast.Sub) and slot == len(others):
            yield ast.Call(node.func, [*node.args[:slot], arg.left, *node.args[slot + 1 :]], [])


def inside(scene: Scene) -> Iterator[Proposal]:
    """Add in each turn of a loop what is added behind it, where what the last turn left is all that counts."""
    nodes = {id(each.node): each for each in scene.statements}
    for each in scene.statements:
        body, slot = getattr(each.place.parent, each.place.field), each.place.slot
        if not isinstance(each.node, ast.AugAssign) or not slot:
            continue
        loop = next((n for n in reversed(body[:slot]) if isinstance(n, ast.For)), None)
        bound = (
            {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            if loop
            else set()
        )
        if loop is None or id(loop) not in nodes or not names_in(each.node.value) & bound:
            continue
        gone = ast.copy_location(ast.Pass(), each.node)
        within = Place(loop, "body", len(loop.body) - 1), [loop.body[-1], each.node]
        yield Proposal("E1", 14, each, ((each.place, gone), within))


def handed(scene: Scene) -> Iterator[Proposal]:
    """Return what the first step hands on, where nothing or another gradient stands."""
    names = carried(scene)
    for site in scene.sites if names else ():
        whole = isinstance(site.place.parent, ast.Assign | ast.Return | ast.Tuple | ast.Dict | ast.keyword)
        seen = scene.seen(site.node)
        if site.statement.loops or not whole or not seen.is_array:
            continue
        for path in sorted(names & scene.operands(site.statement).keys()):
            other = scene.operands(site.statement)[path]
            if other.shape == seen.shape and other.is_float and path != text(site.node):
                mistake = "G1" if _is_nothing(scene, site) else "B6"
                yield _at(site, mistake, 14, fill(path))


def _is_nothing(scene: Scene, site: Site) -> bool:
    seen = scene.seen(site.node)
    return seen.low == seen.high == 0


def told(scene: Scene) -> Iterator[Proposal]:
    """Keep in an array what a loop over time adds to its steps, ``dh[t] = dh[t] + r``, if all is read later."""
    for each in scene.statements:
        node = each.node
        if not each.time or not isinstance(node, ast.Assign) or not isinstance(node.value, ast.BinOp):
            continue
        targets = {text(target) for target in node.targets}
        for term in (node.value.left, node.value.right) if isinstance(node.value.op, ast.Add) else ():
            if not isinstance(term, ast.Subscript) or not isinstance(term.value, ast.Name) or text(term) in targets:
                continue
            if names_in(term.slice) & counters(each) and _read_later(scene, term, each):
                stored = ast.Subscript(term.value, term.slice, ast.Store())
                made = ast.Assign([*node.targets, stored], node.value)
                yield Proposal("G1", 14, each, ((each.place, ast.copy_location(made, node)),))


def _read_later(scene: Scene, term: ast.Subscript, each: Statement) -> bool:
    """Whether the array of an element is read once the outermost loop has ended."""
    end = each.loops[0].end_lineno or 0
    name = text(term.value)
    return any(name in names_in(s.node) and s.node.lineno > end for s in scene.statements)


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
