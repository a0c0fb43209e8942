"""Whole Jacobians: of a softmax, of a normalisation, of a layer that is called, and the cotangent itself. Level 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import factors, fill, names_in, text
from gradcheck.explanation.edits.operators.chain import broadcasts, is_one_minus
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site, is_cotangent, parsed

__all__ = ["cotangents", "jacobians", "layers", "statistics"]


def layers(scene: Scene) -> Iterator[Proposal]:
    """Call the backward of an activation where it was left out, and once where it is called twice."""
    for site in scene.sites:
        node = site.node
        inner = node.args[0] if isinstance(node, ast.Call) and node.args else None
        if isinstance(node, ast.Call) and isinstance(inner, ast.Call) and text(inner.func) == text(node.func):
            yield _at(site, "C6", 17, inner)
    yield from _derived_again(scene)
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


def _derived_again(scene: Scene) -> Iterator[Proposal]:
    """Leave out a derivative that another statement takes with the same cache, and whose result is at hand."""
    calls = [s for s in scene.sites if isinstance(s.node, ast.Call) and len(s.node.args) == 2 and not s.node.keywords]
    for site in calls:
        node, others = site.node, (other for other in calls if other is not site)
        assert isinstance(node, ast.Call)
        gradient, cache = node.args
        again = any(text(o.node.func) == text(node.func) and text(o.node.args[1]) == text(cache) for o in others)  # type: ignore[attr-defined]
        if again and is_cotangent(text(gradient)) and not scene.shapes_differ(scene.seen(node), scene.seen(gradient)):
            yield _at(site, "C3", 13, gradient)


def _diagonals(scene: Scene) -> Iterator[Proposal]:
    """Subtract the outer product from the diagonal that is a part of a softmax's Jacobian."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.Call) and text(node.func) in {"np.diag", "np.diagflat"} and node.args:
            for part in factors(node.args[0]):
                made = fill("f(p) - np.outer(p, p)", f=node.func, p=part)
                yield _at(site, "C6", 14, made)


def jacobians(scene: Scene) -> Iterator[Proposal]:
    """Take the whole Jacobian of a softmax for its diagonal, or leave a derivative out that is already inside."""
    yield from _diagonals(scene)
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
            continue
        parts = list(factors(node))
        for s in parts:
            complement = next((p for p in parts if is_one_minus(p) and text(p.right) == text(s)), None)
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
            if other.shape != seen.shape or path == text(site.node):
                continue
            for fact, mean in (("rms", "mean"), ("unit", "sum")):
                if fact in other.facts and not other.facts & {"columns", "rows"}:
                    made = f"(v - {path} * (v * {path}).{mean}(axis=-1, keepdims=True))"
                    yield _at(site, "C7", 22, fill(made, v=site.node))
            if not other.facts & {"columns", "rows"}:
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
            fits = dout is not None and (dout.shape == () or broadcasts(dout, seen.shape) or dout.shape == seen.shape)
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
