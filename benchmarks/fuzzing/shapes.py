"""Texts that say, more or less, what the arguments of a case are: specifications for the fuzzer."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

__all__ = ["specification"]

WORDS = """x N D M H+1 0 1 2 -1 1.5 : , ; ( ) [ ] { } + * // < >= == != = in int bool float tuple simplex psd unit
distinct away from scale ... *b tanh None lambda 'a é ?"""


def specification(rng: np.random.Generator, forward: Any, args: Any) -> str | None:
    """Return a text about the arguments of a forward, often with something wrong in it; or none at all."""
    if rng.random() < 0.05:
        return None
    try:
        names = list(inspect.signature(forward).parameters)
    except (TypeError, ValueError):
        names = []
    given = args if isinstance(args, tuple | list) else ()
    said = [f"{name}: {_dims(rng, value)}" for name, value in zip(names, given, strict=False)]
    words = ", ".join(said).split(" ")
    for _ in range(int(rng.choice(3, p=(0.5, 0.3, 0.2)))):
        place = int(rng.integers(len(words) + 1))
        words[place : place + int(rng.integers(2))] = [str(rng.choice(WORDS.split()))]
    return " ".join(words)


def _dims(rng: np.random.Generator, value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return "float" if isinstance(value, float) else "int in 0 3"
    dims = " ".join(str(size) if rng.random() < 0.5 else f"n{size}" for size in value.shape) or "()"
    return f"{dims} int in 0 1" if value.dtype.kind in "iu" else dims
