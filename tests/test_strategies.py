import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from gradcheck import Derivation, point
from gradcheck.shapes.specification import Point
from gradcheck.strategies import points

TEXT = "x: N D, factor in 0.5 3.0, labels: N int < D; D in 1 2 5"


def scale_args(rng, N, kind):
    return rng.standard_normal(N), kind


SCALE = Derivation(
    "scale",
    lambda x, _kind: (3 * x, None),
    lambda dy, _: 3 * dy,
    lambda x, _kind: 3 * x,
    "N in 1 2 5, kind in sum mean",
    scale_args,
)


@given(points(TEXT))
def test_a_point_is_what_the_text_says(args):
    x, factor, labels = args
    N, D = x.shape
    assert args.sizes == {"N": N, "D": D, "factor": factor}
    assert D in (1, 2, 5)
    assert factor in (0.5, 3.0)
    assert labels.shape == (N,)
    assert labels.max() < D


@given(points(SCALE))
def test_a_point_of_a_derivation_is_what_its_args_make(args):
    assert args[0].shape == (args.sizes["N"],)
    assert args[1] == args.sizes["kind"]


@given(points(TEXT, generic=True))
def test_no_size_of_a_generic_point_is_1(args):
    assert min(args[0].shape) > 1


@given(points("x: N; N in 1", generic=True))
def test_a_size_that_can_only_be_1_is_1_in_a_generic_point_too(args):
    assert args[0].shape == (1,)


@given(points("x: N D K; N in 1 16, D in 1 16, K in 1 16", generic=True))
def test_sizes_that_are_named_may_make_many_entries_where_there_are_no_others(args):
    assert args[0].shape == (16, 16, 16)


@given(points("x: N D K"))
def test_else_there_are_few_entries(args):
    assert args[0].size <= 1024


@given(points("x: N, y: M; N < M"))
def test_sizes_obey_the_conditions(args):
    assert args[0].size < args[1].size


def test_sizes_that_no_point_can_have_are_refused_before_any_is_drawn():
    with pytest.raises(ValueError, match="no choice of N did so"):
        points("x: N; N > 20")


def test_a_point_shrinks_to_the_smallest_sizes_and_the_first_setting():
    found = find(points(SCALE), lambda _: True, settings=settings(database=None))
    assert (found.sizes, found.seed) == ({"N": 1, "kind": "sum"}, 0)


@pytest.mark.parametrize("shapes", [TEXT, SCALE], ids=["text", "derivation"])
@given(data=st.data())
def test_the_repr_of_a_point_makes_the_point(shapes, data):
    args = data.draw(points(shapes))
    again = eval(repr(args), {"point": point, "SCALE": SCALE})  # noqa: S307
    assert isinstance(again, Point)
    for one, other in zip(again, args, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("shapes", "shown"),
    [
        ("x: N D", "args=point('x: N D', seed=0, N=2, D=2),"),
        (SCALE, "args=point(SCALE.spec, seed=0, N=2, kind='sum'),"),
    ],
    ids=["text", "derivation"],
)
def test_a_property_that_fails_prints_the_smallest_point(shapes, shown):
    @settings(database=None, max_examples=50)
    @given(points(shapes, generic=True))
    def no_entry_is_positive(args):
        assert not np.any(args[0] > 0)

    with pytest.raises(AssertionError) as failure:
        no_entry_is_positive()
    assert shown in failure.value.__notes__[0]
