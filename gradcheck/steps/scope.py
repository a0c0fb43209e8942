"""What the running functions have names for at a step."""

from __future__ import annotations

import dis
import functools

import numpy as np

from gradcheck.steps.places import QUIET, ROOTS


@functools.lru_cache(maxsize=512)
def _turning(code):
    """The variables that are set inside a loop."""
    steps = list(dis.get_instructions(code))
    loops = [(s.argval, s.offset) for s in steps if "JUMP_BACKWARD" in s.opname]
    return frozenset(s.argval for s in steps if s.opname.startswith("STORE_FAST") and any(a <= s.offset <= b for a, b in loops))


def scope_of(tape, frame, operands, given=None):
    """Return what the running functions have names for: arrays and numbers, also one level inside containers.

    ``given`` gets the name of each operand.
    """
    found, depth = {}, 0
    while frame is not None and frame.f_code not in ROOTS and depth < 6:
        if not frame.f_code.co_filename.startswith(QUIET):
            if given is not None and not depth:
                local = list(frame.f_locals.items())
                given += [next((n for n, v in local if v is each), "") for each in operands]
            inner = {}
            _named(tape, inner, frame.f_locals, frame.f_code)
            for name, value in inner.items():
                if name not in found:
                    found[name] = value
                elif type(found[name]) is not type(value) or not isinstance(value, int | float) or found[name] != value:
                    found.setdefault(name + "'", value)
            depth += 1
        frame = frame.f_back
    return found


def _named(tape, found, local, code):
    turning = _turning(code)
    counters = {n: v for n, v in local.items() if n in turning and type(v) is int and 0 <= v < 1000}

    def seen(name, value):
        if isinstance(value, np.ndarray) and value.dtype.kind in "fbiu" and value.size <= 200_000 and len(found) < 250:
            found[name] = tape.held(value)
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            found[name] = value

    def turns(name, value):
        for i, at in counters.items():
            for by, said in ((0, ""), (-1, " - 1"), (1, " + 1")):
                if 0 <= at + by < len(value) and isinstance(value[at + by], np.ndarray | float):
                    seen(f"{name}[{i}{said}]", value[at + by])

    for name, value in list(local.items()):
        if isinstance(value, np.ndarray):
            seen(name, value)
            if value.ndim and counters and value.dtype.kind == "f" and value.size <= 10_000 and len(found) < 250:
                base = tape.held(value)
                for i, at in counters.items():
                    for by, said in ((0, ""), (-1, " - 1"), (1, " + 1")):
                        if 0 <= at + by < len(value):
                            found[f"{name}[{i}{said}]"] = base, at + by
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, tuple | list) and len(value) <= 64:
            for at, part in enumerate(value if len(value) <= 16 else ()):
                if isinstance(part, np.ndarray | float | np.floating):
                    seen(f"{name}[{at}]", part)
                elif isinstance(part, tuple | list) and len(part) <= 8:
                    for far, each in enumerate(part):
                        if isinstance(each, np.ndarray | float | np.floating):
                            seen(f"{name}[{at}][{far}]", each)
            turns(name, value)
        elif isinstance(value, dict) and len(value) <= 32:
            for key, part in value.items():
                seen(f"{name}[{key!r}]", part)
            for i, at in counters.items():
                for by, said in ((0, ""), (-1, " - 1"), (1, " + 1")):
                    if isinstance(value.get(at + by), np.ndarray):
                        seen(f"{name}[{i}{said}]", value[at + by])
        elif hasattr(value, "__dict__") and not callable(value):
            for key, part in list(vars(value).items())[:32]:
                seen(f"{name}.{key}", part)
                if isinstance(part, list | tuple):
                    turns(f"{name}.{key}", part)
