"""Generic sizes first, degenerate ones on purpose; all of them obey the specification."""

import itertools
import math

import numpy as np
import pytest

from gradcheck.shapes.sizes import generic, least, mixed, rounds, smaller, values_of
from gradcheck.shapes.specification import specified

CONV = "X: N P H W, K: D P kh kw, b: D, s in 1 2 3, q in 0 1; kh <= H+2*q, kw <= W+2*q"


def some(text, count, seed=0):
    return list(itertools.islice(rounds(specified(text), np.random.default_rng(seed)), count))


def test_generic_sizes_are_different_from_each_other_and_from_1_and_have_no_common_divisor():
    for seed in range(50):
        sizes = generic(specified("x: N D, W: D M, b: M"), np.random.default_rng(seed)).values()
        assert min(sizes) > 1
        assert all(math.gcd(*pair) == 1 for pair in itertools.combinations(sizes, 2))


def test_sizes_that_are_given_stay():
    sizes = generic(specified("x: N D, W: D M"), np.random.default_rng(0), {"D": 6})
    assert sizes["D"] == 6
    assert {sizes["N"], sizes["M"]} & {1, 2, 3, 4, 6} == set()


def test_a_round_has_every_kind_of_degenerate_sizes():
    seen = dict.fromkeys(why for why, _ in some("x: N D, W: D M, b: M", 60))
    assert set(seen) == {"generic", "any", "smallest", "one alone", "equal", "square", "long", "empty"}
    drawn = [sizes for _, sizes in some("x: N D, W: D M, b: M", 60)]
    for name in "NDM":
        assert any(sizes[name] == 1 and min(v for k, v in sizes.items() if k != name) > 1 for sizes in drawn)
        assert any(sizes[name] == 0 for sizes in drawn)
        assert any(sizes[name] > 7 for sizes in drawn)
    for one, other in itertools.combinations("NDM", 2):
        assert any(sizes[one] == sizes[other] > 1 for sizes in drawn)
    assert any(len(set(sizes.values())) == 1 and sizes["N"] > 1 for sizes in drawn)


def test_the_first_sizes_are_generic_with_each_value_of_a_setting():
    drawn = some("x: N D, f in tanh relu, s in 1 2, y: s*N", 5)
    assert [why for why, _ in drawn] == ["generic"] * 5
    assert {sizes["f"] for _, sizes in drawn} == {"tanh", "relu"}
    assert {sizes["s"] for _, sizes in drawn} == {1, 2}


def test_all_sizes_obey_the_specification():
    spec = specified(CONV)
    for why, sizes in some(CONV, 300):
        assert spec.problem(sizes, least=0 if why == "empty" else 1) is None
        assert spec.entries(sizes) <= 1024 or why == "generic"


def test_several_axes_are_none_one_and_two():
    assert {len(sizes["batch"]) for _, sizes in some("x: *batch D", 40)} == {0, 1, 2}


def test_named_values_alone_are_drawn():
    assert {sizes["N"] for _, sizes in some("x: N D; N in 2 3", 60)} == {2, 3}
    assert values_of(specified("x: N; N in 3 2"), "N") == (3, 2)


def test_sizes_that_nothing_obeys_are_refused():
    with pytest.raises(ValueError, match="shapes must") as refused:
        generic(specified("x: N D; N > 90"), np.random.default_rng(0))
    assert str(refused.value) == (
        "shapes must obey N > 90, but no choice of N, D did so in 400 tries, in 'x: N D; N > 90'. "
        "Name values, as in ; N in 2 3 5."
    )


def test_smaller_sizes_are_those_of_one_or_of_some_that_are_equal_the_smallest_first():
    spec, sizes = specified("x: N D, W: D M, f in a b"), {"N": 3, "D": 3, "M": 1, "f": "b"}
    assert list(smaller(spec, sizes, "N")) == [
        {**sizes, "N": 1},
        {**sizes, "N": 1, "D": 1},
        {**sizes, "N": 2},
        {**sizes, "N": 2, "D": 2},
    ]
    assert list(smaller(spec, sizes, "M")) == []
    assert list(smaller(spec, sizes, "f")) == [{**sizes, "f": "a"}]


@pytest.mark.parametrize(
    ("text", "smallest"),
    [
        ("x: N D", {"N": 1, "D": 1}),
        ("x: N D; D in 2 5", {"N": 1, "D": 2}),
        ("x: N K; K >= 2", {"N": 1, "K": 2}),
        ("x: *batch D", {"batch": (), "D": 1}),
        ("x: N, reduction in sum mean", {"N": 1, "reduction": "sum"}),
        ("x: H W, W_: kh kw; kh < H, kw < W", {"H": 2, "W": 2, "kh": 1, "kw": 1}),
        ("x: s*(N-1)+k-2*q, s, q; s in 1 2, q in 0 1 2", {"s": 1, "N": 1, "k": 1, "q": 0}),
    ],
)
def test_the_least_sizes_are_the_smallest_that_obey_the_conditions(text, smallest):
    assert least(specified(text)) == smallest


def test_the_smallest_sizes_of_a_round_are_those_that_obey_the_conditions():
    spec = specified("x: N K; K >= 2")
    drawn = rounds(spec, np.random.default_rng(0))
    assert next(sizes for why, sizes in drawn if why == "smallest") == {"N": 1, "K": 2}


def test_mixed_sizes_are_1_long_and_equal_now_and_then_and_never_too_many_entries():
    spec, rng = specified("x: N D K"), np.random.default_rng(0)
    found = [mixed(spec, rng) for _ in range(200)]
    assert {1, 2, 16} <= {sizes["N"] for sizes in found}
    assert any(sizes["N"] == sizes["D"] > 1 for sizes in found)
    assert max(spec.entries(sizes) for sizes in found) <= 1024


def test_mixed_sizes_that_are_many_entries_in_any_case_are_drawn_all_the_same():
    assert mixed(specified("x: N D; N in 100, D in 100"), np.random.default_rng(0)) == {"N": 100, "D": 100}


def test_sizes_that_no_point_can_have_are_refused():
    with pytest.raises(ValueError, match="no choice of N did so"):
        least(specified("x: N; N > 20"))
