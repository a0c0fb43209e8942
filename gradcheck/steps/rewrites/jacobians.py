"""The whole Jacobian of a softmax, of its logarithm, of statistics."""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.steps.rewrites.base import Ref, Rule, _said, look, operand, redone

def jacobians(op, named):
    """The whole Jacobian of a softmax, of its logarithm, of statistics, for what stands there."""
    shape = op.result.shape
    if not shape or np.prod(shape) < 2:
        return
    for name, seen in named.items():
        seen = np.asarray(seen)
        if seen.dtype.kind != "f" or seen.size < 2:
            continue
        if seen.shape == shape:
            for said_p, get in ((name, lambda x: x), (f"exp({name})", np.exp), (f"softmax({name})", None)):
                for axis in range(len(shape)):
                    if shape[axis] < 2:
                        continue
                    p0 = get(seen) if get else None
                    if get and not (p0.min() > 0 and abs(p0.sum(axis) - 1).max() < 1e-6):
                        continue
                    if not get and (len(shape) > 2 or axis != len(shape) - 1):
                        continue
                    def prob(o, v, n=name, g=get, a=axis):
                        x = look(o, n, v)
                        if g is None:
                            e = np.exp(x - x.max(a, keepdims=True))
                            return e / e.sum(a, keepdims=True)
                        return g(x)
                    for base, source in _vectors(op):
                        yield Rule("softmax", f"{said_p} * (d - (d * {said_p}).sum({axis})), d {base}", lambda o, v, s=source, P=prob, a=axis: (lambda d, p: p * (d - (p * d).sum(a, keepdims=True)))(s(o, v), P(o, v)), 0.3)
                        yield Rule("softmax", f"d - {said_p} * d.sum({axis}), d {base}", lambda o, v, s=source, P=prob, a=axis: (lambda d, p: d - p * d.sum(a, keepdims=True))(s(o, v), P(o, v)), 0.35)
        if seen.shape == shape and len(shape) >= 1:
            axes_of = [(a,) for a in range(len(shape)) if shape[a] > 2] + ([(0, 2, 3)] if len(shape) == 4 else [])
            for axes in axes_of:
                def minus(o, v, n=name, a=axes, mode="both"):
                    d, h = redone(o, v), look(o, n, v)
                    made = d
                    if mode in ("mean", "both"):
                        made = made - d.mean(axis=a, keepdims=True)
                    if mode in ("along", "both"):
                        made = made - h * (d * h).mean(axis=a, keepdims=True)
                    if mode == "length":
                        made = made - h * (d * h).sum(axis=a, keepdims=True)
                    return made
                yield Rule("statistics", f"less its mean and its part along {name}, over {axes}", minus, 0.35)
                yield Rule("statistics", f"less its part along {name}, over {axes}", lambda o, v, m=minus: m(o, v, mode="along"), 0.4)
                yield Rule("statistics", f"less its part along {name} of length one, over {axes}", lambda o, v, m=minus: m(o, v, mode="length"), 0.4)
    for name, seen in named.items():
        if np.shape(seen) == shape and shape and shape[-1] > 1 and np.asarray(seen).dtype.kind == "f":
            def along(o, v, n=name):
                d, x = redone(o, v), look(o, n, v)
                h = x / np.sqrt((x * x).sum(-1, keepdims=True))
                return d - h * (d * h).sum(-1, keepdims=True)
            yield Rule("statistics", f"less its part along {name} over its length", along, 0.4)
    for axes in [(a,) for a in range(len(shape)) if shape[a] > 1] + ([(0, 2, 3)] if len(shape) == 4 else []):
        yield Rule("statistics", f"less its mean over {axes}", lambda o, v, a=axes: redone(o, v) - redone(o, v).mean(axis=a, keepdims=True), 0.4)


def _vectors(op):
    yield "what comes out", redone
    for place in [i for i, a in enumerate(op.args[:2]) if isinstance(a, (Ref, np.ndarray))]:
        if np.shape(op.probes[place]) == op.result.shape:
            yield _said(op, place), lambda o, v, p=place: operand(o, p, v)

