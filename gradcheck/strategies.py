"""Hypothesis strategies for property tests: sizes are drawn, values come from a seed. Level 5.

What Hypothesis shrinks are the sizes, towards the smallest, and the seed, towards 0. Values drawn entry by entry would
be nearly all alike, and a gradient check of an array of equal entries sees few mistakes.
"""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np

from gradcheck.derivation import Derivation
from gradcheck.shapes import sizes
from gradcheck.shapes.specification import Point, Specification, specified

__all__ = ["points"]

SEEDS = 2**32  # of the values of a point


def points(shapes: str | Specification | Derivation, *, generic: bool = False) -> st.SearchStrategy[Point]:
    """Return a strategy of points of a specification: the arguments of a forward, a tuple.

    Args:
        shapes: such as ``"x: N D, W: D M, b: M"``, the grammar stands in docs/shapes.md; or a derivation.
        generic: no size is 1, where it may be another, so that no mistake hides.

    Raises:
        TypeError: a derivation does not say what its arguments are.
        ValueError: the specification cannot be read, or contradicts itself, or no sizes obey it.
    """
    if isinstance(shapes, Derivation):
        shapes = shapes.spec
    spec = specified(shapes) if isinstance(shapes, str) else shapes
    # Where the values that are named leave no choice of few entries, such as there are must do.
    some = sizes.generic(spec, np.random.default_rng(0)) if generic else sizes.least(spec)
    return _point(spec, generic, max(sizes.FEW, spec.entries(some)))


@st.composite  # and not st.builds, of which Hypothesis prints the parts
def _point(draw: st.DrawFn, spec: Specification, generic: bool, most: int) -> Point:
    values = {name: sizes.values_of(spec, name) for name in spec.sizes}
    if generic:
        values = {name: tuple(v for v in each if v != 1) or each for name, each in values.items()}
    possible = st.fixed_dictionaries({name: st.sampled_from(each) for name, each in values.items()}).filter(
        lambda chosen: spec.problem(chosen) is None and spec.entries(chosen) <= most
    )
    return spec.point(draw(possible), draw(st.integers(0, SEEDS - 1)))
