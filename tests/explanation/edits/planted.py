"""Real mistakes in the backward passes of ``wild``: where, the right text, the wrong one, and the mistake's class."""

import inspect
import linecache
import types
from typing import NamedTuple

import numpy as np

from tests.explanation.edits import wild

__all__ = ["PLANTED", "Planted", "alike", "point_of", "with_planted"]


class Planted(NamedTuple):
    """A mistake in the function ``where``, seen in the gradients of ``case``."""

    case: str
    mistake: str
    right: str
    wrong: str
    where: str = ""

    def __str__(self):
        return f"{self.case}: {self.right} -> {self.wrong}"


PLANTED = tuple(
    Planted(*row)
    for row in (
        ("affine", "B4", "np.sum(dout, axis=0)", "np.sum(dout, axis=1)"),
        ("affine", "A2", "np.sum(dout, axis=0)", "np.mean(dout, axis=0)"),
        ("affine", "A2", "np.dot(x_row.T, dout)", "np.dot(x_row.T, dout) / N"),
        ("affine", "B3", "db = np.sum(dout, axis=0)", "db = dout"),
        ("square_affine", "B1", "W.T", "W"),
        ("square_affine", "B1", "x.T @ dout", "dout.T @ x"),
        ("square_affine", "B5", "dout @ W.T, x.T @ dout", "x.T @ dout, dout @ W.T"),
        ("linear_vjp", "B1", '"no,io->ni"', '"no,oi->ni"', "linear_vjp"),
        ("dense", "C1", "dz = dout * (1 - np.tanh(self.z) ** 2)", "dz = dout", "Dense"),
        ("dense", "C2", "np.tanh(self.z) ** 2", "self.z ** 2", "Dense"),
        ("relu", "C3", "x <= 0", "x > 0"),
        ("leaky_relu", "C3", "np.where(x > 0, 1.0, alpha)", "np.where(x > 0, alpha, 1.0)"),
        ("reciprocal_norm", "A1", "dout / n - x", "dout / n + x"),
        ("dropout", "E5", "dout * mask / p", "dout * mask"),
        ("dropout", "E5", "dout * mask / p", "dout / p"),
        ("embedding", "E1", "np.add.at(dW, idx, dout)", "dW[idx] += dout"),
        ("embedding", "E1", "np.add.at(dW, idx, dout)", "dW[idx] = dout"),
        ("softmax", "C6", "s * (dout - np.sum(dout * s, axis=1, keepdims=True))", "dout * s * (1 - s)"),
        ("softmax", "B4", "axis=1, keepdims=True", "axis=0, keepdims=True"),
        ("cross_entropy", "A2", "    dscores /= N\n", ""),
        ("cross_entropy", "C5", "dscores * dout", "dscores"),
        ("logistic_regression", "D1", "+ reg * w", "+ 2 * reg * w"),
        ("logistic_regression", "D1", " + reg * w", ""),
        ("logistic_regression", "A1", "(a - y)", "(y - a)"),
        ("logistic_regression", "A3", "np.sum(dz)", "np.sum(dz) / m"),
        ("mlp", "C1", "dz1 = da1 * (1 - a1**2)", "dz1 = da1"),
        ("mlp", "C2", "(1 - a1**2)", "(1 - z1**2)"),
        ("mlp", "C3", "(1 - a1**2)", "a1 * (1 - a1)"),
        ("mlp", "C3", "(1 - a1**2)", "(1 - a1)"),
        ("mlp", "D1", ' + lam * params["W2"]', ""),
        ("mlp", "A3", "np.dot(X.T, dz1)", "np.dot(X.T, dz1) / m"),
        ("columns", "C4", "dA1 * A1 * (1 - A1)", "dA1 * A2 * (1 - A2)"),
        ("columns", "B6", "np.dot(W2.T, dZ2)", "np.dot(W1.T, dZ2)"),
        ("columns", "C2", "dA1 * A1 * (1 - A1)", "dA1 * Z1 * (1 - Z1)"),
        ("columns", "A4", "dW2 = 1 / m", "dW2 = 2 / m"),
        ("layered", "C2", "dsigmoid(zs[i])", "dsigmoid(activations[i + 1])"),
        ("layered", "C3", "s * (1 - s)", "s * (1 - s**2)", "dsigmoid"),
        ("layered", "C4", "dsigmoid(zs[i])", "dsigmoid(zs[i - 1])"),
        ("residual", "C8", " + dout", ""),
        (
            "batchnorm",
            "C7",
            "(dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std",
            "dx_hat / std",
        ),
        ("batchnorm", "C7", "dout * gamma", "dout"),
        ("batchnorm_staged", "A1", "-1 / sqrtvar**2", "1 / sqrtvar**2"),
        ("batchnorm_staged", "C8", "dx = dx1 + dx2", "dx = dx1"),
        ("batchnorm_staged", "A4", "2 * xmu * dsq", "xmu * dsq"),
        ("layernorm", "B4", "mean1 = dxhat.mean(-1, keepdims=True)", "mean1 = dxhat.mean(0, keepdims=True)"),
        (
            "conv_naive",
            "E1",
            "dx_pad[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW] +=",
            "dx_pad[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW] =",
        ),
        ("conv_naive", "E1", "dw[f] +=", "dw[f] ="),
        (
            "conv_naive",
            "F2",
            "dx_pad[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]",
            "dx_pad[n, :, i : i + HH, j * stride : j * stride + WW]",
        ),
        ("conv_naive", "F3", "dx_pad[:, :, pad:-pad, pad:-pad]", "dx_pad[:, :, :H, :W]"),
        ("conv_naive", "F3", "dx_pad[:, :, pad:-pad, pad:-pad]", "dx_pad"),
        ("conv_full", "F1", "w[:, :, ::-1, ::-1]", "w"),
        ("conv_full", "F4", '"ncijuv,nfuv->fcij"', '"ncijuv,nfuv->fcji"'),
        ("im2col", "F4", "dout.transpose(1, 2, 3, 0)", "dout.transpose(1, 3, 2, 0)"),
        (
            "im2col",
            "E1",
            "dx[:, c, u : u + dout.shape[2], v : v + dout.shape[3]] +=",
            "dx[:, c, u : u + dout.shape[2], v : v + dout.shape[3]] =",
        ),
        ("im2col", "B4", "dout.sum(axis=(0, 2, 3))", "dout.sum(axis=(0, 1, 2))"),
        ("table_conv", "F5", "    dw = dw * table[:, :, None, None]\n", ""),
        ("max_pool", "E1", "] += mask", "] = mask"),
        ("max_pool", "F2", "dx[n, c, i * s : i * s + k, j * s : j * s + k]", "dx[n, c, i : i + k, j : j + k]"),
        ("tied_pool", "F6", "    mask = mask / mask.sum(axis=(2, 4), keepdims=True)\n", ""),
        ("mean_pool", "A5", "dx / (size * size)", "dx"),
        ("mean_pool", "A5", "dx / (size * size)", "dx / size"),
        ("rnn", "G1", "dh[:, t] + dh_next", "dh[:, t]"),
        ("rnn", "B1", "dz @ Wh.T", "dz @ Wh"),
        ("rnn", "G3", "h_prev.T @ dz", "h[:, t].T @ dz"),
        ("rnn", "E1", "dWx +=", "dWx ="),
        ("rnn", "G2", "reversed(range(T))", "reversed(range(1, T))"),
        ("rnn", "C1", "dh_t * (1 - h[:, t] ** 2)", "dh_t"),
        ("rnn", "G4", "dh_next = dz @ Wh.T", "dh_next = np.clip(dz @ Wh.T, -0.1, 0.1)"),
        ("rnn", "G2", "reversed(range(T))", "range(T)"),
        ("char_rnn", "B1", "np.dot(Whh.T, dhraw)", "np.dot(Whh, dhraw)"),
        ("char_rnn", "G3", "hs[t - 1].T", "hs[t].T"),
        ("char_rnn", "G1", "np.dot(Why.T, dy) + dhnext", "np.dot(Why.T, dy)"),
        ("char_rnn", "E1", "dby += dy", "dby = dy"),
        ("lstm", "G3", "dc * prev_c", "dc * next_c", "lstm_step_backward"),
        ("lstm", "G1", "dnext_c + dnext_h", "dnext_h", "lstm_step_backward"),
        (
            "lstm",
            "B5",
            "di * i * (1 - i), df * f * (1 - f)",
            "df * f * (1 - f), di * i * (1 - i)",
            "lstm_step_backward",
        ),
        ("lstm", "C1", "do * o * (1 - o)", "do", "lstm_step_backward"),
        ("lstm", "C3", "dg * (1 - g**2)", "dg * g * (1 - g)", "lstm_step_backward"),
        ("gru", "A1", "(h - n)", "(n - h)"),
        ("gru", "C8", "dh = dh + drh * r", "dh = dh"),
        ("gru", "B6", "(r * h).T @ da_n", "h.T @ da_n"),
        ("attention", "A4", "    dS = dS / np.sqrt(d_k)\n", ""),
        ("attention", "C6", "(dA - (dA * A).sum(axis=-1, keepdims=True))", "dA * (1 - A)"),
        ("attention", "B1", "A.swapaxes(-1, -2) @ dout", "A @ dout"),
        ("sine", "C3", "np.cos(x)", "np.sin(x)"),
        ("scale", "A4", "* 2 * cache", "* cache", "Scale"),
        ("scale", "A1", "return d * self.factor", "return -d * self.factor", "Scale"),
    )
)


def with_planted(planted):
    """Return the module ``wild`` with the mistake in it, whose source can be had."""
    text = inspect.getsource(wild)
    where = planted.where or f"{planted.case}_backward"
    begin = (
        min(i for i in (text.find(f"\n{head}{where}") for head in ("def ", "class ")) if i >= 0)
        if f" {where}" in text
        else text.find(f"\n{where} = ")
    )
    end = text.find("\n\n\n", begin + 3)
    segment = text[begin:end]
    if segment.count(planted.right) != 1:
        raise ValueError(
            f"{where} must hold {planted.right!r} once, but holds it {segment.count(planted.right)} times."
        )
    text = text[:begin] + segment.replace(planted.right, planted.wrong) + text[end:]
    return module_of(text, f"<wild {planted}>")


def module_of(text, name):
    """Return a module made of ``text``, whose lines are where inspect looks for those of a notebook's cell."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = types.ModuleType("wild_with_a_mistake")
    exec(compile(text, name, "exec"), vars(module))  # noqa: S102 (a module needs no file)
    return module


def point_of(module, case, seed=0):
    """Return the arguments of a call of the backward of ``case``."""
    rng = np.random.default_rng(seed)
    cases = {"cube": "sine", "partial": "scale"}
    return getattr(module, f"{cases.get(case, case)}_point")(rng)


def alike(left, right):
    """Whether two nests of gradients agree to 1e-9 of their norms."""
    if isinstance(right, dict):
        return isinstance(left, dict) and set(left) == set(right) and all(alike(left[k], right[k]) for k in right)
    if isinstance(right, tuple | list):
        same_length = isinstance(left, tuple | list) and len(left) == len(right)
        return same_length and all(alike(a, b) for a, b in zip(left, right, strict=True))
    left = np.asarray(left)
    if left.shape != np.shape(right):
        return False
    with np.errstate(all="ignore"):
        return bool(np.linalg.norm(np.ravel(left - right)) <= 1e-9 * (np.linalg.norm(np.ravel(right)) + 1e-300))
