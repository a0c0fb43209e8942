import numpy as np

from gradcheck.adapters.parameters import Parameter, Parameters
from gradcheck.adapters.places import Map, parsed


class Node:
    def __init__(self, **parts):
        self.__dict__.update(parts)


def gathered(layer, *names):
    found = [Parameter(parsed(name), parsed(f"d{name}")) for name in names]
    return Parameters.gathered("Node", Map(layer), found)


def test_parameters_that_fill_a_container_stay_in_it_and_others_stand_alone():
    layer = Node(weights=[np.ones(1), np.ones(2)], table={"W": np.ones(3), "mask": np.ones(4)}, b=np.ones(5))
    params = gathered(layer, "weights[1]", "weights[0]", "table['W']", "b").arrays()
    assert list(params) == ["weights", "table['W']", "b"]
    assert [each.size for each in params["weights"]] == [1, 2]


def test_the_params_of_a_layer_are_the_argument_if_they_hold_all_and_else_one_of_its_entries():
    W, b = np.ones(1), np.ones(2)
    layer = Node(W=W, b=b, params={"b": b, "W": W})
    assert gathered(layer, "W", "b").arrays() is not layer.params
    assert list(gathered(layer, "W", "b").arrays()) == ["b", "W"]
    assert list(gathered(layer, "W").arrays()) == ["W"]


def test_a_single_number_is_an_array_in_params_and_a_number_in_the_layer():
    layer = Node(slope=0.5, dslope=3.0)
    parameters = gathered(layer, "slope")
    assert parameters.arrays()["slope"].shape == ()
    copied = parameters.copy({"slope": np.array(0.25)})
    assert (copied.slope, layer.slope) == (0.25, 0.5)
    parameters.clear(copied)
    assert (copied.dslope, layer.dslope) == (0.0, 3.0)
    assert parameters.gradients(layer) == {"slope": 3.0}
