"""The user's names on the house's pair: whom a message speaks of, and what its arguments are called. Level 1."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gradcheck.trees import describe

__all__ = [
    "Backward",
    "Forward",
    "Pair",
    "by_keyword",
    "in_order",
    "listed",
    "must_be_callable",
    "must_be_order",
    "name_of",
    "names_of",
    "pair",
    "signature_of",
    "with_keywords",
]

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]
Pair = tuple[Forward, Backward]


def name_of(function: object) -> str:
    """Return what a message calls ``function``: ``svm_loss``, or ``TwoLayerNet.loss`` for a bound method."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        return type(function).__name__
    owner = getattr(function, "__self__", None)
    return name if owner is None or inspect.ismodule(owner) else f"{type(owner).__name__}.{name}"


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of ``function``; ``(*args)`` for a builtin that does not tell its own."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)])


def names_of(signature: inspect.Signature, count: int) -> tuple[str, ...]:
    """Return the names of the first ``count`` positional arguments: ``x``, ``w``, ``rest[0]``."""
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            names.append(parameter.name)
    return tuple(names[:count])


def listed(names: Iterable[object]) -> str:
    """Return ``names`` as a message lists them: ``x, w, b``; ``none`` if there are none."""
    return ", ".join(map(str, names)) or "none"


def must_be_callable(adapter: str, role: str, function: object) -> None:
    """Raise a TypeError unless ``function``, the ``role`` of ``adapter``, can be called."""
    if not callable(function):
        raise TypeError(f"{adapter} must be given a callable {role}, but was given {describe(function)}.")


def must_be_order(adapter: str, order: Any) -> None:
    """Raise a ValueError unless ``order`` is that of a derivative that is checked: 1 or 2."""
    if isinstance(order, bool) or order not in (1, 2):
        raise ValueError(
            f"{adapter} must be given order=1 or order=2, but was given {describe(order)}. Leave it out for 1."
        )


def pair(
    forward: Forward,
    backward: Backward,
    *,
    names: tuple[str, str],
    parameters: Sequence[inspect.Parameter],
    as_arguments: Callable[[Sequence[Any]], tuple[Any, ...]] | None = None,
    convention: str | None = None,
) -> Pair:
    """Return ``(forward, backward)`` under the user's names and with the user's parameters.

    ``as_arguments(args)`` completes what a check is given to what it moves: :class:`gradcheck.arguments.Completing`.
    ``convention`` is that of its complex gradients.

    Not ``functools.wraps``: its ``__wrapped__`` would lead whoever unwraps the pair to a function of
    another convention.
    """
    for function, name in zip((forward, backward), names, strict=True):
        function.__name__ = function.__qualname__ = name
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    if as_arguments is not None:
        forward.as_arguments = as_arguments  # type: ignore[attr-defined]
    if convention is not None:
        forward.convention = convention  # type: ignore[attr-defined]
    return forward, backward


def in_order(function: Callable[..., Any], args: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``args`` in the order in which ``function`` lists them, which is that of the gradients."""
    return {name: args[name] for name in (*signature_of(function).parameters, *args) if name in args}


def with_keywords(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """Return ``function`` as one of positional arguments, of which it takes the last by ``names``."""
    if not names:
        return function

    @functools.wraps(function)
    def positional(*values: Any) -> Any:
        return function(*values[: -len(names)], **dict(zip(names, values[-len(names) :], strict=True)))

    return positional


def by_keyword(function: Callable[..., Any], args: Mapping[str, Any]) -> Callable[..., Any]:
    """Return ``function`` as one of positional arguments in the order of ``args``, which it takes by their names.

    What it takes by position as well, as every adapted forward does, is passed so.

    Raises:
        TypeError: it does not take these.
    """
    names, signature = tuple(args), signature_of(function)
    try:
        signature.bind(**args)
    except TypeError as error:
        raise TypeError(
            f"{name_of(function)} must accept the arguments in args by name, but its signature does not: {error}. "
            "Check args against its signature."
        ) from None

    @functools.wraps(function)
    def named(*values: Any) -> Any:
        bound = signature.bind(**dict(zip(names, values, strict=True)))
        return function(*bound.args, **bound.kwargs)

    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named.__signature__ = inspect.Signature([inspect.Parameter(name, positional) for name in names])  # type: ignore[attr-defined]
    named.__name__ = name_of(function)
    return named
