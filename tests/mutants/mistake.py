"""One planted mistake, and how it is planted."""

import inspect
import itertools
import linecache
import sys
from typing import NamedTuple

__all__ = ["BARELY", "Mistake", "compiled", "mistakes", "with_mistake"]

BARELY = "(1 + 1e-4)"  # in the middle of a chain: of a smaller one what reaches the end may be no more than inexact
CELLS = itertools.count(1)


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
    return compiled(text.replace(mistake.right, mistake.wrong), backward, source=source)


def compiled(text, right, *, source):
    """Return what ``text`` defines under the name of ``right``, among the names that the module of ``right`` holds.

    With ``source`` the text can be found by ``inspect``, as in a notebook; without it there is none, as in a grader.
    """
    # For a file's own name inspect would open the file of the right one.
    filename = f"<cell {next(CELLS)}>" if source else "<submission>"
    if source:
        linecache.cache[filename] = len(text), None, text.splitlines(keepends=True), filename
    # A module's name that nobody can import: inspect would look up a class in the file of the right one.
    namespace = dict(vars(sys.modules[right.__module__])) | {"__name__": "submission"}
    exec(compile(text, filename, "exec"), namespace)  # noqa: S102  (the text is our own)
    return namespace[right.__name__]
