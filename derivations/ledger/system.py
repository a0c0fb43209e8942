"""A network to judge formulas in: every intermediate quantity can be moved, so that each δ is a gradient too.

The forward of a system takes, beside inputs and parameters, one more argument for each intermediate quantity, by the
quantity's own name: it is added to the quantity where that arises, and is zero. The gradient of such an argument is
the gradient of the rest of the network with respect to the quantity, which is what a document means by ∂L/∂z.

A formula is a function of a namespace: the letters are the quantities of the forward, ``d`` and a letter is the right
cotangent of a quantity. So the formula stands alone on trial, and what it builds on is right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradcheck.equations.equation import Given, Gradient, Update

Formula = Callable[[SimpleNamespace], Any]
LOST = "Reconstructed from the prose: the displayed formula is lost."


@dataclass(frozen=True, slots=True)
class System:
    """A forward whose cache is a dict of its quantities by name, and its right backward, likewise a dict.

    Slots, and :class:`Given` for the backward, keep explanations out of it: they look for the mistake in the formula.
    ``backward(dout, cache)`` returns the cotangent of every argument that moves, by the argument's name. ``shapes`` and
    ``args`` are those of the statements.
    """

    forward: Callable[..., tuple[Any, dict[str, Any]]]
    backward: Callable[[Any, dict[str, Any]], dict[str, Any]]
    reference: Callable[..., Any]
    shapes: str
    args: Callable[..., tuple[Any, ...]] | None = None

    def at(self, dout: Any, cache: dict[str, Any]) -> SimpleNamespace:
        """Return the quantities and their right cotangents; ``dout`` is the cotangent of the output."""
        cotangents = {f"d{name}": cotangent for name, cotangent in Given(self.backward)(dout, cache).items()}
        return SimpleNamespace(**cache, **cotangents, dout=dout)

    def gradient(self, of: str | tuple[str, ...], formula: Formula) -> Gradient:
        """Return the statement that ``formula`` gives the gradient of ``of``."""
        return Gradient(
            self.forward,
            lambda dout, cache: formula(self.at(dout, cache)),
            of,
            self.shapes,
            self.args,
            self.backward,
            self.reference,
            analytic=True,
        )

    def update(self, of: str, step: Formula, rate: Formula | float) -> Update:
        """Return the statement that ``step`` is what gradient descent adds to ``of``; the output is the loss."""
        return Update(
            self.forward,
            lambda cache: step(self.at(np.float64(1.0), cache)),
            rate if isinstance(rate, float) else lambda cache: rate(self.at(np.float64(1.0), cache)),
            of,
            self.shapes,
            self.args,
            self.reference,
            analytic=True,
        )
