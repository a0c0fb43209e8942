"""Where in the code a step stands: the frames, the line, the variable that takes the result. No source. Level 3.

Python moves ``f_lasti`` within an instruction once it has specialised it, so that a place is where an instruction
starts. Frames are told apart by what they are and not by what they hold: hashing a code object reads all of it.
"""

from __future__ import annotations

import bisect
import dis
import functools
import sysconfig
from pathlib import Path
from types import CodeType, FrameType

import numpy as np

__all__ = ["DEEPEST", "Frames", "Places", "Site", "is_users", "stored"]

Frames = tuple[tuple[CodeType, int], ...]
HOUSE = Path(__file__).parent.parent
DERIVATIONS = str(HOUSE.parent / "derivations")  # beside gradcheck, wherever that is
FOREIGN = (
    str(HOUSE),
    str(Path(np.__file__).parent),
    *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen ",
    "<__array_function__",
)
DEEPEST = 24  # frames of one place, the innermost ones: a recursion can be a thousand deep


@functools.lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Whether the code of a file is the user's: not Python's, not an installed package's and not gradcheck's."""
    return file.startswith(DERIVATIONS) or not file.startswith(FOREIGN)


class Site:
    """Where a node stands: the frames of the user from the outermost, each (code, instruction), and what is done."""

    __slots__ = ("_hash", "frames", "name")

    def __init__(self, frames: Frames, name: str) -> None:
        self.frames, self.name = frames, name
        self._hash = hash((name, *((code.co_name, code.co_firstlineno, at) for code, at in frames)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Site) and self.name == other.name and self.frames == other.frames

    def __repr__(self) -> str:
        return f"{self.name} in line {self.line} of {self.function}"

    @property
    def line(self) -> int:
        """The line of the innermost frame, 0 if there is none."""
        return _lines(self.frames[-1][0])[self.frames[-1][1] // 2] if self.frames else 0

    @property
    def function(self) -> str:
        """The name of the innermost function, ``?`` if there is none."""
        return self.frames[-1][0].co_name if self.frames else "?"

    @property
    def variable(self) -> str:
        """The variable or attribute that the result is stored in at once, ``""`` if none."""
        return stored(*self.frames[-1]) if self.frames else ""


class Places:
    """The places of one recording, each made once; ``top`` is the code below which the frames are the user's."""

    def __init__(self, top: CodeType) -> None:
        self.top = top
        self._frames: dict[tuple[int, ...], Frames] = {}
        self._alike: dict[Frames, Frames] = {}
        self._sites: dict[tuple[int, str], Site] = {}

    def frames(self, frame: FrameType | None) -> Frames:
        """Return the frames of the user's from ``frame`` outwards, the outermost first."""
        key: list[int] = []
        codes: list[CodeType] = []
        while frame is not None and len(codes) < DEEPEST:
            code = frame.f_code
            if code is self.top:
                break
            if is_users(code.co_filename):
                key += (id(code), frame.f_lasti)
                codes.append(code)
            frame = frame.f_back
        found = self._frames.get(tuple(key))
        return self._new(tuple(key), codes) if found is None else found

    def _new(self, key: tuple[int, ...], codes: list[CodeType]) -> Frames:
        made = tuple((code, _starts(code)[at // 2]) for code, at in zip(codes, key[1::2], strict=True))[::-1]
        made = self._frames[key] = self._alike.setdefault(made, made)
        return made

    def site(self, frames: Frames, name: str) -> Site:
        """Return the place of an operation."""
        key = id(frames), name
        found = self._sites.get(key)
        if found is None:
            found = self._sites[key] = Site(self._alike.setdefault(frames, frames), name)
        return found


@functools.lru_cache(maxsize=512)
def _starts(code: CodeType) -> list[int]:
    """Return for each unit of the bytecode where its instruction starts."""
    starts = {i.offset for i in dis.get_instructions(code)}
    found: list[int] = []
    for at in range(0, len(code.co_code), 2):
        found.append(at if at in starts else found[-1])
    return found


@functools.lru_cache(maxsize=512)
def _lines(code: CodeType) -> list[int]:
    return [line or 0 for line, *_ in code.co_positions()]


@functools.lru_cache(maxsize=512)
def _stores(code: CodeType) -> tuple[list[int], list[dis.Instruction]]:
    found = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "COPY")]
    return [i.offset for i in found], found


@functools.lru_cache(maxsize=4096)
def stored(code: CodeType, at: int) -> str:
    """Return the variable or attribute that takes the result of an instruction; the first where it is taken apart."""
    offsets, instructions = _stores(code)
    start = bisect.bisect_left(offsets, at)
    done, *after = [*instructions[start : start + 4], None, None, None, None][:4]
    if done is None or done.opname.startswith("STORE"):
        return ""
    if after[0] is not None and after[0].opname in ("UNPACK_SEQUENCE", "UNPACK_EX"):
        after = after[1:]
    first, second = after[:2]
    if first is None:
        return ""
    if first.opname in ("STORE_FAST", "STORE_NAME", "STORE_DEREF", "STORE_GLOBAL"):
        return str(first.argval)
    if second is not None and first.opname.startswith("LOAD_FAST") and second.opname == "STORE_ATTR":
        return f"{first.argval}.{second.argval}"
    return ""
