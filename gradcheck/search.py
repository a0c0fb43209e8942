"""Group testing: which entries of one leaf are wrong, as far as a few probes can tell. Level 3.

A group of entries is moved together, by random signs of unequal size so that no two errors cancel; if its probe agrees,
none of them is wrong. A small leaf is probed entry by entry. Of a large one a few entries are looked at first, spread
over the indices of every axis; if all are wrong, so is everything, as far as was seen. If none is, one is found by
halving. Else a box is narrowed around the wrong ones, one axis after the other. What is wrong inside the box is told by
looking at entries of it, by trying outlines such as a border or a diagonal, or by halving.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Callable

import numpy as np

from gradcheck.case import Case
from gradcheck.outlines import outlines
from gradcheck.probes import Probe
from gradcheck.trees import Array

__all__ = ["Search", "SpentError", "wrong"]

SMALL = 64  # entries are probed one by one,
FEW = 32  # and so many that are left of more
FIRST = 12  # entries are looked at before anything is narrowed,
AGAIN = 8  # and so many in what is left;
CHANCE = 2  # of the first may be wrong although few entries are
TRIES = 12  # outlines that are no box are tried, at most
LATTICES = (2, 3, 5)  # every nth index is tried for these, and for their products
SCATTERED = 28  # probes for single indices of one axis, at most
MANY = 8  # indices of one axis, so many that are wrong are too many to be found singly
SEARCH = 40  # probes for the largest errors, at most: enough to reach one entry of 2²⁰;
ORDINARY = 1.5  # times the errors seen so far is not worth to be looked into


class SpentError(Exception):
    """The budget is spent."""


class Search:
    """The probes of one leaf, and what they have shown so far.

    ``box`` holds, for each axis, the indices among which all wrong entries lie as far as groups of them were probed;
    ``within`` is the same as a mask, where it is no box any more. ``many`` is how many entries are wrong at least,
    judged by the first ones looked at.
    """

    def __init__(self, case: Case, leaf: int, budget: int) -> None:
        self.case, self.leaf, self.left, self.spent = case, leaf, budget, 0
        self.shape = case.layout.shapes[leaf]
        self.start = case.layout.slices[leaf].start
        self.box = [np.arange(n) for n in self.shape]
        self.within = np.ones(self.shape, dtype=bool)
        self.singles: dict[int, Probe] = {}
        self.many = 0.0
        self.undecided = False

    # -- probes

    def probe(self, flat: Array) -> Probe:
        """Probe the entries of the leaf with the numbers ``flat`` together."""
        if not self.left:
            raise SpentError
        self.left -= 1
        self.spent += 1
        tangent = np.zeros(self.case.layout.size)
        signs = self.case.rng.choice((-1.0, 1.0), len(flat)) * self.case.rng.uniform(0.5, 1.5, len(flat))
        tangent[self.start + flat] = signs if len(flat) > 1 else 1.0
        return self.case.probe(tangent)

    def holds(self, flat: Array) -> bool:
        """Whether a wrong entry may be among the numbers ``flat``: their probe does not agree, or cannot tell."""
        if not len(flat):
            return False
        one = self.look(int(flat[0])) if len(flat) == 1 else self.probe(flat)
        if _right(one):
            return False
        self.undecided |= not wrong(one)
        return True

    def look(self, number: int) -> Probe:
        """Probe one entry, once."""
        if number not in self.singles:
            self.singles[number] = self.probe(np.array([number]))
        return self.singles[number]

    def boxed(self) -> Array:
        """Return the box as a mask."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[np.ix_(*self.box)] = True
        return mask

    def inside(self, axis: int, indices: Array) -> Array:
        """Return the numbers of the entries of the box with some indices of one axis."""
        return _numbers([indices if a == axis else taken for a, taken in enumerate(self.box)], self.shape)

    # -- narrowing

    def narrow(self) -> bool:
        """Narrow ``within`` down to the wrong entries; return whether it holds nothing else, as far as was seen."""
        if self.within.size <= SMALL:
            return self.look_at_all(np.arange(self.within.size))
        if self.sample(FIRST):
            self.spare_diagonals()
            return True
        met = sum(map(wrong, self.singles.values()))
        self.many = max(met - CHANCE, 0) / FIRST * self.within.size
        if not met:
            if not self.holds(np.arange(self.within.size)):
                return self.look_at_all(np.arange(0))
            if self.isolated():
                return self.try_outlines() or self.halve()
        for axis in sorted(range(len(self.shape)), key=self.shape.__getitem__):
            self.narrow_axis(axis)
        if self.settle() or self.try_outlines() or self.scatter():
            return True
        return self.many < self.left and self.halve()

    def isolated(self) -> bool:
        """Find one wrong entry; whether there is no other one beside it, in a line along any axis."""
        found, _ = self.find(np.arange(self.within.size), lambda numbers: numbers)
        self.look(int(found[0]))
        place = np.unravel_index(int(found[0]), self.shape)
        for axis, n in enumerate(self.shape):
            others = np.delete(np.arange(n), place[axis])
            if len(self.shape) == 1:  # a line is everything: only its neighbours are beside it
                others = others[np.abs(others - place[axis]) == 1]
            line = [others if a == axis else np.array([place[a]]) for a in range(len(self.shape))]
            if self.holds(_numbers(line, self.shape)):
                return False
        return True

    def settle(self) -> bool:
        """Whether the box holds nothing but wrong entries."""
        self.within = self.boxed()
        numbers = np.flatnonzero(self.within)
        if len(numbers) <= FEW and len(numbers) + 1 < self.left:
            return self.look_at_all(numbers) and self.alone()
        if not self.sample(AGAIN):
            return False
        self.spare_diagonals()
        return self.alone()

    def alone(self) -> bool:
        """Whether a probe of everything outside agrees; if not, everything is suspected again."""
        if self.holds(np.flatnonzero(~self.within)):
            self.within = np.ones(self.shape, dtype=bool)
            return False
        return True

    def look_at_all(self, numbers: Array) -> bool:
        """Look at every entry of ``numbers`` and keep the wrong ones."""
        found = [number for number in numbers if wrong(self.look(int(number)))]
        self.undecided |= not all(wrong(one) or _right(one) for one in self.singles.values())
        self.within = np.zeros(self.shape, dtype=bool)
        self.within.flat[found] = True
        return True

    def sample(self, count: int) -> bool:
        """Look at ``count`` entries of the box, spread over all indices and both ends of each axis; are all wrong?"""
        columns = [_spread(taken, count, self.case.rng) for taken in self.box]
        for number in np.ravel_multi_index(tuple(columns), self.shape):
            self.look(int(number))
        return all(wrong(one) for number, one in self.singles.items() if self.within.flat[number])

    def spare_diagonals(self) -> None:
        """Take a diagonal that is right out of a square of which all entries looked at are wrong."""
        for i, j in itertools.combinations(range(len(self.shape)), 2):
            if self.shape[i] == self.shape[j] == len(self.box[i]) == len(self.box[j]) and self.shape[i] > 2:
                grid = np.indices(self.shape, sparse=True)
                diagonal = self.within & (grid[i] == grid[j])
                if not self.holds(np.flatnonzero(diagonal)):
                    self.within &= ~diagonal

    def marked(self, axis: int) -> Array:
        """Return which indices of the box's axis hold an entry that was looked at and is wrong."""
        found = [number for number, one in self.singles.items() if wrong(one)]
        return np.isin(self.box[axis], np.unravel_index(np.array(found, dtype=int), self.shape)[axis])

    def narrow_axis(self, axis: int) -> None:
        """Narrow the box along one axis: to what is marked, to a range, to its two ends, to every nth index."""
        taken, marked = self.box[axis], self.marked(axis)

        def holds(indices: Array) -> bool:
            return self.holds(self.inside(axis, indices))

        if marked.all():
            return
        if marked.any() and not holds(taken[~marked]):
            self.box[axis] = taken[marked]
            return
        first = _first(taken, marked, holds)
        if not marked[first + 1 :].any() and not holds(taken[first + 1 :]):
            self.box[axis] = taken[first : first + 1]
            return
        last = len(taken) - 1 - _first(taken[first + 1 :][::-1], marked[first + 1 :][::-1], holds)
        taken, marked = taken[first : last + 1], marked[first : last + 1]
        if len(taken) > 2 and not marked[1:-1].any() and not holds(taken[1:-1]):
            self.box[axis] = taken[[0, -1]]
            return
        self.box[axis] = _lattice(taken, marked, holds)

    def try_outlines(self) -> bool:
        """Try borders, diagonals and triangles that what was looked at does not rule out."""
        self.within = self.boxed()
        looked = np.array([number for number in self.singles if self.within.flat[number]], dtype=int)
        shown = np.array([wrong(self.singles[number]) for number in looked])
        numbers = np.flatnonzero(self.within)
        fitting = (one for one in outlines(self.box, self.shape) if np.array_equal(one.has(looked), shown))
        for outline in itertools.islice(fitting, TRIES):
            part = outline.has(numbers)
            if not part.any() or self.holds(numbers[~part]):
                continue
            chosen = self.case.rng.choice(numbers[part], min(AGAIN, int(part.sum())), replace=False)
            if all(wrong(self.look(int(number))) for number in chosen):
                self.within = np.zeros(self.shape, dtype=bool)
                self.within.flat[numbers[part]] = True
                return self.alone()
        return False

    def scatter(self) -> bool:
        """Narrow the box to single indices of each axis; then settle it."""
        before = math.prod(map(len, self.box))
        for axis in sorted(range(len(self.shape)), key=lambda axis: len(self.box[axis])):
            if self.many * len(self.box[axis]) > MANY * before:
                continue
            entries, least = functools.partial(self.inside, axis), max(self.left - SCATTERED, 0)
            marked = self.marked(axis)
            kept, loose = [self.box[axis][marked]], self.box[axis][~marked]
            while len(loose) and (self.left <= least or self.holds(entries(loose))):
                found, loose = self.find(loose, entries, least)
                kept.append(found)
            self.box[axis] = np.sort(np.concatenate(kept))
        return math.prod(map(len, self.box)) < before and self.settle()

    def halve(self) -> bool:
        """Find the wrong entries of the box one after the other, for as long as the budget lasts."""
        self.within = self.boxed()
        rest = np.setdiff1d(np.flatnonzero(self.within), list(self.singles))
        while self.holds(rest):
            found, rest = self.find(rest, lambda numbers: numbers)
            self.look(int(found[0]))
        return self.look_at_all(np.array(list(self.singles))) and self.alone()

    def find(self, group: Array, entries: Callable[[Array], Array], least: int = 0) -> tuple[Array, Array]:
        """Halve a group of which one holds a wrong entry; return that one, and those that nothing is known of.

        If the first half does not hold one, the other does, unprobed. Once only ``least`` probes are left the group is
        returned as it is by then.
        """
        rest = [group[:0]]
        while len(group) > 1 and self.left > least:
            half, other = np.array_split(group, 2)
            if self.holds(entries(half)):
                rest.append(other)
                group = half
            else:
                group = other
        return group, np.concatenate(rest)

    # -- what was found

    def worst(self) -> None:
        """Halve towards the larger gap, where a group is more wrong than the entries that were looked at."""
        stop = max(self.left - SEARCH, 0)
        numbers = np.setdiff1d(np.flatnonzero(self.within), list(self.singles))
        order = itertools.count()
        waiting = [(-math.inf, next(order), numbers)] if len(numbers) else []
        while waiting:
            gap, _, group = heapq.heappop(waiting)
            seen = [_gap(one) for one in self.singles.values() if wrong(one)]
            if seen and -gap <= ORDINARY * math.hypot(*seen) * math.sqrt(len(group) / len(seen)):
                continue
            for half in np.array_split(group, min(2, len(group))):
                if self.left == stop:
                    return
                if len(half) == 1:
                    self.look(int(half[0]))
                else:
                    heapq.heappush(waiting, (-_gap(self.probe(half)), next(order), half))


def _right(one: Probe) -> bool:
    """Whether a probe shows that nothing along its tangent is wrong: it agrees, at a point without a kink."""
    return one.agrees and math.isfinite(one.error) and not one.kink


def wrong(one: Probe) -> bool:
    """Whether a probe contradicts the gradient, and no kink may be why."""
    return not one.agrees and math.isfinite(one.error) and math.isfinite(one.gap) and not one.kink


def _gap(one: Probe) -> float:
    return one.gap if math.isfinite(one.gap) else 0.0


def _numbers(box: list[Array], shape: tuple[int, ...]) -> Array:
    """Return the numbers, in memory order, of the entries of a box."""
    return np.ravel(np.ravel_multi_index(np.ix_(*box), shape)) if box else np.zeros(1, dtype=int)


def _spread(taken: Array, count: int, rng: np.random.Generator) -> Array:
    """Return ``count`` of the indices in random order: all if there are so few, else both ends and some between."""
    if len(taken) <= count:
        drawn = np.resize(rng.permutation(taken), count)
    else:
        strata = np.linspace(1, len(taken) - 1, count - 1).astype(int)
        between = [rng.integers(low, high) for low, high in itertools.pairwise(strata)]
        drawn = taken[[0, *between, len(taken) - 1]]
    return rng.permutation(drawn)


def _first(taken: Array, marked: Array, holds: Callable[[Array], bool]) -> int:
    """Return the place of the first index that holds a wrong entry, knowing that one does."""
    high = int(np.argmax(marked)) if marked.any() else len(taken) - 1
    if not high or holds(taken[:1]):
        return 0
    if marked.any() and not holds(taken[1:high]):
        return high
    low = 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(taken[low : middle + 1]) else (middle + 1, high)
    return low


def _lattice(taken: Array, marked: Array, holds: Callable[[Array], bool]) -> Array:
    """Return every nth of the indices, if it is both ends and no index between that hold a wrong entry."""
    for n in LATTICES:
        while len(taken) > n and (len(taken) - 1) % n == 0:
            off = np.arange(len(taken)) % n != 0
            if marked[off].any() or holds(taken[off]):
                break
            taken, marked = taken[::n], marked[::n]
    return taken
