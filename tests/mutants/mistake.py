"""One planted mistake, and how it is planted."""

import ast
import inspect
import itertools
import linecache
import re
import sys
from typing import NamedTuple

import numpy as np

__all__ = ["BARELY", "PLANTED", "Mistake", "compiled", "edited", "mistakes", "with_mistake"]

BARELY = "(1 + 1e-4)"  # in the middle of a chain: of a smaller one what reaches the end may be no more than inexact
CELLS = itertools.count(1)
PLANTED = {}  # the wrong lines of each file that was compiled


class Mistake(NamedTuple):
    """A right fragment of a backward, a wrong one in its place, and the arguments whose gradients become wrong.

    An argument stands for all its leaves: ``params['C1']`` means the weights and the biases of C1. ``id`` is the class
    in the catalogue, ``gradcheck.mistakes.CATALOGUE``, that a careful teacher would give the mistake, reading the
    source; ``also`` has those that are honestly the same thing. A mistake that is none of the catalogue's has the class
    that fits best.
    """

    name: str
    right: str
    wrong: str
    arguments: tuple[str, ...]
    id: str = ""
    also: tuple[str, ...] = ()

    def infects(self, path):
        """Whether the gradient of the leaf at ``path`` becomes wrong."""
        return any(path == argument or path.startswith(f"{argument}[") for argument in self.arguments)


def mistakes(arguments, *rows):
    """Return the mistakes of ``rows`` (name, right, wrong, ids), all of which make the same arguments wrong.

    The first of ``ids`` is the class of the mistake, the others are its ``also``.
    """
    return tuple(
        Mistake(name, right, wrong, tuple(arguments.split()), ids.split()[0], tuple(ids.split()[1:]))
        for name, right, wrong, ids in rows
    )


def with_mistake(backward, mistake, *, source=False):
    """Return ``backward`` with the right fragment of its source, which must occur exactly once, replaced.

    ``source`` is that of :func:`compiled`.
    """
    text = inspect.getsource(backward)
    count = text.count(mistake.right)
    if count != 1:
        raise ValueError(
            f"{backward.__name__} must hold {mistake.right!r} once, but holds it {count} times. "
            f"Adapt the mistake {mistake.name!r} to the new source."
        )
    wrong, lines = edited(text, (mistake.right, mistake.wrong))
    return compiled(wrong, backward, source=source, lines=lines)


def edited(text, *edits):
    """Return ``text`` with fragments replaced, each a pair (right, wrong), and the lines of it that are wrong.

    These are all lines of the statements that were changed; where one vanished, of its neighbours.
    """
    marked = text
    for k, (right, wrong) in enumerate(edits):
        same = next(
            (i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), min(len(right), len(wrong))
        )
        marked = marked.replace(right, f"{wrong[:same]}\0{k}\0{wrong[same:]}\1{k}\1")
    parts, lines, number, open_ = [], set(), 1, 0
    for part in re.split("(\0\\d+\0|\1\\d+\1)", marked):
        if part[:1] in ("\0", "\1"):
            open_ += 1 if part[0] == "\0" else -1
            lines.add(number)
            continue
        if open_:
            lines |= set(range(number, number + part.rstrip().count("\n") + 1))
        number += part.count("\n")
        parts.append(part)
    text = "".join(parts)
    rows = text.splitlines()
    lines |= {near for n in lines if n <= len(rows) and not rows[n - 1].strip() for near in (n - 1, n + 1)}
    simple = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt) and not hasattr(n, "body"))
    spans = [(n.lineno, n.end_lineno) for n in simple]
    return text, lines | {i for a, b in spans if lines & set(range(a, b + 1)) for i in range(a, b + 1)}


def compiled(text, right, *, source, lines=()):
    """Return what ``text`` defines under the name of ``right``, among NumPy and the names that its module holds.

    With ``source`` the text can be found by ``inspect``, as in a notebook; without it there is none, as in a grader.
    """
    # For a file's own name inspect would open the file of the right one.
    filename = f"<{'cell' if source else 'submission'} {next(CELLS)}>"
    PLANTED[filename] = frozenset(lines)
    if source:
        linecache.cache[filename] = len(text), None, text.splitlines(keepends=True), filename
    # A module's name that nobody can import: inspect would look up a class in the file of the right one.
    namespace = {"np": np} | vars(sys.modules[right.__module__]) | {"__name__": "submission"}
    exec(compile(text, filename, "exec"), namespace)  # noqa: S102  (the text is our own)
    return namespace[right.__name__]
