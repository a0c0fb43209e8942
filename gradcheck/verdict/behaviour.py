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
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.trees import leaves, rebuild
from gradcheck.verdict.laws import match_gradients
from gradcheck.verdict.memory import sharing
from gradcheck.verdict.trial import Breach, Run, Sketches, Trial, close, each, is_array, moving_arrays, run, sketched

__all__ = ["Watched", "breaches", "leaks", "second", "shared"]

LARGE = {8: 2.0**20, 4: 2.0**6, 2: 2.0}  # a power of two scales without rounding


class Watched(NamedTuple):
    """What the first run showed: laws that it broke, and a second cotangent with what its cache gave for that.

    ``second`` is None where the backward refused the second call.
    """

    broken: tuple[Breach, ...]
    second: tuple[Any, Sketches] | None


def breaches(trial: Trial, rng: np.random.Generator, watched: Watched | None = None) -> list[Breach]:
    """Return the laws that the backward of ``trial`` breaks; a law for a leaf that broke an earlier one is left out.

    Of a backward that is not clean on its own nothing else can be said; ``watched`` says how, where a run was watched
    already. The laws that are left are tried all at once first, and one by one only where that fails.
    """
    watched = _watched(trial, rng) if watched is None else watched
    if watched.broken or (watched.second and _all_hold(trial, rng, *watched.second)):
        return list(watched.broken)
    found = list(_repeatable(trial))
    if found:
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


def _watched(trial: Trial, rng: np.random.Generator) -> Watched:
    first = run(trial.forward, trial.backward, trial.arguments, lambda _out: trial.cotangent)
    broken = (*first.written, *shared(trial, first))
    return Watched(broken, None if broken else second(trial, first.cache, rng))


def second(trial: Trial, cache: Any, rng: np.random.Generator) -> tuple[Any, Sketches] | None:
    """Call the backward once more with the cache of a first call, for another cotangent, a broadcast view."""
    other = each(lambda leaf: _broadcast(_normal(leaf, rng)), trial.cotangent)
    try:
        with np.errstate(all="ignore"):
            return other, sketched(trial.match(trial.backward(other, cache)))
    except Exception:  # noqa: BLE001  (one by one it will show what the code refuses)
        return None


def _all_hold(trial: Trial, rng: np.random.Generator, other: Any, parts: Sketches) -> bool:
    """Whether repeatable, linear, isolated and layout hold at once: one more call of the backward instead of nine.

    With ȳ the cotangent, w̄ another one and c a large number, backward(cȳ + cw̄) = c backward(ȳ) + c backward(w̄). The
    last was called with the cache of the first, and w̄ is a broadcast view; cȳ + cw̄ and the arguments lie in another
    memory order, and another forward came between.
    """
    factor = _factor(trial)
    try:
        with np.errstate(all="ignore"):
            out, cache = trial.forward(*_laid(trial.arguments, _reversed))
            same = all(close(a, b) for (_, a), (_, b) in zip(leaves(out, "out"), leaves(trial.out, "out"), strict=True))
            del out
            if _holds_arrays(cache):
                trial.forward(*_elsewhere(trial.arguments, rng))
            sums = each(lambda leaf, more: _sum(factor, leaf, more), trial.cotangent, other)
            total = sketched(trial.match(trial.backward(sums, cache)))
            del sums, cache
    except Exception:  # noqa: BLE001  (one by one it will show which of them the code refuses)
        return False
    return same and not any(trial.differing(trial.sketches, total, factor, parts))


def shared(trial: Trial, first: Run) -> Iterator[Breach]:
    """Look for memory that a later write into one gradient would corrupt."""
    found = match_gradients(trial.who, first.returned, trial.arguments).gradients
    gradients = {f"d{path}": leaf for path, leaf in found.items() if leaf is not None}
    arrays = moving_arrays(first.args, trial.arguments)
    for name, other in sharing(itertools.chain(gradients.items(), arrays.items())):
        if name in gradients:
            yield Breach(
                None, f"{trial.who} must return memory of its own, but {name} shares it with {other}. Return a copy."
            )


def _repeatable(trial: Trial) -> Iterator[Breach]:
    """Call the backward a second time with one cache."""
    who = f"{trial.who} must give the same gradients when it is called again with the same cache"
    _, cache = trial.forward(*trial.arguments.fresh())
    trial.backward(each(np.copy, trial.cotangent), cache)
    try:
        again = sketched(trial.match(trial.backward(each(np.copy, trial.cotangent), cache)))
    except Exception as error:  # noqa: BLE001  (whatever the second call raises, the first did not)
        yield Breach(None, f"{who}, but it raised {type(error).__name__}. Leave the cache as it is.")
        return
    for path, apart in trial.differing(trial.sketches, again):
        yield Breach(
            path,
            f"{who}, but d{path} differs by {apart:.2g} of its norm. "
            "Look for an accumulator that is not reset, or a changed cache.",
        )


def _linear(trial: Trial, rng: np.random.Generator) -> Iterator[Breach]:
    """Check backward(cȳ) = c backward(ȳ) and backward(ȳ + w̄) = backward(ȳ) + backward(w̄)."""
    factor = _factor(trial)
    other = each(lambda leaf: _normal(leaf, rng), trial.cotangent)
    scaled = sketched(trial.pull(each(lambda leaf: np.multiply(leaf, factor), trial.cotangent)))
    changed = dict(trial.differing(scaled, trial.sketches))
    broken = dict(trial.differing(scaled, trial.sketches, 1 / factor))
    for path in broken:
        what = (
            f"{factor:.0f} times the cotangent does not give {factor:.0f} times d{path}. "
            "Look for clipping, normalising or a constant that is added"
            if path in changed
            else f"d{path} does not depend on it. Multiply by the cotangent"
        )
        yield Breach(path, f"{trial.who} must be linear in the cotangent, but {what}.")
    total = sketched(trial.pull(each(np.add, trial.cotangent, other)))
    parts = sketched(trial.pull(other))
    for path, _ in trial.differing(trial.sketches, total, plus=parts):
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
    found = sketched(trial.match(trial.backward(each(np.copy, trial.cotangent), cache)))
    for path, apart in trial.differing(found, trial.sketches):
        yield Breach(
            path,
            f"{name_of(trial.forward)} must not disturb the cache of an earlier call, but then d{path} differs by "
            f"{apart:.2g} of its norm. Copy what is kept, instead of a buffer that is used again.",
        )


def _layout(trial: Trial, _rng: np.random.Generator) -> Iterator[Breach]:
    """Present the same numbers Fortran-ordered with negative strides, and the cotangent as a broadcast view."""
    args = _laid(trial.arguments, _reversed)
    yield from _same_in(trial, "reversed, Fortran-ordered", args, each(_reversed, trial.cotangent), trial.sketches)
    flat = each(_broadcast, trial.cotangent)
    yield from _same_in(trial, "broadcast", trial.arguments.fresh(), flat, sketched(trial.pull(flat)))


def _same_in(trial: Trial, order: str, args: tuple[Any, ...], cotangent: Any, expected: Sketches) -> Iterator[Breach]:
    try:
        with np.errstate(all="ignore"):
            out, cache = trial.forward(*args)
            found = sketched(trial.match(trial.backward(cotangent, cache)))
    except Exception:  # noqa: BLE001  (code may insist on one layout; to refuse another is clear enough)
        return
    for (path, here), (_, there) in zip(leaves(out, "out"), leaves(trial.out, "out"), strict=True):
        if not close(here, there):
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


def _normal(leaf: Any, rng: np.random.Generator) -> Any:
    return rng.standard_normal(np.shape(leaf))


def _factor(trial: Trial) -> float:
    """Return by what a cotangent is scaled, so that clipping bites and no number overflows."""
    return min((LARGE[min(gradient.dtype.itemsize, 8)] for gradient in trial.gradients.values()), default=1.0)


def _holds_arrays(cache: Any) -> bool:
    return any(is_array(leaf) for _, leaf in leaves(cache, "cache"))


def _elsewhere(arguments: Arguments, rng: np.random.Generator) -> tuple[Any, ...]:
    point = rng.random(arguments.layout.size)
    point *= 0.5
    point += 0.75
    for part, leaf in zip(arguments.layout.unflatten(point), arguments.moving_leaves, strict=True):
        np.multiply(part, leaf, out=part)
    if all(dtype == np.float64 for dtype in arguments.layout.dtypes):
        return arguments.at(point)
    return arguments.moved(point).fresh()


def _laid(arguments: Arguments, lay: Callable[[Any], Any]) -> tuple[Any, ...]:
    moving = set(arguments.layout.paths)

    def laid(path: str, leaf: Any) -> Any:
        return lay(leaf) if is_array(leaf) and path in moving else leaf

    return tuple(
        rebuild(arg, (laid(*pair) for pair in leaves(arg, name)))
        for name, arg in zip(arguments.names, arguments.fresh(), strict=True)
    )


def _reversed(array: Any) -> Any:
    flip = (slice(None, None, -1),) * np.ndim(array)
    return np.asfortranarray(np.asarray(array)[flip])[flip] if np.ndim(array) else array


def _sum(factor: float, leaf: Any, more: Any) -> Any:
    """Return ``factor · (leaf + more)``, reversed and Fortran-ordered."""
    if not np.ndim(leaf):
        return factor * (leaf + more)
    total = np.empty(leaf.shape, leaf.dtype, order="F")[(slice(None, None, -1),) * leaf.ndim]
    np.add(leaf, more, out=total)
    total *= factor
    return total


def _broadcast(array: Any) -> Any:
    if not np.ndim(array) or array.shape[0] < 2:
        return array
    return np.broadcast_to(np.asarray(array)[:1].copy(), array.shape)
