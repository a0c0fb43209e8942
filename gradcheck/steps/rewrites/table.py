"""What a rewrite of one recorded operation is, and what every table may take to make it. Level 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck.steps.quotes import quoted

if TYPE_CHECKING:
    from gradcheck.steps.blame import At
    from gradcheck.steps.rewrites.meanings import Meanings

Array = np.ndarray[Any, Any]
Make = Callable[[Any, Sequence[Array], "At"], Array]
Take = Callable[[Any, "At"], Array]  # from a node and what is at hand in a replay

FOUR = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}
PRODUCTS = ("matmul", "dot", "outer", "einsum", "tensordot", "multiply")
NUMBERS = int | float | np.number


class Refused(Exception):
    """A rewrite that cannot be done at this operation."""


class Rewrite(NamedTuple):
    """One operation done otherwise.

    Attributes:
        mistake: the id of the mistake that this undoes, or what finds it when the rewrite has turned out to be right.
        should: what should be done, in words that end a sentence: ``sum over axis 2``.
        make: from the node, the values of its parents and what else is at hand in a replay to what should be there.
        stands: what stands there; "" for the operation as a whole.
        operand: the argument that alone is concerned; -1 for the operation as a whole.
        strange: how many values or numbers it takes from elsewhere; -1 of what the memory itself shows.
        several: whether more operations of the same line of reasoning may need it at once.
    """

    mistake: str | Callable[[], str]
    should: str
    make: Make
    stands: str = ""
    operand: int = -1
    strange: int = 0
    several: bool = False

    @property
    def id(self) -> str:
        """The id of the mistake."""
        return self.mistake if isinstance(self.mistake, str) else self.mistake()


class Operation:
    """A node at its first wrong turn, as the tables see it.

    Attributes:
        node, name, result: what was recorded.
        args, kwargs: what the function was given, arrays and numbers.
        wanted, free: the shape that the result should have, and whether that is not known.
        facts: what numbers, factors and terms mean in this run.
    """

    def __init__(self, node: Any, values: Sequence[Array], wanted: tuple[int, ...] | None, facts: Meanings) -> None:
        self.node, self.name, self.result, self.facts = node, node.name, node.value, facts
        self.wanted, self.free = node.value.shape if wanted is None else wanted, wanted is None
        self.args, self.kwargs = arguments(node, values) if node.kind == "op" else ((), {})
        self.values = values

    @property
    def arrays(self) -> list[int]:
        """The arguments that are arrays with more than one entry."""
        return [i for i, each in enumerate(self.args) if isinstance(each, np.ndarray) and each.size > 1]

    @property
    def operands(self) -> list[int]:
        """The arguments that are arrays or numbers."""
        return [
            i
            for i, each in enumerate(self.args)
            if isinstance(each, np.ndarray | float | int) and not isinstance(each, bool)
        ]

    def parent(self, place: int) -> int:
        """Return the node that an argument is, -1 where it is none."""
        k = getattr(self.node.args[place], "k", None)
        return -1 if k is None else self.node.parents[k]

    def said(self, place: int) -> str:
        """Return what to call an argument."""
        if written := quoted(self.node.site).operand(place):
            return written
        parent = self.parent(place)
        if parent >= 0:
            return self.facts.called(parent)
        each = self.args[place]
        return f"{each:g}" if isinstance(each, NUMBERS) else f"operand {place + 1}"


Table = Callable[[Operation], Iterator[Rewrite]]


def arguments(node: Any, values: Sequence[Array]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what the function of a node is given."""
    given: tuple[tuple[Any, ...], dict[str, Any]] = node.compute(values, func=lambda *args, **kwargs: (args, kwargs))
    return given


def redone(node: Any, values: Sequence[Array]) -> Array:
    """Return the operation as it is."""
    return np.asarray(node.compute(values))


def by(function: Callable[..., Any]) -> Make:
    """Return the rewrite that does another function of the same arguments."""
    return lambda node, values, at: np.asarray(function(*arguments(node, values)[0]))


def then(change: Callable[[Array], Any]) -> Make:
    """Return the rewrite that changes the result."""
    return lambda node, values, at: np.asarray(change(redone(node, values)))


def first(change: Callable[[Array], Any]) -> Make:
    """Return the rewrite that does something else with the first argument."""
    return lambda node, values, at: np.asarray(change(np.asarray(arguments(node, values)[0][0])))


def of(place: int, change: Callable[[Any], Any]) -> Make:
    """Return the rewrite that does the operation on one argument changed."""
    return with_taken(place, lambda node, at: None, lambda old, _: change(old))


def times(take: Take) -> Make:
    """Return the rewrite that multiplies the result by what is taken."""
    return lambda node, values, at: redone(node, values) * take(node, at)


def over(take: Take) -> Make:
    """Return the rewrite that divides the result by what is taken."""
    return lambda node, values, at: redone(node, values) / take(node, at)


def with_taken(place: int, take: Callable[[Any, At], Any], change: Callable[[Any, Any], Any] | None = None) -> Make:
    """Return the rewrite with what is taken in an argument's place, or a ``change`` of the argument and it."""

    def make(node: Any, values: Sequence[Array], at: At) -> Array:
        args, kwargs = arguments(node, values)
        new = take(node, at)
        new = new if change is None else change(args[place], new)
        return np.asarray(node.func(*args[:place], new, *args[place + 1 :], **kwargs))

    return make


def as_it_is(take: Take) -> Make:
    """Return the rewrite to what is taken."""
    return lambda node, values, at: take(node, at)


def fixed(value: Any) -> Callable[[Any], Any]:
    """Return the change of anything to one value."""
    return lambda _: value


def alone(place: int) -> Make:
    """Return the rewrite that leaves one argument alone."""

    def make(node: Any, values: Sequence[Array], at: At) -> Array:
        kept = np.asarray(arguments(node, values)[0][place], dtype=float)
        try:
            return np.broadcast_to(kept, node.value.shape)
        except ValueError:
            raise Refused from None

    return make


def proportional(one: Array, two: Array, close: float = 1e-6) -> float:
    """Return the c with one = c * two, 0 where there is none."""
    a, b = np.ravel(one).astype(float), np.ravel(two).astype(float)
    size = float(b @ b) if a.size == b.size else 0.0
    rate = float(a @ b) / size if size else 0.0
    return rate if rate and float(np.linalg.norm(a - rate * b)) <= close * float(np.linalg.norm(a)) else 0.0


def fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array of a shape can be multiplied to one of another without making it larger."""
    return len(shape) <= len(wanted) and all(a in (1, b) for a, b in zip(shape[::-1], wanted[::-1], strict=False))
