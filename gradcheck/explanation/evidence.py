"""What is at hand to explain a wrong gradient: the claim, the measured truth, and every array in sight. Level 3.

A suspicion is a statement about the true gradient in terms of what is at hand: "half of what is claimed", "the
claimed one plus λ W1", "the claimed one times 1 − a²". It is tested by probes that are measured once and then cost a
dot product each: a combination of arrays that gives the measured slopes along ``PROBES`` random tangents is the true
gradient. Where few numbers are involved, the whole Jacobian is measured, and its pattern can be looked at.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.oracles.estimate import Pushforward
from gradcheck.pairing import Pairing
from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.laws import match_gradients

__all__ = ["Evidence", "Exhausted"]

T = TypeVar("T")

PROBES = 6  # along so many random tangents the truth about one argument is measured at most;
SPARE = 3  # so many more than unknowns have to be met,
FIRST = SPARE + 1  # and so many are measured at first
JOINT = 3  # probes of several arguments together
CLOSE = 1e-7  # of the size of the measured slopes: what a repaired gradient may be off, if its rounding allows no less
ROUNDINGS = 64.0  # likewise, in rounding units of the claimed gradient
FEW = 1000  # outputs, and entries of an argument: of no larger a Jacobian every entry is looked at
PLAIN = (int, float, complex, str, np.generic, type(None), types.FunctionType, np.ufunc)  # nothing is written into
WHOLE = 40  # entries: so small a gradient is measured entry by entry


class Exhausted(RuntimeError):
    """The budget of forward calls for an explanation is used up."""


class Slopes(NamedTuple):
    """The measured truth about one argument: ``tangents`` (K, n), slopes along them (K,), and their errors (K,)."""

    tangents: Array
    values: Array
    errors: Array


@dataclass(frozen=True, eq=False)
class Evidence:
    """A pair of forward and backward at a point, what it claims there, and what was measured.

    Attributes:
        forward: ``forward(*args) -> (out, cache)``.
        backward: ``backward(dout, cache) -> gradients``.
        arguments: the point.
        out: the output, a tree.
        cotangent: a tree like the output; the gradients belong to it.
        returned: what the backward returned for it, as it was.
        claimed: the claimed gradients that have the right shape, by path, in float64.
        misshapen: arrays that the backward returned with a wrong shape, by path.
        wrong: the paths of the arguments whose gradients are wrong.
        pairing: φ, whose gradient the claimed one should be.
        pushforward: who measures φ.
        rng: draws the tangents.
        budget: how many more slopes may be measured; counted down in ``spent``.
    """

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    out: Any
    cotangent: Any
    returned: Any
    claimed: dict[str, Array]
    misshapen: dict[str, Array]
    wrong: tuple[str, ...]
    pairing: Pairing
    pushforward: Pushforward
    rng: np.random.Generator
    budget: int
    spent: list[int] = field(default_factory=lambda: [0])
    _kept: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    # -- what is at hand

    @functools.cached_property
    def cache(self) -> Any:
        """The cache of a forward call of its own."""
        with np.errstate(all="ignore"):
            return self.forward(*self.arguments.fresh())[1]

    def sealed(self) -> Any:
        """Return that cache in containers of its own, its arrays read-only; None if more can be written into."""
        found = [leaf for _, leaf in leaves(self.cache, "cache")]
        if not all(isinstance(leaf, PLAIN) or _is_plain(leaf) for leaf in found):
            return None
        return rebuild(self.cache, (_sealed(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in found))

    @functools.cached_property
    def point(self) -> dict[str, Array]:
        """The arguments that move, by path, in float64."""
        arrays = self.arguments.layout.unflatten(self.arguments.point)
        return dict(zip(self.arguments.layout.paths, arrays, strict=True))

    @functools.cached_property
    def at_hand(self) -> dict[str, Array]:
        """Every array of numbers in sight by a name that a person knows: arguments, output, cotangent, cache."""
        trees = [
            *zip(self.arguments.names, self.arguments.values, strict=True),
            ("out", self.out),
            ("dout", self.cotangent),
            ("cache", self.cache),
        ]
        found: dict[str, Array] = {}
        for name, tree in trees:
            for path, leaf in leaves(tree, name):
                if _is_numbers(leaf) and not any(leaf is old or _same(leaf, old) for old in found.values()):
                    found[path] = np.asarray(leaf)
        return found

    @functools.cached_property
    def numbers(self) -> dict[str, float]:
        """Every plain number in sight by name: settings among the arguments and in the cache."""
        found: dict[str, float] = {}
        for name, tree in [*zip(self.arguments.names, self.arguments.values, strict=True), ("cache", self.cache)]:
            for path, leaf in leaves(tree, name):
                scalar = isinstance(leaf, int | float | np.number) or (isinstance(leaf, np.ndarray) and leaf.ndim == 0)
                if scalar and not isinstance(leaf, bool | np.bool_) and math.isfinite(float(leaf)):
                    found.setdefault(path, float(leaf))
        return found

    @functools.cached_property
    def sizes(self) -> dict[str, int]:
        """The sizes in play by what they are the size of: ``x.shape[0]``; each size once, largest arrays last."""
        found: dict[str, int] = {}
        for path, array in self.at_hand.items():
            for axis, size in enumerate(array.shape):
                if size > 1 and size not in found.values():
                    found[f"{path}.shape[{axis}]"] = size
        return found

    # -- what was measured

    @functools.cached_property
    def leaf_of(self) -> dict[str, int]:
        """The number of the leaf at each path."""
        return {path: leaf for leaf, path in enumerate(self.arguments.layout.paths)}

    def slope(self, vector: Array) -> tuple[float, float]:
        """Return the measured slope of φ along a flat ``vector`` and its error.

        Raises:
            Exhausted: the budget is used up.
        """
        if self.spent[0] >= self.budget:
            raise Exhausted(f"{self.budget} slopes were measured, and no more are allowed for an explanation")
        self.spent[0] += 1
        estimate = self.pushforward(vector)
        return float(estimate.value), float(estimate.error) + float(estimate.kink)

    def embedded(self, path: str, array: Array) -> Array:
        """Return the flat tangent that is ``array`` at ``path`` and zero elsewhere."""
        layout = self.arguments.layout
        vector = np.zeros(layout.size)
        vector[layout.slices[self.leaf_of[path]]] = np.ravel(array)
        return vector

    def slopes(self, path: str, count: int = FIRST) -> Slopes:
        """Return the slopes of φ along at least ``count`` random tangents of the argument at ``path``."""
        tangents, measured = self.once("slopes", path, self._unmeasured)
        while len(measured) < count:
            measured.append(self.slope(self.embedded(path, tangents[len(measured)])))
        values, errors = zip(*measured, strict=True)
        return Slopes(tangents[: len(measured)], np.array(values), np.array(errors))

    def _unmeasured(self, path: str) -> tuple[Array, list[tuple[float, float]]]:
        return self.rng.standard_normal((PROBES, self.point[path].size)), []

    def truth(self, path: str) -> Array | None:
        """Return the true gradient of the argument at ``path`` entry by entry; None where it has many entries."""
        return self.once("truth", path, self._truth)

    def _truth(self, path: str) -> Array | None:
        shape = self.point[path].shape
        size = math.prod(shape)
        if size > WHOLE:
            return None
        return np.array([self.slope(self.embedded(path, one))[0] for one in np.eye(size)]).reshape(shape)

    # -- how a suspicion is tested

    def combine(self, path: str, terms: Sequence[Array]) -> Array | None:
        """Return the coefficients with which ``terms``, each of the argument's shape, add up to the true gradient.

        None where no coefficients do.
        """
        if len(terms) > PROBES - SPARE:
            return None
        tangents, values, errors = self.slopes(path, len(terms) + SPARE)
        if not np.isfinite(errors).all():
            return None
        columns = np.stack([tangents @ np.ravel(term).astype(np.float64) for term in terms], axis=1)  # (K, terms)
        if not np.isfinite(columns).all():
            return None
        scale = np.linalg.norm(columns, axis=0)
        if not scale.all():
            return None
        coefficients: Array
        coefficients, _, rank, _ = np.linalg.lstsq(columns / scale, values, rcond=1e-9)
        if rank < len(terms):
            return None
        coefficients = coefficients / scale
        return coefficients if self._met(path, columns @ coefficients) else None

    def is_true(self, path: str, gradient: Array) -> bool:
        """Whether ``gradient``, of the argument's shape, is the true gradient as far as the probes can tell."""
        if np.shape(gradient) != self.point[path].shape:
            return False
        tangents = self.slopes(path).tangents
        return self._met(path, tangents @ np.ravel(gradient).astype(np.float64))

    def are_true(self, gradients: Mapping[str, Array]) -> bool:
        """Whether ``gradients``, by path, are true ones as far as a few probes of them all together can tell.

        Each is scaled by its own norm, so that a relative error of any shows. Of one argument, :meth:`is_true`.
        """
        if len(gradients) == 1:
            return self.is_true(*next(iter(gradients.items())))
        if any(np.shape(gradient) != self.point[path].shape for path, gradient in gradients.items()):
            return False
        norms = {path: float(np.linalg.norm(gradient)) for path, gradient in gradients.items()}
        if not all(0 < norm < math.inf for norm in norms.values()):
            return all(self.is_true(path, gradient) for path, gradient in gradients.items())
        for _ in range(JOINT):
            tangents = {path: self.rng.standard_normal(np.shape(g)) / norms[path] for path, g in gradients.items()}
            value, error = self.slope(
                np.sum([self.embedded(path, tangent) for path, tangent in tangents.items()], axis=0)
            )
            slope = sum(float((gradients[path] * tangent).sum()) for path, tangent in tangents.items())
            allowed = max(self._allowed(path, 1.0) for path in gradients)
            if not abs(value - slope) <= error + allowed:
                return False
        return True

    def is_true_along(self, path: str, tangents: Sequence[Array], slopes: Sequence[float]) -> bool:
        """Whether the slopes of φ along some tangents of one argument, of its shape each, are these."""
        measured = [self.slope(self.embedded(path, tangent)) for tangent in tangents]
        size = max(abs(value) for value, _ in measured)
        allowed = self._allowed(path, size)
        return all(
            abs(value - slope) <= error + allowed for (value, error), slope in zip(measured, slopes, strict=True)
        )

    def _met(self, path: str, slopes: Array) -> bool:
        _, values, errors = self.slopes(path)
        size = float(np.sqrt(np.mean(values**2)))
        return bool(np.all(np.abs(slopes - values) <= 4 * errors + self._allowed(path, size)))

    def _allowed(self, path: str, size: float) -> float:
        dtype = self.arguments.layout.dtypes[self.leaf_of[path]]
        unit = float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7
        return max(CLOSE, ROUNDINGS * unit) * size

    # -- what else the pair says

    def pull(self, cotangent: Any) -> dict[str, Array]:
        """Return the gradients, by path, that the backward gives for another cotangent, a tree like the output.

        Those of a wrong shape are left out.
        """
        with np.errstate(all="ignore"):
            _, cache = self.forward(*self.arguments.fresh())
            returned = self.backward(cotangent, cache)
        return self.claims(returned)

    def claims(self, returned: Any) -> dict[str, Array]:
        """Return the gradients of the right shape, by path, in what a backward returned."""
        found = match_gradients(name_of(self.backward), returned, self.arguments).gradients
        return {path: gradient.astype(np.float64) for path, gradient in found.items() if gradient is not None}

    def cotangents(self, vectors: Iterable[Array]) -> Iterator[Any]:
        """Yield trees like the output from flat vectors of its size."""
        parts = [(np.shape(leaf), np.size(leaf), leaf) for _, leaf in leaves(self.out, "out")]
        for vector in vectors:
            pieces, start = [], 0
            for shape, size, leaf in parts:
                piece = np.array(vector[start : start + size]).reshape(shape)
                pieces.append(piece.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(piece))
                start += size
            yield rebuild(self.out, iter(pieces))

    @functools.cached_property
    def flat_cotangent(self) -> Array:
        """The cotangent as one flat vector."""
        return np.concatenate([np.ravel(leaf) for leaf in self.pairing.cotangent])

    @functools.cached_property
    def outputs(self) -> int:
        """The number of entries of the output."""
        return sum(np.size(leaf) for _, leaf in leaves(self.out, "out"))

    def jacobians(self, path: str) -> tuple[Array, Array] | None:
        """Return the claimed and the measured Jacobian of the output by one argument, each (outputs, entries).

        Row o of the claimed one is the backward's gradient for a cotangent that is one at output o and zero elsewhere.
        None where there are too many numbers, or the output is a single one.
        """
        return self.once("jacobians", path, self._jacobians)

    def once(self, what: str, path: str, work: Callable[[str], T]) -> T:
        """Return ``work(path)``, done once for this evidence."""
        if (what, path) not in self._kept:
            self._kept[what, path] = work(path)
        kept: T = self._kept[what, path]
        return kept

    def _jacobians(self, path: str) -> tuple[Array, Array] | None:
        size = self.point[path].size
        if not 2 <= self.outputs <= FEW or size > FEW:
            return None
        if path not in self.claimed:
            return None
        claimed = np.stack([self.pull(one)[path].ravel() for one in self.cotangents(np.eye(self.outputs))])
        return claimed, self._measured_jacobian(path)

    def _measured_jacobian(self, path: str) -> Array:
        """Return ∂out/∂argument column by column, by a plain central difference of fourth order.

        Patterns of zeros and ratios are read from it, and what is read is then verified by :meth:`is_true`.
        """
        point, layout = self.arguments.point, self.arguments.layout
        part = layout.slices[self.leaf_of[path]]
        typical = float(np.sqrt(np.mean(point[part] ** 2))) or 1.0
        columns = []
        for index in range(part.start, part.stop):
            if self.spent[0] >= self.budget:
                raise Exhausted(f"{self.budget} slopes were measured, and no more are allowed for an explanation")
            self.spent[0] += 1
            h = 2e-3 * max(abs(float(point[index])), typical)
            sampled = [self._at(point, index, k * h) for k in (-2, -1, 1, 2)]
            columns.append((sampled[0] - 8 * sampled[1] + 8 * sampled[2] - sampled[3]) / (12 * h))
        return np.stack(columns, axis=1)

    def _at(self, point: Array, index: int, by: float) -> Array:
        moved = point.copy()
        moved[index] += by
        with np.errstate(all="ignore"):
            out, _ = self.forward(*self.arguments.at(moved))
        return np.concatenate([np.ravel(np.asarray(leaf, dtype=np.float64)) for _, leaf in leaves(out, "out")])


def _is_plain(leaf: Any) -> bool:
    return type(leaf) is np.ndarray and leaf.dtype.kind != "O"


def _sealed(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _is_numbers(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub" and leaf.size > 0


def _same(leaf: Array, other: Array) -> bool:
    return leaf.shape == other.shape and leaf.dtype == other.dtype and np.array_equal(leaf, other)
