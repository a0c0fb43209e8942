"""autograd_gamma: incomplete gamma and beta functions in all of their arguments, of which some are differences."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import autograd_gamma as ag
import numpy as np

from benchmarks.packages.case import Case
from benchmarks.packages.with_autograd import of


def cases(rng: np.random.Generator) -> Iterator[Case]:
    a, b = rng.uniform(0.5, 4, 4), rng.uniform(0.5, 4, 4)
    x, unit = rng.uniform(0.5, 3, 4), rng.uniform(0.1, 0.9, 4)
    for name in ("gammainc", "gammaincc", "gammaincln", "gammainccln"):
        yield of(name, getattr(ag, name), a, x)
        yield of(f"{name} in x", functools.partial(getattr(ag, name), 2.5), x)
    for name in ("gammaincinv", "gammainccinv"):
        yield of(name, getattr(ag, name), a, unit)
    for name in ("betainc", "betaincln"):
        yield of(name, getattr(ag, name), a, b, unit)
        yield of(f"{name} in x", functools.partial(getattr(ag, name), 2.0, 3.0), unit)
