import numpy as np
import pytest

from gradcheck.blindness.facts import numbers_of, remedy, sizes_of, special

KERNEL = np.random.default_rng(0).standard_normal((2, 3, 3, 3))


@pytest.mark.parametrize(
    ("array", "facts"),
    [
        (np.zeros(3), ["is zero"]),
        (np.ones(3), ["is 1 everywhere", "has no negative entry", "holds whole numbers only"]),
        (np.full(3, -0.5), ["is the same everywhere", "has no positive entry"]),
        (np.array([1e-3, -1e-4]), ["is tiny"]),
        (np.array([[0.1, -0.2], [-0.2, 0.3]]), ["is symmetric"]),
        (np.array([[0.1, -0.2], [0.2, 0.3]]), []),
        (KERNEL + np.flip(KERNEL, (2, 3)), ["equals itself turned by 180°"]),
        (KERNEL, []),
        (np.array([2.0, -3.0]), ["holds whole numbers only"]),
        (np.array([0.5, 1.5]), ["has no negative entry"]),
        (np.array([True, True]), ["is 1 everywhere"]),
        (np.array([0, 1]), []),
        (np.array(0.7), []),
        (np.zeros((0, 3)), []),
    ],
)
def test_what_is_special_about_values_is_named(array, facts):
    assert list(special(array)) == facts


def test_everything_special_has_a_remedy():
    found = (np.zeros(3), np.ones(3), np.full(3, -0.5), np.full((2, 2), 1e-3), KERNEL + np.flip(KERNEL, (2, 3)))
    assert all(remedy("x", what).endswith(".") for array in found for what in special(array))
    assert remedy("W", "is symmetric") == "Draw a W that is not symmetric."


def test_sizes_and_numbers_are_named_as_in_python():
    values = ({"W": np.zeros((2, 3))}, [np.zeros(4), 5], 0.1, True, "relu", None)
    names = ("params", "rest", "lam", "train", "activation", "nothing")
    assert sizes_of(names, values) == {"params['W'].shape[0]": 2, "params['W'].shape[1]": 3, "rest[0].shape[0]": 4}
    assert numbers_of(names, values) == {"rest[1]": 5.0, "lam": 0.1}
