"""Suspicions about the sum in the Jacobian of a softmax, and about its outer factor. Level 3.

The Jacobian takes v to p (v - Σ p v), that of the logarithm to v - p Σ v. The true gradient is known then, and what was
claimed is compared with what each mistake would give.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.sight import alike
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["misread"]

Form = tuple[str, Array, str, str]  # the mistake, what it gives, how it is told, and what to do


def misread(evidence: Evidence, path: str, v: Array, p: Array, axis: int) -> Iterator[Suspicion]:
    """Yield what a cotangent ``v`` and probabilities ``p`` along an axis explain: A1, A2, B4, C6."""
    claimed = evidence.claimed[path]
    whole = p * (v - (p * v).sum(axis=axis, keepdims=True))
    of_logarithm = v - p * v.sum(axis=axis, keepdims=True)
    for true, forms in ((whole, _of_softmax(v, p, axis)), (of_logarithm, _of_logarithm(v, p, axis))):
        for mistake, made, state, advice in forms:
            if alike(made, claimed) and not alike(true, claimed) and evidence.is_true(path, true):
                sentence = f"d{path}: {state} {advice}"
                yield Suspicion(mistake, (path,), sentence, {path: true}, 0.1)
                return


def _of_softmax(v: Array, p: Array, axis: int) -> Iterator[Form]:
    inner = (p * v).sum(axis=axis, keepdims=True)
    for mistake, total, state, advice in _sums(p * v, axis):
        yield mistake, p * (v - total), state, advice
    yield "C6", p * (v - v.sum(axis=axis, keepdims=True)), "the sum runs over dout alone.", "Sum over dout * p."
    yield "C6", p * (v - v.mean(axis=axis, keepdims=True)), "the sum runs over dout alone.", "Sum over dout * p."
    factor = "Write p * (dout - (dout * p).sum()), with each p once."
    yield "C6", v - inner, "the softmax is missing in front of the difference.", factor
    yield "C6", p * (v - inner) * (1 - p), "the derivative of the softmax is taken twice.", factor
    yield "C6", p * (v - inner) * p, "the softmax stands twice in front of the difference.", factor


def _of_logarithm(v: Array, p: Array, axis: int) -> Iterator[Form]:
    for mistake, total, state, advice in _sums(v, axis):
        yield mistake, v - p * total, state, advice
    inner = (p * v).sum(axis=axis, keepdims=True)
    whole = "Write dout - p * dout.sum()."
    yield "C6", p * (v - inner), "this is the Jacobian of the softmax, and the forward takes its logarithm.", whole
    yield "C6", v - p * inner, "the sum runs over dout * p.", whole
    yield "C6", v - v.sum(axis=axis, keepdims=True), "the softmax is missing in front of the sum.", whole


def _sums(terms: Array, axis: int) -> Iterator[Form]:
    """Yield what may stand for the sum of some terms along an axis."""
    right = terms.sum(axis=axis, keepdims=True)
    yield "A1", -right, "the sum is added.", "Subtract it."
    mean = f"Sum over axis {axis}."
    yield "A2", terms.mean(axis=axis, keepdims=True), "a mean stands where a sum belongs.", mean
    for other in range(terms.ndim):
        if other != axis and terms.shape[other] > 1:
            over = f"the sum runs over axis {other}."
            yield "B4", terms.sum(axis=other, keepdims=True), over, mean
    if terms.ndim > 1:
        yield "B4", terms.sum(keepdims=True), "the sum runs over everything.", mean
        yield "B4", terms.mean(keepdims=True), "the mean of everything stands where a sum belongs.", mean
