"""What is kept of a large array tells a difference as well as the array itself."""

import numpy as np
import pytest

from gradcheck.verdict.sketch import WHOLE, Drawn, sketch

LARGE = np.random.default_rng(0).standard_normal((WHOLE // 100 + 50, 101))


def test_a_small_array_is_its_own_sketch():
    small = LARGE[:3]
    found = sketch(small)
    np.testing.assert_array_equal(found.numbers, small.ravel())
    assert found.shape == small.shape
    assert found.norm == pytest.approx(np.linalg.norm(small), rel=1e-14)
    assert not np.shares_memory(found.numbers, small)


def test_a_large_array_is_told_by_few_numbers():
    found = sketch(LARGE)
    assert found.numbers.size <= LARGE.size / 2000
    assert found.shape == LARGE.shape
    assert found.norm == pytest.approx(np.linalg.norm(LARGE), rel=1e-12)


ORDERS = {
    "Fortran-ordered": np.asfortranarray,
    "rows reversed": lambda a: a[::-1].copy()[::-1],
    "columns reversed": lambda a: a[:, ::-1].copy()[:, ::-1],
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_memory_order_does_not_matter(order):
    lay = ORDERS[order]
    np.testing.assert_allclose(sketch(lay(LARGE)).numbers, sketch(LARGE).numbers, rtol=1e-10, atol=1e-10)


def test_sketches_are_linear():
    other = np.random.default_rng(1).standard_normal(LARGE.shape)
    both = sketch(3 * LARGE + other).numbers
    np.testing.assert_allclose(both, 3 * sketch(LARGE).numbers + sketch(other).numbers, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_norm_of_a_difference_of_sketches_is_that_of_the_difference(seed):
    apart = np.random.default_rng(seed).standard_normal(1_000_000)
    assert np.linalg.norm(sketch(apart).numbers) == pytest.approx(np.linalg.norm(apart), rel=0.3)


@pytest.mark.parametrize("index", [0, WHOLE // 2, LARGE.size - 1])
def test_a_single_entry_that_differs_is_seen(index):
    changed = LARGE.copy()
    changed.ravel()[index] += 1.0
    assert np.linalg.norm(sketch(changed).numbers - sketch(LARGE).numbers) > 1e-3


def test_two_entries_in_each_others_place_are_seen():
    changed = LARGE.ravel().copy()
    changed[[0, 1]] = changed[[1, 0]]
    assert not np.array_equal(sketch(changed).numbers, sketch(LARGE.ravel()).numbers)


def test_what_is_not_finite_has_no_finite_norm():
    changed = LARGE.copy()
    changed[5, 5] = np.nan
    assert not np.isfinite(sketch(changed).norm)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_drawn_array_is_the_same_each_time_and_shared_with_nobody(dtype):
    drawn = Drawn((300, 400), np.dtype(dtype), 7)
    first, again = np.asarray(drawn), np.copy(drawn)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == dtype
    assert first.shape == (300, 400)
    assert np.ndim(drawn) == 2
    assert not np.shares_memory(first, again)
    assert abs(first.mean()) < 0.02
    assert abs(first.std() - 1) < 0.02


def test_a_drawn_array_cannot_be_had_without_a_copy():
    with pytest.raises(ValueError) as caught:
        Drawn((3,), np.dtype(np.float64), 7).__array__(copy=False)
    assert str(caught.value) == "a drawn array must be made anew each time, but copy=False. Leave it out."
