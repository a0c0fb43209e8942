"""Shapes that are drawn from a line of text: are they valid and spread, and are mistakes that need some sizes found?

    python benchmarks/shapes.py draws                200 points of every layer: valid, and spread over the sizes
    python benchmarks/shapes.py right --seeds 5      every right layer at the defaults; none may be refused
    python benchmarks/shapes.py reach --seeds 20     of every planted mistake, whether a point of those drawn shows it
    python benchmarks/shapes.py mistakes --seeds 3   every mistake at the defaults, and what is said of its sizes
    python benchmarks/shapes.py mistakes --only rnn  the layers with that in their name

The layers are those of shape_layers.py, shape_images.py and shape_sequences.py, the mistakes those of
shape_mistakes.py. What is said of the sizes is held against points of other sizes, by comparison with the right
backward: a rule is refuted by a point that breaks it and fails; a smallest failure by passing, or by one size that
can be smaller still. Beside it stands how often one point of sizes from 1 to 4 would have shown the mistake.

Seconds are those of the processor. Exits 1 where a draw is invalid, a right layer is refused, less than 99 % of the
mistakes are found, or a rule is refuted.
"""

from __future__ import annotations

import argparse
import copy
import math
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from itertools import combinations, islice, takewhile
from typing import Any, NamedTuple

import numpy as np
from shape_layers import LAYERS, Layer
from shape_mistakes import MISTAKES, Mistake

from gradcheck import ShapesReport, examine_backward, examine_shapes
from gradcheck.shapes.sizes import rounds
from gradcheck.shapes.specification import Specification, specified

DRAWS = 200
POINTS = 100  # of a survey at its defaults
FRESH = 40
LARGEST = 20_000  # entries of a point that is drawn here
NUMBERS = (1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 9, 12)
RULES = ("int", "bool", ">", "in", "simplex", "psd", "distinct")
SECONDS = 2.0
WANTED = 0.99
Sizes = dict[str, Any]


def breach(layer: Layer, sizes: Sizes, args: Iterable[Any]) -> str | None:
    """Return what of some arguments is not as the specification says, read here by other means; None if nothing is."""
    for piece, arg in zip(layer.text.partition(";")[0].split(", "), args, strict=True):
        name, _, rest = piece.partition(": ")
        words = rest.split()
        dims = list(takewhile(lambda word: word not in RULES, words))
        if not rest:
            if arg != sizes[name.split()[0]]:
                return f"{name} is {arg}"
        elif np.shape(arg) != tuple(eval(dim, dict(sizes)) for dim in dims):  # noqa: S307
            return f"{name} has shape {np.shape(arg)}"
        elif not _obeys(words, np.asarray(arg), sizes):
            return f"{name} does not obey {rest}"
    return None


def _obeys(words: list[str], arg: np.ndarray[Any, Any], sizes: Sizes) -> bool:
    """Whether the values of an array are of the kind and the rule that its words say."""
    if "int" in words:
        return arg.dtype.kind == "i" and bool(np.all((arg >= 0) & (arg < sizes[words[-1]])))
    if "bool" in words:
        return arg.dtype == bool
    if arg.dtype != float or not np.isfinite(arg).all():
        return False
    if ">" in words:
        return bool(np.all(arg > float(words[-1])))
    if "in" in words:
        return bool(np.all((arg >= 0) & (arg <= 1)))
    if "simplex" in words:
        return arg.size == 0 or bool(np.all(arg >= 0) and np.allclose(arg.sum(-1), 1))
    if "psd" in words:
        return bool(np.array_equal(arg, arg.T) and np.all(np.linalg.eigvalsh(arg) > -1e-9))
    return "distinct" not in words or len(np.unique(arg)) == arg.size


def draws(name: str, layer: Layer, seed: int) -> tuple[str, int]:
    """Return a line about the points that are drawn of a layer, and how many of them are invalid."""
    spec = specified(layer.text)
    free = [size for size in spec.sizes if size not in spec.choices]
    invalid: list[str] = []
    seen: list[tuple[str, Sizes]] = []
    for i, (kind, sizes) in enumerate(islice(rounds(spec, np.random.default_rng(seed)), DRAWS)):
        seen.append((kind, {size: sizes[size] for size in free}))
        if not all(sizes[size] for size in free) and spec.problem(sizes, 0):
            continue  # an integer below an empty size, of which there is no point
        try:
            args = tuple(spec.point(sizes, i))
            wrong = breach(layer, sizes, args)
            if wrong is None and all(sizes[size] for size in free):
                layer.forward(*args)
        except Exception as error:  # noqa: BLE001  (whatever is raised is what is reported)
            wrong = f"{error!r}"
        if wrong is not None:
            invalid.append(f"{wrong} at {sizes}")
    shares = [
        min(sum(test(sizes, size) for _, sizes in seen) / DRAWS for size in free) for test in (_one, _equal, _long)
    ]
    plain = [list(sizes.values()) for kind, sizes in seen if kind.startswith("generic")]
    coprime = sum(all(math.gcd(a, b) == 1 < min(a, b) for a, b in combinations(some, 2)) for some in plain)
    one, equal, long = (f"{100 * share:3.0f} %" for share in shares)
    line = (
        f"{name:24}{len(invalid):3} invalid   1: {one}  equal: {equal}  long: {long}  coprime: {coprime}/{len(plain)}"
    )
    return "\n    ".join([line, *invalid[:2]]), len(invalid)


def _one(sizes: Sizes, size: str) -> bool:
    return bool(sizes[size] == 1)


def _equal(sizes: Sizes, size: str) -> bool:
    return len(sizes) == 1 or list(sizes.values()).count(sizes[size]) > 1


def _long(sizes: Sizes, size: str) -> bool:
    return bool(sizes[size] >= 8)


def right(name: str, layer: Layer, seeds: range) -> tuple[str, int]:
    """Return a line about what is said of a right layer, and how often it is refused."""
    start = time.process_time()
    reports = [examine_shapes(layer.forward, layer.backward, layer.text, seed=seed) for seed in seeds]
    refused = [report for report in reports if not report]
    seconds = (time.process_time() - start) / len(seeds)
    line = f"{name:24}{len(refused)} of {len(seeds)} refused  {seconds:5.1f} s"
    return "\n".join([line, *(str(report) for report in refused[:1])]), len(refused)


class Trial(NamedTuple):
    """What was said of one mistake from one seed."""

    found: bool
    by_chance: bool
    seconds: float
    claims: int
    refuted: tuple[str, ...]
    small: tuple[str, ...]


class Truth:
    """Where a mistake really shows: by comparison with the right backward."""

    def __init__(self, mistake: Mistake) -> None:
        self.layer = LAYERS[mistake.layer]
        self.wrong = mistake.backward()
        self.spec: Specification = specified(self.layer.text)

    def differs(self, sizes: Sizes, seed: int) -> bool:
        """Whether the gradients are others than the right ones at a point, or there are none."""
        args = tuple(self.spec.point(sizes, seed))
        found = []
        for backward in (self.layer.backward, self.wrong):
            out, cache = self.layer.forward(*copy.deepcopy(args))
            dout = _alike(out, np.random.default_rng(seed + 1))
            try:
                found.append(_leaves(backward(dout, cache)))
            except Exception:  # noqa: BLE001  (a mistake that raises shows)
                return True
        return any(not _near(a, b) for a, b in zip(*found, strict=False)) or len(found[0]) != len(found[1])

    def shows(self, sizes: Sizes) -> bool:
        """Whether the mistake shows at some sizes, for one choice of values at least."""
        return any(self.differs(sizes, seed) for seed in range(5))

    def allows(self, sizes: Sizes) -> bool:
        """Whether there is a point of some sizes that the forward takes."""
        if self.spec.problem(sizes, 0) or self.spec.entries(sizes) > LARGEST:
            return False
        try:
            self.layer.forward(*self.spec.point(sizes, 0))
        except Exception:  # noqa: BLE001  (a forward may refuse empty arrays by any error)
            return False
        return True

    def anywhere(self, rng: np.random.Generator, numbers: tuple[int, ...]) -> Iterator[Sizes]:
        """Yield allowed sizes, each drawn by itself."""
        while True:
            sizes = {name: _pick(rng, self.spec.choices.get(name, numbers)) for name in self.spec.sizes}
            if self.allows(sizes):
                yield sizes


def _pick(rng: np.random.Generator, values: tuple[Any, ...]) -> Any:
    return values[int(rng.integers(len(values)))]


def _alike(out: Any, rng: np.random.Generator) -> Any:
    return tuple(_alike(o, rng) for o in out) if isinstance(out, tuple) else rng.standard_normal(np.shape(out))


def _leaves(grads: Any) -> list[Any]:
    return [leaf for grad in grads for leaf in _leaves(grad)] if isinstance(grads, (tuple, list)) else [grads]


def _near(a: Any, b: Any) -> bool:
    scale = np.linalg.norm(np.ravel(a)) if np.size(a) else 0.0
    return np.shape(a) == np.shape(b) and bool(np.linalg.norm(np.ravel(a - b)) <= 1e-6 * scale + 1e-12)


def trial(truth: Truth, seed: int) -> Trial:
    """Look for a mistake from one seed, and hold what is said of its sizes against other points."""
    layer = truth.layer
    rng = np.random.default_rng([seed, 77])
    start = time.process_time()
    report = examine_shapes(layer.forward, truth.wrong, layer.text, seed=seed)
    seconds = time.process_time() - start
    sizes = next(truth.anywhere(rng, (1, 2, 3, 4)))
    point = tuple(truth.spec.point(sizes, seed))
    try:
        by_chance = str(examine_backward(layer.forward, truth.wrong, point, seed=seed, hints=False).verdict) == "fail"
    except Exception:  # noqa: BLE001  (what a mistake raises shows it)
        by_chance = True
    found = str(report.verdict) == "fail"
    if not found:
        return Trial(found, by_chance, seconds, 0, (), ())
    refuted = [told for rule in report.needs.rules for told in refutation(truth, rule, report, rng)]
    small = smallness(truth, dict(report.place or {}))
    return Trial(found, by_chance, seconds, len(report.needs.rules), tuple(refuted), tuple(small))


def refutation(truth: Truth, rule: str, report: ShapesReport, rng: np.random.Generator) -> Iterator[str]:
    """Yield a point that breaks a rule and fails, if there is one among some that are drawn to break it."""
    python = re.sub(r"(?<![<>!=])=(?!=)", "==", rule.replace("≥", ">=").replace("≤", "<=").replace("≠", "!="))
    python = python.replace(" is ", " == ")
    place, tried = dict(report.place or {}), 0
    empty = truth.spec.problem(place) is not None  # else the rules speak of arrays that are not empty
    anywhere = truth.anywhere(rng, (0, *NUMBERS) if empty else NUMBERS)
    for i in range(20 * FRESH):
        if i % 2:
            sizes = next(anywhere)
        else:
            other = next(anywhere)
            kept = rng.random(len(place)) < 0.6
            sizes = {name: place[name] if keep else other[name] for name, keep in zip(place, kept, strict=True)}
        if eval(python, dict(sizes)) or not truth.allows(sizes):  # noqa: S307  (a rule of the report)
            continue
        tried += 1
        if truth.differs(sizes, i):
            yield f"{rule} is broken by {sizes}, which fails"
            return
        if tried == FRESH:
            return


def smallness(truth: Truth, place: Sizes) -> Iterator[str]:
    """Yield what is wrong with the smallest sizes of a failure."""
    if not truth.allows(place) or not truth.shows(place):
        yield f"{place} does not fail"
        return
    for name, size in place.items():
        values = truth.spec.choices.get(name) or range(1, size)
        of_size = all(type(value) is int for value in values)
        for smaller in (v for v in values if v < size) if of_size else values[: values.index(size)]:
            sizes = place | {name: smaller}
            if truth.allows(sizes) and truth.shows(sizes):
                yield f"{place} fails with {name} = {smaller} too"
                return


def planted(mistake: Mistake, seeds: range) -> tuple[str, list[Trial]]:
    """Return a line about one mistake, and what was said of it from every seed."""
    truth = Truth(mistake)
    trials = [trial(truth, seed) for seed in seeds]
    found, chance = sum(one.found for one in trials), sum(one.by_chance for one in trials)
    slow = max(one.seconds for one in trials)
    mark = "   " if found == len(trials) and slow <= SECONDS else "NOT"
    refuted = [told for one in trials for told in one.refuted]
    small = [told for one in trials for told in one.small]
    line = f"{mark} {found:3} of {len(trials)}  by chance {chance:3}  {slow:5.2f} s  {mistake.name} [{mistake.shows}]"
    return "\n        ".join([line, *refuted[:2], *small[:2]]), trials


def reached(mistake: Mistake, seeds: range) -> tuple[str, int]:
    """Return a line about one mistake, and from how many seeds one of the points that are drawn shows it."""
    truth, count = Truth(mistake), 0
    for seed in seeds:
        drawn = islice(rounds(truth.spec, np.random.default_rng(seed)), POINTS)
        taken = (sizes for _, sizes in drawn if truth.allows(sizes))
        count += any(truth.differs(sizes, 1000 * seed + i) for i, sizes in enumerate(taken))
    mark = "   " if count == len(seeds) else "NOT"
    return f"{mark} {count:3} of {len(seeds)}  {mistake.name} [{mistake.shows}]", count


def summary(trials: list[Trial]) -> tuple[str, bool]:
    """Return the figures of all mistakes and seeds, and whether they are those that are wanted."""
    found = sum(one.found for one in trials)
    chance, slow = sum(one.by_chance for one in trials), sum(one.seconds > SECONDS for one in trials)
    claims, refuted = sum(one.claims for one in trials), sum(len(one.refuted) for one in trials)
    unreal = sum("does not fail" in told for one in trials for told in one.small)
    larger = sum(len(one.small) for one in trials) - unreal
    seconds = sorted(one.seconds for one in trials)
    lines = [
        f"found {found} of {len(trials)} ({100 * found / len(trials):.2f} %), by one point of sizes 1 to 4 {chance}",
        f"seconds: median {seconds[len(seconds) // 2]:.2f}, most {seconds[-1]:.2f}, {slow} above {SECONDS:.0f}",
        f"rules: {refuted} refuted of {claims}",
        f"smallest: {unreal} do not fail, {larger} can be smaller, of {found}",
    ]
    return "\n".join(lines), found >= WANTED * len(trials) and refuted == unreal == 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draws", "right", "reach", "mistakes"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="layers with this in their name")
    options = parser.parse_args(argv)
    seeds = range(options.first, options.first + options.seeds)
    warnings.simplefilter("ignore")  # means of empty slices, which the layers leave to NumPy
    chosen = [mistake for mistake in MISTAKES if options.only in mistake.layer]
    if options.what == "reach":
        lines = [reached(mistake, seeds) for mistake in chosen]
        print(*(line for line, count in lines if count < len(seeds)), sep="\n")
        count, of = sum(count for _, count in lines), len(lines) * len(seeds)
        print(f"a point shows {count} of {of} ({100 * count / of:.2f} %)")
        return int(count < WANTED * of)
    if options.what == "mistakes":
        trials = []
        for mistake in chosen:
            line, some = planted(mistake, seeds)
            print(line, flush=True)
            trials += some
        told, good = summary(trials)
        print(told)
        return int(not good)
    total = 0
    for name, layer in LAYERS.items():
        if options.only in name:
            line, bad = draws(name, layer, options.first) if options.what == "draws" else right(name, layer, seeds)
            print(line, flush=True)
            total += bad
    print(f"{total} {'invalid draws' if options.what == 'draws' else 'refused'}, {len(LAYERS)} layers")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
