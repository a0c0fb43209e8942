"""Gradients that are not returned at all. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.words import gradients, is_are
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import leaves

__all__ = ["suspects"]

FELT = 100.0  # errors: a slope that is so much larger is not zero


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield gradients that are not returned (C8): None in their place, no key, or a list that is too short."""
    nothing = _nothing(evidence)
    absent = tuple(path for path in evidence.wrong if path in nothing)
    if absent:
        sentence = f"{gradients(absent)} {is_are(absent)} not returned. Return a gradient for every argument."
        yield Suspicion("C8", absent, sentence, {}, 0.2)
    else:
        yield from _left_out(evidence)


def _nothing(evidence: Evidence) -> set[str]:
    """Return the paths in whose place stands None, or for which there is no key."""
    names = [evidence.arguments.names[i] for i in evidence.arguments.moving]
    returned = evidence.returned
    if len(names) == 1 and not (isinstance(returned, Mapping) and {names[0], f"d{names[0]}"} & {*returned}):
        given = {names[0]: returned}
    elif isinstance(returned, Mapping):
        given = {name: returned.get(name, returned.get(f"d{name}")) for name in names}
    elif isinstance(returned, tuple | list) and len(returned) == len(names) > 1:
        given = dict(zip(names, returned, strict=True))
    else:
        return set()
    gone = {name for name, tree in given.items() if tree is None}
    return {path for path in evidence.point if path.partition("[")[0] in gone and path not in evidence.claimed}


def _left_out(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield those arguments for which nothing came, where all of the few that came are right gradients of others."""
    absent = [path for path in evidence.wrong if path not in evidence.claimed]
    given = [
        np.asarray(leaf, dtype=np.float64)
        for _, leaf in leaves(evidence.returned, "returned")
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fiub"
    ]
    if not absent or len(given) >= len(evidence.point):
        return
    free = [each for each in given if not any(np.array_equal(each, right) for right in evidence.claimed.values())]
    missing, repaired = [], {}
    for path in absent:
        at = next((n for n, each in enumerate(free) if evidence.is_true(path, each)), None)
        if at is None:
            missing.append(path)
        else:
            repaired[path] = free.pop(at)
    if free or not missing or not all(_is_felt(evidence, path) for path in missing):
        return
    sentence = f"{gradients(missing)} {is_are(missing)} not returned: {len(given)} of {len(evidence.point)} came."
    yield Suspicion("C8", tuple(absent), f"{sentence} Return every gradient.", repaired, 0.2)


def _is_felt(evidence: Evidence, path: str) -> bool:
    _, values, errors = evidence.slopes(path)
    return bool(np.abs(values).max() > FELT * errors.max())
