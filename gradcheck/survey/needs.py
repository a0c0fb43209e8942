"""What the sizes of a failure have to be: read off where it fails, and held against fresh points. Level 5.

A rule about sizes, such as N ≥ 2 or D = M, is said only if it holds wherever the pair was seen to fail, and no point
failed of those that were drawn to break it: some that are as a failure otherwise, also in what ties its sizes to each
other, and some that are drawn anew.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np

from gradcheck.report import Verdict
from gradcheck.shapes.expressions import Expression
from gradcheck.shapes.sizes import FEW, is_size, pick, rounds, values_of, whole_numbers
from gradcheck.shapes.specification import Sizes, Specification
from gradcheck.survey.examples import SEEDS, Example, Pair

__all__ = ["FRESH", "Needs", "needs"]

FRESH = 25  # points that are drawn anew have to pass before a rule is said
NEAR = 20  # and so many that are as a failure otherwise, or but for one size more
AGAIN = 24  # points are drawn in search of other failures, until there are
OTHERS = 8  # of them, which cost more than what passes,
FIRST = 3  # every second of them from so many of the smallest values: there equal sizes, and products, are frequent
TRIES = 8  # of one of these, before it is given up that sizes stay tied to each other
ENOUGH = 400  # choices of sizes are looked at for those that break a rule


@dataclass(frozen=True)
class Needs:
    """The rules that sizes obey wherever the pair fails, and how many points passed that broke one of them.

    ``empty`` says that the pair passes on empty arrays too that break them; else the rules speak of the others alone.
    """

    rules: tuple[str, ...] = ()
    passed: int = 0
    empty: bool = False

    def __str__(self) -> str:
        """Return the rules as a sentence."""
        told = " and ".join(self.rules)
        apart = "" if self.empty else ", empty arrays apart"
        return f"It fails only where {told}{apart}: of {self.passed} points drawn elsewhere none failed."


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule about sizes; ``broken`` yields the same sizes otherwise, so that it does not hold.

    That two sizes are ``apart`` follows of itself from most other rules, as K ≠ P from K ≥ 2 where P is 0 or 1: then it
    is not worth saying.
    """

    text: str
    holds: Callable[[Sizes], bool]
    broken: Callable[[Sizes], Iterator[Sizes]]
    apart: bool = False


def needs(
    pair: Pair, failed: Example, seen: Sequence[Example], rng: np.random.Generator, in_time: Callable[[], bool]
) -> Needs:
    """Return the rules that a failure needs, as far as there is time to find out."""
    least = 1 if pair.spec.problem(failed.sizes) is None else 0
    failures = [failed.sizes, *(each.sizes for each in seen if each.verdict == Verdict.FAIL)]
    failures += _others(pair, failed.sizes, least, rng, in_time)
    drawn = (sizes for why, sizes in itertools.islice(rounds(pair.spec, rng), ENOUGH) if why != "empty" or not least)
    fresh = Fresh(pair, drawn, rng, in_time, failures, least)
    kept: list[Rule] = []
    for rule in _rules(pair.spec, failed.sizes):
        if not fresh.obey(rule):
            continue
        near = [other for other in _in_turn(rule.broken(sizes) for sizes in failures) if fresh.serves(other)]
        if rule.apart:
            near = [other for other in near if all(each.holds(other) for each in kept)]
        if near and fresh.confirm(rule, near):
            kept.append(rule)
    rules = [rule for rule in kept if fresh.obey(rule)]  # some may fail at what was drawn for others
    elsewhere = sum(not all(rule.holds(sizes) for rule in rules) for sizes in fresh.passed)
    empty = not least or not any(_fails_empty(pair, rule, failed.sizes, rng) for rule in rules)
    return Needs(tuple(rule.text for rule in rules), elsewhere, empty)


@dataclass
class Fresh:
    """Points of new sizes: those that are drawn at large serve every rule that they break."""

    pair: Pair
    drawn: Iterator[Sizes]
    rng: np.random.Generator
    in_time: Callable[[], bool]
    failures: list[Sizes]
    least: int
    at_large: list[Sizes] = field(default_factory=list)
    passing: dict[int, bool] = field(default_factory=dict)
    passed: list[Sizes] = field(default_factory=list)

    def serves(self, sizes: Sizes) -> bool:
        """Whether there is a point of some sizes that takes no longer than one that is drawn."""
        return _is_small(self.pair.spec, sizes, self.least)

    def obey(self, rule: Rule) -> bool:
        """Whether a rule holds wherever the pair was seen to fail."""
        return all(rule.holds(sizes) for sizes in self.failures)

    def confirm(self, rule: Rule, near: Sequence[Sizes]) -> bool:
        """Whether enough points are found that break a rule, and all of them pass."""
        ties, visits = _ties(self.pair.spec, self.failures), Counter[tuple[Any, ...]]()
        before = Counter(tuple(sizes.values()) for sizes in self.passed)
        for i in range(NEAR):
            sizes = near[i // 3 % len(near)] if i % 3 == 0 else self.varied(rule, pick(self.rng, near))
            if i % 3 and ties:
                sizes = self.tied(rule, near, ties[i % len(ties)]) or sizes
            key = tuple(sizes.values())
            visits[key] += 1
            if visits[key] > before[key] and not (self.obey(rule) and self.passes(sizes)):
                return False  # what was drawn for another rule that it breaks as well is not drawn again
        count = 0
        for number in itertools.count():
            if number == len(self.at_large):
                if not (more := list(itertools.islice(self.drawn, 1))):
                    return False
                self.at_large += more
            if rule.holds(self.at_large[number]):
                continue
            if number not in self.passing:
                self.passing[number] = self.passes(self.at_large[number])
            if not self.passing[number]:
                return False
            count += 1
            if count == FRESH:
                break
        return True

    def varied(self, rule: Rule, sizes: Sizes) -> Sizes:
        """Return sizes of which one is another, where they break the rule then too."""
        name = pick(self.rng, list(sizes))
        other = {**sizes, name: pick(self.rng, values_of(self.pair.spec, name))}
        return sizes if rule.holds(other) or not self.serves(other) else other

    def tied(self, rule: Rule, near: Sequence[Sizes], tie: Tie) -> Sizes | None:
        """Return sizes that break a rule, with one of them changed so that a tie holds; None where none were found.

        A failure that needs C·H = M needs no C ≠ H: where C alone is another, M has to follow to show that.
        """
        for number in range(TRIES):
            sizes = self.varied(rule, pick(self.rng, near)) if number % 2 else pick(self.rng, near)
            values = {name: (tie.of(sizes), *values_of(self.pair.spec, name)) for name in tie.names}
            changed = ({**sizes, name: value} for name in tie.names for value in values[name])
            if held := [each for each in changed if tie.holds(each) and not rule.holds(each) and self.serves(each)]:
                return cast("Sizes", pick(self.rng, held))
        return None

    def passes(self, sizes: Sizes) -> bool:
        """Whether the pair passes at a point of some sizes; where it fails, that is one more failure."""
        if not self.in_time():
            return False
        verdict = self.pair.verdict(sizes, int(self.rng.integers(SEEDS)))
        if verdict == Verdict.FAIL:
            self.failures.append(sizes)
        if verdict == Verdict.PASS:
            self.passed.append(sizes)
        return verdict == Verdict.PASS


class Tie(NamedTuple):
    """What one size is wherever the pair fails: another, or made of others; it is the first of the names."""

    names: tuple[str, ...]
    of: Callable[[Sizes], Any]

    def holds(self, sizes: Sizes) -> bool:
        """Whether some sizes are tied so."""
        return bool(sizes[self.names[0]] == self.of(sizes))


def _ties(spec: Specification, failures: Sequence[Sizes]) -> list[Tie]:
    """Return what ties a size to others, or to an axis as it is written, in all of some sizes."""
    names = [name for name in spec.sizes if is_size(spec, name)]
    several = [some for count in (1, 2, 3) for some in itertools.combinations(names, count)]
    made = [(some, _combined(way, some)) for some in several for way in (math.prod, sum)[: len(some)]]
    axes = [each for _, array in spec.arrays for each in array.axes() if isinstance(each, Expression)]
    made += [(tuple(each.names), each) for each in axes if len(each.names) > 1 and each.names <= set(names)]
    ties = [Tie((name, *used), of) for name in names for used, of in made if name not in used]
    ties += [tie for one, other in itertools.permutations(names, 2) for tie in _read_off(one, other, failures[0])]
    return [tie for tie in ties if all(map(tie.holds, failures))]


def _read_off(one: str, other: str, sizes: Sizes) -> Iterator[Tie]:
    """Yield what a size is of another by the numbers of one failure: so many times as large, or so much larger."""
    large, small = sizes[one], sizes[other]
    if large > small > 0:
        yield Tie((one, other), lambda each: each[other] + large - small)
        if large % small == 0:
            yield Tie((one, other), lambda each: each[other] * (large // small))


def _combined(way: Callable[[Iterable[int]], int], names: Sequence[str]) -> Callable[[Sizes], Any]:
    return lambda sizes: way(sizes[name] for name in names)


def _in_turn(several: Iterable[Iterator[Sizes]]) -> Iterator[Sizes]:
    """Yield the first of each, then the second of each, and so on."""
    for some in itertools.zip_longest(*several):
        yield from (each for each in some if each is not None)


def _others(pair: Pair, sizes: Sizes, least: int, rng: np.random.Generator, in_time: Callable[[], bool]) -> list[Sizes]:
    """Return other sizes at which the pair fails, of those that are partly drawn anew; equal ones stay equal."""
    found: list[Sizes] = []
    for number in range(AGAIN):
        if len(found) == OTHERS:
            break
        first = FIRST if number % 2 else None
        fresh = {value: pick(rng, values_of(pair.spec, name)[:first]) for name, value in sizes.items()}
        kept = {value for value in fresh if rng.random() < 0.5}
        other = {name: value if value in kept else fresh[value] for name, value in sizes.items()}
        if in_time() and _is_small(pair.spec, other, least) and _fails(pair, other, rng):
            found.append(other)
    return found


def _is_small(spec: Specification, sizes: Sizes, least: int) -> bool:
    """Whether there is a point of some sizes that takes no longer than one that is drawn."""
    return spec.problem(sizes, least, FEW) is None


def _fails(pair: Pair, sizes: Sizes, rng: np.random.Generator) -> bool:
    return pair.verdict(sizes, int(rng.integers(SEEDS))) == Verdict.FAIL


def _fails_empty(pair: Pair, rule: Rule, sizes: Sizes, rng: np.random.Generator) -> bool:
    """Whether the pair fails on empty arrays that break a rule, and are as a failure otherwise."""
    empty = ({**sizes, name: 0} for name in sizes if is_size(pair.spec, name) and name not in pair.spec.choices)
    broken = (other for other in empty if not rule.holds(other) and pair.spec.problem(other, least=0) is None)
    return any(_fails(pair, other, rng) for other in broken)


def _rules(spec: Specification, sizes: Sizes) -> Iterator[Rule]:
    """Yield the rules that the smallest sizes of a failure suggest."""
    numbers = [name for name in spec.sizes if is_size(spec, name)]
    pairs = list(itertools.combinations((name for name in numbers if sizes[name]), 2))
    equal = [(one, other) for one, other in pairs if sizes[one] == sizes[other]]
    yield from (_alike(spec, one, other, equal=True) for one, other in equal)
    for name in numbers:
        limit = sizes[name]
        values = sorted(whole_numbers(spec, name, limit), key=lambda value: abs(value - limit))
        yield _bounded(name, limit, values, "≥")
        yield _bounded(name, limit, values, "≤")
    for name in spec.sizes:
        if name not in numbers:
            yield _chosen(name, sizes[name], values_of(spec, name))
    yield from (_alike(spec, one, other, equal=False) for one, other in pairs if (one, other) not in equal)


def _bounded(name: str, limit: int, values: Sequence[int], sign: str) -> Rule:
    def holds(sizes: Sizes) -> bool:
        return bool(sizes[name] >= limit if sign == "≥" else sizes[name] <= limit)

    def broken(sizes: Sizes) -> Iterator[Sizes]:
        yield from ({**sizes, name: value} for value in values if not holds({name: value}))

    alone = sign == "≤" and limit <= min(values)
    return Rule(f"{name} {'=' if alone else sign} {limit}", holds, broken)


def _alike(spec: Specification, one: str, other: str, *, equal: bool) -> Rule:
    def holds(sizes: Sizes) -> bool:
        return (sizes[one] == sizes[other]) is equal

    def broken(sizes: Sizes) -> Iterator[Sizes]:
        changed = ({**sizes, name: value} for name in (one, other) for value in values_of(spec, name))
        yield from (sizes for sizes in changed if not holds(sizes))

    return Rule(f"{one} {'=' if equal else '≠'} {other}", holds, broken, apart=not equal)


def _chosen(name: str, value: Any, values: Sequence[Any]) -> Rule:
    def broken(sizes: Sizes) -> Iterator[Sizes]:
        yield from ({**sizes, name: other} for other in values if other != value)

    return Rule(f"{name} is {value!r}", lambda sizes: bool(sizes[name] == value), broken)
