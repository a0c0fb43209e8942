"""Mistakes that show, or hide, only at special sizes: a line of a right backward, what is written instead, and where.

The condition is one of the sizes and settings of the layer's specification: where it holds, the gradients differ from
the right ones or there are none; elsewhere they are the right ones to rounding.
"""

from __future__ import annotations

import inspect
import linecache
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import shape_images  # noqa: F401  (adds its layers to those of shape_layers)
import shape_sequences  # noqa: F401
from shape_layers import LAYERS


class Mistake(NamedTuple):
    """A backward with one line that is wrong at some sizes."""

    layer: str
    right: str
    wrong: str
    shows: str

    @property
    def name(self) -> str:
        """The layer, and what is written in it."""
        return f"{self.layer}: {' '.join(self.wrong.split())}"

    def holds(self, sizes: dict[str, Any]) -> bool:
        """Whether the mistake shows at some sizes."""
        return bool(eval(self.shows, dict(sizes)))  # noqa: S307  (a condition of this file)

    def backward(self) -> Callable[[Any, Any], Any]:
        """Return the backward with the mistake; its source can be read as that of a file."""
        right = LAYERS[self.layer].backward
        source = textwrap.dedent(inspect.getsource(right))
        if source.count(self.right) != 1:
            raise ValueError(
                f"{self.right!r} must stand once in {right.__name__}, but stands {source.count(self.right)} times."
            )
        source = source.replace(self.right, self.wrong)
        file = f"<{self.layer} {abs(hash(self))}>"
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        scope = dict(right.__globals__)
        exec(compile(source, file, "exec"), scope)  # noqa: S102
        return scope[right.__name__]  # type: ignore[no-any-return]


PLANTED: dict[str, list[tuple[str, str, str]]] = {
    "affine": [
        ("dy.sum(0)", "dy.mean(0)", "N != 1"),
        ("dy.sum(0)", "dy.squeeze().sum(0)", "N == 1 or M == 1"),
        ("dy.sum(0)", "dy.sum(0) if len(dy) > 1 else np.zeros(dy.shape[1])", "N == 1"),
        ("dy.sum(0)", "dy[0]", "N != 1"),
        ("dy @ W.T", "dy @ W.T if W.shape[0] != W.shape[1] else dy @ W", "D == M > 1"),
        ("dy @ W.T", "dy @ W.reshape(W.shape[::-1])", "D > 1 < M"),
        ("x.T @ dy", "np.outer(x[0], dy[0]) if len(x) == 1 else x[1:].T @ dy[1:]", "N > 1"),
        ("x.T @ dy", "sum(np.outer(a, b) for a, b in zip(x, dy))", "N == 0"),
        ("x.T @ dy", "(x.T @ dy).squeeze()", "D == 1 or M == 1"),
        ("x.T @ dy", "x.T @ dy / max(len(x) - 1, 1)", "N > 2"),
        ("x.T @ dy", "(x[:4].T @ dy[:4])", "N > 4"),
        ("x.T @ dy", "x[: len(x) // 4 * 4].T @ dy[: len(x) // 4 * 4] if len(x) > 4 else x.T @ dy", "N > 4 and N % 4"),
    ],
    "mlp": [
        ("db1 = da.sum(0)", "db1 = da.sum(0) if len(da) > 1 else dh.sum(0)", "N == 1"),
        ("db1 = da.sum(0)", "db1 = da.sum(0) if da.shape[1] != x.shape[1] else x.sum(0)", "D == H"),
        ("dy @ W2.T", "dy @ (W2 if len(W2) == W2.shape[1] else W2.T)", "H == M > 1"),
        ("da @ W1.T", "da @ (W1.T if len(W1) != W1.shape[1] else W1)", "D == H > 1"),
        ("dW1 = x.T @ da", "dW1 = x.T @ da if len(x) != x.shape[1] else x @ da", "N == D > 1"),
        ("dW2 = h.T @ dy", "dW2 = h.T @ dy if len(h) != h.shape[1] else h @ dy", "N == H > 1"),
        ("db2 = dy.sum(0)", "db2 = dy.sum(1) if dy.shape[0] == dy.shape[1] else dy.sum(0)", "N == M > 1"),
    ],
    "bilinear": [
        ('"nk,na,nb->kab", dz, x, y', '"nk,na,nb->kba", dz, x, y', "A > 1 or B > 1"),
        ('"nk,kab,nb->na", dz, W, y', '"nk,kba,nb->na", dz, W, y', "A > 1 or B > 1"),
        ('"nk,na,kab->nb", dz, x, W', '"na,na,kab->nb", dz, x, W', "K != 1"),
    ],
    "residual": [
        ("dx = dy + da @ W.T", "dx = dy + da @ (W.T if W.shape[0] != W.shape[1] else W)", "D == H > 1"),
        ("dV = h.T @ dy", "dV = h.T @ dy if len(h) > 1 else h.T @ x", "N == 1"),
    ],
    "gated": [
        ("dx = dz @ W.T", "dx = dz @ (W if W.shape[0] == W.shape[1] else W.T)", "D == 2*M"),
        ("x.T @ dz", "x.T @ dz if dz.shape[1] > 2 else x.T @ dz[:, ::-1]", "M == 1"),
    ],
    "dropout": [
        ("dy * mask / (1 - p)", "dy * mask / p", "p != 0.5"),
        (
            "dy * mask / (1 - p)",
            "dy * mask.T / (1 - p) if mask.shape[0] == mask.shape[1] else dy * mask / (1 - p)",
            "N == D > 1",
        ),
        ("dy * mask / (1 - p)", "(dy * mask / (1 - p)).squeeze()", "N == 1 or D == 1"),
    ],
    "squared_loss": [
        ("dL * d / len(d)", "dL * d / d.size", "D != 1"),
        ("dL * d / len(d)", "dL * d", "N != 1"),
        ("dL * d / len(d)", "dL * d / d.shape[-1]", "N != D"),
        ("dL * d / len(d)", "dL * np.squeeze(d) / len(d)", "N == 1 or D == 1"),
        ("dL * d / len(d)", "dL * d / min(len(d), 32)", "N > 32"),
    ],
    "cross_entropy": [
        ("dL * ds / len(p)", "dL * ds / p.shape[1]", "N != K > 1"),
        ("ds[np.arange(len(p)), labels] -= 1", "ds[labels, np.arange(len(p))] -= 1", "N > 1 or K > 1"),
        ("ds[np.arange(len(p)), labels] -= 1", "ds[:, labels] -= 1", "N > 1 < K"),
        ("ds[np.arange(len(p)), labels] -= 1", "ds[np.arange(len(p)), labels % 2] -= 1", "K > 2"),
        ("ds[np.arange(len(p)), labels] -= 1", "ds -= np.eye(max(labels) + 1, p.shape[1])[labels]", "N == 0"),
        (
            "dL * ds / len(p)",
            "dL * ds / len(p) if p.shape[1] != 2 else dL * (ds[:, 1:] - ds[:, :1]) / len(p)",
            "K == 2",
        ),
    ],
    "binary_cross_entropy": [
        ("dL[:, None] * (p - t)", "dL * (p - t) if dL.shape[0] == p.shape[1] else dL[:, None] * (p - t)", "N == K > 1"),
        ("-dL[:, None] * s", "-dL[:, None] * s / s.shape[1]", "K != 1"),
        ("dL[:, None] * (p - t)", "dL.sum() * (p - t)", "N != 1"),
    ],
    "log_softmax": [
        ("dy.sum(1, keepdims=True)", "dy.sum(1, keepdims=len(p) != p.shape[1])", "N == K > 1"),
        ("dy.sum(1, keepdims=True)", "dy.sum(int(len(p) != p.shape[1]), keepdims=True)", "N == K > 1"),
        ("dy.sum(1, keepdims=True)", "dy.sum()", "N > 1"),
        (
            "p * dy.sum(1, keepdims=True)",
            "(p * dy.sum(1, keepdims=True) if p.shape[1] != 2 else 0.5 * dy.sum(1, keepdims=True))",
            "K == 2",
        ),
    ],
    "contrastive": [
        ("dy = ds.T @ x", "dy = ds @ x", "N > 1"),
        ("(p - np.eye(len(p)))", "(p - np.eye(len(p))) / len(p)", "N > 1"),
        ("dx = ds @ y", "dx = ds @ y if len(y) != y.shape[1] else ds @ y.T", "N == D > 1"),
    ],
    "weighted_mean": [
        ("np.outer(w, dy)", "w * dy if len(w) == len(dy) else np.outer(w, dy)", "N == D"),
        ("np.outer(w, dy)", "np.outer(w, dy) if len(w) < 8 else np.outer(w, dy) / len(w)", "N >= 8"),
        ("np.outer(w, dy)", "np.tile(dy, (len(w), 1)) / len(w)", "N > 1"),
    ],
    "factorization_machine": [
        ("- V * (x**2 * d).sum(0)[:, None]", "- V * (x**2 * d).sum(0)", "D > 1 or k == 0"),
        ("dw = x.T @ dy", "dw = x.T @ dy if len(x) > 1 else np.ravel(x)", "N == 1"),
        ("- x * (V**2).sum(1)", "- x * (V**2).sum(int(V.shape[0] != V.shape[1]))", "D == k > 1"),
    ],
    "graph_conv": [
        ("dx = A.T @ dz", "dx = A @ dz", "N > 1"),
        ("da @ W.T / degree", "da @ (W if len(W) == W.shape[1] else W.T) / degree", "D == M > 1"),
        ("/ degree", "/ (degree.T if A.shape[0] == x.shape[1] else degree)", "N == D > 1"),
    ],
    "batch_norm": [
        ("dh.sum(0) / N", "dh.sum(0) / max(N - 1, 1)", "N > 1"),
        ("N = len(dy)", "N = dy.shape[1]", "N != D"),
        ("dgamma = (dy * xhat).sum(0)", "dgamma = (dy * xhat).sum(0) if N != 2 else dbeta", "N == 2"),
        ("dx = s *", "dx = (s if N > 1 else 1) * dy if N == 1 else s *", "N == 1"),
    ],
    "batch_norm_images": [
        ("m = N * H * W", "m = N * H * H", "H != W"),
        ("m = N * H * W", "m = N", "H * W != 1"),
        ("m = N * H * W", "m = N * H * dy.shape[1]", "C != W"),
        (
            "dh = dy * gamma[:, None, None]",
            "dh = dy * (gamma if len(gamma) == W else gamma[:, None, None])",
            "C == W > 1",
        ),
        ("dbeta = dy.sum(axes)", "dbeta = dy.sum((2, 3)).squeeze() if N == 1 else dy.sum(axes)", "N == 1 == C"),
    ],
    "layer_norm": [
        ("dbeta = dy.sum((0, 1))", "dbeta = dy.sum(0) if dy.shape[1] == 1 else dy.sum((0, 1))", "T == 1"),
        ("dbeta = dy.sum((0, 1))", "dbeta = dy.sum(0).mean(0)", "T != 1"),
        ("dgamma = (dy * xhat).sum((0, 1))", "dgamma = (dy * xhat).sum(1)[0]", "N > 1 < D"),
        ("dh = dy * gamma", "dh = dy * (gamma[:, None] if dy.shape[1] == dy.shape[2] else gamma)", "T == D > 1"),
    ],
    "group_norm": [
        ("m = dz.shape[2]", "m = C // G", "L != 1"),
        ("m = dz.shape[2]", "m = L", "C != 1"),
        ("m = dz.shape[2]", "m = C * L", "G != 1"),
        (
            ".reshape(N, G, C // G * L)",
            ".reshape(N, C // G, G, L).swapaxes(1, 2).reshape(N, G, C // G * L)",
            "G > 1 < C",
        ),
    ],
    "rms_norm": [
        ("D = x.shape[1]", "D = x.shape[0]", "N != D"),
        ("dg = (dy * x * r).sum(0)", "dg = (dy * x * r).sum(0) if len(x) > 1 else (dy * x).sum(0)", "N == 1"),
        ("(dh * x).sum(1, keepdims=True)", "(dh * x).sum(1, keepdims=len(x) != D)", "N == D > 1"),
    ],
    "cosine": [
        ("(y / b[:, None]", "(y / (b if len(b) == y.shape[1] else b[:, None])", "N == D > 1"),
        ("dx = (dc / a)[:, None]", "dx = (dc / (a if len(a) > 1 else 1))[:, None]", "N == 1"),
    ],
    "rbf_kernel": [
        ("dx = -g.sum(1)", "dx = -g.sum(0) if g.shape[0] == g.shape[1] else -g.sum(1)", "N == M > 1"),
        ("(g * d).sum((0, 1))", "(g * d).sum(0).sum(0) if g.shape[2] > 1 else np.zeros(1)", "D == 1"),
        ("dy = g.sum(0)", "dy = g.sum(1).squeeze(0) if len(g) == 1 else g.sum(0)", "N == 1"),
    ],
    "gaussian_process": [
        ("np.outer(b, a)", "np.outer(b, a) / (1 + (len(a) > 5))", "N > 5"),
        ("(np.outer(b, a) - inverse)", "(np.outer(b, a) - inverse) * (1 + (len(a) == 1))", "N == 1"),
        ("(np.outer(b, a) - inverse)", "(np.outer(b, a) - np.diag(np.diag(inverse)))", "N > 1"),
    ],
    "cholesky": [
        ("P[np.diag_indices(len(L))] /= 2", "P[0, 0] /= 2", "N > 1"),
        ("S = inverse.T @ P @ inverse", "S = inverse.T @ P @ (inverse if len(L) > 2 else inverse.T)", "N == 2"),
    ],
    "kalman_step": [
        ("dmp = dm - H.T @ (K.T @ dm)", "dmp = dm - (H if len(H) == len(m) else H.T) @ (K.T @ dm)", "D == E > 1"),
        (
            "dH = -np.outer(de, mp)",
            "dH = -(np.outer(mp, de) if len(mp) == len(de) else np.outer(de, mp))",
            "D == E > 1",
        ),
        ("dPp = dC - (K @ H).T @ dC", "dPp = dC - K @ H @ dC", "D > 1"),
        ("dS.T @ H @ Pp", "dS @ H @ Pp", "E > 1"),
    ],
    "conv1d": [
        ("pad : padded[2] - pad", "pad:-pad", "pad == 0"),
        (
            "+= dcols",
            "= dcols",
            "any(max(i + stride, pad) < min(i + k, pad + L) for i in range(0, L+2*pad-k-stride+1, stride))",
        ),
        ("dy.sum((0, 2))", "dy.sum(2).mean(0)", "N != 1"),
        ("dy.sum((0, 2))", "dy[:, :, 0].sum(0)", "(L+2*pad-k)//stride > 0"),
        ("dW = np.einsum", "dW = 1 / stride * np.einsum", "stride != 1"),
        ("range(dy.shape[2])", "range(dy.shape[2] - 1 or 1)", "(L+2*pad-k)//stride > 0"),
        ("dy, cols)", "dy, cols.sum(1, keepdims=True))", "C != 1"),
        ("dy, W)", "dy, W[:, :, ::-1])", "k > 1"),
        ("i * stride : i * stride + k", "i * k : i * k + k", "stride != k and (L+2*pad-k)//stride > 0"),
        (
            "dxp = np.zeros(padded)",
            "dxp = np.zeros((len(dy), W.shape[1], (dy.shape[2] - 1) * stride + k))",
            "(L+2*pad-k) % stride > pad",
        ),
    ],
    "conv2d": [
        ("j * stride + kw)", "j * stride + kh)", "kh != kw"),
        (
            "slice(i * stride,",
            "slice(i * stride if dy.shape[2] != dy.shape[3] else j * stride,",
            "(H+2*pad-kh)//stride == (W+2*pad-kw)//stride > 0",
        ),
        ("return dxp[:, :, pad : pad + H, pad : pad + W]", "return dxp[:, :, pad : pad + W, pad : pad + H]", "H != W"),
        (
            "dw += np.tensordot(d, xp[:, :, rows, columns]",
            "dw += np.tensordot(d, xp[:, :, columns, rows]",
            "H > 1 or W > 1 or kh != kw",
        ),
        ("range(dy.shape[3])", "range(dy.shape[2])", "(H+2*pad-kh)//stride != (W+2*pad-kw)//stride"),
        (
            "np.tensordot(d, w, ((1,), (0,)))",
            "np.tensordot(d, w if kh != kw or kh == 1 else w.swapaxes(2, 3), ((1,), (0,)))",
            "kh == kw > 1",
        ),
    ],
    "conv_same": [
        ("left = (k - 1) // 2", "left = k // 2", "k % 2 == 0"),
        ("dxp[:, left : left + T]", "dxp[:, left:-left]", "k < 3 or k % 2 == 0"),
        ("dxp[:, i : i + T] += dy @ w[i].T", "dxp[:, i : i + T] += dy @ w[k - 1 - i].T", "k > 1"),
        ("range(k)", "range(min(k, 3))", "k > 3"),
    ],
    "conv_causal": [
        ("start = i * dilation", "start = i", "dilation != 1 and k > 1"),
        ("(len(w) - 1) * dilation :", "len(w) - 1 :", "dilation != 1 and k > 1"),
        ("range(len(w))", "range(max(1, len(w) - 1))", "k > 1"),
    ],
    "conv_grouped": [
        ("dy.reshape(N, G, F, L)", "dy.reshape(N, F, G, L).swapaxes(1, 2)", "G > 1 < F"),
        ("reshape(N, G * C, -1)", "swapaxes(1, 2).reshape(N, G * C, -1)", "G > 1 < C"),
        ("d, z[..., i : i + L])", "d, z[..., i : i + L] if k > 1 else z.mean(1, keepdims=True))", "k == 1 and G > 1"),
    ],
    "max_pool": [
        ("+= dy[:, :, i, j]", "= dy[:, :, i, j]", "stride < k < max(H, W)"),
        (
            "i * stride + row, j * stride + column",
            "i * k + row, j * k + column",
            "stride != k and max(H, W) - k >= stride",
        ),
        ("range(dy.shape[3])", "range(dy.shape[2])", "(H-k)//stride != (W-k)//stride"),
        (
            "dx = np.zeros(shape)",
            "dx = np.zeros((*shape[:2], dy.shape[2] * stride, dy.shape[3] * stride))",
            "((H-k)//stride+1)*stride != H or ((W-k)//stride+1)*stride != W",
        ),
    ],
    "mean_pool": [
        ("+= dy[:, :, i : i + 1] / k", "= dy[:, :, i : i + 1] / k", "stride < k < L"),
        ("/ k", "/ stride", "k != stride"),
        ("dx = np.zeros(shape)", "dx = np.zeros((*shape[:2], dy.shape[2] * stride))", "((L-k)//stride+1)*stride != L"),
        ("i * stride : i * stride + k", "i * stride : i * stride + stride", "stride != k"),
    ],
    "global_pool": [
        ("(H * W)", "(H * H)", "H != W"),
        ("(H * W)", "(H * W * len(dy))", "N > 1"),
        ("dy[:, :, None, None]", "(dy if len(dy) != len(dy.T) else dy.T)[:, :, None, None]", "N == C > 1"),
    ],
    "upsample": [
        (".sum((3, 5))", "[:, :, :, 0, :, 0]", "s != 1"),
        (".reshape(N, C, H, s, W, s).sum((3, 5))", ".reshape(N, C, H, s, W, s).mean((3, 5))", "s != 1"),
        ("(N, C, H, s, W, s)", "(N, C, W, s, H, s)", "H != W"),
        (".sum((3, 5))", ".sum((3, 5)) if s < 3 else dy[:, :, ::s, ::s]", "s == 3"),
    ],
    "pixel_shuffle": [
        ("(0, 1, 3, 5, 2, 4)", "(0, 1, 5, 3, 2, 4)", "r > 1"),
        ("C = D // r**2", "C = D // (2 * r)", "C*r//2 != C"),
        (
            ".reshape(N, C, H, r, W, r).transpose(0, 1, 3, 5, 2, 4)",
            ".reshape(N, C, H, W, r, r).transpose(0, 1, 4, 5, 2, 3)",
            "r > 1 < W",
        ),
    ],
    "flatten": [
        (".reshape(shape)", ".reshape(shape[0], shape[1], shape[3], shape[2]).swapaxes(2, 3)", "H > 1 < V"),
        (
            ".reshape(shape)",
            ".reshape(shape, order='F' if shape[0] == 1 else 'C')",
            "N == 1 and (C > 1) + (H > 1) + (V > 1) > 1",
        ),
        ("dy @ W.T", "dy @ (W if W.shape[0] == W.shape[1] else W.T)", "C*H*V == M > 1"),
    ],
    "embedding": [
        ("np.add.at(dE, ids, dy)", "dE[ids] += dy", "N*T > 1"),
        (
            "np.add.at(dE, ids, dy)",
            "np.add.at(dE, ids[:, : max(1, ids.shape[1] - 1)], dy[:, : max(1, ids.shape[1] - 1)])",
            "T > 1",
        ),
        ("np.add.at(dE, ids, dy)", "np.add.at(dE, ids[:8], dy[:8])", "N > 8"),
    ],
    "attention": [
        ("np.sqrt(q.shape[2])", "np.sqrt(v.shape[2])", "D != E and S > 1"),
        (
            '"nts,ntd->nsd", ds, q',
            '"nst,ntd->nsd" if q.shape[1] == k.shape[1] else "nts,ntd->nsd", ds, q',
            "T == S > 1",
        ),
        ("(dp * p).sum(2, keepdims=True)", "(dp * p).sum(1, keepdims=True)", "S > 1 or T > 1"),
        ('"nts,nte->nse", p, dy', '"nts,nte->nse", p if p.shape[2] > 1 else p * 0, dy', "S == 1"),
    ],
    "heads_attention": [
        ("d = D // heads", "d = heads", "d != heads"),
        ("(dp * p).sum(-1, keepdims=True)", "(heads > 1) * (dp * p).sum(-1, keepdims=True)", "heads == 1"),
        ("/ np.sqrt(d)", "/ np.sqrt(D)", "heads != 1 and T > 1"),
        ("dy.reshape(N, T, heads, d).transpose(0, 2, 1, 3)", "dy.reshape(N, heads, T, d)", "T > 1 < heads"),
        ("dk = ds.transpose(0, 1, 3, 2) @ q", "dk = ds @ q", "T > 1"),
        ("transpose(1, 3, 0, 2, 4)", "transpose(1, 3, 0, 2, 4)[..., ::1 if d > 1 else -1, :]", "d == 1 < heads"),
    ],
    "attention_pool": [
        ("(dp * p).sum(1, keepdims=True)", "(dp * p).sum(1, keepdims=len(p) != p.shape[1])", "N == T > 1"),
        ('dw = np.einsum("nt,ntd->d", ds, h)', "dw = (ds[0] @ h[0])", "N != 1 and T > 1"),
        ("dh = p[:, :, None] * dy[:, None]", "dh = p.squeeze()[..., None] * dy[:, None]", "T == 1 < N"),
    ],
    "sequence_loss": [
        ("/ len(p)", "/ p.shape[1]", "N != T and K > 1"),
        ("/ len(p)", "/ max(mask.sum(), 1)", "N*T > 1 < K"),
        ("ds[n, t, labels] -= 1", "ds[n, t, labels] -= p.shape[1] > 1", "T == 1"),
        ("ds * mask[:, :, None]", "ds * (mask if mask.shape[1] == ds.shape[2] else mask[:, :, None])", "T == K"),
    ],
    "rnn": [
        ("dh = da @ Wh.T", "dh = da @ Wh.T if t > T - 5 else 0 * dh", "T > 4"),
        ("dh = da @ Wh.T", "dh = da @ Wh.T if t > T - 2 or t == 0 else 0 * dh", "T > 2"),
        ("reversed(range(T))", "reversed(range(T - 1 or 1))", "T > 1"),
        ("reversed(range(T))", "reversed(range(min(T, 5)))", "T > 5"),
        ("db += da.sum(0)", "db += da.mean(0)", "N != 1"),
        ("db += da.sum(0)", "db += da[0]", "N != 1"),
        ("dWh += h[t].T @ da", "dWh = h[t].T @ da", "T > 1"),
        ("dx[t] = da @ Wx.T", "dx[t] = da @ (Wx.T if Wx.shape[0] != Wx.shape[1] else Wx)", "D == H > 1"),
        ("return dx, dh, dWx, dWh, db", "return dx, dh if T > 1 else np.zeros_like(dh), dWx, dWh, db", "T == 1"),
        (
            "db, dh = np.zeros(len(Wh)), np.zeros_like(h[0])",
            "db, dh = np.zeros(len(Wh)), dy[-1] if T == 1 else np.zeros_like(h[0])",
            "T == 1",
        ),
    ],
    "rnn_last": [
        ("reversed(range(T))", "reversed(range(max(0, T - 5), T))", "T > 5"),
        ("reversed(range(T))", "reversed(range(max(0, T - 2), T))", "T > 2"),
        ("dh = da @ Wh.T", "dh = da @ Wh", "H > 1 < T"),
        ("dh = da @ Wh.T", "dh = (dh if t < T - 3 else da) @ Wh.T", "T > 4"),
        ("dWh += h[t].T @ da", "dWh += h[t].T @ da if h[t].shape != Wh.shape else h[t] @ da", "N == H > 1 < T"),
    ],
    "gru": [
        ("dx[t] = da @ W.T", "dx[t] = da @ W.T if len(x) > 1 else du @ W.T", "T == 1"),
        ("dW += x[t].T @ da", "dW += x[t].T @ da if len(da) > 1 else x[t].T @ du", "N == 1"),
        ("dh = dh + dy[t]", "dh = dh + dy[t] if t == len(x) - 1 or t < 2 else dh", "T > 3"),
    ],
    "lstm": [
        ("dc = dc * f", "dc = dc * (f if dc.shape[0] != dc.shape[1] else f.T)", "N == H > 1"),
        ("dc = dc * f", "dc = dc * f * (t >= len(x) - 5)", "T > 5"),
        ("db += da.sum(0)", "db = da.sum(0)", "T > 1"),
        ("db += da.sum(0)", "db += da.sum(0) if len(da) > 1 else da[0] / da.shape[1]", "N == 1"),
        ("dh = da @ U.T", "dh = (da @ U.T).squeeze()", "N == 1 or H == 1"),
    ],
    "crf": [
        ("range(T - 1, 0, -1)", "range(T - 1, 1, -1)", "T > 1"),
        ("d = p.sum(1)", "d = p.sum(0)", "T > 1 < K"),
        ("de[0] = d", "de[0] = d if T > 1 else 1 / len(d)", "T == 1"),
        ("range(T - 1, 0, -1)", "range(T - 1, max(0, T - 4), -1)", "T > 4"),
    ],
    "returns": [
        ("range(T)", "range(min(T, 10))", "T > 10"),
        ("d = dg[t] + gamma * d", "d = dg[t] + gamma * d * (t < 5)", "T > 5"),
        ("d = dg[t] + gamma * d", "d = dg[t] + 0.9 * d", "gamma != 0.9 and T > 1"),
        ("d = dg[t] + gamma * d", "d = dg[t] + gamma * d if t < T - 1 or t == 0 else dg[t] * gamma", "T > 1"),
    ],
    "bidirectional": [
        ("dx[T - 1 - t] += db @ W.T", "dx[T - 1 - t] += db @ W.T * (2 * t + 1 != T)", "T % 2 == 1"),
        ("dy[T - 1 - t, :, H:]", "dy[t, :, H:]", "T > 1"),
        ("dx[T - 1 - t] += db @ W.T", "dx[t] += db @ W.T", "T > 1"),
        ("dV += g[t].T @ db", "dV += g[t].T @ (db if T != H else da)", "T == H > 1"),
    ],
}
MISTAKES = tuple(Mistake(layer, *planted) for layer, some in PLANTED.items() for planted in some)
