"""Gradient descent of a perceptron with one hidden layer: the updates of section 2.4 of document 001.

The network and its letters are those of mlp.py. What is to fall is the loss of one sample with weight decay.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

from derivations.ledger.mlp import DECAYED
from gradcheck.equations.equation import Equation

ETA = 0.1  # the learning rate η


def assign_b1_to_b2(q: SimpleNamespace) -> Any:
    new = q.b2.copy()
    new[:] = q.b1 + ETA * q.db1
    return new - q.b2


ROW = partial(Equation, document="001")
DATA_LOSS = "∂L/∂w is the gradient of the loss of one sample, λw that of the weight decay in 2.2b."


def data_gradient(q: SimpleNamespace, w: str) -> Any:
    """∂L/∂w of the loss of one sample, without the weight decay."""
    return getattr(q, f"d{w}") - q.lam * getattr(q, w)


def decayed(layer: int, w: str) -> Equation:
    """The update of a matrix, which is printed alike for both layers."""
    old, slope = f"w^{{({layer})}}", rf"\frac{{\partial L}}{{\partial w^{{({layer})}}}}"
    printed = DECAYED.update(w, lambda q: ETA * data_gradient(q, w) + q.lam * getattr(q, w), ETA)
    corrected = DECAYED.update(w, lambda q: -ETA * (data_gradient(q, w) + q.lam * getattr(q, w)), ETA)
    return ROW(
        id=f"001-2.4u{layer}",
        place="2.4",
        claims=f"One step of gradient descent of the weights of layer {layer} on the loss with weight decay.",
        latex=rf"{old} \leftarrow {old} + \eta {slope} + \lambda {old}",
        printed=printed,
        reading=DATA_LOSS,
        corrected_latex=rf"{old} \leftarrow {old} - \eta \left({slope} + \lambda {old}\right)",
        corrected=corrected,
    )


EQUATIONS = (
    decayed(1, "W1"),
    decayed(2, "W2"),
    ROW(
        id="001-2.4u3",
        place="2.4",
        claims="One step of gradient descent of b⁽¹⁾.",
        latex=r"b^{(1)}_k \leftarrow b^{(1)}_k + \eta \frac{\partial L}{\partial b^{(1)}_k}",
        printed=DECAYED.update("b1", lambda q: ETA * q.db1, ETA),
        corrected_latex=r"b^{(1)}_k \leftarrow b^{(1)}_k - \eta \frac{\partial L}{\partial b^{(1)}_k}",
        corrected=DECAYED.update("b1", lambda q: -ETA * q.db1, ETA),
    ),
    ROW(
        id="001-2.4u4",
        place="2.4",
        claims="One step of gradient descent of b⁽²⁾.",
        latex=r"b^{(2)}_j \leftarrow b^{(1)}_j + \eta \frac{\partial L}{\partial b^{(1)}_j}",
        printed=DECAYED.update("b2", assign_b1_to_b2, ETA),
        reading="b⁽²⁾ has C entries and b⁽¹⁾ has M.",
        corrected_latex=r"b^{(2)}_j \leftarrow b^{(2)}_j - \eta \frac{\partial L}{\partial b^{(2)}_j}",
        corrected=DECAYED.update("b2", lambda q: -ETA * q.db2, ETA),
    ),
)
