"""Who is told of every check: nobody, unless somebody asked. Imports nothing that costs. Level 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.arguments import Arguments
    from gradcheck.report import Report

__all__ = ["WITNESS", "Witness", "tell", "unwitnessed"]

Witness = Callable[[Callable[..., Any], Callable[..., Any] | None, "Arguments", "Report"], None]

WITNESS: ContextVar[Witness | None] = ContextVar("gradcheck_witness", default=None)


def tell(
    forward: Callable[..., Any], backward: Callable[..., Any] | None, arguments: Arguments, report: Report
) -> Report:
    """Return ``report`` after telling the witness of this context, if there is one, what was checked.

    There is no ``backward`` where a rule of another kind was.
    """
    witness = WITNESS.get()
    if witness is not None:
        witness(forward, backward, arguments, report)
    return report


@contextmanager
def unwitnessed() -> Iterator[None]:
    """Let nobody be told of the checks that another check is made of."""
    token = WITNESS.set(None)
    try:
        yield
    finally:
        WITNESS.reset(token)
