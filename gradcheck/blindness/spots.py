"""What a check could not have revealed: the record, and how it is said. Level 1."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, overload

from gradcheck.mistakes import CATALOGUE
from gradcheck.render import spelled

__all__ = ["BlindSpot", "BlindSpots"]

NAMED = 4  # mistakes that are given a line each below one reason


@dataclass(frozen=True)
class BlindSpot:
    """A mistake that would not have been seen.

    Attributes:
        mistake: its id in the catalogue, ``gradcheck.mistakes.CATALOGUE``.
        why: what is special about the inputs.
        change: what to do about it, a sentence.
        unseen: what the backward could do wrong with the same gradients here, in words; empty where it follows from
            what is special alone.
    """

    mistake: str
    why: str
    change: str
    unseen: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line: the mistake, an example of it, why it is hidden and what to do."""
        example = f" (such as {self.unseen[0]})" if self.unseen else ""
        return spelled(f"{self.mistake} {CATALOGUE[self.mistake].name}{example}: {self.why}. {self.change}", sys.stdout)


@dataclass(frozen=True)
class BlindSpots(Sequence[BlindSpot]):
    """What some inputs of a check could not have revealed.

    Attributes:
        name: the forward.
        spots: the mistakes that are hidden.
        alike: mistakes that show, but cannot be told from others.
    """

    name: str
    spots: tuple[BlindSpot, ...] = ()
    alike: tuple[BlindSpot, ...] = ()

    @overload
    def __getitem__(self, index: int) -> BlindSpot: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[BlindSpot, ...]: ...
    def __getitem__(self, index: int | slice) -> BlindSpot | tuple[BlindSpot, ...]:
        return self.spots[index]

    def __len__(self) -> int:
        return len(self.spots)

    def __and__(self, other: BlindSpots) -> BlindSpots:
        """Return what neither these nor the ``other`` inputs could have revealed."""
        if not isinstance(other, BlindSpots):
            return NotImplemented
        alike = tuple(one for one in self.alike if one in other.alike)
        return replace(self, spots=tuple(_shared(self.spots, other.spots)), alike=alike)

    def __str__(self) -> str:
        """Return a short table for a person: each thing that hides mistakes, what to do about it, what it hides."""
        count = len({spot.mistake for spot in self.spots})
        headline = f"{self.name}: these inputs hide mistakes of {count} class{'es' * (count != 1)}"
        if not self.spots:
            headline = f"{self.name}: these inputs hide none of the mistakes that were tried"
        rows = []
        for (why, change), spots in _by_reason(self.spots).items():
            rows.append(f"  {why}. {change}")
            for spot in spots[:NAMED]:
                example = f": {spot.unseen[0]}" if spot.unseen else ""
                rows.append(f"    {spot.mistake:3} {CATALOGUE[spot.mistake].name}{example}")
            if len(spots) > NAMED:
                rows.append(f"    and {', '.join(spot.mistake for spot in spots[NAMED:])}")
        rows += [f"  {spot.why}. {spot.change}" for spot in self.alike]
        return spelled("\n".join([headline, *rows]), sys.stdout)

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        rows = ""
        for spot in (*self.spots, *self.alike):
            cells = (spot.mistake, CATALOGUE[spot.mistake].name, spot.why, spot.change, "; ".join(spot.unseen))
            rows += f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
        head = "".join(f"<th>{title}</th>" for title in ("", "mistake", "hidden because", "change", "the same here"))
        return f"<b>{html.escape(str(self).splitlines()[0])}</b><table><tr>{head}</tr>{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return the blind spots as plain data that JSON can hold."""

        def plain(spots: Iterable[BlindSpot]) -> list[dict[str, Any]]:
            return [asdict(spot) | {"unseen": list(spot.unseen)} for spot in spots]

        return {"name": self.name, "spots": plain(self.spots), "alike": plain(self.alike)}


def _by_reason(spots: Iterable[BlindSpot]) -> dict[tuple[str, str], list[BlindSpot]]:
    reasons: dict[tuple[str, str], list[BlindSpot]] = {}
    for spot in spots:
        reasons.setdefault((spot.why, spot.change), []).append(spot)
    return reasons


def _shared(spots: Iterable[BlindSpot], others: Sequence[BlindSpot]) -> Iterator[BlindSpot]:
    """Yield what is hidden in both: the same mistake, in the same words or by what an axis is for."""
    for spot in spots:
        for other in others:
            unseen = tuple(what for what in spot.unseen if what in other.unseen)
            if spot.mistake == other.mistake and (unseen or not (spot.unseen or other.unseen)):
                why = spot.why if spot.why == other.why else f"{spot.why}; elsewhere {other.why}"
                yield replace(spot, why=why, unseen=unseen)
                break
