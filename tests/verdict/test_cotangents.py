import numpy as np
import pytest

from gradcheck.trees import leaves
from gradcheck.verdict.cotangents import broadcast, fortran, handed, plain, ratio, summed
from gradcheck.verdict.sketch import Drawn

TREES = {
    "a matrix": np.zeros((3, 4)),
    "float32": np.zeros((3, 4), np.float32),
    "a vector": np.zeros(5),
    "a number": 0.0,
    "a 0-d array": np.zeros(()),
    "a tuple": (np.zeros((2, 3)), np.float64(0.0)),
    "a dict": {"y": np.zeros((2, 3, 4)), "h": [np.zeros(2)]},
    "drawn": Drawn((300, 400), np.dtype(np.float32), 7),
}


@pytest.mark.parametrize("tree", TREES)
def test_every_cotangent_has_the_form_that_was_asked_for(tree):
    like = TREES[tree]
    for one in handed(like, 0):
        for (path, leaf), (at, made) in zip(leaves(like, ""), leaves(one.cotangent, ""), strict=True):
            assert path == at
            assert np.shape(made) == np.shape(leaf)
            if isinstance(made, np.ndarray):
                assert made.dtype == leaf.dtype
            else:
                assert type(made) is float
                assert np.shape(leaf) == ()


def test_a_matrix_gets_them_all():
    made = {one.words: one.cotangent for one in handed(np.zeros((3, 4)), 0)}
    assert (made["ones"] == 1).all()
    assert not made["zeros"].any()
    assert (np.count_nonzero(made["zeros but for a one"]), made["zeros but for a one"].sum()) == (1, 1)
    assert made["zeros but for a one"].flags.f_contiguous
    assert (made["equal rows"] == made["equal rows"][0]).all()
    assert len(set(made["equal rows"][0])) == 4
    columns = made["rows of one number each"]
    assert (columns[:, 0] == columns.T).all()
    assert len(set(columns[:, 0])) == 3


@pytest.mark.parametrize(("shape", "count"), [((), 2), ((1,), 2), ((5,), 3), ((1, 5), 3), ((5, 1), 3), ((2, 2), 5)])
def test_what_would_be_the_same_is_not_made_twice(shape, count):
    assert len(list(handed(np.zeros(shape), 0))) == count


def test_one_seed_gives_one_list():
    for one, other in zip(handed(TREES["a dict"], 3), handed(TREES["a dict"], 3), strict=True):
        for (_, a), (_, b) in zip(leaves(one.cotangent, ""), leaves(other.cotangent, ""), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_plain_cotangent_has_the_types_that_were_asked_for():
    like = (np.zeros((2, 3), np.float32), np.zeros(()), np.float64(0.0), 0.0)
    made = plain(like, (np.ones((2, 3), np.float32, order="F"), 1.0, 1.0, 1.0))
    assert list(map(type, made)) == [np.ndarray, np.ndarray, np.float64, float]
    assert made[0].flags.c_contiguous


def test_memory_orders_change_no_number():
    matrix = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(fortran(matrix), matrix)
    assert fortran(matrix).flags.f_contiguous
    assert fortran(matrix[0]).strides == (-8,)
    np.testing.assert_array_equal(fortran(matrix[0]), matrix[0])
    assert fortran(1.0) == broadcast(1.0) == 1.0
    assert broadcast(matrix).strides == (0, 8)


@pytest.mark.parametrize("tree", TREES)
def test_all_of_them_are_summed_in_fortran_order(tree):
    like = TREES[tree]
    parts = [like, *(one.cotangent for one in handed(like, 5))]
    for number, (_, total) in enumerate(leaves(summed(like, -16.0, 5), "")):
        each = [np.asarray([leaf for _, leaf in leaves(part, "")][number]) for part in parts]
        np.testing.assert_allclose(total, -16.0 * np.sum(each, axis=0, dtype=np.float64), rtol=1e-5, atol=1e-4)
        assert np.ndim(total) < 2 or total.flags.f_contiguous


def test_the_ratio_of_two_sizes_is_a_power_of_two():
    assert ratio((np.full(3, 5.0), 0.0), (np.ones(3), 0.0)) == 4.0
    assert ratio(np.zeros(3), np.ones(3)) == ratio(np.ones(3), np.zeros(3)) == 1.0
