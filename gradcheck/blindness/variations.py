"""What is special about the inputs of a check, and the same inputs without it. Level 3.

A mistake hides behind something special: an axis of size 1, a symmetric matrix, a bias of zeros. Each variation takes
one such thing away and leaves the rest as it is, so that a mistake that shows on it was hidden by that thing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.blindness.facts import remedy, special
from gradcheck.trees import Array, is_float, leaves, rebuild

__all__ = ["Args", "Slot", "Variation", "variations"]

GROUPS = 120  # choices of axes that are made longer together
SHORT = (1, 2, 3)  # axes of these sizes are made longer,
LONGER = {1: 2, 2: 4, 3: 5}  # to these
MANY = 12  # arrays that are varied

Args = tuple[Any, ...]
Slot = tuple[str, int]  # the path of an array and one of its axes


class Variation(NamedTuple):
    """Other inputs, and in which way they differ.

    Attributes:
        why: what was special: ``Wh is symmetric``.
        change: what to do about it, a sentence.
        args: the other inputs.
        longer: the axes that were made longer.
        at_kinks: whether these lie at kinks on purpose, where right gradients may differ.
    """

    why: str
    change: str
    args: Args
    longer: tuple[Slot, ...] = ()
    at_kinks: bool = False


def variations(arguments: Arguments, usable: Callable[[Args], bool], rng: np.random.Generator) -> Iterator[Variation]:
    """Yield variations of ``arguments`` that are ``usable``, from the most particular to the most general."""
    for found in _candidates(arguments, usable, rng):
        if found.longer or usable(found.args):
            yield found


def _candidates(arguments: Arguments, usable: Callable[[Args], bool], rng: np.random.Generator) -> Iterator[Variation]:
    yield from _longer(arguments, 1, usable, rng)
    arrays = dict(itertools.islice(_arrays(arguments), MANY))
    for path, array in arrays.items():
        for why, change, other in _without_what_is_special(path, array, rng):
            yield Variation(why, change, _with(arguments, {path: other}))
    yield from _settings(arguments)
    for path, array in arrays.items():
        if is_float(array) and array.ndim:
            other = array + rng.standard_normal(array.shape)
            yield Variation(
                f"{path} has values that hide it",
                f"Draw {path} at random, of order 1.",
                _with(arguments, {path: other}),
            )
    for size in SHORT[1:]:
        yield from _longer(arguments, size, usable, rng)
    yield from _at_kinks(arguments, arrays, rng)
    moved = {path: array + rng.standard_normal(array.shape) for path, array in arrays.items() if is_float(array)}
    yield Variation(
        "the values hide it together", "Draw every argument at random, of order 1.", _with(arguments, moved)
    )


def _arrays(arguments: Arguments) -> Iterator[tuple[str, Array]]:
    for path, leaf in _leaves(arguments):
        if isinstance(leaf, np.ndarray) and leaf.size:
            yield path, leaf


def _leaves(arguments: Arguments) -> Iterator[tuple[str, Any]]:
    for name, value in zip(arguments.names, arguments.values, strict=True):
        yield from leaves(value, name)


def _with(arguments: Arguments, others: dict[str, Any]) -> Args:
    """Return fresh arguments with some leaves replaced; an array keeps its dtype."""

    def place(path: str, leaf: Any) -> Any:
        if path not in others:
            return leaf
        return np.asarray(others[path]).astype(leaf.dtype) if isinstance(leaf, np.ndarray) else others[path]

    return tuple(
        rebuild(value, (place(path, leaf) for path, leaf in leaves(value, name)))
        for name, value in zip(arguments.names, arguments.fresh(), strict=True)
    )


# -- sizes


def _longer(
    arguments: Arguments, size: int, usable: Callable[[Args], bool], rng: np.random.Generator
) -> Iterator[Variation]:
    """Yield the arguments with one size made longer wherever it has to be for the forward to stand it."""
    arrays = dict(_arrays(arguments))
    slots = [(path, axis) for path, array in arrays.items() for axis, n in enumerate(array.shape) if n == size]
    staying = {path for path in arrays if path not in arguments.layout.paths}
    first = next(iter(arrays), "")
    seen: set[Slot] = set()
    for seed in slots:
        if seed in seen or (seed[0] in staying and seed[0] != first):  # labels follow the data
            continue
        for group in itertools.islice(_groups(seed, slots, staying), GROUPS):
            others = {path: arrays[path] for path, _ in group}
            for path, axis in group:
                others[path] = _extended(others[path], axis, LONGER[size], rng)
            if usable(args := _with(arguments, others)):
                seen |= set(group)
                name = f"{seed[0]}.shape[{seed[1]}]"
                only = "" if size == 1 else "only "
                yield Variation(f"{name} is {only}{size}", f"Draw {name} of at least {size + 1}.", args, group)
                break


def _groups(seed: Slot, slots: list[Slot], staying: set[str]) -> Iterator[tuple[Slot, ...]]:
    """Yield axes that may be the same size as that at ``seed``: with what stays first, then with more and more."""
    following = [slot for slot in slots if slot != seed and slot[1] == seed[1] and slot[0] in staying]
    others = [slot for slot in slots if slot != seed and slot not in following]
    with_or_without = (following, []) if following else ([],)
    for more in with_or_without:
        yield seed, *more
    yield seed, *following, *(slot for slot in others if slot[1] == seed[1])
    for count in (1, 2, 3):
        for some in itertools.combinations(others, count):
            for more in with_or_without:
                yield seed, *some, *more
        for left in itertools.combinations(others, count):  # a size that many arrays share
            yield seed, *(slot for slot in others if slot not in left), *following


def _extended(array: Array, axis: int, size: int, rng: np.random.Generator) -> Array:
    """Return ``array`` with slices added along ``axis``: of a float array others like the first, else the same."""
    more = np.take(array, np.arange(size - array.shape[axis]) % array.shape[axis], axis=axis)
    if is_float(array):
        more = more * np.exp(0.5 * rng.standard_normal(more.shape)) + (more == 0) * rng.standard_normal(more.shape)
    return np.concatenate([array, more.astype(array.dtype)], axis=axis)


# -- values


def _without_what_is_special(path: str, array: Array, rng: np.random.Generator) -> Iterator[tuple[str, str, Array]]:
    """Yield what is special about the values of an array, what to do about it, and the array without it."""
    noise = np.asarray(rng.standard_normal(array.shape))
    some = rng.permutation(np.arange(array.size) % 2).reshape(array.shape)  # zeros among ones
    others: tuple[Array, ...]
    for what in special(array):
        if what == "is 1 everywhere":
            others = (some, array + 0.5 * noise) if is_float(array) else (some,)
        elif what == "is tiny":
            others = (array / np.abs(array).max() * np.abs(noise + 1),)
        elif what.startswith("has no "):
            others = (array * np.sign(noise),)
        elif what == "holds whole numbers only":
            others = (array + 0.3 * noise,)
        else:
            others = (array + noise,)
        for other in others:
            yield f"{path} {what}", remedy(path, what), other


def _settings(arguments: Arguments) -> Iterator[Variation]:
    """Yield the arguments with one number among the settings changed."""
    for path, leaf in _leaves(arguments):
        if path in arguments.layout.paths or isinstance(leaf, bool) or not isinstance(leaf, int | float | np.number):
            continue
        whole = isinstance(leaf, int | np.integer)
        others: tuple[Any, ...] = (leaf + 1, leaf - 1, leaf + 2, leaf - 2) if whole else (leaf * 1.5 + 0.3,)
        for other in others:
            if other >= 0 or leaf < 0:
                changed = _with(arguments, {path: type(leaf)(other)})
                yield Variation(f"{path} is {leaf}", f"Try another {path}, such as {other:.3g}.", changed)


def _at_kinks(arguments: Arguments, arrays: dict[str, Array], rng: np.random.Generator) -> Iterator[Variation]:
    """Yield the arguments with ties, and with zeros, where there are none."""
    for path, array in arrays.items():
        if not is_float(array) or array.size < 2:
            continue
        if len(np.unique(array)) == array.size:
            tied = np.round(array / np.abs(array).max()) * np.abs(array).max()
            made = _with(arguments, {path: tied})
            yield Variation(f"no two entries of {path} are equal", f"Draw {path} with ties.", made, at_kinks=True)
        if array.all():
            some = array * rng.permutation(np.arange(array.size) % 2).reshape(array.shape)
            made = _with(arguments, {path: some})
            yield Variation(f"no entry of {path} is 0", f"Draw {path} with some zeros.", made, at_kinks=True)
