"""One derivative of a released package in the house's convention, and short ways to write one down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Pair = tuple[Callable[..., Any], Callable[..., Any]]


class Case(NamedTuple):
    """A function of a package with its derivative at one point."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    args: tuple[Any, ...]


def elementwise(name: str, f: Callable[[Any], Any], df: Callable[[Any], Any], x: Any) -> Case:
    """A function of one variable, entry by entry, and its derivative."""

    def forward(x):
        return f(x), x

    def backward(dout, x):
        return dout * df(x)

    return Case(name, forward, backward, (np.asarray(x, dtype=np.float64),))


def with_gradient(name: str, f: Callable[[Any], Any], df: Callable[[Any], Any], x: Any) -> Case:
    """A scalar function of an array, and its gradient."""

    def forward(x):
        return float(f(x)), x

    def backward(dout, x):
        return dout * np.asarray(df(x))

    return Case(name, forward, backward, (np.asarray(x, dtype=np.float64),))


def value_and_gradient(name: str, f: Callable[[Any], tuple[Any, Any]], x: Any) -> Case:
    """A function that returns a scalar and its gradient."""
    return with_gradient(name, lambda x: f(x)[0], lambda x: f(x)[1], x)


def with_vjp(name: str, f: Callable[..., Any], vjp: Callable[..., Any], *args: Any) -> Case:
    """A function and ``vjp(dout, *args)``, which returns the gradients of all arguments."""
    return Case(name, lambda *a: (f(*a), a), lambda dout, a: vjp(dout, *a), args)


def linear(name: str, f: Callable[[Any], Any], adjoint: Callable[[Any], Any], x: Any) -> Case:
    """A linear function and its adjoint."""
    return Case(name, lambda x: (f(x), None), lambda dout, _: adjoint(dout), (np.asarray(x, dtype=np.float64),))
