import re

import numpy as np
import pytest

from gradcheck import blind_spots, examine_backward

X = np.array([1.0, 2.0, -0.5])


class Unprintable:
    """An object that cannot be shown."""

    def __repr__(self):
        raise RuntimeError("this one is not to be shown")


def forward(x):
    return np.sin(x), x


def backward(dy, x):
    return dy * np.cos(x)


@pytest.mark.parametrize(
    ("strict", "came"),
    [(np.ones(2), "a float64 array of shape (2,)"), (Unprintable(), "a Unprintable"), (1, "the int 1")],
)
def test_strict_is_true_or_false(strict, came):
    with pytest.raises(
        TypeError, match=f"^strict must be True or False, but it is {re.escape(came)}. Leave it out for"
    ):
        examine_backward(forward, backward, (X,), strict=strict)


def test_hints_that_cannot_be_shown_are_named_by_their_class():
    with pytest.raises(
        ValueError, match=r"^hints must be True, False or 'places', but it is <Unprintable>. Leave it out"
    ):
        examine_backward(forward, backward, (X,), hints=Unprintable())


@pytest.mark.parametrize("entry", [examine_backward, blind_spots])
@pytest.mark.parametrize(("seed", "error"), [("same", TypeError), (-1, ValueError), ([1, "x"], TypeError)])
def test_a_seed_is_a_whole_number_at_every_entry(entry, seed, error):
    with pytest.raises(error, match=r"^seed must be a whole number from 0 on, but it is "):
        entry(forward, backward, (X,), seed=seed)


@pytest.mark.parametrize("entry", [examine_backward, blind_spots])
def test_a_pair_is_two_functions_at_every_entry(entry):
    with pytest.raises(
        TypeError, match=r"^backward must be a function, but it is the int 3\. Pass the function itself"
    ):
        entry(forward, 3, (X,))
