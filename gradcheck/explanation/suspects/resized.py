"""Whether a repair is right at other sizes too: a factor of 2 is the batch only if it is 3 in a batch of 3. Level 3.

Every size of the arguments is cut by one, where the forward stands that, and the repaired gradients are probed there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.explanation.evidence import Evidence
from gradcheck.oracles.difference import central_difference
from gradcheck.pairing import Pairing
from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.laws import match_gradients

__all__ = ["holds_resized"]

MOST = 4  # sizes that are cut
LARGE = 4000  # entries: larger arguments take too long to measure again
NEAR = 1e-5  # relative: how well a repaired gradient has to meet the slopes there
DULL = 1e-9  # relative to the gradient's norm: a slope that is smaller tells nothing

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]


def holds_resized(
    evidence: Evidence, forward: Forward, backward: Backward, factors: Mapping[str, float] | None = None
) -> bool | None:
    """Return whether ``backward`` gives the true gradients at other sizes; None where none can be had.

    Asked are the arguments that are wrong; with ``factors``, those in it, each times its factor.
    """
    if evidence.arguments.layout.size > LARGE:
        return None
    asked = dict.fromkeys(evidence.wrong, 1.0) if factors is None else dict(factors)
    told: bool | None = None
    for args in _cut(evidence.arguments):
        try:
            with np.errstate(all="ignore"):
                verdict = _is_right(evidence, forward, backward, args, asked)
        except Exception:  # noqa: BLE001, S112  (a pair that refuses other sizes says nothing about them)
            continue
        if verdict is False:
            return False
        told = told or verdict
    return told


def _cut(arguments: Arguments) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments with every axis of one size a step shorter, for each of the first sizes."""
    shapes = [
        np.shape(leaf)
        for name, value in zip(arguments.names, arguments.values, strict=True)
        for _, leaf in leaves(value, name)
        if isinstance(leaf, np.ndarray)
    ]
    sizes = [size for size in dict.fromkeys(size for shape in shapes for size in shape) if size > 1]

    def shorter(leaf: Any, size: int) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        return leaf[tuple(slice(length - (length == size)) for length in leaf.shape)].copy()

    for size in sizes[:MOST]:
        yield tuple(rebuild(arg, (shorter(leaf, size) for _, leaf in leaves(arg, ""))) for arg in arguments.fresh())


def _is_right(
    evidence: Evidence, forward: Forward, backward: Backward, args: tuple[Any, ...], asked: Mapping[str, float]
) -> bool | None:
    arguments = Arguments.of(forward, args, evidence.arguments.layout.paths)
    out, cache = forward(*arguments.fresh())
    cotangent = rebuild(out, (_like(evidence.rng, leaf) for _, leaf in leaves(out, "out")))
    claims = match_gradients(name_of(backward), backward(cotangent, cache), arguments).gradients
    layout, tangent, slope, size = arguments.layout, np.zeros(arguments.layout.size), 0.0, 0.0
    for path, part in zip(layout.paths, layout.slices, strict=True):
        gradient = claims.get(path)
        if path not in asked:
            continue
        if gradient is None or not np.isfinite(gradient).all():
            return None
        repaired = asked[path] * np.ravel(gradient).astype(np.float64)
        norm = float(np.linalg.norm(repaired)) or 1.0
        tangent[part] = evidence.rng.standard_normal(part.stop - part.start) / norm
        slope += float(repaired @ tangent[part])
        size += 1.0
    pairing = Pairing.at_point(forward, arguments, cotangent)
    estimate = central_difference(pairing, arguments.point)(tangent)
    value, error = float(estimate.value), float(estimate.error) + float(estimate.kink)
    if not np.isfinite(error) or error > NEAR * size or max(abs(value), abs(slope)) <= DULL * size:
        return None
    return abs(value - slope) <= 4 * error + NEAR * size


def _like(rng: np.random.Generator, leaf: Any) -> Any:
    drawn: Array = np.asarray(rng.standard_normal(np.shape(leaf)))
    return drawn.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)
