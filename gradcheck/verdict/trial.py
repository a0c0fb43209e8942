"""A forward and its backward at one point: how they are run on copies, and what is remembered of a run. Level 2."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.hints import Sentence
from gradcheck.pairing import call
from gradcheck.report import Verdict
from gradcheck.trees import Array, leaves, norm, rebuild, rounding_unit
from gradcheck.verdict.laws import match_gradients, split_forward
from gradcheck.verdict.sketch import WHOLE, Drawn, Sketch, sketch

__all__ = [
    "Breach",
    "Gradients",
    "Run",
    "Sketches",
    "Trial",
    "apart",
    "close",
    "dtype_of",
    "each",
    "is_array",
    "moving_arrays",
    "run",
    "sketched",
]

SAME = {8: 1e-6, 4: 1e-3, 2: 0.1}  # how far two runs of one code may be apart, by the bytes of a number
LOOSE = 1e-2  # likewise for the output itself
DRAWS = 4  # pairs of cotangents whose gradients show the rounding of a backward
APART = {8: 2.0**-20, 4: 2.0**-9, 2: 2.0**-6}  # of its size is each entry moved for that, by the bytes of a number:
# all digits are drawn anew, also of a computation in the next lower precision, and hardly a kink is crossed
SAFETY = {
    "least": 4.0,
    "noise": 8.0,
    "sensitivity": 2.0,
    "rounding": 2.0,
}  # times what these show may be the rounding of another run
STREAM = 0x6E6F697365000000  # our own, of the pairs

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

    Large leaves of ``out`` are sketches. ``passed`` is the copy of ``cotangent`` that the backward was given.
    """

    args: tuple[Any, ...]
    out: Any
    cache: Any
    cotangent: Any
    passed: Any
    returned: Any
    written: tuple[Breach, ...]


@dataclass(frozen=True)
class Trial:
    """A forward and a backward at a point: the output, and one cotangent with the gradients that it gave.

    Leaves of ``out`` may be sketches; leaves of ``cotangent`` may be drawn only when they are asked for. ``tol`` is
    the relative error that the user tolerates. ``rounded`` tells the rounding of every gradient, a norm by leaf, as
    runs of the pair in other precisions show it.
    """

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    out: Any
    cotangent: Any
    gradients: Gradients
    tol: float = 0.0
    rounded: Callable[[], dict[str, float]] = dict

    @property
    def who(self) -> str:
        """What to call the backward."""
        return name_of(self.backward)

    @functools.cached_property
    def sketches(self) -> Sketches:
        """The gradients of the cotangent."""
        return sketched(self.gradients)

    @functools.cached_property
    def least(self) -> dict[str, float]:
        """What rounding makes of every gradient, a norm by leaf: an effect below it is lost beside the largest one.

        The effect of a leaf is how much the paired output changes, to first order, when the leaf changes by its own
        length; that of the output is its own size. Of a bias that a normalisation takes off again all effect is such a
        rest of what was summed.
        """
        values = zip(self.arguments.layout.paths, self.arguments.layout.unflatten(self.arguments.point), strict=True)
        length = {path: norm(value) or math.sqrt(value.size) for path, value in values}
        pairs = zip(leaves(self.out, "out"), leaves(self.cotangent, "dout"), strict=True)
        own = (sketch(y).norm * sketch(dy).norm / math.sqrt(math.prod(np.shape(dy))) for (_, y), (_, dy) in pairs)
        strongest = max(*own, *(gradient.norm * length[path] for path, gradient in self.sketches.items()))
        return {path: rounding_unit(g.dtype) * strongest / length[path] for path, g in self.gradients.items()}

    @functools.cached_property
    def noise(self) -> dict[str, float]:
        """The rounding that a gradient of a cotangent of this size carries: a norm by leaf; empty where it raises.

        backward(c + e) + backward(c − e) = 2 backward(c) for every e, so these sums differ by rounding alone, in
        whatever precision the code may compute inside. A gradient that is zero but for rounding, because what was
        summed cancels, is as large as that. Only a backward that is repeatable has any such number.
        """
        seeds = np.random.default_rng(STREAM).integers(2**63, size=DRAWS).tolist()
        most = APART[min(self._bytes(path) for path in self.gradients)]
        pairs = [
            [self.ask(each(functools.partial(_moved, seed=seed, part=part), self.cotangent)) for part in (most, -most)]
            for seed in seeds
        ]
        return self._spread([_added(one, other) for one, other in pairs])

    @functools.cached_property
    def sensitivity(self) -> dict[str, float]:
        """The same for arguments that are rounded otherwise, of which what the forward keeps is rounded otherwise."""
        layout, rng = self.arguments.layout, np.random.default_rng(STREAM)
        units = np.repeat([rounding_unit(dtype) for dtype in layout.dtypes], layout.sizes)
        points = (self.arguments.point * (1 + units * rng.choice([-1.0, 1.0], units.size)) for _ in range(2 * DRAWS))
        return self._spread(
            [self.ask(each(np.copy, self.cotangent), self.arguments.moved(point).fresh()) for point in points]
        )

    @functools.cached_property
    def rounding(self) -> dict[str, float]:
        """What runs in other precisions show: of a single number, the runs in this one may all round alike."""
        return self.rounded()

    def _spread(self, runs: Sequence[Sketches | Exception]) -> dict[str, float]:
        """Return how far the gradients of some runs are apart at most; nothing where one of them failed."""
        found = [run for run in runs if not isinstance(run, Exception) and run.keys() == self.sketches.keys()]
        if len(found) < len(runs):
            return {}
        return {path: max(apart(a[path], b[path])[0] for a, b in itertools.combinations(found, 2)) for path in found[0]}

    def ask(self, cotangent: Any, args: tuple[Any, ...] | None = None) -> Sketches | Exception:
        """Return the gradients of ``cotangent`` from a fresh forward, or what the pair raised."""
        try:
            with np.errstate(all="ignore"):
                _, cache = self.forward(*(self.arguments.fresh() if args is None else args))
                return self.answer(cotangent, cache)
        except Exception as error:  # noqa: BLE001  (whatever the user's code raises: it refuses these arguments)
            return error

    def answer(self, cotangent: Any, cache: Any) -> Sketches:
        """Return the gradients of ``cotangent`` with a cache."""
        with np.errstate(all="ignore"):
            return sketched(self.match(self.backward(cotangent, cache)))

    def match(self, returned: Any) -> Gradients:
        """Return by leaf the gradients in what the backward returned, in its own memory."""
        found = match_gradients(self.who, returned, self.arguments).gradients
        return {path: gradient for path in self.gradients if (gradient := found[path]) is not None}

    def same(self, path: str) -> float:
        """How far two runs of the same code may be apart in one gradient, relative to what was summed."""
        return SAME[self._bytes(path)]

    def _bytes(self, path: str) -> int:
        """The bytes of a number in a gradient or in the cotangent, whichever are fewer."""
        cotangents = (dtype_of(leaf).itemsize for _, leaf in leaves(self.cotangent, "dout"))
        return min(self.gradients[path].dtype.itemsize, *cotangents, 8)

    def differing(
        self,
        some: Sketches,
        others: Sketches,
        factor: float = 1.0,
        *,
        bent: float = 0.0,
        runs: float = 0.0,
        levels: Sequence[str] = (),
    ) -> Iterator[tuple[str, float]]:
        """Yield the leaves in which ``factor`` times some gradients differ from others, and by how much.

        Relative to the larger, or to the larger of what was summed; infinitely where the other is missing or not
        finite. Not what is below ``bent``, or what rounding makes of so many ``runs`` with a cotangent of this size:
        the first of ``levels`` (of least, noise, sensitivity, rounding) that explains it does.
        """
        for path, gradient in some.items():
            off, size = apart(factor * gradient, others[path]) if path in others else (np.inf, 1.0)
            if off <= max(self.same(path), bent) * size:
                continue
            slack = (SAFETY[level] * runs * getattr(self, level).get(path, 0.0) for level in levels)
            if not (off < np.inf and any(off <= rounding for rounding in slack)):
                yield path, off / size if size else np.inf


def run(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    draw: Callable[[Any], Any],
) -> Run:
    """Run one forward and its backward on copies, and note what they write into; ``draw(out)`` gives the cotangent."""
    args = arguments.fresh()
    out, cache = split_forward(name_of(forward), call(forward, args))
    written: list[Sentence] = []
    given = dict(zip(arguments.layout.paths, arguments.moving_leaves, strict=True))
    taken = moving_arrays(args, arguments)
    if wrote := _changed(taken, given):
        written.append(Sentence(f"{name_of(forward)} must not write into its arguments, but it changed {wrote}."))
    cotangent, out = draw(out), _kept(out)
    passed = each(np.copy, cotangent)
    before = sketched(dict(leaves(passed, "dout")))
    returned = call(backward, (passed, cache))
    if not written and (wrote := _changed(taken, given)):
        what = f"{name_of(backward)} must not write into the forward's arguments, but it changed {wrote}."
        written.append(Sentence(what))
    after = sketched(dict(leaves(passed, "dout")))
    if wrote := next((path for path in after if not np.array_equal(after[path].numbers, before[path].numbers)), None):
        what = f"{name_of(backward)} must not write into the cotangent, but it changed {wrote}."
        written.append(Sentence(what, "Work on a copy."))
    return Run(args, out, cache, cotangent, passed, returned, tuple(Breach(None, sentence) for sentence in written))


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
        off, size = apart(sketch(here), there)
        return off <= LOOSE * size
    slack = LOOSE * float(np.max(np.abs(np.asarray(there)), initial=0.0))
    return np.allclose(here, there, rtol=LOOSE, atol=slack)


def apart(some: Sketch, other: Sketch) -> tuple[float, float]:
    """Return the norm of the difference, infinite where that is not finite, and the larger norm of both sides."""
    if some.shape != other.shape:
        return np.inf, 1.0
    with np.errstate(all="ignore"):
        off = norm(some.numbers - other.numbers)
    finite = np.isfinite([off, some.norm, other.norm]).all()
    return (off, max(some.norm, other.norm)) if finite else (np.inf, 1.0)


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
        return np.asarray(value, dtype=leaf.dtype)
    return type(leaf)(np.reshape(value, ())[()])


def dtype_of(leaf: Any) -> np.dtype[Any]:
    """Return the dtype of a leaf; of a Python float what NumPy takes it for."""
    return leaf.dtype if hasattr(leaf, "dtype") else np.dtype(type(leaf))


def _added(one: Sketches | Exception, other: Sketches | Exception) -> Sketches | Exception:
    """Return the sums of the gradients of two runs, or what one of them raised."""
    if isinstance(one, Exception) or isinstance(other, Exception):
        return one if isinstance(one, Exception) else other
    return {path: one[path] + other[path] for path in one.keys() & other.keys()}


def _moved(leaf: Any, *, seed: int, part: float) -> Any:
    """Return a cotangent with a mean, as many of those have that real code hands down, and every entry moved."""
    e = np.random.default_rng(seed).uniform(-1, 1, np.shape(leaf))
    array = np.asarray(leaf)
    return (array + np.mean(np.abs(array))) * (1 + part * e)


def is_array(leaf: Any) -> bool:
    """Whether ``leaf`` is an array and no plain number."""
    return isinstance(leaf, np.ndarray)
