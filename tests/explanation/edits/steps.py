"""Right passes over samples and over time, as strangers write them: samples first, states with the start in one array.

The texts are edited by the tests, which look for each fragment once.
"""

import numpy as np


def unrolled_forward(xs, h0, Wx, Wh):
    hs = np.zeros((xs.shape[0], xs.shape[1] + 1, len(Wh)))
    hs[:, 0] = h0
    for t in range(xs.shape[1]):
        hs[:, t + 1] = np.tanh(xs[:, t] @ Wx + hs[:, t] @ Wh)
    return hs[:, 1:], (xs, hs, Wx, Wh)


def unrolled_backward(dout, cache):
    xs, hs, Wx, Wh = cache
    T = xs.shape[1]
    dz = np.zeros_like(dout)
    carry = np.zeros_like(dout[:, 0])
    for t in range(T - 1, -1, -1):
        dz[:, t] = (dout[:, t] + carry) * (1 - hs[:, t + 1] ** 2)
        carry = dz[:, t] @ Wh.T
    dWx = np.einsum("ntd,nth->dh", xs, dz)
    dWh = np.einsum("ntg,nth->gh", hs[:, :-1], dz)
    dxs = dz @ Wx.T
    return dxs, carry, dWx, dWh


def stepwise_forward(xs, h0, U, V):
    states, h = [], h0
    for x in xs:
        h = np.tanh(U @ h + V @ x)
        states.append(h)
    return np.stack(states), (xs, h0, U, V, np.stack(states))


def stepwise_backward(dhs, cache):
    xs, h0, U, V, states = cache
    before = np.concatenate([h0[None], states[:-1]])
    dU, dV, dxs = np.zeros_like(U), np.zeros_like(V), np.zeros_like(xs)
    later = np.zeros_like(h0)
    for t in reversed(range(len(xs))):
        dh = dhs[t] + later
        dz = dh * (1 - states[t] ** 2)
        dU += np.outer(dz, before[t])
        dV += np.outer(dz, xs[t])
        dxs[t] = V.T @ dz
        later = U.T @ dz
    return dxs, later, dU, dV


def double_forward(xs, U):
    h, states = np.zeros(len(U)), []
    for x in xs:
        h = U @ h + x
        states.append(h)
    return np.stack(states), (np.stack([np.zeros(len(U)), *states[:-1]]), U)


def double_backward(dhs, cache):
    before, U = cache
    dxs, dU = np.zeros_like(dhs), np.zeros_like(U)
    for t in range(len(dhs)):
        d = dhs[t]
        for k in range(t, -1, -1):
            dU += np.outer(d, before[k])
            dxs[k] += d
            d = U.T @ d
    return dxs, dU


def slope_at(d, z):
    return d * np.exp(-z) / (1 + np.exp(-z)) ** 2


def kept_forward(xs, h0, Wh):
    h, zs = h0, []
    for x in xs:
        zs.append(x + Wh.T @ h)
        h = 1 / (1 + np.exp(-zs[-1]))
    return h, (xs.shape, h0, Wh, zs, slope_at)


def kept_backward(dh, cache):
    (T, n, _), h0, Wh, zs, slope_of = cache
    hs = [h0, *(1 / (1 + np.exp(-z)) for z in zs[:-1])]
    flat, dWh = [], np.zeros_like(Wh)
    for t in reversed(range(T)):
        dz = slope_of(dh, zs[t])
        dWh += hs[t] @ dz.T
        flat.insert(0, dz)
        dh = Wh @ dz
    dxs = np.concatenate(flat).reshape(T, n, -1)
    dh0 = Wh @ dz
    return dxs, dh0, dWh


def gated_forward(xs):
    h, gates = np.zeros(xs.shape[1]), []
    for x in xs:
        h = 1 / (1 + np.exp(-x - h))
        gates.append(h * (1 - h))
    return h, np.stack(gates)


def gated_backward(dh, gates):
    dhs = np.zeros_like(gates)
    dhs[-1] = dh
    later, dxs = np.zeros_like(dh), np.zeros_like(gates)
    for t in range(len(gates) - 1, -1, -1):
        later = gates[t] * (dhs[t] + later)
        dxs[t] = later
    return dxs


def shut_forward(Z):
    return np.where(Z > 0, Z, 0), Z


def shut_backward(dA, Z):
    return np.where(Z > 0, dA, 0)


def layer_forward(X, W, b):
    return X @ W + b, (X, W)


def layer_backward(dY, cache):
    X, W = cache
    dW = X.T @ dY
    db = dY.sum(axis=0)
    dX = dY @ W.T
    return dX, dW, db


def points(case, rng):
    shapes = {
        "unrolled": ((3, 5, 2), (3, 4), (2, 4), (4, 4)),
        "stepwise": ((5, 2), 3, (3, 3), (3, 2)),
        "double": ((5, 3), (3, 3)),
        "kept": ((4, 3, 2), (3, 2), (3, 3)),
        "gated": ((5, 3),),
        "shut": ((5, 3),),
        "layer": ((6, 4), (4, 3), 3),
    }
    return tuple(0.7 * rng.standard_normal(shape) for shape in shapes[case])
