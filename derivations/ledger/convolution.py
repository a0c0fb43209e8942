"""Convolution, trainable mean pooling and their backward, map by map: sections 3.3 and 3.4 of document 001.

Shapes     X (P, H, V) the maps of layer l−1    W (P, D, n, m)    b, ω, a (D,)    T (P, D) the link table, 0 or 1
           Yt = Ỹ, Y (D, 2R, 2S)    Xt = X̃, out (D, R, S)    Yt, Y, Xt: added to the quantity of that name, and zero

Forward    Ỹ^d = Σ_{p: T_pd = 1} W^pd ⊗ X^p + b^d,  Y = f(Ỹ),  X̃^d = ω^d MeanPool(Y^d) + a^d,  out = g(X̃)

f is tanh and g the logistic sigmoid: different, so that one in the place of the other is seen. The document calls ⊗
"the convolution operation" and no more. A convolution turns the kernel by 180°, a cross-correlation does not; neural
networks often say the one and mean the other. Both are judged: ``kind`` is one or the other, in the forward and in
every formula that prints ⊗.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.lib.stride_tricks import sliding_window_view

from derivations.ledger.activations import sigmoid
from derivations.ledger.activations import sigmoid_slope as slope_g
from derivations.ledger.activations import tanh_slope as slope_f
from derivations.ledger.system import System
from gradcheck.equations.equation import Definition, Equation


def correlate(x: Any, k: Any) -> Any:
    """The narrow cross-correlation of two maps: k slides over x."""
    return np.einsum("ijuv,uv->ij", sliding_window_view(x, k.shape), k)


def rot180(k: Any) -> Any:
    return k[::-1, ::-1]


def narrow(kind: str, k: Any, x: Any) -> Any:
    """Return k ⊗ x."""
    return correlate(x, rot180(k) if kind == "convolution" else k)


def wide(kind: str, k: Any, x: Any) -> Any:
    """Return k ⊗̃ x: as k ⊗ x, with x in a margin of zeros one less than k."""
    n, m = k.shape
    return narrow(kind, k, np.pad(x, ((n - 1, n - 1), (m - 1, m - 1))))


def mean_pool(y: Any) -> Any:
    """The mean of each window of 2 × 2, in the last two axes."""
    return (y[..., ::2, ::2] + y[..., 1::2, ::2] + y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 4


def convolve(X: Any, W: Any, b: Any, T: Any, kind: str) -> Any:
    P, D = T.shape
    return np.stack([sum(narrow(kind, W[p, d], X[p]) for p in range(P) if T[p, d] == 1) + b[d] for d in range(D)])


def convolve_backward(dYt: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    X, W, _, T, kind = args
    dX, dW = np.zeros_like(X), np.zeros_like(W)
    n, m = W.shape[2:]
    _, I, J = dYt.shape
    for p, d in zip(*np.nonzero(T), strict=True):
        for u, v in np.ndindex(n, m):  # Ỹ[i, j] reads X[i+u, j+v] with the weight W[u, v], or the one opposite to it
            place = (n - 1 - u, m - 1 - v) if kind == "convolution" else (u, v)
            dX[p, u : u + I, v : v + J] += W[p, d][place] * dYt[d]
            dW[p, d][place] = (dYt[d] * X[p, u : u + I, v : v + J]).sum()
    return dX, dW, dYt.sum(axis=(1, 2))


def forward(
    X: Any, W: Any, b: Any, omega: Any, a: Any, Yt: Any, Y: Any, Xt: Any, T: Any, kind: str
) -> tuple[Any, dict[str, Any]]:
    Yt = convolve(X, W, b, T, kind) + Yt
    Y = np.tanh(Yt) + Y
    Xt = omega[:, None, None] * mean_pool(Y) + a[:, None, None] + Xt
    out = sigmoid(Xt)
    return out, {"X": X, "W": W, "b": b, "omega": omega, "a": a, "Yt": Yt, "Y": Y, "Xt": Xt, "T": T, "kind": kind}


def backward(dout: Any, cache: dict[str, Any]) -> dict[str, Any]:
    q = SimpleNamespace(**cache)
    dXt = dout * slope_g(q.Xt)
    dY = (q.omega[:, None, None] * dXt / 4).repeat(2, axis=1).repeat(2, axis=2)
    dYt = dY * slope_f(q.Yt)
    dX, dW, db = convolve_backward(dYt, (q.X, q.W, q.b, q.T, q.kind))
    domega = (dXt * mean_pool(q.Y)).sum(axis=(1, 2))
    sums = {"b": db, "omega": domega, "a": dXt.sum(axis=(1, 2))}
    return {"X": dX, "W": dW, **sums, "Yt": dYt, "Y": dY, "Xt": dXt}


def convolve_reference(X: Any, W: Any, b: Any, T: Any, kind: str) -> Any:
    kernel = jnp.einsum("pduv,pd->dpuv", W, jnp.asarray(T, W.dtype))
    kernel = jnp.flip(kernel, (2, 3)) if kind == "convolution" else kernel
    return lax.conv_general_dilated(X[None], kernel, (1, 1), "VALID")[0] + b[:, None, None]


def pool_reference(Y: Any, omega: Any, a: Any) -> Any:
    total = lax.reduce_window(Y, 0.0, lax.add, (1, 2, 2), (1, 2, 2), "VALID")
    return jnp.einsum("d,dij->dij", omega, total / 4) + a[:, None, None]


def reference(X: Any, W: Any, b: Any, omega: Any, a: Any, Yt: Any, Y: Any, Xt: Any, T: Any, kind: str) -> Any:
    Y = jnp.tanh(convolve_reference(X, W, b, T, kind) + Yt) + Y
    return jax.nn.sigmoid(pool_reference(Y, omega, a) + Xt)


def draw(rng: np.random.Generator, P: int, D: int, R: int, S: int, n: int, m: int, kind: str) -> tuple[Any, ...]:
    X = rng.standard_normal((P, 2 * R + n - 1, 2 * S + m - 1))
    W, b = rng.standard_normal((P, D, n, m)) / np.sqrt(P * n * m), rng.standard_normal(D)
    T = np.ones((P, D), dtype=int)
    if P > 1:  # every map of layer l lacks a map of layer l−1, so that the table is seen
        T[rng.integers(P, size=D), np.arange(D)] = 0
    omega, a = rng.standard_normal(D), rng.standard_normal(D)
    Yt, Xt = np.zeros((D, 2 * R, 2 * S)), np.zeros((D, R, S))
    return X, W, b, omega, a, Yt, Yt.copy(), Xt, T, kind


SIZES = "P in 1 2 3, D in 1 2, R in 1 2, S in 1 2 3, n in 1 2 3, m in 1 2"
ANY = "convolution correlation"
CONVOLUTION, CORRELATION, BLOCK = (
    System(forward, backward, reference, f"{SIZES}, kind in {kinds}", draw)
    for kinds in ("convolution", "correlation", ANY)
)


CONVOLVED = Definition(
    convolve,
    convolve_reference,
    convolve_backward,
    f"{SIZES}, kind in {ANY}",
    lambda rng, **sizes: (*(args := draw(rng, **sizes))[:3], *args[8:]),
    wrt=("X", "W", "b"),
    analytic=True,
)


def pool(Y: Any, omega: Any, a: Any) -> Any:
    return np.stack([omega[d] * mean_pool(Y[d]) + a[d] for d in range(len(a))])


def pool_free_p(Y: Any, omega: Any, a: Any) -> Any:
    return np.stack([[omega[d] * mean_pool(Y[p]) + a[d] for p in range(len(Y))] for d in range(len(a))])


def pool_backward(dXt: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    Y, omega, _ = args
    dY = (omega[:, None, None] * dXt / 4).repeat(2, axis=1).repeat(2, axis=2)
    return dY, (dXt * mean_pool(Y)).sum(axis=(1, 2)), dXt.sum(axis=(1, 2))


def pooling(formula: Any) -> Definition:
    return Definition(formula, pool_reference, pool_backward, "Y: D 2*R 2*S, omega: D, a: D", analytic=True)


# The formulas as printed. A letter that is free on the right is an axis of what the formula gives.


def every_link(q: SimpleNamespace, gradient: Any) -> Any:
    """``gradient(p, d)`` where there is a link, zero where there is none."""
    P, D = q.T.shape
    nothing = np.zeros_like(gradient(0, 0))
    return np.array([[gradient(p, d) if q.T[p, d] == 1 else nothing for d in range(D)] for p in range(P)])


def domega_free_p(q: SimpleNamespace) -> Any:
    return np.einsum("dij,pij->dp", q.dout * slope_g(q.Xt), mean_pool(q.Y))


def dY_by_floor(q: SimpleNamespace) -> Any:
    """Entry (i, j) from 1 reads entry (⌊(i+1)/2⌋, ⌊(j+1)/2⌋), likewise from 1."""
    D, I, J = q.Y.shape
    inner = q.dout * slope_g(q.Xt)
    dY = np.zeros((D, I, J))
    for d, i, j in np.ndindex(D, I, J):
        dY[d, i, j] = q.omega[d] / 4 * inner[d, (i + 2) // 2 - 1, (j + 2) // 2 - 1]
    return dY


def dW_unpooled(q: SimpleNamespace) -> Any:
    """The gradient of Ỹ, in the place of the one of X̃, ⊗ the map of the layer before."""
    return every_link(q, lambda p, d: narrow(q.kind, q.dYt[d], q.X[p]))


def dX_letter(q: SimpleNamespace) -> Any:
    """For each d of layer l the sum over p, of the gradient of X̃."""
    P, D = q.T.shape
    return np.stack(
        [sum(wide(q.kind, rot180(q.W[p, d]), q.dXt[d]) for p in range(P) if q.T[p, d] == 1) for d in range(D)]
    )


def dX_corrected(q: SimpleNamespace) -> Any:
    P, D = q.T.shape
    nothing = np.zeros_like(q.X[0])
    return np.stack(
        [
            sum((wide(q.kind, rot180(q.W[p, d]), q.dYt[d]) for d in range(D) if q.T[p, d] == 1), nothing)
            for p in range(P)
        ]
    )


ROW = partial(Equation, document="001")
SWAPPED = "The document prints X̃ where section 3.4 itself announces Ỹ: X̃ has the pooled shape."
DW = r"\frac{\partial L}{\partial W^{(l,p,d)}} = \frac{\partial L}{\partial \tilde X^{(l,d)}} \otimes X^{(l-1,p)}"
DYT = r"\frac{\partial L}{\partial \tilde Y^{(l,d)}}"
INNER = r"\frac{\partial L}{\partial X^{(l,d)}} \odot g_l'(\tilde X^{(l,d)})"

EQUATIONS = (
    ROW(
        id="001-3.3a",
        place="3.3",
        claims="A convolutional layer with a link table T; ⊗ refers to the convolution operation.",
        latex=r"\tilde Y^{(l,d)} = \sum_{p,\, T^{(l)}_{p,d}=1} W^{(l,p,d)} \otimes X^{(l-1,p)} + b^{(l,d)}",
        printed=CONVOLVED,
        reading="⊗ is narrow. It is drawn as a convolution or as a cross-correlation: as a definition both are right.",
    ),
    ROW(
        id="001-3.3b",
        place="3.3",
        claims="A layer of mean pooling, with one coefficient and one bias for each map.",
        latex=r"\tilde X^{(l,d)} = \omega^{(l,d)}\, \mathrm{MeanPool}(Y^{(l,p)}) + a^{(l,d)}",
        printed=pooling(pool_free_p),
        reading="p is free on the right and stands nowhere on the left. The windows are 2 × 2.",
        corrected_latex=r"\tilde X^{(l,d)} = \omega^{(l,d)}\, \mathrm{MeanPool}(Y^{(l,d)}) + a^{(l,d)}",
        corrected=pooling(pool),
    ),
    ROW(
        id="001-3.4a",
        place="3.4",
        claims="The gradient of the coefficient.",
        latex=rf"\frac{{\partial L}}{{\partial \omega^{{(l,d)}}}} = \mathrm{{sum}}\left({INNER} "
        r"\odot \mathrm{MeanPool}(Y^{(l,p)})\right)",
        printed=BLOCK.gradient("omega", domega_free_p),
        reading="p is free on the right and stands nowhere on the left.",
        corrected_latex=rf"\frac{{\partial L}}{{\partial \omega^{{(l,d)}}}} = \mathrm{{sum}}\left({INNER} "
        r"\odot \mathrm{MeanPool}(Y^{(l,d)})\right)",
        corrected=BLOCK.gradient("omega", lambda q: (q.dout * slope_g(q.Xt) * mean_pool(q.Y)).sum(axis=(1, 2))),
    ),
    ROW(
        id="001-3.4b",
        place="3.4",
        claims="The gradient of the bias of the pooling.",
        latex=rf"\frac{{\partial L}}{{\partial a^{{(l,d)}}}} = \mathrm{{sum}}\left({INNER}\right)",
        printed=BLOCK.gradient("a", lambda q: (q.dout * slope_g(q.Xt)).sum(axis=(1, 2))),
    ),
    ROW(
        id="001-3.4c",
        place="3.4",
        claims="The gradient of the maps that are pooled.",
        latex=r"\frac{\partial L}{\partial Y^{(l,d)}_{i,j}} = \frac{\omega^{(l,d)}}{4} "
        rf"\left({INNER}\right)_{{\left[\frac{{i+1}}{{2}}\right], \left[\frac{{j+1}}{{2}}\right]}}",
        printed=BLOCK.gradient("Y", dY_by_floor),
        reading="Indices count from 1; the brackets are the floor.",
    ),
    ROW(
        id="001-3.4d",
        place="3.4",
        claims="The gradient before the activation of the convolutional layer.",
        latex=r"\frac{\partial L}{\partial \tilde X^{(l)}} = \frac{\partial L}{\partial Y^{(l)}} "
        r"\odot f_l'(\tilde X^{(l)})",
        printed=BLOCK.gradient("Xt", lambda q: q.dY * slope_f(q.Xt)),
        reading=SWAPPED,
        corrected_latex=r"\frac{\partial L}{\partial \tilde Y^{(l)}} = \frac{\partial L}{\partial Y^{(l)}} "
        r"\odot f_l'(\tilde Y^{(l)})",
        corrected=BLOCK.gradient("Yt", lambda q: q.dY * slope_f(q.Yt)),
    ),
    ROW(
        id="001-3.4ea",
        place="3.4",
        claims="The gradient of the kernels, to the letter.",
        latex=DW,
        printed=BLOCK.gradient("W", lambda q: every_link(q, lambda p, d: narrow(q.kind, q.dXt[d], q.X[p]))),
        reading=SWAPPED,
        corrected_latex=rf"\frac{{\partial L}}{{\partial W^{{(l,p,d)}}}} = {DYT} \star X^{{(l-1,p)}} \quad "
        r"\text{where } \otimes \text{ is the cross-correlation } \star",
        corrected=CORRELATION.gradient("W", lambda q: every_link(q, lambda p, d: correlate(q.X[p], q.dYt[d]))),
    ),
    ROW(
        id="001-3.4eb",
        place="3.4",
        claims="The gradient of the kernels, with Ỹ for X̃ and ⊗ a convolution in 3.3 and here.",
        latex=DW,
        printed=CONVOLUTION.gradient("W", dW_unpooled),
        reading="X̃ is read as Ỹ, and ⊗ as what the document calls it: it turns its left operand by 180°.",
        corrected_latex=rf"\frac{{\partial L}}{{\partial W^{{(l,p,d)}}}} = "
        rf"\mathrm{{rot180}}\left(\mathrm{{rot180}}\left({DYT}\right) \otimes X^{{(l-1,p)}}\right)",
        corrected=CONVOLUTION.gradient(
            "W", lambda q: every_link(q, lambda p, d: rot180(narrow(q.kind, rot180(q.dYt[d]), q.X[p])))
        ),
    ),
    ROW(
        id="001-3.4ec",
        place="3.4",
        claims="The gradient of the kernels, with Ỹ for X̃ and ⊗ a cross-correlation in 3.3 and here.",
        latex=DW,
        printed=CORRELATION.gradient("W", dW_unpooled),
        reading="X̃ is read as Ỹ, and ⊗ as what neural networks often mean by the word convolution.",
    ),
    ROW(
        id="001-3.4f",
        place="3.4",
        claims="The gradient of the bias of the convolutional layer.",
        latex=r"\frac{\partial L}{\partial b^{(l,d)}} = "
        r"\mathrm{sum}\left(\frac{\partial L}{\partial \tilde X^{(l,d)}}\right)",
        printed=BLOCK.gradient("b", lambda q: q.dXt.sum(axis=(1, 2))),
        reading=SWAPPED,
        corrected_latex=rf"\frac{{\partial L}}{{\partial b^{{(l,d)}}}} = \mathrm{{sum}}\left({DYT}\right)",
        corrected=BLOCK.gradient("b", lambda q: q.dYt.sum(axis=(1, 2))),
    ),
    ROW(
        id="001-3.4g",
        place="3.4",
        claims="The gradient of the maps of the layer before; ⊗̃ is the wide convolution.",
        latex=r"\frac{\partial L}{\partial X^{(l-1,d)}} = \sum_{p,\, T^{(l)}_{p,d}=1} "
        r"\mathrm{rot180}(W^{(l,p,d)}) \mathbin{\tilde\otimes} \frac{\partial L}{\partial \tilde X^{(l,d)}}",
        printed=BLOCK.gradient("X", dX_letter),
        reading=f"{SWAPPED} d is a map of layer l−1 on the left and of layer l on the right.",
        corrected_latex=r"\frac{\partial L}{\partial X^{(l-1,p)}} = \sum_{d,\, T^{(l)}_{p,d}=1} "
        rf"\mathrm{{rot180}}(W^{{(l,p,d)}}) \mathbin{{\tilde\otimes}} {DYT}",
        corrected=BLOCK.gradient("X", dX_corrected),
    ),
)
