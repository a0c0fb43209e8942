"""One factor more or less: a derivative that was measured in the forward, or a number that means something.

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
from gradcheck.steps.rewrites.table import PRODUCTS, Array, Make, Operation, Refused, Rewrite, arguments, by, redone
from gradcheck.steps.rewrites.values import Values

CHAIN = 8  # steps by element before a value
DEEP = 5  # factors in a row that may be too many at once


def derivatives(op: Operation, values: Values) -> Iterator[Rewrite]:
    """A measured derivative as a factor of the result or of an operand, or in the place of an operand."""
    whole = _overwritten(op)
    for (a, b), slope, take in values.slopes():
        name = f"the derivative of {_function(op, a, b)}"
        mistake = op.facts.missing(a, b, slope)
        for k in whole if slope.shape == op.result.shape else ():
            instead = mistake if mistake in ("E5", "F5") else "C2"
            yield Rewrite(instead, f"times {name}", lambda n, v, at, k=k, t=take: v[k] * t(n, at), "what is overwritten", strange=1)
        if slope.shape == op.result.shape or slope.size == 1 or slope.shape == op.wanted:
            yield Rewrite(mistake, f"times {name}", lambda n, v, at, t=take: redone(n, v) * t(n, at))
            if slope.all():
                again = "C6" if op.facts.sight.scalar and logistic(op, slope) else "C3"
                yield Rewrite(again, f"without {name}, which is there already", lambda n, v, at, t=take: redone(n, v) / t(n, at), strange=1)
        for place in op.arrays[:3] if op.name in (*PRODUCTS, "sum", "mean", "where", "divide", "subtract", "add") else ():
            old = np.asarray(op.args[place])
            if old.shape != slope.shape:
                continue
            if op.name in ("multiply", "divide", "where"):
                f = _put(place, take)
                yield Rewrite(functools.partial(_instead, op, a, b, old, slope), name, f, op.said(place), place, strange=1)
                if op.name == "divide" and place == 1:
                    yield Rewrite("C3", f"times {name}, not divided by {op.said(1)}", lambda n, v, at, t=take: arguments(n, v)[0][0] * t(n, at), op.said(1), 1, strange=1)
            if op.name != "multiply":
                yield Rewrite(mistake, f"{op.said(place)} times {name}", _put(place, take, times=True), op.said(place), place)


def _overwritten(op: Operation) -> list[int]:
    """The operands of a gather that are as large as it is and were partly overwritten, as by a mask."""
    parents = op.node.parents if op.node.kind == "gather" else ()
    writes = [p for p in parents if op.facts.run.nodes[p].name == "setitem"]
    return [k for k, p in enumerate(parents) if writes and p not in writes and op.facts.run.value(p).shape == op.result.shape]


def _put(place: int, take: Any, times: bool = False) -> Make:
    def make(node: Any, values: Any, at: Any) -> Array:
        args, kwargs = arguments(node, values)
        new = take(node, at) * (args[place] if times else 1.0)
        return np.asarray(node.func(*args[:place], new, *args[place + 1 :], **kwargs))

    return make


def _function(op: Operation, a: int, b: int) -> str:
    """Return what has a derivative: the function that makes b of a."""
    node = op.facts.run.nodes[b]
    direct = a in node.parents
    return f"the {node.name} in line {node.site.line} of the forward" if direct else f"{op.facts.called(b)} by {op.facts.called(a)}"


def _instead(op: Operation, a: int, b: int, old: Array, slope: Array) -> str:
    """Return the mistake of taking ``old`` for the derivative of b by a.

    It is C4 if ``old`` is the derivative at another layer, C2 if it is that of the same functions at another value of
    the forward, else C3.
    """
    if slope.min() == 0 and len(np.unique(slope)) == 2 and op.facts.missing(a, b, slope) in ("E5", "F5"):
        return op.facts.missing(a, b, slope)
    run = op.facts.run
    for (x, y), other in op.facts.sight.derivatives.items():
        if run.nodes[y].name == run.nodes[b].name and (x, y) != (a, b) and same(other, old, 1e-9):
            return "C4" if run.nodes[x].name == run.nodes[a].name else "C2"
    starts = _before(run, b, old.shape)
    for node in run.nodes[: run.start]:
        if node.is_float and node.value.shape == old.shape and any(same(_along(run, x, b, node.value), old, 1e-5) for x in starts):
            return "C2"
    if any(same(f, old, 1e-9) for f in _guesses(slope, run, a, b)):
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


def _guesses(slope: Array, run: Any, a: int, b: int) -> Iterator[Array]:
    """Yield the forms that take the output for the input of a function: 1 - f**2 and f(1 - f) at the input."""
    x = run.nodes[a].value
    if x.shape == slope.shape:
        yield 1 - x**2
        yield x * (1 - x)


def linked(op: Operation, values: Values) -> Iterator[Rewrite]:
    """Nothing where the forward uses nothing of a value: what has no link has no gradient."""
    of = values.of.get(op.node.id, -1)
    bar = op.facts.sight.bars.nodes.get(of)
    if bar is not None and bar.shape == op.result.shape and bar.any() and not bar.all():

        def make(node: Any, given: Any, at: Any) -> Array:
            used = at.sight.bars.nodes.get(values.of.get(node.id, -1))
            if used is None:
                raise Refused
            return redone(node, given) * (used != 0)

        yield Rewrite("F5" if op.facts.run.nodes[of].kind == "leaf" else "C3", f"zero where {op.facts.called(of)} is not used", make, strange=1)


def too_many(op: Operation, values: Values) -> Iterator[Rewrite]:
    """What a product was before several of its factors."""
    waiting: list[tuple[Any, tuple[int, ...]]] = [(op.node, ())]
    run, seen = op.facts.run, {op.node.id}
    while waiting:
        node, way = waiting.pop()
        if len(way) >= DEEP or node.name not in ("multiply", "divide", "gather"):
            continue
        for k, p in enumerate(node.parents[: 1 if node.name == "divide" else 2]):
            parent = run.nodes[p] if p >= run.start else None
            if parent is None or p in seen or not parent.is_float:
                continue
            seen.add(p)
            if way and parent.value.shape == op.result.shape:
                with np.errstate(all="ignore"):
                    factor = op.result / parent.value
                known = np.isfinite(factor).all()
                mistake = "C6" if known and op.facts.sight.scalar and logistic(op, factor) else "C3" if known and op.facts.derivative(factor) else "B6"
                yield Rewrite(mistake, f"{op.facts.called(p)} alone", lambda n, v, at, w=(*way, k): _up(n, w, at), "its other factors")
                for (a, b), slope, take in values.slopes() if p in op.facts.sight.verified else ():
                    if slope.shape == parent.value.shape:
                        instead = functools.partial(_instead, op, a, b, factor, slope)
                        yield Rewrite(instead, f"{op.facts.called(p)} times the derivative of {_function(op, a, b)}", lambda n, v, at, w=(*way, k), t=take: _up(n, w, at) * t(n, at), "its other factors", strange=1)
            waiting.append((parent, (*way, k)))


def _up(node: Any, way: tuple[int, ...], at: Any) -> Array:
    for k in way[:-1]:
        node = at.sight.run.nodes[node.parents[k]]
    return np.asarray(at.value(node.parents[way[-1]]))


def numbers(op: Operation, values: Values) -> Iterator[Rewrite]:
    """A number that means something as a factor, or in the place of another number."""
    for c, meaning in op.facts.numbers.items():
        yield Rewrite(meaning.mistake, f"times {meaning.said}", lambda n, v, at, c=c: c * redone(n, v), strange=1)
    for place in op.operands:
        if np.ndim(op.args[place]) == 0 and op.name in ("multiply", "divide", "add", "subtract", "power", "maximum", "minimum"):
            old = float(op.args[place])
            for c, meaning in itertools.islice(op.facts.numbers.items(), 80):
                if c == old:
                    continue
                ratio = op.facts.number(c / old if op.name == "multiply" else old / c) if old and op.name in ("multiply", "divide") else None
                yield Rewrite(ratio.mistake if ratio and ratio.mistake in ("A1", "A2", "A3") else "C3" if op.name in ("add", "subtract", "power") else meaning.mistake, meaning.said,
                              lambda n, v, at, p=place, c=c: _number(n, v, p, c), f"{old:g}", place, strange=1)


def _number(node: Any, values: Any, place: int, c: float) -> Array:
    args, kwargs = arguments(node, values)
    return np.asarray(node.func(*args[:place], c, *args[place + 1 :], **kwargs))


__all__ = ["by", "derivatives", "numbers", "too_many", "Refused"]
