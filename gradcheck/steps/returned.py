"""What the returned gradients tell by themselves: the last step of a backward, whatever code has made it. Level 3.

A row of ``ROWS`` compares what was returned for one argument with the true gradient, or with what is returned for other
cotangents, and says what it is: ``5 times the gradient``. What a row says at the point of the check and at another one
is a cause. No line has to be known and nothing has to be recorded.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gradcheck.steps import behaviour
from gradcheck.steps.claims import Case, Gradient, Says, is_a_line
from gradcheck.steps.guard import Exceeded
from gradcheck.steps.intended import intended
from gradcheck.steps.known import read
from gradcheck.trees import Array, entry_name, norm

__all__ = ["Told", "told"]

FEW = 3  # entries: so small an array is a multiple of another by chance
AXES = 4  # of an array at most whose axes are put in another order
PLACES = 64  # at which what is too large is cut
ROUGH = 5e-3  # relative: what a gradient of a lower precision may be off
COARSE = (np.float16, np.float32)
WHOLE = (np.trunc, np.rint, np.floor, np.ceil)


class Told(NamedTuple):
    """What is returned for some arguments, and whether that gives the true gradients, here and at another point."""

    mistake: str
    what: str
    paths: tuple[str, ...]
    verified: bool = True


@np.errstate(all="ignore")
def told(case: Case, other: Callable[[], Case | None]) -> list[Told]:
    """Return what the rows say of the wrong gradients of a case, and of another of the same pair, the surest first.

    A row is asked of an argument of which none before it has said anything, and of one that is right at the first call
    only how it behaves at a second. What a row says that looks at one point alone is not verified: zeros, whole
    numbers, a gap where another point has none. When the time is over it is what was found until then.
    """
    found: dict[tuple[str, str, bool], list[str]] = {}
    with contextlib.suppress(Exceeded):
        for path, says, lasting in _said(case, other):
            found.setdefault((*says, lasting), []).append(path)
    if nothing := [path for path in case.truth if path not in case.returned]:
        found["C8", "nothing that could be a gradient", False] = nothing
    return [Told(mistake, what, tuple(paths), lasting) for (mistake, what, lasting), paths in found.items()]


def _said(case: Case, other: Callable[[], Case | None]) -> Iterator[tuple[str, Says, bool]]:
    """Yield what is said of an argument, and whether it holds at another point too."""
    elsewhere = functools.cache(other)
    wrong, left = case.wrong, [path for path in case.truth if path in case.returned]
    for row, lasting in ROWS:
        for path in [path for path in left if path in wrong or row is behaviour.grows]:
            says = _asked(row, case, path)
            if says and (not lasting or ((there := elsewhere()) and _asked(row, there, path) == says)):
                left.remove(path)
                yield path, says, lasting


def _asked(row: Callable[[Gradient], Says | None], case: Case, path: str) -> Says | None:
    try:
        return row(case.gradient(path))
    except Exception:  # noqa: BLE001  (the user's code may refuse another cotangent, by whatever it raises)
        return None


def exchanged(gradient: Gradient) -> Says | None:
    """Say for which argument the gradient was returned, if what is returned for that one is wrong as well."""
    case, path, came, truth = gradient
    for other, array in case.returned.items():
        if other in case.wrong and other != path and truth.holds(array):
            if other in case.truth and case.truth[other].holds(came):
                return "B5", f"the gradient of {other}"
            return "B5", f"something else: its gradient is returned for {other}"
    return None


def misshapen(gradient: Gradient) -> Says | None:
    """Say how the axes of what was returned have to be put in order, summed or cut."""
    _, _, came, truth = gradient
    shape = truth.shape
    forms: Iterator[tuple[str, str, Array]] = itertools.chain(
        _axes(came, shape), _sums(came, shape), _cuts(came, shape)
    )
    return next(((mistake, what) for mistake, what, form in forms if truth.holds(form)), None)


def _axes(came: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, str, Array]]:
    if came.shape != shape and came.size == np.prod(shape):
        yield "B2", f"the gradient in the shape {came.shape}, which must be {shape}", came.reshape(shape)
    for axes in list(itertools.permutations(range(came.ndim)))[1:] if 1 < came.ndim <= AXES else ():
        if tuple(came.shape[axis] for axis in axes) == shape:
            yield "B1", f"the gradient with its axes in another order: they must be {axes}", came.transpose(axes)


def _sums(came: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, str, Array]]:
    for axes in _some_axes(came.ndim) if came.size > np.prod(shape) else ():
        if (summed := came.sum(axis=axes)).size == np.prod(shape):
            yield "B3", f"the gradient before it is summed over axis {_listed(axes)}", summed.reshape(shape)


def _cuts(came: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, str, Array]]:
    if came.shape == shape or came.ndim != len(shape) or any(m < n for m, n in zip(came.shape, shape, strict=True)):
        return
    starts = itertools.product(*(range(m - n + 1) for m, n in zip(came.shape, shape, strict=True)))
    for start in itertools.islice(starts, PLACES):
        cut = tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))
        yield "F3", f"the gradient with a border: it must be cut to {shape}, from {start} on", came[cut]


def _some_axes(ndim: int) -> Iterator[tuple[int, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(range(ndim), n) for n in range(1, ndim + 1))


def _listed(axes: tuple[int, ...]) -> str:
    return ", ".join(map(str, axes))


def imprecise(gradient: Gradient) -> Says | None:
    """Say whether these are whole numbers, or floats of a lower precision."""
    case, path, came, truth = gradient
    if came.shape != truth.shape or not np.isfinite(came).all():
        return None
    plain, entries = came.astype(np.float64), truth.entries
    if np.array_equal(plain, np.rint(plain)):
        computed = came.dtype.kind in "iu" or plain.any()
        whole = computed and entries is not None and any(np.array_equal(cut(entries), plain) for cut in WHOLE)
        return ("H3", "the gradient in whole numbers") if whole else None
    for lower in COARSE:
        lost = np.dtype(lower).itemsize < case.point[path].dtype.itemsize
        if lost and np.array_equal(plain.astype(lower), plain) and truth._replace(close=ROUGH).holds(came):
            return "H3", f"the gradient with the precision of {np.dtype(lower).name}"
    return None


def scaled(gradient: Gradient) -> Says | None:
    """Say which number it has as a factor."""
    case, _, came, truth = gradient
    share = truth.share(came) if came.size >= FEW else None
    if share is None:
        return None
    number = read(1 / share, case.known, max(1e-6, 4 * truth.close))
    if number is None:
        return "A1" if share < 0 else "A4", f"{1 / share:.6g} times the gradient"
    if number.value == -1:
        return "A1", "the gradient with the wrong sign"
    name = "" if number.said == f"{number.value:g}" else f" ({number.said})"
    return number.mistake, f"{number.value:.6g} times the gradient{name}"


def unlike_by_a_term(gradient: Gradient) -> Says | None:
    """Say which array is missing or too much, so many times: the argument itself, as a regulariser's, or another."""
    case, path, came, truth = gradient
    if came.shape != truth.shape or came.size <= FEW:
        return None
    rest = truth.less(came)
    unit = float(case.bars[0].ravel()[0]) if sum(bar.size for bar in case.bars) == 1 else 1.0
    for name, array in {path: case.point[path], **case.arrays}.items():
        if array.any() and (share := rest.share(array)) is not None:
            rate = share / unit
            many = "" if abs(abs(rate) - 1) < 1e-6 else f"{abs(rate):.4g} times "
            what = (
                f"the gradient without {many}{name}"
                if rate > 0
                else f"the gradient and {many}{name}, which is too much"
            )
            return "C8" if name != path else "D2" if is_a_line(case, path) else "D1", what
    return None


FACTORS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("{}", lambda v: v),
    ("1 / {}", lambda v: 1 / v),
    ("({} > 0)", lambda v: (v > 0).astype(np.float64)),
    ("(1 - {}**2)", lambda v: 1 - v**2),
    ("{0} * (1 - {0})", lambda v: v * (1 - v)),
    ("(1 - tanh({})**2)", lambda v: 1 - np.tanh(v) ** 2),
)


def unlike_by_a_factor(gradient: Gradient) -> Says | None:
    """Say which array, or derivative of one, is missing as a factor by the entry."""
    case, _, came, truth = gradient
    if came.shape != truth.shape or came.size <= FEW:
        return None
    for name, array in case.arrays.items():
        fits = array.ndim and all(m in (1, n) for m, n in zip(array.shape[::-1], came.shape[::-1], strict=False))
        for form, function in FACTORS if fits and array.ndim <= came.ndim else ():
            factor = function(array.astype(np.float64))
            if np.isfinite(factor).all() and np.ptp(factor) and truth.holds(came * factor):
                mask = form == "{}" and not factor.all() and np.unique(factor).size == 2
                given = array.size < came.size and not name.startswith(("out", "cache"))  # a coefficient
                return "E5" if mask else "A5" if given else "C1", f"the gradient without the factor {form.format(name)}"
    return None


def whole(gradient: Gradient) -> Says | None:
    """Say that these are whole numbers, where it is not only at the end that they are cut."""
    _, _, came, truth = gradient
    if came.size > FEW and came.any() and np.array_equal(came, np.rint(came)):
        off = truth.values if truth.tangents is None else np.ones(1)
        return ("H3", "in whole numbers, and the gradient is not") if not np.array_equal(off, np.rint(off)) else None
    return None


def incomplete(gradient: Gradient) -> Says | None:
    """Say which places along an axis are zero, where all others are right."""
    _, _, came, truth = gradient
    if truth.entries is None or came.shape != truth.shape:
        return None
    for axis, size in enumerate(came.shape):
        empty = [i for i in range(size) if not np.take(came, i, axis).any() and np.take(truth.entries, i, axis).any()]
        left = np.delete(came, empty, axis)
        if empty and left.size and norm(left - np.delete(truth.entries, empty, axis)) <= truth.close * norm(left):
            which = "first" if empty == [0] else "last" if empty == [size - 1] else str(len(empty))
            return (
                "G2" if axis else "C8",
                f"the gradient without the {which} of {size} along axis {axis}, which is zero",
            )
    return None


def empty(gradient: Gradient) -> Says | None:
    """Say where it is not finite and the gradient is, or that it is zero."""
    _, path, came, truth = gradient
    if came.shape != truth.shape:
        return None
    if not came.any():
        return "C8", "zero everywhere, and the gradient is not"
    if truth.entries is None or np.isfinite(came).all():
        return None
    first = int(np.argmin(np.isfinite(came).ravel()))
    where, value = entry_name(f"d{path}", came.shape, first), float(truth.entries.ravel()[first])
    return "H1", f"{came.ravel()[first]} at {where}, where the gradient is {value:.4g}"


ROWS: tuple[tuple[Callable[[Gradient], Says | None], bool], ...] = (
    (exchanged, True),
    (misshapen, True),
    (intended, True),
    (imprecise, True),
    (behaviour.deaf, True),
    (behaviour.clipped, True),
    (behaviour.grows, True),
    (behaviour.offset, True),
    (scaled, True),
    (unlike_by_a_term, True),
    (unlike_by_a_factor, True),
    (behaviour.deaf_to_an_end, True),
    (incomplete, True),
    (whole, False),
    (empty, False),
)
