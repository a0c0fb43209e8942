"""A specification: what the arguments of a forward are, which sizes they have, and the points of these. Level 0."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from gradcheck.shapes.expressions import Expression
from gradcheck.shapes.grammar import Condition, Grammar, read
from gradcheck.shapes.parts import Array, Axes, Part, Size, arrays
from gradcheck.shapes.text import pointed
from gradcheck.shapes.values import FAMILIES
from gradcheck.trees import describe

__all__ = ["MOST", "Point", "Sizes", "Specification", "specified", "specified_by"]

Sizes = Mapping[str, Any]  # what is chosen for every size, setting and group of axes, by its name
MOST = 10_000_000  # entries of all arguments of a point
STREAM = 0x73686170  # our own: default_rng(seed) may draw something else of the user's


class Point(tuple[Any, ...]):  # noqa: SLOT001  (a tuple has no slots to offer)
    """The arguments of a forward, a tuple; its repr is the call that draws it again.

    Attributes:
        text: the specification.
        sizes: what was chosen for every size and setting.
        seed: of the values.
        spec: an expression that makes the specification, where its text alone does not; else empty.
    """

    text: str
    sizes: dict[str, Any]
    seed: int
    spec: str

    def __repr__(self) -> str:
        """Return an expression that makes the point."""
        chosen = "".join(f", {name}={value!r}" for name, value in self.sizes.items() if name.isidentifier())
        rest = {name: value for name, value in self.sizes.items() if not name.isidentifier()}
        named = "seed=" * ("seed" not in self.sizes)
        return f"point({self.spec or repr(self.text)}, {named}{self.seed}{chosen}{f', **{rest!r}' if rest else ''})"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Have Hypothesis and IPython print the repr, and not a tuple of arrays."""
        printer.text(repr(self))


@dataclass(frozen=True)
class Specification:
    """What a text says of the arguments of a forward.

    Attributes:
        text: as it was given.
        parts: the arguments by name, in their order.
        sizes: the names of all that is chosen before values are drawn, in order of appearance: sizes and settings.
        choices: the values of those that have some named, in the order given.
        axes: the names that stand for several axes, or for none.
        conditions: what sizes have to obey.
        made: what makes the arguments of the sizes where the text alone does not: ``made(rng, **sizes)``.
        name: an expression that makes such a specification, for the repr of its points.
    """

    text: str
    parts: Mapping[str, Part]
    sizes: tuple[str, ...]
    choices: Mapping[str, tuple[Any, ...]]
    axes: frozenset[str]
    conditions: tuple[Condition, ...]
    made: Callable[..., tuple[Any, ...]] | None = None
    name: str = ""

    @functools.cached_property
    def arrays(self) -> tuple[tuple[str, Array], ...]:
        """The arrays and numbers among the arguments, by the name of the argument."""
        return tuple((name, each) for name, part in self.parts.items() for each in arrays(part))

    @functools.cached_property
    def alone(self) -> frozenset[Any]:
        """The sizes that are an axis by themselves."""
        axes = (each for _, array in self.arrays for each in array.axes())
        return frozenset(each.tree for each in axes if isinstance(each, Expression) and isinstance(each.tree, str))

    def entries(self, sizes: Sizes) -> int:
        """Return how many entries all arrays have together."""
        return sum(math.prod(each.shape(sizes)) for _, each in self.arrays)

    def problem(self, sizes: Sizes, least: int = 1, most: float = MOST) -> str | None:
        """Return why there is no point of these sizes, as what must hold; None where there is one.

        No axis may be shorter than ``least``, and all arrays together may have no more than ``most`` entries.
        """
        count = 0
        try:
            for condition in self.conditions:
                if not condition.holds(sizes):
                    return f"obey {condition.text}"
            for name, each in self.arrays:
                shape = each.shape(sizes)
                if min(shape, default=least) < least:
                    return f"give {name} no axis shorter than {least}, and its shape would be {shape}"
                if problem := each.problem(sizes, shape):
                    return f"let {name} {problem}"
                count += math.prod(shape)
        except (ZeroDivisionError, OverflowError) as error:
            return f"be numbers, and there is a {type(error).__name__}"
        if count > most:
            return f"make a point of at most {most:,} entries, and this one would have {count:,}"
        return None

    def point(self, sizes: Sizes, seed: int) -> Point:
        """Return the arguments that some sizes and a seed make, the same ones each time.

        Raises:
            TypeError: what makes them returns no tuple.
        """
        rng = np.random.default_rng((seed, STREAM))
        if self.made is not None:
            values = self.made(rng, **{name: sizes[name] for name in self.sizes})
            if not isinstance(values, tuple):
                raise TypeError(
                    f"args must return a tuple of arguments, but returned {describe(values)}. Return (x,) for one."
                )
        else:
            values = tuple(part.draw(rng, sizes) for part in self.parts.values())
        point = Point(values)
        point.text, point.sizes, point.seed = self.text, {name: sizes[name] for name in self.sizes}, seed
        point.spec = self.name
        return point


@functools.lru_cache(maxsize=256)
def specified(text: str) -> Specification:
    """Return what a text specifies.

    Raises:
        ValueError: it is not of the grammar, or contradicts itself; the message points at the place.
    """
    grammar = read(text)
    sizes, axes = _sizes(grammar)
    specification = Specification(text, grammar.parts, sizes, grammar.choices, axes, grammar.conditions)
    _must_agree(specification)
    return specification


def specified_by(text: str, made: Callable[..., tuple[Any, ...]]) -> Specification:
    """Return the specification of sizes and settings alone, of which a function makes the arguments.

    Raises:
        ValueError: as :func:`specified`; or an argument is specified.
    """
    grammar = read(text)
    for name, part in grammar.parts.items():
        if not isinstance(part, Size):
            _refuse(text, "name sizes alone where a function makes the arguments", f"{name} is an argument", name)
    sizes, axes = _sizes(grammar)
    name = f"specified_by({text!r}, {getattr(made, '__qualname__', repr(made))})"
    return Specification(text, {}, sizes, grammar.choices, axes, grammar.conditions, made, name)


def _sizes(grammar: Grammar) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of all sizes and settings, and which of them stand for several axes."""
    names: dict[str, None] = {}
    axes: set[str] = set()
    for name, part in grammar.parts.items():
        if isinstance(part, Size):
            names[name] = None
        for array in arrays(part):
            for each in array.axes():
                if isinstance(each, Axes):
                    axes.add(each.name)
                    names[each.name] = None
                else:
                    names.update(dict.fromkeys(_in_order(each)))
    return tuple(names), frozenset(axes)


def _in_order(expression: Expression) -> list[str]:
    return sorted(expression.names, key=expression.text.index)


def _must_agree(spec: Specification) -> None:
    """Refuse what contradicts itself."""
    used = {name for _, array in spec.arrays for each in array.axes() for name in _named(each)}
    lone = [each for _, array in spec.arrays for each in array.expressions()]
    lone += [each for condition in spec.conditions for each in (condition.left, condition.right)]
    known = used.union(spec.choices, *(each.names for each in lone))
    for name, part in spec.parts.items():
        if not isinstance(part, Size) and name in used:
            _refuse(spec.text, "call an argument otherwise than a size", f"{name} is both", name)
        if isinstance(part, Size) and name in spec.axes:
            _refuse(spec.text, "call a number otherwise than several axes", f"{name} is both", name)
        if isinstance(part, Size) and name not in known:
            hint = f"Write {name}: N D for an array, or {name} in 1 2 3 for a number."
            _refuse(spec.text, "say what each argument is", f"of {name} there is the name alone", name, hint)
    for each in (*lone, *(each for _, array in spec.arrays for each in array.axes() if not isinstance(each, Axes))):
        for name in each.names & spec.axes:
            _refuse(spec.text, "call a number otherwise than several axes", f"{name} is both", each)
    for each in lone:
        for name in each.names - set(spec.sizes):
            _refuse(spec.text, "hold each size as that of an axis or an argument", f"{name} is none", each)
    for _, array in spec.arrays:
        if array.family and not spec.axes and len(array.dims or ()) < FAMILIES[array.family][0]:
            needed = f"{FAMILIES[array.family][0]} axes"
            _refuse(spec.text, f"have {needed} where values are {array.family}", "there are fewer", array.family)
    for name, values in spec.choices.items():
        if name not in spec.sizes:
            _refuse(spec.text, "hold each size as that of an axis or an argument", f"{name} is none", name)
        if name in used and not all(type(value) is int and value >= 0 for value in values):
            _refuse(spec.text, "choose a size from whole numbers", f"{name} is chosen from {values}", name)


def _refuse(text: str, rule: str, came: str, place: str | Expression, hint: str = "") -> NoReturn:
    """Raise a ValueError about a text that points at a word of it."""
    word = re.compile(rf"\b{re.escape(place)}\b").search(text) if isinstance(place, str) else None
    start = place.start if isinstance(place, Expression) else word.start() if word else 0
    raise ValueError(pointed(f"shapes must {rule}, but {came}.{' ' * bool(hint)}{hint}", text, start))


def _named(axis: Expression | Axes) -> frozenset[str]:
    return frozenset({axis.name}) if isinstance(axis, Axes) else axis.names
