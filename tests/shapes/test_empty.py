import pytest

from gradcheck.shapes.specification import specified


@pytest.mark.parametrize("rule", ["scale D**-0.5", "> 1/D", "away from 1/D", "distinct"])
def test_an_array_without_entries_is_drawn_where_its_rule_has_no_number(rule):
    spec = specified(f"W: D M {rule}")
    assert spec.problem({"D": 0, "M": 3}, least=0) is None
    (W,) = spec.point({"D": 0, "M": 3}, seed=0)
    assert W.shape == (0, 3)


@pytest.mark.parametrize("rule", ["scale D**-0.5", "> 1/D", "away from 1/D"])
def test_an_array_with_entries_whose_rule_has_no_number_is_a_problem_of_the_sizes(rule):
    spec = specified(f"x: D, b: M {rule}")
    assert spec.problem({"D": 0, "M": 3}, least=0) == "be numbers, and there is a ZeroDivisionError"
