"""What a backward computes right and does not return: left out of a list, or another array in its place. Level 3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.evidence import Evidence
from gradcheck.suspects.runs import tape_of
from gradcheck.suspects.sight import alike, is_sharp
from gradcheck.suspects.tape import Step, Tape
from gradcheck.suspects.words import gradients, is_are
from gradcheck.suspicion import Suspicion
from gradcheck.trees import Array, leaves

__all__ = ["suspects"]

SEEN = 100.0  # errors: a slope that is so much larger is not zero


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield gradients that are left out of what is returned (C8), and others returned in their place (B6)."""
    absent = [path for path in evidence.wrong if path not in evidence.claimed]
    given = [
        np.asarray(leaf, dtype=np.float64)
        for _, leaf in leaves(evidence.returned, "returned")
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fiub"
    ]
    if absent and len(given) < len(evidence.point):
        yield from _left_out(evidence, absent, given)
    tape = tape_of(evidence)
    if tape is not None:
        found = {path: step for path in evidence.wrong for step in [_computed(evidence, path, tape)] if step}
        if found:
            yield _exchanged(evidence, found, tape)


def _left_out(evidence: Evidence, absent: list[str], given: list[Array]) -> Iterator[Suspicion]:
    """Yield those arguments for which nothing came, where everything that came is the right gradient of another."""
    free = [each for each in given if not any(_is(each, claimed) for claimed in evidence.claimed.values())]
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


def _is(one: Array, two: Array) -> bool:
    return one.shape == two.shape and np.array_equal(one, two)


def _is_felt(evidence: Evidence, path: str) -> bool:
    _, values, errors = evidence.slopes(path)
    return bool(np.abs(values).max() > SEEN * errors.max())


def _computed(evidence: Evidence, path: str, tape: Tape) -> Step | None:
    """Return the step that gives the true gradient, where what is returned was there before, or is another's."""
    shape = evidence.point[path].shape
    claimed = evidence.claimed.get(path, evidence.misshapen.get(path))
    if claimed is None or claimed.size < 2 or int(np.prod(shape)) < 2 or not is_sharp(evidence, path):
        return None
    made = [step.number for step in tape.steps if step.result.shape == claimed.shape and alike(step.result, claimed)]
    for step in tape.steps:
        whole = step.name not in ("set", "update") or step.number not in tape.used
        fits = whole and step.result.shape == shape and step.result.dtype.kind == "f"
        if fits and not _is(step.result, claimed) and evidence.is_true(path, step.result):
            rest = (array for other, array in evidence.claimed.items() if other not in evidence.wrong)
            another = any(_is(claimed, right) for right in rest)
            return step if another or (made and max(made) < step.number) else None
    return None


def _exchanged(evidence: Evidence, found: dict[str, Step], tape: Tape) -> Suspicion:
    paths = tuple(path for path in evidence.wrong if path in found)
    said = " ".join(f"d{path} is another array than what {step.place} computes for it." for path, step in found.items())
    unused = "never used" if all(step.number not in tape.used for step in found.values()) else "right"
    sentence = f"{said} Return that, which is {unused}."
    return Suspicion("B6", paths, sentence, {path: step.result for path, step in found.items()}, 0.35)
