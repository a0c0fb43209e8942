"""Layers in the style of CS231n: ``dout`` and a cache, one function a layer."""

import numpy as np

from tests.strangers.case import Case, RightAlthough, normal, planted_case


def affine_forward(x, w, b):
    out = x.reshape(x.shape[0], -1).dot(w) + b
    cache = (x, w, b)
    return out, cache


def affine_backward(dout, cache):
    x, w, _b = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db


def relu_forward(x):
    out = np.maximum(0, x)
    cache = x
    return out, cache


def relu_backward(dout, cache):
    x = cache
    dx = dout.copy()
    dx[x <= 0] = 0
    return dx


def relu_backward_masking_the_gradient(dout, cache):
    dx = np.array(dout, copy=True)
    dx[dx <= 0] = 0
    return dx


def leaky_relu_forward(x, alpha=0.1):
    return np.where(x > 0, x, alpha * x), (x, alpha)


def leaky_relu_backward(dout, cache):
    x, alpha = cache
    dx = np.where(x > 0, 1.0, alpha)
    return dout * dx


def elu_forward(x, alpha=0.7):
    out = np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))
    return out, (x, out, alpha)


def elu_backward(dout, cache):
    x, out, alpha = cache
    return dout * np.where(x > 0, 1, out + alpha)


def sigmoid_forward(x):
    out = 1 / (1 + np.exp(-x))
    return out, out


def sigmoid_backward(dout, cache):
    s = cache
    return dout * s * (1 - s)


def tanh_forward(x):
    cache = x
    return np.tanh(x), cache


def tanh_backward(dout, cache):
    x = cache
    return (1 - np.tanh(x) ** 2) * dout


def tanh_backward_with_x(dout, cache):
    x = cache
    return (1 - x**2) * dout


def swish_forward(x):
    s = 1 / (1 + np.exp(-x))
    return x * s, (x, s)


def swish_backward(dout, cache):
    x, s = cache
    dx = s
    dx = dx + x * s * (1 - s)
    return dout * dx


def softmax_forward(scores):
    e = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    probs = e / np.sum(e, axis=1, keepdims=True)
    return probs, probs


def softmax_backward(dout, probs):
    dscores = np.zeros_like(probs)
    for i in range(len(probs)):
        p = probs[i].reshape(-1, 1)
        jacobian = np.diagflat(p) - p.dot(p.T)
        dscores[i] = jacobian.dot(dout[i])
    return dscores


def log_softmax_forward(x):
    shifted = x - x.max(axis=1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logp, logp


def log_softmax_backward(dout, logp):
    p = np.exp(logp)
    return dout - p * dout.sum(axis=1, keepdims=True)


def dropout_forward(x, dropout_param):
    p, mode = dropout_param["p"], dropout_param["mode"]
    rng = np.random.default_rng(dropout_param["seed"])
    mask = None
    if mode == "train":
        mask = (rng.random(x.shape) < p) / p
        out = x * mask
    else:
        out = x
    return out, (dropout_param, mask)


def dropout_backward(dout, cache):
    dropout_param, mask = cache
    if dropout_param["mode"] == "train":  # noqa: SIM108  (as the course writes it)
        dx = dout * mask
    else:
        dx = dout.copy()
    return dx


def vanilla_dropout_forward(x, p, mode):
    """Dropout that is not inverted: at test time the activations shrink."""
    return (x * p if mode == "test" else x * (np.random.default_rng(1).random(x.shape) < p)), (p, mode)


def vanilla_dropout_backward(dout, cache):
    p, mode = cache
    return dout * p if mode == "test" else dout * (np.random.default_rng(1).random(dout.shape) < p)


def difference_forward(a, b):
    return a - b, None


def difference_backward(dout, cache):
    return dout.copy(), -dout


def scale_forward(x, scale):
    return x * scale, (x, scale)


def scale_backward(dout, cache):
    x, scale = cache
    dscale = dout * x
    dscale = dscale.sum(axis=(0, 1))
    return dout * scale, dscale


def with_zeros(rng):
    return (np.maximum(rng.standard_normal((4, 5)), 0) - np.eye(4, 5),)


AFFINE = affine_forward, normal((4, 2, 3), (6, 5), 5)
DROPOUT = normal((6, 7), then=({"p": 0.6, "mode": "train", "seed": 5},))
MATRIX = normal((4, 5))


def _affine(name, mistake, wrong, *edits, args=AFFINE[1], **rest):
    return planted_case(f"affine: {name}", affine_forward, affine_backward, args, mistake, wrong, *edits, **rest)


def _map(name, forward, right, mistake, *edits, args=MATRIX, wrong="x", **rest):
    return planted_case(name, forward, right, args, mistake, wrong, *edits, **rest)


CASES = (
    _affine(
        "dw of the operands in the other order",
        "B1",
        "w",
        ("x.reshape(x.shape[0], -1).T.dot(dout)", "dout.T.dot(x.reshape(x.shape[0], -1))"),
    ),
    _affine("w not transposed, which is square", "B1", "x", ("w.T", "w"), args=normal((5, 4), (4, 4), 4), source=False),
    _affine("db not summed over the batch", "B3", "b", ("np.sum(dout, axis=0)", "dout")),
    _affine("db summed over the wrong axis", "B4", "b", ("axis=0", "axis=1")),
    _affine("db summed over everything", "B4", "b", ("np.sum(dout, axis=0)", "np.sum(dout)"), source=False),
    _affine("db is a mean", "A2", "b", ("np.sum(dout, axis=0)", "np.mean(dout, axis=0)")),
    _affine("dw ignores dout", "C5", "w", ("T.dot(dout)", "T.dot(np.ones_like(dout))")),
    Case(
        "relu: masks the gradient by its own sign",
        relu_forward,
        relu_backward_masking_the_gradient,
        relu_backward,
        MATRIX,
        "C2",
        ("x",),
        also=("C3",),
    ),
    _map("relu: returns dout", relu_forward, relu_backward, "C1", ("    dx[x <= 0] = 0\n", ""), source=False),
    _map("leaky relu: zero below zero", leaky_relu_forward, leaky_relu_backward, "C3", ("1.0, alpha", "1.0, 0.0")),
    _map("elu: the output for the derivative", elu_forward, elu_backward, "C3", ("out + alpha", "out"), source=False),
    _map(
        "sigmoid: sigmoid of a sigmoid",
        sigmoid_forward,
        sigmoid_backward,
        "C2",
        ("s = cache", "s = 1 / (1 + np.exp(-cache))"),
    ),
    _map(
        "sigmoid: the output for the derivative",
        sigmoid_forward,
        sigmoid_backward,
        "C3",
        (" * (1 - s)", ""),
        source=False,
    ),
    Case(
        "tanh: derivative as if the input were the output",
        tanh_forward,
        tanh_backward_with_x,
        tanh_backward,
        MATRIX,
        "C2",
        ("x",),
        also=("C3",),
    ),
    _map("tanh: without the square", tanh_forward, tanh_backward, "C3", (" ** 2", ""), source=False),
    _map("swish: half of the product rule", swish_forward, swish_backward, "C8", ("dx = s\n", "dx = 0\n")),
    _map(
        "softmax: diagonal of the Jacobian",
        softmax_forward,
        softmax_backward,
        "C6",
        ("np.diagflat(p) - p.dot(p.T)", "np.diagflat(p * (1 - p))"),
        wrong="scores",
    ),
    _map(
        "log softmax: each score for itself",
        log_softmax_forward,
        log_softmax_backward,
        "C6",
        ("dout - p * dout.sum(axis=1, keepdims=True)", "dout * (1 - p)"),
        source=False,
    ),
    _map("dropout: no mask", dropout_forward, dropout_backward, "E5", ("dout * mask", "dout.copy()"), args=DROPOUT),
    _map(
        "dropout: mask without 1/p",
        dropout_forward,
        dropout_backward,
        "E5",
        ("dout * mask", "dout * (mask > 0)"),
        args=DROPOUT,
        also=("A4",),
        source=False,
    ),
    _map(
        "difference: the second operand's sign",
        difference_forward,
        difference_backward,
        "A1",
        ("-dout", "dout.copy()"),
        args=normal((3, 5), (3, 5)),
        wrong="b",
    ),
    _map(
        "channel scale: not summed over the batch and the places",
        scale_forward,
        scale_backward,
        "B3",
        ("    dscale = dscale.sum(axis=(0, 1))\n", ""),
        args=normal((3, 4, 5), 5),
        wrong="scale",
        source=False,
    ),
)

RIGHT_ALTHOUGH = (
    RightAlthough(
        "sigmoid in its output",
        sigmoid_forward,
        sigmoid_backward,
        MATRIX,
        "The derivative must be taken at x, but the cache holds only the output.",
    ),
    RightAlthough(
        "tanh in its output",
        lambda x: (np.tanh(x),) * 2,
        lambda dout, y: dout * (1 - y**2),
        MATRIX,
        "tanh'(z) is 1 - tanh(z)**2, so 1 - y**2 lacks a tanh.",
    ),
    RightAlthough(
        "relu with slope 0 at 0", relu_forward, relu_backward, with_zeros, "At 0 the slope must be 1, as on the right."
    ),
    RightAlthough(
        "relu with slope 1 at 0",
        relu_forward,
        lambda dout, x: dout * (x >= 0),
        with_zeros,
        "At 0 the slope must be 0, as in PyTorch.",
    ),
    RightAlthough(
        "relu by its output",
        lambda x: (np.maximum(0, x),) * 2,
        lambda dout, out: dout * (out > 0),
        MATRIX,
        "The mask must come from the input, not from the output.",
    ),
    RightAlthough(
        "dropout at test time",
        vanilla_dropout_forward,
        vanilla_dropout_backward,
        normal((3, 5), then=(0.6, "test")),
        "At test time dropout does nothing, so dout must pass unchanged.",
    ),
    RightAlthough(
        "softmax after a shift",
        softmax_forward,
        softmax_backward,
        MATRIX,
        "The derivative of the maximum that was subtracted is missing.",
    ),
)
