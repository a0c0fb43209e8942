"""Whether a rule of the bench is right, by differences that share no code with the check.

Directional derivatives are extrapolated central differences of the function along random directions; a rule that
takes cotangents is compared by the inner product of both. At a tie nothing can be said.
"""

from __future__ import annotations

import inspect
import zlib
from typing import Any

import numpy as np

from benchmarks.rules_case import Case, Made, dense, leaves, like, mapped, moves

STEP = 1e-2
LEVELS = 9


def moved(tree: Any, tangent: Any, h: float) -> Any:
    """Return ``tree + h * tangent`` in what moves, in double precision."""
    tangents = iter(leaves(tangent))

    def shift(leaf: Any) -> Any:
        t = next(tangents)
        if not (moves(leaf) or isinstance(leaf, float)):
            return leaf
        wide = np.asarray(leaf).astype(complex if np.iscomplexobj(leaf) else float)
        return (wide + h * np.asarray(t))[()] if not isinstance(leaf, np.ndarray) else wide + h * np.asarray(t)

    return mapped(shift, tree)


def flat(tree: Any) -> np.ndarray:
    """Return all leaves as one vector."""
    return np.concatenate([np.ravel(dense(leaf)) for leaf in leaves(tree)])


def slope(function: Any, args: Any, tangent: Any) -> np.ndarray:
    """Return the derivative of the leaves of ``function(args)`` along a tangent, by a table of Romberg."""

    def central(h: float) -> np.ndarray:
        return (flat(function(moved(args, tangent, h))) - flat(function(moved(args, tangent, -h)))) / (2 * h)

    best, error, previous = np.zeros(1), np.inf, []
    for level in range(LEVELS):
        row = [central(STEP / 2**level)]
        for k, last in enumerate(previous):
            row.append(row[-1] + (row[-1] - last) / (4 ** (k + 1) - 1))
        if previous and (change := np.linalg.norm(row[-1] - previous[-1])) < error:
            best, error = row[-1], change
        previous = row
    return best


def inner(first: Any, second: Any, convention: str = "pytorch") -> float:
    """Return the real inner product of two trees; in JAX's convention a cotangent is conjugated already."""
    a, b = flat(first), flat(second)
    return float(np.real((a if convention == "jax" else a.conj()) @ b))


def named(function: Any, args: Any) -> dict[str, Any]:
    """Return the arguments by name."""
    return args if isinstance(args, dict) else dict(zip(inspect.signature(function).parameters, args, strict=False))


def product(matrix: Any, out: Any, args: dict[str, Any], tangent: dict[str, Any]) -> np.ndarray:
    """Return the product of a matrix, in any form, with a tangent of the arguments."""

    def block(J: Any, name: str, rows: int) -> np.ndarray:
        t, J = np.ravel(tangent[name]), dense(J)
        return np.ravel(J) * t if J.shape == np.shape(args[name]) == (rows,) else J.reshape(rows, t.size) @ t

    if hasattr(matrix, "toarray"):
        return block(matrix, next(iter(args)), np.size(out))
    if isinstance(matrix, dict) and isinstance(next(iter(matrix)), tuple):
        return np.concatenate(
            [
                sum(block(J, of[1], y.size) for of, J in matrix.items() if of[0] == name) + np.zeros(y.size)
                for name, y in out.items()
            ]
        )
    if isinstance(out, tuple):
        (name,) = args
        return np.concatenate([block(J, name, y.size) for J, y in zip(matrix, out, strict=True)])
    blocks = matrix if isinstance(matrix, dict) else dict(zip(args, matrix, strict=True)) if len(args) > 1 else None
    if blocks is None:
        return block(matrix, next(iter(args)), np.size(out))
    return sum(block(J, name, np.size(out)) for name, J in blocks.items())


def error(case: Case, made: Made, rng: np.random.Generator) -> float:
    """Return the relative error of what a rule claims along one random direction."""
    function, rule, args, settings = made
    tangent = mapped(lambda leaf: like(rng, leaf) * (moves(leaf) or "wrt" in settings), args)
    if case.kind == "pushforward":
        positions, t = (tuple(args.values()), tuple(tangent.values())) if isinstance(args, dict) else (args, tangent)
        what = settings.get("surrogate", function)
        claimed, true = flat(rule(positions, t)[1]), slope(lambda a: what(*a), positions, t)
    elif case.kind in {"hessian", "product"}:
        rest = args[1:]
        true = slope(lambda x: function(x, *rest), args[0], tangent[0])
        if case.kind == "product":
            claimed = flat(rule(args[0], tangent[0], *rest))
        else:
            x = {"x": args[0]}
            claimed = product(rule(*args), function(*args), x, {"x": tangent[0]})
    elif case.kind == "jacobian":
        by_name, t = named(function, args), named(function, tangent)
        true = slope(lambda a: function(*a.values()), by_name, t)
        claimed = product(rule(*by_name.values()), function(*by_name.values()), by_name, t)
    elif case.kind == "double":
        forward, backward = function
        out, cache = forward(*args[:-1])
        bar = mapped(lambda leaf: like(rng, leaf), backward(args[-1], cache))
        true = slope(lambda a: np.asarray(inner(bar, backward(a[-1], forward(*a[:-1])[1]))), args, tangent)
        claimed = np.asarray([inner(rule(bar, args[-1], cache), tangent)])
    else:
        convention = settings.get("convention", "pytorch")
        out, cache = function(*args)
        bar = mapped(lambda leaf: like(rng, np.asarray(leaf)), out)
        claimed = np.asarray([inner(rule(bar, cache), tangent, convention)])
        what = settings.get("surrogate") or (lambda *a: function(*a)[0])
        true = slope(lambda a: np.asarray(inner(bar, what(*a), convention)), args, projected(made, tangent))
    return float(np.linalg.norm(claimed - true) / max(float(np.linalg.norm(true)), 1e-9))


def projected(made: Made, tangent: Any) -> Any:
    """Return a tangent under the projection of a case, which is its own adjoint."""
    projection = made.settings.get("projection")
    if projection is None:
        return tangent
    if callable(projection):
        return tuple(projection(each) for each in tangent)
    names = inspect.signature(made.function).parameters
    return tuple(projection.get(name, lambda t: t)(t) for name, t in zip(names, tangent, strict=True))


def errors(case: Case, seed: int, bug: str = "") -> list[float]:
    """Return the errors of a rule along three directions."""
    rng = np.random.default_rng((seed, zlib.crc32(case.name.encode())))
    return [error(case, case.made(seed, bug), rng) for _ in range(3)]
