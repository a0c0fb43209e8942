"""PyTorch's own backward passes, of functions and layers, in float64 and float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.packages.case import Case

torch.set_num_threads(1)


def of(name: str, f: Callable[..., Any], *args: Any) -> Case:
    """Return the case of a function of tensors: the forward in PyTorch, the backward by torch.autograd.grad."""

    def forward(*given):
        tensors = [torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in given]
        out = f(*tensors)
        return out.detach().numpy().copy()[()], (tensors, out)

    def backward(dout, cache):
        tensors, out = cache
        found = torch.autograd.grad(
            out, tensors, torch.as_tensor(np.array(dout), dtype=out.dtype), retain_graph=True, allow_unused=True
        )
        return tuple(np.zeros(t.shape) if g is None else g.numpy().copy() for t, g in zip(tensors, found, strict=True))

    return Case(name, forward, backward, args)


class Cube(torch.autograd.Function):
    """A Function as the documentation writes one."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


UNARY = [
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "atan",
    "asinh",
    "exp",
    "expm1",
    "exp2",
    "erf",
    "erfc",
    "sigmoid",
    "square",
    "abs",
    "reciprocal",
    "sinc",
]
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "lgamma", "digamma"]
UNIT = ["asin", "acos", "atanh", "erfinv", "logit"]
ACTIVATIONS = [
    "relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "tanhshrink",
    "hardswish",
    "hardtanh",
    "hardsigmoid",
    "leaky_relu",
    "logsigmoid",
    "softshrink",
    "hardshrink",
    "relu6",
]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    n = rng.standard_normal
    edge = np.array([1e-9, 1e-5, 0.3, 1 - 1e-6, 1 - 1e-9])
    for name in UNARY + POSITIVE + UNIT:
        x = n(6) if name in UNARY else rng.uniform(0.05, 0.95, 6)
        yield of(name, getattr(torch, name), x)
        yield of(f"{name} float32", getattr(torch, name), x.astype(np.float32))
        if name not in UNARY:
            yield of(f"{name} near the edge", getattr(torch, name), edge)
    for name in ACTIVATIONS:
        yield of(f"F.{name}", getattr(F, name), 2 * n((3, 4)))
        yield of(f"F.{name} saturated", getattr(F, name), 12 * n((3, 4)))
        if name in ("relu", "gelu", "silu", "softplus", "elu"):
            yield of(f"F.{name} float32", getattr(F, name), (2 * n((30, 4))).astype(np.float32))
    for name in [
        "i0",
        "i1",
        "i0e",
        "i1e",
        "erfcx",
        "ndtr",
        "log_ndtr",
        "ndtri",
        "entr",
        "bessel_j0",
        "bessel_j1",
        "xlog1py",
    ]:
        f = getattr(torch.special, name)
        yield of(f"special.{name}", f, *((rng.uniform(0.2, 0.9, 5),) * (2 if name == "xlog1py" else 1)))
    labels, long = torch.tensor(rng.integers(0, 4, 3)), torch.tensor(rng.integers(0, 10, 100))
    A, B, v = n((3, 4)), n((4, 2)), n(4)
    S = n((4, 4)) + 4 * np.eye(4)
    target = torch.tensor(n((3, 4)))
    unit = torch.tensor(rng.uniform(0.1, 0.9, (3, 4)))
    rows: dict[str, tuple[Any, ...]] = {
        "Function": (Cube.apply, A),
        "matmul": (torch.matmul, A, B),
        "einsum": (lambda a, b: torch.einsum("ij,jk->ki", a, b), A, B),
        "cumsum": (lambda a: torch.cumsum(a, 1), A),
        "cumprod": (lambda a: torch.cumprod(a, 1), A),
        "prod": (torch.prod, A),
        "std": (lambda a: torch.std(a, 1), A),
        "var": (torch.var, A),
        "logsumexp": (lambda a: torch.logsumexp(a, 1), 10 * A),
        "norm": (torch.linalg.norm, A),
        "amax": (lambda a: torch.amax(a, 1), A),
        "sort": (lambda a: torch.sort(a)[0], A),
        "median": (lambda a: torch.median(a, 1)[0], A),
        "softmax": (lambda a: F.softmax(a, 1), A),
        "log_softmax": (lambda a: F.log_softmax(a, 1), 20 * A),
        "cross_entropy": (lambda a: F.cross_entropy(a, labels), A),
        "cross_entropy n=100": (lambda a: F.cross_entropy(a, long), n((100, 10))),
        "cross_entropy confident": (lambda a: F.cross_entropy(a, labels), 15 * A),
        "label smoothing": (lambda a: F.cross_entropy(a, labels, label_smoothing=0.1), A),
        "nll_loss": (lambda a: F.nll_loss(F.log_softmax(a, 1), labels), A),
        "mse_loss": (lambda a: F.mse_loss(a, target), A),
        "l1_loss": (lambda a: F.l1_loss(a, target), A),
        "huber_loss": (lambda a: F.huber_loss(a, target), A),
        "smooth_l1_loss": (lambda a: F.smooth_l1_loss(a, target, beta=0.3), A),
        "bce": (lambda a: F.binary_cross_entropy(torch.sigmoid(a), unit), A),
        "bce_with_logits": (lambda a: F.binary_cross_entropy_with_logits(a, unit), 9 * A),
        "kl_div": (lambda a: F.kl_div(F.log_softmax(a, 1), unit, reduction="batchmean"), A),
        "poisson_nll": (lambda a: F.poisson_nll_loss(a, unit), A),
        "gaussian_nll": (lambda a, s: F.gaussian_nll_loss(a, target, s), A, np.abs(n((3, 4))) + 0.2),
        "cosine_similarity": (lambda a, b: F.cosine_similarity(a, b), A, n((3, 4))),
        "triplet": (lambda a, p, q: F.triplet_margin_loss(a, p, q), A, n((3, 4)), n((3, 4))),
        "pairwise_distance": (lambda a, b: F.pairwise_distance(a, b), A, n((3, 4))),
        "cdist": (torch.cdist, A, n((5, 4))),
        "normalize": (lambda a: F.normalize(a), A),
        "layer_norm": (lambda x, g, b: F.layer_norm(x, (6,), g, b), n((5, 6)), n(6), n(6)),
        "batch_norm": (lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True), n((8, 3)), n(3), n(3)),
        "group_norm": (lambda x, g, b: F.group_norm(x, 2, g, b), n((3, 4, 5)), n(4), n(4)),
        "instance_norm": (lambda x: F.instance_norm(x), n((2, 3, 6))),
        "rms_norm": (lambda x, g: F.rms_norm(x, (6,), g), n((5, 6)), n(6)),
        "conv1d": (lambda x, w, b: F.conv1d(x, w, b, padding=1), n((2, 3, 7)), n((4, 3, 3)), n(4)),
        "conv2d": (lambda x, w, b: F.conv2d(x, w, b, stride=2), n((2, 3, 7, 6)), n((4, 3, 3, 2)), n(4)),
        "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2), n((2, 3, 3, 3)), n((3, 2, 2, 2))),
        "depthwise": (lambda x, w: F.conv2d(x, w, groups=3), n((2, 3, 5, 5)), n((3, 1, 3, 3))),
        "max_pool2d": (lambda x: F.max_pool2d(x, 2), n((2, 3, 4, 4))),
        "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), n((2, 3, 4, 4))),
        "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 3), n((2, 2, 7, 5))),
        "interpolate": (
            lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
            n((1, 2, 3, 4)),
        ),
        "grid_sample": (
            lambda x, g: F.grid_sample(x, g, align_corners=False),
            n((1, 2, 4, 5)),
            rng.uniform(-0.8, 0.8, (1, 3, 3, 2)),
        ),
        "embedding": (lambda t: F.embedding(labels, t), n((4, 3))),
        "embedding_bag": (lambda t: F.embedding_bag(labels[None], t), n((4, 3))),
        "linear": (F.linear, n((5, 4)), n((3, 4)), n(3)),
        "bilinear": (F.bilinear, n((5, 3)), n((5, 2)), n((4, 3, 2)), n(4)),
        "glu": (F.glu, A),
        "prelu": (F.prelu, A, np.array([0.2])),
        "attention": (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
            n((1, 5, 4)),
            n((1, 6, 4)),
            n((1, 6, 3)),
        ),
        "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), n((1, 4, 2, 3))),
        "inv": (torch.linalg.inv, S),
        "det": (torch.linalg.det, S),
        "slogdet": (lambda a: torch.linalg.slogdet(a)[1], S),
        "solve": (torch.linalg.solve, S, v),
        "cholesky": (lambda a: torch.linalg.cholesky(a @ a.T + torch.eye(4)), S),
        "eigh": (lambda a: torch.linalg.eigh(a + a.T)[0], S),
        "svdvals": (torch.linalg.svdvals, A),
        "qr": (lambda a: torch.linalg.qr(a)[1], S),
        "pinv": (torch.linalg.pinv, A),
        "matrix_exp": (torch.linalg.matrix_exp, S / 4),
        "lstsq": (lambda a, b: torch.linalg.lstsq(a, b)[0], n((6, 3)), n((6, 2))),
        "fft": (lambda a: torch.fft.rfft(a).abs() ** 2, A),
        "atan2": (torch.atan2, A, v),
        "hypot": (torch.hypot, A, v),
        "logaddexp": (torch.logaddexp, A, v),
        "lerp": (torch.lerp, A, n((3, 4)), rng.uniform(0, 1, (3, 4))),
        "gru_cell": (_gru, n((2, 3)), n((2, 4)), n((12, 3)), n((12, 4))),
        "lstm_cell": (_lstm, n((2, 3)), n((2, 4)), n((2, 4)), n((16, 3)), n((16, 4))),
        "ctc": (_ctc, n((8, 2, 5))),
        "mlp": (lambda x, W, b, V: torch.tanh(x @ W + b) @ V, n((32, 20)), n((20, 30)) / 4, n(30), n((30, 5))),
        "inv of condition 1e6": (torch.linalg.inv, np.diag(np.geomspace(1, 1e-6, 4)) + 1e-9 * n((4, 4))),
    }
    single = (
        "matmul",
        "softmax",
        "log_softmax",
        "cross_entropy",
        "layer_norm",
        "batch_norm",
        "conv2d",
        "max_pool2d",
        "attention",
        "mlp",
        "linear",
        "lstm_cell",
        "mse_loss",
        "gelu",
    )
    for name, (f, *args) in rows.items():
        yield of(name, f, *args)
        if name in single and name != "mse_loss":
            yield of(f"{name} float32", f, *(a.astype(np.float32) for a in args))


def _gru(x, h, W, U):
    return torch._VF.gru_cell(x, h, W, U, None, None)


def _lstm(x, h, c, W, U):
    return torch.cat(torch._VF.lstm_cell(x, (h, c), W, U, None, None))


def _ctc(x):
    return F.ctc_loss(
        F.log_softmax(x, 2), torch.tensor([[1, 2, 3], [2, 2, 4]]), torch.tensor([8, 8]), torch.tensor([3, 2])
    )
