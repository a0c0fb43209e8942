"""A pair of forward and backward at a point, and what is known of its wrong gradients. Level 3."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.oracles import central_difference
from gradcheck.pairing import Pairing
from gradcheck.steps.known import Number, numbers
from gradcheck.steps.measured import Measured, measured
from gradcheck.steps.twin import apart
from gradcheck.trees import Array, is_number, leaves, mapped, rebuild
from gradcheck.verdict.laws import read as matched
from gradcheck.verdict.returned import by_leaf

__all__ = ["Case", "Gradient", "Says", "case_of", "is_a_line", "like"]

NUMBERS = "fbiu"  # kinds of arrays of which something is read

OTHER = -1.7  # times the cotangent: of another sign and another size

Says = tuple[str, str]  # the id of a mistake, and what was returned for an argument, in words


@dataclass(frozen=True, eq=False)
class Case:
    """A pair of forward and backward at a point, and what is known of its wrong gradients.

    ``returned`` is what the backward gave, by path, of whatever shape and type; ``truth`` is what is known of the wrong
    ones; ``arrays`` is what there is under a name, ``known`` the numbers among it.
    """

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    cotangent: Any
    returned: dict[str, Array]
    truth: Mapping[str, Measured]
    arrays: dict[str, Array]
    known: tuple[Number, ...]
    rng: np.random.Generator
    _of_parts: dict[tuple[int, int], dict[str, Array]] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        """The paths whose gradients are not the true ones, by what is known of these."""
        return [path for path, came in self.returned.items() if path in self.truth and not self.truth[path].holds(came)]

    def gradient(self, path: str) -> Gradient:
        """Return what was returned for one argument, beside what is known of the truth."""
        return Gradient(self, path, self.returned[path], self.truth[path])

    @property
    def point(self) -> dict[str, Array]:
        """The arguments that move, by path."""
        return dict(zip(self.arguments.layout.paths, map(np.asarray, self.arguments.moving_leaves), strict=True))

    @property
    def bars(self) -> list[Array]:
        """The leaves of the cotangent."""
        return [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(self.cotangent, "dout")]

    def pulled(self, bars: Sequence[Array]) -> dict[str, Array]:
        """Return what the backward gives for another cotangent."""
        (came,) = returned_by(self.forward, self.backward, self.arguments, like(self.cotangent, bars), 1)
        return came

    @functools.cached_property
    def of_another(self) -> dict[str, Array]:
        """What the backward gives for a cotangent that has nothing to do with the one of the check."""
        drawn = (OTHER * bar if bar.size == 1 else self.rng.standard_normal(bar.shape) for bar in self.bars)
        return self.pulled([np.asarray(bar) for bar in drawn])

    @functools.cached_property
    def of_a_larger(self) -> dict[str, Array]:
        """What the backward gives for a larger cotangent."""
        return self.pulled([-OTHER * bar for bar in self.bars])

    @functools.cached_property
    def of_none(self) -> dict[str, Array]:
        """What the backward gives for a cotangent of zeros."""
        return self.pulled([np.zeros(bar.shape) for bar in self.bars])

    def of_a_part(self, axis: int, places: slice) -> dict[str, Array]:
        """Return what the backward gives for the cotangent at some places along an axis of the only output."""
        if (axis, places.start) not in self._of_parts:
            self._of_parts[axis, places.start] = self.pulled([self.part(axis, places)])
        return self._of_parts[axis, places.start]

    def part(self, axis: int, places: slice) -> Array:
        """Return the only cotangent with zeros but for some places along an axis."""
        (bar,) = self.bars
        kept, index = np.zeros(bar.shape), (slice(None),) * axis + (places,)
        kept[index] = bar[index]
        return kept

    @functools.cached_property
    def grown(self) -> dict[str, Array]:
        """By how much a second call with the same cache gives more than the first."""
        first, second = returned_by(self.forward, self.backward, self.arguments, self.cotangent, 2)
        return {path: second[path] - first[path] for path in first if first[path].shape == second[path].shape}

    def slopes(self, bars: Sequence[Array], paths: Sequence[str]) -> dict[str, Measured]:
        """Return what is measured of the true gradients for another cotangent, along a few tangents."""
        return measured_at(self.forward, self.arguments, like(self.cotangent, bars), paths, self.rng, 0.0)


class Gradient(NamedTuple):
    """What ``came`` for the argument at ``path`` of a case, and what is known of the ``truth``."""

    case: Case
    path: str
    came: Array
    truth: Measured


def is_a_line(case: Case, path: str) -> bool:
    """Whether an argument lies along one axis where others have two, as a bias beside weights."""
    tables = any(max(array.shape, default=1) < array.size for array in case.point.values())
    return tables and max(case.point[path].shape, default=1) == case.point[path].size


def case_of(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    cotangent: Any,
    paths: Sequence[str],
    truth: Mapping[str, Measured] | None = None,
    seed: int = 0,
) -> Case:
    """Return the case of a pair at a point; the true gradients at ``paths`` are measured unless they are given."""
    rng = np.random.default_rng((seed, 13))
    out, cache = forward(*arguments.fresh())
    named = [*zip(arguments.names, arguments.values, strict=True), ("out", out), ("dout", cotangent), ("cache", cache)]
    found = [(path, leaf) for name, tree in named for path, leaf in leaves(tree, name)]
    arrays = {path: leaf for path, leaf in found if isinstance(leaf, np.ndarray) and leaf.dtype.kind in NUMBERS}
    (returned,) = returned_by(forward, backward, arguments, cotangent, 1)
    if truth is None:
        truth = measured_at(forward, arguments, cotangent, paths, rng)
    given = [each for each in named if each[0] not in ("out", "dout")]
    return Case(forward, backward, arguments, cotangent, returned, truth, arrays, numbers(given, out), rng)


def returned_by(
    forward: Any, backward: Any, arguments: Arguments, cotangent: Any, calls: int
) -> list[dict[str, Array]]:
    """Return what each of some calls with one cache returns by path, whether it has the right shape or not."""
    with apart(forward, backward) as (own_forward, own_backward):
        _, cache = own_forward(*arguments.fresh())
        return [_by_path(own_backward(mapped(_copied, cotangent), cache), arguments) for _ in range(calls)]


def _by_path(returned: Any, arguments: Arguments) -> dict[str, Array]:
    reading, _ = matched("backward", returned, arguments)
    if reading is None:
        return {}
    pairs = [(leaf, value) for i in arguments.moving for leaf, value in by_leaf(i, reading, arguments)]
    arrays = {leaf.path: np.array(value) for leaf, value in pairs if leaf.number is not None and is_number(value)}
    return {path: array for path, array in arrays.items() if array.dtype.kind in NUMBERS}


def _copied(leaf: Any) -> Any:
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def measured_at(
    forward: Any, arguments: Arguments, cotangent: Any, paths: Sequence[str], rng: Any, *seconds: float
) -> dict[str, Measured]:
    """Return what is measured of the true gradients at ``paths``, in so many ``seconds``."""
    pairing = Pairing.at_point(forward, arguments, cotangent)
    return measured(pairing.arguments, central_difference(pairing, arguments.point), paths, rng, *seconds)


def like(tree: Any, bars: Sequence[Array]) -> Any:
    """Return a cotangent of the structure and the types of another."""
    found = zip((leaf for _, leaf in leaves(tree, "dout")), bars, strict=True)
    return rebuild(tree, (_as(leaf, bar) for leaf, bar in found))


def _as(leaf: Any, bar: Array) -> Any:
    return np.asarray(bar, dtype=leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(bar)
