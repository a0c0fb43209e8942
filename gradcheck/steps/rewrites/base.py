"""What a rewrite is, and what it may take."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from gradcheck.steps.tape import Held, Hole, Ref, gather


class Refused(Exception):
    """A rewrite that cannot be done here."""


class Values:
    """The values of a replay, by number."""

    def __init__(self, at):
        self.at = at

    def __getitem__(self, i):
        return self.at.value(int(i))


def value_of(tree, values):
    """Return a tree with the values of what it refers to."""
    if isinstance(tree, Ref):
        return values[tree]
    if isinstance(tree, Held):
        return gather(tree.which, tree.place, [values[p] for p in tree.parents])
    if type(tree) in (tuple, list):
        return type(tree)(value_of(each, values) for each in tree)
    if type(tree) is dict:
        return {key: value_of(each, values) for key, each in tree.items()}
    return tree


def _taken_at(array, key):
    return array[key]


class Op:
    """A node of the tape as the tables see it: its operands by number, and what the code has names for there."""

    def __init__(self, tape, node):
        self.node, self.number, self.name, self.result = node, node.id, node.name, node.value
        self.turn, self.kwargs, self.do = node.turn, node.kwargs, node.func
        self.scope, self.names, based = tape.scopes.get(node.id, ({}, (), None))
        self.where, self.code = (node.site.line,), node.site.frames[-1][0] if node.site.frames else None
        self.line, self.refs = node.site.line, [Ref(p) for p in node.parents]
        if node.kind == "gather":
            self.name, self.args, self.do, self.kwargs = "gather", (Held(*node.data, node.parents),), lambda a: a, {}
            if based is not None:
                self.name, self.args, self.do = "get", based, _taken_at
        elif node.name == "setitem":
            self.name, self.args = "set", (based[0] if based else None, based[1] if based else None, self._ref(node.args[0]))
            self.do = lambda before, key, value: np.broadcast_to(value, node.value.shape)
        else:
            self.args = tuple(self._ref(a) for a in node.args)
            self.kwargs = self._ref(node.kwargs)
        self.probes = self.probe0 = None
        self.wanted = np.shape(node.value)

    def _ref(self, tree):
        if isinstance(tree, Hole):
            p = self.node.parents[tree.k]
            return Ref(p)
        if type(tree) in (tuple, list):
            return type(tree)(self._ref(each) for each in tree)
        if type(tree) is dict:
            return {k: self._ref(v) for k, v in tree.items()}
        return tree


FOUR = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}


PRODUCTS = ("matmul", "dot", "outer", "einsum", "tensordot", "multiply")


class Rule(NamedTuple):
    kind: str
    what: str
    make: object
    doubt: float
    site: object = None
    place: int = -1      # the operand that is concerned
    name: str = ""       # the value that is taken


def look(op, name, values):
    """Return what the function has under a name at an operation, or Refused."""
    held = op.scope.get(name)
    if held is None:
        raise Refused(name)
    if type(held) is tuple:
        try:
            return value_of(held[0], values)[held[1]]
        except IndexError:
            raise Refused(name) from None
    return value_of(held, values)


def operand(op, place, values):
    return value_of(op.args[place], values)


def redone(op, values, place=None, new=None):
    args = [value_of(a, values) for a in op.args]
    if place is not None:
        args[place] = new
    return np.asarray(op.do(*args, **value_of(op.kwargs, values)))


def spread(shape, wanted):
    """Yield how an array of ``shape`` may be laid out to multiply one of ``wanted``: as it is, or with new axes."""
    if len(shape) <= len(wanted) and all(a in (1, b) for a, b in zip(shape[::-1], wanted[::-1])):
        yield None
    if 0 < len(shape) < len(wanted):
        for axes in itertools.combinations(range(len(wanted)), len(shape)):
            if all(wanted[axis] in (n, 1) for axis, n in zip(axes, shape)) and any(wanted[axis] == n for axis, n in zip(axes, shape)) and axes != tuple(range(len(wanted) - len(shape), len(wanted))):
                yield tuple(axes)


def laid(array, axes, ndim):
    array = np.asarray(array)
    if axes is None:
        return array
    shape = [1] * ndim
    for axis, n in zip(axes, array.shape):
        shape[axis] = n
    return array.reshape(shape)


def _first(op):
    return op.probe0


def _said(op, place):
    return (op.names[place] if place < len(op.names) else "") or f"operand {place + 1}"


def _shaped(array, shape):
    array = np.asarray(array, dtype=float)
    if array.shape == shape:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise Refused from None


def _same(array, op):
    array = np.asarray(array)
    if array.shape != op.wanted and array.shape != op.result.shape:
        raise Refused
    return array


def _redone(op, values, place, new):
    try:
        return _same(redone(op, values, place, new), op)
    except (ValueError, TypeError, IndexError):
        raise Refused from None



def subsets(ndim):
    """Return all sets of axes, the small ones first."""
    return [s for count in range(1, ndim + 1) for s in itertools.combinations(range(ndim), count)]
