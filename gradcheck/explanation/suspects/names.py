"""The arrays that a running function has names for, and those that it gets by a name and an index. Level 3."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradcheck.trees import Array

__all__ = ["Around", "arrays_in"]

MOST = 60  # arrays under an index that are looked at


class Around(Mapping[str, Array]):
    """The arrays that a running function has names for, looked up when they are asked for.

    ``h`` and, where ``t`` is a whole number or a key, ``h[t]``, ``h[t - 1]``, ``h[t + 1]`` and ``h[:, t]``: under one
    name every turn of a loop finds its own.
    """

    def __init__(self, frame: types.FrameType) -> None:
        self.frame = frame
        self.found: dict[str, Array] | None = None

    def __getitem__(self, name: str) -> Array:
        value = self.frame.f_locals.get(name)
        if isinstance(value, np.ndarray):
            return value.view(np.ndarray)
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Array]:
        if self.found is None:
            self.found = dict(arrays_in(self.frame))
        return self.found


def arrays_in(frame: types.FrameType) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of numbers that a function has names for, then those that it has under a name and an index."""
    local = {n: v.view(np.ndarray) if isinstance(v, np.ndarray) else v for n, v in frame.f_locals.items()}
    for name, value in local.items():
        if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind == "f":
            yield name, value
    turning = {name: local[name] for name in _changing(frame.f_code) if name in local}
    if turning:
        yield from _indexed(local, turning)


@functools.lru_cache(maxsize=256)
def _changing(code: types.CodeType) -> tuple[str, ...]:
    """Return the variables that are set inside a loop: those that may be an index there."""
    instructions = list(dis.get_instructions(code))
    loops = [(each.argval, each.offset) for each in instructions if "JUMP_BACKWARD" in each.opname]
    stored = (
        each.argval
        for each in instructions
        if each.opname.startswith("STORE_FAST") and any(start <= each.offset <= end for start, end in loops)
    )
    names = (name for argval in stored for name in (argval if isinstance(argval, tuple) else (argval,)))
    return tuple(dict.fromkeys(names))


def _indexed(local: dict[str, Any], turning: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    whole = {n: v for n, v in turning.items() if isinstance(v, int | np.integer) and not isinstance(v, bool)}
    keys = {n: v for n, v in turning.items() if isinstance(v, str | tuple)}
    several = {n: v for n, v in turning.items() if isinstance(v, np.ndarray) and v.dtype.kind in "iu" and v.ndim == 1}
    left = MOST
    for name, held in local.items():
        for said, value in _items(name, held, whole, keys, several):
            if isinstance(value, np.ndarray | float | int | np.floating) and np.asarray(value).dtype.kind in "fi":
                left -= 1
                yield said, np.asarray(value, dtype=np.float64).view(np.ndarray)
            if not left:
                return


def _items(
    name: str, held: Any, whole: dict[str, Any], keys: dict[str, Any], several: dict[str, Array]
) -> Iterator[tuple[str, Any]]:
    """Yield what a name gives under the variables that are whole numbers, keys, and arrays of whole numbers."""
    if isinstance(held, dict):
        for index, value in (keys | whole).items():
            if _is_hashable(value) and value in held:
                yield f"{name}[{index}]", held[value]
        return
    if not isinstance(held, list | np.ndarray) or len(np.shape(held) if isinstance(held, np.ndarray) else "x") == 0:
        return
    if isinstance(held, np.ndarray) and held.dtype.kind != "f":
        return
    for index, value in whole.items():
        for by, how in ((0, ""), (-1, " - 1"), (1, " + 1")):
            if 0 <= value + by < len(held):
                yield f"{name}[{index}{how}]", held[value + by]
        if isinstance(held, np.ndarray) and held.ndim >= 2 and value in range(held.shape[1]):
            yield f"{name}[:, {index}]", held[:, value]
            for places, those in several.items():
                if not those.size or (those.min() >= 0 and those.max() < min(held.shape[:2])):
                    if value < len(held):
                        yield f"{name}[{index}, {places}]", held[value, those]
                    yield f"{name}[{places}, {index}]", held[those, value]


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
