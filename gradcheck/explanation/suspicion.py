"""A verified statement about why a gradient is wrong. Level 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gradcheck.trees import Array

__all__ = ["Suspicion"]


class Suspicion(NamedTuple):
    """What a mistake of the catalogue explains, and how well.

    Attributes:
        mistake: the id in the catalogue.
        arguments: the paths of the arguments whose wrong gradients it explains.
        sentence: what a person reads, with the numbers of this case: one sentence, and one that says what to do.
        repaired: the true gradients that undoing it gives, by path; those that a pattern alone tells are left out.
        doubt: what has to be assumed for it: 0 for nothing, more for each choice among candidates, so that the
            simplest of several comes first.
        otherwise: on which inputs it could be told apart from what looks the same on these; "" if nothing does.
    """

    mistake: str
    arguments: tuple[str, ...]
    sentence: str
    repaired: Mapping[str, Array] = {}
    doubt: float = 0.0
    otherwise: str = ""
