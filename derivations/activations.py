"""Activations: four functions that act on every entry of z by itself.

Shapes     z and y have one and the same shape, any; σ denotes the logistic sigmoid

Forward    (F1)  y = z                           identity
           (F2)  y = σ(z) = 1 / (1 + e⁻ᶻ)        sigmoid; for Re z < 0 written eᶻ / (1 + eᶻ): no exponential
                                                 overflows and no small value is lost
           (F3)  y = tanh(z)
           (F4)  y = z where z > 0, else 0       relu

Backward   Let δ stand for a differential and ⟨A, B⟩ = Σ A ⊙ B, so that dL = ⟨dy, δy⟩ defines dy. Entry i of y depends
on entry i of z alone, hence δy = f'(z) ⊙ δz, the Jacobian is diagonal and equal to its transpose, and
⟨dy, f'(z) ⊙ δz⟩ = ⟨dy ⊙ f'(z), δz⟩. What is left is f' for each function:

           (B1)  dz = dy                         f' = 1; a copy, so that two cotangents never share memory
           (B2)  dz = dy ⊙ e / (1 + e)²          f' = σ(z)(1 − σ(z)) = σ(z) σ(−z), even in z: with e = exp(−|z|)
                                                 one formula serves both signs and 1 − σ never cancels
           (B3)  dz = dy ⊙ 4e / (1 + e)²         f' = 1 − tanh² = 1/cosh², even in z: with e = exp(−2|z|) nothing is
                                                 subtracted; 1 − y² loses its digits where y is close to ±1
           (B4)  dz = dy where z > 0, else 0     at the kink z = 0 any value in [0, dy] is a convention; here 0

Source     document 000, equations 2 and 3, for the place of σ' in the chain; the four f' are elementary.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact
from numpy import ndarray

from gradcheck.derivation import Derivation


def identity_forward(z: Inexact[ndarray, "*S"]) -> tuple[Inexact[ndarray, "*S"], Any]:
    y = z.copy()  # (F1)
    return y, None


def identity_backward(dy: Inexact[ndarray, "*S"], _cache: Any) -> Inexact[ndarray, "*S"]:
    dz: ndarray = dy.copy()  # (B1)
    return dz


def sigmoid_forward(z: Inexact[ndarray, "*S"]) -> tuple[Inexact[ndarray, "*S"], Any]:
    positive = z.real >= 0  # decided on the real part, so that each branch is analytic
    e = np.exp(np.where(positive, -z, z))
    y = np.where(positive, 1, e) / (1 + e)  # (F2)
    return y, e


def sigmoid_backward(dy: Inexact[ndarray, "*S"], cache: Any) -> Inexact[ndarray, "*S"]:
    e = cache
    dz: ndarray = dy * e / (1 + e) ** 2  # (B2)
    return dz


def tanh_forward(z: Inexact[ndarray, "*S"]) -> tuple[Inexact[ndarray, "*S"], Any]:
    y = np.tanh(z)  # (F3)
    return y, z


def tanh_backward(dy: Inexact[ndarray, "*S"], cache: Any) -> Inexact[ndarray, "*S"]:
    z = cache
    e = np.exp(-2 * np.abs(z))
    dz: ndarray = dy * 4 * e / (1 + e) ** 2  # (B3)
    return dz


def relu_forward(z: Inexact[ndarray, "*S"]) -> tuple[Inexact[ndarray, "*S"], Any]:
    positive = z.real > 0  # decided on the real part, so that each branch is analytic
    y = np.where(positive, z, 0)  # (F4)
    return y, positive


def relu_backward(dy: Inexact[ndarray, "*S"], cache: Any) -> Inexact[ndarray, "*S"]:
    positive = cache
    dz: ndarray = np.where(positive, dy, 0)  # (B4)
    return dz


def identity_reference(z: jax.Array) -> jax.Array:
    return jnp.positive(z)


def sigmoid_reference(z: jax.Array) -> jax.Array:
    return jnp.exp(-jax.nn.softplus(-z))


def tanh_reference(z: jax.Array) -> jax.Array:
    return 2 * jax.nn.sigmoid(2 * z) - 1


def relu_reference(z: jax.Array) -> jax.Array:
    return jax.nn.relu(z)


def relu_args(rng: np.random.Generator, N: int, M: int) -> tuple[ndarray, ...]:
    z = rng.standard_normal((N, M))
    z[0, 0] = np.abs(z[0, 0])  # a relu that is shut everywhere has no gradient to judge
    return (z + 0.1 * np.sign(z),)  # the kink stays 0.1 away from every entry


SAMPLES = {"z": 0, "out": 0}

IDENTITY = Derivation("identity", identity_forward, identity_backward, identity_reference, "z: N M", samples=SAMPLES)
SIGMOID = Derivation("sigmoid", sigmoid_forward, sigmoid_backward, sigmoid_reference, "z: N M", samples=SAMPLES)
TANH = Derivation("tanh", tanh_forward, tanh_backward, tanh_reference, "z: N M", samples=SAMPLES)
RELU = Derivation("relu", relu_forward, relu_backward, relu_reference, "N, M", relu_args, samples=SAMPLES)

# What a composition needs of an activation that its caller names.
ACTIVATIONS: dict[str, tuple[Callable[..., tuple[Any, Any]], Callable[[Any, Any], Any]]] = {
    "identity": (identity_forward, identity_backward),
    "sigmoid": (sigmoid_forward, sigmoid_backward),
    "tanh": (tanh_forward, tanh_backward),
    "relu": (relu_forward, relu_backward),
}
