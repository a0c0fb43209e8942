"""Other reductions, products of matrices and subscripts."""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.steps.rewrites.base import Refused, Rule, _first, _said, _same, operand, redone, value_of

def _reductions(op, shape, misshapen):
    array = np.asarray(_first(op))
    ndim = array.ndim
    axis = op.kwargs.get("axis", op.args[1] if len(op.args) > 1 and op.name != "add.reduce" else None)
    if op.name != "add.reduce":
        other = np.mean if op.name == "sum" else np.sum
        def swapped(o, v, f=other):
            kw = {k: x for k, x in value_of(o.kwargs, v).items() if k in ("axis", "keepdims")}
            extra = value_of(o.args[1:2], v)
            return f(operand(o, 0, v), *extra, **kw)
        yield Rule("mean", f"{'mean' if op.name == 'sum' else 'sum'} for {op.name}", swapped, 0.3)
    for count in range(0, ndim + 1):
        for axes in itertools.combinations(range(ndim), count):
            for keep in (True, False):
                made = array.sum(axis=axes, keepdims=keep) if count else array
                fits = made.shape == shape
                if not fits and not misshapen and not (made.ndim == len(shape) and len(shape) == ndim):
                    continue
                if not fits and count == 0 and array.shape != shape:
                    pass
                def reduced(o, v, a=axes, k=keep):
                    x = operand(o, 0, v)
                    return x.sum(axis=a, keepdims=k) if a else x
                yield Rule("axis", f"sum over {axes or 'nothing'}", reduced, 0.35)


def _matrix(op, shape):
    def at(o, v, swap, ta, tb):
        a, b = operand(o, 0, v), operand(o, 1, v)
        a = np.swapaxes(a, -1, -2) if ta and a.ndim > 1 else a
        b = np.swapaxes(b, -1, -2) if tb and b.ndim > 1 else b
        a, b = (b, a) if swap else (a, b)
        try:
            made = a @ b
        except ValueError:
            raise Refused from None
        if made.shape == o.wanted or made.shape == o.result.shape:
            return made
        if made.ndim > 1 and np.swapaxes(made, -1, -2).shape == o.result.shape:
            raise Refused
        raise Refused
    for swap, ta, tb in itertools.product((False, True), repeat=3):
        if swap or ta or tb:
            what = " and ".join(filter(None, ["the operands exchanged" * swap, f"{_said(op, 0)} transposed" * ta, f"{_said(op, 1)} transposed" * tb]))
            yield Rule("transpose", what, lambda o, v, s=swap, a=ta, b=tb: at(o, v, s, a, b), 0.25 + 0.1 * (swap + ta + tb - 1))
    yield Rule("by entry", "a product by the entry", lambda o, v: _same(operand(o, 0, v) * operand(o, 1, v), o), 0.6)


def _einsum(op, shape):
    text = op.args[0] if isinstance(op.args[0], str) else ""
    if "->" not in text or "." in text:
        return
    left, right = text.replace(" ", "").split("->")
    terms = [*left.split(","), right]
    for place in range(len(terms)):
        for i, j in itertools.combinations(range(len(terms[place])), 2):
            letters = list(terms[place])
            if letters[i] == letters[j]:
                continue
            letters[i], letters[j] = letters[j], letters[i]
            made = [*terms[:place], "".join(letters), *terms[place + 1:]]
            new = f"{','.join(made[:-1])}->{made[-1]}"
            yield Rule("subscripts", f"{new!r} for {text!r}", lambda o, v, n=new: _same(redone(o, v, 0, n), o), 0.3)

