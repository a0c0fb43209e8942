"""MyGrad's operations, whose backward passes are written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mygrad as mg
import numpy as np
from mygrad import nnet

from benchmarks.packages.case import Case


def of(name: str, f: Callable[..., Any], *args: Any) -> Case:
    """Return the case of a function of tensors, for all of its arguments."""

    def forward(*given):
        return np.array(f(*(mg.tensor(a) for a in given)).data)[()], given

    def backward(dout, given):
        tensors = [mg.tensor(a) for a in given]
        f(*tensors).backward(np.asarray(dout))
        return tuple(np.zeros_like(t.data) if t.grad is None else np.array(t.grad) for t in tensors)

    return Case(name, forward, backward, args)


UNARY = [
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "arctan",
    "arcsinh",
    "exp",
    "expm1",
    "exp2",
    "square",
    "abs",
    "reciprocal",
    "negative",
    "sinc",
    "cbrt",
]
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt"]
UNIT = ["arcsin", "arccos", "arctanh"]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    n = rng.standard_normal
    edge = np.array([1e-10, 1e-5, 0.3, 1 - 1e-6, 1 - 1e-10])
    for name in UNARY + POSITIVE + UNIT:
        f = getattr(mg, name, None)
        if f is not None:
            yield of(name, f, n((2, 3)) if name in UNARY else rng.uniform(0.05, 0.95, 6))
            if name not in UNARY:
                yield of(f"{name} near the edge", f, edge)
    A, B, v = n((3, 4)), n((4, 2)), n(4)
    labels, many = rng.integers(0, 4, 3), rng.integers(0, 10, 100)
    rows: dict[str, tuple[Any, ...]] = {
        "add": (mg.add, A, v),
        "multiply": (mg.multiply, A, v),
        "divide": (mg.divide, A, 3 + np.abs(v)),
        "power": (mg.power, np.abs(A) + 0.2, v),
        "logaddexp": (mg.logaddexp, A, v),
        "logaddexp2": (mg.logaddexp2, A, v),
        "arctan2": (mg.arctan2, A, v),
        "maximum": (mg.maximum, A, v),
        "matmul": (mg.matmul, A, B),
        "einsum": (lambda a, b: mg.einsum("ij,jk->ki", a, b), A, B),
        "multi_matmul": (lambda a, b, c: mg.multi_matmul([a, b, c]), A, B, n((2, 3))),
        "sum": (lambda a: mg.sum(a, axis=0), A),
        "mean": (mg.mean, A),
        "var": (lambda a: mg.var(a, axis=1), A),
        "std": (lambda a: mg.std(a, axis=1), A),
        "prod": (lambda a: mg.prod(a, axis=0), A),
        "cumsum": (lambda a: mg.cumsum(a, axis=1), A),
        "cumprod": (lambda a: mg.cumprod(a, axis=1), A),
        "max": (lambda a: mg.max(a, axis=1), A),
        "min": (mg.min, A),
        "norm": (mg.linalg.norm, A),
        "clip": (lambda a: mg.clip(a, -0.5, 0.7), A),
        "where": (lambda a, b: mg.where(A > 0, a, b), A, n((3, 4))),
        "concatenate": (lambda a, b: mg.concatenate([a, b]), A, n((2, 4))),
        "stack": (lambda a, b: mg.stack([a, b]), A, n((3, 4))),
        "roll": (lambda a: mg.roll(a, 2, axis=1), A),
        "repeat": (lambda a: mg.repeat(a, 3, axis=0), A),
        "index": (lambda a: a[np.array([0, 0, 2])], A),
        "sigmoid": (nnet.sigmoid, A),
        "sigmoid saturated": (nnet.sigmoid, 12 * A),
        "softmax": (nnet.softmax, A),
        "logsoftmax": (nnet.logsoftmax, A),
        "logsoftmax large": (nnet.logsoftmax, 20 * A),
        "relu": (nnet.relu, A),
        "selu": (nnet.selu, A),
        "elu": (lambda a: nnet.elu(a, 0.8), A),
        "leaky_relu": (lambda a: nnet.leaky_relu(a, 0.1), A),
        "soft_sign": (nnet.soft_sign, A),
        "glu": (nnet.glu, A),
        "hard_tanh": (lambda a: nnet.hard_tanh(a), A),
        "nnet.tanh": (nnet.tanh, A),
        "softmax_crossentropy": (lambda a: nnet.softmax_crossentropy(a, labels), A),
        "softmax_crossentropy large": (lambda a: nnet.softmax_crossentropy(a, labels), 15 * A),
        "softmax_crossentropy n=100": (
            lambda a: nnet.softmax_crossentropy(a, many),
            n((100, 10)),
        ),
        "multiclass_hinge": (lambda a: nnet.multiclass_hinge(a, labels), A),
        "negative_log_likelihood": (lambda a: nnet.negative_log_likelihood(nnet.logsoftmax(a), labels), A),
        "focal_loss": (lambda a: mg.mean(nnet.focal_loss(nnet.softmax(a), labels, alpha=0.6, gamma=2.0)), A),
        "softmax_focal_loss": (lambda a: mg.mean(nnet.softmax_focal_loss(a, labels, alpha=1, gamma=1.5)), A),
        "margin_ranking_loss": (
            lambda a, b: nnet.margin_ranking_loss(a, b, np.array([1, -1, 1]), margin=0.4),
            n(3),
            n(3),
        ),
        "conv_nd": (lambda x, w: nnet.conv_nd(x, w, stride=1, padding=1), n((2, 3, 5, 4)), n((4, 3, 3, 3))),
        "conv_nd strided": (lambda x, w: nnet.conv_nd(x, w, stride=2), n((2, 2, 7)), n((3, 2, 3))),
        "max_pool": (lambda x: nnet.max_pool(x, (2, 2), 2), n((2, 3, 4, 4))),
        "batchnorm": (lambda x, g, b: nnet.batchnorm(x, gamma=g, beta=b, eps=1e-5), n((6, 3, 2)), n(3), n(3)),
        "batchnorm large": (lambda x, g, b: nnet.batchnorm(x, gamma=g, beta=b, eps=1e-5), 10 + n((64, 8)), n(8), n(8)),
        "mlp": (lambda x, W, b, V: mg.matmul(nnet.relu(mg.matmul(x, W) + b), V), n((7, 4)), n((4, 5)), n(5), n((5, 3))),
    }
    for name, (f, *args) in rows.items():
        yield of(name, f, *args)
