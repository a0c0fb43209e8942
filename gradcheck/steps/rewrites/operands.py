"""Another value in an operand's place, or a factor on it."""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.steps.rewrites.base import FOUR, Ref, Rule, _redone, _said, laid, look, operand, spread

def operands(op, named, shapes):
    """Another value in an operand's place: one that the function has a name for, its transpose, a form of it."""
    for place in [i for i, a in enumerate(op.args[:4]) if isinstance(a, (Ref, np.ndarray)) or isinstance(a, (int, float))]:
        if op.name in ("get", "reshape", "transpose", "sum", "mean", "astype", "einsum") and place and op.name != "einsum":
            continue
        if op.name == "set" and place != 2:
            continue
        old = op.args[place]
        shape = shapes(op, place)
        for name, seen in named.items():
            if np.shape(seen) == shape:
                yield Rule("operand", f"{name} for {_said(op, place)}", lambda o, v, p=place, n=name: _redone(o, v, p, look(o, n, v)), 0.6, place=place, name=name)
            elif np.ndim(seen) == 2 and np.shape(seen)[::-1] == shape:
                yield Rule("operand", f"{name}.T for {_said(op, place)}", lambda o, v, p=place, n=name: _redone(o, v, p, look(o, n, v).T), 0.65, place=place, name=name + ".T")
            elif op.name in FOUR and len(op.args) == 2:
                for axes in itertools.islice(spread(np.shape(seen), op.result.shape), 2):
                    yield Rule("operand", f"{name} for {_said(op, place)}", lambda o, v, p=place, n=name, a=axes: _redone(o, v, p, laid(look(o, n, v), a, o.result.ndim)), 0.7, place=place, name=name)


def operand_factors(op, named, shapes):
    """An operand of a product or a sum, times another value of its shape."""
    if op.name not in ("matmul", "dot", "outer", "einsum", "tensordot", "sum", "add.reduce"):
        return
    for place in [i for i, a in enumerate(op.args[:3]) if isinstance(a, (Ref, np.ndarray))]:
        shape = shapes(op, place)
        for name, seen in named.items():
            if np.ndim(seen) and np.asarray(seen).dtype.kind == "f":
                for axes in itertools.islice(spread(np.shape(seen), shape), 2):
                    yield Rule("operand factor", f"{_said(op, place)} times {name}", lambda o, v, p=place, n=name, a=axes, nd=len(shape): _redone(o, v, p, operand(o, p, v) * laid(look(o, n, v), a, nd)), 0.65, place=place, name=name)
                if np.ndim(seen) == 2 and np.shape(seen)[::-1] == shape and shape[0] != shape[1]:
                    yield Rule("operand factor", f"{_said(op, place)} times {name}.T", lambda o, v, p=place, n=name: _redone(o, v, p, operand(o, p, v) * look(o, n, v).T), 0.65, place=place, name=name)


def replaced_factors(op, named, slopes, forms, shapes):
    """A derivative, or a form of a value, in the place of an operand."""
    if op.name not in ("multiply", "divide", "where", "set", "add", "subtract"):
        return
    for place in [i for i, a in enumerate(op.args[:3]) if isinstance(a, (Ref, np.ndarray, int, float))]:
        if op.name == "set" and place != 2:
            continue
        shape = shapes(op, place)
        wanted = op.result.shape if op.name != "set" else shape
        for name, seen in named.items():
            if np.ndim(seen) == 0 or np.size(seen) < 2 or np.asarray(seen).dtype.kind != "f":
                continue
            for axes in itertools.islice(spread(np.shape(seen), wanted), 2):
                get = lambda o, v, n=name, a=axes, nd=len(wanted): laid(look(o, n, v), a, nd)
                for kind, some, doubt in (("slope for", slopes, 0.55), ("form for", forms, 0.7)):
                    for said, f in some:
                        yield Rule(kind, f"{said.format(v=name)} for {_said(op, place)}", lambda o, v, p=place, g=get, f=f: _redone(o, v, p, f(g(o, v))), doubt, place=place, name=said.format(v=name))

