"""The whole Jacobian of a softmax, or of its logarithm, where its diagonal stands or nothing does.

Undoes C6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradcheck.steps.rewrites.table import Array, Operation, Rewrite, arguments, redone
from gradcheck.steps.rewrites.values import Seen, Values


def jacobians(op: Operation, values: Values) -> Iterator[Rewrite]:
    """The pullback of a softmax of the forward, of what comes out or of an operand."""
    for each in values.seen:
        p = each.value
        if p.shape != op.result.shape or p.size < 2:
            continue
        for axis in range(p.ndim):
            for form, said in ((np.asarray, "softmax"), (np.exp, "logarithm of a softmax")):
                q = form(p)
                if q.min() > 0 and np.abs(q.sum(axis) - 1).max() < 1e-9 and p.shape[axis] > 1:
                    for get, place in _vectors(op):
                        yield Rewrite("C6", f"the whole Jacobian of the {said} {op.facts.called(each.node)}", _pulled(each, form, axis, get), "its diagonal" if place >= 0 else "")


def _vectors(op: Operation) -> Iterator[tuple[Callable[[Any, Any], Array], int]]:
    """Yield what could be the cotangent that comes in: the result, an operand, or an operand's operand of that shape."""
    yield redone, -1
    for place in op.arrays[:2]:
        if np.shape(op.args[place]) == op.result.shape:
            yield lambda n, v, p=place: arguments(n, v)[0][p], place


def _pulled(each: Seen, form: Callable[[Array], Array], axis: int, get: Callable[[Any, Any], Array]) -> Any:
    def make(node: Any, values: Any, at: Any) -> Array:
        d, p = get(node, values), form(each.take(node, at))
        if form is np.exp:
            return np.asarray(d - p * d.sum(axis, keepdims=True))
        return np.asarray(p * (d - (p * d).sum(axis, keepdims=True)))

    return make
