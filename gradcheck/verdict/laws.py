"""What holds for every forward and backward whatever the numbers: arity, structure, shape, dtype, finiteness. Level 2.

A breach of the forward's contract is bad input and raises. A breach of the backward's is a wrong backward: it is
returned as a sentence about one argument (or about all of them), so that the others can still be judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from gradcheck.adapters.libraries import kind_of
from gradcheck.arguments import Arguments, by_name
from gradcheck.hints import Sentence
from gradcheck.pairing import BLOCK, blocks
from gradcheck.trees import Array, describe, entry_name, is_discrete, is_float, leaves
from gradcheck.verdict.returned import MISPLACED, Reading, Uncompared, by_leaf, readings

__all__ = ["Claims", "ForeignOutputError", "coarse", "match_gradients", "read", "split_forward"]


class ForeignOutputError(TypeError):
    """An output holds complex numbers or an array of another library, and no one has made real ones of these yet."""


class Claims(NamedTuple):
    """What the backward claims: a gradient per moving leaf (None where it broke its contract), and the breaches.

    ``breach`` is one of the backward as a whole; ``uncompared`` are gradients of what does not move.
    """

    gradients: dict[str, Array | None]
    breaches: dict[str, str]
    breach: str | None = None
    uncompared: Mapping[str, Uncompared] = MappingProxyType({})


CACHED = "Move what is no float into the cache."


def split_forward(who: str, returned: Any, hint: str = CACHED) -> tuple[Any, Any]:
    """Return ``(out, cache)`` of what the forward returned.

    Integers and booleans among the leaves of ``out``, such as the positions of maxima, are no part of what is
    differentiated. An integer alone is a loss that happens to be whole.

    Raises:
        TypeError: it is no pair, or ``out`` holds something that is no number, or no floats at all.
        ValueError: ``out`` is empty, or holds NaN or Inf.
    """
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(
            f"{who} must return a pair (out, cache), but it returned {describe(returned)}. "
            "Return what the backward needs as the second value, None if it needs nothing."
        )
    out, cache = returned
    if isinstance(out, int | np.integer) and not isinstance(out, bool):
        return float(out), cache
    found = leaves(out, "out")
    floats = [(path, leaf) for path, leaf in found if not is_discrete(leaf)]
    for path, leaf in floats or found:
        if not (is_float(leaf) or isinstance(leaf, float | np.floating)) or isinstance(leaf, np.ma.MaskedArray):
            error = ForeignOutputError if isinstance(leaf, complex) or kind_of(leaf) else TypeError
            raise error(f"{who} must return real floats, but {path} is {describe(leaf)}. {hint}")
        values = np.asarray(leaf, dtype=np.float64)
        if not _is_finite(values):
            index = int(np.argmin(np.isfinite(values).ravel()))
            raise ValueError(
                f"{who} must be finite at the point of the check, but {entry_name(path, values.shape, index)} is "
                f"{values.ravel()[index]}. Choose another point."
            )
    if not any(np.size(leaf) for _, leaf in floats):
        raise ValueError(f"{who} must return at least one number, but out is {describe(out)}. Pass non-empty arrays.")
    return out, cache


def match_gradients(who: str, returned: Any, arguments: Arguments) -> Claims:
    """Match what the backward returned with the leaves that move; see ``returned`` for the forms that are accepted."""
    return read(who, returned, arguments)[1]


@np.errstate(all="ignore")
def read(who: str, returned: Any, arguments: Arguments) -> tuple[Reading | None, Claims]:
    """Return how to understand what the backward returned, None if it cannot be, and what it claims then.

    Of several ways the first that breaks no rule counts, or else the first.
    """
    first = None
    for reading in readings(returned, arguments):
        claims = _claims(who, reading, arguments)
        if not claims.breaches:
            return reading, claims
        first = first or (reading, claims)
    if first:
        return first
    names = [arguments.names[i] for i in arguments.moving]
    return None, Claims(
        dict.fromkeys(arguments.layout.paths),
        {},
        Sentence(
            f"{who} must return one gradient for each argument that moves ({by_name(names)}), "
            f"but it returned {describe(returned)}.",
            "Return them as a tuple in this order, or name in wrt= what moves.",
        ),
    )


def _claims(who: str, reading: Reading, arguments: Arguments) -> Claims:
    """Return the gradient of every leaf that moves, and what is wrong with those that are none."""
    gradients: dict[str, Array | None] = {}
    breaches: dict[str, str] = {}
    shapes = arguments.layout.shapes
    for position in arguments.moving:
        value, gradient = arguments.values[position], reading[position]
        for (path, _, number), claimed in by_leaf(position, reading, arguments):
            if number is None:
                continue
            problem: tuple[str, str] | None
            if claimed is MISPLACED:
                problem = (
                    f"in {describe(value)} like {arguments.names[position]}, but returned {describe(gradient)}",
                    "",
                )
            else:
                problem = _problem(path, claimed, shapes[number])
            gradients[path] = None if problem else np.asarray(claimed)
            if problem:
                what, hint = problem
                breaches[path] = Sentence(f"{who} must return d{path} {what}.", hint)
    return Claims(gradients, breaches)


def coarse(who: str, path: str, came: np.dtype[Any], wanted: np.dtype[Any]) -> str:
    """Return the sentence about a gradient in a lower precision than its argument and the output have."""
    return Sentence(
        f"{who} must return d{path} in no lower precision than {path} and the output have, but it returned "
        f"{came} and not {wanted}.",
        f"Make its buffers and constants in the dtype of {path}.",
    )


def _problem(path: str, claimed: Any, shape: tuple[int, ...]) -> tuple[str, str] | None:
    """Return what is wrong with one gradient as the end of a sentence, and a hint; None where nothing is."""
    if claimed is None:
        return f"because {path} moves, but returned None", f"Return a gradient, or leave {path} out of wrt=."
    if not isinstance(claimed, np.ndarray | np.generic | float) or isinstance(claimed, np.ma.MaskedArray):
        return f"as a float array, but returned {describe(claimed)}", ""
    array = np.asarray(claimed)
    if not is_float(array):
        return f"as a float array, but returned {describe(array)}", f"Make it in the dtype of {path}."
    if array.shape != shape:
        what = f"with {path}'s shape {shape}, but returned shape {array.shape}"
        return what, _shape_hint(array.shape, shape)
    if not _is_finite(array):
        finite = np.isfinite(array.astype(np.float64))
        index = int(np.argmin(finite.ravel()))
        count = int(finite.size - np.count_nonzero(finite))
        where = f"{entry_name(f'd{path}', shape, index)} is {array.ravel()[index]}"
        return f"finite, but {where} ({count} of {array.size} entries are not finite)", ""
    return None


def _is_finite(array: Array) -> bool:
    if array.dtype.kind == "f" and array.size <= BLOCK:
        flat = np.ravel(array)
        return math.isfinite(np.vdot(flat, flat)) or bool(np.isfinite(flat).all())  # the squares may overflow
    return all(np.isfinite(part.astype(np.float64, copy=False)).all() for (part,) in blocks(array))


def _shape_hint(came: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if len(came) > 1 and came == wanted[::-1]:
        return "Did you forget a transpose?"
    if len(came) > len(wanted) and came[len(came) - len(wanted) :] == wanted:
        return "Sum over the axis that was broadcast."
    if np.prod(came) == np.prod(wanted):
        return "Reshape it."
    return ""
