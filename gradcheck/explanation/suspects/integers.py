"""Gradients that are summed into an array of whole numbers, which cuts every contribution. Level 3.

What is cut is less than one at each addition. So a cotangent that is enlarged by a very large number loses almost
nothing, and its gradient, made smaller again, is the true one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["floats", "summed"]

LARGE = 2.0**40  # so much larger a cotangent still fits into 64 bits, and what is cut of it does not matter


def floats(evidence: Evidence, returned: object) -> dict[str, Array]:
    """Return the gradients by path, those of a type of whole numbers as floats; none if there are no such."""
    given = [leaf for _, leaf in leaves(returned, "returned")]
    whole = [isinstance(leaf, np.ndarray) and leaf.dtype.kind in "iu" for leaf in given]
    if not any(whole):
        return {}
    made = (leaf.astype(np.float64) if is_whole else leaf for leaf, is_whole in zip(given, whole, strict=True))
    return evidence.claims(rebuild(returned, made))


def summed(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield H3 where a gradient of whole numbers is the true one for a large cotangent."""
    here = floats(evidence, evidence.returned).get(path)
    if here is None:
        return
    try:
        enlarged = next(evidence.cotangents([LARGE * evidence.flat_cotangent]))
        with np.errstate(all="ignore"):
            _, cache = evidence.forward(*evidence.arguments.fresh())
            returned = evidence.backward(enlarged, cache)
    except Exception:  # noqa: BLE001  (a backward may refuse another cotangent; then nothing is known)
        return
    large = floats(evidence, returned).get(path)
    if large is None or not large.any() or not evidence.is_true(path, large / LARGE):
        return
    sentence = (
        f"d{path} is summed in an array of whole numbers, which cuts every contribution. "
        "Make that array of floats: np.zeros without dtype=int."
    )
    yield Suspicion("H3", (path,), sentence, {path: large / LARGE}, 0.3)
