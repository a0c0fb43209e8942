import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from gradcheck.derivation import Derivation
from gradcheck.strategies import Case, cases, seeds, structures


def scale_args(rng, N, factor, kind):
    return rng.standard_normal(N), factor, kind


SCALE = Derivation(
    "scale",
    lambda x, factor, _kind: (factor * x, factor),
    lambda dy, factor: factor * dy,
    lambda x, factor, _kind: factor * x,
    scale_args,
    structure={"N": (1, 2, 5), "factor": (0.5, 3.0), "kind": ("sum", "mean")},
)
ONLY_ONE = Derivation("only_one", *[scale_args] * 4, structure={"N": (1,)})


@given(structures(SCALE))
def test_a_structure_chooses_every_size_from_what_the_record_allows(structure):
    assert set(structure) == {"N", "factor", "kind"}
    assert all(value in SCALE.structure[name] for name, value in structure.items())


@given(structures(SCALE, generic=True))
def test_no_size_of_a_generic_structure_is_1(structure):
    assert structure["N"] != 1


@given(structures(ONLY_ONE, generic=True))
def test_a_size_that_can_only_be_1_is_1_in_a_generic_structure_too(structure):
    assert structure == {"N": 1}


@given(seeds())
def test_a_seed_is_accepted_by_default_rng(seed):
    assert 0 <= np.random.default_rng(seed).random() < 1


def test_a_structure_shrinks_to_the_smallest_sizes():
    smallest = {"N": 1, "factor": 0.5, "kind": "sum"}
    assert find(structures(SCALE), lambda _: True, settings=settings(database=None)) == smallest


@given(cases(SCALE))
def test_a_case_makes_the_same_fresh_args_each_time(case):
    first, second = case.args, case.args
    np.testing.assert_array_equal(first[0], second[0])
    assert first[0] is not second[0]
    assert first[1:] == (case.structure["factor"], case.structure["kind"])


@given(cases(SCALE))
def test_the_repr_of_a_case_makes_the_case(case):
    assert eval(repr(case), {"Case": Case, "SCALE": SCALE}) == case  # noqa: S307


def test_a_property_that_fails_prints_the_smallest_case():
    @settings(database=None, max_examples=50)
    @given(cases(SCALE, generic=True))
    def no_entry_is_positive(case):
        assert not np.any(case.args[0] > 0)

    with pytest.raises(AssertionError) as failure:
        no_entry_is_positive()
    assert "case=Case(SCALE, {'N': 2, 'factor': 0.5, 'kind': 'sum'}, seed=0)," in failure.value.__notes__[0]


@given(st.data())
def test_cases_can_be_drawn_from_data(data):
    assert isinstance(data.draw(cases(SCALE)), Case)
