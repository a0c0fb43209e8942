"""Every way to pull an operation back wrongly gives the gradients of the backward that makes that mistake."""

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.steps.run import traced
from gradcheck.steps.slips import slipped, slips
from gradcheck.steps.truth import adjoint

RNG = np.random.default_rng(5)
X, W, S, B = (
    RNG.standard_normal((5, 4)),
    RNG.standard_normal((4, 3)),
    RNG.standard_normal((4, 4)),
    RNG.standard_normal(3),
)
MASK = (RNG.random((5, 4)) < 0.6) / 0.6
KERNEL = RNG.standard_normal((2, 3, 3, 3))
WINDOWS = RNG.standard_normal((4, 3, 3, 3))


def recurrent(x, w):
    h = np.zeros(4)
    for t in range(3):
        h = np.tanh(h @ w + x[t])
    return h, None


# fmt: off
ROWS = [  # mistake, forward, args, the argument, what somebody gets who makes it, from the cotangent and the arguments
    ("C8", lambda x: (x * x, None), (X,), "x", lambda g, x: g * x),
    ("C7", lambda x: (x - x.mean(axis=0), None), (X,), "x", lambda g, x: g),
    ("C1", lambda x: (np.tanh(x), None), (X,), "x", lambda g, x: g),
    ("C1", lambda x: (np.maximum(x, 0), None), (X,), "x", lambda g, x: g),
    ("C2", lambda x: (np.tanh(x), None), (X,), "x", lambda g, x: g * (1 - np.tanh(np.tanh(x)) ** 2)),
    ("A2", lambda x: (x.mean(), None), (X,), "x", lambda g, x: np.full(x.shape, g)),
    ("A2", lambda x: (x.sum(axis=0), None), (X,), "x", lambda g, x: np.broadcast_to(g, x.shape) / 5),
    ("A2", lambda x, b: (x @ W + b, None), (X, B), "b", lambda g, x, b: g.mean(axis=0)),
    ("B3", lambda x, b: (x @ W + b, None), (X, B), "b", lambda g, x, b: g[0]),
    ("B1", lambda x, s: (x @ s, None), (X, S), "x", lambda g, x, s: g @ s),
    ("E5", lambda x, m: (x * m, None), (X, MASK), "x", lambda g, x, m: g),
    ("A5", lambda x, b: (x * b, None), (X, RNG.standard_normal(4)), "x", lambda g, x, b: g),
    ("E1", lambda x: (x[[0, 1, 0]], None), (X,), "x", lambda g, x: np.array([g[2], g[1], *np.zeros((3, 4))])),
    ("E1", lambda x: (np.array([x[t : t + 2].sum() for t in range(4)]), None), (X,), "x",
     lambda g, x: np.repeat(np.append(g, g[-1:]), 4).reshape(5, 4)),
    ("F6", lambda x: (x.max(axis=1), None), (np.round(X),), "x",
     lambda g, x: g[:, None] * (x == x.max(1, keepdims=True))),
    ("F1", lambda x, k: (np.einsum("ncij,fcij->nf", x, k), None), (WINDOWS, KERNEL), "x",
     lambda g, x, k: np.einsum("nf,fcij->ncij", g, k[:, :, ::-1, ::-1])),
    ("F4", lambda x, k: (np.einsum("ncij,fcij->nf", x, k), None), (WINDOWS, KERNEL), "x",
     lambda g, x, k: np.einsum("nf,fcij->ncij", g, k.swapaxes(2, 3))),
]  # fmt: skip


def gradients_with(mistake, forward, args, path):
    run = traced(forward, None, Arguments.of(forward, args))
    pulls = {}
    adjoint(run, pulls)
    found = [slipped(run, pulls, slip) for slip in slips(run) if slip.mistake == mistake]
    return run.cotangent[0], [np.asarray(bars.nodes.get(run.leaf[path], 0.0)) for bars in found if bars]


@pytest.mark.parametrize(
    ("mistake", "forward", "args", "path", "wrong"), ROWS, ids=[f"{row[0]}, row {i}" for i, row in enumerate(ROWS)]
)
def test_a_slip_gives_what_the_mistake_gives(mistake, forward, args, path, wrong):
    bar, found = gradients_with(mistake, forward, args, path)
    expected = wrong(bar, *args)
    assert any(g.shape == expected.shape and np.allclose(g, expected, rtol=1e-9) for g in found)


def test_what_a_step_of_time_gives_to_the_one_before_can_be_lost():
    _, found = gradients_with("G1", recurrent, (X[:3], S), "x")
    true = gradients_with("C8", recurrent, (X[:3], S), "x")[1]
    assert any(not g[:2].any() and g[2].any() for g in found)
    assert len(true) > 0


@pytest.mark.parametrize("turn", [0, 2])
def test_the_first_or_the_last_turn_of_a_loop_can_be_left_out(turn):
    _, found = gradients_with("G2", recurrent, (X[:3], S), "x")
    assert any(not g[turn].any() and g[1].any() for g in found)


def test_what_gives_nothing_to_the_step_before_is_no_other_mistake_as_well():
    run = traced(recurrent, None, Arguments.of(recurrent, (X, S)))
    lost = [(slip.site, slip.operand, slip.mistake) for slip in slips(run) if slip.said.startswith("gives nothing")]
    carried = {(site, k) for site, k, mistake in lost if mistake == "G1"}
    assert carried
    assert not [mistake for site, k, mistake in lost if (site, k) in carried and mistake != "G1"]


def test_every_place_of_the_code_is_tried_once():
    run = traced(recurrent, None, Arguments.of(recurrent, (X[:3], S)))
    keys = [(slip.site, slip.operand, slip.said) for slip in slips(run)]
    assert len(keys) == len(set(keys))


def test_a_slip_that_gives_no_part_of_the_right_shape_gives_nothing():
    run = traced(recurrent, None, Arguments.of(recurrent, (X[:3], S)))
    slip = next(slips(run))._replace(change=lambda use: np.zeros((9, 9, 9)))
    assert slipped(run, {}, slip) is None


def stepped(u):
    for _ in range(3):
        u = u - 0.1 * u * np.abs(u)
    return u, None


def test_one_of_several_paths_from_a_state_to_the_next_is_a_path_and_not_the_path_through_time():
    run = traced(stepped, None, Arguments.of(stepped, (X[0],)))
    cut = {(slip.mistake, slip.site.name) for slip in slips(run) if slip.said.startswith("gives nothing back")}
    assert ("C8", "subtract") in cut
    assert ("G1", "subtract") not in {each for each in cut if each[1] == "subtract" and ("C8", "subtract") not in cut}
