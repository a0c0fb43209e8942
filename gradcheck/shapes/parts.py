"""What one argument of a forward is: an array, a number, a size, a setting, or a container of these. Level 0."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.shapes.expressions import Expression
from gradcheck.shapes.values import FAMILIES, MARGIN, SQUARE, between, booleans, integers, normal

__all__ = ["Array", "Axes", "Group", "Part", "Setting", "Size", "arrays"]

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class Axes:
    """Several axes under one name, none of them or more: ``*batch``."""

    name: str
    start: int


@dataclass(frozen=True)
class Array:
    """An array, or with ``dims`` None a number of Python's.

    Attributes:
        dims: the sizes of its axes.
        kind: ``float``, ``float32``, ``complex``, ``int`` or ``bool``.
        family: the name of what its values are, a key of ``FAMILIES``; None for nothing special.
        low: what they are not below; of integers the first,
        high: what they are not above; of integers the one after the last.
        away: what they stay away from.
        scale: what they are multiplied by in the end.
    """

    dims: tuple[Expression | Axes, ...] | None
    kind: str = "float"
    family: str | None = None
    low: Expression | None = None
    high: Expression | None = None
    away: Expression | None = None
    scale: Expression | None = None

    def expressions(self) -> Iterator[Expression]:
        """Yield all that depends on sizes besides the axes."""
        yield from filter(None, (self.low, self.high, self.away, self.scale))

    def axes(self) -> Iterator[Expression | Axes]:
        """Yield the sizes of the axes."""
        yield from self.dims or ()

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """Return its shape for some sizes; an axis may come out below zero, which no array can have."""
        found: list[int] = []
        for each in self.axes():
            found.extend(sizes[each.name] if isinstance(each, Axes) else [int(each(sizes))])
        return tuple(found)

    def problem(self, sizes: Sizes, shape: tuple[int, ...]) -> str | None:
        """Return why there are no such values for some sizes, which give it a shape; None where there are.

        Raises:
            ZeroDivisionError: values depend on a number that there is not.
        """
        if self.family is not None and len(shape) < FAMILIES[self.family][0]:
            return f"be {self.family} only where it has {FAMILIES[self.family][0]} axes or more"
        if self.family in SQUARE and shape[-1] != shape[-2]:
            return f"be {self.family} only where its last two axes are equal"
        if self.high and (self.low or self.kind == "int"):
            room = self.high(sizes) - (self.low(sizes) if self.low else 0)
            if room <= 0 and not (self.kind == "int" and 0 in shape):
                lowest = self.low.text if self.low else "0"
                return f"have values between {lowest} and {self.high.text} only where these leave room"
            if self.kind == "int" and self.family == "distinct" and math.prod(shape) > room:
                return f"have distinct values only where there are enough below {self.high.text}"
        if math.prod(shape):
            for each in self.expressions():
                each(sizes)
        return None

    def draw(self, rng: np.random.Generator, sizes: Sizes) -> Any:
        """Return values."""
        shape = self.shape(sizes)
        drawn = getattr(self, f"_{self.kind.removesuffix('32')}")(rng, shape, sizes)
        if self.kind == "float32":
            drawn = drawn.astype(np.float32)
        return drawn if self.dims is not None else drawn.item()

    def _int(self, rng: np.random.Generator, shape: tuple[int, ...], sizes: Sizes) -> Any:
        low, high = (self.low(sizes) if self.low else 0), self.high(sizes) if self.high else 0
        if self.family == "distinct":
            return low + rng.permutation(high - low)[: math.prod(shape)].reshape(shape)
        return integers(rng, shape, low, high)

    def _bool(self, rng: np.random.Generator, shape: tuple[int, ...], sizes: Sizes) -> Any:
        del sizes
        if self.family is None:
            return booleans(rng, shape)
        return np.tril(np.ones(shape, bool)) if self.family == "lower" else np.triu(np.ones(shape, bool))

    def _float(self, rng: np.random.Generator, shape: tuple[int, ...], sizes: Sizes) -> Any:
        if not math.prod(shape):
            return np.zeros(shape)  # a scale such as D**-0.5 may be no number
        if self.family is not None:
            drawn = FAMILIES[self.family][1](rng, shape)
        elif self.low or self.high:
            low, high = (math.inf * sign if bound is None else bound(sizes) for sign, bound in self._bounds())
            drawn = between(rng, shape, low, high)
        else:
            drawn = normal(rng, shape)
        if self.away:
            drawn = self.away(sizes) + drawn + MARGIN * np.where(drawn < 0, -1, 1)
        return np.asarray(drawn * self.scale(sizes) if self.scale else drawn)

    def _complex(self, rng: np.random.Generator, shape: tuple[int, ...], sizes: Sizes) -> Any:
        return self._float(rng, shape, sizes) + 1j * self._float(rng, shape, sizes)

    def _bounds(self) -> tuple[tuple[int, Expression | None], tuple[int, Expression | None]]:
        return (-1, self.low), (1, self.high)


@dataclass(frozen=True)
class Size:
    """A size that is handed to the forward as a whole number."""

    name: str

    def draw(self, rng: np.random.Generator, sizes: Sizes) -> Any:
        """Return it."""
        del rng
        return sizes[self.name]


@dataclass(frozen=True)
class Setting:
    """A value that is the same in every draw."""

    value: Any

    def draw(self, rng: np.random.Generator, sizes: Sizes) -> Any:
        """Return it."""
        del rng, sizes
        return self.value


@dataclass(frozen=True)
class Group:
    """A list, a tuple or a dict of parts; ``keys`` names those of a dict."""

    kind: type
    parts: tuple[Part, ...]
    keys: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator, sizes: Sizes) -> Any:
        """Return the container with its parts drawn in order."""
        drawn = [part.draw(rng, sizes) for part in self.parts]
        return dict(zip(self.keys, drawn, strict=True)) if self.kind is dict else self.kind(drawn)


Part = Array | Size | Setting | Group


def arrays(part: Part) -> Iterator[Array]:
    """Yield the arrays and numbers in a part."""
    if isinstance(part, Array):
        yield part
    elif isinstance(part, Group):
        for each in part.parts:
            yield from arrays(each)
