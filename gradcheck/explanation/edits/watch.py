"""One run of a function in which every expression and every local name shows what it holds. Level 1."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import types
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck.explanation.edits.nodes import cloned
from gradcheck.explanation.edits.source import Source

__all__ = ["UNKNOWN", "Seen", "Watched", "watch"]

LARGE = 100_000  # entries of an array that are looked at
SMALL = 2000  # entries: what was seen of so small an array is kept
ROWS = 200  # along the first axis of an array of which they are kept
SEE, BEFORE = "__gradcheck_see__", "__gradcheck_before__"


@dataclass(frozen=True)
class Seen:
    """What a value looked like when first seen. ``shape`` is None if it was no array or was never seen.

    Attributes:
        shape: The shape of an array, () for a number.
        kind: The letter of the NumPy dtype; for other values the name of the type; "" if never seen.
        itemsize: Bytes an entry.
        value: A number's value.
        low: The smallest entry.
        high: The largest entry.
        facts: Of "zeros" (some entry is 0), "binary" (two values, one of them 0), "simplex" (rows sum to
            1), "columns" or "rows" (standardised along the first or the last axis), "rms" or "unit" (squares
            along the last axis have the mean or the sum 1).
        rows: What a small array of floats holds along its first axis, by which one array is known for another that
            begins some rows later.
    """

    shape: tuple[int, ...] | None = None
    kind: str = ""
    itemsize: int = 8
    value: float | None = None
    low: float = -np.inf
    high: float = np.inf
    facts: frozenset[str] = frozenset()
    rows: tuple[int, ...] = ()

    @property
    def is_array(self) -> bool:
        """Whether it is an array of at least one axis."""
        return self.shape is not None and len(self.shape) > 0

    @property
    def is_float(self) -> bool:
        """Whether it is a float, or an array of them."""
        return self.kind == "f"


UNKNOWN = Seen()


@dataclass
class Watched:
    """What was seen: expressions by their position in the walk of the tree, names before statements, statements run."""

    expressions: dict[int, Seen] = field(default_factory=dict)
    scopes: dict[int, dict[str, Seen]] = field(default_factory=dict)
    steps: int = 0


def watch(source: Source, run: Callable[[types.FunctionType], object]) -> Watched:
    """Return what was seen in ``run(f)``, where ``f`` is the function of ``source`` and shows what it does.

    The run may raise: what was seen until then stands.
    """
    watched = Watched()
    look = functools.partial(_look, known={})

    def see(place: int, value: Any) -> Any:
        if place not in watched.expressions:
            watched.expressions[place] = look(value)
        return value

    def before(place: int, names: dict[str, Any]) -> None:
        watched.steps += 1
        scope = watched.scopes.setdefault(place, {})
        for name, value in names.items():
            if name not in scope:
                scope[name] = look(value)
                scope |= _inside(name, value, look)

    tree = cloned(source.tree)
    places = {id(node): place for place, node in enumerate(ast.walk(tree))}
    tree = _Shown(places).visit(tree)
    ast.fix_missing_locations(tree)
    shown = dataclasses.replace(source, tree=tree).compiled({SEE: see, BEFORE: before})
    with contextlib.suppress(Exception), np.errstate(all="ignore"):
        run(shown)
    return watched


class _Shown(ast.NodeTransformer):
    """Let expressions pass through ``see`` and put ``before`` in front of each statement."""

    def __init__(self, places: dict[int, int]) -> None:
        self.places = places

    def visit(self, node: ast.AST) -> Any:
        place = self.places.get(id(node))
        if isinstance(node, ast.JoinedStr | ast.arguments):
            return node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node.func.value = self.visit(node.func.value)
            node.args = [self.visit(arg) for arg in node.args]
            for keyword in node.keywords:
                keyword.value = self.visit(keyword.value)
            return self._seen(node, place)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            node.args = [self.visit(arg) for arg in node.args]
            for keyword in node.keywords:
                keyword.value = self.visit(keyword.value)
            return self._seen(node, place)
        self.generic_visit(node)
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Nonlocal | ast.Global):
            call = ast.Call(ast.Name("locals", ast.Load()), [], [])
            shown = ast.Call(ast.Name(BEFORE, ast.Load()), [ast.Constant(place), call], [])
            return [ast.Expr(shown), node] if not isinstance(node, ast.FunctionDef) or place else node
        plain = isinstance(node, ast.expr) and not isinstance(node, ast.Slice | ast.Tuple | ast.Starred | ast.Constant)
        loaded = isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
        return self._seen(node, place) if plain and loaded else node

    @staticmethod
    def _seen(node: Any, place: int | None) -> ast.expr:
        return ast.Call(ast.Name(SEE, ast.Load()), [ast.Constant(place), node], [])


def _inside(name: str, value: Any, look: Callable[[Any], Seen]) -> dict[str, Seen]:
    """Return what lies in a dict, a short sequence or an object: ``cache['h']``, ``hs[0]``, ``self.x``."""
    if isinstance(value, dict):
        held = {f"{name}[{key!r}]": part for key, part in value.items() if isinstance(key, str | int)}
    elif isinstance(value, tuple | list) and len(value) <= 16:
        held = {f"{name}[{i}]": part for i, part in enumerate(value)}
    elif hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType | types.FunctionType):
        held = {f"{name}.{key}": part for key, part in vars(value).items()}
    else:
        held = {}
    found = {path: look(part) for path, part in list(held.items())[:64]}
    for path, part in held.items():
        if isinstance(part, dict) and len(part) <= 16:
            found |= {f"{path}[{k!r}]": look(v) for k, v in part.items() if isinstance(k, str | int)}
    return found


def _look(value: Any, known: dict[tuple[object, ...], Seen]) -> Seen:
    """Look at a value; at an array that is ``known``, met at one statement after the other, once."""
    if isinstance(value, bool | np.bool_):
        return Seen((), "b", 1, bool(value))
    if isinstance(value, int | float | np.integer | np.floating):
        kind = "f" if isinstance(value, float | np.floating) else "i"
        return Seen((), kind, getattr(value, "itemsize", 8), float(value), float(value), float(value))
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        foreign = type(value).__module__.partition(".")[0] in {"jaxlib", "torch"}
        return Seen(tuple(value.shape), "f") if foreign else Seen(None, type(value).__name__)
    if value.size > SMALL:
        key = value.shape, value.dtype.str, zlib.crc32(np.ascontiguousarray(value).data)
        if key not in known:
            known[key] = _looked(value)
        return known[key]
    return _known(value.shape, value.dtype.str, value.tobytes())


@functools.lru_cache(maxsize=2048)
def _known(shape: tuple[int, ...], dtype: str, entries: bytes) -> Seen:
    """Look at a small array: the same one is met in one function after the other."""
    return _looked(np.frombuffer(entries, dtype).reshape(shape))


def _looked(value: np.ndarray) -> Seen:
    flat = value.ravel()[:LARGE]
    if not flat.size:
        return Seen(value.shape, value.dtype.kind, value.itemsize)
    with np.errstate(all="ignore"):
        return Seen(
            value.shape,
            value.dtype.kind,
            value.itemsize,
            float(flat[0]) if value.ndim == 0 else None,
            float(flat.min()),
            float(flat.max()),
            frozenset(_facts(value, flat)),
            _rows(value),
        )


def _rows(value: np.ndarray) -> tuple[int, ...]:
    if value.dtype.kind != "f" or value.ndim < 2 or value.size > SMALL or len(value) > ROWS:
        return ()
    return tuple(hash(row.tobytes()) for row in value)


def _facts(value: np.ndarray, flat: np.ndarray) -> list[str]:
    facts = []
    if np.any(flat == 0):
        facts.append("zeros")
        if np.all((flat == 0) | (flat == flat.max())) and flat.max() > 0:
            facts.append("binary")
    if value.dtype.kind != "f" or value.ndim == 0 or value.size > LARGE:
        return facts
    if value.shape[-1] > 1 and flat.min() >= 0 and _near(value.sum(axis=-1), 1, 1e-5):
        facts.append("simplex")
    if value.shape[-1] > 2:
        squares = (value**2).sum(axis=-1)
        facts += ["rms"] * _near(squares, value.shape[-1], 1e-3 * value.shape[-1])
        facts += ["unit"] * _near(squares, 1, 1e-6)
    if value.ndim > 1:
        for fact, axis in (("columns", 0), ("rows", -1)):
            centred = value.shape[axis] > 2 and _near(value.mean(axis=axis), 0, 1e-6)
            if centred and _near(value.var(axis=axis), 1, 0.1):
                facts.append(fact)
    return facts


def _near(numbers: np.ndarray, to: float, within: float) -> bool:
    return bool(np.max(np.abs(numbers - to)) <= within)
