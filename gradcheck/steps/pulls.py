"""The local pullbacks: from the cotangent of the result of one operation to that of one of its operands. Level 3.

For y = f(x₁, …, xₙ) the part of operand k is x̄ₖ = (∂y/∂xₖ)ᵀ ȳ. A rule makes this function once for a recorded
operation, from its operands and its result; it is then used in every sweep. What an operation is, its name tells:

    gathers                  y = x[place]                x̄ = Σ ȳ where x was taken from
    by element               y = f(a, b)                 ā = ȳ · ∂f/∂a, summed over what was broadcast
    sums, means, maxima      y = Σ x over axes           x̄ = ȳ, spread over the axes, times what each entry counts
    products                 Y = A B                     Ā = Ȳ Bᵀ, B̄ = Aᵀ Ȳ
    sums of products         einsum, tensordot, outer    the same with the letters of the result and of x exchanged
    scatters                 y[i] += v                   v̄ = ȳ[i]

What only moves cells (a reshape, a roll, a concatenation) is read off by running it on numbered cells. What works by
element and has no row in the table is measured by element, and anything else entry by entry, on that operation alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck.steps.nodes import Hole, Node
from gradcheck.trees import Array

__all__ = ["LARGEST", "Pull", "is_by_element", "pull", "slope_by_element", "unbroadcast"]

Pull = Callable[[Array], Array | None]
Rule = Callable[[Node, int, Sequence[Array]], Pull | None]
Slope = float | Callable[..., Any]

LARGEST = 4000  # entries of an operand that is measured entry by entry,
DENSEST = 2_000_000  # and of the Jacobian that this gives; of a larger one nothing is known
TINY = 1e-30  # the complex step
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOVES = frozenset(
    {
        "reshape",
        "ravel",
        "flatten",
        "transpose",
        "swapaxes",
        "moveaxis",
        "rollaxis",
        "squeeze",
        "expand_dims",
        "broadcast_to",
        "repeat",
        "tile",
        "concatenate",
        "stack",
        "vstack",
        "hstack",
        "dstack",
        "column_stack",
        "split",
        "array_split",
        "hsplit",
        "vsplit",
        "pad",
        "roll",
        "flip",
        "flipud",
        "fliplr",
        "rot90",
        "take",
        "take_along_axis",
        "getitem",
        "setitem",
        "array",
        "copy",
        "astype",
        "diag",
        "diagonal",
        "diagflat",
        "tril",
        "triu",
        "compress",
        "append",
        "insert",
        "delete",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "broadcast_arrays",
    }
)
BY_ELEMENT = frozenset({"where", "clip", "nan_to_num", "sinc"})


def _holes(node: Node) -> list[int]:
    """Return which operand each positional argument of a node is; −1 for one that is none."""
    return [each.k if isinstance(each, Hole) else -1 for each in node.args]


def pull(node: Node, k: int, values: Sequence[Array]) -> Pull:
    """Return the function from the cotangent of a node to that of its operand ``k``, given the operands' values.

    It gives None where nothing is known: the operand is too large to be measured entry by entry.
    """
    if node.kind == "gather":
        return _gather(node, k, values)
    if node.name.startswith("return "):  # a gradient as it is
        return lambda bar: bar
    for rule in (RULES.get(node.name), _by_element, _moves):
        made = rule(node, k, values) if rule else None
        if made is not None:
            return made
    return _measured(node, k, values)


def _gather(node: Node, k: int, values: Sequence[Array]) -> Pull:
    """Cells of x, y = x[place]: x̄ is the sum of ȳ over the cells that were taken from each place."""
    which, place = node.data
    shape, size = values[k].shape, values[k].size
    if len(values) == 1:
        return lambda bar: np.bincount(place.ravel(), bar.ravel(), size).reshape(shape)
    here = which == k
    at = place[here]
    return lambda bar: np.bincount(at, bar[here], size).reshape(shape)


# ------------------------------------------------------------------------------------------------ by element


def is_by_element(node: Node) -> bool:
    """Whether each entry of the result depends on the entries of the operands at its place alone."""
    ufunc = isinstance(node.func, np.ufunc) and node.func.signature is None and "where" not in node.kwargs
    return ufunc or node.name in BY_ELEMENT


SLOPES: dict[str, tuple[Slope, ...]] = {  # ∂y/∂a, ∂y/∂b of y = f(a, b)
    "add": (1.0, 1.0),
    "subtract": (1.0, -1.0),
    "multiply": (lambda _y, _a, b: b, lambda _y, a, _b: a),
    "divide": (lambda _y, _a, b: 1.0 / b, lambda y, _a, b: -y / b),
    "power": (lambda _y, a, b: b * np.power(a, b - 1.0), lambda y, a, _b: y * np.log(a)),
    "negative": (-1.0,),
    "positive": (1.0,),
    "square": (lambda _y, a: 2.0 * a,),
    "sqrt": (lambda y, _a: 0.5 / y,),
    "reciprocal": (lambda y, _a: -y * y,),
    "exp": (lambda y, _a: y,),
    "expm1": (lambda y, _a: y + 1.0,),
    "log": (lambda _y, a: 1.0 / a,),
    "log1p": (lambda _y, a: 1.0 / (1.0 + a),),
    "tanh": (lambda y, _a: 1.0 - y * y,),
    "sin": (lambda _y, a: np.cos(a),),
    "cos": (lambda _y, a: -np.sin(a),),
    "absolute": (lambda _y, a: np.sign(a),),
    "maximum": (lambda _y, a, b: _larger(a, b), lambda _y, a, b: _larger(b, a)),
    "minimum": (lambda _y, a, b: _larger(b, a), lambda _y, a, b: _larger(a, b)),
}


def _larger(a: Array, b: Array) -> Array:
    """1 where a is the larger, ½ at a tie."""
    return np.asarray(np.heaviside(np.subtract(a, b), 0.5))


def _by_element(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """By element, y = f(a, b): ā = ȳ · ∂f/∂a, summed over the axes along which a was broadcast."""
    if not is_by_element(node):
        return None
    shape, slope = values[k].shape, slope_by_element(node, k, values)
    if np.ndim(slope) == 0 and slope == 1:
        return lambda bar: unbroadcast(bar, shape)
    return lambda bar: unbroadcast(bar * slope, shape)


@np.errstate(all="ignore")
def slope_by_element(node: Node, k: int, values: Sequence[Array]) -> Any:
    """Return ∂y/∂xₖ by element: from the table, or else measured."""
    known = SLOPES.get(node.name, ())
    at = _holes(node).index(k) if k in _holes(node) else len(known)
    if isinstance(node.func, np.ufunc) and at < len(known):
        slope = known[at]
        given = (values[each.k] if isinstance(each, Hole) else each for each in node.args)
        return slope(node.value, *given) if callable(slope) else slope
    return _measured_by_element(node, k, values)


def _measured_by_element(node: Node, k: int, values: Sequence[Array]) -> Array:
    """Return ∂y/∂xₖ by element: by the complex step where that agrees with a difference, else by the difference."""
    x = np.asarray(values[k], dtype=float)

    def f(moved: Array) -> Array:
        return np.asarray(node.compute([*values[:k], moved, *values[k + 1 :]]))

    h = 1e-4 * np.where(x, np.abs(x), 1e-2)
    d: Array = (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)
    try:
        exact = np.imag(f(x + 1j * TINY)) / TINY
    except (TypeError, ValueError):
        return d
    close = np.abs(exact - d) <= 1e-6 * (np.abs(exact) + np.abs(d)) + 1e-9
    return np.asarray(np.where(close | ~np.isfinite(d), exact, d))


def unbroadcast(bar: Array, shape: tuple[int, ...]) -> Array:
    """Return ``bar`` summed over the axes that ``shape`` lacks, or has with length 1."""
    if bar.shape == shape:
        return bar
    bar = bar.sum(axis=tuple(range(bar.ndim - len(shape)))) if bar.ndim > len(shape) else bar
    thin = tuple(a for a, n in enumerate(shape) if n == 1 and bar.shape[a] != 1)
    found: Array = np.broadcast_to(bar.sum(axis=thin, keepdims=True) if thin else bar, shape)
    return found


# ------------------------------------------------------------------------------------------------ reductions


def _reduced(node: Node, values: Sequence[Array]) -> tuple[int, ...] | None:
    """Return the axes over which a node reduces its only operand; None if it does something else."""
    if len(values) != 1 or "where" in node.kwargs or _holes(node)[:1] not in ([], [0]):
        return None
    default = 0 if getattr(node.func, "__name__", "") == "reduce" else None
    axis = node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else default)
    ndim = values[0].ndim
    if axis is None:
        return tuple(range(ndim))
    return tuple(int(a) % ndim for a in np.atleast_1d(axis)) if ndim else ()


def _spread(bar: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Return ``bar`` with the reduced axes put back, of length 1."""
    return np.reshape(bar, [1 if a in axes else n for a, n in enumerate(shape)])


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod(shape[a] for a in axes)


def _sum(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """A sum y = Σ x over axes, or their mean: x̄ = ȳ for each of the entries, divided by how many they are in a mean."""
    axes, shape = _reduced(node, values), values[k].shape
    if axes is None:
        return None
    count = _count(shape, axes) if node.name == "mean" else 1
    return lambda bar: np.broadcast_to(_spread(bar, shape, axes) / count, shape)


def _extremum(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """A maximum y = max x over axes: x̄ = ȳ at the largest entry, shared by those that tie."""
    axes, shape = _reduced(node, values), values[k].shape
    if axes is None:
        return None
    top = _spread(node.value, shape, axes) == values[k]
    share = top / np.maximum(top.sum(axis=axes, keepdims=True), 1)
    return lambda bar: _spread(bar, shape, axes) * share


def _spreading(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """A variance y = var x over axes, or its root: x̄ = ȳ · 2 (x − mean) / n, divided by 2 y for the root."""
    axes, x = _reduced(node, values), values[k]
    if axes is None or len(node.args) > 2 or not set(node.kwargs) <= {"axis", "ddof", "keepdims"}:
        return None
    with np.errstate(all="ignore"):
        slope = 2 * (x - x.mean(axis=axes, keepdims=True)) / (_count(x.shape, axes) - node.kwargs.get("ddof", 0))
        slope = slope / (2 * _spread(node.value, x.shape, axes)) if node.name == "std" else slope
    return lambda bar: _spread(bar, x.shape, axes) * slope


def _running(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """The running sums y of x along an axis: x̄ = the running sums of ȳ from the end."""
    axis, shape = node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else None), values[k].shape
    if len(node.args) > 2 or not set(node.kwargs) <= {"axis"}:
        return None
    if axis is None:
        return lambda bar: np.cumsum(bar.ravel()[::-1])[::-1].reshape(shape)
    return lambda bar: np.flip(np.cumsum(np.flip(bar, axis), axis), axis)


# ------------------------------------------------------------------------------------------------ products


def _product(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """Y = A B over the last two axes: Ā = Ȳ Bᵀ, B̄ = Aᵀ Ȳ, summed over what was broadcast."""
    if len(values) != 2 or _holes(node)[:2] != [0, 1] or not all(v.ndim for v in values):
        return _by_letters(node, k, values)
    if node.name == "dot" and max(v.ndim for v in values) > 2:
        return _by_letters(node, k, values)
    a, b = values
    left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    outer = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])
    if k == 0:
        back = np.swapaxes(right, -1, -2)
        return lambda bar: unbroadcast(bar.reshape(outer) @ back, left.shape).reshape(a.shape)
    back = np.swapaxes(left, -1, -2)
    return lambda bar: unbroadcast(back @ bar.reshape(outer), right.shape).reshape(b.shape)


def _by_letters(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """A sum of products, by the letters of the axes: x̄ₖ is the same sum with the letters of y and of xₖ exchanged."""
    found = _letters(node, values)
    if found is None:
        return None
    terms, output = found
    others = [j for j in range(len(terms)) if j != k]
    known = set(output).union(*(terms[j] for j in others))
    if not set(terms[k]) <= known or any(len(set(term)) < len(term) for term in terms):
        return None
    pattern = ",".join([output, *(terms[j] for j in others)]) + "->" + terms[k]
    return lambda bar: np.asarray(np.einsum(pattern, bar, *(values[j] for j in others), optimize=True))


def _letters(node: Node, values: Sequence[Array]) -> tuple[list[str], str] | None:
    """Return the letters of the axes of the operands, and of the result; None where it is no such sum."""
    if node.name == "einsum":
        return _of_einsum(node, values)
    if len(values) != 2 or _holes(node)[:2] != [0, 1]:
        return None
    m, n = (v.ndim for v in values)
    if node.name in ("outer", "multiply.outer"):
        return None if node.name == "outer" and m + n != 2 else _contracted(m, n, [], [])
    if node.name == "vdot":
        return _contracted(m, n, range(m), range(n)) if m == n else None
    if node.name in ("dot", "inner"):
        return _contracted(m, n, [m - 1], [n - 1 if node.name == "inner" or n == 1 else n - 2]) if m and n else None
    axes = node.kwargs.get("axes", node.args[2] if len(node.args) > 2 else 2)
    if isinstance(axes, int):
        return _contracted(m, n, range(m - axes, m), range(axes))
    return _contracted(m, n, np.atleast_1d(axes[0]), np.atleast_1d(axes[1]))


def _contracted(m: int, n: int, left: Any, right: Any) -> tuple[list[str], str]:
    """Return the letters of a product of an array of ``m`` axes and one of ``n``, summed over pairs of axes."""
    first, second = list(LETTERS[:m]), list(LETTERS[m : m + n])
    for i, j in zip(left, right, strict=True):
        second[j % n] = first[i % m]
    output = [c for c in first if c not in second] + [c for c in second if c not in first]
    return ["".join(first), "".join(second)], "".join(output)


def _of_einsum(node: Node, values: Sequence[Array]) -> tuple[list[str], str] | None:
    pattern = node.args[0].replace(" ", "") if isinstance(node.args[0], str) else "."
    if "." in pattern or len(values) != len(node.args) - 1:
        return None
    inputs, arrow, output = pattern.partition("->")
    if not arrow:
        output = "".join(sorted(c for c in set(inputs) - {","} if inputs.count(c) == 1))
    terms = dict(zip((hole.k for hole in node.args[1:]), inputs.split(","), strict=True))
    return [terms[k] for k in range(len(values))], output


# ------------------------------------------------------------------------------------------------ scatters, the rest


def _scatter(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """A scatter, y = x and y[i] += v: x̄ = ȳ, v̄ = ȳ[i] (with its sign for a difference)."""
    target, at, *rest = _holes(node)
    index = node.args[1]
    sign = -1.0 if node.name == "subtract.at" else 1.0
    if target == k:
        return lambda bar: bar
    if rest != [k] or at >= 0:
        return None
    return lambda bar: unbroadcast(sign * bar[index], values[k].shape)


def _moves(node: Node, k: int, values: Sequence[Array]) -> Pull | None:
    """Cells of x as they are in y: which, running the operation on the numbers of the cells tells.

    What it puts between them, such as the 1.0 of ``concatenate([[1.0], x])``, is the same when all cells are zero.
    """
    if node.name not in MOVES:
        return None
    zero = [np.zeros(v.shape) if v.dtype.kind == "f" else v for v in values]
    shape, size = values[k].shape, values[k].size
    numbered = [*zero[:k], np.arange(1.0, size + 1).reshape(shape), *zero[k + 1 :]]
    zero[k] = np.zeros(shape)
    try:
        cells = np.asarray(node.compute(numbered)) - np.asarray(node.compute(zero))
    except Exception:  # noqa: BLE001  (whatever NumPy raises for what it cannot number)
        return None
    whole = cells.astype(int)
    if cells.shape != node.value.shape or (whole != cells).any() or whole.max(initial=0) > size:
        return None
    known = whole > 0
    at = whole[known] - 1
    return lambda bar: np.bincount(at, bar[known], size).reshape(shape)


def _unknown(_: Array) -> None:
    return None


@np.errstate(all="ignore")
def _measured(node: Node, k: int, values: Sequence[Array]) -> Pull:
    """Any y = f(x): x̄ = Jᵀ ȳ with the Jacobian of this operation alone, measured column by column."""
    x = np.asarray(values[k], dtype=float)
    if x.size > LARGEST or x.size * np.size(node.value) > DENSEST:
        return _unknown
    h = 1e-3 * (math.sqrt(np.mean(x**2)) or 1.0)
    columns = []
    for i in range(x.size):
        f = []
        for step in (-2, -1, 1, 2):
            moved = x.copy()
            moved.flat[i] += step * h
            f.append(np.asarray(node.compute([*values[:k], moved, *values[k + 1 :]]), dtype=float))
        columns.append((f[0] - 8 * f[1] + 8 * f[2] - f[3]).ravel() / (12 * h))
    jacobian = np.stack(columns, axis=1)
    return lambda bar: (np.ravel(bar) @ jacobian).reshape(x.shape)


RULES: dict[str, Rule] = {
    "sum": _sum,
    "mean": _sum,
    "max": _extremum,
    "min": _extremum,
    "var": _spreading,
    "std": _spreading,
    "cumsum": _running,
    "matmul": _product,
    "dot": _product,
    "inner": _by_letters,
    "outer": _by_letters,
    "multiply.outer": _by_letters,
    "vdot": _by_letters,
    "tensordot": _by_letters,
    "einsum": _by_letters,
    "add.at": _scatter,
    "subtract.at": _scatter,
}
