"""Softmaxes, subscripts, unused terms and operands without a derivative inside a backward, all without a source."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import counterfactual, paths
from tests.explanation.suspects.pair import evidence_of, normal


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(X, A, B, C):
    P = softmax(np.einsum("ntd,nsd->nts", X @ A, X @ B))
    return P @ (X @ C), (X, A, B, C, X @ A, X @ B, X @ C, P)


ATTEND = """
def backward(dout, cache):
    X, A, B, C, Q, K, V, P = cache
    dP = np.einsum("ntd,nsd->nts", dout, V)
    dV = np.einsum("nts,ntd->nsd", P, dout)
    dS = P * (dP - (P * dP).sum(-1, keepdims=True))
    dQ = dS @ K
    dK = dS.swapaxes(-1, -2) @ Q
    dA, dB, dC = (np.einsum("ntd,nte->de", X, each) for each in (dQ, dK, dV))
    return dQ @ A.T + dK @ B.T + dV @ C.T, dA, dB, dC
"""


def readout(X, W, b):
    p = softmax(X @ W + b)
    return p, (X, W, p)


READOUT = """
def backward(dout, cache):
    X, W, p = cache
    dz = np.empty_like(dout)
    for n, (row, g) in enumerate(zip(p, dout)):
        row = row.reshape(-1, 1)
        dz[n] = (np.diagflat(row) - row @ row.T) @ g
    return dz @ W.T, X.T @ dz, dz.sum(0)
"""


def scored(X, W, b):
    z = X @ W + b
    y = z - np.log(np.exp(z).sum(1, keepdims=True))
    return y, (X, W, y)


SCORED = """
def backward(dout, cache):
    X, W, y = cache
    dz = dout - np.exp(y) * dout.sum(1, keepdims=True)
    return dz @ W.T, X.T @ dz, dz.sum(0)
"""


def centred(X, scale, shift):
    mean = X.mean(1, keepdims=True)
    inv = 1 / np.sqrt(X.var(1, keepdims=True) + 1e-5)
    xhat = (X - mean) * inv
    return scale * xhat + shift, (X - mean, inv, xhat, scale)


CENTRED = """
def backward(dout, cache):
    xc, inv, xhat, scale = cache
    D = xc.shape[1]
    dxhat = dout * scale
    dvar = (dxhat * xc).sum(1, keepdims=True) * -0.5 * inv**3
    dmean = -(dxhat * inv).sum(1, keepdims=True)
    dx = dxhat * inv + dvar * 2 * xc / D + dmean / D
    return dx, (dout * xhat).sum(0), dout.sum(0)
"""


def dense(X, W, b):
    z = X @ W + b
    return np.tanh(z), (X, W, z)


DENSE = """
def backward(dout, cache):
    X, W, z = cache
    dz = dout * (1 - np.tanh(z) ** 2)
    return dz @ W.T, X.T @ dz, dz.sum(0)
"""

POINTS = {
    attend: (ATTEND, normal(1, (3, 5, 4), (4, 6), (4, 6), (4, 3))),
    readout: (READOUT, normal(2, (6, 3), (3, 4), (4,))),
    scored: (SCORED, normal(3, (6, 5), (5, 4), (4,))),
    centred: (CENTRED, normal(4, (4, 7), (7,), (7,))),
    dense: (DENSE, normal(5, (6, 5), (5, 4), (4,))),
}


def evidence(forward, right, wrong):
    text, args = POINTS[forward]
    assert text.count(right) == 1
    space = {"np": np, "__name__": "submission"}
    exec(text.replace(right, wrong), space)  # noqa: S102  (a pass without a source)
    return evidence_of(forward, space["backward"], args)


def suspicions(family, about):
    """Return what a family suspects; as in an explanation, functions may be asked where they are not defined."""
    with np.errstate(all="ignore"):
        return list(family.suspects(about))


MISTAKES = [
    pytest.param(attend, '"ntd,nsd->nts", dout', '"ntd,nsd->nst", dout', "B1", id="the result of an einsum"),
    pytest.param(attend, '"nts,ntd->nsd", P', '"nst,ntd->nsd", P', "B1", id="an operand of an einsum"),
    pytest.param(attend, "dS.swapaxes(-1, -2) @ Q", "dS @ Q", "B1", id="an operand of a product of many matrices"),
    pytest.param(attend, "P * (dP - (P * dP).sum(-1, keepdims=True))", "P * (1 - P) * dP", "C6", id="attention"),
    pytest.param(readout, "np.diagflat(row) - row @ row.T", "np.diagflat(row * (1 - row))", "C6", id="row by row"),
    pytest.param(
        scored, "dout - np.exp(y) * dout.sum(1, keepdims=True)", "dout * (1 - np.exp(y))", "C6", id="logarithm"
    ),
    pytest.param(centred, " + dmean / D", "", "C8", id="a mean that is computed and not used"),
    pytest.param(dense, "dz @ W.T", "dout @ W.T", "C1", id="a product without the derivative"),
]


@pytest.mark.parametrize(("forward", "right", "wrong", "mistake"), MISTAKES)
def test_what_one_place_does_otherwise_is_named(forward, right, wrong, mistake):
    found = suspicions(counterfactual, evidence(forward, right, wrong))
    assert found
    assert min(found, key=lambda each: each.doubt).mistake == mistake


def test_a_path_of_three_axes_that_is_left_out_is_named():
    found = suspicions(paths, evidence(attend, " + dV @ C.T", ""))
    assert [(each.mistake, each.arguments) for each in found] == [("C8", ("X",))]


OTHERS = [
    pytest.param(scored, "dout - np.exp(y) * dout.sum(1, keepdims=True)", "dout * (1 - y)", id="no softmax"),
    pytest.param(centred, "dmean / D", "dmean / 3", id="a mean with a wrong divisor"),
    pytest.param(attend, '"ntd,nsd->nts", dout, V', '"ntd,nsd->nts", dout, np.sin(V)', id="no matter of subscripts"),
]


@pytest.mark.parametrize(("forward", "right", "wrong"), OTHERS)
def test_what_only_looks_like_it_is_not_named(forward, right, wrong):
    told = {each.mistake for each in suspicions(counterfactual, evidence(forward, right, wrong))}
    assert not told & {"C6", "B1", "C8"}
