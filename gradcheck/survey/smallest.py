"""The smallest sizes at which a pair still fails. Level 5."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradcheck.report import Verdict
from gradcheck.shapes.sizes import smaller
from gradcheck.shapes.specification import Sizes
from gradcheck.survey.examples import SEEDS, Example, Pair

__all__ = ["VALUES", "smallest"]

VALUES = 3  # points of the same sizes that are tried before they count as passing


def smallest(pair: Pair, failed: Example, rng: np.random.Generator, in_time: Callable[[], bool]) -> Example:
    """Return a failure at sizes of which none can be made smaller so that it still fails, as far as there is time."""
    while True:
        before = failed
        for name in pair.spec.sizes:
            for sizes in smaller(pair.spec, failed.sizes, name):
                if not in_time():
                    return failed
                if (other := _failing(pair, sizes, rng)) is not None:
                    failed = other
                    break
        if failed is before:
            return failed


def _failing(pair: Pair, sizes: Sizes, rng: np.random.Generator) -> Example | None:
    for _ in range(VALUES):
        example = pair.examine(sizes, int(rng.integers(SEEDS)), "smaller")
        if example.verdict == Verdict.FAIL:
            return example
        if example.report is None:
            return None
    return None
