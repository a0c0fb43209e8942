"""The chain rule: derivatives missing, of another function or at another argument and cotangents (class C).

Level 1.
"""

from __future__ import annotations

import ast
import itertools
import re
import types
from collections.abc import Iterator
from typing import Any, TypeGuard

import numpy as np

from gradcheck.explanation.edits.nodes import constant, factors, fill, names_in, statement, text, with_each
from gradcheck.explanation.edits.purity import is_harmless
from gradcheck.explanation.edits.scene import Proposal, Scene, Site, is_cotangent
from gradcheck.explanation.edits.watch import Seen

__all__ = ["broadcasts", "derivatives", "formulas", "is_one_minus"]

_MASK = re.compile(r"mask|drop|keep|dropout", re.IGNORECASE)
_TABLE = re.compile(r"table|link|conn|adj|^[LT]$", re.IGNORECASE)
_SCALE = re.compile(r"gamma", re.IGNORECASE)
_WEIGHTS = re.compile(r"(self\.)?(w|K|theta|kernel|weights?|filters?)_?\d*$", re.IGNORECASE)
_PRIME = re.compile(r"prime|deriv|^d_?(sig|tanh|relu|act|f$)|_grad$|_d$|_p$|gradient$", re.IGNORECASE)


_SLOPE = re.compile(r"prime|deriv|slope|jac|_grad$|^d_?[a-z]+$|^s$|act", re.IGNORECASE)


def derivatives(scene: Scene) -> Iterator[Proposal]:
    """Multiply a cotangent by a derivative, a mask or another factor of its shape."""
    for site in (*scene.values, *scene.parts):
        shape = scene.seen(site.node).shape
        if shape is None and not scene.blind:
            continue
        used = names_in(site.node)
        inner = 2 if site in scene.parts else 0
        for path, seen in scene.operands(site.statement).items():
            if is_cotangent(path) or not broadcasts(seen, shape) or scene.blind:
                continue
            for mistake, rank, factor in _factors_of(path, seen, shape):
                late = 2 * isinstance(site.node, ast.Name) + 2 * (path in used) - 3 * (path in scene.unread) + inner
                label = "F5" if mistake == "C1" and _links(scene, site, seen) else mistake
                yield _at(site, label, rank + late, fill(f"v * {factor}", v=site.node))
    yield from _on_entry(scene)
    yield from _calls(scene)
    yield from _tables(scene)


def _links(scene: Scene, site: Site, mask: Seen) -> bool:
    """Whether zeros and ones have the shape of the weights whose gradient is made: they say which links there are."""
    weights = re.sub(r"^d_?|^grad_|_grad$", "", site.statement.target)
    held = scene.operands(site.statement).get(weights)
    shaped = weights != site.statement.target and bool(_WEIGHTS.match(weights)) and mask.kind == "b"
    return shaped and held is not None and held.shape == mask.shape


def _tables(scene: Scene) -> Iterator[Proposal]:
    """Count only the links of a table, in loops over both its axes."""
    known = scene.source.function.__globals__
    shapes = {n: np.shape(t) for n, t in known.items() if isinstance(t, np.ndarray) and t.ndim == 2}
    tables = {n: shape for n, shape in shapes.items() if np.isin(known[n], (0, 1)).all()}
    for site in scene.values:
        operands = scene.operands(site.statement)
        held = {p: s.shape for p, s in operands.items() if "binary" in s.facts and p.isidentifier()}
        counters = [name for loop in site.statement.loops for name in sorted(names_in(loop.target))]
        for path, shape in (tables | held).items():
            if shape is None or len(shape) != 2:
                continue
            for f, c in itertools.permutations(counters, 2):
                if isinstance(site.statement.node, ast.AugAssign) and f"{f}, {c}" not in path:
                    yield _at(site, "F5", 20, fill(f"v * {path}[{f}, {c}]", v=site.node))


def _calls(scene: Scene) -> Iterator[Proposal]:
    """Multiply a cotangent by a derivative that the module has a function for: ``* relu_prime(z)``."""
    known = scene.source.function.__globals__
    own = {n for n, f in known.items() if isinstance(f, types.FunctionType) and f.__code__.co_argcount == 1}
    prime = [n for n in sorted(own) if _PRIME.search(n) and n != scene.tree.name and is_harmless(known[n])][:4]
    for site in scene.values if prime else ():
        shape = scene.seen(site.node).shape
        for path, seen in scene.operands(site.statement).items():
            if seen.is_float and seen.is_array and seen.shape == shape and not is_cotangent(path):
                for name in prime:
                    spoken = name in scene.source.function.__code__.co_names
                    yield _at(site, "C1", 22 - 2 * spoken, fill(f"v * {name}({path})", v=site.node))


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
            if path != name and cotangent.shape is not None and broadcasts(seen, cotangent.shape):
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
    if shape is not None and len(shape) == 2 and seen.shape == shape[:1] and shape[0] != shape[1]:
        yield "C1", 25, f"{path}[:, None]"
        return
    if len(seen.shape or ()) == 1 and shape is not None and len(shape) == 4 and shape[-1] not in (seen.shape or ()):
        yield "A5", 21, f"{path}[:, None, None]"
        return
    bounded = seen.low >= -1 and seen.high <= 1  # an activation such as tanh, not what it is of
    if (seen.low < 0 < seen.high and not bounded) or "zeros" in seen.facts:
        yield "C1", 19, f"({path} > 0)"
    if seen.low >= 0 and seen.high <= 1:
        yield "C1", 19, f"{path} * (1 - {path})"
    if bounded:
        yield "C1", 20, f"(1 - {path} ** 2)"
    slope = bool(_SLOPE.search(path)) or (seen.low >= 0 and seen.high <= 1)
    # A smaller array is a coefficient of each row or column, one of the same shape the other operand of a product.
    other = "B6" if seen.shape == shape else "A5"
    yield ("C7" if _SCALE.search(path) else "C1" if slope else other), 25, path
    if bounded:
        return
    for rank, template in ((26, "(1 - np.tanh({0}) ** 2)"), (28, "np.exp({0})"), (28, "np.cos({0})")):
        yield "C1", rank, template.format(path)
    yield "C1", 29, f"np.exp(-{path}) / (1 + np.exp(-{path})) ** 2"
    if "zeros" not in seen.facts:
        yield ("C1" if slope else other), 29, f"(1 / {path})"
    yield "C1", 30, f"(2 * {path})"


def broadcasts(seen: Seen, shape: tuple[int, ...] | None) -> bool:
    """Whether a factor of this shape leaves ``shape`` as it is."""
    if seen.shape is None or shape is None or not seen.is_array:
        return False
    if len(shape) == 4 and seen.shape == shape[:2] and (seen.kind == "b" or "binary" in seen.facts):
        return True
    if len(seen.shape) > len(shape):
        return False
    if (len(shape) == 4 and seen.shape == shape[1:2]) or (len(shape) == 2 and seen.shape == shape[:1]):
        return True
    pairs = zip(seen.shape[::-1], shape[::-1], strict=False)
    return all(a in {b, 1} for a, b in pairs) and max(seen.shape) > 1


def formulas(scene: Scene) -> Iterator[Proposal]:
    """Take another formula for a derivative, or the same formula at another argument."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield from _compared(site, node)
        if isinstance(node, ast.BinOp) and is_one_minus(node):
            yield from _one_minus(scene, site, node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            yield from _products_with_complement(site, node)
        if isinstance(node, ast.Constant) and isinstance(site.place.parent, ast.Call):
            yield from _slopes(scene, site, site.place.parent)
        if isinstance(node, ast.Call) and len(node.args) >= 1:
            yield from _other_function(site, node)
            yield from _unwrapped(scene, site, node)
            yield from _stretched(site, node)
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
        first = next((c.args[0] for c in (*node.comparators, node.left) if isinstance(c, ast.Call) and c.args), None)
        if first is None:
            called = (c.func for c in (*node.comparators, node.left) if isinstance(c, ast.Call))
            first = next((f.value for f in called if isinstance(f, ast.Attribute)), None)
        if first is not None:
            made = "np.arange(w.size).reshape(w.shape) == np.argmax(w)"
            yield _at(site, "F6", 17, fill(made, w=first))
        yield _at(site, "F6", 20, fill("m / m.sum()", m=node))
        most = next((c for c in (*node.comparators, node.left) if isinstance(c, ast.Call) and c.keywords), None)
        if most is not None:
            total = ast.Call(ast.Attribute(node, "sum", ast.Load()), [], most.keywords)
            yield _at(site, "F6", 19, fill("m / n", m=node, n=total))
        yield _at(site, "F6", 21, fill("m / m.sum(axis=-1, keepdims=True)", m=node))
        yield _at(site, "F6", 21, fill("m / m.sum(axis=(3, 5), keepdims=True)", m=node))
        yield _at(site, "F6", 21, fill("m / m.sum(axis=(-2, -1), keepdims=True)", m=node))


def is_one_minus(node: ast.expr) -> TypeGuard[ast.BinOp]:
    """Whether an expression is one minus something."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and text(node.left) in {"1", "1.0"}


def _squared(node: ast.expr) -> ast.expr | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and text(node.right) in {"2", "2.0"}:
        return node.left
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and text(node.left) == text(node.right):
        return node.left
    if isinstance(node, ast.Call) and text(node.func) == "np.power" and text(node.args[-1]) in {"2", "2.0"}:
        return node.args[0]
    return node.args[0] if isinstance(node, ast.Call) and text(node.func) == "np.square" else None


def _one_minus(scene: Scene, site: Site, node: ast.BinOp) -> Iterator[Proposal]:
    inner = _squared(node.right)
    if inner is not None:
        old = scene.seen(inner)
        for path, seen in scene.operands(site.statement).items() if max(-old.low, old.high) > 1 else ():
            if seen.is_float and seen.shape == old.shape and seen.low >= -1 and seen.high <= 1:
                yield _at(site, "C2", 15, fill(f"1 - {path} ** 2"))
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
    for complement in (p for p in parts if isinstance(p, ast.BinOp) and is_one_minus(p)):
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
    "np.exp": ("np.exp(-x)", "np.exp(x) / (1 + np.exp(x))", "np.exp(-x) / (1 + np.exp(-x)) ** 2"),
    "np.log": ("1 / x", "(x - 1) / x"),
    "np.log1p": ("x / (1 + x)", "1 / (1 + x)"),
    "np.sqrt": ("0.5 / np.sqrt(x)", "x"),
    "np.abs": ("np.sign(x)",),
    "np.cosh": ("np.sinh(x)",),
    "np.sinh": ("np.cosh(x)",),
}


_STRETCHED = {"np.exp", "np.tanh", "np.cosh", "np.sinh", "np.sin", "np.cos", "sigmoid", "expit"}
_MODULI = {"abs", "np.abs", "np.absolute", "np.fabs", "np.sign"}


def _other_function(site: Site, node: ast.Call) -> Iterator[Proposal]:
    name = text(node.func)
    for template in _FUNCTIONS.get(name, ()):
        yield _at(site, "C3", 18, fill(template, x=node.args[0]))
    if name in {"sigmoid", "sigma", "logistic", "relu", "tanh"} or name.endswith((".sigmoid", "_sigmoid")):
        template = "f(x) * (1 - f(x))" if "sig" in name or name == "logistic" else "1 - f(x) ** 2"
        yield _at(site, "C3", 18, fill("(x > 0)" if name == "relu" else template, f=node.func, x=node.args[0]))
    if name == "np.where" and len(node.args) == 3:
        test, yes, no = node.args
        for place, branch in ((1, yes), (2, no)):
            if constant(branch) is None or constant(branch) not in {0, 1}:
                for other in ("0", "1") if constant(branch) is not None else ("0",):
                    shut = [*node.args]
                    shut[place] = fill(other)
                    yield _at(site, "C3", 16, ast.Call(node.func, shut, node.keywords))
        yield _at(site, "C3", 14, ast.Call(node.func, [test, no, yes], node.keywords))
        for name_ in sorted(names_in(yes) | names_in(no)):
            for place, branch in ((1, yes), (2, no)):
                if text(branch) != name_:
                    signed = fill(f"b * np.sign({name_})", b=branch)
                    made = [*node.args]
                    made[place] = signed
                    yield _at(site, "C3", 20, ast.Call(node.func, made, node.keywords))
    if name in {"np.maximum", "np.minimum"}:
        other = "np.minimum" if name == "np.maximum" else "np.maximum"
        yield _at(site, "C3", 22, ast.Call(fill(other), node.args, node.keywords))


def _slopes(scene: Scene, site: Site, call: ast.Call) -> Iterator[Proposal]:
    """Take a number that is at hand for a literal branch of a slope."""
    if text(call.func) != "np.where" or site.place.slot not in {1, 2}:
        return
    for path, seen in scene.operands(site.statement).items():
        if seen.kind == "f" and path.isidentifier() and not is_cotangent(path):
            yield _at(site, "C3", 15 if path in scene.unread else 20, fill(path))


def _unwrapped(scene: Scene, site: Site, node: ast.Call) -> Iterator[Proposal]:
    """Take f's argument for f(argument) throughout a statement: a derivative at f(x) that is written in x."""
    if len(node.args) != 1 or node.keywords or scene.shapes_differ(scene.seen(node), scene.seen(node.args[0])):
        return
    where, _, field = site.statement.place.parent, None, site.statement.node
    times = [0]
    new = with_each(field, text(node), node.args[0], times)
    if times[0] >= 1 and scene.seen(node).is_float and where is not None:
        like = "_like" in text(node.func) or not isinstance(node.func, ast.Name | ast.Attribute)
        # |r| is no argument of a derivative, and zeros are no gradient.
        nothing = "zeros" in text(node.func)
        label = "C3" if text(node.func) in _MODULI else "C8" if nothing else "B6" if like else "C2"
        yield Proposal(label, 19, site.statement, ((site.statement.place, new),))


def _stretched(site: Site, node: ast.Call) -> Iterator[Proposal]:
    """Take a function at twice its argument, or at half: tanh z is the sigmoid of 2z."""
    if text(node.func) in _STRETCHED and len(node.args) == 1:
        for template in ("2 * x", "x / 2"):
            yield _at(site, "C2", 22, ast.Call(node.func, [fill(template, x=node.args[0])], node.keywords))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
