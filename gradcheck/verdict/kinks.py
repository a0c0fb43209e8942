"""What can be said where the slopes on both sides differ: at a kink or a tie. Level 3.

There the gradient is a convention, and no single number is right. Two things can still be decided. Beside the kink, at
a generic point nearby, everything but the convention has to be right. And at the kink itself the gradient has to be a
choice at each of the folds that meet there. All of them are looked at together first. Where they are too many to be
told apart, or so many that their choices reach everywhere, parts are looked at in which few of them matter: the entries
of one argument, a few entries of the output, a few entries of an argument.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.report import Entry
from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.folds import Answer, examine
from gradcheck.verdict.hair import LEAPS, Hair, folded, spread

__all__ = ["CONVENTION", "JUMPING", "Settled", "at_folds", "beside", "settle"]

CONVENTION = "at a kink: a convention, one of those that the folds there allow; measured beside it"
UNVERIFIED = "at a kink: measured beside it; not verifiable at the point, where {}"
COINCIDE = "folds coincide"
JUMPING = "the forward itself jumps at the point, and has no gradient there: choose another one"

ASIDE = 1e-2  # how far beside the kink, in root mean squares of each leaf
PULLS = 600  # pullbacks in all,
TOGETHER = 260  # of which so many for everything together,
APART = 220  # and so many for a part
SAME = 1e-4  # parts of a jump that differ by less are one
ENTRIES = 1 << 14  # that are looked at together, at most: a jump at every fold has as many numbers
FEW = 8  # entries of the output, or of an argument, in a part; half as many after one with too many folds
PARTS = 4  # of either kind
SHARE = 0.1  # of what is farthest from a choice is blamed as well
WORST = 5  # entries of a wrong gradient that are named


Wrong = dict[int, tuple[str, tuple[Entry, ...]]]


class Settled(NamedTuple):
    """What was found at the point: why which leaves are wrong, with entries, and what to say of the others.

    ``sentence`` is None where f itself jumps, and there is nothing to say.
    """

    wrong: Wrong
    sentence: str | None


def beside(arguments: Arguments, rng: np.random.Generator) -> Arguments:
    """Return the arguments at a random point nearby."""
    tangent = rng.standard_normal(arguments.layout.size)
    return arguments.moved(arguments.point + ASIDE * spread(arguments) * tangent)


def at_folds(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    cotangent: Any,
    rng: np.random.Generator,
) -> bool:
    """Whether the gradient of the backward jumps at the point."""
    return folded(Hair(forward, backward, arguments, cotangent, np.arange(arguments.layout.size), APART), rng)


def settle(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    cotangent: Any,
    judged: Sequence[int],
    rng: np.random.Generator,
) -> Settled:
    """Return whether the gradients of the leaves ``judged`` are choices at the folds that meet at the point."""
    return _Inquest(forward, backward, arguments, cotangent, tuple(judged), rng).settled()


@dataclass
class _Inquest:
    """A pair at a kink, and how many pullbacks are left."""

    forward: Callable[..., Any]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    cotangent: Any
    judged: tuple[int, ...]
    rng: np.random.Generator
    pulls: int = PULLS

    def settled(self) -> Settled:
        """Look at everything together, and at parts where that does not tell."""
        whole = self._ask(self._entries(*self.judged), self.cotangent, TOGETHER)
        if whole.reason == LEAPS:
            return Settled({}, None)
        if whole.holds and whole.sharp:
            return Settled({}, CONVENTION)
        wrong: Wrong = {}
        for leaf in sorted(self.judged, key=lambda leaf: self._entries(leaf).size) if len(self.judged) > 1 else ():
            wrong |= self._wrong(self._entries(leaf), self.cotangent)
        if whole.holds is False:
            wrong = self._blamed(self._entries(*self.judged), whole) | wrong
        for moving, cotangent in () if wrong else self._parts():
            if wrong := self._wrong(moving, cotangent):
                break
        return Settled(wrong, CONVENTION if whole.holds else UNVERIFIED.format(whole.reason))

    def _ask(self, moving: Array, cotangent: Any, pulls: int) -> Answer:
        """Return whether the gradient is a choice as far as the entries ``moving`` show it, in so many pullbacks."""
        if moving.size > ENTRIES:
            start = int(self.rng.integers(moving.size - ENTRIES))
            moving = moving[start : start + ENTRIES]
        answer = self._examined(moving, cotangent, pulls)
        if answer.holds is False and answer.part is not None and not self._confirmed(moving, answer.part):
            return Answer(None, COINCIDE)
        return answer

    def _examined(self, moving: Array, cotangent: Any, pulls: int) -> Answer:
        hair = Hair(self.forward, self.backward, self.arguments, cotangent, moving, min(pulls, self.pulls))
        self.pulls -= hair.pulls
        answer = examine(hair, self.rng)
        self.pulls += hair.pulls
        return answer

    def _confirmed(self, moving: Array, part: float) -> bool:
        """Whether an output with another cotangent takes the same part of a jump, out of bounds.

        What a code takes of one fold does not depend on the cotangent; what it takes of several that coincide does.
        """
        if self._outputs == 1:
            return not math.isnan(part)
        again = self._examined(moving, self._reweighted(self._outputs), APART)
        return again.holds is False and (again.part is None or abs(again.part - part) <= SAME)

    def _parts(self) -> Iterator[tuple[Array, Any]]:
        """Yield entries that move and a cotangent: a few entries of the output, or a few of an argument."""
        everything = self._entries(*self.judged)
        for leaf in itertools.islice(itertools.cycle(self.judged), PARTS * len(self.judged)):
            if self._outputs > 1:
                yield everything, self._reweighted(min(FEW, self._outputs // 2))
            entries = self._entries(leaf)
            start = int(self.rng.integers(max(entries.size - FEW, 0) + 1))
            yield entries[start : start + FEW], self.cotangent

    @property
    def _outputs(self) -> int:
        return sum(np.size(leaf) for _, leaf in leaves(self.cotangent, "dout"))

    def _reweighted(self, few: int) -> Any:
        """Return a random cotangent with all but a few entries zero."""
        found = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(self.cotangent, "dout")]
        flat = np.zeros(self._outputs)
        flat[self.rng.permutation(flat.size)[:few]] = self.rng.standard_normal(few)
        parts = np.split(flat, np.cumsum([leaf.size for leaf in found])[:-1])
        return rebuild(self.cotangent, (part.reshape(leaf.shape)[()] for part, leaf in zip(parts, found, strict=True)))

    def _wrong(self, moving: Array, cotangent: Any) -> Wrong:
        """Return which leaves are wrong as far as a part shows it."""
        answer = self._ask(moving, cotangent, APART)
        return self._blamed(moving, answer) if answer.holds is False else {}

    def _blamed(self, moving: Array, answer: Answer) -> Wrong:
        """Return the leaves of which an answer speaks, with the entries that are farthest from a choice."""
        layout, reason = self.arguments.layout, f"at a kink: {answer.reason}"
        number = np.searchsorted(np.cumsum(layout.sizes), moving, side="right")
        if answer.claimed is None or answer.nearest is None:
            return {int(leaf): (reason, ()) for leaf in np.unique(number)}
        apart = np.abs(answer.claimed - answer.nearest)
        norms, sizes = (np.sqrt(np.bincount(number, g**2, len(layout.sizes))) for g in (apart, answer.claimed))
        shares = norms / np.where(sizes, sizes, 1.0)
        blamed: Wrong = {}
        for leaf in np.flatnonzero(shares > SHARE * shares.max()).tolist():
            far = np.where(number == leaf, apart, 0.0)
            worst = [int(i) for i in np.argsort(-far)[:WORST] if far[i] > SHARE * far.max()]
            entries = zip(moving[worst], answer.claimed[worst], answer.nearest[worst], strict=True)
            blamed[leaf] = (reason, tuple(self._entry(int(at), *map(float, numbers)) for at, *numbers in entries))
        return blamed

    def _entry(self, index: int, claimed: float, nearest: float) -> Entry:
        layout = self.arguments.layout
        return Entry(f"d{layout.entry_name(index)}", claimed, nearest, 0.0, layout.locate(index)[1])

    def _entries(self, *some: int) -> Array:
        """Return the numbers of the entries of some leaves."""
        slices = [self.arguments.layout.slices[leaf] for leaf in some]
        return np.concatenate([np.arange(part.start, part.stop) for part in slices])
