"""The way of a value through the lines of the code: where it is made, handed on under other names, used, returned.

What computes nothing leaves no node behind, and yet it can hold the mistake: ``dh = dout``, ``dW = dW_t``, the line
that returns. Which lines bind the names that a line reads is read off the bytecode, so no source is needed. Level 3.
"""

from __future__ import annotations

import dis
import functools
import itertools
from types import CodeType
from typing import NamedTuple

from gradcheck.steps.places import Frames, Site

__all__ = [
    "Line",
    "bindings",
    "blocks",
    "chooses",
    "headed",
    "is_dropped",
    "names",
    "passing",
    "renaming",
    "returning",
    "storing",
]

READS = ("LOAD_FAST", "LOAD_DEREF", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_CLOSURE")
BINDS = ("STORE_FAST", "STORE_DEREF", "STORE_NAME")


class Line(NamedTuple):
    """A line of a function."""

    code: CodeType
    number: int

    def __hash__(self) -> int:
        """Hash what is short: hashing a code object reads all of it."""
        return hash((self.code.co_name, self.code.co_firstlineno, self.number))

    @classmethod
    def at(cls, frame: tuple[CodeType, int]) -> Line:
        """Return the line of a frame."""
        return cls(frame[0], Site((frame,), "").line)

    @classmethod
    def of(cls, frames: Frames) -> Line | None:
        """Return the innermost line of some frames."""
        return cls.at(frames[-1]) if frames else None


class Names(NamedTuple):
    """The names that each line of a function reads, the lines that bind each name, and those that write into it.

    ``first`` is the first argument, and what it holds where a line takes it apart.
    """

    reads: dict[int, set[str]]
    binds: dict[str, set[int]]
    writes: dict[str, set[int]]
    first: frozenset[str]


@functools.lru_cache(maxsize=256)
def names(code: CodeType) -> Names:
    """Return who reads and who binds what; a line that only takes a parameter apart binds nothing."""
    given = [name for name in code.co_varnames[: code.co_argcount] if name != "self"]
    first = set(given[:1])
    reads: dict[int, set[str]] = {}
    binds: dict[str, set[int]] = {}
    apart: set[int] = set()
    line = 0
    for i in dis.get_instructions(code):
        line = (i.positions.lineno if i.positions else None) or line
        if i.opname.startswith(READS):
            reads.setdefault(line, set()).add(str(i.argval))
        elif i.opname.startswith("UNPACK") and reads.get(line, {""}) <= {*given, "self"}:
            apart.add(line)
        elif i.opname.startswith(BINDS) and line in apart and reads.get(line, set()) <= first:
            first.add(str(i.argval))
        elif i.opname.startswith(BINDS) and line not in apart:
            binds.setdefault(str(i.argval), set()).add(line)
    writes = _written(code)
    for line, name in _called_for_nothing(code).items():  # grads.append(dx)
        binds.setdefault(name, set()).add(line)
    return Names({line: found for line, found in reads.items() if line not in apart}, binds, writes, frozenset(first))


def _written(code: CodeType) -> dict[str, set[int]]:
    """Return the lines that write into what each name holds: the name where the target of a store begins."""
    at: dict[tuple[int | None, int | None], str] = {}
    found: dict[str, set[int]] = {}
    for i in dis.get_instructions(code):
        where = (i.positions.lineno, i.positions.col_offset) if i.positions else (None, None)
        if i.opname.startswith(READS):
            at[where] = str(i.argval)
        elif i.opname == "STORE_SUBSCR" and where in at and where[0] is not None:
            found.setdefault(at[where], set()).add(where[0])
    return found


def _called_for_nothing(code: CodeType) -> dict[int, str]:
    """Return the lines that call a method and drop what it returns, and the name of its object."""
    found: dict[int, str] = {}
    first: dict[int, str] = {}
    before, line = "", 0
    for i in dis.get_instructions(code):
        line = (i.positions.lineno if i.positions else None) or line
        if i.opname.startswith(READS):
            first.setdefault(line, str(i.argval))
        if i.opname == "POP_TOP" and before.startswith("CALL") and line in first:
            found[line] = first[line]
        before = i.opname
    return found


@functools.lru_cache(maxsize=256)
def bindings(code: CodeType) -> dict[int, set[int]]:
    """Return for each line of a function the lines that bind the names that it reads."""
    reads, binds, *_ = names(code)
    return {line: set().union(*(binds.get(name, ()) for name in found)) - {line} for line, found in reads.items()}


@functools.lru_cache(maxsize=256)
def renaming(code: CodeType) -> frozenset[int]:
    """Return the lines of a function that do nothing but give another name to what a name holds."""
    found: dict[int, list[str]] = {}
    for i in dis.get_instructions(code):
        if i.positions and i.positions.lineno:
            found.setdefault(i.positions.lineno, []).append(i.opname)
    return frozenset(
        line
        for line, done in found.items()
        if len(done) == 2 and done[0].startswith(READS) and done[1].startswith(BINDS)
    )


def chooses(code: CodeType) -> bool:
    """Whether a function takes apart what it is given, so that it could take another part."""
    return any(i.opname.startswith("UNPACK") or i.opname == "BINARY_SUBSCR" for i in dis.get_instructions(code))


def passing(code: CodeType, start: int | None, end: int, allowed: set[int]) -> set[int]:
    """Return the ``allowed`` lines over which a value can come from line ``start`` to line ``end`` under other names.

    ``start`` is None for what the function is given as its first argument.
    """
    before, (reads, _, writes, first) = bindings(code), names(code)

    def starts(line: int) -> bool:
        if start is None:
            return not first.isdisjoint(reads.get(line, ()))
        return start in before.get(line, ()) or any(start in writes.get(name, ()) for name in reads.get(line, ()))

    waiting: list[tuple[int, tuple[int, ...]]] = [(end, ())] if start != end else []
    found: set[int] = set()
    seen: set[int] = set()
    while waiting:
        line, way = waiting.pop()
        if way and starts(line):
            found.update(way)
        stored = set().union(*(writes.get(name, ()) for name in reads.get(line, ())))
        for other in (before.get(line, set()) | stored) & allowed - {end}:
            if other not in seen:
                seen.add(other)
                waiting.append((other, (*way, other)))
    return found


@functools.lru_cache(maxsize=256)
def _on(code: CodeType, *opnames: str) -> frozenset[int]:
    return frozenset(
        i.positions.lineno
        for i in dis.get_instructions(code)
        if i.opname.startswith(opnames) and i.positions and i.positions.lineno
    )


def returning(code: CodeType) -> list[Line]:
    """Return the lines on which a function returns something."""
    nothing = {
        b.positions.lineno
        for a, b in itertools.pairwise(dis.get_instructions(code))
        if b.opname == "RETURN_VALUE" and a.opname == "LOAD_CONST" and b.positions
    }
    return [Line(code, n) for n in sorted(_on(code, "RETURN") - nothing)]


def storing(code: CodeType) -> set[Line]:
    """Return the lines that store something in an object or a container."""
    return {Line(code, n) for n in _on(code, "STORE_ATTR", "STORE_SUBSCR")}


@functools.lru_cache(maxsize=4096)
def is_dropped(code: CodeType, at: int) -> bool:
    """Whether what an instruction makes is dropped at once."""
    after = (i for i in dis.get_instructions(code) if i.offset > at)
    return next((i.opname for i in after if i.opname not in ("CACHE", "COPY")), "") == "POP_TOP"


@functools.lru_cache(maxsize=256)
def blocks(code: CodeType) -> list[tuple[int, frozenset[int], bool]]:
    """Return the loops and branches of a function: the line that heads each, the lines in it, whether it loops."""
    found = []
    instructions = [(i, i.positions.lineno or 0 if i.positions else 0) for i in dis.get_instructions(code)]
    for head, line in instructions:
        loops = head.opname == "FOR_ITER"
        if (loops or head.opname.startswith("POP_JUMP")) and isinstance(head.argval, int) and head.argval > head.offset:
            within = frozenset(n for i, n in instructions if head.offset < i.offset < head.argval and n > line)
            found.append((line, within, loops))
    return [block for block in found if block[1]]


def headed(code: CodeType, line: int, *, loops: bool = False) -> list[int]:
    """Return the lines that head the loops and the branches around a line, the innermost first; or the loops alone."""
    around = [
        (len(within), head) for head, within, is_loop in blocks(code) if line in within and (is_loop or not loops)
    ]
    return [head for _, head in sorted(around)]
