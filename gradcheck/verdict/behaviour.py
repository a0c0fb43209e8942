"""How a backward has to behave whatever the numbers are: laws that need no oracle. Level 3.

untouched     arguments and cotangent are not written into
repeatable    a second call with the same cache gives the same (a consumed cache, stale accumulation)
linear        in the cotangent: homogeneous and additive (an ignored cotangent, clipping), also where that is ones,
              zeros, equal rows or zeros but for a one
isolated      another forward does not disturb an earlier cache (buffers that are used again)
layout        the same numbers in another memory order give the same output and the same gradients

What changes somebody's numbers fails. To refuse a cotangent or a memory order by raising is no more than a remark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, by_name, name_of
from gradcheck.errors import told
from gradcheck.hints import Sentence
from gradcheck.report import Verdict
from gradcheck.trees import leaves
from gradcheck.verdict.cotangents import broadcast, fortran, handed, plain, ratio, scale_of, summed
from gradcheck.verdict.laws import match_gradients
from gradcheck.verdict.memory import shared
from gradcheck.verdict.repeatable import repeatable
from gradcheck.verdict.sketch import sketch
from gradcheck.verdict.trial import Breach, Sketches, Trial, apart, close, each, is_array, run

__all__ = ["Again", "Answers", "Watched", "answers", "breaches", "leaks", "run_again"]

UNKNOWN = {"": math.nan}  # an alarm of which nothing is known
TURNED = "Fortran-ordered arguments"
SHOWN = 80  # characters of what was raised
ALONE = ("least", "noise", "rounding")  # the levels of rounding of runs with the same arguments
FACTOR = {8: -16.0, 4: -16.0, 2: -2.0}  # by the bytes of a number: clipping bites, and a solver still returns
SUMMED = 12.0  # cotangents, on both sides, of the size of the first one
MORE = 4.0  # times as large is a cotangent alone as the terms of the sum that showed something
BENT = 1e-3  # of what was summed: a smaller deviation from a linear map is imprecision, which the oracles judge
SPARE = 2.0  # times a tolerance may be the deviation, which inexact gradients on both sides add up to

Refused = dict[str, Exception]  # by what was refused


class Answers(NamedTuple):
    """The sum of the gradients of all cotangents that ``seed`` gives, and which memory orders were refused, and how."""

    seed: int
    total: Sketches
    refused: Refused


class Watched(NamedTuple):
    """What the first run showed: broken laws, remarks, and what its cache gave for further cotangents.

    ``answers`` is None where the backward refused one of them.
    """

    broken: tuple[Breach, ...]
    answers: Answers | None


class Again(NamedTuple):
    """A second call of the forward, Fortran-ordered if that was not ``refused``: its cache, and what its output shows.

    ``same`` is whether that is the first one but for a loose tolerance, and ``off`` how far it is from that at most.
    """

    cache: Any
    same: bool
    off: float
    refused: Refused


def breaches(
    trial: Trial, rng: np.random.Generator, watched: Watched | None = None, again: Again | None = None
) -> list[Breach]:
    """Return the laws that the backward of ``trial`` breaks; a law for a leaf that broke an earlier one is left out.

    Of a backward that is not clean on its own nothing else can be said; ``watched`` says how, where a run was watched
    already, and ``again`` what a second forward gave. The laws that are left are tried all at once first, and one by
    one only where that fails. If it fails and no law does, that is undecided.
    """
    broken, heard = _watched(trial, rng) if watched is None else watched
    if any(breach.verdict is Verdict.FAIL for breach in broken):
        return list(broken)
    alarm, refused = _together(trial, rng, heard, again or run_again(trial)) if heard else (UNKNOWN, {})
    found = list(repeatable(trial)) if alarm else []
    if heard and alarm and not found:  # what is repeatable shows its rounding
        alarm, refused = _together(trial, rng, heard, run_again(trial), (*ALONE, "sensitivity"))
    if alarm and not found:
        refused = {}
        for law in (_linear, _handed, _isolated, _layout):
            found += _first_of_each(law(trial, rng, refused), {breach.path for breach in found})
        if all(breach.path for breach in found):
            found += _first_of_each(_undecided(trial, alarm), {breach.path for breach in found})
    return [*broken, *found, *_refusals(trial, refused)]


def _first_of_each(found: Iterator[Breach], known: set[str | None]) -> Iterator[Breach]:
    """Yield the first breach for each leaf that is not known."""
    for breach in found:
        if breach.path not in known:
            known.add(breach.path)
            yield breach


def leaks(trial: Trial, axes: Mapping[str, int], rng: np.random.Generator) -> list[Breach]:
    """Return where the cotangent of one sample reaches the gradient of another.

    ``axes`` gives the axis along which independent samples lie, of the output ``out`` and of arguments by their path.
    """
    count = np.shape(trial.out)[axes["out"]]
    one = int(rng.integers(count))
    alone = np.zeros_like(trial.cotangent)
    keep = (slice(None),) * axes["out"] + (one,)
    alone[keep] = trial.cotangent[keep]
    _, cache = trial.forward(*trial.arguments.fresh())
    found = []
    for path, gradient in trial.match(trial.backward(alone, cache)).items():
        if path in axes and np.any(np.delete(gradient, one, axis=axes[path])):
            found.append(
                Breach(
                    path,
                    Sentence(
                        f"{trial.who} must keep independent samples apart, but the cotangent of sample {one} of "
                        f"{count} reaches d{path} of others.",
                        "Look for a sum or a mean over the samples.",
                    ),
                )
            )
    return found


def answers(trial: Trial, cache: Any, rng: np.random.Generator) -> Answers | None:
    """Call the backward with the cache of a first call for every cotangent that real code hands down.

    None where it refuses one of them also in C order; one by one it will show which.
    """
    seed = int(rng.integers(2**63))
    total: Sketches | None = None
    refused: Refused = {}
    try:
        for _, order, cotangent in handed(trial.cotangent, seed):
            found = _answer(trial, cotangent, cache, order, refused)
            total = found if total is None else {path: total[path] + found[path] for path in total.keys() & found}
    except Exception:  # noqa: BLE001  (one by one it will show what the code refuses)
        return None
    return Answers(seed, total or {}, refused)


def _answer(trial: Trial, cotangent: Any, cache: Any, order: str | None, refused: Refused) -> Sketches:
    """Return the gradients of a cotangent in a memory order; in C order where that is refused, which is noted."""
    try:
        return trial.answer(cotangent, cache)
    except Exception as error:  # noqa: BLE001  (code may insist on one layout, or on an array)
        found = trial.answer(plain(trial.cotangent, cotangent), cache)
        if order:
            refused[f"a {order} cotangent"] = error
        return found


def _watched(trial: Trial, rng: np.random.Generator) -> Watched:
    first = run(trial.forward, trial.backward, trial.arguments, lambda _out: trial.cotangent)
    gradients = match_gradients(trial.who, first.returned, trial.arguments).gradients
    broken = (*first.written, *shared(trial.who, gradients, first, trial.arguments))
    return Watched(broken, None if first.written else answers(trial, first.cache, rng))


def run_again(trial: Trial) -> Again | None:
    """Call the forward once more, in another memory order if it takes that; None where it raises."""
    refused: Refused = {}
    try:
        with np.errstate(all="ignore"):
            try:
                out, cache = trial.forward(*trial.arguments.fresh(fortran))
            except Exception as error:  # noqa: BLE001  (code may insist on one layout)
                out, cache = trial.forward(*trial.arguments.fresh())
                refused[TURNED] = error
            pairs = [
                (now, kept) for (_, now), (_, kept) in zip(leaves(out, "out"), leaves(trial.out, "out"), strict=True)
            ]
            apart_by = [apart(sketch(now), sketch(kept)) for now, kept in pairs]
    except Exception:  # noqa: BLE001  (one by one it will show what the code refuses; that is no wrong number)
        return None
    off = max(off / size if off else 0.0 for off, size in apart_by)
    return Again(cache, all(close(now, kept) for now, kept in pairs), off, refused)


def _together(
    trial: Trial, rng: np.random.Generator, heard: Answers, again: Again | None, levels: Sequence[str] = ALONE[:1]
) -> tuple[dict[str, float], Refused]:
    """Return in which leaves repeatable, linear, isolated and layout do not hold at once, and what was refused.

    One more call of the backward instead of some thirty. With ȳ the cotangent, w̄ others and c a number,
    backward(cȳ + Σ cw̄) = c backward(ȳ) + Σ c backward(w̄). The last were called with the cache of the first; cȳ + Σ cw̄
    and the arguments lie in another memory order, and another forward came between.
    """
    if again is None:
        return dict.fromkeys(trial.sketches, np.nan), dict(heard.refused)
    factor, refused = _factor(trial), heard.refused | again.refused
    try:
        with np.errstate(all="ignore"):
            if _holds_arrays(again.cache):
                _disturb(trial, rng)
            handed_down = summed(trial.cotangent, factor, heard.seed)
            total = _answer(trial, handed_down, again.cache, "Fortran-ordered", refused)
    except Exception:  # noqa: BLE001  (one by one it will show what the code refuses; that is no wrong number)
        return dict.fromkeys(trial.sketches, np.nan), refused
    parts = {path: trial.sketches[path] + heard.total[path] for path in heard.total}
    missing = dict.fromkeys(trial.sketches.keys() - (parts if again.same else {}), np.inf)
    return missing | dict(trial.differing(parts, total, factor, runs=SUMMED * abs(factor), levels=levels)), refused


def _undecided(trial: Trial, alarm: Mapping[str, float]) -> Iterator[Breach]:
    for path, off in alarm.items():
        if path in trial.gradients and off > _bent(trial):
            yield Breach(
                path,
                f"{trial.who} must be linear in the cotangent, but for {_factor(trial):.0f} times the sum of random "
                f"numbers, ones, equal rows and a single one, Fortran-ordered, d{path} is off by {off:.2g} of the sum "
                "of their gradients. No law by itself shows why.",
                Verdict.INCONCLUSIVE,
            )


def _linear(trial: Trial, rng: np.random.Generator, refused: Refused) -> Iterator[Breach]:
    """Check backward(cȳ) = c backward(ȳ) and backward(ȳ + w̄) = backward(ȳ) + backward(w̄) for random numbers."""
    factor, bent = MORE * _factor(trial), _bent(trial)
    scaled = trial.ask(each(lambda leaf: np.multiply(leaf, factor), trial.cotangent))
    if isinstance(scaled, Exception):
        refused[f"a cotangent multiplied by {factor:.0f}"] = scaled
        scaled = {path: factor * gradient for path, gradient in trial.sketches.items()}
    broken = dict(trial.differing(trial.sketches, scaled, factor, bent=bent, runs=2 * abs(factor), levels=ALONE))
    changed = dict(trial.differing(scaled, trial.sketches, bent=bent))
    for path in broken:
        if path in changed:
            what = f"{factor:.0f} times the cotangent does not give {factor:.0f} times d{path}"
            hint = "Look for clipping, normalising, an absolute value or a constant that is added."
        else:
            what, hint = f"d{path} does not depend on it", "Multiply by the cotangent."
        yield Breach(path, Sentence(f"{trial.who} must be linear in the cotangent, but {what}.", hint))
    other = each(lambda leaf: scale_of(leaf) * rng.standard_normal(np.shape(leaf)), trial.cotangent)
    total, parts = trial.ask(each(np.add, trial.cotangent, other)), trial.ask(other)
    if isinstance(total, Exception) or isinstance(parts, Exception):
        return
    sums = {path: trial.sketches[path] + parts[path] for path in parts}
    for path, _ in trial.differing(sums, total, bent=bent, runs=4, levels=ALONE):
        if path not in broken:
            what = f"{trial.who} must be additive in the cotangent, but d{path} of a sum is not the sum."
            yield Breach(path, Sentence(what))


def _handed(trial: Trial, rng: np.random.Generator, refused: Refused) -> Iterator[Breach]:
    """Check the cotangents w̄ that real code hands down: backward(w̄) = backward(w̄ + cȳ) − c backward(ȳ).

    There c makes cȳ about as large as w̄, so that a small w̄ is not lost in the sum.
    """
    bent = _bent(trial)
    told: set[str] = set()
    for words, _, cotangent in handed(trial.cotangent, int(rng.integers(2**63))):
        own = plain(trial.cotangent, cotangent)
        factor = ratio(own, trial.cotangent)
        found = trial.ask(own)
        both = trial.ask(each(lambda leaf, more, c=factor: leaf + c * np.asarray(more), own, trial.cotangent))
        if isinstance(found, Exception):
            refused[f"a cotangent of {words}"] = found
        if isinstance(found, Exception) or isinstance(both, Exception):
            continue
        sums = {path: factor * trial.sketches[path] + found[path] for path in trial.sketches if path in found}
        off = dict.fromkeys(trial.sketches.keys() - sums, np.inf)
        off |= trial.differing(sums, both, bent=bent, runs=4 * max(factor, 1.0), levels=ALONE)
        for path in off.keys() - told:
            told.add(path)
            what = f"differs by {off[path]:.2g} of its norm from what others imply" if path in sums else "is not finite"
            yield Breach(
                path,
                Sentence(
                    f"{trial.who} must be linear in the cotangent, but for a cotangent of {words} d{path} {what}.",
                    "Look for a case that is treated by itself, or a division by it.",
                ),
            )


def _isolated(trial: Trial, rng: np.random.Generator, _refused: Refused) -> Iterator[Breach]:
    """Run another forward before the backward of the first; only a cache that holds arrays promises to stand that."""
    try:
        with np.errstate(all="ignore"):
            _, cache = trial.forward(*trial.arguments.fresh())
        if not _holds_arrays(cache) or not _disturb(trial, rng):
            return
        found = trial.answer(each(np.copy, trial.cotangent), cache)
    except Exception:  # noqa: BLE001  (then the gradients are missing, as they are where they are not finite)
        found = {}
    for path, off in trial.differing(found or trial.sketches, trial.sketches if found else {}):
        yield Breach(
            path,
            Sentence(
                f"{name_of(trial.forward)} must not disturb the cache of an earlier call, but then d{path} differs by "
                f"{off:.2g} of its norm.",
                "Copy what is kept, instead of a buffer that is used again.",
            ),
        )


def _disturb(trial: Trial, rng: np.random.Generator) -> bool:
    """Run the forward at another point; whether it went there."""
    try:
        with np.errstate(all="ignore"):
            trial.forward(*_elsewhere(trial.arguments, rng))
    except Exception:  # noqa: BLE001  (it may refuse the other point; then it is not run there)
        return False
    return True


def _layout(trial: Trial, _rng: np.random.Generator, refused: Refused) -> Iterator[Breach]:
    """Present the same numbers Fortran-ordered, and the cotangent also as a broadcast view."""
    fresh, given, found = trial.arguments.fresh, trial.cotangent, trial.sketches
    yield from _same_in(trial, TURNED, fresh(fortran), each(np.copy, given), found, refused)
    yield from _same_in(trial, "a Fortran-ordered cotangent", fresh(), each(fortran, given), found, refused)
    rows = each(broadcast, given)
    if not isinstance(expected := trial.ask(each(np.array, rows)), Exception):
        yield from _same_in(trial, "a broadcast cotangent", fresh(), rows, expected, refused)


def _same_in(
    trial: Trial, what: str, args: tuple[Any, ...], cotangent: Any, expected: Sketches, refused: Refused
) -> Iterator[Breach]:
    try:
        with np.errstate(all="ignore"):
            out, cache = trial.forward(*args)
    except Exception as error:  # noqa: BLE001  (code may insist on one layout; to refuse another is clear enough)
        refused[what] = error
        return
    for (path, here), (_, there) in zip(leaves(out, "out"), leaves(trial.out, "out"), strict=True):
        if not close(here, there):
            yield Breach(
                None,
                f"{name_of(trial.forward)} must give the same {path} in every memory order, but {what} change it.",
            )
            return
    try:
        found = trial.answer(cotangent, cache)
    except Exception as error:  # noqa: BLE001  (as above)
        refused[what] = error
        return
    for path, off in trial.differing(expected, found, runs=1, levels=(*ALONE, "sensitivity")):
        yield Breach(
            path,
            Sentence(
                f"{trial.who} must give the same gradients in every memory order, but with {what} d{path} differs by "
                f"{off:.2g} of its norm.",
                "Look for a reshape or a view that depends on the order.",
            ),
        )


def _refusals(trial: Trial, refused: Refused) -> Iterator[Breach]:
    """Yield the remark that some input is refused by raising: that is loud where it matters, and no wrong number."""
    if refused:
        error = next(iter(refused.values()))
        came = told(error)[:SHOWN].rstrip(".")
        sentence = f"{trial.who} was not tried with {by_name(refused)}, for which was raised {came}."
        yield Breach(None, sentence, Verdict.PASS)


def _bent(trial: Trial) -> float:
    """How far a backward may be from linear, relative to what was summed."""
    return max(BENT, SPARE * trial.tol)


def _factor(trial: Trial) -> float:
    """Return by what a cotangent is scaled: so that clipping bites, an absolute value shows, and nothing overflows."""
    return max((FACTOR[min(gradient.dtype.itemsize, 8)] for gradient in trial.gradients.values()), default=1.0)


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
