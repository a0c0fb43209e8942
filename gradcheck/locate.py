"""Which entries of a wrong gradient are wrong. Level 3."""

from __future__ import annotations

import numpy as np

from gradcheck.case import Case
from gradcheck.report import Entry

__all__ = ["wrong_entries"]

BUDGET = 96  # probes spent on one argument


def wrong_entries(case: Case, leaf: int) -> tuple[tuple[Entry, ...], bool]:
    """Return the wrong entries found in leaf number ``leaf``, worst first, and whether they are all of them.

    Halves the index range: a half whose random probe disagrees holds a wrong entry, and the half with the larger gap is
    looked into first, so that the worst entries are found before the budget ends.
    """
    part = case.layout.slices[leaf]
    found: list[Entry] = []
    waiting: list[tuple[float, int, int]] = [(np.inf, part.start, part.stop)]
    for _ in range(BUDGET):
        if not waiting:
            break
        waiting.sort()
        _, start, stop = waiting.pop()
        single = stop - start == 1
        tangent = np.zeros(case.layout.size)
        if single:
            tangent[start] = 1.0
        else:  # signs, so that no large error is hidden by a small number; of unequal size, so that no two cancel
            tangent[start:stop] = case.rng.choice((-1.0, 1.0), stop - start) * case.rng.uniform(0.5, 1.5, stop - start)
        one = case.probe(tangent)
        if one.agrees and (start, stop) != (part.start, part.stop):
            continue
        if single:
            found.append(Entry(f"d{case.layout.entry_name(start)}", one.claimed, one.measured, one.error))
        else:
            middle = (start + stop) // 2
            waiting += [(one.gap, start, middle), (one.gap, middle, stop)]
    return tuple(sorted(found, key=lambda entry: -abs(entry.claimed - entry.measured))), not waiting
