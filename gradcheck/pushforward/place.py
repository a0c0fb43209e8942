"""A function and its pushforward, whatever arrays they are of, as a check of real arrays calls them. Level 4."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gradcheck.adapters.arrays import Home, at_home, is_foreign
from gradcheck.adapters.signatures import by_keyword, in_order
from gradcheck.arguments import as_tuple

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """A function and its pushforward as a check calls them: of positional arguments, which are real arrays of NumPy.

    Attributes:
        computes: what the pushforward computes as the output, where its tangent is that of another function.
        home: where arrays are complex, or of another library.
    """

    function: Callable[..., Any]
    pushforward: Callable[..., Any]
    computes: Callable[..., Any] | None
    args: tuple[Any, ...]
    reference: Callable[..., Any] | None
    home: Home | None = None

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        pushforward: Callable[..., Any],
        args: Any,
        surrogate: Callable[..., Any] | None,
        reference: Callable[..., Any] | None,
    ) -> Place:
        """Return them as they are given, with a ``surrogate`` if there is one."""
        computes = None if surrogate is None else function
        function = function if surrogate is None else surrogate
        if isinstance(args, Mapping):
            args = in_order(function, args)
            function, computes = by_keyword(function, args), None if computes is None else by_keyword(computes, args)
        point = tuple(args.values()) if isinstance(args, Mapping) else as_tuple(function, args)
        given = cls(function, pushforward, computes, point, reference)
        return given.at_home() if is_foreign(point) else given

    def at_home(self) -> Place:
        """Return the same of real arrays of NumPy, where these are complex or of another library."""
        home, computes = at_home(self.function, self.pushforward, self.args, self.reference), self.computes
        if computes is not None:
            computes, _ = at_home(computes, self.pushforward, self.args).rule()
        return Place(*home.rule(), computes, home.args, home.reference, home)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the complex arrays among the arguments as they were given."""
        return () if self.home is None else self.home.paths

    @property
    def has_complex(self) -> bool:
        """Whether an argument is complex, or the output was."""
        return self.home is not None and self.home.has_complex

    def turned(self, ways: tuple[bool, bool]) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the two with complex tangents, and those of the output, turned into their conjugates."""
        return (self.function, self.pushforward) if self.home is None else self.home.rule(ways)
