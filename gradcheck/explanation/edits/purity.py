"""What an edit may run that the user's own code did not: nothing that could do more than compute. Level 1."""

from __future__ import annotations

import ast
import types

import numpy as np

from gradcheck.explanation.edits.nodes import text
from gradcheck.explanation.edits.source import NoSource, source_of

__all__ = ["calls_nothing", "is_harmless"]

_BUILTINS = {
    "abs",
    "bool",
    "enumerate",
    "float",
    "int",
    "len",
    "max",
    "min",
    "pow",
    "range",
    "reversed",
    "sum",
    "tuple",
}
_METHODS = {"T", "all", "any", "argmax", "argmin", "astype", "copy", "dot", "dtype", "max", "mean", "min", "ndim"}
_METHODS |= {"ravel", "reshape", "shape", "size", "std", "sum", "swapaxes", "transpose", "var"}
_STATEMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.If, ast.Expr, ast.Pass, ast.For)
_NUMPY = {name for name, value in vars(np).items() if isinstance(value, np.ufunc)}
_NUMPY |= {"clip", "einsum", "ones_like", "outer", "sum", "where", "zeros_like", "asarray", "array", "mean", "dot"}


def calls_nothing(node: ast.AST) -> bool:
    """Whether running ``node`` calls only what computes: functions of NumPy without ``out=``, methods of arrays."""
    return all(_is_plain_call(part) for part in ast.walk(node) if isinstance(part, ast.Call))


def _is_plain_call(call: ast.Call) -> bool:
    if any(keyword.arg in {"out", None} for keyword in call.keywords):
        return False
    if isinstance(call.func, ast.Name):
        return call.func.id in _BUILTINS
    if not isinstance(call.func, ast.Attribute):
        return False
    return call.func.attr in (_NUMPY if text(call.func.value) in {"np", "numpy", "jnp"} else _METHODS)


def is_harmless(function: types.FunctionType) -> bool:
    """Whether a function of the user's only computes: it binds names of its own, and calls what only computes."""
    try:
        tree = source_of(function).tree
    except NoSource:
        return False
    statements = [part for part in ast.walk(tree) if isinstance(part, ast.stmt) and part is not tree]
    stores = [part for part in ast.walk(tree) if isinstance(getattr(part, "ctx", None), ast.Store | ast.Del)]
    own = {arg.arg for arg in tree.args.args}
    written = any(not isinstance(part, ast.Name | ast.Tuple) for part in stores)
    changed = any(isinstance(s, ast.AugAssign) and text(s.target) in own for s in statements)
    return all(isinstance(s, _STATEMENTS) for s in statements) and not written and not changed and calls_nothing(tree)
