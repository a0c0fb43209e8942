"""Sentences about a mistake, made of what is known of it."""

from __future__ import annotations

from typing import NamedTuple

from gradcheck.steps.blame import Line


class Cause(NamedTuple):
    """Why some gradients are wrong, verified at two points.

    Attributes:
        mistake: the id in the catalogue of the mistake that it is.
        paths: the arguments whose gradients it explains.
        line: where it is, None where that is not known.
        stands: what stands there; "" where something is missing.
        should: what should stand there.
        cost: how much it assumes; the least is said first.
    """

    mistake: str
    paths: tuple[str, ...]
    line: Line | None
    stands: str
    should: str
    cost: tuple[float, ...]


def said(cause: Cause) -> str:
    """Return the sentence of a cause."""
    where = f"line {cause.line.number} of {cause.line.code.co_name}: " if cause.line else f"d{', d'.join(cause.paths)}: "
    if not cause.stands:
        return f"{where}{cause.should}"
    return f"{where}{cause.should}, for {cause.stands}"
