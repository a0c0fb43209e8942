"""A case of the bench of rules: a function, its rule, and the mistakes that somebody could make in it.

A maker ``make(rng, bug)`` draws its arguments from ``rng`` and returns ``(function, rule, args)``, and a dict of
settings of the call where there are any. ``bug`` is "" for the right rule, or one of the names of the case: the rule
then has that mistake. Mistakes that any rule may have are made here, in what a right rule returns.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

GENERIC = ("all by 1.001", "one entry", "half of the entries")
CASES: list[Case] = []


class Made(NamedTuple):
    """A function with a rule at a point, and the settings of the call that judges it."""

    function: Callable[..., Any]
    rule: Callable[..., Any]
    args: Any
    settings: dict[str, Any]


class Case(NamedTuple):
    """``kind`` says what the rule is; ``bugs`` are the mistakes that ``make`` knows; at a tie no difference is true."""

    kind: str
    name: str
    make: Callable[..., Any]
    bugs: tuple[str, ...]
    tie: bool

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Every mistake that is asked of: those of the case, and those of any rule."""
        return *self.bugs, *(GENERIC[:1] if self.tie else GENERIC)

    def made(self, seed: int, bug: str = "") -> Made:
        """Return the case at the point of a seed, with one of its mistakes."""
        own = "" if bug in GENERIC else bug
        rng = np.random.default_rng((seed, zlib.crc32(f"{self.kind} {self.name}".encode())))
        function, rule, args, *settings = self.make(rng, own)
        made = Made(function, rule, args, settings[0] if settings else {})
        return made._replace(rule=spoilt(self.kind, made, bug)) if bug in GENERIC else made


def case(kind: str, name: str, *bugs: str, tie: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the maker that is decorated to the cases."""

    def add(make: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append(Case(kind, name, make, bugs, tie))
        return make

    return add


def leaves(tree: Any) -> list[Any]:
    """Return what a nest of tuples, lists and dicts holds."""
    if isinstance(tree, dict) and not hasattr(tree, "toarray"):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, tuple | list):
        return [leaf for value in tree for leaf in leaves(value)]
    return [tree]


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return the tree of what ``function`` makes of each leaf."""
    if isinstance(tree, dict) and not hasattr(tree, "toarray"):
        return {key: mapped(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, value) for value in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(function, value) for value in tree)
    return function(tree)


def moves(leaf: Any) -> bool:
    """Whether a leaf is an array of real or complex floats."""
    return hasattr(leaf, "dtype") and np.dtype(leaf.dtype).kind in "fc"


def like(rng: np.random.Generator, leaf: Any) -> Any:
    """Return a random tangent of a leaf: zeros of an integer, None of what is no number."""
    if isinstance(leaf, float) and not isinstance(leaf, np.generic):
        return rng.standard_normal()
    if not hasattr(leaf, "dtype"):
        return np.zeros(()) if isinstance(leaf, int | bool) else None
    if not moves(leaf):
        return np.zeros(np.shape(leaf))
    tangent = rng.standard_normal(np.shape(leaf))
    if np.dtype(leaf.dtype).kind == "c":
        tangent = tangent + 1j * rng.standard_normal(np.shape(leaf))
    return np.asarray(tangent).astype(leaf.dtype)[()] if isinstance(leaf, np.generic) else tangent.astype(leaf.dtype)


def claims(kind: str, made: Made, rng: np.random.Generator) -> Any:
    """Call the rule once, with random tangents or cotangents where it takes some; return what it claims."""
    function, rule, args, _ = made
    if kind == "pushforward":
        primals = tuple(args.values()) if isinstance(args, dict) else args
        claimed = rule(primals, mapped(lambda leaf: like(rng, leaf), tuple(primals)))
        return claimed[1]
    if kind == "product":
        return rule(args[0], like(rng, args[0]), *args[1:])
    if kind in {"hessian", "jacobian"}:
        return rule(**args) if isinstance(args, dict) else rule(*args)
    if kind == "double":
        forward, backward = function
        out, cache = forward(*args[:-1])
        return rule(mapped(lambda leaf: like(rng, leaf), backward(args[-1], cache)), args[-1], cache)
    out, cache = function(**args) if isinstance(args, dict) else function(*args)
    return rule(mapped(lambda leaf: like(rng, np.asarray(leaf)), out), cache)


def spoilt(kind: str, made: Made, bug: str) -> Callable[..., Any]:
    """Return the rule with a mistake that any may have; one entry is the largest of the largest leaf."""
    claimed = leaves(claims(kind, made, np.random.default_rng(1)))
    norms = [0.0 if leaf is None else float(np.linalg.norm(dense(leaf).ravel())) for leaf in claimed]
    which = int(np.argmax(norms))
    entry = int(np.argmax(abs(dense(claimed[which]))))

    def spoil(tree: Any) -> Any:
        count = iter(range(len(claimed)))
        return mapped(lambda leaf: wrong(leaf, next(count) == which), tree)

    def wrong(leaf: Any, chosen: bool) -> Any:
        if leaf is None or (bug == "one entry" and not chosen):
            return leaf
        values = dense(leaf)
        factors = np.ones(values.size)
        if bug == "all by 1.001":
            factors[:] = 1.001
        elif bug == "one entry":
            factors[entry] = 1.3
        else:
            factors[: (factors.size + 1) // 2] = 2.0
        return alike(leaf, values * factors.reshape(values.shape).astype(values.real.dtype))

    def spoiling(*args: Any, **named: Any) -> Any:
        returned = made.rule(*args, **named)
        return (returned[0], spoil(returned[1])) if kind == "pushforward" else spoil(returned)

    return spoiling


def alike(leaf: Any, values: np.ndarray) -> Any:
    """Return values in the form of a leaf: a sparse matrix, an operator, a number, an array."""
    if hasattr(leaf, "tocsr"):
        return type(leaf)(values)
    if hasattr(leaf, "rmatvec"):
        return type(leaf)(leaf.shape, matvec=lambda v: values @ v, rmatvec=lambda v: values.T @ v, dtype=values.dtype)
    return values.item() if isinstance(leaf, float) and not isinstance(leaf, np.generic) else values[()]


def dense(leaf: Any) -> np.ndarray:
    """Return a leaf as an array: a sparse matrix or an operator is written out, None is nothing."""
    if hasattr(leaf, "rmatvec"):
        return leaf @ np.eye(leaf.shape[1])
    return np.zeros(1) if leaf is None else np.asarray(leaf.toarray() if hasattr(leaf, "toarray") else leaf)


def whole(leaf: Any) -> np.ndarray:
    """Return a leaf as an array; of an operator both directions, which may contradict each other."""
    return np.hstack([dense(leaf), (leaf.H @ np.eye(leaf.shape[0])).T]) if hasattr(leaf, "rmatvec") else dense(leaf)


def difference(first: Any, second: Any) -> float:
    """Return by how much two claims differ, relative to the norm of the first; infinite where they differ in form."""
    pairs = list(zip(leaves(first), leaves(second), strict=False))
    if len(leaves(first)) != len(leaves(second)) or any((one is None) != (other is None) for one, other in pairs):
        return np.inf
    ones, others = zip(*((whole(one), whole(other)) for one, other in pairs), strict=True)
    if any(one.shape != other.shape or one.dtype != other.dtype for one, other in zip(ones, others, strict=True)):
        return np.inf
    ones, others = (np.concatenate([np.ravel(leaf) for leaf in each]) for each in (ones, others))
    return float(np.linalg.norm(ones - others) / max(float(np.linalg.norm(ones)), 1e-300))
