"""The backward is done again from a value on, and how much a value counts is known without that."""

import numpy as np
import pytest

from gradcheck.steps.influence import Influence
from gradcheck.steps.replay import Replay
from tests.steps.pairs import ARGS, layers, layers_backward, node_of, sight_of


def without_derivative(dout, cache):
    x, w, v, h = cache
    dv = h.T @ dout
    dz = dout @ v.T
    return dz @ w.T, x.T @ dz, dz.sum(axis=0), dv


def replay_of(backward):
    return Replay(sight_of(layers, backward, ARGS))


def test_a_true_cotangent_put_in_makes_all_right():
    replay = replay_of(without_derivative)
    assert replay.rights({}) == {"v"}
    truth = replay.sight.bars.nodes[node_of(replay.run, "z").id]
    new = replay.again({node_of(replay.run, "dz", backward=True).id: truth})
    assert replay.rights(new) == {"x", "w", "b", "v"}


def test_nothing_is_done_again_but_what_follows():
    replay = replay_of(layers_backward)
    dv = node_of(replay.run, "dv", backward=True).id
    assert set(replay.again({dv: np.zeros((3, 2))})) == {dv}


def test_an_operation_can_be_done_otherwise():
    replay = replay_of(layers_backward)
    db = node_of(replay.run, "db", backward=True)
    new = replay.again(patch=lambda node, values, at: values[0].mean(axis=0), patched=[db.id])
    assert np.allclose(replay.gradients(new)["b"], db.value / 5)


def test_a_replay_ends_where_something_is_not_as_expected_or_cannot_be_done():
    replay = replay_of(layers_backward)
    dz = node_of(replay.run, "dz", backward=True).id
    assert replay.again({dz: np.zeros((5, 3))}, expected={replay.run.results["w"]: np.ones((4, 3))}) is None
    assert replay.again({dz: np.zeros((2, 2))}) is None


def test_what_a_value_counts_for_tells_which_truth_explains_the_gradients():
    replay = replay_of(without_derivative)
    influence = Influence(replay, ("x", "w", "b"), {"v"})
    dz, run = node_of(replay.run, "dz", backward=True).id, replay.run
    z, h = (replay.sight.bars.nodes[node_of(run, name).id] for name in "zh")
    known = influence.turns((dz,), influence.free)
    assert influence.explains(*known, z[np.newaxis])
    assert not influence.explains(*known, h[np.newaxis])
    assert list(influence.fits(influence.free[dz], dz, np.stack([np.ravel(h), np.ravel(z)]))) == [False, True]


def test_what_a_turn_holds_that_counts_for_nothing_is_not_asked():
    replay = replay_of(without_derivative)
    influence, dz = Influence(replay, ("x", "w", "b"), {"v"}), node_of(replay.run, "dz", backward=True).id
    z = replay.sight.bars.nodes[node_of(replay.run, "z").id]
    replay.run.nodes[dz].value[...] = np.nan
    assert not np.any(influence.turns((dz,), {}))
    assert not influence.explains(*influence.turns((dz,), {}), z[np.newaxis])


def test_a_value_counts_through_some_of_its_uses():
    replay = replay_of(without_derivative)
    influence, dz = Influence(replay, ("x", "w", "b"), {"v"}), node_of(replay.run, "dz", backward=True).id
    users = replay.children[dz]
    parts = [influence.through(dz, [user]) for user in users]
    assert np.allclose(sum(parts), influence.free[dz])
    assert influence.through(dz, []) is None


@pytest.mark.parametrize("name", ["dz", "dh"])
def test_the_derivative_by_a_value_is_that_of_the_replay(name):
    replay = replay_of(layers_backward)
    influence, node = Influence(replay, ("w",), ()), node_of(replay.run, name, backward=True)
    step = np.random.default_rng(0).standard_normal(node.value.shape)
    (i,) = [replay.run.results["w"]]
    moved = replay.again({node.id: node.value + step})[i]
    expected = float((influence.seeds[i] * (moved - replay.run.value(i))).sum())
    assert float((influence.free[node.id] * step).sum()) == pytest.approx(expected)
