"""Suspicions about the sign of each entry: a modulus where a number with its sign belongs. Level 3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.sight import sight
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import leaves

__all__ = ["suspects"]

FEW = 3  # entries: so few have one sign by chance


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield gradients of one sign everywhere, to whose true ones an array in sight gives the signs (C3)."""
    for path in evidence.wrong:
        claimed = evidence.claimed.get(path)
        if claimed is None or claimed.size <= FEW or not claimed.any() or (claimed.min() < 0 < claimed.max()):
            continue
        known = [("dout", np.asarray(leaf, dtype=np.float64)) for _, leaf in leaves(evidence.cotangent, "dout")]
        known += [(each.name, each.arrays[0]) for each in sight(evidence) if len(each.arrays) == 1]
        for name, array in known:
            if array.shape != claimed.shape or not array.min() < 0 < array.max():
                continue
            signed = claimed * np.sign(array)
            repaired = next((each for each in (signed, -signed) if evidence.is_true(path, each)), None)
            if repaired is not None:
                sentence = (
                    f"d{path} has one sign everywhere, and the true gradient has the signs of {name}: a modulus was "
                    f"taken. Take {name} as it is."
                )
                yield Suspicion("C3", (path,), sentence, {path: repaired}, 0.3)
                break
