"""What the bench of explanations explains: wrong backwards with the name of their mistake, and what is wrong in them.

A planted case is a mistake of ``tests.mutants`` in a derivation, at sizes drawn by chance: two *generic* draws, all of
whose sizes are at least 2, and a *degenerate* one with a batch and a time of one step. A stranger's case is one of
``tests.strangers``. What is wrong, the right backward tells.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

import derivations
from derivations.bptt import BPTT
from derivations.deltas import deltas_of
from gradcheck import Derivation
from gradcheck.arguments import Arguments
from gradcheck.check import STREAM
from gradcheck.verdict.laws import match_gradients
from gradcheck.verdict.subject import Subject
from tests.mutants import CHOICES, MISTAKES, Mistake, with_mistake
from tests.mutants.deltas import DELTA_MISTAKES
from tests.mutants.through_time import THROUGH_TIME
from tests.strangers import CASES as STRANGERS

__all__ = ["Case", "Truth", "planted_cases", "strangers_cases", "truth_of"]

DRAWS = ("generic", "generic again", "degenerate")
ALONE = ("N", "n", "B", "T")  # sizes that are 1 in a degenerate draw: of the batch and of time
ALIKE = {"B3": ("B2",), "B4": ("B2",)}  # what is the same thing in a batch of one: an axis of size one too many or few
SEEN = 1e-6  # of the norm of an argument's gradient: a smaller change is none that the inputs reveal,
SAME = 1e-12  # and up to this nothing has changed
NETWORKS = {f"{derivation.name}_deltas": derivation for derivation in derivations.ALL}


class Case(NamedTuple):
    """One wrong backward at a point.

    Attributes:
        name: names it among all cases, and replays it.
        group: the derivation, or "strangers".
        draw: generic, generic again, or degenerate.
        source: whether the source of the wrong backward can be found.
        ids: the class of its mistake, and those that are honestly the same thing.
        make: makes the pair, the right backward, the point and what moves.
    """

    name: str
    group: str
    draw: str
    source: bool
    ids: tuple[str, ...]
    make: Callable[[int], Pair]


class Pair(NamedTuple):
    """A forward, its wrong and its right backward, and a point.

    ``declared`` are arguments that are wrong whatever the numbers of one call say, as where the next call differs.
    """

    forward: Callable[..., tuple[Any, Any]]
    wrong: Callable[[Any, Any], Any]
    right: Callable[[Any, Any], Any]
    args: tuple[Any, ...]
    wrt: tuple[str, ...] | None
    declared: tuple[str, ...] = ()


class Truth(NamedTuple):
    """What is wrong in the gradients of a pair, found by comparing them with the right ones.

    Attributes:
        revealed: the arguments whose gradients differ by more than ``SEEN`` of their norms, or have another shape.
        changed: these, and all others whose gradients differ at all.
        entries: of every argument in ``revealed`` that has its shape, which entries must be found, and which may be.
        size: how many entries all arguments have.
    """

    revealed: frozenset[str]
    changed: frozenset[str]
    entries: dict[str, tuple[np.ndarray, np.ndarray]]
    size: int


def planted_cases(draws: Iterable[str] = DRAWS) -> Iterator[Case]:
    """Yield every planted mistake at every draw, with its source and without; a degenerate draw without alone."""
    for record, mistakes in _tables():
        for draw in draws:
            for mistake in mistakes:
                for source in (True, False) if draw != "degenerate" else (False,):
                    name = f"{record.name}/{mistake.name}/{draw}/{'source' if source else 'no source'}"
                    alike = ALIKE.get(mistake.id, ()) if draw == "degenerate" else ()
                    ids = (mistake.id, *mistake.also, *alike)
                    make = _maker(record, mistake, draw, source=source)
                    yield Case(name, record.name, draw, source, ids, make)


def strangers_cases() -> Iterator[Case]:
    """Yield every case of a stranger, as it is written: of a third there is no source."""
    for case in STRANGERS:
        yield Case(
            f"strangers/{case.name}",
            "strangers",
            "generic",
            case.source,
            (case.mistake, *case.also),
            lambda seed, case=case: Pair(
                case.forward,
                case.backward,
                case.right_backward,
                case.args(np.random.default_rng(seed)),
                None,
                case.wrong,
            ),
        )


def truth_of(pair: Pair, seed: int) -> Truth:
    """Return what is wrong in the wrong gradients of ``pair``, for the cotangent that a check with ``seed`` draws."""
    arguments = Arguments.of(pair.forward, pair.args, pair.wrt)
    subject = Subject(pair.forward, pair.right, (), None, np.random.default_rng((seed, STREAM)))
    cotangent = subject.claim(arguments).cotangent
    right, wrong = (_gradients(pair.forward, backward, arguments, cotangent) for backward in (pair.right, pair.wrong))
    revealed, changed, entries = set(pair.declared), set(), {}
    for path, true in right.items():
        claimed = wrong.get(path)
        if claimed is None or claimed.shape != true.shape:
            revealed.add(path)
            continue
        apart, size = np.abs(claimed - true), np.linalg.norm(true)
        if not np.linalg.norm(apart) <= SEEN * size:
            revealed.add(path)
            entries[path] = ~(apart <= SEEN * size), ~(apart <= SAME * size)
        if not np.linalg.norm(apart) <= SAME * size:
            changed.add(path)
    return Truth(frozenset(revealed), frozenset(changed | revealed), entries, arguments.layout.size)


def _tables() -> Iterator[tuple[Derivation, tuple[Mistake, ...]]]:
    for record in derivations.ALL:
        yield record, MISTAKES[record.name]
    for record in derivations.DELTAS:
        yield record, DELTA_MISTAKES[NETWORKS[record.name].name]
    for record in BPTT:
        yield record, THROUGH_TIME[record.name]


def _maker(record: Derivation, mistake: Mistake, draw: str, *, source: bool) -> Callable[[int], Pair]:
    """Return a function that makes the pair; what is drawn for a derivation is the same for all its mistakes."""

    def make(seed: int) -> Pair:
        network = NETWORKS.get(record.name)
        rng = np.random.default_rng([seed, DRAWS.index(draw), zlib.crc32(record.name.encode())])
        args = record.args(rng, **_choices(record, network.name if network else record.name, draw, rng))
        if network:
            wrong = deltas_of(with_mistake(network.backward, mistake, source=source))
        else:
            wrong = with_mistake(record.backward, mistake, source=source)
        return Pair(record.forward, wrong, record.backward, args, record.wrt)

    return make


def _choices(record: Derivation, name: str, draw: str, rng: np.random.Generator) -> dict[str, Any]:
    choices = record.draw(rng, generic=True) | CHOICES.get(name, {})
    if draw != "degenerate":
        return choices
    alone = {size: 1 for size in ALONE if size in record.structure}
    return choices | (alone or {size: values[0] for size, values in record.structure.items()})


def _gradients(forward: Any, backward: Any, arguments: Arguments, cotangent: Any) -> dict[str, np.ndarray | None]:
    with np.errstate(all="ignore"):
        _, cache = forward(*arguments.fresh())
        found = match_gradients("backward", backward(cotangent, cache), arguments).gradients
    return {path: None if g is None else np.asarray(g, dtype=np.float64) for path, g in found.items()}
