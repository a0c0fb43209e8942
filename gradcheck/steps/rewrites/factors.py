"""One factor more or less: a derivative that was measured in the forward, or a number that means something. Level 3.

Undoes C1 (a derivative that is missing), C2 and C3 (another derivative in its place), C4 (that of another layer), C6 (a
derivative too many), E5 and F5 (a mask that is given), A2 to A5 (numbers), C5 (the cotangent).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcheck.steps.match import same
from gradcheck.steps.pulls import is_by_element
from gradcheck.steps.rewrites.itself import logistic
from gradcheck.steps.rewrites.table import (
    PRODUCTS,
    Array,
    Make,
    Operation,
    Rewrite,
    Take,
    as_it_is,
    fixed,
    of,
    then,
    times,
    with_taken,
)
from gradcheck.steps.rewrites.values import Values
from gradcheck.steps.words import multiplied_by

CHAIN = 8  # steps by element before a value
DEEP = 5  # factors in a row that may be too many at once
MOST = 80  # numbers that are put in the place of another
OVERWRITTEN = "what is overwritten"
OTHERS = "its other factors"
NOTHING = 1e-9  # of the largest entry: what rounding made
CHOICES = {"maximum", "minimum", "max", "min", "clip", "where"}
TAKING = {*PRODUCTS, "sum", "mean", "where", "divide", "subtract", "add"}
COUNTED = {"multiply", "divide", "add", "subtract", "power", "maximum", "minimum"}


def derivatives(op: Operation, values: Values) -> Iterator[Rewrite]:
    """A measured derivative as a factor of the result or of an operand, or in the place of an operand."""
    whole = _overwritten(op)
    for (a, b), slope, take in values.slopes():
        name, mistake = f"the derivative of {_function(op, a, b)}", op.facts.missing(a, b, slope)
        for k in whole:
            if slope.shape == op.facts.run.value(op.node.parents[k]).shape:
                instead = mistake if mistake in ("E5", "F5") else "C2"
                yield Rewrite(instead, f"times {name}", _of_parent(k, take), OVERWRITTEN, strange=1)
        if slope.shape in (op.result.shape, op.wanted) or slope.size == 1:
            yield Rewrite(mistake, f"times {name}", times(take))
        for place in op.arrays[:3] if op.name in TAKING else ():
            old, said = np.asarray(op.args[place]), op.said(place)
            if old.shape == slope.shape and op.name in ("multiply", "divide", "where"):
                instead_of = functools.partial(_instead, op, a, b, old, slope)
                yield Rewrite(instead_of, name, with_taken(place, take), said, place, strange=1)
                if op.name == "divide" and place == 1:
                    make = with_taken(1, take, lambda _, new: 1 / new)
                    yield Rewrite("C3", f"times {name}, and no divisor", make, said, place, strange=1)
            if old.shape == slope.shape and op.name != "multiply":
                make = with_taken(place, take, np.multiply)
                yield Rewrite(mistake, f"{said} times {name}", make, said, place)


def _overwritten(op: Operation) -> list[int]:
    """The operands of a gather of which parts were overwritten, as by a mask."""
    parents = op.node.parents if op.node.kind == "gather" and op.node.memory else ()
    writes = [p for p in parents if op.facts.run.nodes[p].name == "setitem"]
    whole = op.node.memory[0].root.shape if writes else ()
    return [k for k, p in enumerate(parents) if p not in writes and op.facts.run.value(p).shape == whole]


def _of_parent(k: int, take: Take) -> Make:
    return lambda node, values, at: np.ravel(values[k] * take(node, at))[node.memory[1]].reshape(node.value.shape)


def _function(op: Operation, a: int, b: int) -> str:
    """Return what has a derivative: the function that makes b of a."""
    node = op.facts.run.nodes[b]
    direct = a in node.parents
    return (
        f"the {node.name} in line {node.site.line} of the forward"
        if direct
        else f"{op.facts.called(b)} by {op.facts.called(a)}"
    )


def _instead(op: Operation, a: int, b: int, old: Array, slope: Array) -> str:
    """Return the mistake of taking ``old`` for the derivative of b by a.

    It is C4 if ``old`` is the derivative at another layer, C2 if it is that of the same functions at another value of
    the forward, else C3.
    """
    mistake = op.facts.missing(a, b, slope)
    if op.facts.over_time and any(op.facts.another_turn(i, old) for i in op.facts.states(b)):
        return "G3"
    if mistake != "C1":  # the derivative of a product with what is given is what is given
        return "B6" if mistake == "A5" else mistake
    run = op.facts.run
    for (x, y), other in op.facts.sight.derivatives.items():
        if run.nodes[y].name == run.nodes[b].name and (x, y) != (a, b) and same(other, old, 1e-9):
            if run.nodes[y].site == run.nodes[b].site and op.facts.over_time:
                return "G3"
            return "C4" if run.nodes[x].name == run.nodes[a].name else "C2"
    starts = _before(run, b, old.shape)
    for node in run.nodes[: run.start]:
        if (
            node.is_float
            and node.value.shape == old.shape
            and any(same(_along(run, x, b, node.value), old, 1e-5) for x in starts)
        ):
            return "C2"
    if any(same(f, old, 1e-9) for f in _guesses(slope, run, a)):
        return "C2"
    return "C3"


def _before(run: Any, b: int, shape: tuple[int, ...]) -> list[int]:
    """Return the values that a node is made of by element, the nearest first."""
    found, waiting = list[int](), [b]
    while waiting and len(found) < CHAIN:
        for p in run.nodes[waiting.pop(0)].parents:
            if p >= 0 and run.nodes[p].is_float and run.value(p).shape == shape and p not in found:
                found.append(p)
                waiting += [p] if run.nodes[p].kind == "op" and is_by_element(run.nodes[p]) else []
    return found


def _along(run: Any, a: int, b: int, x: Array) -> Array:
    """Return the derivative of b by a, by element, where the value of a is x: a central difference."""
    step = 1e-6 * (1 + np.abs(x))
    made = []
    for start in (x - step, x + step):
        value = {a: start}
        for node in run.nodes[a + 1 : b + 1]:
            if not value.keys().isdisjoint(node.parents) and node.kind == "op" and is_by_element(node):
                try:
                    value[node.id] = np.asarray(node.compute([value.get(p, run.nodes[p].value) for p in node.parents]))
                except (ValueError, TypeError):
                    return np.zeros(0)
        made.append(value.get(b, np.zeros(0)))
    return np.asarray((made[1] - made[0]) / (2 * step)) if made[0].shape == x.shape else np.zeros(0)


def _guesses(slope: Array, run: Any, a: int) -> Iterator[Array]:
    """Yield the forms that take the output for the input of a function: 1 - f**2 and f(1 - f) at the input."""
    x = run.nodes[a].value
    if x.shape == slope.shape:
        yield 1 - x**2
        yield x * (1 - x)


def linked(op: Operation, values: Values) -> Iterator[Rewrite]:
    """Nothing where the forward uses nothing of a value: what has no link has no gradient."""
    of = values.of.get(op.node.id, -1)
    bar = op.facts.sight.bars.nodes.get(of)

    def used(node: Any, at: Any) -> Array:
        found = at.sight.bars.nodes.get(values.of.get(node.id, -1))
        return np.ones(()) if found is None else _reached(found)

    if bar is not None and bar.shape == op.result.shape and bar.any() and not _reached(bar).all():
        chosen = any(each.name in CHOICES for i, _ in op.facts.sight.uses.get(of, ()) for each in op.facts.along(i))
        masked = any(op.facts.is_masked(each) for i, _ in op.facts.sight.uses.get(of, ()) for each in op.facts.along(i))
        mistake = "C1" if chosen else "E5" if masked else "F5" if op.facts.run.nodes[of].kind == "leaf" else "C3"
        yield Rewrite(mistake, f"zero where {op.facts.called(of)} is not used", times(used), strange=1)


def _reached(bar: Array) -> Array:
    return np.asarray(np.abs(bar) > NOTHING * np.abs(bar).max())


def too_many(op: Operation, values: Values) -> Iterator[Rewrite]:
    """What a product was before several of its factors; a cotangent before them, times a measured derivative."""
    for p, way in _before_factors(op):
        with np.errstate(all="ignore"):
            factor = op.result / op.facts.run.value(p)
        said, up = op.facts.called(p), _up(way)
        yield Rewrite(_many(op, factor), f"{said} alone", as_it_is(up), OTHERS)
        for (a, b), slope, take in values.slopes() if p in op.facts.sight.verified else ():
            if slope.shape == op.result.shape:
                instead = functools.partial(_instead, op, a, b, factor, slope)
                make = as_it_is(_product(up, take))
                yield Rewrite(instead, f"{said} times the derivative of {_function(op, a, b)}", make, OTHERS, strange=1)


def _before_factors(op: Operation) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield what a product is made of by more than one factor, and the operands that lead to it."""
    run, seen = op.facts.run, {op.node.id}
    ways: list[tuple[Any, tuple[int, ...]]] = [(op.node, ())]
    while ways:
        node, way = ways.pop()
        if len(way) >= DEEP or node.name not in ("multiply", "divide", "gather"):
            continue
        for k, p in enumerate(node.parents[: 1 if node.name == "divide" else 2]):
            if p >= run.start and p not in seen and run.nodes[p].is_float:
                seen.add(p)
                if way and run.value(p).shape == op.result.shape:
                    yield p, (*way, k)
                ways.append((run.nodes[p], (*way, k)))


def _many(op: Operation, factor: Array) -> str:
    """Return the mistake of a factor too many."""
    if not np.isfinite(factor).all():
        return "B6"
    if op.facts.sight.scalar and logistic(op, factor):
        return "C6"
    return "C3" if op.facts.derivative(factor) else "B6"


def _up(way: tuple[int, ...]) -> Take:
    """Return what takes the value that some operands lead to."""

    def take(node: Any, at: Any) -> Array:
        for k in way[:-1]:
            node = at.sight.run.nodes[node.parents[k]]
        return np.asarray(at.value(node.parents[way[-1]]))

    return take


def _product(one: Take, two: Take) -> Take:
    return lambda node, at: one(node, at) * two(node, at)


def numbers(op: Operation, values: Values) -> Iterator[Rewrite]:
    """A number that means something as a factor, or in the place of another number."""
    del values
    for c, meaning in op.facts.numbers.items():
        yield Rewrite(meaning.mistake, multiplied_by(meaning.said), then(functools.partial(np.multiply, c)), strange=1)
    for place in op.operands if op.name in COUNTED else ():
        if np.ndim(op.args[place]):
            continue
        old = float(op.args[place])
        for c, meaning in itertools.islice(op.facts.numbers.items(), MOST):
            if c != old:
                mistake = _number(op, old, c) or meaning.mistake
                yield Rewrite(mistake, meaning.said, of(place, fixed(c)), f"{old:g}", place, strange=1)


def _number(op: Operation, old: float, c: float) -> str:
    """Return the mistake of a number for another where the place tells it, else ""."""
    if op.name in ("add", "subtract", "power"):
        return "C3"
    ratio = op.facts.number(c / old if op.name == "multiply" else old / c) if old else None
    return ratio.mistake if ratio and ratio.mistake in ("A1", "A2", "A3") else ""
