"""The scalar that every oracle differentiates: φ(x) = ⟨ȳ, f(x) − f(x₀)⟩. Level 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.trees import Array, leaves

__all__ = ["Pairing", "call"]


@dataclass(frozen=True)
class Pairing:
    """φ(x) = ⟨ȳ, f(x) − f(x₀)⟩ as a function of the flat vector x of all that moves.

    Its derivative along ẋ is ⟨ȳ, J ẋ⟩, the right side of the identity. The primal f(x₀) is taken off entry by
    entry before the sum, so that the rounding of large outputs that hardly change does not drown the change.

    Attributes:
        function: f, from the arguments to the output alone.
        arguments: the point x₀ and how to move it.
        out: f(x₀) as the forward returned it.
        cotangent: the leaves of ȳ, float64.
    """

    function: Callable[..., Any]
    arguments: Arguments
    out: Any
    cotangent: tuple[Array, ...]

    @classmethod
    def at_point(cls, forward: Callable[..., Any], arguments: Arguments, cotangent: Any) -> Pairing:
        """Return the pairing of ``forward``, which returns (out, cache), with ``cotangent`` at the arguments' point."""

        def function(*primals: Any) -> Any:
            return forward(*primals)[0]

        function.__name__ = name_of(forward)
        out = call(function, arguments.at(arguments.point))
        return cls(function, arguments, out, tuple(np.asarray(y, np.float64) for _, y in leaves(cotangent, "dout")))

    def __call__(self, vector: Array) -> Any:
        """Return φ at ``vector``; complex where ``vector`` is."""
        out = call(self.function, self.arguments.at(vector))
        return sum(
            np.vdot(y_bar, np.asarray(y) - y0)
            for y_bar, (_, y), y0 in zip(self.cotangent, leaves(out, "out"), self.primal, strict=True)
        )

    def of(self, function: Callable[..., Any]) -> Pairing:
        """Return the same pairing with ``function`` in the place of f."""
        return replace(self, function=function)

    @cached_property
    def named_primal(self) -> tuple[tuple[str, Any], ...]:
        """The leaves of f(x₀) by name: ``out``, or ``out[0]`` and so on."""
        return tuple(leaves(self.out, "out"))

    @cached_property
    def primal(self) -> tuple[Array, ...]:
        """The leaves of f(x₀) in float64."""
        return tuple(np.asarray(leaf, dtype=np.float64) for _, leaf in self.named_primal)

    @cached_property
    def size(self) -> float:
        """The size of ⟨ȳ, f(x₀)⟩: the root of the sum of its squared terms."""
        terms = (np.sum((y_bar * y) ** 2) for y_bar, y in zip(self.cotangent, self.primal, strict=True))
        return float(np.sqrt(sum(terms)))

    @property
    def rounding(self) -> float:
        """What rounding every entry of the output once does to φ, root mean square."""
        return float(np.finfo(np.float64).eps) / 2 * self.size


def call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return ``function(*args)``; what it raises reaches the user as it is, with a note of the call."""
    try:
        return function(*args)
    except Exception as error:
        arrays = (f"{path} {leaf.shape}" for path, leaf in leaves(args, "args") if isinstance(leaf, np.ndarray))
        error.add_note(f"gradcheck: raised inside {name_of(function)}, called with {', '.join(arrays) or 'no arrays'}.")
        raise
