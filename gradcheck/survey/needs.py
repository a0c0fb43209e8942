"""What the sizes of a failure have to be: read off where it fails, and held against fresh points. Level 5.

A rule about sizes, such as N ≥ 2 or D = M, is said only if it holds wherever the pair was seen to fail, and no point
failed of those that were drawn to break it: some that are as a failure otherwise, and some that are drawn anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.report import Verdict
from gradcheck.shapes.sizes import is_size, pick, rounds, values_of
from gradcheck.shapes.specification import Sizes, Specification
from gradcheck.survey.examples import SEEDS, Example, Pair

__all__ = ["FRESH", "Needs", "needs"]

FRESH = 30  # points of either kind have to pass before a rule is said
AGAIN = 16  # points are drawn in search of other failures
ENOUGH = 400  # choices of sizes are looked at for those that break a rule


@dataclass(frozen=True)
class Needs:
    """The rules that sizes obey wherever the pair fails, and how many points passed that broke one of them."""

    rules: tuple[str, ...] = ()
    passed: int = 0

    def __str__(self) -> str:
        """Return the rules as a sentence."""
        told = " and ".join(self.rules)
        return f"It fails only where {told}: of {self.passed} points drawn elsewhere none failed."


@dataclass(frozen=True)
class Rule:
    """A rule about sizes; ``broken`` yields the same sizes otherwise, so that it does not hold."""

    text: str
    holds: Callable[[Sizes], bool]
    broken: Callable[[Sizes], Iterator[Sizes]]


def needs(
    pair: Pair, failed: Example, seen: Sequence[Example], rng: np.random.Generator, in_time: Callable[[], bool]
) -> Needs:
    """Return the rules that a failure needs, as far as there is time to find out."""
    failures = [failed.sizes, *(each.sizes for each in seen if each.verdict == Verdict.FAIL)]
    failures += _others(pair, failed.sizes, rng, in_time)
    rules: list[str] = []
    passed = 0
    for rule in _rules(pair.spec, failed.sizes):
        if all(rule.holds(sizes) for sizes in failures):
            count, failure = _tried(pair, rule, failures, rng, in_time)
            if failure is not None:
                failures.append(failure)
            elif count:
                rules.append(rule.text)
                passed += count
    return Needs(tuple(rules), passed)


def _others(pair: Pair, sizes: Sizes, rng: np.random.Generator, in_time: Callable[[], bool]) -> list[Sizes]:
    """Return other sizes at which the pair fails, of those that are partly drawn anew; equal ones stay equal."""
    found: list[Sizes] = []
    for _ in range(AGAIN):
        fresh = {value: pick(rng, values_of(pair.spec, name)) for name, value in sizes.items()}
        kept = {value for value in fresh if rng.random() < 0.5}
        other = {name: value if value in kept else fresh[value] for name, value in sizes.items()}
        if in_time() and pair.spec.problem(other) is None and _fails(pair, other, rng):
            found.append(other)
    return found


def _fails(pair: Pair, sizes: Sizes, rng: np.random.Generator) -> bool:
    return pair.examine(sizes, int(rng.integers(SEEDS))).verdict == Verdict.FAIL


def _tried(
    pair: Pair, rule: Rule, failures: Sequence[Sizes], rng: np.random.Generator, in_time: Callable[[], bool]
) -> tuple[int, Sizes | None]:
    """Return how many points passed that break a rule, none if there are too few; or the first that fails."""
    near = [other for sizes in failures for other in rule.broken(sizes) if pair.spec.problem(other) is None]
    anew = (sizes for why, sizes in itertools.islice(rounds(pair.spec, rng), ENOUGH) if why != "empty")
    far = list(itertools.islice((sizes for sizes in anew if not rule.holds(sizes)), FRESH))
    if not near or not far:
        return 0, None
    tried = [near[i] if i < len(near) else pick(rng, near) for i in range(FRESH)] + far
    for sizes in tried:
        if not in_time():
            return 0, None
        verdict = pair.examine(sizes, int(rng.integers(SEEDS))).verdict
        if verdict != Verdict.PASS:
            return 0, sizes if verdict == Verdict.FAIL else None
    return len(tried), None


def _rules(spec: Specification, sizes: Sizes) -> Iterator[Rule]:
    """Yield the rules that the smallest sizes of a failure suggest."""
    numbers = [name for name in spec.sizes if is_size(spec, name)]
    for one, other in itertools.combinations(numbers, 2):
        yield _alike(spec, one, other, equal=sizes[one] == sizes[other])
    for name in numbers:
        yield _bounded(name, sizes[name], values_of(spec, name), "≥")
        yield _bounded(name, sizes[name], values_of(spec, name), "≤")
    for name in spec.sizes:
        if name not in numbers:
            yield _chosen(name, sizes[name], values_of(spec, name))


def _bounded(name: str, limit: int, values: Sequence[int], sign: str) -> Rule:
    def holds(sizes: Sizes) -> bool:
        return bool(sizes[name] >= limit if sign == "≥" else sizes[name] <= limit)

    def broken(sizes: Sizes) -> Iterator[Sizes]:
        yield from ({**sizes, name: value} for value in values if not holds({name: value}))

    alone = sign == "≤" and limit == min(values)
    return Rule(f"{name} {'=' if alone else sign} {limit}", holds, broken)


def _alike(spec: Specification, one: str, other: str, *, equal: bool) -> Rule:
    def holds(sizes: Sizes) -> bool:
        return (sizes[one] == sizes[other]) is equal

    def broken(sizes: Sizes) -> Iterator[Sizes]:
        changed = ({**sizes, name: value} for name in (one, other) for value in values_of(spec, name))
        yield from (sizes for sizes in changed if not holds(sizes))

    return Rule(f"{one} {'=' if equal else '≠'} {other}", holds, broken)


def _chosen(name: str, value: Any, values: Sequence[Any]) -> Rule:
    def broken(sizes: Sizes) -> Iterator[Sizes]:
        yield from ({**sizes, name: other} for other in values if other != value)

    return Rule(f"{name} is {value!r}", lambda sizes: bool(sizes[name] == value), broken)
