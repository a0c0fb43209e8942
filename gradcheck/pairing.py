"""The scalar that every oracle differentiates: φ(x) = ⟨ȳ, f(x) − f(x₀)⟩. Level 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.calls import answering
from gradcheck.trees import Array, is_discrete, leaves, norm, rounding_unit

__all__ = ["Pairing", "blocks", "call"]

BLOCK = 1 << 16  # entries
SHRUNK = (1e-2, 1e-3)  # of its size is left of what shrinks, and then of what shrinks on:
GROWS = 1.6  # times the change means that it has no end
ASIDE = 1 + math.sqrt(2) / 1000  # takes round numbers to others that are not


@dataclass(frozen=True)
class Pairing:
    """φ(x) = ⟨ȳ, f(x) − f(x₀)⟩ as a function of the flat vector x of all that moves.

    Its derivative along ẋ is ⟨ȳ, J ẋ⟩, the right side of the identity. The primal f(x₀) is taken off entry by
    entry before the sum, so that the rounding of large outputs that hardly change does not drown the change.

    Attributes:
        function: f, from the arguments to the output alone.
        arguments: the point x₀ and how to move it.
        named_primal: the leaves of f(x₀) by name: ``out``, or ``out[0]`` and so on; float64 copies.
        cotangent: the leaves of ȳ in float64, each of the shape of its primal.
        precision: the rounding unit of each leaf of the output.
    """

    function: Callable[..., Any]
    arguments: Arguments
    named_primal: tuple[tuple[str, Array], ...]
    cotangent: tuple[Array, ...]
    precision: tuple[float, ...]

    @classmethod
    def at_point(cls, forward: Callable[..., Any], arguments: Arguments, cotangent: Any, primal: Any = None) -> Self:
        """Return the pairing of ``forward``, which returns (out, cache), with ``cotangent`` at the arguments' point.

        ``primal`` is the output there, where it is known already; it is shared and not copied, and has to be float64.
        """

        def function(*primals: Any) -> Any:
            return forward(*primals)[0]

        function.__name__ = name_of(forward)
        if primal is None:
            arguments, primal = _called(function, arguments)
            named = tuple((path, np.array(y, dtype=np.float64)) for path, y in leaves(primal, "out"))
        else:
            named = tuple((path, np.asarray(y, dtype=np.float64)) for path, y in leaves(primal, "out"))
        out = list(leaves(primal, "out"))
        return cls(
            function,
            arguments,
            named,
            tuple(np.asarray(y_bar, dtype=np.float64) for _, y_bar in leaves(cotangent, "dout")),
            tuple(_precision(function, arguments, [np.asarray(y) for _, y in out])),
        )

    def __call__(self, vector: Array) -> Any:
        """Return φ at ``vector``; complex where ``vector`` is."""
        return sum((y_bar * change).sum() for y_bar, change in self._changes(vector))

    def along(self, v: Array, t: float) -> float:
        """Return φ(x₀ + t v); NaN where f refuses that point."""
        try:
            return float(self(self.arguments.point + t * v))
        except Exception:  # noqa: BLE001  (f may refuse a point outside its domain; at x₀ it was heard)
            return math.nan

    def _changes(self, vector: Array) -> Iterator[tuple[Array, Array]]:
        """Yield parts of ȳ and of f(x) − f(x₀), each so small that no array of the output's size is made."""
        for y_bar, y, y0 in zip(self.cotangent, self.outputs(vector), self.primal, strict=True):
            for bar, now, before in blocks(y_bar, y, y0):
                yield bar, now - before

    def outputs(self, vector: Array) -> list[Any]:
        """Return the leaves of f at ``vector``."""
        return [y for _, y in leaves(call(self.function, self.arguments.at(vector)), "out")]

    def of(self, function: Callable[..., Any]) -> Pairing:
        """Return the same pairing with ``function`` in the place of f."""
        return replace(self, function=function)

    @property
    def origin(self) -> float:
        """φ(x₀), which is zero whatever f is."""
        return 0.0

    def length(self, v: Array) -> float:
        """Return how far along ``v`` the first of the leaves that move changes by its own length; 0.0 if none moves."""
        return self.span(self.arguments.point, v)[0]

    @np.errstate(all="ignore")
    def span(self, x: Array, v: Array) -> tuple[float, float]:
        """Return how far along ``v`` the first and the last of the leaves that move changes by its own length."""
        own: list[float] = []
        ones: list[float] = []
        for part in self.arguments.layout.slices:
            here, along = x[part], v[part]
            moving = np.count_nonzero(along)
            if moving:
                speed = norm(along)
                length = norm(here if moving == along.size else here[along != 0])
                ones.append(math.sqrt(moving) / speed)
                own += [length / speed] if length else []
        lengths = own or ones or [0.0]
        return min(lengths), max(lengths)

    @property
    def unit(self) -> float:
        """The coarsest rounding unit of any output."""
        return max(self.precision)

    @property
    def primal(self) -> tuple[Array, ...]:
        """The leaves of f(x₀)."""
        return tuple(y for _, y in self.named_primal)

    @cached_property
    def size(self) -> float:
        """The size of ⟨ȳ, f(x₀)⟩: the root of the sum of its squared terms."""
        return math.hypot(*self._sizes)

    @cached_property
    def rounding(self) -> float:
        """What rounding every entry of the output once, in its own precision, does to φ, root mean square."""
        return math.hypot(*(eps / 2 * size for size, eps in zip(self._sizes, self.precision, strict=True)))

    @cached_property
    def _sizes(self) -> tuple[float, ...]:
        pairs = zip(self.cotangent, self.primal, strict=True)
        with np.errstate(all="ignore"):
            return tuple(math.hypot(*(norm(bar * y) for bar, y in blocks(*pair))) for pair in pairs)

    def excursion(self, leaf: int) -> float:
        """Return how much the output changes when leaf number ``leaf`` shrinks; 0.0 where f has no value there.

        Where f is saturated this is its natural size, of which the code has rounded even if none of it is left. It is
        no size where it still grows as the leaf shrinks on: a pole at zero would excuse any gradient.
        """
        here, further = (self._change(leaf, part) for part in SHRUNK)
        return further if math.isfinite(further) and further <= GROWS * here else 0.0

    def _change(self, leaf: int, part: float) -> float:
        """Return how much the output changes when a leaf shrinks to that part of itself; NaN where f refuses it."""
        vector = self.arguments.point
        vector[self.arguments.layout.slices[leaf]] *= part
        try:
            with np.errstate(all="ignore"):
                return math.hypot(*(norm(y_bar * change) for y_bar, change in self._changes(vector)))
        except Exception:  # noqa: BLE001  (f may refuse such arguments; then nothing is known)
            return math.nan


def blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yield the same parts of arrays of one shape, flat, and so small that no array of their size is made of them.

    Of arrays in another memory order these are whole rows, copied.
    """
    first = np.asarray(arrays[0])
    if first.ndim == 0 or all(np.asarray(array).flags.c_contiguous for array in arrays):
        arrays, length = tuple(map(np.ravel, arrays)), BLOCK
        if arrays[0].size <= BLOCK:
            yield arrays
            return
    else:
        length = max(BLOCK * len(first) // max(first.size, 1), 1)
    for start in range(0, len(arrays[0]), length):
        yield tuple(np.ravel(array[start : start + length]) for array in arrays)


def _called(function: Callable[..., Any], arguments: Arguments) -> tuple[Arguments, Any]:
    """Return the output at the point of ``arguments``, and how to move them: code may refuse float64 for float32."""
    try:
        return arguments, call(function, arguments.at(arguments.point))
    except Exception:
        if all(dtype == np.float64 for dtype in arguments.layout.dtypes):
            raise
    arguments = replace(arguments, keep=True)
    return arguments, call(function, arguments.at(arguments.point))


def _precision(function: Callable[..., Any], arguments: Arguments, out: list[Array]) -> list[float]:
    """Return the rounding unit of each output: of its dtype, or of a lower one that all of its values come from.

    At the point itself values may be round by chance; a function that rounds does so at any other point too.
    """
    known = [not is_discrete(y) for y in out]
    if not any(known):  # a loss that is the int 0 here may be a float elsewhere
        return [float(np.finfo(np.float64).eps)] * len(out)
    units = [rounding_unit(y.dtype) if real else 0.0 for y, real in zip(out, known, strict=True)]
    if not any(real and _fits(y, np.float32) for y, real in zip(out, known, strict=True)):
        return units
    try:
        with np.errstate(all="ignore"):
            aside = [np.asarray(y) for _, y in leaves(function(*arguments.at(arguments.point * ASIDE)), "out")]
    except Exception:  # noqa: BLE001  (it may refuse the other point; its dtype is all that is known then)
        return units
    for i, (here, there) in enumerate(zip(out, aside, strict=True)):
        for lower in (np.float32, np.float16):
            if known[i] and _fits(here, lower) and _fits(there, lower) and np.any(here != there):
                units[i] = max(units[i], float(np.finfo(lower).eps))
    return units


def _fits(y: Array, lower: type) -> bool:
    """Whether every number of ``y`` is one of the dtype ``lower``."""
    with np.errstate(all="ignore"):
        return all(np.array_equal(part.astype(lower).astype(np.float64), part) for (part,) in blocks(y))


def call(function: Callable[..., Any], args: tuple[Any, ...], shown: tuple[Any, ...] | None = None) -> Any:
    """Return ``function(*args)``; what it raises reaches the user as it is, with a note of the call.

    The note lists the arrays of ``args``, or of those of them that are ``shown``.
    """
    with answering(name_of(function), args if shown is None else shown):
        return function(*args)
