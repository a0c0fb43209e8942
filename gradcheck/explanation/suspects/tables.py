"""Suspicions about a table of connections that is in sight: not applied, inverted, or transposed. Level 3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

PROBES = 2  # random tangents for each question
ZERO = 1e-9  # relative: a slope that is no larger is zero


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield what a table of zeros and ones, one for each pair of maps, explains (F5)."""
    for path in evidence.wrong:
        claimed = evidence.claimed.get(path)
        if claimed is None or claimed.ndim < 3 or not claimed.any():
            continue
        for name, table in _tables(evidence, claimed.shape[:2]):
            links = table.reshape(table.shape + (1,) * (claimed.ndim - 2))
            if not claimed[~table].any():
                continue  # it is applied
            if evidence.is_true(path, claimed * links):
                sentence = (
                    f"d{path} is not zero where {name} has no link: the table of connections is not applied. "
                    f"Multiply d{path} by it."
                )
                yield Suspicion("F5", (path,), sentence, {path: claimed * links}, 0.2)
                break
            how = _applied_wrongly(claimed, table)
            if how and _is_right(evidence, path, table, claimed):
                sentence = (
                    f"d{path} is zero where {name} has a link, and not where it has none: the table of connections "
                    f"is {how}. Apply it as the forward does."
                )
                yield Suspicion("F5", (path,), sentence, {}, 0.3)
                break


def _tables(evidence: Evidence, maps: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Yield the tables in sight, true for a link, with the axes in the order of the gradient's."""
    for name, array in evidence.at_hand.items():
        if array.ndim != 2 or sorted(array.shape) != sorted(maps):
            continue
        table: Array = np.asarray(array != 0)
        if table.all() or not table.any() or not np.isin(array, (0, 1)).all():
            continue
        if table.shape == maps:
            yield name, table
        if table.T.shape == maps and not np.array_equal(table, table.T):
            yield name, table.T


def _applied_wrongly(claimed: Array, table: Array) -> str:
    """Return how a table was applied, as far as the zeros of a gradient tell; "" if they do not."""
    hit = claimed.reshape(*table.shape, -1).any(axis=-1)
    if np.array_equal(hit, ~table):
        return "inverted"
    return "transposed" if table.shape[0] == table.shape[1] and np.array_equal(hit, table.T) else ""


def _is_right(evidence: Evidence, path: str, table: Array, claimed: Array) -> bool:
    """Whether the true gradient is zero where there is no link, and the claimed one where it has both."""
    links = np.broadcast_to(table.reshape(table.shape + (1,) * (claimed.ndim - 2)), claimed.shape)
    tangents = [evidence.rng.standard_normal(claimed.shape) for _ in range(PROBES)]
    allowed = ZERO * float(np.linalg.norm(claimed))
    for tangent in tangents:
        value, error = evidence.slope(evidence.embedded(path, np.where(links, 0, tangent)))
        if abs(value) > 4 * error + allowed:
            return False
    both = links & (claimed != 0)
    if not both.any():
        return True
    within = [np.where(both, tangent, 0) for tangent in tangents]
    return evidence.is_true_along(path, within, [float((claimed * tangent).sum()) for tangent in within])
