"""How a backward has to behave whatever the numbers are: laws that need no oracle. Level 3.

untouched     arguments and cotangent are not written into
repeatable    a second call with the same cache gives the same (a consumed cache, stale accumulation)
linear        in the cotangent: additive and homogeneous (an ignored cotangent, clipping)
isolated      another forward does not disturb an earlier cache (buffers that are used again)
separate      gradients share no memory with the arguments or with one another
layout        the same numbers in another memory order give the same output and the same gradients
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.laws import match_gradients
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["Breach", "Trial", "breaches", "leaks"]

SAME = {8: 1e-7, 4: 0.1, 2: 0.5}  # how far two runs of one code may be apart, by the bytes of a number; sums may cancel
LOOSE = 1e-2  # likewise for the output itself
LARGE = {8: 2.0**20, 4: 2.0**6, 2: 2.0}  # a power of two scales without rounding

Gradients = dict[str, Array]


class Breach(NamedTuple):
    """A law that does not hold, for the gradient of one leaf (None: for the backward as a whole)."""

    path: str | None
    sentence: str


@dataclass(frozen=True)
class Trial:
    """A forward and a backward at a point: the output, and one cotangent with the gradients that it gave."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    out: Any
    cotangent: Any
    gradients: Gradients

    @property
    def who(self) -> str:
        """What to call the backward."""
        return name_of(self.backward)

    def pull(self, cotangent: Any, args: tuple[Any, ...] | None = None) -> Gradients:
        """Return the gradients of ``cotangent`` from a fresh forward; those that were gradients the first time."""
        with np.errstate(all="ignore"):
            _, cache = self.forward(*(self.arguments.fresh() if args is None else args))
            return self.match(self.backward(_each(np.copy, cotangent), cache))

    def match(self, returned: Any) -> Gradients:
        """Return by leaf the gradients in what the backward returned."""
        found = match_gradients(self.who, returned, self.arguments).gradients
        return {path: gradient.copy() for path in self.gradients if (gradient := found[path]) is not None}

    def tolerance(self, path: str) -> float:
        """How far two runs of the same code may be apart in one gradient, relative to its norm."""
        cotangents = (np.asarray(leaf).dtype.itemsize for _, leaf in leaves(self.cotangent, "dout"))
        return SAME[min(self.gradients[path].dtype.itemsize, *cotangents, 8)]

    def differing(self, some: Gradients, others: Gradients) -> Iterator[tuple[str, float]]:
        """Yield the leaves whose gradients differ, and by how much, relative to the larger."""
        for path, gradient in some.items():
            a, b = (np.asarray(g, dtype=np.float64) for g in (gradient, others.get(path, np.nan * gradient)))
            size = max(_norm(a), _norm(b))
            apart = _norm(a - b) if np.isfinite(a).all() and np.isfinite(b).all() else np.inf
            if not apart <= self.tolerance(path) * size:
                yield path, apart / size


def breaches(trial: Trial, rng: np.random.Generator) -> list[Breach]:
    """Return the laws that the backward of ``trial`` breaks; a law for a leaf that broke an earlier one is left out.

    Of a backward that is not clean on its own nothing else can be said. The laws that are left are tried all at once
    first, and one by one only where that fails.
    """
    found = list(_clean(trial))
    if found or _all_hold(trial, rng):
        return found
    for law in (_linear, _isolated, _layout):
        known = {breach.path for breach in found}
        found += [breach for breach in law(trial, rng) if breach.path not in known]
    return found


def leaks(trial: Trial, axes: Mapping[str, int], rng: np.random.Generator) -> list[Breach]:
    """Return where the cotangent of one sample reaches the gradient of another.

    ``axes`` gives the axis along which independent samples lie, of the output ``out`` and of arguments by their path.
    """
    count = np.shape(trial.out)[axes["out"]]
    one = int(rng.integers(count))
    alone = np.zeros_like(trial.cotangent)
    keep = (slice(None),) * axes["out"] + (one,)
    alone[keep] = trial.cotangent[keep]
    found = []
    for path, gradient in trial.pull(alone).items():
        if path in axes and np.any(np.delete(gradient, one, axis=axes[path])):
            found.append(
                Breach(
                    path,
                    f"{trial.who} must keep independent samples apart, but the cotangent of sample {one} of {count} "
                    f"reaches d{path} of others. Look for a sum or a mean over the samples.",
                )
            )
    return found


def _clean(trial: Trial) -> Iterator[Breach]:
    """Run one forward and its backward, then the backward once more: untouched, separate, repeatable."""
    args, cotangent = trial.arguments.fresh(), _each(np.copy, trial.cotangent)
    moving = set(trial.arguments.layout.paths)
    named = [pair for name, arg in zip(trial.arguments.names, args, strict=True) for pair in leaves(arg, name)]
    arrays = {path: leaf for path, leaf in named if path in moving and _is_array(leaf)}
    before = {path: leaf.copy() for path, leaf in arrays.items()}
    _, cache = trial.forward(*args)
    if written := _changed(arrays, before):
        yield Breach(None, f"{name_of(trial.forward)} must not write into its arguments, but it changed {written}.")
        return
    returned = trial.backward(cotangent, cache)
    if written := _changed(arrays, before):
        yield Breach(None, f"{trial.who} must not write into the forward's arguments, but it changed {written}.")
    if written := _changed(dict(leaves(cotangent, "dout")), dict(leaves(trial.cotangent, "dout"))):
        yield Breach(None, f"{trial.who} must not write into the cotangent, but it changed {written}. Work on a copy.")
    yield from _shared(trial, returned, arrays)
    yield from _repeated(trial, cache, trial.match(returned))


def _all_hold(trial: Trial, rng: np.random.Generator) -> bool:
    """Whether linear, isolated and layout hold at once: half the calls that they take one by one."""
    factor = _factor(trial)
    try:
        with np.errstate(all="ignore"):
            out, cache = trial.forward(*_laid(trial.arguments, _reversed))
            if _holds_arrays(cache):
                trial.forward(*_elsewhere(trial.arguments, rng))
            large = _each(lambda leaf: _reversed(factor * leaf), trial.cotangent)
            scaled = trial.match(trial.backward(large, cache))
            flat = _each(lambda leaf: _broadcast(rng.standard_normal(np.shape(leaf))), trial.cotangent)
            _, cache = trial.forward(*trial.arguments.fresh())
            parts = trial.match(trial.backward(flat, cache))
            total = trial.pull(_each(np.add, trial.cotangent, flat))
    except Exception:  # noqa: BLE001  (one by one it will show which of them the code refuses)
        return False
    same = all(_close(a, b) for (_, a), (_, b) in zip(leaves(out, "out"), leaves(trial.out, "out"), strict=True))
    sums = {path: trial.gradients[path] + parts[path] for path in parts}
    unscaled = {path: gradient / factor for path, gradient in scaled.items()}
    return same and not any(trial.differing(unscaled, trial.gradients)) and not any(trial.differing(total, sums))


def _changed(now: dict[str, Any], before: dict[str, Any]) -> str | None:
    return next((path for path, leaf in now.items() if not np.array_equal(leaf, before[path])), None)


def _shared(trial: Trial, returned: Any, arrays: dict[str, Array]) -> Iterator[Breach]:
    """Look for memory that a later write into one gradient would corrupt."""
    found = match_gradients(trial.who, returned, trial.arguments).gradients
    gradients = [(f"d{path}", leaf) for path, leaf in found.items() if leaf is not None]
    pairs = itertools.chain(itertools.product(gradients, arrays.items()), itertools.combinations(gradients, 2))
    for (name, gradient), (other, array) in pairs:
        if gradient.size and np.may_share_memory(gradient, array) and np.shares_memory(gradient, array):
            yield Breach(
                None, f"{trial.who} must return memory of its own, but {name} shares it with {other}. Return a copy."
            )


def _repeated(trial: Trial, cache: Any, first: Gradients) -> Iterator[Breach]:
    """Call the backward a second time with its cache."""
    who = f"{trial.who} must give the same gradients when it is called again with the same cache"
    try:
        second = trial.match(trial.backward(_each(np.copy, trial.cotangent), cache))
    except Exception as error:  # noqa: BLE001  (whatever the second call raises, the first did not)
        yield Breach(None, f"{who}, but it raised {type(error).__name__}. Leave the cache as it is.")
        return
    for path, apart in trial.differing(first, second):
        yield Breach(
            path,
            f"{who}, but d{path} differs by {apart:.2g} of its norm. "
            "Look for an accumulator that is not reset, or a changed cache.",
        )


def _linear(trial: Trial, rng: np.random.Generator) -> Iterator[Breach]:
    """Check backward(cȳ) = c backward(ȳ) and backward(ȳ + w̄) = backward(ȳ) + backward(w̄)."""
    factor = _factor(trial)
    other = _each(lambda leaf: rng.standard_normal(np.shape(leaf)), trial.cotangent)
    scaled = trial.pull(_each(lambda leaf: factor * leaf, trial.cotangent))
    changed = dict(trial.differing(scaled, trial.gradients))
    broken = dict(trial.differing({path: gradient / factor for path, gradient in scaled.items()}, trial.gradients))
    for path in broken:
        what = (
            f"{factor:.0f} times the cotangent does not give {factor:.0f} times d{path}. "
            "Look for clipping, normalising or a constant that is added"
            if path in changed
            else f"d{path} does not depend on it. Multiply by the cotangent"
        )
        yield Breach(path, f"{trial.who} must be linear in the cotangent, but {what}.")
    total = trial.pull(_each(np.add, trial.cotangent, other))
    parts = trial.pull(other)
    sums = {path: trial.gradients[path] + parts[path] for path in parts}
    for path, _ in trial.differing(total, sums):
        if path not in broken:
            yield Breach(path, f"{trial.who} must be additive in the cotangent, but d{path} of a sum is not the sum.")


def _isolated(trial: Trial, rng: np.random.Generator) -> Iterator[Breach]:
    """Run another forward before the backward of the first; only a cache that holds arrays promises to stand that."""
    _, cache = trial.forward(*trial.arguments.fresh())
    if not _holds_arrays(cache):
        return
    try:
        with np.errstate(all="ignore"):
            trial.forward(*_elsewhere(trial.arguments, rng))
    except Exception:  # noqa: BLE001  (it may refuse the other point; then it is not run there)
        return
    for path, apart in trial.differing(
        trial.match(trial.backward(_each(np.copy, trial.cotangent), cache)), trial.gradients
    ):
        yield Breach(
            path,
            f"{name_of(trial.forward)} must not disturb the cache of an earlier call, but then d{path} differs by "
            f"{apart:.2g} of its norm. Copy what is kept, instead of a buffer that is used again.",
        )


def _layout(trial: Trial, _rng: np.random.Generator) -> Iterator[Breach]:
    """Present the same numbers Fortran-ordered with negative strides, and the cotangent as a broadcast view."""
    args = _laid(trial.arguments, _reversed)
    yield from _same_in(trial, "reversed, Fortran-ordered", args, _each(_reversed, trial.cotangent), trial.gradients)
    flat = _each(_broadcast, trial.cotangent)
    yield from _same_in(trial, "broadcast", trial.arguments.fresh(), flat, trial.pull(flat))


def _same_in(trial: Trial, order: str, args: tuple[Any, ...], cotangent: Any, expected: Gradients) -> Iterator[Breach]:
    try:
        with np.errstate(all="ignore"):
            out, cache = trial.forward(*args)
            found = trial.match(trial.backward(cotangent, cache))
    except Exception:  # noqa: BLE001  (code may insist on one layout; to refuse another is clear enough)
        return
    for (path, here), (_, there) in zip(leaves(out, "out"), leaves(trial.out, "out"), strict=True):
        if not _close(here, there):
            yield Breach(
                None,
                f"{name_of(trial.forward)} must give the same {path} in every memory order, but {order} ones change it",
            )
            return
    for path, apart in trial.differing(found, expected):
        yield Breach(
            path,
            f"{trial.who} must give the same gradients in every memory order, but with {order} arrays d{path} differs "
            f"by {apart:.2g} of its norm. Look for a reshape or a view that depends on the order.",
        )


def _factor(trial: Trial) -> float:
    """Return by what a cotangent is scaled, so that clipping bites and no number overflows."""
    return min((LARGE[min(gradient.dtype.itemsize, 8)] for gradient in trial.gradients.values()), default=1.0)


def _holds_arrays(cache: Any) -> bool:
    return any(_is_array(leaf) for _, leaf in leaves(cache, "cache"))


def _elsewhere(arguments: Arguments, rng: np.random.Generator) -> tuple[Any, ...]:
    point = arguments.point
    return arguments.moved(point * (1 + 0.1 * rng.standard_normal(point.size))).fresh()


def _close(here: Any, there: Any) -> bool:
    return bool(np.allclose(here, there, rtol=LOOSE, atol=LOOSE * float(np.max(np.abs(there), initial=0.0))))


def _laid(arguments: Arguments, lay: Callable[[Any], Any]) -> tuple[Any, ...]:
    moving = set(arguments.layout.paths)

    def laid(path: str, leaf: Any) -> Any:
        return lay(leaf) if _is_array(leaf) and path in moving else leaf

    return tuple(
        rebuild(arg, (laid(*pair) for pair in leaves(arg, name)))
        for name, arg in zip(arguments.names, arguments.fresh(), strict=True)
    )


def _reversed(array: Any) -> Any:
    flip = (slice(None, None, -1),) * np.ndim(array)
    return np.asfortranarray(array[flip])[flip] if np.ndim(array) else array


def _broadcast(array: Any) -> Any:
    return np.broadcast_to(array[:1], array.shape) if np.ndim(array) and len(array) > 1 else array


def _each(function: Callable[..., Any], *trees: Any) -> Any:
    """Apply ``function`` to the arrays of some trees of one form, keeping the type and dtype of the first's leaves."""
    rows = zip(*([leaf for _, leaf in leaves(tree, "")] for tree in trees), strict=True)
    return rebuild(trees[0], (_like(row[0], function(*row)) for row in rows))


def _like(leaf: Any, value: Any) -> Any:
    if _is_array(leaf):
        return value if value.dtype == leaf.dtype else value.astype(leaf.dtype)
    return type(leaf)(np.reshape(value, ())[()])


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray)


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array))
