"""Parts of arrays inside a backward: mirrored, moved by one, without the stride, or turned for nothing. Level 3.

Which part is taken, or written, is told by a key: slices and whole numbers. What these are in each turn of a loop says
what may have been meant.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.change import Otherwise, at, site_of
from gradcheck.explanation.suspects.sight import alike
from gradcheck.explanation.suspects.tape import Step
from gradcheck.trees import Array

__all__ = ["ways"]

STRIDES = (2, 3)  # that are tried where no setting is one
LARGEST = 5  # stride
TURNED = {"flip": "F1", "fliplr": "F1", "flipud": "F1", "rot90": "F1", "roll": "F3"}
PRODUCTS = ("tensordot", "einsum", "multiply", "matmul", "dot", "convolve")

Key = tuple[Any, ...]
Rule = Callable[[Key, tuple[int, ...]], Key | None]


def ways(evidence: Evidence, within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield other parts at every place where a part is taken or written, and arrays that are not turned."""
    for group in within:
        name = group[0].name
        if name in ("get", "set"):
            keys = [_whole(step.operands[1], np.ndim(step.operands[0])) for step in group]
            if all(key is not None for key in keys):
                yield from _mirrored(group, [key for key in keys if key is not None])
                yield from _moved(group)
                yield from _strided(evidence, group)
        if name in TURNED or name == "get":
            yield from _not_turned(evidence, group)
        if name in PRODUCTS:
            yield from _turned(group)
        if name == "where":
            yield from _inverted(evidence, group)


def _whole(key: object, ndim: int) -> Key | None:
    """Return a key as one slice or whole number for each axis; None where it holds anything else."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, slice | int | np.integer) or part is Ellipsis for part in parts):
        return None
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        missing = ndim - len(parts) + 1
        parts = parts[:place] + (slice(None),) * missing + parts[place + 1 :]
    return parts + (slice(None),) * (ndim - len(parts))


def _parts(step: Step) -> Key:
    key = step.operands[1]
    return key if isinstance(key, tuple) else (key,)


def _place(part: Any) -> int | None:
    """Return where a part of a key begins; None for a whole axis."""
    if isinstance(part, slice):
        return part.start if isinstance(part.start, int) and isinstance(part.stop, int) else None
    return int(part)


def _at(part: Any, start: int) -> Any:
    """Return a part of a key that begins elsewhere."""
    if isinstance(part, slice):
        return slice(start, start + part.stop - part.start, part.step)
    return start


def _done(step: Step, rule: Rule) -> Array | None:
    """Return the result of taking or writing the part that a rule makes of a key."""
    array = step.operands[0]
    key = _whole(step.operands[1], np.ndim(array))
    other = None if key is None else rule(key, np.shape(array))
    if other == key:
        return step.result
    if other is None or any(isinstance(part, slice) and (part.start or 0) < 0 for part in other):
        return None
    try:
        if step.name == "get":
            part: Array = np.asarray(array[other])  # a view, into which more may be added
            return part
        made = np.array(array)
        made[other] = step.operands[2]
    except (IndexError, ValueError):
        return None
    return made


def _way(group: Sequence[Step], mistake: str, rule: Rule, sentence: str, doubt: float) -> Iterator[Otherwise]:
    """Yield a rule as a change, if it gives another part of the right shape at every turn."""
    made = [_done(step, rule) for step in group]
    if any(part is None or part.shape != step.result.shape for part, step in zip(made, group, strict=True)):
        return
    if group[0].name == "get" or any(not alike(p, s.result) for p, s in zip(made, group, strict=True) if p is not None):
        yield Otherwise(mistake, at(group, lambda step, _: _done(step, rule)), sentence, doubt, "", site_of(group))


def _mirrored(group: Sequence[Step], keys: list[Key]) -> Iterator[Otherwise]:
    """Yield what the turns of a loop take in the opposite order, along one axis or several (F1)."""
    first = group[0]
    ends = {}
    for axis in range(len(keys[0])):
        places = [place for key in keys if (place := _place(key[axis])) is not None]
        if len(places) == len(keys) and len(set(places)) > 1:
            ends[axis] = min(places) + max(places)
    running = tuple(ends)
    for count in range(len(running), 0, -1):
        for axes in itertools.combinations(running, count):

            def rule(key: Key, _: tuple[int, ...], axes: tuple[int, ...] = axes) -> Key:
                return tuple(
                    _at(part, ends[axis] - (_place(part) or 0)) if axis in axes else part
                    for axis, part in enumerate(key)
                )

            along = f"axis {axes[0]}" if count == 1 else f"the axes {axes}"
            sentence = (
                f"{first.place} goes through its array in the wrong direction along {along}: the kernel or the window "
                "is reversed. Count its indices from the other end."
            )
            yield from _way(group, "F1", rule, sentence, 0.3 if count == len(running) else 0.35)


def _moved(group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield parts that begin one place before or after (F3)."""
    first = group[0]
    if len(group) < 2:
        return
    if first.operands[0].ndim < 3 and not any(isinstance(part, slice) for part in _parts(first)):
        return  # an entry or a row of its own is no window
    for axis, by in itertools.product(range(first.operands[0].ndim), (1, -1)):

        def rule(key: Key, shape: tuple[int, ...], axis: int = axis, by: int = by) -> Key | None:
            start = _place(key[axis])
            if start is None:
                return None
            moved = (start + by) % shape[axis] if not isinstance(key[axis], slice) else start + by
            return (*key[:axis], _at(key[axis], moved), *key[axis + 1 :])

        sentence = (
            f"{first.place} takes what is one place {'before' if by > 0 else 'after'} the right one along axis {axis}. "
            f"{'Add' if by > 0 else 'Subtract'} 1 {'to' if by > 0 else 'from'} that index."
        )
        yield from _way(group, "F3", rule, sentence, 0.45)


def _strided(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield parts whose slices have a step, or begin at a multiple of it (F2)."""
    first = group[0]
    key = _whole(first.operands[1], np.ndim(first.operands[0])) or ()
    sliced = [axis for axis, part in enumerate(key) if isinstance(part, slice) and _place(part) is not None]
    sliced = [axis for axis in sliced if key[axis].step in (None, 1)]
    known = [int(v) for v in evidence.numbers.values() if v == int(v) and 1 < v <= LARGEST]
    places = dict.fromkeys([tuple(sliced), *((axis,) for axis in sliced)] if sliced else [])
    for axes, stride, spread in itertools.product(places, dict.fromkeys([*known, *STRIDES]), (True, False)):

        def rule(
            key: Key, _: tuple[int, ...], axes: tuple[int, ...] = axes, stride: int = stride, spread: bool = spread
        ) -> Key | None:
            return tuple(
                _with_stride(part, stride, spread=spread) if axis in axes else part for axis, part in enumerate(key)
            )

        how = f"Give its slices the step {stride}." if spread else f"Multiply where its slices begin by {stride}."
        sentence = f"{first.place} takes places side by side, but the windows are {stride} apart. {how}"
        yield from _way(group, "F2", rule, sentence, 0.4 if axes == tuple(sliced) else 0.42)


def _with_stride(part: Any, stride: int, *, spread: bool) -> Any:
    start = _place(part)
    if start is None or not isinstance(part, slice) or part.step not in (None, 1):
        return part
    length = part.stop - part.start
    if spread:
        return slice(start, start + stride * (length - 1) + 1, stride)
    return slice(stride * start, stride * start + length)


def _not_turned(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield an array that is reversed or rolled as it came before (F1, F3, G3)."""
    first = group[0]
    mistake = TURNED.get(first.name, "F1")
    if mistake == "F3" and first.result.ndim <= 3:  # no image
        batch = batch_of(evidence)
        mistake = "B6" if first.result.ndim < 3 and batch and batch.size == len(first.result) else "G3"
    if first.name == "get":
        key = first.operands[1] if isinstance(first.operands[1], tuple) else (first.operands[1],)
        if not any(isinstance(part, slice) and part.step == -1 for part in key):
            return

    def before(step: Step) -> Array | None:
        if step.name != "get":
            array: Array = np.asarray(step.operands[0])
            return array
        parts = step.operands[1] if isinstance(step.operands[1], tuple) else (step.operands[1],)
        straight = tuple(slice(None) if isinstance(p, slice) and p.step == -1 else p for p in parts)
        return np.array(step.operands[0][straight])

    made = before(first)
    if made is None or made.shape != first.result.shape or alike(made, first.result):
        return
    what = "reverses" if mistake == "F1" else "rolls"
    sentence = f"{first.place} {what} an array that must stay as it is. Take it without that."
    yield Otherwise(mistake, at(group, lambda step, _: before(step)), sentence, 0.3, "", site_of(group))


def _turned(group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield an operand of a product turned by 180° in its last two axes (F1)."""
    first = group[0]
    for place, operand in enumerate(first.operands[:3]):
        if not isinstance(operand, np.ndarray) or operand.ndim < 2 or operand.dtype.kind != "f":
            continue
        if min(operand.shape[-2:]) < 2 or (operand.ndim == 2 and (first.name != "multiply" or len(group) < 2)):
            continue

        def turned(step: Step, place: int = place) -> Array | None:
            operands = [np.flip(o, (-2, -1)) if at == place else o for at, o in enumerate(step.operands)]
            return _redone(step, operands)

        name = (first.names[place] if place < len(first.names) else "") or "an operand"
        sentence = (
            f"{first.place} takes {name} as it is, where it must be rotated by 180°. "
            "Reverse its last two axes: [..., ::-1, ::-1]."
        )
        yield Otherwise("F1", at(group, lambda step, _, t=turned: t(step)), sentence, 0.4, "", site_of(group))  # type: ignore[misc]


def _redone(step: Step, operands: Sequence[Any]) -> Array | None:
    try:
        return np.asarray(getattr(np, step.name)(*operands, **step.settings))
    except (TypeError, ValueError):
        return None


def _inverted(evidence: Evidence, group: Sequence[Step]) -> Iterator[Otherwise]:
    """Yield a choice between two with these exchanged: C3, F5 where a table of connections is the condition."""
    first = group[0]
    if len(first.operands) != 3 or np.ndim(first.operands[0]) == 0:
        return
    condition = np.asarray(first.operands[0])
    tables = [array for array in evidence.at_hand.values() if array.ndim == 2 and array.dtype.kind == "b"]
    small = condition.reshape([n for n in condition.shape if n > 1]) if condition.ndim > 2 else None
    of_table = small is not None and any(
        np.array_equal(small, each) for table in tables for each in (table, ~table, table.T, ~table.T)
    )
    what = "the table of connections" if of_table else "a condition"
    sentence = f"{first.place} chooses by {what}, the wrong way round. Exchange the two, or negate it."

    def exchanged(step: Step) -> Array:
        return np.asarray(np.where(step.operands[0], step.operands[2], step.operands[1]))

    yield Otherwise(
        "F5" if of_table else "C3", at(group, lambda step, _: exchanged(step)), sentence, 0.4, "", site_of(group)
    )
