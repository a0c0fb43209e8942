"""Hypothesis strategies for property tests of a derivation: structure is drawn, values come from a seed. Level 5.

What Hypothesis shrinks are the sizes, towards the smallest, and the seed, towards 0. Values drawn entry by entry would
be nearly all alike, and a gradient check of an array of equal entries sees few mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from gradcheck.derivation import Derivation
from gradcheck.shapes.sizes import FEW, values_of
from gradcheck.shapes.specification import Point, Specification, specified

__all__ = ["Case", "cases", "points", "seeds", "structures"]


@dataclass(frozen=True)
class Case:
    """A structure and a seed of a derivation; ``args`` are the primal values that they make."""

    derivation: Derivation
    structure: Mapping[str, Any]
    seed: int

    @property
    def args(self) -> tuple[Any, ...]:
        """Fresh args of the forward, the same ones each time."""
        return self.derivation.args(np.random.default_rng(self.seed), **self.structure)

    def __repr__(self) -> str:
        """Return an expression that makes the case, for a record that is called its name in capitals."""
        structure = {name: self.structure[name] for name in self.derivation.structure}
        return f"Case({self.derivation.name.upper()}, {structure!r}, seed={self.seed})"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Have Hypothesis print the repr, which it would not do for a dataclass."""
        printer.text(repr(self))


def structures(derivation: Derivation, *, generic: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of one choice for every size; with ``generic`` none is 1, where there is another."""
    return st.fixed_dictionaries(
        {
            name: st.sampled_from([v for v in values if not (generic and v == 1)] or list(values))
            for name, values in derivation.structure.items()
        }
    )


def seeds() -> st.SearchStrategy[int]:
    """Return a strategy of seeds for :func:`numpy.random.default_rng`."""
    return st.integers(0, 2**32 - 1)


@st.composite  # and not st.builds, of which Hypothesis prints the parts
def _case(draw: st.DrawFn, derivation: Derivation, generic: bool) -> Case:
    return Case(derivation, draw(structures(derivation, generic=generic)), draw(seeds()))


def cases(derivation: Derivation, *, generic: bool = False) -> st.SearchStrategy[Case]:
    """Return a strategy of cases: what a property test draws, and what it prints when it fails."""
    return _case(derivation, generic)


def points(shapes: str | Specification, *, generic: bool = False) -> st.SearchStrategy[Point]:
    """Return a strategy of points of a specification: the arguments of a forward, a tuple.

    Args:
        shapes: such as ``"x: N D, W: D M, b: M"``; the grammar stands in docs/shapes.md.
        generic: no size is 1, where it may be another, so that no mistake hides.

    Raises:
        ValueError: the specification cannot be read, or contradicts itself.
    """
    return _point(specified(shapes) if isinstance(shapes, str) else shapes, generic)


@st.composite  # and not st.builds, of which Hypothesis prints the parts
def _point(draw: st.DrawFn, spec: Specification, generic: bool) -> Point:
    possible = st.fixed_dictionaries(
        {
            name: st.sampled_from(
                [v for v in values_of(spec, name) if not (generic and v == 1)] or values_of(spec, name)
            )
            for name in spec.sizes
        }
    ).filter(lambda sizes: spec.problem(sizes) is None and spec.entries(sizes) <= FEW)
    return spec.point(draw(possible), draw(seeds()))
