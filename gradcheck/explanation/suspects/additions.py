"""Sums inside a backward: what overwrites instead of adding, and what is computed but never added. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.change import Otherwise, at, site_of
from gradcheck.explanation.suspects.sight import alike, groups
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]

ADDABLE = ("get", "dot", "matmul", "multiply", "add", "subtract", "divide")


def ways(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield sums in the place of overwriting, and terms from the turn before."""
    for group in within:
        if group[0].name == "set":
            yield from _accumulated(group)
    yield from _through_time(evidence, tape, within)


def _accumulated(group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield an assignment to places that are hit more than once, as a sum (E1)."""
    first = group[0]
    _, key, value = first.operands
    if not isinstance(value, np.ndarray | np.floating | float) or (np.ndim(value) == 0 and len(group) < 2):
        return
    if isinstance(key, np.ndarray) and key.dtype.kind == "b":
        return
    sentence = (
        f"{first.place} overwrites what earlier windows, steps or repeated indices have left there. "
        "Add to it: write += (np.add.at where an index occurs twice)."
    )
    yield Otherwise("E1", at(group, lambda step, _: _added(step, fresh=True)), sentence, 0.2, "", site_of(group))
    if _is_fancy(key):
        sentence = f"{first.place} adds only once where an index occurs several times. Use np.add.at."
        yield Otherwise("E1", at(group, lambda step, _: _added(step, fresh=False)), sentence, 0.2, "", site_of(group))


def _is_fancy(key: object) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, np.ndarray | list) for part in parts)


def _added(step: Step, *, fresh: bool) -> Array | None:
    before, key, value = step.operands
    made = np.array(before)
    term = np.asarray(value) if fresh else np.asarray(value) - before[key]
    np.add.at(made, key, term)
    return made


def _through_time(evidence: Evidence, tape: Tape, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield what was computed in a turn and lost, added in the next one (G1)."""
    dead = [
        group
        for group in groups(tape.steps).values()
        if len(group) > 1 and group[0].result.dtype.kind == "f" and not any(s.number in tape.used for s in group)
    ]
    for lost in dead:
        for group in within:
            if len(group) != len(lost) or group[0].name not in ADDABLE or group is lost:
                continue
            if any(alike(group[-1].result, claimed) for claimed in evidence.claimed.values()):
                continue  # a gradient itself: that is no matter of time
            if group[0].result.shape != lost[0].result.shape or group[0].number > lost[0].number:
                continue
            sentence = (
                f"What {lost[0].place} computes for the earlier step is never used, so nothing flows back through "
                f"time. Add it in {group[0].place}."
            )
            change = at(group, lambda s, run, g=lost: _plus_last(s, run, g[0]))  # type: ignore[misc]
            yield Otherwise("G1", change, sentence, 0.3, "", site_of(group))
    yield from _through_weights(evidence, within)


def _plus_last(step: Step, tape: Tape, lost: Step) -> Array | None:
    for earlier in reversed(tape.steps):
        if earlier.site == lost.site and earlier.result.shape == lost.result.shape:
            is_of_another_loop = step.site[0] is earlier.site[0] and step.call != earlier.call
            return None if is_of_another_loop else np.asarray(step.result + earlier.result)
    return None


def _through_weights(evidence: Evidence, every: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield the cotangent of the turn before, times a square matrix, added (G1)."""
    square = [(p, a) for p, a in evidence.point.items() if a.ndim == 2 and a.shape[0] == a.shape[1] > 1]
    for path, W in square:
        for group in every:
            if len(group) < 2 or group[0].name not in ADDABLE or not 1 <= group[0].result.ndim <= 2:
                continue
            shape = group[0].result.shape
            if shape[-1] != W.shape[0] and shape[0] != W.shape[0]:
                continue
            for other in every:
                later = other[0].number >= group[0].number and len(other) == len(group)
                if not later or other[0].result.shape != shape or other[0].name not in ADDABLE:
                    continue
                sentence = (
                    f"Nothing flows back through {path} from one step to the one before. "
                    f"Add, in {group[0].place}, what {other[0].place} gave in the step after, times {path}."
                )
                change = at(group, lambda s, run, o=other[0], W=W: _plus_product(s, run, o, W))  # type: ignore[misc]
                yield Otherwise("G1", change, sentence, 0.5, "", site_of(group))


def _plus_product(step: Step, tape: Tape, other: Step, W: Array) -> Array | None:
    for earlier in reversed(tape.steps):
        if earlier.site == other.site and earlier.result.shape == other.result.shape:
            columns = step.result.ndim == 2 and step.result.shape[0] == W.shape[0]
            term = W.T @ earlier.result if columns else earlier.result @ W.T
            return np.asarray(step.result + term) if np.shape(term) == step.result.shape else None
    return None
