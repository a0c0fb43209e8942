"""Suspicions about element-wise derivatives, softmax and normalisation, by algebra on the claimed gradient. Level 3.

What is tested here needs no run of the backward: the true gradient follows from the cotangent or the claimed gradient
by a formula in the arrays that are in sight.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects import softmaxes
from gradcheck.explanation.suspects.derivatives import read
from gradcheck.explanation.suspects.sight import activations, alike, is_multiple, is_sharp, sight, varies
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array, leaves

__all__ = ["suspects"]

EPSILONS = (0.0, 1e-5, 1e-8, 1e-6, 1e-3, 1e-12, 1e-10, 1e-7, 1e-4)  # that people add to a variance
SUMS = 1e-6  # how far probabilities may be from adding up to 1


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what a derivative by the entry (C1 to C3), a softmax (C6) or a statistic (C7) explains."""
    for path in evidence.wrong:
        claimed = evidence.claimed.get(path)
        if claimed is None or not np.isfinite(claimed).all() or claimed.size < 2 or not is_sharp(evidence, path):
            continue
        with np.errstate(all="ignore"):
            found = next(itertools.chain(_elementwise(evidence, path), _softmax(evidence, path)), None)
            yield from [found] if found else _constants(evidence, path)


def _cotangents(evidence: Evidence, shape: tuple[int, ...]) -> list[Array]:
    each = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.cotangent, "dout")]
    return [leaf for leaf in each if leaf.shape == shape]


def _elementwise(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    claimed = evidence.claimed[path]
    for dout, activation in itertools.product(_cotangents(evidence, claimed.shape), activations(evidence)):
        slope = activation.slopes[0]
        if len(activation.slopes) > 1 or slope.shape != claimed.shape or not np.ptp(slope):
            continue
        if not evidence.is_true(path, dout * slope):
            continue
        name = activation.function.name
        repaired = {path: dout * slope}
        if alike(claimed, dout):
            sentence = (
                f"d{path} is the upstream gradient as it came: the derivative of {name} is missing. "
                f"Multiply by {activation.said}."
            )
            yield Suspicion("C1", (path,), sentence, repaired, 0.1)
            return
        factor = claimed / dout
        if not np.isfinite(factor).all() or not varies(factor) or is_multiple(factor, slope):
            continue
        if not alike(dout * (dout > 0), claimed) and not _is_factor(evidence, path, factor):
            continue
        reading = read(evidence, factor, activation, slope, dout)
        sentence = (
            f"d{path} is the upstream gradient times {reading.found} where the derivative of {name} belongs. "
            f"Multiply by {activation.said} instead."
        )
        if reading.mistake in ("C2", "C3", "C8"):
            yield Suspicion(reading.mistake, (path,), sentence, repaired, reading.doubt - 0.2)
            return


def _is_factor(evidence: Evidence, path: str, factor: Array) -> bool:
    """Whether the backward multiplies every cotangent by these numbers, and not this one alone."""
    vector = evidence.rng.standard_normal(evidence.outputs)
    (cotangent,) = evidence.cotangents([vector])
    other = evidence.pull(cotangent).get(path)
    each = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(cotangent, "dout")]
    return other is not None and any(leaf.shape == factor.shape and alike(leaf * factor, other) for leaf in each)


def _softmax(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield a softmax, or its logarithm, whose Jacobian is taken for its diagonal, or applied twice."""
    claimed = evidence.claimed[path]
    for v in _cotangents(evidence, claimed.shape):
        for name, p, axis in _probabilities(evidence, claimed.shape):
            found = next(softmaxes.misread(evidence, path, v, p, axis), None)
            if found is not None:
                yield found
                return
            of_softmax = p * (v - (p * v).sum(axis=axis, keepdims=True))
            of_logarithm = v - p * v.sum(axis=axis, keepdims=True)
            diagonal = (v * p * (1 - p), v * p, v)
            twice = p * (of_softmax - (p * of_softmax).sum(axis=axis, keepdims=True))
            for true, wrongs, what in (
                (of_softmax, (*diagonal, twice), f"{name} * (dout - (dout * {name}).sum(axis={axis}, keepdims=True))"),
                (of_logarithm, (v * (1 - p), v), f"dout - {name} * dout.sum(axis={axis}, keepdims=True)"),
            ):
                which = next((number for number, wrong in enumerate(wrongs) if alike(claimed, wrong)), None)
                if which is None or not evidence.is_true(path, true):
                    continue
                how = "is taken twice" if which == 3 else "has entries beside its diagonal, which are missing"
                sentence = f"d{path}: the Jacobian of the softmax {how}. Write {what}."
                yield Suspicion("C6", (path,), sentence, {path: true}, 0.1)
                return


def _probabilities(evidence: Evidence, shape: tuple[int, ...]) -> Iterator[tuple[str, Array, int]]:
    for series in sight(evidence):
        if len(series.arrays) > 1 or series.shape != shape:
            continue
        for name, p in ((series.name, series.arrays[0]), (f"np.exp({series.name})", np.exp(series.arrays[0]))):
            for axis in range(p.ndim):
                if p.min() > 0 and p.shape[axis] > 1 and float(np.abs(p.sum(axis=axis) - 1).max()) < SUMS:
                    yield name, p, axis


def _constants(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield statistics of an argument, its mean, deviation or length, that were taken for constants (C7)."""
    claimed, x = evidence.claimed[path], evidence.point[path]
    if x.ndim == 0:
        return
    axes_of = [(axis,) for axis in range(x.ndim) if x.shape[axis] > 2] + ([(0, 2, 3), (1, 2, 3)] if x.ndim == 4 else [])
    for axes in axes_of:
        mean = x.mean(axis=axes, keepdims=True)
        without_mean = claimed - claimed.mean(axis=axes, keepdims=True)
        along = f"axis {axes[0]}" if len(axes) == 1 else f"the axes {axes}"
        forms = [(without_mean, "the mean", "subtract the mean of the gradient")]
        epsilons = dict.fromkeys([*EPSILONS, *(n for n in evidence.numbers.values() if 0 < n < 0.1)])
        for epsilon in epsilons:
            centred = x - mean
            variance = (centred**2).mean(axis=axes, keepdims=True) + epsilon
            part = centred * (claimed * centred).mean(axis=axes, keepdims=True) / variance
            forms.append((claimed - part, "the deviation", "subtract xhat times the mean of the gradient times xhat"))
            both = "the mean and the deviation"
            forms.append(
                (without_mean - part, both, "subtract both means: of the gradient, and xhat times that with xhat")
            )
            square = (x**2).mean(axis=axes, keepdims=True) + epsilon
            along_x = x * (claimed * x).mean(axis=axes, keepdims=True) / square
            forms.append(
                (claimed - along_x, "the length", "subtract the part of the gradient along the argument itself")
            )
        for true, what, advice in forms:
            if not alike(true, claimed) and evidence.is_true(path, true):
                if what == "the length" and not _is_inverse(evidence, path):
                    return
                sentence = (
                    f"d{path} treats {what} of {path} along {along} as if it were constant. "
                    f"{advice[0].upper()}{advice[1:]}."
                )
                yield Suspicion("C7", (path,), sentence, {path: true}, 0.2)
                return


def _is_inverse(evidence: Evidence, path: str) -> bool:
    """Whether the claim halves where the argument is doubled, as one with a constant length does."""
    arguments = evidence.arguments
    doubled = arguments.moved(arguments.point + evidence.embedded(path, evidence.point[path]))
    try:
        there = replace(evidence, arguments=doubled, _kept={}).pull(evidence.cotangent).get(path)
    except Exception:  # noqa: BLE001  (the user's code may refuse another point; then nothing is known)
        return True
    claimed = evidence.claimed[path]
    return there is None or bool(np.linalg.norm(2 * there - claimed) <= 1e-3 * np.linalg.norm(claimed))
