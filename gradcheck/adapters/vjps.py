"""One vector-Jacobian product per argument: the convention of HIPS autograd's ``defvjp``. Level 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import copied
from gradcheck.adapters.signatures import Pair, listed, must_be_callable, name_of, names_of, pair, signature_of
from gradcheck.trees import describe

__all__ = ["from_vjp"]


def from_vjp(
    f: Callable[..., Any],
    *vjps: Callable[..., Any] | None,
    argnums: Sequence[int] | None = None,
    curried: bool = True,
) -> Pair:
    """Return the pair of a function and one vector-Jacobian product per argument.

    The arguments are those of autograd's ``defvjp(f, *vjps, argnums=...)``. The backward returns one
    gradient per argument, None for those that have no vjp.

    >>> forward, backward = from_vjp(
    ...     lambda x, y: x * y,
    ...     lambda ans, x, y: lambda g: g * y,
    ...     lambda ans, x, y: lambda g: g * x,
    ... )
    >>> out, cache = forward(2.0, 3.0)
    >>> backward(10.0, cache)
    (30.0, 20.0)

    Args:
        f: ``f(*args) -> ans``, without gradients.
        vjps: One for each of the first arguments, or for those that ``argnums`` counts; None for an
            argument without gradient.
        argnums: The positions of the arguments that ``vjps`` belong to, counted from 0.
        curried: True reads ``vjp(ans, *args)`` as the maker of a function ``g -> gradient`` (autograd
            since 1.2). False reads ``vjp(g, ans, *args) -> gradient`` (the older ``f.defvjp``). Nothing
            is guessed: both are functions of any number of arguments.

    Raises:
        TypeError: ``f`` or a vjp is not callable, ``argnums`` is no tuple of positions, or a curried
            vjp returned no function.
        ValueError: The vjps do not fit ``argnums`` or the arguments.
    """
    must_be_callable("from_vjp", "f", f)
    for number, vjp in enumerate(vjps):
        if vjp is not None:
            must_be_callable("from_vjp", f"vjp number {number}", vjp)
    positions = tuple(range(len(vjps))) if argnums is None else _positions(argnums)
    if not vjps or len(positions) != len(vjps) or len(set(positions)) != len(positions):
        raise ValueError(
            f"from_vjp must be given one vjp for each of the arguments of {name_of(f)} that argnums counts, "
            f"but was given {len(vjps)} for argnums {positions}. Write argnums=(0, 2) for the first and third."
        )
    who, signature = name_of(f), signature_of(f)

    def forward(*args: Any) -> tuple[Any, Any]:
        if max(positions) >= len(args) or min(positions) < 0:
            raise ValueError(
                f"{who} must have every vjp belong to one of its arguments ({listed(names_of(signature, len(args)))}), "
                f"but has vjps for the positions {listed(positions)}. Pass argnums=, counted from 0."
            )
        kept = copied(args)
        ans = f(*args)
        return ans, (copied(ans), kept)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        ans, args = cache
        names = names_of(signature, len(args))
        gradients: list[Any] = [None] * len(args)
        for position, vjp in zip(positions, vjps, strict=True):
            if vjp is not None:
                pullback = _pullback(who, names[position], vjp(ans, *args)) if curried else vjp
                gradients[position] = pullback(dout) if curried else pullback(dout, ans, *args)
        return tuple(gradients)

    return pair(forward, backward, names=(who, who), parameters=list(signature.parameters.values()))


def _positions(argnums: Any) -> tuple[int, ...]:
    if not isinstance(argnums, tuple | list | range) or not all(isinstance(each, int | np.integer) for each in argnums):
        raise TypeError(
            f"from_vjp must be given argnums as a tuple of positions, but was given {describe(argnums)}. "
            "Write argnums=(0, 2) for the first and third."
        )
    return tuple(map(int, argnums))


def _pullback(who: str, argument: str, made: Any) -> Callable[..., Any]:
    if not callable(made):
        raise TypeError(
            f"{who}'s vjp for {argument} must return a function of the cotangent, but returned {describe(made)}. "
            "Pass curried=False if it is vjp(g, ans, *args)."
        )
    return made  # type: ignore[no-any-return]
