"""What runs over time or over tokens, with specifications and right backwards."""

from __future__ import annotations

import numpy as np
from shape_layers import layer, softmax


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def embedding(E, ids):
    return E[ids], (E.shape, ids)


def embedding_backward(dy, cache):
    shape, ids = cache
    dE = np.zeros(shape)
    np.add.at(dE, ids, dy)
    return (dE,)


layer("E: V D, ids: N T int < V", embedding, embedding_backward)


def attention(q, k, v):
    p = softmax(np.einsum("ntd,nsd->nts", q, k) / np.sqrt(q.shape[2]))
    return np.einsum("nts,nse->nte", p, v), (q, k, v, p)


def attention_backward(dy, cache):
    q, k, v, p = cache
    dv = np.einsum("nts,nte->nse", p, dy)
    dp = np.einsum("nte,nse->nts", dy, v)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) / np.sqrt(q.shape[2])
    dq = np.einsum("nts,nsd->ntd", ds, k)
    dk = np.einsum("nts,ntd->nsd", ds, q)
    return dq, dk, dv


layer("q: N T D, k: N S D, v: N S E", attention, attention_backward)


def heads_attention(x, W, heads):
    N, T, D = x.shape
    q, k, v = (x @ W).reshape(N, T, 3, heads, D // heads).transpose(2, 0, 3, 1, 4)
    s = q @ k.transpose(0, 1, 3, 2) / np.sqrt(D // heads)
    p = softmax(np.where(np.tril(np.ones((T, T), bool)), s, -1e30))
    return (p @ v).transpose(0, 2, 1, 3).reshape(N, T, D), (x, W, heads, q, k, v, p)


def heads_attention_backward(dy, cache):
    x, W, heads, q, k, v, p = cache
    N, T, D = x.shape
    d = D // heads
    do = dy.reshape(N, T, heads, d).transpose(0, 2, 1, 3)
    dv = p.transpose(0, 1, 3, 2) @ do
    dp = do @ v.transpose(0, 1, 3, 2)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(d)
    dq = ds @ k
    dk = ds.transpose(0, 1, 3, 2) @ q
    dz = np.stack([dq, dk, dv]).transpose(1, 3, 0, 2, 4).reshape(N, T, 3 * D)
    dx = dz @ W.T
    dW = np.einsum("ntd,nte->de", x, dz)
    return dx, dW


layer("x: N T heads*d, W: heads*d 3*heads*d, heads", heads_attention, heads_attention_backward)


def attention_pool(h, w):
    p = softmax(h @ w, 1)
    return np.einsum("nt,ntd->nd", p, h), (h, w, p)


def attention_pool_backward(dy, cache):
    h, w, p = cache
    dp = np.einsum("nd,ntd->nt", dy, h)
    ds = p * (dp - (dp * p).sum(1, keepdims=True))
    dh = p[:, :, None] * dy[:, None] + ds[:, :, None] * w
    dw = np.einsum("nt,ntd->d", ds, h)
    return dh, dw


layer("h: N T D, w: D", attention_pool, attention_pool_backward)


def sequence_loss(scores, labels, mask):
    p = softmax(scores)
    n, t = np.ogrid[: p.shape[0], : p.shape[1]]
    return -(np.log(p[n, t, labels]) * mask).sum() / len(p), (p, labels, mask)


def sequence_loss_backward(dL, cache):
    p, labels, mask = cache
    ds = p.copy()
    n, t = np.ogrid[: p.shape[0], : p.shape[1]]
    ds[n, t, labels] -= 1
    return (dL * ds * mask[:, :, None] / len(p),)


layer("scores: N T K, labels: N T int < K, mask: N T bool", sequence_loss, sequence_loss_backward)


def rnn(x, h0, Wx, Wh, b):
    h = [h0]
    for x_t in x:
        h.append(np.tanh(x_t @ Wx + h[-1] @ Wh + b))
    return np.stack(h)[1:], (x, h, Wx, Wh)


def rnn_backward(dy, cache):
    x, h, Wx, Wh = cache
    T = len(x)
    dx, dWx, dWh = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh)
    db, dh = np.zeros(len(Wh)), np.zeros_like(h[0])
    for t in reversed(range(T)):
        da = (dy[t] + dh) * (1 - h[t + 1] ** 2)
        dx[t] = da @ Wx.T
        dWx += x[t].T @ da
        dWh += h[t].T @ da
        db += da.sum(0)
        dh = da @ Wh.T
    return dx, dh, dWx, dWh, db


layer("x: T N D, h0: N H, Wx: D H, Wh: H H, b: H", rnn, rnn_backward)


def rnn_last(x, Wx, Wh):
    h = [np.zeros((x.shape[1], len(Wh)))]
    for x_t in x:
        h.append(np.tanh(x_t @ Wx + h[-1] @ Wh))
    return h[-1], (x, h, Wx, Wh)


def rnn_last_backward(dh, cache):
    x, h, Wx, Wh = cache
    T = len(x)
    dx, dWx, dWh = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh)
    for t in reversed(range(T)):
        da = dh * (1 - h[t + 1] ** 2)
        dx[t] = da @ Wx.T
        dWx += x[t].T @ da
        dWh += h[t].T @ da
        dh = da @ Wh.T
    return dx, dWx, dWh


layer("x: T N D, Wx: D H, Wh: H H", rnn_last, rnn_last_backward)


def gru(x, h0, W, U):
    h, kept = [h0], []
    for x_t in x:
        a, u = np.split(x_t @ W, 3, axis=1), np.split(h[-1] @ U, 3, axis=1)
        z, r = sigmoid(a[0] + u[0]), sigmoid(a[1] + u[1])
        c = np.tanh(a[2] + r * u[2])
        h.append((1 - z) * h[-1] + z * c)
        kept.append((z, r, c, u[2]))
    return np.stack(h)[1:], (x, h, W, U, kept)


def gru_backward(dy, cache):
    x, h, W, U, kept = cache
    dx, dW, dU = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U)
    dh = np.zeros_like(h[0])
    for t in reversed(range(len(x))):
        z, r, c, u = kept[t]
        dh = dh + dy[t]
        dz = dh * (c - h[t]) * z * (1 - z)
        dc = dh * z * (1 - c**2)
        dr = dc * u * r * (1 - r)
        da = np.concatenate([dz, dr, dc], axis=1)
        du = np.concatenate([dz, dr, dc * r], axis=1)
        dx[t] = da @ W.T
        dW += x[t].T @ da
        dU += h[t].T @ du
        dh = dh * (1 - z) + du @ U.T
    return dx, dh, dW, dU


layer("x: T N D, h0: N H, W: D 3*H, U: H 3*H", gru, gru_backward)


def lstm(x, h0, c0, W, U, b):
    h, c, kept = [h0], [c0], []
    for x_t in x:
        i, f, o, g = np.split(x_t @ W + h[-1] @ U + b, 4, axis=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        c.append(f * c[-1] + i * g)
        h.append(o * np.tanh(c[-1]))
        kept.append((i, f, o, g))
    return (np.stack(h)[1:], c[-1]), (x, h, c, kept, W, U)


def lstm_backward(dout, cache):
    dy, dc = dout
    x, h, c, kept, W, U = cache
    dx, dW, dU = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U)
    db, dh = np.zeros(U.shape[1]), np.zeros_like(h[0])
    for t in reversed(range(len(x))):
        i, f, o, g = kept[t]
        dh = dh + dy[t]
        s = np.tanh(c[t + 1])
        dc = dc + dh * o * (1 - s**2)
        parts = [dc * g * i * (1 - i), dc * c[t] * f * (1 - f), dh * s * o * (1 - o), dc * i * (1 - g**2)]
        da = np.concatenate(parts, axis=1)
        dx[t] = da @ W.T
        dW += x[t].T @ da
        dU += h[t].T @ da
        db += da.sum(0)
        dh = da @ U.T
        dc = dc * f
    return dx, dh, dc, dW, dU, db


layer("x: T N D, h0: N H, c0: N H, W: D 4*H, U: H 4*H, b: 4*H", lstm, lstm_backward)


def crf(emissions, transitions):
    alphas = [emissions[0]]
    for e in emissions[1:]:
        s = alphas[-1][:, None] + transitions
        top = s.max(0)
        alphas.append(top + np.log(np.exp(s - top).sum(0)) + e)
    top = alphas[-1].max()
    return top + np.log(np.exp(alphas[-1] - top).sum()), (transitions, alphas)


def crf_backward(dL, cache):
    transitions, alphas = cache
    T = len(alphas)
    de, dA = np.zeros((T, len(transitions))), np.zeros_like(transitions)
    d = dL * softmax(alphas[-1])
    for t in range(T - 1, 0, -1):
        de[t] = d
        p = softmax(alphas[t - 1][:, None] + transitions, 0) * d
        dA += p
        d = p.sum(1)
    de[0] = d
    return de, dA


layer("emissions: T K, transitions: K K", crf, crf_backward)


def returns(r, gamma):
    g, G = np.zeros_like(r), 0.0
    for t in reversed(range(len(r))):
        G = r[t] + gamma * G
        g[t] = G
    return g, (gamma, len(r))


def returns_backward(dg, cache):
    gamma, T = cache
    dr, d = np.zeros(T), 0.0
    for t in range(T):
        d = dg[t] + gamma * d
        dr[t] = d
    return (dr,)


layer("r: T, gamma in 0.9 0.5", returns, returns_backward)


def bidirectional(x, W, U, V):
    T = len(x)
    h, g = [np.zeros((x.shape[1], len(U)))], [np.zeros((x.shape[1], len(V)))]
    for t in range(T):
        h.append(np.tanh(x[t] @ W + h[-1] @ U))
        g.append(np.tanh(x[T - 1 - t] @ W + g[-1] @ V))
    return np.concatenate([np.stack(h)[1:], np.stack(g)[:0:-1]], axis=2), (x, W, U, V, h, g)


def bidirectional_backward(dy, cache):
    x, W, U, V, h, g = cache
    T, H = len(x), len(U)
    dx, dW, dU, dV = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros_like(V)
    dh, dg = np.zeros_like(h[0]), np.zeros_like(g[0])
    for t in reversed(range(T)):
        da = (dh + dy[t, :, :H]) * (1 - h[t + 1] ** 2)
        db = (dg + dy[T - 1 - t, :, H:]) * (1 - g[t + 1] ** 2)
        dx[t] += da @ W.T
        dx[T - 1 - t] += db @ W.T
        dW += x[t].T @ da + x[T - 1 - t].T @ db
        dU += h[t].T @ da
        dV += g[t].T @ db
        dh, dg = da @ U.T, db @ V.T
    return dx, dW, dU, dV


layer("x: T N D, W: D H, U: H H, V: H H", bidirectional, bidirectional_backward)
