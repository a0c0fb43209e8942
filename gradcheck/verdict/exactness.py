"""A gradient that is not exactly right: is it wrong, or only inexact? Level 3.

An approximation that is right to seven digits everywhere is no mistake: the guard in log(p + 1e-8), the tolerance of a
solver, the rounding of a long backward. What is wrong shows in one of two ways. Its error is a visible part of the
gradient's norm; or some entry is grossly wrong for its own size, however small a part of the norm that is.

The part of the norm. Gaussian probes weigh the error e, between a norm that it certainly exceeds and one that it
certainly stays below. One more probe runs along the claimed gradient itself: ‖e‖ ≥ ⟨e, g⟩ / ‖g‖ needs no chance at
all, and decides at once where g is off by a factor.

The gross entry. Entries are moved by so much each that all effects are alike: then the gap of a probe adds up relative
errors, to which a small entry contributes as a large one does. Halving towards the larger gap leads to the entry that
is most wrong for its size. An inexact gradient has an error at every entry, which is large for a small enough one: an
entry has to stand clear of the error that the large entries have.

The shadow. A bound of the norm does not speak of entries that are smaller than it. Where a few large ones make up the
norm, the small ones are probed by themselves in the same way, also if all probes agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gradcheck.pairing import blocks
from gradcheck.report import Entry
from gradcheck.trees import Array, norm
from gradcheck.verdict.case import Case
from gradcheck.verdict.probes import Probe, certificate, least_error, rms, share

__all__ = ["INEXACT", "TOLERANT", "Weight", "gross", "overshadowed", "tolerated", "weigh"]

WRONG = 5e-7  # an error that is certainly a larger part of the gradient's norm is wrong,
INEXACT = 1e-6  # and one that is certainly a smaller part is only inexact; hardly any error lies undecided between
ROUNDED = 8.0  # rounding units of code in a lower precision are no mistake either
SINGLE = float(np.finfo(np.float32).eps)  # the coarsest unit that speaks for the norm: coarser ones are known by entry
MANY = 96  # probes tell an error of 7e-7 from both limits,
TOLERANT = 24  # and so many, where one limit is asked for, one at 2.7 times less and one at 1.9 times more
GROSS = 5e-4  # of an entry's own size is a gross error
CLEAR = 5.0  # times the error that all entries may have, as the large ones show it, stands clear of it
UNLUCKY = 1e-3  # the chance that the few large entries show less of it than was allowed for
FINE = 1e-8  # of the root mean square: smaller entries count as of this size
LARGE = 8  # probes of large entries say what error these have
HIDDEN = 10.0  # times the bound of the norm is an entry so small that the bound does not speak of it
RARE = 1e-2  # of all entries may be as small as that by chance
MOST = 0.1  # of the norm is no small entry, whatever the bound
FEW = 8  # large entries or more stand for the zeros beside them
DOUBT = 0.25  # of a gross error seen in a whole leaf is reason to look for one


class Weight(NamedTuple):
    """What the error of one gradient weighs.

    ``least`` and ``most`` are norms that it exceeds and stays below but with probability 1e-6; ``norm`` is that of the
    gradient, and ``probes`` are all that were taken.
    """

    least: float
    most: float
    norm: float
    probes: tuple[Probe, ...]


def tolerated(case: Case, leaf: int) -> tuple[float, float]:
    """Return the part of the norm above which an error fails, and the one below which it passes."""
    if case.tol is not None:
        return case.tol, case.tol
    unit = min(max(case.unit(leaf), case.pairing.unit), SINGLE)
    return max(WRONG, ROUNDED * unit), max(INEXACT, 2 * ROUNDED * unit)


def weigh(case: Case, leaf: int, probes: Sequence[Probe]) -> Weight:
    """Weigh the error of a leaf whose ``probes`` disagree, until it is certain on which side of a limit it lies."""
    above, below = tolerated(case, leaf)
    taken = [one for one in probes if math.isfinite(one.error)]
    most = MANY if case.tol is None else TOLERANT
    along = _along_itself(case, leaf)
    while True:
        whole = max(case.norm(leaf), rms(one.measured for one in taken))
        weight = Weight(max(along, least_error(taken, most)), certificate(taken, most), whole, tuple(taken))
        if weight.least > above * whole or weight.most <= below * whole or len(taken) >= most:
            return weight
        taken.append(case.probe(case.tangent([(leaf, 1.0)])))


def _along_itself(case: Case, leaf: int) -> float:
    """Return what the error of a leaf certainly amounts to along the claimed gradient."""
    whole, part = case.norm(leaf), case.layout.slices[leaf]
    if not whole:
        return 0.0
    tangent = np.zeros(case.layout.size)
    tangent[part] = case.gradient[part] / whole
    one = case.probe(tangent)
    return max(one.gap - one.error - one.kink, 0.0) if math.isfinite(one.error) else 0.0


def gross(case: Case, leaf: int) -> Entry | None:
    """Return an entry of a leaf that is grossly wrong for its own size, None where none was seen to be.

    Two probes are taken for each halving.
    """
    claimed = np.abs(case.gradient[case.layout.slices[leaf]])
    floor = max(FINE * case.norm(leaf) / math.sqrt(claimed.size), CLEAR * _level(case, leaf, claimed) / GROSS)
    return _most_wrong(case, leaf, np.maximum(claimed, floor), np.arange(claimed.size)) if floor else None


def overshadowed(case: Case, leaf: int, bound: float) -> Entry | None:
    """Return an entry that is grossly wrong and too small to be seen beside the others; None where none was seen to be.

    A ``bound`` of the norm says nothing of entries that are themselves no more than that part of it. Where few large
    entries make up the norm, the small ones are probed by themselves.
    """
    gradient, whole = case.gradient[case.layout.slices[leaf]], case.norm(leaf)
    limit = min(HIDDEN * bound, MOST) * whole
    count = sum(int(np.count_nonzero(np.abs(part) <= limit)) for (part,) in blocks(gradient))
    if not RARE * gradient.size <= count < gradient.size or not count:
        return None
    claimed = np.abs(gradient)
    small, large = np.flatnonzero(claimed <= limit), claimed[claimed > limit]
    if norm(large) < whole / 2:
        return None
    told = claimed[small][claimed[small] > 0]
    if not len(told) and len(large) >= FEW:  # zeros among many others, as behind a ReLU, are vouched for by these
        return None
    floor = rms(told.tolist()) if len(told) else bound * whole
    return _most_wrong(case, leaf, np.maximum(claimed, floor * GROSS), small)


def _most_wrong(case: Case, leaf: int, sizes: Array, group: Array) -> Entry | None:
    """Return the entry of a group that is most wrong in units of its size, if it is grossly wrong."""
    if _relative(case, leaf, sizes, group) < DOUBT * GROSS:
        return None
    while len(group) > 1:
        halves = np.array_split(group, 2)
        group = max(halves, key=lambda half: _relative(case, leaf, sizes, half))
    one = case.probe(_tangent(case, leaf, group, 1.0))
    if not one.gap - one.error - one.kink > GROSS * max(abs(one.claimed), abs(one.measured), float(sizes[group[0]])):
        return None
    index = int(group[0])
    name = f"d{case.layout.entry_name(case.layout.slices[leaf].start + index)}"
    return Entry(name, one.claimed, one.measured, one.error, index)


def _level(case: Case, leaf: int, claimed: Array) -> float:
    """Return what error every entry may have, root mean square, by what those show that make up most of the norm."""
    large = np.flatnonzero(claimed >= case.norm(leaf) / math.sqrt(claimed.size) / 2)
    if not len(large):
        return math.inf
    taken = [one for _ in range(LARGE) if math.isfinite((one := case.probe(_tangent(case, leaf, large, 1.0))).reach)]
    seen, unseen = rms(max(one.gap - one.error, 0.0) for one in taken), rms(one.error for one in taken)
    lucky = math.sqrt(share(len(large), math.log(UNLUCKY), above=False))
    return (seen / lucky + unseen) / math.sqrt(len(large))


def _relative(case: Case, leaf: int, sizes: Array, group: Array) -> float:
    """Return by how much a probe certainly shows entries to be wrong, each in units of its own size."""
    one = case.probe(_tangent(case, leaf, group, sizes[group]))
    return max(one.gap - one.error - one.kink, 0.0) if math.isfinite(one.error) else 0.0


def _tangent(case: Case, leaf: int, group: Array, sizes: Array | float) -> Array:
    """Return a tangent on a group of entries: random signs of about one over their ``sizes``; of one entry, a plus."""
    tangent = np.zeros(case.layout.size)
    signs = case.rng.choice((-1.0, 1.0), len(group)) * case.rng.uniform(0.5, 1.5, len(group))
    tangent[case.layout.slices[leaf].start + group] = (signs if len(group) > 1 else 1.0) / sizes
    return tangent
