"""Where in the code a step stands: the frames of the user, the line, the variable that takes the result."""

from __future__ import annotations

import dis
import functools
import itertools
import sys
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import numpy as np

OURS = str(Path(__file__).parent), str(Path(np.__file__).parent)
QUIET = *OURS, str(Path(__file__).parent.parent)  # whose frames are nobody's step
ROOTS: set[CodeType] = set()  # the codes below which the frames are the user's


class Site(NamedTuple):
    """Where in the code a node stands: the frames of the user from the outermost, each (code, instruction)."""

    frames: tuple
    name: str

    @property
    def line(self) -> int:
        return _lines(self.frames[-1][0])[self.frames[-1][1] // 2] if self.frames else 0

    @property
    def function(self) -> str:
        return self.frames[-1][0].co_name if self.frames else "?"

    @property
    def variable(self) -> str:
        """The variable that the result is stored in at once, "" if none."""
        return _stored(*self.frames[-1]) if self.frames else ""


def frames_of():
    """Return the frames of the user's code, outermost first, as (code, instruction)."""
    frames, frame = [], sys._getframe(2)
    while frame is not None and frame.f_code not in ROOTS:
        if not frame.f_code.co_filename.startswith(QUIET):
            frames.append((frame.f_code, _starts(frame.f_code)[frame.f_lasti // 2]))
        frame = frame.f_back
    return tuple(reversed(frames))


@functools.lru_cache(maxsize=512)
def _starts(code):
    """Return for each unit of the bytecode where its instruction starts: one that Python has specialised ends elsewhere."""
    starts = {i.offset for i in dis.get_instructions(code)}
    return list(itertools.accumulate(range(0, len(code.co_code), 2), lambda start, at: at if at in starts else start))


@functools.lru_cache(maxsize=512)
def _lines(code):
    return [line or 0 for line, *_ in code.co_positions()]


@functools.lru_cache(maxsize=4096)
def _stored(code, at):
    """Return the variable or attribute that takes the result of an instruction."""
    after = [i for i in dis.get_instructions(code) if i.offset > at and i.opname not in ("CACHE", "COPY")]
    if after and after[0].opname in ("STORE_FAST", "STORE_NAME", "STORE_DEREF", "STORE_GLOBAL"):
        return str(after[0].argval)
    if len(after) > 1 and after[0].opname == "LOAD_FAST" and after[1].opname == "STORE_ATTR":
        return f"{after[0].argval}.{after[1].argval}"
    return ""
