"""A function that a framework differentiates by recording what it does to arrays of the framework's own. Level 1."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradcheck.adapters.gradients import LEFT_OUT, by_argument
from gradcheck.adapters.jax_arrays import must_compute_the_same
from gradcheck.adapters.signatures import Pair, name_of, pair, signature_of, with_keywords
from gradcheck.trees import flatten, is_discrete, is_number, leaves, mapped

__all__ = ["Framework", "recorded"]

Along = Callable[[list[Any]], list[Any]]
Pull = Callable[[list[Any]], list[Any]]


class Framework(NamedTuple):
    """How a framework differentiates.

    Attributes:
        taken: returns an array of the framework for one of NumPy or another library; for any other leaf the leaf.
        shown: returns a fresh array of NumPy for one of the framework.
        vjp: ``vjp(f, arrays) -> (f(arrays), pullback)``, where ``f`` maps a list of arrays to such a list, and
            ``pullback`` maps one cotangent for each output to one gradient for each array.
        within: returns the context in which all that is done.
        convention: of complex gradients.
    """

    taken: Callable[[Any], Any]
    shown: Callable[[Any], Any]
    vjp: Callable[[Along, list[Any]], tuple[list[Any], Pull]]
    within: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    convention: str | None = None


def recorded(f: Callable[..., Any], framework: Framework) -> Pair:
    """Return the pair of ``f``, of arrays of a framework, whose backward is the framework's pullback of it.

    Float arrays among the leaves of the arguments have a gradient. Outputs that are no floats are left out.

    Raises (by the backward):
        ValueError: ``f`` returns something else where it is differentiated, which its own rule can do.
    """
    who, compared = name_of(f), False

    def forward(*args: Any, **named: Any) -> tuple[Any, Any]:
        function = with_keywords(f, tuple(named))
        with framework.within():
            given = mapped(framework.taken, (*args, *named.values()))
            out = function(*given)
            shown = mapped(lambda leaf: framework.shown(leaf) if _is_numeric(leaf) else LEFT_OUT, out)
        return shown, (function, given, out)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        nonlocal compared
        function, given, out = cache
        found, structure = flatten(given)
        moving = [i for i, leaf in enumerate(found) if _moves(leaf)]
        floats = [_is_inexact(leaf) for _, leaf in leaves(out, "")]

        def along(arrays: list[Any]) -> list[Any]:
            every = dict(enumerate(found)) | dict(zip(moving, arrays, strict=True))
            result = function(*structure.unflatten(every.values()))
            return [leaf for (_, leaf), real in zip(leaves(result, ""), floats, strict=True) if real]

        cotangents = [np.array(dy) for (_, dy), real in zip(leaves(dout, ""), floats, strict=True) if real]
        gradients: dict[int, Any] = {}
        if cotangents and moving:
            with framework.within():
                primal, pull = framework.vjp(along, [found[i] for i in moving])
                gradients = dict(zip(moving, map(framework.shown, pull(cotangents)), strict=True))
                if not compared:
                    compared = True
                    before = [leaf for (_, leaf), real in zip(leaves(out, ""), floats, strict=True) if real]
                    rule = f"{who} must return the same where it is differentiated"
                    must_compute_the_same(rule, *([*map(framework.shown, each)] for each in (primal, before)))
        return by_argument(given, map(gradients.get, range(len(found))))

    parameters = list(signature_of(f).parameters.values())
    return pair(forward, backward, names=(who, who), parameters=parameters, convention=framework.convention)


def _is_numeric(leaf: Any) -> bool:
    return leaf is not None and is_number(leaf)


def _is_inexact(leaf: Any) -> bool:
    return _is_numeric(leaf) and not is_discrete(leaf)


def _moves(leaf: Any) -> bool:
    """Whether an argument has a gradient: an array of floats; a number stays, as everywhere."""
    return hasattr(leaf, "dtype") and not isinstance(leaf, np.generic) and _is_inexact(leaf)
