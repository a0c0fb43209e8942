"""What a formula of a paper says, as a record that can be run: definition, gradient, update or claim. Level 5."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck.trees import describe

__all__ = ["Claim", "Definition", "Gradient", "Statement", "Update", "must_be_a_statement"]


@dataclass(frozen=True)
class Definition:
    """A forward formula.

    ``formula(*args) -> out`` is the transcription, ``reference(*args) -> out`` the same function in ``jax.numpy`` by
    another road, ``backward(dout, args) -> gradients`` the pullback that is derived from it, one gradient for each
    argument in ``wrt``. ``args(rng, **sizes)`` draws a point, ``structure`` holds the values each size may have.
    """

    formula: Callable[..., Any]
    reference: Callable[..., Any]
    backward: Callable[[Any, Any], Any]
    args: Callable[..., tuple[Any, ...]]
    structure: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    wrt: tuple[str, ...] | None = None
    analytic: bool = False


@dataclass(frozen=True)
class Gradient:
    """A formula of a backward pass.

    ``forward(*args) -> (out, cache)`` is the system, and ``formula(dout, cache)`` the gradient of the argument ``of``,
    or of several, one for each. ``backward(dout, cache)``, if there is one, gives the right gradients of all arguments
    that move, by name: the formula takes the place of its own among them. ``reference(*args) -> out`` in ``jax.numpy``
    adds autodiff; ``analytic`` says that the forward is, and adds the complex step.
    """

    forward: Callable[..., tuple[Any, Any]]
    formula: Callable[[Any, Any], Any]
    of: str | tuple[str, ...]
    args: Callable[..., tuple[Any, ...]]
    structure: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    backward: Callable[[Any, Any], Mapping[str, Any]] | None = None
    reference: Callable[..., Any] | None = None
    analytic: bool = False


@dataclass(frozen=True)
class Update:
    """A step of one argument ``of`` by gradient descent.

    ``forward(*args) -> (loss, cache)`` is what is to fall, ``step(cache)`` the new value of the argument less the old
    one, ``rate`` the learning rate, or ``rate(cache)`` where each entry has its own.
    """

    forward: Callable[..., tuple[Any, Any]]
    step: Callable[[Any], Any]
    rate: Callable[[Any], Any] | float
    of: str
    args: Callable[..., tuple[Any, ...]]
    structure: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    reference: Callable[..., Any] | None = None
    analytic: bool = False


@dataclass(frozen=True)
class Claim:
    """A sentence about numbers: ``holds(rng)`` says whether it held where it was tried, and what was seen."""

    holds: Callable[[np.random.Generator], tuple[bool, str]]


Statement = Definition | Gradient | Update | Claim


def must_be_a_statement(statement: object) -> None:
    """Raise a TypeError where the functions of a statement are none."""
    if not isinstance(statement, Statement):
        raise TypeError(
            f"a statement must be a Definition, a Gradient, an Update or a Claim, but it is {describe(statement)}. "
            "Put its functions into one of these records."
        )
    for each in dataclasses.fields(statement):
        given, asked = getattr(statement, each.name), str(each.type)
        stands = (given is None and asked.endswith("| None")) or (
            isinstance(given, float) and asked.endswith("| float")
        )
        if asked.startswith("Callable") and not callable(given) and not stands:
            raise TypeError(
                f"{type(statement).__name__}.{each.name} must be a function, but it is {describe(given)}. "
                "Pass the function itself."
            )
