"""The operation itself, done otherwise: nothing new is taken."""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.steps.rewrites.base import FOUR, Ref, Refused, Rule, _first, _redone, _said, _same, _shaped, operand, redone, value_of
from gradcheck.steps.rewrites.keys import _keys
from gradcheck.steps.rewrites.sums import _einsum, _matrix, _reductions

def of_itself(op, shape, misshapen=False):
    """The operation itself, done otherwise: nothing new is taken."""
    name, args = op.name, op.args
    values_of = lambda place: (lambda o, v: operand(o, place, v))
    arrays = [i for i, a in enumerate(args) if isinstance(a, (Ref, np.ndarray))]
    # one operand alone
    for place in arrays[:2]:
        yield Rule("drop", f"leave out all but {_said(op, place)}", lambda o, v, p=place: _shaped(operand(o, p, v), o.result.shape), 0.5 if len(arrays) > 1 else 0.4, place=place)
    if name in FOUR and len(args) == 2:
        for place in arrays[:2]:
            for said, f in (("the square of {v}", np.square), ("{v} without its square", lambda x: np.sqrt(abs(x)) * np.sign(x)), ("1 / {v}", lambda x: 1 / x), ("exp({v})", np.exp), ("(1 - {v})", lambda x: 1 - x), ("|{v}|", np.abs)):
                yield Rule("form of", said.format(v=_said(op, place)), lambda o, v, p=place, f=f: _redone(o, v, p, f(operand(o, p, v))), 0.6, place=place)
        for other in FOUR:
            if other != name:
                yield Rule("four", f"{other} for {name}", lambda o, v, f=FOUR[other]: f(*value_of(o.args, v)), 0.5 if {other, name} in ({"add", "subtract"}, {"multiply", "divide"}) else 0.75, name=other)
        if name in ("subtract", "divide"):
            yield Rule("order", f"the operands of {name} in the other order", lambda o, v, f=FOUR[name]: f(operand(o, 1, v), operand(o, 0, v)), 0.5)
        if name in ("add", "subtract"):
            yield Rule("sign of one", "the first term with the other sign", lambda o, v: FOUR[o.name](-operand(o, 0, v), operand(o, 1, v)), 0.5, place=0)
            yield Rule("sign of one", "the second term with the other sign", lambda o, v: FOUR[o.name](operand(o, 0, v), -operand(o, 1, v)), 0.45, place=1)
    if name in ("greater", "less", "greater_equal", "less_equal", "equal", "not_equal"):
        for other in ("greater", "less", "greater_equal", "less_equal"):
            if other != name:
                yield Rule("compare", f"{other} for {name}", lambda o, v, f=getattr(np, other): f(*value_of(o.args, v)), 0.4)
    if name in ("maximum", "minimum"):
        other = "minimum" if name == "maximum" else "maximum"
        yield Rule("compare", f"{other} for {name}", lambda o, v, f=getattr(np, other): f(*value_of(o.args, v)), 0.5)
    if name in ("logical_not", "invert"):
        yield Rule("compare", "not negated", lambda o, v: operand(o, 0, v), 0.4)
    if name == "where" and len(args) == 3:
        yield Rule("where", "the two choices exchanged", lambda o, v: np.where(operand(o, 0, v), operand(o, 2, v), operand(o, 1, v)), 0.45)
        for place in (1, 2):
            if not isinstance(args[place], (Ref, np.ndarray)):
                for c in (0.0, 1.0, -1.0):
                    if args[place] != c:
                        yield Rule("where number", f"{c:g} for {args[place]!r}", lambda o, v, p=place, c=c: redone(o, v, p, c), 0.55)
    if name in ("power", "float_power") and np.ndim(args[1]) == 0 and not isinstance(args[1], Ref):
        for by in (1, -1, 2, -2):
            yield Rule("power", f"exponent {args[1] + by:g}", lambda o, v, by=by: np.power(operand(o, 0, v), o.args[1] + by), 0.5)
    if name in ("sum", "mean", "add.reduce"):
        yield from _reductions(op, shape, misshapen)
    if name not in ("matmul", "dot", "set", "get", "use", "return", "transpose", "swapaxes", "add", "subtract"):
        for place in arrays[:3]:
            a = np.asarray(op.probes[place])
            if a.ndim >= 2 and a.shape[-1] == a.shape[-2] > 1 and a.size > 1:
                yield Rule("transpose", f"{_said(op, place)} transposed", lambda o, v, p=place: _redone(o, v, p, np.swapaxes(operand(o, p, v), -1, -2)), 0.3, place=place)
    if name in ("einsum", "tensordot", "multiply", "matmul", "dot"):
        for place in arrays[:3]:
            a = np.asarray(op.probes[place])
            if a.ndim >= 3 and min(a.shape[-2:]) > 1:
                yield Rule("flip", f"{_said(op, place)} turned by 180° in its last two axes", lambda o, v, p=place: _redone(o, v, p, np.flip(operand(o, p, v), (-2, -1))), 0.4)
    if name in ("matmul", "dot") and len(args) == 2:
        yield from _matrix(op, shape)
    if name == "outer":
        yield Rule("order", "outer product in the other order", lambda o, v: _same(np.outer(operand(o, 1, v), operand(o, 0, v)), o), 0.3)
    if name == "einsum":
        yield from _einsum(op, shape)
    if name in ("transpose", "swapaxes") :
        ndim = len(shape)
        for perm in itertools.permutations(range(ndim)) if ndim <= 4 else ():
            if tuple(np.asarray(_first(op)).shape[p] for p in perm) == shape:
                yield Rule("axes", f"axes in the order {perm}", lambda o, v, p=perm: _same(operand(o, 0, v).transpose(p), o), 0.45)
    if name == "reshape":
        array = np.asarray(_first(op))
        if 2 < array.ndim <= 5:
            for perm in itertools.permutations(range(array.ndim)):
                if perm != tuple(range(array.ndim)):
                    yield Rule("axes", f"axes moved to {perm} before the reshape", lambda o, v, p=perm: operand(o, 0, v).transpose(p).reshape(o.result.shape), 0.4)
    if name in ("tensordot",):
        for place in (0, 1):
            a = operand(op, place, {i: None for i in ()}) if not isinstance(args[place], Ref) else None
        for place in (0, 1):
            yield Rule("flip", f"{_said(op, place)} turned by 180° in its last two axes", lambda o, v, p=place: redone(o, v, p, np.flip(operand(o, p, v), (-2, -1))), 0.4)
    if name == "get":
        yield from _keys(op, shape)
    if name == "set":
        yield Rule("accumulate", "add to what is there instead of overwriting it", _accumulated, 0.3)
    if name == "concatenate" and isinstance(args[0], (list, tuple)) and len(args[0]) == 2:
        yield Rule("order", "the two parts in the other order", lambda o, v: o.do(value_of(o.args[0], v)[::-1], *value_of(o.args[1:], v), **value_of(o.kwargs, v)), 0.5)
    if name in ("zeros", "zeros_like", "empty", "empty_like", "astype", "array"):
        yield Rule("precision", "in floats of double precision", lambda o, v: np.asarray(redone(o, v), dtype=np.float64), 0.4)
    if name == "astype":
        yield Rule("precision", "not rounded", lambda o, v: operand(o, 0, v), 0.2, place=0)
    if name in ("repeat", "tile"):
        yield Rule("tile", "repeated the other way", _tiled, 0.4)
    if op.name in ("sin", "cos", "exp", "tanh", "log", "sqrt", "absolute", "sign", "square"):
        for other in ("sin", "cos", "exp", "tanh", "log", "sqrt", "absolute", "sign", "square", "negative"):
            if other != op.name:
                yield Rule("function", f"{other} for {op.name}", lambda o, v, f=getattr(np, other): f(operand(o, 0, v)), 0.6)
    # the result laid out otherwise
    if 1 <= len(shape) <= 5 and np.prod(shape) > 1:
        ndim = len(shape)
        for perm in itertools.permutations(range(ndim)) if ndim > 1 else ():
            if perm != tuple(range(ndim)) and tuple(shape[p] for p in perm) == shape:
                yield Rule("axes", f"transposed by {perm}", lambda o, v, p=perm: redone(o, v).transpose(p), 0.35 if ndim == 2 else 0.45)
        for count in range(1, min(ndim, 2) + 1):
            for axes in itertools.combinations(range(ndim), count):
                if all(shape[a] > 1 for a in axes):
                    yield Rule("flip", f"reversed along {axes}", lambda o, v, a=axes: np.flip(redone(o, v), a), 0.55)
        for axis in range(ndim):
            if shape[axis] > 2:
                for by in (1, -1):
                    yield Rule("roll", f"moved by {by} along axis {axis}", lambda o, v, a=axis, b=by: np.roll(redone(o, v), b, a), 0.6)


def _accumulated(op, values):
    if op.args[0] is None:
        raise Refused
    before = value_of(op.args[0], values)
    made = np.asarray(operand(op, 2, values)) + before.reshape(op.result.shape)
    return made


def _tiled(op, values):
    array = operand(op, 0, values)
    axis = op.kwargs.get("axis", op.args[2] if len(op.args) > 2 else None)
    if op.name == "repeat" and axis is not None:
        reps = [1] * array.ndim
        reps[axis] = value_of(op.args[1], values)
        return np.tile(array, reps)
    if op.name == "tile":
        reps = value_of(op.args[1], values)
        for axis, count in enumerate(reps, start=array.ndim - len(reps)):
            array = np.repeat(array, count, axis)
        return array
    raise Refused

