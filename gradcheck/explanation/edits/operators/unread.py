"""What is bound and never read was wanted for something: a derivative, a term, an entry, a turn of a loop. Level 1."""

from __future__ import annotations

import ast
import itertools
import re
import types
from collections.abc import Iterator

from gradcheck.explanation.edits.nodes import constant, fill, names_in, statement, text, with_each
from gradcheck.explanation.edits.purity import is_harmless
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Site, Statement, is_cotangent, is_regulariser
from gradcheck.explanation.edits.watch import Seen

__all__ = ["calls", "elements", "entries", "replacements", "terms", "turns"]

_PRIME = re.compile(r"prime|deriv|slope|_grad$|^d_?(act|phi|f|g|sigma|sigmoid|tanh|relu)$", re.IGNORECASE)
_FUNCTIONS = {"function", "method", "partial", "builtin_function_or_method", "ufunc"}
_LISTS = {"list", "tuple", "dict"}
_SHAPES = {"len", "np.shape", "np.size", "np.zeros_like", "np.ones_like", "np.empty_like"}
TABLE = 16  # entries of a table of functions at most
OFFSETS = 3  # whole numbers at hand that a counter may be short of


def calls(scene: Scene) -> Iterator[Proposal]:
    """Pass a gradient through a derivative: a function or a cache that is at hand, and is used for nothing."""
    spoken = _backwards(scene)
    for site in (*scene.values, *_handed_on(scene)):
        late = 0 if isinstance(site.node, ast.Name | ast.Subscript) else 2
        for rank, template in _derived(scene, site.statement, spoken, scene.seen(site.node)):
            yield _at(site, "C1", 8 + rank + late, fill(template, v=site.node))
    yield from _before(scene, spoken)


def _before(scene: Scene, spoken: list[str]) -> Iterator[Proposal]:
    """Put the derivative in a line of its own, before the first line of a block that reads the gradient."""
    met: set[tuple[int, str]] = set()
    for each in scene.statements:
        value = getattr(each.node, "value", None)
        for name in sorted(names_in(value)) if isinstance(value, ast.expr) else ():
            seen = scene.operands(each).get(name)
            if not is_cotangent(name) or seen is None or (id(each.place.parent), name) in met:
                continue
            met.add((id(each.place.parent), name))
            for rank, template in _derived(scene, each, spoken, seen):
                line = statement(f"{name} = {template}", v=name)
                yield Proposal("C1", 10 + rank, each, ((each.place, [line, each.node]),))


def _derived(scene: Scene, each: Statement, spoken: list[str], seen: Seen) -> Iterator[tuple[int, str]]:
    """Yield how the gradient ``v`` may be derived with what is idle before a statement, and how far-fetched it is."""
    scope = scene.watched.scopes.get(each.position, {})
    idle = [name for name in sorted(scene.unread) if name in scope]
    functions = [name for name in idle if _is_callable(scope, name)]
    caches = [name for name in idle if name not in functions and scope[name].kind != "str"]
    called = [held for name in functions for held in _elements(scene, each, name, scope[name])]
    called += [found for name in idle if scope[name].kind == "str" for found in _by_name(scene, name)]
    given = [held for name in caches for held in _elements(scene, each, name, scope[name])]
    for rank, cache in ((0, cache) for cache in given):
        for function in called:
            yield rank, f"{function}(v, {cache})"
            yield rank + 1, f"v * {function}({cache})"
        yield from ((rank + 2, f"{function}(v, {cache})") for function in (() if called else spoken))
    called += [f"self.{name}" for name in _methods(scene)]
    for path, other in scene.operands(each).items() if called and not given else ():
        if other.is_float and other.is_array and other.shape == seen.shape and not is_cotangent(path):
            yield from ((3, f"{function}(v, {path})") for function in called)
            yield from ((3, f"v * {function}({path})") for function in called)


def _methods(scene: Scene) -> Iterator[str]:
    """Yield the methods of the class that are derivatives by their names, and that only compute."""
    kind = scene.source.function.__globals__.get(scene.source.owner or "")
    if not isinstance(kind, type) or scene.parameters[:1] != ["self"]:
        return
    for name, method in sorted(vars(kind).items()):
        named = _PRIME.search(name) and name not in scene.source.function.__code__.co_names
        if named and isinstance(method, types.FunctionType) and is_harmless(method):
            yield name


def _is_callable(scope: dict[str, Seen], name: str) -> bool:
    """Whether a name holds a function, or several in a list or a dict."""
    inside = (seen for path, seen in scope.items() if path.startswith(f"{name}["))
    return scope[name].kind in _FUNCTIONS or any(seen.kind in _FUNCTIONS for seen in inside)


def _by_name(scene: Scene, name: str) -> Iterator[str]:
    """Yield the functions that a table of the module has under a name."""
    for table, held in sorted(scene.source.function.__globals__.items()):
        if not isinstance(held, dict) or not 0 < len(held) <= TABLE:
            continue
        first = next(iter(held.values()))
        several = first if isinstance(first, tuple) else (first,)
        for index, function in enumerate(several):
            if isinstance(function, types.FunctionType) and is_harmless(function):
                yield f"{table}[{name}][{index}]" if isinstance(first, tuple) else f"{table}[{name}]"


def _backwards(scene: Scene) -> list[str]:
    """Return the functions that are called with a gradient and something else."""
    nodes = (site.node for site in scene.sites)
    called = (n for n in nodes if isinstance(n, ast.Call) and len(n.args) == 2 and not n.keywords)
    return sorted({text(n.func) for n in called if isinstance(n.func, ast.Name) and is_cotangent(text(n.args[0]))})


def _handed_on(scene: Scene) -> Iterator[Site]:
    """Yield the gradients that are handed to a function or multiplied by a matrix."""
    for site in scene.sites:
        parent, field, slot = site.place
        given = isinstance(parent, ast.Call) and field == "args" and slot == 0 and isinstance(parent.func, ast.Name)
        product = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.MatMult)
        if (given or product) and isinstance(site.node, ast.Name | ast.Subscript) and is_cotangent(text(site.node)):
            yield site


def _elements(scene: Scene, each: Statement, name: str, seen: Seen) -> Iterator[str]:
    """Yield what is held under a name: itself, or the element of this turn of the loops, counted in any way."""
    counters = [n for loop in each.loops for n in sorted(names_in(loop.target))]
    if seen.kind not in _LISTS or not counters:
        yield name
        return
    scope = scene.watched.scopes.get(each.position, {})
    numbers = [
        p for p, s in scope.items() if p.isidentifier() and s.kind == "i" and s.shape == () and p not in counters
    ]
    for counter in reversed(counters):
        yield f"{name}[{counter}]"
        yield from (f"{name}[{counter} - {number}]" for number in numbers[:OFFSETS])


def elements(scene: Scene) -> Iterator[Proposal]:
    """Multiply by the element of a table of derivatives that belongs to this turn of a loop."""
    for site in (*scene.values, *_factors(scene)):
        scope = scene.watched.scopes.get(site.statement.position, {})
        used = names_in(site.node)
        for loop in site.statement.loops:
            over = names_in(loop.iter)
            for name in sorted((over | scene.unread) & scope.keys()):
                if scope[name].kind not in _LISTS or name in used or is_cotangent(name):
                    continue
                keys = [loop.target] if name in over and scope[name].kind == "dict" else []
                keys += [fill(counter) for counter in sorted(names_in(loop.target)) if not keys]
                for key in keys:
                    label = "D1" if any(map(is_regulariser, used)) else "C1"
                    yield _at(site, label, 13, fill(f"{name}[k] * v", v=site.node, k=fill(text(key))))


def _factors(scene: Scene) -> Iterator[Site]:
    """Yield the gradients that are factors."""
    for site in scene.sites:
        factor = isinstance(site.place.parent, ast.BinOp) and isinstance(site.place.parent.op, ast.Mult | ast.MatMult)
        loaded = isinstance(getattr(site.node, "ctx", None), ast.Load)
        if factor and loaded and isinstance(site.node, ast.Name | ast.Subscript) and is_cotangent(text(site.node)):
            yield site


def terms(scene: Scene) -> Iterator[Proposal]:
    """Add, or subtract, an array that nothing reads; from probabilities subtract one at the labels."""
    idle = _idle(scene)
    for site in scene.sites:
        seen = scene.seen(site.node)
        if seen.is_float and seen.shape == () and site in scene.values:
            yield from _scaled(scene, site, idle)
        if not seen.is_array or not _is_term(site):
            continue
        operands = scene.operands(site.statement)
        for name in sorted(idle & operands.keys()):
            other = operands[name]
            if other.shape == seen.shape and not is_cotangent(name) and other.kind in {"f", "b"}:
                for rank, template in ((13, f"v - {name}"), (14, f"v + {name}")):
                    yield _at(site, "C8", rank, fill(template, v=site.node))
            if other.kind in {"i", "u"} and other.shape == (seen.shape or ())[:1] and len(seen.shape or ()) == 2:
                yield from _at_labels(scene, site, name)


def _scaled(scene: Scene, site: Site, idle: frozenset[str]) -> Iterator[Proposal]:
    """Multiply a number by the array that nothing reads: λ W for λ, 2 r / n for 2 / n."""
    operands = scene.operands(site.statement)
    for name in sorted(idle & operands.keys()):
        if operands[name].is_float and operands[name].is_array and not is_cotangent(name):
            strength = any(map(is_regulariser, names_in(site.node)))
            yield _at(site, *(("D1", 9) if strength else ("C1", 13)), fill(f"v * {name}", v=site.node))


def _at_labels(scene: Scene, site: Site, labels: str) -> Iterator[Proposal]:
    """Take one from a row of probabilities at its label; give a gradient to the label's entry of each row alone."""
    one_hot = f"(np.arange(w.shape[1]) == {labels}[:, None])"
    if "simplex" in scene.seen(site.node).facts:
        yield _at(site, "C8", 11, fill(f"v - {one_hot}", v=site.node, w=fill(text(site.node))))
    node, whole = site.statement.node, site.node
    if site.place.field == "value" and isinstance(node, ast.Assign):
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            whole = target.value
        yield _at(site, "B6", 13, fill(f"v * {one_hot}", v=site.node, w=fill(text(whole))))


def _idle(scene: Scene) -> frozenset[str]:
    """Return the names whose values are never read, though maybe their shapes."""
    written = {id(s.node.value) for s in scene.sites if isinstance(s.node, ast.Subscript) and _is_store(s.node)}
    parents = {id(site.node): site.place.parent for site in scene.sites if id(site.node) not in written}
    parents = {node: parent for node, parent in parents.items() if not _is_shape(parent)}
    names = [site.node for site in scene.sites if isinstance(site.node, ast.Name)]
    read = {name.id for name in names if isinstance(name.ctx, ast.Load) and id(name) in parents}
    bound = {name.id for name in ast.walk(scene.tree) if isinstance(name, ast.Name)}
    return frozenset((bound | scene.unread) - read)


def _is_store(node: ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Store)


def _is_shape(parent: ast.AST) -> bool:
    """Whether of a value only its shape is asked."""
    if isinstance(parent, ast.Attribute):
        return parent.attr in {"shape", "size", "ndim", "dtype"}
    return isinstance(parent, ast.Call) and text(parent.func) in _SHAPES


def _is_term(site: Site) -> bool:
    """Whether an expression could have been a difference: a factor, a term, what is called with or assigned."""
    parent, field, _ = site.place
    loaded = isinstance(getattr(site.node, "ctx", ast.Load()), ast.Load)
    placed = isinstance(parent, ast.BinOp | ast.UnaryOp) or field == "value"
    return loaded and placed and not isinstance(parent, ast.Subscript | ast.Attribute)


def entries(scene: Scene) -> Iterator[Proposal]:
    """Return what a dict leaves out: a gradient that nothing reads, under a key like those of the others."""
    for site in scene.sites:
        node = site.node
        if not isinstance(node, ast.Dict) or not node.keys:
            continue
        known = [
            (key.value, value.id)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(value, ast.Name)
        ]
        scope = scene.watched.scopes.get(site.statement.position, {})
        held = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        for name in sorted(scene.unread & scope.keys()) if known else ():
            for key in sorted(_keys(name, known) - held):
                new = ast.Dict([*node.keys, ast.Constant(key)], [*node.values, ast.Name(name, ast.Load())])
                yield _at(site, "C8", 9, new)


def _keys(name: str, known: list[tuple[str, str]]) -> set[str]:
    """Return the keys that a name may have where all ``known`` names have theirs by one rule."""
    rules = (
        (lambda n: {n}),
        (lambda n: {f"d{n}"}),
        (lambda n: {n.removeprefix("d").removeprefix("_")}),
        (lambda n: {n.upper()}),
        (lambda n: {n.capitalize()}),
        (lambda n: {n.removeprefix("grad_")}),
    )
    held = [rule for rule in rules if any(key in rule(n) for key, n in known)]
    kept = [rule for rule in held if sum(key in rule(n) for key, n in known) * 2 >= len(known)]
    return {key for rule in kept for key in rule(name)}


def replacements(scene: Scene) -> Iterator[Proposal]:
    """Take what nothing reads for a literal, or for ones: the difference that is the derivative of a square."""
    idle = _idle(scene)
    for site in scene.sites:
        node, operands = site.node, scene.operands(site.statement)
        whole = site.place.field == "value" and isinstance(site.place.parent, ast.Assign | ast.AnnAssign)
        yield from _buffers(site) if whole and is_cotangent(site.statement.target) else ()
        ones = isinstance(node, ast.Call) and text(node.func) in {"np.ones", "np.ones_like"}
        if not ones and not (whole and constant(node) is not None):
            continue
        for name in sorted(idle & operands.keys()):
            seen = operands[name]
            if not seen.is_float or not seen.is_array or is_cotangent(name):
                continue
            yield _at(site, "B6" if ones else "C3", 12, fill(name))
            axes = len(seen.shape or ())
            indices = _indices(site.statement.node, operands) if axes == 2 else []
            for pair in itertools.permutations(indices, 2):
                yield _at(site, "B6", 14, fill(f"{name}[{', '.join(pair)}]"))


def _buffers(site: Site) -> Iterator[Proposal]:
    """Begin a sum with zeros for ones."""
    node = site.node.operand if isinstance(site.node, ast.UnaryOp) else site.node
    if isinstance(node, ast.Call) and text(node.func) in {"np.ones", "np.ones_like"}:
        zeros = fill(text(node.func).replace("ones", "zeros"))
        yield _at(site, "E2", 13, ast.Call(zeros, node.args, node.keywords))


def _indices(node: ast.stmt, operands: dict[str, Seen]) -> list[str]:
    """Return the names that a statement counts with."""
    found = [n for part in ast.walk(node) if isinstance(part, ast.Subscript) for n in sorted(names_in(part.slice))]
    return [n for n in dict.fromkeys(found) if n in operands and operands[n].kind in {"i", "u"}][:3]


def turns(scene: Scene) -> Iterator[Proposal]:
    """Read what a loop or a comprehension goes over where it is never read, but one element is, or none."""
    for site in scene.sites:
        node = site.node
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp) and len(node.generators) == 1:
            elt, field = (node.value, "value") if isinstance(node, ast.DictComp) else (node.elt, "elt")
            for name in sorted(names_in(node.generators[0].target) & scene.unread):
                over = names_in(node.generators[0].iter)
                yield from _in_turn(site.statement, elt, Place(node, field, None), name, over)
    for each in scene.statements:
        for loop in each.loops:
            for name in sorted(names_in(loop.target) & scene.unread):
                value = getattr(each.node, "value", None)
                if isinstance(value, ast.expr):
                    yield from _in_turn(each, value, Place(each.node, "value", None), name, names_in(loop.iter))


def _in_turn(each: Statement, value: ast.expr, place: Place, name: str, over: frozenset[str]) -> Iterator[Proposal]:
    read = [part for part in ast.walk(value) if isinstance(part, ast.Subscript) and names_in(part.value) & over]
    for part in {text(part): part for part in read}.values():
        yield Proposal("B6", 10, each, ((place, with_each(value, text(part), fill(name))),))
        yield Proposal("B6", 11, each, ((place, with_each(value, text(part.slice), fill(name))),))
    strength = any(is_regulariser(path) for path in names_in(value))
    yield Proposal("D1" if strength else "C1", 12, each, ((place, fill(f"v * {name}", v=value)),))


def _at(site: Site, mistake: str, rank: int, new: ast.expr) -> Proposal:
    return Proposal(mistake, rank, site.statement, ((site.place, new),))
