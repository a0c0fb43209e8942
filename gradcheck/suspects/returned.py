"""Suspicions about what is returned: nothing, or another array than the gradient that was computed. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gradcheck.evidence import Evidence
from gradcheck.suspects.runs import tape_of
from gradcheck.suspects.sight import activations, alike, is_multiple, is_sharp
from gradcheck.suspects.tape import Step, Tape
from gradcheck.suspects.words import gradients, is_are
from gradcheck.suspicion import Suspicion
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["suspects"]

SUMS = ("add", "subtract", "set", "update")
FELT = 100.0  # errors: a slope that is so much larger is not zero
MOST = 60  # results that are compared with the truth about one argument


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield gradients that are not returned (C8), and those for which another array is (B6, C3, C8)."""
    if shorter := list(_left_out(evidence)):
        yield from shorter
        return
    absent = tuple(path for path in evidence.wrong if path in _absent(evidence))
    if absent:
        sentence = f"{gradients(absent)} {is_are(absent)} not returned. Return a gradient for every argument."
        yield Suspicion("C8", absent, sentence, {}, 0.2)
    left = [path for path in evidence.wrong if path not in absent]
    tape = tape_of(evidence) if left else None
    for path in left if tape else ():
        claimed = evidence.claimed.get(path)
        if (claimed is None or claimed.any()) and is_sharp(evidence, path) and tape:
            yield from _computed(evidence, path, tape)


def _absent(evidence: Evidence) -> set[str]:
    """Return the paths for which there is nothing in what the backward returned, where that has the usual form."""
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
    there = {path for name, tree in given.items() if tree is not None for path, _ in leaves(tree, name)}
    return {path for path in evidence.point if path not in there and path not in evidence.claimed}


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


def _computed(evidence: Evidence, path: str, tape: Tape) -> Iterator[Suspicion]:
    """Yield the array that the backward computes, and does not return, and that is the true gradient."""
    point = evidence.point[path]
    if point.size < 3:
        return
    fits = [step for step in tape.steps if step.result.shape == point.shape and step.result.dtype.kind == "f"]
    for step in fits[: -MOST - 1 : -1]:
        if not step.result.any() or not evidence.is_true(path, step.result):
            continue
        true = step.result.astype(np.float64)
        number = _number(evidence, tape, path)
        after = number is not None and step.number in _ancestors(tape, number)
        if after and not _derived_again(evidence, path, true):
            return  # whatever was done to it then is another matter
        if after:
            sentence = (
                f"d{path} is what {step.place} computes, multiplied by the derivative of the activation, which is "
                "in it already. Return it as it is."
            )
            yield Suspicion("C3", (path,), sentence, {path: true}, 0.3)
        elif step.name in SUMS and number in _ancestors(tape, step.number):
            sentence = f"d{path} lacks what {step.place} adds to it. Return the sum."
            yield Suspicion("C8", (path,), sentence, {path: true}, 0.3)
        else:
            sentence = f"{step.place} computes the true gradient, and d{path} is another array. Return that one."
            yield Suspicion("B6", (path,), sentence, {path: true}, 0.3)
        return


def _number(evidence: Evidence, tape: Tape, path: str) -> int | None:
    """Return the number of the step whose result is returned as a gradient; None if the tape does not tell."""
    marked = (np.full(np.shape(leaf), float(getattr(leaf, "step", -1))) for _, leaf in leaves(tape.returned, ""))
    found = evidence.claims(rebuild(tape.returned, marked)).get(path)
    return int(found.flat[0]) if found is not None and found.size and found.flat[0] >= 0 else None


def _ancestors(tape: Tape, number: int) -> set[int]:
    found: set[int] = set()
    left: list[Step] = [tape.steps[number]]
    while left:
        for source in left.pop().sources:
            if source is not None and source not in found:
                found.add(source)
                left.append(tape.steps[source])
    return found


def _derived_again(evidence: Evidence, path: str, true: Array) -> bool:
    """Whether the claimed gradient is the true one times the derivative of an activation in sight."""
    claimed = evidence.claimed.get(path)
    if claimed is None or alike(claimed, true):
        return False
    return any(
        slope.shape == true.shape and bool(np.ptp(slope)) and is_multiple(claimed, true * slope)
        for each in activations(evidence)
        for slope in each.slopes
    )
