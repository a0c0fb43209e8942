"""Backward passes as strangers write them: the right ones pass, and their usual mistakes are found where they are.

The names, the caches and the dicts of settings are those of courses and books.
"""

import copy

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from gradcheck import Verdict, examine_backward
from tests.mutants.mistake import Mistake, with_mistake

# -- layers without state


def affine_forward(x, w, b):
    return x.reshape(x.shape[0], -1).dot(w) + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _b = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db


def relu_forward(x):
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def sigmoid_forward(x):
    s = 1 / (1 + np.exp(-x))
    return s, s


def sigmoid_backward(dout, s):
    return dout * s * (1 - s)


def softmax_forward(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    s = e / e.sum(axis=1, keepdims=True)
    return s, s


def softmax_backward(dout, s):
    return s * (dout - (dout * s).sum(axis=1, keepdims=True))


def normalize_forward(x):
    n = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return x / n, (x, n)


def normalize_backward(dout, cache):
    x, n = cache
    return dout / n - x * (dout * x).sum(axis=1, keepdims=True) / n**3


def embedding_forward(W, index):
    return W[index], (W.shape, index)


def embedding_backward(dout, cache):
    shape, index = cache
    dW = np.zeros(shape)
    np.add.at(dW, index, dout)
    return dW


def dropout_forward(x, dropout_param):
    p, rng = dropout_param["p"], np.random.default_rng(dropout_param["seed"])
    mask = (rng.random(x.shape) < p) / p
    return x * mask, (dropout_param, mask)


def dropout_backward(dout, cache):
    _, mask = cache
    return dout * mask


# -- losses


def softmax_loss(x, y):
    shifted = x - x.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean(), (p, y)


def softmax_loss_backward(dout, cache):
    p, y = cache
    dx = p.copy()
    dx[np.arange(len(y)), y] -= 1
    return dout * dx / len(y)


def svm_loss(x, y):
    rows = np.arange(len(y))
    margins = np.maximum(0, x - x[rows, y][:, None] + 1)
    margins[rows, y] = 0
    return margins.sum() / len(y), (margins, y)


def svm_loss_backward(dout, cache):
    margins, y = cache
    dx = (margins > 0).astype(float)
    dx[np.arange(len(y)), y] -= dx.sum(axis=1)
    return dout * dx / len(y)


# -- normalisation, images


def batchnorm_forward(x, gamma, beta, bn_param):
    mu, var = x.mean(axis=0), x.var(axis=0)
    bn_param["running_mean"] = 0.9 * bn_param["running_mean"] + 0.1 * mu
    std = np.sqrt(var + bn_param.get("eps", 1e-5))
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma)


def batchnorm_backward(dout, cache):
    xhat, std, gamma = cache
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(axis=0) - xhat * (dxhat * xhat).mean(axis=0)) / std
    return dx, dgamma, dbeta


def layernorm_forward(x, gamma, beta, ln_param):
    mu, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    std = np.sqrt(var + ln_param.get("eps", 1e-5))
    return gamma * (x - mu) / std + beta, ((x - mu) / std, std, gamma)


def layernorm_backward(dout, cache):
    xhat, std, gamma = cache
    d = dout * gamma
    dx = (d - d.mean(axis=1, keepdims=True) - xhat * (d * xhat).mean(axis=1, keepdims=True)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)


def conv_forward(x, w, b, conv_param):
    s, p = conv_param["stride"], conv_param["pad"]
    xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = sliding_window_view(xp, w.shape[2:], axis=(2, 3))[:, :, ::s, ::s]
    return np.einsum("ncijuv,fcuv->nfij", windows, w) + b[:, None, None], (x, w, b, conv_param)


def conv_backward(dout, cache):
    x, w, _b, conv_param = cache
    s, p = conv_param["stride"], conv_param["pad"]
    xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    dxp, dw, db = np.zeros_like(xp), np.zeros_like(w), dout.sum(axis=(0, 2, 3))
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            here = np.s_[:, :, i * s : i * s + w.shape[2], j * s : j * s + w.shape[3]]
            dw += np.tensordot(dout[:, :, i, j], xp[here], axes=(0, 0))
            dxp[here] += np.tensordot(dout[:, :, i, j], w, axes=(1, 0))
    return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]], dw, db


def max_pool_forward(x, pool_param):
    k, s = pool_param["size"], pool_param["stride"]
    return sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::s, ::s].max(axis=(4, 5)), (x, pool_param)


def max_pool_backward(dout, cache):
    x, pool_param = cache
    k, s = pool_param["size"], pool_param["stride"]
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        window = x[n, c, i * s : i * s + k, j * s : j * s + k]
        u, v = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, i * s + u, j * s + v] += dout[n, c, i, j]
    return dx


# -- sequences, whole networks


def rnn_forward(X, h0, W_xh, W_hh, b_h):
    hs = [h0]
    for x in X:
        hs.append(np.tanh(x @ W_xh + hs[-1] @ W_hh + b_h))
    return np.stack(hs[1:]), (X, hs, W_xh, W_hh)


def rnn_backward(dH, cache):
    X, hs, W_xh, W_hh = cache
    dX, dW_xh, dW_hh, db_h = np.zeros_like(X), np.zeros_like(W_xh), np.zeros_like(W_hh), np.zeros(len(W_hh))
    dh_next = np.zeros_like(hs[0])
    for t in reversed(range(len(X))):
        da = (dH[t] + dh_next) * (1 - hs[t + 1] ** 2)
        dX[t] = da @ W_xh.T
        dW_xh += X[t].T @ da
        dW_hh += hs[t].T @ da
        db_h += da.sum(axis=0)
        dh_next = da @ W_hh.T
    return dX, dh_next, dW_xh, dW_hh, db_h


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    i, f, o, g = np.split(x @ Wx + prev_h @ Wh + b, 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    next_c = f * prev_c + i * g
    return (o * np.tanh(next_c), next_c), (x, prev_h, prev_c, Wx, Wh, i, f, o, g, np.tanh(next_c))


def lstm_step_backward(dout, cache):
    dnext_h, dnext_c = dout
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, t = cache
    dc = dnext_c + dnext_h * o * (1 - t**2)
    di, df, do, dg = dc * g, dc * prev_c, dnext_h * t, dc * i
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def gru_step_forward(x, h, W, U):
    (Wz, Wr, Wn), (Uz, Ur, Un) = np.split(W, 3, axis=1), np.split(U, 3, axis=1)
    z, r = sigmoid(x @ Wz + h @ Uz), sigmoid(x @ Wr + h @ Ur)
    n = np.tanh(x @ Wn + (r * h) @ Un)
    return (1 - z) * n + z * h, (x, h, W, U, z, r, n)


def gru_step_backward(dout, cache):
    x, h, W, U, z, r, n = cache
    Uz, Ur, Un = np.split(U, 3, axis=1)
    dz, dn = dout * (h - n) * z * (1 - z), dout * (1 - z) * (1 - n**2)
    drh = dn @ Un.T
    dr = drh * h * r * (1 - r)
    da = np.hstack([dz, dr, dn])
    dh = dout * z + drh * r + dz @ Uz.T + dr @ Ur.T
    return da @ W.T, dh, x.T @ da, np.hstack([h.T @ dz, h.T @ dr, (r * h).T @ dn])


def attention_forward(Q, K, V, mask):
    a, _ = softmax_forward(np.where(mask, Q @ K.T / np.sqrt(Q.shape[1]), -1e9))
    return a @ V, (Q, K, V, a)


def attention_backward(dout, cache):
    Q, K, V, a = cache
    ds = softmax_backward(dout @ V.T, a) / np.sqrt(Q.shape[1])
    return ds @ K, ds.T @ Q, a.T @ dout


def two_layer_loss(X, y, params, reg):
    h = np.maximum(0, X @ params["W1"] + params["b1"])
    loss, (p, _) = softmax_loss(h @ params["W2"] + params["b2"], y)
    return loss + 0.5 * reg * sum((params[W] ** 2).sum() for W in ("W1", "W2")), (X, y, params, reg, h, p)


def two_layer_grads(dout, cache):
    X, y, params, reg, h, p = cache
    grads = {}
    dscores = softmax_loss_backward(dout, (p, y))
    dh = dscores @ params["W2"].T
    dh[h <= 0] = 0
    grads["W2"] = h.T @ dscores + dout * reg * params["W2"]
    grads["b2"] = dscores.sum(axis=0)
    grads["W1"] = X.T @ dh + dout * reg * params["W1"]
    grads["b1"] = dh.sum(axis=0)
    return grads


def gaussian(*shapes, then=()):
    return lambda rng: (*(np.array(rng.standard_normal(shape)) for shape in shapes), *copy.deepcopy(then))


def small_rnn_args(rng):
    X, h0, *weights = gaussian((5, 3, 4), (3, 6), (4, 6), (6, 6), 6)(rng)
    return X, h0, *(1e-3 * weight for weight in weights)


def two_layer_args(rng):
    W1, b1, W2, b2 = gaussian((4, 10), 10, (10, 3), 3)(rng)
    return rng.standard_normal((5, 4)), rng.integers(3, size=5), {"W1": W1, "b1": b1, "W2": W2, "b2": b2}, 0.1


def scores(rng):
    return rng.standard_normal((5, 4)), rng.integers(4, size=5)


IMAGES, KERNELS, WORDS = (2, 3, 5, 4), (4, 3, 3, 3), np.array([[1, 2, 1], [0, 1, 6]])
CAUSAL, BATCH_NORM = np.tri(5, dtype=bool), {"mode": "train", "running_mean": np.zeros(5)}

# Its name: forward, backward, arguments.
STRANGERS = {
    "affine": (affine_forward, affine_backward, gaussian((5, 2, 3), (6, 4), 4)),
    "square affine": (affine_forward, affine_backward, gaussian((4, 4), (4, 4), 4)),
    "relu": (relu_forward, relu_backward, gaussian((6, 7))),
    "sigmoid": (sigmoid_forward, sigmoid_backward, gaussian((6, 7))),
    "softmax": (softmax_forward, softmax_backward, gaussian((4, 4))),
    "normalise": (normalize_forward, normalize_backward, gaussian((4, 5))),
    "embedding": (embedding_forward, embedding_backward, gaussian((7, 3), then=(WORDS,))),
    "dropout": (dropout_forward, dropout_backward, gaussian((6, 7), then=({"p": 0.6, "seed": 3, "mode": "train"},))),
    "softmax loss": (softmax_loss, softmax_loss_backward, scores),
    "svm loss": (svm_loss, svm_loss_backward, scores),
    "batch norm": (batchnorm_forward, batchnorm_backward, gaussian((7, 5), 5, 5, then=(BATCH_NORM,))),
    "layer norm": (layernorm_forward, layernorm_backward, gaussian((6, 6), 6, 6, then=({"eps": 1e-5},))),
    "conv": (conv_forward, conv_backward, gaussian(IMAGES, KERNELS, 4, then=({"stride": 1, "pad": 1},))),
    "strided conv": (conv_forward, conv_backward, gaussian(IMAGES, KERNELS, 4, then=({"stride": 2, "pad": 1},))),
    "max pool": (max_pool_forward, max_pool_backward, gaussian(IMAGES, then=({"size": 3, "stride": 1},))),
    "rnn": (rnn_forward, rnn_backward, gaussian((5, 3, 4), (3, 6), (4, 6), (6, 6), 6)),
    "rnn with small weights": (rnn_forward, rnn_backward, small_rnn_args),
    "lstm": (lstm_step_forward, lstm_step_backward, gaussian((3, 4), (3, 5), (3, 5), (4, 20), (5, 20), 20)),
    "gru": (gru_step_forward, gru_step_backward, gaussian((3, 4), (3, 5), (4, 15), (5, 15))),
    "attention": (attention_forward, attention_backward, gaussian((5, 4), (5, 4), (5, 3), then=(CAUSAL,))),
    "two-layer net": (two_layer_loss, two_layer_grads, two_layer_args),
}

# Of which stranger, the right fragment, the wrong one, the arguments whose gradients become wrong.
MISTAKES = (
    ("affine", "np.sum(dout", "np.mean(dout", "b"),
    ("affine", ".reshape(x.shape)", '.reshape(x.shape, order="F")', "x"),
    ("affine", ".T.dot(dout)", ".T.dot(dout) / len(x)", "w"),
    ("square affine", "w.T", "w", "x"),
    ("square affine", "return dx, dw", "return dw, dx", "x w"),
    ("relu", "cache > 0", "dout > 0", "x"),
    ("relu", " * (cache > 0)", " * 1", "x"),
    ("sigmoid", "s * (1 - s)", "sigmoid(s) * (1 - sigmoid(s))", "x"),
    ("sigmoid", " * (1 - s)", "", "x"),
    ("softmax", "(dout - (dout * s).sum(axis=1, keepdims=True))", "dout * (1 - s)", "x"),
    ("softmax", "axis=1", "axis=0", "x"),
    ("normalise", " - x * (dout * x).sum(axis=1, keepdims=True) / n**3", "", "x"),
    ("normalise", "n**3", "n**2", "x"),
    ("embedding", "np.add.at(dW, index, dout)", "dW[index] += dout", "W"),
    ("dropout", "* mask", "* (mask > 0)", "x"),
    ("softmax loss", " / len(y)", "", "x"),
    ("softmax loss", "dout * dx", "dx", "x"),
    ("svm loss", "-= dx.sum(axis=1)", "-= 1", "x"),
    ("batch norm", "- dxhat.mean(axis=0) ", "", "x"),
    ("batch norm", " - xhat * (dxhat * xhat).mean(axis=0)", "", "x"),
    ("batch norm", "dout * gamma", "dout * 1", "x"),
    ("layer norm", "d.mean(axis=1, keepdims=True)", "d.mean(axis=0, keepdims=True)", "x"),
    ("layer norm", "(dout * xhat).sum", "(dout * xhat).mean", "gamma"),
    ("conv", "dxp[here] +=", "dxp[here] =", "x"),
    ("conv", "p : p + x.shape[2]", ": x.shape[2]", "x"),
    ("strided conv", "range(dout.shape[3])", "range(dout.shape[3] - 1)", "x w"),
    ("strided conv", "dw +=", "dw =", "w"),
    ("max pool", "+= dout", "= dout", "x"),
    ("rnn", "range(len(X))", "range(1, len(X))", "X h0 W_xh W_hh b_h"),
    ("rnn", "dW_hh += hs[t].T", "dW_hh += hs[t + 1].T", "W_hh"),
    ("rnn with small weights", "@ W_hh.T", "@ W_hh", "X h0 W_xh W_hh b_h"),
    ("rnn with small weights", "(dH[t] + dh_next)", "dH[t]", "X h0 W_xh W_hh b_h"),
    ("lstm", "dnext_c + dnext_h", "dnext_h", "x prev_h prev_c Wx Wh b"),
    ("lstm", "dc * f, x.T", "dc, x.T", "prev_c"),
    ("lstm", "di * i * (1 - i), df * f * (1 - f)", "df * f * (1 - f), di * i * (1 - i)", "x prev_h Wx Wh b"),
    ("gru", "dout * z + drh", "drh", "h"),
    ("gru", "(r * h).T", "h.T", "U"),
    ("gru", "(h - n)", "(n - h)", "x h W U"),
    ("attention", " / np.sqrt(Q.shape[1])", "", "Q K"),
    ("attention", "ds @ K, ds.T @ Q", "ds @ Q, ds.T @ K", "Q K"),
    ("attention", "a.T @ dout", "a @ dout", "V"),
    ("two-layer net", ' + dout * reg * params["W1"]', "", "params['W1']"),
    ("two-layer net", 'reg * params["W2"]', '2 * reg * params["W2"]', "params['W2']"),
    ("two-layer net", "dh[h <= 0]", "dh[dh <= 0]", "params['W1'] params['b1']"),
)


def examine(name, backward, seed):
    forward, _, args = STRANGERS[name]
    wrt = "params" if name == "two-layer net" else None
    return examine_backward(forward, backward, args(np.random.default_rng(seed)), wrt=wrt, seed=seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", STRANGERS)
def test_a_right_backward_of_a_stranger_passes(name, seed):
    report = examine(name, STRANGERS[name][1], seed)
    assert report.verdict is Verdict.PASS, str(report)
    assert report.bound < 1e-4


@pytest.mark.parametrize(("name", "right", "wrong", "arguments"), MISTAKES)
def test_a_mistake_of_a_stranger_fails_in_the_arguments_it_makes_wrong_and_in_no_other(name, right, wrong, arguments):
    paths = tuple(arguments.split())
    report = examine(name, with_mistake(STRANGERS[name][1], Mistake(name, right, wrong, paths)), seed=0)
    assert report.verdict is Verdict.FAIL, str(report)
    failing = {path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL}
    assert failing == set(paths), str(report)


def test_every_stranger_makes_a_mistake():
    assert {name for name, *_ in MISTAKES} == set(STRANGERS)
