"""Why some gradients are wrong, and the sentence that a person reads. Level 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradcheck.arguments import by_name
from gradcheck.steps.blame import Line

__all__ = ["Cause", "multiplied_by", "named", "said"]

MANY = 5  # arguments that a sentence names


class Cause(NamedTuple):
    """Why some gradients are wrong.

    Attributes:
        mistake: the id in the catalogue of the mistake that it is.
        paths: the arguments whose gradients it explains.
        line: where it is, None where that is not known.
        stands: what stands there; "" where ``should`` says by itself what the line does.
        should: what should stand there: ``summed over axis 2``; or what the line does: ``lacks the path through var``.
        cost: how much it assumes; the least is said first.
        forward: the line of the forward that it speaks of, if of one.
        verified: whether it gives the measured gradients, at two points.
    """

    mistake: str
    paths: tuple[str, ...]
    line: Line | None
    stands: str
    should: str
    cost: tuple[float, ...]
    forward: Line | None = None
    verified: bool = True


def said(cause: Cause) -> str:
    """Return the sentence of a cause: where, what stands there, and what should."""
    if cause.line is None:
        where = f"what is returned for {named(cause.paths)}"
    else:
        where = f"line {cause.line.number} of {cause.line.code.co_name}"
    if not cause.stands:
        return f"{where} {cause.should}"
    if cause.should == cause.stands:  # the same variable, and so another value of it
        return f"{where}: {cause.stands} should be that of another turn"
    return f"{where}: {cause.stands} should be {cause.should}"


def multiplied_by(number: str) -> str:
    """Return how a person says that something is to be multiplied by a number: by one over another, divided by that."""
    return f"divided by {number.removeprefix('1/')}" if number.startswith("1/") else f"times {number}"


def named(paths: Sequence[str]) -> str:
    """Return some arguments as a list in a sentence; of many the first."""
    return by_name(paths if len(paths) <= MANY else [*paths[: MANY - 1], f"{len(paths) - MANY + 1} more"])
