"""Rules of another kind than the one that is checked, known by what they return where they are called as such. Level 1.

It is asked only of a rule that raised or broke its contract: what can be used is never called in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import copied
from gradcheck.arguments import name_of
from gradcheck.pairing import call
from gradcheck.trees import is_float, leaves, mapped

__all__ = ["must_be_for", "of_that_kind"]

STREAM = 0x6B696E64  # our own, of the tangents and cotangents


@contextmanager
def of_that_kind(check: str, function: Callable[..., Any], rule: Callable[..., Any], args: Any) -> Iterator[None]:
    """Raise a TypeError in place of what is raised inside, if ``rule`` is one for another check."""
    try:
        yield
    except Exception as error:
        must_be_for(check, function, rule, args, error)
        raise


def must_be_for(
    check: str, function: Callable[..., Any], rule: Callable[..., Any], args: Any, cause: Exception | None = None
) -> None:
    """Raise a TypeError if ``rule`` is recognised as one for another check than ``check``, which the message names.

    Args:
        check: ``check_backward``, ``check_pushforward`` or ``check_jacobian``.
        function: what the rule is of; it may return a cache as well.
        rule: the rule.
        args: the point; nothing is recognised unless it is a tuple or a list.
        cause: what using the rule raised.
    """
    if not isinstance(args, tuple | list):
        return
    for other, (what, is_one) in KINDS.items():
        if other != check and _holds(is_one, function, rule, args):
            raise TypeError(
                f"{check} must be given a rule of its kind, but {name_of(rule)} {what}. Pass it to {other}."
            ) from cause


@np.errstate(all="ignore")
def _holds(is_one: Callable[..., bool], function: Callable[..., Any], rule: Callable[..., Any], args: Any) -> bool:
    try:
        returned = call(function, copied(tuple(args)))
        out, *cache = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned,)
        return is_one(rule, copied(tuple(args)), out, cache)
    except Exception:  # noqa: BLE001  (it is none of that kind)
        return False


def _is_pushforward(rule: Callable[..., Any], args: tuple[Any, ...], out: Any, _cache: Sequence[Any]) -> bool:
    returned = call(rule, (args, mapped(_drawn, args)))
    if not isinstance(returned, tuple) or len(returned) != 2:
        return False
    primals, expected = _arrays(returned[0]), _arrays(out)
    return (
        _shapes(returned[1]) == _shapes(out)
        and all(map(np.array_equal, primals, expected))
        and any(map(np.any, expected))
    )


def _is_backward(rule: Callable[..., Any], args: tuple[Any, ...], out: Any, cache: Sequence[Any]) -> bool:
    (kept,) = cache
    shapes = _shapes([leaf for _, leaf in leaves(args, "") if is_float(leaf)])
    return bool(shapes) and _shapes(call(rule, (mapped(_drawn, out), kept))) == shapes


def _is_jacobian(rule: Callable[..., Any], args: tuple[Any, ...], out: Any, _cache: Sequence[Any]) -> bool:
    ((rows,), (columns,)) = _shapes(out), _shapes([leaf for _, leaf in leaves(args, "") if is_float(leaf)])
    return bool(columns) and _shapes(call(rule, args)) == [rows + columns]


KINDS = {
    "check_pushforward": ("returns the output and its tangent for primals and tangents", _is_pushforward),
    "check_backward": ("returns gradients for a cotangent and the cache", _is_backward),
    "check_jacobian": ("returns a matrix for the arguments", _is_jacobian),
}


def _drawn(leaf: Any) -> Any:
    if not is_float(leaf):
        return leaf
    rng = np.random.default_rng(STREAM)
    return np.asarray(rng.standard_normal(np.shape(leaf)), getattr(leaf, "dtype", None))[()]


def _arrays(tree: Any) -> list[Any]:
    return [np.asarray(leaf) for _, leaf in leaves(tree, "")]


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in _arrays(tree)]
