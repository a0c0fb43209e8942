"""Classes with ``forward`` and ``backward`` from home-made libraries, their losses, and small scripts."""

import numpy as np

from tests.strangers.case import Case, RightAlthough, from_layers, normal, planted, planted_case


class Linear:
    """A layer that keeps its gradients beside its weights."""

    def __init__(self, W, b):
        self.W, self.b = W, b
        self.dW, self.db = np.zeros_like(W), np.zeros_like(b)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, grad):
        self.dW += self.x.T @ grad
        self.db += grad.sum(axis=0)
        return grad @ self.W.T


class Residual:
    """x + tanh(x W)."""

    def __init__(self, W):
        self.W, self.dW = W, None

    def forward(self, x):
        self.x = x
        self.a = np.tanh(x @ self.W)
        return x + self.a

    def backward(self, grad):
        dz = grad * (1 - self.a**2)
        self.dW = self.x.T @ dz
        grad_input = dz @ self.W.T
        return grad + grad_input


class BatchNorm:
    """With the parameters' gradients in a dict."""

    def __init__(self, gamma, beta):
        self.params = {"gamma": gamma, "beta": beta}
        self.grads = {}

    def forward(self, x):
        self.std = x.std(axis=0)
        self.xhat = (x - x.mean(axis=0)) / self.std
        return self.params["gamma"] * self.xhat + self.params["beta"]

    def backward(self, grad):
        self.grads["beta"] = grad.sum(axis=0)
        self.grads["gamma"] = (grad * self.xhat).sum(axis=0)
        g = grad * self.params["gamma"]
        return (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)) / self.std


class MeanSquaredError:
    """Over all entries of the batch."""

    def forward(self, prediction, target):
        self.difference = prediction - target
        return np.mean(self.difference**2)

    def backward(self, grad):
        d = 2 * self.difference / self.difference.size
        return grad * d, -grad * d


class Tied:
    """An autoencoder with one matrix: x W, and back with its transpose."""

    def __init__(self, W):
        self.W = W
        self.grad_W = None

    def forward(self, x):
        self.x = x
        self.h = np.tanh(x @ self.W)
        return self.h @ self.W.T

    def backward(self, grad):
        dh = (grad @ self.W) * (1 - self.h**2)
        self.grad_W = grad.T @ self.h
        self.grad_W += self.x.T @ dh
        return dh @ self.W.T


def bce_with_logits(z, t):
    loss = np.mean(np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z))))
    return loss, (z, t)


def bce_with_logits_backward(dout, cache):
    z, t = cache
    s = 1 / (1 + np.exp(-z))
    return dout * (s - t) / z.size


def squared_loss(y, target):
    return 0.5 * np.sum((y - target) ** 2) / len(y), (y, target)


def squared_loss_backward(dL, cache):
    y, target = cache
    dy = dL * (y - target) / len(y)
    return dy, -dy


def cosine_similarity(a, b):
    na, nb = np.linalg.norm(a, axis=1, keepdims=True), np.linalg.norm(b, axis=1, keepdims=True)
    c = (a * b).sum(axis=1, keepdims=True) / (na * nb)
    return c, (a, b, na, nb, c)


def cosine_similarity_backward(dout, cache):
    a, b, na, nb, c = cache
    da = dout * (b / (na * nb) - c * a / na**2)
    db = dout * (a / (na * nb) - c * b / nb**2)
    return da, db


def ridge(w, b, X, y, lam):
    """Weight decay without a half; X and y hold whole numbers."""
    r = X @ w + b - y
    return r @ r / len(y) + lam * w @ w, (w, X, r, lam)


def ridge_backward(dL, cache):
    w, X, r, lam = cache
    dw = 2 * X.T @ r / len(r) + 2 * lam * w
    db = np.array([2 * r.mean()])
    return dL * dw, dL * db


def two_tanh_layers(X, syn0, syn1, syn2):
    """Two hidden layers of one size, as in a script that starts with toy data; X holds whole numbers."""
    l1 = np.tanh(X @ syn0)
    l2 = np.tanh(l1 @ syn1)
    return l2 @ syn2, (X, syn0, syn1, syn2, l1, l2)


def two_tanh_layers_backward(l3_delta, cache):
    X, _, syn1, syn2, l1, l2 = cache
    dsyn2 = l2.T.dot(l3_delta)
    l2_error = l3_delta.dot(syn2.T)
    l2_delta = l2_error * (1 - l2**2)
    dsyn1 = l1.T.dot(l2_delta)
    l1_error = l2_delta.dot(syn1.T)
    l1_delta = l1_error * (1 - l1**2)
    dsyn0 = X.T.dot(l1_delta)
    return dsyn0, dsyn1, dsyn2


def toy(rng):
    return rng.integers(-2, 3, size=(4, 3)), *normal((3, 5), (5, 5), (5, 2))(rng)


def regression(rng):
    return *normal(4, 1)(rng), rng.integers(-2, 3, size=(7, 4)), rng.integers(-3, 4, size=7), 0.4


def accumulating(x, w):
    """As in engines whose gradients add up until somebody sets them to zero."""
    return x @ w, {"x": x, "w": w, "w.grad": np.zeros_like(w)}


def accumulating_backward(grad, cache):
    cache["w.grad"] = np.zeros_like(cache["w"])
    cache["w.grad"] += cache["x"].T @ grad
    return grad @ cache["w"].T, cache["w.grad"]


def logits(rng):
    return rng.standard_normal((5, 3)), rng.integers(2, size=(5, 3))


def _class(name, right, inputs, weights, mistake, wrong, *edits, **rest):
    """Adapt a layer, whose weights are a further argument of the forward: ``params``."""
    arrays = {key: np.ones(shape) for key, shape in weights.items()}
    wrong_class = planted(right, *edits, source=rest.get("source", True))
    pairs = from_layers(right(**arrays), wrong_class(**arrays), PARAMETERS.get(right))

    def args(rng):
        given = normal(*inputs)(rng)
        return (*given, dict(zip(weights, normal(*weights.values())(rng), strict=True))) if weights else given

    return Case(f"class {right.__name__}: {name}", *pairs, args, mistake, wrong, **rest)


def _bce(name, *rest, **more):
    return planted_case(f"logits: {name}", bce_with_logits, bce_with_logits_backward, logits, *rest, **more)


def _squared(name, *rest, **more):
    args = normal((5, 3), (5, 3))
    return planted_case(f"squared loss: {name}", squared_loss, squared_loss_backward, args, *rest, **more)


def _ridge(name, *rest, **more):
    return planted_case(f"ridge: {name}", ridge, ridge_backward, regression, *rest, **more)


def _script(name, *rest, **more):
    return planted_case(f"script: {name}", two_tanh_layers, two_tanh_layers_backward, toy, *rest, **more)


PARAMETERS = {Linear: {"W": "dW", "b": "db"}, Residual: {"W": "dW"}, Tied: {"W": "grad_W"}}
LINEAR = [(5, 4)], {"W": (4, 3), "b": 3}
SQUARE = [(5, 4)], {"W": (4, 4), "b": 4}
RESIDUAL = [(5, 4)], {"W": (4, 4)}
BATCH = [(7, 4)], {"gamma": 4, "beta": 4}
ERROR = [(5, 3), (5, 3)], {}
TIED = [(5, 4)], {"W": (4, 3)}
W, B, GAMMA = "params['W']", "params['b']", "params['gamma']"

CASES = (
    planted_case(
        "engine: no zero_grad",
        accumulating,
        accumulating_backward,
        normal((5, 4), (4, 3)),
        "E2",
        "w",
        ('    cache["w.grad"] = np.zeros_like(cache["w"])\n', ""),
    ),
    _class("dW divided by the batch", Linear, *LINEAR, "A2", (W,), ("self.x.T @ grad", "self.x.T @ grad / len(grad)")),
    _class("db is a mean", Linear, *LINEAR, "A2", (B,), ("grad.sum", "grad.mean"), source=False),
    _class("W not transposed, which is square", Linear, *SQUARE, "B1", ("x",), ("self.W.T", "self.W")),
    _class(
        "db not summed",
        Linear,
        *LINEAR,
        "B3",
        (B,),
        ("self.db += grad.sum(axis=0)", "self.db = grad"),
        source=False,
    ),
    _class(
        "no way past the block", Residual, *RESIDUAL, "C8", ("x",), ("return grad + grad_input", "return grad_input")
    ),
    _class(
        "no derivative of the tanh",
        Residual,
        *RESIDUAL,
        "C1",
        ("x", W),
        ("grad * (1 - self.a**2)", "grad"),
        source=False,
    ),
    _class(
        "derivative at the tanh of the tanh", Residual, *RESIDUAL, "C2", ("x", W), ("self.a**2", "np.tanh(self.a) ** 2")
    ),
    _class(
        "the deviation and the mean as constants",
        BatchNorm,
        *BATCH,
        "C7",
        ("x",),
        ("(g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0))", "g"),
        source=False,
    ),
    _class(
        "whole numbers for gamma",
        BatchNorm,
        *BATCH,
        "H3",
        (GAMMA,),
        ("(grad * self.xhat).sum(axis=0)", "(grad * self.xhat).sum(axis=0).astype(int)"),
    ),
    _class(
        "divided by the batch, not by the entries",
        MeanSquaredError,
        *ERROR,
        "A2",
        ("prediction", "target"),
        ("self.difference.size", "len(self.difference)"),
        source=False,
    ),
    _class("the square's 2 forgotten", MeanSquaredError, *ERROR, "A4", ("prediction", "target"), ("2 * self", "self")),
    _class(
        "same sign for the target", MeanSquaredError, *ERROR, "A1", ("target",), ("-grad * d", "grad * d"), source=False
    ),
    _class(
        "upstream gradient forgotten",
        MeanSquaredError,
        *ERROR,
        "C5",
        ("prediction", "target"),
        ("grad * d, -grad * d", "d, -d"),
    ),
    _class(
        "one of two uses of W",
        Tied,
        *TIED,
        "E1",
        (W,),
        ("self.grad_W += self.x.T", "self.grad_W = self.x.T"),
        also=("C8",),
        source=False,
    ),
    _bce("sigmoid derived again", "C6", "z", ("(s - t)", "(s - t) * s * (1 - s)")),
    _bce("target minus probability", "A1", "z", ("(s - t)", "(t - s)"), source=False),
    _bce("sum for the mean", "A2", "z", (" / z.size", "")),
    _squared("2 against the half", "A4", "y target", ("(y - target)", "2 * (y - target)")),
    _squared("not divided by the batch", "A2", "y target", (" / len(y)", ""), source=False),
    planted_case(
        "cosine similarity: length of a as a constant",
        cosine_similarity,
        cosine_similarity_backward,
        normal((3, 4), (3, 4)),
        "C8",
        "a",
        (" - c * a / na**2", ""),
        also=("C7",),
    ),
    _ridge("half of the decay", "D1", "w", ("2 * lam * w", "lam * w"), source=False),
    _ridge("decay subtracted", "D1", "w", ("+ 2 * lam", "- 2 * lam")),
    _ridge(
        "decay divided by the batch",
        "D1",
        "w",
        ("2 * X.T @ r / len(r) + 2 * lam * w", "(2 * X.T @ r + 2 * lam * w) / len(r)"),
        source=False,
    ),
    _script(
        "weights updated first", "E4", "syn0 syn1", ("    l2_error", "    syn2 = syn2 - 0.1 * dsyn2\n    l2_error")
    ),
    _script(
        "hidden weights updated first",
        "E4",
        "syn0",
        ("    l1_error", "    syn1 = syn1 - 0.5 * dsyn1\n    l1_error"),
        source=False,
    ),
    _script("derivative of the other layer", "C4", "syn0", ("1 - l1**2", "1 - l2**2"), also=("C2",)),
    _script("square weights not transposed", "B1", "syn0", ("syn1.T", "syn1"), source=False),
    _script("layer's error for its delta", "C1", "syn0", ("X.T.dot(l1_delta)", "X.T.dot(l1_error)")),
)

RIGHT_ALTHOUGH = (
    RightAlthough(
        "1/2 in the squared loss",
        squared_loss,
        squared_loss_backward,
        normal((5, 3), (5, 3)),
        "The derivative of the square must have a factor 2.",
    ),
    RightAlthough(
        "logits", bce_with_logits, bce_with_logits_backward, logits, "The derivative of the sigmoid is missing."
    ),
    RightAlthough("ridge without a half", ridge, ridge_backward, regression, "The decay must be lam * w, without a 2."),
)
