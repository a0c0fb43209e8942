"""What people take for a mistake in a right backward: a form that looks wrong and is not. Level 3.

Each is read off the claimed gradients alone: that they are right is known already.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.runs import forward_tape, tape_of
from gradcheck.explanation.suspects.sight import Activation, activations, alike, sight, varies
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array, leaves

__all__ = ["at_sight", "suspects"]

SUMS = 1e-6  # how far probabilities may be from adding up to 1
ROUNDING = 1e-9  # relative
MAXIMA = ("max", "amax", "maximum.reduce")


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield, for a pair that passes, the forms that people take for a mistake (Z); nothing for one that fails."""
    yield from at_sight(evidence)
    if evidence.wrong:
        return
    with np.errstate(all="ignore"):
        yield from _in_means(evidence)
        yield from _inside(evidence)


def at_sight(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield those of them that the gradients show: the backward need not be run and watched for these."""
    if evidence.wrong:
        return
    with np.errstate(all="ignore"):
        for path, claimed in evidence.claimed.items():
            if not np.isfinite(claimed).all() or not claimed.any():
                continue
            found = itertools.chain(
                _at_kinks(evidence, path),
                _in_the_output(evidence, path),
                _fused(evidence, path),
                _passed(evidence, path),
            )
            for sentence in itertools.islice(found, 1):
                yield Suspicion("Z", (path,), sentence, {path: claimed})


def _cotangents(evidence: Evidence, shape: tuple[int, ...]) -> list[Array]:
    each = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.cotangent, "dout")]
    return [leaf for leaf in each if leaf.shape == shape]


def _of_argument(evidence: Evidence, path: str) -> Iterator[Activation]:
    point = evidence.point[path]
    for each in activations(evidence):
        if len(each.slopes) == 1 and each.z.shape == point.shape and alike(each.z.arrays[0], point):
            yield each


def _at_kinks(evidence: Evidence, path: str) -> Iterator[str]:
    """Yield the slope of a ReLU at exactly zero, and the place of a tied maximum: both are conventions."""
    claimed, x = evidence.claimed[path], evidence.point[path]
    zero = x == 0
    for dout, each in itertools.product(_cotangents(evidence, x.shape), _of_argument(evidence, path)):
        if each.function.name == "ReLU" and zero.any() and dout[zero].all():
            slopes = np.unique(np.round(claimed[zero] / dout[zero], 9))
            if len(slopes) == 1 and 0 <= slopes[0] <= 1:
                yield (
                    f"d{path} takes the slope {abs(slopes[0]):g} of the ReLU at exactly 0. "
                    "Keep it: every number from 0 to 1 is right there."
                )
    if len(np.unique(x)) < x.size and any(step.name in MAXIMA for step in forward_tape(evidence).steps):
        yield f"Where entries of {path} tie for a maximum, one of them gets it all. Keep it: that is a convention."


def _in_the_output(evidence: Evidence, path: str) -> Iterator[str]:
    """Yield a derivative that can be written in the output."""
    claimed = evidence.claimed[path]
    for dout, each in itertools.product(_cotangents(evidence, claimed.shape), _of_argument(evidence, path)):
        function = each.function
        if function.of_output is None or not varies(each.slopes[0]):
            continue
        if alike(claimed, dout * function.of_output(each.a.arrays[0])):
            said = function.said.format(z=each.a.name, a=each.a.name)
            yield (
                f"d{path} is dout times {said}: the derivative of the {function.name}, written in its output. "
                "Keep it: no further derivative belongs there."
            )
    for dout, (name, p, axis) in itertools.product(
        _cotangents(evidence, claimed.shape), _probabilities(evidence, claimed.shape)
    ):
        if alike(claimed, p * (dout - (p * dout).sum(axis=axis, keepdims=True))):
            yield (
                f"d{path} is the whole Jacobian of the softmax {name}. "
                "Keep it: the maximum that is subtracted before needs no derivative, as it cancels."
            )


def _probabilities(evidence: Evidence, shape: tuple[int, ...]) -> Iterator[tuple[str, Array, int]]:
    for series in sight(evidence):
        p = series.arrays[0]
        if len(series.arrays) == 1 and p.shape == shape and p.min() > 0:
            for axis in range(p.ndim):
                if p.shape[axis] > 1 and float(np.abs(p.sum(axis=axis) - 1).max()) < SUMS:
                    yield series.name, p, axis


def _fused(evidence: Evidence, path: str) -> Iterator[str]:
    """Yield the gradients of a loss: of softmax or sigmoid with cross-entropy, and of a square with its half."""
    claimed = evidence.claimed[path]
    if evidence.outputs != 1:
        return
    for name, p, _ in _probabilities(evidence, claimed.shape):
        for divisor in (1, p.shape[0], p.shape[-1]):
            y = p - claimed * divisor / evidence.flat_cotangent[0]
            if _is_target(y) and np.allclose(y.sum(axis=-1), 1):
                yield (
                    f"d{path} is {name} minus the targets: softmax and cross-entropy together. "
                    "Keep it: the Jacobian of the softmax is in it already."
                )
    logistic = [(s.name, 1 / (1 + np.exp(-s.arrays[0]))) for s in sight(evidence) if s.shape == claimed.shape]
    for name, p in logistic:
        for divisor in (1, p.shape[0] if p.ndim else 1, p.size):
            y = p - claimed * divisor / evidence.flat_cotangent[0]
            if _is_target(y) and varies(p):
                yield (
                    f"d{path} is sigmoid({name}) minus the targets: sigmoid and cross-entropy together. "
                    "Keep it: the derivative of the sigmoid is in it already."
                )
    for each in activations(evidence):
        if each.function.name != "square" or len(each.slopes) > 1 or each.z.shape != claimed.shape:
            continue
        ratio = claimed[each.z.arrays[0] != 0] / each.z.arrays[0][each.z.arrays[0] != 0]
        if ratio.size < 2 or not np.isfinite(ratio).all() or varies(ratio):
            continue
        rate = abs(float(ratio.flat[0]) / float(evidence.flat_cotangent[0]))
        parts = (1, claimed.shape[0] if claimed.ndim else 1, claimed.size)
        if any(abs(rate * n - 1) < ROUNDING for n in parts):
            yield (
                f"d{path} is {each.z.name} without a factor 2. "
                "Keep it: the half in the loss cancels the 2 of the square's derivative."
            )


def _is_target(y: Array) -> bool:
    rounded = np.round(y)
    return bool(np.abs(y - rounded).max() < SUMS and set(np.unique(rounded)) == {0.0, 1.0})


def _passed(evidence: Evidence, path: str) -> Iterator[str]:
    """Yield a gradient that is the cotangent as it came, or a number times it, where the forward did the same."""
    claimed, x = evidence.claimed[path], evidence.point[path]
    outs = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.out, "out")]
    for dout, out in itertools.product(_cotangents(evidence, claimed.shape), outs):
        if out.shape != x.shape or x.size < 2 or not x.any():
            continue
        rate = float((out * x).sum() / (x**2).sum())
        if rate and alike(out, rate * x) and alike(claimed, rate * dout):
            how = "as it came" if rate == 1 else f"times {rate:.4g}"
            yield f"d{path} is dout {how}. Keep it: the forward does just that here, as a dropout does at test time."


def _inside(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what the backward computes on its way: p - y at the output, and 1 - h**2 for the tanh."""
    tape = tape_of(evidence)
    paths = tuple(path for path in evidence.claimed)
    said: set[str] = set()
    for step in tape.steps if tape else ():
        if step.name != "subtract" or len(step.operands) < 2:
            continue
        first, second = step.operands[:2]
        name = step.names[0] or "p"
        if evidence.outputs == 1 and _are_probabilities(first) and np.shape(second) == np.shape(first):
            if _is_target(np.asarray(second, dtype=np.float64)) and "fused" not in said:
                said.add("fused")
                sentence = (
                    f"{step.place} takes {name} minus the targets. "
                    "Keep it: the derivative of the output's sigmoid or softmax is in it already."
                )
                yield Suspicion("Z", paths, sentence, dict(evidence.claimed), 0.5)
        elif np.ndim(first) == 0 and first == 1 and np.ndim(second) and "tanh" not in said:
            for each in activations(evidence):
                h = each.a.arrays[0]
                if each.function.name == "tanh" and h.shape == np.shape(second) and alike(h**2, np.asarray(second)):
                    said.add("tanh")
                    sentence = (
                        f"{step.place} takes 1 - {each.a.name}**2, the derivative of the tanh in its output. "
                        "Keep it: no further tanh belongs there."
                    )
                    yield Suspicion("Z", paths, sentence, dict(evidence.claimed), 0.5)
                    break


def _are_probabilities(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.size > 1 and bool((array > 0).all() and (array < 1).all())


def _in_means(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield a sum without 1/N in a gradient where the mean is taken, once, elsewhere: in the loss."""
    wholes = [(path, claimed) for path, claimed in evidence.claimed.items() if claimed.ndim == 1]
    for path, claimed in wholes:
        for dout in (np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(evidence.cotangent, "dout")):
            axes = tuple(range(dout.ndim - 1))
            if dout.ndim > 1 and dout.shape[-1:] == claimed.shape and alike(claimed, dout.sum(axis=axes)):
                sentence = (
                    f"d{path} is a sum over the batch, not a mean. "
                    "Keep it: the 1/N belongs to the loss, and arrives in dout."
                )
                yield Suspicion("Z", (path,), sentence, {path: claimed})
