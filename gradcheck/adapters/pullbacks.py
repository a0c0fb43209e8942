"""Functions that return their value and a pullback: ChainRules' ``rrule``, ``jax.vjp``, closures. Level 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import LEFT_OUT, pass_on
from gradcheck.adapters.libraries import Kind, in_double, kind_of, made_like, to_numpy
from gradcheck.adapters.misgiven import must_be_function_for
from gradcheck.adapters.signatures import Pair, name_of, pair, signature_of
from gradcheck.trees import describe, flatten, is_number, leaves, mapped

__all__ = ["from_pullback"]


def from_pullback(f: Callable[..., Any], *, convention: str | None = None) -> Pair:
    """Return the pair of a function that returns ``(y, pullback)``, where ``pullback(dy)`` returns the gradients.

    As ``rrule`` of ChainRules, without the tangent of the function itself, or ``lambda *x: jax.vjp(g, *x)``. The
    pullback is handed the cotangent in the form, the library and the dtypes of ``y``, and returns one gradient, or one
    for each argument in a tuple; None, NotImplemented and float0 mean that there is none. What in ``y`` is no array of
    floats and no float is left out, and the report says so.

    >>> def product(x, w):
    ...     return x * w, lambda dy: (dy * w, dy * x)
    >>> forward, backward = from_pullback(product)
    >>> out, cache = forward(2.0, 3.0)
    >>> backward(10.0, cache)
    (30.0, 20.0)

    Args:
        f: The function, of arrays of any library, as a check is given them.
        convention: ``"jax"`` where complex gradients are those of JAX, as for ``jax.vjp``.

    Raises:
        TypeError: ``f`` cannot be called, or is for another adapter, which the message names.
        TypeError (by the forward): ``f`` returns something else, or arrays of a library that is not known.
    """
    must_be_function_for("from_pullback", f)
    who = name_of(f)

    def forward(*args: Any) -> tuple[Any, Any]:
        with in_double(args):
            returned = f(*args)
        if not isinstance(returned, tuple | list) or len(returned) != 2 or not callable(returned[1]):
            raise TypeError(
                f"{who} must return a pair (y, pullback), where pullback is a function of the cotangent, but returned "
                f"{describe(returned)}. Return y and lambda dy: (dx, …)."
            )
        y, pullback = returned
        if not any(_is_numeric(leaf) for _, leaf in leaves(y, "")):
            raise TypeError(
                f"{who} must return y as floats or as arrays of NumPy, PyTorch, JAX or the array API, but returned "
                f"{describe(y)}. Return y.numpy() or the like, and the gradients likewise."
            )
        shown = mapped(lambda leaf: to_numpy(leaf) if leaf is not None and _is_numeric(leaf) else LEFT_OUT, y)
        return shown, (y, pullback)

    def backward(dout: Any, cache: Any) -> Any:
        y, pullback = cache
        found, structure = flatten(y)
        given = [dy for _, dy in leaves(dout, "")]
        with in_double((y, dout)):
            handed = structure.unflatten(map(_cotangent, found, given))
            before = mapped(to_numpy, handed)
            gradients = pullback(handed)
        pass_on(before, mapped(to_numpy, handed), dout)
        return mapped(_gradient, gradients)

    parameters = list(signature_of(f).parameters.values())
    return pair(forward, backward, names=(who, who), parameters=parameters, convention=convention)


def _is_numeric(leaf: Any) -> bool:
    return kind_of(leaf) is not None or is_number(leaf)


def _cotangent(y: Any, dy: Any) -> Any:
    """Return ``dy`` as the library of ``y`` has it: for integers of JAX, zeros of float0; for what is no number, it."""
    kind: Kind | None = kind_of(y)
    if kind is None:
        return dy if _is_numeric(y) else y
    if getattr(kind.library, "__name__", "") == "jax.numpy" and np.dtype(kind.dtype).kind in "biu":
        return np.zeros(np.shape(y), [("float0", "V")])
    return made_like(kind._replace(asks=False), dy)


def _gradient(leaf: Any) -> Any:
    """Return a gradient as an array; None where none is meant."""
    is_float0 = getattr(getattr(leaf, "dtype", None), "names", None) == ("float0",)
    return None if leaf is NotImplemented or is_float0 else to_numpy(leaf)
