"""What the settings of a check must be. Level 0."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradcheck.containers import shown
from gradcheck.trees import describe

__all__ = ["must_be_convention", "must_be_functions", "must_be_numbers", "must_be_seed", "must_be_yes_or_no"]


def must_be_functions(functions: Mapping[str, Any], optional: Mapping[str, Callable[..., Any] | None]) -> None:
    """Raise a TypeError unless all can be called; those that are ``optional`` may be None."""
    for name, function in {**functions, **optional}.items():
        if not callable(function) and not (name in optional and function is None):
            raise TypeError(f"{name} must be a function, but it is {describe(function)}. Pass the function itself.")


def must_be_numbers(tol: Any, seed: Any, timeout: Any) -> None:
    """Raise a TypeError or a ValueError unless these are None or numbers of their range."""
    if tol is not None and not (_is_number(tol, numbers.Real) and 0 <= tol < 1):
        raise _refusal(tol, numbers.Real)(
            f"tol must lie between 0 and 1, but it is {_plainly(tol)}. "
            "Leave it out to let pass what is right to seven digits."
        )
    must_be_seed(seed)
    if timeout is not None and not (_is_number(timeout, numbers.Real) and timeout > 0):
        raise _refusal(timeout, numbers.Real)(
            f"timeout must be a positive number of seconds, but it is {_plainly(timeout)}. "
            "Leave it out to wait for ever."
        )


def must_be_convention(convention: Any) -> None:
    """Raise a ValueError unless ``convention`` is None or one that there is."""
    if convention is not None and not (isinstance(convention, str) and convention in ("pytorch", "jax")):
        raise ValueError(
            f"convention must be 'pytorch' or 'jax', but it is {shown(convention)}. "
            "Leave it out for ∂L/∂Re z + i ∂L/∂Im z, as in NumPy code and in PyTorch."
        )


def must_be_seed(seed: Any) -> None:
    """Raise a TypeError or a ValueError unless ``seed`` is None or a whole number from 0 on."""
    if seed is not None and not (_is_number(seed, numbers.Integral) and seed >= 0):
        raise _refusal(seed, numbers.Integral)(
            f"seed must be a whole number from 0 on, but it is {_plainly(seed)}. Leave it out to draw one."
        )


def must_be_yes_or_no(name: str, value: Any) -> None:
    """Raise a TypeError unless the setting ``name`` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, but it is {describe(value)}. Leave it out for False.")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def _refusal(value: object, kind: type) -> type[Exception]:
    """Return what to raise about a setting: a TypeError where it is no number of its kind at all."""
    return ValueError if _is_number(value, kind) else TypeError


def _plainly(value: object) -> str:
    return str(value) if _is_number(value, numbers.Number) else describe(value)
