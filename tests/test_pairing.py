import math

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.pairing import Pairing, blocks, call
from gradcheck.trees import norm

DOUBLE, SINGLE, HALF = (float(np.finfo(dtype).eps) for dtype in (np.float64, np.float32, np.float16))


def pairing_of(function, *args, cotangent=None):
    """Return the pairing of ``function``, which returns the output alone, by default with a cotangent of ones."""
    out = function(*args)
    forward = lambda *primals: (function(*primals), None)  # noqa: E731
    arguments = Arguments.of(forward, args)
    return Pairing.at_point(forward, arguments, np.ones(np.shape(out)) if cotangent is None else cotangent)


def test_it_is_the_change_of_the_output_in_the_direction_of_the_cotangent():
    x, y_bar = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    phi = pairing_of(np.square, x, cotangent=y_bar)
    assert phi(x) == 0.0
    assert phi(np.array([2.0, 0.0])) == 3 * (4 - 1) - (0 - 4)


def test_it_is_complex_where_the_vector_is():
    phi = pairing_of(np.square, np.ones(1))
    assert phi(np.array([1 + 1e-20j])) == pytest.approx(2e-20j, abs=1e-30)


def test_several_outputs_are_summed_and_named():
    phi = pairing_of(lambda x: (x, x.sum()), np.array([1.0, 2.0]), cotangent=(np.array([1.0, 10.0]), 100.0))
    assert [path for path, _ in phi.named_primal] == ["out[0]", "out[1]"]
    assert phi(np.array([2.0, 2.0])) == 1.0 + 100.0


def test_small_changes_of_a_large_output_are_not_drowned_by_it():
    phi = pairing_of(lambda x: 1e12 + 1024 * x, np.ones(100))
    assert phi(np.ones(100) * (1 + 2**-10)) == pytest.approx(100.0, rel=1e-3)


def test_the_primal_is_a_copy_although_the_forward_writes_into_one_buffer():
    buffer = np.zeros(3)
    phi = pairing_of(lambda x: np.multiply(x, 2, out=buffer), np.ones(3))
    assert phi(np.full(3, 5.0)) == 3 * (10 - 2)
    assert phi(np.ones(3)) == 0.0
    np.testing.assert_array_equal(phi.primal[0], np.full(3, 2.0))


def test_another_function_can_take_the_place_of_the_forward():
    phi = pairing_of(np.square, np.ones(2))
    assert phi.of(np.sqrt)(np.full(2, 4.0)) == 2.0


def test_the_length_is_that_of_the_leaf_that_changes_by_its_own_length_first():
    arguments = (np.full(4, 1e6), np.full(9, 1e-6))
    phi = pairing_of(lambda x, w: x.sum() + w.sum(), *arguments)
    v = np.ones(13)
    assert phi.length(v) == pytest.approx(1e-6)
    v[4:] = 0.0
    assert phi.length(v) == pytest.approx(1e6)
    v = np.concatenate([np.full(4, 1e6), np.full(9, 1e-6)])
    assert phi.length(v) == pytest.approx(1.0)


def test_only_the_entries_that_move_count_for_the_length():
    x = np.array([1e6, 1e-3])
    assert pairing_of(np.sum, x).length(np.array([0.0, 1.0])) == pytest.approx(1e-3)


def test_a_leaf_of_zeros_is_as_long_as_one_of_ones_and_yields_to_one_that_is_not_zero():
    phi = pairing_of(lambda x, b: x.sum() + b.sum(), np.full(4, 5.0), np.zeros(4))
    assert phi.length(np.array([0.0] * 4 + [1.0] * 4)) == pytest.approx(1.0)
    assert phi.length(np.ones(8)) == pytest.approx(5.0)


def test_nothing_that_moves_has_no_length():
    assert pairing_of(np.sum, np.ones(2)).length(np.zeros(2)) == 0.0


def test_the_excursion_is_the_change_of_the_output_as_an_argument_shrinks():
    phi = pairing_of(lambda x, b: x + b, np.array([3.0, 4.0]), np.array([1.0, 0.0]))
    assert phi.excursion(0) == pytest.approx(5.0, rel=1e-2)
    assert phi.excursion(1) == pytest.approx(1.0, rel=1e-2)


def test_a_pole_at_zero_is_no_natural_size():
    phi = pairing_of(lambda x: 1 / np.clip(x, 1e-16, None), np.array([1.0, 2.0]))
    assert phi.excursion(0) < 1e4


def refuses_small(x):
    if (x < 0.1).any():
        raise ValueError("mine")
    return np.log(x)


@pytest.mark.parametrize("function", [lambda x: np.log(x - 0.5), refuses_small])
def test_there_is_no_excursion_where_the_forward_has_no_value(function):
    assert pairing_of(function, np.array([1.0, 2.0])).excursion(0) == 0.0


def test_the_size_does_not_overflow():
    assert pairing_of(lambda x: 1e200 * x, np.array([3.0, 4.0])).size == pytest.approx(5e200)
    assert pairing_of(lambda x: 1e-200 * x, np.array([3.0, 4.0])).size == pytest.approx(5e-200)


def test_the_rounding_is_that_of_each_output_in_its_own_precision():
    phi = pairing_of(lambda x: (np.sin(x), np.sin(x, dtype=np.float32)), np.ones(1), cotangent=(np.ones(1), np.ones(1)))
    assert phi.precision == (DOUBLE, SINGLE)
    assert phi.rounding == pytest.approx(math.hypot(DOUBLE, SINGLE) / 2 * math.sin(1.0))


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("function", "precision"),
    [
        (np.sin, DOUBLE),
        (lambda x: np.sin(x).astype(np.float32), SINGLE),
        (lambda x: np.sin(x).astype(np.float32).astype(np.float64), SINGLE),
        (lambda x: np.sin(x.astype(np.float32)).astype(np.float64), SINGLE),
        (lambda x: np.sin(x).astype(np.float16).astype(np.float64), HALF),
        (lambda x: np.float32(np.sin(x).sum()), SINGLE),
        (lambda x: float(np.float32(np.sin(x).sum())), SINGLE),
    ],
    ids=["double", "single", "single inside", "single argument", "half inside", "single loss", "loss as a float"],
)
def test_the_precision_is_recognised_from_the_values(function, precision):
    assert pairing_of(function, RNG.standard_normal(20)).precision == (precision,)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: 2 * x, np.arange(6.0)),
        (lambda x: x.sum(), np.ones(4)),
        (lambda x: np.where(x > 1, x, 0), np.array([-1.0, 2.0, 0.5])),
        (lambda x: np.maximum(x, 0), -np.ones(3)),
        (np.square, np.array([0.5, 0.25, 3.0])),
    ],
    ids=["integers", "a sum of ones", "a mask", "zeros", "fractions"],
)
def test_round_values_are_not_taken_for_a_low_precision(function, x):
    assert pairing_of(function, x).precision == (DOUBLE,)


def test_a_forward_that_refuses_another_point_has_the_precision_of_its_dtype():
    def strict(x):
        if not np.array_equal(x, np.round(x)):
            raise ValueError("mine")
        return x

    assert pairing_of(strict, np.arange(1.0, 4.0)).precision == (DOUBLE,)


def test_an_exception_is_raised_as_it_is_with_a_note_of_the_call():
    def f(x, y, mode):
        raise KeyError("mine")

    with pytest.raises(KeyError) as raised:
        call(f, (np.ones((2, 3)), {"W": np.ones(4)}, "train"))
    assert raised.value.__notes__ == ["gradcheck: raised inside f, called with args[0] (2, 3), args[1]['W'] (4,)."]
    with pytest.raises(TypeError) as raised:
        call(f, ())
    assert raised.value.__notes__ == ["gradcheck: raised inside f, called with no arrays."]


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (1, 200_000), (200_000,), (300, 700)])
def test_blocks_are_the_same_parts_of_every_array_in_any_memory_order(shape):
    rng = np.random.default_rng(0)
    plain, other = rng.standard_normal(shape), rng.standard_normal(shape)
    flip = (slice(None, None, -1),) * plain.ndim
    turned = np.asfortranarray(other[flip])[flip] if shape else other
    parts = list(blocks(plain, turned, np.broadcast_to(1.0, shape)))
    for k, whole in enumerate((plain, other, np.ones(shape))):
        np.testing.assert_array_equal(np.concatenate([part[k] for part in parts]), whole.ravel())


def test_a_primal_that_is_known_is_shared_and_costs_no_call():
    def forward(x):
        raise AssertionError

    x = np.array([np.pi, np.e])
    out = np.sin(x)
    pairing = Pairing.at_point(forward, Arguments.of(forward, (x,)), np.ones(2), out)
    assert np.shares_memory(pairing.primal[0], out)


def test_at_the_point_itself_a_pairing_is_zero():
    pairing = Pairing.at_point(lambda x: (np.sin(x), None), Arguments.of(lambda x: x, (np.ones(3),)), np.ones(3))
    assert pairing(np.ones(3)) == pairing.origin == 0


def test_the_span_is_that_of_the_first_and_the_last_leaf_that_changes_by_its_own_length():
    phi = pairing_of(lambda a, b: a.sum() + b.sum(), np.full(4, 1e-3), np.full(4, 1e3))
    x, v = np.repeat([1e-3, 1e3], 4), np.ones(8)
    assert phi.span(x, v) == pytest.approx((1e-3, 1e3))
    assert phi.span(x, np.zeros(8)) == (0.0, 0.0)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_a_norm_is_that_of_its_numbers_where_their_squares_leave_the_range_of_float64(size):
    assert norm(np.array([3 * size, 4 * size])) == pytest.approx(5 * size)


def test_the_norm_of_nothing_is_zero():
    assert norm(np.zeros(0)) == 0.0
