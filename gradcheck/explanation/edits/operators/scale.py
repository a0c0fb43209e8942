"""Signs, constants, sizes and regularisers: what multiplies or is added to a gradient (classes A and D). Level 1."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, factors, fill, names_in, reduction, text
from gradcheck.explanation.edits.operators.tables import mask_class
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, is_cotangent, is_regulariser, parsed

__all__ = ["constants", "dropped", "regularisers", "scaled", "signs", "swapped_operators"]

_BIAS = re.compile(r"(^|d|\['|\.)_?d?b(ias)?(\d*|_\w+)('\])?$|beta", re.IGNORECASE)
_WINDOW = re.compile(r"^(k|kh|kw|K|size|pool\w*|window\w*|HH|WW|f|ksize|kernel\w*|p|ph|pw)$")
_WEIGHT = re.compile(r"(^|\.)(w|W|theta|coefs?|weights?|params?)_?\d*$")
_KEEP = re.compile(r"(^|\.|')(p|q|keep\w*|drop\w*|rate|prob)('\])?$", re.IGNORECASE)


def signs(scene: Scene) -> Iterator[Proposal]:
    """Negate a value; take plus for minus, and the operands of a difference in the other order."""
    for site in scene.values:
        bare = isinstance(site.node, ast.UnaryOp) and isinstance(site.node.op, ast.USub)
        name = isinstance(site.node, ast.Name)
        new = site.node.operand if bare else fill("-v", v=site.node)  # type: ignore[attr-defined]
        yield _at(site, "A1", 8 if bare else 20 if name else 12, new)
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and constant(node.operand) is None:
            yield _at(site, "A1", 9, node.operand)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and not _in_index(site, scene):
            one = constant(node.left) is not None or constant(node.right) is not None
            op: ast.operator = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            label = "C3" if one else _regular(node.right, site) or "A1"
            yield _at(site, label, 14 if one else 10, ast.BinOp(node.left, op, node.right))
            if isinstance(node.op, ast.Sub) and not one:
                yield _at(site, "A1", 11, ast.BinOp(node.right, node.op, node.left))
            if isinstance(node.op, ast.Add) and not one:
                label = _regular(node.left, site) or "A1"
                yield _at(site, label, 12, ast.BinOp(ast.UnaryOp(ast.USub(), node.left), node.op, node.right))
    for statement in scene.statements:
        added = statement.node
        if isinstance(added, ast.AugAssign) and isinstance(added.op, ast.Add | ast.Sub):
            op = ast.Sub() if isinstance(added.op, ast.Add) else ast.Add()
            label = (
                ("D2" if _BIAS.search(text(added.target)) else "D1") if _speaks_of_regulariser(added.value) else "A1"
            )
            made = ast.AugAssign(added.target, op, added.value)
            yield Proposal(label, 10, statement, ((statement.place, made),))


def scaled(scene: Scene) -> Iterator[Proposal]:
    """Multiply or divide a value by 2, by a size, or beside a softmax by the root of a size."""
    counts = _divisors(scene)
    attends = any("simplex" in scene.seen(s.node).facts or "softmax" in text(s.node) for s in scene.sites)
    for site in scene.values:
        if site.statement.unpacks:
            continue  # what the cache holds is no gradient, and a factor of it is one in every function of it
        late = 3 if isinstance(site.node, ast.Name) else 0
        # A factor belongs to the end of a product, and a reader looks for it there.
        for template, rank in (("v / 2", 24), ("2 * v", 24)):
            yield _at(site, "A4", rank + late, fill(template, v=site.node))
        sizes = scene.sizes(site.statement)
        for path in sizes:
            label = "A5" if _WINDOW.match(path) else "A2"
            again = "A3" if label == "A2" and path in counts else label
            inner = 3 * (".shape[" in path and not path.endswith("[0]"))  # no batch
            inner += 5 * (sizes[path] == 2)  # more likely the constant that it equals
            far = inner + 7 * (label == "A2" and any(_WINDOW.match(other) for other in sizes))
            yield _at(site, label, 20 + late + far, fill("v / n", v=site.node, n=parsed(path)))
            if attends:
                yield _at(site, "A4", 20 + late, fill("v / np.sqrt(n)", v=site.node, n=parsed(path)))
            yield _at(site, again, 23 + late + 5 * (sizes[path] == 2), fill("v * n", v=site.node, n=parsed(path)))
        image = (scene.seen(site.node).shape or ())[2:] if len(scene.seen(site.node).shape or ()) == 4 else ()
        sides = [path for path, size in sizes.items() if size in image and path.isidentifier()]
        for left, right in itertools.combinations(sides, 2):
            yield _at(site, "A5", 24 + late, fill("v / (m * n)", v=site.node, m=parsed(left), n=parsed(right)))
            yield _at(site, "A5", 26 + late, fill("v * (m * n)", v=site.node, m=parsed(left), n=parsed(right)))
        windows = [path for path in sizes if _WINDOW.match(path)]
        for left in windows:
            yield _at(site, "A5", 26, fill("v / (m * n)", v=site.node, m=parsed(left), n=parsed(left)))
            yield _at(site, "A5", 27, fill("v * (m * n)", v=site.node, m=parsed(left), n=parsed(left)))
        for path, seen in scene.operands(site.statement).items():
            if _KEEP.search(path) and seen.kind == "f" and seen.shape == () and 0 < (seen.value or 0) < 1:
                for template in ("v / p", "v / (1 - p)", "v * p", "v * (1 - p)"):
                    rank = 20 if path in scene.unread else 22 if is_cotangent(site.statement.target) else 27
                    yield _at(site, "E5", rank + late, fill(template, v=site.node, p=parsed(path)))
    yield from _coefficients(scene)
    for site in scene.parts:
        for template in ("t / 2", "2 * t"):
            yield _at(site, "A4", 27, fill(template, t=site.node))
        if isinstance(site.place.parent, ast.BinOp):
            for path in scene.sizes(site.statement):
                yield _at(site, "A2", 26, fill("t / n", t=site.node, n=parsed(path)))


def _coefficients(scene: Scene) -> Iterator[Proposal]:
    """Multiply a value or a term by a number that is at hand, such as a scale or a decay; divide by it."""
    for site in (*scene.values, *scene.parts):
        late = 2 * (site in scene.parts) + 3 * isinstance(site.node, ast.Name)
        spoken = names_in(site.node)
        for path, seen in scene.operands(site.statement).items():
            plain = seen.kind == "f" and seen.shape == () and seen.value not in {0.0, 1.0}
            if not plain or is_cotangent(path) or (is_regulariser(path) and not site.statement.loops):
                continue
            if path.partition("[")[0] in spoken and path.partition(".")[0] in spoken:
                continue
            unread = -4 * (path in scene.unread)
            yield _at(site, "A5", 24 + late + unread, fill("v * c", v=site.node, c=parsed(path)))
            yield _at(site, "A5", 27 + late + unread, fill("v / c", v=site.node, c=parsed(path)))


def dropped(scene: Scene) -> Iterator[Proposal]:
    """Leave out a factor, a divisor or a term; leave out a statement that changes a gradient in place."""
    counts = _divisors(scene)
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.BinOp) or _in_index(site, scene):
            continue
        seen, left, right = scene.seen(node), scene.seen(node.left), scene.seen(node.right)
        if isinstance(node.op, ast.Mult | ast.Div):
            if seen.shape is None or left.shape == seen.shape or not left.is_array:
                label = _factor_class(node.right, scene, counts, divides=isinstance(node.op, ast.Div))
                yield _at(site, label, 11 if label == "G4" else 22, node.left)
            if isinstance(node.op, ast.Mult) and (seen.shape is None or right.shape == seen.shape):
                yield _at(site, _factor_class(node.left, scene, counts, divides=False), 23, node.right)
        if isinstance(node.op, ast.Add | ast.Sub) and constant(node.left) is None:
            slope = "C3" if _in_branch(scene, node) else None
            label = _regular(node.right, site) or slope or _term_class(scene, node.left, node.right)
            yield _at(site, label, 25 if label in {"C8", "C3"} else 17, node.left)
            flipped = node.right if isinstance(node.op, ast.Add) else fill("-v", v=node.right)
            yield _at(site, _regular(node.left, site) or slope or "C8", 26, flipped)
    for statement in scene.statements:
        changed = statement.node
        if isinstance(changed, ast.AugAssign):
            label = _regular(changed.value, None) or "C8"
            if isinstance(changed.op, ast.Mult | ast.Div):
                label = _factor_class(changed.value, scene, counts, divides=isinstance(changed.op, ast.Div))
            if _BIAS.search(_last(text(changed.target))) and label == "D1":
                label = "D2"
            yield Proposal(
                label,
                12 if label == "D2" else 24,
                statement,
                ((statement.place, ast.copy_location(ast.Pass(), changed)),),
            )


def constants(scene: Scene) -> Iterator[Proposal]:
    """Take another number for a literal factor, divisor or exponent."""
    for site in scene.sites:
        value, (parent, field, _) = constant(site.node), site.place
        if value is None or not isinstance(parent, ast.BinOp) or _in_index(site, scene):
            continue
        power = isinstance(parent.op, ast.Pow) and field == "right"
        if not power and not isinstance(parent.op, ast.Mult | ast.Div):
            continue
        other = parent.right if field == "left" else parent.left
        # The strength of a regulariser is written 0.5 * reg or 2 * reg by people who mean the other.
        term = any(_is_weight(parent) and _is_gradient(s) for s in scene.sites if _has_term(s.node, parent))
        label = _regular(other, site) or ("D1" if term and not power else "C3" if power else "A4")
        if value == 0 and isinstance(parent.op, ast.Mult):
            label = "G1" if site.statement.loops and re.search(r"next|prev|carr", text(other)) else "C8"
        numbers = (value + 1, value - 1) if power else (value * 2, value / 2, value + 1, value - 1, 1)
        for number in dict.fromkeys(numbers):
            if number not in {0, value}:
                yield _at(site, label, 21, ast.Constant(number))


def swapped_operators(scene: Scene) -> Iterator[Proposal]:
    """Divide where it multiplies and the reverse, sum where it averages and the reverse."""
    counts = _divisors(scene)
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div) and not _in_index(site, scene):
            op = ast.Div() if isinstance(node.op, ast.Mult) else ast.Mult()
            label = _factor_class(node.right, scene, counts, divides=isinstance(node.op, ast.Div))
            yield _at(site, label, 24, ast.BinOp(node.left, op, node.right))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and not _in_index(site, scene):
            gradients = [any(map(is_cotangent, names_in(part))) for part in (node.left, node.right)]
            if gradients in ([True, False], [False, True]) and _is_factor(scene, node):
                yield _at(site, "C1", 19, ast.BinOp(node.left, ast.Mult(), node.right))
        found = reduction(node)
        if found and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            other = "mean" if found[0] == "sum" else "sum"
            func = ast.Attribute(node.func.value, other, ast.Load())
            label = "A3" if other == "sum" and counts - {"mean"} and _over_first(node) else "A2"
            if len(scene.seen(found[1]).shape or ()) > 4:
                label = "A5"  # windows have axes of their own
            yield _at(site, label, 15, ast.Call(func, node.args, node.keywords))


def regularisers(scene: Scene) -> Iterator[Proposal]:
    """Add the regulariser's term to a gradient; halve, double it."""
    for site in scene.values:
        operands = scene.operands(site.statement)
        value = scene.seen(site.node)
        strengths = [path for path in operands if is_regulariser(path)]
        for path, seen in operands.items() if strengths else ():
            carried = bool(site.statement.loops or site.statement.time) and path in scene.stored
            if seen.is_float and seen.is_array and seen.shape == value.shape and not (is_cotangent(path) or carried):
                label = "D2" if _BIAS.search(path) else "D1"
                target = _name_of_target(site)
                far = 0 if target and path.strip("'\"]").endswith(re.sub(r"^d|^grad_?", "", target)) else 4
                parts = {"v": site.node, "r": parsed(strengths[0]), "W": parsed(path)}
                for template, rank in (("v + r * W", 18), ("v + 2 * r * W", 19), ("v - r * W", 29)):
                    yield _at(site, label, rank + far, fill(template, **parts))
                upstream = scene.parameters[0] if scene.parameters else ""
                if operands.get(upstream, value).shape == ():  # the cotangent of a loss
                    yield _at(site, label, 20 + far, fill("v + d * r * W", **parts, d=upstream))
                for size in list(scene.sizes(site.statement))[:2]:
                    yield _at(site, label, 22 + far, fill("v + r * W / n", **parts, n=parsed(size)))
    yield from _divided_terms(scene)
    for site in scene.sites:
        read = isinstance(site.node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(site.node.ctx, ast.Load)
        if read and is_regulariser(text(site.node)) and scene.seen(site.node).shape in {(), None}:
            yield _at(site, "D1", 16, fill("2 * r", r=site.node))
            yield _at(site, "D1", 16, fill("r / 2", r=site.node))


def _divided_terms(scene: Scene) -> Iterator[Proposal]:
    """Divide the regulariser's term by a size, or multiply it."""
    for site in scene.sites:
        node, parent = site.node, site.place.parent
        term = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div) and _speaks_of_regulariser(node)
        added = isinstance(parent, ast.BinOp | ast.AugAssign) and isinstance(parent.op, ast.Add | ast.Sub)
        if term and added and scene.seen(node).is_array:
            label = "D2" if _BIAS.search(_name_of_target(site)) else "D1"
            for path in scene.sizes(site.statement):
                yield _at(site, label, 17, fill("t / n", t=node, n=parsed(path)))
                yield _at(site, label, 19, fill("t * n", t=node, n=parsed(path)))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))


def _is_factor(scene: Scene, node: ast.BinOp) -> bool:
    """Whether the terms of a sum could be factors instead: of one shape, none of them a literal."""
    left, right = scene.seen(node.left), scene.seen(node.right)
    literal = constant(node.left) is not None or constant(node.right) is not None
    return not literal and not scene.shapes_differ(left, right)


def _in_index(site: Site, scene: Scene) -> bool:
    """Whether an expression computes an index or a size: whole numbers, or a part of a slice."""
    seen, parent = scene.seen(site.node), site.place.parent
    if isinstance(parent, ast.Compare | ast.Tuple) or site.place.field == "slice":
        return seen.kind in {"i", "u"}  # an array of labels
    return isinstance(parent, ast.Slice) or (seen.kind == "i" and seen.shape == ())


def _speaks_of_regulariser(node: ast.AST) -> bool:
    parts = (p for p in ast.walk(node) if isinstance(p, ast.Name | ast.Attribute | ast.Subscript))
    return any(is_regulariser(text(part)) for part in parts)


def _regular(node: ast.AST, site: Site | None) -> str | None:
    if not (_speaks_of_regulariser(node) or (site is not None and _is_weight(node) and _is_gradient(site))):
        return None
    return "D2" if site is not None and _BIAS.search(_name_of_target(site)) else "D1"


def _is_weight(node: ast.AST) -> bool:
    """Whether a term is a weight, bare or times a number: what the regulariser ½‖w‖² adds to a gradient."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and constant(node.left) is not None:
        node = node.right
    base = node.value if isinstance(node, ast.Subscript) else node
    return isinstance(base, ast.Name | ast.Attribute) and bool(_WEIGHT.search(text(base)))


def _has_term(node: ast.expr, term: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and term in {node.left, node.right}


def _is_gradient(site: Site) -> bool:
    """Whether a sum is what a statement assigns to a gradient, or returns."""
    place = site.statement.node
    whole = getattr(place, "value", None) is site.node
    return whole and (isinstance(place, ast.Return) or is_cotangent(site.statement.target))


def _name_of_target(site: Site) -> str:
    return _last(site.statement.target)


def _in_branch(scene: Scene, node: ast.expr) -> bool:
    """Whether an expression is a part of one branch of a slope: of ``np.where``, without any gradient."""
    if any(map(is_cotangent, names_in(node))):
        return False
    calls = (site.node for site in scene.sites if isinstance(site.node, ast.Call))
    branches = (branch for call in calls if text(call.func) == "np.where" for branch in call.args[1:3])
    return any(part is node for branch in branches for part in ast.walk(branch))


def _last(target: str) -> str:
    quoted = re.findall(r"'([^']*)'", target)
    return str(quoted[-1]) if quoted else target.rpartition(".")[2]


def _over_first(node: ast.Call) -> bool:
    """Whether a reduction runs over the first axis, or over all."""
    given = [keyword.value for keyword in node.keywords if keyword.arg == "axis"]
    return not given or text(given[0]).startswith(("0", "(0", "None"))


def _divisors(scene: Scene) -> set[str]:
    """Return what the function divides by, and the sizes under a mean."""
    found = set()
    for site in scene.sites:
        divisor = site.node.right if isinstance(site.node, ast.BinOp) and isinstance(site.node.op, ast.Div) else None
        if divisor is not None and scene.seen(divisor).kind == "i" and constant(divisor) is None:
            found.add(text(divisor))
        if (made := reduction(site.node)) and made[0] == "mean":
            found.add("mean")
    for statement in scene.statements:
        if isinstance(statement.node, ast.AugAssign) and isinstance(statement.node.op, ast.Div):
            found.add(text(statement.node.value))
    return found


def _term_class(scene: Scene, kept: ast.expr, term: ast.expr) -> str:
    """Return the mistake that a term too much is: a step of descent, a decay of the weights, or some term."""
    parts = list(factors(term))
    while isinstance(parts[0], ast.BinOp) and isinstance(parts[0].op, ast.MatMult):  # 0.1 * x.T @ d
        parts = [*factors(parts[0].left), parts[0].right, *parts[1:]]
    scales = [part for part in parts if constant(part) is not None or scene.seen(part).shape == ()]
    arrays = [part for part in parts if part not in scales]
    if not scales or not arrays or not isinstance(kept, ast.Name | ast.Attribute | ast.Subscript):
        return "C8"
    gradient = any(is_cotangent(name) for part in arrays for name in names_in(part))
    if gradient and not is_cotangent(text(kept)):
        return "E4"
    if len(arrays) > 1:
        return "C8"
    plain = isinstance(arrays[0], ast.Name | ast.Attribute | ast.Subscript)
    return "D1" if is_cotangent(text(kept)) and plain and not gradient else "C8"


def _factor_class(node: ast.expr, scene: Scene, counts: set[str], *, divides: bool) -> str:
    """Return the mistake that a factor too much is, by what the factor is."""
    seen, path = scene.seen(node), text(node)
    if _speaks_of_regulariser(node):
        return "D1"
    if "norm" in path and divides:
        return "G4"
    if re.search(r"mask|drop|keep", path) or (_KEEP.search(path) and seen.kind == "f" and not seen.is_array):
        return "F6" if divides else "E5"
    if seen.kind == "b" or (seen.is_array and "binary" in seen.facts):
        # Whole rows, or whole turns of a loop, are multiplied by 0; single entries are a function's branches.
        return "C8" if not seen.is_array or 1 in (seen.shape or ()) else mask_class(scene, node)
    if constant(node) is not None or not names_in(node):
        return "A4"
    if seen.shape == () or (seen.shape is None and len(names_in(node)) <= 1):
        if any(_WINDOW.match(name) for name in names_in(node)) and not re.search("shape", path):
            return "A5"
        several = sum(_divides_by(site, path) for site in scene.sites) > 1 or "mean" in counts
        return "A3" if divides and several else "A2"
    return "C7" if re.search("gamma|std|sigma", path) else "C3"


def _divides_by(site: Site, path: str) -> bool:
    node = site.node
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and text(node.right) == path
