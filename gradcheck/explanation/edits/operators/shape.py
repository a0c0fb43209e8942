"""Transposes, reductions, slots and orders (classes B and F4). Level 1."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, reduction, text
from gradcheck.explanation.edits.operators.mirrors import are_sides
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site, is_cotangent

__all__ = ["axes", "einsums", "permutations", "products", "reductions", "slots", "transposes"]

_TURNS = (".swapaxes(-1, -2)", ".swapaxes(-2, -1)", ".swapaxes(1, 2)", ".transpose(0, 2, 1)")
_BIAS = re.compile(r"d_?b|bias|beta|gamma", re.IGNORECASE)


def products(scene: Scene) -> Iterator[Proposal]:
    """Transpose or swap the operands of a matrix product, or take the product entry by entry."""
    for site in scene.sites:
        found = _matrix_product(site.node)
        if found is None:
            continue
        left, right, template = found
        (a, a_turned), (b, b_turned) = _bare(left), _bare(right)
        shapes = [_turned(scene.seen(x).shape, by) for x, by in ((left, a_turned), (right, b_turned))]
        out = scene.seen(site.node).shape
        for swap, turn_a, turn_b in itertools.product((False, True), repeat=3):
            if (swap, turn_a, turn_b) == (False, a_turned, b_turned):
                continue
            first, second = (a, b), (turn_a, turn_b)
            sizes = [_turned(shape, by) for shape, by in zip(shapes, second, strict=True)]
            if swap:
                first, sizes = (b, a), sizes[::-1]
                second = second[::-1]
            if not _fits(sizes, out):
                continue
            parts = [fill(_turn(sizes), x=x) if turn else x for x, turn in zip(first, second, strict=True)]
            changed = swap + (turn_a != a_turned) + (turn_b != b_turned)
            yield _at(site, "B1", 13 + 3 * changed, fill(template, X=parts[0], Y=parts[1]))
        for operand in (a, b):
            yield from _with_factor(scene, site, operand)
        if shapes[0] is None or shapes[1] is None or scene.seen(left).shape == scene.seen(right).shape:
            yield _at(site, "B6", 24, fill("X * Y", X=left, Y=right))
    yield from _outer_products(scene)
    for site in scene.sites:
        if isinstance(site.node, ast.BinOp) and isinstance(site.node.op, ast.Mult):
            left_seen, right_seen = scene.seen(site.node.left), scene.seen(site.node.right)
            if all(s.shape is None or len(s.shape) in {1, 2} for s in (left_seen, right_seen)) and not scene.blind:
                for template in ("X @ Y", "X @ Y.T", "X.T @ Y"):
                    sizes = [left_seen.shape, right_seen.shape]
                    sizes = [_turned(s, f"{x}.T" in template) for s, x in zip(sizes, "XY", strict=True)]
                    if _fits(sizes, None):
                        yield _at(site, "B6", 25, fill(template, X=site.node.left, Y=site.node.right))


def _outer_products(scene: Scene) -> Iterator[Proposal]:
    """Take the operands of an outer product in the other order."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Call) and text(node.func) in {"np.outer", "np.kron"} and len(node.args) == 2:
            yield _at(site, "B1", 15, ast.Call(node.func, node.args[::-1], node.keywords))


def _with_factor(scene: Scene, site: Site, operand: ast.expr) -> Iterator[Proposal]:
    """Multiply an operand of a matrix product by another one of its kind and shape: (r * h).T for h.T."""
    seen = scene.seen(operand)
    place = next((s.place for s in scene.sites if s.node is operand), None)
    if place is None or not isinstance(operand, ast.Name) or is_cotangent(text(operand)):
        return
    for path, other in scene.operands(site.statement).items():
        alike = other.is_float and other.is_array and other.shape == seen.shape and path != operand.id
        if alike and path.isidentifier() and not is_cotangent(path):
            yield Proposal("B6", 26, site.statement, ((place, fill("x * f", x=operand, f=path)),))


def _matrix_product(node: ast.expr) -> tuple[ast.expr, ast.expr, str] | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return node.left, node.right, "X @ Y"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"dot", "matmul"}:
        if len(node.args) == 1:
            return node.func.value, node.args[0], "X.dot(Y)"
        if len(node.args) == 2 and isinstance(node.func.value, ast.Name):
            return node.args[0], node.args[1], f"{text(node.func)}(X, Y)"
    return None


def _bare(node: ast.expr) -> tuple[ast.expr, bool]:
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return node.value, True
    if isinstance(node, ast.Call) and text(node).startswith(("np.transpose(",)) and len(node.args) == 1:
        return node.args[0], True
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute) and text(node).endswith(_TURNS):
        return called.value, True
    return node, False


def _turned(shape: tuple[int, ...] | None, by: bool) -> tuple[int, ...] | None:
    if shape is None or not by:
        return shape
    return shape[::-1] if len(shape) < 3 else (*shape[:-2], shape[-1], shape[-2])


def _turn(sizes: list[tuple[int, ...] | None]) -> str:
    return "x.swapaxes(-1, -2)" if any(size is not None and len(size) > 2 for size in sizes) else "x.T"


def _fits(sizes: list[tuple[int, ...] | None], out: tuple[int, ...] | None) -> bool:
    """Whether two shapes can be multiplied, to the shape ``out``, its reverse, or any if that is None."""
    left, right = sizes
    if left is None or right is None:
        return True
    if not left or not right or left[-1] != right[max(len(right) - 2, 0)]:
        return False
    if len(left) > 2 and len(right) > 2 and left[:-2] == right[:-2]:
        made = (*left[:-1], right[-1])
        return out is None or out in {made, _turned(made, by=True)}
    made = (*left[:-1], *right[:-2], *right[-1:]) if len(right) > 1 else left[:-1]
    return out is None or made in {out, out[::-1]}


def transposes(scene: Scene) -> Iterator[Proposal]:
    """Transpose a whole value, or leave a transpose out."""
    for site in scene.values:
        shape = scene.seen(site.node).shape
        if shape is not None and len(shape) == 2:
            bare, turned = _bare(site.node)
            yield _at(site, "B1", 26, bare if turned else fill("v.T", v=site.node))
        if shape is not None and len(shape) >= 3:
            yield _at(site, "F4", 27, fill("v.swapaxes(-1, -2)", v=site.node))
            yield _at(site, "F5", 33, fill("v.swapaxes(0, 1)", v=site.node))
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Attribute) and node.attr == "T" and not _in_product(site):
            yield _at(site, "B1", 19, node.value)
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and isinstance(called, ast.Attribute) and called.attr == "swapaxes":
            yield _at(site, "F4", 18, called.value if len(node.args) == 2 else node.args[0])
        if isinstance(node, ast.Call) and any(k.arg == "order" for k in node.keywords):
            yield _at(site, "B1", 18, ast.Call(node.func, node.args, [k for k in node.keywords if k.arg != "order"]))
        loaded = isinstance(node, ast.Name | ast.Subscript) and isinstance(node.ctx, ast.Load)
        shape = scene.seen(node).shape
        if loaded and shape is not None and not isinstance(site.place.parent, ast.Subscript):
            if len(shape) == 2 and shape[0] == shape[1] and not _in_product(site):
                yield _at(site, "B1", 30, fill("v.T", v=node))
            if len(shape) >= 4 and shape[-1] == shape[-2]:
                yield _at(site, "F4", 31, fill("v.swapaxes(-1, -2)", v=node))


def _in_product(site: Site) -> bool:
    parent = site.place.parent
    return isinstance(parent, ast.expr) and _matrix_product(parent) is not None


def permutations(scene: Scene) -> Iterator[Proposal]:
    """Take another order of the axes in a transpose or a reshape."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        for listed, place in _lists(node):
            if node.func.attr == "transpose" and 2 < len(listed) <= 5:
                orders = [o for o in itertools.permutations(listed) if list(o) != listed]
            elif node.func.attr in {"reshape", "zeros", "empty"} and 2 < len(listed) <= 5:
                orders = [_swapped(listed, i, j) for i, j in itertools.combinations(range(len(listed)), 2)]
            else:
                continue
            for order in orders:
                moved = sum(a is not b for a, b in zip(order, listed, strict=True))
                changes = tuple((Place(p.parent, p.field, p.slot), x) for p, x in zip(place, order, strict=True))
                yield Proposal("F4" if len(listed) == 4 else "B1", 26 + 2 * moved, site.statement, changes)


def _lists(node: ast.Call) -> Iterator[tuple[list[ast.expr], list[Place]]]:
    """Yield the lists of numbers among the arguments: the arguments themselves, and each tuple."""
    yield node.args, [Place(node, "args", i) for i in range(len(node.args))]
    for arg in node.args:
        if isinstance(arg, ast.Tuple | ast.List):
            yield arg.elts, [Place(arg, "elts", i) for i in range(len(arg.elts))]


def _swapped(listed: list[ast.expr], i: int, j: int) -> tuple[ast.expr, ...]:
    order = list(listed)
    order[i], order[j] = order[j], order[i]
    return tuple(order)


def einsums(scene: Scene) -> Iterator[Proposal]:
    """Exchange two letters in one part of the subscripts of an einsum."""
    for site in scene.sites:
        node, (parent, _, _) = site.node, site.place
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or not isinstance(parent, ast.Call):
            continue
        if not text(parent.func).endswith("einsum"):
            continue
        parts = re.split(r"(,|->)", node.value)
        for index, part in enumerate(parts):
            for i, j in itertools.combinations(range(len(part)), 2):
                if part[i] != part[j] and part[i].isalpha() and part[j].isalpha():
                    other = part[:i] + part[j] + part[i + 1 : j] + part[i] + part[j + 1 :]
                    made = "".join([*parts[:index], other, *parts[index + 1 :]])
                    yield _at(site, "F4" if len(part) >= 4 else "B1", 22, ast.Constant(made))


def reductions(scene: Scene) -> Iterator[Proposal]:
    """Sum a value over axes, or leave a sum out; keep the reduced axes or not."""
    for site in scene.values:
        shape = scene.seen(site.node).shape
        if shape is None or len(shape) < 2:
            continue
        bias = bool(_BIAS.search(site.statement.target or ""))
        rank = 17 if bias else 29
        several = {2: (), 3: ("(0, 1)",)}.get(len(shape), ("(0, 2, 3)", "(0, 1, 2)", "(2, 3)"))
        for axis in ("0", *several):
            yield _at(site, "B3", rank, fill(f"v.sum(axis={axis})", v=site.node))
            yield _at(site, "B3", rank + 2, fill(f"v.sum(axis={axis}, keepdims=True)", v=site.node))
        yield _at(site, "B3", rank + 3, fill("v.sum()", v=site.node))
        if len(shape) == 2 and bias:
            yield _at(site, "B3", rank + 4, fill("v.sum(axis=1, keepdims=True)", v=site.node))
    for site in scene.sites:
        found = reduction(site.node)
        if found is None or not isinstance(site.node, ast.Call):
            continue
        all_of_it = not site.node.keywords and site.place.field in {"value", "values", "elts"}
        yield _at(site, "B4", 15 if all_of_it else 27, found[1])
        kept = [k for k in site.node.keywords if k.arg != "keepdims"]
        if len(kept) == len(site.node.keywords):
            kept = [*kept, ast.keyword("keepdims", ast.Constant(True))]
        yield _at(site, "B4", 21, ast.Call(site.node.func, site.node.args, kept))


def axes(scene: Scene) -> Iterator[Proposal]:
    """Take another axis."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Call):
            continue
        found = reduction(node)
        operand = scene.seen(found[1]).shape if found else None
        keyword = next((k for k in node.keywords if k.arg == "axis"), None)
        others = [k for k in node.keywords if k.arg != "axis"]
        if found:
            given = text(keyword.value) if keyword else "None"
            for axis in _axes(len(operand) if operand is not None else 2):
                if axis != given:
                    given_axis = [] if axis == "None" else [ast.keyword("axis", fill(axis))]
                    made = ast.Call(node.func, _without_axis(node, found[1]), [*given_axis, *others])
                    yield _at(site, "B4", 16 + 2 * axis.startswith("("), made)
                    if not node.keywords and axis.isdigit():  # of everything: a single number fits anywhere
                        kept = ast.keyword("keepdims", ast.Constant(True))
                        yield _at(site, "B4", 14, ast.Call(node.func, made.args, [*given_axis, kept]))
        elif keyword is not None and constant(keyword.value) is not None:
            for axis in ("0", "1", "2", "-1"):
                if axis != text(keyword.value):
                    made = ast.Call(node.func, node.args, [*others, ast.keyword("axis", fill(axis))])
                    yield _at(site, "B4", 24, made)


def _without_axis(node: ast.Call, operand: ast.expr) -> list[ast.expr]:
    """Return the arguments of a reduction without an axis that is given by position."""
    return [operand] if node.args and node.args[0] is operand else []


def _axes(ndim: int) -> list[str]:
    single = [str(axis) for axis in range(ndim)] if ndim > 1 else []
    several = (
        ["(0, 1)", "(0, 2)", "(1, 2)"]
        if ndim == 3
        else ["(0, 2, 3)", "(0, 1, 2)", "(2, 3)", "(1, 2, 3)"]
        if ndim == 4
        else []
    )
    return [*single, *several, "None"]


def slots(scene: Scene) -> Iterator[Proposal]:
    """Swap two values that are returned, listed or unpacked side by side."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Tuple | ast.List) or not 2 <= len(node.elts) <= 12:
            continue
        if isinstance(site.place.parent, ast.Subscript | ast.Slice | ast.keyword):
            continue
        loaded = isinstance(node.ctx, ast.Load)
        returned = isinstance(site.place.parent, ast.Return)
        for i, j in itertools.combinations(range(len(node.elts)), 2):
            left, right = node.elts[i], node.elts[j]
            # A gradient of another shape in the slot is what the swap would put right.
            unlike = not returned and scene.shapes_differ(scene.seen(left), scene.seen(right))
            if loaded and (text(left) == text(right) or unlike):
                continue
            if isinstance(left, ast.Constant) or isinstance(right, ast.Constant):
                continue
            changes = ((Place(node, "elts", i), right), (Place(node, "elts", j), left))
            # What is unpacked in the wrong order are operands, unless they are gradients.
            label = "B5" if loaded or (is_cotangent(text(left)) and is_cotangent(text(right))) else "B6"
            label = "F4" if are_sides(text(left), text(right)) else label
            yield Proposal(label, (15 if returned else 22 if loaded else 27) + (j - i > 1), site.statement, changes)
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Dict):
            for i, j in itertools.combinations(range(min(len(node.values), 12)), 2):
                if not scene.shapes_differ(scene.seen(node.values[i]), scene.seen(node.values[j])):
                    changes = ((Place(node, "values", i), node.values[j]), (Place(node, "values", j), node.values[i]))
                    yield Proposal("B5", 16, site.statement, changes)


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
