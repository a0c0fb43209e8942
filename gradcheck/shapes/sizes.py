"""Which sizes are drawn: generic ones first, on which no mistake hides, then degenerate ones on purpose. Level 0.

generic    no size is 1, all are different, and no two have a common divisor where there are enough numbers
one alone  a size is at its smallest, and the others are generic
equal      two sizes are the same
square     all sizes are the same
long       a size is much longer than the others, which are small; once more so that blocks of 32 do not hold it
smallest   every size is at its smallest
empty      a size is 0
any        each size is drawn by itself: 1, small, long, or the same as another

A *round* has each of these once, and as many again of any kind; rounds follow each other with other numbers.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.shapes.specification import MOST, Sizes, Specification

__all__ = [
    "FEW",
    "Drawn",
    "generic",
    "is_size",
    "least",
    "mixed",
    "pick",
    "rounds",
    "smaller",
    "values_of",
    "whole_numbers",
]

GENERIC = 8  # generic sizes are below this, or below the number of sizes
SPARE = 4  # and so many more, so that each has some to choose from
NEXT = 4  # of the smallest generic sizes that are left, one is taken: more make too many entries together
SMALL = (2, 3, 4)
LONG = tuple(range(8, 17))
LONGEST = 33  # past the blocks of 16 and 32 in which arrays are often cut
AXES = ((), (2,), (3, 2), (1,))  # what stands for several axes; the generic ones in front
FEW = 1024  # entries of all arguments, if there is a choice of sizes with no more
TRIES = 100  # before a choice of sizes is given up

Drawn = tuple[str, dict[str, Any]]  # why these sizes, and the sizes


def values_of(spec: Specification, name: str) -> tuple[Any, ...]:
    """Return the values that a size may have, smallest first; those that are named, or the usual ones."""
    if name in spec.choices:
        return spec.choices[name]
    return AXES if name in spec.axes else (1, *SMALL, 5, 6, 7, *LONG)


def whole_numbers(spec: Specification, name: str, last: int) -> tuple[int, ...]:
    """Return the values that a size may have, and where none are named ``last`` and some below it if it is larger."""
    near = (last - 8, last - 4, last - 2, last - 1, last)
    return values_of(spec, name) + (() if name in spec.choices else tuple(v for v in near if v > max(LONG)))


def generic(spec: Specification, rng: np.random.Generator, fixed: Sizes | None = None) -> dict[str, Any]:
    """Return sizes on which no mistake hides; those that are ``fixed`` stay.

    Raises:
        ValueError: no sizes were found that obey what the specification says.
    """
    fixed = fixed or {}
    if len(fixed) == len(spec.sizes):
        return dict(fixed)
    for way, most in ((_coprime, FEW), (_coprime, math.inf), (_any, FEW), (_any, math.inf)):
        if (found := _found(spec, lambda way=way: way(spec, rng, fixed), most)) is not None:  # type: ignore[misc]
            return found
    problem = spec.problem(_any(spec, rng, fixed)) or "hold"
    raise ValueError(
        f"shapes must {problem}, but no choice of {', '.join(spec.sizes)} did so in {4 * TRIES} tries, in "
        f"{spec.text!r}. Name values, as in ; {next(iter(spec.sizes), 'N')} in 2 3 5."
    )


def mixed(spec: Specification, rng: np.random.Generator) -> dict[str, Any]:
    """Return sizes of any kind: each is drawn by itself.

    Raises:
        ValueError: as :func:`generic`.
    """
    return _found(spec, lambda: _any(spec, rng, {}), FEW) or generic(spec, rng)


def least(spec: Specification) -> dict[str, Any]:
    """Return sizes of which none can be smaller, and of each setting the value in front.

    Raises:
        ValueError: as :func:`generic`.
    """
    sizes: Sizes = generic(spec, np.random.default_rng(0))
    while (found := next((each for name in spec.sizes for each in smaller(spec, sizes, name)), None)) is not None:
        sizes = found
    return dict(sizes)


def rounds(spec: Specification, rng: np.random.Generator) -> Iterator[Drawn]:
    """Yield sizes for ever; the first of them generic, with each of the values that are named for a setting."""
    yield "generic", generic(spec, rng)
    for name in filter(functools.partial(_is_setting, spec), spec.sizes):
        for value in spec.choices[name]:
            yield from _with(spec, rng, "generic", {name: value})
    while True:
        planned = list(_round(spec, rng))
        for why, fixed in planned:
            yield from _with(spec, rng, why, fixed)
            if (sizes := _found(spec, lambda: _any(spec, rng, {}), FEW)) is not None:
                yield "any", sizes


def smaller(spec: Specification, sizes: Sizes, name: str) -> Iterator[Sizes]:
    """Yield sizes of which ``name`` is smaller, alone or with what is equal to it; a setting stands further in front.

    The smallest first; an axis that is empty stays so, and no other becomes so.
    """
    least = 1 if spec.problem(sizes) is None else 0
    if not is_size(spec, name):
        values = values_of(spec, name)
        earlier = values[: values.index(sizes[name])] if sizes[name] in values else values
        yield from _possible(spec, ({**sizes, name: value} for value in earlier), least)
        return
    equal = [other for other in spec.sizes if is_size(spec, other) and other != name and sizes[other] == sizes[name]]
    together = dict.fromkeys([(name,), *((name, other) for other in equal), (name, *equal)])
    for value in sorted(value for value in whole_numbers(spec, name, sizes[name]) if value < sizes[name]):
        yield from _possible(spec, ({**sizes, **dict.fromkeys(names, value)} for names in together), least)


def _possible(spec: Specification, choices: Iterable[Sizes], least: int) -> Iterator[Sizes]:
    yield from (sizes for sizes in choices if spec.problem(sizes, least) is None)


def _round(spec: Specification, rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is fixed in each draw of a round, beside what is generic, and why."""
    free = [name for name in spec.sizes if is_size(spec, name)]
    smallest = {name: min(values_of(spec, name)) for name in free}
    yield "generic", {}
    yield "smallest", {name: value for name, value in least(spec).items() if name in free or name in spec.axes}
    for name in free:
        yield "one alone", {name: smallest[name]}
    for one, other in itertools.combinations(free, 2):
        both = sorted(set(values_of(spec, one)) & set(values_of(spec, other)) - {0, 1})
        if both:
            yield "equal", dict.fromkeys((one, other), both[int(rng.integers(min(len(both), 4)))])
    same = sorted(set.intersection(*(set(values_of(spec, name)) for name in free)) - {0, 1}) if free else []
    if same and len(free) > 2:
        yield "square", dict.fromkeys(free, same[int(rng.integers(min(len(same), 2)))])
    for name in free:
        others = {
            other: pick(rng, [v for v in values_of(spec, other) if 1 < v < 4] or [smallest[other]]) for other in free
        }
        usual = values_of(spec, name)
        yield "long", {**others, name: pick(rng, [v for v in usual if v in LONG] or [max(usual)])}
        if name not in spec.choices:
            yield "long", {**others, name: LONGEST}
    for name in free:
        if name not in spec.choices:
            yield "empty", {name: 0}
    for name in spec.axes:
        for value in AXES:
            yield "axes", {name: value}


def _with(spec: Specification, rng: np.random.Generator, why: str, fixed: dict[str, Any]) -> Iterator[Drawn]:
    """Yield generic sizes but for those that are fixed, if there are such."""
    least = 0 if why == "empty" else 1
    sizes = _found(spec, lambda: _coprime(spec, rng, fixed), FEW, least)
    if sizes is not None:
        yield why, sizes


def _found(
    spec: Specification, draw: Callable[[], dict[str, Any]], most: float, least: int = 1
) -> dict[str, Any] | None:
    """Return the first sizes that are drawn and make a point of at most so many entries; None if there were none."""
    for _ in range(TRIES):
        sizes = draw()
        if spec.problem(sizes, least, min(most, MOST)) is None:
            return sizes
    return None


def _coprime(spec: Specification, rng: np.random.Generator, fixed: Sizes) -> dict[str, Any]:
    """Return sizes of at least 2, all different, and no two with a common divisor where the values allow it."""
    taken = [value for value in fixed.values() if type(value) is int]
    sizes: dict[str, Any] = {}
    pool = range(2, max(GENERIC, len(spec.sizes) + SPARE))
    for name in map(str, rng.permutation(list(spec.sizes))):
        if name in fixed:
            sizes[name] = fixed[name]
            continue
        if _is_setting(spec, name) or name in spec.axes:
            sizes[name] = pick(rng, AXES[1:3] if name in spec.axes else values_of(spec, name))
            continue
        values = [v for v in spec.choices.get(name, pool) if v > 1]
        product = math.prod(value for value in taken if value)
        apart = [v for v in values if math.gcd(v, product) == 1][:NEXT]
        sizes[name] = pick(rng, apart or [v for v in values if v not in taken] or values or values_of(spec, name))
        taken.append(sizes[name])
    return {name: sizes[name] for name in spec.sizes}


def _any(spec: Specification, rng: np.random.Generator, fixed: Sizes) -> dict[str, Any]:
    """Return sizes that are drawn each by itself: 1, small, long, or the same as another one."""
    sizes: dict[str, Any] = {}
    for name in spec.sizes:
        values = values_of(spec, name)
        if name in fixed:
            sizes[name] = fixed[name]
            continue
        if not is_size(spec, name):
            sizes[name] = pick(rng, values)
            continue
        same = [sizes[other] for other in sizes if sizes[other] in values]
        kinds = ([min(values)], [v for v in values if v in SMALL], [v for v in values if v > max(SMALL)], same)
        chosen = kinds[int(rng.choice(4, p=(0.3, 0.4, 0.15, 0.15)))]
        sizes[name] = pick(rng, chosen or values)
    return sizes


def is_size(spec: Specification, name: str) -> bool:
    """Whether a name stands for one whole number, and not for a setting of another kind or for several axes."""
    return name not in spec.axes and all(type(value) is int for value in spec.choices.get(name, ()))


def _is_setting(spec: Specification, name: str) -> bool:
    """Whether a value is chosen that is no axis by itself, such as a word, a stride or a padding: 1 hides nothing."""
    if name not in spec.choices or not is_size(spec, name):
        return name in spec.choices
    return spec.made is None and name not in spec.alone


def pick(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    """Return one of some values as it is, of its own type."""
    return values[int(rng.integers(len(values)))]
