from operator import attrgetter

import numpy as np
import pytest

from gradcheck.explanation.suspects import numbers
from tests.explanation.suspects.pair import evidence_of, normal, suspicions
from tests.explanation.suspects.passes import LAYER, layer, layer_forward
from tests.explanation.suspects.wrong_numbers import NUMBERS


@pytest.mark.parametrize("wrong", NUMBERS, ids=attrgetter("name"))
def test_what_the_numbers_tell_is_named(wrong):
    first = suspicions(evidence_of(wrong.forward, wrong.backward, wrong.args, wrong.wrt))[0]
    assert (first.mistake, first.arguments) == (wrong.mistake, wrong.paths)
    assert first.sentence == wrong.sentence


def test_nan_without_a_zero_in_sight_is_not_named():
    def backward(dout, x):
        g = dout * np.cos(x)
        g[0] = np.nan
        return g

    evidence = evidence_of(lambda x: (np.sin(x), x), backward, normal(1, (4,)))
    assert evidence.wrong == ("x",)
    assert list(numbers.suspects(evidence)) == []


def test_equal_largest_entries_are_not_taken_for_a_limit():
    """All entries are equally large, but grow with the cotangent."""
    evidence = evidence_of(lambda x: (np.sum(np.sin(x)), x), lambda dout, x: np.full(4, 3 * dout), normal(2, (4,)))
    assert evidence.wrong == ("x",)
    assert not [each for each in numbers.suspects(evidence) if each.mistake == "G4"]


def test_gradients_scaled_together_have_one_norm():
    def change(dx, dW, db, dz, x, W):
        norm = np.sqrt(sum((g * g).sum() for g in (dx, dW, db)))
        return 5 * dx / norm, 5 * dW / norm, 5 * db / norm

    (only,) = numbers.suspects(evidence_of(layer_forward, layer(change), LAYER))
    assert (only.mistake, only.arguments) == ("G4", ("x", "W", "b"))


def test_a_backward_that_refuses_a_second_call_is_left_alone():
    calls = []

    def backward(dout, cache):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("only once")
        x, W, _ = cache
        return dout @ W.T, x.T @ dout, dout.sum(0)

    evidence = evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, np.cos(dW), db)), LAYER)
    object.__setattr__(evidence, "backward", backward)
    assert list(numbers.suspects(evidence)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda dx, dW, db, dz, x, W: (dx, np.clip(dW, -1, 1), db),
            "dW is right here, but for a larger cotangent every entry is clipped at 1. "
            "Clip after the check, not in the backward.",
        ),
        (
            lambda dx, dW, db, dz, x, W: (dx, dW * min(1, 2 / np.linalg.norm(dW)), db),
            "dW is right here, but for a larger cotangent it is scaled to the norm 2. "
            "Clip after the check, not in the backward.",
        ),
    ],
    ids=["entries", "norm"],
)
def test_a_limit_that_is_not_reached_here_is_found(change, sentence):
    evidence = evidence_of(layer_forward, layer(change), LAYER, seed=1)
    assert evidence.is_true("W", evidence.claimed["W"])
    object.__setattr__(evidence, "wrong", ("W",))
    (only,) = numbers.suspects(evidence)
    assert (only.mistake, only.sentence) == ("G4", sentence)
