"""How suspicions speak of gradients and numbers. Level 3."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from gradcheck.arguments import by_name

__all__ = ["fraction", "gradients", "is_are", "number", "plural", "times"]

MANY = 5  # names that a sentence holds at most
SMALL = 12  # the largest denominator of a fraction that a person reads as one


def gradients(paths: Sequence[str]) -> str:
    """Return the names of the gradients of some arguments: ``dW1 and db1``; of many, the first two."""
    named = [f"d{path}" for path in paths]
    return by_name(named if len(named) <= MANY else [*named[:2], f"{len(named) - 2} more"])


def is_are(paths: Sequence[str]) -> str:
    """Return the verb that goes with :func:`gradients`."""
    return "is" if len(paths) == 1 else "are"


def plural(paths: Sequence[str]) -> str:
    """Return what the truth about some arguments is called: ``the true gradient``, or ``gradients``."""
    return "the true gradient" if len(paths) == 1 else "the true gradients"


def number(value: float) -> str:
    """Return a number as a person writes it: ``3``, ``0.1``, ``1/3``, else four digits."""
    small = Fraction(value).limit_denominator(SMALL)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if abs(value - round(value, 4)) <= 1e-9 * abs(value):
        return f"{round(value, 4):g}"
    if abs(value - small) <= 1e-9 * abs(value):
        return str(small)
    return f"{value:.4g}" if abs(value - round(value)) > 1e-3 * abs(value) else f"{value:.10g}"


def fraction(value: float) -> str:
    """Return one part of ``value``: ``1/5``; ``1/0.25`` where it is not whole."""
    return f"1/{number(value)}"


def times(value: float) -> str:
    """Return how often something is taken: ``twice``, ``5 times``."""
    return "twice" if value == 2 else f"{number(value)} times"
