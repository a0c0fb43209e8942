"""Hypothesis strategies for property tests: sizes are drawn, values come from a seed. Level 5.

What Hypothesis shrinks are the sizes, towards the smallest, and the seed, towards 0. Values drawn entry by entry would
be nearly all alike, and a gradient check of an array of equal entries sees few mistakes.
"""

from __future__ import annotations

import hypothesis.strategies as st

from gradcheck.derivation import Derivation
from gradcheck.shapes.sizes import FEW, values_of
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
        ValueError: the specification cannot be read, or contradicts itself.
    """
    if isinstance(shapes, Derivation):
        shapes = shapes.spec
    return _point(specified(shapes) if isinstance(shapes, str) else shapes, generic)


@st.composite  # and not st.builds, of which Hypothesis prints the parts
def _point(draw: st.DrawFn, spec: Specification, generic: bool) -> Point:
    values = {
        name: [v for v in values_of(spec, name) if not (generic and v == 1)] or values_of(spec, name)
        for name in spec.sizes
    }
    # Where even the smallest that are named make more than few entries, these are not too many.
    most = max(FEW, spec.entries({name: each[0] for name, each in values.items()}))
    possible = st.fixed_dictionaries({name: st.sampled_from(each) for name, each in values.items()}).filter(
        lambda sizes: spec.problem(sizes) is None and spec.entries(sizes) <= most
    )
    return spec.point(draw(possible), draw(st.integers(0, SEEDS - 1)))
