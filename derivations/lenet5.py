"""LeNet-5 complete, from images and labels to the loss: a composition of parts derived elsewhere.

Shapes     X (N, 1, 32, 32) images    labels (N,) digits 0 … 9    L () the mean loss of the batch
           params: a dict from the layer's name to its pair of parameters,
             C1, C3, C5        kernels W (D, P, 5, 5) and biases b (D,)
             S2, S4            coefficients ω (D,) and biases a (D,)
             F6, output        weights W (D, M) and biases b (M,)

Forward    (F1)   C1 = conv(X)                  (N, 6, 28, 28)      5×5 kernels, each on the one input map
           (F2)   Y1 = tanh(C1)
           (F3)   S2 = pooling_trainable(Y1)    (N, 6, 14, 14)      2×2 windows
           (F4)   X2 = tanh(S2)
           (F5)   C3 = conv(X2)                 (N, 16, 10, 10)     60 of the 6 × 16 links, LINKS_C3 below
           (F6)   Y3 = tanh(C3)
           (F7)   S4 = pooling_trainable(Y3)    (N, 16, 5, 5)
           (F8)   X4 = tanh(S4)
           (F9)   C5 = conv(X4)                 (N, 120, 1, 1)      all links; the kernel covers the whole map
           (F10)  Y5 = tanh(C5)                 (N, 120)            the 1 × 1 places are dropped
           (F11)  F6 = affine(Y5)               (N, 84)
           (F12)  Y6 = tanh(F6)
           (F13)  Z = affine(Y6)                (N, 10)
           (F14)  L = softmax_cross_entropy(Z, labels), the mean over the batch

Backward   Each part's pullback takes the cotangent of its output to those of its input and of its parameters. The
           network is a chain, where every value is used once, so nothing is added here: the calculus stands in the
           parts. Line (B k) undoes line (F 15−k); "with W, b" means that these two cotangents come along.

           (B1)   dZ   from dL
           (B2)   dY6  from dZ with W, b of the output layer
           (B3)   dF6  from dY6
           (B4)   dY5  from dF6 with W, b of F6
           (B5)   dC5  from dY5
           (B6)   dX4  from dC5 with W, b of C5
           (B7)   dS4  from dX4
           (B8)   dY3  from dS4 with ω, a of S4
           (B9)   dC3  from dY3
           (B10)  dX2  from dC3 with W, b of C3
           (B11)  dS2  from dX2
           (B12)  dY1  from dS2 with ω, a of S2
           (B13)  dC1  from dY1
           (B14)  dX   from dC1 with W, b of C1

Source     document 001, sections 3.3 and 3.4. The architecture and the link table are those of Y. LeCun, L. Bottou,
           Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition, 1998, figure 2 and
           table I; its last layer, of radial basis functions, is here an affine one with softmax.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Inexact, Int
from numpy import generic, ndarray

from derivations.activations import tanh_backward, tanh_forward
from derivations.affine import affine_backward, affine_forward
from derivations.conv import conv_backward, conv_forward
from derivations.digits import digits
from derivations.pooling_trainable import pooling_trainable_backward, pooling_trainable_forward
from derivations.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from gradcheck.derivation import Derivation

Parameters = dict[str, tuple[Inexact[ndarray, "..."], Inexact[ndarray, "_"]]]

LINKS_C1 = np.ones((1, 6), dtype=bool)
LINKS_C3 = np.array(
    [
        [link == "X" for link in row]  # a row is a map of S2, a column a map of C3
        for row in (
            "X...XXX..XXXX.XX",
            "XX...XXX..XXXX.X",
            "XXX...XXX..X.XXX",
            ".XXX..XXXX..X.XX",
            "..XXX..XXXX.XX.X",
            "...XXX..XXXX.XXX",
        )
    ]
)
LINKS_C5 = np.ones((16, 120), dtype=bool)


def lenet5_forward(
    X: Inexact[ndarray, "N 1 32 32"], params: Parameters, labels: Int[ndarray, "N"]
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    C1, conv1 = conv_forward(X, *params["C1"], LINKS_C1)  # (F1)
    Y1, tanh1 = tanh_forward(C1)  # (F2)
    S2, pool2 = pooling_trainable_forward(Y1, *params["S2"], 2, 2)  # (F3)
    X2, tanh2 = tanh_forward(S2)  # (F4)
    C3, conv3 = conv_forward(X2, *params["C3"], LINKS_C3)  # (F5)
    Y3, tanh3 = tanh_forward(C3)  # (F6)
    S4, pool4 = pooling_trainable_forward(Y3, *params["S4"], 2, 2)  # (F7)
    X4, tanh4 = tanh_forward(S4)  # (F8)
    C5, conv5 = conv_forward(X4, *params["C5"], LINKS_C5)  # (F9)
    Y5, tanh5 = tanh_forward(C5[:, :, 0, 0])  # (F10)
    F6, affine6 = affine_forward(Y5, *params["F6"])  # (F11)
    Y6, tanh6 = tanh_forward(F6)  # (F12)
    Z, affine7 = affine_forward(Y6, *params["output"])  # (F13)
    L, loss = softmax_cross_entropy_forward(Z, labels, "mean")  # (F14)
    return L, (conv1, tanh1, pool2, tanh2, conv3, tanh3, pool4, tanh4, conv5, tanh5, affine6, tanh6, affine7, loss)


def lenet5_backward(dL: Inexact[ndarray | generic, ""], cache: Any) -> tuple[Inexact[ndarray, "N 1 32 32"], Parameters]:
    conv1, tanh1, pool2, tanh2, conv3, tanh3, pool4, tanh4, conv5, tanh5, affine6, tanh6, affine7, loss = cache
    dZ = softmax_cross_entropy_backward(dL, loss)  # (B1)
    dY6, *output = affine_backward(dZ, affine7)  # (B2)
    dF6 = tanh_backward(dY6, tanh6)  # (B3)
    dY5, *f6 = affine_backward(dF6, affine6)  # (B4)
    dC5 = tanh_backward(dY5, tanh5)[:, :, None, None]  # (B5)
    dX4, *c5 = conv_backward(dC5, conv5)  # (B6)
    dS4 = tanh_backward(dX4, tanh4)  # (B7)
    dY3, *s4 = pooling_trainable_backward(dS4, pool4)  # (B8)
    dC3 = tanh_backward(dY3, tanh3)  # (B9)
    dX2, *c3 = conv_backward(dC3, conv3)  # (B10)
    dS2 = tanh_backward(dX2, tanh2)  # (B11)
    dY1, *s2 = pooling_trainable_backward(dS2, pool2)  # (B12)
    dC1 = tanh_backward(dY1, tanh1)  # (B13)
    dX, *c1 = conv_backward(dC1, conv1)  # (B14)
    pairs = {"C1": c1, "S2": s2, "C3": c3, "S4": s4, "C5": c5, "F6": f6, "output": output}
    return dX, {layer: (dW, db) for layer, (dW, db) in pairs.items()}


def lenet5_reference(X: jax.Array, params: dict[str, tuple[jax.Array, jax.Array]], labels: ArrayLike) -> jax.Array:
    def correlate(x: jax.Array, layer: str, links: ndarray) -> jax.Array:
        W, b = params[layer]
        return lax.conv_general_dilated(x, W * links.T[:, :, None, None], (1, 1), "VALID") + b[None, :, None, None]

    def pool(x: jax.Array, layer: str) -> jax.Array:
        omega, a = params[layer]
        total: jax.Array = lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return jnp.einsum("d,ndij->ndij", omega, total / 4) + a[None, :, None, None]

    x = jnp.tanh(pool(jnp.tanh(correlate(X, "C1", LINKS_C1)), "S2"))
    x = jnp.tanh(pool(jnp.tanh(correlate(x, "C3", LINKS_C3)), "S4"))
    x = jnp.tanh(jnp.einsum("npij,dpij->nd", x, params["C5"][0]) + params["C5"][1])
    x = jnp.tanh(jnp.einsum("nd,dm->nm", x, params["F6"][0]) + params["F6"][1])
    z = jnp.einsum("nd,dm->nm", x, params["output"][0]) + params["output"][1]
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.sum(z * jax.nn.one_hot(labels, 10, dtype=z.dtype), axis=1))


# For every layer: the shape of its weights, how many biases it has, how many weighted inputs one unit adds up.
LAYERS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "C1": ((6, 1, 5, 5), 6, 25),
    "S2": ((6,), 6, 1),
    "C3": ((16, 6, 5, 5), 16, 150),
    "S4": ((16,), 16, 1),
    "C5": ((120, 16, 5, 5), 120, 400),
    "F6": ((120, 84), 84, 120),
    "output": ((84, 10), 10, 84),
}


def lenet5_args(rng: np.random.Generator, N: int) -> tuple[Any, ...]:
    params = {
        layer: (rng.standard_normal(shape) / np.sqrt(inputs), rng.standard_normal(units) / 4)
        for layer, (shape, units, inputs) in LAYERS.items()
    }
    return rng.standard_normal((N, 1, 32, 32)), params, rng.integers(10, size=N)


def enlarged(images: Inexact[ndarray, "N 8 8"]) -> Inexact[ndarray, "N 1 32 32"]:
    """Return images with every pixel three times as wide and high, and a margin of four."""
    return np.pad(images.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (4, 4), (4, 4)))[:, None]


def lenet5_real() -> tuple[Any, ...]:
    """Four handwritten digits, enlarged, and random weights."""
    images, labels = digits(4)
    X = enlarged(images)
    _, params, _ = lenet5_args(np.random.default_rng(0), len(X))
    return X, params, labels


LENET5 = Derivation(
    "lenet5",
    lenet5_forward,
    lenet5_backward,
    lenet5_reference,
    "N in 1 2 3",
    lenet5_args,
    wrt=("X", "params"),
    real=lenet5_real,
)
