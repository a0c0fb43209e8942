"""Gradients of a loss with a regulariser, wrong in one of the two parts: the backward pass, its name, the sentence."""

from tests.explanation.suspects.passes import loss, on_loss

REGULARISER = (
    on_loss(
        "sum for mean",
        "A2",
        ("W", "b"),
        "The part of dW and db that comes from the data is 5 times the true gradient, and 5 is x.shape[0], the batch. "
        "Divide by the batch size, as the forward does.",
        loss(data=lambda g, N: g),
    ),
    on_loss(
        "divided twice beside a decay",
        "A3",
        ("W", "b"),
        "The part of dW and db that comes from the data is 1/5 of the true gradient, and 5 is x.shape[0], the batch. "
        "Remove one division by the batch size.",
        loss(data=lambda g, N: g / N / N),
    ),
    on_loss(
        "cotangent ignored by the decay",
        "C5",
        ("W",),
        "The part lam * W of dW is not multiplied by dout. Multiply the regulariser's gradient by the cotangent too.",
        loss(heard=(1, 0)),
    ),
    on_loss(
        "cotangent ignored by the data",
        "C5",
        ("W", "b"),
        "The part of dW and db that comes from the data is not multiplied by dout. Multiply it by the cotangent.",
        loss(heard=(0, 1)),
    ),
    on_loss("no decay", "D1", ("W",), "dW lacks lam * W, and 0.07 is lam. Add it for the regulariser.", loss(decay=0)),
    on_loss(
        "decay twice",
        "D1",
        ("W",),
        "dW has lam * W too much, and 0.07 is lam. Subtract it from the regulariser's part.",
        loss(decay=2),
    ),
    on_loss("half the decay", "D1", ("W",), "dW lacks 0.5 * lam * W. Add it for the regulariser.", loss(decay=0.5)),
    on_loss(
        "decay of the wrong sign",
        "D1",
        ("W",),
        "dW lacks 2 * lam * W. Add it; or, if half of it is there already, turn its sign.",
        loss(decay=-1),
    ),
    on_loss(
        "decay divided by the batch",
        "D1",
        ("W",),
        "dW lacks (1 - 1/x.shape[0]) * lam * W. Add it for the regulariser.",
        loss(decay=1 / 5),
    ),
    on_loss(
        "bias decays",
        "D2",
        ("b",),
        "db has a term lam * b, and 0.07 is lam: the loss does not regularise the bias. Remove that term.",
        loss(bias=1),
    ),
)
