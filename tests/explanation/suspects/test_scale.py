from operator import attrgetter

import numpy as np
import pytest

from gradcheck.explanation.evidence import Exhausted
from gradcheck.explanation.suspects import scale
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.factors import holds_elsewhere, masks, readings
from gradcheck.explanation.suspects.words import gradients, number
from tests.explanation.suspects.pair import evidence_of, normal, suspicions
from tests.explanation.suspects.passes import (
    LAYER,
    LOSS,
    PAIR,
    dropout_forward,
    layer,
    layer_forward,
    loss,
    loss_forward,
)
from tests.explanation.suspects.wrong_scale import SCALE


@pytest.mark.parametrize("wrong", SCALE, ids=attrgetter("name"))
def test_a_factor_is_named(wrong):
    first = suspicions(evidence_of(wrong.forward, wrong.backward, wrong.args, wrong.wrt))[0]
    assert (first.mistake, first.arguments) == (wrong.mistake, wrong.paths)
    assert first.sentence == wrong.sentence


def test_the_same_factor_in_several_arguments_is_one_suspicion():
    backward = layer(lambda dx, dW, db, dz, x, W: (2 * dx, 2 * dW, 2 * db))
    (only,) = scale.suspects(evidence_of(layer_forward, backward, LAYER))
    assert only.arguments == ("x", "W", "b")


def test_two_factors_are_two_suspicions():
    backward = layer(lambda dx, dW, db, dz, x, W: (-dx, dW / len(x), db))
    found = list(scale.suspects(evidence_of(layer_forward, backward, LAYER)))
    assert [(each.mistake, each.arguments) for each in found] == [("A1", ("x",)), ("A2", ("W",))]


def test_a_factor_of_two_in_a_batch_of_two_says_which_batch_tells():
    backward = layer(lambda dx, dW, db, dz, x, W: (dx, dW, db / 2))
    found = list(scale.suspects(evidence_of(layer_forward, backward, PAIR)))
    assert [each.mistake for each in found] == ["A2", "A4"]
    assert {each.otherwise for each in found} == {"A batch of 3 tells them apart."}
    assert all(each.doubt > 0.5 for each in found)


def test_a_wrong_sign_with_a_factor_says_both():
    backward = layer(lambda dx, dW, db, dz, x, W: (dx, -dW / len(x), db))
    (only,) = scale.suspects(evidence_of(layer_forward, backward, LAYER))
    assert only.mistake == "A1"
    assert only.sentence == (
        "dW is the true gradient times -0.2, and 5 is x.shape[0], the batch: the sign is wrong, and a factor too. "
        "Negate first, then check again."
    )


def test_a_number_that_is_no_constant_is_not_named():
    """The derivative of the one hidden unit is missing: it scales every gradient before it, as a constant would."""

    def forward(x, w, b):
        h = np.tanh(x @ w + b)
        return h * 3.0, (x, w, h)

    def backward(dout, cache):
        x, w, _ = cache
        dz = dout * 3.0
        return w * dz, x * dz, dz

    args = (*normal(1, (4,), (4,)), np.array(0.3))
    evidence = evidence_of(forward, backward, args)
    assert evidence.wrong == ("x", "w", "b")
    assert list(scale.suspects(evidence)) == []
    assert len(scale.scaled(evidence)) == 1


def test_a_constant_holds_at_another_point():
    evidence = evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, 0.3 * dW, db)), LAYER)
    assert holds_elsewhere(evidence, "W", 1 / 0.3, 1e-6)
    assert not holds_elsewhere(evidence, "W", 1 / 0.4, 1e-6)


def test_a_mask_of_a_relu_is_no_dropout():
    def forward(x):
        mask = x > 0
        return x * mask, (x, mask)

    evidence = evidence_of(forward, lambda dout, cache: dout, normal(2, (6, 5)))
    assert masks(evidence) == {}
    assert list(scale.suspects(evidence)) == []


def test_a_mask_of_a_dropout_is_seen():
    mask = np.random.default_rng(0).random((6, 5)) < 0.8
    evidence = evidence_of(dropout_forward, lambda dout, cache: dout, (*normal(3, (6, 5)), 0.8, mask))
    assert set(masks(evidence)) == {"mask", "cache[0]"}


def test_the_batch_is_measured():
    batch = batch_of(evidence_of(loss_forward, loss(decay=2), LOSS, ("W", "b")))
    assert batch == (5, "x.shape[0]", {"x": 0, "t": 0}, "mean")


def test_time_steps_are_no_batch():
    def forward(x, h):
        total = 0.0
        for row in x:
            h = np.tanh(h + row)
            total = total + h.sum()
        return np.asarray(total), (x, h)

    evidence = evidence_of(forward, lambda dout, cache: (np.ones((4, 3)), np.ones(3)), normal(4, (4, 3), (3,)))
    assert batch_of(evidence) is None or batch_of(evidence).name == "x.shape[1]"


def test_a_factor_that_is_measured_badly_is_not_read():
    evidence = evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, 2 * dW, db)), LAYER)
    assert readings(evidence, 0.5, 1e-6)
    assert readings(evidence, 0.5, 1e-2) == []


def test_a_factor_is_known_no_better_than_its_precision():
    args = tuple(array.astype(np.float32) for array in LAYER)
    evidence = evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, dW / 5, db)), args)
    assert [each.mistake for each in scale.suspects(evidence)] == ["A2"]


def test_a_budget_that_is_used_up_is_told():
    evidence = evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, -dW, db)), LAYER, budget=3)
    with pytest.raises(Exhausted):
        list(scale.suspects(evidence))


def test_four_slopes_of_one_argument_and_three_of_all_others_suffice_for_a_factor():
    evidence = evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (-dx, -dW, -db)), LAYER)
    list(scale.suspects(evidence))
    assert evidence.spent == [7]


@pytest.mark.parametrize(
    ("value", "written"),
    [(5.0, "5"), (0.1, "0.1"), (1 / 3, "1/3"), (-0.2, "-0.2"), (1.00001, "1.00001"), (0.731234, "0.7312")],
)
def test_numbers_are_written_as_a_person_would(value, written):
    assert number(value) == written


def test_many_gradients_are_counted():
    assert gradients("abcdef") == "da, db and 4 more"


def test_units_are_no_batch_where_there_is_one_sample():
    args = normal(5, (1, 3), (3, 4), (4,))
    assert batch_of(evidence_of(layer_forward, layer(lambda dx, dW, db, dz, x, W: (dx, -dW, db)), args)) is None


def test_a_cotangent_that_is_ignored_is_no_constant():
    backward = loss(data=lambda g, N: 3 * g / N, heard=(0, 0))
    evidence = evidence_of(loss_forward, backward, (*LOSS[:4], 0.0), ("W", "b"))
    assert evidence.wrong == ("W", "b")
    assert list(scale.suspects(evidence)) == []
