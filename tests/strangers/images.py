"""Convolutions and poolings: four loops, im2col, a true convolution, and LeNet's link table and trainable pooling."""

import numpy as np

from tests.strangers.case import Case, RightAlthough, normal, planted_case


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    H_out = 1 + (H + 2 * pad - HH) // stride
    W_out = 1 + (W + 2 * pad - WW) // stride
    x_pad = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    out = np.zeros((N, F, H_out, W_out))
    for n in range(N):
        for f in range(F):
            for i in range(H_out):
                for j in range(W_out):
                    window = x_pad[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, _b, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    _, _, H_out, W_out = dout.shape
    x_pad = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    dx_pad = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    dw = np.zeros(w.shape)
    for n in range(N):
        for f in range(F):
            for i in range(H_out):
                for j in range(W_out):
                    y0, x0 = i * stride, j * stride
                    dw[f] += x_pad[n, :, y0 : y0 + HH, x0 : x0 + WW] * dout[n, f, i, j]
                    dx_pad[n, :, y0 : y0 + HH, x0 : x0 + WW] += w[f] * dout[n, f, i, j]
    dx = dx_pad[:, :, pad : pad + H, pad : pad + W]
    db = np.sum(dout, axis=(0, 2, 3))
    return dx, dw, db


def im2col(x, HH, WW):
    N, C, H, W = x.shape
    OH, OW = H - HH + 1, W - WW + 1
    cols = np.zeros((N, C, HH, WW, OH, OW))
    for u in range(HH):
        for v in range(WW):
            cols[:, :, u, v] = x[:, :, u : u + OH, v : v + OW]
    return cols.transpose(0, 4, 5, 1, 2, 3).reshape(N * OH * OW, C * HH * WW)


def col2im(cols, x_shape, HH, WW):
    N, C, H, W = x_shape
    OH, OW = H - HH + 1, W - WW + 1
    cols = cols.reshape(N, OH, OW, C, HH, WW).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros(x_shape)
    for u in range(HH):
        for v in range(WW):
            img[:, :, u : u + OH, v : v + OW] += cols[:, :, u, v]
    return img


def conv_im2col(x, W):
    F, _, HH, WW = W.shape
    col = im2col(x, HH, WW)
    out = col @ W.reshape(F, -1).T
    N, _, H, Wd = x.shape
    return out.reshape(N, H - HH + 1, Wd - WW + 1, F).transpose(0, 3, 1, 2), (x.shape, W, col)


def conv_im2col_backward(dout, cache):
    x_shape, W, col = cache
    F, C, HH, WW = W.shape
    dout = dout.transpose(0, 2, 3, 1).reshape(-1, F)
    dW = np.dot(col.T, dout)
    dW = dW.transpose(1, 0).reshape(F, C, HH, WW)
    dcol = np.dot(dout, W.reshape(F, -1))
    dx = col2im(dcol, x_shape, HH, WW)
    return dx, dW


def correlate(image, kernel):
    h, w = kernel.shape
    H, W = image.shape[0] - h + 1, image.shape[1] - w + 1
    out = np.zeros((H, W))
    for u in range(h):
        for v in range(w):
            out += kernel[u, v] * image[u : u + H, v : v + W]
    return out


def filter_forward(image, kernel):
    return correlate(image, kernel), (image, kernel)


def filter_backward(dout, cache):
    """Derive "valid" by "full": the gradient of the image is a correlation with the kernel turned by 180 degrees."""
    image, kernel = cache
    h, w = kernel.shape
    dout_pad = np.pad(dout, ((h - 1, h - 1), (w - 1, w - 1)))
    dimage = correlate(dout_pad, np.rot90(kernel, 2))
    dkernel = correlate(image, dout)
    return dimage, dkernel


def max_pool_forward_naive(x, pool_param):
    k, s = pool_param["pool_size"], pool_param["stride"]
    N, C, H, W = x.shape
    out = np.zeros((N, C, 1 + (H - k) // s, 1 + (W - k) // s))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[:, :, i, j] = x[:, :, i * s : i * s + k, j * s : j * s + k].max(axis=(2, 3))
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pool_param = cache
    k, s = pool_param["pool_size"], pool_param["stride"]
    N, C, H_out, W_out = dout.shape
    dx = np.zeros(x.shape)
    for n in range(N):
        for c in range(C):
            for i in range(H_out):
                for j in range(W_out):
                    window = x[n, c, i * s : i * s + k, j * s : j * s + k]
                    r, q = np.unravel_index(np.argmax(window), window.shape)
                    dx[n, c, i * s + r, j * s + q] += dout[n, c, i, j]
    return dx


def max_pool_backward_by_mask(dout, cache):
    x, pool_param = cache
    k, s = pool_param["pool_size"], pool_param["stride"]
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dout.shape):
        window = x[n, c, i * s : i * s + k, j * s : j * s + k]
        mask = window == np.max(window)
        dx[n, c, i * s : i * s + k, j * s : j * s + k] += mask * dout[n, c, i, j]
    return dx


def mean_pool(x, k):
    N, C, H, W = x.shape
    return x.reshape(N, C, H // k, k, W // k, k).mean(axis=(3, 5)), k


def mean_pool_backward(dout, k):
    return np.repeat(np.repeat(dout, k, axis=2), k, axis=3) / (k * k)


def subsampling(x, a, b):
    """LeNet's S2: a trainable coefficient and bias for each map."""
    N, C, H, W = x.shape
    mean = x.reshape(N, C, H // 2, 2, W // 2, 2).mean(axis=(3, 5))
    return a[:, None, None] * mean + b[:, None, None], (x.shape, a, mean)


def subsampling_backward(dout, cache):
    _, a, mean = cache
    db = dout.sum(axis=(0, 2, 3))
    da = (dout * mean).sum(axis=(0, 2, 3))
    dmean = dout * a[:, None, None]
    dx = np.kron(dmean, np.ones((2, 2))) / 4
    return dx, da, db


TABLE = np.array([[1, 0], [1, 1], [0, 1], [1, 0]])  # which map of C3 sees which map of S2


def c3_forward(x, K):
    """LeNet's C3: map f sees the map c of x where the table says so."""
    N, C, H, W = x.shape
    F, _, h, w = K.shape
    out = np.zeros((N, F, H - h + 1, W - w + 1))
    for n in range(N):
        for f in range(F):
            for c in range(C):
                if TABLE[f, c]:
                    out[n, f] += correlate(x[n, c], K[f, c])
    return out, (x, K)


def c3_backward(dout, cache):
    x, K = cache
    dx, dK = np.zeros_like(x), np.zeros_like(K)
    F, C, h, w = K.shape
    for f in range(F):
        for c in range(C):
            if not TABLE[f, c]:
                continue
            for n in range(len(x)):
                dK[f, c] += correlate(x[n, c], dout[n, f])
                full = np.pad(dout[n, f], ((h - 1, h - 1), (w - 1, w - 1)))
                dx[n, c] += correlate(full, K[f, c, ::-1, ::-1])
    return dx, dK


def _conv(stride, pad, shape=(3, 4, 5, 6)):
    return normal(shape, (2, 4, 3, 3), 2, then=({"stride": stride, "pad": pad},))


def rectified(rng):
    return np.maximum(rng.standard_normal((3, 2, 5, 4)) - 0.5, 0), {"pool_size": 2, "stride": 1}


IM2COL = normal((3, 2, 5, 6), (4, 2, 3, 3))
FILTER = normal((6, 7), (3, 4))
POOL = normal((3, 2, 5, 4), then=({"pool_size": 3, "stride": 1},))
C3 = normal((3, 2, 3, 4), (4, 2, 2, 2))


def _naive(name, args, *rest, **more):
    return planted_case(f"naive conv: {name}", conv_forward_naive, conv_backward_naive, args, *rest, **more)


def _im2col(name, *rest, **more):
    return planted_case(f"im2col: {name}", conv_im2col, conv_im2col_backward, IM2COL, *rest, helpers=(col2im,), **more)


def _filter(name, *rest, **more):
    return planted_case(f"filter: {name}", filter_forward, filter_backward, FILTER, *rest, **more)


def _max(name, args, *rest, **more):
    return planted_case(f"max pool: {name}", max_pool_forward_naive, max_pool_backward_naive, args, *rest, **more)


CASES = (
    _naive("dx overwritten by the next window", _conv(1, 1, (3, 4, 2, 5)), "E1", "x", ("WW] += w[f]", "WW] = w[f]")),
    _naive("dw of the last window", _conv(2, 1), "E1", "w", ("dw[f] +=", "dw[f] ="), source=False),
    _naive(
        "padding cut at the end only",
        _conv(1, 1, (3, 4, 2, 5)),
        "F3",
        "x",
        ("dx_pad[:, :, pad : pad + H, pad : pad + W]", "dx_pad[:, :, :-2 * pad, :-2 * pad]"),
    ),
    _naive(
        "dx without the stride",
        _conv(2, 1),
        "F2",
        "x",
        ("dx_pad[n, :, y0 : y0 + HH, x0 : x0 + WW]", "dx_pad[n, :, i : i + HH, j : j + WW]"),
        source=False,
    ),
    _naive(
        "dx without the rows that no window reaches",
        _conv(2, 0, (3, 4, 6, 8)),
        "F2",
        "x",
        (
            "dx = dx_pad[:, :, pad : pad + H, pad : pad + W]",
            "dx = dx_pad[:, :, : (H_out - 1) * stride + HH, : (W_out - 1) * stride + WW]",
        ),
    ),
    _naive("db over one axis of the places", _conv(1, 0), "B4", "b", ("axis=(0, 2, 3)", "axis=(0, 2)"), source=False),
    _im2col(
        "rows and columns of dW exchanged",
        "F4",
        "W",
        ("reshape(F, C, HH, WW)", "reshape(F, C, HH, WW).transpose(0, 1, 3, 2)"),
        also=("B1",),
    ),
    _im2col(
        "dout not transposed before it is reshaped",
        "B1",
        "x W",
        ("dout.transpose(0, 2, 3, 1).reshape(-1, F)", "dout.reshape(-1, F)"),
        source=False,
    ),
    _im2col("col2im overwrites", "E1", "x", ("v : v + OW] +=", "v : v + OW] =")),
    _filter("kernel not turned", "F1", "image", ("np.rot90(kernel, 2)", "kernel")),
    _filter(
        "gradient of the kernel turned",
        "F1",
        "kernel",
        ("correlate(image, dout)", "np.rot90(correlate(image, dout), 2)"),
        source=False,
    ),
    _max("overwritten where windows overlap", POOL, "E1", "x", ("j * s + q] +=", "j * s + q] ="), source=False),
    _max(
        "offset of the window without the stride",
        normal((3, 2, 6, 4), then=({"pool_size": 2, "stride": 2},)),
        "F2",
        "x",
        ("dx[n, c, i * s + r, j * s + q]", "dx[n, c, i + r, j + q]"),
    ),
    _max("whole numbers in dx", POOL, "H3", "x", ("np.zeros(x.shape)", "np.zeros(x.shape, dtype=int)"), source=False),
    Case(
        "max pool: every tied pixel gets all of it",
        max_pool_forward_naive,
        max_pool_backward_by_mask,
        max_pool_backward_naive,
        rectified,
        "F6",
        ("x",),
    ),
    planted_case(
        "mean pool: not divided",
        mean_pool,
        mean_pool_backward,
        normal((4, 2, 6, 9), then=(3,)),
        "A5",
        "x",
        (" / (k * k)", ""),
    ),
    planted_case(
        "mean pool: divided by the side",
        mean_pool,
        mean_pool_backward,
        normal((4, 2, 6, 9), then=(3,)),
        "A5",
        "x",
        ("(k * k)", "k"),
        source=False,
    ),
    planted_case(
        "subsampling: coefficient forgotten",
        subsampling,
        subsampling_backward,
        normal((5, 3, 2, 8), 3, 3),
        "A5",
        "x",
        (" * a[:, None, None]", ""),
    ),
    planted_case(
        "subsampling: da of a sum, not a mean",
        subsampling,
        subsampling_backward,
        normal((5, 3, 2, 8), 3, 3),
        "A5",
        "a",
        ("da = (dout * mean)", "da = (dout * 4 * mean)"),
        also=("A4",),
        source=False,
    ),
    planted_case(
        "subsampling: db is a mean over the batch",
        subsampling,
        subsampling_backward,
        normal((5, 3, 2, 8), 3, 3),
        "A2",
        "b",
        ("dout.sum(axis=(0, 2, 3))", "dout.mean(axis=0).sum(axis=(1, 2))"),
    ),
    planted_case(
        "link table: ignored backward",
        c3_forward,
        c3_backward,
        C3,
        "F5",
        "x K",
        ("            if not TABLE[f, c]:\n                continue\n", ""),
    ),
    planted_case(
        "link table: ignored in the kernels",
        c3_forward,
        c3_backward,
        C3,
        "F5",
        "K",
        ("            if not TABLE[f, c]:\n                continue\n", ""),
        ("dx[n, c] +=", "dx[n, c] += TABLE[f, c] *"),
        source=False,
    ),
    planted_case(
        "link table: kernel not turned", c3_forward, c3_backward, C3, "F1", "x", ("K[f, c, ::-1, ::-1]", "K[f, c]")
    ),
)

RIGHT_ALTHOUGH = (
    RightAlthough(
        "max pool with ties",
        max_pool_forward_naive,
        max_pool_backward_naive,
        rectified,
        "Tied pixels must share the gradient, but the first gets all of it.",
    ),
    RightAlthough(
        "im2col without a turned kernel",
        conv_im2col,
        conv_im2col_backward,
        IM2COL,
        "The gradient of the image needs the kernel turned by 180 degrees.",
    ),
)
