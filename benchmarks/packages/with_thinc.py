"""thinc's layers: the callbacks of begin_update, in float32 as thinc computes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from thinc import api
from thinc.api import NumpyOps

from benchmarks.packages.case import Case, linear, with_vjp

ACTIVATIONS = [
    "relu",
    "sigmoid",
    "swish",
    "mish",
    "gelu",
    "gelu_approx",
    "hard_swish",
    "hard_sigmoid",
    "hard_tanh",
    "dish",
    "erf",
]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    ops = NumpyOps()
    for dtype, words in ((np.float32, "float32"), (np.float64, "float64")):
        for name in ACTIVATIONS:
            f, df = (
                getattr(ops, name, None),
                getattr(ops, f"backprop_{name}", None) or getattr(ops, f"backprop_{name}_", None),
            )
            if f is None or df is None:
                continue
            x = rng.standard_normal((5, 4)).astype(dtype)
            by_output = name in ("relu", "sigmoid", "softmax")
            yield Case(
                f"ops.{name} {words}",
                lambda x, f=f: (f(np.ascontiguousarray(x)), np.ascontiguousarray(x)),
                lambda g, x, f=f, df=df, o=by_output: _back(df, g, x, f(x), o),
                (x,),
            )
    x = rng.standard_normal((6, 4)).astype(np.float32)
    layers = {
        "Linear": api.Linear(3, 4),
        "Relu": api.Relu(3, 4),
        "Mish": api.Mish(3, 4),
        "Swish": api.Swish(3, 4),
        "Gelu": api.Gelu(3, 4),
        "HardSwish": api.HardSwish(3, 4),
        "HardSwishMobilenet": api.HardSwishMobilenet(3, 4),
        "ClippedLinear": api.ClippedLinear(3, 4),
        "HardSigmoid": api.HardSigmoid(3, 4),
        "HardTanh": api.HardTanh(3, 4),
        "ReluK": api.ReluK(3, 4),
        "Sigmoid": api.Sigmoid(3, 4),
        "Softmax_v2": api.Softmax_v2(3, 4),
        "LayerNorm": api.LayerNorm(4),
        "Maxout": api.Maxout(3, 4, nP=2),
        "chain": api.chain(api.Linear(5, 4), api.LayerNorm(5), api.Relu(3, 5)),
        "residual": api.residual(api.Linear(4, 4)),
        "Relu normalised": api.Relu(3, 4, normalize=True),
        "concatenate": api.concatenate(api.Linear(2, 4), api.Mish(3, 4)),
        "add": api.add(api.Linear(3, 4), api.Linear(3, 4)),
    }
    for name, model in layers.items():
        model.initialize()
        for node in model.walk():
            for key in node.param_names:
                if node.has_param(key):
                    node.set_param(key, (0.5 * rng.standard_normal(node.get_param(key).shape)).astype(np.float32))
        yield _layer(name, model, x, ordered=name != "Maxout")
    p, t = rng.dirichlet(np.ones(4), 6).astype(np.float32), np.eye(4, dtype=np.float32)[rng.integers(0, 4, 6)]
    distance = api.L2Distance(normalize=False)
    yield with_vjp("L2Distance", lambda p: distance.get_loss(p, t) / 2, lambda g, p: g * distance.get_grad(p, t), p)
    yield linear(
        "ops.reduce_mean",
        lambda x: ops.reduce_mean(x.astype(np.float32), np.array([2, 4], dtype="i")),
        lambda g: ops.backprop_reduce_mean(g.astype(np.float32), np.array([2, 4], dtype="i")),
        x,
    )
    yield linear(
        "ops.seq2col",
        lambda x: ops.seq2col(x.astype(np.float32), 1),
        lambda g: ops.backprop_seq2col(g.astype(np.float32), 1),
        x,
    )


def _back(df, g, x, y, by_output):
    g = np.ascontiguousarray(g, dtype=x.dtype)
    if by_output:
        return df(g, y)
    try:
        return df(g, x)
    except TypeError:
        return df(g, x, y)


def _layer(name, model, x, *, ordered):
    """Return the case of a layer; most read the cotangent in the order in which it lies, and are handed C order."""
    owned = [(node, key) for node in model.walk() for key in node.param_names if node.has_param(key)]

    def place(params):
        for (node, key), value in zip(owned, params, strict=True):
            node.set_param(key, np.ascontiguousarray(value, dtype=np.float32))

    def forward(x, params):
        place(params)
        y, back = model.begin_update(np.ascontiguousarray(x, dtype=np.float32))
        return np.array(y), (back, params)

    def backward(dout, cache):
        back, params = cache
        place(params)
        for node in model.walk():
            for key in node.grad_names:
                node.set_grad(key, np.zeros_like(node.get_param(key)))
        dx = np.array(back(np.array(dout, dtype=np.float32, order="C" if ordered else "K")))
        return dx, [np.array(node.get_grad(key)) for node, key in owned]

    return Case(
        f"layers.{name} float32", forward, backward, (x, [np.array(node.get_param(key)) for node, key in owned])
    )
