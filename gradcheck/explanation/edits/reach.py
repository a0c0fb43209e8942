"""Which functions of the user's own a callable leads to, and a callable that has another one in its place. Level 1.

A function refers to others by its globals, its cells and its defaults, an object by its methods and its
attributes, a module by its names; a partial, a bound method and a container hold them. A function is
replaced by copies of everything on the way to it: nothing of the user's is changed. Functions of
others, such as the adapters of gradcheck, are looked through but not edited.
"""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.explanation.edits.source import CACHED, Globals

__all__ = ["Names", "is_own", "may_lead", "reached", "replaced", "spoken"]

DEPTH, FUNCTIONS, ELEMENTS = 4, 20, 64
Names = frozenset[str]
Parts = dict[tuple[str, Any], Any]


def reached(roots: Any, *, calls: int = DEPTH) -> list[types.FunctionType]:
    """Return the user's own functions that ``roots`` lead to over at most ``calls`` calls, the nearest first."""
    return [function for function in _met(roots, calls) if is_own(function)][:FUNCTIONS]


def _met(roots: Any, calls: int) -> list[types.FunctionType]:
    """Return all functions that ``roots`` lead to, the wrappers of others among them, the nearest first."""
    found: dict[int, types.FunctionType] = {}
    seen: set[tuple[int, Names]] = set()
    layer: list[tuple[Any, Names]] = [(roots, frozenset())]
    kept: list[Any] = []  # what getattr makes on the way must outlive its id
    for _ in range(calls + 1):
        functions: list[types.FunctionType] = []
        while layer:
            thing, names = layer.pop(0)
            if (id(thing), names) in seen:
                continue
            seen.add((id(thing), names))
            kept.append(thing)
            if isinstance(thing, types.FunctionType):
                functions.append(thing)
                found.setdefault(id(thing), thing)
                if not is_own(thing):  # a wrapper is no call
                    layer += [(part, names | _names_in(thing.__code__)) for part in _parts(thing, names).values()]
            else:
                layer += [(part, names) for part in _parts(thing, names).values()]
        # What a method or a nested container holds is found under the names that all functions so far speak.
        said = frozenset[str]().union(*(_names_in(function.__code__) for function in functions))
        own = filter(is_own, functions)
        layer = [*((part, said) for function in own for part in _parts(function, said).values()), (roots, said)]
    return list(found.values())


def replaced(root: Any, old: types.FunctionType, new: types.FunctionType, names: Names | None = None) -> Any:
    """Return ``root`` with ``new`` wherever it leads to ``old``: a copy, or ``root`` itself if it does not.

    ``names`` are those that ``spoken(root)`` returned before, for a root like this one.
    """
    if root is old:
        return new
    return _Replacement(old, new, spoken(root) if names is None else names).of(root)


def is_own(function: types.FunctionType) -> bool:
    """Whether a function is the user's: not Python's, not an installed package's, and not gradcheck's."""
    package = (getattr(function, "__module__", None) or "").partition(".")[0]
    return not (_is_library(package) or _is_installed(function.__code__.co_filename))


@functools.lru_cache(maxsize=1024)
def _is_library(package: str) -> bool:
    return package in {"gradcheck", "numpy"} or (package in sys.stdlib_module_names and package != "__main__")


@functools.lru_cache(maxsize=1024)
def _is_installed(file: str) -> bool:
    return bool({"site-packages", "dist-packages"} & set(Path(file).parts))


@functools.lru_cache(maxsize=1024)
def _names_in(code: types.CodeType) -> Names:
    """Return the globals, attributes and string keys that a code and those in it name."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return frozenset(code.co_names).union(*map(_names_in, inner))


def spoken(root: Any) -> Names:
    """Return all names spoken by the functions that ``root`` leads to, those of wrappers too."""
    return frozenset[str]().union(*(_names_in(function.__code__) for function in _met(root, DEPTH)))


def _parts(thing: Any, names: Names) -> Parts:
    """Return what a thing refers to, each under the key by which a copy takes another in its place."""
    if isinstance(thing, types.FunctionType):
        return dict(_parts_of_function(thing))
    if isinstance(thing, types.MethodType):
        return {("method", "function"): thing.__func__, ("method", "self"): thing.__self__}
    if isinstance(thing, functools.partial):
        return {("partial", name): getattr(thing, name) for name in ("func", "args", "keywords")}
    if isinstance(thing, CACHED):
        return {("cached", "function"): thing.__wrapped__}
    if isinstance(thing, tuple | list) and len(thing) <= ELEMENTS:
        return {("element", i): part for i, part in enumerate(thing) if may_lead(part)}
    if isinstance(thing, dict) and len(thing) <= ELEMENTS:
        return {("entry", key): part for key, part in thing.items() if may_lead(part)}
    if isinstance(thing, types.ModuleType):
        return {("member", n): vars(thing)[n] for n in sorted(names & vars(thing).keys()) if may_lead(vars(thing)[n])}
    if isinstance(thing, type) or may_lead(thing):
        return dict(_parts_of_object(thing, names))
    return {}


def may_lead(thing: Any) -> bool:
    """Whether a thing can lead to a function of the user's: not an array, a number or NumPy itself."""
    kind = type(thing)
    if isinstance(thing, types.ModuleType):
        return not _foreign(thing.__name__)
    if isinstance(thing, type):
        return not _foreign(thing.__module__)
    if kind.__module__ in {"builtins", "types", "functools"}:
        return isinstance(
            thing, types.FunctionType | types.MethodType | functools.partial | tuple | list | dict | CACHED
        )
    return not isinstance(thing, np.ndarray | np.generic | np.random.Generator) and (
        kind.__module__.startswith("gradcheck.") or not _foreign(kind.__module__)
    )


def _foreign(module: str) -> bool:
    package = module.partition(".")[0]
    path = getattr(sys.modules.get(package), "__file__", None) or ""
    return (
        package in (sys.stdlib_module_names - {"__main__"}) | {"gradcheck", "numpy"}
        or "site-packages" in path
        or "dist-packages" in path
    )


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[tuple[str, Any], Any]]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            content = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if may_lead(content):
            yield ("cell", name), content
    if function.__defaults__ and may_lead(function.__defaults__):
        yield ("defaults", ""), function.__defaults__
    if function.__kwdefaults__:
        yield ("kwdefaults", ""), function.__kwdefaults__
    if is_own(function):
        for name in sorted(_names_in(function.__code__) & function.__globals__.keys()):
            if may_lead(function.__globals__[name]) and not isinstance(function.__globals__[name], dict):
                yield ("global", name), function.__globals__[name]


def _parts_of_object(thing: Any, names: Names) -> Iterator[tuple[tuple[str, Any], Any]]:
    lookup = thing.__mro__ if isinstance(thing, type) else type(thing).__mro__
    for name in sorted(names | {"__call__"}):
        held = next((vars(kind)[name] for kind in lookup if name in vars(kind)), None)
        function = held.__func__ if isinstance(held, staticmethod | classmethod) else held
        if isinstance(function, types.FunctionType):
            yield ("static" if isinstance(held, staticmethod) else "bound", name), function
    if not isinstance(thing, type):
        for name, value in sorted(getattr(thing, "__dict__", {}).items()):
            if may_lead(value):
                yield ("attribute", name), value


class _Replacement:
    """One replacement under way. Things reached twice are copied once."""

    def __init__(self, old: types.FunctionType, new: types.FunctionType, names: Names) -> None:
        self.old, self.new, self.names = old, new, names
        self.copies: dict[int, Any] = {}
        self.kept: list[Any] = []

    def of(self, thing: Any) -> Any:
        if thing is self.old:
            return self.new
        if id(thing) not in self.copies:
            self.kept.append(thing)
            self.copies[id(thing)] = thing  # for what refers to itself
            parts = _parts(thing, self.names)
            others = {key: self.of(part) for key, part in parts.items()}
            changed = {key: other for key, other in others.items() if other is not parts[key]}
            if changed:
                self.copies[id(thing)] = _with(thing, changed)
        return self.copies[id(thing)]


def _with(thing: Any, parts: Parts) -> Any:
    """Return a copy of ``thing`` with other ``parts``."""
    given = {name: part for (_, name), part in parts.items()}
    if isinstance(thing, types.FunctionType):
        return _function_with(thing, parts)
    if isinstance(thing, types.MethodType):
        return types.MethodType(given.get("function", thing.__func__), given.get("self", thing.__self__))
    if isinstance(thing, functools.partial):
        keywords = given.get("keywords", thing.keywords)
        return functools.partial(given.get("func", thing.func), *given.get("args", thing.args), **keywords)
    if isinstance(thing, CACHED):
        return given["function"]
    if isinstance(thing, tuple | list):
        elements = [given.get(i, part) for i, part in enumerate(thing)]
        if isinstance(thing, tuple) and hasattr(thing, "_fields"):
            return type(thing)(*elements)
        return type(thing)(elements)
    if isinstance(thing, dict):
        made = copy.copy(thing)
        made.update(given)
        return made
    if isinstance(thing, types.ModuleType):
        module = types.ModuleType(thing.__name__)
        vars(module).update(vars(thing) | given)
        return module
    return _object_with(thing, parts)


def _function_with(function: types.FunctionType, parts: Parts) -> types.FunctionType:
    own = {name: part for (kind, name), part in parts.items() if kind == "global"}
    cells = [
        types.CellType(parts[("cell", name)]) if ("cell", name) in parts else cell
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    ]
    made = types.FunctionType(
        function.__code__,
        Globals(function.__globals__, own) if own else function.__globals__,
        function.__name__,
        parts.get(("defaults", ""), function.__defaults__),
        tuple(cells),
    )
    made.__kwdefaults__ = parts.get(("kwdefaults", ""), function.__kwdefaults__)
    made.__qualname__, made.__module__ = function.__qualname__, function.__module__
    made.__dict__.update(function.__dict__)
    return made


def _object_with(thing: Any, parts: Parts) -> Any:
    if isinstance(thing, type):
        methods = {n: staticmethod(p) if kind == "static" else p for (kind, n), p in parts.items()}
        held = {n: next(vars(kind)[n] for kind in thing.__mro__ if n in vars(kind)) for n in methods}
        methods = {n: classmethod(p) if isinstance(held[n], classmethod) else p for n, p in methods.items()}
        return type(thing)(thing.__name__, (thing,), {"__module__": thing.__module__, **methods})
    made = copy.copy(thing)
    wrappers: dict[str, Callable[..., Any]] = {}
    for (kind, name), part in parts.items():
        if kind == "attribute":
            made.__dict__[name] = part
        elif name == "__call__":  # looked up on the class
            wrappers[name] = part
        else:
            made.__dict__[name] = part if kind == "static" else types.MethodType(part, made)
    if wrappers:
        made.__class__ = type(type(thing).__name__, (type(thing),), wrappers)
    return made
