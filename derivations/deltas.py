"""Intermediate quantities are gradients too: each δ of the networks, judged by a perturbation injected where it stands.

A backward meets many cotangents on its way to the parameters: ∂C/∂Zˡ, ∂L/∂Ỹ, ∂L/∂h_t. Each is the gradient of the rest
of the network, and what the rest of a network is, its forward can say. Let v be a quantity that the forward computes, v̂
what it hands on, and η an array of v's shape:

           v̂ = v + η       at η = 0, so that nothing changes;       δv̂ = δv + δη, hence dη = dv̂ = dv

The gradient of the loss with respect to η is the δ of that place, and η is an argument, which an oracle can move. Every
step of a recurrent net has an η of its own, so that dη_t is the whole of δ_t: from its own loss and all later ones.

Here each network stands once more as the composition of its parts, with + η at the places to which a document gives a
letter. It hands on the same cache, and the network's own backward tells its δ's: what is judged is not written here.
``eta`` is a dict from the letter of a place to its η.

           mlp              Z1 … ZL                              the δˡ of document 000, equations 3 to 8
           mlp_one_hidden   h z a y                              document 001, 2.4g1 to 2.4g6
           lenet5           C1 C3 (Ỹ)  Y1 Y3 (Y)  S2 S4 (X̃)  X2 X4 (X)  C5 Y5 F6 Y6 Z          document 001, 3.4
           rnn              z h, all steps at once, and s        document 000, equations 15 to 19
           rnn_columns      z h, all steps at once               document 001, 4.4c
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from numpy import ndarray

from derivations import mlp as deep
from derivations import mlp_one_hidden as shallow
from derivations.activations import ACTIVATIONS, tanh_forward
from derivations.affine import affine_forward
from derivations.conv import conv_forward
from derivations.lenet5 import LENET5, LINKS_C1, LINKS_C3, LINKS_C5, Parameters
from derivations.pooling_trainable import pooling_trainable_forward
from derivations.rnn import RNN
from derivations.rnn_columns import RNN_COLUMNS
from derivations.softmax_cross_entropy import softmax_cross_entropy_forward
from derivations.weight_decay import weight_decay_forward
from gradcheck.derivation import Derivation

__all__ = ["DELTAS", "deltas_of"]

Eta = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]


def deltas_of(backward: Callable[..., Any]) -> Callable[[Any, Any], dict[str, ndarray]]:
    """Return the backward with respect to ``eta``: the δ's that a network's ``backward`` meets, keyed by their letters.

    ``backward(dout, cache, *, deltas)`` fills the dict ``deltas`` that it is given.
    """

    def backward_of_eta(dout: Any, cache: Any) -> dict[str, ndarray]:
        deltas: dict[str, ndarray] = {}
        backward(dout, cache, deltas=deltas)
        return deltas

    return backward_of_eta


def _record(
    network: Derivation, forward: Callable[..., Any], reference: Callable[..., Any], shapes: Callable[..., Shapes]
) -> Derivation:
    """Return the record that judges the δ's of ``network``; ``shapes(*args)`` are those of its η's, which are 0."""

    def args(rng: np.random.Generator, **choices: Any) -> tuple[Any, ...]:
        return with_zeros(network.args(rng, **choices))

    def with_zeros(primals: tuple[Any, ...]) -> tuple[Any, ...]:
        return {name: np.zeros(shape) for name, shape in shapes(*primals).items()}, *primals

    real = network.real
    return Derivation(
        f"{network.name}_deltas",
        forward,
        deltas_of(network.backward),
        reference,
        args,
        structure=network.structure,
        wrt=("eta",),
        real=(lambda: with_zeros(real())) if real else None,
    )


# -- perceptron of any depth


def mlp_injected(
    eta: Eta, X: ndarray, layers: list[tuple[ndarray, ndarray]], target: ndarray, activation: str, loss: str
) -> tuple[Any, Any]:
    last = "identity" if loss == "softmax_cross_entropy" else activation
    names = [activation] * (len(layers) - 1) + [last]
    A, parts = X, []
    for l, ((W, b), name) in enumerate(zip(layers, names, strict=True), 1):
        sigma_forward, sigma_backward = ACTIVATIONS[name]
        Z, affine_cache = affine_forward(A, W, b)
        A, sigma_cache = sigma_forward(Z + eta[f"Z{l}"])
        parts.append((affine_cache, sigma_cache, sigma_backward))
    loss_forward, loss_backward = deep.LOSSES[loss]
    C, loss_cache = loss_forward(A, target, "mean")
    return C, (parts, loss_cache, loss_backward)


def mlp_injected_reference(
    eta: Eta,
    X: jax.Array,
    layers: list[tuple[jax.Array, jax.Array]],
    target: jax.Array,
    activation: str,
    loss: str,
) -> jax.Array:
    """In column vectors: every column of A is one sample."""
    sigma = getattr(jax.nn, activation)
    A = Z = X.T
    for l, (W, b) in enumerate(layers, 1):
        Z = jnp.einsum("io,in->on", W, A) + b[:, None] + eta[f"Z{l}"].T
        A = sigma(Z)
    if loss == "squared":
        return jnp.vdot(A.T - target, A.T - target) / (2 * len(X))
    return jnp.mean(jax.nn.logsumexp(Z, axis=0) - Z[target, jnp.arange(len(X))])


def _mlp_shapes(X: ndarray, layers: list[tuple[ndarray, ndarray]], *_: Any) -> Shapes:
    return {f"Z{l}": (len(X), len(b)) for l, (_, b) in enumerate(layers, 1)}


# -- perceptron with one hidden layer


def mlp_one_hidden_injected(
    eta: Eta,
    x: ndarray,
    W1: ndarray,
    b1: ndarray,
    W2: ndarray,
    b2: ndarray,
    target: ndarray,
    lam: float,
    f1: str,
    f2: str,
    loss: str,
) -> tuple[Any, Any]:
    f1_forward, f1_backward = ACTIVATIONS[f1]
    f2_forward, f2_backward = shallow.OUTPUTS[f2]
    loss_forward, loss_backward = shallow.LOSSES[loss]
    h, h_cache = affine_forward(x, W1, b1)
    z, z_cache = f1_forward(h + eta["h"])
    a, a_cache = affine_forward(z + eta["z"], W2, b2)
    y, y_cache = f2_forward(a + eta["a"])
    E, E_cache = loss_forward(y + eta["y"], target, "sum")
    R, R_cache = weight_decay_forward([W1, W2], lam)
    return np.add(E, R), (h_cache, z_cache, a_cache, y_cache, E_cache, R_cache, f1_backward, f2_backward, loss_backward)


def mlp_one_hidden_injected_reference(
    eta: Eta,
    x: jax.Array,
    W1: jax.Array,
    b1: jax.Array,
    W2: jax.Array,
    b2: jax.Array,
    target: jax.Array,
    lam: float,
    f1: str,
    f2: str,
    loss: str,
) -> jax.Array:
    """One sample at a time, mapped over the batch; the weight decay is a constant here, but belongs to the primal."""

    def loss_of_one(x: jax.Array, t: jax.Array, eta: dict[str, jax.Array]) -> jax.Array:
        z = getattr(jax.nn, f1)(W1.T @ x + b1 + eta["h"]) + eta["z"]
        y = getattr(jax.nn, f2)(W2.T @ z + b2 + eta["a"]) + eta["y"]
        return jnp.sum((y - t) ** 2) / 2 if loss == "squared" else -jnp.log(y)[t]

    return jax.vmap(loss_of_one)(x, target, dict(eta)).sum() + lam / 2 * (jnp.vdot(W1, W1) + jnp.vdot(W2, W2))


def _mlp_one_hidden_shapes(x: ndarray, _W1: ndarray, b1: ndarray, _W2: ndarray, b2: ndarray, *_: Any) -> Shapes:
    hidden, output = (len(x), len(b1)), (len(x), len(b2))
    return {"h": hidden, "z": hidden, "a": output, "y": output}


# -- LeNet-5


def lenet5_injected(eta: Eta, X: ndarray, params: Parameters, labels: ndarray) -> tuple[Any, Any]:
    C1, conv1 = conv_forward(X, *params["C1"], LINKS_C1)
    Y1, tanh1 = tanh_forward(C1 + eta["C1"])
    S2, pool2 = pooling_trainable_forward(Y1 + eta["Y1"], *params["S2"], 2, 2)
    X2, tanh2 = tanh_forward(S2 + eta["S2"])
    C3, conv3 = conv_forward(X2 + eta["X2"], *params["C3"], LINKS_C3)
    Y3, tanh3 = tanh_forward(C3 + eta["C3"])
    S4, pool4 = pooling_trainable_forward(Y3 + eta["Y3"], *params["S4"], 2, 2)
    X4, tanh4 = tanh_forward(S4 + eta["S4"])
    C5, conv5 = conv_forward(X4 + eta["X4"], *params["C5"], LINKS_C5)
    Y5, tanh5 = tanh_forward((C5 + eta["C5"])[:, :, 0, 0])
    F6, affine6 = affine_forward(Y5 + eta["Y5"], *params["F6"])
    Y6, tanh6 = tanh_forward(F6 + eta["F6"])
    Z, affine7 = affine_forward(Y6 + eta["Y6"], *params["output"])
    L, loss = softmax_cross_entropy_forward(Z + eta["Z"], labels, "mean")
    return L, (conv1, tanh1, pool2, tanh2, conv3, tanh3, pool4, tanh4, conv5, tanh5, affine6, tanh6, affine7, loss)


def lenet5_injected_reference(eta: Eta, X: jax.Array, params: Mapping[str, Any], labels: ArrayLike) -> jax.Array:
    x = X
    stages = (("C1", "Y1", "S2", "X2", LINKS_C1), ("C3", "Y3", "S4", "X4", LINKS_C3))
    for convolved, activated, pooled, handed_on, links in stages:
        (W, b), (omega, a) = params[convolved], params[pooled]
        x = lax.conv_general_dilated(x, W * links.T[:, :, None, None], (1, 1), "VALID") + b[None, :, None, None]
        x = jnp.tanh(x + eta[convolved]) + eta[activated]
        total = lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x = jnp.einsum("d,ndij->ndij", omega, total / 4) + a[None, :, None, None]
        x = jnp.tanh(x + eta[pooled]) + eta[handed_on]
    c5 = jnp.einsum("npij,dpij->nd", x, params["C5"][0]) + params["C5"][1]
    y5 = jnp.tanh(c5 + eta["C5"][:, :, 0, 0]) + eta["Y5"]
    y6 = jnp.tanh(jnp.einsum("nd,dm->nm", y5, params["F6"][0]) + params["F6"][1] + eta["F6"]) + eta["Y6"]
    z = jnp.einsum("nd,dm->nm", y6, params["output"][0]) + params["output"][1] + eta["Z"]
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.sum(z * jax.nn.one_hot(labels, 10, dtype=z.dtype), axis=1))


def _lenet5_shapes(X: ndarray, *_: Any) -> Shapes:
    C1, S2, C3, S4 = (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5)
    maps = {"C1": C1, "Y1": C1, "S2": S2, "X2": S2, "C3": C3, "Y3": C3, "S4": S4, "X4": S4, "C5": (120, 1, 1)}
    units = {"Y5": (120,), "F6": (84,), "Y6": (84,), "Z": (10,)}
    return {name: (len(X), *shape) for name, shape in (*maps.items(), *units.items())}


# -- recurrent networks


def rnn_injected(
    eta: Eta,
    X: ndarray,
    h0: ndarray,
    Wxh: ndarray,
    Whh: ndarray,
    bh: ndarray,
    Whs: ndarray,
    bs: ndarray,
    labels: ndarray,
    activation: str,
) -> tuple[Any, Any]:
    sigma_forward, sigma_backward = ACTIVATIONS[activation]
    T, n, d = X.shape
    a, input_cache = affine_forward(X.reshape(T * n, d), Wxh, bh)
    h, step_caches = [h0], []
    for t, a_t in enumerate(a.reshape(T, n, -1)):
        h_t, step_cache = sigma_forward(a_t + h[-1] @ Whh + eta["z"][t])
        h.append(h_t + eta["h"][t])
        step_caches.append(step_cache)
    s, output_cache = affine_forward(np.concatenate(h[1:]), Whs, bs)
    scores = s + eta["s"].reshape(s.shape)
    L, loss_cache = softmax_cross_entropy_forward(scores, labels.reshape(-1), "sum")
    h_before = np.concatenate(h[:-1])
    return L, (X.shape, Whh, h_before, input_cache, step_caches, output_cache, loss_cache, sigma_backward)


def rnn_injected_reference(
    eta: Eta,
    X: jax.Array,
    h0: jax.Array,
    Wxh: jax.Array,
    Whh: jax.Array,
    bh: jax.Array,
    Whs: jax.Array,
    bs: jax.Array,
    labels: jax.Array,
    activation: str,
) -> jax.Array:
    def step(h: jax.Array, now: tuple[jax.Array, dict[str, jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array]:
        X_t, eta_t, labels_t = now
        h = getattr(jax.nn, activation)(X_t @ Wxh + bh + h @ Whh + eta_t["z"]) + eta_t["h"]
        log_p = jax.nn.log_softmax(h @ Whs + bs + eta_t["s"])
        return h, -jnp.take_along_axis(log_p, labels_t[:, None], axis=1).sum()

    return lax.scan(step, h0, (X, dict(eta), labels))[1].sum()


def _rnn_shapes(X: ndarray, h0: ndarray, *rest: Any) -> Shapes:
    bs = rest[4]
    return {"z": (len(X), *h0.shape), "h": (len(X), *h0.shape), "s": (*X.shape[:2], len(bs))}


def rnn_columns_injected(
    eta: Eta, x: ndarray, h0: ndarray, U: ndarray, W: ndarray, b: ndarray, f: str, g: str
) -> tuple[ndarray, Any]:
    f_forward, f_backward = ACTIVATIONS[f]
    g_forward, g_backward = ACTIVATIONS[g]
    h, f_caches = [h0], []
    for t, x_t in enumerate(x):
        h_t, f_cache = f_forward(U @ h[-1] + W @ x_t + b[:, None] + eta["z"][t])
        h.append(h_t + eta["h"][t])
        f_caches.append(f_cache)
    y, g_cache = g_forward(np.stack(h[1:]))
    return y, (x, np.stack(h[:-1]), U, W, f_caches, g_cache, f_backward, g_backward)


def rnn_columns_injected_reference(
    eta: Eta, x: jax.Array, h0: jax.Array, U: jax.Array, W: jax.Array, b: jax.Array, f: str, g: str
) -> jax.Array:
    def step(h: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        z_t, eta_t = now
        h = getattr(jax.nn, f)(jnp.einsum("ij,jb->ib", U, h) + z_t) + eta_t
        return h, getattr(jax.nn, g)(h)

    z = jnp.einsum("mn,tnb->tmb", W, x) + b[None, :, None] + eta["z"]
    return lax.scan(step, h0, (z, eta["h"]))[1]


def _rnn_columns_shapes(x: ndarray, h0: ndarray, *_: Any) -> Shapes:
    return {"z": (len(x), *h0.shape), "h": (len(x), *h0.shape)}


DELTAS = (
    _record(deep.MLP, mlp_injected, mlp_injected_reference, _mlp_shapes),
    _record(shallow.MLP_ONE_HIDDEN, mlp_one_hidden_injected, mlp_one_hidden_injected_reference, _mlp_one_hidden_shapes),
    _record(LENET5, lenet5_injected, lenet5_injected_reference, _lenet5_shapes),
    _record(RNN, rnn_injected, rnn_injected_reference, _rnn_shapes),
    _record(RNN_COLUMNS, rnn_columns_injected, rnn_columns_injected_reference, _rnn_columns_shapes),
)
