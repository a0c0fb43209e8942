"""Group testing: which entries of one leaf are wrong, as far as a few probes can tell. Level 3.

A group of entries is moved together, by random signs of unequal size so that no two errors cancel; if its probe agrees,
none of them is wrong. A small leaf is probed entry by entry. Of a large one a few entries are looked at first, spread
over the indices of every axis; if all are wrong, so is everything, as far as was seen. If none is, a single wrong entry
is found by weighing, and one of several by halving. Else a box is narrowed around the wrong ones, one axis after the
other. What is wrong inside the box is told by looking at entries of it, by trying outlines such as a border or a
diagonal, by tables over some axes, or by halving.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Callable

import numpy as np

from gradcheck.trees import Array
from gradcheck.verdict.axes import cornered, first_of, lattice, numbers_of, spread
from gradcheck.verdict.case import Case
from gradcheck.verdict.outlines import Where, outlines, tables
from gradcheck.verdict.probes import Probe

__all__ = ["Search", "SpentError", "wrong"]

SMALL = 64  # entries are probed one by one,
FEW = 32  # and so many that are left of more
PINPOINT = 2  # entries that are left are looked at instead of weighed
ROUNDED = 1e-12  # of the leaf: what rounding does to a ratio of gaps
FIRST = 12  # entries are looked at before anything is narrowed,
AGAIN = 8  # and so many in what is left;
CHANCE = 2  # of the first may be wrong although few entries are
TRIES = 12  # outlines that are no box are tried, at most
SCATTERED = 28  # probes for single indices of one axis, at most
MANY = 8  # indices of one axis, so many that are wrong are too many to be found singly
SEARCH = 40  # probes for the largest errors, at most: enough to reach one entry of 2²⁰ by halving;
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
        tangent = np.zeros(self.within.size)
        tangent[flat] = self.signs(len(flat)) if len(flat) > 1 else 1.0
        return self.along(tangent)

    def signs(self, count: int) -> Array:
        """Return random signs of unequal size, between a half and one and a half."""
        drawn: Array = self.case.rng.uniform(-1.0, 1.0, count)
        drawn += np.copysign(0.5, drawn)
        return drawn

    def along(self, part: Array) -> Probe:
        """Probe the leaf along ``part``, one number for each of its entries."""
        if not self.left:
            raise SpentError
        self.left -= 1
        self.spent += 1
        tangent = part
        if len(part) < self.case.layout.size:
            tangent = np.zeros(self.case.layout.size)
            tangent[self.start : self.start + len(part)] = part
        return self.case.probe(tangent, roughly=True)

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
        return numbers_of([indices if a == axis else taken for a, taken in enumerate(self.box)], self.shape)

    # -- narrowing

    def narrow(self) -> bool:
        """Narrow ``within`` down to the wrong entries; return whether it holds nothing else, as far as was seen."""
        if self.within.size <= SMALL:
            return self.look_at_all(np.arange(self.within.size))
        if self.sample(FIRST):
            self.spare()
            return True
        met = sum(map(wrong, self.singles.values()))
        self.many = max(met - CHANCE, 0) / FIRST * self.within.size
        if not met:
            found = self.weigh()
            if found is not None and self.look_at_all(found) and (self.within.any() or not len(found)):
                return True
            self.within = np.ones(self.shape, dtype=bool)
            if self.isolated():
                return self.try_outlines() or self.halve()
        for axis in sorted(range(len(self.shape)), key=self.shape.__getitem__):
            self.narrow_axis(axis)
        if self.settle() or self.try_all_but() or self.try_outlines() or self.try_tables() or self.scatter():
            return True
        return self.many < self.left and self.halve()

    def weigh(self) -> Array | None:
        """Return the numbers of a few entries, one of them wrong and all others of the leaf right.

        None are returned where nothing is wrong, and no array where it is not a single entry that is. The gap of a
        single one grows in proportion when its part of the tangent does; so that of two probes, with the parts of the
        second growing along the leaf from one to two times those of the first, the ratio says which it is.
        """
        low, high = 0, self.within.size
        while high - low > PINPOINT:
            part = np.zeros(self.within.size)
            part[low:high] = self.signs(high - low)
            light = self.along(part)
            if not wrong(light):
                self.undecided |= not _right(light)
                return np.arange(0) if _right(light) and high - low == self.within.size else None
            part[low:high] *= np.linspace(1.0, 2.0, high - low, endpoint=False)
            heavy = self.along(part)
            ratio = (heavy.claimed - heavy.measured) / (light.claimed - light.measured)
            unsure = (heavy.error + abs(ratio) * light.error) / light.gap + ROUNDED
            least, most = (low + (high - low) * (ratio - 1 + side * unsure) for side in (-1, 1))
            if not (math.isfinite(unsure) and least < high and most > low - 1 and most - least < (high - low) / 2):
                return None
            low, high = max(math.ceil(least), low), min(math.floor(most) + 1, high)
        part = self.signs(self.within.size)
        part[low:high] = 0.0
        return np.arange(low, high) if low < high and _right(self.along(part)) else None

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
            if self.holds(numbers_of(line, self.shape)):
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
        self.spare()
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
        columns = [cornered(spread(taken, count, self.case.rng), taken) for taken in self.box]
        numbers = dict.fromkeys(np.ravel_multi_index(tuple(columns), self.shape).tolist())
        fresh = [number for number in numbers if number not in self.singles]
        if len(fresh) > 2 and _right(self.look(fresh[0])):  # so may be the others, together
            together = self.probe(np.array(fresh[1:]))
            if _right(together):
                self.singles |= dict.fromkeys(fresh[1:], together)
        for number in numbers:
            self.look(number)
        return all(wrong(one) for number, one in self.singles.items() if self.within.flat[number])

    def spare(self) -> None:
        """Take out of a box of which all entries looked at are wrong what is right: zeros, a diagonal of a square."""
        zeros = self.within & ~self.support()
        if 0 < zeros.sum() < self.within.sum() and not self.holds(np.flatnonzero(zeros)):
            self.within &= ~zeros
        for i, j in itertools.combinations(range(len(self.shape)), 2):
            if self.shape[i] == self.shape[j] == len(self.box[i]) == len(self.box[j]) and self.shape[i] > 2:
                grid = np.indices(self.shape, sparse=True)
                diagonal = self.within & (grid[i] == grid[j])
                if not self.holds(np.flatnonzero(diagonal)):
                    self.within &= ~diagonal

    def support(self) -> Array:
        """Return where the claimed gradient is not zero: a mask that went into it is seen there."""
        claimed = self.case.gradient[self.case.layout.slices[self.leaf]]
        support: Array = (claimed != 0).reshape(self.shape)
        return support

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
        first = first_of(taken, marked, holds)
        if not marked[first + 1 :].any() and not holds(taken[first + 1 :]):
            self.box[axis] = taken[first : first + 1]
            return
        last = len(taken) - 1 - first_of(taken[first + 1 :][::-1], marked[first + 1 :][::-1], holds)
        taken, marked = taken[first : last + 1], marked[first : last + 1]
        if len(taken) > 2 and not marked[1:-1].any() and not holds(taken[1:-1]):
            self.box[axis] = taken[[0, -1]]
            return
        self.box[axis] = lattice(taken, marked, holds)

    def try_outlines(self) -> bool:
        """Try borders, diagonals and triangles that what was looked at does not rule out."""
        looked, shown = self.shown()
        numbers = np.flatnonzero(self.within)
        support = self.support()
        masks = (Where(support), Where(~support)) if support.any() and not support.all() else ()
        every = (*masks, *outlines(self.box, self.shape))
        fitting = (one for one in every if np.array_equal(one.has(looked), shown))
        for outline in itertools.islice(fitting, TRIES):
            part = outline.has(numbers)
            if part.any() and not self.holds(numbers[~part]) and self.taken(numbers[part]):
                return self.alone()
        return False

    def try_tables(self) -> bool:
        """Look at one entry for each index of some axes, along whose others all are wrong or none is."""
        looked, shown = self.shown()
        numbers = self.case.rng.permutation(np.flatnonzero(self.within))
        for table in tables(self.box, self.shape):
            cells, first, cell_of = np.unique(table.cells(numbers), return_index=True, return_inverse=True)
            known = np.searchsorted(cells, table.cells(looked))
            if set(known[shown]) & set(known[~shown]):
                continue
            unseen = np.setdiff1d(np.arange(len(cells)), known)
            if len(unseen) + AGAIN + CHANCE > self.left:
                continue
            found = [cell for cell in unseen if wrong(self.look(int(numbers[first[cell]])))]
            part = np.isin(cell_of, [*known[shown], *found])
            if len(cells) == len(numbers):
                return self.look_at_all(numbers) and self.alone()
            if part.any() and not self.holds(numbers[~part]) and self.taken(numbers[part]):
                return self.alone()
            looked, shown = self.shown()
        return False

    def try_all_but(self) -> bool:
        """Take boxes of right entries, grown from those few that were seen among wrong ones, out of the box."""
        looked, shown = self.shown()
        right = looked[~shown]
        if not 0 < len(right) <= CHANCE:
            return False
        for number in right:
            hole = self.grown(np.unravel_index(int(number), self.shape))
            if len(hole) == 1:
                return False
            self.within.flat[hole] = False
        return self.taken(np.flatnonzero(self.within)) and self.alone()

    def grown(self, place: tuple[np.intp, ...]) -> Array:
        """Grow a right entry along each axis of the box, to all of its indices or to both ends, while all are right."""
        hole = [np.array([index]) for index in place]
        for axis, taken in enumerate(self.box):
            for more in (taken, taken[[0, -1]]):
                wider = [*hole[:axis], more, *hole[axis + 1 :]]
                if len(more) > 1 and place[axis] in more and not self.holds(numbers_of(wider, self.shape)):
                    hole = wider
                    break
        return numbers_of(hole, self.shape)

    def shown(self) -> tuple[Array, Array]:
        """Begin with the box again; return the entries of it that were looked at, and which of them are wrong."""
        self.within = self.boxed()
        looked = np.array([number for number in self.singles if self.within.flat[number]], dtype=int)
        return looked, np.array([wrong(self.singles[number]) for number in looked], dtype=bool)

    def unseen(self) -> Array:
        """Return the entries of ``within`` that were not looked at."""
        mask = self.within.copy()
        mask.flat[list(self.singles)] = False
        return np.flatnonzero(mask)

    def taken(self, numbers: Array) -> bool:
        """Take these entries for the wrong ones, if some of them that are looked at all are."""
        chosen = self.case.rng.choice(numbers, min(AGAIN, len(numbers)), replace=False)
        if not all(wrong(self.look(int(number))) for number in chosen):
            return False
        self.within = np.zeros(self.shape, dtype=bool)
        self.within.flat[numbers] = True
        return True

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
        rest = self.unseen()
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
        numbers = self.unseen()
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
