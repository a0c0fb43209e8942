"""Every array that a person who follows the computation sees, and which of them are activations. Level 3."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.runs import forward_tape, tape_of
from gradcheck.explanation.suspects.tape import Step
from gradcheck.trees import Array

__all__ = [
    "Activation",
    "Function",
    "Series",
    "Shelf",
    "activations",
    "alike",
    "forward_steps",
    "functions",
    "groups",
    "is_multiple",
    "is_sharp",
    "sight",
    "varies",
]

LARGE = 100.0  # a larger constant is no slope, height or width
MOST = 160  # series that are looked at
FEW = 4  # turns: of so few each is looked at by itself too, as they may be layers
SHARP = 1e-3  # relative: what is measured no better tells nothing
PARALLEL = 1e-6  # relative: likewise, of multiples
CLOSE = 1e-9  # relative: arrays that are no further apart are the same
SAMPLED = 16  # entries of an array, about so many, tell most others from it


class Series(NamedTuple):
    """What has one name: an array, or one for each turn of a loop."""

    name: str
    arrays: tuple[Array, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each array."""
        shape: tuple[int, ...] = self.arrays[0].shape
        return shape


class Function(NamedTuple):
    """A function that is applied to each entry.

    Attributes:
        name: what it is called.
        value: the function.
        slope: its derivative, from the input.
        of_output: its derivative, from the output; None where the output does not tell it.
        said: the derivative as it is written with ``{z}`` and ``{a}``.
    """

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    of_output: Callable[[Array], Array] | None
    said: str


class Activation(NamedTuple):
    """A function between two arrays in sight, ``a = f(z)``, with its derivative there."""

    function: Function
    z: Series
    a: Series
    slopes: tuple[Array, ...]

    @property
    def said(self) -> str:
        """The derivative in the names of the arrays."""
        return self.function.said.format(z=self.z.name, a=self.a.name)


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z))."""
    value: Array = 1 / (1 + np.exp(-z))
    return value


_GELU = math.sqrt(2 / math.pi)


def _gelu_slope(z: Array) -> Array:
    t: Array = np.tanh(_GELU * (z + 0.044715 * z**3))
    slope: Array = 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * _GELU * (1 + 3 * 0.044715 * z**2)
    return slope


PLAIN = (
    Function("tanh", np.tanh, lambda z: 1 - np.tanh(z) ** 2, lambda a: 1 - a**2, "1 - {a}**2"),
    Function("sigmoid", sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z)), lambda a: a * (1 - a), "{a} * (1 - {a})"),
    Function("ReLU", lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0), lambda a: 1.0 * (a > 0), "({z} > 0)"),
    Function("exp", np.exp, np.exp, lambda a: a, "{a}"),
    Function("log", np.log, lambda z: 1 / z, lambda a: np.exp(-a), "1 / {z}"),
    Function("square root", np.sqrt, lambda z: 0.5 / np.sqrt(z), lambda a: 0.5 / a, "0.5 / {a}"),
    Function("square", lambda z: z**2, lambda z: 2 * z, None, "2 * {z}"),
    Function("cube", lambda z: z**3, lambda z: 3 * z**2, None, "3 * {z}**2"),
    Function("sin", np.sin, np.cos, None, "cos({z})"),
    Function("cos", np.cos, lambda z: -np.sin(z), None, "-sin({z})"),
    Function("absolute value", np.abs, np.sign, None, "np.sign({z})"),
    Function("softplus", lambda z: np.logaddexp(0, z), sigmoid, lambda a: 1 - np.exp(-a), "sigmoid({z})"),
    Function("arctan", np.arctan, lambda z: 1 / (1 + z**2), None, "1 / (1 + {z}**2)"),
    Function("softsign", lambda z: z / (1 + abs(z)), lambda z: (1 + abs(z)) ** -2.0, None, "1 / (1 + abs({z}))**2"),
    Function(
        "swish",
        lambda z: z * sigmoid(z),
        lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))),
        None,
        "s * (1 + {z} * (1 - s)), where s = sigmoid({z})",
    ),
    Function(
        "GELU",
        lambda z: 0.5 * z * (1 + np.tanh(_GELU * (z + 0.044715 * z**3))),
        _gelu_slope,
        None,
        "the derivative of GELU at {z}",
    ),
)
NEEDS = {
    "log": ("log",),
    "exp": ("exp",),
    "square root": ("sqrt",),
    "sin": ("sin",),
    "cos": ("cos",),
    "softplus": ("log", "log1p", "logaddexp"),
    "arctan": ("arctan",),
    "softsign": ("abs", "absolute"),
    "absolute value": ("abs", "absolute"),
    "square": ("square", "power", "multiply"),
    "cube": ("power", "multiply"),
}


def functions(evidence: Evidence) -> tuple[Function, ...]:
    """Return the functions that the forward may use, and those of a slope or a height among the settings."""
    names = {step.name for step in forward_steps(evidence)}
    found = [each for each in PLAIN if not names or not NEEDS.get(each.name) or names & {*NEEDS[each.name]}]
    for number in dict.fromkeys([*evidence.numbers.values(), *_written(evidence), 0.01, 0.1, 0.2, 1.0]):
        if 0 < number < 1:
            found.append(_leaky(number))
        if number > 0:
            found.append(_elu(number))
            found += [_huber(number)] if names & {"abs", "absolute"} else []
    return tuple(found)


def _written(evidence: Evidence) -> list[float]:
    """Return the broken numbers with which the forward computes, such as a slope or a height written into its code."""
    values = (operand for step in forward_steps(evidence) for operand in step.operands)
    return [value for value in values if isinstance(value, float) and 0 < value < LARGE and value != int(value)]


def _leaky(slope: float) -> Function:
    return Function(
        "leaky ReLU",
        lambda z: np.where(z > 0, z, slope * z),
        lambda z: np.where(z > 0, 1.0, slope),
        lambda a: np.where(a > 0, 1.0, slope),
        f"1 where {{z}} > 0, else {slope:g}",
    )


def _huber(width: float) -> Function:
    return Function(
        "Huber loss",
        lambda z: np.where(abs(z) <= width, 0.5 * z**2, width * (abs(z) - 0.5 * width)),
        lambda z: np.clip(z, -width, width),
        None,
        f"np.clip({{z}}, -{width:g}, {width:g})",
    )


def _elu(height: float) -> Function:
    return Function(
        "ELU",
        lambda z: np.where(z > 0, z, height * np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1.0, height * np.exp(np.minimum(z, 0))),
        lambda a: np.where(a > 0, 1.0, a + height),
        f"1 where {{z}} > 0, else {{a}} + {height:g}",
    )


def alike(one: Array, two: Array) -> bool:
    """Whether two arrays hold the same numbers but for rounding."""
    if one.shape != two.shape:
        return False
    return bool(np.max(np.abs(one - two), initial=0) <= CLOSE * max(float(np.max(np.abs(one), initial=0)), 1e-300))


class Shelf:
    """Arrays of one shape, so that those that hold given numbers are found at once."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        """Stack ``arrays``; there may be none."""
        self.stack = np.stack([np.ravel(each) for each in arrays]) if arrays else np.empty((0, 0))
        self.allowed = CLOSE * np.maximum(np.abs(self.stack).max(axis=1, initial=0), 1e-300)

    def of(self, array: Array) -> list[int]:
        """Return the places of those that are alike to ``array``, of the same shape."""
        if not len(self.stack):
            return []
        return [int(i) for i in np.flatnonzero(np.abs(self.stack - array.ravel()).max(axis=1) <= self.allowed)]


class _Firsts:
    """The first array of each series by its shape, so that most that differ from a given one are passed by at once."""

    def __init__(self, seen: Sequence[Series]) -> None:
        self.places: dict[tuple[int, ...], list[Series]] = {}
        for each in seen:
            self.places.setdefault(each.shape, []).append(each)
        self.samples = {shape: np.stack([_sample(e.arrays[0]) for e in some]) for shape, some in self.places.items()}

    def like(self, array: Array) -> list[Series]:
        """Return those of this shape of which a few entries are alike, in order."""
        some = self.places.get(array.shape, [])
        if not some:
            return []
        allowed = CLOSE * max(float(array.max()), -float(array.min()), 1e-300)
        near = np.abs(self.samples[array.shape] - _sample(array)).max(axis=1) <= allowed
        return [each for each, is_near in zip(some, near, strict=True) if is_near]


def _sample(array: Array) -> Array:
    flat = np.ravel(array)
    return flat[:: max(flat.size // SAMPLED, 1)]


def is_multiple(one: Array, two: Array) -> bool:
    """Whether an array is a number times another one."""
    rate = float((one * two).sum()) / max(float((two**2).sum()), 1e-300)
    return bool(rate) and float(np.linalg.norm(one - rate * two)) <= PARALLEL * float(np.linalg.norm(one))


def is_sharp(evidence: Evidence, path: str) -> bool:
    """Whether the slopes of an argument are measured well enough to tell one array from another."""
    _, values, errors = evidence.slopes(path)
    return bool(np.isfinite(errors).all() and np.max(errors) <= SHARP * np.sqrt(np.mean(values**2)))


def varies(array: Array) -> bool:
    """Whether the entries of an array differ by more than rounding."""
    return bool(array.size) and float(np.ptp(array)) > CLOSE * float(np.max(np.abs(array), initial=0))


def groups(steps: list[Step]) -> dict[tuple[object, tuple[int, ...]], list[Step]]:
    """Return the steps by their site and shape: the turns of a loop together."""
    found: dict[tuple[object, tuple[int, ...]], list[Step]] = {}
    for step in steps:
        found.setdefault((step.site, step.result.shape), []).append(step)
    return found


def sight(evidence: Evidence) -> tuple[Series, ...]:
    """Return all that is in sight of the forward: what is at hand, and every result on the way to the output."""
    return evidence.once("sight", "", lambda _: tuple(_seen(evidence)))


def _seen(evidence: Evidence) -> Iterator[Series]:
    kept: list[Series] = []
    for series in itertools.islice(_all(evidence), 4 * MOST):
        if len(kept) >= MOST:
            return
        if series.arrays[0].dtype.kind not in "fbiu" or not all(np.isfinite(each).all() for each in series.arrays):
            continue
        floats = tuple(np.asarray(each, dtype=np.float64) for each in series.arrays)
        one = Series(series.name, floats)
        if not any(len(one.arrays) == len(old.arrays) and _same(one, old) for old in kept):
            kept.append(one)
            yield one


def _same(one: Series, two: Series) -> bool:
    return all(alike(a, b) for a, b in zip(one.arrays, two.arrays, strict=True))


def _all(evidence: Evidence) -> Iterator[Series]:
    hand = {path: array for path, array in evidence.at_hand.items() if not path.startswith("dout")}
    turns: dict[str, list[Array]] = {}
    for path, array in hand.items():
        if array.ndim:
            yield Series(path, (array,))
            if path.startswith("cache"):
                turns.setdefault(re.sub(r"\[\d+\]", "[t]", path, count=1), []).append(array)
    for name, arrays in turns.items():
        if len(arrays) > 1 and len({array.shape for array in arrays}) == 1 and name != "cache[t]":
            yield Series(name, tuple(arrays))
    yield from _of_steps(forward_steps(evidence))
    for path, array in hand.items():
        for axis in range(array.ndim if array.ndim >= 3 else 0):
            yield Series(f"{path} at each step", tuple(np.moveaxis(array, axis, 0)))


def forward_steps(evidence: Evidence) -> list[Step]:
    """Return the steps of the forward; where the same function also makes the gradients, those of that function."""
    steps = forward_tape(evidence).steps
    tape = tape_of(evidence)
    backward = tape.steps if tape else []
    if {step.site[0].co_name for step in steps} & {step.site[0].co_name for step in backward} - {"<lambda>"}:
        return backward
    return steps


def _of_steps(steps: list[Step]) -> Iterator[Series]:
    called: dict[int, str] = {}
    for step in steps:
        for source, name in zip(step.sources, step.names, strict=False):
            if source is not None and name and not name.endswith(".T"):
                called.setdefault(source, name)
    for group in groups(steps).values():
        first = group[0]
        if first.result.dtype.kind in "fb" and first.result.ndim:
            name = called.get(first.number, f"the result of {first.name} in {first.place}")
            yield Series(name, tuple(step.result for step in group))
            if 1 < len(group) <= FEW:
                for step in group:
                    yield Series(called.get(step.number, name), (step.result,))
    for group in groups(steps).values():
        for place, name in enumerate(group[0].names):
            arrays = tuple(step.operands[place] for step in group if len(step.operands) > place)
            if name.endswith(".T") or not all(isinstance(a, np.ndarray) and a.ndim for a in arrays):
                continue
            if len({a.shape for a in arrays}) == 1 and arrays[0].dtype.kind == "f" and arrays[0].size > 1:
                yield Series(name or f"what {group[0].name} is given in {group[0].place}", arrays)


def activations(evidence: Evidence) -> tuple[Activation, ...]:
    """Return every known function that leads from one array in sight to another."""
    return evidence.once("activations", "", lambda _: tuple(_activations(evidence)))


def _activations(evidence: Evidence) -> Iterator[Activation]:
    seen = sight(evidence)
    known = functions(evidence)
    firsts = _Firsts(seen)
    done: list[tuple[Array, ...]] = []
    with np.errstate(all="ignore"):
        for z, function in itertools.product(seen, known):
            if z.arrays[0].size < 2:
                continue
            value = function.value(z.arrays[0])
            if not np.isfinite(value).all() or alike(value, z.arrays[0]):
                continue
            for a in firsts.like(value):
                if len(a.arrays) != len(z.arrays) or not alike(value, a.arrays[0]):
                    continue
                values = [function.value(each) for each in z.arrays]
                if all(alike(v, each) for v, each in zip(values, a.arrays, strict=True)):
                    slopes = tuple(function.slope(each) for each in z.arrays)
                    if all(np.isfinite(each).all() for each in slopes) and not any(
                        len(slopes) == len(old) and all(map(alike, slopes, old)) for old in done
                    ):
                        done.append(slopes)
                        yield Activation(function, z, a, slopes)
                    break
