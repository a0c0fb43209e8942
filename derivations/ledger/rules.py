"""The rules of differentiation that document 003 begins with. Its formulas are lost; the prose fixes them.

Shapes     x (S,), S numbers, each on trial by itself    A (J, I) and x (I,) for the sum over paths in any dimension
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from derivations.ledger.activations import tanh_slope
from derivations.ledger.system import LOST, System
from gradcheck.equations.equation import Equation


def rule(forward: Any, slope: Any, reference: Any) -> System:
    """A function of x with its derivative; ``reference`` is the same function by another road."""
    return System(
        lambda x: (forward(x), {"x": x}),
        lambda dout, cache: {"x": dout * slope(cache["x"])},
        reference,
        "x: S",
    )


SUM = rule(lambda x: np.sin(x) + x**3, lambda x: np.cos(x) + 3 * x**2, lambda x: jnp.sin(x) + x * x * x)
PRODUCT = rule(
    lambda x: np.sin(x) * x**3,
    lambda x: np.cos(x) * x**3 + 3 * np.sin(x) * x**2,
    lambda x: jnp.exp(jnp.log(x * x)) * x * jnp.sin(x),
)
CHAIN = rule(lambda x: np.sin(x**3), lambda x: np.cos(x**3) * 3 * x**2, lambda x: jnp.imag(jnp.exp(1j * x * x * x)))
PATHS = rule(
    lambda t: np.exp(t) * np.sin(t**2),
    lambda t: np.exp(t) * np.sin(t**2) + np.exp(t) * np.cos(t**2) * 2 * t,
    lambda t: jnp.imag(jnp.exp(t + 1j * t * t)),
)


HIGHER = System(
    lambda x, A: (np.prod(np.tanh(A @ x) + 2), {"x": x, "A": A}),
    lambda dz, c: {
        "x": c["A"].T
        @ (dz * np.prod(np.tanh(c["A"] @ c["x"]) + 2) / (np.tanh(c["A"] @ c["x"]) + 2) * tanh_slope(c["A"] @ c["x"]))
    },
    lambda x, A: jnp.exp(jnp.sum(jnp.log(jnp.tanh(jnp.einsum("ji,i->j", A, x)) + 2))),
    "x: I, A: J I",
)


def sum_over_paths(q: SimpleNamespace) -> Any:
    """∂z/∂x_i = Σ_j ∂z/∂y_j ∂y_j/∂x_i with y = tanh(A x) and z = Π_j (y_j + 2)."""
    y = np.tanh(q.A @ q.x)
    return np.array(
        [
            sum(q.dout * np.prod(np.delete(y, j) + 2) * (1 - y[j] ** 2) * q.A[j, i] for j in range(len(y)))
            for i in range(len(q.x))
        ]
    )


ROW = partial(Equation, document="003")

EQUATIONS = (
    ROW(
        id="003-1a",
        place="Derivatives and Chain Rule",
        claims="The sum rule.",
        latex=r"\frac{d}{dx}(f + g) = \frac{df}{dx} + \frac{dg}{dx}",
        printed=SUM.gradient("x", lambda q: q.dout * (np.cos(q.x) + 3 * q.x**2)),
        reading=f"{LOST} f is sin x and g is x³.",
    ),
    ROW(
        id="003-1b",
        place="Derivatives and Chain Rule",
        claims="The product rule.",
        latex=r"\frac{d}{dx}(f g) = \frac{df}{dx} g + f \frac{dg}{dx}",
        printed=PRODUCT.gradient("x", lambda q: q.dout * (np.cos(q.x) * q.x**3 + np.sin(q.x) * 3 * q.x**2)),
        reading=f"{LOST} f is sin x and g is x³.",
    ),
    ROW(
        id="003-1c",
        place="Derivatives and Chain Rule",
        claims="The chain rule.",
        latex=r"\frac{d}{dx} f(g(x)) = \frac{df}{dg} \frac{dg}{dx}",
        printed=CHAIN.gradient("x", lambda q: q.dout * np.cos(q.x**3) * (3 * q.x**2)),
        reading=f"{LOST} f is sin and g is x³.",
    ),
    ROW(
        id="003-1d",
        place="Derivatives and Chain Rule",
        claims="Sum over paths, in two dimensions.",
        latex=r"\frac{dz}{dt} = \frac{\partial z}{\partial x} \frac{dx}{dt} "
        r"+ \frac{\partial z}{\partial y} \frac{dy}{dt}",
        printed=PATHS.gradient(
            "x", lambda q: q.dout * (np.sin(q.x**2) * np.exp(q.x) + np.exp(q.x) * (np.cos(q.x**2) * 2 * q.x))
        ),
        reading=f"{LOST} z is x y, with x = exp t and y = sin t².",
    ),
    ROW(
        id="003-1e",
        place="Derivatives and Chain Rule",
        claims="Sum over paths, in any dimension.",
        latex=r"\frac{\partial z}{\partial x_i} = \sum_j \frac{\partial z}{\partial y_j} "
        r"\frac{\partial y_j}{\partial x_i}",
        printed=HIGHER.gradient("x", sum_over_paths),
        reading=f"{LOST} y is tanh(A x), and z the product of all y_j + 2.",
    ),
)
