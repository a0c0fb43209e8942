"""Scalar losses that come with a gradient and no upstream cotangent: CS231n, CS224n, scipy.optimize. Level 1."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import by_key, copied, holds_floats, scaled
from gradcheck.adapters.libraries import to_numpy
from gradcheck.adapters.signatures import Pair, listed, must_be_callable, name_of, names_of, pair, signature_of
from gradcheck.adapters.swapped import Swapped
from gradcheck.pairing import call
from gradcheck.trees import describe

__all__ = ["from_loss_and_grad", "from_value_and_gradient", "scalar"]


def from_loss_and_grad(f: Callable[..., Any], *, params: MutableMapping[str, Any] | None = None) -> Pair:
    """Return the pair of a function that computes a loss and its gradients in one call.

    ``f(*args)`` returns ``(loss, grads)``, as in CS231n and CS224n, or ``(loss, grad_1, grad_2, ...)``.
    ``f`` takes no upstream cotangent, so the backward is ``dout * grads`` and linear in ``dout`` by
    construction: a check of linearity says nothing about ``f``.

    ``grads`` may be

    - an array, or a tuple or list with one gradient per moving argument, in order;
    - a dict keyed by argument names (``W1`` or ``dW1``) or keyed like the one dict among the arguments;
      then the backward returns one gradient per argument, None where the dict has none.

    Float arrays move unless ``check_backward`` is told otherwise: where ``f`` gives the gradient of ``W``
    alone, name it there.

    >>> def half_squares(W, X):
    ...     return 0.5 * ((X @ W) ** 2).sum(), X.T @ X @ W
    >>> forward, backward = from_loss_and_grad(half_squares)
    >>> loss, cache = forward(np.array([3.0]), np.array([[2.0]]))
    >>> backward(0.5, cache)  # and check_backward(forward, backward, (W, X), wrt="W")
    array([6.])

    Args:
        f: The function, or a bound method such as ``net.loss``.
        params: The dict in which the object behind ``f`` keeps its parameters (``net.params``), or which
            holds the very arrays that its layers keep. Then the forward takes a first argument ``params``,
            a dict with the same keys. ``f`` runs on a copy of its object that holds these values; where it
            has no object, they are put into the dict and its arrays for one call, and everything is put
            back as it was, also when ``f`` raises. ``grads`` is then a dict keyed like it.

    Raises:
        TypeError: ``f`` is not callable or returns something else; ``params`` is no dict.
        ValueError: The loss is not a scalar or does not react to ``params``, or the keys of a dict of
            gradients or parameters fit nothing.
    """
    must_be_callable("from_loss_and_grad", "f", f)
    who, signature = name_of(f), signature_of(f)
    parameters = list(signature.parameters.values())
    if params is not None:
        parameters = [_params_parameter(who, params, signature), *parameters]
    names = inspect.Signature(parameters)
    swapped = None if params is None else Swapped(who, f, params)

    def forward(*args: Any) -> tuple[Any, Any]:
        read = functools.partial(_loss_and_grads, who)
        loss, grads = read(call(f, args)) if swapped is None else swapped(read, args[0] if args else None, args[1:])
        return loss, _placed(who, grads, dict(zip(names_of(names, len(args)), args, strict=False)))

    def backward(dout: Any, cache: Any) -> Any:
        return scaled(cache, dout)

    return pair(forward, backward, names=(who, who), parameters=parameters)


def from_value_and_gradient(f: Callable[..., Any], grad: Callable[..., Any], *, args: Sequence[Any] = ()) -> Pair:
    """Return the pair of a scalar function and a second function that computes its gradient.

    The convention of ``scipy.optimize``: ``f(x, *args)`` is a scalar, ``grad(x, *args)`` an array of the
    shape of ``x``. The backward is ``dout * grad(x, *args)``, linear in ``dout`` by construction.

    Args:
        f: The function.
        grad: Its gradient with respect to its first argument (or a tuple, one for each moving argument).
        args: Extra arguments that stay fixed, as in ``scipy.optimize.minimize``; the forward does not take
            them. Those given to the forward instead move if they are float arrays, unless ``wrt=`` says
            otherwise.

    Raises:
        TypeError: ``f`` or ``grad`` is not callable, or ``args`` is no tuple or list.
        ValueError: ``f`` returns something that is not a scalar.
    """
    must_be_callable("from_value_and_gradient", "f", f)
    must_be_callable("from_value_and_gradient", "grad", grad)
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"from_value_and_gradient must be given args as a tuple, but was given {describe(args)}. "
            "Write args=(a,) for one extra argument."
        )
    who = name_of(f)
    extra = tuple(args)

    def as_arguments(given: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments with a point that is a list of numbers, or whole numbers, as floats, as SciPy does.

        Where another argument holds floats that move, whole numbers may be indices or pixels, and stay.
        """
        return tuple(given) if any(map(holds_floats, given[1:])) else (*map(_as_point, given[:1]), *given[1:])

    def forward(*given: Any) -> tuple[Any, Any]:
        given = as_arguments(given)
        return scalar(who, call(f, (*given, *extra))), copied(given)

    def backward(dout: Any, cache: Any) -> Any:
        return scaled(call(grad, (*copied(cache), *extra)), dout)

    parameters = _before(list(signature_of(f).parameters.values()), len(extra))
    return pair(forward, backward, names=(who, name_of(grad)), parameters=parameters, as_arguments=as_arguments)


def _before(parameters: list[inspect.Parameter], extra: int) -> list[inspect.Parameter]:
    """Return the parameters of a function that come before its ``extra`` fixed arguments.

    The fixed ones fill those without a default, which come first; at least one is left for the point.
    """
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not extra or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [p for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    return positional[: max(needed - extra, 1)]


def _as_point(x: Any) -> Any:
    """Return a list of numbers, or an array of whole ones, as an array of floats; anything else as it is."""
    numbers = isinstance(x, list | tuple) and all(isinstance(each, int | float | np.number) for each in x)
    whole = isinstance(x, np.ndarray) and x.dtype.kind in "iu"
    return np.array(x, dtype=np.float64) if numbers or whole else x


def _params_parameter(who: str, params: object, signature: inspect.Signature) -> inspect.Parameter:
    if not isinstance(params, MutableMapping):
        raise TypeError(
            f"from_loss_and_grad must be given params as the dict that {who} reads, but was given {describe(params)}. "
            "Pass the object's own dict, such as params=net.params, or use from_layer."
        )
    if "params" in signature.parameters:
        raise ValueError(
            f"{who} must not take an argument called params of its own when params= is given, but takes "
            f"{listed(signature.parameters)}. Leave params= out and pass the dict as that argument."
        )
    return inspect.Parameter("params", inspect.Parameter.POSITIONAL_ONLY)


def _loss_and_grads(who: str, returned: object) -> tuple[Any, Any]:
    if not isinstance(returned, tuple | list) or len(returned) < 2:
        raise TypeError(
            f"{who} must return a pair (loss, grads), but returned {describe(returned)}. "
            "Use from_value_and_gradient if the gradient is a function of its own."
        )
    loss, *several = returned
    grads = several[0] if len(several) == 1 else tuple(several)
    # A plain dict, because a defaultdict cannot be built again from its items alone.
    return scalar(who, loss), copied(dict(grads) if isinstance(grads, Mapping) else grads)


def scalar(who: str, loss: Any) -> Any:
    """Return a copy of the one number of ``loss`` as an array of floats.

    Raises:
        ValueError: it is none.
    """
    try:
        array = np.asarray(to_numpy(loss))
    except ValueError:  # a list of arrays of several shapes
        array = np.array(None)
    if array.dtype.kind in "iub":  # a sum of no terms: loss = 0
        array = array.astype(np.float64)
    if array.size != 1 or (array.dtype.kind not in "fc" and array.dtype.name != "bfloat16"):
        raise ValueError(
            f"{who} must return a scalar loss, but returned {describe(loss)}. "
            "Sum or average it, or write a backward that takes the upstream gradient dout."
        )
    return array.copy()


def _placed(who: str, grads: Any, arguments: Mapping[str, Any]) -> Any:
    """Return ``grads`` as one gradient per argument if they are a dict, and as they are otherwise."""
    if not isinstance(grads, Mapping):
        return grads
    alike = [name for name, value in arguments.items() if isinstance(value, Mapping) and _fits(grads, value)]
    if len(alike) == 1:
        (only,) = alike
        return tuple(by_key(grads, value) if name == only else None for name, value in arguments.items())
    named = by_key(grads, arguments)
    if named and len(named) == len(grads):
        return tuple(named.get(name) for name in arguments)
    keys = [f"{n} (keys {listed(map(repr, v))})" if isinstance(v, Mapping) else n for n, v in arguments.items()]
    raise ValueError(
        f"{who} must return a dict of gradients keyed by its arguments or like one dict among them, {listed(keys)}, "
        f"but returned {describe(grads)}. Rename the keys, return a tuple in order, or pass params=net.params."
    )


def _fits(grads: Mapping[Any, Any], params: Mapping[Any, Any]) -> bool:
    return len(grads) == len(params) == len(by_key(grads, params))
