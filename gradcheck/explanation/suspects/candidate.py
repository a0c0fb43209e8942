"""What the true gradient of one argument may be, and what then happened to it. Level 3."""

from __future__ import annotations

from typing import NamedTuple

from gradcheck.trees import Array

__all__ = ["Candidate"]


class Candidate(NamedTuple):
    """A candidate for the true gradient, not verified yet.

    Attributes:
        mistake: the id in the catalogue.
        repaired: the true gradient, if this is what happened.
        state: what was found, a template of ``gradients``, ``are`` and ``truth``.
        advice: a sentence that says what to do.
        doubt: as in a Suspicion.
    """

    mistake: str
    repaired: Array
    state: str
    advice: str
    doubt: float
