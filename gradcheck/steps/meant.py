"""What a value of the backward could be meant to be: the cotangents of the forward, in the shape of the value. Level 3.

All cotangents that fit one shape lie as rows in one matrix, so that the question which of them makes the gradients
right (influence.py) is one product for all. The turns of a loop are asked together, each against the turns of a place
of the forward, in either direction, and with up to two turns that are done before or after the loop.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gradcheck.steps.match import Sight
from gradcheck.trees import Array

__all__ = ["Meaning", "Meant"]

SPARE = 2  # turns of the forward, or of the backward, that are done beside the loop
ORDERS = 8  # of axes in which one cotangent is tried at a place of another shape
ENTRIES = 4_000_000  # of one matrix of cotangents at most

Order = Callable[[Array], Array]  # of arrays that lie along the first axis of one


class Meaning(NamedTuple):
    """What some turns of a place could be: ``truths``, along their first axis, cotangents of ``of`` in the forward.

    ``use`` says whether these are the parts of single uses alone, ``factor`` how many times the backward has them until
    it returns.
    """

    nodes: tuple[int, ...]
    truths: Array
    of: tuple[int, ...]
    use: bool
    factor: float


class Family(NamedTuple):
    """The turns of a place of the forward that have one shape, and their cotangents, or the parts of single uses.

    The cotangents lie along the first axis of ``bars``.
    """

    of: tuple[int, ...]
    bars: Array
    use: bool


class Rows(NamedTuple):
    """Cotangents in the shape of a value, as the rows of a matrix, and whose they are."""

    matrix: Array
    of: tuple[int, ...]
    use: tuple[bool, ...]


class Meant:
    """The cotangents of a run, by shape and by place."""

    def __init__(self, sight: Sight) -> None:
        self.sight, self.run = sight, sight.run

    @functools.cached_property
    def families(self) -> list[Family]:
        """The places of the forward with a cotangent, the last first, and then the single uses of their values."""
        sight, nodes = self.sight, self.run.nodes
        bars = {i: np.asarray(bar) for i, bar in sight.bars.nodes.items() if nodes[i].kind != "const"}
        found: list[Family] = []
        for ids in sight.turns(sorted(bars, reverse=True)).values():
            found += families(sorted(ids), [bars[i] for i in sorted(ids)], use=False)
        uses: dict[object, list[tuple[int, int]]] = {}
        for i, k in sorted(sight.bars.edges):
            uses.setdefault((nodes[i].site, k), []).append((i, k))
        for some in uses.values():
            of = [nodes[i].parents[k] for i, k in some]
            if len({nodes[i].site for i in of}) > 1 or any(len(sight.uses[i]) > 1 for i in of):
                found += families(of, [np.asarray(sight.bars.edges[use]) for use in some], use=True)
        return found

    @functools.cache  # noqa: B019  (it lives as long as the run)
    def rows(self, shape: tuple[int, ...]) -> Rows:
        """Return all cotangents that fit a shape: as they are, in another shape, or with their axes exchanged."""
        size, found = math.prod(shape), []
        for of, bars, use in self.families:
            for j in range(len(of)) if bars[0].size == size else ():
                found += [(order(bars[j : j + 1]).ravel(), of[j], use) for order in orders(bars.shape[1:], shape)]
        found = found[: max(ENTRIES // max(size, 1), 1)]
        matrix = np.stack([row for row, *_ in found]) if found else np.empty((0, size))
        return Rows(matrix, tuple(of for _, of, _ in found), tuple(use for *_, use in found))

    def single(self, node: int, fits: Callable[[Array], Array]) -> Iterator[Meaning]:
        """Yield what one value could be, of all that its shape allows: where ``fits`` says so of the rows."""
        shape = np.shape(self.run.value(node))
        rows = self.rows(shape)
        for factor in self.sight.factors:
            for j in np.flatnonzero(fits(factor * rows.matrix)):
                truths = factor * rows.matrix[j].reshape(1, *shape)
                yield Meaning((node,), truths, (rows.of[j],), rows.use[j], factor)

    def turns(self, ids: Sequence[int]) -> Iterator[Meaning]:
        """Yield what the turns of a place could be together: the cotangents of as many turns of the forward."""
        shapes = [np.shape(self.run.value(i)) for i in ids]
        if len(set(shapes)) > 1:
            return
        for family in self.families:
            for some, of, bars in aligned(ids, family, shapes[0]):
                for order in orders(bars.shape[1:], shapes[0]):
                    for factor in self.sight.factors:
                        yield Meaning(tuple(some), factor * order(bars), tuple(of), family.use, factor)


def families(of: Sequence[int], bars: Sequence[Array], *, use: bool) -> Iterator[Family]:
    """Yield the turns of a place of the forward, those of each shape together."""
    for shape in dict.fromkeys(bar.shape for bar in bars):
        some = [j for j, bar in enumerate(bars) if bar.shape == shape]
        yield Family(tuple(of[j] for j in some), np.stack([bars[j] for j in some]), use)


def aligned(
    ids: Sequence[int], family: Family, shape: tuple[int, ...]
) -> Iterator[tuple[Sequence[int], Sequence[int], Array]]:
    """Yield turns of a place, and which turns of a place of the forward they could be."""
    of, bars, size = family.of, family.bars, math.prod(shape)
    if len(of) == 1:
        if not family.use and size and bars[0].size == size * len(ids):  # a batch, done one by one
            for axis, count in enumerate(bars[0].shape):
                if count == len(ids):
                    yield ids, of * count, np.moveaxis(bars[0], axis, 0)
    elif bars[0].size == size and abs(len(of) - len(ids)) <= SPARE:
        most = min(len(of), len(ids))
        for n in (most, most - 1) if len(of) == len(ids) and most > 2 else (most,):
            for order in (slice(None, None, -1), slice(None)):
                for i, j in itertools.product(range(len(ids) - n + 1), range(len(of) - n + 1)):
                    yield ids[i : i + n], of[order][j : j + n], bars[order][j : j + n]


@functools.lru_cache(maxsize=1024)
def orders(given: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[Order, ...]:
    """Return the ways to bring arrays of one shape into another: as they are, or with their axes exchanged."""
    if given == wanted:
        return (lambda bars: bars,)
    if math.prod(given) != math.prod(wanted):
        return ()
    found: list[Order] = [lambda bars: bars.reshape(-1, *wanted)]
    if 2 <= len(given) <= 6:
        others = itertools.islice(itertools.permutations(range(len(given))), 1, None)
        fitting = (p for p in others if is_coarser([given[a] for a in p], wanted))
        found += [functools.partial(_exchanged, axes=p, shape=wanted) for p in itertools.islice(fitting, ORDERS)]
    return tuple(found)


def _exchanged(bars: Array, axes: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    return bars.transpose(0, *(axis + 1 for axis in axes)).reshape(-1, *shape)


def is_coarser(fine: Sequence[int], coarse: Sequence[int]) -> bool:
    """Whether neighbouring axes of lengths ``fine`` can be joined into axes of lengths ``coarse``."""
    rest = iter(fine)
    for length in coarse:
        product = 1
        while product < length:
            product *= next(rest, length + 1)
        if product != length:
            return False
    return True
