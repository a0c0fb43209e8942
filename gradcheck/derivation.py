"""The Derivation record: one hand-written backward, and all that is needed to judge it. Level 5."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gradcheck.shapes.described import specification_of
from gradcheck.shapes.specification import Specification

__all__ = ["Derivation"]


@dataclass(frozen=True)
class Derivation:
    """One hand-written backward pass with what is needed to judge it.

    ``forward(*args) -> (out, cache)`` and ``backward(dout, cache) -> gradients`` are the mathematics.
    ``reference(*args) -> out`` is the same function in ``jax.numpy``, written by another road.
    ``shapes`` is a text about its arguments, such as ``"labels: N int < K; K in 2 3 7"``; what the annotations or the
    docstring of the forward say need not be said again. Where a text does not say enough, ``args(rng, **sizes)`` makes
    the arguments, and ``shapes`` names sizes and settings alone: ``"depth in 1 2 3, N in 1 5, loss in squared huber"``.
    ``real()`` makes one set of args from real data. ``wrt`` names the arguments that move; by default every float array
    does. ``samples`` says along which axis of each argument, and of the output ``out``, independent samples lie.
    """

    name: str
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    reference: Callable[..., Any]
    shapes: str = ""
    args: Callable[..., tuple[Any, ...]] | None = None
    wrt: tuple[str, ...] | None = None
    real: Callable[[], tuple[Any, ...]] | None = None
    samples: Mapping[str, int] = field(default_factory=dict)

    @functools.cached_property
    def spec(self) -> Specification:
        """The specification of the arguments, from which points are drawn.

        Raises:
            TypeError: an argument is specified nowhere, or the forward takes none of that name.
            ValueError: the specification cannot be read, or contradicts itself.
        """
        spec = specification_of(self.forward, self.shapes, self.args)
        return spec if self.args is None else replace(spec, name=f"{self.name.upper()}.spec")
