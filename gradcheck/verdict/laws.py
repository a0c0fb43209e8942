"""What holds for every forward and backward whatever the numbers: arity, structure, shape, dtype, finiteness. Level 2.

A breach of the forward's contract is bad input and raises. A breach of the backward's is a wrong backward: it is
returned as a sentence about one argument (or about all of them), so that the others can still be judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments, by_name
from gradcheck.hints import Sentence
from gradcheck.pairing import BLOCK, blocks
from gradcheck.trees import Array, describe, entry_name, is_container, is_float, leaves

__all__ = ["Claims", "coarse", "match_gradients", "split_forward", "unasked"]


class Claims(NamedTuple):
    """What the backward claims: a gradient per moving leaf (None where it broke its contract), and the breaches."""

    gradients: dict[str, Array | None]
    breaches: dict[str, str]
    breach: str | None = None


def split_forward(who: str, returned: Any) -> tuple[Any, Any]:
    """Return ``(out, cache)`` of what the forward returned.

    Raises:
        TypeError: it is no pair, or ``out`` holds something else than real floats.
        ValueError: ``out`` is empty, or holds NaN or Inf.
    """
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(
            f"{who} must return a pair (out, cache), but it returned {describe(returned)}. "
            "Return what the backward needs as the second value, None if it needs nothing."
        )
    out, cache = returned
    found = list(leaves(out, "out"))
    for path, leaf in found:
        if not (is_float(leaf) or isinstance(leaf, float | np.floating)):
            raise TypeError(
                f"{who} must return real floats, but {path} is {describe(leaf)}. Move what is no float into the cache."
            )
        values = np.asarray(leaf, dtype=np.float64)
        if not _is_finite(values):
            index = int(np.argmin(np.isfinite(values).ravel()))
            raise ValueError(
                f"{who} must be finite at the point of the check, but {entry_name(path, values.shape, index)} is "
                f"{values.ravel()[index]}. Choose another point."
            )
    if not any(np.size(leaf) for _, leaf in found):
        raise ValueError(f"{who} must return at least one number, but out is {describe(out)}. Pass non-empty arrays.")
    return out, cache


def match_gradients(who: str, returned: Any, arguments: Arguments) -> Claims:
    """Match what the backward returned with the arguments that move.

    Accepted are one gradient per moving argument in order, one per argument with None for those that stay, a dict
    keyed by argument (``W`` or ``dW``), and the bare gradient where one argument moves.
    """
    names = [arguments.names[i] for i in arguments.moving]
    per_argument = _per_argument(returned, arguments)
    if per_argument is None:
        return Claims(
            dict.fromkeys(arguments.layout.paths),
            {},
            Sentence(
                f"{who} must return one gradient for each argument that moves ({by_name(names)}), "
                f"but it returned {describe(returned)}.",
                "Return them as a tuple in this order, or name in wrt= what moves.",
            ),
        )
    gradients: dict[str, Array | None] = {}
    breaches: dict[str, str] = {}
    for position, gradient in zip(arguments.moving, per_argument, strict=True):
        name = arguments.names[position]
        found = _leaves_like(arguments.values[position], gradient, name)
        for path in arguments.moving_leaves(position):
            shape = arguments.layout.shapes[arguments.layout.paths.index(path)]
            claimed = found.get(path, gradient) if isinstance(found, dict) else gradient
            wrong_container = not isinstance(found, dict) or path not in found
            problem = (
                (f"in {describe(arguments.values[position])} like {name}, but returned {describe(gradient)}", "")
                if wrong_container
                else _problem(f"d{path}", claimed, shape, path)
            )
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


def unasked(returned: Any, arguments: Arguments) -> tuple[str, ...]:
    """Return the names of the arguments that have a gradient, where these are others than were taken to move.

    One that was taken to stay has a gradient after all; or a dict of settings beside arrays has none.
    """
    names, values = arguments.names, arguments.values
    if len(arguments.moving) == 1 and _mirrors(values[arguments.moving[0]], returned):
        return ()
    if isinstance(returned, Mapping):
        given = {i: returned.get(names[i], returned.get(f"d{names[i]}")) for i in range(len(names))}
    elif isinstance(returned, tuple | list) and len(returned) == len(names) != len(arguments.moving):
        given = dict(enumerate(returned))
    elif isinstance(returned, tuple | list) and len(returned) < len(arguments.moving):
        plain = [i for i in arguments.moving if not _mixed(values[i])]
        return tuple(names[i] for i in plain) if len(plain) == len(returned) else ()
    else:
        return ()
    if any(is_container(values[i]) != is_container(given[i]) for i in arguments.moving):
        return ()
    asked = [i for i in given if i in arguments.moving or (given[i] is not None and _holds_floats(values[i]))]
    return tuple(names[i] for i in asked) if len(asked) > len(arguments.moving) else ()


def _mixed(value: Any) -> bool:
    """Whether a dict holds numbers or switches beside its arrays, as one of settings and running averages does."""
    return isinstance(value, Mapping) and not all(is_float(leaf) for _, leaf in leaves(value, ""))


def _holds_floats(value: Any) -> bool:
    return any(is_float(leaf) or isinstance(leaf, float | np.floating) for _, leaf in leaves(value, ""))


def _per_argument(returned: Any, arguments: Arguments) -> list[Any] | None:
    """Return the gradients one per moving argument, None where their number or their keys do not fit."""
    moving, names = arguments.moving, arguments.names
    if isinstance(returned, Mapping):
        for prefix in ("", "d"):
            if all(prefix + names[i] in returned for i in moving):
                return [returned[prefix + names[i]] for i in moving]
    if len(moving) == 1 and _mirrors(arguments.values[moving[0]], returned):
        return [returned]
    if isinstance(returned, tuple | list):
        if len(returned) == len(moving):
            return list(returned)
        if len(returned) == len(names):
            return [returned[i] for i in moving]
    return [returned] if len(moving) == 1 and isinstance(returned, Mapping) else None


def _mirrors(value: Any, returned: Any) -> bool:
    """Whether ``returned`` looks like the bare gradient of the only argument that moves."""
    if not is_container(returned):
        return True
    if not is_container(value):
        return False
    if isinstance(value, Mapping) or isinstance(returned, Mapping):
        return isinstance(value, Mapping) and isinstance(returned, Mapping)
    return len(value) == len(returned) and (len(value) != 1 or is_container(returned[0]) == is_container(value[0]))


def _leaves_like(value: Any, gradient: Any, path: str) -> dict[str, Any] | None:
    """Return the leaves of ``gradient`` by the path of the leaf of ``value`` that each belongs to."""
    if not is_container(value):
        return None if is_container(gradient) else {path: gradient}
    if isinstance(value, Mapping) != isinstance(gradient, Mapping) or not is_container(gradient):
        return None
    items = (
        [(key, subtree, gradient[key]) for key, subtree in value.items() if key in gradient]
        if isinstance(value, Mapping)
        else [(i, *pair) for i, pair in enumerate(zip(value, gradient, strict=False))]
    )
    if not isinstance(value, Mapping) and len(value) != len(gradient):
        return None
    found: dict[str, Any] = {}
    for key, subtree, part in items:
        found |= _leaves_like(subtree, part, f"{path}[{key!r}]") or {}
    return found


def _problem(name: str, claimed: Any, shape: tuple[int, ...], path: str) -> tuple[str, str] | None:
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
        where = f"{entry_name(name, shape, index)} is {array.ravel()[index]}"
        return f"finite, but {where} ({count} of {array.size} entries are not finite)", ""
    return None


def _is_finite(array: Array) -> bool:
    if array.dtype.kind == "f" and array.size <= BLOCK:
        return bool(np.isfinite(array).all())
    return all(np.isfinite(part.astype(np.float64, copy=False)).all() for (part,) in blocks(array))


def _shape_hint(came: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if len(came) > 1 and came == wanted[::-1]:
        return "Did you forget a transpose?"
    if len(came) > len(wanted) and came[len(came) - len(wanted) :] == wanted:
        return "Sum over the axis that was broadcast."
    if np.prod(came) == np.prod(wanted):
        return "Reshape it."
    return ""
