"""A function laid out for editing: its expressions with their places, its statements, what is in scope. Level 1."""

from __future__ import annotations

import ast
import functools
import itertools
import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from gradcheck.explanation.edits.nodes import constant, fill, headline, is_held, names_in, reduction, text
from gradcheck.explanation.edits.purity import calls_nothing
from gradcheck.explanation.edits.source import Source
from gradcheck.explanation.edits.watch import UNKNOWN, Seen, Watched

__all__ = [
    "Place",
    "Proposal",
    "Scene",
    "Site",
    "Statement",
    "is_cotangent",
    "is_over_time",
    "is_regulariser",
    "is_time",
    "parsed",
]

_COTANGENT = re.compile(
    r"^_?(d[A-Za-z_]|grad|delta|upstream|g$|g_|gy$|(?-i:g[A-Z])|gout|err)|_grad$|_bar$|grad$", re.IGNORECASE
)
_WORD = re.compile(  # begins with a d, and is no gradient
    r"_?d(ata|ecay|eg(ree)?s?|en(om\w*)?|epth|eriv\w*|et|iag|iff|ilation|ims?|ist|iv|ot|rop\w*|st|type)\d*$",
    re.IGNORECASE,
)
_REGULARISER = re.compile(
    r"^(reg|lam|lamb|lambd|lambda_?|l2|wd|weight_decay|decay|regularization|reg_.*|lmbda|λ)$", re.IGNORECASE
)


_AT = {"np.add.at", "np.subtract.at"}


@functools.lru_cache(maxsize=4096)
def is_cotangent(name: str) -> bool:
    """Whether a name is one that people give to gradients; what follows the last dot or stands in quotes decides."""
    return bool(_COTANGENT.search(_last(name))) and not _WORD.match(_last(name))


def is_regulariser(name: str) -> bool:
    """Whether a name is one that people give to the strength of a regulariser."""
    return bool(_REGULARISER.match(_last(name)))


def is_time(name: str) -> bool:
    """Whether a loop variable is one that people give to time steps."""
    return name in {"t", "tt", "step", "time", "ts"}


def is_over_time(loop: ast.For) -> bool:
    """Whether a loop is one over time steps: by its variable, or as each turn hands a value to the next."""
    if any(is_time(name) for name in names_in(loop.target)):
        return True
    read: set[str] = set()
    for node in loop.body:
        if isinstance(node, ast.Assign):
            read |= names_in(node.value)
            if _assigned(node) & read - names_in(node.value):
                return True
        elif isinstance(node, ast.AugAssign):
            read |= names_in(node.value)
    return False


@functools.lru_cache(maxsize=4096)
def _last(name: str) -> str:
    quoted = re.findall(r"'([^']*)'", name)
    return str(quoted[-1]) if quoted else re.sub(r"\[.*", "", name).rpartition(".")[2]


class Place(NamedTuple):
    """Where a node hangs: a field of its parent, or an element of a list there."""

    parent: ast.AST
    field: str
    slot: int | None


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement, the loops around it (the outermost first) and its position in the walk of the tree."""

    node: ast.stmt
    place: Place
    loops: tuple[ast.For, ...]
    position: int

    @cached_property
    def headline(self) -> str:
        """It in one line, as it is in the file."""
        return headline(self.node)

    @cached_property
    def unpacks(self) -> bool:
        """Whether it only gives names to what the cache holds: ``x, W = cache``, ``x = cache["x"]``."""
        value = self.node.value if isinstance(self.node, ast.Assign) else None
        parts = value.elts if isinstance(value, ast.Tuple) else [value]
        named = isinstance(self.node, ast.Assign) and isinstance(self.node.targets[0], ast.Name | ast.Tuple)
        return named and not self.loops and all(map(is_held, parts))

    @property
    def time(self) -> bool:
        """Whether it stands in a loop over time steps."""
        return any(is_over_time(loop) for loop in self.loops)

    @property
    def target(self) -> str:
        """What it assigns to, "" for nothing."""
        if isinstance(self.node, ast.Assign) and len(self.node.targets) == 1:
            return text(self.node.targets[0])
        return text(self.node.target) if isinstance(self.node, ast.AugAssign | ast.AnnAssign | ast.For) else ""


class Site(NamedTuple):
    """An expression, where it hangs and the statement that it is part of."""

    node: ast.expr
    place: Place
    statement: Statement


class Proposal(NamedTuple):
    """A change that would undo a mistake: what to hang where. A lower rank is more plausible.

    ``others`` are the statements besides ``statement`` that the same mistake stands in.
    """

    mistake: str
    rank: int
    statement: Statement
    changes: tuple[tuple[Place, Any], ...]
    others: tuple[Statement, ...] = ()


class Scene:
    """The function of ``source``, with what was ``watched`` of it."""

    def __init__(self, source: Source, watched: Watched) -> None:
        self.source, self.watched = source, watched
        self.tree = source.tree
        self.statements: list[Statement] = []
        self.sites: list[Site] = []
        self._positions = {id(node): i for i, node in enumerate(ast.walk(self.tree))}
        for node in ast.walk(self.tree):
            vars(node)["original"] = True
        self._operands: dict[int, dict[str, Seen]] = {}
        for index, node in enumerate(self.tree.body):
            self._read(node, Place(self.tree, "body", index), ())
        arguments = self.tree.args
        self.parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]

    def _read(self, node: ast.stmt, place: Place, loops: tuple[ast.For, ...]) -> None:
        frozen = isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal)
        statement = Statement(node, place, loops, self._positions[id(node)])
        if not frozen:
            self.statements.append(statement)
            for field, value in ast.iter_fields(node):
                if field in {"body", "orelse", "finalbody", "handlers", "args", "returns", "test", "items"}:
                    continue
                self._read_expressions(node, field, value, statement)
        within = (*loops, node) if isinstance(node, ast.For) else loops
        for field in ("body", "orelse", "finalbody"):
            for index, child in enumerate(getattr(node, field, None) or ()):
                if isinstance(child, ast.stmt):
                    self._read(child, Place(node, field, index), within)

    def _read_expressions(self, parent: ast.AST, field: str, value: Any, statement: Statement) -> None:
        for index, node in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(node, ast.arguments) or not isinstance(node, ast.AST):
                continue
            if isinstance(node, ast.expr):
                self.sites.append(Site(node, Place(parent, field, index), statement))
            if isinstance(node, ast.keyword) and node.arg == "out":
                continue  # what is written to is not read
            for name, child in ast.iter_fields(node):
                self._read_expressions(node, name, child, statement)

    def seen(self, node: ast.AST) -> Seen:
        """Return what an expression of the original tree looked like."""
        return self.watched.expressions.get(self._positions.get(id(node), -1), UNKNOWN)

    @property
    def blind(self) -> bool:
        """Whether nothing was seen, so that shapes cannot forbid anything."""
        return not self.watched.expressions

    @cached_property
    def closed(self) -> tuple[tuple[ast.AST, str], ...]:
        """The branches that were not taken and could do more than compute, each as the field of a node."""
        found: list[tuple[ast.AST, str]] = []
        for node in ast.walk(self.tree) if not self.blind else ():
            fields = ("body", "orelse") if isinstance(node, ast.If | ast.IfExp) else ()
            for field in ("body",) if isinstance(node, ast.ExceptHandler) else fields:
                held = getattr(node, field)
                first = held if not isinstance(held, list) else held[0] if held else None
                if first is None or (isinstance(held, list) and self._positions[id(first)] in self.watched.scopes):
                    continue
                expression = isinstance(first, ast.expr)
                if not (expression and self.seen(first) is not UNKNOWN) and not _computes(held):
                    found.append((node, field))
        return tuple(found)

    def shapes_differ(self, left: Seen, right: Seen) -> bool:
        """Whether two things are known to be of different shapes."""
        return left.shape is not None and right.shape is not None and left.shape != right.shape

    def operands(self, statement: Statement) -> dict[str, Seen]:
        """Return the arrays and numbers that can be read before ``statement``, by their text."""
        if statement.position not in self._operands:
            scope = dict(self.watched.scopes.get(statement.position, {}))
            if not scope and self.blind:
                scope = dict.fromkeys((*self.parameters, *self._assigned_before(statement)), UNKNOWN)
            indexed = {text(site.node).partition("[")[0] for site in self._readable}
            # An element of a tuple that was unpacked has a name of its own.
            scope = {
                path: seen
                for path, seen in scope.items()
                if not re.match(r"\w+\[\d+\]", path) or path.partition("[")[0] in indexed
            }
            for site in self._readable:
                if names_in(site.node) - self._modules <= scope.keys():
                    scope = self._elements(site, scope) | scope
            self._operands[statement.position] = {
                path: seen for path, seen in scope.items() if seen.shape is not None or self.blind
            }
        return self._operands[statement.position]

    def _elements(self, site: Site, scope: dict[str, Seen]) -> dict[str, Seen]:
        """Return what is read at ``site``, the same one step later, and the same element of arrays of that shape."""
        node, seen = site.node, self.seen(site.node)
        found = {text(node): seen}
        if not isinstance(node, ast.Subscript) or seen.shape is None:
            return found
        if not isinstance(node.value, ast.Name | ast.Attribute | ast.Subscript):
            return found
        base = text(node.value)
        index = text(node)[len(base) + 1 : -1]
        whole = self.seen(node.value)
        for shift in (" - 1", " + 1"):
            if shift in index:
                found[f"{base}[{index.replace(shift, '')}]"] = replace(seen, facts=frozenset())
        if whole.is_array:
            likes = (path for path, other in scope.items() if path.isidentifier() and other.shape == whole.shape)
            for path, here in itertools.product(likes, (index, index.replace(" - 1", ""))):
                found[f"{path}[{here}]"] = replace(scope[path], shape=seen.shape)
        return found

    nothing = UNKNOWN

    @cached_property
    def stored(self) -> frozenset[str]:
        """The names that are bound in the function, parameters aside."""
        names = (part for part in ast.walk(self.tree) if isinstance(part, ast.Name))
        return frozenset(name.id for name in names if isinstance(name.ctx, ast.Store))

    @cached_property
    def unread(self) -> frozenset[str]:
        """The names that are bound and never read: what they hold was wanted for something."""
        names = [part for part in ast.walk(self.tree) if isinstance(part, ast.Name)]
        read = {name.id for name in names if isinstance(name.ctx, ast.Load)}
        return frozenset({*(name.id for name in names), *self.parameters} - read - {"_"})

    @cached_property
    def _modules(self) -> set[str]:
        return {"np", "numpy", "jnp"}

    @cached_property
    def _readable(self) -> list[Site]:
        """The places where an element or an attribute is read that could be read elsewhere too."""
        found: dict[str, Site] = {}
        for site in self.sites:
            if isinstance(site.node, ast.Subscript | ast.Attribute) and isinstance(site.node.ctx, ast.Load):
                seen = self.seen(site.node)
                called = any(
                    isinstance(n, ast.Call) or (isinstance(n, ast.Slice) and (n.lower or n.upper))
                    for n in ast.walk(site.node)
                )
                if (seen.is_array or self.blind or seen.kind == "i") and not called and ".T" not in text(site.node):
                    found.setdefault(text(site.node), site)
        return list(found.values())

    def _assigned_before(self, statement: Statement) -> list[str]:
        return [n for s in self.statements if s.node.lineno < statement.node.lineno for n in sorted(_assigned(s.node))]

    @cached_property
    def values(self) -> list[Site]:
        """The places where a gradient is made: what is assigned, added or returned, if it can be a float array."""
        return [site for site in self.sites if self._is_value(site)]

    @cached_property
    def parts(self) -> list[Site]:
        """The terms of sums and the operands of reductions inside a value: where a factor may be missing too."""
        inside = {id(part) for value in self.values for part in ast.walk(value.node) if part is not value.node}
        found = []
        for site in self.sites:
            parent = site.place.parent
            term = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add | ast.Sub)
            method = self._parents.get(id(parent)) if isinstance(parent, ast.Attribute) else parent
            summed = method is not None and (reduction(method) or (None, None))[1] is site.node
            chosen = isinstance(parent, ast.Call) and text(parent.func) == "np.where" and site.place.slot in {1, 2}
            if id(site.node) in inside and (term or summed or chosen) and constant(site.node) is None:
                seen = self.seen(site.node)
                if seen.is_float and (term or chosen or seen.is_array):
                    found.append(site)
        return found

    @cached_property
    def _parents(self) -> dict[int, ast.AST]:
        """What each expression hangs in, by its identity."""
        return {id(site.node): site.place.parent for site in self.sites}

    def _is_value(self, site: Site) -> bool:
        parent, field, _ = site.place
        seen = self.seen(site.node)
        fits = seen.is_float if seen.kind else self.blind
        whole = isinstance(parent, ast.Assign | ast.AugAssign | ast.Return | ast.AnnAssign) and field == "value"
        listed = isinstance(parent, ast.Tuple | ast.List | ast.Dict) and field in {"elts", "values"}
        made = isinstance(parent, ast.ListComp | ast.GeneratorExp | ast.DictComp) and field in {"elt", "value"}
        named = isinstance(parent, ast.keyword) and parent.arg is not None and is_cotangent(parent.arg)
        added = isinstance(parent, ast.Call) and text(parent.func) in _AT and (field, site.place.slot) == ("args", 2)
        placed = whole or listed or named or made or added
        if isinstance(site.node, ast.Tuple | ast.List | ast.Dict) or not placed or not fits:
            return False
        if isinstance(parent, ast.Tuple | ast.List) and not isinstance(parent.ctx, ast.Load):
            return False
        return not _is_empty(site.node)

    def sizes(self, statement: Statement) -> dict[str, int]:
        """Return the sizes that a factor could be, by the plainest expression of each."""
        found: dict[str, int] = {}
        held = set()
        operands = self.operands(statement)
        for path, seen in sorted(operands.items(), key=lambda item: (not item[0].isidentifier(), len(item[0]))):
            if seen.kind == "i" and seen.shape == () and seen.value is not None and 1 < seen.value < 1e6:
                changing = {name for loop in statement.loops for name in names_in(loop.target)}
                if seen.value not in held and path not in changing:
                    found[path] = int(seen.value)
                    held.add(seen.value)
            elif self.blind and ((path.isupper() and len(path) == 1) or path in {"m", "n", "batch_size", "num_train"}):
                found[path] = 0
        for path, seen in sorted(operands.items(), key=lambda item: (self._order(item[0]), len(item[0]))):
            if seen.is_array and path.isidentifier():
                for axis, size in enumerate(seen.shape or ()):
                    if size > 1 and size not in held:
                        found[f"{path}.shape[{axis}]"] = size
                        held.add(size)
        iterated = {name for loop in statement.loops for name in names_in(loop.target) | names_in(loop.iter)}
        scope = self.watched.scopes.get(statement.position, {})
        for path in sorted(iterated & scope.keys()):
            if scope[path].kind in {"list", "tuple"}:
                found[f"len({path})"] = 0
        for path, seen in operands.items():
            entries = math.prod(seen.shape or ())
            if path.isidentifier() and seen.is_float and entries not in held and len(seen.shape or ()) > 1:
                found[f"{path}.size"] = entries
                held.add(entries)
        if self.blind and self.parameters:
            found[f"{self.parameters[0]}.shape[0]"] = 0
        return found

    def _order(self, name: str) -> int:
        return self.parameters.index(name) if name in self.parameters else len(self.parameters)


def _computes(held: Any) -> bool:
    return all(map(calls_nothing, held if isinstance(held, list) else [held]))


def _assigned(node: ast.stmt) -> set[str]:
    """Return the names that a simple statement or the head of a loop binds."""
    if isinstance(node, ast.If | ast.While | ast.With | ast.Try | ast.FunctionDef):
        return set()
    targets: list[ast.expr] = list(node.targets) if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For):
        targets.append(node.target)
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _is_empty(node: ast.expr) -> bool:
    """Whether an expression makes a buffer, or is a literal: nothing that a factor could change."""
    if constant(node) is not None:
        return True
    name = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
    return name in {"zeros", "zeros_like", "empty", "empty_like", "pad", "arange"}


def parsed(path: str) -> ast.expr:
    """Return the expression that an operand's text stands for."""
    return fill(path)  # type: ignore[no-any-return]
