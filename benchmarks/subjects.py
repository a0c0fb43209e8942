"""What the power benchmark checks: right pairs of forward and backward, and the same pairs with a planted mistake.

A subject is a NumPy forward, its right backward, and a point, drawn from a regime: which function, how many entries
all arguments have together, dtype, scale of the output, and how far the nearest kink is. A mutant is a subject whose
backward is wrong in one way. A change that is too small to be a mistake at all is no mutant: it has to move the
gradient of its argument by ``LEAST`` of its norm, measured under a random cotangent.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, ...]
LEAST = {"float64": 0.99e-6, "float32": 0.99e-4}  # in float32 a right backward may itself round to 1e-6 and more
MARGIN = 0.05  # pre-activations of size 1 keep this distance from a kink "away",
NEAR = 1e-3  # and one of them this distance from a kink "near"


class Regime(NamedTuple):
    """Where a subject is drawn from; ``size`` is roughly how many entries all arguments have together."""

    kind: str
    depth: int
    size: int
    dtype: str
    scale: float
    kinks: str


class Subject(NamedTuple):
    """A pair to check at a point; ``slips`` are backwards with a mistake in their code, by its name."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Arrays]
    args: Arrays
    slips: dict[str, Callable[[Any, Any], Arrays]]


class Mutant(NamedTuple):
    """A backward to be judged, whether it is right, what is wrong, and by how much of its argument's norm."""

    backward: Callable[[Any, Any], Arrays]
    mistake: str
    size: float


def _affine(rng: np.random.Generator, regime: Regime) -> Subject:
    """An affine map: s (x W + b)."""
    N, M = (2, 2) if regime.size <= 10 else (7, max(3, round(regime.size**0.5)))
    D = max(2, (regime.size - M) // (N + M))
    s = regime.scale

    def forward(x, W, b):
        return s * (x @ W + b), (x, W)

    def backward(dout, cache, slip=""):
        x, W = cache
        dout = s * dout
        db = dout.mean(axis=0) if slip == "mean for sum" else dout.sum(axis=0)
        return dout @ W.T, (x[::-1] if slip == "wrong rows" else x).T @ dout, db

    args = rng.standard_normal((N, D)), rng.standard_normal((D, M)) / np.sqrt(D), rng.standard_normal(M)
    return _subject(forward, backward, args, regime, "mean for sum", "wrong rows")


def _sin(rng: np.random.Generator, regime: Regime) -> Subject:
    """A function of every entry: s sin x."""
    s = regime.scale

    def forward(x):
        return s * np.sin(x), x

    def backward(dout, x, slip=""):
        return (s * dout if slip == "f' missing" else s * dout * np.cos(x),)

    return _subject(forward, backward, (rng.standard_normal(regime.size),), regime, "f' missing")


def _cross_entropy(rng: np.random.Generator, regime: Regime) -> Subject:
    """The scale s times the mean cross-entropy of the softmax of every row."""
    K = 5 if regime.size <= 10 else 10
    N = max(2, regime.size // K)
    y = np.eye(K, dtype=regime.dtype)[rng.integers(K, size=N)]
    s = regime.scale

    def softmax(z, axis):
        e = np.exp(z - z.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    def forward(z):
        shifted = z - z.max(axis=1, keepdims=True)
        return s * (np.log(np.exp(shifted).sum(axis=1)) - (shifted * y).sum(axis=1)).mean(), z

    def backward(dL, z, slip=""):
        p = softmax(z, 0 if slip == "wrong axis" else 1)
        return (s * dL * (p - y) / (1 if slip == "sum for mean" else N),)

    return _subject(forward, backward, (rng.standard_normal((N, K)),), regime, "wrong axis", "sum for mean")


def _conv(rng: np.random.Generator, regime: Regime) -> Subject:
    """The scale s times the valid cross-correlation with 3 × 3 kernels, plus biases."""
    N, C, D = (2, 1, 2) if regime.size <= 100 else (2, 3, 5)
    H = max(4, round(((regime.size - 9 * C * D) / (N * C)) ** 0.5))
    s = regime.scale
    taps = [(i, j) for i in range(3) for j in range(3)]

    def forward(X, W, b):
        out = b[:, None, None] + sum(
            np.einsum("dc,nchw->ndhw", W[:, :, i, j], X[:, :, i : H - 2 + i, j : H - 2 + j]) for i, j in taps
        )
        return s * out, (X, W)

    def backward(dout, cache, slip=""):
        X, W = cache
        dout = s * dout
        dX, dW = np.zeros_like(X), np.zeros_like(W)
        for i, j in taps:
            tap = W[:, :, 2 - i, 2 - j] if slip == "kernel flipped" else W[:, :, i, j]
            dX[:, :, i : H - 2 + i, j : H - 2 + j] += np.einsum("dc,ndhw->nchw", tap, dout)
            dW[:, :, i, j] = np.einsum("ndhw,nchw->dc", dout, X[:, :, i : H - 2 + i, j : H - 2 + j])
        return dX, dW, dout[:1].sum(axis=(0, 2, 3)) if slip == "batch not summed" else dout.sum(axis=(0, 2, 3))

    shapes = (N, C, H, H), (D, C, 3, 3), (D,)
    args = tuple(rng.standard_normal(shape) for shape in shapes)
    return _subject(forward, backward, args, regime, "kernel flipped", "batch not summed")


ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {  # f, and f' in terms of y = f(z)
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda y: y * (1 - y)),
    "relu": (lambda z: np.maximum(z, 0), lambda y: (y > 0).astype(y.dtype)),
}


def _mlp(rng: np.random.Generator, regime: Regime) -> Subject:
    """``depth`` layers f(h W + b) and an affine one, times s."""
    f, slope = ACTIVATIONS[regime.kind]
    N, H, K = 3, 4 if regime.size <= 100 else 8 if regime.size <= 1000 else 16, 3
    D = max(2, (regime.size - (regime.depth - 1) * H * (H + 1) - H - K * (H + 1)) // (N + H))
    s, last = regime.scale, regime.depth

    def forward(x, *params):
        h = [x]
        for k in range(last):
            h.append(f(h[-1] @ params[2 * k] + params[2 * k + 1]))
        return s * (h[-1] @ params[-2] + params[-1]), (h, params)

    def backward(dout, cache, slip=""):
        h, params = cache
        dz, gradients = s * dout, []
        for k in range(last, -1, -1):
            db = dz.mean(axis=0) if slip == "mean for sum" and k == 0 else dz.sum(axis=0)
            gradients[:0] = [h[k].T @ dz, db]
            dh = dz @ params[2 * k].T
            dz = dh if k == 0 or (slip == "f' missing" and k == 1) else dh * slope(h[k])
        return (dz, *gradients)

    widths = [D, *[H] * last, K]
    args = [rng.standard_normal((N, D))]
    h = args[0]
    for layer, (d, m) in enumerate(itertools.pairwise(widths)):
        W, b = rng.standard_normal((d, m)) / np.sqrt(d), rng.standard_normal(m) / 4
        if regime.kind == "relu" and layer < last:
            _move_away(h, W, b, rng)
            if layer == 0 and regime.kinks == "near":
                z = h @ W[:, 0] + b[0]
                nearest = z[np.argmin(np.abs(z))]
                b[0] -= np.sign(nearest) * (abs(nearest) - NEAR)
        args += [W, b]
        h = f(h @ W + b)
    return _subject(forward, backward, tuple(args), regime, "f' missing", "mean for sum")


def _move_away(h: np.ndarray, W: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> None:
    """Draw the units of a new layer again, in place, until no pre-activation is nearer to zero than ``MARGIN``."""
    while (close := (np.abs(h @ W + b) < MARGIN).any(axis=0)).any():
        W[:, close] = rng.standard_normal((len(W), close.sum())) / np.sqrt(len(W))
        b[close] = rng.standard_normal(close.sum()) / 4


def _subject(forward, backward, args: Arrays, regime: Regime, *slips: str) -> Subject:
    wrong = {slip: lambda dout, cache, slip=slip: backward(dout, cache, slip) for slip in slips}
    return Subject(forward, backward, tuple(arg.astype(regime.dtype) for arg in args), wrong)


KINDS = {"affine": _affine, "sin": _sin, "cross-entropy": _cross_entropy, "conv": _conv} | dict.fromkeys(
    ACTIVATIONS, _mlp
)


def draw(rng: np.random.Generator, regime: Regime) -> Subject:
    """Return a subject of ``regime``."""
    return KINDS[regime.kind](rng, regime)


FACTORS = {"×0": 0.0, "×−1": -1.0, "×2": 2.0} | {
    f"×(1{sign}{size:.0e})".replace("e-0", "e−").replace("-", "−"): 1 + float(f"{sign}{size}")
    for size in (1e-2, 1e-3, 1e-6)
    for sign in "+-"
}
ENTRIES = {"one entry ×0": 0.0, "one entry ×2": 2.0, "one entry ×(1+1e−3)": 1 + 1e-3}


def mistakes(subject: Subject, regime: Regime) -> list[str]:
    """Return the names of the mistakes that can be planted."""
    at_once = [name for name in ENTRIES if regime.size <= 1e5 or "1e" not in name]
    return [*FACTORS, *at_once, *subject.slips]


def plant(rng: np.random.Generator, subject: Subject, mistake: str, dtype: str) -> Mutant | None:
    """Return ``subject``'s backward with ``mistake``, in a random argument and entry; None where it changes too little.

    An entry is drawn among those that are large enough for the mistake to count.
    """
    out, cache = subject.forward(*subject.args)
    dout = rng.standard_normal(np.shape(out)).astype(dtype)[()]
    true = [gradient.astype(np.float64) for gradient in subject.backward(dout, cache)]
    norms = [float(np.linalg.norm(gradient)) for gradient in true]
    if mistake in subject.slips:
        wrong = subject.slips[mistake]
        changed = [float(np.linalg.norm(w - t)) for w, t in zip(wrong(dout, cache), true, strict=True)]
        size = max(c / norm for c, norm in zip(changed, norms, strict=True) if norm)
        return Mutant(wrong, mistake, size) if size >= LEAST[dtype] else None
    which = int(rng.integers(len(true)))
    factor, entry = FACTORS.get(mistake, ENTRIES.get(mistake)), None
    if not norms[which]:
        return None
    size = abs(factor - 1)
    if mistake in ENTRIES:
        weight = np.abs(true[which]).ravel() / norms[which]
        entries = np.flatnonzero(weight * size >= LEAST[dtype])
        if not entries.size:
            return None
        entry = int(rng.choice(entries))
        size *= float(weight[entry])
    if size < LEAST[dtype]:
        return None

    def wrong(dout: Any, cache: Any) -> Arrays:
        gradients = [np.array(gradient) for gradient in subject.backward(dout, cache)]
        gradients[which].ravel()[slice(None) if entry is None else entry] *= factor
        return tuple(gradients)

    return Mutant(wrong, mistake, size)
