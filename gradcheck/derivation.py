"""The Derivation record: one hand-written backward, and all that is needed to judge it. Level 5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Derivation"]


@dataclass(frozen=True)
class Derivation:
    """One hand-written backward pass with what is needed to judge it.

    ``forward(*args) -> (out, cache)`` and ``backward(dout, cache) -> gradients`` are the mathematics.
    ``reference(*args) -> out`` is the same function in ``jax.numpy``, written by another road.
    ``structure`` holds, for every size (or other choice) that ``args`` takes, the values that it may
    have, smallest first; ``args(rng, **choices)`` makes primal values for one choice of each.
    ``real()`` makes one set of args from real data. ``wrt`` names the arguments that move; by default
    every float array does. ``samples`` says along which axis of each argument, and of the output
    ``out``, independent samples lie.
    """

    name: str
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    reference: Callable[..., Any]
    args: Callable[..., tuple[Any, ...]]
    structure: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    wrt: tuple[str, ...] | None = None
    real: Callable[[], tuple[Any, ...]] | None = None
    samples: Mapping[str, int] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator, *, generic: bool = False) -> dict[str, Any]:
        """Return one choice for every size; with ``generic`` none is 1, so that no mistake hides."""
        choices = {}
        for name, values in self.structure.items():
            allowed = [v for v in values if not (generic and v == 1)] or list(values)
            choices[name] = allowed[int(rng.integers(len(allowed)))]
        return choices
