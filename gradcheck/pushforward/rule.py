"""A pushforward as somebody wrote it: how it is called, and what it claims. Level 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.hints import Sentence
from gradcheck.pairing import call
from gradcheck.trees import Array, Layout, describe, entry_name, is_discrete, is_float, leaves, mapped

__all__ = ["Answer", "Rule", "of_output"]


class Answer(NamedTuple):
    """What a pushforward gave for one tangent.

    Attributes:
        primal: the leaves of the output that it computed; None where it gave the tangent alone.
        tangents: those of the output, by the path of the leaf, as they were returned.
        written: what it wrote into, None where it did not.
    """

    primal: list[Any] | None
    tangents: Mapping[str, Array]
    written: str | None = None


@dataclass(frozen=True)
class Rule:
    """A function and its pushforward, at a point.

    Attributes:
        function: ``function(*args) -> out``.
        pushforward: ``pushforward(primals, tangents) -> (out, tangent of out)``, or the tangent alone.
        arguments: the point, and what moves.
        out: what the function returns there.
        layout: of the leaves of the output that have a tangent.
        computes: what the pushforward computes as the output, where its tangent is that of another function.
    """

    function: Callable[..., Any]
    pushforward: Callable[..., Any]
    arguments: Arguments
    out: Any
    layout: Layout
    computes: Callable[..., Any] | None = None

    @property
    def who(self) -> str:
        """What to call the pushforward."""
        return name_of(self.pushforward)

    def claim(self, tangent: Array, primals: tuple[Any, ...] | None = None) -> Answer | Sentence:
        """Return what the rule claims along a flat ``tangent``, or how what it returned breaks its contract."""
        primals = self.arguments.fresh() if primals is None else primals
        tangents = self._like_primals(tangent, primals)
        given = (*_named(self.arguments.names, primals), *_named((f"d{n}" for n in self.arguments.names), tangents))
        kept = [(path, leaf, leaf.copy()) for path, leaf in given if isinstance(leaf, np.ndarray)]
        returned = call(self.pushforward, (primals, tangents))
        written = next((path for path, leaf, before in kept if not _same(leaf, before)), None)
        if self._has_cache(returned):
            return Sentence(
                f"{name_of(self.function)} must return the output alone, but it returned a pair, of which {self.who} "
                "pushes forward the first.",
                f"Pass lambda *args: {name_of(self.function)}(*args)[0].",
            )
        primal, tangent_out = self._parted(returned)
        found, wanted = _leaves(tangent_out), _leaves(self.out)
        if len(found) != len(wanted):
            return Sentence(
                f"{self.who} must return a tangent like the output, {describe(self.out)}, but it returned "
                f"{describe(tangent_out)}.",
                "Return (out, tangent of out).",
            )
        tangents_out = dict(zip(self._paths, found, strict=True))
        for path, shape in zip(self.layout.paths, self.layout.shapes, strict=True):
            if broken := self._breach(path, tangents_out[path], shape):
                return broken
        arrays = {path: np.asarray(tangents_out[path]) for path in self.layout.paths}
        return Answer(None if primal is None else _leaves(primal), arrays, written)

    def flat(self, answer: Answer) -> Array:
        """Return the tangents of the output as one flat vector."""
        return self.layout.flatten(answer.tangents.values())

    @property
    def primal(self) -> list[Array]:
        """The leaves of the output that have a tangent."""
        return [np.asarray(leaf) for path, leaf in leaves(self.out, "out") if path in self.layout.paths]

    @property
    def left_out(self) -> list[str]:
        """The paths of the leaves of the output that have no tangent."""
        return [path for path in self._paths if path not in self.layout.paths]

    @property
    def _paths(self) -> list[str]:
        return [path for path, _ in leaves(self.out, "out")]

    def _like_primals(self, tangent: Array, primals: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the tangents of all arguments, each like its primal: zeros of numbers that stay, None of the rest."""
        parts, moving = self.arguments.layout.unflatten(tangent), self.arguments.leaves
        numbers = iter([leaf.number for leaf in moving])

        def one(value: Any) -> Any:
            number = next(numbers)
            if isinstance(value, np.ndarray):
                dtype = value.dtype if is_float(value) else np.float64
                return np.zeros(value.shape, dtype) if number is None else parts[number].astype(dtype).view(type(value))
            if number is not None:
                return type(value)(parts[number])
            return 0.0 if isinstance(value, int | float | np.number) and not isinstance(value, bool) else None

        return tuple(mapped(one, primal) for primal in primals)

    def _parted(self, returned: Any) -> tuple[Any, Any]:
        """Return the output and its tangent; None for the output where the tangent alone was returned."""
        if isinstance(returned, tuple | list) and len(returned) == 2:
            out, tangent = returned
            count = len(_leaves(self.out))
            if len(_leaves(returned)) != count or len(_leaves(out)) == len(_leaves(tangent)) == count:
                return out, tangent
        return None, returned

    def _has_cache(self, returned: Any) -> bool:
        """Whether the function returns (out, cache) and the rule (out, tangent), where the tangent is random."""
        pairs = (self.out, returned)
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            return False
        (out, _), (primal, tangent) = ([_leaves(each) for each in pair] for pair in pairs)
        return (
            len(out) == len(primal) == len(tangent) > 0
            and all(map(np.array_equal, out, primal))
            and any(map(np.any, out))
            and not all(map(np.array_equal, out, tangent))
        )

    def _breach(self, path: str, tangent: Any, shape: tuple[int, ...]) -> Sentence | None:
        """Return how a tangent of the output breaks its contract; None where it does not."""
        rule = f"{self.who} must return d{path}"
        if isinstance(tangent, float | np.floating):
            tangent = np.asarray(tangent)
        if isinstance(tangent, np.ma.MaskedArray) or not is_float(tangent):
            return Sentence(
                f"{rule} as a float array, but returned {describe(tangent)}.", "Make it in the dtype of out."
            )
        if tangent.shape != shape:
            return Sentence(f"{rule} with the shape of {path}, {shape}, but returned shape {tangent.shape}.")
        finite = np.isfinite(tangent)
        if not finite.all():
            index = int(np.argmin(finite.ravel()))
            where = f"{entry_name(f'd{path}', shape, index)} is {np.ravel(tangent)[index]}"
            return Sentence(f"{rule} finite, but {where} ({finite.size - np.count_nonzero(finite)} of {finite.size}).")
        return None


def of_output(out: Any) -> Layout:
    """Return the layout of the leaves of an output that have a tangent: not of integers and booleans."""
    found = [(path, np.asarray(leaf)) for path, leaf in leaves(out, "out") if not is_discrete(leaf)]
    return Layout.of(found)


def _leaves(tree: Any) -> list[Any]:
    return [leaf for _, leaf in leaves(tree, "")]


def _named(names: Any, values: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for name, value in zip(names, values, strict=True):
        yield from leaves(value, name)


def _same(now: Array, before: Array) -> bool:
    return np.array_equal(now, before) or np.array_equal(now, before, equal_nan=True)
