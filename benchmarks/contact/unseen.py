"""Wrong passes by students and by scientists: ``RESERVE`` has other mistakes of the same passes."""

import numpy as np

from tests.strangers.case import normal, planted_case

_CASES = []


def add(*args, **rest):
    _CASES.append(planted_case(*args, **rest))


HIDDEN = {"source": False}


# ---------------------------------------------------------------- students: an MLP with a dict of parameters


def mlp_forward(params, X, y):
    Z1 = X @ params["W1"] + params["b1"]
    A1 = np.maximum(0, Z1)
    Z2 = A1 @ params["W2"] + params["b2"]
    e = np.exp(Z2 - Z2.max(axis=1, keepdims=True))
    probs = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(probs[np.arange(len(y)), y]).mean()
    return loss, {"X": X, "Z1": Z1, "A1": A1, "probs": probs, "y": y, "params": params}


def mlp_backward(dloss, cache):
    m = cache["X"].shape[0]
    W2 = cache["params"]["W2"]
    grads = {}
    dZ2 = cache["probs"].copy()
    dZ2[range(m), cache["y"]] -= 1
    dZ2 = dloss * dZ2 / m
    grads["W2"] = cache["A1"].T @ dZ2
    grads["b2"] = dZ2.sum(axis=0)
    dA1 = dZ2 @ W2.T
    dZ1 = dA1 * (cache["Z1"] > 0)
    grads["W1"] = cache["X"].T @ dZ1
    grads["b1"] = dZ1.sum(axis=0)
    dX = dZ1 @ cache["params"]["W1"].T
    return grads, dX


def mlp_args(rng):
    n, d, h, k = 5, 4, 7, 3
    params = {
        "W1": rng.standard_normal((d, h)),
        "b1": rng.standard_normal(h),
        "W2": rng.standard_normal((h, k)),
        "b2": rng.standard_normal(k),
    }
    return params, rng.standard_normal((n, d)), np.array([0, 2, 1, 1, 0])


P1 = "params['W1'] params['b1']"
P2 = "params['W2'] params['b2']"
add("mlp dict: batch forgotten", mlp_forward, mlp_backward, mlp_args, "A2", f"{P1} {P2} X",
    ("dloss * dZ2 / m", "dloss * dZ2"))
add("mlp dict: relu' forgotten", mlp_forward, mlp_backward, mlp_args, "C1", f"{P1} X",
    ('dZ1 = dA1 * (cache["Z1"] > 0)', "dZ1 = dA1"), **HIDDEN)
add("mlp dict: mean of the bias", mlp_forward, mlp_backward, mlp_args, "A2", "params['b1']",
    ('grads["b1"] = dZ1.sum(axis=0)', 'grads["b1"] = dZ1.mean(axis=0)'), also=("A3",))
add("mlp dict: W1 from dA1", mlp_forward, mlp_backward, mlp_args, "C1", "params['W1']",
    ('cache["X"].T @ dZ1', 'cache["X"].T @ dA1'), **HIDDEN)
add("mlp dict: sign of the label", mlp_forward, mlp_backward, mlp_args, "A1", f"{P1} {P2} X",
    ('dZ2[range(m), cache["y"]] -= 1', 'dZ2[range(m), cache["y"]] += 1'), also=("C3",), **HIDDEN)


# ---------------------------------------------------------------- students: a loop over lists of weights


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def sigmoid_prime(z):
    return sigmoid(z) * (1 - sigmoid(z))


def feed(weights, biases, x, target):
    activation, activations, zs = x, [x], []
    for w, b in zip(weights, biases):
        z = np.dot(w, activation) + b
        zs.append(z)
        activation = sigmoid(z)
        activations.append(activation)
    return 0.5 * np.sum((activations[-1] - target) ** 2), (weights, biases, activations, zs, target)


def backprop(dcost, cache):
    weights, biases, activations, zs, target = cache
    nabla_b = [np.zeros(b.shape) for b in biases]
    nabla_w = [np.zeros(w.shape) for w in weights]
    error = activations[-1] - target
    delta = dcost * error * sigmoid_prime(zs[-1])
    nabla_b[-1] = delta
    nabla_w[-1] = np.dot(delta, activations[-2].T)
    for l in range(2, len(weights) + 1):
        sp = sigmoid_prime(zs[-l])
        delta = np.dot(weights[-l + 1].T, delta) * sp
        nabla_b[-l] = delta
        nabla_w[-l] = np.dot(delta, activations[-l - 1].T)
    return nabla_w, nabla_b, np.dot(weights[0].T, delta), -dcost * error


def feed_args(rng):
    sizes = [4, 5, 3, 2]
    return (
        [rng.standard_normal((o, i)) for i, o in zip(sizes, sizes[1:])],
        [rng.standard_normal((o, 1)) for o in sizes[1:]],
        rng.standard_normal((4, 1)),
        rng.standard_normal((2, 1)),
    )


BELOW = "weights[0] weights[1] biases[0] biases[1] x"
add("nielsen: sigmoid' of an activation", feed, backprop, feed_args, "C2", BELOW,
    ("sp = sigmoid_prime(zs[-l])", "sp = sigmoid_prime(activations[-l])"), helpers=(sigmoid, sigmoid_prime))
add("nielsen: output sigmoid' missing", feed, backprop, feed_args, "C1", "weights[2] biases[2] " + BELOW,
    ("dcost * error * sigmoid_prime(zs[-1])", "dcost * error"), **HIDDEN)
add("nielsen: derivative in the helper", feed, backprop, feed_args, "C3", "weights[2] biases[2] " + BELOW,
    ("return sigmoid(z) * (1 - sigmoid(z))", "return sigmoid(z) * (1 + sigmoid(z))"),
    helpers=(sigmoid, sigmoid_prime), **HIDDEN)
add("nielsen: target's sign", feed, backprop, feed_args, "A1", "target",
    ("np.dot(weights[0].T, delta), -dcost * error", "np.dot(weights[0].T, delta), dcost * error"), **HIDDEN)


# ---------------------------------------------------------------- students: logistic regression, L2


def logreg(w, b, X, y, lam):
    m = X.shape[0]
    p = sigmoid(X @ w + b)
    cost = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)) + lam / (2 * m) * np.sum(w**2)
    return cost, (w, X, y, p, lam, m)


def logreg_back(dcost, cache):
    w, X, y, p, lam, m = cache
    dz = (p - y) / m
    dw = X.T @ dz + lam / m * w
    db = np.sum(dz)
    dX = np.outer(dz, w)
    return dcost * dw, dcost * db, dcost * dX


def logreg_args(rng):
    return (rng.standard_normal(3), np.array(0.7), rng.standard_normal((6, 3)), np.array([0, 1, 1, 0, 1, 0]), 1.5)


add("logreg: penalty forgotten", logreg, logreg_back, logreg_args, "D1", "w", (" + lam / m * w", ""), **HIDDEN)
add("logreg: penalty not by m", logreg, logreg_back, logreg_args, "D1", "w", ("lam / m * w", "lam * w"))
add("logreg: penalty's sign", logreg, logreg_back, logreg_args, "D1", "w", ("+ lam / m * w", "- lam / m * w"), **HIDDEN)
add("logreg: m twice", logreg, logreg_back, logreg_args, "A3", "b",
    ("db = np.sum(dz)", "db = np.sum(dz) / m"), also=("A2",))
add("logreg: cotangent left out of dX", logreg, logreg_back, logreg_args, "C5", "X", ("dcost * dX", "dX"), **HIDDEN)
add("logreg: p(1-p) once more", logreg, logreg_back, logreg_args, "C6", "w b X",
    ("dz = (p - y) / m", "dz = (p - y) * p * (1 - p) / m"), also=("C3",))


# ---------------------------------------------------------------- students: ridge with bias


def ridge_cost(theta, bias, y):
    X = np.arange(28.0).reshape(7, 4) % 5 - 2
    err = X.dot(theta) + bias - y
    J = (err**2).sum() / (2 * len(y)) + 0.3 * (theta**2).sum()
    return J, (theta, bias, X, y, 0.3, err)


def ridge_grad(dJ, saved):
    theta, bias, X, y, reg, err = saved
    N = len(y)
    g = dJ * err / N
    dtheta = X.T.dot(g)
    dtheta += dJ * 2 * reg * theta
    dbias = g.sum()
    return dtheta, np.asarray(dbias), -g


def ridge_args(rng):
    return rng.standard_normal(4), np.array(-1.3), rng.standard_normal(7)


add("ridge: two of the penalty", ridge_cost, ridge_grad, ridge_args, "D1", "theta",
    ("dJ * 2 * reg * theta", "dJ * reg * theta"), also=("A4",))
add("ridge: bias shrunk as well", ridge_cost, ridge_grad, ridge_args, "D2", "bias",
    ("dbias = g.sum()", "dbias = g.sum() + dJ * 2 * reg * bias"), **HIDDEN)
add("ridge: penalty overwrites the data", ridge_cost, ridge_grad, ridge_args, "E1", "theta",
    ("dtheta += dJ", "dtheta = dJ"), also=("C8",), **HIDDEN)
add("ridge: 2/N", ridge_cost, ridge_grad, ridge_args, "A4", "theta bias y",
    ("g = dJ * err / N", "g = 2 * dJ * err / N"))


# ---------------------------------------------------------------- students: conv layer with loops


def conv_forward(x, w, b, stride, pad):
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    Ho = 1 + (H + 2 * pad - HH) // stride
    Wo = 1 + (W + 2 * pad - WW) // stride
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((N, F, Ho, Wo))
    for i in range(Ho):
        for j in range(Wo):
            win = xp[:, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
            out[:, :, i, j] = np.tensordot(win, w, axes=([1, 2, 3], [1, 2, 3])) + b
    return out, (x, xp, w, stride, pad)


def conv_backward(dout, cache):
    x, xp, w, stride, pad = cache
    N, F, Ho, Wo = dout.shape
    _, _, HH, WW = w.shape
    dxp = np.zeros_like(xp)
    dw = np.zeros_like(w)
    db = dout.sum(axis=(0, 2, 3))
    for n in range(N):
        for f in range(F):
            for i in range(Ho):
                for j in range(Wo):
                    r, c = i * stride, j * stride
                    dw[f] += dout[n, f, i, j] * xp[n, :, r : r + HH, c : c + WW]
                    dxp[n, :, r : r + HH, c : c + WW] += dout[n, f, i, j] * w[f]
    dx = dxp[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]
    return dx, dw, db


conv_args = normal((2, 2, 5, 6), (3, 2, 3, 2), 3, then=(2, 1))
add("conv loops: window overwritten", conv_forward, conv_backward, conv_args, "E1", "x",
    ("c : c + WW] += dout[n, f, i, j] * w[f]", "c : c + WW] = dout[n, f, i, j] * w[f]"))
add("conv loops: crop at the end only", conv_forward, conv_backward, conv_args, "F3", "x",
    ("dxp[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]", "dxp[:, :, : x.shape[2], : x.shape[3]]"), **HIDDEN)
add("conv loops: stride forgotten on columns", conv_forward, conv_backward, conv_args, "F2", "x w",
    ("r, c = i * stride, j * stride", "r, c = i * stride, j"))
add("conv loops: bias averaged over the batch", conv_forward, conv_backward, conv_args, "A2", "b",
    ("dout.sum(axis=(0, 2, 3))", "dout.sum(axis=(2, 3)).mean(axis=0)"), also=("A3",), **HIDDEN)
add("conv loops: kernel turned", conv_forward, conv_backward, conv_args, "F1", "x",
    ("dout[n, f, i, j] * w[f]", "dout[n, f, i, j] * w[f, :, ::-1, ::-1]"), **HIDDEN)


# ---------------------------------------------------------------- students: conv by im2col


def im2col(x, k):
    n, c, h, w = x.shape
    oh, ow = h - k + 1, w - k + 1
    cols = np.empty((n, c, k, k, oh, ow))
    for a in range(k):
        for b in range(k):
            cols[:, :, a, b] = x[:, :, a : a + oh, b : b + ow]
    return cols.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1)


def col2im(cols, shape, k):
    n, c, h, w = shape
    oh, ow = h - k + 1, w - k + 1
    cols = cols.reshape(n, oh, ow, c, k, k).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros(shape)
    for a in range(k):
        for b in range(k):
            img[:, :, a : a + oh, b : b + ow] += cols[:, :, a, b]
    return img


def convcol(x, kernel, bias):
    n, _, h, w = x.shape
    f, _, k, _ = kernel.shape
    cols = im2col(x, k)
    y = cols @ kernel.reshape(f, -1).T + bias
    y = y.reshape(n, h - k + 1, w - k + 1, f).transpose(0, 3, 1, 2)
    a = np.where(y > 0, y, 0.1 * y)
    return a, (x.shape, kernel, cols, y)


def convcol_back(da, cache):
    shape, kernel, cols, y = cache
    f, _, k, _ = kernel.shape
    dy = da.copy()
    dy[y <= 0] *= 0.1
    flat = dy.transpose(0, 2, 3, 1).reshape(-1, f)
    dkernel = (flat.T @ cols).reshape(kernel.shape)
    dcols = flat @ kernel.reshape(f, -1)
    return col2im(dcols, shape, k), dkernel, flat.sum(0)


convcol_args = normal((2, 3, 4, 5), (4, 3, 2, 2), 4)
add("im2col: col2im assigns", convcol, convcol_back, convcol_args, "E1", "x",
    ("b : b + ow] += cols", "b : b + ow] = cols"), helpers=(col2im,), **HIDDEN)
add("im2col: leak set to zero", convcol, convcol_back, convcol_args, "C3", "x kernel bias",
    ("dy[y <= 0] *= 0.1", "dy[y <= 0] = 0"))
add("im2col: leak assigned", convcol, convcol_back, convcol_args, "C5", "x kernel bias",
    ("dy[y <= 0] *= 0.1", "dy[y <= 0] = 0.1"), also=("C3",), **HIDDEN)
add("im2col: kernel's axes exchanged", convcol, convcol_back, convcol_args, "B1", "x",
    ("cols.reshape(n, oh, ow, c, k, k).transpose(0, 3, 4, 5, 1, 2)",
     "cols.reshape(n, oh, ow, c, k, k).transpose(0, 3, 5, 4, 1, 2)"), helpers=(col2im,), also=("F4",))
add("im2col: transpose before the reshape forgotten", convcol, convcol_back, convcol_args, "B1", "x kernel bias",
    ("dy.transpose(0, 2, 3, 1).reshape(-1, f)", "dy.reshape(-1, f)"), also=("F7",), **HIDDEN)


# ---------------------------------------------------------------- students: pooling


def maxpool(img, size, step):
    c, h, w = img.shape
    oh, ow = (h - size) // step + 1, (w - size) // step + 1
    out = np.zeros((c, oh, ow))
    where = np.zeros((c, oh, ow), dtype=int)
    for k in range(c):
        for i in range(oh):
            for j in range(ow):
                patch = img[k, i * step : i * step + size, j * step : j * step + size]
                where[k, i, j] = patch.argmax()
                out[k, i, j] = patch.max()
    return out, (img, where, size, step)


def maxpool_back(dout, cache):
    img, where, size, step = cache
    dimg = np.zeros(img.shape)
    for (k, i, j), d in np.ndenumerate(dout):
        a, b = np.unravel_index(where[k, i, j], (size, size))
        dimg[k, i * step + a, j * step + b] += d
    return dimg


maxpool_args = normal((3, 5, 7), then=(3, 2))
add("maxpool: overlap overwritten", maxpool, maxpool_back, maxpool_args, "E1", "img", ("b] += d", "b] = d"))
add("maxpool: stride is the size", maxpool, maxpool_back, normal((3, 5, 7), then=(2, 3)), "F2", "img",
    ("dimg[k, i * step + a, j * step + b]", "dimg[k, i * size + a, j * size + b]"), **HIDDEN)
add("maxpool: row and column of the index", maxpool, maxpool_back, maxpool_args, "F4", "img",
    ("a, b = np.unravel", "b, a = np.unravel"), also=("B1",))


def meanpool(x, p):
    n, h, w = x.shape
    y = x.reshape(n, h // p, p, w // p, p).mean(axis=(2, 4))
    return y, (x.shape, p)


def meanpool_back(dy, cache):
    shape, p = cache
    dx = np.repeat(np.repeat(dy, p, axis=1), p, axis=2)
    return dx / p**2


meanpool_args = normal((3, 4, 6), then=(2,))
add("meanpool: area forgotten", meanpool, meanpool_back, meanpool_args, "A5", "x", ("dx / p**2", "dx"), also=("A4",))
add("meanpool: side for area", meanpool, meanpool_back, meanpool_args, "A5", "x", ("dx / p**2", "dx / p"),
    also=("A4",), **HIDDEN)
add("meanpool: whole division", meanpool, meanpool_back, meanpool_args, "H3", "x", ("dx / p**2", "dx // p**2"))


# ---------------------------------------------------------------- students: the char-rnn


def char_rnn(inputs, hprev, Wxh, Whh, Why, bh, by, targets):
    xs, hs, ps = {}, {-1: hprev}, {}
    loss = 0.0
    for t in range(len(inputs)):
        xs[t] = inputs[t]
        hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t - 1] + bh)
        y = Why @ hs[t] + by
        ps[t] = np.exp(y) / np.sum(np.exp(y))
        loss += -np.log(ps[t][targets[t]])
    return loss, (xs, hs, ps, Wxh, Whh, Why, bh, by, targets)


def char_rnn_back(dloss, cache):
    xs, hs, ps, Wxh, Whh, Why, bh, by, targets = cache
    T = len(xs)
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros_like(bh), np.zeros_like(by)
    dinputs = np.zeros((T, Wxh.shape[1]))
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(T)):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dy *= dloss
        dWhy += np.outer(dy, hs[t])
        dby += dy
        dh = Why.T @ dy + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.outer(dhraw, xs[t])
        dWhh += np.outer(dhraw, hs[t - 1])
        dinputs[t] = Wxh.T @ dhraw
        dhnext = Whh.T @ dhraw
    return dinputs, dhnext, dWxh, dWhh, dWhy, dbh, dby


def char_rnn_args(rng):
    s = rng.standard_normal
    return (s((5, 4)), s(3), s((3, 4)), s((3, 3)), s((6, 3)), s(3), s(6), [2, 0, 5, 1, 1])


RNN = "inputs hprev Wxh Whh bh"
add("char-rnn: dhnext not added", char_rnn, char_rnn_back, char_rnn_args, "G1", RNN,
    ("Why.T @ dy + dhnext", "Why.T @ dy"))
add("char-rnn: present state for the last", char_rnn, char_rnn_back, char_rnn_args, "G3", "Whh",
    ("np.outer(dhraw, hs[t - 1])", "np.outer(dhraw, hs[t])"), **HIDDEN)
add("char-rnn: clipped", char_rnn, char_rnn_back, char_rnn_args, "G4", "Wxh Whh",
    ("    return dinputs",
     "    for dparam in [dWxh, dWhh]:\n        np.clip(dparam, -0.3, 0.3, out=dparam)\n    return dinputs"))
add("char-rnn: first step left out", char_rnn, char_rnn_back, char_rnn_args, "G2", RNN + " Why by",
    ("reversed(range(T))", "reversed(range(1, T))"), **HIDDEN)
add("char-rnn: Whh not transposed", char_rnn, char_rnn_back, char_rnn_args, "B1", RNN,
    ("Whh.T @ dhraw", "Whh @ dhraw"), **HIDDEN)
add("char-rnn: bias of the last step", char_rnn, char_rnn_back, char_rnn_args, "E1", "by",
    ("dby += dy", "dby = dy"))
add("char-rnn: dh instead of dhraw goes back", char_rnn, char_rnn_back, char_rnn_args, "C1", RNN,
    ("dhnext = Whh.T @ dhraw", "dhnext = Whh.T @ dh"))


# ---------------------------------------------------------------- students: LSTM cell, two outputs


def lstm_cell(x, h, c, W, b):
    z = np.concatenate([h, x], axis=1)
    H = h.shape[1]
    pre = z @ W + b
    f, i, o = (sigmoid(pre[:, k * H : (k + 1) * H]) for k in range(3))
    g = np.tanh(pre[:, 3 * H :])
    c_new = f * c + i * g
    tc = np.tanh(c_new)
    return (o * tc, c_new), dict(z=z, f=f, i=i, o=o, g=g, tc=tc, c=c, W=W)


def lstm_cell_backward(grads, cache):
    dh, dc_next = grads
    z, f, i, o, g, tc, c, W = (cache[k] for k in "z f i o g tc c W".split())
    H = c.shape[1]
    do = dh * tc
    dc = dc_next + dh * o * (1 - tc**2)
    df, di, dg = dc * c, dc * g, dc * i
    dpre = np.hstack([df * f * (1 - f), di * i * (1 - i), do * o * (1 - o), dg * (1 - g**2)])
    dz = dpre @ W.T
    return dz[:, H:], dz[:, :H], dc * f, z.T @ dpre, dpre.sum(axis=0)


lstm_args = normal((4, 3), (4, 2), (4, 2), (5, 8), 8)
add("lstm: dc_next dropped", lstm_cell, lstm_cell_backward, lstm_args, "C8", "x h c W b",
    ("dc = dc_next + dh * o", "dc = dh * o"), also=("G1",), **HIDDEN)
add("lstm: c_prev from i", lstm_cell, lstm_cell_backward, lstm_args, "B6", "c", ("dc * f, z.T", "dc * i, z.T"))
add("lstm: i and g exchanged", lstm_cell, lstm_cell_backward, lstm_args, "B6", "x h W b",
    ("dc * c, dc * g, dc * i", "dc * c, dc * i, dc * g"), also=("B5",), **HIDDEN)
add("lstm: tanh' of c forgotten", lstm_cell, lstm_cell_backward, lstm_args, "C1", "x h c W b",
    (" * (1 - tc**2)", ""))
add("lstm: g through a sigmoid", lstm_cell, lstm_cell_backward, lstm_args, "C3", "x h W b",
    ("dg * (1 - g**2)", "dg * g * (1 - g)"), also=("C4",), **HIDDEN)
add("lstm: sigmoid' at the gate", lstm_cell, lstm_cell_backward, lstm_args, "C2", "x h W b",
    ("do * o * (1 - o)", "do * sigmoid(o) * (1 - sigmoid(o))"), helpers=(sigmoid,))


# ---------------------------------------------------------------- students: GRU over time, list of caches


def gru(X, h0, Wz, Wr, Wn):
    h, steps = h0, []
    for x in X:
        v = np.r_[h, x]
        z, r = sigmoid(Wz @ v), sigmoid(Wr @ v)
        u = np.r_[r * h, x]
        n = np.tanh(Wn @ u)
        steps.append((h, v, z, r, u, n))
        h = (1 - z) * n + z * h
    return h, (steps, Wz, Wr, Wn)


def gru_bptt(dh, cache):
    steps, Wz, Wr, Wn = cache
    D = len(dh)
    dWz, dWr, dWn = 0 * Wz, 0 * Wr, 0 * Wn
    dX = []
    for h, v, z, r, u, n in steps[::-1]:
        dz = dh * (h - n)
        dn = dh * (1 - z)
        dhp = dh * z
        dan = dn * (1 - n**2)
        dWn += np.outer(dan, u)
        du = Wn.T @ dan
        dr = du[:D] * h
        dhp = dhp + du[:D] * r
        daz, dar = dz * z * (1 - z), dr * r * (1 - r)
        dWz += np.outer(daz, v)
        dWr += np.outer(dar, v)
        dv = Wz.T @ daz + Wr.T @ dar
        dX.insert(0, du[D:] + dv[D:])
        dh = dhp + dv[:D]
    return np.stack(dX), dh, dWz, dWr, dWn


gru_args = normal((4, 2), 3, (3, 5), (3, 5), (3, 5))
add("gru: direct path overwritten", gru, gru_bptt, gru_args, "C8", "X h0 Wz Wr Wn",
    ("dhp = dhp + du[:D] * r", "dhp = du[:D] * r"), also=("E1", "G1"))
add("gru: dz has the sign of n - h", gru, gru_bptt, gru_args, "A1", "X h0 Wz Wr Wn",
    ("dh * (h - n)", "dh * (n - h)"), **HIDDEN)
add("gru: reset path forgotten", gru, gru_bptt, gru_args, "C8", "X h0 Wz Wr Wn",
    ("dv = Wz.T @ daz + Wr.T @ dar", "dv = Wz.T @ daz"), **HIDDEN)
add("gru: order of the inputs reversed", gru, gru_bptt, gru_args, "G3", "X",
    ("dX.insert(0, du[D:] + dv[D:])", "dX.append(du[D:] + dv[D:])"))
add("gru: dX without the gates", gru, gru_bptt, gru_args, "C8", "X", ("du[D:] + dv[D:]", "du[D:]"), **HIDDEN)
add("gru: Wn with v", gru, gru_bptt, gru_args, "B6", "Wn", ("np.outer(dan, u)", "np.outer(dan, v)"))
add("gru: dn with z", gru, gru_bptt, gru_args, "B6", "X h0 Wz Wr Wn", ("dn = dh * (1 - z)", "dn = dh * z"),
    also=("C3",), **HIDDEN)


# ---------------------------------------------------------------- students: batch norm in ten lines


def batchnorm(x, gamma, beta, eps):
    N, D = x.shape
    mu = 1.0 / N * np.sum(x, axis=0)
    xmu = x - mu
    sq = xmu**2
    var = 1.0 / N * np.sum(sq, axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    return gamma * xhat + beta, (xhat, gamma, xmu, ivar, sqrtvar, var, eps)


def batchnorm_back(dout, cache):
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
    dx = dx1 + dx2
    return dx, dgamma, dbeta


bn_args = normal((5, 3), 3, 3, then=(1e-5,))
add("batchnorm: mean's path lost", batchnorm, batchnorm_back, bn_args, "C7", "x", ("dx = dx1 + dx2", "dx = dx1"))
add("batchnorm: variance's path lost", batchnorm, batchnorm_back, bn_args, "C7", "x",
    ("dx1 = dxmu1 + dxmu2", "dx1 = dxmu1"), ("np.sum(dxmu1 + dxmu2, axis=0)", "np.sum(dxmu1, axis=0)"), **HIDDEN)
add("batchnorm: half of the root", batchnorm, batchnorm_back, bn_args, "A4", "x",
    ("dvar = 0.5 * 1.0", "dvar = 1.0"), also=("C7", "C3"), **HIDDEN)
add("batchnorm: gamma forgotten", batchnorm, batchnorm_back, bn_args, "A5", "x",
    ("dxhat = dout * gamma", "dxhat = dout"), also=("B6",))
add("batchnorm: dgamma with x - mu", batchnorm, batchnorm_back, bn_args, "B6", "gamma",
    ("np.sum(dout * xhat, axis=0)", "np.sum(dout * xmu, axis=0)"), **HIDDEN)
add("batchnorm: slots", batchnorm, batchnorm_back, bn_args, "B5", "gamma beta",
    ("return dx, dgamma, dbeta", "return dx, dbeta, dgamma"))


# ---------------------------------------------------------------- students: layer norm


def layernorm(x, g, b):
    m = x.mean(-1, keepdims=True)
    s = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    n = (x - m) / s
    return n * g + b, (n, s, g)


def layernorm_back(dy, cache):
    n, s, g = cache
    dn = dy * g
    dx = (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True)) / s
    return dx, (dy * n).sum((0, 1)), dy.sum((0, 1))


ln_args = normal((2, 3, 4), 4, 4)
add("layernorm: third term lost", layernorm, layernorm_back, ln_args, "C7", "x",
    (" - n * (dn * n).mean(-1, keepdims=True)", ""))
add("layernorm: axis of the batch norm", layernorm, layernorm_back, ln_args, "B4", "x",
    ("dn - dn.mean(-1, keepdims=True)", "dn - dn.mean(0, keepdims=True)"), **HIDDEN)
add("layernorm: gain kept per batch", layernorm, layernorm_back, ln_args, "B3", "g",
    ("(dy * n).sum((0, 1))", "(dy * n).sum(1)"), **HIDDEN)
add("layernorm: only the scale", layernorm, layernorm_back, ln_args, "C7", "x",
    ("(dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True)) / s", "dn / s"))


# ---------------------------------------------------------------- students: a dropout net of classes


class Linear:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, grad):
        self.dW = self.x.T @ grad
        self.db = grad.sum(axis=0, keepdims=True)
        return grad @ self.W.T


class Dropout:
    def __init__(self, mask, keep):
        self.mask, self.keep = mask, keep

    def forward(self, x):
        return x * self.mask / self.keep

    def backward(self, grad):
        return grad * self.mask / self.keep


class Tanh:
    def forward(self, x):
        self.out = np.tanh(x)
        return self.out

    def backward(self, grad):
        return grad * (1 - self.out**2)


class Net:
    def __init__(self, W1, b1, W2, b2, mask):
        self.layers = [Linear(W1, b1), Tanh(), Dropout(mask, 0.6), Linear(W2, b2)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad):
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return grad


def dropnet(x, W1, b1, W2, b2, mask):
    return Net(W1, b1, W2, b2, mask).forward(x), (x, W1, b1, W2, b2, mask)


def dropnet_backward(grad, cache):
    x, *rest = cache
    net = Net(*rest)
    net.forward(x)
    dx = net.backward(grad)
    first, last = net.layers[0], net.layers[-1]
    return dx, first.dW, first.db, last.dW, last.db


def dropnet_args(rng):
    s = rng.standard_normal
    return s((5, 3)), s((3, 4)), s((1, 4)), s((4, 2)), s((1, 2)), rng.random((5, 4)) < 0.6


NET = (Linear, Dropout, Tanh, Net)
add("dropnet: scale of the mask", dropnet, dropnet_backward, dropnet_args, "E5", "x W1 b1",
    ("return grad * self.mask / self.keep", "return grad * self.mask"), helpers=NET)
add("dropnet: no mask backward", dropnet, dropnet_backward, dropnet_args, "E5", "x W1 b1",
    ("return grad * self.mask / self.keep", "return grad / self.keep"), helpers=NET, **HIDDEN)
add("dropnet: keepdims lost", dropnet, dropnet_backward, dropnet_args, "B2", "b1 b2",
    ("grad.sum(axis=0, keepdims=True)", "grad.sum(axis=0)"), helpers=NET, **HIDDEN)
add("dropnet: tanh' without the square", dropnet, dropnet_backward, dropnet_args, "C3", "x W1 b1",
    ("(1 - self.out**2)", "(1 - self.out)"), helpers=NET)
add("dropnet: updated before passing on", dropnet, dropnet_backward, dropnet_args, "E4", "x W1 b1",
    ("        return grad @ self.W.T", "        self.W = self.W - 0.1 * self.dW\n        return grad @ self.W.T"),
    helpers=NET)
add("dropnet: layer ignores what arrives", dropnet, dropnet_backward, dropnet_args, "C5", "x W1 b1",
    ("return grad * (1 - self.out**2)", "return 1 - self.out**2"), helpers=NET, **HIDDEN)


# ---------------------------------------------------------------- students: embeddings, averaged


def text_classifier(E, V, ids, labels):
    h = E[ids].mean(axis=1)
    s = h @ V
    s = s - s.max(1, keepdims=True)
    logp = s - np.log(np.exp(s).sum(1, keepdims=True))
    return -logp[np.arange(len(ids)), labels].sum() / len(ids), (E, V, ids, labels, h, logp)


def text_classifier_back(d, cache):
    E, V, ids, labels, h, logp = cache
    B, L = ids.shape
    ds = np.exp(logp)
    ds[np.arange(B), labels] -= 1.0
    ds *= d / B
    dV = h.T @ ds
    dh = ds @ V.T
    dE = np.zeros_like(E)
    np.add.at(dE, ids, dh[:, None, :] / L)
    return dE, dV


def text_args(rng):
    ids = np.array([[0, 1, 1, 5], [2, 1, 0, 3], [4, 4, 4, 2]])
    return rng.standard_normal((6, 5)), rng.standard_normal((5, 2)), ids, np.array([1, 0, 1])


add("embedding: repeated words", text_classifier, text_classifier_back, text_args, "E1", "E",
    ("np.add.at(dE, ids, dh[:, None, :] / L)", "dE[ids] += dh[:, None, :] / L"))
add("embedding: mean over words", text_classifier, text_classifier_back, text_args, "A4", "E",
    ("dh[:, None, :] / L)", "dh[:, None, :])"), also=("A2", "A5"), **HIDDEN)
add("embedding: divides by the words", text_classifier, text_classifier_back, text_args, "A4", "E V",
    ("ds *= d / B", "ds *= d / L"), also=("A2", "A3"), **HIDDEN)
add("embedding: log-probabilities for probabilities", text_classifier, text_classifier_back, text_args, "C3", "E V",
    ("ds = np.exp(logp)", "ds = logp.copy()"), also=("C6", "C2", "C1"))


# ---------------------------------------------------------------- students: self-attention with a causal mask


def softmax(a):
    a = np.exp(a - a.max(axis=-1, keepdims=True))
    return a / a.sum(axis=-1, keepdims=True)


def attention(x, Wq, Wk, Wv):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    T = x.shape[0]
    scale = np.sqrt(q.shape[-1])
    scores = q @ k.T / scale
    scores[np.triu_indices(T, 1)] = -1e9
    A = softmax(scores)
    return A @ v, (x, Wq, Wk, Wv, q, k, v, A, scale)


def attention_back(dout, cache):
    x, Wq, Wk, Wv, q, k, v, A, scale = cache
    dA = dout @ v.T
    dv = A.T @ dout
    ds = A * (dA - (dA * A).sum(axis=-1, keepdims=True))
    ds = ds / scale
    dq = ds @ k
    dk = ds.T @ q
    dx = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T
    return dx, x.T @ dq, x.T @ dk, x.T @ dv


att_args = normal((4, 5), (5, 3), (5, 3), (5, 2))
add("attention: scale", attention, attention_back, att_args, "A4", "x Wq Wk", ("ds = ds / scale", "ds = ds"), **HIDDEN)
add("attention: diagonal only", attention, attention_back, att_args, "C6", "x Wq Wk",
    ("A * (dA - (dA * A).sum(axis=-1, keepdims=True))", "A * (1 - A) * dA"))
add("attention: sums over queries", attention, attention_back, att_args, "B4", "x Wq Wk",
    ("(dA * A).sum(axis=-1, keepdims=True)", "(dA * A).sum(axis=0, keepdims=True)"), also=("C6",), **HIDDEN)
add("attention: dk not transposed", attention, attention_back, att_args, "B1", "x Wk",
    ("dk = ds.T @ q", "dk = ds @ q"), **HIDDEN)
add("attention: value path left out of dx", attention, attention_back, att_args, "C8", "x",
    (" + dv @ Wv.T", ""))
add("attention: dq with q", attention, attention_back, att_args, "B6", "x Wq", ("dq = ds @ k", "dq = ds @ q"))


# ---------------------------------------------------------------- students: multi-head with einsum


def heads(Q, K, V, Wo):
    s = np.einsum("bihd,bjhd->bhij", Q, K) * Q.shape[-1] ** -0.5
    a = softmax(s)
    ctx = np.einsum("bhij,bjhe->bihe", a, V)
    return np.einsum("bihe,heo->bio", ctx, Wo), (Q, K, V, Wo, a, ctx)


def heads_back(g, cache):
    Q, K, V, Wo, a, ctx = cache
    dWo = np.einsum("bihe,bio->heo", ctx, g)
    dctx = np.einsum("bio,heo->bihe", g, Wo)
    dV = np.einsum("bhij,bihe->bjhe", a, dctx)
    da = np.einsum("bihe,bjhe->bhij", dctx, V)
    ds = a * da
    ds -= a * ds.sum(-1, keepdims=True)
    ds *= Q.shape[-1] ** -0.5
    return np.einsum("bhij,bjhd->bihd", ds, K), np.einsum("bhij,bihd->bjhd", ds, Q), dV, dWo


heads_args = normal((2, 3, 2, 4), (2, 3, 2, 4), (2, 3, 2, 5), (2, 5, 6))
add("heads: i and j exchanged in dV", heads, heads_back, heads_args, "B1", "V",
    ('"bhij,bihe->bjhe", a, dctx', '"bhji,bihe->bjhe", a, dctx'), **HIDDEN)
add("heads: softmax mean term", heads, heads_back, heads_args, "C6", "Q K",
    ("    ds -= a * ds.sum(-1, keepdims=True)\n", ""))
add("heads: dQ and dK exchanged", heads, heads_back, heads_args, "B5", "Q K",
    ('return np.einsum("bhij,bjhd->bihd", ds, K), np.einsum("bhij,bihd->bjhd", ds, Q), dV, dWo',
     'return np.einsum("bhij,bihd->bjhd", ds, Q), np.einsum("bhij,bjhd->bihd", ds, K), dV, dWo'), **HIDDEN)


# ---------------------------------------------------------------- students: transformer feed-forward


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_grad(x):
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    t = np.tanh(u)
    du = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du


def ffn(x, params):
    pre = x @ params["w_in"] + params["b_in"]
    h = gelu(pre)
    return x + h @ params["w_out"] + params["b_out"], (x, pre, h, params)


def ffn_back(dout, cache):
    x, pre, h, params = cache
    grads = {"w_out": np.einsum("bti,bto->io", h, dout), "b_out": dout.sum(axis=(0, 1))}
    dpre = (dout @ params["w_out"].T) * gelu_grad(pre)
    grads["w_in"] = np.einsum("bti,bto->io", x, dpre)
    grads["b_in"] = dpre.sum(axis=(0, 1))
    dx = dpre @ params["w_in"].T
    dx = dx + dout
    return dx, grads


def ffn_args(rng):
    s = rng.standard_normal
    return s((2, 3, 4)), {"w_in": s((4, 6)), "b_in": s(6), "w_out": s((6, 4)), "b_out": s(4)}


FFN_IN = "x params['w_in'] params['b_in']"
add("ffn: residual", ffn, ffn_back, ffn_args, "C8", "x", ("    dx = dx + dout\n", ""))
add("ffn: three of the cube", ffn, ffn_back, ffn_args, "C3", FFN_IN,
    ("(1 + 3 * 0.044715", "(1 + 0.044715"), helpers=(gelu_grad,), **HIDDEN)
add("ffn: product rule's second half", ffn, ffn_back, ffn_args, "C3", FFN_IN,
    (" + 0.5 * x * (1 - t**2) * du", ""), helpers=(gelu_grad,), also=("C8",))
add("ffn: derivative at h", ffn, ffn_back, ffn_args, "C2", FFN_IN, ("gelu_grad(pre)", "gelu_grad(h)"), **HIDDEN)
add("ffn: weight of the input", ffn, ffn_back, ffn_args, "B6", "params['w_out']",
    ('"bti,bto->io", h, dout', '"bti,bto->io", pre, dout'), also=("C4",), **HIDDEN)
add("ffn: derivative of the other gelu", ffn, ffn_back, ffn_args, "I3", FFN_IN,
    ("gelu_grad(pre)", "(sigmoid(1.702 * pre) * (1 + 1.702 * pre * (1 - sigmoid(1.702 * pre))))"), also=("C3",))


# ---------------------------------------------------------------- students: micrograd


class Value:
    def __init__(self, data, children=()):
        self.data, self.grad = data, 0.0
        self._prev = children
        self._backward = lambda: None

    def __add__(self, other):
        out = Value(self.data + other.data, (self, other))

        def _backward():
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def _backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def __pow__(self, n):
        out = Value(self.data**n, (self,))

        def _backward():
            self.grad += n * self.data ** (n - 1) * out.grad

        out._backward = _backward
        return out

    def tanh(self):
        t = np.tanh(self.data)
        out = Value(t, (self,))

        def _backward():
            self.grad += (1 - t**2) * out.grad

        out._backward = _backward
        return out

    def backward(self, seed):
        topo, visited = [], set()

        def build(v):
            if v not in visited:
                visited.add(v)
                for child in v._prev:
                    build(child)
                topo.append(v)

        build(self)
        self.grad = seed
        for v in reversed(topo):
            v._backward()


def neuron(w, x, b):
    a = np.tanh(np.dot(w, x) + b)
    return a**3 + a * b, (w, x, b)


def neuron_back(dout, cache):
    w, x, b = cache
    ws, xs, bias = [Value(v) for v in w], [Value(v) for v in x], Value(float(b))
    s = bias
    for wi, xi in zip(ws, xs):
        s = s + wi * xi
    a = s.tanh()
    (a**3 + a * bias).backward(dout)
    return np.array([v.grad for v in ws]), np.array([v.grad for v in xs]), np.array(bias.grad)


def neuron_args(rng):
    return rng.standard_normal(3), rng.standard_normal(3), np.array(0.8)


add("micrograd: add overwrites", neuron, neuron_back, neuron_args, "E1", "b",
    ("            self.grad += out.grad\n", "            self.grad = out.grad\n"), helpers=(Value,))
add("micrograd: tanh' 1 - t", neuron, neuron_back, neuron_args, "C3", "w x b",
    ("(1 - t**2)", "(1 - t)"), helpers=(Value,), **HIDDEN)
add("micrograd: pow overwrites", neuron, neuron_back, neuron_args, "E1", "w x b",
    ("self.grad += n * self.data ** (n - 1) * out.grad", "self.grad = n * self.data ** (n - 1) * out.grad"),
    helpers=(Value,), **HIDDEN)
add("micrograd: own data in mul", neuron, neuron_back, neuron_args, "B6", "w x b",
    ("self.grad += other.data * out.grad", "self.grad += self.data * out.grad"), helpers=(Value,))
add("micrograd: n - 1 forgotten", neuron, neuron_back, neuron_args, "C3", "w x b",
    ("n * self.data ** (n - 1)", "n * self.data**n"), helpers=(Value,), **HIDDEN)
add("micrograd: never marked as visited", neuron, neuron_back, neuron_args, "E2", "w x b",
    ("                visited.add(v)\n", ""), helpers=(Value,), **HIDDEN)


# ---------------------------------------------------------------- students: a Tensor class that broadcasts


def unbroadcast(grad, shape):
    while grad.ndim > len(shape):
        grad = grad.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad


class Tensor:
    def __init__(self, data, parents=()):
        self.data, self.parents = np.asarray(data), parents
        self.grad = np.zeros(self.data.shape)

    def __add__(self, o):
        return Tensor(self.data + o.data, ((self, lambda g: g), (o, lambda g: g)))

    def __mul__(self, o):
        return Tensor(self.data * o.data, ((self, lambda g: g * o.data), (o, lambda g: g * self.data)))

    def __truediv__(self, o):
        return Tensor(self.data / o.data, ((self, lambda g: g / o.data), (o, lambda g: -g * self.data / o.data**2)))

    def __matmul__(self, o):
        return Tensor(self.data @ o.data, ((self, lambda g: g @ o.data.T), (o, lambda g: self.data.T @ g)))

    def exp(self):
        e = np.exp(self.data)
        return Tensor(e, ((self, lambda g: g * e),))

    def backprop(self, g):
        self.grad = self.grad + unbroadcast(g, self.data.shape)
        for parent, vjp in self.parents:
            parent.backprop(vjp(g))


def gated(x, W, b, scale):
    y = x @ W + b
    return y * scale / (1.0 + np.exp(y)), (x, W, b, scale)


def gated_back(dout, cache):
    x, W, b, scale = (Tensor(c) for c in cache)
    y = x @ W + b
    (y * scale / (Tensor(1.0) + y.exp())).backprop(dout)
    return x.grad, W.grad, b.grad, scale.grad


gated_args = normal((4, 3), (3, 2), 2, (4, 1))
TENSOR = (unbroadcast, Tensor)
add("tensor: quotient's sign", gated, gated_back, gated_args, "A1", "x W b",
    ("-g * self.data / o.data**2", "g * self.data / o.data**2"), helpers=TENSOR, **HIDDEN)
add("tensor: denominator not squared", gated, gated_back, gated_args, "C3", "x W b",
    ("self.data / o.data**2", "self.data / o.data"), helpers=TENSOR)
add("tensor: leaf overwritten", gated, gated_back, gated_args, "E1", "x W b",
    ("self.grad = self.grad + unbroadcast", "self.grad = unbroadcast"), helpers=TENSOR)
add("tensor: exp forgets itself", gated, gated_back, gated_args, "C1", "x W b",
    ("((self, lambda g: g * e),)", "((self, lambda g: g),)"), helpers=TENSOR, also=("C3",), **HIDDEN)
add("tensor: leading axes averaged", gated, gated_back, gated_args, "A2", "b",
    ("grad = grad.sum(axis=0)", "grad = grad.mean(axis=0)"), helpers=TENSOR, also=("B3",))
add("tensor: passes on what was accumulated", gated, gated_back, gated_args, "E2", "x W b",
    ("parent.backprop(vjp(g))", "parent.backprop(vjp(self.grad))"), helpers=TENSOR)
add("tensor: keepdims lost", gated, gated_back, gated_args, "B2", "scale",
    ("grad.sum(axis=axis, keepdims=True)", "grad.sum(axis=axis)"), helpers=TENSOR, **HIDDEN)
add("tensor: ones not summed", gated, gated_back, gated_args, "B3", "scale",
    ("if size == 1:", "if size == 0:"), helpers=TENSOR)


# ---------------------------------------------------------------- students: word2vec with negative samples


def skipgram(center, outside, c, o, negatives):
    v = center[c]
    U = outside[np.r_[o, negatives]]
    s = U @ v
    s[1:] *= -1
    p = sigmoid(s)
    return -np.log(p).sum(), (center, outside, c, o, negatives, v, U, p)


def skipgram_back(dloss, cache):
    center, outside, c, o, negatives, v, U, p = cache
    delta = p - 1
    delta[1:] *= -1
    delta *= dloss
    gC, gO = np.zeros_like(center), np.zeros_like(outside)
    gC[c] = U.T @ delta
    for row, d in zip([o, *negatives], delta):
        gO[row] += d * v
    return gC, gO


def skipgram_args(rng):
    return rng.standard_normal((5, 3)), rng.standard_normal((5, 3)), 1, 4, np.array([0, 2, 2])


add("skipgram: sample drawn twice", skipgram, skipgram_back, skipgram_args, "E1", "outside",
    ("gO[row] += d * v", "gO[row] = d * v"), **HIDDEN)
add("skipgram: sign of negatives", skipgram, skipgram_back, skipgram_args, "A1", "center outside",
    ("    delta[1:] *= -1\n", ""))
add("skipgram: only the true word reaches the center", skipgram, skipgram_back, skipgram_args, "C8", "center",
    ("gC[c] = U.T @ delta", "gC[c] = U[0] * delta[0]"), **HIDDEN)


# ---------------------------------------------------------------- students: VAE loss


def vae_loss(mu, logvar, D, x, eps):
    z = mu + np.exp(0.5 * logvar) * eps
    r = z @ D - x
    kl = -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar))
    return np.sum(r**2) + kl, (mu, logvar, D, x, eps, z, r)


def vae_back(dl, cache):
    mu, logvar, D, x, eps, z, r = cache
    dr = 2 * r
    dz = dr @ D.T
    dmu = dz + mu
    dlogvar = dz * eps * 0.5 * np.exp(0.5 * logvar) + 0.5 * (np.exp(logvar) - 1)
    return dl * dmu, dl * dlogvar, dl * (z.T @ dr), -dl * dr, dl * dz * np.exp(0.5 * logvar)


vae_args = normal((4, 2), (4, 2), (2, 5), (4, 5), (4, 2))
add("vae: half of the exponent", vae_loss, vae_back, vae_args, "A4", "logvar",
    ("dz * eps * 0.5 * np.exp(0.5 * logvar)", "dz * eps * np.exp(0.5 * logvar)"), also=("C8",), **HIDDEN)
add("vae: no KL for mu", vae_loss, vae_back, vae_args, "C8", "mu", ("dmu = dz + mu", "dmu = dz"), also=("D1",))
add("vae: KL of logvar reversed", vae_loss, vae_back, vae_args, "A1", "logvar",
    ("(np.exp(logvar) - 1)", "(1 - np.exp(logvar))"), also=("D1",), **HIDDEN)
add("vae: std from logvar", vae_loss, vae_back, vae_args, "C3", "eps",
    ("dl * dz * np.exp(0.5 * logvar)", "dl * dz * np.exp(logvar)"))
add("vae: decoder from mu", vae_loss, vae_back, vae_args, "B6", "D", ("dl * (z.T @ dr)", "dl * (mu.T @ dr)"), **HIDDEN)


# ---------------------------------------------------------------- students: dilated causal conv1d


def causal_conv(seq, kern, dilation):
    K, _, cout = kern.shape
    T = len(seq)
    lead = (K - 1) * dilation
    padded = np.vstack([np.zeros((lead, seq.shape[1])), seq])
    out = np.zeros((T, cout))
    for k in range(K):
        out += padded[k * dilation : k * dilation + T] @ kern[k]
    return np.maximum(out, 0), (padded, kern, dilation, lead, out)


def causal_conv_back(dy, cache):
    padded, kern, dilation, lead, out = cache
    T = len(dy)
    dy = np.where(out > 0, dy, 0)
    dpad, dkern = np.zeros_like(padded), np.zeros_like(kern)
    for k in range(len(kern)):
        sl = slice(k * dilation, k * dilation + T)
        dkern[k] = padded[sl].T @ dy
        dpad[sl] += dy @ kern[k].T
    return dpad[lead:], dkern


causal_args = normal((7, 2), (3, 2, 4), then=(2,))
add("causal conv: crop at the other end", causal_conv, causal_conv_back, causal_args, "F3", "seq",
    ("return dpad[lead:], dkern", "return dpad[:-lead], dkern"), **HIDDEN)
add("causal conv: dilation forgotten", causal_conv, causal_conv_back, causal_args, "F2", "seq kern",
    ("slice(k * dilation, k * dilation + T)", "slice(k, k + T)"))
add("causal conv: taps reversed", causal_conv, causal_conv_back, causal_args, "F1", "seq",
    ("dy @ kern[k].T", "dy @ kern[-k - 1].T"), **HIDDEN)
add("causal conv: relu of the gradient", causal_conv, causal_conv_back, causal_args, "C2", "seq kern",
    ("np.where(out > 0, dy, 0)", "np.where(dy > 0, dy, 0)"), also=("C3",))


# ---------------------------------------------------------------- students: activations by boolean masks


def activations(a, b, c):
    return {"elu": np.where(a > 0, a, np.exp(a) - 1), "swish": b * sigmoid(b), "softplus": np.log1p(np.exp(c))}, (a, b, c)


def activations_back(d, cache):
    a, b, c = cache
    neg = a <= 0
    da = d["elu"].copy()
    da[neg] *= np.exp(a[neg])
    sb = sigmoid(b)
    db = d["swish"] * (sb + b * sb * (1 - sb))
    return da, db, d["softplus"] * sigmoid(c)


act_args = normal((3, 4), 5, (2, 3))
add("activations: elu with exp - 1", activations, activations_back, act_args, "C3", "a",
    ("da[neg] *= np.exp(a[neg])", "da[neg] *= np.exp(a[neg]) - 1"))
add("activations: swish as a sigmoid", activations, activations_back, act_args, "C3", "b",
    ("sb + b * sb * (1 - sb)", "sb * (1 - sb)"), **HIDDEN)
add("activations: softplus", activations, activations_back, act_args, "C1", "c",
    ('d["softplus"] * sigmoid(c)', 'd["softplus"]'), **HIDDEN)


# ---------------------------------------------------------------- students: masked sequence, last state


def tagger(x, lengths, U, W, h0):
    B, T, _ = x.shape
    h = np.zeros((B, T + 1, len(W)))
    h[:, 0] = h0
    for t in range(T):
        on = t < lengths
        new = np.tanh(x[:, t] @ U + h[:, t] @ W)
        h[:, t + 1] = np.where(on[:, None], new, h[:, t])
    return h[:, T], (x, lengths, U, W, h)


def tagger_back(g, cache):
    x, lengths, U, W, h = cache
    dx, dU, dW = np.zeros(x.shape), np.zeros(U.shape), np.zeros(W.shape)
    for t in range(x.shape[1] - 1, -1, -1):
        on = (t < lengths)[:, None]
        da = on * g * (1 - h[:, t + 1] ** 2)
        dU += x[:, t].T @ da
        dW += h[:, t].T @ da
        dx[:, t] = da @ U.T
        g = np.where(on, da @ W.T, g)
    return dx, dU, dW, g.sum(axis=0)


def tagger_args(rng):
    s = rng.standard_normal
    return s((3, 4, 2)), np.array([2, 4, 3]), s((2, 5)), s((5, 5)), s(5)


add("tagger: state one step on", tagger, tagger_back, tagger_args, "G3", "W",
    ("dW += h[:, t].T @ da", "dW += h[:, t + 1].T @ da"))
add("tagger: mask cuts the gradient", tagger, tagger_back, tagger_args, "G1", "x U W h0",
    ("g = np.where(on, da @ W.T, g)", "g = np.where(on, da @ W.T, 0)"), also=("E5",), **HIDDEN)
add("tagger: step zero skipped", tagger, tagger_back, tagger_args, "G2", "x U W h0",
    ("range(x.shape[1] - 1, -1, -1)", "range(x.shape[1] - 1, 0, -1)"), **HIDDEN)
add("tagger: initial state of the first sequence", tagger, tagger_back, tagger_args, "B3", "h0",
    ("g.sum(axis=0)", "g[0]"), also=("E1", "B4"))
add("tagger: tanh' of the state before", tagger, tagger_back, tagger_args, "G3", "x U W h0",
    ("(1 - h[:, t + 1] ** 2)", "(1 - h[:, t] ** 2)"), also=("C2",), **HIDDEN)
add("tagger: norm held at one", tagger, tagger_back, tagger_args, "G4", "W",
    ("return dx, dU, dW, g", "return dx, dU, dW / max(1, np.linalg.norm(dW)), g"), **HIDDEN)


# ---------------------------------------------------------------- students: cosine similarity


def cosine(u, v):
    nu, nv = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
    cos = (u * v).sum(1) / (nu * nv)
    return cos, (u, v, nu, nv, cos)


def cosine_back(d, cache):
    u, v, nu, nv, cos = cache
    d = d[:, None]
    nu, nv, cos = nu[:, None], nv[:, None], cos[:, None]
    du = d * (v / (nu * nv) - cos * u / nu**2)
    dv = d * (u / (nu * nv) - cos * v / nv**2)
    return du, dv


cos_args = normal((5, 3), (5, 3))
add("cosine: norm as a constant", cosine, cosine_back, cos_args, "C7", "u",
    (" - cos * u / nu**2", ""), also=("C8",), **HIDDEN)
add("cosine: norm not squared", cosine, cosine_back, cos_args, "C3", "v",
    ("cos * v / nv**2", "cos * v / nv"), also=("C8", "B6", "A4"))
add("cosine: sign of the second", cosine, cosine_back, cos_args, "A1", "u",
    ("- cos * u / nu**2", "+ cos * u / nu**2"), **HIDDEN)


# ---------------------------------------------------------------- students: two towers share weights


def siamese(W, b, left, right):
    a, c = np.tanh(left @ W + b), np.tanh(right @ W + b)
    diff = a - c
    return (diff**2).mean(), (W, left, right, a, c, diff)


def siamese_back(up, cache):
    W, left, right, a, c, diff = cache
    dd = up * 2 * diff / diff.size
    da = dd * (1 - a**2)
    dc = -dd * (1 - c**2)
    dW = left.T @ da
    dW += right.T @ dc
    db = da.sum(0) + dc.sum(0)
    return dW, db, da @ W.T, dc @ W.T


siamese_args = normal((4, 3), 3, (5, 4), (5, 4))
add("siamese: second tower overwrites", siamese, siamese_back, siamese_args, "E1", "W",
    ("dW += right.T @ dc", "dW = right.T @ dc"), also=("C8",))
add("siamese: mean over rows only", siamese, siamese_back, siamese_args, "A4", "W b left right",
    ("diff / diff.size", "diff / len(diff)"), also=("A2",), **HIDDEN)
add("siamese: activation of the other tower", siamese, siamese_back, siamese_args, "C4", "W b right",
    ("dc = -dd * (1 - c**2)", "dc = -dd * (1 - a**2)"), **HIDDEN)
add("siamese: the towers' sign", siamese, siamese_back, siamese_args, "A1", "W b right",
    ("dc = -dd", "dc = dd"))
add("siamese: inputs exchanged", siamese, siamese_back, siamese_args, "B5", "left right",
    ("da @ W.T, dc @ W.T", "dc @ W.T, da @ W.T"), **HIDDEN)
add("siamese: scaled in place", siamese, siamese_back, siamese_args, "E3", "W b right",
    ("    da = dd * (1 - a**2)\n", "    da = dd\n    da *= 1 - a**2\n"), also=("C4",), **HIDDEN)


# ================================================================ scientists


def gauss_nll(y, mean, log_sd):
    s2 = np.exp(2 * log_sd)
    resid = y - mean
    return np.sum(0.5 * resid**2 / s2 + log_sd), (resid, s2, log_sd)


def gauss_nll_vjp(bar, cache):
    resid, s2, log_sd = cache
    g_y = resid / s2
    g_ls = 1.0 - resid**2 / s2
    return bar * g_y, -bar * g_y, bar * g_ls.sum(axis=0)


gauss_args = normal((6, 3), (6, 3), 3)
add("gauss: factor of log sd", gauss_nll, gauss_nll_vjp, gauss_args, "A4", "log_sd",
    ("1.0 - resid**2 / s2", "1.0 - 0.5 * resid**2 / s2"), also=("C8",), **HIDDEN)
add("gauss: normaliser forgotten", gauss_nll, gauss_nll_vjp, gauss_args, "C8", "log_sd",
    ("g_ls = 1.0 - resid**2", "g_ls = -resid**2"))
add("gauss: spread not summed", gauss_nll, gauss_nll_vjp, gauss_args, "B3", "log_sd",
    ("g_ls.sum(axis=0)", "g_ls"))


def ard_kernel(A, B, log_ell, log_amp):
    ell = np.exp(log_ell)
    diff = A[:, None, :] - B[None, :, :]
    K = np.exp(2 * log_amp) * np.exp(-0.5 * ((diff / ell) ** 2).sum(-1))
    return K, (diff, ell, K)


def ard_kernel_vjp(Kbar, cache):
    diff, ell, K = cache
    G = Kbar * K
    Abar = -np.einsum("ij,ijd->id", G, diff) / ell**2
    Bbar = np.einsum("ij,ijd->jd", G, diff) / ell**2
    ellbar = np.einsum("ij,ijd->d", G, (diff / ell) ** 2)
    return Abar, Bbar, ellbar, np.array(2 * G.sum())


def ard_args(rng):
    return rng.standard_normal((4, 2)), rng.standard_normal((5, 2)), 0.3 * rng.standard_normal(2), np.array(0.2)


add("ard: amplitude's two", ard_kernel, ard_kernel_vjp, ard_args, "A4", "log_amp", ("2 * G.sum()", "G.sum()"))
add("ard: B with the sign of A", ard_kernel, ard_kernel_vjp, ard_args, "A1", "B",
    ('Bbar = np.einsum', 'Bbar = -np.einsum'), **HIDDEN)
add("ard: length scale not squared", ard_kernel, ard_kernel_vjp, ard_args, "A5", "A",
    ('"ij,ijd->id", G, diff) / ell**2', '"ij,ijd->id", G, diff) / ell'), also=("C3", "A4"))
add("ard: kernel forgotten", ard_kernel, ard_kernel_vjp, ard_args, "C1", "A B log_ell log_amp",
    ("G = Kbar * K", "G = Kbar"), also=("B6", "C3"), **HIDDEN)
add("ard: cotangent forgotten", ard_kernel, ard_kernel_vjp, ard_args, "C5", "A B log_ell log_amp",
    ("G = Kbar * K", "G = K"))


def gp_evidence(y, log_noise, ell):
    t = np.linspace(0, 2, len(y))
    D = (t[:, None] - t) ** 2
    R = np.exp(-0.5 * D / ell**2)
    C = R + np.exp(log_noise) * np.eye(len(y))
    Ci = np.linalg.inv(C)
    val = 0.5 * y @ Ci @ y + 0.5 * np.linalg.slogdet(C)[1]
    return val, (y, log_noise, ell, D, R, Ci)


def gp_evidence_grad(seed, cache):
    y, log_noise, ell, D, R, Ci = cache
    alpha = Ci @ y
    dC = 0.5 * (Ci - np.outer(alpha, alpha))
    dnoise = np.trace(dC) * np.exp(log_noise)
    dell = np.sum(dC * R * D) / ell**3
    return seed * alpha, np.asarray(seed * dnoise), np.asarray(seed * dell)


def gp_args(rng):
    return rng.standard_normal(5), np.array(-1.0), np.array(0.9)


add("gp: exp of the noise", gp_evidence, gp_evidence_grad, gp_args, "C1", "log_noise",
    ("np.trace(dC) * np.exp(log_noise)", "np.trace(dC)"), **HIDDEN)
add("gp: data term only", gp_evidence, gp_evidence_grad, gp_args, "C8", "log_noise ell",
    ("0.5 * (Ci - np.outer(alpha, alpha))", "-0.5 * np.outer(alpha, alpha)"))
add("gp: sign of the data term", gp_evidence, gp_evidence_grad, gp_args, "A1", "log_noise ell",
    ("Ci - np.outer", "Ci + np.outer"), **HIDDEN)
add("gp: power of the length scale", gp_evidence, gp_evidence_grad, gp_args, "C3", "ell", ("/ ell**3", "/ ell**2"),
    also=("A4", "A5"))


def lennard_jones(pos, epsilon, sigma):
    n = len(pos)
    E = 0.0
    pairs = []
    for i in range(n):
        for j in range(i + 1, n):
            rij = pos[i] - pos[j]
            r2 = rij @ rij
            s6 = (sigma**2 / r2) ** 3
            E += 4 * epsilon * (s6**2 - s6)
            pairs.append((i, j, rij, r2, s6))
    return E, (pos, epsilon, sigma, pairs)


def lennard_jones_forces(Ebar, cache):
    pos, epsilon, sigma, pairs = cache
    dpos = np.zeros_like(pos)
    deps = dsig = 0.0
    for i, j, rij, r2, s6 in pairs:
        f = 4 * epsilon * (-12 * s6**2 + 6 * s6) * rij / r2
        dpos[i] += f
        dpos[j] -= f
        deps += 4 * (s6**2 - s6)
        dsig += 4 * epsilon * (12 * s6**2 - 6 * s6) / sigma
    return Ebar * dpos, np.asarray(Ebar * deps), np.asarray(Ebar * dsig)


def lj_args(rng):
    grid = np.array([[0, 0, 0], [1.2, 0, 0], [0, 1.3, 0], [1.1, 1.2, 0.4], [0, 0.1, 1.4]])
    return grid + 0.05 * rng.standard_normal(grid.shape), np.array(0.8), np.array(1.1)


add("lj: third law", lennard_jones, lennard_jones_forces, lj_args, "C8", "pos", ("        dpos[j] -= f\n", ""))
add("lj: reaction's sign", lennard_jones, lennard_jones_forces, lj_args, "A1", "pos", ("dpos[j] -= f", "dpos[j] += f"),
    **HIDDEN)
add("lj: forces for gradients", lennard_jones, lennard_jones_forces, lj_args, "A1", "pos",
    ("(-12 * s6**2 + 6 * s6) * rij", "(12 * s6**2 - 6 * s6) * rij"))
add("lj: half of the exponent", lennard_jones, lennard_jones_forces, lj_args, "C3", "pos",
    ("-12 * s6**2 + 6 * s6", "-12 * s6**2 + 3 * s6"), also=("A4",), **HIDDEN)
add("lj: sigma of the last pair", lennard_jones, lennard_jones_forces, lj_args, "E1", "sigma",
    ("dsig += 4", "dsig = 4"), **HIDDEN)


def springs(xyz, k, rest, charge, bonds):
    i, j = bonds.T
    d = xyz[i] - xyz[j]
    r = np.sqrt((d**2).sum(1))
    bond = 0.5 * np.sum(k * (r - rest) ** 2)
    a, b = np.triu_indices(len(xyz), 1)
    s = xyz[a] - xyz[b]
    q = np.linalg.norm(s, axis=1)
    return {"bond": bond, "coulomb": np.sum(charge[a] * charge[b] / q)}, (xyz, k, rest, charge, i, j, d, r, a, b, s, q)


def springs_grad(up, cache):
    xyz, k, rest, charge, i, j, d, r, a, b, s, q = cache
    ub, uc = up["bond"], up["coulomb"]
    g = np.zeros_like(xyz)
    pull = ub * (k * (r - rest) / r)[:, None] * d
    np.add.at(g, i, pull)
    np.subtract.at(g, j, pull)
    push = -uc * (charge[a] * charge[b] / q**3)[:, None] * s
    np.add.at(g, a, push)
    np.subtract.at(g, b, push)
    gq = np.zeros_like(charge)
    np.add.at(gq, a, uc * charge[b] / q)
    np.add.at(gq, b, uc * charge[a] / q)
    return g, ub * 0.5 * (r - rest) ** 2, -ub * k * (r - rest), gq


def springs_args(rng):
    s = rng.standard_normal
    return 2 * s((4, 3)), 1 + rng.random(5), 1 + rng.random(5), s(4), np.array([[0, 1], [1, 2], [2, 3], [0, 2], [1, 3]])


add("springs: unit vector", springs, springs_grad, springs_args, "C1", "xyz",
    ("k * (r - rest) / r", "k * (r - rest)"), also=("A4", "C3", "C8"))
add("springs: fancy index", springs, springs_grad, springs_args, "E1", "xyz",
    ("np.add.at(g, i, pull)", "g[i] += pull"), **HIDDEN)
add("springs: rest's sign", springs, springs_grad, springs_args, "A1", "rest",
    ("-ub * k * (r - rest)", "ub * k * (r - rest)"), **HIDDEN)
add("springs: one end of the charges", springs, springs_grad, springs_args, "C8", "charge",
    ("    np.add.at(gq, b, uc * charge[a] / q)\n", ""))
add("springs: half of k", springs, springs_grad, springs_args, "A4", "k",
    ("ub * 0.5 * (r - rest) ** 2", "ub * (r - rest) ** 2"), **HIDDEN)
add("springs: square of the distance", springs, springs_grad, springs_args, "C3", "xyz", ("/ q**3", "/ q**2"),
    also=("A4",))


def poisson(beta, alpha, X, exposure, counts):
    eta = X @ beta + alpha
    rate = exposure * np.exp(eta)
    return np.mean(rate - counts * np.log(rate)), (beta, X, exposure, counts, rate)


def poisson_score(w, cache):
    beta, X, exposure, counts, rate = cache
    n = len(counts)
    res = w * (rate - counts) / n
    return X.T @ res, np.asarray(res.sum()), np.outer(res, beta), res / exposure


def poisson_args(rng):
    return (0.5 * rng.standard_normal(3), np.array(0.3), rng.standard_normal((6, 3)), 1 + rng.random(6),
            np.array([0, 2, 1, 4, 0, 3]))


add("poisson: residual reversed", poisson, poisson_score, poisson_args, "A1", "beta alpha X exposure",
    ("(rate - counts) / n", "(counts - rate) / n"))
add("poisson: n twice in the intercept", poisson, poisson_score, poisson_args, "A3", "alpha",
    ("res.sum()", "res.mean()"), also=("A2",), **HIDDEN)
add("poisson: exposure not divided", poisson, poisson_score, poisson_args, "C8", "exposure",
    ("res / exposure", "res"), also=("A5", "C1", "C3"), **HIDDEN)
add("poisson: derivative of exp", poisson, poisson_score, poisson_args, "C1", "beta alpha X exposure",
    ("w * (rate - counts) / n", "w * (1 - counts / rate) / n"), also=("C3",))


def factorise(U, V, bu, bv, ratings, lam):
    seen = ~np.isnan(ratings)
    e = np.where(seen, U @ V.T + bu[:, None] + bv - np.nan_to_num(ratings), 0)
    return 0.5 * (e**2).sum() + 0.5 * lam * ((U**2).sum() + (V**2).sum()), (U, V, bu, e, lam)


def factorise_grad(t, cache):
    U, V, bu, e, lam = cache
    gU = e @ V + lam * U
    gV = e.T @ U + lam * V
    return t * gU, t * gV, t * e.sum(1), t * e.sum(0)


def factorise_args(rng):
    s = rng.standard_normal
    return s((4, 2)), s((4, 2)), s(4), s(4)


def factorise_fixed(U, V, bu, bv):
    R = np.array([[3, np.nan, 1, 2], [np.nan, 4, 0, 1], [2, 2, np.nan, 5], [1, 0, 3, np.nan]])
    R[0, 2] = np.nan
    return factorise(U, V, bu, bv, R, 0.4)


add("factorise: residual not transposed", factorise_fixed, factorise_grad, factorise_args, "B1", "V",
    ("gV = e.T @ U", "gV = e @ U"))
add("factorise: biases summed the other way", factorise_fixed, factorise_grad, factorise_args, "B4", "bu bv",
    ("t * e.sum(1), t * e.sum(0)", "t * e.sum(0), t * e.sum(1)"), also=("B5",), **HIDDEN)
add("factorise: penalty of the other factor", factorise_fixed, factorise_grad, factorise_args, "D1", "V",
    ("e.T @ U + lam * V", "e.T @ U + lam * U"), also=("B6",), **HIDDEN)
add("factorise: own factor", factorise_fixed, factorise_grad, factorise_args, "B6", "U",
    ("gU = e @ V", "gU = e @ U"))
add("factorise: penalty doubled", factorise_fixed, factorise_grad, factorise_args, "D1", "U",
    ("e @ V + lam * U", "e @ V + 2 * lam * U"), **HIDDEN)
add("factorise: penalty on the users' bias", factorise_fixed, factorise_grad, factorise_args, "D2", "bu",
    ("t * e.sum(1), t", "t * (e.sum(1) + lam * bu), t"))


def lotka(state0, theta, dt, steps):
    a, b, c, d = theta
    path = [state0]
    for _ in range(steps):
        x, y = path[-1]
        path.append(path[-1] + dt * np.array([a * x - b * x * y, d * x * y - c * y]))
    return np.array(path[1:]), (path, theta, dt)


def lotka_adjoint(gbar, cache):
    path, theta, dt = cache
    a, b, c, d = theta
    lam = np.zeros(2)
    gtheta = np.zeros(4)
    for n in reversed(range(len(gbar))):
        lam = lam + gbar[n]
        x, y = path[n]
        gtheta += dt * np.array([lam[0] * x, -lam[0] * x * y, -lam[1] * y, lam[1] * x * y])
        J = np.array([[a - b * y, -b * x], [d * y, d * x - c]])
        lam = lam + dt * J.T @ lam
    return lam, gtheta


def lotka_args(rng):
    return 1 + rng.random(2), 0.5 + rng.random(4), 0.2, 6


add("lotka: Jacobian not transposed", lotka, lotka_adjoint, lotka_args, "B1", "state0 theta",
    ("dt * J.T @ lam", "dt * J @ lam"), **HIDDEN)
add("lotka: state after the step", lotka, lotka_adjoint, lotka_args, "G3", "state0 theta",
    ("x, y = path[n]", "x, y = path[n + 1]"))
add("lotka: identity of the Euler step", lotka, lotka_adjoint, lotka_args, "C8", "state0 theta",
    ("lam = lam + dt * J.T @ lam", "lam = dt * J.T @ lam"), also=("G1", "E1"), **HIDDEN)
add("lotka: step size in theta", lotka, lotka_adjoint, lotka_args, "A4", "theta",
    ("gtheta += dt * np.array", "gtheta += np.array"))
add("lotka: observations overwrite the adjoint", lotka, lotka_adjoint, lotka_args, "G1", "state0 theta",
    ("lam = lam + gbar[n]", "lam = gbar[n]"), also=("E1",), **HIDDEN)
add("lotka: entry of the Jacobian", lotka, lotka_adjoint, lotka_args, "A1", "state0 theta",
    ("[a - b * y, -b * x]", "[a - b * y, b * x]"))


def rk4(y, A, h):
    k1 = A @ np.sin(y)
    y2 = y + h / 2 * k1
    k2 = A @ np.sin(y2)
    y3 = y + h / 2 * k2
    k3 = A @ np.sin(y3)
    y4 = y + h * k3
    k4 = A @ np.sin(y4)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), (y, y2, y3, y4, A, h)


def rk4_vjp(g, cache):
    y, y2, y3, y4, A, h = cache
    k4 = h / 6 * g
    v4 = np.cos(y4) * (A.T @ k4)
    k3 = h / 3 * g + h * v4
    v3 = np.cos(y3) * (A.T @ k3)
    k2 = h / 3 * g + h / 2 * v3
    v2 = np.cos(y2) * (A.T @ k2)
    k1 = h / 6 * g + h / 2 * v2
    v1 = np.cos(y) * (A.T @ k1)
    Abar = sum(np.outer(k, np.sin(s)) for k, s in ((k1, y), (k2, y2), (k3, y3), (k4, y4)))
    return g + v1 + v2 + v3 + v4, Abar


rk4_args = normal(3, (3, 3), then=(0.3,))
add("rk4: one stage missing", rk4, rk4_vjp, rk4_args, "C8", "y", ("g + v1 + v2 + v3 + v4", "g + v1 + v2 + v4"))
add("rk4: half step", rk4, rk4_vjp, rk4_args, "A4", "y A", ("k2 = h / 3 * g + h / 2 * v3", "k2 = h / 3 * g + h * v3"),
    **HIDDEN)
add("rk4: weight of the third", rk4, rk4_vjp, rk4_args, "A4", "y A", ("k3 = h / 3 * g", "k3 = h / 6 * g"),
    also=("C8",), **HIDDEN)
add("rk4: cosine of the wrong stage", rk4, rk4_vjp, rk4_args, "C2", "y A", ("v3 = np.cos(y3)", "v3 = np.cos(y2)"),
    also=("C4", "G3"))
add("rk4: sine forgotten in A", rk4, rk4_vjp, rk4_args, "B6", "A", ("np.outer(k, np.sin(s))", "np.outer(k, s)"),
    also=("C2",), **HIDDEN)


def kalman(z, m0, logq, logr):
    q, r = np.exp(logq), np.exp(logr)
    m, P, nll, trace = m0, 1.0, 0.0, []
    for obs in z:
        Pp = P + q
        S = Pp + r
        v = obs - m
        K = Pp / S
        nll += 0.5 * (np.log(S) + v * v / S)
        trace.append((Pp, S, v, K))
        m = m + K * v
        P = (1 - K) * Pp
    return nll, (trace, q, r)


def kalman_adjoint(bar, cache):
    trace, q, r = cache
    zbar = []
    mb = Pb = qb = rb = 0.0
    for Pp, S, v, K in trace[::-1]:
        Kb = mb * v - Pb * Pp
        Ppb = Pb * (1 - K) + Kb / S
        vb = mb * K + bar * v / S
        Sb = bar * 0.5 * (1 / S - v * v / S**2) - Kb * Pp / S**2
        Ppb += Sb
        rb += Sb
        zbar.append(vb)
        mb = mb - vb
        qb += Ppb
        Pb = Ppb
    return np.array(zbar[::-1]), np.asarray(mb), np.asarray(qb * q), np.asarray(rb * r)


def kalman_args(rng):
    return rng.standard_normal(5), np.array(0.4), np.array(-0.5), np.array(0.1)


add("kalman: order of time", kalman, kalman_adjoint, kalman_args, "G3", "z", ("zbar[::-1])", "zbar)"), **HIDDEN)
add("kalman: mean not carried", kalman, kalman_adjoint, kalman_args, "G1", "z m0 logq logr",
    ("mb = mb - vb", "mb = -vb"), also=("E1", "C8"))
add("kalman: gain's denominator", kalman, kalman_adjoint, kalman_args, "C8", "logq logr",
    (" - Kb * Pp / S**2", ""), **HIDDEN)
add("kalman: log variance", kalman, kalman_adjoint, kalman_args, "C1", "logr", ("np.asarray(rb * r)", "np.asarray(rb)"))
add("kalman: covariance's path through time", kalman, kalman_adjoint, kalman_args, "G1", "logq logr",
    ("        Pb = Ppb\n", ""), **HIDDEN)


def pinn(x, w, b, v, f):
    t = np.tanh(np.outer(x, w) + b)
    u = t @ v
    uxx = (-2 * t * (1 - t**2)) @ (v * w**2)
    res = uxx + u - f
    return np.mean(res**2), (x, w, b, v, t, res)


def pinn_grad(dl, cache):
    x, w, b, v, t, res = cache
    n = len(x)
    dres = dl * 2 * res / n
    dt = np.outer(dres, v)
    dt += np.outer(dres, v * w**2) * (6 * t**2 - 2)
    a = (-2 * t * (1 - t**2)).T @ dres
    dv = t.T @ dres + a * w**2
    dz = dt * (1 - t**2)
    dw = x @ dz + 2 * a * v * w
    return dz @ w, dw, dz.sum(0), dv, -dres


pinn_args = normal(6, 4, 4, 4, 6)
add("pinn: weight's second path", pinn, pinn_grad, pinn_args, "C8", "w", (" + 2 * a * v * w", ""), **HIDDEN)
add("pinn: constant of the third derivative", pinn, pinn_grad, pinn_args, "C3", "x w b",
    ("(6 * t**2 - 2)", "(6 * t**2 - 1)"), also=("A4",))
add("pinn: tanh' missing", pinn, pinn_grad, pinn_args, "C1", "x w b", ("dz = dt * (1 - t**2)", "dz = dt"), **HIDDEN)
add("pinn: two of the square", pinn, pinn_grad, pinn_args, "A4", "x w b v f", ("dl * 2 * res / n", "dl * res / n"))
add("pinn: curvature overwrites the value", pinn, pinn_grad, pinn_args, "E1", "x w b",
    ("dt += np.outer", "dt = np.outer"), also=("C8",), **HIDDEN)


def gcn(H, W, b, adj):
    deg = adj.sum(1)
    S = adj / deg[:, None]
    M = S @ H
    Z = M @ W + b
    out = np.where(Z > 0, Z, 0)
    return out, (H, W, S, M, Z)


def gcn_back(G, cache):
    H, W, S, M, Z = cache
    dZ = G * (Z > 0)
    dM = dZ @ W.T
    return S.T @ dM, M.T @ dZ, dZ.sum(0)


def gcn_args(rng):
    adj = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 1, 1, 1], [0, 0, 0, 1, 0], [1, 0, 0, 1, 1]])
    return rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4), adj


add("gcn: graph not transposed", gcn, gcn_back, gcn_args, "B1", "H", ("S.T @ dM", "S @ dM"), also=("F5",))
add("gcn: neighbours forgotten", gcn, gcn_back, gcn_args, "F5", "H", ("S.T @ dM", "dM"), also=("C8", "B6"), **HIDDEN)
add("gcn: weight from H", gcn, gcn_back, gcn_args, "B6", "W", ("M.T @ dZ", "H.T @ dZ"), also=("F5",), **HIDDEN)
add("gcn: mask of the gradient", gcn, gcn_back, gcn_args, "C2", "H W b", ("G * (Z > 0)", "G * (G > 0)"), also=("C3",))


def messages(node, edge_w, theta, src, dst):
    m = np.tanh(node[src] @ theta) * edge_w[:, None]
    agg = np.zeros((len(node), theta.shape[1]))
    np.add.at(agg, dst, m)
    return agg, (node, edge_w, theta, src, dst)


def messages_back(gagg, cache):
    node, edge_w, theta, src, dst = cache
    gm = gagg[dst]
    act = np.tanh(node[src] @ theta)
    gpre = gm * edge_w[:, None] * (1 - act**2)
    gnode = np.zeros_like(node)
    np.add.at(gnode, src, gpre @ theta.T)
    return gnode, (gm * act).sum(axis=1), node[src].T @ gpre


def messages_args(rng):
    s = rng.standard_normal
    return s((4, 3)), s(7), s((3, 2)), np.array([0, 0, 1, 2, 3, 3, 1]), np.array([1, 2, 0, 3, 2, 0, 1])


add("messages: nodes shared by edges", messages, messages_back, messages_args, "E1", "node",
    ("np.add.at(gnode, src, gpre @ theta.T)", "gnode[src] += gpre @ theta.T"), **HIDDEN)
add("messages: scattered to the target", messages, messages_back, messages_args, "F5", "node",
    ("np.add.at(gnode, src,", "np.add.at(gnode, dst,"), also=("B1",))
add("messages: gathered at the source", messages, messages_back, messages_args, "F5", "node edge_w theta",
    ("gm = gagg[dst]", "gm = gagg[src]"), also=("B1",), **HIDDEN)
add("messages: edge weight", messages, messages_back, messages_args, "A5", "node theta",
    ("gm * edge_w[:, None] * (1", "gm * (1"), also=("B6", "C8"))
add("messages: sum over edges", messages, messages_back, messages_args, "A2", "edge_w",
    ("(gm * act).sum(axis=1)", "(gm * act).mean(axis=1)"), also=("A4",), **HIDDEN)


def interp_spline(values, slopes, where):
    k = np.minimum(where.astype(int), len(values) - 2)
    s = where - k
    h00, h10 = (1 + 2 * s) * (1 - s) ** 2, s * (1 - s) ** 2
    h01, h11 = s**2 * (3 - 2 * s), s**2 * (s - 1)
    y = h00 * values[k] + h10 * slopes[k] + h01 * values[k + 1] + h11 * slopes[k + 1]
    return y, (values, slopes, k, s, h00, h10, h01, h11)


def interp_spline_vjp(ybar, cache):
    values, slopes, k, s, h00, h10, h01, h11 = cache
    vb, sb = np.zeros_like(values), np.zeros_like(slopes)
    for n, kk in enumerate(k):
        vb[kk] += ybar[n] * h00[n]
        vb[kk + 1] += ybar[n] * h01[n]
        sb[kk] += ybar[n] * h10[n]
        sb[kk + 1] += ybar[n] * h11[n]
    ds = 6 * (s**2 - s) * (values[k] - values[k + 1])
    ds += (3 * s**2 - 4 * s + 1) * slopes[k]
    ds += (3 * s**2 - 2 * s) * slopes[k + 1]
    return vb, sb, ybar * ds


def spline_args(rng):
    return rng.standard_normal(5), rng.standard_normal(5), np.array([0.3, 0.8, 1.4, 1.7, 2.2, 3.6, 3.1])


add("spline: knot shared by samples", interp_spline, interp_spline_vjp, spline_args, "E1", "values",
    ("vb[kk + 1] += ybar", "vb[kk + 1] = ybar"))
add("spline: right slope forgotten", interp_spline, interp_spline_vjp, spline_args, "C8", "slopes",
    ("        sb[kk + 1] += ybar[n] * h11[n]\n", ""), **HIDDEN)
add("spline: left and right knots", interp_spline, interp_spline_vjp, spline_args, "A1", "where",
    ("(values[k] - values[k + 1])", "(values[k + 1] - values[k])"), **HIDDEN)
add("spline: last slope in the position", interp_spline, interp_spline_vjp, spline_args, "C8", "where",
    ("    ds += (3 * s**2 - 2 * s) * slopes[k + 1]\n", ""))
add("spline: wrong basis", interp_spline, interp_spline_vjp, spline_args, "B6", "slopes",
    ("sb[kk] += ybar[n] * h10[n]", "sb[kk] += ybar[n] * h11[n]"), **HIDDEN)


def heat(u, kappa, dt, nsteps):
    hist = []
    for _ in range(nsteps):
        flux = kappa * np.diff(u)
        hist.append(np.diff(u))
        u = u.copy()
        u[:-1] += dt * flux
        u[1:] -= dt * flux
    return u, (hist, kappa, dt)


def heat_adjoint(lam, cache):
    hist, kappa, dt = cache
    lam = lam.copy()
    kb = np.zeros_like(kappa)
    for du in reversed(hist):
        fb = dt * (lam[:-1] - lam[1:])
        kb += fb * du
        db = fb * kappa
        lam[1:] += db
        lam[:-1] -= db
    return lam, kb


def heat_args(rng):
    return rng.standard_normal(6), 0.5 + rng.random(5), 0.3, 4


add("heat: history forwards", heat, heat_adjoint, heat_args, "G3", "kappa", ("in reversed(hist)", "in hist"))
add("heat: conductivity of the last step", heat, heat_adjoint, heat_args, "E1", "kappa", ("kb += fb * du", "kb = fb * du"),
    also=("G2",), **HIDDEN)
add("heat: half of the difference", heat, heat_adjoint, heat_args, "C8", "u kappa", ("        lam[:-1] -= db\n", ""),
    **HIDDEN)
add("heat: signs of the divergence", heat, heat_adjoint, heat_args, "A1", "u kappa",
    ("lam[:-1] - lam[1:]", "lam[1:] - lam[:-1]"))
add("heat: kappa left out", heat, heat_adjoint, heat_args, "A5", "u kappa", ("db = fb * kappa", "db = fb"),
    also=("C8", "B6"), **HIDDEN)


def cox(beta, Z, event):
    risk = np.exp(Z @ beta)
    total = np.cumsum(risk[::-1])[::-1]
    ll = np.sum((Z @ beta - np.log(total))[event])
    return -ll, (beta, Z, event, risk, total)


def cox_grad(w, cache):
    beta, Z, event, risk, total = cache
    hazard = np.cumsum(np.where(event, 1 / total, 0))
    eta = risk * hazard - event
    return w * (Z.T @ eta), w * np.outer(eta, beta)


def cox_args(rng):
    return rng.standard_normal(3), rng.standard_normal((6, 3)), np.array([True, True, False, True, False, True])


add("cox: censored counted", cox, cox_grad, cox_args, "E5", "beta Z",
    ("np.where(event, 1 / total, 0)", "1 / total"), also=("C8", "I3"), **HIDDEN)
add("cox: cumulated from the wrong end", cox, cox_grad, cox_args, "G2", "beta Z",
    ("np.cumsum(np.where(event, 1 / total, 0))", "np.cumsum(np.where(event, 1 / total, 0)[::-1])[::-1]"),
    also=("G3", "B4"))
add("cox: the risk's derivative", cox, cox_grad, cox_args, "C1", "beta Z", ("risk * hazard - event", "hazard - event"),
    **HIDDEN)


def mixture(logits, mu, data):
    logpi = logits - np.log(np.exp(logits).sum())
    lp = logpi - 0.5 * ((data[:, None] - mu) ** 2).sum(-1)
    top = lp.max(1, keepdims=True)
    lse = top + np.log(np.exp(lp - top).sum(1, keepdims=True))
    return -lse.sum(), (logpi, mu, data, np.exp(lp - lse))


def mixture_grad(c, cache):
    logpi, mu, data, resp = cache
    Nk = resp.sum(0)
    pull = resp[:, :, None] * (mu - data[:, None])
    dlogits = len(data) * np.exp(logpi) - Nk
    return c * dlogits, c * pull.sum(0), -c * pull.sum(1)


mixture_args = normal(3, (3, 2), (6, 2))
add("mixture: normaliser of the weights", mixture, mixture_grad, mixture_args, "C6", "logits",
    ("len(data) * np.exp(logpi) - Nk", "-Nk"), also=("C8",))
add("mixture: responsibilities forgotten", mixture, mixture_grad, mixture_args, "C1", "mu data",
    ("resp[:, :, None] * (mu - data[:, None])", "(mu - data[:, None])"), also=("C6", "C8", "B6"), **HIDDEN)
add("mixture: number of points", mixture, mixture_grad, mixture_args, "A2", "logits",
    ("len(data) * np.exp(logpi)", "np.exp(logpi)"), also=("A4", "C8"), **HIDDEN)
add("mixture: mean of the pull", mixture, mixture_grad, mixture_args, "A2", "mu",
    ("c * pull.sum(0)", "c * pull.mean(0)"))


def hmm(logA, logB, logp, obs):
    A, Bm = np.exp(logA), np.exp(logB)
    alpha = [np.exp(logp) * Bm[:, obs[0]]]
    for o in obs[1:]:
        alpha.append((alpha[-1] @ A) * Bm[:, o])
    return np.log(alpha[-1].sum()), (A, Bm, np.exp(logp), obs, alpha)


def hmm_back(s, cache):
    A, Bm, p, obs, alpha = cache
    gA, gB = np.zeros_like(A), np.zeros_like(Bm)
    g = np.full(len(p), s / alpha[-1].sum())
    for t in range(len(obs) - 1, 0, -1):
        o = obs[t]
        gB[:, o] += g * (alpha[t - 1] @ A)
        g = g * Bm[:, o]
        gA += np.outer(alpha[t - 1], g)
        g = A @ g
    gB[:, obs[0]] += g * p
    return gA * A, gB * Bm, g * Bm[:, obs[0]] * p


def hmm_args(rng):
    return (0.5 * rng.standard_normal((3, 3)), 0.5 * rng.standard_normal((3, 4)), 0.5 * rng.standard_normal(3),
            np.array([1, 3, 0, 3, 2]))


add("hmm: symbol seen twice", hmm, hmm_back, hmm_args, "E1", "logB", ("gB[:, o] += g", "gB[:, o] = g"))
add("hmm: transition transposed", hmm, hmm_back, hmm_args, "B1", "logA logB logp", ("g = A @ g", "g = A.T @ g"),
    **HIDDEN)
add("hmm: alpha of the same step", hmm, hmm_back, hmm_args, "G3", "logA",
    ("np.outer(alpha[t - 1], g)", "np.outer(alpha[t], g)"), **HIDDEN)
add("hmm: stops before the first transition", hmm, hmm_back, hmm_args, "G2", "logA logB logp",
    ("range(len(obs) - 1, 0, -1)", "range(len(obs) - 1, 1, -1)"))
add("hmm: exp of the transitions", hmm, hmm_back, hmm_args, "C1", "logA", ("return gA * A,", "return gA,"), **HIDDEN)
add("hmm: emission left out on the way", hmm, hmm_back, hmm_args, "A5", "logA logB logp",
    ("        g = g * Bm[:, o]\n", ""), also=("C8", "C1", "B6"))


def huber(theta, X, y, delta):
    r = X @ theta - y
    small = np.abs(r) <= delta
    return np.where(small, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta)), (theta, X, r, small, delta)


def huber_grad(g, cache):
    theta, X, r, small, delta = cache
    psi = np.empty_like(r)
    psi[small] = r[small]
    psi[~small] = delta * np.sign(r[~small])
    psi *= g
    return X.T @ psi, np.outer(psi, theta), -psi


def huber_args(rng):
    return 0.3 * rng.standard_normal(3), rng.standard_normal((7, 3)), np.linspace(-3, 3.1, 7), 0.8


add("huber: sign of the tails", huber, huber_grad, huber_args, "C3", "theta X y",
    ("delta * np.sign(r[~small])", "delta"), also=("A1",))
add("huber: delta of the tails", huber, huber_grad, huber_args, "C3", "theta X y",
    ("delta * np.sign(r[~small])", "np.sign(r[~small])"), also=("A4", "A5"), **HIDDEN)
add("huber: cotangent not used", huber, huber_grad, huber_args, "C5", "theta X y", ("    psi *= g\n", ""), **HIDDEN)
add("huber: psi in whole numbers", huber, huber_grad, huber_args, "H3", "theta X y",
    ("np.empty_like(r)", "np.empty(len(r), dtype=int)"), ("psi *= g", "psi = psi * g"))
add("huber: threshold of the textbook", huber, huber_grad, huber_args, "I3", "theta X y",
    ("    psi = np.empty_like(r)\n", "    delta = 1.35\n    small = np.abs(r) < delta\n    psi = np.empty_like(r)\n"),
    also=("C3",))


def tv_denoise(img, noisy, mu):
    dx, dy = np.diff(img, axis=1), np.diff(img, axis=0)
    nx, ny = np.sqrt(dx**2 + 0.01), np.sqrt(dy**2 + 0.01)
    r = img - noisy
    return 0.5 * np.sum(r * r) + mu * (nx.sum() + ny.sum()), (r, dx, dy, nx, ny, mu)


def tv_grad(c, cache):
    r, dx, dy, nx, ny, mu = cache
    r = c * r
    g = r.copy()
    px, py = c * mu * dx / nx, c * mu * dy / ny
    g[:, 1:] += px
    g[:, :-1] -= px
    g[1:] += py
    g[:-1] -= py
    return g, -r


def tv_args(rng):
    return rng.standard_normal((4, 5)), rng.standard_normal((4, 5)), 0.7


add("tv: vertical differences forgotten", tv_denoise, tv_grad, tv_args, "D1", "img",
    ("    g[1:] += py\n    g[:-1] -= py\n", ""), also=("C8",), **HIDDEN)
add("tv: sign of the left pixel", tv_denoise, tv_grad, tv_args, "A1", "img", ("g[:, :-1] -= px", "g[:, :-1] += px"),
    also=("D1",))
add("tv: alias of the residual", tv_denoise, tv_grad, tv_args, "E3", "noisy", ("g = r.copy()", "g = r"))
add("tv: mu left out", tv_denoise, tv_grad, tv_args, "D1", "img",
    ("c * mu * dx / nx, c * mu * dy / ny", "c * dx / nx, c * dy / ny"), also=("A5",), **HIDDEN)


def michaelis(vmax, km, conc, rate):
    pred = vmax * conc / (km + conc)
    e = pred - rate
    return {"sse": np.sum(e**2), "pred": pred}, (vmax, km, conc, e)


def michaelis_grad(up, cache):
    vmax, km, conc, e = cache
    den = km + conc
    gp = up["sse"] * 2 * e + up["pred"]
    gv = np.sum(gp * conc / den)
    gk = -np.sum(gp * vmax * conc / den**2)
    gc = gp * vmax * km / den**2
    return np.asarray(gv), np.asarray(gk), gc, -up["sse"] * 2 * e


def mm_args(rng):
    return np.array(1.7), np.array(0.6), 0.3 + rng.random(5), rng.random(5)


add("michaelis: second output forgotten", michaelis, michaelis_grad, mm_args, "C8", "vmax km conc",
    ('gp = up["sse"] * 2 * e + up["pred"]', 'gp = up["sse"] * 2 * e'), also=("C5",))
add("michaelis: denominator of km", michaelis, michaelis_grad, mm_args, "C3", "km",
    ("vmax * conc / den**2", "vmax * conc / den"), **HIDDEN)
add("michaelis: quotient rule half done", michaelis, michaelis_grad, mm_args, "C8", "conc",
    ("gc = gp * vmax * km / den**2", "gc = gp * vmax / den"), also=("C3",), **HIDDEN)
add("michaelis: sign of km", michaelis, michaelis_grad, mm_args, "A1", "km", ("gk = -np.sum", "gk = np.sum"))


def hopfield(J, s, field):
    m = np.tanh(s)
    return -0.5 * m @ J @ m - field @ m, (J, m, field)


def hopfield_grad(e, cache):
    J, m, field = cache
    gm = -0.5 * (J + J.T) @ m - field
    return -0.5 * e * np.outer(m, m), e * gm * (1 - m**2), -e * m


hop_args = normal((5, 5), 5, 5)
add("hopfield: J thought symmetric", hopfield, hopfield_grad, hop_args, "C8", "s", ("0.5 * (J + J.T) @ m", "J @ m"),
    also=("B1",), **HIDDEN)
add("hopfield: half of the quadratic form", hopfield, hopfield_grad, hop_args, "A4", "J",
    ("-0.5 * e * np.outer", "-e * np.outer"))
add("hopfield: squashing forgotten", hopfield, hopfield_grad, hop_args, "C1", "s", (" * (1 - m**2)", ""), **HIDDEN)


def rotate(angle, centre, pts, target):
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, -s], [s, c]])
    p = pts - centre
    q = p @ R.T + centre
    return np.sum((q - target) ** 2) / len(pts), (R, c, s, p, q - target)


def rotate_grad(w, cache):
    R, c, s, p, d = cache
    gq = 2 * w * d / len(d)
    gR = gq.T @ p
    gang = gR[0, 0] * -s - gR[0, 1] * c + gR[1, 0] * c - gR[1, 1] * s
    gp = gq @ R
    return np.asarray(gang), gq.sum(0) - gp.sum(0), gp, -gq


def rotate_args(rng):
    return np.array(0.7), rng.standard_normal(2), rng.standard_normal((5, 2)), rng.standard_normal((5, 2))


add("rotate: rotated back the wrong way", rotate, rotate_grad, rotate_args, "B1", "centre pts",
    ("gp = gq @ R", "gp = gq @ R.T"), **HIDDEN)
add("rotate: centre's second use", rotate, rotate_grad, rotate_args, "C8", "centre",
    ("gq.sum(0) - gp.sum(0)", "-gp.sum(0)"))
add("rotate: derivative of the sine", rotate, rotate_grad, rotate_args, "A1", "angle",
    ("- gR[0, 1] * c", "+ gR[0, 1] * c"), **HIDDEN)


def iir(x, a, b, y0):
    y = np.empty(len(x) + 1)
    y[0] = y0
    for t in range(len(x)):
        y[t + 1] = a * y[t] + b * x[t]
    return y[1:], (x, a, b, y)


def iir_adjoint(g, cache):
    x, a, b, y = cache
    T = len(x)
    lam = np.zeros(T + 1)
    for t in range(T - 1, -1, -1):
        lam[t] = g[t] + a * lam[t + 1]
    lam = lam[:T]
    return b * lam, np.asarray(lam @ y[:-1]), np.asarray(lam @ x), np.asarray(a * lam[0])


def iir_args(rng):
    return rng.standard_normal(6), np.array(0.7), np.array(1.4), np.array(-0.9)


add("iir: feedback dropped", iir, iir_adjoint, iir_args, "G1", "x a b y0", ("g[t] + a * lam[t + 1]", "g[t]"))
add("iir: output for the state before", iir, iir_adjoint, iir_args, "G3", "a", ("lam @ y[:-1]", "lam @ y[1:]"), **HIDDEN)
add("iir: coefficient of the recursion", iir, iir_adjoint, iir_args, "A5", "x a b y0",
    ("g[t] + a * lam[t + 1]", "g[t] + lam[t + 1]"), **HIDDEN)
add("iir: gain forgotten", iir, iir_adjoint, iir_args, "A5", "x", ("return b * lam", "return lam"))
add("iir: first step not reached", iir, iir_adjoint, iir_args, "G2", "x a b y0", ("range(T - 1, -1, -1)", "range(T - 1, 0, -1)"),
    **HIDDEN)


def garch(r, omega, alpha, beta, h0):
    h = [h0]
    for t in range(len(r)):
        h.append(omega + alpha * r[t] ** 2 + beta * h[t])
    h = np.array(h)
    return 0.5 * np.sum(np.log(h[:-1]) + r**2 / h[:-1]), (r, alpha, beta, h)


def garch_grad(w, cache):
    r, alpha, beta, h = cache
    dr = w * r / h[:-1]
    do = da = db = dh = 0.0
    for t in range(len(r) - 1, -1, -1):
        do += dh
        da += dh * r[t] ** 2
        db += dh * h[t]
        dr[t] += dh * alpha * 2 * r[t]
        dh = dh * beta + w * 0.5 * (1 / h[t] - r[t] ** 2 / h[t] ** 2)
    return dr, np.asarray(do), np.asarray(da), np.asarray(db), np.asarray(dh)


def garch_args(rng):
    return rng.standard_normal(6), np.array(0.3), np.array(0.2), np.array(0.6), np.array(1.1)


add("garch: persistence forgotten", garch, garch_grad, garch_args, "G1", "r omega alpha beta h0",
    ("dh = dh * beta + w", "dh = w"))
add("garch: shock's path to the variance", garch, garch_grad, garch_args, "C8", "r",
    ("        dr[t] += dh * alpha * 2 * r[t]\n", ""), **HIDDEN)
add("garch: variance of the next day", garch, garch_grad, garch_args, "G3", "beta", ("db += dh * h[t]", "db += dh * h[t + 1]"),
    **HIDDEN)
add("garch: alpha for beta", garch, garch_grad, garch_args, "B6", "r omega alpha beta h0",
    ("dh = dh * beta + w", "dh = dh * alpha + w"), also=("A5",), **HIDDEN)


def kl_nmf(logW, logH, scale):
    V = np.arange(1.0, 21).reshape(4, 5) % 7 + 0.5
    W, H = np.exp(logW), np.exp(logH)
    R = scale[:, None] * (W @ H)
    return np.sum(R - V * np.log(R)), (W, H, scale, V, R)


def kl_nmf_grad(k, cache):
    W, H, scale, V, R = cache
    G = k * (1 - V / R)
    Gs = G * scale[:, None]
    return (Gs @ H.T) * W, (W.T @ Gs) * H, (G * (W @ H)).sum(1)


def nmf_args(rng):
    return 0.5 * rng.standard_normal((4, 3)), 0.5 * rng.standard_normal((3, 5)), 0.5 + rng.random(4)


add("nmf: scale left out", kl_nmf, kl_nmf_grad, nmf_args, "A5", "logW logH",
    ("Gs = G * scale[:, None]", "Gs = G"), also=("C8", "B6"))
add("nmf: exp of H", kl_nmf, kl_nmf_grad, nmf_args, "C1", "logH", ("(W.T @ Gs) * H", "W.T @ Gs"), **HIDDEN)
add("nmf: mean over the columns", kl_nmf, kl_nmf_grad, nmf_args, "A2", "scale",
    ("(G * (W @ H)).sum(1)", "(G * (W @ H)).mean(1)"), **HIDDEN)
add("nmf: ratio upside down", kl_nmf, kl_nmf_grad, nmf_args, "C3", "logW logH scale", ("1 - V / R", "1 - R / V"))


def item_response(ability, slope, difficulty, right):
    z = slope * (ability[:, None] - difficulty)
    p = sigmoid(z)
    return -np.sum(np.where(right, np.log(p), np.log(1 - p))), (ability, slope, difficulty, p - right)


def item_response_grad(w, cache):
    ability, slope, difficulty, e = cache
    e = w * e
    ga = (e * slope).sum(axis=1)
    gs = np.array([np.sum(e[:, j] * (ability - difficulty[j])) for j in range(len(slope))])
    gd = -slope * e.sum(axis=0)
    return ga, gs, gd


def irt_args(rng):
    return rng.standard_normal(6), 0.5 + rng.random(4), rng.standard_normal(4), rng.random((6, 4)) < 0.5


add("irt: slope left out", item_response, item_response_grad, irt_args, "A5", "difficulty",
    ("gd = -slope * e.sum", "gd = -e.sum"), also=("C8",), **HIDDEN)
add("irt: difficulty's sign", item_response, item_response_grad, irt_args, "A1", "difficulty",
    ("gd = -slope", "gd = slope"))
add("irt: same item for all", item_response, item_response_grad, irt_args, "B6", "slope",
    ("ability - difficulty[j]", "ability - difficulty[0]"), **HIDDEN)
add("irt: mean over persons", item_response, item_response_grad, irt_args, "A2", "slope",
    ("np.sum(e[:, j]", "np.mean(e[:, j]"))


def sinc_fit(x, width):
    a = x * width
    safe = np.where(a == 0, 1.0, a)
    y = np.where(a == 0, 1.0, np.sin(safe) / safe)
    return y, (x, width, a)


def sinc_fit_vjp(g, cache):
    x, width, a = cache
    safe = np.where(a == 0, 1.0, a)
    slope = np.where(a == 0, 0.0, (np.cos(safe) - np.sin(safe) / safe) / safe)
    ga = g * slope
    return ga * width, np.asarray((ga * x).sum())


def sinc_args(rng):
    return np.array([0.0, 0.7, -1.3, 2.1, 0.0, 1.9]), np.array(1.2)


add("sinc: zero over zero", sinc_fit, sinc_fit_vjp, sinc_args, "H1", "x width",
    ("    safe = np.where(a == 0, 1.0, a)\n    slope = np.where(a == 0, 0.0, (np.cos(safe) - np.sin(safe) / safe) / safe)",
     "    with np.errstate(all='ignore'):\n        slope = (np.cos(a) - np.sin(a) / a) / a"))
add("sinc: quotient rule", sinc_fit, sinc_fit_vjp, sinc_args, "C8", "x width",
    ("(np.cos(safe) - np.sin(safe) / safe) / safe", "np.cos(safe) / safe"), also=("C3",), **HIDDEN)
add("sinc: width", sinc_fit, sinc_fit_vjp, sinc_args, "A5", "x", ("return ga * width,", "return ga,"), **HIDDEN)


def soft_chamfer(x, y):
    """Pairwise distances of two clouds and their soft minimum."""
    d = np.sqrt(((x[:, None] - y) ** 2).sum(-1))
    w = np.exp(-d)
    tot = w.sum(1)
    return -np.log(tot).mean(), (x, y, d, w, tot)


def soft_chamfer_back(g, cache):
    x, y, d, w, tot = cache
    gd = g * w / tot[:, None] / len(x)
    unit = (x[:, None] - y) / d[..., None]
    G = gd[..., None] * unit
    return G.sum(1), -G.sum(0)


chamfer_args = normal((5, 2), (4, 2))
add("soft chamfer: distances not divided", soft_chamfer, soft_chamfer_back, chamfer_args, "C1", "x y",
    ("(x[:, None] - y) / d[..., None]", "x[:, None] - y"), also=("C3", "C8"), **HIDDEN)
add("soft chamfer: n of the other cloud", soft_chamfer, soft_chamfer_back, chamfer_args, "A4", "x y",
    ("/ len(x)", "/ len(y)"), also=("A2",))
add("soft chamfer: weights not normalised", soft_chamfer, soft_chamfer_back, chamfer_args, "C1", "x y",
    ("g * w / tot[:, None] / len(x)", "g * w / len(x)"), also=("C6", "C8"), **HIDDEN)


def group_norm(x, gain, groups):
    n, c, l = x.shape
    xg = x.reshape(n, groups, -1)
    mu, sd = xg.mean(2, keepdims=True), np.sqrt(xg.var(2, keepdims=True) + 1e-3)
    xh = ((xg - mu) / sd).reshape(x.shape)
    return xh * gain[:, None], (xh, sd, gain, groups)


def group_norm_back(dy, cache):
    xh, sd, gain, groups = cache
    n, c, l = xh.shape
    dgain = np.einsum("ncl,ncl->c", dy, xh)
    dxh = (dy * gain[:, None]).reshape(n, groups, -1)
    xg = xh.reshape(n, groups, -1)
    M = xg.shape[2]
    dx = (M * dxh - dxh.sum(2, keepdims=True) - xg * (dxh * xg).sum(2, keepdims=True)) / (M * sd)
    return dx.reshape(n, c, l), dgain


gn_args = normal((2, 6, 3), 6, then=(2,))
add("groupnorm: mean term", group_norm, group_norm_back, gn_args, "C7", "x", (" - dxh.sum(2, keepdims=True)", ""),
    **HIDDEN)
add("groupnorm: gain inside", group_norm, group_norm_back, gn_args, "A5", "x",
    ("(dy * gain[:, None]).reshape", "dy.reshape"))
add("groupnorm: sum for mean", group_norm, group_norm_back, gn_args, "A2", "x", ("/ (M * sd)", "/ sd"), also=("A4",),
    **HIDDEN)


def float_net(x, W, V):
    h = np.tanh(x @ W)
    return h @ V, (x, W, V, h)


def float_net_back(dy, cache):
    x, W, V, h = cache
    dV = h.T @ dy
    dh = dy @ V.T
    dh *= 1 - h**2
    dW = np.zeros(W.shape)
    for n in range(len(x)):
        dW += np.outer(x[n], dh[n])
    return dh @ W.T, dW, dV


fn_args = normal((5, 2), (2, 4), (4, 3))
add("net: buffer in half precision", float_net, float_net_back, fn_args, "H3", "W",
    ("np.zeros(W.shape)", "np.zeros(W.shape, dtype=np.float16)"), **HIDDEN)
add("net: one sample short", float_net, float_net_back, fn_args, "G2", "W",
    ("range(len(x))", "range(len(x) - 1)"), also=("E1", "C8"))
add("net: last sample only", float_net, float_net_back, fn_args, "E1", "W", ("dW += np.outer", "dW = np.outer"))


def stateful(x, W, mem):
    return np.tanh(x @ W), (x, W, np.tanh(x @ W), {})


def stateful_back(dy, cache):
    x, W, y, grads = cache
    dz = dy * (1 - y**2)
    grads["W"] = np.zeros_like(W)
    grads["W"] += x.T @ dz
    return dz @ W.T, grads["W"]


def stateful_args(rng):
    return rng.standard_normal((4, 3)), rng.standard_normal((3, 2)), None


add("accumulator: never reset", stateful, stateful_back, stateful_args, "E2", "W",
    ('grads["W"] = np.zeros_like(W)', 'grads.setdefault("W", np.zeros_like(W))'))


def two_step(x, W1, W2):
    h = x @ W1
    r = np.maximum(h, 0)
    o = np.tanh(r @ W2)
    return 0.5 * np.sum(o**2), (x, W1, W2, h, r, o)


def two_step_back(d, cache):
    x, W1, W2, h, r, o = cache
    do = d * o * (1 - o**2)
    gW2 = r.T @ do
    dr = do @ W2.T
    dr[h < 0] = 0
    return dr @ W1.T, x.T @ dr, gW2


ts_args = normal((6, 3), (3, 5), (5, 2))
add("two layers: W2 moved on before", two_step, two_step_back, ts_args, "E4", "x W1",
    ("    dr = do", "    W2 = W2 - 0.01 * gW2\n    dr = do"))
add("two layers: tanh where relu was", two_step, two_step_back, ts_args, "C4", "x W1",
    ("dr[h < 0] = 0", "dr *= 1 - r**2"), also=("C3",), **HIDDEN)
add("two layers: inverted mask", two_step, two_step_back, ts_args, "C3", "x W1", ("dr[h < 0] = 0", "dr[h > 0] = 0"),
    **HIDDEN)


def _chosen(cases):
    """Return every second case of a class, every third of a class of more than 12, all of one of up to 4; and the rest."""
    sizes = {case.mistake: sum(other.mistake == case.mistake for other in cases) for case in cases}
    chosen, rest, seen = [], [], {}
    for case in cases:
        n = seen[case.mistake] = seen.get(case.mistake, -1) + 1
        size = sizes[case.mistake]
        step = 1 if size <= 4 else 2 if size <= 12 else 3
        (rest if n % step else chosen).append(case)
    return tuple(chosen), tuple(rest)


CASES, RESERVE = _chosen(_CASES)
