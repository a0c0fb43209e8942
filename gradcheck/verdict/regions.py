"""Names for sets of entries, as a person would say them. Level 1.

A set of entries is a boolean mask of the leaf's shape. What is looked for, in this order: everything; one entry; a box,
which takes some indices of every axis (``dx[:, 1:]``); everything but a box, of which a border is one kind; diagonals
and triangles of two axes; steps in memory order; and else boxes that cover the set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from gradcheck.trees import Array, entry_name

__all__ = ["mask_of", "name_entries", "name_span", "triangles"]

NAMES = 10  # more boxes than these are counted instead of named
LISTED = 8  # more indices than these are not written one by one
ORDERS = 24  # in so many orders of the axes a box is grown
ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}

Indices = Sequence[Array]  # those of a box: an ascending vector for each axis


def mask_of(shape: Sequence[int], entries: Sequence[tuple[int, ...]]) -> Array:
    """Return the mask of ``shape`` that holds ``entries``, each a tuple of one index for each axis."""
    mask = np.zeros(tuple(shape), dtype=bool)
    for entry in entries:
        mask[entry] = True
    return mask


def name_entries(path: str, mask: Array) -> tuple[str, ...]:
    """Return names that together hold exactly the entries of ``mask``, as few as were found; none for an empty one.

    ``path`` is what the names begin with (``dW1``), ``mask`` a boolean array of its shape. A set that would need more
    than ten names gets one that counts its entries and says where they lie.
    """
    mask = np.asarray(mask, dtype=bool)
    count = int(mask.sum())
    if not count:
        return ()
    if count == 1:
        return (entry_name(path, mask.shape, int(np.argmax(mask))),)
    if count == mask.size:
        return (f"every entry of {path}",)
    whole = _box(path, mask) or _all_but(path, mask) or _diagonal(path, mask) or _steps(path, mask)
    return (whole,) if whole else _cover(path, mask)


def name_span(path: str, mask: Array) -> str:
    """Return the name of the smallest slice that holds all entries of ``mask``: ``dx[2:9, :]``; ``path`` for all."""
    if not np.any(mask):
        return path
    spans = _spans(mask)
    return path if _size(spans) == mask.size else _name_box(path, spans, mask.shape)


def triangles(rows: Array, columns: Array) -> tuple[tuple[str, Array], ...]:
    """Return the diagonals and triangles of a matrix, thin ones first, each with how it is named.

    ``rows`` and ``columns`` are index arrays that broadcast against each other.
    """
    beyond = columns - rows
    return (
        ("the diagonal of {}", beyond == 0),
        ("the diagonal just above that of {}", beyond == 1),
        ("the diagonal just below that of {}", beyond == -1),
        ("{} above the diagonal", beyond > 0),
        ("{} below the diagonal", beyond < 0),
        ("{} on and above the diagonal", beyond >= 0),
        ("{} on and below the diagonal", beyond <= 0),
        ("{} off the diagonal", beyond != 0),
    )


def _hull(mask: Array) -> Indices:
    """Return the indices of the smallest box around ``mask``, not only contiguous ones."""
    axes = range(mask.ndim)
    return [np.flatnonzero(mask.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]


def _size(indices: Indices) -> int:
    return math.prod(map(len, indices))


def _box(path: str, mask: Array) -> str | None:
    """Name a mask that is a box, with a remark where it lies at an end of one axis or takes every nth step."""
    hull = _hull(mask)
    if _size(hull) != mask.sum() or not _writable(hull):
        return None
    partial = [axis for axis, (taken, n) in enumerate(zip(hull, mask.shape, strict=True)) if len(taken) < n]
    if len(partial) > 1:
        return _index(path, hull, mask.shape)
    axis = partial[0]
    taken, n = hull[axis], mask.shape[axis]
    if len(taken) == n - 1 > 1 and taken[0] == 0:
        return f"all but {_name_box(path, _hull(~mask), mask.shape)}"
    step = _step(taken)
    unit = "step" if mask.ndim > 1 else "entry"
    where = f" of axis {axis}" if mask.ndim > 1 else ""
    remark = ""
    if len(taken) == 1 and taken[0] in (0, n - 1):
        remark = f": only the {'first' if taken[0] == 0 else 'last'} {unit}{where}"
    elif len(taken) == 2 < n and (taken[0], taken[1]) == (0, n - 1):
        remark = f": the first and the last {unit}{where}"
    elif len(taken) > 2 and step > 1 and taken[0] < step and taken[-1] + step >= n:
        remark = f": every {ORDINALS.get(step, f'{step}th')} {unit}{where}"
    return _index(path, hull, mask.shape) + remark


def _all_but(path: str, mask: Array) -> str | None:
    """Name a mask that leaves out a box of the box around it: a border if what is left out is its middle."""
    hull = _hull(mask)
    inner = mask[np.ix_(*hull)]
    middle = _hull(~inner)
    if _size(middle) != inner.size - inner.sum():
        return None
    whole = inner.size == mask.size
    outside = path if whole else _index(path, hull, mask.shape) if _writable(hull) else None
    left_out = [taken[kept] for taken, kept in zip(hull, middle, strict=True)]
    partial = [axis for axis, (kept, n) in enumerate(zip(middle, inner.shape, strict=True)) if len(kept) < n]
    if outside is None or not _writable(left_out) or (len(partial) > 1 and not all(map(_step, left_out))):
        return None
    if not whole and _step(np.flatnonzero(mask)):  # a run across rows is told more shortly
        return None
    widths = {int(w) for axis in partial for w in (middle[axis][0], inner.shape[axis] - 1 - middle[axis][-1])}
    if len(widths) == 1 and all(_step(middle[axis]) == 1 for axis in partial):
        width = widths.pop()
        remarks = [_axes(partial)] if len(partial) < mask.ndim else []
        remarks += [f"{width} wide"] if width > 1 else []
        return f"the border of {outside}" + (f" ({', '.join(remarks)})" if remarks else "")
    kept = _name_box(path, left_out, mask.shape)
    return f"all but {kept}" if whole else f"{outside} but not {kept}"


def _diagonal(path: str, mask: Array) -> str | None:
    """Name a mask that holds diagonals or triangles of two axes, at some indices of the others."""
    hull = _hull(mask)
    for i, j in itertools.combinations(range(mask.ndim), 2):
        indices = [np.arange(n) if axis in (i, j) else hull[axis] for axis, n in enumerate(mask.shape)]
        inner = np.moveaxis(mask[np.ix_(*indices)], (i, j), (-2, -1))
        plane = inner.reshape(-1, mask.shape[i], mask.shape[j])[0]
        if not _writable(indices) or not (inner == plane).all():
            continue
        rows, columns = np.ogrid[: mask.shape[i], : mask.shape[j]]
        for words, triangle in triangles(rows, columns):
            if np.array_equal(plane, triangle):
                whole = all(len(taken) == n for taken, n in zip(indices, mask.shape, strict=True))
                named = words.format(path if whole else _index(path, indices, mask.shape))
                return named if mask.ndim == 2 else f"{named} ({_axes([i, j])})"
    return None


def _steps(path: str, mask: Array) -> str | None:
    """Name a mask that takes every nth entry in memory order, or a run of entries across rows."""
    taken = np.flatnonzero(mask)
    if mask.ndim < 2 or len(taken) < 3 or not _step(taken):
        return None
    return f"{path}.flat[{_slice(taken, mask.size)}]"


def _cover(path: str, mask: Array) -> tuple[str, ...]:
    """Name the boxes, the largest that can be grown from the first entry not yet covered, that make up the mask."""
    left = mask.copy()
    names: list[str] = []
    while left.any():
        if len(names) == NAMES:
            return (_counted(path, mask),)
        box = _largest_box(mask, np.unravel_index(int(np.argmax(left)), mask.shape))
        left[np.ix_(*box)] = False
        names.append(_name_box(path, box, mask.shape))
    return tuple(names)


def _counted(path: str, mask: Array) -> str:
    size = _size(_spans(mask))
    return f"{mask.sum()} of the {size} entries of {name_span(path, mask)}"


def _spans(mask: Array) -> Indices:
    return [np.arange(taken[0], taken[-1] + 1) for taken in _hull(mask)]


def _largest_box(mask: Array, seed: Sequence[int | np.intp]) -> Indices:
    """Return the largest of the contiguous boxes that grow from ``seed`` to what ``mask`` holds, axis after axis."""
    boxes = []
    for order in itertools.islice(itertools.permutations(range(mask.ndim)), ORDERS):
        box = [np.array([index]) for index in seed]
        for axis in order:
            box[axis] = np.arange(mask.shape[axis])
            line = mask[np.ix_(*box)].all(axis=tuple(a for a in range(mask.ndim) if a != axis))
            gaps = np.flatnonzero(~line)
            place = int(np.searchsorted(gaps, seed[axis]))
            start = int(gaps[place - 1]) + 1 if place else 0
            box[axis] = np.arange(start, int(gaps[place]) if place < len(gaps) else mask.shape[axis])
        boxes.append(box)
    return max(boxes, key=_size)


def _name_box(path: str, indices: Indices, shape: Sequence[int]) -> str:
    """Name a box, by the name of its entry where it has only one."""
    if _size(indices) == 1:
        return f"{path}[{', '.join(str(taken[0]) for taken in indices)}]"
    return _index(path, indices, shape)


def _index(path: str, indices: Indices, shape: Sequence[int]) -> str:
    return f"{path}[{', '.join(_slice(taken, n) for taken, n in zip(indices, shape, strict=True))}]"


def _slice(taken: Array, n: int) -> str:
    """Write ascending indices of an axis of length ``n`` as Python would: ``:``, ``3``, ``-1``, ``1:``, ``::2``."""
    first, last, step = int(taken[0]), int(taken[-1]), _step(taken)
    if len(taken) == n:
        return ":"
    if len(taken) == 1:
        return "-1" if first == n - 1 > 1 else str(first)
    if not step or (step > 1 and len(taken) == 2):
        return f"[{', '.join('-1' if index == n - 1 else str(index) for index in taken)}]"
    start = str(first) if first else ""
    stop = "" if last + step >= n else "-1" if last == n - 2 and step == 1 else str(last + 1)
    return f"{start}:{stop}" + (f":{step}" if step > 1 else "")


def _writable(indices: Indices) -> bool:
    """Whether every axis is a slice or a short list."""
    return all(_step(taken) or len(taken) <= LISTED for taken in indices)


def _step(taken: Array) -> int:
    """Return the distance of neighbouring indices; 0 where it varies, 1 for a single index."""
    steps = np.diff(taken)
    return 1 if not len(steps) else int(steps[0]) if (steps == steps[0]).all() else 0


def _axes(axes: Sequence[int]) -> str:
    return f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"
