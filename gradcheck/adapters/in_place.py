"""A scalar function that fills in its gradient, ``f(x, grad) -> value``: the convention of NLopt. Level 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import copied, scaled
from gradcheck.adapters.jax_arrays import must_compute_the_same
from gradcheck.adapters.libraries import kind_of, made_like, to_numpy
from gradcheck.adapters.losses import scalar
from gradcheck.adapters.misgiven import must_be_function_for
from gradcheck.adapters.signatures import Pair, name_of, pair, signature_of
from gradcheck.pairing import call

__all__ = ["from_gradient_in_place"]


def from_gradient_in_place(f: Callable[..., Any]) -> Pair:
    """Return the pair of a scalar function that fills in its gradient where it is asked for one, as NLopt calls it.

    ``f(x, grad)`` returns the value, and writes the gradient into ``grad`` unless that is empty. The forward calls it
    with an empty one, the backward with one full of NaN, which stays in every entry that ``f`` does not fill, and fails
    there. The backward is ``dout * grad``, linear in ``dout`` by construction. A tensor of PyTorch gets a tensor as
    ``grad``, any other array one of NumPy.

    >>> def half_squares(x, grad):
    ...     if grad.size:
    ...         grad[:] = x
    ...     return 0.5 * (x @ x)
    >>> forward, backward = from_gradient_in_place(half_squares)
    >>> out, cache = forward(np.array([1.0, 2.0]))
    >>> backward(10.0, cache)
    array([10., 20.])

    Raises:
        TypeError: ``f`` cannot be called, or is for another adapter, which the message names.
        ValueError: ``f`` returns no scalar; or, by the backward: it leaves ``grad`` as it came, or returns another
            value than without.
    """
    must_be_function_for("from_gradient_in_place", f)
    who = name_of(f)

    def forward(x: Any) -> tuple[Any, Any]:
        kept = copied(x)
        return scalar(who, call(f, (x, _like(x, np.empty(0))))), kept

    def backward(dout: Any, x: Any) -> Any:
        grad = _like(x, np.full(np.shape(x), np.nan))
        value = scalar(who, call(f, (copied(x), grad)))
        found = np.asarray(to_numpy(grad))
        if np.isnan(found).all():
            raise ValueError(
                f"{who} must fill grad, but left all {found.size} entries as they came. "
                "Write grad[:] = …, where grad = … only names another array."
            )
        without = scalar(who, call(f, (copied(x), _like(x, np.empty(0)))))
        must_compute_the_same(f"{who} must return the same value with grad and without", value, without)
        return scaled(found, dout)

    (first, *_) = (*signature_of(f).parameters.values(), inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY))
    positional = first.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return pair(forward, backward, names=(who, who), parameters=[positional])


def _like(x: Any, array: Any) -> Any:
    """Return ``array`` in the dtype of ``x``, as a tensor where that is one: JAX's arrays could not be filled."""
    kind = kind_of(x)
    if kind is not None and getattr(kind.library, "__name__", "") == "torch":
        return made_like(kind._replace(asks=False), array)
    return array.astype(np.asarray(to_numpy(x)).dtype)
