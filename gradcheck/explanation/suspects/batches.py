"""Which axis is the batch, and what the forward does with it: measured by repeating every sample. Level 3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.explanation.evidence import Evidence
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["Batch", "batch_of"]

ATTEMPTS = 16  # choices of arrays and axes that are repeated
SAME = 1e-8  # relative: what rounding may do to a loss whose samples are repeated
DATA = ("x", "img", "image", "data", "input", "sample", "batch")  # how the name of an array of samples begins


class Batch(NamedTuple):
    """The axis along which independent samples lie.

    Attributes:
        size: the number of samples.
        name: whose size it is: ``x.shape[0]``.
        axes: the axis of every argument that holds samples, by path.
        over: what the forward does: ``sum`` or ``mean`` over the samples, or ``each`` if it keeps them apart.
    """

    size: int
    name: str
    axes: dict[str, int]
    over: str


def batch_of(evidence: Evidence) -> Batch | None:
    """Return the batch of the forward, None where no axis behaves like one or its size is 1.

    Costs one or two forward calls for each of ``ATTEMPTS`` choices; most often the first choice is right.
    """
    return evidence.once("batch", "", lambda _: _measured(evidence))


def _measured(evidence: Evidence) -> Batch | None:
    for number, axes in enumerate(_choices(evidence.arguments)):
        if number >= ATTEMPTS:
            return None
        over = _over(evidence, axes)
        if over:
            path, axis = next(iter(axes.items()))
            array = dict(_arrays(evidence.arguments))[path]
            return Batch(array.shape[axis], f"{path}.shape[{axis % array.ndim}]", axes, over)
    return None


def _choices(arguments: Arguments) -> Iterator[dict[str, int]]:
    """Yield axes that may hold samples, by path: of one array, with those that stay, and with all, of equal size."""
    arrays = dict(_arrays(arguments))
    moving = set(arguments.layout.paths)

    # The units of a layer can be repeated like samples; so an array that is called data has the last word.
    bases = [path for path in arrays if path.lower().startswith(DATA)] or sorted(arrays, key=moving.__contains__)
    for path in bases:
        for axis in (0, -1, 1):
            if not -arrays[path].ndim <= axis < arrays[path].ndim or arrays[path].shape[axis] < 2:
                continue
            fits = {
                other: found
                for other, array in arrays.items()
                if other != path and (found := _axis(array, arrays[path].shape[axis], axis)) is not None
            }
            staying = {path: axis} | {other: found for other, found in fits.items() if other not in moving}
            yield staying
            if len(staying) <= len(fits):
                yield {path: axis} | fits


def _arrays(arguments: Arguments) -> Iterator[tuple[str, Array]]:
    for name, value in zip(arguments.names, arguments.values, strict=True):
        for path, leaf in leaves(value, name):
            if isinstance(leaf, np.ndarray) and leaf.ndim:
                yield path, leaf


def _axis(array: Array, size: int, like: int) -> int | None:
    """Return the axis of ``array`` that has the given size: the one asked for, else the first or the last."""
    for axis in (like, 0, -1):
        if -array.ndim <= axis < array.ndim and array.shape[axis] == size:
            return axis
    return None


def _over(evidence: Evidence, axes: dict[str, int]) -> str | None:
    """Return what the forward does over ``axes``; None if they hold no independent samples."""
    out = evidence.out
    if evidence.outputs == 1:
        losses = [_loss(out), *(_loss(_repeated(evidence, axes, count)) for count in (2, 3))]
        if not np.isfinite(losses).all():
            return None
        first, second = losses[1] - losses[0], losses[2] - losses[1]
        allowed = SAME * max(map(abs, losses))
        if abs(first) <= allowed and abs(second) <= allowed:
            return "mean"
        return "sum" if abs(first - second) <= allowed < abs(first) else None
    twice = _repeated(evidence, axes, 2)
    if twice is None:
        return None
    return "each" if _is_twice(_first(out), _first(twice)) else None


def _repeated(evidence: Evidence, axes: dict[str, int], count: int) -> Any:
    """Return the output with every sample repeated; None where the forward refuses."""
    arguments = evidence.arguments

    def repeat(path: str, leaf: Any) -> Any:
        return np.concatenate([leaf] * count, axis=axes[path]) if path in axes else leaf

    args = tuple(
        rebuild(value, (repeat(path, leaf) for path, leaf in leaves(value, name)))
        for name, value in zip(arguments.names, arguments.fresh(), strict=True)
    )
    try:
        with np.errstate(all="ignore"):
            return evidence.forward(*args)[0]
    except Exception:  # noqa: BLE001  (a forward that refuses other sizes says that these are no samples)
        return None


def _first(out: Any) -> Array:
    return np.asarray(next(leaf for _, leaf in leaves(out, "out")), dtype=np.float64)


def _loss(out: Any) -> float:
    return float("nan") if out is None or _first(out).size != 1 else float(_first(out).ravel()[0])


def _is_twice(out: Array, twice: Array) -> bool:
    """Whether ``twice`` is ``out`` beside itself along some axis."""
    return any(
        twice.shape[axis] == 2 * out.shape[axis]
        and twice.ndim == out.ndim
        and np.concatenate([out, out], axis).shape == twice.shape
        and np.allclose(np.concatenate([out, out], axis), twice, rtol=SAME, atol=SAME * float(np.abs(out).max()))
        for axis in range(min(out.ndim, twice.ndim))
    )
