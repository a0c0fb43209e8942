"""Right backward passes in which every name is read, each with a point: an incoming cotangent and a cache."""

import itertools

import numpy as np

__all__ = ["POINTS", "PRIMES"]


def tanh_prime(z):
    return 1 - np.tanh(z) ** 2


def sigmoid_prime(z):
    s = 1 / (1 + np.exp(-z))
    return s * (1 - s)


PRIMES = {"tanh": tanh_prime, "sigmoid": sigmoid_prime}


def act_grad(dy, z):
    return dy * tanh_prime(z)


def deep_backward(dout, cache):
    acts, zs, weights, primes = cache
    delta, grads = dout, []
    for l in reversed(range(len(weights))):
        delta = delta * primes[l](zs[l])
        grads.append(acts[l].T @ delta)
        delta = delta @ weights[l].T
    return delta, grads[::-1]


def named_backward(dout, cache):
    x, w, z, kind = cache
    dz = dout * PRIMES[kind](z)
    return dz @ w.T, x.T @ dz


def tower_backward(dout, cache):
    x, z1, w1, z2, w2 = cache
    da2 = act_grad(dout, z2)
    da1 = da2 @ w2.T
    dz1 = act_grad(da1, z1)
    return dz1 @ w1.T, x.T @ dz1, da1


class Layer:
    def __init__(self, x, w, z):
        self.x, self.w, self.z = x, w, z

    def act(self, z):
        return z + np.sin(z)

    def act_prime(self, z):
        return 1 + np.cos(z)

    def backward(self, dout):
        dz = dout * self.act_prime(self.z)
        return dz @ self.w.T, self.x.T @ dz


def classes_backward(dout, cache):
    probs, y = cache
    dx = probs.copy()
    dx[np.arange(len(y)), y] -= 1
    return dout * dx / len(dx)


def picked_backward(dout, cache):
    probs, y = cache
    rows = np.arange(len(y))
    dprobs = np.zeros_like(probs)
    dprobs[rows, y] = -dout / probs[rows, y]
    return dprobs


def onehot_backward(dout, cache):
    probs, target = cache
    return dout * (probs - target) / probs.shape[0]


def pages_backward(dout, cache):
    x, h, w1, w2 = cache
    dw2 = h.T @ dout
    dh = dout @ w2.T
    dw1 = x.T @ dh
    db1 = dh.sum(axis=0)
    dx = dh @ w1.T
    return {"x": dx, "w1": dw1, "b1": db1, "w2": dw2}


def decay_backward(dout, cache):
    weights, strength = cache
    return [dout * strength * w for w in weights]


def chained_backward(dout, cache):
    slopes, count = cache
    total = np.zeros(count)
    total[-1] = dout
    for (i, j), slope in reversed(slopes.items()):
        total[i] += slope * total[j]
    return total


def linked_backward(dout, cache):
    z, w, prev, nexts = cache
    g = np.zeros_like(z)
    g[:, -1] = dout
    for j in reversed(range(len(w) - 1)):
        after = nexts[j]
        g[:, j] += g[:, after] @ w[j, after]
    dw = np.where(prev, z.T @ g, 0)
    return g, dw


def squares_backward(dout, cache):
    r, w = cache
    return dout * 2 * r, dout * 2 * w


def slope_backward(dout, cache):
    (z,) = cache
    return np.where(z > 0, dout, 0)


def exponential_backward(dout, cache):
    (z,) = cache
    e = np.exp(-2 * np.abs(z))
    return dout * 4 * e / (1 + e) ** 2


def wide_backward(dout, cache):
    (p,) = cache
    return p * (dout - (dout * p).sum(axis=1, keepdims=True))


def bernoulli_backward(dout, cache):
    a, y = cache
    return -dout * (y / a - (1 - y) / (1 - a)) / len(y)


def closed_backward(dout, cache):
    z, w, reg = cache
    dz = dout.copy()
    dz[z <= 0] = 0
    dw = reg * w
    return dz, dw


def marked_backward(dout, cache):
    probs, y = cache
    target = np.zeros_like(probs)
    target[np.arange(len(probs)), y] = 1
    return dout * (probs - target)


def layered_backward(dout, cache):
    acts, weights = cache
    grads = {}
    da = dout
    for l in range(3, 0, -1):
        dz = da * (1 - acts[l] ** 2)
        grads[f"w{l}"] = acts[l - 1].T @ dz
        da = dz @ weights[f"w{l}"].T
    grads["x"] = da
    return grads


def steps_backward(dout, cache):
    hs, xs, w = cache
    dx, dh, dw = np.zeros_like(xs), np.zeros_like(hs[0]), np.zeros_like(w)
    for i in range(len(xs) - 1, -1, -1):
        dz = (dout[i] + dh) * (1 - hs[i + 1] ** 2)
        dw += hs[i].T @ dz
        dx[i] = dz
        dh = dz @ w.T
    return dx, dh, dw


def told_backward(dout, cache):
    hs, w = cache
    dh, r = np.zeros_like(dout), np.zeros_like(dout[0])
    for t in reversed(range(len(dout))):
        dh[t] = dout[t] + r
        r = dh[t] * (1 - hs[t] ** 2) @ w.T
    return {"h": dh, "h0": r}


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


def links(rng):
    w = rng.standard_normal((5, 5))
    table = np.triu(rng.random((5, 5)) < 0.6, 1)
    table[np.arange(4), np.arange(1, 5)] = True
    return rng.standard_normal((3, 5)), w, table, [np.flatnonzero(row) for row in table]


def nets(rng):
    widths = (4, 3, 5, 2)
    shapes = list(itertools.pairwise(widths))
    acts = [rng.standard_normal((6, i)) for i, _ in shapes]
    zs = [rng.standard_normal((6, o)) for _, o in shapes]
    return acts, zs, [rng.standard_normal(shape) for shape in shapes], [tanh_prime, sigmoid_prime, tanh_prime]


POINTS = {
    "deep": lambda n, rng: (n(6, 2), nets(rng)),
    "named": lambda n, rng: (n(6, 3), (n(6, 4), n(4, 3), n(6, 3), "sigmoid")),
    "tower": lambda n, rng: (n(6, 2), (n(6, 4), n(6, 3), n(4, 3), n(6, 2), n(3, 2))),
    "classes": lambda n, rng: (1.3, (softmax(n(6, 4)), rng.integers(4, size=6))),
    "picked": lambda n, rng: (1.3, (softmax(n(6, 4)), rng.integers(4, size=6))),
    "onehot": lambda n, rng: (1.3, (softmax(n(6, 4)), np.eye(4)[rng.integers(4, size=6)])),
    "pages": lambda n, rng: (n(6, 2), (n(6, 4), n(6, 3), n(4, 3), n(3, 2))),
    "decay": lambda n, rng: (1.3, ([n(4, 3), n(3, 2), n(2, 5)], 0.3)),
    "chained": lambda n, rng: (1.3, ({(i, j): rng.standard_normal() for j in range(1, 6) for i in range(j)}, 6)),
    "linked": lambda n, rng: (n(3), links(rng)),
    "squares": lambda n, rng: (1.3, (n(6, 4), n(4, 3))),
    "slope": lambda n, rng: (n(6, 4), (n(6, 4),)),
    "exponential": lambda n, rng: (n(6, 5), (n(6, 5),)),
    "bernoulli": lambda n, rng: (1.3, (rng.random((6, 2)), (rng.random((6, 2)) > 0.5) * 1.0)),
    "closed": lambda n, rng: (n(6, 4), (n(6, 4), n(4, 3), 0.3)),
    "marked": lambda n, rng: (1.3, (softmax(n(6, 4)), rng.integers(4, size=6))),
    "layered": lambda n, rng: (
        n(6, 2),
        ([n(6, 4), n(6, 3), n(6, 5), n(6, 2)], {"w1": n(4, 3), "w2": n(3, 5), "w3": n(5, 2)}),
    ),
    "steps": lambda n, rng: (n(4, 6, 3), (np.tanh(n(5, 6, 3)), n(4, 6, 3), n(3, 3))),
    "told": lambda n, rng: (n(4, 6, 3), (np.tanh(n(4, 6, 3)), n(3, 3))),
    "wide": lambda n, rng: (n(6, 4), (softmax(n(6, 4)),)),
}
