"""What a formula of a paper says, as a record that can be run: definition, gradient, update or claim. Level 5."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.pairing import call
from gradcheck.shapes.described import specification_of
from gradcheck.shapes.specification import Specification
from gradcheck.trees import describe

__all__ = ["Claim", "Definition", "Gradient", "Statement", "Update", "must_be_a_statement", "specification"]


@dataclass(frozen=True)
class Definition:
    """A forward formula.

    ``formula(*args) -> out`` is the transcription, ``reference(*args) -> out`` the same function in ``jax.numpy`` by
    another road, ``backward(dout, args) -> gradients`` the pullback that is derived from it, one gradient for each
    argument in ``wrt``. ``shapes`` says what the arguments of the formula are, as ``"x: N, W: M N"``; where a text does
    not say enough it names sizes and settings alone, and ``args(rng, **sizes)`` makes the arguments.
    """

    formula: Callable[..., Any]
    reference: Callable[..., Any]
    backward: Callable[[Any, Any], Any]
    shapes: str = ""
    args: Callable[..., tuple[Any, ...]] | None = None
    wrt: tuple[str, ...] | None = None
    analytic: bool = False


@dataclass(frozen=True)
class Gradient:
    """A formula of a backward pass.

    ``forward(*args) -> (out, cache)`` is the system, and ``formula(dout, cache)`` the gradient of the argument ``of``,
    or of several, one for each. ``shapes`` and ``args`` say what the arguments of the forward are, as those of a
    :class:`Definition`. ``backward(dout, cache)``, if there is one, gives the right gradients of all arguments that
    move, by name: the formula takes the place of its own among them. ``reference(*args) -> out`` in ``jax.numpy`` adds
    autodiff; ``analytic`` says that the forward is, and adds the complex step.
    """

    forward: Callable[..., tuple[Any, Any]]
    formula: Callable[[Any, Any], Any]
    of: str | tuple[str, ...]
    shapes: str = ""
    args: Callable[..., tuple[Any, ...]] | None = None
    backward: Callable[[Any, Any], Mapping[str, Any]] | None = None
    reference: Callable[..., Any] | None = None
    analytic: bool = False


@dataclass(frozen=True)
class Update:
    """A step of one argument ``of`` by gradient descent.

    ``forward(*args) -> (loss, cache)`` is what is to fall, ``step(cache)`` the new value of the argument less the old
    one, ``rate`` the learning rate, or ``rate(cache)`` where each entry has its own. ``shapes`` and ``args`` say what
    the arguments of the forward are, as those of a :class:`Definition`.
    """

    forward: Callable[..., tuple[Any, Any]]
    step: Callable[[Any], Any]
    rate: Callable[[Any], Any] | float
    of: str
    shapes: str = ""
    args: Callable[..., tuple[Any, ...]] | None = None
    reference: Callable[..., Any] | None = None
    analytic: bool = False


@dataclass(frozen=True)
class Claim:
    """A sentence about numbers: ``holds(rng)`` says whether it held where it was tried, and what was seen."""

    holds: Callable[[np.random.Generator], tuple[bool, str]]


Statement = Definition | Gradient | Update | Claim


def must_be_a_statement(statement: object) -> None:
    """Raise a TypeError where the functions of a statement are none, or its shapes are no text."""
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
        if each.name == "shapes" and not isinstance(given, str):
            raise TypeError(
                f"{type(statement).__name__}.shapes must be a text, but it is {describe(given)}. "
                'Write "x: N D, W: D M", or name the sizes that args= takes.'
            )


def specification(statement: Definition | Gradient | Update) -> Specification:
    """Return what a statement says of the arguments that it is judged with.

    Raises:
        TypeError: an argument is specified nowhere, or the forward takes none of that name.
        ValueError: the shapes cannot be read, or contradict themselves.
    """
    forward = statement.formula if isinstance(statement, Definition) else statement.forward
    if (args := statement.args) is None:
        return specification_of(forward, statement.shapes)

    def made(rng: np.random.Generator, **sizes: Any) -> Any:
        return call(functools.partial(args, **sizes), (rng,))

    return specification_of(forward, statement.shapes, made)
