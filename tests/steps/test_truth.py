"""The sweep back gives the cotangent of every value of the forward, and measured slopes confirm it."""

import math

import numpy as np
import pytest

from gradcheck.steps.truth import Bars, adjoint, confirmed
from tests.steps.pairs import ARGS, STEPS, layers, layers_backward, node_of, recurrent, sight_of


def test_the_cotangent_of_a_value_is_the_slope_where_it_moves():
    sight = sight_of(layers, None, ARGS)
    *_, v = ARGS
    h = node_of(sight.run, "h")
    assert np.allclose(sight.bars.nodes[h.id], sight.run.cotangent[0] @ v.T)
    z = node_of(sight.run, "z")
    assert np.allclose(sight.bars.nodes[z.id], sight.run.cotangent[0] @ v.T * (1 - h.value**2))


def test_the_cotangent_of_a_value_is_the_sum_of_the_parts_of_its_uses():
    sight = sight_of(recurrent, None, STEPS)
    for i, uses in sight.uses.items():
        assert np.allclose(sight.bars.nodes[i], sum(sight.bars.edges[use] for use in uses))


def test_a_sweep_can_be_changed_at_one_use():
    sight = sight_of(layers, None, ARGS)
    h = node_of(sight.run, "h")
    bars = adjoint(sight.run, sight.pulls, lambda node, k, bar, part: bar if node.id == h.id else part)
    assert np.allclose(bars.nodes[node_of(sight.run, "z").id], sight.bars.nodes[h.id])


@pytest.mark.parametrize(("forward", "args"), [(layers, ARGS), (recurrent, STEPS)], ids=["layers", "recurrent"])
def test_measured_slopes_confirm_the_sweep(forward, args):
    sight = sight_of(forward, None, args)
    assert confirmed(forward, sight.run, sight.bars)


def test_a_sweep_that_is_off_by_little_is_not_confirmed():
    sight = sight_of(layers, layers_backward, ARGS)
    off = {**sight.bars.nodes, sight.run.leaf["w"]: sight.bars.nodes[sight.run.leaf["w"]] * (1 + 1e-5)}
    assert not confirmed(layers, sight.run, Bars(off, sight.bars.edges))


def test_a_value_that_leaves_numpy_is_lost_and_the_sweep_not_confirmed():
    def through_math(x):
        return x * math.exp(float(str(x[0]))), None

    sight = sight_of(through_math, None, (np.array([0.3, -0.2]),))
    assert not confirmed(through_math, sight.run, sight.bars)
