"""What a number means in a run: which mistake leaves it out as a factor, or has it once too often. Level 3.

A number means something if the forward computes with it or if it is a size. No name of a variable is read.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.match import Sight
from gradcheck.steps.rewrites.table import NUMBERS
from gradcheck.steps.truth import adjoint

MOST = 64  # arrays whose sizes are read


class Meaning(NamedTuple):
    """What a number is: the id of the mistake that leaves it out, and its name."""

    mistake: str
    said: str


class Numbers:
    """The numbers of a run that mean something."""

    def __init__(self, sight: Sight) -> None:
        self.sight, self.run, self.start = sight, sight.run, sight.run.start
        self.forward = self.run.nodes[: self.run.start]

    @functools.cached_property
    def batch(self) -> frozenset[int]:
        """The sizes that count samples: one sample of the output hears of one sample of an input alone."""
        found = set()
        for k, i in enumerate(self.run.outs):
            for axis, n in enumerate(np.shape(self.run.value(i)) if i >= 0 else ()):
                if n > 1 and self._apart(k, axis, 0) & self._apart(k, axis, n - 1):
                    found.add(n)
                    break  # what comes after the samples may be apart too, such as channels
        leading = {self.run.value(i).shape[0] for i in self.run.leaf.values() if self.run.value(i).ndim > 1}
        columns = {self.run.value(i).shape[-1] for i in self.run.leaf.values() if self.run.value(i).ndim == 2}
        means = {n for shape in self._averaged for n in shape[:1]}
        if not means:  # a sum over the samples, but of a function of one argument alone, which is a regulariser
            means = {n for n, alone in self._totals if not alone} or {n for n, _ in self._totals}
        divided = {round(c) for c in self.divisors if abs(c - round(c)) < 1e-9}
        scalar = all(np.size(bar) == 1 for bar in self.run.cotangent)
        return frozenset(
            found | ({n for n in (leading & means) | ((leading | columns) & divided) if n > 1} if scalar else set())
        )

    def _apart(self, k: int, axis: int, at: int) -> set[tuple[str, int]]:
        """Return the inputs, and their axes, of which one sample alone matters to one sample of an output."""
        bar = np.zeros(self.run.cotangent[k].shape)
        np.moveaxis(bar, axis, 0)[at] = np.moveaxis(self.run.cotangent[k], axis, 0)[at]
        bars = adjoint(
            self.run._replace(cotangent=[bar if j == k else 0 * each for j, each in enumerate(self.run.cotangent)]),
            self.sight.pulls,
        ).nodes
        found, n = set(), bar.shape[axis]
        for path, i in self.run.leaf.items():
            for other, m in enumerate(np.shape(bars.get(i, 0.0))):
                here: Any = np.moveaxis(np.asarray(bars[i]), other, 0).reshape(m, -1).any(axis=1)
                if m == n and here[at] and here.sum() == 1:
                    found.add((path, other))
        return found

    @functools.cached_property
    def _averaged(self) -> set[tuple[int, ...]]:
        """The shapes over all of which, or whose leading axis, the forward averages."""
        found = set()
        for node in self.forward:
            if node.name in ("mean", "sum") and node.parents and node.value.size:
                shape = self.run.value(node.parents[0]).shape
                whole = node.name == "mean" or any(math.isclose(math.prod(shape), c) for c in self.divisors)
                if shape and whole and node.value.size * shape[0] <= math.prod(shape):
                    found.add(shape[:1] if node.value.size > 1 else shape)
        return found

    @functools.cached_property
    def _totals(self) -> set[tuple[int, bool]]:
        """The leading sizes of what is summed up to one number, and whether that is made of one argument alone."""
        found, above = set(), dict[int, frozenset[int]]()
        for node in self.forward:
            above[node.id] = (
                frozenset({node.id})
                if node.kind == "leaf"
                else frozenset().union(*(above.get(p, frozenset()) for p in node.parents))
            )
            if node.name in ("sum", "dot", "vdot") and node.parents and np.size(node.value) == 1:
                found |= {(n, len(above[node.id]) < 2) for n in self.run.value(node.parents[0]).shape[:1] if n > 1}
        return found

    @functools.cached_property
    def divisors(self) -> frozenset[float]:
        """The numbers by which the forward divides, those of its means included."""
        found = set()
        for node in self.forward:
            for each in node.args if node.name in ("divide", "multiply") else ():
                if isinstance(each, NUMBERS) and not isinstance(each, bool) and each and math.isfinite(each):
                    found.add(abs(float(each)) if node.name == "divide" else 1.0 / abs(float(each)))
            if node.name == "mean" and node.parents and node.value.size:
                found.add(self.run.value(node.parents[0]).size / node.value.size)
        return frozenset(found)

    @functools.cached_property
    def numbers(self) -> dict[float, Meaning]:
        """The numbers that mean something, as factors that are missing, the plainest first."""
        found: dict[float, Meaning] = {}
        for value, mistake, said in itertools.chain(
            self._given(),
            ((float(n), "A2", f"{n}, the number of samples") for n in self.batch),
            [(2.0, "A4", "2")],
            self._sizes(),
        ):
            for c, words in ((value, said), (1.0 / value, f"1/{said}")):
                if c != 1 and math.isfinite(c):
                    found.setdefault(c, Meaning(self._of_batch(c) or mistake, words))
        return found

    def number(self, c: float) -> Meaning | None:
        """Return what a factor that is missing is, None if it is no number that means something."""
        if abs(c + 1) < 1e-6:
            return Meaning("A1", "-1")
        sign = "-" if c < 0 else ""
        if len(self.run.cotangent) == 1 and self.run.cotangent[0].size == 1:
            bar = float(self.run.cotangent[0].ravel()[0])
            if bar != 1 and math.isclose(c, bar, rel_tol=1e-6):
                return Meaning("C5", "the cotangent")
        for value, meaning in self.numbers.items():
            if math.isclose(abs(c), value, rel_tol=1e-6):
                return Meaning("A1" if sign else meaning.mistake, sign + meaning.said)
        for (a, one), (b, two) in itertools.combinations(self.numbers.items(), 2):
            if math.isclose(abs(c), a * b, rel_tol=1e-6):
                return Meaning("A1" if sign else _together(a, b, one, two), sign + _product(one.said, two.said))
        return None

    def _of_batch(self, c: float) -> str:
        """Return which mistake a missing factor of a number of samples is, "" if it is none.

        1/N is missing where a sum stands for a mean. N is missing where it is divided by N: once too often if the
        forward divides too.
        """
        n = 1 / c if c < 1 else c
        counts = set(self.batch) | {n * m for n in self.batch for m in self._trailing}
        for shape in self._averaged:
            some = itertools.chain(*(itertools.combinations(shape, r) for r in range(1, len(shape) + 1)))
            counts |= {math.prod(sizes) for sizes in some} - {1}
        if not any(math.isclose(n, each, rel_tol=1e-9) for each in counts):
            return ""
        return "A2" if c < 1 or not any(math.isclose(n, d, rel_tol=1e-9) for d in self.divisors) else "A3"

    @functools.cached_property
    def _trailing(self) -> frozenset[int]:
        return frozenset(math.prod(self.run.value(i).shape[1:]) for i in self.run.outs if i >= 0)

    def _given(self) -> Iterator[tuple[float, str, str]]:
        """Yield the numbers with which the forward computes, and scalar arguments."""
        for path, i in self.run.leaf.items():
            if self.run.value(i).size == 1 and (value := float(self.run.value(i).ravel()[0])) > 0:
                yield value, "A5", path
        outs = [self.run.value(i) for i in self.run.outs if i >= 0 and np.ndim(self.run.value(i)) > 2]
        windows = {
            self.run.value(i).size // out.size
            for i in self.run.leaf.values()
            for out in outs
            if self.run.value(i).ndim == out.ndim
        }
        windows |= (
            {round(math.sqrt(n)) for n in self._pooled}
            | self._pooled
            | {
                math.prod(np.shape(node.value)[-2:])
                for node in self.forward
                if np.ndim(node.value) >= (2 if node.kind == "gather" else 4)
            }
        )
        for node in self.forward:
            for each in (*node.args, *node.kwargs.values()):
                if (
                    isinstance(each, NUMBERS)
                    and not isinstance(each, bool)
                    and each not in (0, 1)
                    and math.isfinite(each)
                ):
                    value = abs(float(each))
                    yield (
                        value,
                        "A5" if value in windows else "A4",
                        f"the {value:.4g} of line {node.site.line} of the forward",
                    )
            if node.name == "mean" and node.parents and node.value.size:
                value = self.run.value(node.parents[0]).size / node.value.size
                yield value, "A5", f"the {value:g} of the mean in line {node.site.line} of the forward"

    @functools.cached_property
    def _pooled(self) -> set[int]:
        """How many entries the forward averages where it keeps the samples apart."""
        shapes = [
            (self.run.value(node.parents[0]).shape, node.value)
            for node in self.forward
            if node.name == "mean" and node.parents
        ]
        return {math.prod(shape) // value.size for shape, value in shapes if value.ndim and value.shape[0] == shape[0]}

    def _sizes(self) -> Iterator[tuple[float, str, str]]:
        """Yield sizes of arguments, and products of sizes."""
        shapes = {path: self.run.value(i).shape for path, i in list(self.run.leaf.items())[:MOST]}
        shapes |= {
            f"output {k + 1}" if k else "the output": np.shape(self.run.value(i))
            for k, i in enumerate(self.run.outs)
            if i >= 0
        }
        for count in (1, 2, 3):
            for path, shape in shapes.items():
                for axes in itertools.combinations(range(len(shape)), count):
                    n = math.prod(shape[a] for a in axes)
                    if n > 1:
                        yield (
                            float(n),
                            "A2" if count == 1 and n in self.batch else "A5" if count > 1 else "A4",
                            " * ".join(f"{path}.shape[{a}]" for a in axes),
                        )


def _together(a: float, b: float, one: Meaning, two: Meaning) -> str:
    """Return the mistake of two factors: of one by which is divided for the other, what the missing divisor is."""
    if (a < 1) == (b < 1):
        return max(one.mistake, two.mistake)
    return one.mistake if a < 1 else two.mistake


def _product(one: str, two: str) -> str:
    """Return the name of a product of numbers, of which each may be 1 over another."""
    under = [each.removeprefix("1/") for each in (one, two) if each.startswith("1/")]
    top = [each for each in (one, two) if not each.startswith("1/")]
    if top and under:
        return f"{top[0]} over {under[0]}"
    return f"1/({' * '.join(under)})" if under else " * ".join(top)
