import numpy as np
import pytest

from gradcheck.shapes.sizes import least, mixed, rounds
from gradcheck.shapes.specification import specified


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
