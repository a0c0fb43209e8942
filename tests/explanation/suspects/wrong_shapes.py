"""Gradients in the wrong order, slot or shape: the backward pass, what it is called, and the sentence."""

import numpy as np

from tests.explanation.suspects.pair import normal
from tests.explanation.suspects.passes import (
    BATCH_IS_WIDTH,
    CONV,
    SQUARE,
    WIDE,
    Wrong,
    conv,
    conv_forward,
    on_layer,
    padded,
    padded_forward,
    twins_backward,
    twins_forward,
)

SHAPES = (
    on_layer(
        "transposed square",
        "B1",
        ("W",),
        "dW is the transpose of the true gradient. Transpose it, or exchange the two factors of its product.",
        lambda dx, dW, db, dz, x, W: (dx, dz.T @ x, db),
        SQUARE,
    ),
    on_layer(
        "transposed",
        "B1",
        ("W",),
        "dW is the transpose of the true gradient. Transpose it, or exchange the two factors of its product.",
        lambda dx, dW, db, dz, x, W: (dx, dz.T @ x, db),
    ),
    on_layer(
        "transposed and averaged",
        "B1",
        ("W",),
        "dW is the transpose of the true gradient, and 0.2 times it besides. "
        "Transpose it, or exchange the two factors of its product.",
        lambda dx, dW, db, dz, x, W: (dx, dz.T @ x / len(x), db),
    ),
    Wrong(
        "channels exchanged",
        "B1",
        ("K",),
        "dK is the true gradient with its axes in another order. Transpose by (1, 0, 2, 3).",
        conv_forward,
        conv(lambda dK: dK.transpose(1, 0, 2, 3)),
        CONV,
    ),
    on_layer(
        "axis of one lost",
        "B2",
        ("b",),
        "db is the true gradient in the shape (4,) instead of (1, 4). "
        "Keep the axis of size one: keepdims=True where it sums.",
        lambda dx, dW, db, dz, x, W: (dx, dW, dz.sum(0)),
        WIDE,
    ),
    on_layer(
        "not summed",
        "B3",
        ("b",),
        "db, of shape (5, 4), is the true gradient once summed over axis 0. "
        "Sum over axis 0: what was broadcast forward is summed backward.",
        lambda dx, dW, db, dz, x, W: (dx, dW, dz),
    ),
    on_layer(
        "summed over units",
        "B4",
        ("b",),
        "db has shape (5,) for (4,), and its sum is that of the true gradient. Sum over the other axis.",
        lambda dx, dW, db, dz, x, W: (dx, dW, dz.sum(1)),
    ),
    on_layer(
        "summed over units in a square",
        "B4",
        ("b",),
        "db has the sum of the true gradient, and 4 is the batch too. Sum over the batch, not over the units.",
        lambda dx, dW, db, dz, x, W: (dx, dW, dz.sum(1)),
        BATCH_IS_WIDTH,
    ),
    on_layer(
        "summed over everything",
        "B4",
        ("b",),
        "db is the true gradient summed over everything, the same in every place. Do not reduce axis 0.",
        lambda dx, dW, db, dz, x, W: (dx, dW, dz.sum() * np.ones(4)),
    ),
    Wrong(
        "exchanged",
        "B5",
        ("U", "V"),
        "dU holds the gradient of V; dV holds the gradient of U. "
        "Return them in the order of the arguments: dx, dU, dV.",
        twins_forward,
        twins_backward,
        normal(13, (5, 3), (3, 4), (3, 4)),
    ),
    Wrong(
        "kernel turned",
        "F1",
        ("K",),
        "dK is the true gradient turned by 180°. Reverse it along the axes (2, 3).",
        conv_forward,
        conv(lambda dK: dK[:, :, ::-1, ::-1]),
        CONV,
    ),
    Wrong(
        "shifted",
        "F3",
        ("x",),
        "dx is the true gradient shifted by 1 along the axes (2, 3), cut off at the border. "
        "Crop the padding at the right place.",
        padded_forward,
        padded(lambda g: g[:, :, :-2, :-2]),
        normal(16, (2, 3, 6, 7)),
    ),
    Wrong(
        "padding kept",
        "F3",
        ("x",),
        "dx, of shape (2, 3, 8, 9), is the true gradient with the padding around it. "
        "Crop the padding: take [:, :, 1:7, 1:8].",
        padded_forward,
        padded(lambda g: g),
        normal(16, (2, 3, 6, 7)),
    ),
    Wrong(
        "rolled",
        "F3",
        ("x",),
        "dx is the true gradient rolled by 1 along axis 3. Crop the padding where the forward put it.",
        conv_forward,
        conv(lambda dx: np.roll(dx, 1, axis=3), "x"),
        CONV,
    ),
    Wrong(
        "height for width",
        "F4",
        ("K",),
        "dK is the true gradient with height and width exchanged. Swap axes 2 and 3.",
        conv_forward,
        conv(lambda dK: dK.swapaxes(2, 3)),
        CONV,
    ),
)
