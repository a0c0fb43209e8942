"""Losses, normalisations and small nets in the style of CS231n's assignments."""

import numpy as np

from tests.strangers.case import RightAlthough, normal, planted_case


def softmax_loss(x, y):
    shifted = x - np.max(x, axis=1, keepdims=True)
    Z = np.sum(np.exp(shifted), axis=1, keepdims=True)
    probs = np.exp(shifted) / Z
    N = x.shape[0]
    loss = -np.sum(np.log(probs[np.arange(N), y])) / N
    return loss, (probs, y)


def softmax_loss_backward(dout, cache):
    probs, y = cache
    N = probs.shape[0]
    dx = probs.copy()
    dx[np.arange(N), y] -= 1
    dx /= N
    return dout * dx


def svm_loss(x, y):
    N = x.shape[0]
    correct = x[np.arange(N), y]
    margins = np.maximum(0, x - correct[:, np.newaxis] + 1.0)
    margins[np.arange(N), y] = 0
    return np.sum(margins) / N, (margins, y)


def svm_loss_backward(dout, cache):
    margins, y = cache
    N = margins.shape[0]
    num_pos = np.sum(margins > 0, axis=1)
    dx = np.zeros_like(margins)
    dx[margins > 0] = 1
    dx[np.arange(N), y] -= num_pos
    dx /= N
    return dout * dx


def svm_naive(W, X, y, reg):
    """The first exercise: X holds whole numbers, the pixels."""
    loss = 0.0
    for i in range(X.shape[0]):
        scores = X[i].dot(W)
        for j in range(W.shape[1]):
            if j != y[i]:
                loss += max(0, scores[j] - scores[y[i]] + 1)
    return loss / X.shape[0] + reg * np.sum(W * W), (W, X, y, reg)


def svm_naive_backward(dout, cache):
    W, X, y, reg = cache
    num_train = X.shape[0]
    dW = np.zeros(W.shape)
    for i in range(num_train):
        scores = X[i].dot(W)
        for j in range(W.shape[1]):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + 1
            if margin > 0:
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    dW /= num_train
    dW += 2 * reg * W
    return dout * dW


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    N = x.shape[0]
    mu = 1.0 / N * np.sum(x, axis=0)
    xmu = x - mu
    var = 1.0 / N * np.sum(xmu**2, axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    return gamma * xhat + beta, (xhat, gamma, xmu, ivar, sqrtvar, var, eps)


def batchnorm_backward(dout, cache):
    """Step by step through the graph."""
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    dvar = 0.5 * 1.0 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)
    dx2 = 1.0 / N * np.ones((N, D)) * dmu
    return dx1 + dx2, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    """The same simplified on paper."""
    xhat, gamma, _xmu, ivar, *_ = cache
    N = dout.shape[0]
    dgamma = (dout * xhat).sum(axis=0)
    dxhat = dout * gamma
    dx = ivar / N * (N * dxhat - dxhat.sum(axis=0) - xhat * (dxhat * xhat).sum(axis=0))
    return dx, dgamma, dout.sum(axis=0)


def batchnorm_backward_without_the_zero(dout, cache):
    """As in the paper, without the term of dmu that is the sum of xmu."""
    xhat, gamma, xmu, ivar, *_ = cache
    N = dout.shape[0]
    dxhat = dout * gamma
    dvar = (dxhat * xmu).sum(axis=0) * -0.5 * ivar**3
    dmu = -(dxhat * ivar).sum(axis=0)
    return dxhat * ivar + dvar * 2 * xmu / N + dmu / N, (dout * xhat).sum(axis=0), dout.sum(axis=0)


def layernorm_forward(x, gamma, beta):
    mu = x.mean(axis=1, keepdims=True)
    std = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma)


def layernorm_backward(dout, cache):
    xhat, std, gamma = cache
    D = dout.shape[1]
    dxhat = dout * gamma
    sum1 = dxhat.sum(axis=1, keepdims=True)
    sum2 = (dxhat * xhat).sum(axis=1, keepdims=True)
    dx = (D * dxhat - sum1 - xhat * sum2) / (D * std)
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)


def two_layer_loss(X, y, W1, b1, W2, b2, reg):
    """A whole net; X holds whole numbers, the pixels."""
    hidden = np.maximum(0, X.dot(W1) + b1)
    loss, (probs, _) = softmax_loss(hidden.dot(W2) + b2, y)
    loss += 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2))
    return loss, (X, y, W1, b1, W2, b2, reg, hidden, probs)


def two_layer_grads(dout, cache):
    X, y, W1, b1, W2, b2, reg, hidden, probs = cache  # noqa: RUF059  (one mistake needs them)
    N = X.shape[0]
    grads = {}
    dscores = probs.copy()
    dscores[range(N), y] -= 1
    dscores /= N
    grads["W2"] = np.dot(hidden.T, dscores)
    grads["b2"] = np.sum(dscores, axis=0)
    dhidden = np.dot(dscores, W2.T)
    dhidden[hidden <= 0] = 0
    grads["W1"] = np.dot(X.T, dhidden)
    grads["b1"] = np.sum(dhidden, axis=0)
    grads["W1"] += reg * W1
    grads["W2"] += reg * W2
    return {name: dout * grad for name, grad in grads.items()}


def scores(rng):
    return rng.standard_normal((5, 4)), np.array([2, 0, 3, 1, 1])


def pixels(rng):
    X, y = rng.integers(-2, 3, size=(5, 4)), np.array([2, 0, 1, 1, 2])
    return X, y, *normal((4, 7), 7, (7, 3), 3)(rng), 0.3


def svm_pixels(rng):
    return rng.standard_normal((6, 4)), rng.integers(-2, 3, size=(5, 6)), np.array([2, 0, 3, 1, 1]), 0.3


NORM = normal((7, 4), 4, 4)
NET = ("W1", "b1", "W2", "b2")


def _loss(name, *rest, **more):
    return planted_case(f"softmax loss: {name}", softmax_loss, softmax_loss_backward, scores, *rest, **more)


def _svm(name, *rest, **more):
    return planted_case(f"svm loop: {name}", svm_naive, svm_naive_backward, svm_pixels, *rest, **more)


def _net(name, *rest, **more):
    return planted_case(f"two-layer net: {name}", two_layer_loss, two_layer_grads, pixels, *rest, **more)


def _norm(name, right, *rest, **more):
    return planted_case(f"batch norm: {name}", batchnorm_forward, right, NORM, *rest, **more)


CASES = (
    _loss("not divided by N", "A2", "x", ("    dx /= N\n", "")),
    _loss("dout ignored", "C5", "x", ("dout * dx", "dx"), source=False),
    _loss("sign", "A1", "x", ("return dout * dx", "return dout * -dx")),
    planted_case(
        "svm loss: nothing for the right class",
        svm_loss,
        svm_loss_backward,
        scores,
        "C8",
        "x",
        ("    dx[np.arange(N), y] -= num_pos\n", ""),
    ),
    _svm("not divided by the number of images", "A2", "W", ("    dW /= num_train\n", "")),
    _svm("regulariser without its 2", "D1", "W", ("2 * reg * W", "reg * W"), source=False),
    _svm(
        "regulariser before the division",
        "D1",
        "W",
        ("    dW /= num_train\n    dW += 2 * reg * W\n", "    dW += 2 * reg * W\n    dW /= num_train\n"),
    ),
    _svm("overwritten by the next image", "E1", "W", ("dW[:, j] += X[i]", "dW[:, j] = X[i]"), source=False),
    _norm(
        "mean and deviation as constants",
        batchnorm_backward_alt,
        "C7",
        "x",
        ("dx = ivar / N * (N * dxhat - dxhat.sum(axis=0) - xhat * (dxhat * xhat).sum(axis=0))", "dx = dxhat * ivar"),
    ),
    _norm(
        "mean as a constant",
        batchnorm_backward,
        "C7",
        "x",
        ("return dx1 + dx2", "return dx1"),
        also=("C8",),
        source=False,
    ),
    _norm(
        "variance as a constant", batchnorm_backward, "C7", "x", ("dx1 = dxmu1 + dxmu2", "dx1 = dxmu1"), also=("C8",)
    ),
    _norm(
        "gamma forgotten on the way to x",
        batchnorm_backward,
        "C7",
        "x",
        ("dxhat = dout * gamma", "dxhat = dout.copy()"),
        also=("A5",),
        source=False,
    ),
    _norm("dgamma not summed", batchnorm_backward, "B3", "gamma", ("np.sum(dout * xhat, axis=0)", "dout * xhat")),
    planted_case(
        "layer norm: sums over the batch, from batch norm",
        layernorm_forward,
        layernorm_backward,
        normal((3, 5), 5, 5),
        "B4",
        "x",
        ("dxhat.sum(axis=1, keepdims=True)", "dxhat.sum(axis=0, keepdims=True)"),
        ("(dxhat * xhat).sum(axis=1, keepdims=True)", "(dxhat * xhat).sum(axis=0, keepdims=True)"),
    ),
    planted_case(
        "layer norm: deviation as a constant",
        layernorm_forward,
        layernorm_backward,
        normal((3, 5), 5, 5),
        "C7",
        "x",
        (" - xhat * sum2", ""),
        also=("C8",),
        source=False,
    ),
    _net("no derivative of the relu", "C1", "W1 b1", ("    dhidden[hidden <= 0] = 0\n", "")),
    _net(
        "softmax derived again",
        "C6",
        "W1 b1 W2 b2",
        ("dscores /= N", "dscores *= probs * (1 - probs) / N"),
        source=False,
    ),
    _net("W1 without regulariser", "D1", "W1", ('    grads["W1"] += reg * W1\n', "")),
    _net(
        "regulariser twice too strong",
        "D1",
        "W1 W2",
        ("+= reg * W1", "+= 2 * reg * W1"),
        ("+= reg * W2", "+= 2 * reg * W2"),
    ),
    _net("regulariser subtracted", "D1", "W2", ("+= reg * W2", "-= reg * W2"), source=False),
    _net(
        "biases regularised",
        "D2",
        "b1 b2",
        ("+= reg * W2", '+= reg * W2\n    grads["b1"] += reg * b1\n    grads["b2"] += reg * b2'),
    ),
    _net(
        "divided by N again in the hidden layer",
        "A3",
        "W1 b1",
        ("np.dot(dscores, W2.T)", "np.dot(dscores, W2.T) / N"),
        source=False,
    ),
)

RIGHT_ALTHOUGH = (
    RightAlthough(
        "fused softmax and cross-entropy",
        softmax_loss,
        softmax_loss_backward,
        scores,
        "The softmax's Jacobian is missing between the cross-entropy and the scores.",
    ),
    RightAlthough(
        "1/2 in the loss",
        lambda W, X: (0.5 * np.sum(X.dot(W) ** 2) / len(X), (W, X)),
        lambda dout, cache: dout * cache[1].T.dot(cache[1].dot(cache[0])) / len(cache[1]),
        lambda rng: (rng.standard_normal(4), rng.integers(-3, 4, size=(6, 4))),
        "The derivative of a square has a factor 2.",
    ),
    RightAlthough(
        "batch norm without the term that is zero",
        batchnorm_forward,
        batchnorm_backward_without_the_zero,
        NORM,
        "The mean's gradient lacks the path through the variance.",
    ),
    RightAlthough(
        "batch norm simplified",
        batchnorm_forward,
        batchnorm_backward_alt,
        NORM,
        "It does not look like the paper's three lines.",
    ),
)
