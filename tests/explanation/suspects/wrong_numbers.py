"""Gradients whose numbers are wrong: the backward pass, what it is called, and the sentence."""

import numpy as np

from tests.explanation.suspects.pair import normal
from tests.explanation.suspects.passes import (
    LAYER,
    NORM,
    Wrong,
    clipped,
    layer_forward,
    loss,
    norm_backward,
    norm_forward,
    on_layer,
    on_loss,
    stale,
    unit,
)

NUMBERS = (
    on_loss(
        "cotangent ignored",
        "C5",
        ("W", "b"),
        "dW and db are the same for every cotangent, and right for a cotangent of ones. "
        "Multiply them by dout, here 0.1257.",
        loss(heard=(0, 0)),
    ),
    Wrong(
        "cotangent of ones",
        "C5",
        ("x",),
        "dx is the same for every cotangent, and right for a cotangent of ones. "
        "Multiply the cotangent in where it arrives.",
        lambda x: (np.sin(x), x),
        lambda dout, x: np.cos(x),
        normal(14, (3, 4)),
    ),
    on_layer(
        "zero",
        "C8",
        ("W",),
        "dW is identically zero, and the true gradient is not. "
        "Return what was computed, not the buffer it starts from.",
        lambda dx, dW, db, dz, x, W: (dx, np.zeros_like(W), db),
    ),
    Wrong(
        "stale",
        "E2",
        ("W",),
        "dW grows by the true gradient with every call of the backward. "
        "Start each call from zeros, not from what the last one left.",
        layer_forward,
        stale(),
        LAYER,
    ),
    on_layer(
        "clipped",
        "G4",
        ("W",),
        "dW is clipped at 0.5, in 3 of 12 entries: dW[2, 0] is -1.357 in truth. "
        "Clip after the check, not in the backward.",
        clipped(0.5),
    ),
    on_layer(
        "normalised",
        "G4",
        ("W",),
        "dW is the true gradient scaled by 0.4691, to the norm 1. Clip after the check, not in the backward.",
        lambda dx, dW, db, dz, x, W: (dx, unit(dW), db),
    ),
    Wrong(
        "zero norm",
        "H1",
        ("x",),
        "dx[1, 2] is nan where the true gradient is 0, and x[1, 2] is 0. Treat zeros apart.",
        norm_forward,
        norm_backward,
        (NORM,),
    ),
    on_layer(
        "whole numbers",
        "H3",
        ("W",),
        "dW is cut to whole numbers: dW[1, 2] is 0, and 0.9302 is true. Make its array of floats.",
        lambda dx, dW, db, dz, x, W: (dx, dW.astype(int), db),
    ),
    on_layer(
        "whole numbers as floats",
        "H3",
        ("W",),
        "dW is rounded to whole numbers: dW[1, 0] is 0, and -0.4574 is true. Make its array of floats.",
        lambda dx, dW, db, dz, x, W: (dx, np.rint(dW), db),
    ),
    on_layer(
        "half precision",
        "H3",
        ("W",),
        "dW is right to 2e-04 only, and every entry is a float16. Compute it in float64, like W.",
        lambda dx, dW, db, dz, x, W: (dx, dW.astype(np.float16).astype(float), db),
    ),
)
