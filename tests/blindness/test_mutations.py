import collections

import numpy as np
import pytest

from derivations.affine import AFFINE
from derivations.conv import CONV
from derivations.mlp_one_hidden import MLP_ONE_HIDDEN
from gradcheck.blindness.mutations import mutations
from gradcheck.mistakes import CATALOGUE
from tests.explanation.suspects.pair import evidence_of, normal
from tests.explanation.suspects.passes import MASK, dropout_forward

ROWS = "A1 A2 A4 B1 B3 B4 C5 C8 E1 E2 G4 H3"


def mutated(forward, backward, args, wrt=None):
    """Return the right gradients, the mutations of them, and the evidence about the right backward."""
    evidence = evidence_of(forward, backward, args, wrt)
    return evidence.claimed, list(mutations(evidence.claimed, evidence)), evidence


def of(derivation, **sizes):
    rng = np.random.default_rng(0)
    args = derivation.args(rng, **(derivation.draw(rng, generic=True) | sizes))
    return mutated(derivation.forward, derivation.backward, args, derivation.wrt)


@pytest.mark.parametrize(
    ("derivation", "ids"),
    [
        (AFFINE, ROWS),
        (CONV, f"{ROWS} F1 F3 F4"),
        (MLP_ONE_HIDDEN, f"{ROWS} D1 D2"),
    ],
    ids=["affine", "conv", "mlp"],
)
def test_every_class_that_fits_is_made(derivation, ids):
    _, made, _ = of(derivation)
    assert set(ids.split()) <= {mistake for mistake, _, _ in made} <= set(CATALOGUE)


def test_no_two_mutations_are_called_the_same():
    _, made, _ = of(MLP_ONE_HIDDEN)
    assert [said for said, count in collections.Counter(said for _, said, _ in made).items() if count > 1] == []


def test_generic_inputs_reveal_every_mutation_but_limits_that_are_not_reached():
    right, made, evidence = of(AFFINE, N=5, D=3, M=4)
    hidden = [
        said
        for mistake, said, wrong in made
        if mistake != "G4" and all(evidence.is_true(path, wrong[path]) for path in right)
    ]
    assert hidden == []


def test_a_batch_of_one_hides_the_mistakes_of_a_batch():
    right, made, evidence = of(AFFINE, N=1, D=3, M=4)
    hidden = {mistake for mistake, _, wrong in made if all(evidence.is_true(path, wrong[path]) for path in right)}
    assert "A2" in hidden
    assert "A4" not in hidden


def test_what_was_done_is_said():
    _, made, _ = of(AFFINE, N=5, D=3, M=4)
    said = {text for _, text, _ in made}
    assert {"dW divided by x.shape[0]", "dW transposed", "db not summed over x.shape[0]", "dx set to zero"} <= said


def test_gradients_of_equal_shape_are_exchanged():
    right, made, _ = mutated(
        lambda a, b: (np.sin(a) * b, (a, b)),
        lambda dout, cache: (dout * np.cos(cache[0]) * cache[1], dout * np.sin(cache[0])),
        normal(1, (3, 4), (3, 4)),
    )
    (wrong,) = [wrong for mistake, _, wrong in made if mistake == "B5"]
    assert np.array_equal(wrong["a"], right["b"])
    assert np.array_equal(wrong["b"], right["a"])


def test_a_mask_is_left_out():
    args = (*normal(2, (6, 5)), 0.8, MASK)
    _, made, _ = mutated(dropout_forward, lambda dout, cache: dout * cache[0], args)
    assert "dx without the mask cache[0]" in {said for mistake, said, _ in made if mistake == "E5"}


def test_the_right_gradients_stay_as_they_are():
    right, made, _ = of(AFFINE)
    before = {path: gradient.copy() for path, gradient in right.items()}
    for _, _, wrong in made:
        for gradient in wrong.values():
            assert gradient.dtype == np.float64
    assert all(np.array_equal(right[path], before[path]) for path in right)
