"""Right backward passes in styles that ``wild`` does not have: what mistakes are planted in to measure generality."""

import numpy as np


def logistic(z):
    return 1.0 / (1.0 + np.exp(-z))


def highway_backward(g, saved):
    x, Wt, Wh, t, h = saved
    g_t = g * (h - x) * t * (1 - t)
    g_h = g * t * (1 - h * h)
    g_x = g * (1 - t) + g_t @ Wt.T + g_h @ Wh.T
    return g_x, x.T @ g_t, x.T @ g_h


def highway_point(rng):
    x, Wt, Wh = rng.normal(size=(5, 4)), rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
    return rng.normal(size=(5, 4)), (x, Wt, Wh, logistic(x @ Wt), np.tanh(x @ Wh))


def huber_backward(upstream, ctx):
    residual, threshold = ctx["residual"], ctx["threshold"]
    inside = np.abs(residual) <= threshold
    slope = np.where(inside, residual, threshold * np.sign(residual))
    return upstream * slope / len(residual)


def huber_point(rng):
    return rng.normal(), {"residual": 2 * rng.normal(size=11), "threshold": 0.9}


class PReLU:
    """A layer that keeps what it saw."""

    def __init__(self, a):
        self.a = a

    def __call__(self, x):
        self.inputs = x
        return np.where(x > 0, x, self.a * x)

    def grad(self, upstream):
        negative = self.inputs < 0
        self.grad_a = (upstream * self.inputs * negative).sum(axis=0)
        return upstream * np.where(negative, self.a, 1.0)


def prelu_backward(upstream, layer):
    grad_x = layer.grad(upstream)
    return grad_x, layer.grad_a


def prelu_point(rng):
    layer = PReLU(rng.uniform(0.1, 0.4, size=4))
    layer(rng.normal(size=(7, 4)))
    return rng.normal(size=(7, 4)), layer


def bilinear_backward(dscore, operands):
    left, A, right = operands
    return dscore * (A @ right), dscore * np.outer(left, right), dscore * (A.T @ left)


def bilinear_point(rng):
    return rng.normal(), (rng.normal(size=4), rng.normal(size=(4, 4)), rng.normal(size=4))


def global_pool_backward(dpooled, feature_map):
    batch, channels, height, width = feature_map.shape
    spread = np.ones((batch, channels, height, width)) * dpooled[:, :, None, None]
    return spread / (height * width)


def global_pool_point(rng):
    return rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 5, 7))


def dilated_backward(dy, cache):
    x, w, dilation = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for out in range(len(dy)):
        for tap in range(len(w)):
            dx[out + tap * dilation] += dy[out] * w[tap]
            dw[tap] += dy[out] * x[out + tap * dilation]
    return dx, dw


def dilated_point(rng):
    return rng.normal(size=7), (rng.normal(size=11), rng.normal(size=3), 2)


def rms_norm_backward(dy, kept):
    normed, scale, rms = kept
    dnormed = dy * scale
    projection = np.mean(dnormed * normed, axis=-1, keepdims=True)
    return (dnormed - normed * projection) / rms, np.sum(dy * normed, axis=0)


def rms_norm_point(rng):
    x = rng.normal(size=(5, 7))
    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    return rng.normal(size=(5, 7)), (x / rms, rng.normal(size=7), rms)


softplus_backward = lambda g, z: g * np.exp(z) / (1 + np.exp(z))  # noqa: E731 (people write them)


def softplus_point(rng):
    return rng.normal(size=6), rng.normal(size=6)


def hinge_squared_backward(dloss, pair):
    a, b, margin = pair
    gap = a - b
    distance = np.sqrt((gap**2).sum(axis=1))
    short = np.maximum(0, margin - distance)
    da = dloss * (-2 * short / distance)[:, None] * gap / len(a)
    return da, -da


def hinge_squared_point(rng):
    return rng.normal(), (rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), 4.0)


class Value:
    """A number that knows how it was made."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents, self.push = data, 0.0, parents, lambda: None

    def __add__(self, other):
        out = Value(self.data + other.data, (self, other))

        def push():
            self.grad += out.grad
            other.grad += out.grad

        out.push = push
        return out

    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def push():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.push = push
        return out


def scalar_graph_backward(g, numbers):
    a, b = (Value(number) for number in numbers)
    c = a * b
    d = c + a
    e = d * b
    e.grad = g
    for node in (e, d, c):
        node.push()
    return a.grad, b.grad


def scalar_graph_point(rng):
    return rng.normal(), tuple(rng.normal(size=2))


def two_heads_backward(douts, tape):
    d_policy, d_value = douts
    X, _, W_policy, W_value, hidden = tape
    grads = {"W_policy": hidden.T @ d_policy, "W_value": hidden.T @ d_value}
    d_hidden = d_policy @ W_policy.T + d_value @ W_value.T
    d_hidden = d_hidden * (hidden > 0)
    grads["W"] = X.T @ d_hidden
    return grads


def two_heads_point(rng):
    X, W = rng.normal(size=(5, 3)), rng.normal(size=(3, 6))
    tape = X, W, rng.normal(size=(6, 2)), rng.normal(size=(6, 4)), np.maximum(X @ W, 0)
    return (rng.normal(size=(5, 2)), rng.normal(size=(5, 4))), tape


def minimal_gate_backward(dh, memory):
    _, h_old, Uf, Uh, f, candidate = memory
    dcandidate = dh * f
    da = dcandidate * (1 - candidate**2)
    dmixed = da.dot(Uh.T)
    df = dh * (candidate - h_old) + dmixed * h_old
    ds = df * f * (1 - f)
    dh_old = dh * (1 - f) + dmixed * f + ds.dot(Uf.T)
    return da + ds, dh_old, h_old.T.dot(ds), (f * h_old).T.dot(da)


def minimal_gate_point(rng):
    x, h_old = rng.normal(size=(2, 3, 4))
    Uf, Uh = rng.normal(size=(2, 4, 4))
    f = logistic(x + h_old @ Uf)
    return rng.normal(size=(3, 4)), (x, h_old, Uf, Uh, f, np.tanh(x + (f * h_old) @ Uh))


def bag_backward(dout, bag):
    table, sentences = bag
    d_table = np.zeros(table.shape)
    for row, words in enumerate(sentences):
        for word in words:
            d_table[word] += dout[row] / len(words)
    return d_table


def bag_point(rng):
    return rng.normal(size=(3, 4)), (rng.normal(size=(6, 4)), [[0, 2, 2], [5, 1, 0, 3, 4], [1, 1, 1]])


def upsample_backward(dbig, factor):
    n, c, H, W = dbig.shape
    blocks = dbig.reshape(n, c, H // factor, factor, W // factor, factor)
    return blocks.sum(axis=(3, 5))


def upsample_point(rng):
    return rng.normal(size=(2, 3, 6, 9)), 3


def reparametrised_backward(dz, drawn):
    mean, log_variance, noise, beta = drawn
    d_mean = dz + beta * mean
    d_log_variance = dz * noise * 0.5 * np.exp(0.5 * log_variance) + beta * 0.5 * (np.exp(log_variance) - 1)
    return d_mean, d_log_variance


def reparametrised_point(rng):
    return rng.normal(size=(4, 3)), (*rng.normal(size=(3, 4, 3)), 0.3)


def both_ways_backward(dstates, run):
    xs, hs, gs, u, v = run
    T = len(xs)
    dxs, du, dv = [0.0] * T, 0.0, 0.0
    carry = 0.0
    for k in range(T - 1, -1, -1):
        dz = (dstates[k] + carry) * (1 - hs[k + 1] ** 2)
        du += dz * hs[k]
        carry = dz * u
        dxs[k] += dz
    carry = 0.0
    for k in range(T):
        dz = (dstates[k] + carry) * (1 - gs[k] ** 2)
        dv += dz * gs[k + 1]
        carry = dz * v
        dxs[k] += dz
    return np.array(dxs), du, dv


def both_ways_point(rng):
    T = 5
    xs, (u, v) = rng.normal(size=T), rng.normal(size=2)
    hs, gs = np.zeros(T + 1), np.zeros(T + 1)
    for k in range(T):
        hs[k + 1] = np.tanh(xs[k] + u * hs[k])
    for k in reversed(range(T)):
        gs[k] = np.tanh(xs[k] + v * gs[k + 1])
    return rng.normal(size=T), (xs, hs, gs, u, v)


def perceptron_backward(dcost, notebook):
    entrees, cible, _poids1, poids2, couche, sortie = notebook
    erreur = dcost * 2 * (sortie - cible) / cible.size
    delta2 = erreur * sortie * (1 - sortie)
    delta1 = delta2.dot(poids2.T) * (1 - couche**2)
    return entrees.T.dot(delta1), couche.T.dot(delta2)


def perceptron_point(rng):
    entrees, poids1, poids2 = rng.normal(size=(6, 3)), rng.normal(size=(3, 5)), rng.normal(size=(5, 2))
    couche = np.tanh(entrees @ poids1)
    return rng.normal(), (entrees, rng.uniform(size=(6, 2)), poids1, poids2, couche, logistic(couche @ poids2))


def stack_backward(upstream, trace):
    def back(g, layer):
        W, incoming, outgoing = layer
        local = g * (outgoing > 0)
        return local @ W, local.T @ incoming

    found = []
    for layer in trace[::-1]:
        upstream, dW = back(upstream, layer)
        found.insert(0, dW)
    return upstream, *found


def stack_point(rng):
    x, trace = rng.normal(size=(5, 4)), []
    for width in (6, 3):
        W = rng.normal(size=(width, x.shape[1]))
        out = np.maximum(x @ W.T, 0)
        trace.append((W, x, out))
        x = out
    return rng.normal(size=x.shape), trace
