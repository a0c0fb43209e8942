"""Values of the backward are found to be what they are."""

import numpy as np

from gradcheck.steps.match import Index, same
from tests.steps.pairs import ARGS, STEPS, layers, layers_backward, node_of, recurrent, sight_of


def test_an_index_finds_an_array_in_any_shape_and_not_one_that_is_off():
    index, array = Index(), np.arange(6.0).reshape(2, 3)
    index.add(array, "it")
    assert list(index.find(array.ravel())) == [("it", False)]
    assert not list(index.find(array + 1e-5))
    assert not list(index.find(array.T))
    assert list(index.find(array.T, turned=True)) == [("it", True)]


def test_zeros_and_what_is_not_finite_are_never_found():
    index = Index()
    index.add(np.zeros(3), "zeros")
    index.add(np.array([1.0, np.nan]), "nan")
    assert not list(index.find(np.zeros(3)))
    assert not list(index.find(np.array([1.0, np.nan])))


def test_same_holds_up_to_a_part_of_the_norm():
    assert same([1.0, 2.0], [[1.0], [2.0 + 1e-9]])
    assert not same([1.0, 2.0], [1.0, 2.0, 0.0])
    assert not same([np.inf], [np.inf])


def test_each_line_of_a_right_backward_is_the_cotangent_of_its_value():
    sight = sight_of(layers, layers_backward, ARGS)
    for bar, name in (("dh", "h"), ("dz", "z")):
        match = sight.verified[node_of(sight.run, bar, backward=True).id]
        assert (match.kind, match.nodes) == ("cotangent", (node_of(sight.run, name).id,))
    dv = sight.verified[node_of(sight.run, "dv", backward=True).id]
    assert dv.nodes == (sight.run.leaf["v"],)


def test_a_local_derivative_is_known_as_a_slope():
    sight = sight_of(layers, layers_backward, ARGS)
    slopes = [match for match in sight.verified.values() if match.kind == "slope"]
    assert node_of(sight.run, "h").id in {match.nodes[1] for match in slopes}


def test_a_part_of_a_cotangent_is_known_by_its_use():
    def twice(x):
        return x * np.sin(x), x

    def half(dout, x):
        dx = dout * np.sin(x)
        return dx  # noqa: RET504  (the variable is looked for)

    sight = sight_of(twice, half, (np.array([0.4, 1.3]),))
    assert sight.verified[node_of(sight.run, "dx", backward=True).id].kind == "use"


def test_the_turns_of_a_loop_put_together_are_known():
    def backward(dout, cache):
        w, states, h = cache
        dx, dw = np.zeros((4, 4)), np.zeros((4, 4))
        for t in reversed(range(4)):
            dz = dout * (1 - (states[t + 1] if t < 3 else h) ** 2)
            dx[t] = dz
            dw += np.outer(states[t], dz)
            dout = w @ dz
        return dx, dw

    sight = sight_of(recurrent, backward, STEPS)
    assert all(sight.is_right(path, sight.run.value(i)) for path, i in sight.run.results.items())


def test_an_average_that_is_taken_in_the_end_is_a_convention():
    def loss(x, w):
        r = x @ w
        return np.sum(r**2) / len(x), (x, w, r)

    def backward(dout, cache):
        x, w, r = cache
        dr = 2 * r
        return dout * (dr @ w.T) / len(x), dout * (x.T @ dr) / len(x)

    sight = sight_of(loss, backward, ARGS[:2])
    assert sight.factors == (1.0, 5.0)
    assert sight.verified[node_of(sight.run, "dr", backward=True).id].factor == 5.0


def test_a_wrong_sign_is_no_cotangent_of_the_negative():
    def forward(x):
        y = np.exp(-x)
        return y, y

    def backward(dout, y):
        dx = dout * y
        return dx  # noqa: RET504  (the variable is looked for)

    sight = sight_of(forward, backward, (np.array([0.4, 1.3]),))
    assert node_of(sight.run, "dx", backward=True).id not in sight.verified


def test_what_is_computed_again_is_no_step_of_the_backward():
    def backward(dout, cache):
        x, w, v, h = cache
        again = np.tanh(x @ w + ARGS[2])
        dz = (dout @ v.T) * (1 - again**2)
        return dz @ w.T, x.T @ dz, dz.sum(axis=0), h.T @ dout

    sight = sight_of(layers, backward, ARGS)
    assert node_of(sight.run, "again", backward=True).id in sight.primal


def test_a_value_is_right_from_which_a_cotangent_follows():
    def forward(x):
        return np.exp(x).sum(axis=0), x

    def backward(dout, x):
        spread = np.ones((3, 1)) * dout
        return spread * np.exp(x)

    sight = sight_of(forward, backward, (np.arange(6.0).reshape(3, 2) / 5,))
    spread = node_of(sight.run, "spread", backward=True).id
    assert spread in sight.verified or spread in sight.implied
