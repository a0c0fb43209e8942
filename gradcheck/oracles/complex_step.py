"""The complex step: exact to rounding for analytic code, at one evaluation a direction. Level 1.

For analytic f, f(x + ihv) = f(x) + ih f'(x)v + O(h²), so Im f(x + ihv) / h has no subtraction and h can be
1e-20: nothing is truncated and nothing cancels (Squire & Trapp 1998). It is silently wrong where f is not analytic
(abs, norm, std, var, vdot, conj, sign), so it is believed only after it agreed with a difference.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.oracles.difference import central_difference
from gradcheck.oracles.estimate import Estimate, OracleError, Pushforward
from gradcheck.trees import Array, norm

__all__ = ["complex_step"]

EPS = float(np.finfo(np.float64).eps)
STEP = 1e-20
SAFETY = 16.0  # how many times what the last digit of the point does to the value the bound allows for
SHARP = 1e-6  # a difference that is no better than this, relative to the slope, has not shown that f is analytic
ROUNDINGS = 64.0  # how many roundings of the value the bound allows for


def complex_step(f: Callable[[Array], Any], x: Array) -> Pushforward:
    """Return the pushforward of ``f`` at ``x`` by the complex step, checked once against a central difference.

    Raises (at the first direction):
        OracleError: ``f`` does not accept complex numbers, drops their imaginary part, or is not analytic.
    """
    x = np.asarray(x, dtype=np.float64)
    difference = central_difference(f, x)
    origin = np.abs(np.asarray(getattr(f, "rounding", EPS * np.abs(np.asarray(f(x.copy()))))))
    trusted = False
    scatter: Any = 0.0  # of the value as the last digit of x changes, per length of the point

    def pushforward(v: Array) -> Estimate:
        nonlocal trusted, scatter
        v = np.asarray(v, dtype=np.float64)
        length = (norm(x) or math.sqrt(x.size)) / (norm(v) or 1.0)
        h = STEP * length
        value = np.imag(_evaluate(f, x + 1j * h * v)) / h
        if not trusted:
            beside = [np.imag(_evaluate(f, x * (1 + digit) + 1j * h * v)) / h for digit in (EPS, -EPS)]
            scatter = length * np.max(np.abs(np.asarray(beside) - value), axis=0)
        error = ROUNDINGS * (EPS * np.abs(value) + origin / length) + SAFETY * scatter / length
        if trusted:
            return Estimate(value, error)
        seen = difference(v)
        apart = np.abs(value - seen.value)
        if np.any((apart > error + seen.error) & (np.asarray(seen.kink) == 0)):
            raise OracleError(
                f"complex_step must agree with central_difference on an analytic function, but it gave {value} and "
                f"the difference {seen.value} ± {seen.error}. Use oracle=central_difference: the function calls "
                "something that is not analytic, such as abs, norm, std, conj or a cast to real."
            )
        sharp = np.all(seen.error <= SHARP * np.abs(seen.value) + error)
        trusted = bool(sharp) and not np.any(seen.kink)
        if not sharp:  # then nobody knows whether f is analytic, and the difference is all there is
            error, reason = np.maximum(error, apart + seen.error), seen.reason
            return Estimate(value, error, seen.kink, reason)
        return Estimate(value, error, seen.kink)

    return pushforward


def _evaluate(f: Callable[[Array], Any], x: Array) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return f(x)
    except (TypeError, np.exceptions.ComplexWarning) as error:
        raise OracleError(
            f"complex_step must be able to run the forward on complex arrays, but it raised {type(error).__name__}: "
            f"{error}. Use oracle=central_difference, or make the buffers in the dtype of the arguments."
        ) from error
