"""A forward and its backward at one point: how they are run on copies, and what is remembered of a run. Level 2."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.pairing import call
from gradcheck.report import Verdict
from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.laws import match_gradients, split_forward
from gradcheck.verdict.sketch import WHOLE, Drawn, Sketch, sketch

__all__ = [
    "Breach",
    "Gradients",
    "Run",
    "Sketches",
    "Trial",
    "close",
    "each",
    "is_array",
    "moving_arrays",
    "run",
    "sketched",
]

SAME = {8: 1e-7, 4: 0.1, 2: 0.5}  # how far two runs of one code may be apart, by the bytes of a number; sums may cancel
LOOSE = 1e-2  # likewise for the output itself

Gradients = dict[str, Array]
Sketches = dict[str, Sketch]


class Breach(NamedTuple):
    """A law that does not hold, for the gradient of one leaf (None: for the backward as a whole).

    ``verdict`` says how grave that is: a failure, an alarm that is undecided, or (a pass) no more than a remark.
    """

    path: str | None
    sentence: str
    verdict: Verdict = Verdict.FAIL


class Run(NamedTuple):
    """One call of a forward and its backward on copies: what they were given, gave, and wrote into.

    Large leaves of ``out`` are sketches.
    """

    args: tuple[Any, ...]
    out: Any
    cache: Any
    cotangent: Any
    returned: Any
    written: tuple[Breach, ...]


@dataclass(frozen=True)
class Trial:
    """A forward and a backward at a point: the output, and one cotangent with the gradients that it gave.

    Leaves of ``out`` may be sketches; leaves of ``cotangent`` may be drawn only when they are asked for.
    """

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    out: Any
    cotangent: Any
    gradients: Gradients

    @property
    def who(self) -> str:
        """What to call the backward."""
        return name_of(self.backward)

    @functools.cached_property
    def sketches(self) -> Sketches:
        """The gradients of the cotangent."""
        return sketched(self.gradients)

    def pull(self, cotangent: Any) -> Gradients:
        """Return the gradients of ``cotangent`` from a fresh forward; those that were gradients the first time."""
        with np.errstate(all="ignore"):
            _, cache = self.forward(*self.arguments.fresh())
            return self.match(self.backward(each(np.copy, cotangent), cache))

    def match(self, returned: Any) -> Gradients:
        """Return by leaf the gradients in what the backward returned, in its own memory."""
        found = match_gradients(self.who, returned, self.arguments).gradients
        return {path: gradient for path in self.gradients if (gradient := found[path]) is not None}

    def tolerance(self, path: str) -> float:
        """How far two runs of the same code may be apart in one gradient, relative to its norm."""
        cotangents = (_dtype(leaf).itemsize for _, leaf in leaves(self.cotangent, "dout"))
        return SAME[min(self.gradients[path].dtype.itemsize, *cotangents, 8)]

    def differing(
        self, some: Sketches, others: Sketches, factor: float = 1.0, plus: Sketches | None = None
    ) -> Iterator[tuple[str, float]]:
        """Yield the leaves in which ``factor`` times the sum of some gradients and ``plus`` differs from others.

        And by how much, relative to the larger; infinitely where the other is missing or not finite.
        """
        for path, gradient in some.items():
            apart, size = np.inf, 1.0
            if path in others and (plus is None or path in plus):
                apart, size = _apart(gradient, others[path], factor, None if plus is None else plus[path])
            if not apart <= self.tolerance(path) * size:
                yield path, apart / size


def run(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    draw: Callable[[Any], Any],
) -> Run:
    """Run one forward and its backward on copies, and note what they write into; ``draw(out)`` gives the cotangent."""
    args = arguments.fresh()
    out, cache = split_forward(name_of(forward), call(forward, args))
    written = []
    given, taken = (moving_arrays(values, arguments) for values in (arguments.values, args))
    if wrote := _changed(taken, given):
        written.append(f"{name_of(forward)} must not write into its arguments, but it changed {wrote}.")
    cotangent, out = draw(out), _kept(out)
    passed = each(np.copy, cotangent)
    before = sketched(dict(leaves(passed, "dout")))
    returned = call(backward, (passed, cache))
    if not written and (wrote := _changed(taken, given)):
        written.append(f"{name_of(backward)} must not write into the forward's arguments, but it changed {wrote}.")
    after = sketched(dict(leaves(passed, "dout")))
    if wrote := next((path for path in after if not np.array_equal(after[path].numbers, before[path].numbers)), None):
        written.append(
            f"{name_of(backward)} must not write into the cotangent, but it changed {wrote}. Work on a copy."
        )
    return Run(args, out, cache, cotangent, returned, tuple(Breach(None, sentence) for sentence in written))


def _changed(now: dict[str, Any], before: dict[str, Any]) -> str | None:
    return next((path for path, leaf in now.items() if not np.array_equal(leaf, before[path])), None)


def moving_arrays(values: tuple[Any, ...], arguments: Arguments) -> dict[str, Array]:
    """Return the arrays among ``values`` that move, by path."""
    named = [pair for name, value in zip(arguments.names, values, strict=True) for pair in leaves(value, name)]
    paths = set(arguments.layout.paths)
    return {path: leaf for path, leaf in named if path in paths and is_array(leaf)}


def close(here: Any, there: Any) -> bool:
    """Whether an output is the same as another one, or as the one of a sketch, but for rounding."""
    if np.shape(here) != np.shape(there):
        return False
    if isinstance(there, Sketch):
        apart, size = _apart(sketch(here), there)
        return apart <= LOOSE * size
    slack = LOOSE * float(np.max(np.abs(there), initial=0.0))
    return np.allclose(here, there, rtol=LOOSE, atol=slack)


def _apart(some: Sketch, other: Sketch, factor: float = 1.0, plus: Sketch | None = None) -> tuple[float, float]:
    """Return ‖factor · (some + plus) − other‖, infinite where that is not finite, and the larger norm of both sides."""
    expected = factor * (some.numbers if plus is None else some.numbers + plus.numbers)
    apart, size = (float(np.sqrt(part @ part)) for part in (expected - other.numbers, expected))
    finite = np.isfinite([apart, size, some.norm, other.norm]).all()
    return (apart, max(size, other.norm)) if finite else (np.inf, 1.0)


def sketched(arrays: Gradients) -> Sketches:
    """Return the sketch of each of ``arrays``."""
    return {path: sketch(array) for path, array in arrays.items()}


def _kept(out: Any) -> Any:
    """Return what is kept of the output: copies of its leaves, as the next call may use their memory again."""
    return rebuild(out, (_remembered(leaf) for _, leaf in leaves(out, "out")))


def _remembered(leaf: Any) -> Any:
    if not is_array(leaf):
        return leaf
    return sketch(leaf) if leaf.size > WHOLE else leaf.copy()


def each(function: Callable[..., Any], *trees: Any) -> Any:
    """Apply ``function`` to the arrays of some trees of one form, keeping the type and dtype of the first's leaves."""
    rows = zip(*([leaf for _, leaf in leaves(tree, "")] for tree in trees), strict=True)
    return rebuild(trees[0], (_like(row[0], function(*row)) for row in rows))


def _like(leaf: Any, value: Any) -> Any:
    if is_array(leaf) or isinstance(leaf, Drawn):
        return value if value.dtype == leaf.dtype else value.astype(leaf.dtype)
    return type(leaf)(np.reshape(value, ())[()])


def _dtype(leaf: Any) -> np.dtype[Any]:
    return leaf.dtype if hasattr(leaf, "dtype") else np.dtype(type(leaf))


def is_array(leaf: Any) -> bool:
    """Whether ``leaf`` is an array and no plain number."""
    return isinstance(leaf, np.ndarray)
