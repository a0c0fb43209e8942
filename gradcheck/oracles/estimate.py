"""What an oracle answers: a value and how far it may be from the truth. Level 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gradcheck.trees import Array

__all__ = ["Estimate", "Oracle", "OracleError", "Pushforward"]


class Estimate(NamedTuple):
    """A directional derivative with a bound of its error.

    ``error`` is infinite where nothing can be said. ``kink`` is half the distance between the slopes to the
    right and to the left where they do not meet: then any value within ``value ± kink`` is a one-sided
    derivative or a convention between two of them. ``reason`` says, where the bound is wide, why it is and what
    to do, as the second half of a sentence: the point lies near the edge of the forward's domain, for example.
    """

    value: Any
    error: Any
    kink: Any = 0.0
    reason: str | None = None


Pushforward = Callable[[Array], Estimate]
Oracle = Callable[[Callable[[Array], Any], Array], Pushforward]


class OracleError(TypeError):
    """An oracle cannot run the function that it was given; the message says what to pass instead."""
