"""The whole Jacobian of a softmax, or of its logarithm, where its diagonal stands or nothing, or it is there twice.

Undoes C6.

Level 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradcheck.steps.rewrites.table import Array, Make, Operation, Rewrite, Take, as_it_is, over, redone
from gradcheck.steps.rewrites.values import Values

SUM = 1e-9  # how near to one probabilities sum up


def jacobians(op: Operation, values: Values) -> Iterator[Rewrite]:
    """The pullback of a softmax of the forward, of what comes out or of a cotangent that it is made of."""
    for each in values.seen:
        p, said = each.value, op.facts.called(each.node)
        if op.result.shape == (p.size, p.size) and p.size > 1 and np.abs(p.sum() - 1) < SUM:
            yield Rewrite("C6", f"the whole Jacobian of the softmax {said}", _matrix(each.take))
        if p.shape != op.result.shape or p.size < 2:
            continue
        if p.min() > 0 and p.max() < 1:
            yield Rewrite("C6", f"without the factor {said} * (1 - {said})", over(_diagonal(each.take)), strange=1)
        for axis in range(p.ndim):
            for form, what in ((np.asarray, "softmax"), (np.exp, "logarithm of a softmax")):
                q = form(p)
                if q.min() >= 0 and np.abs(q.sum(axis) - 1).max() < SUM and p.shape[axis] > 1:
                    for vector, stands in _vectors(op, values):
                        make = _pulled(each.take, form, axis, vector)
                        yield Rewrite("C6", f"the whole Jacobian of the {what} {said}", make, stands)


def _vectors(op: Operation, values: Values) -> Iterator[tuple[Make, str]]:
    """Yield what could be the cotangent that comes in: the result, or a true cotangent that it is made of."""
    yield (lambda node, v, at: redone(node, v)), ""
    for each in values.seen:
        if each.value.shape == op.result.shape and each.node in op.facts.sight.carrying and each.node >= op.facts.start:
            yield as_it_is(each.take), "its diagonal"


def _matrix(take: Take) -> Make:
    def make(node: Any, values: Any, at: Any) -> Array:
        del values
        p = np.ravel(take(node, at))
        return np.asarray(np.diag(p) - np.outer(p, p))

    return make


def _diagonal(take: Take) -> Take:
    return lambda node, at: take(node, at) * (1 - take(node, at))


def _pulled(take: Take, form: Callable[[Array], Array], axis: int, vector: Make) -> Make:
    def make(node: Any, values: Any, at: Any) -> Array:
        d, p = vector(node, values, at), form(take(node, at))
        if form is np.exp:
            return np.asarray(d - p * d.sum(axis, keepdims=True))
        return np.asarray(p * (d - (p * d).sum(axis, keepdims=True)))

    return make
