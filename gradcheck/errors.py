"""What a check raises. Level 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.report import Report

__all__ = ["ContractError", "GradientError", "InconclusiveError", "NoReturnError", "told"]


class GradientError(AssertionError):
    """The backward is wrong: what it claims lies outside what was measured.

    An ``AssertionError``, so that pytest and unittest show a failure and not an error.
    ``report`` holds everything that was found: a Report, or of many shapes a ShapesReport.
    """

    def __init__(self, report: Report | Any) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        """Return the report as text; what it explains is found now, if nobody has read it yet."""
        return str(self.report)


class InconclusiveError(GradientError):
    """The check could not decide, and says why. It is never green."""


class ContractError(GradientError, TypeError, ValueError):
    """The backward broke its contract before any number was compared.

    Too few or too many gradients, another container, another shape or dtype, None, NaN or Inf.
    """


class NoReturnError(RuntimeError):
    """A function that is checked raised a skip, an exit or the like, which would have made a test or a script green.

    ``__cause__`` is what it raised.
    """


def told(error: BaseException) -> str:
    """Return the class of an exception and the first line of what it says, if it says something that can be shown."""
    try:
        said = str(error).strip().partition("\n")[0]
    except Exception:  # noqa: BLE001  (the exception is the user's, and so is how it is shown)
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
