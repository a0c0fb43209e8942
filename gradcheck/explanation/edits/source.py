"""The source of a function as a tree that can be changed, and compiled back into a function like it. Level 1."""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import copy
import functools
import linecache
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CACHED", "Endless", "Globals", "NoSource", "Source", "function_of", "source_of"]

CACHED = type(functools.lru_cache(abs))
TURN, STOP = "__gradcheck_turn__", "__gradcheck_stop__"
_FUTURE = functools.reduce(
    lambda flags, name: flags | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0
)


class NoSource(LookupError):
    """The source of a function cannot be had; the message says why."""


class Endless(RuntimeError):
    """An edited function did what the original does not: its loops went on, or it took a branch of its own."""


class Globals(dict[str, Any]):
    """The globals of a copied function: some of its own, all others read from the original's as they are now."""

    def __init__(self, original: dict[str, Any], own: dict[str, Any]) -> None:
        super().__init__(own, __builtins__=original.get("__builtins__", builtins))
        self.original = original

    def __missing__(self, name: str) -> Any:
        return self.original[name]


@dataclass(frozen=True)
class Source:
    """A function and its tree.

    A lambda is held as a function with one ``return``. ``tree`` has the file's line numbers. It may be
    changed: ``compiled`` compiles it as it is.
    """

    function: types.FunctionType
    tree: ast.FunctionDef
    file: str
    owner: str | None  # the class in whose body the function is written
    imported: tuple[str, ...] = ()  # what the file imports: the compiler calls methods of these in another way

    def ending(self, most: int, closed: Sequence[tuple[ast.AST, str]] = ()) -> types.FunctionType:
        """Return ``compiled()`` where ``Endless`` is raised once its loops have turned ``most`` times in all.

        It is raised too where the function enters one of the branches ``closed``, each the field of a node.
        """
        loops = list(_loops(self.tree.body))
        if not loops and not closed:
            return self.compiled()
        turns = 0

        def turn(begin: bool = False) -> None:
            nonlocal turns
            turns = 0 if begin else turns + 1
            if turns > most:
                raise Endless(f"{self.function.__qualname__} must end, but its loops turned {turns} times.")

        def stop() -> None:
            raise Endless(f"{self.function.__qualname__} must take the branches it took, but took another.")

        with contextlib.ExitStack() as undo:
            for parent, field in closed:
                held = getattr(parent, field)
                at = held[0] if isinstance(held, list) else held
                line = _line(STOP, at)
                setattr(parent, field, [line, *held] if isinstance(held, list) else line.value)
                undo.callback(setattr, parent, field, held)
            for body, given in ((self.tree.body, (True,)), *((loop.body, ()) for loop in loops)):
                body.insert(0, _line(TURN, body[0], *given))
                undo.callback(body.pop, 0)
            return self.compiled({TURN: turn, STOP: stop})

    def compiled(self, more_globals: dict[str, Any] | None = None) -> types.FunctionType:
        """Return a function of ``tree`` with the defaults, globals and the very cells of the original."""
        original = self.function
        code = _code_of(self.tree, original.__code__, self.owner, self.imported)
        cells = dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))
        made = types.FunctionType(
            code,
            original.__globals__ if more_globals is None else Globals(original.__globals__, more_globals),
            original.__name__,
            original.__defaults__,
            tuple(cells[name] for name in code.co_freevars),
        )
        made.__kwdefaults__ = original.__kwdefaults__
        made.__qualname__ = original.__qualname__
        made.__module__ = original.__module__
        made.__dict__.update(original.__dict__)
        return made


def _loops(body: Sequence[ast.AST]) -> Iterator[ast.For | ast.While]:
    """Yield the loops among statements, and in them; a walk of the whole tree would look at every expression."""
    for statement in body:
        if isinstance(statement, ast.For | ast.While):
            yield statement
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _loops(getattr(statement, field, ()))


def _line(function: str, at: ast.AST, *given: bool) -> ast.Expr:
    """Return a call of a function as a statement that stands where ``at`` does."""
    call = ast.Call(ast.Name(function, ast.Load()), [ast.Constant(value) for value in given], [])
    for node in (call, call.func, *call.args):
        ast.copy_location(node, at)
    return ast.copy_location(ast.Expr(call), at)


def function_of(callable_: Callable[..., Any]) -> types.FunctionType:
    """Return the plain function behind a method, a partial, a cached function or an object with ``__call__``.

    Raises:
        NoSource: There is none, as for what is written in C.
    """
    found: Any = callable_
    while not isinstance(found, types.FunctionType):
        if isinstance(found, types.MethodType):
            found = found.__func__
        elif isinstance(found, functools.partial):
            found = found.func
        elif isinstance(found, CACHED):
            found = found.__wrapped__
        elif isinstance(getattr(type(found), "__call__", None), types.FunctionType):  # noqa: B004 (the function itself is wanted)
            found = type(found).__call__
        else:
            raise NoSource(f"{callable_!r} must be a Python function to have a source, but is none.")
    return found


def source_of(callable_: Callable[..., Any]) -> Source:
    """Return the source of the plain function behind ``callable_``, with a tree of its own.

    Raises:
        NoSource: The function was made by exec, its file has changed since, it is one of several equal
            lambdas of a line, or it is not written in Python.
    """
    function = function_of(callable_)
    code = function.__code__
    linecache.checkcache(code.co_filename)
    # Of "<string>" Python 3.13 holds the program that was given by -c, which is another text.
    lines = [] if code.co_filename == "<string>" else linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise NoSource(
            f"{function.__qualname__} must come from a file or a cell, but {code.co_filename} holds no lines."
        )
    text = "".join(lines)
    try:
        candidates = [
            (copy.deepcopy(node), owner)
            for node, owner in _functions_of(text)
            if code.co_firstlineno == min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            and getattr(node, "name", "<lambda>") == code.co_name
        ]
    except SyntaxError:
        candidates = []
    imported = _imported_by(text) if candidates else ()
    found = [
        Source(function, tree, code.co_filename, owner, imported)
        for node, owner in candidates
        if _is_source(tree := _as_function(node), node, code, (owner, imported))
    ]
    if len(found) != 1:
        came = "has changed since" if not found else "holds several that are alike"
        raise NoSource(
            f"{function.__qualname__} must be found once at line {code.co_firstlineno}, but {code.co_filename} {came}."
        )
    return found[0]


@functools.lru_cache(maxsize=32)
def _functions_of(text: str) -> tuple[tuple[ast.FunctionDef | ast.Lambda, str | None], ...]:
    """Return every function of a file with the class that it is written in."""
    return tuple(_walk(ast.parse(text), None))


@functools.lru_cache(maxsize=32)
def _imported_by(text: str) -> tuple[str, ...]:
    """Return the names that a file imports outside its functions."""
    found = set()
    queue: list[ast.AST] = [ast.parse(text)]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            queue += ast.iter_child_nodes(node)
    return tuple(sorted(found - {"*"}))


def _walk(node: ast.AST, owner: str | None) -> Iterator[tuple[ast.FunctionDef | ast.Lambda, str | None]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            yield child, owner
        # A function inside a method still mangles names by the class.
        yield from _walk(child, child.name if isinstance(child, ast.ClassDef) else owner)


def _as_function(node: ast.FunctionDef | ast.Lambda) -> ast.FunctionDef:
    """Return ``node`` as a bare function: without decorators, defaults and annotations, which are not run again."""
    body: list[ast.stmt] = (
        node.body if isinstance(node, ast.FunctionDef) else [ast.copy_location(ast.Return(node.body), node.body)]
    )
    args = node.args
    args.defaults, args.kw_defaults = [], [None] * len(args.kwonlyargs)
    for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
        if arg is not None:
            arg.annotation = None
    bare = ast.parse("def bare(): pass").body[0]
    assert isinstance(bare, ast.FunctionDef)
    bare.name, bare.args, bare.body = getattr(node, "name", "_lambda_"), args, body
    return ast.copy_location(bare, node)


def _is_source(
    tree: ast.FunctionDef, node: ast.AST, code: types.CodeType, around: tuple[str | None, tuple[str, ...]]
) -> bool:
    made = _code_of(tree, code, *around)
    # pytest writes other bytecode for an assert; where there is one, the names have to do.
    asserts = any(isinstance(part, ast.Assert) for part in ast.walk(tree))
    same = made.co_varnames == code.co_varnames and (asserts or made.co_code == code.co_code)
    if not same or isinstance(node, ast.FunctionDef):
        return same
    assert isinstance(node, ast.Lambda)
    begin, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    spots = [(line, column) for line, _, column, _ in code.co_positions() if line is not None and column is not None]
    # The first instructions of a lambda stand at its own line, column 0.
    return all(begin <= spot < end for spot in spots if spot[1] > 0)


def _code_of(
    tree: ast.FunctionDef, code: types.CodeType, owner: str | None, imported: tuple[str, ...]
) -> types.CodeType:
    """Return the code of ``tree``, compiled where the free names of ``code`` are those of a function around it."""
    scope: list[ast.stmt] = [tree]
    if owner is not None:
        around = ast.parse("class around: pass").body[0]
        assert isinstance(around, ast.ClassDef)
        around.name, around.body = owner, scope
        scope = [around]
    if code.co_freevars:
        factory = ast.parse(f"def factory({', '.join(code.co_freevars)}): pass").body[0]
        assert isinstance(factory, ast.FunctionDef)
        factory.body = scope
        scope = [factory]
    names = [name for name in imported if name in code.co_names]
    if names:
        scope = [ast.fix_missing_locations(ast.Import([ast.alias(name) for name in names])), *scope]
    module = ast.Module(body=scope, type_ignores=[])
    outer = compile(module, code.co_filename, "exec", flags=code.co_flags & _FUTURE, dont_inherit=True)
    while True:
        (outer,) = (const for const in outer.co_consts if isinstance(const, types.CodeType) and _leads_to(const, tree))
        if outer.co_name == tree.name and outer.co_firstlineno == tree.lineno:
            return outer.replace(co_name=code.co_name, co_qualname=code.co_qualname)


def _leads_to(code: types.CodeType, tree: ast.FunctionDef) -> bool:
    return (code.co_name == tree.name and code.co_firstlineno == tree.lineno) or any(
        _leads_to(const, tree) for const in code.co_consts if isinstance(const, types.CodeType)
    )
