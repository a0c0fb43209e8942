"""The operation itself done otherwise, with its own operands: nothing new is taken. Level 3.

Undoes A1 (signs and orders), A2 (a mean for a sum), B6 (a product by element), C2 and C3 (another function, exponent or
comparison), E5 and F5 (a mask compared), G4 (clipping), H3 (precision lost).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradcheck.steps.rewrites.meanings import COMPARED
from gradcheck.steps.rewrites.table import (
    FOUR,
    NUMBERS,
    PRODUCTS,
    Array,
    Operation,
    Refused,
    Rewrite,
    alone,
    by,
    fixed,
    of,
    then,
)

FUNCTIONS = ("sin", "cos", "exp", "tanh", "log", "sqrt", "absolute", "sign", "square")
ORDERS = ("greater", "less", "greater_equal", "less_equal")
EXTREMA = ("maximum", "minimum")
SOFTENED = {
    "clip": "G4",
    "minimum": "G4",
    "maximum": "G4",
    "round": "H3",
    "rint": "H3",
    "trunc": "H3",
    "floor": "H3",
    "astype": "H3",
    "negative": "A1",
    "tanh": "C2",
    "exp": "C2",
} | dict.fromkeys(COMPARED, "C3")


def _both_ways(x: Array) -> Array:
    """Return a matrix and its transpose together, as a quadratic form has them."""
    if x.ndim != 2:
        raise Refused
    return np.asarray(x + x.T)


FORMS = (
    ("the square of {}", np.square),
    ("{} without its square", lambda x: np.sqrt(np.abs(x)) * np.sign(x)),
    ("1 / {}", lambda x: 1 / x),
    ("(1 - {})", lambda x: 1 - x),
    ("|{}|", np.abs),
    ("exp({})", np.exp),
    ("sin({})", np.sin),
    ("cos({})", np.cos),
    ("tanh({})", np.tanh),
    ("log({})", np.log),
    ("({0} + {0}.T)", _both_ways),
    ("half of ({0} + {0}.T)", lambda x: _both_ways(x) / 2),
)


def signs(op: Operation) -> Iterator[Rewrite]:
    """Another of the four operations, another order, another sign."""
    yield Rewrite("A1", "of the other sign", then(np.negative), several=True)
    if op.name not in FOUR or len(op.args) != 2:
        return
    numbers, (one, two) = [i for i in op.operands if np.ndim(op.args[i]) == 0], (op.said(0), op.said(1))
    if op.name in ("add", "subtract"):
        mistake = "C3" if numbers == [0] else "A1"  # 1 + a for 1 - a is another derivative
        other, sign = (np.subtract, "-") if op.name == "add" else (np.add, "+")
        yield Rewrite(mistake, f"{one} {sign} {two}", by(other), op.name, several=True)
        yield Rewrite(mistake, f"-{one}", of(0, np.negative), one, 0, several=True)
    if op.name in ("subtract", "divide"):
        make = by(functools.partial(_exchanged, FOUR[op.name]))
        yield Rewrite("A1" if op.name == "subtract" else "B6", f"of {two} and {one} in this order", make, several=True)
    if op.name in ("multiply", "divide") and (not numbers or op.name == "multiply" or numbers == [1]):
        words, inverse = ("divided by", np.divide) if op.name == "multiply" else ("times", np.multiply)
        mistake = _inverted(op) if numbers == [1] else "B6"
        yield Rewrite(mistake, f"{one} {words} {two}", by(inverse), op.name, strange=not numbers, several=True)
    for name, function in FOUR.items():
        if {name, op.name} not in ({"add", "subtract"}, {"multiply", "divide"}, {op.name}):
            yield Rewrite("B6", name, by(function), op.name, strange=1)


def _exchanged(function: Callable[..., Any], a: Any, b: Any) -> Any:
    return function(b, a)


def _inverted(op: Operation) -> str:
    """Return the mistake of multiplying by a number for dividing by it, or the other way round."""
    c = float(op.args[1])
    meaning = op.facts.number(c ** (-2 if op.name == "multiply" else 2)) or op.facts.number(c) if c else None
    return meaning.mistake if meaning else "A4"


def functions(op: Operation) -> Iterator[Rewrite]:
    """Another function of the same operands, another exponent, another comparison."""
    same_kind = (
        FUNCTIONS if op.name in FUNCTIONS else ORDERS if op.name in COMPARED else EXTREMA if op.name in EXTREMA else ()
    )
    for other in same_kind:
        if other != op.name:
            yield Rewrite(
                "C3", f"{other} of {op.said(0)}", by(getattr(np, other)), op.name, several=op.name not in FUNCTIONS
            )
    if op.name in ("logical_not", "invert"):
        yield Rewrite("C3", "not negated", alone(0), op.name)
    if op.name == "where" and len(op.args) == 3:
        yield Rewrite("C3", "the two choices exchanged", by(lambda c, a, b: np.where(c, b, a)))
        for place, c in itertools.product((1, 2), (0.0, 1.0, -1.0)):
            if isinstance(op.args[place], NUMBERS):
                yield Rewrite("C3", f"{c:g}", of(place, fixed(c)), f"{op.args[place]:g}", place)
    if op.name in ("power", "float_power") and len(op.args) == 2 and np.ndim(op.args[1]) == 0:
        for step in (1, -1, 2, -2):
            exponent = float(op.args[1])
            make = of(1, functools.partial(np.add, step))
            yield Rewrite("C3", f"the exponent {exponent + step:g}", make, f"{exponent:g}", 1, several=True)
    places = [i for i in op.operands[:2] if i in op.arrays or op.parent(i) >= 0] if len(op.args) == 2 else []
    for place, (said, f) in itertools.product(places if op.name in (*FOUR, *PRODUCTS) else (), FORMS):
        mistake = "C8" if said.endswith("T)") else "B6" if op.name in PRODUCTS[:-1] else "C3"
        yield Rewrite(mistake, said.format(op.said(place)), of(place, f), op.said(place), place, strange=1)


def dropped(op: Operation) -> Iterator[Rewrite]:
    """One operand alone: the other is a factor or a term too many."""
    if op.name in ("matmul", "dot", "einsum", "tensordot", "outer") or not op.args:
        return
    arrays = [i for i in op.operands[:2] if isinstance(op.args[i], np.ndarray)]
    for place in arrays or op.operands[:1]:
        if op.name in SOFTENED:
            if place == arrays[0] if arrays else place == 0:
                yield Rewrite(SOFTENED[op.name], f"{op.said(place)} as it is", alone(place), op.name)
            continue
        lost = [op.args[i] for i in op.operands[:2] if i != place]
        yield Rewrite(
            _too_many(op, place, lost[0] if lost else None), f"{op.said(place)} alone", alone(place), _with(op, place)
        )


def _with(op: Operation, place: int) -> str:
    others = [i for i in op.operands[:2] if i != place]
    return f"the {op.name} with {op.said(others[0])}" if others else f"the {op.name} of it"


def _too_many(op: Operation, place: int, lost: object) -> str:
    """Return the mistake of one operand too many."""
    if lost is None or op.name not in FOUR:
        return {
            "sum": "B4",
            "mean": "B4",
            "flip": "F1",
            "rot90": "F1",
            "roll": "F3" if op.result.ndim > 2 else "C2",
        }.get(op.name, "C3")
    value = np.asarray(lost, dtype=float)
    if op.name in ("add", "subtract"):
        if value.size > 1 and (mistake := op.facts.parameter(value)):
            return mistake
        if op.name == "subtract" and any(op.facts.updated(op.result, np.asarray(op.args[i])) for i in (0,)):
            return "E4"
        twice = np.shape(op.args[place]) == value.shape and np.allclose(op.args[place], value)
        return "E2" if twice or _added_before(op, place) else "C8"
    if value.size == 1:
        c = float(value.ravel()[0])
        if not c:
            return "C8"
        meaning = op.facts.number(1 / c if op.name == "multiply" else c)
        return meaning.mistake if meaning else "A4"
    if set(np.unique(value)) <= {0.0, 1.0}:
        return "C8"
    if logistic(op, value) and op.facts.sight.scalar:
        return "C6"
    return "C3" if op.facts.derivative(value) else "B6"


def _added_before(op: Operation, place: int) -> bool:
    """Whether the other operand of a sum is a term of this one already, or what the sum was at an earlier turn."""
    run, kept, lost = op.facts.run, op.parent(place), op.parent(1 - place) if place in (0, 1) else -1
    if lost >= 0 and run.nodes[lost].name == op.name and run.nodes[lost].site == op.node.site:
        return True
    waiting, seen = [kept], set[int]()
    while waiting:
        i = waiting.pop()
        if i == lost >= 0:
            return True
        if i >= run.start and i not in seen and run.nodes[i].name in ("add", "gather", "setitem", "copy"):
            seen.add(i)
            waiting.extend(run.nodes[i].parents)
    return False


def logistic(op: Operation, value: Array) -> bool:
    """Whether a factor is p(1 - p) of probabilities p: what a loss has taken into account already."""
    for node in op.facts.run.nodes[: op.node.id]:
        p = node.value
        if (
            isinstance(p, np.ndarray)
            and p.dtype.kind == "f"
            and p.shape == value.shape
            and p.size
            and p.min() > 0
            and p.max() < 1
            and np.allclose(p * (1 - p), value)
        ):
            return True
    return False
