"""The functions that the networks of the ledger apply, entry by entry or row by row, and their slopes.

They take complex arrays too, so that the complex step can be asked. One that a document writes out, as σ(1 − σ), stands
where that document's formulas do.
"""

from typing import Any

import numpy as np


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def sigmoid_slope(z: Any) -> Any:
    return sigmoid(z) * sigmoid(-z)


def tanh_slope(z: Any) -> Any:
    return 1 / np.cosh(z) ** 2


def softmax(s: Any) -> Any:
    """The softmax along the last axis."""
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
