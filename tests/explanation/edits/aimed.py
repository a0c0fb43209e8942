"""Passes of which a search must know what reaches what: pairs (forward, backward with one mistake)."""

import numpy as np


def kernel_forward(image, k):
    rows, cols = image.shape[0] - k.shape[0] + 1, image.shape[1] - k.shape[1] + 1
    out = np.zeros((rows, cols))
    for i in range(rows):
        for j in range(cols):
            out[i, j] = (image[i : i + k.shape[0], j : j + k.shape[1]] * k).sum()
    return out, (image, k)


def read_backwards(dout, cache):
    image, k = cache
    height, width = k.shape
    dimage, dk = np.zeros_like(image), np.zeros_like(k)
    for i in range(dout.shape[0]):
        for j in range(dout.shape[1]):
            for a in range(height):
                for b in range(width):
                    dk[a, b] += dout[i, j] * image[i + a, j + b]
                    dimage[i + a, j + b] += dout[i, j] * k[height - 1 - a, width - 1 - b]
    return dimage, dk


def delayed_forward(x, w, lag):
    padded = np.pad(x, ((0, 0), (0, 0), (lag, 0)))
    return padded[:, :, : x.shape[2]] * w[:, None] + x, (x, padded, w, lag)


def cropped_late(dout, cache):
    x, padded, w, lag = cache
    steps = x.shape[2]
    dw = (padded[:, :, :steps] * dout).sum(axis=(0, 2))
    buffer = np.zeros_like(padded)
    buffer[:, :, :steps] += dout * w[:, None]
    buffer[:, :, lag:] += dout
    return buffer[:, :, :steps], dw


def penalised_forward(x, theta, reg):
    score = x @ theta
    return 0.5 * (score**2).sum() + 0.5 * reg * (theta[1:] ** 2).sum(), (x, theta, reg, score)


def bias_decays(dout, cache):
    x, theta, reg, score = cache
    dscore = dout * score
    dtheta = x.T @ dscore
    dtheta += dout * reg * theta
    return dscore @ theta.T, dtheta


def centred_forward(x):
    mean = x.mean(axis=1, keepdims=True)
    return np.tanh(x - mean), x - mean


def mean_forgotten(dout, centred):
    dc = dout * (1 - np.tanh(centred) ** 2)
    dmean = -dc.sum(axis=1, keepdims=True)  # noqa: F841  (that nothing reads it is the mistake)
    return dc * 1.0


def residue_forward(x, w):
    return 0.5 * ((x @ w @ w.T - x) ** 2).sum(), (x, w)


def without_minus(dout, cache):
    x, w = cache
    code = x @ w
    drest = dout * (code @ w.T - x)
    dcode = drest @ w
    dx = dcode @ w.T
    return dx, drest.T @ code + x.T @ dcode


def likelihood_forward(x, s):
    scaled = x * np.exp(-s)
    return (s + 0.5 * scaled**2).sum(), (s, scaled)


def without_the_one(dout, cache):
    s, scaled = cache
    ds = -scaled * scaled
    dx = scaled * np.exp(-s)
    return dout * dx, dout * ds


def gate_forward(xs, h, wz, wc):
    kept = []
    for x in xs:
        z = 1 / (1 + np.exp(-x @ wz))
        c = np.tanh(h @ wc)
        kept.append((x, h, z, c))
        h = z * h + (1 - z) * c
    return h, (kept, wz, wc)


def gate_shut(dout, cache):
    kept, wz, wc = cache
    dwz, dwc = np.zeros_like(wz), np.zeros_like(wc)
    dh, dxs = dout, []
    for x, h, z, c in kept[::-1]:
        dbefore = np.zeros_like(h)
        da = dh * (1 - z) * (1 - c**2)
        dwc += h.T @ da
        dz = dh * (h - c) * z * (1 - z)
        dwz += x.T @ dz
        dbefore = dbefore + da @ wc.T
        dxs.append(dz @ wz.T)
        dh = dbefore
    return np.stack(dxs[::-1]), dh, dwz, dwc


def scored_forward(x, y, w):
    score = 1 / (1 + np.exp(-np.einsum("ni,ij,nj->n", x, w, y)))
    return score, (x, y, w, score)


def undifferentiated(dout, cache):
    x, y, w, score = cache
    dscore = dout * score * (1 - score)
    dx = np.einsum("n,ij,nj->ni", dscore, w, y)
    dy = np.einsum("n,ij,ni->nj", dout, w, x)
    return dx, dy, np.einsum("n,ni,nj->ij", dscore, x, y)


def elu_forward(x):
    return np.where(x > 0, x, 0.5 * (np.exp(x) - 1)), x


def branch_of_elu(dout, x):
    return dout * np.where(x > 0, 1.0, 0.5 * (np.exp(x) - 1))
