import numpy as np

from derivations.affine import AFFINE
from derivations.softmax_cross_entropy import SOFTMAX_CROSS_ENTROPY
from gradcheck import point
from gradcheck.arguments import Arguments
from gradcheck.blindness.variations import variations


def varied(forward, args, usable=None):
    arguments = Arguments.of(forward, args)

    def runs(others):
        try:
            forward(*others)
        except (ValueError, IndexError):
            return False
        return True

    return {found.why: found for found in variations(arguments, usable or runs, np.random.default_rng(0))}


def test_a_batch_of_one_is_made_two():
    args = point(AFFINE.spec, N=1, D=3, M=5)
    found = varied(AFFINE.forward, args)["x.shape[0] is 1"]
    assert found.change == "Draw x.shape[0] of at least 2."
    assert found.longer == (("x", 0),)
    assert [array.shape for array in found.args] == [(2, 3), (3, 5), (5,)]
    assert np.array_equal(found.args[0][0], args[0][0])
    assert not np.array_equal(found.args[0][1], args[0][0])


def test_axes_that_belong_together_grow_together():
    args = point(SOFTMAX_CROSS_ENTROPY.spec, N=1, K=5, reduction="mean")
    found = varied(SOFTMAX_CROSS_ENTROPY.forward, args)["z.shape[0] is 1"]
    assert found.longer == (("z", 0), ("labels", 0))


def test_a_size_is_left_as_it_is_where_the_forward_stands_no_other():
    args = point(AFFINE.spec, N=1, D=3, M=5)
    assert "x.shape[0] is 1" not in varied(AFFINE.forward, args, usable=lambda others: others[0].shape == (1, 3))


def test_what_is_special_is_taken_away_and_the_rest_left():
    def forward(W, b, s):
        return W @ b * s, None

    W = np.array([[0.5, -2.5], [-2.5, 1.5]])
    found = varied(forward, (W, np.zeros(2), 0.0))
    assert not np.array_equal(found["W is symmetric"].args[0], found["W is symmetric"].args[0].T)
    assert np.array_equal(found["W is symmetric"].args[1], np.zeros(2))
    assert found["b is zero"].args[1].all()
    assert found["s is 0.0"].args[2] == 0.3


def test_ties_and_zeros_are_marked_as_kinks():
    found = varied(lambda x: (x, None), (np.array([0.3, 0.9, -0.7, 1.2]),))
    ties, zeros = found["no two entries of x are equal"], found["no entry of x is 0"]
    assert ties.at_kinks
    assert zeros.at_kinks
    assert len(np.unique(ties.args[0])) < 4
    assert not zeros.args[0].all()


def test_the_arguments_are_not_written_into():
    x = np.array([1.0, 2.0, 3.0])
    varied(lambda x: (x, None), (x,))
    assert x.tolist() == [1.0, 2.0, 3.0]
