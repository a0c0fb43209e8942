"""Passes with windows, masks and labels as strangers write them: pairs (forward, backward with one mistake)."""

import numpy as np


def largest_forward(x, k):
    n, c, h, w = x.shape
    tiles = x.reshape(n, c, h // k, k, w // k, k).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // k, w // k, k * k)
    best = tiles.argmax(axis=-1)
    return tiles.max(axis=-1), (x, best, k)


def everybody_wins(dout, cache):
    x, _best, k = cache
    dx = np.zeros_like(x)
    for i in range(k):
        for j in range(k):
            dx[:, :, i::k, j::k] = dout
    return dx


def mean_wins(dout, cache):
    x, _best, k = cache
    dx = np.zeros_like(x)
    for i in range(k):
        for j in range(k):
            dx[:, :, i::k, j::k] = dout / (k * k)
    return dx


def columns_first(dout, cache):
    x, best, k = cache
    dx = np.zeros_like(x)
    for i in range(k):
        for j in range(k):
            dx[:, :, i::k, j::k] = dout * (best == j * k + i)
    return dx


def next_one_wins(dout, cache):
    x, best, k = cache
    dx = np.zeros_like(x)
    for i in range(k):
        for j in range(k):
            dx[:, :, i::k, j::k] = dout * (best == i * k + j - 1)
    return dx


def whole_window_wins(dout, cache):
    x, _, k = cache
    dx = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    dx[n, c, i * k : i * k + k, j * k : j * k + k] += dout[n, c, i, j]
    return dx


def smallest_wins(dout, cache):
    x, _, k = cache
    dx = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    window = x[n, c, i * k : i * k + k, j * k : j * k + k]
                    mask = window == window.min()
                    dx[n, c, i * k : i * k + k, j * k : j * k + k] += dout[n, c, i, j] * mask
    return dx


def unmasked_repeat(dout, cache):
    x, _, k = cache
    n, c, h, w = x.shape
    top = x.reshape(n, c, h // k, k, w // k, k).max(axis=(3, 5))
    assert top.shape == dout.shape
    return dout.repeat(k, axis=2).repeat(k, axis=3)


def windows_exchanged(dout, cache):
    x, _, k = cache
    dx = np.zeros_like(x)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[2]):
            here = x[:, :, i * k : i * k + k, j * k : j * k + k]
            mask = here == here.max(axis=(2, 3), keepdims=True)
            dx[:, :, j * k : j * k + k, i * k : i * k + k] += dout[:, :, i, j][:, :, None, None] * mask
    return dx


def average_forward(x, kh, kw):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // kh, kh, w // kw, kw).mean(axis=(3, 5)), (kh, kw)


def tiled(dout, cache):
    kh, kw = cache
    return np.tile(dout / (kh * kw), (1, 1, kh, kw))


def one_axis(dout, cache):
    kh, kw = cache
    return np.repeat(dout / (kh * kw), kh, axis=2)


def sides_exchanged(dout, cache):
    kh, kw = cache
    share = dout / (kh * kw)
    return np.repeat(np.repeat(share, kw, axis=2), kh, axis=3)


def unpacked_exchanged(dout, cache):
    kw, kh = cache
    share = dout / (kh * kw)
    return share.repeat(kh, axis=2).repeat(kw, axis=3)


def half_the_girth(dout, cache):
    kh, kw = cache
    share = dout / (kh + kw)
    return share.repeat(kh, axis=2).repeat(kw, axis=3)


def strided_forward(x, w, stride):
    length = (x.shape[1] - len(w)) // stride + 1
    return sum(w[i] * x[:, i : i + stride * length : stride] for i in range(len(w))), (x, w, stride)


def stride_left_out(dout, cache):
    x, w, stride = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    length = dout.shape[1]
    for i in range(len(w)):
        dx[:, i : i + length] += w[i] * dout
        dw[i] = (dout * x[:, i : i + stride * length : stride]).sum()
    return dx, dw


def stride_where_none_is(dout, cache):
    x, w, stride = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    length = dout.shape[1]
    for i in range(len(w)):
        dx[:, i : i + stride * length : stride] += w[i] * dout
        dw[i] = (dout * x[:, i : i + length]).sum()
    return dx, dw


def sparse_forward(x, W, links):
    return x @ (W * links), (x, W, links)


def contrary_links(dout, cache):
    x, W, links = cache
    return dout @ (W * links).T, np.where(~links, x.T @ dout, 0)


def exchanged_links(dout, cache):
    x, W, links = cache
    return dout @ (W * links).T, np.where(links, 0, x.T @ dout)


def forgotten_links(dout, cache):
    x, W, links = cache
    return dout @ (W * links).T, (x.T @ dout) * np.ones_like(links)


def weights_without_a_link(dout, cache):
    x, W, links = cache
    return dout @ W.T, (x.T @ dout) * links


def turned_links(dout, cache):
    x, W, links = cache
    return dout @ (W * links).T, (x.T @ dout) * links.T


def relu_forward(x):
    on = x > 0
    return x * on, on


def closed_units_pass(dout, cache):
    on = cache
    return np.where(on, 0, dout)


def leaky(dout, cache):
    on = cache
    return np.where(on, dout, 0.2 * dout)


def dense_forward(x, W, b):
    return x @ W + b, (x, W)


def first_sample(dout, cache):
    x, W = cache
    return dout @ W.T, x[:1].T @ dout[:1], dout.sum(axis=0)


def without_the_first(dout, cache):
    x, W = cache
    return dout @ W.T, x[1:].T @ dout[1:], dout.sum(axis=0)


def bias_of_the_last(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout[-1]


def added_twice(dout, cache):
    x, W = cache
    dW = np.zeros_like(W)
    dW += x.T @ dout
    dx = dout @ W.T
    dW += x.T @ dout
    return dx, dW, dout.sum(axis=0)


def one_late(dout, cache):
    x, W = cache
    return dout @ W.T, np.roll(x, 1, axis=0).T @ dout, dout.sum(axis=0)


def half_as_much(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout / 2, dout.sum(axis=0)


def two_mistakes(dout, cache):
    x, W = cache
    return dout @ W.T, 1.7 * (x.T @ dout)[::-1], dout.sum(axis=0)


def nll_forward(q, y):
    rows = np.arange(len(y))
    return -np.log(q[rows, y]).sum(), (q, y)


def label_off_by_one(dout, cache):
    q, y = cache
    dq = np.zeros_like(q)
    dq[np.arange(len(y)), y - 1] = -dout / q[np.arange(len(y)), y]
    return dq


def times_for_over(dout, cache):
    q, y = cache
    dq = np.zeros_like(q)
    p = q[np.arange(len(y)), y]
    dq[np.arange(len(y)), y] = -dout * p
    return dq


def begun_at_one(dout, cache):
    q, y = cache
    dq = np.ones_like(q)
    dq[np.arange(len(y)), y] = -dout / q[np.arange(len(y)), y]
    return dq


def every_class(dout, cache):
    q, y = cache
    dq = np.zeros_like(q)
    dq[:] = (-dout / q[np.arange(len(y)), y])[:, None]
    return dq


def magnitude_forward(x, t):
    return 0.5 * ((x - t) ** 2).sum(), (x, t)


def modulus(dout, cache):
    x, t = cache
    r = x - t
    return dout * np.abs(r), -dout * r


def closed_rows(dout, cache):
    x, t = cache
    r = x - t
    return dout * r * (np.arange(len(r)) > 0)[:, None], -dout * r
