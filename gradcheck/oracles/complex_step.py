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

from gradcheck.arguments import name_of
from gradcheck.calls import answering
from gradcheck.errors import told
from gradcheck.oracles.difference import central_difference
from gradcheck.oracles.estimate import Estimate, OracleError, Pushforward, point_of, tangent_at, value_at
from gradcheck.trees import Array, norm

__all__ = ["complex_step"]

EPS = float(np.finfo(np.float64).eps)
STEP = 1e-20
BESIDE = 4  # points by the point, to see which digits f loses, of which every entry differs by up to
DIGITS = 8.0  # rounding units;
SAFETY = 32.0  # how many times what that does to the value the bound allows for
SHARP = 1e-6  # a difference that is no better than this, relative to the slope, has not shown that f is analytic
ROUNDINGS = 64.0  # how many roundings of the value the bound allows for


def complex_step(f: Callable[[Array], Any], x: Array) -> Pushforward:
    """Return the pushforward of ``f`` at ``x`` by the complex step, checked once against a central difference.

    Raises (the pushforward too):
        OracleError: ``f`` does not accept complex numbers, drops their imaginary part, or is not analytic.
        TypeError, ValueError: as :func:`central_difference`.
    """
    x = point_of("complex_step", x)
    difference = central_difference(f, x)
    origin = np.abs(np.asarray(f.rounding)) if hasattr(f, "rounding") else EPS * np.abs(value_at(f, x))
    trusted = False
    scatter: Any = 0.0  # of the value as the last digit of x changes, per length of the point

    def pushforward(v: Array) -> Estimate:
        nonlocal trusted, scatter
        v = tangent_at("complex_step", x, v)
        length = (norm(x) or math.sqrt(x.size)) / (norm(v) or 1.0)
        h = STEP * length
        if not h:
            return difference(v)
        value = np.imag(_evaluate(f, x + 1j * h * v)) / h
        if not trusted:
            digits = EPS * np.random.default_rng(0).uniform(-DIGITS, DIGITS, (BESIDE, *x.shape))
            beside = [_beside(f, x * (1 + digit) + 1j * h * v, value * h) / h for digit in digits]
            scatter = length * np.max(beside, axis=0)
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
            left_open = np.where(np.isfinite(apart), apart + seen.error, np.inf)
            return Estimate(value, np.maximum(error, left_open)[()], seen.kink, seen.reason)
        return Estimate(value, error, seen.kink)

    return pushforward


def _beside(f: Callable[[Array], Any], x: Array, here: Any) -> Any:
    """Return by how much the imaginary part of f at ``x`` differs from ``here``; infinite where f refuses ``x``."""
    try:
        apart = np.abs(np.imag(_evaluate(f, x)) - here)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  (f may refuse a point in any way; at the point itself it was heard)
        apart = np.full(np.shape(here), np.inf)
    return np.where(np.isfinite(apart), apart, np.inf)


def _evaluate(f: Callable[[Array], Any], x: Array) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            with answering(name_of(f), (x,)):
                return np.asarray(f(x))
    except (TypeError, np.exceptions.ComplexWarning) as error:
        raise OracleError(
            f"complex_step must be able to run the forward on complex arrays, but it raised {told(error)}. "
            "Use oracle=central_difference, or make the buffers in the dtype of the arguments."
        ) from error
