"""The whole Jacobian of a softmax, or of its logarithm, where its diagonal stands, or nothing does, or it is there twice.

Undoes C6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradcheck.steps.rewrites.table import Array, Operation, Rewrite, redone
from gradcheck.steps.rewrites.values import Seen, Values


def jacobians(op: Operation, values: Values) -> Iterator[Rewrite]:
    """The pullback of a softmax of the forward, of what comes out or of an operand."""
    for each in values.seen:
        p = each.value
        if p.shape != op.result.shape or p.size < 2:
            continue
        if 0 < p.min() and p.max() < 1:
            yield Rewrite("C6", f"without the factor {op.facts.called(each.node)} * (1 - {op.facts.called(each.node)})", lambda n, v, at, e=each: redone(n, v) / (e.take(n, at) * (1 - e.take(n, at))), strange=1)
        for axis in range(p.ndim):
            for form, said in ((np.asarray, "softmax"), (np.exp, "logarithm of a softmax")):
                q = form(p)
                if q.min() > 0 and np.abs(q.sum(axis) - 1).max() < 1e-9 and p.shape[axis] > 1:
                    for get, stands in _vectors(op, values):
                        yield Rewrite("C6", f"the whole Jacobian of the {said} {op.facts.called(each.node)}", _pulled(each, form, axis, get), stands)


def _vectors(op: Operation, values: Values) -> Iterator[tuple[Callable[[Any, Any, Any], Array], str]]:
    """Yield what could be the cotangent that comes in: the result, or a true cotangent that it is made of."""
    yield lambda node, v, at: redone(node, v), ""
    for each in values.seen:
        if each.value.shape == op.result.shape and each.node in op.facts.sight.carrying and each.node >= op.facts.run.start:
            yield lambda node, v, at, e=each: e.take(node, at), "its diagonal"


def _pulled(each: Seen, form: Callable[[Array], Array], axis: int, get: Callable[[Any, Any, Any], Array]) -> Any:
    def make(node: Any, values: Any, at: Any) -> Array:
        d, p = get(node, values, at), form(each.take(node, at))
        if form is np.exp:
            return np.asarray(d - p * d.sum(axis, keepdims=True))
        return np.asarray(p * (d - (p * d).sum(axis, keepdims=True)))

    return make
