"""What all the checks of one test say together: what none could show, and which sizes a failure needs. Level 5."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.blindness.facts import numbers_of, remedy, sizes_of, special
from gradcheck.blindness.roles import BATCH, hidden_by, role_of
from gradcheck.blindness.variations import variations
from gradcheck.mistakes import CATALOGUE
from gradcheck.report import Report, Verdict
from gradcheck.trees import leaves, rebuild
from gradcheck.verdict.laws import match_gradients

__all__ = ["Checks", "merged", "remarks", "sentences"]

PASSED = 3  # checks below a size that have to pass before the size is called needed
NEEDS = 3  # sizes that are named
LARGE = 1 << 16  # entries: the values of no larger array are looked at
_HIDDEN = {"is zero": ", so what it multiplies", "is symmetric": ", so a transpose (B1)"}

Summary = dict[str, Any]  # of plain data, which a worker can send
Remarks = dict[str, list[Any]]  # how often, and the sentence


@dataclass
class Checks:
    """The checks of one test, by the forward; a witness of them.

    ``sizes`` holds for each check the sizes and the numbers among its arguments and whether it failed, ``remarks`` what
    was remarked and in how many checks: of each argument, and of the backward as a whole, the first sentence. Of the
    arguments themselves only the last are kept.
    """

    sizes: dict[str, list[tuple[dict[str, float], bool]]] = field(default_factory=dict)
    special: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    remarks: dict[str, Remarks] = field(default_factory=dict)
    last: dict[str, tuple[Callable[..., Any], Callable[..., Any], Arguments]] = field(default_factory=dict)

    def __call__(
        self, forward: Callable[..., Any], backward: Callable[..., Any], arguments: Arguments, report: Report
    ) -> None:
        """Take down one check."""
        name = report.name
        sizes = sizes_of(arguments.names, arguments.values) | numbers_of(arguments.names, arguments.values)
        self.sizes.setdefault(name, []).append((sizes, report.verdict is Verdict.FAIL))
        seen = {
            (path, what)
            for argument, value in zip(arguments.names, arguments.values, strict=True)
            for path, leaf in leaves(value, argument)
            if isinstance(leaf, np.ndarray) and leaf.size <= LARGE
            for what in special(leaf)
        }
        self.special[name] = self.special.get(name, seen) & seen
        for sentence in map(str, report.remarked):  # plain text travels from worker to worker
            _count(self.remarks.setdefault(name, {}), sentence)
        self.last[name] = (forward, backward, arguments)

    def summary(self) -> Summary:
        """Return what is to be told at the end of the run, as plain data; the pair is called a few times."""
        return {
            name: {
                "checks": len(rows),
                "largest": {key: max(row[key] for row, _ in rows if key in row) for key in _keys(rows)},
                "smallest": {key: min(row[key] for row, _ in rows if key in row) for key in _keys(rows)},
                "special": sorted(map(list, self.special[name])),
                "remarks": self.remarks.get(name, {}),
                "hides": self._hides(name, [k for k in _keys(rows) if ".shape[" in k and _is_one(k, rows)]),
            }
            for name, rows in self.sizes.items()
        }

    def _hides(self, name: str, always_one: list[str]) -> dict[str, list[str]]:
        """Return which mistakes each size that is 1 in every check hides: what it is for is measured once."""
        if not always_one:
            return {}
        forward, backward, arguments = self.last[name]
        hides = {}
        shapes = dict(zip(arguments.layout.paths, arguments.layout.shapes, strict=True))
        sizes = sizes_of(arguments.names, arguments.values)  # none where the last check had no axis
        first = next(iter(sizes), "").partition(".shape[")[0]  # data come first
        try:
            rng = np.random.default_rng(0)
            for variation in variations(arguments, lambda args: _runs(forward, backward, arguments, args), rng):
                if not variation.longer or not variation.why.endswith(" is 1"):
                    break
                slot = "{}.shape[{}]".format(*variation.longer[0])
                if slot in always_one:
                    axes = dict(variation.longer)
                    role = role_of(forward, arguments.names, variation.args, axes)
                    known = role not in BATCH or first in axes
                    hides[slot] = list(hidden_by(role, axes, shapes)) if known else []
        except Exception:  # noqa: BLE001  (a forward that refuses other sizes tells nothing, and the test goes on)
            return hides
        return hides

    def evidence(self) -> list[str]:
        """Return which sizes the failures need, a sentence each; none where no check failed, or no size decides."""
        return [sentence for rows in self.sizes.values() for sentence in _needs(rows)]


def merged(one: Summary, other: Summary) -> Summary:
    """Return the summary of the checks of two tests."""
    both = {**one, **other}
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        largest, smallest = {**a["largest"], **b["largest"]}, {**a["smallest"], **b["smallest"]}
        both[name] = {
            "checks": a["checks"] + b["checks"],
            "largest": {key: max(a["largest"].get(key, v), v) for key, v in largest.items()},
            "smallest": {key: min(a["smallest"].get(key, v), v) for key, v in smallest.items()},
            "special": [each for each in a["special"] if each in b["special"]],
            "hides": {**a["hides"], **b["hides"]},
            "remarks": {key: list(pair) for key, pair in a["remarks"].items()},
        }
        for count, sentence in b["remarks"].values():
            _count(both[name]["remarks"], sentence, count)
    return both


def remarks(summary: Summary) -> Iterator[str]:
    """Yield what was remarked about gradients that are right, a line each."""
    for name, seen in summary.items():
        for count, sentence in seen["remarks"].values():
            yield f"{name}, {count} of {seen['checks']} check{'s' * (seen['checks'] != 1)}: {sentence}"


def sentences(summary: Summary) -> Iterator[str]:
    """Yield what no check could show, a line each."""
    for name, seen in summary.items():
        checks = f"{name}, {seen['checks']} check{'s' * (seen['checks'] != 1)}"
        for slot, mistakes in seen["hides"].items():
            if seen["largest"].get(slot) == 1:
                named = " and ".join(f"{CATALOGUE[mistake].name} ({mistake})" for mistake in mistakes)
                unseen = f", so {named} could not be seen" if named else ""
                yield f"{checks}: no example had {slot} ≥ 2{unseen}. Draw {slot} of at least 2."
        for path, what in seen["special"]:
            if what in _HIDDEN:
                unseen = f"{_HIDDEN[what]} could not be seen"
                yield f"{checks}: {path} {what} in every example{unseen}. {remedy(path, what)}"
        for key, value in seen["largest"].items():
            if ".shape[" not in key and value == seen["smallest"][key] == 0:
                yield f"{checks}: {key} is 0 in every example, so what it multiplies could not be seen. Try others."


def _count(remarks: Remarks, sentence: str, times: int = 1) -> None:
    """Count a remark; those about one argument, which differ in their numbers, as one."""
    told = remarks.setdefault(sentence.partition(":")[0], [0, sentence])
    told[0] += times


def _keys(rows: Iterable[tuple[dict[str, float], bool]]) -> list[str]:
    return list(dict.fromkeys(key for row, _ in rows for key in row))


def _is_one(key: str, rows: Iterable[tuple[dict[str, float], bool]]) -> bool:
    return all(row.get(key, 1) == 1 for row, _ in rows)


def _needs(rows: list[tuple[dict[str, float], bool]]) -> Iterator[str]:
    """Yield the sizes below, or above, which no check failed though some were made."""
    failed = [row for row, fails in rows if fails]
    passed = [row for row, fails in rows if not fails]
    if not failed:
        return
    found: list[tuple[int, str]] = []
    for key in _keys(rows):
        if not all(key in row for row, _ in rows):
            continue
        least, most = min(row[key] for row in failed), max(row[key] for row in failed)
        below = [row[key] for row in passed if row[key] < least]
        above = [row[key] for row in passed if row[key] > most]
        for others, rule in ((below, f"{key} ≥ {least:g}"), (above, f"{key} ≤ {most:g}")):
            if len(others) >= PASSED:
                counts = f"{len(failed)} of {len(rows)} examples failed, all with {rule}"
                found.append((len(others), f"{counts}; all {len(others)} with others passed"))
    yield from (sentence for _, sentence in sorted(found, key=lambda pair: -pair[0])[:NEEDS])


def _runs(forward: Callable[..., Any], backward: Callable[..., Any], like: Arguments, args: tuple[Any, ...]) -> bool:
    """Whether forward and backward run on other arguments, and the gradients have their shapes."""
    try:
        arguments = Arguments.of(forward, args, like.layout.paths)
        with np.errstate(all="ignore"):
            out, cache = forward(*arguments.fresh())
            cotangent = rebuild(out, (leaf * 0 + 1 for _, leaf in leaves(out, "out")))
            claims = match_gradients(name_of(backward), backward(cotangent, cache), arguments)
    except Exception:  # noqa: BLE001  (a forward may refuse any inputs)
        return False
    return not (claims.breach or claims.breaches)
