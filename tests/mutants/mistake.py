"""One planted mistake, and how it is planted."""

import inspect
import sys
from typing import NamedTuple

__all__ = ["BARELY", "Mistake", "mistakes", "with_mistake"]

BARELY = "(1 + 1e-5)"


class Mistake(NamedTuple):
    """A right fragment of a backward, a wrong one in its place, and the arguments whose gradients become wrong.

    An argument stands for all its leaves: ``params['C1']`` means the weights and the biases of C1.
    """

    name: str
    right: str
    wrong: str
    arguments: tuple[str, ...]

    def infects(self, path):
        """Whether the gradient of the leaf at ``path`` becomes wrong."""
        return any(path == argument or path.startswith(f"{argument}[") for argument in self.arguments)


def mistakes(arguments, *rows):
    """Return the mistakes of ``rows`` (name, right, wrong), all of which make the same arguments wrong."""
    return tuple(Mistake(*row, tuple(arguments.split())) for row in rows)


def with_mistake(backward, mistake):
    """Return ``backward`` with the right fragment of its source, which must occur exactly once, replaced."""
    source = inspect.getsource(backward)
    count = source.count(mistake.right)
    if count != 1:
        raise ValueError(
            f"{backward.__name__} must hold {mistake.right!r} once, but holds it {count} times. "
            f"Adapt the mistake {mistake.name!r} to the new source."
        )
    namespace = dict(vars(sys.modules[backward.__module__]))
    exec(compile(source.replace(mistake.right, mistake.wrong), mistake.name, "exec"), namespace)  # noqa: S102
    return namespace[backward.__name__]
