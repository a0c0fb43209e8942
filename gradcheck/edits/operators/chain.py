"""The chain rule: derivatives missing, of another function or at another argument and cotangents (class C).

Level 1.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from gradcheck.edits.nodes import factors, fill, names_in, statement, text, with_each
from gradcheck.edits.scene import Place, Proposal, Scene, Site, is_cotangent, parsed
from gradcheck.edits.watch import Seen

__all__ = ["cotangents", "derivatives", "formulas", "jacobians", "layers", "statistics"]

_MASK = re.compile(r"mask|drop|keep|dropout", re.IGNORECASE)
_TABLE = re.compile(r"table|link|conn|^L$", re.IGNORECASE)
_SCALE = re.compile(r"gamma", re.IGNORECASE)


def derivatives(scene: Scene) -> Iterator[Proposal]:
    """Multiply a cotangent by a derivative, a mask or another factor of its shape."""
    for site in scene.values:
        shape = scene.seen(site.node).shape
        if shape is None and not scene.blind:
            continue
        used = names_in(site.node)
        for path, seen in scene.operands(site.statement).items():
            if is_cotangent(path) or not _broadcasts(seen, shape) or scene.blind:
                continue
            for mistake, rank, factor in _factors_of(path, seen, shape):
                late = 2 * isinstance(site.node, ast.Name) + 2 * (path in used)
                yield _at(site, mistake, rank + late, fill(f"v * {factor}", v=site.node))
    yield from _on_entry(scene)


def _on_entry(scene: Scene) -> Iterator[Proposal]:
    """Change the incoming cotangent before it is first used: for code that never names the local gradient."""
    if not scene.parameters:
        return
    first = [p for p in scene.parameters if p not in {"self", "cls", "ctx"}][:1]
    for name in first:
        users = [s for s in scene.statements if name in names_in(s.node) and s.place.parent is scene.tree]
        if not users or isinstance(users[0].node, ast.FunctionDef):
            continue
        cotangent = scene.operands(users[0]).get(name)
        if cotangent is None or not cotangent.is_float:
            continue
        offers = [("A1", 28, f"-{name}")]
        offers += [("A2", 28, f"{name} / {size}") for size in scene.sizes(users[0])]
        offers += [("A2", 30, f"{name} * {size}") for size in scene.sizes(users[0])]
        for path, seen in scene.operands(users[0]).items():
            if path != name and cotangent.shape is not None and _broadcasts(seen, cotangent.shape):
                offers += [(m, r + 1, f"{name} * {f}") for m, r, f in _factors_of(path, seen, cotangent.shape)]
        for mistake, rank, made in offers:
            new = [statement(f"{name} = {made}"), users[0].node]
            yield Proposal(mistake, rank, users[0], ((users[0].place, new),))


def _factors_of(path: str, seen: Seen, shape: tuple[int, ...] | None) -> Iterator[tuple[str, int, str]]:
    """Yield what the values of an operand let it be: the mistake, its rank and the factor."""
    turned = path
    if (
        shape is not None
        and seen.shape is not None
        and len(seen.shape) == 2
        and len(shape) == 4
        and seen.shape == shape[:2]
    ):
        turned = f"{path}[:, :, None, None]"
    if seen.kind == "b" or "binary" in seen.facts:
        yield ("F5" if _TABLE.search(path) else "E5" if _MASK.search(path) else "C1"), 18, turned
        if _TABLE.search(path) and seen.shape is not None and seen.shape == seen.shape[::-1]:
            yield "F5", 20, f"{path}.T"
        return
    if not seen.is_float or turned != path:
        return
    bounded = seen.low >= -1 and seen.high <= 1  # an activation such as tanh, not what it is of
    if (seen.low < 0 < seen.high and not bounded) or "zeros" in seen.facts:
        yield "C1", 19, f"({path} > 0)"
    if seen.low >= 0 and seen.high <= 1:
        yield "C1", 19, f"{path} * (1 - {path})"
    if bounded and seen.low < 0:
        yield "C1", 20, f"(1 - {path} ** 2)"
    yield ("C7" if _SCALE.search(path) else "C1"), 25, path
    if bounded:
        return
    for rank, template in ((26, "(1 - np.tanh({0}) ** 2)"), (28, "np.exp({0})"), (28, "np.cos({0})")):
        yield "C1", rank, template.format(path)
    yield "C1", 29, f"np.exp(-{path}) / (1 + np.exp(-{path})) ** 2"
    if "zeros" not in seen.facts:
        yield "C1", 29, f"(1 / {path})"
    yield "C1", 30, f"(2 * {path})"


def _broadcasts(seen: Seen, shape: tuple[int, ...] | None) -> bool:
    """Whether a factor of this shape leaves ``shape`` as it is."""
    if seen.shape is None or shape is None or not seen.is_array:
        return False
    if len(shape) == 4 and seen.shape == shape[:2] and (seen.kind == "b" or "binary" in seen.facts):
        return True
    if len(seen.shape) > len(shape):
        return False
    pairs = zip(seen.shape[::-1], shape[::-1], strict=False)
    return all(a in {b, 1} for a, b in pairs) and max(seen.shape) > 1


def formulas(scene: Scene) -> Iterator[Proposal]:
    """Take another formula for a derivative, or the same formula at another argument."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield from _compared(site, node)
        if isinstance(node, ast.BinOp) and _is_one_minus(node):
            yield from _one_minus(site, node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            yield from _products_with_complement(site, node)
        if isinstance(node, ast.Call) and len(node.args) >= 1:
            yield from _other_function(site, node)
            yield from _unwrapped(scene, site, node)
        simple = isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Load)
        if simple and isinstance(site.place.parent, ast.BinOp) and isinstance(site.place.parent.op, ast.Mult):
            seen = scene.seen(node)
            if seen.is_float and seen.is_array and not is_cotangent(text(node)):
                for template in ("x * (1 - x)", "(1 - x ** 2)", "(x > 0)"):
                    yield _at(site, "C3", 26, fill(template, x=node))


def _compared(site: Site, node: ast.Compare) -> Iterator[Proposal]:
    others: dict[Any, tuple[Any, ...]] = {
        ast.Gt: (ast.LtE, ast.Lt),
        ast.Lt: (ast.GtE, ast.Gt),
        ast.GtE: (ast.Lt, ast.LtE),
        ast.LtE: (ast.Gt, ast.GtE),
    }
    for op in others.get(type(node.ops[0]), ()):
        yield _at(site, "C3", 12, ast.Compare(node.left, [op()], node.comparators))
    if isinstance(node.ops[0], ast.Gt | ast.NotEq) and not isinstance(site.place.parent, ast.Subscript):
        label = "E5" if _MASK.search(text(node.left)) else "C3"
        yield _at(site, label, 17, node.left)
    if isinstance(node.ops[0], ast.Eq) and not isinstance(site.place.parent, ast.Subscript):
        yield _at(site, "F6", 20, fill("m / m.sum()", m=node))
        most = next((c for c in (*node.comparators, node.left) if isinstance(c, ast.Call) and c.keywords), None)
        if most is not None:
            total = ast.Call(ast.Attribute(node, "sum", ast.Load()), [], most.keywords)
            yield _at(site, "F6", 19, fill("m / n", m=node, n=total))
        yield _at(site, "F6", 21, fill("m / m.sum(axis=-1, keepdims=True)", m=node))
        yield _at(site, "F6", 21, fill("m / m.sum(axis=(3, 5), keepdims=True)", m=node))
        yield _at(site, "F6", 21, fill("m / m.sum(axis=(-2, -1), keepdims=True)", m=node))


def _is_one_minus(node: ast.expr) -> TypeGuard[ast.BinOp]:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and text(node.left) in {"1", "1.0"}


def _squared(node: ast.expr) -> ast.expr | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and text(node.right) in {"2", "2.0"}:
        return node.left
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and text(node.left) == text(node.right):
        return node.left
    return node.args[0] if isinstance(node, ast.Call) and text(node.func) == "np.square" else None


def _one_minus(site: Site, node: ast.BinOp) -> Iterator[Proposal]:
    inner = _squared(node.right)
    if inner is not None:
        yield _at(site, "C2", 17, fill("1 - np.tanh(x) ** 2", x=inner))
        yield _at(site, "C3", 18, fill("x * (1 - x)", x=inner))
        yield _at(site, "C3", 19, fill("1 - x", x=inner))
        if isinstance(inner, ast.Call) and inner.args:
            yield _at(site, "C2", 15, fill("1 - x ** 2", x=inner.args[0]))
    else:
        yield _at(site, "C3", 16, fill("1 - x ** 2", x=node.right))
        yield _at(site, "C3", 17, fill("x * (1 - x)", x=node.right))
        yield _at(site, "C2", 19, fill("1 - np.tanh(x) ** 2", x=node.right))


def _products_with_complement(site: Site, node: ast.BinOp) -> Iterator[Proposal]:
    """The product x·(1-x), maybe among other factors: of another x, of another function."""
    parts = list(factors(node))
    for complement in (p for p in parts if isinstance(p, ast.BinOp) and _is_one_minus(p)):
        x = complement.right
        twin = next((p for p in parts if text(p) == text(x)), None)
        if twin is None:
            continue
        others = [p for p in parts if p is not complement and p is not twin]
        lead = {f"o{i}": p for i, p in enumerate(others)}
        product = " * ".join([*lead, ""])
        yield _at(site, "C3", 16, fill(f"{product}(1 - x ** 2)", x=x, **lead))
        sigmoid = "1 / (1 + np.exp(-x))"
        yield _at(site, "C2", 17, fill(f"{product}({sigmoid}) * (1 - {sigmoid})", x=x, **lead))
        yield _at(site, "C3", 20, fill(f"{product}(x > 0)", x=x, **lead))


_FUNCTIONS = {
    "np.sin": ("np.cos(x)", "-np.cos(x)"),
    "np.cos": ("-np.sin(x)", "np.sin(x)"),
    "np.tanh": ("1 - np.tanh(x) ** 2", "1 / np.cosh(x) ** 2"),
    "np.exp": ("np.exp(-x)",),
    "np.log": ("1 / x",),
    "np.sqrt": ("0.5 / np.sqrt(x)", "x"),
    "np.abs": ("np.sign(x)",),
    "np.cosh": ("np.sinh(x)",),
    "np.sinh": ("np.cosh(x)",),
}


def _other_function(site: Site, node: ast.Call) -> Iterator[Proposal]:
    name = text(node.func)
    for template in _FUNCTIONS.get(name, ()):
        yield _at(site, "C3", 18, fill(template, x=node.args[0]))
    if name in {"sigmoid", "sigma", "logistic", "relu", "tanh"} or name.endswith((".sigmoid", "_sigmoid")):
        template = "f(x) * (1 - f(x))" if "sig" in name or name == "logistic" else "1 - f(x) ** 2"
        yield _at(site, "C3", 18, fill("(x > 0)" if name == "relu" else template, f=node.func, x=node.args[0]))
    if name == "np.where" and len(node.args) == 3:
        test, yes, no = node.args
        yield _at(site, "C3", 14, ast.Call(node.func, [test, no, yes], node.keywords))
    if name in {"np.maximum", "np.minimum"}:
        other = "np.minimum" if name == "np.maximum" else "np.maximum"
        yield _at(site, "C3", 22, ast.Call(fill(other), node.args, node.keywords))


def _unwrapped(scene: Scene, site: Site, node: ast.Call) -> Iterator[Proposal]:
    """Take f's argument for f(argument) throughout a statement: a derivative at f(x) that is written in x."""
    if len(node.args) != 1 or node.keywords or scene.shapes_differ(scene.seen(node), scene.seen(node.args[0])):
        return
    where, _, field = site.statement.place.parent, None, site.statement.node
    times = [0]
    new = with_each(field, text(node), node.args[0], times)
    if times[0] >= 1 and scene.seen(node).is_float and where is not None:
        yield Proposal("C2", 19, site.statement, ((site.statement.place, new),))


def layers(scene: Scene) -> Iterator[Proposal]:
    """Call the backward of an activation where it was left out, and once where it is called twice."""
    for site in scene.sites:
        node = site.node
        inner = node.args[0] if isinstance(node, ast.Call) and node.args else None
        if isinstance(node, ast.Call) and isinstance(inner, ast.Call) and text(inner.func) == text(node.func):
            yield _at(site, "C6", 17, inner)
    known = scene.source.function.__globals__
    for site in scene.values:
        if not scene.seen(site.node).is_array or isinstance(site.place.parent, ast.Tuple):
            continue
        scope = scene.watched.scopes.get(site.statement.position, {})
        calls = [n for n, s in scope.items() if s.kind == "function" and "backward" in n]
        calls += [n for n in sorted(scene.source.function.__code__.co_names) if "backward" in n and n in known]
        counters = [name for loop in site.statement.loops for name in sorted(names_in(loop.target))]
        caches = [n for n, s in scope.items() if "cache" in n and n.isidentifier() and n not in scene.parameters]
        for cache in caches:
            index = f"[{counters[-1]}]" if counters and scope[cache].kind == "list" else ""
            for call in calls:
                yield _at(site, "C1", 25, fill(f"{call}(v, {cache}{index})", v=site.node))


def jacobians(scene: Scene) -> Iterator[Proposal]:
    """Take the whole Jacobian of a softmax for its diagonal, or leave a derivative out that is already inside."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
            continue
        parts = list(factors(node))
        for s in parts:
            complement = next((p for p in parts if _is_one_minus(p) and text(p.right) == text(s)), None)
            others = [p for p in parts if p is not s and p is not complement]
            product = " * ".join(f"o{i}" for i in range(len(others)))
            lead = {f"o{i}": p for i, p in enumerate(others)}
            rows = "simplex" in scene.seen(s).facts
            if complement is not None and others:
                yield _at(site, "C6", 17, fill(product, **lead))
            if others and (complement is not None or rows):
                made = f"s * ({product} - ({product} * s).sum(axis=-1, keepdims=True))"
                yield _at(site, "C6", 15, fill(made, s=s, **lead))
    for site in scene.values:
        shape = scene.seen(site.node).shape
        for path, seen in scene.operands(site.statement).items():
            if "simplex" in seen.facts and seen.shape == shape and path not in names_in(site.node):
                made = "s * (v - (v * s).sum(axis=-1, keepdims=True))"
                yield _at(site, "C6", 23, fill(made, v=site.node, s=parsed(path)))


def statistics(scene: Scene) -> Iterator[Proposal]:
    """Let the mean and the variance of a normalisation move with the input."""
    for site in scene.sites:
        seen = scene.seen(site.node)
        divided = isinstance(site.place.parent, ast.BinOp) and isinstance(site.place.parent.op, ast.Div | ast.Mult)
        if not seen.is_float or seen.shape is None or len(seen.shape) < 2 or isinstance(site.node, ast.Constant):
            continue
        if not divided and site not in scene.values:
            continue
        for path, other in scene.operands(site.statement).items():
            if other.shape != seen.shape or not other.facts & {"columns", "rows"} or path == text(site.node):
                continue
            axis = "axis=0" if "columns" in other.facts else "axis=-1, keepdims=True"
            parts = {"v": site.node, "h": parsed(path)}
            whole = f"v - v.mean({axis}) - h * (v * h).mean({axis})"
            yield _at(site, "C7", 21, fill(whole, **parts))
            yield _at(site, "C7", 22, fill(f"v - v.mean({axis})", **parts))
            yield _at(site, "C7", 22, fill(f"v - h * (v * h).mean({axis})", **parts))


def cotangents(scene: Scene) -> Iterator[Proposal]:
    """Use the incoming cotangent where it is ignored."""
    first = [p for p in scene.parameters if p not in {"self", "cls", "ctx"}][:1]
    for name in first:
        used = any(isinstance(s.node, ast.Name) and s.node.id == name for s in scene.sites)
        for site in scene.sites:
            node = site.node
            if isinstance(node, ast.Call) and text(node.func) in {"np.ones_like", "np.ones"}:
                yield _at(site, "C5", 11, fill(name))
            factor = isinstance(site.place.parent, ast.BinOp | ast.Call)
            if factor and isinstance(node, ast.Constant) and node.value == 1 and not isinstance(node.value, bool):
                yield _at(site, "C5", 19, fill(name))
        for site in scene.values:
            seen, dout = scene.seen(site.node), scene.operands(site.statement).get(name)
            inside = name in names_in(site.node)
            fits = dout is not None and (dout.shape == () or _broadcasts(dout, seen.shape) or dout.shape == seen.shape)
            if fits and not inside:
                yield _at(site, "C5", 20 if used else 13, fill(f"v * {name}", v=site.node))
    if first and not any(isinstance(s.node, ast.Name) and s.node.id == first[0] for s in scene.sites):
        for statement_ in scene.statements:
            if isinstance(statement_.node, ast.Return) and statement_.node.value is not None:
                value = statement_.node.value
                if isinstance(value, ast.Tuple):
                    new: ast.expr = ast.Tuple([fill(f"v * {first[0]}", v=v) for v in value.elts], ast.Load())
                    yield Proposal("C5", 12, statement_, ((Place(statement_.node, "value", None), new),))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
