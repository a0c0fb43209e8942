"""A recording is one call of forward and backward; what it cannot be is said."""

import contextlib
import gc
import sys
import time

import numpy as np
import pytest

from gradcheck import from_layer
from gradcheck.arguments import Arguments
from gradcheck.steps.guard import Budget, Exceeded, guarded
from gradcheck.steps.run import Unrecorded, traced

X, W = np.arange(6.0).reshape(2, 3), np.ones((3, 2))


def affine(x, w):
    return x @ w, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout


def run_of(forward, backward, *args, **options):
    return traced(forward, backward, Arguments.of(forward, args), **options)


def test_a_recording_says_which_nodes_are_what():
    run = run_of(affine, affine_backward, X, W)
    assert run.leaf == {"x": 0, "w": 1}
    assert run.value(run.outs[0]).tolist() == (X @ W).tolist()
    assert run.nodes[run.start].name == "dout"
    assert {path: run.value(i).shape for path, i in run.results.items()} == {"x": X.shape, "w": W.shape}
    assert run.claimed["w"].tolist() == (X.T @ run.cotangent[0]).tolist()


def test_the_cotangent_can_be_given_and_is_the_same_for_the_same_seed():
    dout = np.full((2, 2), 2.0)
    assert run_of(affine, affine_backward, X, W, cotangent=[dout]).value(2 + 1).tolist() == dout.tolist()
    one, two, other = (run_of(affine, affine_backward, X, W, seed=seed).cotangent[0] for seed in (0, 0, 1))
    assert one.tolist() == two.tolist() != other.tolist()


def test_the_cotangent_of_a_single_number_is_one():
    run = run_of(lambda x: (x.sum(), None), lambda dout, _: np.full(X.shape, dout), X)
    assert run.cotangent[0].tolist() == 1.0


def test_the_forward_can_be_recorded_alone():
    run = run_of(affine, None, X, W)
    assert run.start == len(run.nodes)
    assert run.results == {}


def test_what_is_returned_twice_or_used_further_is_a_node_of_its_own():
    def same(dout, cache):
        dx = dout * 2
        return dx, dx

    run = run_of(lambda x, y: (2 * (x + y), None), same, X, X)
    assert len(set(run.results.values())) == 2
    assert "return x" in {run.nodes[i].name for i in run.results.values()}


def test_a_gradient_of_a_wrong_shape_is_recorded_all_the_same():
    run = run_of(affine, lambda dout, cache: (dout @ cache[1].T, dout.T @ cache[0]), X, W)
    assert run.claimed["w"] is None
    assert run.value(run.results["w"]).shape == (2, 3)


def test_a_gradient_that_left_numpy_is_known_by_its_value_alone():
    run = run_of(lambda x: (x * 2, None), lambda dout, _: np.array(dout.astype(object) * 2, dtype=float), X)
    assert run.claimed["x"].tolist() == (2 * run.cotangent[0]).tolist()
    assert any(way == "object" for *_, way in run.tape.lost)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), GeneratorExit(), RecursionError()])
def test_what_the_pair_raises_is_told_and_does_not_escape(error):
    def backward(dout, cache):
        raise error

    with pytest.raises(Unrecorded, match=type(error).__name__):
        run_of(affine, backward, X, W)


def test_an_interrupt_from_the_keyboard_passes():
    def backward(dout, cache):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(affine, backward, X, W)


def test_a_recording_that_takes_too_much_is_ended_and_says_so():
    def backward(dout, cache):
        while True:
            with contextlib.suppress(Exception):
                dout = dout * 1.0

    with pytest.raises(Unrecorded, match=r"ended after \d+ operations: more than 0 MB"):
        run_of(affine, backward, X, W, budget=Budget(bytes=20_000))
    with pytest.raises(Unrecorded, match=r"ended after \d+ operations: too long"):
        run_of(affine, backward, X, W, budget=Budget.of(0.05))


def test_code_that_never_looks_up_is_ended_from_outside():
    def spin():
        while True:
            pass

    with pytest.raises(Exceeded, match="too long"), guarded(time.perf_counter() - 1):
        spin()
    with guarded(time.perf_counter() + 60):
        pass


def test_layers_are_recorded_through_their_adapter_and_stay_as_they_are():
    class Layer:
        def __init__(self):
            self.W, self.dW, self.calls = W.copy(), np.zeros_like(W), 0

        def forward(self, x):
            self.x, self.calls = x, self.calls + 1
            return x @ self.W

        def backward(self, dout):
            self.dW = np.zeros(self.W.shape)
            self.dW += self.x.T @ dout
            return dout @ self.W.T

    layer = Layer()
    forward, backward = from_layer(layer)
    run = run_of(forward, backward, X)
    assert min(run.results.values()) >= 0
    assert set(run.results) == {"x", "params['W']"}
    made = run.nodes[run.results["params['W']"]]
    assert made.name in ("add", "return params['W']")
    assert (layer.calls, hasattr(layer, "x"), layer.dW.any()) == (0, False, False)


def test_a_setting_and_an_object_among_the_arguments_are_copied():
    class Config:
        used = False

    config = Config()

    def forward(x, config, mode):
        config.used = mode
        return x * 2, config

    def backward(dout, config):
        return dout * (2 if config.used == "train" else 3)

    run = run_of(forward, backward, X, config, "train")
    assert run.claimed["x"].tolist() == (2 * run.cotangent[0]).tolist()
    assert config.used is False


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.parametrize("where", ["destructor", "collector"])
def test_nothing_is_raised_where_it_would_be_swallowed_and_printed(where, monkeypatch):
    class Slow:
        def __del__(self):
            busy(0.6)

    def slow(phase, info):
        if phase == "start" and where == "collector":
            busy(0.6)

    def forever():
        if where == "destructor":
            Slow()
        else:
            gc.collect()
        while True:
            pass

    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", swallowed.append)
    gc.callbacks.append(slow)
    try:
        with pytest.raises(Exceeded), guarded(time.perf_counter() + 0.1):
            forever()
    finally:
        gc.callbacks.remove(slow)
    assert not swallowed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_destructor_that_does_not_come_to_its_end_is_ended_and_then_what_called_it():
    class Endless:
        def __del__(self):
            while True:
                pass

    def forever():
        Endless()
        while True:
            pass

    with pytest.raises(Exceeded), guarded(time.perf_counter() + 0.1):
        forever()


def test_what_a_value_is_computed_from_is_told_from_some_node_on():
    run = traced(lambda x: (2 * x + x**2, None), None, Arguments.of(lambda x: x, (np.arange(1.0, 4.0),)))
    leaf, out = run.leaf["x"], run.outs[0]
    assert run.above([out]) == set(range(leaf, out + 1))
    assert run.above([out], leaf + 1) == set(range(leaf + 1, out + 1))
    assert run.above([-1]) == set()
