"""What an oracle answers: a value and how far it may be from the truth. Level 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import name_of
from gradcheck.pairing import call
from gradcheck.trees import Array, describe, is_number

__all__ = ["Estimate", "Oracle", "OracleError", "Pushforward", "point_of", "pushforward_of", "tangent_at", "value_at"]


class Estimate(NamedTuple):
    """A directional derivative with a bound of its error.

    ``error`` is infinite where nothing can be said. ``kink`` is half the distance between the slopes to the
    right and to the left where they do not meet: then any value within ``value ± kink`` is a one-sided
    derivative or a convention between two of them. ``reason`` says, where the bound is wide, why it is and what
    to do, as the second half of a sentence: the point lies near the edge of the forward's domain, for example.
    """

    value: Any
    error: Any
    kink: Any = 0.0
    reason: str | None = None


ORACLE = "Write oracle(f, x) -> (v -> Estimate(value, error)), or pass one of gradcheck's."
Pushforward = Callable[[Array], Estimate]
Oracle = Callable[[Callable[[Array], Any], Array], Pushforward]


class OracleError(TypeError):
    """An oracle cannot run the function that it was given; the message says what to pass instead."""


def pushforward_of(oracle: Oracle, f: Callable[[Array], Any], x: Array) -> Pushforward:
    """Return ``oracle(f, x)``, of which every answer is an Estimate.

    Raises (the pushforward too):
        TypeError: what ``oracle`` returns is no pushforward.
    """
    who = name_of(oracle)
    measure = call(oracle, (f, x), shown=(x,))
    if not callable(measure):
        raise TypeError(f"{who} must return a function of the tangent, but it returned {describe(measure)}. {ORACLE}")

    def pushforward(v: Array) -> Estimate:
        estimate: object = call(measure, (v,))
        if not isinstance(estimate, Estimate):
            raise TypeError(f"{who} must answer with an Estimate, but it is {describe(estimate)}. {ORACLE}")
        return estimate

    return pushforward if not hasattr(measure, "against") else measure


def point_of(oracle: str, x: Any) -> Array:
    """Return the point ``x`` as an array of float64.

    Raises:
        TypeError: it is no array of real numbers, and nothing that becomes one.
    """
    return _real(x, f"{oracle} must be given a point of real numbers", "it is", "Pass a float array.")


def tangent_at(oracle: str, x: Array, v: Any) -> Array:
    """Return the tangent ``v`` at ``x`` as an array of float64.

    Raises:
        TypeError: it is no array of real numbers, and nothing that becomes one.
        ValueError: its shape is not that of ``x``.
    """
    tangent = _real(v, f"{oracle} must be given a tangent of real numbers", "it is", "Pass a float array.")
    if tangent.shape != x.shape:
        raise ValueError(
            f"{oracle} must be given a tangent of the shape of the point, {x.shape}, but it is {describe(tangent)}. "
            "Pass one number for each of the point."
        )
    return tangent


def value_at(f: Callable[[Array], Any], x: Array) -> Array:
    """Return ``f(x)`` as an array of float64; what it raises carries a note of the call.

    Raises:
        TypeError: ``f`` is no function, or returns something else than real numbers.
    """
    if not callable(f):
        raise TypeError(f"f must be a function, but it is {describe(f)}. Pass the function itself.")
    returned = call(f, (x.copy(),))
    who = f"{name_of(f)} must return a real number or an array of them"
    return _real(returned, who, "it returned", "Take the real part of complex numbers, or return a loss.")


def _real(value: Any, rule: str, came: str, hint: str) -> Array:
    if type(value) is np.ndarray and value.dtype == np.float64:
        return value
    try:
        array = np.asarray(value)
    except Exception:  # noqa: BLE001  (whatever a class raises that is no array)
        array = np.array(None)
    if isinstance(value, np.ma.MaskedArray) or not is_number(array) or array.dtype.kind == "c":
        raise TypeError(f"{rule}, but {came} {describe(value)}. {hint}")
    with np.errstate(all="ignore"):
        return array.astype(np.float64)
