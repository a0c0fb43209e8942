import numpy as np
import pytest

from derivations.affine import AFFINE
from derivations.rnn_columns import RNN_COLUMNS
from derivations.softmax_cross_entropy import SOFTMAX_CROSS_ENTROPY
from gradcheck import point
from gradcheck.blindness.roles import hidden_by, role_of

AFFINE_ARGS = point(AFFINE.spec, N=2, D=2, M=2)
RNN_ARGS = point(RNN_COLUMNS.spec, T=2, B=2, N=3, M=4, f="tanh", g="identity")


def batch_norm(x):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.1), None


def recurrent_loss(x):
    state = 0.0
    for step in x:
        state = np.tanh(state + step)
    return state, None


@pytest.mark.parametrize(
    ("forward", "names", "args", "axes", "role"),
    [
        (AFFINE.forward, "xWb", AFFINE_ARGS, {"x": 0}, "samples"),
        (AFFINE.forward, "xWb", AFFINE_ARGS, {"x": 1, "W": 0}, "size"),
        (RNN_COLUMNS.forward, ("x", "h0", "U", "W", "b", "f", "g"), RNN_ARGS, {"x": 0}, "steps"),
        (RNN_COLUMNS.forward, ("x", "h0", "U", "W", "b", "f", "g"), RNN_ARGS, {"x": 2, "h0": 1}, "samples"),
        (batch_norm, "x", (np.arange(6.0).reshape(2, 3) ** 2,), {"x": 0}, "coupled"),
        (recurrent_loss, "x", (np.array([0.3, 0.9]),), {"x": 0}, "steps"),
        (lambda x: (x.sum(), None), "x", (np.array([0.3, 0.9]),), {"x": 0}, "samples"),
        (lambda x: (x.mean(), None), "x", (np.array([0.3, 0.9]),), {"x": 0}, "mean"),
        (lambda x: (np.prod(x), None), "x", (np.array([0.3, 0.9]),), {"x": 0}, "size"),
    ],
)
def test_what_an_axis_is_for_is_measured(forward, names, args, axes, role):
    assert role_of(forward, tuple(names), args, axes) == role


def test_a_mean_over_samples_is_known_from_a_sum():
    roles = {}
    for reduction in ("sum", "mean"):
        args = point(SOFTMAX_CROSS_ENTROPY.spec, N=2, K=3, reduction=reduction)
        names = ("z", "labels", "reduction")
        roles[reduction] = role_of(SOFTMAX_CROSS_ENTROPY.forward, names, args, {"z": 0, "labels": 0})
    assert roles == {"sum": "samples", "mean": "mean"}


SHAPES = {"x": (1, 3), "W": (3, 4)}


@pytest.mark.parametrize(
    ("role", "axes", "shapes", "hidden"),
    [
        ("samples", {"x": 0}, SHAPES, ("A2", "E1")),
        ("samples", {"x": 0}, {"x": (1, 3)}, ("A2",)),
        ("mean", {"x": 0, "labels": 0}, SHAPES, ("A2", "A3", "E1")),
        ("steps", {"x": 0}, SHAPES, ("G1", "G2")),
        ("steps", {"x": 2}, {"x": (2, 3, 1, 5)}, ()),
        ("coupled", {"x": 0}, SHAPES, ("C7",)),
        ("coupled", {"x": 1}, SHAPES, ()),
        ("size", {"x": 1, "W": 0}, SHAPES, ()),
    ],
)
def test_every_role_says_what_it_hides(role, axes, shapes, hidden):
    assert hidden_by(role, axes, shapes) == hidden
