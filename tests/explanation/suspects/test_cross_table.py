"""Every wrong backward against every class: only its own class is named, or one that cannot be told apart here."""

import functools
from operator import attrgetter

import numpy as np
import pytest

from tests.explanation.suspects.pair import evidence_of, normal, suspicions
from tests.explanation.suspects.passes import LAYER, LOSS, conv_forward, layer, layer_forward, loss, loss_forward
from tests.explanation.suspects.wrong_numbers import NUMBERS
from tests.explanation.suspects.wrong_regulariser import REGULARISER
from tests.explanation.suspects.wrong_scale import SCALE
from tests.explanation.suspects.wrong_shapes import SHAPES

WRONG = SCALE + SHAPES + REGULARISER + NUMBERS
COVERED = set("A1 A2 A3 A4 A5 B1 B2 B3 B4 B5 C5 C8 D1 D2 E2 E5 F1 F3 F4 G4 H1 H3".split())  # noqa: SIM905  (a line of ids)
BY_NAME = {wrong.name: wrong for wrong in WRONG}
MOST_SLOPES = 13  # for each wrong argument


@functools.cache
def examined(name, seed=0):
    """Return the evidence about a row of the table, and what is suspected."""
    _, _, _, _, forward, backward, args, wrt, _ = BY_NAME[name]
    evidence = evidence_of(forward, backward, args, wrt, seed=seed)
    return evidence, suspicions(evidence)


def test_every_row_has_a_name_of_its_own():
    assert len(BY_NAME) == len(WRONG)


def test_every_class_of_this_tier_has_an_example():
    assert {wrong.mistake for wrong in WRONG} == COVERED


@pytest.mark.parametrize("wrong", WRONG, ids=attrgetter("name"))
@pytest.mark.parametrize("seed", [0, 1])
def test_no_other_class_is_named(wrong, seed):
    _, found = examined(wrong.name, seed)
    assert found
    assert found[0].mistake in {wrong.mistake, *wrong.rivals}
    assert {each.mistake for each in found} <= {wrong.mistake, *wrong.rivals}


@pytest.mark.parametrize("wrong", WRONG, ids=attrgetter("name"))
def test_every_repair_is_the_true_gradient(wrong):
    evidence, found = examined(wrong.name)
    for suspicion in found:
        for path, gradient in suspicion.repaired.items():
            assert evidence.is_true(path, gradient)


@pytest.mark.parametrize("wrong", WRONG, ids=attrgetter("name"))
def test_a_sentence_is_short_and_ends(wrong):
    for suspicion in examined(wrong.name)[1]:
        assert len(suspicion.sentence) <= 200
        assert suspicion.sentence.endswith(".")
        assert suspicion.sentence.count(". ") == 1


@pytest.mark.parametrize("wrong", WRONG, ids=attrgetter("name"))
def test_few_slopes_are_measured(wrong):
    evidence, _ = examined(wrong.name)
    assert evidence.spent[0] <= MOST_SLOPES * len(evidence.wrong) + 8


# -- what no class of this tier explains


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def one_sample(dout, cache):
    x, W, a = cache
    dz = dout * (1 - a * a)
    return dz @ W.T, x[-1:].T @ dz[-1:], dz[-1]


def missing_derivative(dout, cache):
    x, W, _ = cache
    return dout @ W.T, x.T @ dout, dout.sum(0)


def derivative_at_the_output(dout, cache):
    x, W, a = cache
    dz = dout * (1 - np.tanh(a) ** 2)
    return dz @ W.T, x.T @ dz, dz.sum(0)


def updated_weights(dout, cache):
    x, W, a = cache
    dz = dout * (1 - a * a)
    dW = x.T @ dz
    return dz @ (W - 0.1 * dW).T, dW, dz.sum(0)


def kernel_not_turned(dout, cache):
    x, K, windows = cache
    dx = np.zeros_like(x)
    for u in range(3):
        for v in range(3):
            dx[:, :, u : u + 6, v : v + 6] += np.einsum("nfij,fc->ncij", dout, K[:, :, 2 - u, 2 - v])
    return dx, np.einsum("ncijuv,nfij->fcuv", windows, dout)


UNEXPLAINED = {
    "noise": (
        layer_forward,
        layer(lambda dx, dW, db, dz, x, W: (dx, dz[0, 0] * noise(3, 4), dz[0, 0] * noise(4))),
        LAYER,
    ),
    "noise on top": (layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, dW + dz[0, 0] * noise(3, 4), db)), LAYER),
    "one entry": (layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, dW, db + dz[0, 0] * np.eye(4)[2])), LAYER),
    "one sample": (layer_forward, one_sample, LAYER),
    "missing derivative": (layer_forward, missing_derivative, LAYER),
    "derivative at the output": (layer_forward, derivative_at_the_output, LAYER),
    "updated weights": (layer_forward, updated_weights, LAYER),
    "kernel not turned": (conv_forward, kernel_not_turned, normal(7, (2, 3, 8, 8), (4, 3, 3, 3))),
    "missing derivative, one sample": (layer_forward, missing_derivative, normal(8, (1, 3), (3, 4), (4,))),
    "missing derivative, one unit": (layer_forward, missing_derivative, normal(9, (5, 3), (3, 1), (1,))),
    "missing derivative, one of each": (layer_forward, missing_derivative, normal(10, (1, 3), (3, 1), (1,))),
}


@pytest.mark.parametrize("name", UNEXPLAINED)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_wrong_by_another_class_is_not_named(name, seed):
    forward, backward, args = UNEXPLAINED[name]
    evidence = evidence_of(forward, backward, args, seed=seed)
    assert evidence.wrong
    assert suspicions(evidence) == []


@pytest.mark.parametrize("lam", [0.0, 0.07])
def test_a_wrong_residual_is_no_regulariser(lam):
    backward = loss(data=lambda g, N: np.abs(g) / N)
    assert suspicions(evidence_of(loss_forward, backward, (*LOSS[:4], lam), ("W", "b"))) == []
