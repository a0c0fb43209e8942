"""True cotangents of every intermediate value of the forward, by one sweep back over the tape.

What moves cells is read off by running it on numbered cells, what works by element is measured by element, sums and
products have a rule each, and anything else is measured entry by entry on that operation alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradcheck.steps.run import Run
from gradcheck.steps.tape import Hole

MOVES = set(
    "reshape ravel flatten transpose swapaxes moveaxis rollaxis squeeze expand_dims broadcast_to repeat tile concatenate "
    "stack vstack hstack dstack column_stack split array_split hsplit vsplit pad roll flip flipud fliplr rot90 take "
    "take_along_axis getitem setitem array copy astype diag diagonal diagflat tril triu compress append insert delete "
    "atleast_1d atleast_2d atleast_3d broadcast_arrays".split()
)
BY_ELEMENT = {"where", "clip", "nan_to_num", "sinc", "astype"}
LARGEST = 4000  # entries of an operand that is measured entry by entry
STEP = 1e-30


class Bars(NamedTuple):
    """Cotangents of nodes, and of single uses of nodes (operand k of node i)."""

    nodes: dict[int, np.ndarray]
    edges: dict[tuple[int, int], np.ndarray]


def adjoint(run: Run, pulls=None, change=None) -> Bars:
    """Return the cotangents of the forward's nodes; ``pulls`` keeps what is the same in every sweep.

    ``change(node, k, bar, part)`` may return something else than the right ``part`` of operand k.
    """
    pulls = {} if pulls is None else pulls
    nodes: dict[int, Any] = {}
    edges = {}
    for out, bar in zip(run.outs, run.cotangent):
        if out >= 0:
            nodes[out] = nodes.get(out, 0.0) + bar
    for node in reversed(run.nodes[: run.start]):
        bar = nodes.get(node.id)
        if bar is None or not node.parents:
            continue
        for k, parent in enumerate(node.parents):
            if parent < 0 or not run.nodes[parent].is_float:
                continue
            if (node.id, k) not in pulls:
                pulls[node.id, k] = pull(node, k, [run.value(p) for p in node.parents])
            part = pulls[node.id, k](bar)
            if change is not None:
                part = change(node, k, bar, part)
            if part is not None:
                edges[node.id, k] = part
                nodes[parent] = nodes[parent] + part if parent in nodes else part
    return Bars(nodes, edges)


def pull(node, k, values):
    """Return the function from the cotangent of a node to that of its operand k."""
    shape = values[k].shape
    if node.kind == "gather":
        which, place = node.data
        here, at = which == k, place[which == k]
        return lambda bar: np.bincount(at.ravel(), bar[here].ravel(), values[k].size).reshape(shape)
    if by_element(node):
        d = slope_by_element(node, k, values)
        return lambda bar: unbroadcast(bar * d, shape)
    if node.name in MOVES and (cells := _moved(node, k, values)) is not None:
        known = cells > 0
        at = cells[known] - 1
        return lambda bar: np.bincount(at, bar[known], values[k].size).reshape(shape)
    axes = axes_of(node, values)
    if axes is not None and node.name in ("sum", "mean"):
        count = np.prod([shape[a] for a in axes]) if node.name == "mean" else 1
        return lambda bar: np.broadcast_to(kept(bar, shape, axes), shape) / count
    if axes is not None and node.name in ("max", "min"):
        top = kept(node.value, shape, axes) == values[k]
        top = top / top.sum(axis=axes, keepdims=True)
        return lambda bar: kept(bar, shape, axes) * top
    if node.name in ("matmul", "dot") and len(values) == 2 and (values[0].ndim <= 2 or node.name == "matmul") and all(
        v.ndim for v in values
    ) and (values[1].ndim <= 2 or node.name == "matmul"):
        return lambda bar: _product(bar, k, values)
    subscripts = _subscripts(node, values) if node.name in ("einsum", "tensordot", "outer") else None
    if subscripts and (pulled := _einsum(*subscripts, k, values)) is not None:
        return pulled
    return _entry_by_entry(node, k, values)


def by_element(node):
    """Whether each entry of the result depends on the entries of the operands at its place alone."""
    return (isinstance(node.func, np.ufunc) and node.func.signature is None and "where" not in node.kwargs) or (
        node.name in BY_ELEMENT
    )


def slope_by_element(node, k, values):
    """Return ∂result/∂operand k by element: by the complex step where that agrees with a difference."""
    x = np.asarray(values[k], dtype=float)

    def f(moved):
        return np.asarray(node.compute([*values[:k], moved, *values[k + 1 :]]))

    h = 1e-4 * np.where(x, np.abs(x), 1e-2)
    with np.errstate(all="ignore"):
        d = (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)
        try:
            exact = np.imag(f(x + 1j * STEP)) / STEP
        except (TypeError, ValueError):
            return d
        close = np.abs(exact - d) <= 1e-6 * (np.abs(exact) + np.abs(d)) + 1e-9
    return np.where(close | ~np.isfinite(d), exact, d)


def unbroadcast(bar, shape):
    bar = bar.sum(axis=tuple(range(bar.ndim - len(shape)))) if bar.ndim > len(shape) else bar
    thin = tuple(a for a, n in enumerate(shape) if n == 1 and bar.shape[a] != 1)
    return np.broadcast_to(bar.sum(axis=thin, keepdims=True) if thin else bar, shape)


def _moved(node, k, values):
    """Return the cell of operand k (from 1) that each cell of the result holds, 0 for none; None if it only moves."""
    zero = [np.zeros(v.shape) if v.dtype.kind == "f" else v for v in values]
    zero[k] = np.arange(1.0, values[k].size + 1).reshape(values[k].shape)
    try:
        cells = np.asarray(node.compute(zero))
    except Exception:  # noqa: BLE001
        return None
    whole = cells.astype(int)
    return whole if cells.shape == node.value.shape and (whole == cells).all() and whole.max(initial=0) <= values[k].size else None


def axes_of(node, values):
    """Return the axes over which a node reduces its only operand, None if it is no such node."""
    if node.name not in ("sum", "mean", "max", "min") or len(node.parents) != 1 or "where" in node.kwargs:
        return None
    default = 0 if getattr(node.func, "__name__", "") == "reduce" else None
    axis = node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else default)
    ndim = values[0].ndim
    return tuple(range(ndim)) if axis is None else tuple(a % ndim for a in np.atleast_1d(axis)) if ndim else ()


def kept(bar, shape, axes):
    return np.reshape(bar, [1 if a in axes else n for a, n in enumerate(shape)])


def _product(bar, k, values):
    a, b = values
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    bar = bar.reshape((*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1]))
    if k == 0:
        return unbroadcast(bar @ np.swapaxes(right, -1, -2), left.shape).reshape(a.shape)
    return unbroadcast(np.swapaxes(left, -1, -2) @ bar, right.shape).reshape(b.shape)


def _subscripts(node, values):
    """Return the letters of the axes of the operands, and of the result, of a sum of products; None if it is another."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    if node.name == "einsum":
        pattern = node.args[0].replace(" ", "") if isinstance(node.args[0], str) else "."
        if "." in pattern or len(node.parents) != len(node.args) - 1:
            return None
        inputs, arrow, output = pattern.partition("->")
        if not arrow:
            output = "".join(sorted(c for c in set(inputs) - {","} if inputs.count(c) == 1))
        terms = dict(zip((hole.k for hole in node.args[1:]), inputs.split(",")))
        return [terms[k] for k in range(len(values))], output
    if len(values) != 2 or node.args[:2] != (Hole(0), Hole(1)) or (node.name == "outer" and values[0].ndim + values[1].ndim != 2):
        return None
    axes = node.kwargs.get("axes", node.args[2] if len(node.args) > 2 else 2) if node.name == "tensordot" else 0
    m, n = values[0].ndim, values[1].ndim
    left, right = (range(m - axes, m), range(axes)) if isinstance(axes, int) else (np.atleast_1d(each) for each in axes)
    first = list(letters[:m])
    second = list(letters[m : m + n])
    for i, j in zip(left, right):
        second[j % n] = first[i % m]
    output = [c for c in first if c not in second] + [c for c in second if c not in first]
    return ["".join(first), "".join(second)], "".join(output)


def _einsum(terms, output, k, values):
    others = [j for j in range(len(terms)) if j != k]
    if not set(terms[k]) <= set(output + "".join(terms[j] for j in others)) or len(set(terms[k])) < len(terms[k]):
        return None
    pattern = ",".join([output, *(terms[j] for j in others)]) + "->" + terms[k]
    return lambda bar: np.einsum(pattern, bar, *(values[j] for j in others), optimize=True)


def _entry_by_entry(node, k, values):
    x = np.asarray(values[k], dtype=float)
    if x.size > LARGEST:
        return lambda bar: None
    columns = []
    h = 1e-3 * (np.sqrt(np.mean(x**2)) or 1.0)
    with np.errstate(all="ignore"):
        for i in range(x.size):
            f = []
            for step in (-2, -1, 1, 2):
                moved = x.copy()
                moved.flat[i] += step * h
                f.append(np.asarray(node.compute([*values[:k], moved, *values[k + 1 :]]), dtype=float))
            columns.append((f[0] - 8 * f[1] + 8 * f[2] - f[3]).ravel() / (12 * h))
    jacobian = np.stack(columns, axis=1)
    return lambda bar: (np.ravel(bar) @ jacobian).reshape(x.shape)
