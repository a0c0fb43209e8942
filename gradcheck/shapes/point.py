"""One point of a specification, by its sizes and a seed: what a report and Hypothesis print to be pasted. Level 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.settings import must_be_seed
from gradcheck.shapes.sizes import generic
from gradcheck.shapes.specification import Point, Specification, specified

__all__ = ["point"]


def point(shapes: str | Specification, seed: int = 0, /, **sizes: Any) -> Point:
    """Return the arguments that a specification, some sizes and a seed make, the same ones each time.

    Args:
        shapes: the specification, such as ``"x: N D, W: D M"``, or that of a derivation, its ``spec``.
        seed: of the values, and of the sizes that are not given. It may be named, unless a size is called so.
        sizes: what to choose for a size or a setting, by its name; those that are not given are drawn generic.

    Returns:
        The arguments in the order of the specification, a tuple.

    Raises:
        TypeError: a size is given that the specification does not have, or the seed is no whole number.
        ValueError: the specification cannot be read, or there is no point of these sizes.
    """
    spec = specified(shapes) if isinstance(shapes, str) else shapes
    if "seed" not in spec.sizes:
        seed = sizes.pop("seed", seed)
    must_be_seed(seed)
    if unknown := [name for name in sizes if name not in spec.sizes]:
        raise TypeError(
            f"point must be given sizes of its specification ({', '.join(spec.sizes)}), but {unknown[0]} is none. "
            "Leave it out."
        )
    chosen = generic(spec, np.random.default_rng(seed), sizes)
    if problem := spec.problem(chosen, least=0):
        raise ValueError(f"point must {problem}, in {spec.text!r}. Choose other sizes.")
    return spec.point(chosen, seed)
