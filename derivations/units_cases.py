"""The three cases of a unit in a network, written out by hand as document 004 prints them, link by link.

Shapes     all are numbers: x the input, y the target, those in w the weights; σ is the logistic sigmoid, the output
           unit linear, E = ½ (ŷ − y)²

One path          in → j → k → o         w = (w_{i→j}, w_{j→k}, w_{k→o})
Several inputs    i, j → k → o           w = (w_{i→k}, w_{j→k}, w_{k→o}) and z = (z_i, z_j), what the units i and j send
Several outputs   in → i → j, k → o      w = (w_{in→i}, w_{i→j}, w_{i→k}, w_{j→o}, w_{k→o}); the first derivative is
                                         written out in the document, the others follow from its error signals

Each is a pair forward(w, x, y) -> (E, cache), backward(dE, cache) -> dw. They are no way to compute anything: they are
what the recursion of units.py has to equal.
"""

from typing import Any

import numpy as np
from jaxtyping import Inexact
from numpy import generic, ndarray

Number = Inexact[ndarray | generic, ""] | float


def sigma(s: Any) -> Any:
    return 1 / (1 + np.exp(-s))


def one_path_forward(w: Inexact[ndarray, "3"], x: float, y: float) -> tuple[Number, Any]:
    w_ij, w_jk, w_ko = w
    s_j = w_ij * x
    z_j = sigma(s_j)
    s_k = w_jk * z_j
    z_k = sigma(s_k)
    y_hat = w_ko * z_k
    E = (y_hat - y) ** 2 / 2
    return E, (w, x, y, s_j, z_j, s_k, z_k, y_hat)


def one_path_backward(dE: Number, cache: Any) -> Inexact[ndarray, "3"]:
    (_, w_jk, w_ko), x, y, s_j, z_j, s_k, z_k, y_hat = cache
    dw_ko = (y_hat - y) * z_k
    dw_jk = (y_hat - y) * w_ko * (sigma(s_k) * (1 - sigma(s_k))) * z_j
    dw_ij = (y_hat - y) * w_ko * (sigma(s_k) * (1 - sigma(s_k))) * w_jk * (sigma(s_j) * (1 - sigma(s_j))) * x
    return dE * np.array([dw_ij, dw_jk, dw_ko])


def several_inputs_forward(w: Inexact[ndarray, "3"], z: tuple[float, float], y: float) -> tuple[Number, Any]:
    w_ik, w_jk, w_ko = w
    z_i, z_j = z
    s_k = z_i * w_ik + z_j * w_jk
    z_k = sigma(s_k)
    y_hat = z_k * w_ko
    E = (y_hat - y) ** 2 / 2
    return E, (w, z, y, s_k, z_k, y_hat)


def several_inputs_backward(dE: Number, cache: Any) -> Inexact[ndarray, "3"]:
    (_, _, w_ko), (z_i, z_j), y, s_k, z_k, y_hat = cache
    dw_ik = (y_hat - y) * (sigma(s_k) * (1 - sigma(s_k)) * w_ko) * z_i
    dw_jk = (y_hat - y) * (sigma(s_k) * (1 - sigma(s_k)) * w_ko) * z_j
    dw_ko = (y_hat - y) * z_k
    return dE * np.array([dw_ik, dw_jk, dw_ko])


def several_outputs_forward(w: Inexact[ndarray, "5"], x: float, y: float) -> tuple[Number, Any]:
    w_in, w_ij, w_ik, w_jo, w_ko = w
    s_i = x * w_in
    z_i = sigma(s_i)
    s_j, s_k = z_i * w_ij, z_i * w_ik
    z_j, z_k = sigma(s_j), sigma(s_k)
    y_hat = z_j * w_jo + z_k * w_ko
    E = (y_hat - y) ** 2 / 2
    return E, (w, x, y, s_i, z_i, s_j, z_j, s_k, z_k, y_hat)


def several_outputs_backward(dE: Number, cache: Any) -> Inexact[ndarray, "5"]:
    (_, w_ij, w_ik, w_jo, w_ko), x, y, s_i, z_i, s_j, z_j, s_k, z_k, y_hat = cache
    slope_i, slope_j, slope_k = (sigma(s) * (1 - sigma(s)) for s in (s_i, s_j, s_k))
    dw_in = (y_hat - y) * (w_jo * slope_j * w_ij * slope_i + w_ko * slope_k * w_ik * slope_i) * x
    delta_o = y_hat - y
    delta_k = delta_o * w_ko * slope_k
    delta_j = delta_o * w_jo * slope_j
    return dE * np.array([dw_in, delta_j * z_i, delta_k * z_i, delta_o * z_j, delta_o * z_k])
