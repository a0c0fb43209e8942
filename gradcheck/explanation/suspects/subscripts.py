"""Subscripts of an einsum inside a backward, two of which stand in each other's place. Level 3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.explanation.suspects.change import Otherwise, at, redone, site_of
from gradcheck.explanation.suspects.tape import Step, Tape
from gradcheck.trees import Array

__all__ = ["ways"]


def ways(within: Sequence[Sequence[Step]]) -> Iterator[Otherwise]:
    """Yield the subscripts of each einsum with two of one size exchanged, in the result or in an operand (B1)."""
    for group in within:
        first = group[0]
        if first.name != "einsum" or not first.operands or not isinstance(first.operands[0], str):
            continue
        written = first.operands[0].replace(" ", "")
        if "->" not in written or "." in written:
            continue
        for changed in _exchanged(written, first):

            def otherwise(step: Step, _: Tape, changed: str = changed) -> Array | None:
                return _redone(step, changed)

            sentence = (
                f"{first.place} sums over {written!r}, which takes two axes of the same size for each other. "
                f"Write {changed!r}."
            )
            yield Otherwise("B1", at(group, otherwise), sentence, 0.25, "", site_of(group), f"{first.site} {changed}")


def _exchanged(written: str, step: Step) -> Iterator[str]:
    left, _, right = written.partition("->")
    terms = [*left.split(","), right]
    arrays: list[Any] = [*step.operands[1:], step.result]
    if len(arrays) != len(terms) or any(np.ndim(a) != len(t) for a, t in zip(arrays, terms, strict=True)):
        return
    tried = {_canonical(terms)}
    for place in reversed(range(len(terms))):
        term, shape = terms[place], np.shape(arrays[place])
        for one, two in itertools.combinations(range(len(term)), 2):
            if term[one] == term[two] or shape[one] != shape[two]:
                continue
            letters = list(term)
            letters[one], letters[two] = letters[two], letters[one]
            made = [*terms[:place], "".join(letters), *terms[place + 1 :]]
            if _canonical(made) not in tried:
                tried.add(_canonical(made))
                yield f"{','.join(made[:-1])}->{made[-1]}"


def _canonical(terms: Sequence[str]) -> tuple[str, ...]:
    """Return the subscripts with letters in the order in which they occur: alike where only names differ."""
    names: dict[str, str] = {}
    return tuple("".join(names.setdefault(c, chr(len(names))) for c in term) for term in terms)


def _redone(step: Step, written: str) -> Array | None:
    try:
        return np.asarray(redone(step, [written, *step.operands[1:]]))
    except (ValueError, TypeError):
        return None
