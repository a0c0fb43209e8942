import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.oracles import Estimate, central_difference
from gradcheck.pairing import Pairing
from gradcheck.verdict.case import Case

X, B = np.array([[3.0, 0.0], [0.0, 4.0]]), np.zeros(9)
SLOPES = np.concatenate([np.full(4, 2.0), np.full(9, 3.0)])


def forward(x, b):
    return 2 * x.sum() + 3 * b.sum(), None


def case_of(gradient=SLOPES, args=(X, B), **changes):
    """Return a case of ``forward``; its oracle is a difference."""
    arguments = Arguments.of(forward, args)
    pairing = Pairing.at_point(forward, arguments, 1.0)
    settings = {
        "gradient": gradient,
        "point": arguments.point,
        "layout": arguments.layout,
        "judged": (0, 1),
        "pushforward": central_difference(pairing, arguments.point),
        "rounding": lambda: (np.zeros(13), np.zeros(13)),
        "pairing": pairing,
        "tol": None,
        "rng": np.random.default_rng(0),
    }
    return Case(**settings | changes)


def test_a_leaf_has_a_norm_a_length_and_an_effect():
    case = case_of()
    assert case.norm(0) == 4.0
    assert case.length(0) == 5.0
    assert case.effect(0) == 20.0


def test_a_leaf_of_zeros_is_as_long_as_one_of_ones():
    assert case_of().length(1) == 3.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_leaf_is_as_precise_as_its_own_dtype(dtype):
    case = case_of(args=(X.astype(dtype), B))
    assert case.unit(0) == np.finfo(dtype).eps
    assert case.unit(1) == np.finfo(np.float64).eps


def test_a_tangent_moves_the_leaves_it_is_given_each_by_its_own_deviation():
    case = case_of()
    v = np.stack([case.tangent([(1, 1e-3)]) for _ in range(200)])
    assert not v[:, :4].any()
    assert v[:, 4:].std() == pytest.approx(1e-3, rel=0.1)
    both = np.stack([case.tangent([(0, 10.0), (1, 1.0)]) for _ in range(200)])
    assert both[:, :4].std() == pytest.approx(10 * both[:, 4:].std(), rel=0.1)


def test_a_right_gradient_agrees_along_any_tangent():
    case = case_of()
    assert case.probe(case.tangent([(0, 1.0), (1, 1.0)])).agrees


def must_not_be_called():
    raise AssertionError


def test_the_rounding_is_looked_into_only_where_both_sides_disagree():
    case = case_of(rounding=must_not_be_called)
    case.probe(np.ones(13))
    with pytest.raises(AssertionError):
        case_of(gradient=2 * SLOPES, rounding=must_not_be_called).probe(np.ones(13))


def test_rounding_widens_the_error_as_independent_entries_do():
    wrong = SLOPES + 1e-3 * np.eye(13)[0]
    assert not case_of(gradient=wrong).probe(np.ones(13)).agrees
    narrow, wide = (
        case_of(gradient=wrong, rounding=lambda size=size: (np.zeros(13), np.full(13, size))).probe(np.ones(13))
        for size in (1e-5, 1e-2)
    )
    assert not narrow.agrees
    assert narrow.error == pytest.approx(1e-5 * np.sqrt(13), rel=1e-3)
    assert wide.agrees


def test_rounding_that_is_known_widens_the_error_by_what_it_does_along_the_tangent():
    wrong, known = SLOPES + 1e-3 * np.eye(13)[0], 1e-3 * np.eye(13)[0]
    case = case_of(gradient=wrong, rounding=lambda: (known, np.zeros(13)))
    assert case.probe(np.ones(13)).agrees
    assert case.probe(np.ones(13)).error == pytest.approx(1e-3, rel=1e-3)
    assert case.probe(np.eye(13)[1]).error < 1e-9


def test_what_could_not_be_measured_stays_so():
    lost = lambda _v: Estimate(np.nan, np.inf)  # noqa: E731
    assert case_of(pushforward=lost, rounding=must_not_be_called).probe(np.ones(13)).error == np.inf
