"""The catalogue of mistakes that people make in backward passes. Level 0.

Collected from wrong backward passes of students and libraries. Every entry has the id by which reports name it, what it
is called, the sentence that a person reads, and the inputs on which it shows at all. How it is undone in a recorded
operation is told in ``steps.rewrites``; how it is known by a returned gradient alone, in ``steps.returned``.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CATALOGUE", "Mistake"]


class Mistake(NamedTuple):
    """A class of mistakes.

    Attributes:
        id: a letter for the group (A scale, B shape, C chain rule, D regulariser, E state, F windows, G time,
            H numbers, I the check itself), and a number.
        name: what it is called, in a few words.
        sentence: what a person who made it reads.
        visible: on which inputs it shows.
    """

    id: str
    name: str
    sentence: str
    visible: str


_ROWS = (  # A scale, B shape, C chain rule, D regulariser, E state, F windows, G time, H numbers, I the check
    ("A1", "wrong sign", "The sign is wrong.", "always"),
    (
        "A2",
        "sum for mean over the batch",
        "A sum over the batch stands where a mean belongs, or a mean where a sum does.",
        "a batch of at least 2",
    ),
    (
        "A3",
        "divided by the batch size twice",
        "The gradient is divided by the batch size twice: once in the loss and once more here.",
        "a batch of at least 2",
    ),
    ("A4", "constant factor", "A constant factor is missing, or one too many.", "always, if no size equals the factor"),
    (
        "A5",
        "factor of a window or a coefficient",
        "The area of a window, or a trainable coefficient, is missing as a factor.",
        "windows larger than 1, and coefficients other than 1",
    ),
    (
        "B1",
        "transpose",
        "A matrix is transposed where it must not be, or is not where it must be.",
        "matrices that are neither square nor symmetric, or several time steps",
    ),
    (
        "B2",
        "axis of size one",
        "An axis of size one is lost or added.",
        "an operand with an axis of size 1, and one with a single axis",
    ),
    (
        "B3",
        "broadcast not summed",
        "What was broadcast forward must be summed backward.",
        "a broadcast axis of at least 2",
    ),
    ("B4", "reduced over the wrong axis", "The sum runs over the wrong axis.", "sizes that differ from each other"),
    (
        "B5",
        "gradients in the wrong slots",
        "Two gradients are returned in each other's place.",
        "two arguments of equal shape",
    ),
    (
        "B6",
        "wrong operand",
        "A product is taken with the wrong operand, or by element for a matrix product.",
        "sizes that differ from each other",
    ),
    (
        "C1",
        "derivative of the activation missing",
        "The derivative of the activation is not multiplied in.",
        "inputs of order 1, with some units closed",
    ),
    (
        "C2",
        "derivative at the wrong argument",
        "The derivative of the activation is taken at the wrong argument.",
        "an activation other than ReLU, and inputs of order 1",
    ),
    (
        "C3",
        "wrong derivative",
        "The derivative of the activation is not the right function.",
        "inputs on every branch of the activation",
    ),
    (
        "C4",
        "another layer's activation",
        "The activation of another layer is used.",
        "layers of different sizes or activations",
    ),
    (
        "C5",
        "cotangent ignored",
        "The gradient that arrives from above is not multiplied in.",
        "a cotangent other than ones",
    ),
    (
        "C6",
        "softmax Jacobian",
        "Only the diagonal of the softmax's Jacobian is used, or its derivative is applied twice.",
        "at least 2 classes, and a cotangent that is not constant",
    ),
    (
        "C7",
        "statistics taken for constants",
        "Mean and variance depend on the input too, and their paths are missing.",
        "a batch of at least 2, and a scale other than 1",
    ),
    ("C8", "term missing", "A term of the sum over all paths is missing.", "every term non-zero"),
    (
        "C9",
        "complex conjugate",
        "A complex conjugate is missing, or one is too many.",
        "complex numbers that are not real",
    ),
    (
        "D1",
        "regulariser",
        "The gradient of the regulariser is missing, or has the wrong factor.",
        "a regulariser other than 0, and weights of order 1",
    ),
    (
        "D2",
        "bias regularised",
        "The bias is regularised here, and is not in the loss.",
        "a bias other than 0, and a regulariser",
    ),
    (
        "E1",
        "overwritten instead of accumulated",
        "A contribution overwrites those before it instead of adding to them.",
        "something that is used at least twice: overlapping windows, several steps, repeated indices",
    ),
    (
        "E2",
        "accumulated too often",
        "A contribution is added more than once, or an accumulator is not reset.",
        "two calls of the backward",
    ),
    ("E3", "written in place", "An array that is still needed is overwritten in place.", "a second use of the array"),
    (
        "E4",
        "updated too early",
        "The parameters are updated before the gradient has passed through them.",
        "a learning rate that is not tiny",
    ),
    (
        "E5",
        "dropout mask",
        "The mask of the dropout, or its scale, is not applied backward.",
        "a fixed mask with some units dropped",
    ),
    (
        "F1",
        "kernel not rotated",
        "The kernel must be rotated by 180° on the way back.",
        "kernels of at least 2 × 2 that are not symmetric",
    ),
    (
        "F2",
        "stride",
        "The stride, or what it leaves over, is handled wrongly.",
        "a stride of at least 2, and a remainder",
    ),
    ("F3", "padding", "The padding is cropped wrongly.", "a padding of at least 1"),
    ("F4", "height and width", "Height and width are exchanged.", "a height other than the width"),
    ("F5", "link table", "The table of connections is ignored, or transposed.", "a table that is not full"),
    ("F6", "ties of a maximum", "Where several entries are the largest, each of them gets the gradient.", "ties"),
    (
        "F7",
        "memory order",
        "The result depends on how the arrays lie in memory.",
        "arrays that are not contiguous",
    ),
    (
        "G1",
        "path through time dropped",
        "The gradient does not flow back to earlier steps.",
        "at least 2 time steps, and recurrent weights of order 1",
    ),
    (
        "G2",
        "wrong horizon",
        "The sum over the steps stops too early, or begins too late.",
        "at least 3 time steps",
    ),
    (
        "G3",
        "state of the wrong step",
        "The state of another time step is used.",
        "at least 2 time steps, and an initial state other than 0",
    ),
    ("G4", "clipped", "The gradient is clipped or normalised inside the backward.", "large gradients"),
    (
        "H1",
        "not finite at a singular point",
        "The formula divides by zero where the gradient is finite.",
        "zeros in the input",
    ),
    ("H2", "convention at a kink", "At a kink the gradient is a convention.", "an input exactly at a kink"),
    ("H3", "precision lost", "Digits are lost to a lower precision or to whole numbers.", "values that are not whole"),
    (
        "I1",
        "numeric gradient wrong",
        "The numeric side of a comparison is wrong.",
        "always, if more than one oracle measures",
    ),
    (
        "I2",
        "vacuous check",
        "The check could not have failed: the true gradient is zero.",
        "a gradient other than 0",
    ),
    (
        "I3",
        "another function",
        "Forward and backward do not speak of the same function.",
        "always, if the cache is made by the forward",
    ),
)

CATALOGUE: dict[str, Mistake] = {row[0]: Mistake(*row) for row in _ROWS}
