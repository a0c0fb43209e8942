"""Planted mistakes in the derivations, at sizes drawn by chance, for the bench of what a failing report says."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

import derivations
from derivations.bptt import BPTT
from gradcheck import Derivation
from gradcheck.shapes.sizes import generic, least
from tests.mutants import CHOICES, MISTAKES, Mistake, with_mistake
from tests.mutants.through_time import THROUGH_TIME

__all__ = ["Case", "planted_cases"]

DRAWS = ("generic", "generic again", "degenerate")
ALONE = ("N", "n", "B", "T")  # sizes that are 1 in a degenerate draw: of the batch and of time
ALIKE = {"B3": ("B2",), "B4": ("B2",)}  # what is the same thing in a batch of one: an axis of size one too many or few


class Case(NamedTuple):
    """One wrong backward at a point.

    Attributes:
        name: names it among all cases, and replays it.
        group: the derivation, or "strangers".
        draw: generic, generic again, or degenerate.
        source: whether the source of the wrong backward can be found.
        ids: the class of its mistake, and those that are honestly the same thing.
        make: makes the pair, the right backward, the point and what moves.
    """

    name: str
    group: str
    draw: str
    source: bool
    ids: tuple[str, ...]
    make: Callable[[int], Pair]


class Pair(NamedTuple):
    """A forward, its wrong and its right backward, and a point.

    ``declared`` are arguments that are wrong whatever the numbers of one call say, as where the next call differs.
    """

    forward: Callable[..., tuple[Any, Any]]
    wrong: Callable[[Any, Any], Any]
    right: Callable[[Any, Any], Any]
    args: tuple[Any, ...]
    wrt: tuple[str, ...] | None
    declared: tuple[str, ...] = ()


def planted_cases(draws: Iterable[str] = DRAWS) -> Iterator[Case]:
    """Yield every planted mistake at every draw, with its source and without; a degenerate draw without alone."""
    for record, mistakes in _tables():
        for draw in draws:
            for mistake in mistakes:
                for source in (True, False) if draw != "degenerate" else (False,):
                    name = f"{record.name}/{mistake.name}/{draw}/{'source' if source else 'no source'}"
                    alike = ALIKE.get(mistake.id, ()) if draw == "degenerate" else ()
                    ids = (mistake.id, *mistake.also, *alike)
                    make = _maker(record, mistake, draw, source=source)
                    yield Case(name, record.name, draw, source, ids, make)


def _tables() -> Iterator[tuple[Derivation, tuple[Mistake, ...]]]:
    for record in derivations.ALL:
        yield record, MISTAKES[record.name]
    for record in BPTT:
        yield record, THROUGH_TIME[record.name]


def _maker(record: Derivation, mistake: Mistake, draw: str, *, source: bool) -> Callable[[int], Pair]:
    """Return a function that makes the pair; what is drawn for a derivation is the same for all its mistakes."""

    def make(seed: int) -> Pair:
        rng = np.random.default_rng([seed, DRAWS.index(draw), zlib.crc32(record.name.encode())])
        args = record.spec.point(_sizes(record, draw, rng), seed)
        wrong = with_mistake(record.backward, mistake, source=source)
        return Pair(record.forward, wrong, record.backward, args, record.wrt)

    return make


def _sizes(record: Derivation, draw: str, rng: np.random.Generator) -> dict[str, Any]:
    sizes = generic(record.spec, rng, CHOICES.get(record.name, {}))
    if draw != "degenerate":
        return sizes
    alone = {size: 1 for size in ALONE if size in record.spec.sizes}
    return sizes | (alone or least(record.spec))
